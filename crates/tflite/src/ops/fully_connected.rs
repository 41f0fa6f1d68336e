//! FULLY_CONNECTED.

use litesmith_graph::ops::FullyConnected;
use litesmith_graph::{DType, Error, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for FullyConnected {
    const OPTIONS: u8 = 8;
    const VERSIONS: &'static [&'static str] = &[
        "1.5.0", "1.10.0", "1.14.0", "1.14.0", "2.0.0", "2.1.0", "2.3.0", "2.3.0", "2.3.0", "2.11.0", "2.15.0",
        "2.17.0", "2.18.0", "2.21.0",
    ];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        // Field 4, the bias type, says what the bias tensor says as well.
        options.expect_fields(5)?;
        match options.scalar(1, 0_i8)? {
            0 => {}
            format => {
                return Err(Error::unsupported("", format!("weights_format {format}: shuffled weights")));
            }
        }
        Ok(Self {
            activation: options.activation(0)?,
            keep_num_dims: options.scalar(2, false)?,
            asymmetric_quantize_inputs: options.scalar(3, false)?,
        })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, node: &Tensors<'_>) -> Result<()> {
        options
            .activation(0, self.activation)
            .scalar(2, self.keep_num_dims, false)
            .scalar(3, self.asymmetric_quantize_inputs, false)
            .scalar(4, node.quantized_bias_type(), 0);
        Ok(())
    }

    fn runs_without_options(node: &Tensors<'_>) -> bool {
        // With int16 activations LiteRT insists on a type of the bias, whose default is stored in a table only.
        node.input_dtype(0) != Some(DType::I16)
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        let (input, weights) = (node.input_dtype(0), node.input_dtype(1));
        match (input, weights) {
            (_, Some(DType::I2)) => return 14,
            (Some(DType::I16), Some(DType::I4)) => return 13,
            _ if node.is_hybrid() && node.is_per_channel(1) => return 12,
            _ if node.quantized_bias_type() != 0 => return 11,
            (Some(DType::I16), Some(DType::I16)) => return 7,
            _ => {}
        }
        if node.inputs.len() == 2 {
            return 6;
        }
        if self.keep_num_dims {
            return 5;
        }
        match (input, weights) {
            (Some(DType::I8 | DType::I16), Some(DType::I8)) => 4,
            (Some(DType::I8), Some(DType::I4)) => 10,
            _ if node.is_hybrid() && self.asymmetric_quantize_inputs => 9,
            _ if node.is_hybrid() => 3,
            _ => 1,
        }
    }
}

//! CONV_2D.

use litesmith_graph::ops::Conv2d;
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Conv2d {
    const OPTIONS: u8 = 1;
    const VERSIONS: &'static [&'static str] =
        &["1.5.0", "1.14.0", "1.14.0", "2.3.0", "2.4.0", "2.9.0", "2.11.0", "2.15.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        // Field 6, the bias type, says what the bias tensor says as well.
        options.require()?.expect_fields(7)?;
        Ok(Self {
            padding: options.padding(0)?,
            stride_width: options.positive(1, 0, "stride_w")?,
            stride_height: options.positive(2, 0, "stride_h")?,
            activation: options.activation(3)?,
            dilation_width: options.positive(4, 1, "dilation_w_factor")?,
            dilation_height: options.positive(5, 1, "dilation_h_factor")?,
        })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, node: &Tensors<'_>) -> Result<()> {
        options
            .padding(0, self.padding)
            .positive(1, self.stride_width, 0, "stride_w")?
            .positive(2, self.stride_height, 0, "stride_h")?
            .activation(3, self.activation)
            .positive(4, self.dilation_width, 1, "dilation_w_factor")?
            .positive(5, self.dilation_height, 1, "dilation_h_factor")?
            .scalar(6, node.quantized_bias_type(), 0);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        let in_channels = node.input_shape(0).last();
        let is_grouped = in_channels.is_some() && in_channels != node.input_shape(1).last();
        if node.quantized_bias_type() != 0 {
            return 8;
        }
        if is_grouped {
            return 6;
        }
        match (node.input_dtype(0), node.input_dtype(1)) {
            (Some(DType::I16), Some(DType::I16)) => 4,
            (Some(DType::I8 | DType::I16), Some(DType::I8)) => 3,
            (Some(DType::I8), Some(DType::I4)) => 7,
            (Some(DType::F32), Some(DType::I8)) if node.is_per_channel(1) => 5,
            (Some(DType::F32), Some(DType::I8)) => 2,
            _ => 1,
        }
    }
}

//! TRANSPOSE_CONV.

use litesmith_graph::ops::{Activation, TransposeConv};
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for TransposeConv {
    const OPTIONS: u8 = 49;
    const VERSIONS: &'static [&'static str] = &["1.9.0", "2.2.0", "2.3.0", "2.13.0", "2.15.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        // Field 4, the bias type, says what the bias tensor says as well.
        options.require()?.expect_fields(5)?;
        Ok(Self {
            padding: options.padding(0)?,
            stride_width: options.positive(1, 0, "stride_w")?,
            stride_height: options.positive(2, 0, "stride_h")?,
            activation: options.activation(3)?,
        })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, node: &Tensors<'_>) -> Result<()> {
        options
            .padding(0, self.padding)
            .positive(1, self.stride_width, 0, "stride_w")?
            .positive(2, self.stride_height, 0, "stride_h")?
            .activation(3, self.activation)
            .scalar(4, if has_narrow_bias(node) { DType::I32.code() } else { 0 }, 0);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        if has_narrow_bias(node) {
            return 5;
        }
        if self.activation != Activation::None {
            return 4;
        }
        if node.input(3).is_some() {
            return 3;
        }
        if node.input_dtype(1) == Some(DType::I8) { 2 } else { 1 }
    }
}

/// Whether int16 activations have an int32 bias, where int64 is the rule.
fn has_narrow_bias(node: &Tensors<'_>) -> bool {
    (node.input_dtype(2), node.input_dtype(3)) == (Some(DType::I16), Some(DType::I32))
}

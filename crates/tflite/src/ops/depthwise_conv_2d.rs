//! DEPTHWISE_CONV_2D.

use litesmith_graph::ops::DepthwiseConv2d;
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for DepthwiseConv2d {
    const OPTIONS: u8 = 2;
    const VERSIONS: &'static [&'static str] = &["1.5.0", "1.12.0", "1.14.0", "2.2.0", "2.3.0", "2.3.0", "2.11.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        // Field 3, the depth multiplier, follows from the shapes, from which LiteRT takes it too.
        options.require()?.expect_fields(7)?;
        Ok(Self {
            padding: options.padding(0)?,
            stride_width: options.positive(1, 0, "stride_w")?,
            stride_height: options.positive(2, 0, "stride_h")?,
            activation: options.activation(4)?,
            dilation_width: options.positive(5, 1, "dilation_w_factor")?,
            dilation_height: options.positive(6, 1, "dilation_h_factor")?,
        })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, node: &Tensors<'_>) -> Result<()> {
        let in_channels = node.input_shape(0).last().copied().unwrap_or(0);
        let out_channels = node.input_shape(1).last().copied().unwrap_or(0);
        let multiplier = out_channels.checked_div(in_channels).unwrap_or(0);
        options
            .padding(0, self.padding)
            .positive(1, self.stride_width, 0, "stride_w")?
            .positive(2, self.stride_height, 0, "stride_h")?
            .positive(3, multiplier, 0, "depth_multiplier")?
            .activation(4, self.activation)
            .positive(5, self.dilation_width, 1, "dilation_w_factor")?
            .positive(6, self.dilation_height, 1, "dilation_h_factor")?;
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match (node.input_dtype(0), node.input_dtype(1)) {
            (Some(DType::I16), Some(DType::I16)) => 5,
            (Some(DType::F32), Some(DType::I8)) if node.is_per_channel(1) => 6,
            (Some(DType::F32), Some(DType::I8)) => 4,
            (Some(DType::I8 | DType::I16), Some(DType::I8)) => 3,
            (Some(DType::I8), Some(DType::I4)) => 7,
            _ if self.dilation_width != 1 || self.dilation_height != 1 => 2,
            _ => 1,
        }
    }
}

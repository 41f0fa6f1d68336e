//! DEPTHWISE_CONV_2D: input `[batch, height, width, in_channels]`, filter `[1, kernel_height, kernel_width,
//! in_channels * depth_multiplier]`, bias `[in_channels * depth_multiplier]` (optional).

use super::conv_2d::check_bias;
use super::{Activation, Inputs, OpSpec, Padding, Parameter, product, window};
use crate::Result;

/// Attributes of DEPTHWISE_CONV_2D. The depth multiplier follows from the shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepthwiseConv2d {
    /// How the window meets the border.
    pub padding: Padding,
    /// Vertical stride.
    pub stride_height: usize,
    /// Horizontal stride.
    pub stride_width: usize,
    /// Vertical dilation; 1 for none.
    pub dilation_height: usize,
    /// Horizontal dilation; 1 for none.
    pub dilation_width: usize,
    /// Applied to the result.
    pub activation: Activation,
}

impl Default for DepthwiseConv2d {
    fn default() -> Self {
        Self {
            padding: Padding::Valid,
            stride_height: 1,
            stride_width: 1,
            dilation_height: 1,
            dilation_width: 1,
            activation: Activation::None,
        }
    }
}

impl OpSpec for DepthwiseConv2d {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=3)?;
        let [batch, height, width, in_channels] = inputs.shape(0, "input")?;
        let [one, kernel_height, kernel_width, out_channels] = inputs.shape(1, "filter")?;
        if one != 1 {
            return Err(inputs.malformed(format!("the filter's first size is {one}, expected 1")));
        }
        if in_channels == 0 || out_channels % in_channels != 0 {
            return Err(inputs.malformed(format!(
                "the filter has {out_channels} channels, the input {in_channels}: not a multiple"
            )));
        }
        check_bias(inputs, 2, out_channels)?;
        let name = "DEPTHWISE_CONV_2D";
        let height = window(name, self.padding, height, kernel_height, self.stride_height, self.dilation_height)?;
        let width = window(name, self.padding, width, kernel_width, self.stride_width, self.dilation_width)?;
        Ok(vec![vec![batch, height.output, width.output, out_channels]])
    }

    fn macs(&self, inputs: &Inputs<'_>, output: &[usize]) -> u64 {
        inputs
            .optional(1)
            .map_or(0, |filter| product(output).saturating_mul(product(filter.shape.get(1..3).unwrap_or_default())))
    }

    fn fused_activation(&mut self) -> Option<&mut Activation> {
        Some(&mut self.activation)
    }

    fn parameter(&self, index: usize) -> Parameter {
        if index == 0 { Parameter::Constant } else { Parameter::Trainable }
    }
}

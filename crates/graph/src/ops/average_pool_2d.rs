//! AVERAGE_POOL_2D: input and output `[batch, height, width, channels]`.

use super::{Activation, Inputs, OpSpec, Padding, window};
use crate::Result;

/// Attributes of AVERAGE_POOL_2D. Padding does not count: the mean is over the elements inside the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AveragePool2d {
    /// How the window meets the border.
    pub padding: Padding,
    /// Vertical stride.
    pub stride_height: usize,
    /// Horizontal stride.
    pub stride_width: usize,
    /// Height of the window.
    pub filter_height: usize,
    /// Width of the window.
    pub filter_width: usize,
    /// Applied to the result.
    pub activation: Activation,
}

impl OpSpec for AveragePool2d {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(1..=1)?;
        let [batch, height, width, channels] = inputs.shape(0, "input")?;
        let height = window("AVERAGE_POOL_2D", self.padding, height, self.filter_height, self.stride_height, 1)?;
        let width = window("AVERAGE_POOL_2D", self.padding, width, self.filter_width, self.stride_width, 1)?;
        Ok(vec![vec![batch, height.output, width.output, channels]])
    }

    fn fused_activation(&mut self) -> Option<&mut Activation> {
        Some(&mut self.activation)
    }
}

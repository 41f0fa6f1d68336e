//! CONV_2D: input `[batch, height, width, in_channels]`, filter `[out_channels, kernel_height, kernel_width,
//! in_channels / groups]`, bias `[out_channels]` (optional).

use super::{Activation, Inputs, OpSpec, Padding, Parameter, product, window};
use crate::Result;

/// Attributes of CONV_2D.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conv2d {
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

impl Default for Conv2d {
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

impl OpSpec for Conv2d {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=3)?;
        let [batch, height, width, in_channels] = inputs.shape(0, "input")?;
        let [out_channels, kernel_height, kernel_width, group_channels] = inputs.shape(1, "filter")?;
        if group_channels == 0 || in_channels % group_channels != 0 {
            return Err(inputs.malformed(format!(
                "the filter has {group_channels} input channels, the input {in_channels}: not a multiple"
            )));
        }
        let groups = in_channels / group_channels;
        if groups == 0 || out_channels % groups != 0 {
            return Err(inputs.malformed(format!("{out_channels} output channels in {groups} groups: not a multiple")));
        }
        check_bias(inputs, 2, out_channels)?;
        let name = "CONV_2D";
        let height = window(name, self.padding, height, kernel_height, self.stride_height, self.dilation_height)?;
        let width = window(name, self.padding, width, kernel_width, self.stride_width, self.dilation_width)?;
        Ok(vec![vec![batch, height.output, width.output, out_channels]])
    }

    fn macs(&self, inputs: &Inputs<'_>, output: &[usize]) -> u64 {
        inputs
            .optional(1)
            .map_or(0, |filter| product(output).saturating_mul(product(filter.shape.get(1..).unwrap_or_default())))
    }

    fn fused_activation(&mut self) -> Option<&mut Activation> {
        Some(&mut self.activation)
    }

    fn parameter(&self, index: usize) -> Parameter {
        if index == 0 { Parameter::Constant } else { Parameter::Trainable }
    }
}

/// Checks an optional bias: one element for each output channel.
pub(super) fn check_bias(inputs: &Inputs<'_>, index: usize, out_channels: usize) -> Result<()> {
    match inputs.optional(index) {
        Some(bias) if bias.elements()? != out_channels => {
            Err(inputs.malformed(format!("the bias has shape {:?}, expected {out_channels} elements", bias.shape)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::{DType, Op, Tensor, ops::Conv2d, ops::Padding};

    #[test]
    fn same_padding_with_stride_two_rounds_up() {
        let input = Tensor::new("x", DType::F32, [1, 225, 225, 3]);
        let filter = Tensor::new("w", DType::F32, [8, 3, 3, 3]);
        let op = Op::from(Conv2d { padding: Padding::Same, stride_height: 2, stride_width: 2, ..Conv2d::default() });
        let shapes = op.infer_shapes(&[Some(&input), Some(&filter), None]).unwrap();
        assert_eq!(shapes, [[1, 113, 113, 8]]);
        let output = Tensor::new("y", DType::F32, shapes[0].clone());
        assert_eq!(op.cost(&[Some(&input), Some(&filter)], &[&output]).macs, 113 * 113 * 8 * 27);
    }

    #[test]
    fn a_stride_of_zero_is_an_error() {
        let input = Tensor::new("x", DType::F32, [1, 8, 8, 3]);
        let filter = Tensor::new("w", DType::F32, [8, 3, 3, 3]);
        let op = Op::from(Conv2d { stride_width: 0, ..Conv2d::default() });
        let error = op.infer_shapes(&[Some(&input), Some(&filter)]).unwrap_err();
        assert!(error.to_string().contains("stride 0"), "{error}");
    }
}

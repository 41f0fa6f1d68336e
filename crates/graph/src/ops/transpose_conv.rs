//! TRANSPOSE_CONV: output shape `[4]`, filter `[out_channels, kernel_height, kernel_width, in_channels]`, input `[batch,
//! height, width, in_channels]`, bias `[out_channels]` (optional).

use super::conv_2d::check_bias;
use super::{Activation, Inputs, OpSpec, Padding, product, window};
use crate::Result;

/// Attributes of TRANSPOSE_CONV: the convolution whose input has the size of this op's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransposeConv {
    /// How the window of the convolution meets the border of the output.
    pub padding: Padding,
    /// Output rows between two input rows.
    pub stride_height: usize,
    /// Output columns between two input columns.
    pub stride_width: usize,
    /// Applied to the result.
    pub activation: Activation,
}

impl TransposeConv {
    /// The output shape, from that of the input and the filter, when the op states no other: the largest that the padding
    /// VALID, and a multiple of the stride that the padding SAME allows.
    #[must_use]
    pub fn natural_size(&self, input: usize, kernel: usize, stride: usize) -> usize {
        match self.padding {
            Padding::Same => input.saturating_mul(stride),
            Padding::Valid => input.saturating_sub(1).saturating_mul(stride).saturating_add(kernel),
        }
    }
}

impl OpSpec for TransposeConv {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(3..=4)?;
        let [out_channels, kernel_height, kernel_width, filter_channels] = inputs.shape(1, "filter")?;
        let [batch, height, width, in_channels] = inputs.shape(2, "input")?;
        let stated = inputs.integers(0, "output shape")?;
        let shape: Vec<usize> = stated.iter().filter_map(|&size| usize::try_from(size).ok()).collect();
        let [out_batch, out_height, out_width, channels] = shape[..] else {
            return Err(inputs.malformed(format!("output shape {stated:?}, expected four sizes")));
        };
        if (out_batch, channels, filter_channels) != (batch, out_channels, in_channels) {
            return Err(inputs.malformed(format!(
                "output shape {stated:?} of a batch of {batch}, {in_channels} input channels and a filter of {out_channels} \
                 by {filter_channels} channels"
            )));
        }
        check_bias(inputs, 3, out_channels)?;
        let name = "TRANSPOSE_CONV";
        let axes = [
            ("height", out_height, kernel_height, self.stride_height, height),
            ("width", out_width, kernel_width, self.stride_width, width),
        ];
        for (axis, size, kernel, stride, input) in axes {
            let expected = window(name, self.padding, size, kernel, stride, 1)?.output;
            if expected != input {
                return Err(inputs.malformed(format!(
                    "an output of {axis} {size} takes an input of {axis} {expected}, got {input}"
                )));
            }
        }
        Ok(vec![shape])
    }

    fn macs(&self, inputs: &Inputs<'_>, _: &[usize]) -> u64 {
        let shape = |index| inputs.optional(index).map_or(&[][..], |tensor| &tensor.shape);
        let pixels = shape(2).get(..3).map_or(0, product);
        pixels.saturating_mul(product(shape(1)))
    }

    fn fused_activation(&mut self) -> Option<&mut Activation> {
        Some(&mut self.activation)
    }
}

#[cfg(test)]
mod tests {
    use crate::{DType, Data, Op, Tensor, ops::Activation, ops::Padding, ops::TransposeConv};

    #[test]
    fn the_stated_shape_must_be_that_of_a_convolution_onto_the_input() {
        let op =
            TransposeConv { padding: Padding::Same, stride_height: 2, stride_width: 2, activation: Activation::None };
        assert_eq!(op.natural_size(5, 3, 2), 10);
        let op = Op::from(op);
        let filter = Tensor::new("w", DType::F32, [8, 3, 3, 4]);
        let input = Tensor::new("x", DType::F32, [1, 5, 5, 4]);
        let infer = |shape: [i32; 4]| {
            let shape = Tensor::constant("s", DType::I32, [4], Data::from_slice(&shape));
            op.infer_shapes(&[Some(&shape), Some(&filter), Some(&input)])
        };
        assert_eq!(infer([1, 9, 10, 8]).unwrap(), [[1, 9, 10, 8]]);
        assert!(infer([1, 11, 10, 8]).is_err());
        assert!(infer([1, 9, 10, 7]).is_err());
        assert!(infer([1, -9, 10, 8]).is_err());
    }
}

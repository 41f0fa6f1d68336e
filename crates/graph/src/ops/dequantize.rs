//! DEQUANTIZE: integers with a scale, or float16, to float32.

use super::activations::same_shape;
use super::{Inputs, OpSpec};
use crate::{DType, Result};

/// DEQUANTIZE has no attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dequantize;

impl OpSpec for Dequantize {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        same_shape(inputs)
    }

    fn output_dtype(&self, _: DType) -> DType {
        DType::F32
    }
}

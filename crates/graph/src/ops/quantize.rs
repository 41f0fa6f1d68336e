//! QUANTIZE: float32 to integers, or integers to integers of another scale or type.

use super::activations::same_shape;
use super::{Inputs, OpSpec};
use crate::{DType, Result};

/// QUANTIZE has no attributes: the output tensor says type, scale and zero point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quantize;

impl OpSpec for Quantize {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        same_shape(inputs)
    }

    fn output_dtype(&self, _: DType) -> DType {
        DType::I8
    }
}

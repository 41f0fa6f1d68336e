//! DROPOUT (training only): zeroes elements at random and scales the rest; the identity outside training.

use super::activations::same_shape;
use super::{Inputs, OpSpec};
use crate::Result;

/// Attributes of dropout (Srivastava et al., 2014, in its inverted form).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Share of elements that are zeroed, in `0.0..1.0`; the others are multiplied by `1 / (1 - rate)`.
    pub rate: f32,
}

impl OpSpec for Dropout {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        same_shape(inputs)
    }
}

//! SOFTMAX along the last axis.

use super::activations::same_shape;
use super::{Inputs, OpSpec};
use crate::Result;

/// Attributes of SOFTMAX.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Softmax {
    /// The logits are multiplied by this.
    pub beta: f32,
}

impl Default for Softmax {
    fn default() -> Self {
        Self { beta: 1.0 }
    }
}

impl OpSpec for Softmax {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        let shapes = same_shape(inputs)?;
        if shapes[0].is_empty() {
            return Err(inputs.malformed("the input is a scalar, expected rank 1 or more"));
        }
        Ok(shapes)
    }
}

//! BATCH_NORMALIZATION (training only): input `[.., channels]`, then gamma, beta, moving mean and moving variance, each
//! `[channels]`. Folded into the op before it, or into MUL and ADD, on export.

use super::{Inputs, OpSpec, Parameter};
use crate::Result;

/// Attributes of batch normalization (Ioffe and Szegedy, 2015), with Keras's names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormalization {
    /// Added to the variance.
    pub epsilon: f32,
    /// Share of the old moving mean and variance that each step keeps.
    pub momentum: f32,
}

impl OpSpec for BatchNormalization {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(5..=5)?;
        let input = inputs.get(0, "input")?;
        let channels = input.shape.last().copied().unwrap_or(1);
        for (index, name) in [(1, "gamma"), (2, "beta"), (3, "moving mean"), (4, "moving variance")] {
            let [size] = inputs.shape(index, name)?;
            if size != channels {
                return Err(inputs.malformed(format!("{name} has {size} elements, the input {channels} channels")));
            }
        }
        Ok(vec![input.shape.clone()])
    }

    fn parameter(&self, index: usize) -> Parameter {
        match index {
            0 => Parameter::Constant,
            1 | 2 => Parameter::Trainable,
            _ => Parameter::Moving,
        }
    }
}

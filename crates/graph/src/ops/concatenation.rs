//! CONCATENATION of any number of inputs along an axis.

use super::{Activation, Inputs, OpSpec, resolve_axis};
use crate::{Error, Result};

/// Attributes of CONCATENATION.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concatenation {
    /// Axis; may count from the end.
    pub axis: i32,
    /// Applied to the result.
    pub activation: Activation,
}

impl OpSpec for Concatenation {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(1..=usize::MAX)?;
        let mut shape = inputs.get(0, "first input")?.shape.clone();
        let axis = resolve_axis("CONCATENATION", i64::from(self.axis), shape.len())?;
        for index in 1..inputs.len() {
            let other = &inputs.get(index, "input")?.shape;
            let fits = other.len() == shape.len() && (0..shape.len()).all(|a| a == axis || shape[a] == other[a]);
            if !fits {
                return Err(inputs.malformed(format!(
                    "input {index} of shape {other:?} does not fit {shape:?} outside axis {axis}"
                )));
            }
            shape[axis] = shape[axis]
                .checked_add(other[axis])
                .ok_or_else(|| Error::limit("CONCATENATION", "the result is too large"))?;
        }
        Ok(vec![shape])
    }

    fn fused_activation(&mut self) -> Option<&mut Activation> {
        Some(&mut self.activation)
    }
}

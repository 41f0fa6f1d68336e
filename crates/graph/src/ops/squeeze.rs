//! SQUEEZE: drops axes of size 1.

use super::{Inputs, OpSpec, resolve_axes};
use crate::Result;

/// Attributes of SQUEEZE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Squeeze {
    /// Axes to drop, which must have size 1; may count from the end. Empty means every axis of size 1.
    pub squeeze_dims: Vec<i32>,
}

impl OpSpec for Squeeze {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(1..=1)?;
        let shape = &inputs.get(0, "input")?.shape;
        let wanted: Vec<_> = self.squeeze_dims.iter().map(|&axis| i64::from(axis)).collect();
        let axes = resolve_axes("SQUEEZE", &wanted, shape.len())?;
        if let Some(axis) = axes.iter().find(|&&axis| shape[axis] != 1) {
            return Err(inputs.malformed(format!("axis {axis} of {shape:?} has not size 1")));
        }
        let keep = |axis: usize, size: usize| if axes.is_empty() { size != 1 } else { !axes.contains(&axis) };
        Ok(vec![shape.iter().enumerate().filter(|&(axis, &size)| keep(axis, size)).map(|(_, &size)| size).collect()])
    }
}

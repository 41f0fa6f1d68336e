//! MEAN over axes.

use super::{Inputs, OpSpec, resolve_axes};
use crate::Result;

/// Attributes of MEAN; the axes are the second input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mean {
    /// Whether reduced axes stay with size 1.
    pub keep_dims: bool,
}

impl OpSpec for Mean {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        infer_reduce("MEAN", inputs, self.keep_dims)
    }
}

pub(super) fn infer_reduce(op: &str, inputs: &Inputs<'_>, keep_dims: bool) -> Result<Vec<Vec<usize>>> {
    inputs.expect_count(2..=2)?;
    let shape = &inputs.get(0, "input")?.shape;
    let axes = resolve_axes(op, &inputs.integers(1, "axes")?, shape.len())?;
    let output = shape.iter().enumerate().filter_map(|(axis, &size)| match axes.contains(&axis) {
        true => keep_dims.then_some(1),
        false => Some(size),
    });
    Ok(vec![output.collect()])
}

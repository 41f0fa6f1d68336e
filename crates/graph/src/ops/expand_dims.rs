//! EXPAND_DIMS: inserts an axis of size 1.

use super::{Inputs, OpSpec, resolve_axis};
use crate::Result;

/// EXPAND_DIMS has no attributes: the second input is the axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpandDims;

impl OpSpec for ExpandDims {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=2)?;
        let mut shape = inputs.get(0, "input")?.shape.clone();
        let [axis] = inputs.integers(1, "axis")?[..] else {
            return Err(inputs.malformed("the axis must be one number"));
        };
        shape.insert(resolve_axis("EXPAND_DIMS", axis, shape.len() + 1)?, 1);
        Ok(vec![shape])
    }
}

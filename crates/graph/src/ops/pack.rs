//! PACK: stacks inputs of one shape along a new axis.

use super::{Inputs, OpSpec, resolve_axis};
use crate::Result;

/// Attributes of PACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pack {
    /// Where the new axis stands; may count from the end.
    pub axis: i32,
}

impl OpSpec for Pack {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(1..=usize::MAX)?;
        let first = &inputs.get(0, "first input")?.shape;
        for index in 1..inputs.len() {
            let other = &inputs.get(index, "input")?.shape;
            if other != first {
                return Err(inputs.malformed(format!("input {index} has shape {other:?}, the first {first:?}")));
            }
        }
        let mut shape = first.clone();
        shape.insert(resolve_axis("PACK", i64::from(self.axis), first.len() + 1)?, inputs.len());
        Ok(vec![shape])
    }
}

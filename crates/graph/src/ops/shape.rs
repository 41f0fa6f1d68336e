//! SHAPE: the sizes of a tensor, as a vector of integers.

use super::{Inputs, OpSpec};
use crate::{DType, Result};

/// Attributes of SHAPE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Element type of the result: int32 or int64.
    pub out_type: DType,
}

impl OpSpec for Shape {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(1..=1)?;
        Ok(vec![vec![inputs.get(0, "input")?.shape.len()]])
    }

    fn output_dtype(&self, _: DType) -> DType {
        self.out_type
    }
}

//! REDUCE_MIN over axes.

use super::mean::infer_reduce;
use super::{Inputs, OpSpec};
use crate::Result;

/// Attributes of REDUCE_MIN; the axes are the second input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReduceMin {
    /// Whether reduced axes stay with size 1.
    pub keep_dims: bool,
}

impl OpSpec for ReduceMin {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        infer_reduce("REDUCE_MIN", inputs, self.keep_dims)
    }
}

//! REDUCE_MAX over axes.

use super::mean::infer_reduce;
use super::{Inputs, OpSpec};
use crate::Result;

/// Attributes of REDUCE_MAX; the axes are the second input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReduceMax {
    /// Whether reduced axes stay with size 1.
    pub keep_dims: bool,
}

impl OpSpec for ReduceMax {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        infer_reduce("REDUCE_MAX", inputs, self.keep_dims)
    }
}

//! CAST: numbers of one type as numbers of another.

use super::activations::same_shape;
use super::{Inputs, OpSpec};
use crate::{DType, Result};

/// Attributes of CAST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cast {
    /// Element type of the output.
    pub to: DType,
}

impl OpSpec for Cast {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        same_shape(inputs)
    }

    fn output_dtype(&self, _: DType) -> DType {
        self.to
    }
}

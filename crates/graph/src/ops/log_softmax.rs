//! LOG_SOFTMAX along the last axis.

use super::activations::same_shape;
use super::{Inputs, OpSpec};
use crate::Result;

/// LOG_SOFTMAX: `x - ln(sum of exp(x))` over the last axis. It has no attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogSoftmax;

impl OpSpec for LogSoftmax {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        same_shape(inputs)
    }
}

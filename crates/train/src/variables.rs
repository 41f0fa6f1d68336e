//! Which constants of a graph learn.

use litesmith_graph::{DType, Op, Tensor, ops::Parameter};

/// What `tensor` is to training, as input `index` of an op.
pub(crate) fn role(op: &Op, index: usize, tensor: &Tensor) -> Parameter {
    if tensor.data.is_none() || tensor.dtype != DType::F32 {
        return Parameter::Constant;
    }
    op.parameter(index)
}

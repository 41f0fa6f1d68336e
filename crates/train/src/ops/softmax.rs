//! SOFTMAX along the last axis. The last one before a cross-entropy loss is left to the loss.

use litesmith_graph::{Result, ops};
use litesmith_kernels::{Real, softmax::float as kernel};

use super::{Call, Gradients, PlanNode, TrainOp};

#[derive(Debug)]
struct SoftmaxOp {
    width: usize,
    beta: f32,
}

pub(super) fn plan<T: Real>(op: ops::Softmax, node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    Ok(Box::new(SoftmaxOp { width: node.output_shape().last().copied().unwrap_or(1), beta: op.beta }))
}

impl<T: Real> TrainOp<T> for SoftmaxOp {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        kernel::forward(call.context, self.width, self.beta, call.inputs.get(0), y);
    }

    fn backward(&self, call: &Call<'_, T>, y: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        gradients.write(0, |dx| kernel::backward(call.context, self.width, self.beta, y, dy, dx));
    }
}

//! SOFTMAX and LOG_SOFTMAX along the last axis. The last SOFTMAX before a cross-entropy loss is left to the loss.

use litesmith_graph::{Result, ops};
use litesmith_kernels::{Real, log_softmax, softmax::float as kernel};

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

#[derive(Debug)]
struct LogSoftmaxOp {
    width: usize,
}

pub(super) fn plan_log<T: Real>(node: PlanNode<'_>) -> Box<dyn TrainOp<T>> {
    Box::new(LogSoftmaxOp { width: node.output_shape().last().copied().unwrap_or(1) })
}

impl<T: Real> TrainOp<T> for LogSoftmaxOp {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        log_softmax::forward(call.context, self.width, call.inputs.get(0), y);
    }

    fn backward(&self, _: &Call<'_, T>, y: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        gradients.write(0, |dx| log_softmax::backward(self.width, y, dy, dx));
    }
}

//! CONCATENATION: each input gets its part of the gradient.

use litesmith_graph::{Error, Result, ops};
use litesmith_kernels::movement::Concatenation;
use litesmith_kernels::{Activation, Real};

use super::{Call, Gradients, PlanNode, TrainOp, fused, unsupported};

#[derive(Debug)]
struct ConcatenationOp {
    kernel: Concatenation,
    activation: Activation,
}

pub(super) fn plan<T: Real>(op: &ops::Concatenation, node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    let axis = ops::resolve_axis("CONCATENATION", i64::from(op.axis), node.output_shape().len())?;
    if axis == 0 {
        return Err(Error::unsupported("", "joining along the batch mixes samples"));
    }
    let shapes: Vec<_> = (0..node.node.inputs.len()).map(|index| node.shape(index)).collect();
    let kernel = Concatenation::new(&shapes, axis).map_err(unsupported)?;
    Ok(Box::new(ConcatenationOp { kernel, activation: fused(op.activation)? }))
}

impl<T: Real> TrainOp<T> for ConcatenationOp {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        for index in 0..call.inputs.operands.len() {
            self.kernel.forward(index, call.inputs.get(index), y);
        }
        self.activation.apply_in_place(call.context, y);
    }

    fn backward(&self, call: &Call<'_, T>, y: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        self.activation.backward_in_place(call.context, y, dy);
        for index in 0..call.inputs.operands.len() {
            gradients.write(index, |dx| self.kernel.backward(index, dy, dx));
        }
    }
}

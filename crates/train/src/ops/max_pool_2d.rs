//! MAX_POOL_2D: the gradient goes to the first largest element of each window.

use litesmith_graph::{Result, ops};
use litesmith_kernels::max_pool_2d::float::MaxPool2d;
use litesmith_kernels::pool_2d::Pool2dGeometry;
use litesmith_kernels::{Activation, Real};

use super::{Call, Gradients, PlanNode, TrainOp, axis, fused, unsupported};

#[derive(Debug)]
struct MaxPool2dOp {
    kernel: MaxPool2d,
    activation: Activation,
}

pub(super) fn plan<T: Real>(op: &ops::MaxPool2d, node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    let [batch, height, width, channels] = node.shape_of(0)?;
    let name = "MAX_POOL_2D";
    let geometry = Pool2dGeometry {
        batch,
        height: axis(name, op.padding, height, op.filter_height, op.stride_height, 1)?,
        width: axis(name, op.padding, width, op.filter_width, op.stride_width, 1)?,
        channels,
    };
    let kernel = MaxPool2d::new(geometry, node.isa).map_err(unsupported)?;
    Ok(Box::new(MaxPool2dOp { kernel, activation: fused(op.activation)? }))
}

impl<T: Real> TrainOp<T> for MaxPool2dOp {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        self.kernel.forward(call.pool(), self.activation, call.inputs.get(0), y);
    }

    fn backward(&self, call: &Call<'_, T>, y: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        // Where the activation changed the maximum it also stopped the gradient, so that finding no element equal to it
        // does no harm.
        self.activation.backward_in_place(call.context, y, dy);
        gradients.write(0, |dx| self.kernel.backward(call.pool(), call.inputs.get(0), y, dy, dx));
    }
}

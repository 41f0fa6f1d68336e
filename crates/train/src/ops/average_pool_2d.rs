//! AVERAGE_POOL_2D: each element of a window gets its share of the gradient.

use litesmith_graph::{Result, ops};
use litesmith_kernels::average_pool_2d::float::AveragePool2d;
use litesmith_kernels::pool_2d::Pool2dGeometry;
use litesmith_kernels::{Activation, Real};

use super::{Call, Gradients, PlanNode, TrainOp, axis, fused, unsupported};

#[derive(Debug)]
struct AveragePool2dOp {
    kernel: AveragePool2d,
    activation: Activation,
}

pub(super) fn plan<T: Real>(op: &ops::AveragePool2d, node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    let [batch, height, width, channels] = node.shape_of(0)?;
    let name = "AVERAGE_POOL_2D";
    let geometry = Pool2dGeometry {
        batch,
        height: axis(name, op.padding, height, op.filter_height, op.stride_height, 1)?,
        width: axis(name, op.padding, width, op.filter_width, op.stride_width, 1)?,
        channels,
    };
    let kernel = AveragePool2d::new(geometry, node.isa).map_err(unsupported)?;
    Ok(Box::new(AveragePool2dOp { kernel, activation: fused(op.activation)? }))
}

impl<T: Real> TrainOp<T> for AveragePool2dOp {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        self.kernel.forward(call.pool(), self.activation, call.inputs.get(0), y);
    }

    fn backward(&self, call: &Call<'_, T>, y: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        self.activation.backward_in_place(call.context, y, dy);
        gradients.write(0, |dx| self.kernel.backward(call.pool(), dy, dx));
    }
}

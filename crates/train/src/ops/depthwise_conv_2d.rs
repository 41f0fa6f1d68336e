//! DEPTHWISE_CONV_2D.

use litesmith_graph::{Result, ops};
use litesmith_kernels::depthwise_conv_2d::{DepthwiseConv2dGeometry, float::DepthwiseConv2d};
use litesmith_kernels::{Activation, Real};

use super::{Call, Gradients, PlanNode, TrainOp, axis, fused, unsupported};

#[derive(Debug)]
struct DepthwiseConv2dOp {
    kernel: DepthwiseConv2d,
    activation: Activation,
}

pub(super) fn plan<T: Real>(op: &ops::DepthwiseConv2d, node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    let [batch, height, width, in_channels] = node.shape_of(0)?;
    let [_, kernel_height, kernel_width, out_channels] = node.shape_of(1)?;
    let name = "DEPTHWISE_CONV_2D";
    let geometry = DepthwiseConv2dGeometry {
        batch,
        height: axis(name, op.padding, height, kernel_height, op.stride_height, op.dilation_height)?,
        width: axis(name, op.padding, width, kernel_width, op.stride_width, op.dilation_width)?,
        in_channels,
        multiplier: out_channels / in_channels.max(1),
    };
    let kernel = DepthwiseConv2d::new(geometry, node.isa).map_err(unsupported)?;
    Ok(Box::new(DepthwiseConv2dOp { kernel, activation: fused(op.activation)? }))
}

impl<T: Real> TrainOp<T> for DepthwiseConv2dOp {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        let (x, weights, bias) = (call.inputs.get(0), call.inputs.get(1), call.inputs.optional(2));
        self.kernel.forward(call.pool(), weights, bias, self.activation, x, y);
    }

    fn backward(&self, call: &Call<'_, T>, y: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        self.activation.backward_in_place(call.context, y, dy);
        gradients.add(2, |db| self.kernel.backward_bias(dy, db));
        gradients.add(1, |dw| self.kernel.backward_weights(call.inputs.get(0), dy, dw));
        gradients.write(0, |dx| self.kernel.backward_input(call.pool(), call.inputs.get(1), dy, dx));
    }
}

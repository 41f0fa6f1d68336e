//! CONV_2D. The gradients of input and filter are convolutions again.

use litesmith_graph::{Result, ops};
use litesmith_kernels::conv_2d::{Conv2dGeometry, float::Conv2d};
use litesmith_kernels::{Activation, Real};

use super::{Call, Gradients, Inputs, PlanNode, Prepared, TrainOp, axis, fused, unsupported};

#[derive(Debug)]
struct Conv2dOp {
    kernel: Conv2d,
    activation: Activation,
}

pub(super) fn plan<T: Real>(op: &ops::Conv2d, node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    let [batch, height, width, in_channels] = node.shape_of(0)?;
    let [out_channels, kernel_height, kernel_width, group_channels] = node.shape_of(1)?;
    let name = "CONV_2D";
    let geometry = Conv2dGeometry {
        batch,
        height: axis(name, op.padding, height, kernel_height, op.stride_height, op.dilation_height)?,
        width: axis(name, op.padding, width, kernel_width, op.stride_width, op.dilation_width)?,
        in_channels,
        out_channels,
        groups: in_channels / group_channels.max(1),
    };
    let kernel = Conv2d::new(geometry, node.isa).map_err(unsupported)?;
    Ok(Box::new(Conv2dOp { kernel, activation: fused(op.activation)? }))
}

impl<T: Real> TrainOp<T> for Conv2dOp {
    fn scratch_len(&self) -> usize {
        let kernel = &self.kernel;
        kernel
            .forward_scratch_len(1)
            .max(kernel.backward_input_scratch_len(1))
            .max(kernel.backward_weights_scratch_len())
    }

    fn prepare(&self, inputs: &Inputs<'_, T>, prepared: &mut Prepared<T>) {
        self.kernel.pack(inputs.get(1), &mut prepared.forward);
        self.kernel.pack_backward(inputs.get(1), &mut prepared.backward);
    }

    fn forward(&self, call: &Call<'_, T>, y: &mut [T], scratch: &mut [T]) {
        let (x, bias) = (call.inputs.get(0), call.inputs.optional(2));
        self.kernel.forward(call.pool(), &call.prepared.forward, bias, self.activation, x, y, scratch);
    }

    fn backward(&self, call: &Call<'_, T>, y: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, scratch: &mut [T]) {
        self.activation.backward_in_place(call.context, y, dy);
        gradients.add(2, |db| self.kernel.backward_bias(dy, db));
        gradients.add(1, |dw| self.kernel.backward_weights(call.inputs.get(0), dy, dw, scratch));
        gradients.write(0, |dx| self.kernel.backward_input(call.pool(), &call.prepared.backward, dy, dx, scratch));
    }
}

//! FULLY_CONNECTED.

use litesmith_graph::{Result, ops};
use litesmith_kernels::fully_connected::{FullyConnectedGeometry, float::FullyConnected};
use litesmith_kernels::{Activation, Real};

use super::{Call, Gradients, Inputs, PlanNode, Prepared, TrainOp, fused, unsupported};

#[derive(Debug)]
struct FullyConnectedOp {
    kernel: FullyConnected,
    activation: Activation,
}

pub(super) fn plan<T: Real>(op: &ops::FullyConnected, node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    let [out_features, in_features] = node.shape_of(1)?;
    let batch = node.shape(0).iter().product::<usize>() / in_features.max(1);
    let geometry = FullyConnectedGeometry { batch, in_features, out_features };
    let kernel = FullyConnected::new(geometry, node.isa).map_err(unsupported)?;
    Ok(Box::new(FullyConnectedOp { kernel, activation: fused(op.activation)? }))
}

impl<T: Real> TrainOp<T> for FullyConnectedOp {
    fn prepare(&self, inputs: &Inputs<'_, T>, prepared: &mut Prepared<T>) {
        self.kernel.pack(inputs.get(1), &mut prepared.forward);
    }

    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        let (x, bias) = (call.inputs.get(0), call.inputs.optional(2));
        self.kernel.forward(call.pool(), &call.prepared.forward, bias, self.activation, x, y);
    }

    fn backward(&self, call: &Call<'_, T>, y: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        self.activation.backward_in_place(call.context, y, dy);
        gradients.add(2, |db| self.kernel.backward_bias(dy, db));
        gradients.add(1, |dw| self.kernel.backward_weights(call.inputs.get(0), dy, dw));
        gradients.write(0, |dx| self.kernel.backward_input(call.pool(), call.inputs.get(1), dy, dx));
    }
}

//! PRELU; alpha gets the sum of the gradients of the elements that it was used for.

use litesmith_graph::Result;
use litesmith_kernels::broadcast::Broadcast;
use litesmith_kernels::{Real, prelu};

use super::{Call, Gradients, PlanNode, TrainOp, unsupported};

#[derive(Debug)]
struct Prelu(Broadcast);

pub(super) fn plan<T: Real>(node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    Ok(Box::new(Prelu(prelu::plan(node.shape(0), node.shape(1)).map_err(unsupported)?)))
}

impl<T: Real> TrainOp<T> for Prelu {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        prelu::forward(call.context, &self.0, call.inputs.get(0), call.inputs.get(1), y);
    }

    fn backward(&self, call: &Call<'_, T>, _: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        let (x, alpha) = (call.inputs.get(0), call.inputs.get(1));
        gradients.write(0, |dx| prelu::backward_input(call.context, &self.0, x, alpha, dy, dx));
        gradients.write(1, |da| prelu::backward_alpha(call.context, &self.0, x, alpha, dy, da));
    }
}

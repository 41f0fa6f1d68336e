//! MEAN, SUM, REDUCE_MAX and REDUCE_MIN.

use litesmith_graph::{Error, Op, Result, ops};
use litesmith_kernels::Real;
use litesmith_kernels::reduce::{Reduce, Reduction};

use super::{Call, Gradients, PlanNode, TrainOp, unsupported};

#[derive(Debug)]
struct ReduceOp {
    kernel: Reduce,
    reduction: Reduction,
}

pub(super) fn plan<T: Real>(node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    let reduction = match node.node.op {
        Op::ReduceMax(_) => Reduction::Max,
        Op::ReduceMin(_) => Reduction::Min,
        Op::Sum(_) => Reduction::Sum,
        _ => Reduction::Mean,
    };
    let shape = node.shape(0);
    let axes = ops::resolve_axes(node.node.op.name(), &node.integers(1, "axes")?, shape.len())?;
    if axes.contains(&0) {
        return Err(Error::unsupported("", "reducing over the batch mixes samples"));
    }
    Ok(Box::new(ReduceOp { kernel: Reduce::new(shape, &axes).map_err(unsupported)?, reduction }))
}

impl<T: Real> TrainOp<T> for ReduceOp {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        self.kernel.forward(call.context, self.reduction, call.inputs.get(0), y);
    }

    fn backward(&self, call: &Call<'_, T>, y: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        gradients.write(0, |dx| self.kernel.backward(self.reduction, call.inputs.get(0), y, dy, dx));
    }
}

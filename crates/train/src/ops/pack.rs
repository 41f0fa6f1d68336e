//! PACK: a concatenation along a new axis.

use litesmith_graph::{Error, Result, ops};
use litesmith_kernels::Real;
use litesmith_kernels::movement::Concatenation;

use super::{Call, Gradients, PlanNode, TrainOp, unsupported};

#[derive(Debug)]
struct PackOp {
    kernel: Concatenation,
}

pub(super) fn plan<T: Real>(op: ops::Pack, node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    let axis = ops::resolve_axis("PACK", i64::from(op.axis), node.output_shape().len())?;
    if axis == 0 {
        return Err(Error::unsupported("", "stacking before the batch mixes samples"));
    }
    let with_axis = |index| {
        let mut shape: Vec<usize> = node.shape(index).to_vec();
        shape.insert(axis.min(shape.len()), 1);
        shape
    };
    let shapes: Vec<_> = (0..node.node.inputs.len()).map(with_axis).collect();
    Ok(Box::new(PackOp { kernel: Concatenation::new(&shapes, axis).map_err(unsupported)? }))
}

impl<T: Real> TrainOp<T> for PackOp {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        for index in 0..call.inputs.operands.len() {
            self.kernel.forward(index, call.inputs.get(index), y);
        }
    }

    fn backward(&self, call: &Call<'_, T>, _: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        for index in 0..call.inputs.operands.len() {
            gradients.write(index, |dx| self.kernel.backward(index, dy, dx));
        }
    }
}

//! STRIDED_SLICE: elements that were taken get their gradient, the others none.

use litesmith_graph::ops::StridedSlice;
use litesmith_graph::{Error, Result};
use litesmith_kernels::Real;

use super::{Call, Gradients, PlanNode, TrainOp};

/// For each element of a sample's output, the element of its input.
#[derive(Debug)]
struct StridedSliceOp {
    from: Vec<usize>,
    input_len: usize,
}

pub(super) fn plan<T: Real>(op: StridedSlice, node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    let shape = node.shape(0);
    let axes =
        op.resolve(shape, &node.integers(1, "begin")?, &node.integers(2, "end")?, &node.integers(3, "strides")?)?;
    let whole_batch = axes
        .first()
        .zip(shape.first())
        .is_some_and(|(axis, &size)| axis.begin == 0 && axis.stride == 1 && axis.count == size && !axis.shrink);
    if !whole_batch {
        return Err(Error::unsupported("", "slicing the batch drops samples"));
    }
    let mut from = vec![0];
    for (axis, &size) in axes.iter().zip(shape).skip(1) {
        let index = |step: usize| usize::try_from(axis.begin + axis.stride * step as i64).unwrap_or(0);
        from = from.iter().flat_map(|&outer| (0..axis.count).map(move |step| outer * size + index(step))).collect();
    }
    Ok(Box::new(StridedSliceOp { from, input_len: shape.iter().skip(1).product() }))
}

impl<T: Real> TrainOp<T> for StridedSliceOp {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        let samples = call.inputs.get(0).chunks_exact(self.input_len.max(1));
        for (x, y) in samples.zip(y.chunks_exact_mut(self.from.len().max(1))) {
            y.iter_mut().zip(&self.from).for_each(|(y, &from)| *y = x[from]);
        }
    }

    fn backward(&self, _: &Call<'_, T>, _: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        gradients.write(0, |dx| {
            dx.fill(T::ZERO);
            let samples = dx.chunks_exact_mut(self.input_len.max(1));
            for (dx, dy) in samples.zip(dy.chunks_exact(self.from.len().max(1))) {
                dy.iter().zip(&self.from).for_each(|(&dy, &from)| dx[from] = dy);
            }
        });
    }
}

//! Ops that only rearrange elements: each gradient goes back to where its element came from.

use litesmith_graph::{Error, Result, ops::Rearrangement};
use litesmith_kernels::Real;

use super::{Call, Gradients, PlanNode, TrainOp};

/// For each element of a sample's output, the element of its input.
#[derive(Debug)]
struct RearrangeOp {
    from: Vec<usize>,
    input_len: usize,
}

pub(super) fn plan<T: Real>(node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    let inputs = node.graph.node_tensors(&node.node.inputs);
    let refused = || Error::unsupported("", "no gradient is known");
    let (value, outputs) = node.node.op.rearrangement(&inputs).ok_or_else(refused)??;
    let [output] = outputs.as_slice() else {
        return Err(Error::unsupported("", "an op with several outputs cannot be trained through"));
    };
    if value != 0 {
        return Err(refused());
    }
    let shape = node.shape(0);
    let (samples, input_len) = (shape.first().copied().unwrap_or(1), shape.iter().skip(1).product::<usize>());
    // Loops of one step outside the batch's own, such as TILE's, change nothing.
    let mut loops: Vec<_> = output.loops.iter().skip_while(|steps| steps.list() == [0]).cloned().collect();
    if samples > 1 {
        let batch =
            loops.first().is_some_and(|steps| steps.list().into_iter().eq((0..samples).map(|at| at * input_len)));
        if !batch {
            return Err(Error::unsupported("", "moving elements between samples cannot be trained through"));
        }
        loops.remove(0);
    }
    let from = Rearrangement { shape: Vec::new(), loops }.sources();
    if from.iter().any(|&from| from >= input_len) {
        return Err(Error::unsupported("", "moving elements between samples cannot be trained through"));
    }
    Ok(Box::new(RearrangeOp { from, input_len }))
}

impl<T: Real> TrainOp<T> for RearrangeOp {
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
                dy.iter().zip(&self.from).for_each(|(&dy, &from)| dx[from] += dy);
            }
        });
    }
}

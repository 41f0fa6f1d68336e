//! DROPOUT: the mask is not stored but drawn again for the gradient, from the step, the layer and the sample's place in
//! the batch.

use litesmith_graph::{Result, ops};
use litesmith_kernels::Real;

use super::{Call, Gradients, PlanNode, TrainOp};
use crate::random::Stream;

#[derive(Debug)]
struct DropoutOp {
    name: String,
    rate: f32,
    sample_len: usize,
}

pub(super) fn plan<T: Real>(op: ops::Dropout, node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    let name = node.node.outputs.first().map_or(String::new(), |&id| node.graph.tensor(id).name.clone());
    let shape = node.output_shape();
    let sample_len = shape.iter().product::<usize>() / shape.first().copied().unwrap_or(1).max(1);
    Ok(Box::new(DropoutOp { name, rate: op.rate, sample_len }))
}

impl DropoutOp {
    /// Calls `visit` with the index of each element and the factor that it is multiplied by.
    fn for_each<T: Real>(&self, random: Stream, first_sample: usize, len: usize, mut visit: impl FnMut(usize, T)) {
        let stream = random.for_text(&self.name);
        let first = (first_sample * self.sample_len) as u64;
        // The rate in units of 2^-32, which the upper half of the random bits is compared with.
        let dropped_below = (f64::from(self.rate) * 4_294_967_296.0) as u64;
        let kept = T::from_f64(1.0 / (1.0 - f64::from(self.rate)));
        for index in 0..len {
            let bits = stream.bits(first + index as u64) >> 32;
            visit(index, if bits < dropped_below { T::ZERO } else { kept });
        }
    }
}

impl<T: Real> TrainOp<T> for DropoutOp {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        let x = call.inputs.get(0);
        match call.random {
            Some(random) => {
                self.for_each(random, call.inputs.samples.start, y.len(), |index, factor: T| {
                    y[index] = x[index] * factor
                });
            }
            None => y.copy_from_slice(x),
        }
    }

    fn backward(&self, call: &Call<'_, T>, _: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        let Some(random) = call.random else { return };
        gradients.write(0, |dx| {
            self.for_each(random, call.inputs.samples.start, dy.len(), |index, factor: T| {
                dx[index] = dy[index] * factor
            });
        });
    }
}

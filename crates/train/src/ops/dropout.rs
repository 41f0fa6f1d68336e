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
    /// `to` is `from` with elements zeroed at random and the others scaled, `to` and `from` holding whole samples.
    fn mask<T: Real>(&self, random: Stream, first_sample: usize, from: &[T], to: &mut [T]) {
        let stream = random.for_text(&self.name);
        // The rate in units of 2^-16: each 64 random bits decide on four elements.
        let dropped_below = (self.rate * 65_536.0) as u64;
        // Looked up rather than branched on: no branch on random bits can be predicted.
        let factors = [T::from_f64(1.0 / (1.0 - f64::from(self.rate))), T::ZERO];
        let size = self.sample_len.max(1);
        for (sample, (from, to)) in from.chunks_exact(size).zip(to.chunks_exact_mut(size)).enumerate() {
            let stream = stream.for_number((first_sample + sample) as u64);
            let masked = |bits: u64, lane: usize, from: T| {
                from * factors[usize::from((bits >> (16 * lane)) & 0xffff < dropped_below)]
            };
            let ((from, from_rest), (to, to_rest)) = (from.as_chunks::<4>(), to.as_chunks_mut::<4>());
            for (index, (from, to)) in from.iter().zip(to).enumerate() {
                let bits = stream.bits(index as u64);
                *to = std::array::from_fn(|lane| masked(bits, lane, from[lane]));
            }
            let bits = stream.bits(from.len() as u64);
            for (lane, (&from, to)) in from_rest.iter().zip(to_rest).enumerate() {
                *to = masked(bits, lane, from);
            }
        }
    }
}

impl<T: Real> TrainOp<T> for DropoutOp {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        let x = call.inputs.get(0);
        match call.random {
            Some(random) => self.mask(random, call.inputs.samples.start, x, y),
            None => y.copy_from_slice(x),
        }
    }

    fn backward(&self, call: &Call<'_, T>, _: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        let Some(random) = call.random else { return };
        gradients.write(0, |dx| self.mask(random, call.inputs.samples.start, dy, dx));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_elements_is_dropped_and_the_mean_stays() {
        let op = DropoutOp { name: "d".into(), rate: 0.3, sample_len: 1001 };
        let ones = vec![1.0_f64; 20 * 1001];
        let mut masked = vec![0.0; ones.len()];
        op.mask(Stream::new(1, "test"), 0, &ones, &mut masked);
        let dropped = masked.iter().filter(|value| **value == 0.0).count() as f64 / ones.len() as f64;
        assert!((dropped - 0.3).abs() < 0.01, "{dropped}");
        let mean = masked.iter().sum::<f64>() / ones.len() as f64;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        // A sample's mask does not depend on the shard it is in, and differs from the next one's.
        let mut tail = vec![0.0; 1001];
        op.mask(Stream::new(1, "test"), 19, &ones[..1001], &mut tail);
        assert_eq!(tail, masked[19 * 1001..]);
        assert_ne!(tail, masked[18 * 1001..19 * 1001]);
    }
}

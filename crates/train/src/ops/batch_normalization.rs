//! BATCH_NORMALIZATION. In training the statistics are those of the whole batch: shards measure their part, the parts are
//! combined in a fixed order, and so are those of the gradients. The executor stops all shards for both.

use litesmith_graph::ops;
use litesmith_kernels::batch_norm::float::{self as kernel, Moments};
use litesmith_kernels::{Isa, Real};

use super::{Call, Gradients, TrainOp};

/// The op with the moving statistics, as it runs outside training.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchNormalization {
    op: ops::BatchNormalization,
    channels: usize,
}

/// Statistics of the batch at hand, which all shards share.
#[derive(Debug, Clone)]
pub(crate) struct BatchStatistics<T> {
    pub(crate) moments: Moments<T>,
    /// `1 / sqrt(variance + epsilon)`.
    pub(crate) inverse: Vec<T>,
    /// Gradients of gamma and beta, summed over the batch.
    pub(crate) dgamma: Vec<T>,
    pub(crate) dbeta: Vec<T>,
}

/// A shard's part of the statistics.
#[derive(Debug, Clone)]
pub(crate) struct ShardStatistics<T> {
    pub(crate) moments: Moments<T>,
    pub(crate) dgamma: Vec<T>,
    pub(crate) dbeta: Vec<T>,
}

impl<T: Real> BatchStatistics<T> {
    pub(crate) fn new(channels: usize) -> Self {
        let zeros = vec![T::ZERO; channels];
        Self { moments: Moments::new(channels), inverse: zeros.clone(), dgamma: zeros.clone(), dbeta: zeros }
    }
}

impl<T: Real> ShardStatistics<T> {
    pub(crate) fn new(channels: usize) -> Self {
        let zeros = vec![T::ZERO; channels];
        Self { moments: Moments::new(channels), dgamma: zeros.clone(), dbeta: zeros }
    }
}

impl BatchNormalization {
    pub(crate) fn new(op: ops::BatchNormalization, channels: usize) -> Self {
        Self { op, channels }
    }

    /// Measures a shard's input.
    pub(crate) fn measure<T: Real>(isa: Isa, x: &[T], shard: &mut ShardStatistics<T>) {
        shard.moments.measure(isa, x);
    }

    /// Forgets the last batch.
    pub(crate) fn start<T: Real>(self, batch: &mut BatchStatistics<T>) {
        batch.moments.count = 0;
        batch.moments.mean.fill(T::ZERO);
        batch.moments.deviation.fill(T::ZERO);
    }

    /// Adds what a shard measured; shards come in their order.
    pub(crate) fn combine<T: Real>(self, shard: &ShardStatistics<T>, batch: &mut BatchStatistics<T>) {
        batch.moments.combine(&shard.moments);
    }

    /// After all shards: moves the moving mean and (biased) variance towards those of the batch, as Keras does.
    pub(crate) fn finish<T: Real>(
        self,
        batch: &mut BatchStatistics<T>,
        moving_mean: &mut [T],
        moving_variance: &mut [T],
    ) {
        let BatchStatistics { moments, inverse, .. } = batch;
        moments.inverse_deviation(T::from_f64(f64::from(self.op.epsilon)), inverse);
        let keep = T::from_f64(f64::from(self.op.momentum));
        let count = T::from_f64(moments.count.max(1) as f64);
        for (moving, &mean) in moving_mean.iter_mut().zip(&moments.mean) {
            *moving = *moving * keep + mean * (T::ONE - keep);
        }
        for (moving, &deviation) in moving_variance.iter_mut().zip(&moments.deviation) {
            *moving = *moving * keep + deviation / count * (T::ONE - keep);
        }
    }

    /// The forward pass with the statistics of the batch.
    pub(crate) fn forward_batch<T: Real>(call: &Call<'_, T>, batch: &BatchStatistics<T>, y: &mut [T]) {
        let inputs = &call.inputs;
        let (x, gamma, beta) = (inputs.get(0), inputs.get(1), inputs.get(2));
        kernel::forward(call.context, &batch.moments.mean, &batch.inverse, gamma, beta, x, y);
    }

    /// A shard's part of the gradients of gamma and beta.
    pub(crate) fn backward_statistics<T: Real>(
        call: &Call<'_, T>,
        batch: &BatchStatistics<T>,
        dy: &[T],
        shard: &mut ShardStatistics<T>,
    ) {
        shard.dgamma.fill(T::ZERO);
        shard.dbeta.fill(T::ZERO);
        kernel::backward_parameters(
            call.context.isa,
            &batch.moments.mean,
            &batch.inverse,
            call.inputs.get(0),
            dy,
            &mut shard.dgamma,
            &mut shard.dbeta,
        );
    }

    /// Adds a shard's part of the gradients of gamma and beta; shards come in their order.
    pub(crate) fn combine_backward<T: Real>(shard: &ShardStatistics<T>, batch: &mut BatchStatistics<T>) {
        litesmith_kernels::movement::accumulate(&shard.dgamma, &mut batch.dgamma);
        litesmith_kernels::movement::accumulate(&shard.dbeta, &mut batch.dbeta);
    }

    /// The gradients of a shard's input, and its part of those of gamma and beta.
    pub(crate) fn backward_batch<T: Real>(
        call: &Call<'_, T>,
        batch: &BatchStatistics<T>,
        shard: &ShardStatistics<T>,
        dy: &[T],
        gradients: &mut Gradients<'_, T>,
    ) {
        gradients.add(1, |dgamma| litesmith_kernels::movement::accumulate(&shard.dgamma, dgamma));
        gradients.add(2, |dbeta| litesmith_kernels::movement::accumulate(&shard.dbeta, dbeta));
        let (x, gamma) = (call.inputs.get(0), call.inputs.get(1));
        let BatchStatistics { moments, inverse, dgamma, dbeta } = batch;
        gradients.write(0, |dx| {
            kernel::backward_input(
                call.context,
                moments.count,
                &moments.mean,
                inverse,
                gamma,
                dgamma,
                dbeta,
                x,
                dy,
                dx,
            );
        });
    }
}

impl<T: Real> TrainOp<T> for BatchNormalization {
    fn scratch_len(&self) -> usize {
        self.channels
    }

    fn forward(&self, call: &Call<'_, T>, y: &mut [T], scratch: &mut [T]) {
        let inputs = &call.inputs;
        let (gamma, beta, mean, variance) = (inputs.get(1), inputs.get(2), inputs.get(3), inputs.get(4));
        let epsilon = T::from_f64(f64::from(self.op.epsilon));
        let inverse = &mut scratch[..self.channels];
        for (inverse, &variance) in inverse.iter_mut().zip(variance) {
            *inverse = T::ONE / (variance + epsilon).sqrt();
        }
        kernel::forward(call.context, mean, inverse, gamma, beta, inputs.get(0), y);
    }

    fn backward(&self, _: &Call<'_, T>, _: &[T], _: &mut [T], _: &mut Gradients<'_, T>, _: &mut [T]) {
        // In training the executor runs the batch form above in place of this op.
    }
}

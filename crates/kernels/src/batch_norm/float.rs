//! Float kernels over rows of channels (NHWC): partial statistics per shard, which combine in a fixed tree, then the
//! normalisation, then the same two steps backward.

use crate::dispatch::multiversion;
use crate::{Context, Real, reduce};

/// Statistics of one shard: count of rows, and per channel the mean and the sum of squared deviations from it (Welford).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Moments<T> {
    /// Rows seen.
    pub count: usize,
    /// Mean of each channel.
    pub mean: Vec<T>,
    /// Sum of the squared deviations from the mean, per channel. Divided by `count` it is the (biased) variance.
    pub deviation: Vec<T>,
}

impl<T: Real> Moments<T> {
    /// No rows of `channels` channels.
    #[must_use]
    pub fn new(channels: usize) -> Self {
        Self { count: 0, mean: vec![T::ZERO; channels], deviation: vec![T::ZERO; channels] }
    }

    /// Replaces these statistics by those of `x`, in two passes. Does not allocate.
    ///
    /// # Panics
    /// If `x` has no whole number of rows.
    pub fn measure(&mut self, isa: crate::Isa, x: &[T]) {
        let channels = self.mean.len();
        self.count = x.len().checked_div(channels).unwrap_or(0);
        self.mean.fill(T::ZERO);
        self.deviation.fill(T::ZERO);
        if self.count == 0 {
            return;
        }
        reduce::add_columns(isa, x, &mut self.mean);
        let scale = T::ONE / T::from_f64(self.count as f64);
        self.mean.iter_mut().for_each(|mean| *mean *= scale);
        squared_deviations(isa, x, &self.mean, &mut self.deviation);
    }

    /// Adds the statistics of other rows (Chan's pairwise formula). The order of combining is part of the rounding: use
    /// one fixed tree. Does not allocate.
    ///
    /// # Panics
    /// If the channels differ.
    pub fn combine(&mut self, other: &Self) {
        assert_eq!(self.mean.len(), other.mean.len(), "statistics of the same channels");
        let count = self.count + other.count;
        if other.count == 0 {
            return;
        }
        let share = T::from_f64(other.count as f64 / count as f64);
        let weight = T::from_f64(self.count as f64 * other.count as f64 / count as f64);
        let there = other.mean.iter().zip(&other.deviation);
        for ((mean, deviation), (&other_mean, &other_deviation)) in
            self.mean.iter_mut().zip(&mut self.deviation).zip(there)
        {
            let delta = other_mean - *mean;
            *mean += delta * share;
            *deviation += other_deviation + delta * delta * weight;
        }
        self.count = count;
    }

    /// 1 / sqrt(variance + epsilon) per channel, with the biased variance.
    ///
    /// # Panics
    /// If `inverse` has another number of channels.
    pub fn inverse_deviation(&self, epsilon: T, inverse: &mut [T]) {
        assert_eq!(self.mean.len(), inverse.len(), "as many channels");
        let count = T::from_f64(self.count.max(1) as f64);
        for (inverse, &deviation) in inverse.iter_mut().zip(&self.deviation) {
            *inverse = T::ONE / (deviation / count + epsilon).sqrt();
        }
    }
}

/// y = (x - mean) inverse gamma + beta, per channel; `inverse` is 1 / sqrt(variance + epsilon).
///
/// # Panics
/// If lengths disagree.
pub fn forward<T: Real>(ctx: Context, mean: &[T], inverse: &[T], gamma: &[T], beta: &[T], x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "operand and result have one shape");
    let Some(chunk) = rows_per_task(ctx, mean.len(), x.len()) else { return };
    ctx.pool.chunks_mut(y, chunk, |index, y| {
        normalize(ctx.isa, mean, inverse, gamma, beta, &x[index.wrapping_mul(chunk)..][..y.len()], y);
    });
}

/// Adds to `dgamma` and `dbeta` the gradients from the rows of one shard.
///
/// # Panics
/// If lengths disagree.
pub fn backward_parameters<T: Real>(
    isa: crate::Isa,
    mean: &[T],
    inverse: &[T],
    x: &[T],
    dy: &[T],
    dgamma: &mut [T],
    dbeta: &mut [T],
) {
    assert_eq!(x.len(), dy.len(), "operand and gradient have one shape");
    if x.is_empty() {
        return;
    }
    assert_eq!(x.len() % mean.len(), 0, "rows of {} channels", mean.len());
    parameter_sums(isa, mean, inverse, x, dy, dgamma, dbeta);
}

/// Gradient of the operand, from `dgamma` and `dbeta` summed over all `count` rows of the batch:
/// dx = gamma inverse (dy - (dbeta + x_normalised dgamma) / count).
///
/// # Panics
/// If lengths disagree.
pub fn backward_input<T: Real>(
    ctx: Context,
    count: usize,
    mean: &[T],
    inverse: &[T],
    gamma: &[T],
    dgamma: &[T],
    dbeta: &[T],
    x: &[T],
    dy: &[T],
    dx: &mut [T],
) {
    assert!(x.len() == dx.len() && dy.len() == dx.len(), "operand and gradients have one shape");
    let Some(chunk) = rows_per_task(ctx, mean.len(), x.len()) else { return };
    let per_row = T::ONE / T::from_f64(count.max(1) as f64);
    ctx.pool.chunks_mut(dx, chunk, |index, dx| {
        let at = index.wrapping_mul(chunk);
        let (x, dy) = (&x[at..at + dx.len()], &dy[at..at + dx.len()]);
        input_rows(ctx.isa, per_row, mean, inverse, gamma, dgamma, dbeta, x, dy, dx);
    });
}

fn rows_per_task(ctx: Context, channels: usize, len: usize) -> Option<usize> {
    if len == 0 {
        return None;
    }
    assert_eq!(len % channels, 0, "rows of {channels} channels in {len} elements");
    Some(ctx.pool.share(len / channels, channels, 2 * 1024) * channels)
}

multiversion! {
    fn squared_deviations<T: Real>(x: &[T], mean: &[T], sums: &mut [T]) {
        for x in x.chunks_exact(mean.len()) {
            for ((sum, &x), &mean) in sums.iter_mut().zip(x).zip(mean) {
                *sum += (x - mean) * (x - mean);
            }
        }
    }
}

multiversion! {
    fn normalize<T: Real>(mean: &[T], inverse: &[T], gamma: &[T], beta: &[T], x: &[T], y: &mut [T]) {
        let channels = mean.len();
        let (inverse, gamma, beta) = (&inverse[..channels], &gamma[..channels], &beta[..channels]);
        for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
            for c in 0..channels {
                y[c] = (x[c] - mean[c]) * inverse[c] * gamma[c] + beta[c];
            }
        }
    }
}

multiversion! {
    fn parameter_sums<T: Real>(
        mean: &[T], inverse: &[T], x: &[T], dy: &[T], dgamma: &mut [T], dbeta: &mut [T],
    ) {
        let channels = mean.len();
        let inverse = &inverse[..channels];
        let (dgamma, dbeta) = (&mut dgamma[..channels], &mut dbeta[..channels]);
        for (x, dy) in x.chunks_exact(channels).zip(dy.chunks_exact(channels)) {
            for c in 0..channels {
                dgamma[c] += dy[c] * ((x[c] - mean[c]) * inverse[c]);
                dbeta[c] += dy[c];
            }
        }
    }
}

multiversion! {
    fn input_rows<T: Real>(
        per_row: T, mean: &[T], inverse: &[T], gamma: &[T], dgamma: &[T], dbeta: &[T], x: &[T], dy: &[T], dx: &mut [T],
    ) {
        let channels = mean.len();
        let (inverse, gamma) = (&inverse[..channels], &gamma[..channels]);
        let (dgamma, dbeta) = (&dgamma[..channels], &dbeta[..channels]);
        let rows = x.chunks_exact(channels).zip(dy.chunks_exact(channels)).zip(dx.chunks_exact_mut(channels));
        for ((x, dy), dx) in rows {
            for c in 0..channels {
                let normalized = (x[c] - mean[c]) * inverse[c];
                dx[c] = gamma[c] * inverse[c] * (dy[c] - (dbeta[c] + normalized * dgamma[c]) * per_row);
            }
        }
    }
}

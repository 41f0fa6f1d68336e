//! KL (entropy) calibration: the range whose quantized distribution tells most about the real one.

use super::{Calibrator, Grid, Histogram, Range};

/// How many thresholds are tried at most.
const CANDIDATES: usize = 512;

/// A bin counts at most so many times the mean of its neighbours.
const PEAK: u64 = 4;

/// Neighbours at each side.
const NEIGHBOURS: usize = 16;

/// Probability of a bin that only clipped values reach, as a share of an even distribution: the divergence stays finite.
const SMOOTHING: f64 = 1e-4;

/// The clipping range with the smallest Kullback-Leibler divergence between the distribution of the values, those outside
/// counted at the nearer end, and its quantized form (Migacz, "8-bit Inference with TensorRT", GTC 2017).
///
/// One threshold `t` clips both sides: the range is the part of `-t..t` that values reach, so that a one-sided or lopsided
/// tensor keeps all its integers for what occurs in it. Exact zeros are left out of the distributions, since they are quantized
/// exactly: behind a RELU they would outweigh everything else. So would any other constant, such as what a convolution makes of
/// an even background, although it is quantized to half a step like all else: a bin counts at most a few times what the bins
/// around it do. For int16, whose grid is finer than the bins, nothing is
/// clipped, nor where values keep away from zero, which belongs to every range.
#[derive(Debug, Clone, Default)]
pub struct Kl {
    histogram: Histogram,
}

impl Calibrator for Kl {
    fn observe(&mut self, values: &[f32]) {
        self.histogram.add(values);
    }

    fn range(&self, grid: Grid) -> Option<Range> {
        let seen = self.histogram.range()?;
        let levels = grid.levels();
        let Some((counts, negative)) = self.around_zero().filter(|(counts, _)| counts.len() > levels) else {
            return Some(seen);
        };
        let positive = counts.len() - negative;
        let window = |threshold: usize| negative - negative.min(threshold)..negative + positive.min(threshold);
        let (most, width) = (negative.max(positive), self.histogram.width());
        let stride = most.div_ceil(CANDIDATES).max(1);
        let mut best = (f64::INFINITY, most);
        // From the widest on: of equal ones, the one that clips least.
        for threshold in (1..=most).rev().step_by(stride) {
            let window = window(threshold);
            if window.len() < levels {
                break;
            }
            let divergence = divergence(&counts, window, levels);
            if divergence < best.0 {
                best = (divergence, threshold);
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "a value of float32 size")]
        let threshold = (best.1 as f64 * width) as f32;
        Some(Range::new(seen.min.max(-threshold), seen.max.min(threshold)))
    }
}

impl Kl {
    /// The bins, each with at most [`PEAK`] times the mean of its neighbours.
    fn without_peaks(&self) -> Vec<(f64, u64)> {
        let bins: Vec<_> = self.histogram.bins().collect();
        let cut = |at: usize| {
            let (from, to) = (at.saturating_sub(NEIGHBOURS), (at + NEIGHBOURS + 1).min(bins.len()));
            let around: u64 = bins[from..to].iter().map(|bin| bin.1).sum::<u64>() - bins[at].1;
            let most = (PEAK * around).div_ceil((to - from).saturating_sub(1).max(1) as u64);
            (bins[at].0, bins[at].1.min(most.max(1)))
        };
        (0..bins.len()).map(cut).collect()
    }

    /// The counts of all bins from the lowest value to the highest and on to zero, and how many lie below zero; `None` where the
    /// values keep farther from zero than a histogram is wide.
    fn around_zero(&self) -> Option<(Vec<u64>, usize)> {
        let bins = self.without_peaks();
        let index = |bin: &(f64, u64)| (bin.0 / self.histogram.width()).floor();
        let (first, last) = (index(bins.first()?), index(bins.last()?));
        let [below, gap_below, gap_above] = [-first, -1.0 - last, first].map(|bins| bins.max(0.0));
        if gap_below.max(gap_above) > bins.len() as f64 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most twice the bins of a histogram")]
        let [below, gap_below, gap_above] = [below, gap_below, gap_above].map(|bins| bins as usize);
        let counts = std::iter::repeat_n(0, gap_above)
            .chain(bins.iter().map(|bin| bin.1))
            .chain(std::iter::repeat_n(0, gap_below))
            .collect();
        Some((counts, below))
    }
}

/// The divergence between the bins of `window`, with what lies outside at its ends, and the same quantized to `levels`.
fn divergence(counts: &[u64], window: std::ops::Range<usize>, levels: usize) -> f64 {
    let inside = &counts[window.clone()];
    let below: u64 = counts[..window.start].iter().sum();
    let above: u64 = counts[window.end..].iter().sum();
    let all: u64 = counts.iter().sum();
    let kept: u64 = inside.iter().sum();
    if kept == 0 {
        return f64::INFINITY;
    }
    let (bins, last) = (inside.len(), inside.len() - 1);
    let least = SMOOTHING / bins as f64;
    let mut sum = 0.0;
    for level in 0..levels {
        let range = level * bins / levels..(level + 1) * bins / levels;
        let occupied = inside[range.clone()].iter().filter(|count| **count > 0).count();
        let total: u64 = inside[range.clone()].iter().sum();
        let share = total as f64 / occupied.max(1) as f64 / kept as f64;
        for index in range {
            let mut count = inside[index];
            let quantized = if count > 0 { share } else { least };
            if index == 0 {
                count += below;
            }
            if index == last {
                count += above;
            }
            if count > 0 {
                let real = count as f64 / all as f64;
                sum += real * (real / quantized).ln();
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values whose density falls off as a normal distribution's, by its inverse distribution function (Box-Muller).
    fn normal(count: usize) -> Vec<f32> {
        let mut random = litesmith_testkit::Random::new(7);
        let mut uniform = || (f64::from(random.float()) / 2.0 + 0.5).max(1e-12);
        (0..count)
            .map(|_| ((-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()) as f32)
            .collect()
    }

    #[test]
    fn a_far_outlier_is_clipped_and_the_bulk_is_not() {
        let mut kl = Kl::default();
        let mut values = normal(100_000);
        kl.observe(&values);
        let without = kl.range(Grid::Int8).unwrap();
        assert!(without.max > 2.5 && without.min < -2.5, "{without:?}");
        values.push(60.0);
        let mut kl = Kl::default();
        kl.observe(&values);
        let range = kl.range(Grid::Int8).unwrap();
        assert!(range.max < 12.0 && range.max > 2.5, "{range:?}");
        assert!(range.min < -2.5 && range.min >= -6.0, "{range:?}");
        assert_eq!(kl.range(Grid::Int16).unwrap().max, 60.0);
    }

    #[test]
    fn a_constant_among_the_values_changes_little() {
        let values: Vec<_> = normal(50_000).into_iter().map(f32::abs).collect();
        let (mut without, mut with) = (Kl::default(), Kl::default());
        without.observe(&values);
        with.observe(&values);
        with.observe(&[0.3; 200_000]);
        let (without, with) = (without.range(Grid::Int8).unwrap(), with.range(Grid::Int8).unwrap());
        assert!((with.max - without.max).abs() < 0.3 && with.max > 2.5, "{with:?} {without:?}");
    }

    #[test]
    fn one_sided_values_keep_their_side() {
        let mut kl = Kl::default();
        let mut values: Vec<_> = normal(50_000).into_iter().map(|value| value.max(0.0)).collect();
        values.push(40.0);
        kl.observe(&values);
        let range = kl.range(Grid::Int8).unwrap();
        assert!(range.min == 0.0 && range.max > 2.0 && range.max < 10.0, "{range:?}");
        // Beside zero, and far from it.
        for (offset, bound) in [(-6.0, -7.0), (-100.0, -103.0)] {
            let mut kl = Kl::default();
            kl.observe(&normal(50_000).into_iter().map(|value| offset + value).collect::<Vec<_>>());
            let range = kl.range(Grid::Int8).unwrap();
            assert!(range.min < bound && range.max < offset + 6.0, "{range:?}");
        }
    }
}

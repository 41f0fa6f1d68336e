//! MSE calibration: the range that loses least when it is quantized.

use super::{Calibrator, Grid, Histogram, Range};
use crate::quantize::range_parameters;

/// Steps of the first searches, as shares of the seen range.
const COARSE: u32 = 64;

/// Rounds of the search that moves one end at a time, each with a quarter of the step of the one before.
const ROUNDS: u32 = 3;

/// The clipping range with the smallest mean squared error between the values and what the quantized type makes of them,
/// rounding and clipping together, on the histogram (Banner et al., "Post training 4-bit quantization of convolutional networks
/// for rapid-deployment", 2019, who solve it for a given distribution; the search is that of "MSE" in Nagel et al., "A White
/// Paper on Neural Network Quantization", 2021, section 3.1). Both ends shrink together first,
/// then each on its own, twice and then in finer steps.
#[derive(Debug, Clone, Default)]
pub struct Mse {
    histogram: Histogram,
}

impl Calibrator for Mse {
    fn observe(&mut self, values: &[f32]) {
        self.histogram.add(values);
    }

    fn range(&self, grid: Grid) -> Option<Range> {
        let seen = self.histogram.range()?;
        let bins: Vec<_> = self.histogram.bins().filter(|(_, count)| *count > 0).collect();
        let part = |low: f64, high: f64| {
            #[expect(clippy::cast_possible_truncation, reason = "a share of a float32 number")]
            Range::new((f64::from(seen.min) * low) as f32, (f64::from(seen.max) * high) as f32)
        };
        let error = |(low, high): (f64, f64)| squared_error(&bins, self.histogram.width(), part(low, high), grid);
        let mut best = (1.0, 1.0);
        let mut least = error(best);
        let mut consider = |candidate: (f64, f64), best: &mut (f64, f64)| {
            let found = error(candidate);
            // Of equal ones, the first: it clips least.
            if found < least {
                (least, *best) = (found, candidate);
            }
        };
        let shares = || (1..=COARSE).rev().map(|step| f64::from(step) / f64::from(COARSE));
        shares().for_each(|share| consider((share, share), &mut best));
        for _ in 0..2 {
            shares().for_each(|share| consider((share, best.1), &mut best));
            shares().for_each(|share| consider((best.0, share), &mut best));
        }
        let mut step = 0.25 / f64::from(COARSE);
        for _ in 0..ROUNDS {
            for end in [true, false] {
                let (low, high) = best;
                for by in (-4..=4).filter(|by| *by != 0).map(|by| f64::from(by) * step) {
                    let moved = |share: f64| (share + by).clamp(step / 2.0, 1.0);
                    consider(if end { (low, moved(high)) } else { (moved(low), high) }, &mut best);
                }
            }
            step /= 4.0;
        }
        Some(part(best.0, best.1))
    }
}

/// The sum of squared differences over all values that the bins hold.
fn squared_error(bins: &[(f64, u64)], width: f64, range: Range, grid: Grid) -> f64 {
    let (scale, zero_point) = range_parameters(range, grid.dtype());
    let scale = f64::from(scale);
    let (lowest, highest) = grid.steps(zero_point);
    let mut sum = 0.0;
    for &(middle, count) in bins {
        let step = middle / scale;
        let difference = if step > highest || step < lowest {
            let difference = middle - step.clamp(lowest, highest) * scale;
            difference * difference
        } else if scale < width {
            // Values of a bin fall on many steps, anywhere between two.
            scale * scale / 12.0
        } else {
            let difference = middle - step.round() * scale;
            difference * difference
        };
        sum += difference * count as f64;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(count: u32) -> Vec<f32> {
        (0..count).map(|value| value as f32 / count as f32).collect()
    }

    #[test]
    fn an_outlier_that_costs_more_than_it_is_worth_is_clipped() {
        let mut mse = Mse::default();
        let mut values = ramp(100_000);
        mse.observe(&values);
        let range = mse.range(Grid::Int8).unwrap();
        assert!((range.max - 1.0).abs() < 0.01, "nothing to gain: {range:?}");
        values.push(8.0);
        let mut mse = Mse::default();
        mse.observe(&values);
        // Clipping 8 to t costs (8 - t)^2; steps of 8/255 cost 100,000 times (8/255)^2/12 = 8.2, of t/255 less.
        let range = mse.range(Grid::Int8).unwrap();
        assert!(range.max < 8.0 && range.max > 5.0, "{range:?}");
        for _ in 0..100 {
            mse.observe(&ramp(100_000));
        }
        let range = mse.range(Grid::Int8).unwrap();
        assert!(range.max < 1.5, "{range:?}");
        assert!(mse.range(Grid::Int16).unwrap().max > 7.9, "int16 has steps to spare");
    }

    #[test]
    fn each_end_is_clipped_on_its_own() {
        let mut mse = Mse::default();
        for _ in 0..100 {
            mse.observe(&ramp(100_000));
        }
        mse.observe(&[-4.0]);
        let range = mse.range(Grid::Int8).unwrap();
        assert!(range.min > -0.5 && range.max > 0.97, "{range:?}");
    }
}

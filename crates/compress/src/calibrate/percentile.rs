//! Percentile calibration: the rarest values are clipped.

use super::{Calibrator, Grid, Histogram, Range};

/// The range that holds a given percentage of all values; half of the rest is cut off at each side, as in ONNX Runtime
/// (McKinstry et al., "Discovering Low-Precision Networks Close to Full-Precision Networks for Efficient Embedded
/// Inference", 2018, section 3). A side where values pile up, such as the zeros behind a RELU, loses nothing.
#[derive(Debug, Clone)]
pub struct Percentile {
    percentile: f64,
    histogram: Histogram,
}

impl Percentile {
    /// Keeps `percentile` percent of the values.
    #[must_use]
    pub fn new(percentile: f64) -> Self {
        Self { percentile, histogram: Histogram::default() }
    }
}

impl Calibrator for Percentile {
    fn observe(&mut self, values: &[f32]) {
        self.histogram.add(values);
    }

    fn range(&self, _: Grid) -> Option<Range> {
        let cut = (100.0 - self.percentile) / 200.0;
        Some(Range::new(self.histogram.quantile(cut)?, self.histogram.quantile(1.0 - cut)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_are_cut_at_both_sides() {
        let mut values: Vec<_> = (0..20_000).map(|value| value as f32 / 10_000.0 - 1.0).collect();
        values.extend([500.0, -800.0]);
        let mut percentile = Percentile::new(99.9);
        percentile.observe(&values);
        let range = percentile.range(Grid::Int8).unwrap();
        assert!((-1.0..-0.9).contains(&range.min) && (0.9..1.4).contains(&range.max), "{range:?}");
        let mut all = Percentile::new(100.0);
        all.observe(&values);
        assert_eq!(all.range(Grid::Int8), Some(Range::new(-800.0, 500.0)));
    }

    #[test]
    fn zeros_of_a_relu_stay_the_lower_end() {
        let mut percentile = Percentile::new(99.0);
        percentile.observe(&[0.0; 500]);
        percentile.observe(&(0..500).map(|value| value as f32 / 500.0).collect::<Vec<_>>());
        let range = percentile.range(Grid::Int8).unwrap();
        assert!(range.min == 0.0 && (range.max - 0.99).abs() < 0.01, "{range:?}");
    }
}

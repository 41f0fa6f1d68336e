//! Moving-average calibration: the usual range rather than the widest.

use super::{Calibrator, Grid, Range};

/// Smallest and largest value of each run, averaged over the runs with weights that fade (`MovingAverageMinMaxObserver` of
/// PyTorch; Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018,
/// section 3.1). The first run counts whole; each later one moves the average by `constant` of the difference.
#[derive(Debug, Clone, Copy)]
pub struct MovingAverage {
    constant: f64,
    average: Option<(f64, f64)>,
}

impl MovingAverage {
    /// With `constant` as the weight of each new run, above 0 and at most 1.
    #[must_use]
    pub fn new(constant: f64) -> Self {
        Self { constant, average: None }
    }
}

impl Calibrator for MovingAverage {
    fn observe(&mut self, values: &[f32]) {
        let Some(range) = Range::of(values) else { return };
        let new = (f64::from(range.min), f64::from(range.max));
        self.average = Some(
            self.average
                .map_or(new, |(min, max)| (min + self.constant * (new.0 - min), max + self.constant * (new.1 - max))),
        );
    }

    fn range(&self, _: Grid) -> Option<Range> {
        #[expect(clippy::cast_possible_truncation, reason = "averages of float32 numbers")]
        self.average.map(|(min, max)| Range::new(min as f32, max as f32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wild_run_moves_it_a_little() {
        let mut average = MovingAverage::new(0.1);
        assert_eq!(average.range(Grid::Int8), None);
        for _ in 0..10 {
            average.observe(&[-1.0, 0.5, 2.0]);
        }
        assert_eq!(average.range(Grid::Int8), Some(Range::new(-1.0, 2.0)));
        average.observe(&[-1.0, 102.0]);
        assert_eq!(average.range(Grid::Int8), Some(Range::new(-1.0, 12.0)));
    }
}

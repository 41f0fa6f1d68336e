//! Errors and grids, gathered run by run.

use litesmith_graph::{Error, Result};
use serde::{Deserialize, Serialize};

/// Gathers how far values are from reference values.
#[derive(Debug, Clone, Default)]
pub struct ErrorTally {
    elements: u64,
    not_finite: u64,
    energy: f64,
    other_energy: f64,
    dot: f64,
    noise: f64,
    sum_abs: f64,
    max_abs: f64,
    range: Option<(f64, f64)>,
}

impl ErrorTally {
    /// Adds the values of one run; pairs of which one is not finite are counted and left out.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are not as many values as reference values; nothing is added then.
    pub fn add(&mut self, reference: &[f32], values: &[f32]) -> Result<()> {
        if reference.len() != values.len() {
            return Err(Error::invalid(
                "values",
                format!("got {} values, {} of the reference", values.len(), reference.len()),
            ));
        }
        for (&reference, &value) in reference.iter().zip(values) {
            let (x, y) = (f64::from(reference), f64::from(value));
            if !(x.is_finite() && y.is_finite()) {
                self.not_finite += 1;
                continue;
            }
            let apart = x - y;
            self.elements += 1;
            self.energy += x * x;
            self.other_energy += y * y;
            self.dot += x * y;
            self.noise += apart * apart;
            self.sum_abs += apart.abs();
            self.max_abs = self.max_abs.max(apart.abs());
            let (least, most) = self.range.unwrap_or((x, x));
            self.range = Some((least.min(x), most.max(x)));
        }
        Ok(())
    }

    /// Smallest and largest reference value.
    #[must_use]
    pub fn range(&self) -> Option<(f64, f64)> {
        self.range
    }

    /// The metrics of all runs, with signal to noise counted from the signal of `healthy`: what an op adds is not worse for
    /// having been given less.
    #[must_use]
    pub fn finish_against(&self, healthy: &Self) -> ErrorMetrics {
        ErrorMetrics { snr_db: Self { energy: healthy.energy, ..self.clone() }.finish().snr_db, ..self.finish() }
    }

    /// The metrics of all runs.
    #[must_use]
    pub fn finish(&self) -> ErrorMetrics {
        let range = self.range.map_or(0.0, |(least, most)| most - least);
        // A constant tensor has no range; its size stands in.
        let size = if range > 0.0 { range } else { self.range.map_or(0.0, |(_, most)| most.abs()) };
        let share = |error: f64| if error == 0.0 { 0.0 } else { error / size.max(f64::MIN_POSITIVE) };
        let mean_abs = self.sum_abs / (self.elements.max(1) as f64);
        let lengths = (self.energy * self.other_energy).sqrt();
        ErrorMetrics {
            elements: self.elements,
            not_finite: self.not_finite,
            // Errors of nothing but zeros have no ratio: as bad as the signal itself.
            snr_db: (self.noise > 0.0)
                .then(|| if self.energy > 0.0 { 10.0 * (self.energy / self.noise).log10() } else { 0.0 }),
            cosine: match (self.noise > 0.0, lengths > 0.0) {
                (false, _) => 1.0,
                (true, true) => (self.dot / lengths).clamp(-1.0, 1.0),
                (true, false) => 0.0,
            },
            max_abs: self.max_abs,
            mean_abs,
            max_of_range: share(self.max_abs),
            mean_of_range: share(mean_abs),
        }
    }
}

/// How far values are from reference values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorMetrics {
    /// Pairs compared.
    pub elements: u64,
    /// Pairs left out, as one of them is NaN or infinite.
    pub not_finite: u64,
    /// Signal to noise: 10 log10 of the energy of the reference over that of the error. `None` when there is no error.
    pub snr_db: Option<f64>,
    /// Cosine of the angle between values and reference, -1 to 1; 1 when they are equal.
    pub cosine: f64,
    /// Largest error.
    pub max_abs: f64,
    /// Mean error, without sign.
    pub mean_abs: f64,
    /// Largest error as a share of the range of the reference.
    pub max_of_range: f64,
    /// Mean error as a share of the range of the reference.
    pub mean_of_range: f64,
}

/// The real values that integers stand for: `scale * (integer - zero_point)`, from `low` to `high`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// Element type, as `int8`.
    pub dtype: String,
    /// Distance of neighbours.
    pub scale: f64,
    /// Integer that stands for 0.
    pub zero_point: i64,
    /// Real value of the smallest integer.
    pub low: f64,
    /// Real value of the largest integer.
    pub high: f64,
}

impl Grid {
    /// The grid of integers from `least` to `most`.
    pub fn new(dtype: impl Into<String>, scale: f32, zero_point: i64, (least, most): (i64, i64)) -> Self {
        // As values are dequantized, so that the ends compare equal.
        let real = |integer: i64| f64::from((integer as f32 - zero_point as f32) * scale);
        Self { dtype: dtype.into(), scale: scale.into(), zero_point, low: real(least), high: real(most) }
    }

    /// How many values there are.
    #[must_use]
    pub fn steps(&self) -> f64 {
        ((self.high - self.low) / self.scale.max(f64::MIN_POSITIVE)).round() + 1.0
    }
}

/// Gathers how a grid is used: by the quantized values on it, and by the float values that it is to express.
#[derive(Debug, Clone)]
pub struct GridTally {
    grid: Grid,
    quantized: u64,
    at_ends: u64,
    values: u64,
    beyond: u64,
    range: Option<(f64, f64)>,
}

impl GridTally {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(grid: Grid) -> Self {
        Self { grid, quantized: 0, at_ends: 0, values: 0, beyond: 0, range: None }
    }

    /// Adds quantized values, as the real numbers that they stand for, and the float values in their place.
    pub fn add(&mut self, quantized: &[f32], float: &[f32]) {
        let Grid { low, high, scale, .. } = self.grid;
        self.quantized += quantized.len() as u64;
        // An end that stands for 0 is where RELU puts values, not where the grid cuts them off.
        let is_end = |value: f64| value != 0.0 && (value <= low || value >= high);
        self.at_ends += quantized.iter().filter(|value| is_end(f64::from(**value))).count() as u64;
        for value in float.iter().map(|value| f64::from(*value)).filter(|value| value.is_finite()) {
            self.values += 1;
            // Not by less than a step: the grid of SOFTMAX ends that much below 1.
            self.beyond += u64::from(value < low - scale || value > high + scale);
            let (least, most) = self.range.unwrap_or((value, value));
            self.range = Some((least.min(value), most.max(value)));
        }
    }

    /// How the grid is used.
    #[must_use]
    pub fn finish(&self) -> GridUse {
        let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
        let (low, high) = self.range.unwrap_or((0.0, 0.0));
        // The grid holds 0 in any case, so a range that does not come near it is counted from there.
        let (low, high) = (low.min(0.0), high.max(0.0));
        GridUse {
            at_ends: share(self.at_ends, self.quantized),
            beyond: share(self.beyond, self.values),
            used: (high - low) / (self.grid.high - self.grid.low).max(f64::MIN_POSITIVE),
            grid: self.grid.clone(),
        }
    }
}

/// How a grid is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GridUse {
    /// The grid.
    pub grid: Grid,
    /// Share of the quantized values that lie at an end of the grid, 0 to 1. An end that stands for 0 does not count.
    pub at_ends: f64,
    /// Share of the float values that lie beyond the ends by more than a step, 0 to 1.
    pub beyond: f64,
    /// Range of the float values, 0 included, over that of the grid: far below 1, steps are wasted; above 1, values are cut off.
    pub used: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_a_known_error() {
        let mut tally = ErrorTally::default();
        tally.add(&[3.0, 4.0], &[3.0, 3.0]).unwrap();
        tally.add(&[f32::NAN, -1.0], &[0.0, -1.0]).unwrap();
        let found = tally.finish();
        assert_eq!((found.elements, found.not_finite, found.max_abs), (3, 1, 1.0));
        assert_eq!((found.max_of_range, found.mean_of_range), (0.2, 1.0 / 15.0));
        assert!((found.snr_db.unwrap() - 10.0 * 26.0_f64.log10()).abs() < 1e-12);
        assert!((found.cosine - 22.0 / (26.0_f64 * 19.0).sqrt()).abs() < 1e-12);
        let error = tally.add(&[1.0], &[]).unwrap_err().to_string();
        assert!(error.contains("got 0 values, 1 of the reference"), "{error}");
        let mut same = ErrorTally::default();
        same.add(&[0.0, 2.0], &[0.0, 2.0]).unwrap();
        assert_eq!((same.finish().snr_db, same.finish().cosine), (None, 1.0));
        let mut zeros = ErrorTally::default();
        zeros.add(&[0.0], &[0.5]).unwrap();
        assert_eq!(zeros.finish().snr_db, Some(0.0));
    }

    #[test]
    fn ends_of_a_grid_count_unless_they_are_zero() {
        let grid = Grid::new("int8", 0.5, -128, (-128, 127));
        assert_eq!((grid.low, grid.high, grid.steps()), (0.0, 127.5, 256.0));
        let mut tally = GridTally::new(grid);
        tally.add(&[0.0, 1.0, 127.5, 127.5], &[0.0, 1.2, 128.0, 128.1]);
        let used = tally.finish();
        assert_eq!((used.at_ends, used.beyond), (0.5, 0.25));
        assert!((used.used - f64::from(128.1_f32) / 127.5).abs() < 1e-9);
        let mut signed = GridTally::new(Grid::new("int8", 1.0, 0, (-128, 127)));
        signed.add(&[-128.0, 0.0], &[-13.0, 12.5]);
        assert_eq!((signed.finish().at_ends, signed.finish().beyond, signed.finish().used), (0.5, 0.0, 0.1));
    }
}

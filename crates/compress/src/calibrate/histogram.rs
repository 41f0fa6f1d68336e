//! A histogram whose range grows with what it sees.

use super::Range;

/// Bins that hold values are between half of this and this many, once values differ enough.
const CAPACITY: i64 = 4096;

/// Counts of values in bins of equal width.
///
/// The width is a power of two and every bin starts at a multiple of it, so that widening merges whole bins: two and two.
/// The width is the smallest at which all values seen lie within 4096 bins. So the histogram depends on the values only, not on
/// their order or on how they were split into runs. Zero lies on a border of bins and is counted on its own: every
/// quantized type holds it exactly.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// Binary logarithm of the width; meaningless without bins.
    exponent: i32,
    /// The first bin covers `first * width` to `(first + 1) * width`.
    first: i64,
    counts: Vec<u64>,
    zeros: u64,
    range: Option<Range>,
}

impl Histogram {
    /// Counts `values`, which must be finite.
    pub fn add(&mut self, values: &[f32]) {
        let Some(seen) = Range::of(values) else { return };
        self.range = Some(self.range.map_or(seen, |range| range.union(seen)));
        let not_zero = values.iter().filter(|value| **value != 0.0);
        let spanned = not_zero.fold(None::<Range>, |range, &value| {
            let one = Range::new(value, value);
            Some(range.map_or(one, |range| range.union(one)))
        });
        if let Some(spanned) = spanned {
            self.grow(spanned);
        }
        let scale = exp2(-self.exponent);
        for &value in values {
            if value == 0.0 {
                self.zeros += 1;
            } else {
                let index = bin(value, scale) - self.first;
                if let Some(count) = usize::try_from(index).ok().and_then(|index| self.counts.get_mut(index)) {
                    *count += 1;
                }
            }
        }
    }

    /// Makes room for values of `range`.
    fn grow(&mut self, range: Range) {
        // Below this width the index of a bin would not be exact: float32 has 24 bits.
        let largest = range.max.abs().max(range.min.abs());
        let mut exponent = exponent_of(largest) - 23;
        let (mut low, mut high) = (bin(range.min, exp2(-exponent)), bin(range.max, exp2(-exponent)));
        if !self.counts.is_empty() {
            let shift = (exponent - self.exponent).max(0);
            exponent = exponent.max(self.exponent);
            (low, high) = (bin(range.min, exp2(-exponent)), bin(range.max, exp2(-exponent)));
            let last = self.first + self.counts.len() as i64 - 1;
            (low, high) = (low.min(self.first >> shift), high.max(last >> shift));
        }
        while high - low >= CAPACITY {
            exponent += 1;
            (low, high) = (low >> 1, high >> 1);
        }
        let mut counts = vec![0; usize::try_from(high - low + 1).unwrap_or(0)];
        let shift = exponent - self.exponent;
        for (index, &count) in (self.first..).zip(&self.counts) {
            counts[usize::try_from((index >> shift) - low).unwrap_or(0)] += count;
        }
        (self.exponent, self.first, self.counts) = (exponent, low, counts);
    }

    /// Smallest and largest value seen.
    #[must_use]
    pub fn range(&self) -> Option<Range> {
        self.range
    }

    /// How many values were seen, zeros included.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.zeros + self.counts.iter().sum::<u64>()
    }

    /// How many of them were 0.
    #[must_use]
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// Width of a bin.
    #[must_use]
    pub fn width(&self) -> f64 {
        exp2(self.exponent)
    }

    /// The bins from the smallest values to the largest, zeros left out: middle and count.
    pub fn bins(&self) -> impl DoubleEndedIterator<Item = (f64, u64)> + ExactSizeIterator + '_ {
        let (first, width) = (self.first, self.width());
        #[expect(clippy::cast_precision_loss, reason = "an index of at most 25 bits")]
        self.counts
            .iter()
            .enumerate()
            .map(move |(index, &count)| ((first + index as i64) as f64 * width + width / 2.0, count))
    }

    /// The value below which a share `fraction` (0 to 1) of all values lies, within the bin by interpolation.
    #[must_use]
    pub fn quantile(&self, fraction: f64) -> Option<f32> {
        let range = self.range?;
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
        let wanted = fraction.clamp(0.0, 1.0) * self.total() as f64;
        let mut below = 0.0;
        let mut zeros = Some(self.zeros as f64);
        for (middle, count) in self.bins() {
            if middle > 0.0
                && let Some(zeros) = zeros.take()
            {
                below += zeros;
                if below >= wanted && zeros > 0.0 {
                    return Some(0.0);
                }
            }
            let count = count as f64;
            if count > 0.0 && below + count >= wanted {
                let within = middle + ((wanted - below) / count - 0.5) * self.width();
                #[expect(clippy::cast_possible_truncation, reason = "a value of float32 size")]
                return Some((within as f32).clamp(range.min, range.max));
            }
            below += count;
        }
        Some(if zeros.is_some_and(|zeros| zeros > 0.0) { 0.0_f32.min(range.max) } else { range.max })
    }
}

/// The bin that `value` falls into, for bins of width `1 / scale`.
fn bin(value: f32, scale: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 25 bits: see `grow`")]
    let whole = (f64::from(value) * scale) as i64;
    // Rounded towards zero: `floor` is a call where the CPU is only known to be an x86-64, and this runs for every activation.
    whole - i64::from(whole as f64 > f64::from(value) * scale)
}

fn exp2(exponent: i32) -> f64 {
    2.0_f64.powi(exponent)
}

/// The exponent of a positive number: `2^exponent <= value < 2^(exponent + 1)`.
fn exponent_of(value: f32) -> i32 {
    let value = f64::from(value.max(f32::from_bits(1)));
    i32::try_from(value.to_bits() >> 52).unwrap_or(0) - 1023
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bins_are_aligned_and_zeros_stand_alone() {
        let mut histogram = Histogram::default();
        histogram.add(&[0.0, 0.0, 1.0, 2.0, -1.0]);
        assert_eq!((histogram.zeros(), histogram.total()), (2, 5));
        assert_eq!(histogram.range(), Some(Range::new(-1.0, 2.0)));
        assert!(histogram.bins().len() > 2048 && histogram.bins().len() <= 4096);
        let holding: Vec<_> = histogram.bins().filter(|bin| bin.1 > 0).map(|bin| bin.0.floor()).collect();
        assert_eq!(holding, [-1.0, 1.0, 2.0]);
        // A far outlier leaves the others where they belong.
        histogram.add(&[1e6]);
        assert_eq!(histogram.total(), 6);
        assert!(histogram.width() >= 256.0);
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::default();
        let values: Vec<_> = (0..10_000).map(|value| value as f32 / 100.0 - 50.0).collect();
        histogram.add(&values);
        for fraction in [0.0, 0.01, 0.25, 0.5, 0.9, 1.0] {
            let expected = -50.0 + 100.0 * fraction as f32;
            let found = histogram.quantile(fraction).unwrap();
            assert!((found - expected).abs() < 0.06, "{fraction}: {found}");
        }
        histogram.add(&[0.0; 100_000]);
        assert_eq!(histogram.quantile(0.5), Some(0.0));
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn nothing_but_zeros_and_single_values() {
        let mut histogram = Histogram::default();
        histogram.add(&[0.0; 7]);
        assert_eq!((histogram.total(), histogram.range()), (7, Some(Range::new(0.0, 0.0))));
        assert_eq!(histogram.quantile(0.9), Some(0.0));
        histogram.add(&[1e-40, f32::MAX, f32::MIN]);
        assert_eq!(histogram.total(), 10);
    }

    proptest! {
        #[test]
        fn neither_order_nor_runs_matter(
            values in prop::collection::vec((-1e4_f32..1e4, -20_i32..4), 1..60),
            cut in 0_usize..60,
        ) {
            let values: Vec<_> = values.into_iter().map(|(value, exponent)| value * 2.0_f32.powi(exponent)).collect();
            let (mut once, mut split, mut reversed) =
                (Histogram::default(), Histogram::default(), Histogram::default());
            once.add(&values);
            let cut = cut.min(values.len());
            split.add(&values[..cut]);
            split.add(&values[cut..]);
            values.iter().rev().for_each(|&value| reversed.add(&[value]));
            prop_assert_eq!(once.total(), values.len() as u64);
            for other in [split, reversed] {
                prop_assert_eq!(once.width(), other.width());
                prop_assert_eq!(once.bins().collect::<Vec<_>>(), other.bins().collect::<Vec<_>>());
            }
        }
    }
}

//! Axes: which numbers to write at them, and where values fall.

/// An axis: a range of values, its ticks, and whether distances are ratios.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    /// Value at the start.
    pub(super) low: f64,
    /// Value at the end; greater than `low`.
    pub(super) high: f64,
    /// Values to mark, within the range, ascending.
    pub(super) ticks: Vec<f64>,
    log: bool,
}

impl Scale {
    /// Encloses the finite ones of `values` in round numbers, with about `count` ticks, none further apart than 1, 2 or
    /// 5 times a power of ten; `limits` bounds the range where values are known to lie within it.
    pub(super) fn linear(values: impl IntoIterator<Item = f64>, count: usize, limits: (f64, f64)) -> Self {
        let (mut low, mut high) = range(values).unwrap_or((0.0, 1.0));
        if high - low <= high.abs().max(low.abs()) * 1e-9 {
            // One value: room on both sides, as far as it has digits worth showing.
            let room = if high == 0.0 { 1.0 } else { high.abs() * 0.05 };
            (low, high) = (low - room, high + room);
        }
        let step = nice_step((high - low) / count.max(1) as f64);
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let ticks: Vec<_> = whole_numbers(first, last).map(|i| i * step).collect();
        let (low, high) = ((first * step).max(limits.0), (last * step).min(limits.1));
        // Rounding errors of `i * step` are far below half a step.
        let inside = |tick: &f64| *tick > low - step * 1e-6 && *tick < high + step * 1e-6;
        Self { ticks: ticks.into_iter().filter(inside).collect(), low, high: high.max(low + step * 1e-6), log: false }
    }

    /// Whole numbers from the least to the greatest value, as for epochs; ticks are whole, at most about `count`.
    pub(super) fn counting(values: impl IntoIterator<Item = f64>, count: usize) -> Self {
        let (low, high) = range(values).unwrap_or((1.0, 1.0));
        if high - low < 1.0 {
            return Self { low: low - 0.5, high: low + 0.5, ticks: vec![low], log: false };
        }
        let step = nice_step((high - low) / count.max(1) as f64).max(1.0).round();
        let multiples = whole_numbers((low / step).ceil(), (high / step).floor()).map(|i| i * step);
        // The first epoch anchors the axis; a tick right beside it would touch its number.
        let far = |tick: &f64| *tick - low >= step * 0.5;
        let ticks = [low].into_iter().chain(multiples.filter(far)).collect();
        Self { low, high, ticks, log: false }
    }

    /// Logarithmic, from `1 / margin` of the least to `margin` times the greatest positive value, with ticks at 1, 2 and 5
    /// times powers of ten, thinned when there are many; evenly spaced ones where the range is narrow.
    pub(super) fn log(values: impl IntoIterator<Item = f64>, margin: f64) -> Self {
        let (low, high) = range(values.into_iter().filter(|value| *value > TINY)).unwrap_or((1.0, 10.0));
        let (low, high) = (low / margin, high * margin);
        let decades = whole_numbers(low.log10().floor(), high.log10().ceil());
        let with = |factors: &[f64]| -> Vec<f64> {
            let all = decades.clone().flat_map(|decade| factors.iter().map(move |f| f * 10f64.powf(decade)));
            all.filter(|tick| (low..=high).contains(tick)).collect()
        };
        let ladder = [&[1.0][..], &[1.0, 3.0], &[1.0, 2.0, 5.0], &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0]];
        let even = || Self::linear([low, high], 4, (low, high)).ticks;
        let ticks = ladder.into_iter().map(with).find(|ticks| ticks.len() >= 3).unwrap_or_else(even);
        let every = ticks.len().div_ceil(7).max(1);
        Self { low, high, ticks: ticks.into_iter().step_by(every).collect(), log: true }
    }

    /// Where a value falls: 0 at the start, 1 at the end.
    pub(super) fn position(&self, value: f64) -> f64 {
        if self.log {
            (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Digits after the decimal point that tell the ticks apart.
    pub(super) fn decimals(&self) -> usize {
        let step = self.ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
        let exact = |decimals: &usize| {
            let unit = 10f64.powi(*decimals as i32);
            ((step * unit).round() - step * unit).abs() < 1e-6 * (step * unit).abs()
        };
        if step.is_finite() { (0..8).find(exact).unwrap_or(8) } else { 2 }
    }
}

/// Beyond these, differences and steps would overflow or vanish; no axis of a report is for such values.
pub(super) const HUGE: f64 = 1e15;
const TINY: f64 = 1e-15;

/// The least and greatest value that is of a usable size.
fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let values = values.into_iter().filter(|value| value.abs() < HUGE);
    let values = values.map(|value| if value.abs() < TINY { 0.0 } else { value });
    values.fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((value.min(low), value.max(high)))
    })
}

/// The least of 1, 2, 5 times a power of ten that is at least `step`.
fn nice_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    factors.map(|factor| factor * power).into_iter().find(|nice| *nice >= step * (1.0 - 1e-9)).unwrap_or(step)
}

/// The whole numbers from `first` to `last`, of which there are few.
fn whole_numbers(first: f64, last: f64) -> impl Iterator<Item = f64> + Clone {
    let count = (last - first).clamp(-1.0, 1000.0) as i64;
    (0..=count).map(move |i| first + i as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANY: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

    #[test]
    fn ticks_are_round() {
        let scale = Scale::linear([0.031, 0.31, f64::NAN], 5, ANY);
        assert_eq!((scale.low, scale.high, scale.ticks.len(), scale.decimals()), (0.0, 0.4, 5, 1));
        let scale = Scale::linear([97.3, 99.7], 5, (0.0, 100.0));
        assert_eq!((scale.low, scale.high, scale.decimals()), (97.0, 100.0, 1));
        let scale = Scale::linear([100.0], 5, (0.0, 100.0));
        assert!(scale.high <= 100.0 && scale.low < 100.0);
        assert_eq!(Scale::counting((1..=12).map(f64::from), 6).ticks, [1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
        assert_eq!(Scale::counting([1.0], 6).ticks, [1.0]);
        assert_eq!(Scale::log([430e3, 1.7e6], 1.5).ticks, [500e3, 1e6, 2e6]);
        assert_eq!(Scale::log([430e3, 433e3], 1.2).ticks, [400e3, 450e3, 500e3]);
    }

    proptest! {
        #[test]
        fn any_values_give_a_usable_axis(values in proptest::collection::vec(proptest::num::f64::ANY, 0..6)) {
            for scale in [Scale::linear(values.clone(), 5, ANY), Scale::counting(values.clone(), 6), Scale::log(values.clone(), 1.3)] {
                prop_assert!(scale.low < scale.high, "{scale:?}");
                prop_assert!(!scale.ticks.is_empty() && scale.ticks.len() <= 16, "{scale:?}");
                prop_assert!(scale.ticks.windows(2).all(|pair| pair[0] < pair[1]), "{scale:?}");
                prop_assert!(scale.ticks.iter().all(|tick| (-0.01..=1.01).contains(&scale.position(*tick))), "{scale:?}");
                prop_assert!(scale.decimals() <= 8);
            }
        }
    }
}

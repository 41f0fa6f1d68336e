//! Where the points of an integer grid lie: scales and zero points for ranges and weights, as TensorFlow Lite's converter
//! computes them (LiteRT's `tools/optimize/quantization_utils.cc`). Quantization and its simulation share these, so that
//! what is exported is what was simulated.

use std::ops::Range;

/// A narrower range is widened to this, so that a scale stays far from the smallest number. Same as the converter.
const MIN_SPAN: f32 = 1e-6;

/// What no channel's scale is below, as a fraction of the largest: a channel so small does not reach one step of the
/// output, but its bias must stay expressible.
const MIN_SCALE_RATIO: f32 = 1.0 / 1_048_576.0;

/// The range from `min` to `max` with 0, which must be expressible exactly (padding, RELU), and wide enough to divide by.
#[must_use]
pub fn effective_range(min: f32, max: f32) -> (f32, f32) {
    let (min, max) = (min.min(0.0), max.max(0.0));
    if min == max {
        // Nothing but zeros was seen. One is as good as any, and keeps the scale of a bias behind it fine.
        (0.0, 1.0)
    } else if max - min < MIN_SPAN {
        if max > -min { (min, min + MIN_SPAN) } else { (max - MIN_SPAN, max) }
    } else {
        (min, max)
    }
}

/// Scale and zero point of int8 elements from -128 to 127 (`GetAsymmetricQuantizationParams`, in float32).
#[must_use]
pub fn int8_parameters(min: f32, max: f32) -> (f32, i32) {
    let (min, max) = effective_range(min, max);
    // Halves first: the difference of two large numbers may overflow.
    let scale = (max / 2.0 - min / 2.0) / 127.5;
    let zero_point = (-128.0 - min / scale).round().clamp(-128.0, 127.0);
    (scale, zero_point as i32)
}

/// The range that a learned step makes of a range: both ends times e to its power, which keeps the zero point.
#[must_use]
pub fn stretched_range(min: f32, max: f32, step: f64) -> (f32, f32) {
    let factor = step.exp() as f32;
    (min * factor, max * factor)
}

/// The scale of weights whose learned step, its logarithm, is `step`.
#[must_use]
pub fn scale_of_step(step: f64) -> f32 {
    (step.exp() as f32).max(f32::MIN_POSITIVE)
}

/// Scale of int16 elements from -32767 to 32767, zero point 0 (`GetSymmetricQuantizationParams`).
#[must_use]
pub fn int16_scale(min: f32, max: f32) -> f32 {
    let (min, max) = effective_range(min, max);
    max.max(-min) / 32_767.0
}

/// How the elements of a constant fall into channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    count: usize,
    inner: usize,
}

impl Channels {
    /// One channel for each index along `axis`; `None`: one for all.
    #[must_use]
    pub fn new(shape: &[usize], axis: Option<usize>) -> Self {
        match axis {
            None => Self { count: 1, inner: usize::MAX },
            Some(axis) => Self {
                count: shape.get(axis).copied().unwrap_or(1).max(1),
                inner: shape.iter().skip(axis + 1).product::<usize>().max(1),
            },
        }
    }

    /// One channel for each `size` of `elements` that follow each other.
    #[must_use]
    pub fn of_blocks(elements: usize, size: usize) -> Self {
        Self { count: elements.div_ceil(size.max(1)).max(1), inner: size.max(1) }
    }

    /// Elements of a vector, `count` scales repeating.
    #[must_use]
    pub fn of_vector(count: usize) -> Self {
        Self { count: count.max(1), inner: 1 }
    }

    /// How many there are.
    #[must_use]
    pub fn count(self) -> usize {
        self.count
    }

    /// The channel of element `index`.
    #[must_use]
    pub fn of(self, index: usize) -> usize {
        index / self.inner % self.count
    }

    /// The elements of a channel among `len`, in their order.
    pub fn runs(self, channel: usize, len: usize) -> impl Iterator<Item = Range<usize>> {
        let (first, step) = (channel.saturating_mul(self.inner), self.count.saturating_mul(self.inner));
        (first..len).step_by(step).map(move |start| start..start.saturating_add(self.inner).min(len))
    }
}

/// Symmetric scales: the largest magnitude of a channel becomes `limit`. A channel of zeros gets the largest scale.
#[must_use]
pub fn weight_scales(values: &[f32], channels: Channels, limit: f32) -> Vec<f32> {
    let mut scales = vec![0.0_f32; channels.count];
    for (index, value) in values.iter().enumerate() {
        let scale = &mut scales[channels.of(index)];
        *scale = scale.max(value.abs());
    }
    scales.iter_mut().for_each(|scale| *scale /= limit);
    let largest = scales.iter().copied().fold(0.0, f32::max);
    let largest = if largest >= f32::MIN_POSITIVE { largest } else { 1.0 / limit };
    for scale in &mut scales {
        if *scale == 0.0 {
            *scale = largest;
        }
        *scale = scale.max(largest * MIN_SCALE_RATIO).max(f32::MIN_POSITIVE);
    }
    scales
}

/// Raises weight scales until each bias takes at most half the range of int32, so that the sum of products still fits
/// beside it (`AdjustWeightsForBiasScale`). What coarser weights lose is under a thousandth of such a bias, for up to 8,000
/// products.
pub fn raise_scales_for_bias(scales: &mut [f32], bias: &[f32], input_scale: f32) {
    let limit = f64::from(i32::MAX) / 2.0;
    let count = scales.len().max(1);
    for (index, value) in bias.iter().enumerate() {
        let Some(scale) = scales.get_mut(index % count) else { return };
        let needed = f64::from(value.abs()) / limit / f64::from(input_scale);
        if f64::from(*scale) < needed {
            *scale = (needed * 1.000_001) as f32;
        }
    }
}

/// The scales of a bias: those of the products.
#[must_use]
pub fn bias_scales(input_scale: f32, weight_scales: &[f32]) -> Vec<f32> {
    weight_scales.iter().map(|scale| (input_scale * scale).max(f32::MIN_POSITIVE)).collect()
}

/// The nearest integers to `values / scale`, ties away from zero, within `-limit..=limit`.
#[must_use]
pub fn quantize_symmetric(values: &[f32], channels: Channels, scales: &[f32], limit: f64) -> Vec<f64> {
    let steps = |(index, &value): (usize, &f32)| {
        let scale = scales.get(channels.of(index)).copied().unwrap_or(1.0);
        (f64::from(value) / f64::from(scale)).round().clamp(-limit, limit)
    };
    values.iter().enumerate().map(steps).collect()
}

/// The nearest integers to `values / scale + zero_point`, ties away from zero, within `low..=high`: constant operands.
#[must_use]
pub fn quantize_asymmetric(values: &[f32], (scale, zero_point): (f32, i64), low: f64, high: f64) -> Vec<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a zero point of at most 16 bits")]
    let offset = zero_point as f64;
    values.iter().map(|&value| ((f64::from(value) / f64::from(scale)).round() + offset).clamp(low, high)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_those_of_the_converter() {
        assert_eq!(int8_parameters(0.0, 1.0), (0.003_921_569, -128));
        // Half a step rounds away from zero.
        assert_eq!(int8_parameters(-1.0, 1.0), (2.0 / 255.0, -1));
        // Zero is always inside.
        assert_eq!(int8_parameters(2.0, 51.0), (0.2, -128));
        assert_eq!(int8_parameters(-51.0, -2.0), (0.2, 127));
        assert_eq!(int16_scale(-0.5, 0.25), 0.5 / 32_767.0);
    }

    #[test]
    fn degenerate_ranges_give_usable_scales() {
        for (min, max) in [(0.0, 0.0), (0.0, 1e-30), (-1e-30, 1e-31), (f32::MIN, f32::MAX)] {
            let (scale, zero_point) = int8_parameters(min, max);
            assert!(scale.is_normal() && scale > 0.0 && (-128..=127).contains(&zero_point), "{min} to {max}: {scale}");
            assert!(int16_scale(min, max).is_normal());
        }
    }

    #[test]
    fn channels_of_zeros_and_tiny_channels() {
        let channels = Channels::new(&[3, 2], Some(0));
        let scales = weight_scales(&[0.0, 0.0, 1.27, -0.5, 1e-30, 0.0], channels, 127.0);
        assert_eq!(scales[0], scales[1]);
        assert_eq!(scales[2], scales[1] / 1_048_576.0);
        assert_eq!(weight_scales(&[0.0; 6], channels, 127.0), [1.0 / 127.0; 3]);
    }

    proptest! {
        #[test]
        fn int8_covers_the_range_to_half_a_step_and_holds_zero(a in -1e6_f32..1e6, b in -1e6_f32..1e6) {
            let (scale, zero_point) = int8_parameters(a.min(b), a.max(b));
            prop_assert!((-128..=127).contains(&zero_point));
            let real = |step: i32| f64::from(scale) * f64::from(step - zero_point);
            let slack = f64::from(scale) * 0.5001;
            let (min, max) = effective_range(a.min(b), a.max(b));
            prop_assert!(real(-128) <= f64::from(min) + slack, "{} {min}", real(-128));
            prop_assert!(real(127) >= f64::from(max) - slack, "{} {max}", real(127));
            prop_assert_eq!(real(zero_point), 0.0);
        }
    }
}

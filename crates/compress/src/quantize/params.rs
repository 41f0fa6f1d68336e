//! Quantization parameters and quantized constants, as TensorFlow Lite's converter computes them
//! (LiteRT's `tools/optimize/quantization_utils.cc`).

use litesmith_graph::{DType, Data, Error, Quantization, Result, Tensor};

use super::WeightBits;
use crate::Range;

/// A narrower range is widened to this, so that a scale stays far from the smallest number. Same as the converter.
const MIN_SPAN: f32 = 1e-6;

/// What no channel's scale is below, as a fraction of the largest: a channel so small does not reach one step of the
/// output, but its bias must stay expressible.
const MIN_SCALE_RATIO: f32 = 1.0 / 1_048_576.0;

/// `range` with 0, which must be expressible exactly (padding, RELU), and wide enough to divide by.
pub(super) fn effective_range(range: Range) -> Range {
    let Range { min, max } = Range::new(range.min.min(0.0), range.max.max(0.0));
    if min == max {
        // Nothing but zeros was seen. One is as good as any, and keeps the scale of a bias behind it fine.
        Range::new(0.0, 1.0)
    } else if max - min < MIN_SPAN {
        if max > -min { Range::new(min, min + MIN_SPAN) } else { Range::new(max - MIN_SPAN, max) }
    } else {
        Range::new(min, max)
    }
}

/// Scale and zero point of int8 elements from -128 to 127 (`GetAsymmetricQuantizationParams`, in float32).
pub(super) fn int8_parameters(range: Range) -> (f32, i64) {
    let Range { min, max } = effective_range(range);
    // Halves first: the difference of two large numbers may overflow.
    let scale = (max / 2.0 - min / 2.0) / 127.5;
    let zero_point = (-128.0 - min / scale).round().clamp(-128.0, 127.0);
    #[expect(clippy::cast_possible_truncation, reason = "an integer between -128 and 127")]
    (scale, zero_point as i64)
}

/// Scale of int16 elements from -32767 to 32767, zero point 0 (`GetSymmetricQuantizationParams`).
pub(super) fn int16_scale(range: Range) -> f32 {
    let Range { min, max } = effective_range(range);
    max.max(-min) / 32_767.0
}

/// How the elements of a constant fall into channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channels {
    count: usize,
    inner: usize,
}

impl Channels {
    /// One channel for each index along `axis`; `None`: one for all.
    pub(super) fn new(shape: &[usize], axis: Option<usize>) -> Self {
        match axis {
            None => Self { count: 1, inner: usize::MAX },
            Some(axis) => Self {
                count: shape.get(axis).copied().unwrap_or(1).max(1),
                inner: shape.iter().skip(axis + 1).product::<usize>().max(1),
            },
        }
    }

    /// How many there are.
    pub(super) fn count(self) -> usize {
        self.count
    }

    /// That of the element `index`.
    pub(super) fn of(self, index: usize) -> usize {
        index / self.inner % self.count
    }
}

/// Symmetric scales: the largest magnitude of a channel becomes `limit`. A channel of zeros gets the largest scale.
pub(super) fn weight_scales(values: &[f32], channels: Channels, limit: f32) -> Vec<f32> {
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
/// beside it (`AdjustWeightsForBiasScale`). What coarser weights lose is under a thousandth of such a bias, for up to 8,000 products.
pub(super) fn raise_scales_for_bias(scales: &mut [f32], bias: &[f32], input_scale: f32) {
    let limit = f64::from(i32::MAX) / 2.0;
    let count = scales.len();
    for (index, value) in bias.iter().enumerate() {
        let scale = &mut scales[index % count];
        let needed = f64::from(value.abs()) / limit / f64::from(input_scale);
        if f64::from(*scale) < needed {
            #[expect(clippy::cast_possible_truncation, reason = "rounding to float32 is meant")]
            let needed = (needed * 1.000_001) as f32;
            *scale = needed;
        }
    }
}

/// The nearest integers to `values / scale`, ties away from zero, within `-limit..=limit`.
pub(super) fn quantize_symmetric(values: &[f32], channels: Channels, scales: &[f32], limit: f64) -> Vec<f64> {
    let steps = |(index, &value): (usize, &f32)| {
        let scale = scales.get(channels.of(index)).copied().unwrap_or(1.0);
        (f64::from(value) / f64::from(scale)).round().clamp(-limit, limit)
    };
    values.iter().enumerate().map(steps).collect()
}

/// How far below the largest magnitude [`least_error_scales`] looks, in steps of a hundredth.
const SHRINK_STEPS: u32 = 60;

/// Symmetric scales with the smallest squared error of each channel's weights, between 0.4 and 1 of what [`weight_scales`]
/// gives: with few integers, clipping the largest weights a little makes the steps of all others finer.
pub(super) fn least_error_scales(values: &[f32], channels: Channels, limit: f32) -> Vec<f32> {
    let full = weight_scales(values, channels, limit);
    let mut best = full.clone();
    let mut least = vec![f64::INFINITY; full.len()];
    let limit = f64::from(limit);
    for shrink in 0..=SHRINK_STEPS {
        #[expect(clippy::cast_possible_truncation, reason = "a factor between 0 and 1")]
        let factor = (1.0 - f64::from(shrink) / 100.0) as f32;
        let scales: Vec<_> = full.iter().map(|scale| scale * factor).collect();
        let mut errors = vec![0.0; full.len()];
        for (index, &value) in values.iter().enumerate() {
            let channel = channels.of(index);
            let scale = f64::from(scales[channel]);
            let step = (f64::from(value) / scale).round().clamp(-limit, limit);
            errors[channel] += (step * scale - f64::from(value)).powi(2);
        }
        for channel in 0..full.len() {
            if errors[channel] < least[channel] {
                (least[channel], best[channel]) = (errors[channel], scales[channel]);
            }
        }
    }
    best
}

/// The nearest integers to `values / scale` of at most 8 bits.
pub(super) fn nearest_steps(values: &[f32], channels: Channels, scales: &[f32], limit: f32) -> Vec<i8> {
    let steps = quantize_symmetric(values, channels, scales, f64::from(limit));
    #[expect(clippy::cast_possible_truncation, reason = "integers between -127 and 127")]
    steps.iter().map(|&step| step as i8).collect()
}

/// `tensor` as these integers, with these scales along `axis`, or one for all.
pub(super) fn integer_weights(
    tensor: &Tensor,
    steps: &[i8],
    scales: Vec<f32>,
    axis: Option<usize>,
    bits: WeightBits,
) -> Tensor {
    let data = match bits {
        WeightBits::Int8 => Data::from_slice(steps),
        // Two to a byte, the first in the low half.
        WeightBits::Int4 => {
            let nibble = |step: Option<&i8>| step.map_or(0, |step| step.cast_unsigned() & 15);
            let pack = |pair: &[i8]| nibble(pair.first()) | nibble(pair.get(1)) << 4;
            Data::from_slice(&steps.chunks(2).map(pack).collect::<Vec<_>>())
        }
    };
    constant(tensor, bits.dtype(), Quantization::per_channel(scales, axis.unwrap_or(0)), data)
}

/// `tensor`, a bias, in int32 or int64, in the scale of the products: `input_scale * weight_scales`.
pub(super) fn integer_bias(
    tensor: &Tensor,
    values: &[f32],
    dtype: DType,
    input_scale: f32,
    weight_scales: &[f32],
) -> Tensor {
    let scales: Vec<_> = weight_scales.iter().map(|scale| (input_scale * scale).max(f32::MIN_POSITIVE)).collect();
    let channels = Channels { count: scales.len(), inner: 1 };
    let data = if dtype == DType::I64 {
        // Beyond 2^53 the integers are no longer exact, and no longer matter: float32 has 24 bits.
        let steps = quantize_symmetric(values, channels, &scales, 9_007_199_254_740_992.0);
        #[expect(clippy::cast_possible_truncation, reason = "integers of at most 53 bits")]
        let elements: Vec<_> = steps.iter().map(|&step| step as i64).collect();
        Data::from_slice(&elements)
    } else {
        let steps = quantize_symmetric(values, channels, &scales, f64::from(i32::MAX));
        #[expect(clippy::cast_possible_truncation, reason = "integers of at most 31 bits")]
        let elements: Vec<_> = steps.iter().map(|&step| step as i32).collect();
        Data::from_slice(&elements)
    };
    // A bias is a vector; leading axes of size 1 do no harm.
    let axis = if scales.len() > 1 { tensor.shape.len().saturating_sub(1) } else { 0 };
    constant(tensor, dtype, Quantization::per_channel(scales, axis), data)
}

/// `tensor`, a constant operand, with the parameters of an activation of type `dtype` (int8 or int16).
pub(super) fn constant_operand(
    tensor: &Tensor,
    values: &[f32],
    dtype: DType,
    (scale, zero_point): (f32, i64),
) -> Tensor {
    let (low, high) = if dtype == DType::I8 { (-128.0, 127.0) } else { (-32_767.0, 32_767.0) };
    #[expect(clippy::cast_precision_loss, reason = "a zero point of at most 16 bits")]
    let offset = zero_point as f64;
    let steps = values.iter().map(|&value| ((f64::from(value) / f64::from(scale)).round() + offset).clamp(low, high));
    #[expect(clippy::cast_possible_truncation, reason = "clamped to the type's range")]
    let data = match dtype {
        DType::I8 => Data::from_slice(&steps.map(|step| step as i8).collect::<Vec<_>>()),
        _ => Data::from_slice(&steps.map(|step| step as i16).collect::<Vec<_>>()),
    };
    constant(tensor, dtype, Quantization::per_tensor(scale, zero_point), data)
}

fn constant(tensor: &Tensor, dtype: DType, quantization: Quantization, data: Data) -> Tensor {
    Tensor { dtype, quantization: Some(quantization), data: Some(data), ..tensor.clone() }
}

/// The elements of a float32 constant, which must be finite.
///
/// # Errors
/// [`Error::Invalid`] for infinities and NaN, [`Error::Malformed`] when the tensor holds no float32 data.
pub(super) fn finite_elements(tensor: &Tensor) -> Result<&[f32]> {
    let place = || format!("tensor \"{}\"", tensor.name);
    let data = tensor.data.as_ref().filter(|_| tensor.dtype == DType::F32);
    let values: &[f32] = data
        .ok_or_else(|| Error::malformed(place(), format!("got {tensor}, expected a float32 constant")))?
        .elements()?;
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Error::invalid(place(), format!("element {index} is {}", values[index])).with_hint(
            "weights with infinities or NaN cannot be quantized; train the model again from a good checkpoint",
        )),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn int8_weights(tensor: &Tensor, values: &[f32], scales: Vec<f32>, axis: usize) -> Tensor {
        let steps = nearest_steps(values, Channels::new(&tensor.shape, Some(axis)), &scales, 127.0);
        integer_weights(tensor, &steps, scales, Some(axis), WeightBits::Int8)
    }

    #[test]
    fn int4_is_packed_and_loses_less_with_a_scale_of_its_own() {
        let tensor = Tensor::new("w", DType::F32, [5]);
        let packed = integer_weights(&tensor, &[1, -7, 7, -1, 3], vec![0.5], None, WeightBits::Int4);
        assert_eq!(packed.data.as_ref().unwrap().narrow_integers(DType::I4, 5).unwrap(), [1, -7, 7, -1, 3]);
        assert_eq!((packed.dtype, packed.byte_size().unwrap()), (DType::I4, 3));

        let mut values: Vec<_> = (0..400).map(|index| (index as f32 * 0.37).sin()).collect();
        values.push(2.0);
        let channels = Channels::new(&[401], None);
        let error = |scales: &[f32]| -> f32 {
            let steps = nearest_steps(&values, channels, scales, 7.0);
            steps.iter().zip(&values).map(|(&step, value)| (f32::from(step) * scales[0] - value).powi(2)).sum()
        };
        let (largest, least) = (weight_scales(&values, channels, 7.0), least_error_scales(&values, channels, 7.0));
        assert!(error(&least) < 0.6 * error(&largest), "{} {}", error(&least), error(&largest));
    }

    #[test]
    fn parameters_are_those_of_the_converter() {
        assert_eq!(int8_parameters(Range::new(0.0, 1.0)), (0.003_921_569, -128));
        // Half a step rounds away from zero.
        assert_eq!(int8_parameters(Range::new(-1.0, 1.0)), (2.0 / 255.0, -1));
        // Zero is always inside.
        assert_eq!(int8_parameters(Range::new(2.0, 51.0)), (0.2, -128));
        assert_eq!(int8_parameters(Range::new(-51.0, -2.0)), (0.2, 127));
        assert_eq!(int16_scale(Range::new(-0.5, 0.25)), 0.5 / 32_767.0);
    }

    #[test]
    fn degenerate_ranges_give_usable_scales() {
        for range in
            [Range::new(0.0, 0.0), Range::new(0.0, 1e-30), Range::new(-1e-30, 1e-31), Range::new(f32::MIN, f32::MAX)]
        {
            let (scale, zero_point) = int8_parameters(range);
            assert!(scale.is_normal() && scale > 0.0 && (-128..=127).contains(&zero_point), "{range:?}: {scale}");
            assert!(int16_scale(range).is_normal());
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

    #[test]
    fn a_bias_that_would_overflow_raises_the_scale() {
        let mut scales = vec![1e-9, 1e-2];
        raise_scales_for_bias(&mut scales, &[5.0, 5.0], 1e-3);
        assert!(scales[0] > 1e-9);
        assert_eq!(scales[1], 1e-2);
        let tensor = Tensor::new("b", DType::F32, [2]);
        let bias = integer_bias(&tensor, &[5.0, 5.0], DType::I32, 1e-3, &scales);
        let elements = bias.data.unwrap().elements::<i32>().unwrap().to_vec();
        assert!(elements[0] > 1 << 29 && elements[0] <= 1 << 30, "{elements:?}");
        let back = f64::from(elements[0]) * f64::from(bias.quantization.unwrap().scales[0]);
        assert!((back - 5.0).abs() < 1e-5);
    }

    #[test]
    fn a_bias_with_leading_axes_has_its_scales_along_the_last() {
        let tensor = Tensor::new("b", DType::F32, [1, 1, 2]);
        let bias = integer_bias(&tensor, &[1.0, 1.0], DType::I64, 0.5, &[1.0, 0.5]);
        assert_eq!(bias.data.unwrap().elements::<i64>().unwrap(), [2, 4]);
        bias.quantization.unwrap().check(&tensor.shape).unwrap();
    }

    #[test]
    fn the_last_axis_can_be_the_channels() {
        let tensor = Tensor::new("w", DType::F32, [1, 1, 2, 2]);
        let values = [1.0, -20.0, 0.5, 10.0];
        let scales = weight_scales(&values, Channels::new(&tensor.shape, Some(3)), 127.0);
        let weights = int8_weights(&tensor, &values, scales, 3);
        assert_eq!(weights.data.unwrap().elements::<i8>().unwrap(), [127, -127, 64, 64]);
        assert_eq!(weights.quantization.unwrap().axis, 3);
    }

    proptest! {
        #[test]
        fn int8_covers_the_range_to_half_a_step_and_holds_zero(a in -1e6_f32..1e6, b in -1e6_f32..1e6) {
            let range = Range::new(a.min(b), a.max(b));
            let (scale, zero_point) = int8_parameters(range);
            prop_assert!((-128..=127).contains(&zero_point));
            let real = |step: i64| f64::from(scale) * (step - zero_point) as f64;
            let slack = f64::from(scale) * 0.5001;
            let range = effective_range(range);
            prop_assert!(real(-128) <= f64::from(range.min) + slack, "{} {range:?}", real(-128));
            prop_assert!(real(127) >= f64::from(range.max) - slack, "{} {range:?}", real(127));
            prop_assert_eq!(real(zero_point), 0.0);
        }

        #[test]
        fn weights_are_within_half_a_step(values in prop::collection::vec(-3.0_f32..3.0, 12)) {
            let tensor = Tensor::new("w", DType::F32, [3, 4]);
            let channels = Channels::new(&tensor.shape, Some(0));
            let weights = int8_weights(&tensor, &values, weight_scales(&values, channels, 127.0), 0);
            let scales = weights.quantization.unwrap().scales;
            let data = weights.data.unwrap();
            for (index, (&step, &value)) in data.elements::<i8>().unwrap().iter().zip(&values).enumerate() {
                let scale = f64::from(scales[index / 4]);
                prop_assert!(step != -128);
                prop_assert!((f64::from(step) * scale - f64::from(value)).abs() <= scale * 0.500_01);
            }
        }
    }
}

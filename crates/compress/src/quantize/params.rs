//! Quantized constants: values of a float32 tensor on the grids that [`litesmith_kernels::grid`] lays.

use half::{bf16, f16};
use litesmith_graph::{DType, Data, Error, Quantization, Result, Tensor};
use litesmith_kernels::grid::{self, Channels, bias_scales, quantize_asymmetric, quantize_symmetric, weight_scales};

use super::WeightBits;
use crate::Range;

/// `range` with 0, and wide enough to divide by ([`grid::effective_range`]).
pub(super) fn effective_range(range: Range) -> Range {
    let (min, max) = grid::effective_range(range.min, range.max);
    Range::new(min, max)
}

/// How many scales [`least_error_scales`] tries, each a hundredth of the largest below the one before.
const SHRINKS: usize = 61;

/// Symmetric scales with the smallest squared error of each channel's weights, between 0.4 and 1 of what [`weight_scales`]
/// gives: with few integers, clipping the largest weights a little makes the steps of all others finer.
pub(super) fn least_error_scales(values: &[f32], channels: Channels, limit: f32) -> Vec<f32> {
    least_error_scales_as(values, channels, limit, |scale| scale)
}

/// The largest scale of a block: the largest number that float16 and bfloat16 both have.
pub(super) const BLOCK_SCALE_MAX: f32 = 65_280.0;

/// The same for blocks, whose scales are stored as float16, which XNNPACK rounds to bfloat16, and must be normal numbers: they are
/// numbers that both have, so that all that run them read the same.
pub(super) fn block_scales(values: &[f32], channels: Channels, limit: f32) -> Vec<f32> {
    let stored = |scale: f32| bf16::from_f32(scale).to_f32().clamp(f16::MIN_POSITIVE.to_f32(), BLOCK_SCALE_MAX);
    least_error_scales_as(values, channels, limit, stored)
}

fn least_error_scales_as(values: &[f32], channels: Channels, limit: f32, stored: impl Fn(f32) -> f32) -> Vec<f32> {
    let full = weight_scales(values, channels, limit);
    let best_of = |(channel, &full): (usize, &f32)| {
        #[expect(clippy::cast_possible_truncation, reason = "a factor between 0 and 1")]
        let shrunk = |shrink: usize| stored(full * (1.0 - shrink as f64 / 100.0) as f32);
        let scales: [f32; SHRINKS] = std::array::from_fn(shrunk);
        let wide = scales.map(f64::from);
        let mut errors = [0.0; SHRINKS];
        for run in channels.runs(channel, values.len()) {
            values[run].iter().for_each(|&value| add_squared_errors(&mut errors, &wide, value, limit));
        }
        let least = errors
            .iter()
            .zip(scales)
            .fold((f64::INFINITY, full), |least, (&error, scale)| if error < least.0 { (error, scale) } else { least });
        least.1
    };
    full.iter().enumerate().map(best_of).collect()
}

/// Adds to `errors` what rounding `value` to steps of each scale costs, at most `limit` of them. The sign does not matter.
fn add_squared_errors<const N: usize>(errors: &mut [f64; N], scales: &[f64; N], value: f32, limit: f32) {
    /// From here on, neighbouring numbers are 1 apart: adding it rounds to an integer. Either of a tie costs the same.
    const ROUNDS: f64 = 4_503_599_627_370_496.0;
    let (value, limit) = (f64::from(value.abs()), f64::from(limit));
    for (error, &scale) in errors.iter_mut().zip(scales) {
        // `round` is a call for each number on the oldest CPUs of a family.
        let nearest = (value / scale).min(limit) + ROUNDS - ROUNDS;
        let rest = nearest * scale - value;
        *error += rest * rest;
    }
}

/// The nearest integers to `values / scale` of at most 8 bits.
pub(super) fn nearest_steps(values: &[f32], channels: Channels, scales: &[f32], limit: f32) -> Vec<i8> {
    let steps = quantize_symmetric(values, channels, scales, f64::from(limit));
    #[expect(clippy::cast_possible_truncation, reason = "integers between -127 and 127")]
    steps.iter().map(|&step| step as i8).collect()
}

/// `tensor` as these integers.
pub(super) fn integer_weights(tensor: &Tensor, steps: &[i8], quantization: Quantization, bits: WeightBits) -> Tensor {
    let data = match bits {
        WeightBits::Int8 => Data::from_slice(steps),
        // Two to a byte, the first in the low half.
        WeightBits::Int4 => {
            let nibble = |step: Option<&i8>| step.map_or(0, |step| step.cast_unsigned() & 15);
            let pack = |pair: &[i8]| nibble(pair.first()) | nibble(pair.get(1)) << 4;
            Data::from_slice(&steps.chunks(2).map(pack).collect::<Vec<_>>())
        }
    };
    constant(tensor, bits.dtype(), quantization, data)
}

/// `tensor`, a bias, in int32 or int64, in the scale of the products: `input_scale * weight_scales`.
pub(super) fn integer_bias(
    tensor: &Tensor,
    values: &[f32],
    dtype: DType,
    input_scale: f32,
    weight_scales: &[f32],
) -> Tensor {
    let scales = bias_scales(input_scale, weight_scales);
    let channels = Channels::of_vector(scales.len());
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
    let steps = quantize_asymmetric(values, (scale, zero_point), low, high).into_iter();
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
    use litesmith_kernels::grid::raise_scales_for_bias;
    use proptest::prelude::*;

    use super::*;

    fn int8_weights(tensor: &Tensor, values: &[f32], scales: Vec<f32>, axis: usize) -> Tensor {
        let steps = nearest_steps(values, Channels::new(&tensor.shape, Some(axis)), &scales, 127.0);
        integer_weights(tensor, &steps, Quantization::per_channel(scales, axis), WeightBits::Int8)
    }

    #[test]
    fn int4_is_packed_and_loses_less_with_a_scale_of_its_own() {
        let tensor = Tensor::new("w", DType::F32, [5]);
        let packed = integer_weights(&tensor, &[1, -7, 7, -1, 3], Quantization::per_tensor(0.5, 0), WeightBits::Int4);
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

    /// What the search does, one weight and one scale at a time.
    fn least_error_scales_in_turn(values: &[f32], channels: Channels, limit: f32) -> Vec<f32> {
        let mut best = weight_scales(values, channels, limit);
        let full = best.clone();
        let mut least = vec![f64::INFINITY; full.len()];
        for shrink in 0..=60 {
            let scales: Vec<_> = full.iter().map(|scale| scale * (1.0 - f64::from(shrink) / 100.0) as f32).collect();
            let mut errors = vec![0.0; full.len()];
            for (index, &value) in values.iter().enumerate() {
                let (channel, value) = (channels.of(index), f64::from(value));
                let scale = f64::from(scales[channel]);
                let step = (value / scale).round().clamp(-f64::from(limit), f64::from(limit));
                errors[channel] += (step * scale - value).powi(2);
            }
            for channel in 0..full.len() {
                if errors[channel] < least[channel] {
                    (least[channel], best[channel]) = (errors[channel], scales[channel]);
                }
            }
        }
        best
    }

    #[test]
    fn all_scales_at_once_are_the_same_as_in_turn() {
        let values: Vec<_> = (0..360).map(|index| (index as f32 * 0.37).sin() * (index as f32 * 0.9).cos()).collect();
        // Many halves, which are ties where the scale is a power of two.
        let ties: Vec<_> = (0..360).map(|index| ((index * 7 % 29) as f32 - 14.0) * 0.25).collect();
        let layouts = [
            Channels::new(&[8, 45], Some(0)),
            Channels::new(&[45, 8], Some(1)),
            Channels::new(&[5, 8, 9], Some(1)),
            Channels::new(&[360], None),
            Channels::of_blocks(360, 32),
        ];
        for (channels, limit) in layouts.into_iter().flat_map(|channels| [(channels, 7.0), (channels, 127.0)]) {
            for values in [&values, &ties] {
                let (got, want) =
                    (least_error_scales(values, channels, limit), least_error_scales_in_turn(values, channels, limit));
                assert_eq!(got, want, "{channels:?} {limit}");
            }
        }
    }

    #[test]
    fn scales_of_blocks_are_numbers_of_float16_and_of_bfloat16() {
        let mut values: Vec<_> = (0..128).map(|index| (index as f32 * 0.37).sin() * 1.234).collect();
        values[32..64].iter_mut().for_each(|value| *value *= 1e-7);
        values[64..96].fill(0.0);
        values[100] = 40.0;
        let scales = block_scales(&values, Channels::of_blocks(128, 32), 7.0);
        assert_eq!(scales.len(), 4);
        for scale in &scales {
            assert_eq!(f16::from_f32(*scale).to_f32(), *scale);
            assert_eq!(bf16::from_f32(*scale).to_f32(), *scale);
            assert!(f16::from_f32(*scale).is_normal() && *scale > 0.0);
        }
        assert!((0.07..0.18).contains(&scales[0]), "the outlier is of another block: {scales:?}");
        assert_eq!(scales[1], f16::MIN_POSITIVE.to_f32());
        assert!(scales[3] > 2.0);
        let largest = block_scales(&[BLOCK_SCALE_MAX * 7.0; 32], Channels::of_blocks(32, 32), 7.0);
        assert_eq!(largest, [BLOCK_SCALE_MAX]);
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

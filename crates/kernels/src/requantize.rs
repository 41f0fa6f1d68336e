//! From accumulators back to quantized values: every rounding LiteRT uses, and the output stage of the matrix products.

use crate::dispatch::multiversion;
use crate::movement::copy_run;
use crate::numerics::Quantized;
use litesmith_simd::Isa;

/// A real multiplier as `multiplier * 2^(shift - 31)` with `multiplier` in `2^30..2^31` (or both 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedPoint {
    /// The mantissa, Q0.31.
    pub multiplier: i32,
    /// The exponent; positive shifts left.
    pub shift: i32,
}

impl FixedPoint {
    /// The nearest fixed-point number; halves away from zero; below `2^-31` it is 0 (LiteRT
    /// `internal/quantization_util.cc`, `QuantizeMultiplier`).
    #[must_use]
    pub fn new(real: f64) -> Self {
        if real == 0.0 {
            return Self { multiplier: 0, shift: 0 };
        }
        let (mantissa, mut shift) = frexp(real);
        let mut multiplier = (mantissa * (1i64 << 31) as f64).round() as i64;
        if multiplier == 1 << 31 {
            multiplier /= 2;
            shift += 1;
        }
        if shift < -31 {
            return Self { multiplier: 0, shift: 0 };
        }
        Self { multiplier: multiplier as i32, shift }
    }

    /// `x` times the multiplier, rounded twice: the doubling high product to nearest (halves upwards), then the right
    /// shift with halves away from zero (LiteRT `internal/common.cc`, `MultiplyByQuantizedMultiplier`, built without
    /// `TFLITE_SINGLE_ROUNDING`; gemmlowp `fixedpoint.h`).
    #[inline]
    #[must_use]
    pub fn round_twice(self, x: i32) -> i32 {
        let (left, right) = (self.shift.max(0) as u32, (-self.shift).max(0) as u32);
        rounding_shift_right(doubling_high_product(x.wrapping_shl(left), self.multiplier), right)
    }

    /// `x` times the multiplier, rounded twice, both times with halves upwards: what the vector instructions of Arm do,
    /// which LiteRT's optimized builtins use on x86 too through `NEON_2_SSE.h` (LiteRT `internal/common.h`,
    /// `MultiplyByQuantizedMultiplier4Rows`).
    #[inline]
    #[must_use]
    pub fn round_up_twice(self, x: i32) -> i32 {
        let (left, right) = (self.shift.max(0) as u32, (-self.shift).max(0) as u32);
        let high = doubling_high_product(x.wrapping_shl(left), self.multiplier);
        ((i64::from(high) + ((1i64 << right) >> 1)) >> right) as i32
    }

    /// A 64-bit `x` times the multiplier cut to 15 bits, rounded once with halves upwards (LiteRT `internal/common.cc`,
    /// `MultiplyByQuantizedMultiplier(int64_t, ..)`).
    #[inline]
    #[must_use]
    pub fn round_wide(self, x: i64) -> i32 {
        let reduced = if self.multiplier < 0x7fff_0000 { (self.multiplier + (1 << 15)) >> 16 } else { 0x7fff };
        let shift = (15 - self.shift).clamp(1, 62) as u32;
        (x.wrapping_mul(i64::from(reduced)).wrapping_add(1i64 << (shift - 1)) >> shift) as i32
    }
}

/// Splits `real` into a mantissa in 0.5..1 and a power of two, exactly, like C's `frexp`.
fn frexp(real: f64) -> (f64, i32) {
    if real == 0.0 || !real.is_finite() {
        return (real, 0);
    }
    let bits = real.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32;
    if exponent == 0 {
        let (mantissa, shift) = frexp(real * (1u64 << 54) as f64);
        return (mantissa, shift - 54);
    }
    (f64::from_bits(bits & !(0x7ff << 52) | 1022 << 52), exponent - 1022)
}

/// `2 * a * b / 2^32` to nearest with halves upwards, saturating the one product that does not fit (gemmlowp
/// `SaturatingRoundingDoublingHighMul`, which adds a nudge that depends on the sign and cuts: the same, without a branch).
#[inline]
#[must_use]
pub fn doubling_high_product(a: i32, b: i32) -> i32 {
    let high = (i64::from(a) * i64::from(b) + (1i64 << 30)) >> 31;
    if a == i32::MIN && b == i32::MIN { i32::MAX } else { high as i32 }
}

/// `x / 2^exponent` to nearest, halves away from zero (gemmlowp `RoundingDivideByPOT`).
#[inline]
#[must_use]
pub fn rounding_shift_right(x: i32, exponent: u32) -> i32 {
    let mask = ((1i64 << exponent) - 1) as i32;
    let remainder = x & mask;
    let threshold = (mask >> 1) + i32::from(x < 0);
    x.wrapping_shr(exponent.min(31)) + i32::from(remainder > threshold)
}

/// [`rounding_shift_right`] as x86 and Arm execute it for any exponent, negative ones included: the shift itself is taken modulo
/// 32, the rounding modulo 64. LiteRT leaves such shifts to the CPU in a few ops.
#[inline]
#[must_use]
pub fn shift_right_modulo(x: i32, exponent: i32) -> i32 {
    let mask = 1i64.wrapping_shl(exponent as u32).wrapping_sub(1) as i32;
    let threshold = (mask >> 1).wrapping_add(i32::from(x < 0));
    x.wrapping_shr(exponent as u32).wrapping_add(i32::from(x & mask > threshold))
}

/// `round_ties_even` for `|x| <= 2^22`: adding 1.5 * 2^23 leaves no fraction bits. Vectorises on every CPU.
#[inline]
#[must_use]
pub fn round_even_small(x: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    ((x + MAGIC).to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32)
}

/// How accumulators become output values, one multiplier per output channel.
#[derive(Debug, Clone, PartialEq)]
pub enum Rounding {
    /// f32: `clamp(accumulator as f32 * scale)`, halves to even (XNNPACK `qs8-qc8w-gemm/*-minmax-fp32-*`).
    Float(Vec<f32>),
    /// f64: halves away from zero (LiteRT `reference/integer_ops/fully_connected.h`).
    Double(Vec<f64>),
    /// [`FixedPoint::round_twice`] for 32-bit accumulators, [`FixedPoint::round_wide`] for 64-bit ones.
    Reference(Vec<FixedPoint>),
    /// [`FixedPoint::round_up_twice`].
    UpTwice(Vec<FixedPoint>),
    /// [`FixedPoint::round_up_twice`] for whole groups of 8 channels, [`FixedPoint::round_twice`] for the last `channels % 8`
    /// (LiteRT `optimized_ops.h`, `Quantize` with a multiplier for each channel).
    UpTwiceBy8(Vec<FixedPoint>),
}

/// The end of a matrix product: scale, round, add the zero point, clamp.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputStage {
    /// Multipliers and rounding.
    pub rounding: Rounding,
    /// Added after rounding.
    pub zero_point: i32,
    /// Smallest output value.
    pub min: i32,
    /// Largest output value.
    pub max: i32,
}

impl OutputStage {
    /// Turns the accumulators of the channels from `channel` on into outputs.
    #[inline]
    pub fn store<T: Quantized>(&self, isa: Isa, accumulators: &[i32], channel: usize, output: &mut [T]) {
        let channels = channel..channel + output.len();
        let ends = [self.zero_point, self.min, self.max];
        match &self.rounding {
            Rounding::Float(scales) => store_float(isa, &scales[channels], ends, accumulators, output),
            Rounding::Double(scales) => store_double(isa, &scales[channels], ends, accumulators, output),
            Rounding::Reference(scales) => store_twice(isa, &scales[channels], ends, accumulators, output),
            Rounding::UpTwice(scales) => store_up_twice(isa, &scales[channels], ends, accumulators, output),
            Rounding::UpTwiceBy8(scales) => {
                let whole = (scales.len() / 8 * 8).saturating_sub(channel).min(output.len());
                let scales = &scales[channels];
                let (output, rest) = output.split_at_mut(whole);
                store_up_twice(isa, &scales[..whole], ends, accumulators, output);
                store_twice(isa, &scales[whole..], ends, &accumulators[whole..], rest);
            }
        }
    }

    /// [`Self::store`] of several rows of 8-bit outputs as bytes: row `i` has [`LANES`] accumulators for each started `LANES` of
    /// its `columns`, from `i * accumulators_len` on, and begins at `i * stride` of `output`.
    pub(crate) fn store_rows(
        &self,
        isa: Isa,
        accumulators: &[i32],
        accumulators_len: usize,
        channel: usize,
        columns: usize,
        output: &mut [u8],
        stride: usize,
    ) {
        let (scales, away_from) = match &self.rounding {
            Rounding::Reference(scales) => (scales, 0),
            Rounding::UpTwice(scales) => (scales, usize::MAX),
            Rounding::UpTwiceBy8(scales) => (scales, scales.len() / 8 * 8),
            Rounding::Float(_) | Rounding::Double(_) => {
                for (accumulators, output) in accumulators.chunks(accumulators_len).zip(output.chunks_mut(stride)) {
                    // The low bits of a value are its byte, signed or not.
                    self.store(isa, accumulators, channel, &mut output[..columns]);
                }
                return;
            }
        };
        for first in (0..columns).step_by(LANES) {
            let (from, count) = (channel + first, LANES.min(columns - first));
            let lanes = Lanes::new(&scales[from..from + count], away_from.saturating_sub(from));
            let ends = [self.zero_point, self.min, self.max];
            store_lanes(
                isa,
                &lanes,
                ends,
                &accumulators[first..],
                accumulators_len,
                count,
                &mut output[first..],
                stride,
            );
        }
    }

    /// The same for 64-bit accumulators (int16 activations with int64 bias).
    #[inline]
    pub fn store_wide<T: Quantized>(&self, isa: Isa, accumulators: &[i64], channel: usize, output: &mut [T]) {
        self.store_rounded_wide(isa, accumulators, channel, output);
    }

    /// [`Self::store_wide`] of accumulators that happen to fit 32 bits.
    #[inline]
    pub fn store_wide_32<T: Quantized>(&self, isa: Isa, accumulators: &[i32], channel: usize, output: &mut [T]) {
        self.store_rounded_wide(isa, accumulators, channel, output);
    }

    fn store_rounded_wide<A: Accumulator, T: Quantized>(
        &self,
        isa: Isa,
        accumulators: &[A],
        channel: usize,
        output: &mut [T],
    ) {
        let channels = channel..channel + output.len();
        let ends = [self.zero_point, self.min, self.max];
        match &self.rounding {
            Rounding::Float(scales) => store_wide_float(isa, &scales[channels], ends, accumulators, output),
            Rounding::Double(scales) => store_double(isa, &scales[channels], ends, accumulators, output),
            Rounding::Reference(scales) | Rounding::UpTwice(scales) | Rounding::UpTwiceBy8(scales) => {
                store_wide_fixed(isa, &scales[channels], ends, accumulators, output);
            }
        }
    }
}

/// Channels that are rounded at once.
pub(crate) const LANES: usize = 16;

/// [`FixedPoint::round_up_twice`] and [`FixedPoint::round_twice`] of some channels, as vectors compute them.
struct Lanes {
    multiplier: [i32; LANES],
    left: [u32; LANES],
    right: [u32; LANES],
    /// Where the bit below the last one that stays is, and whether there is one.
    half: [u32; LANES],
    has_half: [i32; LANES],
    /// -1 where halves go away from zero: negative values are then one less before they are halved upwards.
    away: [i32; LANES],
}

impl Lanes {
    /// Those of `scales`, at most [`LANES`]; halves go away from zero from number `away_from` on.
    fn new(scales: &[FixedPoint], away_from: usize) -> Self {
        let zero = [0; LANES];
        let (multiplier, left) = (zero, [0; LANES]);
        let mut lanes = Self { multiplier, left, right: left, half: left, has_half: zero, away: zero };
        for (at, scale) in scales.iter().enumerate() {
            let right = (-scale.shift).clamp(0, 31) as u32;
            lanes.multiplier[at] = scale.multiplier;
            // What a 32-bit shift takes of it.
            lanes.left[at] = scale.shift.max(0) as u32 % 32;
            lanes.right[at] = right;
            lanes.half[at] = right.saturating_sub(1);
            lanes.has_half[at] = i32::from(right > 0);
            lanes.away[at] = if right > 0 && at >= away_from { -1 } else { 0 };
        }
        lanes
    }
}

multiversion! {
    to avx2;
    fn store_lanes<>(
        lanes: &Lanes, ends: [i32; 3], accumulators: &[i32], accumulators_len: usize, count: usize, output: &mut [u8], stride: usize,
    ) {
        let [zero_point, min, max] = ends;
        for (accumulators, output) in accumulators.chunks(accumulators_len).zip(output.chunks_mut(stride)) {
            let Some(x) = accumulators.first_chunk::<LANES>() else { return };
            let mut bytes = [0; LANES];
            for at in 0..LANES {
                let product = i64::from(x[at].wrapping_shl(lanes.left[at])) * i64::from(lanes.multiplier[at]);
                // A multiplier is not negative: the product that would have to saturate does not occur.
                let high = ((product + (1 << 30)) >> 31) as i32;
                let high = high.wrapping_add(lanes.away[at] & high >> 31);
                let rounded = high.wrapping_shr(lanes.right[at]) + (high.wrapping_shr(lanes.half[at]) & lanes.has_half[at]);
                bytes[at] = rounded.wrapping_add(zero_point).clamp(min, max) as u8;
            }
            copy_run(&bytes[..count], &mut output[..count]);
        }
    }
}

/// 32 or 64 bits.
trait Accumulator: Copy {
    fn to_i64(self) -> i64;
    fn to_f64(self) -> f64;
    fn to_f32(self) -> f32;
}

macro_rules! accumulator {
    ($($type:ident)*) => {$(
        impl Accumulator for $type {
            #[inline(always)]
            fn to_i64(self) -> i64 {
                self.into()
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                self as f32
            }
        }
    )*};
}
accumulator!(i32 i64);

/// `x.round() as i32`, which no instruction does: halves away from zero. The fraction is exact.
#[inline(always)]
fn round_away(x: f64) -> i32 {
    let whole = x.trunc();
    let fraction = x - whole;
    let away = if fraction >= 0.5 { 1.0 } else { 0.0 } - if fraction <= -0.5 { 1.0 } else { 0.0 };
    (whole + away) as i32
}

multiversion! {
    to avx2;
    fn store_double<A: Accumulator, T: Quantized>(
        scales: &[f64], ends: [i32; 3], accumulators: &[A], output: &mut [T],
    ) {
        store_each(scales, ends, accumulators, output, |scale, acc| round_away(acc.to_f64() * scale));
    }
}

multiversion! {
    to avx2;
    fn store_twice<T: Quantized>(scales: &[FixedPoint], ends: [i32; 3], accumulators: &[i32], output: &mut [T]) {
        store_each(scales, ends, accumulators, output, FixedPoint::round_twice);
    }
}

multiversion! {
    to avx2;
    fn store_up_twice<T: Quantized>(scales: &[FixedPoint], ends: [i32; 3], accumulators: &[i32], output: &mut [T]) {
        store_each(scales, ends, accumulators, output, FixedPoint::round_up_twice);
    }
}

multiversion! {
    fn store_wide_fixed<A: Accumulator, T: Quantized>(
        scales: &[FixedPoint], ends: [i32; 3], accumulators: &[A], output: &mut [T],
    ) {
        store_each(scales, ends, accumulators, output, |scale, acc| scale.round_wide(acc.to_i64()));
    }
}

multiversion! {
    to avx2;
    fn store_wide_float<A: Accumulator, T: Quantized>(
        scales: &[f32], ends: [i32; 3], accumulators: &[A], output: &mut [T],
    ) {
        store_each(scales, ends, accumulators, output, |scale, acc| (acc.to_f32() * scale).round_ties_even() as i32);
    }
}

multiversion! {
    fn store_float<T: Quantized>(scales: &[f32], ends: [i32; 3], accumulators: &[i32], output: &mut [T]) {
        let [zero_point, min, max] = ends;
        let (low, high) = ((min - zero_point) as f32, (max - zero_point) as f32);
        for ((out, &acc), &scale) in output.iter_mut().zip(accumulators).zip(scales) {
            let scaled = (acc as f32 * scale).max(low).min(high);
            *out = T::narrow(round_even_small(scaled) + zero_point);
        }
    }
}

#[inline(always)]
fn store_each<A: Copy, T: Quantized, S: Copy>(
    scales: &[S],
    ends: [i32; 3],
    accumulators: &[A],
    output: &mut [T],
    round: impl Fn(S, A) -> i32,
) {
    let [zero_point, min, max] = ends;
    for ((out, &acc), &scale) in output.iter_mut().zip(accumulators).zip(scales) {
        *out = T::narrow(round(scale, acc).wrapping_add(zero_point).clamp(min, max));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::cast_slice_mut;

    #[test]
    fn a_multiplier_is_a_mantissa_and_a_power_of_two() {
        assert_eq!(FixedPoint::new(1.0), FixedPoint { multiplier: 1 << 30, shift: 1 });
        assert_eq!(FixedPoint::new(0.75), FixedPoint { multiplier: 3 << 29, shift: 0 });
        assert_eq!(
            FixedPoint::new(f64::from_bits(0x3fef_ffff_ffff_ffff)),
            FixedPoint { multiplier: 1 << 30, shift: 1 }
        );
        assert_eq!(FixedPoint::new(2f64.powi(-33)), FixedPoint { multiplier: 0, shift: 0 });
    }

    #[test]
    fn the_three_roundings_differ_on_halves() {
        let quarter = FixedPoint::new(0.25);
        assert_eq!([-6, -2, 2, 6].map(|x| quarter.round_twice(x)), [-2, -1, 1, 2]);
        assert_eq!([-6, -2, 2, 6].map(|x| quarter.round_up_twice(x)), [-1, 0, 1, 2]);
        assert_eq!([-5, 5, 7].map(|x| quarter.round_up_twice(x)), [-1, 2, 2]);
        assert_eq!([-6, -2, 2, 6].map(|x| quarter.round_wide(x)), [-1, 0, 1, 2]);
        assert_eq!([-1.5, -0.5, 0.5, 1.5, 2.5].map(round_even_small), [-2, 0, 0, 2, 2]);
    }

    #[test]
    fn products_and_halves_round_as_their_definitions_say() {
        let nudged = |a: i32, b: i32| {
            let product = i64::from(a) * i64::from(b);
            let nudge = if product >= 0 { 1i64 << 30 } else { 1 - (1i64 << 30) };
            if (a, b) == (i32::MIN, i32::MIN) { i32::MAX } else { ((product + nudge) / (1i64 << 31)) as i32 }
        };
        let values = [i32::MIN, i32::MIN + 1, -(1 << 30), -3, -1, 0, 1, 2, 1 << 15, 1 << 30, i32::MAX - 1, i32::MAX];
        for a in values {
            for b in values {
                for (a, b) in [(a, b), (a.wrapping_add(12_345), b), (a, b.wrapping_sub(77))] {
                    assert_eq!(doubling_high_product(a, b), nudged(a, b), "{a} {b}");
                }
            }
        }
        let below_half = 0.5f64.next_down();
        for x in [0.0, below_half, 0.5, 1.5, 2.5, 1e9 + 0.5, 2_147_483_646.5, 3e9, f64::NAN] {
            assert_eq!([round_away(x), round_away(-x)], [x.round() as i32, (-x).round() as i32], "{x}");
        }
    }

    #[test]
    fn rows_become_the_bytes_that_their_values_become() {
        let mut seed = 1_u64;
        let mut noise = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 32) as i32
        };
        // Channels of all shifts, from one that leaves nothing to one beyond the highest bit, and products with halves.
        let shift = |at: usize| i32::try_from(at * 7 % 63).unwrap() - 31;
        let scales: Vec<_> = (0..67)
            .map(|at| FixedPoint {
                multiplier: if at % 3 == 0 { 1 << 30 } else { noise() | 1 << 30 } & i32::MAX,
                shift: shift(at),
            })
            .collect();
        let floats: Vec<_> = (0..67).map(|at| 1e-3 * (at as f32 + 1.0)).collect();
        let doubles = floats.iter().map(|&scale| scale.into()).collect();
        for rounding in [
            Rounding::Reference(scales.clone()),
            Rounding::UpTwice(scales.clone()),
            Rounding::UpTwiceBy8(scales),
            Rounding::Float(floats),
            Rounding::Double(doubles),
        ] {
            for ([min, max], zero_point) in [([-128, 127], -3), ([0, 255], 130), ([5, 127], 5)] {
                let stage = OutputStage { rounding: rounding.clone(), zero_point, min, max };
                for (channel, columns) in [(0, 8), (0, 16), (3, 10), (0, 64), (50, 17)] {
                    let (rows, stride, len) = (20, 67, 64);
                    // Odd multiples of what its shift takes from a value are halves where the multiplier is a power of two.
                    let mut value = |at: usize| match (at / len % 4, shift((channel + at % len) % 67)) {
                        (0 | 1, right @ ..=0) => (noise() % 8 * 2 + 1).wrapping_shl(right.unsigned_abs()),
                        (2, _) => [i32::MIN, i32::MAX, 0, -1][at % 4],
                        _ => noise() >> (at % 31),
                    };
                    let accumulators: Vec<_> = (0..rows * len).map(&mut value).collect();
                    for isa in Isa::available() {
                        let (mut output, mut expected) = (vec![77; rows * stride], vec![77; rows * stride]);
                        stage.store_rows(isa, &accumulators, len, channel, columns, &mut output, stride);
                        for (accumulators, output) in accumulators.chunks(len).zip(expected.chunks_mut(stride)) {
                            let output = &mut output[..columns];
                            if min < 0 {
                                stage.store(Isa::Scalar, accumulators, channel, cast_slice_mut::<u8, i8>(output));
                            } else {
                                stage.store(Isa::Scalar, accumulators, channel, output);
                            }
                        }
                        assert_eq!(output, expected, "{isa} {stage:?} {channel} {columns}");
                    }
                }
            }
        }
    }
}

//! QUANTIZE: float to quantized, and one quantization to another.

use crate::dispatch::multiversion;
use crate::elementwise::map;
use crate::integer_conv::share_out;
use crate::numerics::{Numerics, QuantParams, Quantized};
use crate::requantize::{FixedPoint, round_even_small};
use crate::{Context, Unsupported};
use std::marker::PhantomData;

const KERNEL: &str = "quantize";
/// Elements that are worth a thread.
const WORTH: usize = 4 << 10;

/// A planned QUANTIZE from f32 to `i8`, `u8` or `i16`.
#[derive(Debug, Clone)]
pub struct Quantize<T> {
    output: QuantParams,
    numerics: Numerics,
    element: PhantomData<T>,
}

impl<T: Quantized> Quantize<T> {
    /// Plans it. Reference divides by the scale and rounds halves away from zero (LiteRT `reference/quantize.h`). Litert
    /// multiplies by `1 / scale` and rounds halves to even (XNNPACK `f32-qs8-vcvt`; for int16 the vector loop of
    /// `optimized/optimized_ops.h`, whose last `len % 8` elements are divided in f64 with halves away from zero).
    ///
    /// # Errors
    /// A bad quantization.
    pub fn new(output: QuantParams, numerics: Numerics) -> Result<Self, Unsupported> {
        output.check::<T>(KERNEL, "output")?;
        Ok(Self { output, numerics, element: PhantomData })
    }

    /// Runs.
    ///
    /// # Panics
    /// If the buffers differ in size.
    pub fn run(&self, ctx: Context<'_>, input: &[f32], output: &mut [T]) {
        assert_eq!(input.len(), output.len(), "input and output elements");
        let QuantParams { scale, zero_point } = self.output;
        let inverse = 1.0 / scale;
        let vectors = output.len() / 8 * 8;
        share_out(ctx.pool, output, WORTH, &|first, output| {
            let input = &input[first..][..output.len()];
            let store = |rounded: i32| T::narrow(rounded.wrapping_add(zero_point).clamp(T::MIN, T::MAX));
            match self.numerics {
                Numerics::Reference => {
                    for (out, &value) in output.iter_mut().zip(input) {
                        *out = store(truncate(round_half_away(value / scale)));
                    }
                }
                Numerics::Litert if T::BITS == 8 => quantize(ctx.isa, input, inverse, zero_point, output),
                Numerics::Litert => {
                    let vectors = vectors.saturating_sub(first).min(output.len());
                    let ((out, tail_out), (input, tail)) = (output.split_at_mut(vectors), input.split_at(vectors));
                    for (out, &value) in out.iter_mut().zip(input) {
                        let scaled = value * inverse;
                        // Below 2^22 the short way; above, the outputs saturate or, from 2^31 on, become the smallest.
                        let small = round_even_small(scaled.clamp(-100_000.0, 100_000.0));
                        *out = store(if scaled.abs() < 2_147_483_648.0 { small } else { i32::MIN });
                    }
                    for (out, &value) in tail_out.iter_mut().zip(tail) {
                        let rounded = (f64::from(value) / f64::from(scale)).round();
                        let fits = (-2_147_483_648.0..2_147_483_648.0).contains(&rounded);
                        *out = store(if fits { rounded as i32 } else { i32::MIN });
                    }
                }
            }
        });
    }
}

multiversion! {
    /// `clamp(round(value * inverse) + zero_point)`, halves to even.
    fn quantize<T: Quantized>(input: &[f32], inverse: f32, zero_point: i32, output: &mut [T]) {
        for (out, &value) in output.iter_mut().zip(input) {
            // Written so that NaN becomes the largest value, as the vector minimum does.
            let scaled = value * inverse;
            let scaled = if scaled < 32_767.0 { scaled } else { 32_767.0 };
            let rounded = round_even_small(scaled.max(-32_768.0));
            *out = T::narrow((rounded + zero_point).clamp(T::MIN, T::MAX));
        }
    }
}

multiversion! {
    /// `clamp(((value - zero points[0]) * multiplier + 128 >> 8) + zero points[1])`.
    fn eighths<A: Quantized, B: Quantized>(input: &[A], zero_points: [i32; 2], multiplier: i32, output: &mut [B]) {
        for (out, value) in output.iter_mut().zip(input) {
            let scaled = ((value.widen() - zero_points[0]) * multiplier + 128) >> 8;
            *out = B::narrow((scaled + zero_points[1]).clamp(B::MIN, B::MAX));
        }
    }
}

multiversion! {
    /// `value + offset`, which fits.
    fn offset<A: Quantized, B: Quantized>(input: &[A], offset: i32, output: &mut [B]) {
        output.iter_mut().zip(input).for_each(|(out, value)| *out = B::narrow(value.widen() + offset));
    }
}

/// `f32::round` in steps that vectorise: truncate, and step away from zero if the fraction is a half or more.
#[inline]
fn round_half_away(x: f32) -> f32 {
    if x.abs() < 8_388_608.0 {
        let whole = x as i32 as f32;
        whole + if (x - whole).abs() >= 0.5 { 1f32.copysign(x) } else { 0.0 }
    } else {
        x
    }
}

/// C's conversion as x86 does it: everything that does not fit becomes the smallest i32.
#[inline]
pub(crate) fn truncate(x: f32) -> i32 {
    if (-2_147_483_648.0..2_147_483_648.0).contains(&x) { x as i32 } else { i32::MIN }
}

/// A planned QUANTIZE from one quantized type to another or to other parameters.
#[derive(Debug, Clone)]
pub struct Requantize<A, B> {
    input: QuantParams,
    output: QuantParams,
    arithmetic: Arithmetic,
    elements: PhantomData<(A, B)>,
}

#[derive(Debug, Clone, Copy)]
enum Arithmetic {
    /// Multiplier in 1/256, one rounding with halves upwards (XNNPACK `qs8-vcvt`).
    Eighths { multiplier: i32 },
    /// int8 to uint8 or back at the same scale: whatever the rounding, the value plus or minus 128.
    Flip,
    /// [`FixedPoint::round_twice`] (LiteRT `reference/requantize.h`).
    RoundTwice(FixedPoint),
    /// [`FixedPoint::round_up_twice`] for whole vectors of 16, then as the reference (LiteRT
    /// `optimized/optimized_ops.h`).
    UpTwice(FixedPoint),
}

impl<A: Quantized, B: Quantized> Requantize<A, B> {
    /// Plans it. Litert hands int8 to int8 and uint8 to uint8 with a scale ratio in 1/256..=128 to XNNPACK.
    ///
    /// # Errors
    /// A bad quantization, or uint8 from int16, which LiteRT has not.
    pub fn new(input: QuantParams, output: QuantParams, numerics: Numerics) -> Result<Self, Unsupported> {
        input.check::<A>(KERNEL, "input")?;
        output.check::<B>(KERNEL, "output")?;
        if A::BITS == 16 && B::MIN == 0 {
            return Err(Unsupported::new(KERNEL, "int16 to uint8"));
        }
        let ratio = input.scale / output.scale;
        let same_type = A::BITS == 8 && (A::MIN, A::BITS) == (B::MIN, B::BITS);
        let fixed = FixedPoint::new(f64::from(input.scale) / f64::from(output.scale));
        let flip =
            A::BITS == 8 && B::BITS == 8 && A::MIN != B::MIN && input.zero_point - output.zero_point == A::MIN - B::MIN;
        let arithmetic = if numerics == Numerics::Litert && same_type && (1.0 / 256.0..=128.0).contains(&ratio) {
            Arithmetic::Eighths { multiplier: (256.0 * ratio).round_ties_even() as i32 }
        } else if flip && input.scale == output.scale {
            Arithmetic::Flip
        } else if numerics == Numerics::Litert && A::BITS == 8 && B::BITS == 8 && !flip {
            Arithmetic::UpTwice(fixed)
        } else {
            Arithmetic::RoundTwice(fixed)
        };
        Ok(Self { input, output, arithmetic, elements: PhantomData })
    }

    /// Runs.
    ///
    /// # Panics
    /// If the buffers differ in size.
    pub fn run(&self, ctx: Context<'_>, input: &[A], output: &mut [B]) {
        assert_eq!(input.len(), output.len(), "input and output elements");
        let (from, to) = (self.input.zero_point, self.output.zero_point);
        let vectors = output.len() / 16 * 16;
        let store = |scaled: i32| B::narrow(scaled.wrapping_add(to).clamp(B::MIN, B::MAX));
        share_out(ctx.pool, output, WORTH, &|first, output| {
            let input = &input[first..][..output.len()];
            match self.arithmetic {
                Arithmetic::Flip => offset(ctx.isa, input, to - from, output),
                Arithmetic::Eighths { multiplier } => eighths(ctx.isa, input, [from, to], multiplier, output),
                Arithmetic::RoundTwice(scale) => {
                    for (out, value) in output.iter_mut().zip(input) {
                        *out = store(scale.round_twice(value.widen() - from));
                    }
                }
                Arithmetic::UpTwice(scale) => {
                    let vectors = vectors.saturating_sub(first);
                    for (at, (out, value)) in output.iter_mut().zip(input).enumerate() {
                        let value = value.widen() - from;
                        *out = store(if at < vectors { scale.round_up_twice(value) } else { scale.round_twice(value) });
                    }
                }
            }
        });
    }
}

/// int32 to another quantization, or int16 to int32, by [`FixedPoint::round_twice`] (LiteRT `reference/requantize.h`).
#[derive(Debug, Clone, Copy)]
pub struct WideRequantize {
    scale: FixedPoint,
    from: i32,
    to: i32,
}

impl WideRequantize {
    /// Plans it.
    ///
    /// # Errors
    /// A scale that is not above 0.
    pub fn new(input: QuantParams, output: QuantParams) -> Result<Self, Unsupported> {
        if !(input.scale > 0.0 && output.scale > 0.0 && input.scale.is_finite() && output.scale.is_finite()) {
            return Err(Unsupported::new(KERNEL, format!("scales {} and {}", input.scale, output.scale)));
        }
        let scale = FixedPoint::new(f64::from(input.scale) / f64::from(output.scale));
        Ok(Self { scale, from: input.zero_point, to: output.zero_point })
    }

    /// From int32.
    ///
    /// # Panics
    /// If the buffers differ in size.
    pub fn narrow<T: Quantized>(&self, ctx: Context<'_>, input: &[i32], output: &mut [T]) {
        let Self { scale, from, to } = *self;
        map(ctx, input, output, move |x: i32| {
            T::narrow(scale.round_twice(x.wrapping_sub(from)).wrapping_add(to).clamp(T::MIN, T::MAX))
        });
    }

    /// To int32.
    ///
    /// # Panics
    /// If the buffers differ in size.
    pub fn widen(&self, ctx: Context<'_>, input: &[i16], output: &mut [i32]) {
        let Self { scale, from, to } = *self;
        map(ctx, input, output, move |x: i16| scale.round_twice(i32::from(x).wrapping_sub(from)).wrapping_add(to));
    }
}

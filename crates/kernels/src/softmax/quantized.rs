//! Integer SOFTMAX over the last axis: int8, uint8 and int16, and int16 from either of the others.

use crate::dispatch::multiversion;
use crate::fixed_point::{exp_of_non_positive, one_over_one_plus};
use crate::integer_conv::split;
use crate::lookup::{Table16, lookup_16, table_16};
use crate::numerics::{Numerics, QuantParams, Quantized};
use crate::requantize::{FixedPoint, doubling_high_product, round_even_small, rounding_shift_right};
use crate::{Context, Unsupported};
use std::marker::PhantomData;

const KERNEL: &str = "softmax";
/// Integer bits of the scaled difference to the row's maximum, and of the sum of exponentials.
const DIFFERENCE_BITS: u32 = 5;
const SUM_BITS: u32 = 12;

/// A planned integer SOFTMAX on `i8`, `u8` or `i16`, output of the same type, or `i16` of one of 8 bits.
#[derive(Debug, Clone)]
pub struct QuantizedSoftmax<T, O = T> {
    depth: usize,
    arithmetic: Arithmetic,
    elements: PhantomData<(T, O)>,
}

#[derive(Debug, Clone)]
enum Arithmetic {
    /// f32 table of `exp(-scale * beta * difference)`, divided by the sum (LiteRT `optimized/optimized_ops.h`).
    Table { exp: Box<[f32; 256]>, output: QuantParams },
    /// gemmlowp fixed point (LiteRT `reference/softmax.h`).
    FixedPoint { scale: FixedPoint, least_difference: i32 },
    /// Interpolated tables of exp on -10..0 and 1 / (1 + x) on 0..1 (LiteRT `reference/softmax.h`, `SoftmaxInt16`).
    Tables16 { scale: FixedPoint, exp: Box<Table16>, reciprocal: Box<Table16> },
}

impl<T: Quantized, O: Quantized> QuantizedSoftmax<T, O> {
    /// Plans softmax over rows of `depth` elements.
    ///
    /// Litert uses an f32 table for 8-bit types, Reference fixed point; int16 is the same in both.
    ///
    /// # Errors
    /// A `beta` or quantization that LiteRT refuses: outputs are 1/256 with zero point -128 (int8) or 0 (uint8), or
    /// 1/32768 with zero point 0 (int16 of int16). LiteRT refuses no int16 of 8 bits; those of 1/65536 with zero point -32768 are what
    /// both its arithmetics mean.
    pub fn new(
        depth: usize,
        beta: f32,
        input: QuantParams,
        output: QuantParams,
        numerics: Numerics,
    ) -> Result<Self, Unsupported> {
        input.check::<T>(KERNEL, "input")?;
        output.check::<O>(KERNEL, "output")?;
        if !(beta > 0.0 && beta.is_finite()) {
            return Err(Unsupported::new(KERNEL, format!("beta {beta} is not above 0")));
        }
        let step = 1.0 / (1u32 << (if T::BITS == 16 { 15 } else { O::BITS })) as f32;
        let zero_point = if T::BITS == 16 { 0 } else { O::MIN };
        if output.zero_point != zero_point || (output.scale - step).abs() > step * 0.001 {
            let reason = format!("output quantization {output:?}, expected scale {step} and zero point {zero_point}");
            return Err(Unsupported::new(KERNEL, reason));
        }
        let arithmetic = if T::BITS == 16 {
            if input.zero_point != 0 {
                return Err(Unsupported::new(KERNEL, "int16 input with a zero point other than 0"));
            }
            let range = 65_535.0;
            // The product is rounded to f32 before the f64 division.
            let scale = FixedPoint::new(f64::from(input.scale * beta) / (10.0 / 65_535.0));
            Arithmetic::Tables16 {
                scale,
                exp: table_16(10.0 / range, T::MAX, 2.0 / range, 0, f64::exp),
                reciprocal: table_16(1.0 / range, T::MIN, 2.0 / range, 0, |x: f64| 1.0 / (1.0 + x)),
            }
        } else if numerics == Numerics::Litert {
            let scale = -input.scale * beta;
            let mut exp = Box::new([0.0; 256]);
            for (difference, exp) in exp.iter_mut().enumerate() {
                // Correctly rounded, as the C library's expf is in practice.
                *exp = f64::from(scale * difference as f32).exp() as f32;
            }
            Arithmetic::Table { exp, output }
        } else {
            let real = f64::from(beta) * f64::from(input.scale) * f64::from(1u32 << (31 - DIFFERENCE_BITS));
            let scale = FixedPoint::new(real.min(f64::from(i32::MAX)));
            if scale.shift < 0 {
                return Err(Unsupported::new(
                    KERNEL,
                    format!("input scale {} times beta {beta} is too small", input.scale),
                ));
            }
            let largest = ((1u32 << DIFFERENCE_BITS) - 1) as f64 * f64::from(1u32 << (31 - DIFFERENCE_BITS));
            let radius = (largest / (1u64 << scale.shift) as f64).floor();
            Arithmetic::FixedPoint { scale, least_difference: -(radius as i32) }
        };
        Ok(Self { depth, arithmetic, elements: PhantomData })
    }

    /// Runs on whole rows.
    ///
    /// # Panics
    /// If the buffers differ in size or are not a whole number of rows.
    pub fn run(&self, ctx: Context<'_>, input: &[T], output: &mut [O]) {
        assert_eq!(input.len(), output.len(), "input and output elements");
        if self.depth == 0 || output.is_empty() {
            return;
        }
        assert_eq!(input.len() % self.depth, 0, "elements of whole rows");
        let rows = 512usize.div_ceil(self.depth);
        split(ctx.pool, output, rows * self.depth, |task, output| {
            let input = &input[task * rows * self.depth..][..output.len()];
            let rows = input.chunks_exact(self.depth).zip(output.chunks_exact_mut(self.depth));
            // As the plan made it for this type: of no other one there is code.
            match &self.arithmetic {
                Arithmetic::Table { exp, output: params } if T::BITS == 8 => {
                    if T::BITS == O::BITS {
                        table(ctx.isa, exp, *params, self.depth, input, output);
                    } else {
                        // Rare, so that it is compiled once.
                        table_rows(exp, *params, self.depth, input, output);
                    }
                }
                Arithmetic::FixedPoint { scale, least_difference } if T::BITS == 8 => {
                    rows.for_each(|(input, output)| fixed_point(*scale, *least_difference, input, output));
                }
                Arithmetic::Tables16 { scale, exp, reciprocal } if T::BITS == 16 => {
                    rows.for_each(|(input, output)| tables_16(*scale, exp, reciprocal, input, output));
                }
                _ => unreachable!("a softmax of {} bits", T::BITS),
            }
        });
    }
}

/// The largest element of a row.
fn largest<T: Quantized>(row: &[T]) -> i32 {
    row.iter().max().map_or(0, |max| max.widen())
}

/// Elements whose exponentials are kept between the two passes over a row.
const KEPT: usize = 128;

multiversion! {
    to avx2;
    fn table<T: Quantized, O: Quantized>(
        exp: &[f32; 256],
        params: QuantParams,
        depth: usize,
        input: &[T],
        output: &mut [O],
    ) {
        table_rows(exp, params, depth, input, output);
    }
}

/// Sums in row order, one multiplication for each output. uint8 adds a half and truncates, others round halves away from zero.
#[inline(always)]
fn table_rows<T: Quantized, O: Quantized>(
    exp: &[f32; 256],
    params: QuantParams,
    depth: usize,
    input: &[T],
    output: &mut [O],
) {
    for (input, output) in input.chunks_exact(depth).zip(output.chunks_exact_mut(depth)) {
        let max = largest(input);
        let at = |value: T| exp[(max - value.widen()) as usize & 255];
        let mut kept = [0.0f32; KEPT];
        let mut sum = 0.0f32;
        if depth <= KEPT {
            for (kept, &value) in kept.iter_mut().zip(input) {
                *kept = at(value);
                sum += *kept;
            }
        } else {
            input.iter().for_each(|&value| sum += at(value));
        }
        let factor = 1.0 / (sum * params.scale);
        for (input, output) in input.chunks(KEPT).zip(output.chunks_mut(KEPT)) {
            if depth > KEPT {
                kept.iter_mut().zip(input).for_each(|(kept, &value)| *kept = at(value));
            }
            for (out, &exp) in output.iter_mut().zip(&kept) {
                // At most 65536, and never negative.
                let scaled = exp * factor;
                let whole = round_even_small(scaled);
                let rounded = if O::MIN == 0 {
                    (scaled + 0.5) as i32
                } else {
                    // Where halves went down to even, one more.
                    whole + i32::from(scaled - whole as f32 >= 0.5) + params.zero_point
                };
                *out = O::narrow(rounded.clamp(O::MIN, O::MAX));
            }
        }
    }
}

/// Where LiteRT aborts the process, because the sum is 512 or more, the outputs are the smallest value: all exact
/// outputs are then below a half step times two.
fn fixed_point<T: Quantized, O: Quantized>(scale: FixedPoint, least_difference: i32, input: &[T], output: &mut [O]) {
    let max = largest(input);
    let exp = |difference: i32| {
        let rescaled = doubling_high_product(difference.wrapping_shl(scale.shift as u32), scale.multiplier);
        exp_of_non_positive::<32>(rescaled, DIFFERENCE_BITS)
    };
    let mut sum = 0i32;
    for value in input {
        let difference = value.widen() - max;
        if difference >= least_difference {
            sum = sum.wrapping_add(rounding_shift_right(exp(difference), SUM_BITS));
        }
    }
    let headroom = (sum as u32).leading_zeros();
    let shifted = (sum as u32).checked_shl(headroom).unwrap_or(0).wrapping_sub(1 << 31) as i32;
    let reciprocal = one_over_one_plus::<32>(shifted);
    let exponent = SUM_BITS as i32 - headroom as i32 + 31 - O::BITS as i32;
    for (out, value) in output.iter_mut().zip(input) {
        let difference = value.widen() - max;
        let value = if difference >= least_difference && (0..=31).contains(&exponent) {
            let scaled = doubling_high_product(reciprocal, exp(difference));
            rounding_shift_right(scaled, exponent as u32) + O::MIN
        } else {
            O::MIN
        };
        *out = O::narrow(value.clamp(O::MIN, O::MAX));
    }
}

fn tables_16<T: Quantized, O: Quantized>(
    scale: FixedPoint,
    exp: &Table16,
    reciprocal: &Table16,
    input: &[T],
    output: &mut [O],
) {
    let max = largest(input);
    let saturate = |x: i32| x.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
    let exp = |value: T| {
        let difference = scale.round_twice(value.widen() - max);
        i32::from(lookup_16(exp, saturate(difference.saturating_add(32_767))))
    };
    let mut sum = 0i32;
    for (out, &value) in output.iter_mut().zip(input) {
        let exp = exp(value);
        sum = sum.wrapping_add(exp);
        *out = O::narrow(exp);
    }
    let headroom = (sum as u32).leading_zeros();
    let shifted = (((i64::from(sum) << headroom.saturating_sub(1)) + (1 << 13)) >> 14) as i32;
    let reciprocal = i64::from(lookup_16(reciprocal, saturate(shifted - (1 << 15) - (1 << 16))));
    let shift = 31u32.saturating_sub(headroom).max(1);
    for out in output {
        let result = (i64::from(out.widen()) * reciprocal + (1i64 << (shift - 1))) >> shift;
        *out = O::narrow((result as i32).clamp(0, 32_767));
    }
}

//! LOG_SOFTMAX over the last axis: float, int8 and uint8.

use crate::fixed_point::{exp_of_non_positive, ln_of_at_least_one};
use crate::integer_conv::split;
use crate::numerics::{Numerics, QuantParams, Quantized};
use crate::reduce::{max_of, sum_of};
use crate::requantize::{FixedPoint, rounding_shift_right};
use crate::{Context, Real, Unsupported};
use std::marker::PhantomData;

const KERNEL: &str = "log_softmax";

/// y = x - ln(sum of e^x) of each row of `width` elements.
///
/// # Panics
/// If the lengths differ or are no whole number of rows.
pub fn forward<T: Real>(ctx: Context, width: usize, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "operand and result have one shape");
    by_rows(ctx, width, x, y, |x, y| {
        let max = max_of(x);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - max).exp();
        }
        let log_sum = sum_of(y).ln();
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x - max - log_sum;
        }
    });
}

/// Gradient of the operand: dx = dy - e^y sum of dy.
///
/// # Panics
/// If the lengths differ or are no whole number of rows.
pub fn backward<T: Real>(width: usize, y: &[T], dy: &[T], dx: &mut [T]) {
    assert!(y.len() == dx.len() && dy.len() == dx.len(), "result and gradients have one shape");
    for ((y, dy), dx) in y.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width)) {
        let sum = sum_of(dy);
        for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
            *dx = dy - y.exp() * sum;
        }
    }
}

/// Calls `row(x, y)` for each row, split over the pool.
fn by_rows<T: Sync, U: Send>(ctx: Context, width: usize, x: &[T], y: &mut [U], row: impl Fn(&[T], &mut [U]) + Sync) {
    if y.is_empty() {
        return;
    }
    assert_eq!(y.len() % width, 0, "elements of whole rows");
    let chunk = 4096usize.div_ceil(width) * width;
    split(ctx.pool, y, chunk, |task, y| {
        let x = &x[task * chunk..];
        x.chunks_exact(width).zip(y.chunks_exact_mut(width)).for_each(|(x, y)| row(x, y));
    });
}

/// A planned LOG_SOFTMAX on `i8` or `u8`, output of the same type in steps of 1/16 that ends with 0.
#[derive(Debug, Clone)]
pub struct QuantizedLogSoftmax<T> {
    width: usize,
    arithmetic: Arithmetic,
    element: PhantomData<T>,
}

#[derive(Debug, Clone)]
enum Arithmetic {
    /// f32, with a table of `exp(-scale * difference)` (LiteRT `optimized/optimized_ops.h`).
    Float { exp: Box<[f32; 256]>, scale: f32 },
    /// gemmlowp fixed point: differences in Q5, sums in Q12 (LiteRT `reference/log_softmax.h`).
    FixedPoint { scale: FixedPoint, inverse: FixedPoint, least_difference: i32 },
}

impl<T: Quantized> QuantizedLogSoftmax<T> {
    /// Plans it over rows of `width` elements: Litert in f32, Reference in fixed point.
    ///
    /// # Errors
    /// Another type, a bad quantization, or an output that is not in steps of 1/16 up to 0, as LiteRT demands.
    pub fn new(width: usize, input: QuantParams, output: QuantParams, numerics: Numerics) -> Result<Self, Unsupported> {
        input.check::<T>(KERNEL, "input")?;
        output.check::<T>(KERNEL, "output")?;
        if T::BITS != 8 || (output.scale, output.zero_point) != (1.0 / 16.0, T::MAX) {
            let reason = format!("output quantization {output:?}, expected scale 1/16 and zero point {}", T::MAX);
            return Err(Unsupported::new(KERNEL, reason));
        }
        let arithmetic = match numerics {
            Numerics::Litert => {
                let exp = std::array::from_fn(|difference| f64::from(-input.scale * difference as f32).exp() as f32);
                Arithmetic::Float { exp: Box::new(exp), scale: input.scale }
            }
            Numerics::Reference => {
                let real = f64::from(input.scale) * f64::from(1u32 << 26);
                let scale = FixedPoint::new(real.min(f64::from(i32::MAX)));
                let inverse = f64::from(1u32 << (31 - scale.shift.clamp(1, 31))) / f64::from(scale.multiplier.max(1));
                if scale.shift < 1 || inverse >= 1.0 {
                    return Err(Unsupported::new(KERNEL, format!("input scale {} is out of range", input.scale)));
                }
                let radius = (31.0 * f64::from(1u32 << 26) / (1u64 << scale.shift) as f64).floor();
                let inverse = FixedPoint::new(inverse);
                Arithmetic::FixedPoint { scale, inverse, least_difference: -(radius as i32) }
            }
        };
        Ok(Self { width, arithmetic, element: PhantomData })
    }

    /// Runs on whole rows.
    ///
    /// # Panics
    /// If the buffers differ in size or are not a whole number of rows.
    pub fn run(&self, ctx: Context<'_>, input: &[T], output: &mut [T]) {
        assert_eq!(input.len(), output.len(), "input and output elements");
        by_rows(ctx, self.width, input, output, |input, output| {
            let max = input.iter().max().map_or(0, |max| max.widen());
            match &self.arithmetic {
                Arithmetic::Float { exp, scale } => float(exp, *scale, max, input, output),
                &Arithmetic::FixedPoint { scale, inverse, least_difference } => {
                    fixed_point(scale, inverse, least_difference, max, input, output);
                }
            }
        });
    }
}

fn float<T: Quantized>(exp: &[f32; 256], scale: f32, max: i32, input: &[T], output: &mut [T]) {
    const STEP: f32 = 1.0 / 16.0;
    let sum = input.iter().fold(0.0f32, |sum, value| sum + exp[(max - value.widen()) as usize & 255]);
    let log_sum = f64::from(sum).ln() as f32;
    let (ratio, offset) = (scale / STEP, (scale * max as f32 + log_sum) / STEP);
    for (out, value) in output.iter_mut().zip(input) {
        let rounded = (ratio * value.widen() as f32 - offset).round_ties_even() as i32;
        *out = T::narrow(rounded.saturating_add(T::MAX).clamp(T::MIN, T::MAX));
    }
}

fn fixed_point<T: Quantized>(
    scale: FixedPoint,
    inverse: FixedPoint,
    least_difference: i32,
    max: i32,
    input: &[T],
    output: &mut [T],
) {
    let mut sum = 0i32;
    for value in input {
        let difference = value.widen() - max;
        if difference >= least_difference {
            let exp = exp_of_non_positive::<32>(scale.round_twice(difference), 5);
            sum = sum.saturating_add(rounding_shift_right(exp, 12));
        }
    }
    let log_sum = ln_of_at_least_one(sum.max(1));
    let least = (least_difference - 1).max(inverse.round_twice(log_sum.wrapping_add(i32::MIN)));
    for (out, value) in output.iter_mut().zip(input) {
        let difference = value.widen() - max;
        *out = T::narrow(if difference > least {
            let scaled = scale.round_twice(difference).wrapping_sub(log_sum);
            (rounding_shift_right(scaled, 22) + T::MAX).clamp(T::MIN, T::MAX)
        } else {
            T::MIN
        });
    }
}

//! L2_NORMALIZATION and LOCAL_RESPONSE_NORMALIZATION, along the last axis.

use crate::numerics::Quantized;
use crate::reduce::sum_of;
use crate::requantize::{FixedPoint, doubling_high_product, rounding_shift_right};
use crate::{Context, elementwise};

/// The least length that a vector is divided by.
const EPSILON: f32 = 1e-6;

/// Divides each vector of `depth` elements by its length, or by 1e-6 if that is larger.
///
/// # Panics
/// If the lengths differ or hold no whole vectors.
pub fn l2_normalize(ctx: Context<'_>, depth: usize, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "operand and result have one shape");
    if depth == 0 {
        return;
    }
    let vectors = (elementwise::chunk_len(ctx, y.len()) / depth).max(1);
    ctx.pool.chunks_mut(y, vectors * depth, |task, y| {
        let x = &x[task * vectors * depth..][..y.len()];
        for (x, y) in x.chunks_exact(depth).zip(y.chunks_exact_mut(depth)) {
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * x);
            let length = sum_of(y).sqrt().max(EPSILON);
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = x / length);
        }
    });
}

/// The same on 8-bit values: the output's scale is 1/128, its zero point that of real 0 in the middle of the type (LiteRT
/// `reference/l2normalization.h`, `reference/integer_ops/l2normalization.h`).
///
/// # Panics
/// If the lengths differ or hold no whole vectors.
pub fn l2_normalize_quantized<T: Quantized>(depth: usize, zero_point: i32, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "operand and result have one shape");
    if depth == 0 {
        return;
    }
    for (x, y) in x.chunks_exact(depth).zip(y.chunks_exact_mut(depth)) {
        let difference = |x: &T| x.widen() - zero_point;
        let squares = x.iter().map(difference).fold(0_i32, |sum, x| sum.wrapping_add(x.wrapping_mul(x)));
        let inverse = inverse_square_root(squares);
        for (y, x) in y.iter_mut().zip(x) {
            let value = if T::MIN == 0 {
                // The shift to the left comes before the product, and there is none of the exponent.
                128 + inverse.round_twice(128 * difference(x))
            } else {
                FixedPoint { shift: inverse.shift + 7, ..inverse }.round_twice(difference(x))
            };
            *y = T::narrow(value.clamp(T::MIN, T::MAX));
        }
    }
}

/// `1 / sqrt(x)` by five steps of Newton's method in gemmlowp's fixed point (LiteRT `internal/common.h`,
/// `GetInvSqrtQuantizedMultiplierExp`); 1 for 0.
fn inverse_square_root(x: i32) -> FixedPoint {
    if x <= 1 {
        return FixedPoint { multiplier: i32::MAX, shift: 0 };
    }
    let (mut x, mut shift) = (x, 11_i32);
    while x >= 1 << 29 {
        x /= 4;
        shift += 1;
    }
    let pairs = (x.leading_zeros() as i32 - 1) / 2 - 1;
    shift -= pairs;
    x <<= 2 * pairs;
    // Q3 numbers. The product of three of them is a Q9, of two a Q6; rescaling to Q3 shifts left and saturates.
    let product = doubling_high_product;
    let rescale = |x: i32, bits: u32| crate::fixed_point::saturating_shift_left::<32>(x, bits);
    let input = x >> 1;
    let half_input = rounding_shift_right(input, 1);
    let half_three = (1 << 28) + (1 << 27);
    let mut root = 1 << 28;
    for _ in 0..5 {
        let cube = rescale(product(product(root, root), root), 6);
        root = rescale(product(half_three, root).wrapping_sub(product(half_input, cube)), 3);
    }
    // sqrt(2) / 2 as a Q0.
    let mut multiplier = product(root, 1_518_500_250);
    if shift < 0 {
        multiplier <<= -shift;
        shift = 0;
    }
    FixedPoint { multiplier, shift: -shift }
}

/// Attributes of LOCAL_RESPONSE_NORMALIZATION.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalResponse {
    /// Channels on either side that count.
    pub radius: usize,
    /// Added to the sum.
    pub bias: f32,
    /// Multiplies the sum.
    pub alpha: f32,
    /// The power.
    pub beta: f32,
}

impl LocalResponse {
    /// `y = x * (bias + alpha * sum of the squares of the channels at most radius away) ^ -beta`.
    ///
    /// # Panics
    /// If the lengths differ or hold no whole vectors.
    pub fn forward(&self, ctx: Context<'_>, channels: usize, x: &[f32], y: &mut [f32]) {
        assert_eq!(x.len(), y.len(), "operand and result have one shape");
        if channels == 0 {
            return;
        }
        ctx.pool.chunks_mut(y, channels, |vector, y| {
            let x = &x[vector * channels..][..channels];
            for (channel, y) in y.iter_mut().enumerate() {
                let first = channel.saturating_sub(self.radius);
                let end = channel.saturating_add(self.radius).saturating_add(1).min(channels);
                let squares: f32 = x[first..end].iter().map(|x| x * x).sum();
                *y = x[channel] * libm::powf(self.bias + self.alpha * squares, -self.beta);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::inverse_square_root;

    #[test]
    fn the_inverse_square_root_is_close() {
        for x in [1, 2, 3, 4, 100, 12_345, 1 << 20, (1 << 29) + 5, i32::MAX] {
            let fixed = inverse_square_root(x);
            let value = f64::from(fixed.multiplier) / f64::from(1_u32 << 31) * 2_f64.powi(fixed.shift);
            let expected = 1.0 / f64::from(x).sqrt();
            assert!((value / expected - 1.0).abs() < 1e-4, "{x}: {value} for {expected}");
        }
    }
}

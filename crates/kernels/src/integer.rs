//! Arithmetic of plain integers, which stand for themselves: results that do not fit wrap around.

use crate::binary::Binary;
use crate::broadcast::{self, Broadcast};
use crate::elementwise::map;
use crate::{Activation, Context};

mod sealed {
    pub trait Sealed {}
}

/// An integer element.
pub trait Integer: sealed::Sealed + bytemuck::Pod + Ord + Send + Sync + std::fmt::Debug {
    /// Zero.
    const ZERO: Self;
    /// Smallest value.
    const MIN: Self;
    /// Largest value.
    const MAX: Self;
    /// `value`, cut to the type's range.
    fn saturate(value: i8) -> Self;
    /// Sum, wrapping around.
    fn add(self, other: Self) -> Self;
    /// Difference, wrapping around.
    fn sub(self, other: Self) -> Self;
    /// Product, wrapping around.
    fn mul(self, other: Self) -> Self;
    /// Quotient towards zero, wrapping around; 0 for a divisor of 0.
    fn div(self, other: Self) -> Self;
    /// Quotient down to the next integer, wrapping around; 0 for a divisor of 0.
    fn floor_div(self, other: Self) -> Self;
    /// What [`Integer::floor_div`] leaves: it has the sign of the divisor; 0 for a divisor of 0.
    fn floor_mod(self, other: Self) -> Self;
}

macro_rules! integers {
    ($($type:ident)*) => {$(
        impl sealed::Sealed for $type {}
        impl Integer for $type {
            const ZERO: Self = 0;
            const MIN: Self = $type::MIN;
            const MAX: Self = $type::MAX;
            #[inline(always)]
            fn saturate(value: i8) -> Self {
                Self::try_from(value).unwrap_or(0)
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_div(other) }
            }
            #[inline(always)]
            fn floor_div(self, other: Self) -> Self {
                let quotient = Integer::div(self, other);
                let rest = self.wrapping_sub(quotient.wrapping_mul(other));
                quotient.wrapping_sub(Self::from(rest != 0 && (rest < Self::ZERO) != (other < Self::ZERO)))
            }
            #[inline(always)]
            fn floor_mod(self, other: Self) -> Self {
                let rest = if other == 0 { 0 } else { self.wrapping_rem(other) };
                if rest != 0 && (rest < Self::ZERO) != (other < Self::ZERO) { rest.wrapping_add(other) } else { rest }
            }
        }
    )*};
}
integers!(i8 u8 i16 i32 u32 i64);

/// An op of one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntegerUnary {
    /// Absolute value; that of the smallest number is itself.
    Abs,
    /// -x; that of the smallest number is itself.
    Neg,
    /// -1, 0 or 1.
    Sign,
}

impl IntegerUnary {
    /// y = op(x).
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn forward<T: Integer>(self, ctx: Context, x: &[T], y: &mut [T]) {
        map(ctx, x, y, |x: T| match self {
            Self::Abs if x >= T::ZERO => x,
            Self::Abs | Self::Neg => T::ZERO.sub(x),
            Self::Sign => T::saturate(i8::from(x > T::ZERO) - i8::from(x < T::ZERO)),
        });
    }
}

/// y = a to the power of b for int32 exponents that are not negative, as LiteRT computes it: what does not fit becomes the
/// smallest number (x86's conversion from f64), but wraps around where one exponent is broadcast.
///
/// # Panics
/// If a length is not the planned one.
pub fn pow(ctx: Context, plan: &Broadcast, a: &[i32], b: &[i32], y: &mut [i32]) {
    let wraps = b.len() == 1 && a.len() > 1;
    let power = move |a: i32, b: i32| {
        let exponent = b.max(0) as u32;
        if wraps && exponent > 0 {
            return a.wrapping_pow(exponent);
        }
        i64::from(a).checked_pow(exponent).and_then(|power| i32::try_from(power).ok()).unwrap_or(i32::MIN)
    };
    broadcast::zip(ctx, plan, a, b, y, power);
}

/// y = a / b, down to the next integer.
///
/// # Panics
/// If a length is not the planned one.
pub fn floor_div<T: Integer>(ctx: Context, plan: &Broadcast, a: &[T], b: &[T], y: &mut [T]) {
    broadcast::zip(ctx, plan, a, b, y, T::floor_div);
}

/// y = a - b floor(a / b).
///
/// # Panics
/// If a length is not the planned one.
pub fn floor_mod<T: Integer>(ctx: Context, plan: &Broadcast, a: &[T], b: &[T], y: &mut [T]) {
    broadcast::zip(ctx, plan, a, b, y, T::floor_mod);
}

impl Binary {
    /// y = activation(a op b) of integers on the planned shapes. TANH is no activation of integers and changes nothing.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn forward_integer<T: Integer>(
        self,
        ctx: Context,
        plan: &Broadcast,
        activation: Activation,
        a: &[T],
        b: &[T],
        y: &mut [T],
    ) {
        let (min, max) = match activation {
            Activation::None | Activation::Tanh => (T::MIN, T::MAX),
            Activation::Relu => (T::ZERO, T::MAX),
            Activation::ReluN1To1 => (T::saturate(-1), T::saturate(1)),
            Activation::Relu6 => (T::ZERO, T::saturate(6)),
        };
        let clamp = move |x: T| x.max(min).min(max);
        // One loop for all ops: a model spends no time in them.
        broadcast::zip(ctx, plan, a, b, y, |a: T, b: T| match self {
            Self::Add => clamp(a.add(b)),
            Self::Sub => clamp(a.sub(b)),
            Self::Mul => clamp(a.mul(b)),
            Self::Div => clamp(a.div(b)),
            Self::Maximum => a.max(b),
            Self::Minimum => a.min(b),
            Self::SquaredDifference => a.sub(b).mul(a.sub(b)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Pool};

    #[test]
    fn results_wrap_and_activations_clamp() {
        let pool = Pool::serial();
        let ctx = Context { pool: &pool, isa: Isa::detect() };
        let plan = Broadcast::new(&[4], &[4]).unwrap();
        let run = |op: Binary, activation| {
            let mut y = [0; 4];
            op.forward_integer(ctx, &plan, activation, &[i32::MAX, i32::MIN, -7, 5], &[1, -1, 2, 0], &mut y);
            y
        };
        assert_eq!(run(Binary::Add, Activation::None), [i32::MIN, i32::MAX, -5, 5]);
        assert_eq!(run(Binary::Mul, Activation::Relu6), [6, 0, 0, 0]);
        assert_eq!(run(Binary::Div, Activation::None), [i32::MAX, i32::MIN, -3, 0]);
        assert_eq!(run(Binary::Sub, Activation::ReluN1To1), [1, -1, -1, 1]);
        assert_eq!(run(Binary::Maximum, Activation::None), [i32::MAX, -1, 2, 5]);
        assert_eq!(run(Binary::SquaredDifference, Activation::None), [4, 1, 81, 25]);
        let mut y = [0; 4];
        floor_div(ctx, &plan, &[7, -7, 7, i32::MIN], &[2, 2, -2, -1], &mut y);
        assert_eq!(y, [3, -4, -4, i32::MIN]);
        floor_mod(ctx, &plan, &[7, -7, 7, -6], &[2, 2, -2, 3], &mut y);
        assert_eq!(y, [1, 1, -1, 0]);
        IntegerUnary::Abs.forward(ctx, &[3, -3, 0, i32::MIN], &mut y);
        assert_eq!(y, [3, 3, 0, i32::MIN]);
    }
}

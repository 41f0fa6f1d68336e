//! ADD, SUB, MUL, DIV, MAXIMUM, MINIMUM and SQUARED_DIFFERENCE of plain integers, which stand for themselves: results that
//! do not fit wrap around.

use crate::binary::Binary;
use crate::broadcast::{self, Broadcast};
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
        }
    )*};
}
integers!(i8 u8 i16 i32 u32 i64);

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
        let done = |_: &mut [T]| {};
        match self {
            Self::Add => broadcast::zip(ctx, plan, a, b, y, |a: T, b: T| clamp(a.add(b)), done),
            Self::Sub => broadcast::zip(ctx, plan, a, b, y, |a: T, b: T| clamp(a.sub(b)), done),
            Self::Mul => broadcast::zip(ctx, plan, a, b, y, |a: T, b: T| clamp(a.mul(b)), done),
            Self::Div => broadcast::zip(ctx, plan, a, b, y, |a: T, b: T| clamp(a.div(b)), done),
            Self::Maximum => broadcast::zip(ctx, plan, a, b, y, |a: T, b: T| a.max(b), done),
            Self::Minimum => broadcast::zip(ctx, plan, a, b, y, |a: T, b: T| a.min(b), done),
            Self::SquaredDifference => {
                broadcast::zip(ctx, plan, a, b, y, |a: T, b: T| a.sub(b).mul(a.sub(b)), done);
            }
        }
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
    }
}

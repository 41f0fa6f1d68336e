//! CAST: numbers of one type as numbers of another.

use crate::Context;
use crate::elementwise::map;
use bytemuck::{Pod, Zeroable};
use half::{bf16, f16};

mod sealed {
    pub trait Sealed {}
}

/// A truth value: a byte that is 0 or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Truth(pub u8);

/// A number that can be cast. Integers pass through `i64`, floats through `f64`, which hold all of theirs.
pub trait Number: sealed::Sealed + Pod + Send + Sync {
    /// Whether it is a float.
    const IS_FLOAT: bool;
    /// The value of an integer.
    fn integer(self) -> i64;
    /// The value of a float.
    fn float(self) -> f64;
    /// An integer cut to the low bits, or rounded to f32 and then to the type.
    fn from_integer(value: i64) -> Self;
    /// A float rounded to f32 and then to the type; as an integer cut towards zero and to the range, NaN the largest value.
    fn from_float(value: f64) -> Self;
}

macro_rules! integers {
    ($($type:ident)*) => {$(
        impl sealed::Sealed for $type {}
        impl Number for $type {
            const IS_FLOAT: bool = false;
            #[inline(always)]
            fn integer(self) -> i64 {
                i64::from(self)
            }
            #[inline(always)]
            fn float(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn from_integer(value: i64) -> Self {
                value as Self
            }
            #[inline(always)]
            fn from_float(value: f64) -> Self {
                if value.is_nan() { Self::MAX } else { value as Self }
            }
        }
    )*};
}
integers!(i8 u8 i16 u16 i32 u32 i64);

macro_rules! floats {
    ($($type:ident |$value:ident| $to:expr, $from_integer:expr, $from_float:expr;)*) => {$(
        impl sealed::Sealed for $type {}
        impl Number for $type {
            const IS_FLOAT: bool = true;
            #[inline(always)]
            fn integer(self) -> i64 {
                self.float() as i64
            }
            #[inline(always)]
            fn float(self) -> f64 {
                let $value = self;
                $to
            }
            #[inline(always)]
            fn from_integer($value: i64) -> Self {
                $from_integer
            }
            #[inline(always)]
            fn from_float($value: f64) -> Self {
                $from_float
            }
        }
    )*};
}
floats! {
    f32 |x| f64::from(x), x as f32, x as f32;
    f64 |x| x, x as f64, x;
    f16 |x| f64::from(x), f16::from_f32(x as f32), f16::from_f32(x as f32);
    bf16 |x| f64::from(x), bf16::from_f32(x as f32), bf16::from_f32(x as f32);
}

impl sealed::Sealed for Truth {}

impl Number for Truth {
    const IS_FLOAT: bool = false;
    #[inline(always)]
    fn integer(self) -> i64 {
        i64::from(self.0 != 0)
    }
    #[inline(always)]
    fn float(self) -> f64 {
        f64::from(u8::from(self.0 != 0))
    }
    #[inline(always)]
    fn from_integer(value: i64) -> Self {
        Self(u8::from(value != 0))
    }
    #[inline(always)]
    fn from_float(value: f64) -> Self {
        Self(u8::from(value != 0.0))
    }
}

/// y = x as numbers of another type.
///
/// # Panics
/// If the lengths differ.
pub fn cast<A: Number, B: Number>(ctx: Context, x: &[A], y: &mut [B]) {
    map(ctx, x, y, |x: A| if A::IS_FLOAT { B::from_float(x.float()) } else { B::from_integer(x.integer()) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Pool};

    #[test]
    fn floats_are_cut_to_the_range_and_integers_to_their_low_bits() {
        let pool = Pool::serial();
        let ctx = Context { pool: &pool, isa: Isa::detect() };
        let mut bytes = [0i8; 4];
        cast(ctx, &[1.9f32, -200.0, f32::NAN, -1.9], &mut bytes);
        assert_eq!(bytes, [1, -128, 127, -1]);
        cast(ctx, &[300i32, -1, 128, 0], &mut bytes);
        assert_eq!(bytes, [44, -1, -128, 0]);
        let mut truths = [Truth(7); 4];
        cast(ctx, &[0.0f32, -0.0, f32::NAN, 0.1], &mut truths);
        assert_eq!(truths, [Truth(0), Truth(0), Truth(1), Truth(1)]);
    }
}

//! CAST: numbers of one type as numbers of another.

use crate::Context;
use crate::elementwise::map;
use bytemuck::{Pod, Zeroable};
use half::{bf16, f16};

pub(crate) mod sealed {
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

/// y = x as numbers of another type, in a loop of its own. [`Detour`] is that without one.
///
/// # Panics
/// If the lengths differ.
pub fn cast<A: Number, B: Number>(ctx: Context, x: &[A], y: &mut [B]) {
    map(ctx, x, y, |x: A| if A::IS_FLOAT { B::from_float(x.float()) } else { B::from_integer(x.integer()) });
}

/// A cast in two steps, by way of the bits of an `i64` or `f64`, which is where [`cast`] passes as well: what it gives is the
/// same, slower, without a loop for each pair of types. For pairs that no model spends its time in.
#[derive(Clone, Copy)]
pub struct Detour {
    widen: fn(&[u8], &mut [u64]),
    narrow: fn(&[u64], &mut [u8]),
    sizes: [usize; 2],
}

/// What a [`Detour`] can begin with.
#[derive(Clone, Copy)]
pub struct From {
    widen: fn(&[u8], &mut [u64]),
    size: usize,
    is_float: bool,
}

impl From {
    /// Numbers of type `A`.
    #[must_use]
    pub fn of<A: Number>() -> Self {
        Self { widen: widen::<A>, size: size_of::<A>(), is_float: A::IS_FLOAT }
    }

    /// To numbers of type `B`.
    #[must_use]
    pub fn to<B: Number>(self) -> Detour {
        let narrow = if self.is_float { narrow_float::<B> } else { narrow_integer::<B> };
        Detour { widen: self.widen, narrow, sizes: [self.size, size_of::<B>()] }
    }
}

impl Detour {
    /// y = x, both as bytes.
    ///
    /// # Panics
    /// If they are not the bytes of as many numbers.
    pub fn run(&self, ctx: Context, x: &[u8], y: &mut [u8]) {
        const BLOCK: usize = 128;
        const TASK: usize = 128 * BLOCK;
        let [x_size, y_size] = self.sizes;
        assert_eq!(x.len() / x_size, y.len() / y_size, "operand and result have one shape");
        ctx.pool.chunks_mut(y, TASK * y_size, |task, y| {
            let x = &x[task * TASK * x_size..];
            let mut wide = [0; BLOCK];
            for (x, y) in x.chunks(BLOCK * x_size).zip(y.chunks_mut(BLOCK * y_size)) {
                let wide = &mut wide[..y.len() / y_size];
                (self.widen)(x, wide);
                (self.narrow)(wide, y);
            }
        });
    }
}

fn widen<A: Number>(x: &[u8], wide: &mut [u64]) {
    for (wide, x) in wide.iter_mut().zip(x.chunks_exact(size_of::<A>())) {
        let x: A = bytemuck::pod_read_unaligned(x);
        *wide = if A::IS_FLOAT { x.float().to_bits() } else { x.integer() as u64 };
    }
}

fn narrow_float<B: Number>(wide: &[u64], y: &mut [u8]) {
    for (y, &wide) in y.chunks_exact_mut(size_of::<B>()).zip(wide) {
        y.copy_from_slice(bytemuck::bytes_of(&B::from_float(f64::from_bits(wide))));
    }
}

fn narrow_integer<B: Number>(wide: &[u64], y: &mut [u8]) {
    for (y, &wide) in y.chunks_exact_mut(size_of::<B>()).zip(wide) {
        y.copy_from_slice(bytemuck::bytes_of(&B::from_integer(wide as i64)));
    }
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
    /// Every value of the small types and the corners of the large ones, with more than one task of them.
    fn values<A: Number>() -> Vec<A> {
        let corners =
            [f64::NAN, f64::INFINITY, -0.0, 0.1, 1e-45, 65504.0, 3e38, -1e300, 2147483648.5, 1e19].map(A::from_float);
        let large = [i64::MIN, i64::MAX, i64::from(i32::MIN), (1 << 24) + 1, (1 << 53) + 1].map(A::from_integer);
        (-20_000..20_000).map(A::from_integer).chain(corners).chain(large).collect()
    }

    fn compare<A: Number, B: Number>() {
        let pool = Pool::new(2);
        let ctx = Context { pool: &pool, isa: Isa::detect() };
        let x = values::<A>();
        let [mut direct, mut detour] = [vec![B::from_integer(1); x.len()], vec![B::from_integer(2); x.len()]];
        cast(ctx, &x, &mut direct);
        From::of::<A>().to::<B>().run(ctx, bytemuck::cast_slice(&x), bytemuck::cast_slice_mut(&mut detour));
        let bytes = |y: &[B]| bytemuck::cast_slice::<B, u8>(y).to_vec();
        assert_eq!(bytes(&direct), bytes(&detour));
    }

    #[test]
    fn the_detour_leads_to_the_same() {
        compare::<f32, i8>();
        compare::<f32, f16>();
        compare::<f64, i64>();
        compare::<f16, bf16>();
        compare::<bf16, Truth>();
        compare::<i8, f64>();
        compare::<u32, i16>();
        compare::<i64, f32>();
        compare::<i64, Truth>();
        compare::<Truth, u16>();
    }
}

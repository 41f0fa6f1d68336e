//! Ops of one operand, element by element: RELU, RELU6, RELU_N1_TO_1, LEAKY_RELU, HARD_SWISH, LOGISTIC, TANH, GELU, ELU,
//! EXP, SQRT, RSQRT, RELU_0_TO_1, ABS, NEG, SQUARE, LOG, SIN, COS, FLOOR, CEIL, ROUND, SIGN.

use crate::broadcast::Value;
use crate::dispatch::multiversion;
use crate::{Context, Isa, Real};
use bytemuck::{cast_slice, cast_slice_mut};

/// An op of one operand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    /// max(x, 0).
    Relu,
    /// Clamp to [0, 6].
    Relu6,
    /// Clamp to [-1, 1].
    ReluN1To1,
    /// x where positive, `alpha` x elsewhere.
    LeakyRelu {
        /// The slope for negative values.
        alpha: f32,
    },
    /// x relu6(x + 3) / 6.
    HardSwish,
    /// 1 / (1 + e^-x).
    Logistic,
    /// Hyperbolic tangent.
    Tanh,
    /// x times the normal distribution function of x.
    Gelu {
        /// Whether the distribution function is approximated by a tanh.
        approximate: bool,
    },
    /// x where positive, e^x - 1 elsewhere.
    Elu,
    /// e^x.
    Exp,
    /// Square root.
    Sqrt,
    /// 1 / square root.
    Rsqrt,
    /// Clamp to [0, 1].
    Relu0To1,
    /// Absolute value.
    Abs,
    /// -x.
    Neg,
    /// x x.
    Square,
    /// Natural logarithm.
    Log,
    /// Sine of radians.
    Sin,
    /// Cosine of radians.
    Cos,
    /// The largest integer that is not above.
    Floor,
    /// The smallest integer that is not below.
    Ceil,
    /// The nearest integer, halves to even.
    Round,
    /// -1, 0 or 1.
    Sign,
}

/// sqrt(2 / pi), of GELU's tanh form.
const GELU_SCALE: f64 = 0.797_884_560_802_865_4;
const GELU_CUBIC: f64 = 0.044_715;

impl Unary {
    /// y = op(x).
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn forward<T: Real>(self, ctx: Context, x: &[T], y: &mut [T]) {
        let c = T::from_f64;
        let (zero, one) = (T::ZERO, T::ONE);
        match self {
            Self::Relu => map_wide(ctx, x, y, move |x: T| if x < zero { zero } else { x }),
            Self::Relu6 => map_wide(ctx, x, y, move |x: T| clamp(x, zero, c(6.0))),
            Self::ReluN1To1 => map_wide(ctx, x, y, move |x: T| clamp(x, -one, one)),
            Self::LeakyRelu { alpha } => {
                let alpha = c(f64::from(alpha));
                map_wide(ctx, x, y, move |x: T| if x < zero { x * alpha } else { x });
            }
            Self::HardSwish => map_wide(ctx, x, y, move |x: T| x * clamp(x + c(3.0), zero, c(6.0)) * c(1.0 / 6.0)),
            Self::Logistic => map_wide(ctx, x, y, |x: T| x.logistic()),
            Self::Tanh => map_wide(ctx, x, y, |x: T| x.tanh()),
            Self::Gelu { approximate: false } => map_wide(ctx, x, y, |x: T| x * x.normal_cdf()),
            Self::Gelu { approximate: true } => map_wide(ctx, x, y, |x: T| x * x.normal_cdf_tanh()),
            Self::Elu => map_wide(ctx, x, y, move |x: T| if x < zero { expm1(x) } else { x }),
            Self::Exp => map_wide(ctx, x, y, |x: T| x.exp()),
            Self::Sqrt => map_wide(ctx, x, y, |x: T| x.sqrt()),
            Self::Rsqrt => map_wide(ctx, x, y, move |x: T| one / x.sqrt()),
            Self::Relu0To1 => map_wide(ctx, x, y, move |x: T| clamp(x, zero, one)),
            Self::Abs => map_wide(ctx, x, y, |x: T| x.abs()),
            Self::Neg => map_wide(ctx, x, y, |x: T| -x),
            Self::Square => map_wide(ctx, x, y, |x: T| x * x),
            Self::Log => map_wide(ctx, x, y, |x: T| x.ln()),
            Self::Sin => map_wide(ctx, x, y, |x: T| x.sin()),
            Self::Cos => map_wide(ctx, x, y, |x: T| x.cos()),
            Self::Floor => map_wide(ctx, x, y, |x: T| x.floor()),
            Self::Ceil => map_wide(ctx, x, y, |x: T| x.ceil()),
            Self::Round => map_wide(ctx, x, y, |x: T| x.round_ties_even()),
            Self::Sign => map_wide(ctx, x, y, move |x: T| {
                let x = if x > zero { one } else { x };
                if x < zero { -one } else { x }
            }),
        }
    }

    /// dx = op'(x) dy, where y = op(x). On a corner the derivative from the side that is clamped to a constant, or of the
    /// negative side.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn backward<T: Real>(self, ctx: Context, x: &[T], y: &[T], dy: &[T], dx: &mut [T]) {
        let c = T::from_f64;
        let (zero, one) = (T::ZERO, T::ONE);
        match self {
            Self::Relu => zip(ctx, x, dy, dx, move |x: T, dy: T| if x > zero { dy } else { zero }),
            Self::Relu6 => zip(ctx, x, dy, dx, move |x: T, dy: T| if x > zero && x < c(6.0) { dy } else { zero }),
            Self::ReluN1To1 => zip(ctx, x, dy, dx, move |x: T, dy: T| if x > -one && x < one { dy } else { zero }),
            Self::LeakyRelu { alpha } => {
                let alpha = c(f64::from(alpha));
                zip(ctx, x, dy, dx, move |x: T, dy: T| if x > zero { dy } else { dy * alpha });
            }
            Self::HardSwish => zip(ctx, x, dy, dx, move |x: T, dy: T| {
                let inside = (x + x + c(3.0)) * c(1.0 / 6.0);
                let slope = if x >= c(3.0) { one } else { inside };
                dy * if x <= c(-3.0) { zero } else { slope }
            }),
            Self::Logistic => zip(ctx, y, dy, dx, move |y: T, dy: T| dy * y * (one - y)),
            Self::Tanh => zip(ctx, y, dy, dx, move |y: T, dy: T| dy * (one - y * y)),
            Self::Gelu { approximate: false } => zip(ctx, x, dy, dx, move |x: T, dy: T| {
                let density = c(0.398_942_280_401_432_7) * (c(-0.5) * x * x).exp();
                dy * (x.normal_cdf() + x * density)
            }),
            Self::Gelu { approximate: true } => zip(ctx, x, dy, dx, move |x: T, dy: T| {
                // The derivative of the logistic function of twice the inner one.
                let (cdf, inner) = (x.normal_cdf_tanh(), c(GELU_SCALE) * (one + c(3.0 * GELU_CUBIC) * x * x));
                dy * (cdf + x * (inner + inner) * cdf * (one - cdf))
            }),
            Self::Elu => zip(ctx, y, dy, dx, move |y: T, dy: T| if y > zero { dy } else { dy * (y + one) }),
            Self::Exp => zip(ctx, y, dy, dx, |y: T, dy: T| dy * y),
            Self::Sqrt => zip(ctx, y, dy, dx, move |y: T, dy: T| dy * c(0.5) / y),
            Self::Rsqrt => zip(ctx, y, dy, dx, move |y: T, dy: T| dy * c(-0.5) * y * y * y),
            Self::Relu0To1 => zip(ctx, x, dy, dx, move |x: T, dy: T| if x > zero && x < one { dy } else { zero }),
            Self::Abs => zip(ctx, x, dy, dx, move |x: T, dy: T| if x > zero { dy } else { -dy }),
            Self::Neg => zip(ctx, y, dy, dx, |_: T, dy: T| -dy),
            Self::Square => zip(ctx, x, dy, dx, |x: T, dy: T| dy * (x + x)),
            Self::Log => zip(ctx, x, dy, dx, |x: T, dy: T| dy / x),
            Self::Sin => zip(ctx, x, dy, dx, |x: T, dy: T| dy * x.cos()),
            Self::Cos => zip(ctx, x, dy, dx, |x: T, dy: T| dy * -x.sin()),
            // Steps: flat wherever they have a derivative.
            Self::Floor | Self::Ceil | Self::Round | Self::Sign => dx.fill(zero),
        }
    }
}

/// NaN stays NaN.
#[inline(always)]
pub(crate) fn clamp<T: Real>(x: T, low: T, high: T) -> T {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// e^x - 1 for negative x without the cancellation near 0: with t = tanh(x / 2) it is 2 t / (1 - t).
#[inline(always)]
fn expm1<T: Real>(x: T) -> T {
    let t = (x * T::from_f64(0.5)).tanh();
    (t + t) / (T::ONE - t)
}

/// Elements of a task, of `len` in all.
pub(crate) fn chunk_len(ctx: Context, len: usize) -> usize {
    ctx.pool.share(len, 1, 2 * 1024)
}

/// y = f(x), element by element, split over the pool. Without code for AVX-512, see [`multiversion`].
pub(crate) fn map<A: Value, Y: Value, F: Fn(A) -> Y + Sync>(ctx: Context, x: &[A], y: &mut [Y], f: F) {
    assert_eq!(x.len(), y.len(), "operand and result have one shape");
    let chunk = Map { f, run: map_chunk::<A, Y, F> };
    map_bytes(ctx, cast_slice(x), cast_slice_mut(y), [size_of::<A>(), size_of::<Y>()], &chunk);
}

/// The same with code for AVX-512, for what takes long to compute.
pub(crate) fn map_wide<A: Value, Y: Value, F: Fn(A) -> Y + Sync>(ctx: Context, x: &[A], y: &mut [Y], f: F) {
    assert_eq!(x.len(), y.len(), "operand and result have one shape");
    let chunk = Map { f, run: map_chunk_wide::<A, Y, F> };
    map_bytes(ctx, cast_slice(x), cast_slice_mut(y), [size_of::<A>(), size_of::<Y>()], &chunk);
}

/// A loop over a chunk of bytes, so that what calls it knows no element type and is compiled once.
trait Chunk: Sync {
    fn run(&self, isa: Isa, x: &[u8], y: &mut [u8]);
}

struct Map<A, Y, F> {
    f: F,
    run: fn(Isa, &[A], &mut [Y], &F),
}

impl<A: Value, Y: Value, F: Fn(A) -> Y + Sync> Chunk for Map<A, Y, F> {
    fn run(&self, isa: Isa, x: &[u8], y: &mut [u8]) {
        (self.run)(isa, cast_slice(x), cast_slice_mut(y), &self.f);
    }
}

fn map_bytes(ctx: Context, x: &[u8], y: &mut [u8], [x_size, y_size]: [usize; 2], chunk: &dyn Chunk) {
    let elements = chunk_len(ctx, y.len() / y_size);
    ctx.pool.chunks_mut(y, elements * y_size, |index, y| {
        let x = &x[index * elements * x_size..][..y.len() / y_size * x_size];
        chunk.run(ctx.isa, x, y);
    });
}

/// y = f(a, b), element by element, split over the pool.
pub(crate) fn zip<T: Real, F: Fn(T, T) -> T + Sync>(ctx: Context, a: &[T], b: &[T], y: &mut [T], f: F) {
    assert!(a.len() == y.len() && b.len() == y.len(), "operands and result have one shape");
    let chunk = chunk_len(ctx, y.len());
    ctx.pool.chunks_mut(y, chunk, |index, y| {
        let at = index.wrapping_mul(chunk)..index.wrapping_mul(chunk) + y.len();
        zip_chunk(ctx.isa, &a[at.clone()], &b[at], y, &f);
    });
}

multiversion! {
    to avx2;
    fn map_chunk<A: Value, Y: Value, F: Fn(A) -> Y>(x: &[A], y: &mut [Y], f: &F) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f(x);
        }
    }
}

multiversion! {
    fn map_chunk_wide<A: Value, Y: Value, F: Fn(A) -> Y>(x: &[A], y: &mut [Y], f: &F) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f(x);
        }
    }
}

multiversion! {
    pub(crate) fn zip_chunk<T: Real, F: Fn(T, T) -> T>(a: &[T], b: &[T], y: &mut [T], f: &F) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = f(a, b);
        }
    }
}

//! Fused activations: what an op applies to its result before storing it.

use crate::dispatch::multiversion;
use crate::{Context, Real, elementwise};

/// A fused activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// max(x, 0).
    Relu,
    /// Clamp to [-1, 1].
    ReluN1To1,
    /// Clamp to [0, 6].
    Relu6,
    /// Hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// The range results are clamped to: infinite where there is no limit.
    #[must_use]
    pub fn range(self) -> (f64, f64) {
        match self {
            Self::None | Self::Tanh => (f64::NEG_INFINITY, f64::INFINITY),
            Self::Relu => (0.0, f64::INFINITY),
            Self::ReluN1To1 => (-1.0, 1.0),
            Self::Relu6 => (0.0, 6.0),
        }
    }

    /// The activation of one value. NaN stays NaN.
    #[inline]
    #[must_use]
    pub fn apply<T: Real>(self, x: T) -> T {
        let clamp = |low: f64, high: f64| {
            let x = if x < T::from_f64(low) { T::from_f64(low) } else { x };
            if x > T::from_f64(high) { T::from_f64(high) } else { x }
        };
        match self {
            Self::None => x,
            Self::Tanh => x.tanh(),
            Self::Relu if x < T::ZERO => T::ZERO,
            Self::Relu => x,
            Self::ReluN1To1 => clamp(-1.0, 1.0),
            Self::Relu6 => clamp(0.0, 6.0),
        }
    }

    /// Applies it to all of `values`.
    pub fn apply_in_place<T: Real>(self, ctx: Context, values: &mut [T]) {
        if self == Self::None {
            return;
        }
        let chunk = elementwise::chunk_len(ctx, values.len());
        ctx.pool.chunks_mut(values, chunk, |_, values| {
            let isa = ctx.isa;
            match self {
                Self::None => {}
                Self::Tanh => map_in_place(isa, values, |x: T| Self::Tanh.apply(x)),
                Self::Relu => map_in_place(isa, values, |x: T| Self::Relu.apply(x)),
                Self::ReluN1To1 => map_in_place(isa, values, |x: T| Self::ReluN1To1.apply(x)),
                Self::Relu6 => map_in_place(isa, values, |x: T| Self::Relu6.apply(x)),
            }
        });
    }

    /// The gradient before the activation from the gradient after it, `dy`, and the activation's result `y`. A clamped
    /// element passes no gradient, one that lies exactly on a limit included.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn backward<T: Real>(self, ctx: Context, y: &[T], dy: &[T], dx: &mut [T]) {
        let (low, high) = self.range();
        let (low, high) = (T::from_f64(low), T::from_f64(high));
        match self {
            Self::None => dx.copy_from_slice(dy),
            Self::Tanh => elementwise::zip(ctx, y, dy, dx, |y: T, dy: T| dy * (T::ONE - y * y)),
            Self::Relu => elementwise::zip(ctx, y, dy, dx, |y: T, dy: T| if y > T::ZERO { dy } else { T::ZERO }),
            Self::ReluN1To1 | Self::Relu6 => {
                elementwise::zip(ctx, y, dy, dx, move |y: T, dy: T| if y > low && y < high { dy } else { T::ZERO });
            }
        }
    }

    /// [`Activation::backward`] that replaces `dy`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn backward_in_place<T: Real>(self, ctx: Context, y: &[T], dy: &mut [T]) {
        assert_eq!(y.len(), dy.len(), "the result and its gradient have one shape");
        let chunk = elementwise::chunk_len(ctx, dy.len());
        let (low, high) = self.range();
        let (low, high) = (T::from_f64(low), T::from_f64(high));
        ctx.pool.chunks_mut(dy, chunk, |index, dy| {
            let y = &y[index * chunk..][..dy.len()];
            match self {
                Self::None => {}
                Self::Tanh => zip_in_place(ctx.isa, y, dy, |y: T, dy: T| dy * (T::ONE - y * y)),
                Self::Relu => zip_in_place(ctx.isa, y, dy, |y: T, dy: T| if y > T::ZERO { dy } else { T::ZERO }),
                Self::ReluN1To1 | Self::Relu6 => {
                    let masked = move |y: T, dy: T| if y > low && y < high { dy } else { T::ZERO };
                    zip_in_place(ctx.isa, y, dy, masked);
                }
            }
        });
    }
}

multiversion! {
    pub(crate) fn map_in_place<T: Real, F: Fn(T) -> T>(values: &mut [T], f: F) {
        for value in values {
            *value = f(*value);
        }
    }
}

multiversion! {
    /// b = f(a, b).
    pub(crate) fn zip_in_place<T: Real, F: Fn(T, T) -> T>(a: &[T], b: &mut [T], f: F) {
        for (b, &a) in b.iter_mut().zip(a) {
            *b = f(a, *b);
        }
    }
}

//! PRELU: `x` where it is not negative, `alpha x` elsewhere; alpha broadcasts to the input.

use crate::binary::reduce;
use crate::broadcast::{self, Broadcast};
use crate::numerics::{QuantParams, Quantized};
use crate::requantize::FixedPoint;
use crate::{Context, Real, Unsupported};
use std::marker::PhantomData;

const KERNEL: &str = "prelu";

/// Plans how alpha broadcasts.
///
/// # Errors
/// Shapes that do not broadcast to that of the input.
pub fn plan(input: &[usize], alpha: &[usize]) -> Result<Broadcast, Unsupported> {
    let plan = Broadcast::new(input, alpha)?;
    if plan.shape() != input {
        let reason = format!("alpha of shape {alpha:?} does not broadcast to {input:?}");
        return Err(Unsupported::new(KERNEL, reason));
    }
    Ok(plan)
}

/// y = x where it is not negative, alpha x elsewhere.
///
/// # Panics
/// If a length is not the planned one.
pub fn forward<T: Real>(ctx: Context, plan: &Broadcast, x: &[T], alpha: &[T], y: &mut [T]) {
    let f = |x: T, alpha: T| if x < T::ZERO { x * alpha } else { x };
    broadcast::zip_wide(ctx, plan, x, alpha, y, f);
}

/// The gradient of the input; that of 0 is as of a negative value.
///
/// # Panics
/// If a length is not the planned one.
pub fn backward_input<T: Real>(ctx: Context, plan: &Broadcast, x: &[T], alpha: &[T], dy: &[T], dx: &mut [T]) {
    assert_eq!([dx.len(), alpha.len(), dy.len()], plan.lens(), "operands and gradients have the planned shapes");
    reduce::<T, _, 0>(ctx.isa, plan, x, alpha, dy, dx, |x, alpha, dy| if x > T::ZERO { dy } else { dy * alpha });
}

/// The gradient of alpha, summed over what was broadcast.
///
/// # Panics
/// If a length is not the planned one.
pub fn backward_alpha<T: Real>(ctx: Context, plan: &Broadcast, x: &[T], alpha: &[T], dy: &[T], dalpha: &mut [T]) {
    assert_eq!([x.len(), dalpha.len(), dy.len()], plan.lens(), "operands and gradients have the planned shapes");
    reduce::<T, _, 1>(ctx.isa, plan, x, alpha, dy, dalpha, |x, _, dy| if x > T::ZERO { T::ZERO } else { dy * x });
}

/// A planned PRELU on `i8`, `u8` or `i16`, whose alpha is `A`.
#[derive(Debug, Clone)]
pub struct QuantizedPrelu<T, A> {
    broadcast: Broadcast,
    zero_points: [i32; 3],
    above: FixedPoint,
    below: FixedPoint,
    elements: PhantomData<(T, A)>,
}

impl<T: Quantized, A: Quantized> QuantizedPrelu<T, A> {
    /// Plans it for both numerics, for which LiteRT has one kernel (`reference/prelu.h`): `input / output` for values that are
    /// not negative, `input * alpha / output` elsewhere, ratios in f32, each with [`FixedPoint::round_twice`].
    ///
    /// # Errors
    /// Shapes as [`plan`], or a bad quantization.
    pub fn new(
        shapes: [&[usize]; 2],
        input: QuantParams,
        alpha: QuantParams,
        output: QuantParams,
    ) -> Result<Self, Unsupported> {
        input.check::<T>(KERNEL, "input")?;
        alpha.check::<A>(KERNEL, "alpha")?;
        output.check::<T>(KERNEL, "output")?;
        Ok(Self {
            broadcast: plan(shapes[0], shapes[1])?,
            zero_points: [input.zero_point, alpha.zero_point, output.zero_point],
            above: FixedPoint::new((input.scale / output.scale).into()),
            below: FixedPoint::new((input.scale * alpha.scale / output.scale).into()),
            elements: PhantomData,
        })
    }

    /// Runs.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[T], alpha: &[A], output: &mut [T]) {
        let Self { above, below, .. } = *self;
        let [from, alpha_zero, to] = self.zero_points;
        let f = |x: T, alpha: A| {
            let x = x.widen() - from;
            let (factor, scale) = if x < 0 { (alpha.widen() - alpha_zero, below) } else { (1, above) };
            T::narrow(scale.round_twice(x.wrapping_mul(factor)).wrapping_add(to).clamp(T::MIN, T::MAX))
        };
        broadcast::zip_wide(ctx, &self.broadcast, input, alpha, output, f);
    }
}

//! Ops of two operands with broadcasting: ADD, SUB, MUL, DIV, MAXIMUM, MINIMUM, SQUARED_DIFFERENCE.

use crate::activation::zip_in_place;
use crate::broadcast::{self, Broadcast};
use crate::dispatch::multiversion;
use crate::elementwise::{chunk_len, clamp};
use crate::{Activation, Context, Isa, Real};

/// An op of two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binary {
    /// a + b.
    Add,
    /// a - b.
    Sub,
    /// a b.
    Mul,
    /// a / b.
    Div,
    /// The larger.
    Maximum,
    /// The smaller.
    Minimum,
    /// (a - b)^2.
    SquaredDifference,
}

/// The sum of the operands in `y`, added in their order.
///
/// # Panics
/// If there is no operand, or one is of another length than `y`.
pub fn add_n<'a, T: Copy + 'a>(y: &mut [T], mut operands: impl Iterator<Item = &'a [T]>, add: impl Fn(T, T) -> T) {
    let first = operands.next().unwrap_or_else(|| panic!("ADD_N has an operand"));
    y.copy_from_slice(first);
    for x in operands {
        assert_eq!(x.len(), y.len(), "operands of one shape");
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = add(*y, x));
    }
}

impl Binary {
    /// y = activation(a op b) on the planned shapes.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn forward<T: Real>(
        self,
        ctx: Context,
        plan: &Broadcast,
        activation: Activation,
        a: &[T],
        b: &[T],
        y: &mut [T],
    ) {
        match self {
            Self::Add => rows(ctx, plan, activation, a, b, y, |a, b| a + b),
            Self::Sub => rows(ctx, plan, activation, a, b, y, |a, b| a - b),
            Self::Mul => rows(ctx, plan, activation, a, b, y, |a, b| a * b),
            Self::Div => rows(ctx, plan, activation, a, b, y, |a, b| a / b),
            Self::Maximum => rows(ctx, plan, activation, a, b, y, |a, b| if a > b { a } else { b }),
            Self::Minimum => rows(ctx, plan, activation, a, b, y, |a, b| if a < b { a } else { b }),
            Self::SquaredDifference => rows(ctx, plan, activation, a, b, y, |a, b| (a - b) * (a - b)),
        }
    }

    /// Whether there is [`Binary::forward_over`]: for what models do much of.
    #[must_use]
    pub fn overwrites(self) -> bool {
        matches!(self, Self::Add | Self::Sub | Self::Mul)
    }

    /// [`Binary::forward`] where `y` holds the operand at `index` and takes the result. The other one has its shape, or is repeated as
    /// often as it takes to fill it.
    ///
    /// # Panics
    /// If `y` is not as long as `other` some times over, or the op [has](Self::overwrites) no such form.
    pub fn forward_over<T: Real>(self, ctx: Context, activation: Activation, index: usize, other: &[T], y: &mut [T]) {
        match (self, index) {
            (Self::Add, _) => over(ctx, activation, other, y, |a, b| a + b),
            (Self::Sub, 0) => over(ctx, activation, other, y, |b, a| a - b),
            (Self::Sub, _) => over(ctx, activation, other, y, |a, b| a - b),
            (Self::Mul, _) => over(ctx, activation, other, y, |a, b| a * b),
            _ => panic!("{self:?} overwrites no operand"),
        }
    }

    /// Gradient of the first operand, summed over what was broadcast. `dy` is that before the activation. Of equal
    /// operands of MAXIMUM or MINIMUM, the first takes the gradient.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn backward_a<T: Real>(self, ctx: Context, plan: &Broadcast, a: &[T], b: &[T], dy: &[T], da: &mut [T]) {
        assert_eq!([da.len(), b.len(), dy.len()], plan.lens(), "operands and gradients have the planned shapes");
        let two = T::ONE + T::ONE;
        match self {
            Self::Add | Self::Sub => reduce::<T, _, 0>(ctx.isa, plan, a, b, dy, da, |_, _, dy| dy),
            Self::Mul => reduce::<T, _, 0>(ctx.isa, plan, a, b, dy, da, |_, b, dy| dy * b),
            Self::Div => reduce::<T, _, 0>(ctx.isa, plan, a, b, dy, da, |_, b, dy| dy / b),
            Self::Maximum => {
                reduce::<T, _, 0>(ctx.isa, plan, a, b, dy, da, |a, b, dy| if a >= b { dy } else { T::ZERO });
            }
            Self::Minimum => {
                reduce::<T, _, 0>(ctx.isa, plan, a, b, dy, da, |a, b, dy| if a <= b { dy } else { T::ZERO });
            }
            Self::SquaredDifference => {
                reduce::<T, _, 0>(ctx.isa, plan, a, b, dy, da, move |a, b, dy| dy * two * (a - b));
            }
        }
    }

    /// Gradient of the second operand, summed over what was broadcast. See [`Binary::backward_a`].
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn backward_b<T: Real>(self, ctx: Context, plan: &Broadcast, a: &[T], b: &[T], dy: &[T], db: &mut [T]) {
        assert_eq!([a.len(), db.len(), dy.len()], plan.lens(), "operands and gradients have the planned shapes");
        let two = T::ONE + T::ONE;
        match self {
            Self::Add => reduce::<T, _, 1>(ctx.isa, plan, a, b, dy, db, |_, _, dy| dy),
            Self::Sub => reduce::<T, _, 1>(ctx.isa, plan, a, b, dy, db, |_, _, dy: T| -dy),
            Self::Mul => reduce::<T, _, 1>(ctx.isa, plan, a, b, dy, db, |a, _, dy| dy * a),
            Self::Div => reduce::<T, _, 1>(ctx.isa, plan, a, b, dy, db, |a, b, dy| -dy * a / (b * b)),
            Self::Maximum => {
                reduce::<T, _, 1>(ctx.isa, plan, a, b, dy, db, |a, b, dy| if a >= b { T::ZERO } else { dy });
            }
            Self::Minimum => {
                reduce::<T, _, 1>(ctx.isa, plan, a, b, dy, db, |a, b, dy| if a <= b { T::ZERO } else { dy });
            }
            Self::SquaredDifference => {
                reduce::<T, _, 1>(ctx.isa, plan, a, b, dy, db, move |a, b, dy| dy * two * (b - a));
            }
        }
    }
}

/// The forward pass. What clamps is applied while a result is in a register, what takes longer when all are computed.
fn rows<T: Real, F: Fn(T, T) -> T + Sync>(
    ctx: Context,
    plan: &Broadcast,
    activation: Activation,
    a: &[T],
    b: &[T],
    y: &mut [T],
    f: F,
) {
    let (low, high) = range(activation);
    broadcast::zip_wide(ctx, plan, a, b, y, move |a, b| clamp(f(a, b), low, high));
    tanh(ctx, activation, y);
}

/// The same in place: `f` takes the other operand first.
fn over<T: Real, F: Fn(T, T) -> T + Copy + Sync>(ctx: Context, activation: Activation, other: &[T], y: &mut [T], f: F) {
    let (low, high) = range(activation);
    let run = |other: &[T], y: &mut [T]| zip_in_place(ctx.isa, other, y, move |other, y| clamp(f(other, y), low, high));
    if other.len() == y.len() {
        let chunk = chunk_len(ctx, y.len());
        ctx.pool.chunks_mut(y, chunk, |index, y| run(&other[index * chunk..][..y.len()], y));
    } else {
        each_row(ctx, other, y, run);
    }
    tanh(ctx, activation, y);
}

/// Calls `run(row, piece)` for pieces of `y`, with as much of `row` as they have, which is repeated where it is short.
fn each_row<T: Real>(ctx: Context, row: &[T], y: &mut [T], run: impl Fn(&[T], &mut [T]) + Sync) {
    const BLOCK: usize = 512;
    assert_eq!(y.len().checked_rem(row.len()), Some(0), "the result is filled by whole rows");
    let rows = ctx.pool.share(y.len() / row.len(), row.len(), 2 * 1024);
    ctx.pool.chunks_mut(y, rows * row.len(), |_, y| {
        let mut block = [T::ZERO; BLOCK];
        let repeats = BLOCK / row.len();
        let row = match repeats {
            0 | 1 => row,
            _ => {
                let block = &mut block[..repeats * row.len()];
                block.chunks_exact_mut(row.len()).for_each(|copy| copy.copy_from_slice(row));
                block
            }
        };
        y.chunks_mut(row.len()).for_each(|piece| run(&row[..piece.len()], piece));
    });
}

fn tanh<T: Real>(ctx: Context, activation: Activation, y: &mut [T]) {
    if activation == Activation::Tanh {
        activation.apply_in_place(ctx, y);
    }
}

/// The range of an activation.
fn range<T: Real>(activation: Activation) -> (T, T) {
    let (low, high) = activation.range();
    (T::from_f64(low), T::from_f64(high))
}

/// The gradient of operand `OPERAND`, summed in the order of the result's elements.
pub(crate) fn reduce<T: Real, F: Fn(T, T, T) -> T, const OPERAND: usize>(
    isa: Isa,
    plan: &Broadcast,
    a: &[T],
    b: &[T],
    dy: &[T],
    out: &mut [T],
    f: F,
) {
    out.fill(T::ZERO);
    let (len, a_step, b_step) = plan.inner();
    let out_step = [a_step, b_step][OPERAND];
    plan.for_rows(0..plan.rows(), |at, a_at, b_at| {
        let out = &mut out[[a_at, b_at][OPERAND]..];
        reduce_row(isa, &a[a_at..], a_step, &b[b_at..], b_step, &dy[at * len..][..len], out, out_step, &f);
    });
}

multiversion! {
    fn reduce_row<T: Real, F: Fn(T, T, T) -> T>(
        a: &[T], a_step: usize, b: &[T], b_step: usize, dy: &[T], out: &mut [T], out_step: usize, f: &F,
    ) {
        if (a_step, b_step, out_step) == (1, 1, 1) {
            for (((out, &a), &b), &dy) in out.iter_mut().zip(a).zip(b).zip(dy) {
                *out += f(a, b, dy);
            }
        } else if out_step == 0 {
            let mut sum = T::ZERO;
            for (i, &dy) in dy.iter().enumerate() {
                sum += f(a[i * a_step], b[i * b_step], dy);
            }
            if let (Some(out), false) = (out.first_mut(), dy.is_empty()) {
                *out += sum;
            }
        } else {
            for (i, (out, &dy)) in out.iter_mut().zip(dy).enumerate() {
                *out += f(a[i * a_step], b[i * b_step], dy);
            }
        }
    }
}

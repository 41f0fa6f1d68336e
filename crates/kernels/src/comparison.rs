//! EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL, and what follows from their results: LOGICAL_AND, LOGICAL_OR,
//! LOGICAL_NOT. A truth value is a byte, 0 or 1.

use crate::broadcast::{self, Broadcast};
use crate::elementwise::map;
use crate::numerics::{QuantParams, Quantized};
use crate::requantize::{FixedPoint, doubling_high_product, shift_right_modulo};
use crate::{Context, Unsupported};
use bytemuck::Pod;
use std::marker::PhantomData;

const KERNEL: &str = "comparison";

/// Which relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// a = b.
    Equal,
    /// a other than b.
    NotEqual,
    /// a < b.
    Less,
    /// a <= b.
    LessEqual,
    /// a > b.
    Greater,
    /// a >= b.
    GreaterEqual,
}

impl Comparison {
    /// y = whether a and b are so related. Of NaN only NOT_EQUAL is true.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn forward<T: Pod + PartialOrd + Send + Sync>(
        self,
        ctx: Context,
        plan: &Broadcast,
        a: &[T],
        b: &[T],
        y: &mut [u8],
    ) {
        self.forward_by(ctx, plan, a, b, y, |a: T| a, |b: T| b);
    }

    /// The same of what `of_a` and `of_b` make of the operands.
    fn forward_by<T: Pod + Send + Sync, K: PartialOrd>(
        self,
        ctx: Context,
        plan: &Broadcast,
        a: &[T],
        b: &[T],
        y: &mut [u8],
        of_a: impl Fn(T) -> K + Sync,
        of_b: impl Fn(T) -> K + Sync,
    ) {
        // One loop for all relations: a model spends no time in them.
        broadcast::zip(ctx, plan, a, b, y, |a, b| {
            let (a, b) = (of_a(a), of_b(b));
            u8::from(match self {
                Self::Equal => a == b,
                Self::NotEqual => a != b,
                Self::Less => a < b,
                Self::LessEqual => a <= b,
                Self::Greater => a > b,
                Self::GreaterEqual => a >= b,
            })
        });
    }
}

/// A planned comparison of quantized operands.
#[derive(Debug, Clone)]
pub struct QuantizedComparison<T> {
    comparison: Comparison,
    broadcast: Broadcast,
    zero_points: [i32; 2],
    scales: [FixedPoint; 2],
    element: PhantomData<T>,
}

impl<T: Quantized> QuantizedComparison<T> {
    /// Plans it for both numerics, for which LiteRT has one kernel (`reference/comparisons.h`, `ComparisonWithScaling`):
    /// each operand is shifted left by 8 and multiplied by its scale, rounded twice; integers are compared. Values that are
    /// close together may so become equal.
    ///
    /// # Errors
    /// Shapes that do not broadcast, or a bad quantization.
    pub fn new(comparison: Comparison, shapes: [&[usize]; 2], inputs: [QuantParams; 2]) -> Result<Self, Unsupported> {
        inputs[0].check::<T>(KERNEL, "first input")?;
        inputs[1].check::<T>(KERNEL, "second input")?;
        Ok(Self {
            comparison,
            broadcast: Broadcast::new(shapes[0], shapes[1])?,
            zero_points: inputs.map(|input| input.zero_point),
            scales: inputs.map(|input| FixedPoint::new(input.scale.into())),
            element: PhantomData,
        })
    }

    /// Runs.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, a: &[T], b: &[T], output: &mut [u8]) {
        let scaled = |operand: usize| {
            let (zero_point, scale) = (self.zero_points[operand], self.scales[operand]);
            move |x: T| {
                let product = doubling_high_product((x.widen() - zero_point) << 8, scale.multiplier);
                shift_right_modulo(product, -scale.shift)
            }
        };
        self.comparison.forward_by(ctx, &self.broadcast, a, b, output, scaled(0), scaled(1));
    }
}

/// y = a and b.
///
/// # Panics
/// If a length is not the planned one.
pub fn logical_and(ctx: Context, plan: &Broadcast, a: &[u8], b: &[u8], y: &mut [u8]) {
    broadcast::zip(ctx, plan, a, b, y, |a: u8, b: u8| u8::from((a != 0) & (b != 0)));
}

/// y = a or b.
///
/// # Panics
/// If a length is not the planned one.
pub fn logical_or(ctx: Context, plan: &Broadcast, a: &[u8], b: &[u8], y: &mut [u8]) {
    broadcast::zip(ctx, plan, a, b, y, |a: u8, b: u8| u8::from((a | b) != 0));
}

/// y = not x.
///
/// # Panics
/// If the lengths differ.
pub fn logical_not(ctx: Context, x: &[u8], y: &mut [u8]) {
    map(ctx, x, y, |x: u8| u8::from(x == 0));
}

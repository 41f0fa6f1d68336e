//! Quantized ADD, SUB, MUL, DIV and SQUARED_DIFFERENCE with broadcasting: int8, uint8 and int16, all three tensors of one
//! type.

use crate::binary::Binary;
use crate::broadcast::{self, Broadcast, Operand, Rows};
use crate::byte_sum::ByteSum;
use crate::byte_table::ByteTable;
use crate::dispatch::multiversion;
use crate::fixed_point::one_over_one_plus;
use crate::numerics::{Numerics, QuantParams, Quantized, builtin_range, check_activation, xnnpack_range};
use crate::requantize::{
    FixedPoint, doubling_high_product, round_even_small, rounding_shift_right, shift_right_modulo,
};
use crate::{Activation, Context, Isa, Unsupported};
use bytemuck::{cast_slice, cast_slice_mut};
use std::marker::PhantomData;

const KERNEL: &str = "binary";
/// Elements of LiteRT's vector loop for int16 ADD.
const VECTOR: usize = 16;

/// A planned quantized op of two operands on `i8`, `u8` or `i16`.
#[derive(Debug, Clone)]
pub struct QuantizedBinary<T> {
    broadcast: Broadcast,
    formula: Formula,
    /// What computes whole vectors of [`VECTOR`] elements, if it is something else.
    vectors: Option<Formula>,
    ends: Ends,
    element: PhantomData<T>,
}

#[derive(Debug, Clone, Copy)]
enum Formula {
    /// `(bias + a * a_multiplier + b * b_multiplier) >> shift`, the rounding half in the bias (XNNPACK
    /// `microparams-init.c`, `xnn_init_qs8_add_minmax_scalar_params`).
    Sum { bias: i32, a: i32, b: i32, shift: u32 },
    /// `(a - za) * (b - zb) * scale` in f32, halves to even (XNNPACK `qs8-vmul/*-minmax-fp32-*`).
    Product { zero_points: [i32; 2], scale: f32 },
    /// Both operands shifted left and scaled, summed, scaled again, each with [`FixedPoint::round_twice`] (LiteRT
    /// `reference/integer_ops/add.h`); `sign` is -1 for SUB.
    FixedSum { zero_points: [i32; 2], left_shift: u32, scales: [FixedPoint; 2], sign: i32, output: FixedPoint },
    /// ADD of int16 in whole vectors: the operands' shifts are taken together, so that each is rounded once (LiteRT
    /// `optimized/integer_ops/add.h`, `AddElementwiseInt16`).
    FusedSum { shifts: [i32; 2], multipliers: [i32; 2], output: FixedPoint },
    /// Both operands shifted right, halves away from zero, and summed (LiteRT `reference/add.h`, the int16 overload).
    ShiftedSum { shifts: [u32; 2], sign: i32 },
    /// The product scaled with [`FixedPoint::round_twice`] (LiteRT `reference/integer_ops/mul.h`).
    FixedProduct { zero_points: [i32; 2], output: FixedPoint },
    /// The quotient by way of a fixed-point reciprocal (LiteRT `reference/div.h`).
    Quotient { zero_points: [i32; 2], output: FixedPoint },
    /// As [`Formula::FixedSum`], the difference squared before it is scaled (LiteRT `kernels/squared_difference.cc`).
    FixedSquare { zero_points: [i32; 2], left_shift: u32, scales: [FixedPoint; 2], output: FixedPoint },
}

/// What the formula depends on of an element type.
#[derive(Clone, Copy)]
struct Type {
    bits: u32,
    is_i8: bool,
}

/// One for all element types: what is planned once needs no code for each.
#[inline(never)]
fn formula(
    op: Binary,
    element: Type,
    inputs: [QuantParams; 2],
    output: QuantParams,
    numerics: Numerics,
) -> Result<Formula, Unsupported> {
    let [a, b] = inputs;
    let zero_points = [a.zero_point, b.zero_point];
    if element.bits == 16 && (zero_points, output.zero_point) != ([0, 0], 0) {
        return Err(Unsupported::new(KERNEL, "int16 with a zero point other than 0"));
    }
    let xnnpack = numerics == Numerics::Litert && element.bits == 8;
    let (ratio_a, ratio_b) = (a.scale / output.scale, b.scale / output.scale);
    let product = a.scale * b.scale / output.scale;
    let sum_range = 1.0 / 1024.0..256.0;
    Ok(match op {
        Binary::Add | Binary::Sub if xnnpack && sum_range.contains(&ratio_a) && sum_range.contains(&ratio_b) => {
            xnnpack_sum(zero_points, ratio_a, ratio_b, op == Binary::Sub)
        }
        Binary::Add | Binary::Sub => {
            let sign = if op == Binary::Sub { -1 } else { 1 };
            fixed_sum(zero_points, inputs, output, if element.bits == 16 { 15 } else { 20 }, sign)?
        }
        Binary::Mul if xnnpack && (1.0 / 65_536.0..256.0).contains(&product) => {
            Formula::Product { zero_points, scale: product }
        }
        Binary::Mul => Formula::FixedProduct { zero_points, output: FixedPoint::new(product.into()) },
        Binary::Div => {
            // Rounded to f32 twice, then widened.
            let ratio = a.scale / (b.scale * output.scale);
            Formula::Quotient { zero_points, output: FixedPoint::new(ratio.into()) }
        }
        Binary::SquaredDifference if element.is_i8 => fixed_square(zero_points, inputs, output)?,
        Binary::Maximum | Binary::Minimum | Binary::SquaredDifference => {
            return Err(Unsupported::new(KERNEL, format!("{op:?} of quantized values")));
        }
    })
}

/// As LiteRT's vectors compute a sum of int16.
fn fused_sum(formula: Formula) -> Option<Formula> {
    let Formula::FixedSum { left_shift, scales, output, .. } = formula else { return None };
    let shifts = scales.map(|scale| left_shift as i32 + scale.shift);
    Some(Formula::FusedSum { shifts, multipliers: scales.map(|scale| scale.multiplier), output })
}

/// MUL of a byte by itself, where XNNPACK takes it: the square of its real value. `None` for what [`QuantizedBinary::new`] plans.
#[must_use]
pub fn square(
    signed: bool,
    input: QuantParams,
    output: QuantParams,
    activation: Activation,
    numerics: Numerics,
) -> Option<ByteTable> {
    let product = input.scale * input.scale / output.scale;
    let takes = numerics == Numerics::Litert && (1.0 / 65_536.0..256.0).contains(&product);
    if !takes || check_activation(KERNEL, activation).is_err() {
        return None;
    }
    let range = if signed { xnnpack_range::<i8> } else { xnnpack_range::<u8> };
    let (min, max) = range(activation, output);
    let inverse = 1.0 / output.scale;
    Some(ByteTable::new(|byte| {
        let value = if signed { i32::from(byte as i8) } else { i32::from(byte) };
        let real = (value - input.zero_point) as f32 * input.scale;
        let scaled = (real * real * inverse + output.zero_point as f32).round_ties_even();
        scaled.clamp(min as f32, max as f32) as i32 as u8
    }))
}

impl<T: Quantized> QuantizedBinary<T> {
    /// Plans `a op b` on operands of these shapes.
    ///
    /// Litert: 8-bit runs in XNNPACK where the ratios of the scales are in its range, else in the builtin; int16 always in
    /// the builtin.
    ///
    /// # Errors
    /// [`Binary::Maximum`] and [`Binary::Minimum`], which need no arithmetic of their own, SQUARED_DIFFERENCE of another type
    /// than int8, shapes that do not broadcast, or quantization that LiteRT refuses.
    pub fn new(
        op: Binary,
        shapes: [&[usize]; 2],
        inputs: [QuantParams; 2],
        output: QuantParams,
        activation: Activation,
        numerics: Numerics,
    ) -> Result<Self, Unsupported> {
        check_activation(KERNEL, activation)?;
        let [a, b] = inputs;
        for (operand, name) in [(a, "first input"), (b, "second input")] {
            match op {
                Binary::Add | Binary::Sub | Binary::Mul => operand.check_operand::<T>(KERNEL, name)?,
                _ => operand.check::<T>(KERNEL, name)?,
            }
        }
        output.check::<T>(KERNEL, "output")?;
        let element = Type { bits: T::BITS, is_i8: (T::BITS, T::MIN) == (8, -128) };
        let formula = formula(op, element, inputs, output, numerics)?;
        let delegated = matches!(formula, Formula::Sum { .. } | Formula::Product { .. });
        let range = if delegated { xnnpack_range::<T> } else { builtin_range::<T> };
        let (min, max) = range(activation, output);
        let broadcast = Broadcast::new(shapes[0], shapes[1])?;
        let fused = numerics == Numerics::Litert && T::BITS == 16 && op == Binary::Add && shapes[0] == shapes[1];
        let vectors = if fused { fused_sum(formula) } else { None };
        let ends = Ends { zero_point: output.zero_point, min, max };
        Ok(Self { broadcast, formula, vectors, ends, element: PhantomData })
    }

    /// Plans ADD or SUB of int16 where all scales are powers of two, and one operand's that of the result; `None` where they
    /// are not, which [`QuantizedBinary::new`] plans. The parameters are those of the two operands and the result.
    ///
    /// # Errors
    /// Another op, an activation without a range, shapes that do not broadcast, or scales that LiteRT refuses.
    pub fn shifted(
        op: Binary,
        shapes: [&[usize]; 2],
        params: [QuantParams; 3],
        activation: Activation,
    ) -> Result<Option<Self>, Unsupported> {
        check_activation(KERNEL, activation)?;
        let sign = match op {
            Binary::Add => 1,
            Binary::Sub => -1,
            _ => return Err(Unsupported::new(KERNEL, format!("{op:?} of shifted operands"))),
        };
        let [a, b, output] = params;
        let (Some(log_a), Some(log_b), Some(log_y)) = (log2(a.scale), log2(b.scale), log2(output.scale)) else {
            return Ok(None);
        };
        let shifts = [log_y - log_a, log_y - log_b];
        if params.iter().any(|params| params.zero_point != 0)
            || shifts.iter().any(|&shift| shift < 0)
            || !shifts.contains(&0)
        {
            let scales = format!("scales {}, {} to {}", a.scale, b.scale, output.scale);
            return Err(Unsupported::new(
                KERNEL,
                format!("int16 powers of two of which none is the result's: {scales}"),
            ));
        }
        let (min, max) = builtin_range::<T>(activation, output);
        Ok(Some(Self {
            broadcast: Broadcast::new(shapes[0], shapes[1])?,
            // From 17 on nothing is left of an int16.
            formula: Formula::ShiftedSum { shifts: shifts.map(|shift| shift.min(17) as u32), sign },
            vectors: None,
            ends: Ends { zero_point: 0, min, max },
            element: PhantomData,
        }))
    }

    /// The shape of the result.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.broadcast.shape()
    }

    /// The same op on bytes, whatever the planned shapes; `None` for 16 bits.
    #[must_use]
    pub fn bytes(&self) -> Option<ByteBinary> {
        (T::BITS == 8).then_some(self.as_bytes())
    }

    fn as_bytes(&self) -> ByteBinary {
        ByteBinary { formula: self.formula, ends: self.ends, signed: T::MIN < 0 }
    }

    /// Runs.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, a: &[T], b: &[T], output: &mut [T]) {
        if let Some(vectors) = self.vectors {
            assert!(a.len() == output.len() && b.len() == output.len(), "operands and result have one shape");
            let (a, b, output) = (cast_slice(a), cast_slice(b), cast_slice_mut(output));
            let whole = output.len() / VECTOR * VECTOR;
            combine(ctx.isa, vectors, self.ends, &a[..whole], &b[..whole], &mut output[..whole]);
            combine(ctx.isa, self.formula, self.ends, &a[whole..], &b[whole..], &mut output[whole..]);
            return;
        }
        broadcast::zip_rows_by(ctx, &self.broadcast, a, b, output, self);
    }
}

/// A planned op on two operands of `i8` or `u8`, element by element.
#[derive(Debug, Clone, Copy)]
pub struct ByteBinary {
    formula: Formula,
    ends: Ends,
    signed: bool,
}

impl ByteBinary {
    /// The result of each pair of values.
    #[must_use]
    pub fn pairs(&self, a: &[u8; 256], b: &[u8; 256]) -> [u8; 256] {
        let mut output = [0; 256];
        combine_rare(self.formula, self.ends, self.signed, a, b, &mut output);
        output
    }

    /// Replaces `y`, which holds operand `index`, by the result; the other operand is `other`.
    ///
    /// # Panics
    /// If `other` is shorter than `y`.
    pub(crate) fn over(&self, isa: Isa, index: usize, other: &[u8], y: &mut [u8]) {
        if let Some(sum) = self.formula.byte_sum(self.ends, self.signed) {
            return sum.over(isa, index, other, y);
        }
        let mut aside = [0_u8; 512];
        for (at, y) in y.chunks_mut(aside.len()).enumerate() {
            let (own, other) = (&mut aside[..y.len()], &other[at * 512..][..y.len()]);
            own.copy_from_slice(y);
            let [a, b] = if index == 0 { [&*own, other] } else { [other, &*own] };
            self.row(isa, a, b, y);
        }
    }

    /// One row. What models spend time in has a loop of its own.
    fn row(&self, isa: Isa, a: &[u8], b: &[u8], y: &mut [u8]) {
        let Self { formula, ends, signed } = *self;
        match formula {
            Formula::Product { .. } => multiply(isa, formula, ends, if signed { 128 } else { 0 }, a, b, y),
            _ => match formula.byte_sum(ends, signed) {
                Some(sum) => sum.run(isa, a, b, y),
                None => combine_rare(formula, ends, signed, a, b, y),
            },
        }
    }

    fn rows(&self, isa: Isa, [a, b]: [Operand<'_>; 2], y: &mut [u8], len: usize) {
        for (at, y) in y.chunks_exact_mut(len).enumerate() {
            self.row(isa, &a.data[at * a.row..][..len], &b.data[at * b.row..][..len], y);
        }
    }
}

impl<T: Quantized> Rows for QuantizedBinary<T> {
    fn rows(&self, isa: Isa, [a, b]: [Operand<'_>; 2], y: &mut [u8], len: usize) {
        if T::BITS == 8 {
            return self.as_bytes().rows(isa, [a, b], y, len);
        }
        let (values_a, values_b) = (cast_slice(a.data), cast_slice(b.data));
        for (row, y) in cast_slice_mut(y).chunks_exact_mut(len).enumerate() {
            let (a, b) = (&values_a[row * a.row..][..len], &values_b[row * b.row..][..len]);
            combine(isa, self.formula, self.ends, a, b, y);
        }
    }
}

/// The exponent of a scale that is, to a thousandth of an exponent, a power of two (LiteRT `kernel_util` `CheckedLog2`).
fn log2(scale: f32) -> Option<i32> {
    let exact = f64::from(scale).log2();
    let rounded = exact.round();
    (scale > 0.0 && (exact - rounded).abs() < 1e-3).then_some(rounded as i32)
}

fn xnnpack_sum(zero_points: [i32; 2], a: f32, b: f32, subtract: bool) -> Formula {
    let exponent = (a.max(b).to_bits() >> 23) as i32 - 127;
    let shift = (20 - exponent) as u32;
    let fixed = |ratio: f32| (ratio * (1u32 << shift) as f32).round_ties_even() as i32;
    let (a, b) = (fixed(a), if subtract { -fixed(b) } else { fixed(b) });
    let offset = a.wrapping_mul(zero_points[0]).wrapping_add(b.wrapping_mul(zero_points[1]));
    Formula::Sum { bias: (1i32 << (shift - 1)).wrapping_sub(offset), a, b, shift }
}

/// A multiplier below 1, as LiteRT demands where it shifts to the right only.
fn below_one(real: f64, [a, b]: [QuantParams; 2], output: QuantParams) -> Result<FixedPoint, Unsupported> {
    let scale = FixedPoint::new(real);
    let reason = || format!("scales {}, {} and {} are too far apart", a.scale, b.scale, output.scale);
    if real < 1.0 && scale.shift <= 0 { Ok(scale) } else { Err(Unsupported::new(KERNEL, reason())) }
}

fn fixed_square(zero_points: [i32; 2], inputs: [QuantParams; 2], output: QuantParams) -> Result<Formula, Unsupported> {
    const LEFT_SHIFT: u32 = 7;
    let twice_max = f64::from(2.0 * inputs[0].scale.max(inputs[1].scale));
    let scale = |real| below_one(real, inputs, output);
    let scales = [scale(f64::from(inputs[0].scale) / twice_max)?, scale(f64::from(inputs[1].scale) / twice_max)?];
    let output = scale(twice_max * twice_max / f64::from((1u32 << (2 * LEFT_SHIFT)) as f32 * output.scale))?;
    Ok(Formula::FixedSquare { zero_points, left_shift: LEFT_SHIFT, scales, output })
}

/// `a / b * scale` for `b` other than 0: `a` is brought to 31 bits, multiplied by the reciprocal of `b` in Q0.31, then scaled.
#[inline]
fn quotient(a: i32, b: i32, scale: FixedPoint) -> i32 {
    let (a, b) = if b < 0 { (a.wrapping_neg(), b.wrapping_neg()) } else { (a, b) };
    let zeros = b.leading_zeros().min(31);
    let reciprocal = one_over_one_plus::<32>(((b as u32) << zeros).wrapping_sub(1 << 31) as i32);
    let headroom = if a == 0 { 31 } else { (a ^ (a >> 31)).leading_zeros() - 1 };
    let unscaled = doubling_high_product(a << headroom, reciprocal);
    let shift = (31 - zeros as i32) + headroom as i32 - scale.shift;
    let scaled = doubling_high_product(unscaled, scale.multiplier);
    // Where the quotient is small, that is by more than 31 bits: far off, but LiteRT's bytes.
    shift_right_modulo(scaled, shift)
}

fn fixed_sum(
    zero_points: [i32; 2],
    inputs: [QuantParams; 2],
    output: QuantParams,
    left_shift: u32,
    sign: i32,
) -> Result<Formula, Unsupported> {
    let [a, b] = inputs;
    let twice_max = f64::from(2.0 * a.scale.max(b.scale));
    let scale = |real| below_one(real, inputs, output);
    let scales = [scale(f64::from(a.scale) / twice_max)?, scale(f64::from(b.scale) / twice_max)?];
    let output = scale(twice_max / f64::from((1u32 << left_shift) as f32 * output.scale))?;
    Ok(Formula::FixedSum { zero_points, left_shift, scales, sign, output })
}

/// What is added to the result, and where it is cut.
#[derive(Debug, Clone, Copy)]
struct Ends {
    zero_point: i32,
    min: i32,
    max: i32,
}

impl Formula {
    fn byte_sum(self, Ends { zero_point, min, max }: Ends, signed: bool) -> Option<ByteSum> {
        let Self::Sum { bias, a, b, shift } = self else { return None };
        Some(ByteSum { bias, multipliers: [a, b], shift, zero_point, min, max, signed })
    }

    /// Replaces each value by the result for it and the other.
    #[inline(never)]
    fn apply_all(self, ends: Ends, values: &mut [i32], others: &[i32]) {
        values.iter_mut().zip(others).for_each(|(value, &other)| *value = self.apply(ends, *value, other));
    }

    /// The result for one pair of values.
    #[inline(always)]
    fn apply(self, Ends { zero_point, min, max }: Ends, a: i32, b: i32) -> i32 {
        match self {
            Self::Sum { .. } => self.byte_sum(Ends { zero_point, min, max }, true).map_or(0, |sum| sum.apply(a, b)),
            Self::Product { zero_points: [za, zb], scale } => {
                let (low, high) = ((min - zero_point) as f32, (max - zero_point) as f32);
                let scaled = ((a - za) * (b - zb)) as f32 * scale;
                round_even_small(scaled.max(low).min(high)) + zero_point
            }
            Self::FixedSum { zero_points: [za, zb], left_shift, scales: [scale_a, scale_b], sign, output: scale } => {
                let a = scale_a.round_twice((a - za) << left_shift);
                let b = scale_b.round_twice((b - zb) << left_shift);
                (scale.round_twice(a.wrapping_add(b * sign)).wrapping_add(zero_point)).clamp(min, max)
            }
            Self::FusedSum { shifts: [shift_a, shift_b], multipliers: [a_multiplier, b_multiplier], output: scale } => {
                let shift = |x: i32, by: i32| if by >= 0 { x << by.min(31) } else { x >> (-by).min(31) };
                let a = doubling_high_product(shift(a, shift_a), a_multiplier);
                let b = doubling_high_product(shift(b, shift_b), b_multiplier);
                scale.round_twice(a.wrapping_add(b)).wrapping_add(zero_point).clamp(min, max)
            }
            Self::ShiftedSum { shifts, sign } => {
                let [a, b] = [(a, shifts[0]), (b, shifts[1])].map(|(x, shift)| rounding_shift_right(x, shift));
                (a + b * sign).clamp(min, max)
            }
            Self::Quotient { zero_points: [za, zb], output: scale } => {
                quotient(a - za, b - zb, scale).wrapping_add(zero_point).clamp(min, max)
            }
            Self::FixedSquare { zero_points: [za, zb], left_shift, scales: [scale_a, scale_b], output: scale } => {
                let a = scale_a.round_twice((a - za) << left_shift);
                let b = scale_b.round_twice((b - zb) << left_shift);
                let difference = a.wrapping_sub(b);
                scale.round_twice(difference.wrapping_mul(difference)).wrapping_add(zero_point).clamp(min, max)
            }
            Self::FixedProduct { zero_points: [za, zb], output: scale } => {
                scale.round_twice((a - za).wrapping_mul(b - zb)).wrapping_add(zero_point).clamp(min, max)
            }
        }
    }
}

multiversion! {
    to avx2;
    /// One row of int16. What models spend time in has a loop of its own.
    fn combine<>(formula: Formula, ends: Ends, a: &[i16], b: &[i16], output: &mut [i16]) {
        match formula {
            Formula::FixedSum { .. } => each(formula, ends, a, b, output),
            Formula::FusedSum { .. } => each(formula, ends, a, b, output),
            Formula::FixedProduct { .. } => each(formula, ends, a, b, output),
            _ => each_rare(formula, ends, a, b, output, i32::from, |value| value as i16),
        }
    }
}

multiversion! {
    /// One row of products of bytes, which are `offset` less once unsigned. One loop for both types.
    fn multiply<>(formula: Formula, ends: Ends, offset: u8, a: &[u8], b: &[u8], output: &mut [u8]) {
        let Formula::Product { zero_points, scale } = formula else { return };
        let product = Formula::Product { zero_points: zero_points.map(|zero_point| zero_point + i32::from(offset)), scale };
        for ((out, &a), &b) in output.iter_mut().zip(a).zip(b) {
            *out = product.apply(ends, (a ^ offset).into(), (b ^ offset).into()) as u8;
        }
    }
}

/// One row of bytes, by any formula.
fn combine_rare(formula: Formula, ends: Ends, signed: bool, a: &[u8], b: &[u8], output: &mut [u8]) {
    let value = |byte: u8| if signed { i32::from(byte as i8) } else { byte.into() };
    each_rare(formula, ends, a, b, output, value, |value| value as u8);
}

/// Any formula, whose code is there once: values are widened a block at a time.
fn each_rare<T: Copy>(
    formula: Formula,
    ends: Ends,
    a: &[T],
    b: &[T],
    output: &mut [T],
    widen: impl Fn(T) -> i32,
    narrow: impl Fn(i32) -> T,
) {
    const BLOCK: usize = 64;
    let [mut values, mut others] = [[0; BLOCK]; 2];
    for ((out, a), b) in output.chunks_mut(BLOCK).zip(a.chunks(BLOCK)).zip(b.chunks(BLOCK)) {
        let (values, others) = (&mut values[..out.len()], &mut others[..out.len()]);
        values.iter_mut().zip(a).for_each(|(value, &a)| *value = widen(a));
        others.iter_mut().zip(b).for_each(|(other, &b)| *other = widen(b));
        formula.apply_all(ends, values, others);
        out.iter_mut().zip(values).for_each(|(out, value)| *out = narrow(*value));
    }
}

#[inline(always)]
fn each(formula: Formula, ends: Ends, a: &[i16], b: &[i16], output: &mut [i16]) {
    for ((out, &a), &b) in output.iter_mut().zip(a).zip(b) {
        *out = formula.apply(ends, a.into(), b.into()) as i16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agrees<T: Quantized>(zero_points: [i32; 3]) {
        let [a, b, y] = zero_points.map(|zero_point| QuantParams { scale: 0.03, zero_point });
        let len = 1200;
        let values = |step: usize| (0..len).map(|i| (i * step % 251) as u8).collect::<Vec<u8>>();
        let (left, right) = (values(37), values(91));
        for (op, numerics) in [Binary::Add, Binary::Sub, Binary::Mul]
            .into_iter()
            .flat_map(|op| [Numerics::Litert, Numerics::Reference].map(|numerics| (op, numerics)))
        {
            let plan = QuantizedBinary::<T>::new(op, [&[len], &[len]], [a, b], y, Activation::Relu6, numerics).unwrap();
            for isa in Isa::available() {
                let (pool, mut want) = (crate::Pool::serial(), vec![0; len]);
                let ctx = Context { pool: &pool, isa };
                plan.run(ctx, cast_slice(&left), cast_slice(&right), cast_slice_mut(&mut want));
                for (index, own, other) in [(0, &left, &right), (1, &right, &left)] {
                    let mut y = own.clone();
                    plan.bytes().unwrap().over(isa, index, other, &mut y);
                    assert!(y == want, "{op:?} {numerics} over operand {index} on {isa}");
                }
            }
        }
    }

    #[test]
    fn bytes_are_overwritten_with_what_another_tensor_would_get() {
        agrees::<i8>([-3, 5, -20]);
        agrees::<u8>([120, 133, 100]);
    }
}

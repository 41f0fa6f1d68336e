//! Integer MEAN, REDUCE_MAX and REDUCE_MIN over any axes: int8, uint8 and int16.

use crate::dispatch::multiversion;
use crate::integer_conv::{scratch_bytes, typed_scratch};
use crate::numerics::{Numerics, QuantParams, Quantized};
use crate::reduce::{BLOCK_ELEMENTS, BLOCKS, each_block};
use crate::requantize::FixedPoint;
use crate::shape::{Dim, Walk, len, strides};
use crate::{Context, Unsupported};
use std::marker::PhantomData;

const KERNEL: &str = "reduce";

/// Which elements of the input meet in which element of the output.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    walk: Walk,
    pub(crate) input_len: usize,
    pub(crate) output_len: usize,
}

impl Plan {
    pub(crate) fn new(shape: &[usize], axes: &[usize]) -> Result<Self, Unsupported> {
        if let Some(axis) = axes.iter().find(|&&axis| axis >= shape.len()) {
            return Err(Unsupported::new(KERNEL, format!("axis {axis} of a tensor of rank {}", shape.len())));
        }
        let kept: Vec<usize> =
            shape.iter().enumerate().map(|(axis, &size)| if axes.contains(&axis) { 1 } else { size }).collect();
        let (input_len, output_len) = (len(KERNEL, shape)?, len(KERNEL, &kept)?);
        let (in_strides, out_strides) = (strides(shape), strides(&kept));
        let dims = (0..shape.len()).map(|axis| Dim {
            size: shape[axis],
            a: in_strides[axis],
            b: if axes.contains(&axis) { 0 } else { out_strides[axis] },
        });
        Ok(Self { walk: Walk::new(KERNEL, dims)?, input_len, output_len })
    }

    /// Whether what is reduced are the rows of one matrix, as the pixels of an image.
    fn is_matrix(&self) -> bool {
        self.walk.inner.b == 1 && self.walk.inner.size == self.output_len
    }

    /// Calls `row(input, output)` with matching rows; an output row of one element takes the whole input row.
    pub(crate) fn for_rows<T, O>(&self, input: &[T], output: &mut [O], row: impl Fn(&[T], &mut [O])) {
        let Dim { size, b: step, .. } = self.walk.inner;
        if input.is_empty() {
            return;
        }
        let out_len = if step == 0 { 1 } else { size };
        let visit: &mut dyn FnMut(usize, usize, usize) =
            &mut |_, from, to| row(&input[from..][..size], &mut output[to..][..out_len]);
        self.walk.for_rows(0..self.walk.rows, visit);
    }
}

/// A planned integer MEAN or SUM on `i8`, `u8` or `i16`.
#[derive(Debug, Clone)]
pub struct QuantizedMean<T> {
    plan: Plan,
    formula: Formula,
    output_zero_point: i32,
    element: PhantomData<T>,
}

#[derive(Debug, Clone, Copy)]
enum Formula {
    /// `sum * scale + offset` in f32, halves to even (XNNPACK `operators/reduce-nd.c`).
    Float { scale: f32, offset: f32 },
    /// `round(sum * scale + offset)` in f32, halves away from zero (LiteRT `optimized/reduce.h`, `QuantizedMeanOrSum`).
    Away { scale: f32, offset: f32 },
    /// `(sum - zero points)` with [`FixedPoint::round_twice`], the multiplier divided by the count (LiteRT
    /// `reference/reduce.h`, `QuantizedMeanOrSum`).
    Fixed { zero_points: i32, scale: FixedPoint },
}

impl<T: Quantized> QuantizedMean<T> {
    /// Plans the mean of `shape` over `axes` (repeated ones count once). Litert: 8-bit runs in XNNPACK.
    ///
    /// # Errors
    /// An axis beyond the rank, an empty mean, or bad quantization.
    pub fn new(
        shape: &[usize],
        axes: &[usize],
        input: QuantParams,
        output: QuantParams,
        numerics: Numerics,
    ) -> Result<Self, Unsupported> {
        input.check::<T>(KERNEL, "input")?;
        output.check::<T>(KERNEL, "output")?;
        let plan = Plan::new(shape, axes)?;
        let count = plan.input_len.checked_div(plan.output_len).unwrap_or(0);
        if count == 0 || count > 1 << 15 {
            return Err(Unsupported::new(KERNEL, format!("a mean of {count} quantized elements, 1 to 32768 can")));
        }
        Ok(Self::with(plan, Self::mean_formula(count, input, output, numerics), output))
    }

    /// Plans the sum of `shape` over `axes` (repeated ones count once). Litert: 8-bit runs in XNNPACK, int16 in the
    /// optimized builtin.
    ///
    /// # Errors
    /// An axis beyond the rank, too many elements for 32-bit sums, or bad quantization.
    pub fn sum(
        shape: &[usize],
        axes: &[usize],
        input: QuantParams,
        output: QuantParams,
        numerics: Numerics,
    ) -> Result<Self, Unsupported> {
        input.check::<T>(KERNEL, "input")?;
        output.check::<T>(KERNEL, "output")?;
        let plan = Plan::new(shape, axes)?;
        let count = plan.input_len.checked_div(plan.output_len).unwrap_or(0);
        if count > 1 << 15 {
            return Err(Unsupported::new(KERNEL, format!("a sum of {count} quantized elements, at most 32768 can be")));
        }
        let ratio = input.scale / output.scale;
        let formula = match (numerics, T::BITS) {
            (Numerics::Litert, 8) => {
                let offset = output.zero_point as f32 - (count as f32 * input.zero_point as f32) * ratio;
                Formula::Float { scale: ratio, offset }
            }
            (Numerics::Litert, _) => {
                Formula::Away { scale: ratio, offset: -input.zero_point as f32 * ratio * count as f32 }
            }
            (Numerics::Reference, _) => {
                let scale = FixedPoint::new(f64::from(input.scale) / f64::from(output.scale));
                Formula::Fixed { zero_points: input.zero_point.wrapping_mul(count as i32), scale }
            }
        };
        Ok(Self::with(plan, formula, output))
    }

    fn with(plan: Plan, formula: Formula, output: QuantParams) -> Self {
        Self { plan, formula, output_zero_point: output.zero_point, element: PhantomData }
    }

    fn mean_formula(count: usize, input: QuantParams, output: QuantParams, numerics: Numerics) -> Formula {
        if numerics == Numerics::Litert && T::BITS == 8 {
            let scale = input.scale / output.scale * (1.0 / count as f32);
            let offset = output.zero_point as f32 - (count as f32 * input.zero_point as f32) * scale;
            Formula::Float { scale, offset }
        } else {
            let scale = FixedPoint::new(f64::from(input.scale) / f64::from(output.scale));
            let shift = (63 - (count as u64).leading_zeros() as i32).min(32).min(31 + scale.shift);
            let multiplier = (i64::from(scale.multiplier) << shift.max(0)) / count as i64;
            let scale = FixedPoint { multiplier: multiplier as i32, shift: scale.shift - shift };
            Formula::Fixed { zero_points: input.zero_point.wrapping_mul(count as i32), scale }
        }
    }

    /// Elements of the input and of the output.
    #[must_use]
    pub fn lens(&self) -> [usize; 2] {
        [self.plan.input_len, self.plan.output_len]
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        scratch_bytes::<i32>(self.sums_len())
    }

    /// The sums that are made: those of [`BLOCKS`] blocks of rows where they are worth it, so that a thread reads what it probably
    /// wrote.
    fn sums_len(&self) -> usize {
        let is_shared = self.plan.is_matrix() && self.plan.input_len >= BLOCKS * BLOCK_ELEMENTS;
        if is_shared { BLOCKS * self.plan.output_len } else { self.plan.output_len }
    }

    /// Runs.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[T], output: &mut [T], scratch: &mut [u8]) {
        assert_eq!([input.len(), output.len()], self.lens(), "operand and result have the planned shapes");
        let sums = &mut typed_scratch::<i32>(scratch)[..self.sums_len()];
        sums.fill(0);
        let width = output.len();
        if sums.len() == width {
            self.plan.for_rows(input, sums, |row, sums| add_rows(ctx.isa, row, sums));
        } else {
            each_block(ctx, input, sums, |rows, sums| add_rows(ctx.isa, rows, sums));
            let (sums, others) = sums.split_at_mut(width);
            others
                .chunks_exact(width)
                .for_each(|other| sums.iter_mut().zip(other).for_each(|(sum, &other)| *sum += other));
        }
        for (out, &sum) in output.iter_mut().zip(&*sums) {
            let value = match self.formula {
                Formula::Float { scale, offset } => {
                    let rounded = (sum as f32 * scale + offset).round_ties_even();
                    rounded.clamp(T::MIN as f32, T::MAX as f32) as i32
                }
                Formula::Away { scale, offset } => {
                    ((sum as f32 * scale + offset).round() as i32).saturating_add(self.output_zero_point)
                }
                Formula::Fixed { zero_points, scale } => {
                    scale.round_twice(sum.wrapping_sub(zero_points)).wrapping_add(self.output_zero_point)
                }
            };
            *out = T::narrow(value.clamp(T::MIN, T::MAX));
        }
    }
}

multiversion! {
    to avx2;
    /// Adds rows to as many sums, or all of one to the only one.
    fn add_rows<T: Quantized>(rows: &[T], sums: &mut [i32]) {
        if let [sum] = sums {
            *sum += rows.iter().map(|value| value.widen()).sum::<i32>();
            return;
        }
        const LANES: usize = 16;
        let width = sums.len();
        let (strips, rest) = sums.as_chunks_mut::<LANES>();
        for (at, sums) in strips.iter_mut().enumerate() {
            // In registers over all rows.
            let mut lanes = *sums;
            for row in rows.chunks_exact(width) {
                if let Some(row) = row[at * LANES..].first_chunk::<LANES>() {
                    lanes.iter_mut().zip(row).for_each(|(lane, value)| *lane += value.widen());
                }
            }
            *sums = lanes;
        }
        let done = width - rest.len();
        for row in rows.chunks_exact(width) {
            rest.iter_mut().zip(&row[done..]).for_each(|(sum, value)| *sum += value.widen());
        }
    }
}

/// A planned REDUCE_MAX or REDUCE_MIN on quantized values. LiteRT demands that input and output are quantized alike, so values pass
/// through in both numerics.
#[derive(Debug, Clone)]
pub struct QuantizedExtremum<T> {
    plan: Plan,
    largest: bool,
    element: PhantomData<T>,
}

impl<T: Quantized> QuantizedExtremum<T> {
    /// Plans the maximum (`largest`) or minimum of `shape` over `axes` (repeated ones count once).
    ///
    /// # Errors
    /// An axis beyond the rank, or `input` and `output` quantized differently.
    pub fn new(
        shape: &[usize],
        axes: &[usize],
        input: QuantParams,
        output: QuantParams,
        largest: bool,
    ) -> Result<Self, Unsupported> {
        if input != output {
            let reason = format!("a maximum or minimum from {input:?} to {output:?}, expected the same");
            return Err(Unsupported::new(KERNEL, reason));
        }
        Ok(Self { plan: Plan::new(shape, axes)?, largest, element: PhantomData })
    }

    /// Elements of the input and of the output.
    #[must_use]
    pub fn lens(&self) -> [usize; 2] {
        [self.plan.input_len, self.plan.output_len]
    }

    /// Runs. The maximum of nothing is the smallest value, its minimum the largest.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, _ctx: Context<'_>, input: &[T], output: &mut [T]) {
        assert_eq!([input.len(), output.len()], self.lens(), "operand and result have the planned shapes");
        let better = |a: T, b: T| if self.largest { a.max(b) } else { a.min(b) };
        output.fill(T::narrow(if self.largest { T::MIN } else { T::MAX }));
        self.plan.for_rows(input, output, |row, output| match output {
            [out] => *out = row.iter().copied().fold(*out, better),
            output => output.iter_mut().zip(row).for_each(|(out, &value)| *out = better(*out, value)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Pool};

    /// Shapes that are summed as a whole, in strips and what is left of them, and by several threads.
    #[test]
    fn sums_of_rows_are_those_of_one_after_the_other() {
        let params = QuantParams { scale: 1.0, zero_point: 0 };
        for (rows, width) in [(1, 3), (7, 5), (49, 16), (49, 577), (3136, 16), (999, 33)] {
            let input: Vec<i8> = (0..rows * width).map(|at| (at * 31 % 251) as u8 as i8).collect();
            let want: Vec<i32> = (0..width)
                .map(|column| input.iter().skip(column).step_by(width).map(|&x| i32::from(x)).sum())
                .collect();
            let plan = QuantizedMean::<i8>::new(&[rows, width], &[0], params, params, Numerics::Litert).unwrap();
            for isa in Isa::available() {
                for threads in [1, 2, 3, 7] {
                    let (pool, mut y) = (Pool::new(threads), vec![0_i8; width]);
                    let mut scratch = vec![0xff; plan.scratch_bytes()];
                    plan.run(Context { pool: &pool, isa }, &input, &mut y, &mut scratch);
                    let sums = &typed_scratch::<i32>(&mut scratch)[..width];
                    assert_eq!(sums, want, "{rows} x {width} on {isa}, {threads} threads");
                }
            }
        }
    }
}

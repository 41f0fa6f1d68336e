//! Integer BATCH_MATMUL: int8 by int8, int16 by int16 or int8.

use super::{BatchMatmulGeometry, Batches, transpose};
use crate::dispatch::multiversion;
use crate::integer_conv::{scratch_bytes, typed_scratch};
use crate::numerics::{Numerics, QuantParams, Quantized};
use crate::requantize::{FixedPoint, OutputStage, Rounding};
use crate::{Context, Unsupported};
use std::marker::PhantomData;

/// Columns whose sums are kept at once.
const BLOCK: usize = 32;

/// A planned integer BATCH_MATMUL of `A` by `B` to `A`.
///
/// Litert: int8 runs in XNNPACK ([`Rounding::Float`]) when the right zero point is 0. Else 32-bit sums of int8 and 64-bit
/// sums of int16 with [`Rounding::Reference`] (LiteRT `reference/batch_matmul.h`), one multiplier for all, or one for each column.
#[derive(Debug, Clone)]
pub struct QuantizedBatchMatmul<A, B> {
    batches: Batches,
    stage: OutputStage,
    zero_points: [i32; 2],
    by_column: bool,
    elements: PhantomData<(A, B)>,
}

impl<A: Quantized, B: Quantized> QuantizedBatchMatmul<A, B> {
    /// Plans the products.
    ///
    /// # Errors
    /// A bad geometry or bad quantization parameters: `right` has one, or one for each column, without zero points.
    pub fn new(
        geometry: BatchMatmulGeometry,
        left: QuantParams,
        right: &[QuantParams],
        output: QuantParams,
        numerics: Numerics,
    ) -> Result<Self, Unsupported> {
        left.check::<A>(super::KERNEL, "left operand")?;
        let n = geometry.n;
        for params in right {
            params.check::<B>(super::KERNEL, "right operand")?;
        }
        let by_column = right.len() != 1;
        let zero_point = right.first().map_or(0, |params| params.zero_point);
        if by_column && (right.len() != n || right.iter().any(|params| params.zero_point != 0)) {
            let reason =
                format!("{} scales of the right operand, expected one or {n} without zero points", right.len());
            return Err(Unsupported::new(super::KERNEL, reason));
        }
        output.check::<A>(super::KERNEL, "output")?;
        let batches = Batches::new(geometry)?;
        let repeat = if by_column { 1 } else { BLOCK };
        let scales = right.iter().flat_map(|params| std::iter::repeat_n(left.scale * params.scale, repeat));
        let rounding = if numerics == Numerics::Litert && A::BITS == 8 && zero_point == 0 {
            Rounding::Float(scales.map(|scale| scale / output.scale).collect())
        } else {
            let fixed = |scale: f32| FixedPoint::new(f64::from(scale) / f64::from(output.scale));
            Rounding::Reference(scales.map(fixed).collect())
        };
        let stage = OutputStage { rounding, zero_point: output.zero_point, min: A::MIN, max: A::MAX };
        Ok(Self { batches, stage, zero_points: [left.zero_point, zero_point], by_column, elements: PhantomData })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        let BatchMatmulGeometry { m, k, n, .. } = self.batches.geometry;
        scratch_bytes::<i16>((m + n) * k)
    }

    /// Runs.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, left: &[A], right: &[B], output: &mut [A], scratch: &mut [u8]) {
        let BatchMatmulGeometry { m, k, n, left_transposed, right_transposed, .. } = self.batches.geometry;
        let [left_zero, right_zero] = self.zero_points;
        assert_eq!([left.len(), right.len(), output.len()], self.batches.lens(), "the planned shapes");
        if output.is_empty() {
            return;
        }
        let (rows, columns) = typed_scratch::<i16>(scratch)[..(m + n) * k].split_at_mut(m * k);
        let (mut rows_of, mut columns_of) = (None, None);
        self.batches.for_each(|a, b, c| {
            if rows_of != Some(a) {
                widen(&left[a * m * k..][..m * k], left_transposed, m, rows, left_zero);
                rows_of = Some(a);
            }
            if columns_of != Some(b) {
                widen(&right[b * k * n..][..k * n], !right_transposed, n, columns, right_zero);
                columns_of = Some(b);
            }
            let (rows, columns) = (&*rows, &*columns);
            ctx.pool.chunks_mut(&mut output[c * m * n..][..m * n], n, |row, y| {
                let row = &rows[row * k..][..k];
                for (block, y) in y.chunks_mut(BLOCK).enumerate() {
                    let columns = &columns[block * BLOCK * k..][..y.len() * k];
                    let first = if self.by_column { block * BLOCK } else { 0 };
                    if A::BITS == 16 {
                        let mut sums = [0_i64; BLOCK];
                        dot_wide(ctx.isa, row, columns, &mut sums[..y.len()]);
                        self.stage.store_wide(ctx.isa, &sums[..y.len()], first, y);
                    } else {
                        let mut sums = [0_i32; BLOCK];
                        dot(ctx.isa, row, columns, &mut sums[..y.len()]);
                        self.stage.store(ctx.isa, &sums[..y.len()], first, y);
                    }
                }
            });
        });
    }
}

/// A planned BATCH_MATMUL of int8 by int8 to plain int32 sums, zero points ignored, as LiteRT has it.
#[derive(Debug, Clone)]
pub struct IntegerBatchMatmul {
    batches: Batches,
}

impl IntegerBatchMatmul {
    /// Plans the products.
    ///
    /// # Errors
    /// A bad geometry.
    pub fn new(geometry: BatchMatmulGeometry) -> Result<Self, Unsupported> {
        Ok(Self { batches: Batches::new(geometry)? })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        let BatchMatmulGeometry { m, k, n, .. } = self.batches.geometry;
        scratch_bytes::<i16>((m + n) * k)
    }

    /// Runs.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, left: &[i8], right: &[i8], output: &mut [i32], scratch: &mut [u8]) {
        let BatchMatmulGeometry { m, k, n, left_transposed, right_transposed, .. } = self.batches.geometry;
        assert_eq!([left.len(), right.len(), output.len()], self.batches.lens(), "the planned shapes");
        if output.is_empty() {
            return;
        }
        let (rows, columns) = typed_scratch::<i16>(scratch)[..(m + n) * k].split_at_mut(m * k);
        self.batches.for_each(|a, b, c| {
            widen(&left[a * m * k..][..m * k], left_transposed, m, rows, 0);
            widen(&right[b * k * n..][..k * n], !right_transposed, n, columns, 0);
            for (row, y) in output[c * m * n..][..m * n].chunks_exact_mut(n).enumerate() {
                dot(ctx.isa, &rows[row * k..][..k], columns, y);
            }
        });
    }
}

/// Subtracts the zero point; with `transposed`, `from` has rows of `columns` and `to` has `columns` rows. The difference
/// of an int16 operand wraps unless its zero point is 0, as it is.
fn widen<T: Quantized>(from: &[T], transposed: bool, columns: usize, to: &mut [i16], zero_point: i32) {
    let convert = |x: T| (x.widen() - zero_point) as i16;
    if transposed {
        transpose(from, columns, to, convert);
    } else {
        to.iter_mut().zip(from).for_each(|(to, &x)| *to = convert(x));
    }
}

multiversion! {
    /// The 32-bit product of `row` with each of the rows of `columns`.
    fn dot<>(row: &[i16], columns: &[i16], sums: &mut [i32]) {
        for (sum, column) in sums.iter_mut().zip(columns.chunks_exact(row.len().max(1))) {
            *sum = row.iter().zip(column).fold(0_i32, |sum, (&a, &b)| sum.wrapping_add(i32::from(a) * i32::from(b)));
        }
    }
}

multiversion! {
    /// The 64-bit product of `row` with each of the rows of `columns`.
    pub(crate) fn dot_wide<>(row: &[i16], columns: &[i16], sums: &mut [i64]) {
        for (sum, column) in sums.iter_mut().zip(columns.chunks_exact(row.len().max(1))) {
            *sum = row.iter().zip(column).map(|(&a, &b)| i64::from(i32::from(a) * i32::from(b))).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Pool};

    const GEOMETRY: [usize; 3] = [3, 7, 70];

    fn run<A: Quantized>(right: &[QuantParams], numerics: Numerics, x: &[A], w: &[i8]) -> Vec<A> {
        let [m, k, n] = GEOMETRY;
        let geometry = BatchMatmulGeometry {
            left_batch: vec![],
            right_batch: vec![],
            m,
            k,
            n,
            left_transposed: false,
            right_transposed: false,
        };
        let [left, output] = [0.01, 0.02].map(|scale| QuantParams { scale, zero_point: 0 });
        let product = QuantizedBatchMatmul::<A, i8>::new(geometry, left, right, output, numerics).unwrap();
        let (mut y, mut scratch) = (vec![x[0]; m * n], vec![0; product.scratch_bytes()]);
        product.run(Context { pool: &Pool::serial(), isa: Isa::detect() }, x, w, &mut y, &mut scratch);
        y
    }

    fn compare<A: Quantized>(x: &[A]) {
        let [m, k, n] = GEOMETRY;
        let w: Vec<i8> = (0..k * n).map(|i| (i * 53 % 255) as i8).collect();
        let params = |column: usize| QuantParams { scale: 0.0003 * (column + 1) as f32, zero_point: 0 };
        let all: Vec<_> = (0..n).map(params).collect();
        for numerics in [Numerics::Litert, Numerics::Reference] {
            let y = run(&all, numerics, x, &w);
            for column in 0..n {
                let alone = run(&[params(column)], numerics, x, &w);
                for row in 0..m {
                    let at = row * n + column;
                    assert_eq!(y[at].widen(), alone[at].widen(), "{row} {column}");
                }
            }
        }
    }

    /// LiteRT cannot say: it gives zeros where there are several scales.
    #[test]
    fn each_column_has_its_scale() {
        let [m, k, _] = GEOMETRY;
        let x = (0..m * k).map(|i| (i * 37 % 201) as i8);
        compare::<i16>(&x.clone().map(i16::from).collect::<Vec<_>>());
        compare::<i8>(&x.collect::<Vec<_>>());
    }
}

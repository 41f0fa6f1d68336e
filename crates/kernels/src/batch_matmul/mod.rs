//! BATCH_MATMUL: matrices `m k` times matrices `k n`, batches broadcast.

pub mod float;
pub mod hybrid;
pub mod quantized;

use crate::Unsupported;
use crate::shape::{Dim, Walk};

const KERNEL: &str = "batch_matmul";

/// Geometry of a BATCH_MATMUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchMatmulGeometry {
    /// Sizes before those of the left matrices, as many as of the output, 1 where they are broadcast.
    pub left_batch: Vec<usize>,
    /// The same of the right matrices.
    pub right_batch: Vec<usize>,
    /// Rows of the left matrices and of the output.
    pub m: usize,
    /// Columns of the left, rows of the right matrices.
    pub k: usize,
    /// Columns of the right matrices and of the output.
    pub n: usize,
    /// Whether the left matrices are stored `k m`.
    pub left_transposed: bool,
    /// Whether the right matrices are stored `n k`.
    pub right_transposed: bool,
}

/// A checked geometry and how the batches are walked.
#[derive(Debug, Clone)]
struct Batches {
    geometry: BatchMatmulGeometry,
    walk: Walk,
    /// Matrices of the left operand, the right one, and the output.
    counts: [usize; 3],
}

impl Batches {
    fn new(geometry: BatchMatmulGeometry) -> Result<Self, Unsupported> {
        let BatchMatmulGeometry { left_batch: left, right_batch: right, m, k, n, .. } = &geometry;
        let overflow = || Unsupported::new(KERNEL, format!("sizes overflow: {geometry:?}"));
        if left.len() != right.len() || left.iter().zip(right).any(|(a, b)| a != b && *a != 1 && *b != 1) {
            return Err(Unsupported::new(KERNEL, format!("batches {left:?} and {right:?} do not broadcast")));
        }
        let out: Vec<usize> = left.iter().zip(right).map(|(&a, &b)| if a == 1 { b } else { a }).collect();
        let count = |shape: &[usize]| {
            let sizes = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
            sizes.filter(|&count| count <= isize::MAX as usize)
        };
        let counts = [count(left), count(right), count(&out)];
        let [Some(a), Some(b), Some(c)] = counts else { return Err(overflow()) };
        for sizes in [[a, *m, *k], [b, *k, *n], [c, *m, *n]] {
            count(&sizes).ok_or_else(overflow)?;
        }
        let strides = |shape: &[usize]| {
            let dense = crate::shape::strides(shape);
            shape.iter().zip(dense).map(|(&size, stride)| if size == 1 { 0 } else { stride }).collect::<Vec<_>>()
        };
        let (left, right) = (strides(left), strides(right));
        let dims = out.iter().zip(left).zip(right).map(|((&size, a), b)| Dim { size, a, b });
        let walk = Walk::new(KERNEL, dims)?;
        Ok(Self { geometry, walk, counts: [a, b, c] })
    }

    /// Elements of the operands and of the output.
    fn lens(&self) -> [usize; 3] {
        let BatchMatmulGeometry { m, k, n, .. } = self.geometry;
        let [a, b, c] = self.counts;
        [a * m * k, b * k * n, c * m * n]
    }

    /// Calls `visit(left matrix, right matrix, output matrix)` for each matrix of the output in order.
    fn for_each(&self, mut visit: impl FnMut(usize, usize, usize)) {
        if self.counts[2] == 0 {
            return;
        }
        let inner = self.walk.inner;
        let visit: &mut dyn FnMut(usize, usize, usize) = &mut |row, a, b| {
            for at in 0..inner.size {
                visit(a + at * inner.a, b + at * inner.b, row * inner.size + at);
            }
        };
        self.walk.for_rows(0..self.walk.rows, visit);
    }
}

/// Writes the transpose of `from`, rows of `columns`, to `to`.
fn transpose<T: Copy, U>(from: &[T], columns: usize, to: &mut [U], convert: impl Fn(T) -> U) {
    let rows = to.len().checked_div(columns).unwrap_or(0);
    for (column, to) in to.chunks_exact_mut(rows.max(1)).enumerate() {
        for (to, from) in to.iter_mut().zip(from[column..].iter().step_by(columns)) {
            *to = convert(*from);
        }
    }
}

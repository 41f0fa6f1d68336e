//! NumPy broadcasting of two operands, planned once; shared by float and integer kernels.

use crate::dispatch::multiversion;
use crate::shape::{Dim, Walk, len, strides};
use crate::{Context, Unsupported};
use std::ops::Range;

/// Rows per task are chosen so that a task has about this many elements.
const TASK: usize = 2 * 1024;

/// How two operands broadcast against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcast {
    shape: Vec<usize>,
    walk: Walk,
    lens: [usize; 3],
}

impl Broadcast {
    /// Plans operands of shapes `a` and `b`.
    ///
    /// # Errors
    /// Shapes that do not broadcast, or more than nine dimensions that cannot be merged.
    pub fn new(a: &[usize], b: &[usize]) -> Result<Self, Unsupported> {
        const KERNEL: &str = "broadcast";
        let rank = a.len().max(b.len());
        let extend = |shape: &[usize]| [vec![1; rank - shape.len()], shape.to_vec()].concat();
        let (long_a, long_b) = (extend(a), extend(b));
        let mut shape = Vec::with_capacity(rank);
        for (&a_size, &b_size) in long_a.iter().zip(&long_b) {
            shape.push(match (a_size, b_size) {
                (1, size) | (size, 1) => size,
                (a_size, b_size) if a_size == b_size => a_size,
                _ => return Err(Unsupported::new(KERNEL, format!("shapes {a:?} and {b:?} do not broadcast"))),
            });
        }
        let lens = [len(KERNEL, a)?, len(KERNEL, b)?, len(KERNEL, &shape)?];
        let step = |sizes: &[usize], strides: &[usize], axis: usize| if sizes[axis] == 1 { 0 } else { strides[axis] };
        let (a_strides, b_strides) = (strides(&long_a), strides(&long_b));
        let dims = (0..rank).map(|axis| Dim {
            size: shape[axis],
            a: step(&long_a, &a_strides, axis),
            b: step(&long_b, &b_strides, axis),
        });
        let walk = Walk::new(KERNEL, dims)?;
        Ok(Self { shape, walk, lens })
    }

    /// The shape of the result.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements of the first operand, of the second, and of the result.
    #[must_use]
    pub fn lens(&self) -> [usize; 3] {
        self.lens
    }

    /// Elements of one row, and the step (0 or 1) of each operand along it.
    #[must_use]
    pub fn inner(&self) -> (usize, usize, usize) {
        (self.walk.inner.size, self.walk.inner.a, self.walk.inner.b)
    }

    /// Rows of the result.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.walk.rows
    }

    /// Calls `visit(row, offset of a, offset of b)` for each of `rows` in order.
    pub fn for_rows(&self, rows: Range<usize>, visit: impl FnMut(usize, usize, usize)) {
        self.walk.for_rows(rows, visit);
    }
}

/// What lies in tensors.
pub(crate) trait Value: Copy + Send + Sync {}

impl<T: Copy + Send + Sync> Value for T {}

/// y = f(a, b) on the planned shapes, split over the pool; a single long row is split as well. `finish` is called on each
/// piece of `y` when it is computed.
///
/// # Panics
/// If a length is not the planned one.
pub(crate) fn zip<A: Value, B: Value, Y: Value>(
    ctx: Context,
    plan: &Broadcast,
    a: &[A],
    b: &[B],
    y: &mut [Y],
    f: impl Fn(A, B) -> Y + Sync,
    finish: impl Fn(&mut [Y]) + Sync,
) {
    assert_eq!([a.len(), b.len(), y.len()], plan.lens(), "operands and result have the planned shapes");
    let (len, a_step, b_step) = plan.inner();
    if y.is_empty() {
        return;
    }
    if plan.rows() == 1 {
        let chunk = ctx.pool.share(len, 1, TASK);
        ctx.pool.chunks_mut(y, chunk, |index, y| {
            let at = index * chunk;
            let len = y.len();
            zip_rows(ctx.isa, &a[at * a_step..], [a_step, 0], &b[at * b_step..], [b_step, 0], y, len, &f);
            finish(y);
        });
        return;
    }
    let rows_per_task = ctx.pool.share(plan.rows(), len, TASK);
    ctx.pool.chunks_mut(y, rows_per_task * len, |index, y| {
        let first = index * rows_per_task;
        plan.walk.for_runs(first..first + y.len() / len, |rows, [a_at, b_at], [a_row, b_row]| {
            let y = &mut y[(rows.start - first) * len..(rows.end - first) * len];
            zip_rows(ctx.isa, &a[a_at..], [a_step, a_row], &b[b_at..], [b_step, b_row], y, len, &f);
        });
        finish(y);
    });
}

multiversion! {
    /// Rows of `len` elements. Steps lead to the next element, where one of 0 repeats the first, and to the next row.
    fn zip_rows<A: Value, B: Value, Y: Value, F: Fn(A, B) -> Y>(
        a: &[A], a_steps: [usize; 2], b: &[B], b_steps: [usize; 2], y: &mut [Y], len: usize, f: &F,
    ) {
        for (row, y) in y.chunks_exact_mut(len).enumerate() {
            let (a, b) = (&a[row * a_steps[1]..], &b[row * b_steps[1]..]);
            match (a_steps[0], b_steps[0]) {
                (0, 0) => y.fill(f(a[0], b[0])),
                (0, _) => {
                    let a = a[0];
                    for (y, &b) in y.iter_mut().zip(b) {
                        *y = f(a, b);
                    }
                }
                (_, 0) => {
                    let b = b[0];
                    for (y, &a) in y.iter_mut().zip(a) {
                        *y = f(a, b);
                    }
                }
                _ => {
                    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                        *y = f(a, b);
                    }
                }
            }
        }
    }
}

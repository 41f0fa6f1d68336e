//! NumPy broadcasting of two operands, planned once; shared by float and integer kernels.

use crate::dispatch::multiversion;
use crate::shape::{Dim, Walk, len, strides};
use crate::{Context, Isa, Unsupported};
use bytemuck::{cast_slice, cast_slice_mut};
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
    pub(crate) fn for_rows(&self, rows: Range<usize>, visit: impl FnMut(usize, usize, usize)) {
        self.walk.for_rows(rows, visit);
    }
}

/// What lies in tensors.
pub(crate) trait Value: bytemuck::Pod + Send + Sync {}

impl<T: bytemuck::Pod + Send + Sync> Value for T {}

/// y = f(a, b) on the planned shapes, split over the pool; a single long row is split as well. Compiled once, for what no model
/// spends its time in.
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
) {
    zip_rows_by(ctx, plan, a, b, y, &Function { f, rows: zip_rows });
}

/// The same with vectors of up to 256 bits, for what many models do much of.
///
/// # Panics
/// If a length is not the planned one.
pub(crate) fn zip_wide<A: Value, B: Value, Y: Value>(
    ctx: Context,
    plan: &Broadcast,
    a: &[A],
    b: &[B],
    y: &mut [Y],
    f: impl Fn(A, B) -> Y + Sync,
) {
    zip_rows_by(ctx, plan, a, b, y, &Function { f, rows: zip_rows_wide });
}

/// The same by a loop over rows.
///
/// # Panics
/// If a length is not the planned one.
pub(crate) fn zip_rows_by<A: Value, B: Value, Y: Value>(
    ctx: Context,
    plan: &Broadcast,
    a: &[A],
    b: &[B],
    y: &mut [Y],
    function: &dyn Rows,
) {
    assert_eq!([a.len(), b.len(), y.len()], plan.lens(), "operands and result have the planned shapes");
    let a = Operand { data: cast_slice(a), size: size_of::<A>(), step: plan.walk.inner.a, row: 0 };
    let b = Operand { data: cast_slice(b), size: size_of::<B>(), step: plan.walk.inner.b, row: 0 };
    let call = Call { ctx, plan, operands: [a, b], size: size_of::<Y>(), function };
    call.run(cast_slice_mut(y));
}

/// An operand as bytes. Everything but the innermost loop knows no element type, so that it is compiled once.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) data: &'a [u8],
    /// Bytes of an element.
    size: usize,
    /// Elements to the next in a row: 0 or 1.
    step: usize,
    /// Elements to the next row.
    pub(crate) row: usize,
}

impl<'a> Operand<'a> {
    /// The operand from element `at` on.
    fn from(self, at: usize) -> Self {
        Self { data: &self.data[at * self.size..], ..self }
    }

    /// `count` rows of `len` elements each that is the first of its row, stored in `block`.
    fn repeated<'b>(self, block: &'b mut [u64], count: usize, len: usize) -> Operand<'b> {
        let bytes: &mut [u8] = &mut cast_slice_mut(block)[..count * len * self.size];
        for (index, row) in bytes.chunks_exact_mut(len * self.size).enumerate() {
            let element = &self.data[index * self.row * self.size..][..self.size];
            match *element {
                [byte] => row.fill(byte),
                [a, b] => cast_slice_mut(row).fill(u16::from_ne_bytes([a, b])),
                [a, b, c, d] => cast_slice_mut(row).fill(u32::from_ne_bytes([a, b, c, d])),
                _ => row.chunks_exact_mut(self.size).for_each(|copy| copy.copy_from_slice(element)),
            }
        }
        Operand { data: bytes, size: self.size, step: 1, row: len }
    }
}

/// y = f(a, b) on rows of `len` elements that lie one after the other, of operands with a step of 1.
pub(crate) trait Rows: Sync {
    fn rows(&self, isa: Isa, operands: [Operand<'_>; 2], y: &mut [u8], len: usize);
}

/// [`zip_rows`] or [`zip_rows_wide`].
type RowLoop<A, B, Y, F> = fn(Isa, &[A], usize, &[B], usize, &mut [Y], usize, &F);

struct Function<A, B, Y, F> {
    f: F,
    rows: RowLoop<A, B, Y, F>,
}

impl<A: Value, B: Value, Y: Value, F: Fn(A, B) -> Y + Sync> Rows for Function<A, B, Y, F> {
    fn rows(&self, isa: Isa, [a, b]: [Operand<'_>; 2], y: &mut [u8], len: usize) {
        (self.rows)(isa, cast_slice(a.data), a.row, cast_slice(b.data), b.row, cast_slice_mut(y), len, &self.f);
    }
}

/// Rows of `len` elements; `a_row` and `b_row` lead to the operands' next.
fn zip_rows<A: Value, B: Value, Y: Value, F: Fn(A, B) -> Y>(
    _: Isa,
    a: &[A],
    a_row: usize,
    b: &[B],
    b_row: usize,
    y: &mut [Y],
    len: usize,
    f: &F,
) {
    each_row(a, a_row, b, b_row, y, len, f);
}

multiversion! {
    to avx2;
    /// The same with vectors.
    fn zip_rows_wide<A: Value, B: Value, Y: Value, F: Fn(A, B) -> Y>(
        a: &[A], a_row: usize, b: &[B], b_row: usize, y: &mut [Y], len: usize, f: &F,
    ) {
        each_row(a, a_row, b, b_row, y, len, f);
    }
}

#[inline(always)]
fn each_row<A: Value, B: Value, Y: Value>(
    a: &[A],
    a_row: usize,
    b: &[B],
    b_row: usize,
    y: &mut [Y],
    len: usize,
    f: &impl Fn(A, B) -> Y,
) {
    for (row, y) in y.chunks_exact_mut(len).enumerate() {
        let (a, b) = (&a[row * a_row..][..len], &b[row * b_row..][..len]);
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = f(a, b);
        }
    }
}

/// Elements of 8 bytes of an operand that is repeated along a row are stored this often: enough to make little of what
/// comes with each piece, and less than half of the smallest first-level cache.
const BLOCK: usize = 256;

/// Both operands, of which `one` is the one at `index`.
fn ordered<'a>(index: usize, one: Operand<'a>, other: Operand<'a>) -> [Operand<'a>; 2] {
    if index == 0 { [one, other] } else { [other, one] }
}

/// One call of [`zip`].
struct Call<'a> {
    ctx: Context<'a>,
    plan: &'a Broadcast,
    operands: [Operand<'a>; 2],
    /// Bytes of an element of the result.
    size: usize,
    function: &'a dyn Rows,
}

impl Call<'_> {
    fn run(&self, y: &mut [u8]) {
        let Self { ctx, plan, size, .. } = *self;
        let len = plan.walk.inner.size;
        if y.is_empty() {
            return;
        }
        if plan.rows() == 1 {
            let chunk = ctx.pool.share(len, 1, TASK);
            ctx.pool.chunks_mut(y, chunk * size, |index, y| {
                let operands = self.operands.map(|operand| operand.from(index * chunk * operand.step));
                self.rows(operands, y, y.len() / size);
            });
            return;
        }
        let rows_per_task = ctx.pool.share(plan.rows(), len, TASK);
        let row = len * size;
        ctx.pool.chunks_mut(y, rows_per_task * row, |index, y| {
            let first = index * rows_per_task;
            plan.walk.for_runs(first..first + y.len() / row, |rows, [a, b], [a_row, b_row]| {
                let y = &mut y[(rows.start - first) * row..(rows.end - first) * row];
                let operands = [
                    Operand { row: a_row, ..self.operands[0].from(a) },
                    Operand { row: b_row, ..self.operands[1].from(b) },
                ];
                self.rows(operands, y, len);
            });
        });
    }

    /// Rows of `len` elements, in which an operand may be repeated.
    fn rows(&self, operands: [Operand<'_>; 2], y: &mut [u8], len: usize) {
        if len == 1 || operands.iter().all(|operand| operand.step == 1) {
            self.function.rows(self.ctx.isa, operands, y, len);
        } else {
            self.rows_repeated(operands, y, len);
        }
    }

    /// The same by way of blocks in which the elements that are repeated lie as often as the loop wants them.
    fn rows_repeated(&self, operands: [Operand<'_>; 2], y: &mut [u8], len: usize) {
        let isa = self.ctx.isa;
        let mut block = [0; BLOCK];
        // Only one is: an axis along which both are has one element.
        let repeated = usize::from(operands[0].step != 0);
        let (one, other) = (operands[repeated], operands[1 - repeated]);
        let width = BLOCK * size_of::<u64>() / one.size;
        let row = len * self.size;
        if len <= width {
            let group = if one.row == 0 { y.len() / row } else { width / len };
            for (index, y) in y.chunks_mut(group * row).enumerate() {
                let count = if one.row == 0 { 1 } else { y.len() / row };
                let filled = one.from(index * group * one.row).repeated(&mut block, count, len);
                let filled = if one.row == 0 { Operand { row: 0, ..filled } } else { filled };
                self.function.rows(isa, ordered(repeated, filled, other.from(index * group * other.row)), y, len);
            }
            return;
        }
        for (index, y) in y.chunks_exact_mut(row).enumerate() {
            let filled = one.from(index * one.row).repeated(&mut block, 1, width);
            let other = other.from(index * other.row);
            for (at, y) in y.chunks_mut(width * self.size).enumerate() {
                self.function.rows(isa, ordered(repeated, filled, other.from(at * width)), y, y.len() / self.size);
            }
        }
    }
}

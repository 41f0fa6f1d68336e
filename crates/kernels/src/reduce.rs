//! SUM, MEAN, REDUCE_MAX and REDUCE_MIN over any axes.

use crate::dispatch::multiversion;
use crate::shape::{Dim, Walk, len, strides};
use crate::{Context, Isa, Real, Unsupported};

/// What to reduce with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The mean.
    Mean,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// Parts of a sum over the rows of a matrix that threads make: one number for all, as it is part of the result's rounding.
pub(crate) const BLOCKS: usize = 4;
/// Elements of a block that are worth a thread, and as many as a block has at least.
pub(crate) const BLOCK_ELEMENTS: usize = 1024;

/// A planned reduction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduce {
    /// Over the input, with operand `b` the output (step 0 along reduced axes).
    walk: Walk,
    input_len: usize,
    output_len: usize,
}

impl Reduce {
    /// Plans reducing `shape` over `axes` (repeated ones count once).
    ///
    /// # Errors
    /// An axis beyond the rank, or more than nine dimensions that cannot be merged.
    pub fn new(shape: &[usize], axes: &[usize]) -> Result<Self, Unsupported> {
        const KERNEL: &str = "reduce";
        if let Some(axis) = axes.iter().find(|&&axis| axis >= shape.len()) {
            return Err(Unsupported::new(KERNEL, format!("axis {axis} of a tensor of rank {}", shape.len())));
        }
        let input_len = len(KERNEL, shape)?;
        let kept: Vec<usize> =
            shape.iter().enumerate().map(|(axis, &size)| if axes.contains(&axis) { 1 } else { size }).collect();
        let output_len = len(KERNEL, &kept)?;
        let (in_strides, out_strides) = (strides(shape), strides(&kept));
        let dims = (0..shape.len()).map(|axis| Dim {
            size: shape[axis],
            a: in_strides[axis],
            b: if axes.contains(&axis) { 0 } else { out_strides[axis] },
        });
        Ok(Self { walk: Walk::new(KERNEL, dims)?, input_len, output_len })
    }

    /// Elements of the input and of the output.
    #[must_use]
    pub fn lens(&self) -> [usize; 2] {
        [self.input_len, self.output_len]
    }

    /// y = reduction of x. Elements are summed in their order in memory, in 16 interleaved partial sums where the last
    /// axis is reduced. An empty sum is 0, an empty mean NaN, an empty maximum -infinity,
    /// an empty minimum infinity.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn forward<T: Real>(&self, ctx: Context, reduction: Reduction, x: &[T], y: &mut [T]) {
        assert_eq!([x.len(), y.len()], self.lens(), "operand and result have the planned shapes");
        y.fill(match reduction {
            Reduction::Sum | Reduction::Mean => T::ZERO,
            Reduction::Max => -T::INFINITY,
            Reduction::Min => T::INFINITY,
        });
        let Dim { size, b: step, .. } = self.walk.inner;
        let adds = matches!(reduction, Reduction::Sum | Reduction::Mean);
        if adds && step == 1 {
            self.walk.for_runs(0..self.walk.rows, |rows, [x_at, y_at], steps| {
                if steps == [size, 0] {
                    columns(ctx.isa, &x[x_at..][..rows.len() * size], &mut y[y_at..][..size]);
                } else {
                    for row in 0..rows.len() {
                        add_rows(ctx.isa, &x[x_at + row * steps[0]..][..size], &mut y[y_at + row * steps[1]..]);
                    }
                }
            });
            return self.finish(ctx, reduction, y);
        }
        let visit: &mut dyn FnMut(usize, usize, usize) = &mut |_, x_at, y_at| {
            let (x, y) = (&x[x_at..][..size], &mut y[y_at..]);
            match (reduction, step) {
                (Reduction::Sum | Reduction::Mean, _) => sum_row(ctx.isa, x, y),
                (Reduction::Max, 0) => max_row(ctx.isa, x, y),
                (Reduction::Max, _) => max_rows(ctx.isa, x, y),
                (Reduction::Min, 0) => min_row(ctx.isa, x, y),
                (Reduction::Min, _) => min_rows(ctx.isa, x, y),
            }
        };
        self.walk.for_rows(0..self.walk.rows, visit);
        self.finish(ctx, reduction, y);
    }

    /// Elements of scratch for [`Reduce::forward_shared`].
    #[must_use]
    pub fn scratch_len(&self) -> usize {
        let is_matrix = self.walk.inner.b == 1 && self.output_len == self.walk.inner.size;
        if is_matrix && self.input_len >= BLOCKS * BLOCK_ELEMENTS { BLOCKS * self.output_len } else { 0 }
    }

    /// The same on all threads where it is a long sum over the rows of one matrix, as that of an image's pixels: in blocks of rows, of
    /// which a thread reads those that it probably wrote. A pixel that one core wrote and another reads costs both time when it is
    /// next written.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn forward_shared<T: Real>(&self, ctx: Context, reduction: Reduction, x: &[T], y: &mut [T], scratch: &mut [T]) {
        if scratch.is_empty() || !matches!(reduction, Reduction::Sum | Reduction::Mean) {
            return self.forward(ctx, reduction, x, y);
        }
        assert_eq!([x.len(), y.len()], self.lens(), "operand and result have the planned shapes");
        assert_eq!(scratch.len(), self.scratch_len(), "scratch has the planned length");
        let width = y.len();
        scratch.fill(T::ZERO);
        each_block(ctx, x, scratch, |rows, sums| columns(ctx.isa, rows, sums));
        y.copy_from_slice(&scratch[..width]);
        scratch[width..].chunks_exact(width).for_each(|sums| add_rows(ctx.isa, sums, y));
        self.finish(ctx, reduction, y);
    }

    fn finish<T: Real>(&self, ctx: Context, reduction: Reduction, y: &mut [T]) {
        if reduction == Reduction::Mean {
            let scale = T::ONE / T::from_f64(self.input_len as f64 / self.output_len as f64);
            scale_all(ctx.isa, y, scale);
        }
    }

    /// Gradient of the input. For a maximum or minimum, the first of equal elements in memory order takes it.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn backward<T: Real>(&self, reduction: Reduction, x: &[T], y: &[T], dy: &[T], dx: &mut [T]) {
        assert_eq!([dx.len(), dy.len()], self.lens(), "gradients have the planned shapes");
        let Dim { size, b: step, .. } = self.walk.inner;
        let scale = match reduction {
            Reduction::Mean => T::ONE / T::from_f64(self.input_len as f64 / self.output_len as f64),
            Reduction::Sum | Reduction::Max | Reduction::Min => T::ONE,
        };
        self.walk.for_rows(0..self.walk.rows, |_, x_at, y_at| {
            let dx = &mut dx[x_at..][..size];
            if step == 0 {
                dx.fill(dy.get(y_at).map_or(T::ZERO, |&dy| dy * scale));
            } else {
                dx.iter_mut().zip(&dy[y_at..]).for_each(|(dx, &dy)| *dx = dy * scale);
            }
        });
        if matches!(reduction, Reduction::Max | Reduction::Min) {
            assert_eq!([x.len(), y.len()], self.lens(), "operand and result have the planned shapes");
            // Walking backwards over a window's elements would need its list; instead an element keeps the gradient if
            // it equals the extremum and nothing before it in its window did.
            self.keep_first_equal(x, y, dx);
        }
    }

    fn keep_first_equal<T: Real>(&self, x: &[T], y: &[T], dx: &mut [T]) {
        let Dim { size, b: step, .. } = self.walk.inner;
        self.walk.for_rows(0..self.walk.rows, |_, x_at, y_at| {
            for i in 0..size {
                if x[x_at + i] != y[y_at + i * step] {
                    dx[x_at + i] = T::ZERO;
                }
            }
        });
        let mut seen = vec![false; y.len()];
        self.walk.for_rows(0..self.walk.rows, |_, x_at, y_at| {
            for i in 0..size {
                if x[x_at + i] == y[y_at + i * step] {
                    if seen[y_at + i * step] {
                        dx[x_at + i] = T::ZERO;
                    }
                    seen[y_at + i * step] = true;
                }
            }
        });
    }
}

/// Calls `add(rows, sums)` for each of [`BLOCKS`] blocks of the rows of a matrix, of which `sums` has the sums one after another, on all
/// threads where they are worth it.
pub(crate) fn each_block<T: Sync, S: Send>(
    ctx: Context<'_>,
    x: &[T],
    sums: &mut [S],
    add: impl Fn(&[T], &mut [S]) + Sync,
) {
    let width = sums.len() / BLOCKS;
    let block = (x.len() / width).div_ceil(BLOCKS) * width;
    let each = ctx.pool.share(BLOCKS, block, BLOCK_ELEMENTS);
    ctx.pool.chunks_mut(sums, each * width, |index, sums| {
        for (at, sums) in sums.chunks_exact_mut(width).enumerate() {
            let first = ((index * each + at) * block).min(x.len());
            add(&x[first..(first + block).min(x.len())], sums);
        }
    });
}

/// Partial sums of a contiguous sum; their number is part of the result's rounding, so it is one for all instruction sets.
const LANES: usize = 16;

/// The sum of `x` in [`LANES`] interleaved partial sums, which are then added pairwise.
#[inline(always)]
pub(crate) fn sum_of<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += x;
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += x;
    }
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The largest of `x`, -infinity if there is none.
#[inline(always)]
pub(crate) fn max_of<T: Real>(x: &[T]) -> T {
    let mut lanes = [-T::INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = x.larger(*lane);
        }
    }
    lanes.iter().chain(rest).fold(-T::INFINITY, |max, &x| x.larger(max))
}

multiversion! {
    fn sum_row<T: Real>(x: &[T], y: &mut [T]) {
        if let Some(y) = y.first_mut() {
            *y += sum_of(x);
        }
    }
}

multiversion! {
    fn max_row<T: Real>(x: &[T], y: &mut [T]) {
        if let Some(y) = y.first_mut() {
            *y = max_of(x).larger(*y);
        }
    }
}

multiversion! {
    pub(crate) fn add_rows<T: Real>(x: &[T], y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }
}

multiversion! {
    fn max_rows<T: Real>(x: &[T], y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x.larger(*y);
        }
    }
}

multiversion! {
    fn min_row<T: Real>(x: &[T], y: &mut [T]) {
        if let Some(y) = y.first_mut() {
            *y = x.iter().fold(*y, |min, &x| x.smaller(min));
        }
    }
}

multiversion! {
    fn min_rows<T: Real>(x: &[T], y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x.smaller(*y);
        }
    }
}

multiversion! {
    fn scale_all<T: Real>(y: &mut [T], scale: T) {
        for y in y {
            *y *= scale;
        }
    }
}

/// Adds to each element of `sums` the sum of a column of `x`, a matrix of rows of `sums.len()`: the gradient of a bias.
/// Rows are added in order.
///
/// # Panics
/// If `x` has no whole number of rows.
pub fn add_columns<T: Real>(isa: Isa, x: &[T], sums: &mut [T]) {
    if sums.is_empty() {
        return;
    }
    assert_eq!(x.len() % sums.len(), 0, "rows of {} in {} elements", sums.len(), x.len());
    columns(isa, x, sums);
}

multiversion! {
    fn columns<T: Real>(x: &[T], sums: &mut [T]) {
        let done = strips::<T, 32>(x, sums, 0);
        let done = strips::<T, 16>(x, sums, done);
        strips::<T, 1>(x, sums, done);
    }
}

/// The columns from `first` on, as far as strips of `N` go: one at a time stays in registers over all rows.
#[inline(always)]
fn strips<T: Real, const N: usize>(x: &[T], sums: &mut [T], mut first: usize) -> usize {
    let width = sums.len();
    for sums in sums[first..].chunks_exact_mut(N) {
        let mut lanes = [T::ZERO; N];
        for row in x.chunks_exact(width) {
            if let Some(row) = row[first..].first_chunk::<N>() {
                for (lane, &x) in lanes.iter_mut().zip(row) {
                    *lane += x;
                }
            }
        }
        for (sum, &lane) in sums.iter_mut().zip(&lanes) {
            *sum += lane;
        }
        first += N;
    }
    first
}

//! Walking over dense tensors whose operands differ in strides. All of it is sized at plan time.

use crate::Unsupported;

/// Most dimensions left after adjacent ones that behave alike are merged.
pub const MAX_DIMS: usize = 8;

/// One merged dimension: its size, and the step of each of two operands along it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dim {
    pub(crate) size: usize,
    pub(crate) a: usize,
    pub(crate) b: usize,
}

/// Outer dimensions, walked in row-major order, around an innermost one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walk {
    dims: [Dim; MAX_DIMS],
    rank: usize,
    /// The innermost dimension.
    pub(crate) inner: Dim,
    /// Positions of the outer dimensions together.
    pub(crate) rows: usize,
}

impl Walk {
    /// Merges `dims` (outermost first) where one step of the outer is a whole run of the inner for both operands.
    pub(crate) fn new(kernel: &'static str, dims: impl IntoIterator<Item = Dim>) -> Result<Self, Unsupported> {
        let mut merged: Vec<Dim> = Vec::new();
        for dim in dims.into_iter().filter(|dim| dim.size != 1) {
            match merged.last_mut() {
                Some(last) if last.a == dim.size * dim.a && last.b == dim.size * dim.b => {
                    *last = Dim { size: last.size * dim.size, ..dim };
                }
                _ => merged.push(dim),
            }
        }
        let inner = merged.pop().unwrap_or(Dim { size: 1, a: 0, b: 0 });
        if merged.len() > MAX_DIMS {
            let reason = format!("{} dimensions remain after merging, at most {} can", merged.len() + 1, MAX_DIMS + 1);
            return Err(Unsupported::new(kernel, reason));
        }
        let mut fixed = [Dim { size: 1, a: 0, b: 0 }; MAX_DIMS];
        fixed[..merged.len()].copy_from_slice(&merged);
        let rows = merged.iter().map(|dim| dim.size).product();
        Ok(Self { dims: fixed, rank: merged.len(), inner, rows })
    }

    /// Calls `visit(rows, offsets, steps)` for runs of `rows` along the last outer dimension: `offsets` are those of a and b for
    /// the first row, `steps` lead to the next.
    pub(crate) fn for_runs(
        &self,
        rows: std::ops::Range<usize>,
        mut visit: impl FnMut(std::ops::Range<usize>, [usize; 2], [usize; 2]),
    ) {
        let dims = &self.dims[..self.rank];
        let last = dims.last().copied().unwrap_or(Dim { size: 1, a: 0, b: 0 });
        let mut first = rows.start;
        while first < rows.end {
            let (mut rest, mut offsets) = (first, [0; 2]);
            for dim in dims.iter().rev() {
                let at = rest % dim.size;
                rest /= dim.size;
                offsets = [offsets[0] + at * dim.a, offsets[1] + at * dim.b];
            }
            let count = (last.size - first % last.size).min(rows.end - first);
            visit(first..first + count, offsets, [last.a, last.b]);
            first += count;
        }
    }

    /// Calls `visit(row, offset of a, offset of b)` for each position of the outer dimensions in `rows`; as a `dyn FnMut` where the
    /// call is little beside what it does.
    #[inline]
    pub(crate) fn for_rows(&self, rows: std::ops::Range<usize>, mut visit: impl FnMut(usize, usize, usize)) {
        let dims = &self.dims[..self.rank];
        let mut index = [0usize; MAX_DIMS];
        let (mut rest, mut a, mut b) = (rows.start, 0, 0);
        if rows.is_empty() {
            return;
        }
        for (at, dim) in index.iter_mut().zip(dims).rev() {
            *at = rest % dim.size;
            rest /= dim.size;
            a += *at * dim.a;
            b += *at * dim.b;
        }
        for row in rows {
            visit(row, a, b);
            for (at, dim) in index.iter_mut().zip(dims).rev() {
                *at += 1;
                a += dim.a;
                b += dim.b;
                if *at < dim.size {
                    break;
                }
                *at = 0;
                a -= dim.a * dim.size;
                b -= dim.b * dim.size;
            }
        }
    }
}

/// Row-major strides of `shape`.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// The product of `shape`, refusing one that overflows.
pub(crate) fn len(kernel: &'static str, shape: &[usize]) -> Result<usize, Unsupported> {
    shape
        .iter()
        .try_fold(1usize, |len, &size| len.checked_mul(size))
        .filter(|&len| len <= isize::MAX as usize)
        .ok_or_else(|| Unsupported::new(kernel, format!("size of shape {shape:?} overflows")))
}

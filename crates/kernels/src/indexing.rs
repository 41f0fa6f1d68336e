//! GATHER, GATHER_ND, EMBEDDING_LOOKUP, SCATTER_ND, ONE_HOT and DYNAMIC_UPDATE_SLICE: elements found by indices that are known
//! only when the op runs.

use std::fmt;

use bytemuck::Pod;

use crate::{Context, Unsupported};

/// An index that names no element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange {
    /// The index.
    pub index: i64,
    /// Entries of its axis.
    pub size: usize,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index {} of an axis that has {}", self.index, self.size)
    }
}

impl std::error::Error for OutOfRange {}

/// An integer type that indices come in.
pub trait Index: Pod + Into<i64> + Send + Sync {}

impl Index for i16 {}
impl Index for i32 {}
impl Index for i64 {}

/// Sizes of the axes that one row of indices names, as flat places.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    sizes: Vec<usize>,
}

impl Named {
    /// The place that `row` names among all.
    fn place<I: Index>(&self, row: &[I]) -> Result<usize, OutOfRange> {
        let mut place = 0;
        for (&index, &size) in row.iter().zip(&self.sizes) {
            let index = index.into();
            let inside = usize::try_from(index).ok().filter(|&index| index < size);
            place = place * size + inside.ok_or(OutOfRange { index, size })?;
        }
        Ok(place)
    }
}

/// A planned GATHER, GATHER_ND or EMBEDDING_LOOKUP, for elements of any type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gather {
    /// Leading axes that value and indices share, together.
    batch: usize,
    /// Axes of the value between those and the ones named.
    outer: usize,
    named: Named,
    /// Entries of the value that can be named.
    entries: usize,
    /// Rows of indices for each of `batch`.
    rows: usize,
    /// Bytes of what one row names.
    slice: usize,
}

/// Bytes of output that are worth a task of their own.
const TASK_BYTES: usize = 1 << 15;

impl Gather {
    /// Plans reading a value of `batch x outer x named x slice bytes` by `batch x rows` rows of indices, each with an index for
    /// each of the axes `named`.
    ///
    /// # Errors
    /// Sizes whose product overflows.
    pub fn new(batch: usize, outer: usize, named: &[usize], rows: usize, slice: usize) -> Result<Self, Unsupported> {
        const KERNEL: &str = "gather";
        let entries = crate::shape::len(KERNEL, named)?;
        crate::shape::len(KERNEL, &[batch, outer, entries, slice])?;
        crate::shape::len(KERNEL, &[batch, outer, rows, slice])?;
        Ok(Self { batch, outer, named: Named { sizes: named.to_vec() }, entries, rows, slice })
    }

    /// y = what the indices name of x, as bytes.
    ///
    /// # Errors
    /// An index outside its axis; y is untouched.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn run<I: Index>(&self, context: Context<'_>, x: &[u8], indices: &[I], y: &mut [u8]) -> Result<(), OutOfRange> {
        let (width, slice) = (self.named.sizes.len(), self.slice);
        assert_eq!(x.len(), self.batch * self.outer * self.entries * slice, "the value has the planned shape");
        assert_eq!(y.len(), self.batch * self.outer * self.rows * slice, "the result has the planned shape");
        assert_eq!(indices.len(), self.batch * self.rows * width, "the indices have the planned shape");
        let row = |row: usize| &indices[row * width..][..width];
        (0..self.batch * self.rows).try_for_each(|index| self.named.place(row(index)).map(|_| ()))?;
        if y.is_empty() {
            return Ok(());
        }
        let results = y.len() / slice;
        let chunk = if context.pool.threads() == 1 { results } else { TASK_BYTES.div_ceil(slice).min(results) };
        context.pool.chunks_mut(y, chunk * slice, |task, y| {
            for (result, y) in (task * chunk..).zip(y.chunks_exact_mut(slice)) {
                let (outer, at) = (result / self.rows, result % self.rows);
                // They were all inside their axes.
                let place = self.named.place(row(outer / self.outer * self.rows + at)).unwrap_or(0);
                copy(&x[(outer * self.entries + place) * slice..][..slice], y);
            }
        });
        Ok(())
    }
}

/// A copy that is a single move for the sizes of one element.
#[inline(always)]
fn copy(x: &[u8], y: &mut [u8]) {
    match y.len() {
        1 => y[0] = x[0],
        4 => y[..4].copy_from_slice(&x[..4]),
        8 => y[..8].copy_from_slice(&x[..8]),
        _ => y.copy_from_slice(x),
    }
}

/// A planned SCATTER_ND.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scatter {
    named: Named,
    entries: usize,
    slice: usize,
}

impl Scatter {
    /// Plans a result of `named x slice` elements.
    ///
    /// # Errors
    /// Sizes whose product overflows.
    pub fn new(named: &[usize], slice: usize) -> Result<Self, Unsupported> {
        let entries = crate::shape::len("scatter_nd", named)?;
        crate::shape::len("scatter_nd", &[entries, slice])?;
        Ok(Self { named: Named { sizes: named.to_vec() }, entries, slice })
    }

    /// y = zeros, to which each slice of the updates is added where its row of the indices says, one after the other.
    ///
    /// # Errors
    /// An index outside its axis.
    ///
    /// # Panics
    /// If the result has not the planned size, or the updates no slice for each row.
    pub fn run<T: Pod, I: Index>(
        &self,
        indices: &[I],
        updates: &[T],
        y: &mut [T],
        add: impl Fn(T, T) -> T,
    ) -> Result<(), OutOfRange> {
        assert_eq!(y.len(), self.entries * self.slice, "the result has the planned shape");
        y.fill(T::zeroed());
        if self.slice == 0 {
            return Ok(());
        }
        let width = self.named.sizes.len();
        for (row, update) in updates.chunks_exact(self.slice).enumerate() {
            let place = self.named.place(&indices[row * width..][..width])?;
            y[place * self.slice..][..self.slice].iter_mut().zip(update).for_each(|(y, &update)| *y = add(*y, update));
        }
        Ok(())
    }
}

/// Along the middle axis of `outer x depth x inner` results, `on` where the index (`outer x inner` of them) is and `off`
/// elsewhere. An index outside 0 to `depth` is nowhere.
///
/// # Panics
/// If a length is another.
pub fn one_hot<T: Copy, I: Index>(indices: &[I], inner: usize, depth: usize, on: T, off: T, y: &mut [T]) {
    assert_eq!(y.len(), indices.len() * depth, "a result for each index and place");
    y.fill(off);
    for (at, &index) in indices.iter().enumerate() {
        let place = usize::try_from(index.into()).ok().filter(|&index| index < depth);
        if let Some(place) = place {
            y[(at / inner * depth + place) * inner + at % inner] = on;
        }
    }
}

/// A planned DYNAMIC_UPDATE_SLICE, for elements of any type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicUpdateSlice {
    operand: Vec<usize>,
    update: Vec<usize>,
    /// Bytes from one entry of an axis to the next.
    strides: Vec<usize>,
    /// The axes that are walked one by one; those inside are copied as a run.
    walked: usize,
    /// Bytes of a run.
    run: usize,
}

impl DynamicUpdateSlice {
    /// Plans replacing a box of shape `update` in a tensor of shape `operand`, of `element` bytes each.
    ///
    /// # Errors
    /// An update that does not fit, or sizes whose product overflows.
    pub fn new(operand: &[usize], update: &[usize], element: usize) -> Result<Self, Unsupported> {
        const KERNEL: &str = "dynamic_update_slice";
        if operand.len() != update.len() || update.iter().zip(operand).any(|(update, size)| update > size) {
            return Err(Unsupported::new(KERNEL, format!("{update:?} in {operand:?}")));
        }
        crate::shape::len(KERNEL, &[operand, &[element]].concat())?;
        let mut strides = vec![element; operand.len()];
        for axis in (1..operand.len()).rev() {
            strides[axis - 1] = strides[axis] * operand[axis];
        }
        // Whole axes at the end, and the one outside them.
        let whole = (0..operand.len()).rev().take_while(|&axis| update[axis] == operand[axis]).count();
        let walked = (operand.len() - whole).saturating_sub(1);
        let run = update[walked..].iter().product::<usize>() * element;
        Ok(Self { operand: operand.to_vec(), update: update.to_vec(), strides, walked, run })
    }

    /// y = x with the box at `starts`, moved inside where it would stand out, replaced by `update`; as bytes.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn run<I: Index>(&self, x: &[u8], update: &[u8], starts: &[I], y: &mut [u8]) {
        assert_eq!(starts.len(), self.operand.len(), "a start for each axis");
        y.copy_from_slice(x);
        if update.is_empty() {
            return;
        }
        let most = self.operand.iter().zip(&self.update).map(|(size, update)| size - update);
        let start = |(&start, most): (&I, usize)| usize::try_from(start.into().max(0)).unwrap_or(usize::MAX).min(most);
        let starts = starts.iter().zip(most).map(start);
        let first: usize = starts.zip(&self.strides).map(|(start, stride)| start * stride).sum();
        for (row, update) in update.chunks_exact(self.run).enumerate() {
            let (mut rest, mut place) = (row, first);
            for axis in (0..self.walked).rev() {
                place += rest % self.update[axis] * self.strides[axis];
                rest /= self.update[axis];
            }
            y[place..][..self.run].copy_from_slice(update);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Pool};

    #[test]
    fn gather_reads_what_the_indices_name_on_any_number_of_threads() {
        let (batch, outer, entries, rows, slice) = (3, 4, 50, 700, 12);
        let x: Vec<u8> = (0..batch * outer * entries * slice).map(|at| (at * 7 + at / 256) as u8).collect();
        let indices: Vec<i32> = (0..batch * rows).map(|at| (at * at % entries) as i32).collect();
        let gather = Gather::new(batch, outer, &[5, 10], rows, slice).unwrap();
        let pairs: Vec<_> = indices.iter().flat_map(|&index| [index / 10, index % 10]).collect();
        for threads in [1, 3] {
            let pool = Pool::new(threads);
            let mut y = vec![0; batch * outer * rows * slice];
            gather.run(Context { pool: &pool, isa: Isa::Scalar }, &x, &pairs, &mut y).unwrap();
            for (at, &value) in y.iter().enumerate() {
                let (row, outer) = (at / slice % rows, at / slice / rows);
                let index = indices[outer / 4 * rows + row] as usize;
                assert_eq!(value, x[(outer * entries + index) * slice + at % slice]);
            }
            let mut wrong = pairs.clone();
            wrong[1001] = 10;
            let error = gather.run(Context { pool: &pool, isa: Isa::Scalar }, &x, &wrong, &mut y).unwrap_err();
            assert_eq!(error, OutOfRange { index: 10, size: 10 });
        }
    }

    #[test]
    fn updates_of_one_place_are_added() {
        let mut y = [9_i32; 6];
        let scatter = Scatter::new(&[3], 2).unwrap();
        scatter.run(&[2_i32, 0, 2], &[1, 2, 3, 4, 5, 6], &mut y, i32::wrapping_add).unwrap();
        assert_eq!(y, [3, 4, 0, 0, 6, 8]);
        assert!(scatter.run(&[-1_i32], &[1, 2], &mut y, i32::wrapping_add).is_err());
    }

    #[test]
    fn an_index_outside_is_hot_nowhere() {
        let mut y = [0; 12];
        one_hot(&[1_i32, -1, 0, 3], 2, 3, 1, 0, &mut y);
        assert_eq!(y, [0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn an_update_is_moved_inside() {
        let x: Vec<u8> = (0..24).collect();
        let plan = DynamicUpdateSlice::new(&[2, 3, 4], &[1, 2, 4], 1).unwrap();
        let mut y = [0; 24];
        plan.run(&x, &[99; 8], &[-5_i64, 7, 3], &mut y);
        let expected: Vec<u8> = (0..24).map(|at| if (4..12).contains(&at) { 99 } else { at }).collect();
        assert_eq!(y.as_slice(), expected);
        let plan = DynamicUpdateSlice::new(&[3, 4], &[2, 2], 1).unwrap();
        let mut y = [0; 12];
        plan.run(&x[..12], &[90, 91, 92, 93], &[1, 1], &mut y);
        assert_eq!(y, [0, 1, 2, 3, 4, 90, 91, 7, 8, 92, 93, 11]);
        assert!(DynamicUpdateSlice::new(&[3, 4], &[4, 2], 1).is_err());
    }
}

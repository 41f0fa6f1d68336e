//! GATHER, GATHER_ND, EMBEDDING_LOOKUP, SCATTER_ND, ONE_HOT and DYNAMIC_UPDATE_SLICE: elements found by indices that are known
//! only when the op runs.

use std::fmt;

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

/// Indices of any integer type. Told apart where they are read, so that what is done with them is compiled once.
#[derive(Debug, Clone, Copy)]
pub enum Indices<'a> {
    /// int16.
    I16(&'a [i16]),
    /// int32.
    I32(&'a [i32]),
    /// int64.
    I64(&'a [i64]),
}

impl Indices<'_> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::I16(indices) => indices.len(),
            Self::I32(indices) => indices.len(),
            Self::I64(indices) => indices.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Index number `at`.
    ///
    /// # Panics
    /// If there are not as many.
    #[must_use]
    #[inline]
    pub fn get(&self, at: usize) -> i64 {
        match self {
            Self::I16(indices) => indices[at].into(),
            Self::I32(indices) => indices[at].into(),
            Self::I64(indices) => indices[at],
        }
    }
}

/// Sizes of the axes that one row of indices names, as flat places.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    sizes: Vec<usize>,
}

impl Named {
    /// The place that row number `row` of the indices names among all.
    #[inline]
    fn place(&self, indices: Indices<'_>, row: usize) -> Result<usize, OutOfRange> {
        let mut place = 0;
        for (axis, &size) in self.sizes.iter().enumerate() {
            let index = indices.get(row * self.sizes.len() + axis);
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
    pub fn run(&self, context: Context<'_>, x: &[u8], indices: Indices<'_>, y: &mut [u8]) -> Result<(), OutOfRange> {
        let (width, slice) = (self.named.sizes.len(), self.slice);
        assert_eq!(x.len(), self.batch * self.outer * self.entries * slice, "the value has the planned shape");
        assert_eq!(y.len(), self.batch * self.outer * self.rows * slice, "the result has the planned shape");
        assert_eq!(indices.len(), self.batch * self.rows * width, "the indices have the planned shape");
        (0..self.batch * self.rows).try_for_each(|row| self.named.place(indices, row).map(|_| ()))?;
        if y.is_empty() {
            return Ok(());
        }
        let results = y.len() / slice;
        let chunk = if context.pool.threads() == 1 { results } else { TASK_BYTES.div_ceil(slice).min(results) };
        context.pool.chunks_mut(y, chunk * slice, |task, y| {
            for (result, y) in (task * chunk..).zip(y.chunks_exact_mut(slice)) {
                let (outer, at) = (result / self.rows, result % self.rows);
                // They were all inside their axes.
                let place = self.named.place(indices, outer / self.outer * self.rows + at).unwrap_or(0);
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
    /// Plans a result of `named x slice bytes`.
    ///
    /// # Errors
    /// Sizes whose product overflows.
    pub fn new(named: &[usize], slice: usize) -> Result<Self, Unsupported> {
        let entries = crate::shape::len("scatter_nd", named)?;
        crate::shape::len("scatter_nd", &[entries, slice])?;
        Ok(Self { named: Named { sizes: named.to_vec() }, entries, slice })
    }

    /// y = zeros, to which each slice of the updates is added where its row of the indices says, one after the other, as bytes:
    /// `add(y, update)` adds elements.
    ///
    /// # Errors
    /// An index outside its axis.
    ///
    /// # Panics
    /// If the result has not the planned size, or the updates no slice for each row.
    pub fn run(
        &self,
        indices: Indices<'_>,
        updates: &[u8],
        y: &mut [u8],
        add: fn(&mut [u8], &[u8]),
    ) -> Result<(), OutOfRange> {
        assert_eq!(y.len(), self.entries * self.slice, "the result has the planned shape");
        y.fill(0);
        if self.slice == 0 {
            return Ok(());
        }
        for (row, update) in updates.chunks_exact(self.slice).enumerate() {
            let place = self.named.place(indices, row)?;
            add(&mut y[place * self.slice..][..self.slice], update);
        }
        Ok(())
    }
}

/// A planned SPARSE_TO_DENSE, for elements of any type.
#[derive(Debug, Clone)]
pub struct SparseToDense {
    named: Named,
    entries: usize,
}

impl SparseToDense {
    /// Plans a result of `shape`.
    ///
    /// # Errors
    /// Sizes whose product overflows.
    pub fn new(shape: &[usize]) -> Result<Self, Unsupported> {
        let entries = crate::shape::len("sparse_to_dense", shape)?;
        Ok(Self { named: Named { sizes: shape.to_vec() }, entries })
    }

    /// y = the `default` everywhere, then where each row of the indices says its value, or the only one; elements as bytes.
    ///
    /// # Errors
    /// An index outside its axis.
    ///
    /// # Panics
    /// If the result has not the planned size, or there are more rows than values.
    pub fn run(&self, indices: Indices<'_>, values: &[u8], default: &[u8], y: &mut [u8]) -> Result<(), OutOfRange> {
        let element = default.len();
        assert_eq!(y.len(), self.entries * element, "the result has the planned shape");
        y.chunks_exact_mut(element.max(1)).for_each(|y| y.copy_from_slice(default));
        let only = values.len() == element;
        for row in 0..indices.len() / self.named.sizes.len().max(1) {
            let place = self.named.place(indices, row)?;
            let value = &values[if only { 0 } else { row * element }..][..element];
            y[place * element..][..element].copy_from_slice(value);
        }
        Ok(())
    }
}

/// Along the middle axis of `outer x depth x inner` results, `on` where the index (`outer x inner` of them) is and `off`
/// elsewhere, elements as bytes. An index outside 0 to `depth` is nowhere.
///
/// # Panics
/// If a length is another.
pub fn one_hot(indices: Indices<'_>, inner: usize, depth: usize, on: &[u8], off: &[u8], y: &mut [u8]) {
    let element = on.len();
    assert_eq!(y.len(), indices.len() * depth * element, "a result for each index and place");
    y.chunks_exact_mut(element.max(1)).for_each(|y| y.copy_from_slice(off));
    for at in 0..indices.len() {
        let place = usize::try_from(indices.get(at)).ok().filter(|&index| index < depth);
        if let Some(place) = place {
            y[((at / inner * depth + place) * inner + at % inner) * element..][..element].copy_from_slice(on);
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
    pub fn run(&self, x: &[u8], update: &[u8], starts: Indices<'_>, y: &mut [u8]) {
        assert_eq!(starts.len(), self.operand.len(), "a start for each axis");
        y.copy_from_slice(x);
        if update.is_empty() {
            return;
        }
        let most = self.operand.iter().zip(&self.update).map(|(size, update)| size - update);
        let start = |(at, most)| usize::try_from(starts.get(at).max(0)).unwrap_or(usize::MAX).min(most);
        let starts = most.enumerate().map(start);
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
            gather.run(Context { pool: &pool, isa: Isa::Scalar }, &x, Indices::I32(&pairs), &mut y).unwrap();
            for (at, &value) in y.iter().enumerate() {
                let (row, outer) = (at / slice % rows, at / slice / rows);
                let index = indices[outer / 4 * rows + row] as usize;
                assert_eq!(value, x[(outer * entries + index) * slice + at % slice]);
            }
            let mut wrong = pairs.clone();
            wrong[1001] = 10;
            let error =
                gather.run(Context { pool: &pool, isa: Isa::Scalar }, &x, Indices::I32(&wrong), &mut y).unwrap_err();
            assert_eq!(error, OutOfRange { index: 10, size: 10 });
        }
    }

    #[test]
    fn updates_of_one_place_are_added() {
        let mut y = [9; 6];
        let add = |y: &mut [u8], update: &[u8]| y.iter_mut().zip(update).for_each(|(y, update)| *y += update);
        let scatter = Scatter::new(&[3], 2).unwrap();
        scatter.run(Indices::I32(&[2, 0, 2]), &[1, 2, 3, 4, 5, 6], &mut y, add).unwrap();
        assert_eq!(y, [3, 4, 0, 0, 6, 8]);
        assert!(scatter.run(Indices::I32(&[-1]), &[1, 2], &mut y, add).is_err());
    }

    #[test]
    fn an_index_outside_is_hot_nowhere() {
        let mut y = [0; 12];
        one_hot(Indices::I16(&[1, -1, 0, 3]), 2, 3, &[1], &[0], &mut y);
        assert_eq!(y, [0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn an_update_is_moved_inside() {
        let x: Vec<u8> = (0..24).collect();
        let plan = DynamicUpdateSlice::new(&[2, 3, 4], &[1, 2, 4], 1).unwrap();
        let mut y = [0; 24];
        plan.run(&x, &[99; 8], Indices::I64(&[-5, 7, 3]), &mut y);
        let expected: Vec<u8> = (0..24).map(|at| if (4..12).contains(&at) { 99 } else { at }).collect();
        assert_eq!(y.as_slice(), expected);
        let plan = DynamicUpdateSlice::new(&[3, 4], &[2, 2], 1).unwrap();
        let mut y = [0; 12];
        plan.run(&x[..12], &[90, 91, 92, 93], Indices::I64(&[1, 1]), &mut y);
        assert_eq!(y, [0, 1, 2, 3, 4, 90, 91, 7, 8, 92, 93, 11]);
        assert!(DynamicUpdateSlice::new(&[3, 4], &[4, 2], 1).is_err());
    }
}

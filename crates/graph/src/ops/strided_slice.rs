//! STRIDED_SLICE: NumPy's `x[begin:end:stride]` on several axes.

use super::Inputs;
use super::rearrange::{Rearrangement, Rearranges, identity, value};
use crate::Result;

/// Attributes of STRIDED_SLICE; bit `i` of each mask belongs to entry `i` of
/// begin, end and strides, which are inputs 1 to 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StridedSlice {
    /// Axes whose begin is ignored: the slice starts at the first element in its direction.
    pub begin_mask: i32,
    /// Axes whose end is ignored: the slice goes on to the last element in its direction.
    pub end_mask: i32,
    /// Position of an ellipsis, which stands for as many whole axes as the other entries leave over.
    pub ellipsis_mask: i32,
    /// Positions of new axes of size 1, which take no axis of the input.
    pub new_axis_mask: i32,
    /// Axes of which one element is taken and which are dropped.
    pub shrink_axis_mask: i32,
    /// Whether end counts from begin.
    pub offset: bool,
}

impl StridedSlice {
    /// The elements of an axis of `size` that entry `entry` takes: the first, the step, and how many.
    fn axis(self, inputs: &Inputs<'_>, entry: usize, size: usize, slice: [i64; 3]) -> Result<(usize, isize, usize)> {
        let [begin, end, stride] = slice;
        let (bit, length) = (1_i32 << entry, i64::try_from(size).unwrap_or(i64::MAX));
        if stride == 0 {
            return Err(inputs.malformed(format!("stride {entry} is 0")));
        }
        let wrap = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
        let (low, high) = if stride > 0 { (0, length) } else { (-1, length - 1) };
        let edge = |index: i64, masked: bool, open: i64| if masked { open } else { wrap(index).clamp(low, high) };
        let (nearest, furthest) = if stride > 0 { (0, length) } else { (length - 1, -1) };
        if self.shrink_axis_mask & bit != 0 {
            let index = if self.begin_mask & bit != 0 { nearest } else { wrap(begin) };
            let index = usize::try_from(index).ok().filter(|&index| index < size);
            let Some(index) = index else {
                return Err(inputs.malformed(format!("index {begin} of an axis that has {size}")));
            };
            return Ok((index, 1, 1));
        }
        let first = edge(begin, self.begin_mask & bit != 0, nearest);
        let end = if self.offset { first.saturating_add(end) } else { end };
        let last = edge(end, self.end_mask & bit != 0, furthest);
        let span = if stride > 0 { last - first } else { first - last };
        let count = if span <= 0 { 0 } else { span.unsigned_abs().div_ceil(stride.unsigned_abs()) };
        // Where nothing is taken, the first may stand outside.
        let first = usize::try_from(first).unwrap_or(0);
        Ok((first, isize::try_from(stride).unwrap_or(isize::MAX), usize::try_from(count).unwrap_or(usize::MAX)))
    }
}

impl Rearranges for StridedSlice {
    fn rearrange(&self, inputs: &Inputs<'_>) -> Result<Vec<Rearrangement>> {
        inputs.expect_count(4..=4)?;
        let (shape, distances) = value(inputs, 0)?;
        let [begin, end, strides] =
            [(1, "begin"), (2, "end"), (3, "strides")].map(|(at, name)| inputs.integers(at, name));
        let (begin, end, strides) = (begin?, end?, strides?);
        let entries = begin.len();
        if entries != end.len() || entries != strides.len() || entries > 31 {
            let got = format!("got {entries} begins, {} ends, {} strides", end.len(), strides.len());
            return Err(inputs.malformed(format!("{got}: expected the same number, at most 31")));
        }
        let is = |mask: i32, entry: usize| mask & (1 << entry) != 0;
        let ellipses = (0..entries).filter(|&entry| is(self.ellipsis_mask, entry)).count();
        let new_axes = (0..entries).filter(|&at| is(self.new_axis_mask, at) && !is(self.ellipsis_mask, at)).count();
        let Some(rest) = shape.len().checked_sub(entries - ellipses - new_axes).filter(|_| ellipses < 2) else {
            let message = format!("got {entries} entries, {ellipses} of them an ellipsis and {new_axes} new axes");
            return Err(inputs.malformed(format!("{message}, for an input of shape {shape:?}")));
        };
        let mut loops = identity(shape, &distances);
        let mut result = Vec::with_capacity(shape.len() + new_axes);
        let mut axis = 0;
        for entry in 0..entries {
            if is(self.ellipsis_mask, entry) {
                result.extend_from_slice(&shape[axis..axis + rest]);
                axis += rest;
            } else if is(self.new_axis_mask, entry) {
                result.push(1);
            } else {
                let slice = [begin[entry], end[entry], strides[entry]];
                let (first, step, count) = self.axis(inputs, entry, shape[axis], slice)?;
                loops[axis] = loops[axis].every(first, step, count);
                if !is(self.shrink_axis_mask, entry) {
                    result.push(count);
                }
                axis += 1;
            }
        }
        result.extend_from_slice(&shape[axis..]);
        Ok(vec![Rearrangement { shape: result, loops }])
    }
}

#[cfg(test)]
mod tests {
    use super::StridedSlice;
    use crate::{DType, Data, Op, Result, Tensor};

    fn slice(op: StridedSlice, shape: &[usize], entries: [&[i32]; 3]) -> Result<(Vec<usize>, Vec<usize>)> {
        let value = Tensor::new("x", DType::F32, shape);
        let [begin, end, strides] =
            entries.map(|list| Tensor::constant("", DType::I32, [list.len()], Data::from_slice(list)));
        let (_, outputs) =
            Op::from(op).rearrangement(&[Some(&value), Some(&begin), Some(&end), Some(&strides)]).unwrap()?;
        Ok((outputs[0].shape.clone(), outputs[0].sources()))
    }

    #[test]
    fn slices_follow_numpy() {
        let taken = |op: StridedSlice, begin: i32, end: i32, stride: i32| {
            slice(op, &[10], [&[begin], &[end], &[stride]]).unwrap().1
        };
        let plain = StridedSlice::default();
        assert_eq!(taken(plain, 1, 9, 3), [1, 4, 7]);
        assert_eq!(taken(plain, -3, 100, 1), [7, 8, 9]);
        assert_eq!(taken(plain, 8, 2, -2), [8, 6, 4]);
        assert!(taken(plain, 5, 2, 1).is_empty());
        assert_eq!(taken(StridedSlice { end_mask: 1, ..plain }, 9, 0, -1), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
        assert_eq!(taken(StridedSlice { shrink_axis_mask: 1, ..plain }, -4, 0, 1), [6]);
        assert_eq!(taken(StridedSlice { offset: true, ..plain }, 3, 2, 1), [3, 4]);
    }

    #[test]
    fn an_ellipsis_takes_the_axes_that_are_left_over() {
        let op = StridedSlice { ellipsis_mask: 2, new_axis_mask: 1, shrink_axis_mask: 4, ..StridedSlice::default() };
        let (shape, sources) = slice(op, &[2, 3, 4], [&[0, 0, 1], &[0, 0, 0], &[1, 1, 1]]).unwrap();
        assert_eq!((shape.as_slice(), sources.as_slice()), (&[1, 2, 3][..], &[1, 5, 9, 13, 17, 21][..]));
        let (shape, _) = slice(op, &[4], [&[0, 0, 1], &[0, 0, 0], &[1, 1, 1]]).unwrap();
        assert_eq!(shape, [1]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let plain = StridedSlice::default();
        assert!(slice(plain, &[10], [&[0], &[1], &[0]]).is_err());
        assert!(slice(plain, &[10], [&[0, 0], &[1, 1], &[1, 1]]).is_err());
        assert!(slice(plain, &[10], [&[0, 0], &[1], &[1]]).is_err());
        assert!(slice(StridedSlice { ellipsis_mask: 3, ..plain }, &[10], [&[0, 0], &[1, 1], &[1, 1]]).is_err());
        assert!(slice(StridedSlice { shrink_axis_mask: 1, ..plain }, &[10], [&[10], &[0], &[1]]).is_err());
        let (shape, _) = slice(plain, &[3], [&[i32::MAX], &[i32::MIN], &[i32::MIN]]).unwrap();
        assert_eq!(shape, [1]);
    }
}

//! STRIDED_SLICE: NumPy's `x[begin:end:stride]` on several axes.

use super::{Inputs, OpSpec};
use crate::{Error, Result};

/// Attributes of STRIDED_SLICE; bit `i` of each mask belongs to axis `i`. Begin, end and strides are inputs 1 to 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StridedSlice {
    /// Axes whose begin is ignored: the slice starts at the first element in its direction.
    pub begin_mask: i32,
    /// Axes whose end is ignored: the slice goes on to the last element in its direction.
    pub end_mask: i32,
    /// Position of an ellipsis, which stands for whole axes.
    pub ellipsis_mask: i32,
    /// Positions of new axes of size 1.
    pub new_axis_mask: i32,
    /// Axes of which one element is taken and which are dropped.
    pub shrink_axis_mask: i32,
    /// Whether end counts from begin.
    pub offset: bool,
}

/// One axis of a resolved slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceAxis {
    /// First index; inside the axis unless `count` is 0.
    pub begin: i64,
    /// Step; never 0.
    pub stride: i64,
    /// Elements taken.
    pub count: usize,
    /// Whether the axis is dropped from the result.
    pub shrink: bool,
}

impl StridedSlice {
    /// Resolves begin, end and strides against a shape, an entry for each axis of the input.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a stride of 0, more entries than axes, or an index to shrink outside its axis;
    /// [`Error::Unsupported`] for ellipsis and new axes.
    pub fn resolve(&self, shape: &[usize], begin: &[i64], end: &[i64], strides: &[i64]) -> Result<Vec<SliceAxis>> {
        let op = "STRIDED_SLICE";
        if self.ellipsis_mask != 0 || self.new_axis_mask != 0 {
            return Err(Error::unsupported(op, "ellipsis_mask and new_axis_mask other than 0"));
        }
        if begin.len() != end.len() || begin.len() != strides.len() || begin.len() > shape.len().min(31) {
            return Err(Error::malformed(
                op,
                format!(
                    "got {} begins, {} ends, {} strides for an input of rank {}",
                    begin.len(),
                    end.len(),
                    strides.len(),
                    shape.len()
                ),
            ));
        }
        let axis = |(axis, &size): (usize, &usize)| -> Result<SliceAxis> {
            if axis >= begin.len() {
                return Ok(SliceAxis { begin: 0, stride: 1, count: size, shrink: false });
            }
            let bit = 1_i32 << axis;
            let (stride, length) = (strides[axis], i64::try_from(size).unwrap_or(i64::MAX));
            if stride == 0 {
                return Err(Error::malformed(op, format!("the stride of axis {axis} is 0")));
            }
            let wrap = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
            let (low, high) = if stride > 0 { (0, length) } else { (-1, length - 1) };
            let first = match self.begin_mask & bit {
                0 => wrap(begin[axis]).clamp(low, high),
                _ => {
                    if stride > 0 {
                        0
                    } else {
                        length - 1
                    }
                }
            };
            if self.shrink_axis_mask & bit != 0 {
                let index = wrap(begin[axis]);
                if !(0..length).contains(&index) {
                    return Err(Error::malformed(
                        op,
                        format!("index {} of axis {axis}, which has {size}", begin[axis]),
                    ));
                }
                return Ok(SliceAxis { begin: index, stride: 1, count: 1, shrink: true });
            }
            let last = match self.end_mask & bit {
                0 if self.offset => first.saturating_add(end[axis]).clamp(low, high),
                0 => wrap(end[axis]).clamp(low, high),
                _ => {
                    if stride > 0 {
                        length
                    } else {
                        -1
                    }
                }
            };
            let span = if stride > 0 { last - first } else { first - last };
            let count = if span <= 0 { 0 } else { span.unsigned_abs().div_ceil(stride.unsigned_abs()) };
            Ok(SliceAxis { begin: first, stride, count: usize::try_from(count).unwrap_or(0), shrink: false })
        };
        shape.iter().enumerate().map(axis).collect()
    }
}

impl OpSpec for StridedSlice {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(4..=4)?;
        let shape = &inputs.get(0, "input")?.shape;
        let axes = self.resolve(
            shape,
            &inputs.integers(1, "begin")?,
            &inputs.integers(2, "end")?,
            &inputs.integers(3, "strides")?,
        )?;
        Ok(vec![axes.iter().filter(|axis| !axis.shrink).map(|axis| axis.count).collect()])
    }
}

#[cfg(test)]
mod tests {
    use super::StridedSlice;

    #[test]
    fn slices_follow_numpy() {
        let counts = |slice: StridedSlice, begin: i64, end: i64, stride: i64| {
            slice.resolve(&[10], &[begin], &[end], &[stride]).unwrap()[0].count
        };
        let plain = StridedSlice::default();
        assert_eq!(counts(plain, 1, 9, 3), 3);
        assert_eq!(counts(plain, -3, 100, 1), 3);
        assert_eq!(counts(plain, 8, 2, -2), 3);
        assert_eq!(counts(plain, 5, 2, 1), 0);
        assert_eq!(counts(StridedSlice { end_mask: 1, ..plain }, 9, 0, -1), 10);
        assert!(plain.resolve(&[10], &[0], &[1], &[0]).is_err());
    }
}

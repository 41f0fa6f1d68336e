//! STRIDED_SLICE and SLICE: copies between strided views, whatever the elements are.

/// A strided view of a slice: where it starts, and how far apart neighbours along each axis are, in elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Index of the first element.
    pub start: usize,
    /// Elements between neighbours, an entry for each axis; negative to go backwards.
    pub strides: Vec<isize>,
}

impl View {
    /// The whole of a dense array.
    #[must_use]
    pub fn dense(shape: &[usize]) -> Self {
        let mut strides = vec![1_isize; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(isize::try_from(shape[axis]).unwrap_or(isize::MAX));
        }
        Self { start: 0, strides }
    }

    /// The same view, started `index` steps along `axis`.
    #[must_use]
    pub fn offset(mut self, axis: usize, index: usize) -> Self {
        self.start = self.start.wrapping_add_signed(self.strides[axis].wrapping_mul(index.cast_signed()));
        self
    }

    /// Whether each index within `counts` lies inside a slice of `len` elements.
    #[must_use]
    pub fn fits(&self, counts: &[usize], len: usize) -> bool {
        if counts.contains(&0) {
            return true;
        }
        let (mut low, mut high) = (self.start as i128, self.start as i128);
        for (&stride, &count) in self.strides.iter().zip(counts) {
            let reach = stride as i128 * (count as i128 - 1);
            if reach < 0 { low += reach } else { high += reach }
        }
        self.strides.len() == counts.len() && low >= 0 && high < len as i128
    }
}

/// Copies `counts` elements along each axis from one view to another.
///
/// # Panics
/// When a view reaches outside its slice; [`View::fits`] tells beforehand.
pub fn copy<T: Copy>(counts: &[usize], from: &View, source: &[T], to: &View, target: &mut [T]) {
    if !counts.contains(&0) {
        copy_axes(counts, &from.strides, from.start, source, &to.strides, to.start, target);
    }
}

fn copy_axes<T: Copy>(
    counts: &[usize],
    from_strides: &[isize],
    from: usize,
    source: &[T],
    to_strides: &[isize],
    to: usize,
    target: &mut [T],
) {
    match *counts {
        [] => target[to] = source[from],
        [count] if from_strides == [1] && to_strides == [1] => {
            target[to..to + count].copy_from_slice(&source[from..from + count]);
        }
        [count, ref inner @ ..] => {
            for index in 0..count {
                let index = index.cast_signed();
                copy_axes(
                    inner,
                    &from_strides[1..],
                    from.wrapping_add_signed(from_strides[0] * index),
                    source,
                    &to_strides[1..],
                    to.wrapping_add_signed(to_strides[0] * index),
                    target,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reversed_column_is_copied_into_the_middle() {
        let source: Vec<_> = (0..12).collect(); // [3, 4]
        let column = View { start: 9, strides: vec![-4] }; // column 1, last row first
        let mut target = [0; 5];
        let to = View::dense(&[5]).offset(0, 1);
        assert!(column.fits(&[3], 12) && to.fits(&[3], 5) && !to.fits(&[5], 5) && !column.fits(&[4], 12));
        copy(&[3], &column, &source, &to, &mut target);
        assert_eq!(target, [0, 9, 5, 1, 0]);
    }

    #[test]
    fn a_scalar_is_one_element_and_an_empty_axis_none() {
        let mut target = [0];
        copy(&[], &View::dense(&[]), &[7], &View::dense(&[]), &mut target);
        assert_eq!(target, [7]);
        copy(&[0, 3], &View::dense(&[0, 3]), &[], &View::dense(&[0, 3]), &mut target);
        assert_eq!(target, [7]);
    }
}

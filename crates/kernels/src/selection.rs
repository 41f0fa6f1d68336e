//! Ops that look for elements along an axis: ARG_MAX, ARG_MIN, TOPK_V2; and CUMSUM, which walks along one.

use crate::Unsupported;
use std::cmp::Ordering;

/// A shape seen along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlongAxis {
    /// Positions before the axis.
    pub outer: usize,
    /// Elements along the axis.
    pub size: usize,
    /// Positions after the axis.
    pub inner: usize,
}

impl AlongAxis {
    /// Looks at `shape` along `axis`.
    ///
    /// # Errors
    /// An axis beyond the rank, or sizes that overflow.
    pub fn new(kernel: &'static str, shape: &[usize], axis: usize) -> Result<Self, Unsupported> {
        let Some(&size) = shape.get(axis) else {
            return Err(Unsupported::new(kernel, format!("axis {axis} of a tensor of rank {}", shape.len())));
        };
        crate::shape::len(kernel, shape)?;
        let count = |sizes: &[usize]| crate::shape::len(kernel, sizes);
        Ok(Self { outer: count(&shape[..axis])?, size, inner: count(&shape[axis + 1..])? })
    }

    /// Elements.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.outer * self.size * self.inner
    }

    /// For each place beside the axis, the position of the first element that no later one is `better` than.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn position<T: Copy, P: TryFrom<usize> + Default>(
        &self,
        input: &[T],
        output: &mut [P],
        better: impl Fn(T, T) -> bool,
    ) {
        assert_eq!([input.len(), output.len()], [self.input_len(), self.outer * self.inner], "the planned shapes");
        if input.is_empty() {
            return;
        }
        for (image, output) in input.chunks_exact(self.size * self.inner).zip(output.chunks_exact_mut(self.inner)) {
            for (at, out) in output.iter_mut().enumerate() {
                let mut best = (0, image[at]);
                for position in 1..self.size {
                    let value = image[position * self.inner + at];
                    if better(value, best.1) {
                        best = (position, value);
                    }
                }
                *out = P::try_from(best.0).unwrap_or_default();
            }
        }
    }

    /// Running sums along the axis.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn cumulate<T: Copy>(
        &self,
        input: &[T],
        output: &mut [T],
        zero: T,
        [exclusive, reverse]: [bool; 2],
        add: impl Fn(T, T) -> T,
    ) {
        assert_eq!([input.len(), output.len()], [self.input_len(); 2], "the planned shapes");
        if input.is_empty() {
            return;
        }
        let image = self.size * self.inner;
        for (input, output) in input.chunks_exact(image).zip(output.chunks_exact_mut(image)) {
            for at in 0..self.inner {
                let mut sum = zero;
                for step in 0..self.size {
                    let position = if reverse { self.size - 1 - step } else { step };
                    let index = position * self.inner + at;
                    let next = add(sum, input[index]);
                    output[index] = if exclusive { sum } else { next };
                    sum = next;
                }
            }
        }
    }
}

/// The `k` largest of each row of `size` elements in falling order, equal ones in order of position, NaN last
/// (`is_greater` is never true of it): positions go to `scratch` and `positions`, values to `values`.
///
/// # Panics
/// If `scratch` has not `size` elements, or the outputs no whole rows of `k`.
pub fn top_k<T: Copy, P: TryFrom<usize> + Default>(
    size: usize,
    k: usize,
    input: &[T],
    values: &mut [T],
    positions: &mut [P],
    scratch: &mut [u32],
    is_greater: impl Fn(T, T) -> bool,
    is_nan: impl Fn(T) -> bool,
) {
    assert_eq!(scratch.len(), size, "a row of positions");
    if k == 0 || size == 0 {
        return;
    }
    let outputs = values.chunks_exact_mut(k).zip(positions.chunks_exact_mut(k));
    for (row, (values, positions)) in input.chunks_exact(size).zip(outputs) {
        scratch.iter_mut().zip(0..).for_each(|(slot, at)| *slot = at);
        let order = |&a: &u32, &b: &u32| {
            let (x, y) = (row[a as usize], row[b as usize]);
            match (is_nan(x), is_nan(y)) {
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                _ if is_greater(x, y) => Ordering::Less,
                _ if is_greater(y, x) => Ordering::Greater,
                _ => a.cmp(&b),
            }
        };
        if k < size {
            scratch.select_nth_unstable_by(k - 1, order);
        }
        scratch[..k].sort_unstable_by(order);
        for ((value, position), &at) in values.iter_mut().zip(positions).zip(&scratch[..k]) {
            *value = row[at as usize];
            *position = P::try_from(at as usize).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_wins_and_nan_comes_last() {
        let along = AlongAxis::new("arg_max", &[2, 3], 1).unwrap();
        let mut at = [9_i32; 2];
        along.position(&[1, 5, 5, 7, 2, 7], &mut at, |a, b| a > b);
        assert_eq!(at, [1, 0]);
        let (mut values, mut positions) = ([0.0_f32; 3], [0_i32; 3]);
        let row = [2.0, f32::NAN, 5.0, 2.0];
        let is_nan = |x: f32| x.is_nan();
        top_k(4, 3, &row, &mut values, &mut positions, &mut [0; 4], |a, b| a > b, is_nan);
        assert_eq!((values, positions), ([5.0, 2.0, 2.0], [2, 0, 3]));
    }

    #[test]
    fn sums_run_either_way() {
        let along = AlongAxis::new("cumsum", &[3, 2], 0).unwrap();
        let x = [1, 10, 2, 20, 3, 30];
        let sums = |how| {
            let mut y = [0; 6];
            along.cumulate(&x, &mut y, 0, how, |a, b| a + b);
            y
        };
        assert_eq!(sums([false, false]), [1, 10, 3, 30, 6, 60]);
        assert_eq!(sums([true, true]), [5, 50, 3, 30, 0, 0]);
    }
}

//! Ops that look for elements along an axis: ARG_MAX, ARG_MIN, TOPK_V2; and CUMSUM, which walks along one.

use crate::Unsupported;
use crate::heap::partial_sort;

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

    /// For each place beside the axis, calls `visit(place, position)` with the position of the first element that no later one is
    /// above, or below unless `largest`.
    ///
    /// # Panics
    /// If the input has another size than planned.
    pub fn position<T: Copy + PartialOrd>(&self, input: &[T], largest: bool, visit: &mut dyn FnMut(usize, usize)) {
        assert_eq!(input.len(), self.input_len(), "the planned shape");
        if input.is_empty() {
            return;
        }
        for (outer, image) in input.chunks_exact(self.size * self.inner).enumerate() {
            for at in 0..self.inner {
                let mut best = (0, image[at]);
                for position in 1..self.size {
                    let value = image[position * self.inner + at];
                    if if largest { value > best.1 } else { value < best.1 } {
                        best = (position, value);
                    }
                }
                visit(outer * self.inner + at, best.0);
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

/// Elements that TOPK_V2 takes.
pub trait Ranked: bytemuck::Pod {
    /// What is smaller the larger the value is, and the same for values that are equal; that of NaN is the largest.
    fn rank(self) -> u64;
}

macro_rules! ranked {
    ($($type:ident)*) => {$(
        impl Ranked for $type {
            #[inline(always)]
            fn rank(self) -> u64 {
                // The order of i64 is that of u64 with the sign flipped.
                !(i64::from(self) as u64 ^ 1 << 63)
            }
        }
    )*};
}
ranked!(i8 u8 i16 i32 i64);

impl Ranked for f32 {
    #[inline(always)]
    fn rank(self) -> u64 {
        // As of 0.0, -0.0 included, the bits of positive numbers rise with the numbers, those of negative ones fall.
        let bits = (self + 0.0).to_bits();
        let rising = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
        if self.is_nan() { u64::MAX } else { u64::from(!rising) }
    }
}

/// A planned TOPK_V2: all but reading elements is compiled once for all types.
#[derive(Debug, Clone, Copy)]
pub struct TopK {
    size: usize,
    k: usize,
    element: usize,
    ranks: fn(&[u8], &mut [u64]),
}

impl TopK {
    /// Plans finding the `k` largest of each row of `size` elements of type `T`; `None` for rows that are too long.
    #[must_use]
    pub fn new<T: Ranked>(size: usize, k: usize) -> Option<Self> {
        u32::try_from(size).ok()?;
        Some(Self { size, k, element: size_of::<T>(), ranks: ranks::<T> })
    }

    /// The numbers of ranks and of positions that a run needs as scratch.
    #[must_use]
    pub fn scratch_len(&self) -> usize {
        self.size
    }

    /// The largest of each row in falling order, equal ones in order of position, NaN last: to `values`, in bytes as `input`,
    /// and their positions to `visit(at, position)`, where `at` counts all results.
    ///
    /// # Panics
    /// If a buffer of scratch is too short, or `values` holds no whole rows of `k`.
    pub fn run(
        &self,
        input: &[u8],
        values: &mut [u8],
        (ranks, order): (&mut [u64], &mut [u32]),
        visit: &mut dyn FnMut(usize, usize),
    ) {
        let Self { size, k, element, .. } = *self;
        if k == 0 || size == 0 {
            return;
        }
        let (ranks, order) = (&mut ranks[..size], &mut order[..size]);
        let rows = input.chunks_exact(size * element).zip(values.chunks_exact_mut(k * element));
        for (index, (row, values)) in rows.enumerate() {
            (self.ranks)(row, ranks);
            order.iter_mut().zip(0..).for_each(|(slot, at)| *slot = at);
            let key = |at: u32| (ranks[at as usize], at);
            partial_sort(order, k, &|&a, &b| key(a) < key(b));
            for (nth, (value, &at)) in values.chunks_exact_mut(element).zip(&*order).enumerate() {
                value.copy_from_slice(&row[at as usize * element..][..element]);
                visit(index * k + nth, at as usize);
            }
        }
    }
}

fn ranks<T: Ranked>(row: &[u8], ranks: &mut [u64]) {
    for (rank, x) in ranks.iter_mut().zip(row.chunks_exact(size_of::<T>())) {
        *rank = bytemuck::pod_read_unaligned::<T>(x).rank();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_wins_and_nan_comes_last() {
        let along = AlongAxis::new("arg_max", &[2, 3], 1).unwrap();
        let mut at = [9; 2];
        along.position(&[1, 5, 5, 7, 2, 7], true, &mut |place, position| at[place] = position);
        assert_eq!(at, [1, 0]);
        let (mut values, mut positions) = ([0.0_f32; 3], [0; 3]);
        let row = [2.0_f32, f32::NAN, 5.0, 2.0];
        let top = TopK::new::<f32>(4, 3).unwrap();
        let (input, output) = (bytemuck::cast_slice(&row), bytemuck::cast_slice_mut(&mut values));
        top.run(input, output, (&mut [0; 4], &mut [0; 4]), &mut |at, position| positions[at] = position);
        assert_eq!((values, positions), ([5.0, 2.0, 2.0], [2, 0, 3]));
    }

    #[test]
    fn ranks_order_as_the_values_do() {
        let rising = [f32::NEG_INFINITY, f32::MIN, -1.0, -1e-45, 0.0, 1e-45, 1.0, f32::MAX, f32::INFINITY];
        assert!(rising.is_sorted_by(|a, b| a.rank() > b.rank()));
        assert_eq!(0.0_f32.rank(), (-0.0_f32).rank());
        assert!(f32::NAN.rank() > f32::NEG_INFINITY.rank() && (-f32::NAN).rank() == f32::NAN.rank());
        assert!([i64::MIN, -1, 0, 1, i64::MAX].is_sorted_by(|a, b| a.rank() > b.rank()));
        assert!([-128_i8, -1, 0, 127].is_sorted_by(|a, b| a.rank() > b.rank()));
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

//! CONCATENATION and PAD: ops that only move elements, for elements of any type.

use std::ops::{AddAssign, Range};

use bytemuck::{Pod, bytes_of, cast_slice, cast_slice_mut, pod_read_unaligned};

use crate::shape::{Dim, Walk, len, strides};
use crate::{Pool, Unsupported};

/// A planned CONCATENATION.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concatenation {
    outer: usize,
    /// Where each operand's part of a row starts, and its length.
    parts: Vec<(usize, usize)>,
    row: usize,
}

impl Concatenation {
    /// Plans joining tensors of `shapes` along `axis`.
    ///
    /// # Errors
    /// No tensor, an axis beyond the rank, or shapes that differ elsewhere.
    pub fn new<S: AsRef<[usize]>>(shapes: &[S], axis: usize) -> Result<Self, Unsupported> {
        const KERNEL: &str = "concatenation";
        let first = shapes.first().ok_or_else(|| Unsupported::new(KERNEL, "no operand"))?.as_ref();
        if axis >= first.len() {
            return Err(Unsupported::new(KERNEL, format!("axis {axis} of tensors of rank {}", first.len())));
        }
        let outer = len(KERNEL, &first[..axis])?;
        let inner = len(KERNEL, &first[axis + 1..])?;
        let mut row = 0usize;
        let mut parts = Vec::with_capacity(shapes.len());
        for shape in shapes.iter().map(AsRef::as_ref) {
            if shape.len() != first.len() || shape[..axis] != first[..axis] || shape[axis + 1..] != first[axis + 1..] {
                let reason = format!("shapes {first:?} and {shape:?} differ outside axis {axis}");
                return Err(Unsupported::new(KERNEL, reason));
            }
            len(KERNEL, shape)?;
            parts.push((row, shape[axis] * inner));
            row = row.saturating_add(shape[axis] * inner);
        }
        len(KERNEL, &[outer, row])?;
        Ok(Self { outer, parts, row })
    }

    /// Elements of the result.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.outer * self.row
    }

    /// Copies operand number `index`, `x`, to its place in `y`.
    ///
    /// # Panics
    /// If there is no such operand or a length is not the planned one.
    pub fn forward<T: Copy>(&self, index: usize, x: &[T], y: &mut [T]) {
        let (start, len) = self.parts[index];
        assert_eq!([x.len(), y.len()], [self.outer * len, self.output_len()], "tensors have the planned shapes");
        if len == 0 || self.outer == 0 {
            return;
        }
        for (x, y) in x.chunks_exact(len).zip(y.chunks_exact_mut(self.row)) {
            copy_run(x, &mut y[start..start + len]);
        }
    }

    /// Calls `visit` for each run of `y` that operand number `index` fills.
    pub(crate) fn for_part<T>(&self, index: usize, y: &mut [T], visit: impl Fn(&mut [T])) {
        let (start, len) = self.parts[index];
        if self.row > 0 {
            y.chunks_exact_mut(self.row).for_each(|row| visit(&mut row[start..start + len]));
        }
    }

    /// Copies the gradient of operand number `index` out of `dy`.
    ///
    /// # Panics
    /// If there is no such operand or a length is not the planned one.
    pub fn backward<T: Copy>(&self, index: usize, dy: &[T], dx: &mut [T]) {
        let (start, len) = self.parts[index];
        assert_eq!([dx.len(), dy.len()], [self.outer * len, self.output_len()], "tensors have the planned shapes");
        if len == 0 || self.outer == 0 {
            return;
        }
        for (dx, dy) in dx.chunks_exact_mut(len).zip(dy.chunks_exact(self.row)) {
            dx.copy_from_slice(&dy[start..start + len]);
        }
    }
}

/// A planned PAD or PADV2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pad {
    /// Slices of the output along its first axis of more than one, those of them that hold a slice of the input, and elements
    /// of one slice of each.
    slices: usize,
    filled: Range<usize>,
    slice: [usize; 2],
    /// Over a slice of the input, with operand `b` that of the output.
    walk: Walk,
    offset: usize,
    lens: [usize; 2],
}

/// Bytes of the output that are worth a thread.
const TASK_BYTES: usize = 1 << 13;

impl Pad {
    /// Plans padding a tensor of `shape` by (before, after) per axis.
    ///
    /// # Errors
    /// A number of paddings that is not the rank, a size that overflows, or more than nine dimensions that cannot be
    /// merged.
    pub fn new(shape: &[usize], paddings: &[(usize, usize)]) -> Result<Self, Unsupported> {
        const KERNEL: &str = "pad";
        if shape.len() != paddings.len() {
            let reason = format!("{} paddings of a tensor of rank {}", paddings.len(), shape.len());
            return Err(Unsupported::new(KERNEL, reason));
        }
        let padded: Vec<usize> = shape
            .iter()
            .zip(paddings)
            .map(|(size, (before, after))| size.saturating_add(*before).saturating_add(*after))
            .collect();
        let lens = [len(KERNEL, shape)?, len(KERNEL, &padded)?];
        let (in_strides, out_strides) = (strides(shape), strides(&padded));
        // The last axis is not cut.
        let cut = padded.iter().take(shape.len().saturating_sub(1)).position(|&size| size != 1);
        let (slices, filled, slice) = match cut {
            Some(axis) => {
                let before = paddings[axis].0;
                (padded[axis], before..before + shape[axis], [in_strides[axis], out_strides[axis]])
            }
            None => (1, 0..1, lens),
        };
        let inner = cut.map_or(0, |axis| axis + 1)..shape.len();
        let dims = inner.clone().map(|axis| Dim { size: shape[axis], a: in_strides[axis], b: out_strides[axis] });
        let walk = Walk::new(KERNEL, dims)?;
        let offset = inner.map(|axis| paddings[axis].0 * out_strides[axis]).sum();
        Ok(Self { slices, filled, slice, walk, offset, lens })
    }

    /// Elements of the input and of the output.
    #[must_use]
    pub fn lens(&self) -> [usize; 2] {
        self.lens
    }

    /// y = x surrounded by `value`.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn forward<T: Pod>(&self, pool: &Pool, x: &[T], value: T, y: &mut [T]) {
        self.forward_bytes(pool, cast_slice(x), bytes_of(&value), cast_slice_mut(y));
    }

    /// The same, as bytes: those of one element are `value`.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn forward_bytes(&self, pool: &Pool, x: &[u8], value: &[u8], y: &mut [u8]) {
        // By words where elements are of them, as runs are short.
        match value.len() {
            4 => self.forward_units::<u32>(pool, cast_slice(x), &[pod_read_unaligned(value)], cast_slice_mut(y)),
            8 => self.forward_units(pool, cast_slice(x), &pod_read_unaligned::<[u32; 2]>(value), cast_slice_mut(y)),
            _ => self.forward_units(pool, x, value, y),
        }
    }

    /// The same by units, of which an element has as many as `value`.
    fn forward_units<U: Pod + Eq + Send + Sync>(&self, pool: &Pool, x: &[U], value: &[U], y: &mut [U]) {
        let units = value.len();
        assert_eq!([x.len(), y.len()], self.lens.map(|len| len * units), "operand and result have the planned shapes");
        let [x_len, y_len] = self.slice.map(|len| len * units);
        if x.is_empty() || y_len == 0 {
            fill(y, value);
            return;
        }
        let slices = pool.share(self.slices, y_len * size_of::<U>(), TASK_BYTES);
        pool.chunks_mut(y, slices * y_len, |index, y| {
            for (at, y) in y.chunks_exact_mut(y_len).enumerate() {
                let slice = index * slices + at;
                if self.filled.contains(&slice) {
                    self.forward_slice(&x[(slice - self.filled.start) * x_len..][..x_len], value, y);
                } else {
                    fill(y, value);
                }
            }
        });
    }

    /// Elements that lie together in both tensors: one where something is put beside a last axis of one.
    fn run(&self) -> usize {
        let Dim { size, a, b } = self.walk.inner;
        if (a, b) == (1, 1) { size } else { 1 }
    }

    /// Where the runs of a slice begin in the operand and, less [`Self::offset`], in the result.
    fn for_runs(&self, mut visit: impl FnMut(usize, usize)) {
        let Dim { size, a, b } = self.walk.inner;
        let runs = size / self.run();
        self.walk.for_runs(0..self.walk.rows, |rows, [x_at, y_at], [x_step, y_step]| {
            for row in 0..rows.len() {
                let (x_at, y_at) = (x_at + row * x_step, y_at + row * y_step);
                (0..runs).for_each(|run| visit(x_at + run * a, y_at + run * b));
            }
        });
    }

    fn forward_slice<U: Copy + Eq>(&self, x: &[U], value: &[U], y: &mut [U]) {
        let units = value.len();
        let (size, offset) = (self.run() * units, self.offset * units);
        if size < LONG {
            fill(y, value);
            self.for_runs(|x_at, y_at| copy_run(&x[x_at * units..][..size], &mut y[offset + y_at * units..][..size]));
            return;
        }
        // What lies before each run of the operand, the run, and in the end what lies behind the last.
        let mut done = 0;
        self.for_runs(|x_at, y_at| {
            let start = offset + y_at * units;
            fill(&mut y[done..start], value);
            done = start + size;
            y[start..done].copy_from_slice(&x[x_at * units..][..size]);
        });
        fill(&mut y[done..], value);
    }

    /// Gradient of the operand: `dy` without its border.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn backward<T: Copy>(&self, dy: &[T], dx: &mut [T]) {
        assert_eq!([dx.len(), dy.len()], self.lens, "gradients have the planned shapes");
        let ([x_len, y_len], size) = (self.slice, self.run());
        if dx.is_empty() {
            return;
        }
        let dy = &dy[self.filled.start * y_len..];
        for (dx, dy) in dx.chunks_exact_mut(x_len).zip(dy.chunks_exact(y_len)) {
            self.for_runs(|x_at, y_at| {
                copy_run(&dy[self.offset + y_at..][..size], &mut dx[x_at..][..size]);
            });
        }
    }
}

/// Repeats an element of these units.
#[inline]
fn fill<U: Copy + Eq>(y: &mut [U], value: &[U]) {
    match *value {
        [unit] => y.fill(unit),
        [first, second] if first == second => y.fill(first),
        _ => y.chunks_exact_mut(value.len().max(1)).for_each(|y| y.copy_from_slice(value)),
    }
}

/// Units of a run that is worth a call to copy it.
const LONG: usize = 64;

/// Copies a run, a short one by its two ends, which overlap, instead of by a call.
#[inline]
pub(crate) fn copy_run<T: Copy>(x: &[T], y: &mut [T]) {
    match x.len() {
        0..2 => y.iter_mut().zip(x).for_each(|(y, &x)| *y = x),
        2..4 => copy_ends::<T, 2>(x, y),
        4..8 => copy_ends::<T, 4>(x, y),
        8..16 => copy_ends::<T, 8>(x, y),
        16..32 => copy_ends::<T, 16>(x, y),
        32..LONG => copy_ends::<T, 32>(x, y),
        LONG.. => y.copy_from_slice(x),
    }
}

/// Copies the first and the last `N`.
#[inline]
fn copy_ends<T: Copy, const N: usize>(x: &[T], y: &mut [T]) {
    if let (Some(x), Some(y)) = (x.first_chunk::<N>(), y.first_chunk_mut::<N>()) {
        *y = *x;
    }
    if let (Some(x), Some(y)) = (x.last_chunk::<N>(), y.last_chunk_mut::<N>()) {
        *y = *x;
    }
}

/// `sum += x`, element by element: how the gradients of an operand used more than once meet.
///
/// # Panics
/// If the lengths differ.
pub fn accumulate<T: Copy + AddAssign>(x: &[T], sum: &mut [T]) {
    assert_eq!(x.len(), sum.len(), "gradients of one tensor have one shape");
    sum.iter_mut().zip(x).for_each(|(sum, &x)| *sum += x);
}

//! SELECT and SELECT_V2: elements of one operand where a condition is true, else of another; all three broadcast.

use crate::shape::{len, strides};
use crate::{Context, Unsupported};
use bytemuck::{Pod, cast_slice, cast_slice_mut};

const KERNEL: &str = "select";
/// Elements of one task, about.
const TASK: usize = 16 << 10;

/// A planned selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// Sizes and, for condition and both operands, steps of the axes but the last, outermost first.
    outer: Vec<(usize, [usize; 3])>,
    /// The same of the last.
    inner: (usize, [usize; 3]),
    lens: [usize; 3],
}

impl Select {
    /// Plans it for a condition and operands of these shapes.
    ///
    /// # Errors
    /// Shapes that do not broadcast.
    pub fn new(condition: &[usize], x: &[usize], y: &[usize]) -> Result<Self, Unsupported> {
        let shapes = [condition, x, y];
        let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
        let long = shapes.map(|shape| [vec![1; rank - shape.len()], shape.to_vec()].concat());
        let steps = [strides(&long[0]), strides(&long[1]), strides(&long[2])];
        let mut outer: Vec<(usize, [usize; 3])> = Vec::with_capacity(rank);
        for axis in 0..rank {
            let sizes = [long[0][axis], long[1][axis], long[2][axis]];
            let size = sizes.into_iter().find(|&size| size != 1).unwrap_or(1);
            if sizes.iter().any(|&other| other != 1 && other != size) {
                let reason = format!("shapes {condition:?}, {x:?} and {y:?} do not broadcast");
                return Err(Unsupported::new(KERNEL, reason));
            }
            let step = [0, 1, 2].map(|operand| if sizes[operand] == 1 { 0 } else { steps[operand][axis] });
            match outer.last_mut() {
                _ if size == 1 => {}
                // One step of the axis before is a whole run of this one: they are one axis.
                Some(last) if (0..3).all(|operand| last.1[operand] == size * step[operand]) => {
                    *last = (last.0 * size, step);
                }
                _ => outer.push((size, step)),
            }
        }
        let lens = [len(KERNEL, condition)?, len(KERNEL, x)?, len(KERNEL, y)?];
        let inner = outer.pop().unwrap_or((1, [0; 3]));
        Ok(Self { outer, inner, lens })
    }

    /// output = x where the condition is not 0, else y.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn run<T: Pod>(&self, ctx: Context<'_>, condition: &[u8], x: &[T], y: &[T], output: &mut [T]) {
        let (x, y, output) = (cast_slice(x), cast_slice(y), cast_slice_mut(output));
        self.run_bytes(ctx, condition, x, y, output, size_of::<T>(), |condition, x, y, steps, output| {
            select_row::<T>(condition, cast_slice(x), cast_slice(y), steps, cast_slice_mut(output));
        });
    }

    /// The same of elements of `size` bytes, whose rows `select` selects.
    fn run_bytes(
        &self,
        ctx: Context<'_>,
        condition: &[u8],
        x: &[u8],
        y: &[u8],
        output: &mut [u8],
        size: usize,
        select: SelectRow,
    ) {
        let lens = [condition.len(), x.len() / size, y.len() / size];
        assert_eq!(lens, self.lens, "operands have the planned shapes");
        let (row, steps) = self.inner;
        if output.is_empty() {
            return;
        }
        assert_eq!(output.len() % (row * size), 0, "the result has the planned shape");
        let rows_per_task = TASK.div_ceil(row);
        ctx.pool.chunks_mut(output, rows_per_task * row * size, |task, output| {
            for (at, output) in output.chunks_exact_mut(row * size).enumerate() {
                let mut offsets = [0; 3];
                let mut rest = task * rows_per_task + at;
                for (size, steps) in self.outer.iter().rev() {
                    let index = rest % size;
                    rest /= size;
                    offsets.iter_mut().zip(steps).for_each(|(offset, step)| *offset += index * step);
                }
                let (x, y) = (&x[offsets[1] * size..], &y[offsets[2] * size..]);
                select(&condition[offsets[0]..], x, y, steps, output);
            }
        });
    }
}

/// [`select_row`] of bytes.
type SelectRow = fn(&[u8], &[u8], &[u8], [usize; 3], &mut [u8]);

/// One row; a step of 0 repeats the first element.
fn select_row<T: Pod>(condition: &[u8], x: &[T], y: &[T], [step_c, step_x, step_y]: [usize; 3], output: &mut [T]) {
    if step_c == 0 {
        let (from, step) = if condition[0] != 0 { (x, step_x) } else { (y, step_y) };
        if step == 0 {
            output.fill(from[0])
        } else {
            output.copy_from_slice(&from[..output.len()])
        }
        return;
    }
    match (step_x, step_y) {
        (0, 0) => {
            let (x, y) = (x[0], y[0]);
            output.iter_mut().zip(condition).for_each(|(out, &c)| *out = if c != 0 { x } else { y });
        }
        (0, _) => {
            let x = x[0];
            output.iter_mut().zip(condition).zip(y).for_each(|((out, &c), &y)| *out = if c != 0 { x } else { y });
        }
        (_, 0) => {
            let y = y[0];
            output.iter_mut().zip(condition).zip(x).for_each(|((out, &c), &x)| *out = if c != 0 { x } else { y });
        }
        _ => {
            let operands = output.iter_mut().zip(condition).zip(x).zip(y);
            operands.for_each(|(((out, &c), &x), &y)| *out = if c != 0 { x } else { y });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Pool};

    #[test]
    fn three_operands_broadcast() {
        let pool = Pool::serial();
        let ctx = Context { pool: &pool, isa: Isa::detect() };
        let mut output = [0u16; 6];
        let select = Select::new(&[2, 1], &[3], &[2, 3]).unwrap();
        select.run(ctx, &[1, 0], &[10, 11, 12], &[0, 1, 2, 3, 4, 5], &mut output);
        assert_eq!(output, [10, 11, 12, 3, 4, 5]);
        let select = Select::new(&[3], &[], &[2, 1]).unwrap();
        select.run(ctx, &[1, 0, 1], &[9], &[1, 2], &mut output);
        assert_eq!(output, [9, 1, 9, 9, 2, 9]);
        assert!(Select::new(&[2], &[3], &[]).is_err());
    }
}

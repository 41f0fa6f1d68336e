//! Ops whose output is elements of the input in another order, whatever the elements are: nested loops, each a list of
//! what it adds to the index in the input.

use crate::Unsupported;

/// A planned rearrangement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rearrange {
    /// Outermost first, each with the elements of the output that one step of it covers.
    loops: Vec<(Vec<usize>, usize)>,
    /// Neighbours in the input that stay neighbours, from the innermost loops.
    run: usize,
    start: usize,
    lens: [usize; 2],
}

impl Rearrange {
    /// Plans reading an input of `input_len` elements by `loops`, outermost first.
    ///
    /// # Errors
    /// Loops that reach outside the input, or more results than memory can hold.
    pub fn new(loops: Vec<Vec<usize>>, input_len: usize) -> Result<Self, Unsupported> {
        const KERNEL: &str = "rearrange";
        let counts: Vec<_> = loops.iter().map(Vec::len).collect();
        let output_len = crate::shape::len(KERNEL, &counts)?;
        let empty = Self { loops: Vec::new(), run: 0, start: 0, lens: [input_len, 0] };
        if output_len == 0 {
            return Ok(empty);
        }
        let reach = loops.iter().filter_map(|steps| steps.iter().max());
        let last = reach.fold(0_usize, |sum, &step| sum.saturating_add(step));
        if last >= input_len {
            return Err(Unsupported::new(KERNEL, format!("element {last} of {input_len}")));
        }
        let (mut start, mut run) = (0, 1);
        let mut kept: Vec<(Vec<usize>, usize)> = Vec::new();
        let mut covered = 1;
        for steps in loops.into_iter().rev() {
            let first = steps[0];
            let contiguous =
                kept.is_empty() && steps.iter().enumerate().all(|(index, &step)| step == first + index * run);
            let count = steps.len();
            if contiguous || count == 1 {
                start += first;
                if kept.is_empty() {
                    run *= count;
                }
            } else {
                kept.push((steps, covered));
            }
            covered *= count;
        }
        kept.reverse();
        Ok(Self { loops: kept, run, start, lens: [input_len, output_len] })
    }

    /// Elements of the input and of the output.
    #[must_use]
    pub fn lens(&self) -> [usize; 2] {
        self.lens
    }

    /// Copies the elements of `x` to their places in `y`.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn forward<T: Copy>(&self, x: &[T], y: &mut [T]) {
        assert_eq!([x.len(), y.len()], self.lens, "tensors have the planned shapes");
        if !y.is_empty() {
            self.copy(&self.loops, self.start, x, y);
        }
    }

    fn copy<T: Copy>(&self, loops: &[(Vec<usize>, usize)], from: usize, x: &[T], y: &mut [T]) {
        match loops {
            [] => y.copy_from_slice(&x[from..from + self.run]),
            [(steps, 1)] => y.iter_mut().zip(steps).for_each(|(y, &step)| *y = x[from + step]),
            [(steps, covered), inner @ ..] => {
                for (y, &step) in y.chunks_exact_mut(*covered).zip(steps) {
                    self.copy(inner, from + step, x, y);
                }
            }
        }
    }

    /// For each element of the output, the element of the input.
    #[must_use]
    pub fn indices(&self) -> Vec<usize> {
        let elements: Vec<_> = (0..self.lens[0]).collect();
        let mut indices = vec![0; self.lens[1]];
        self.forward(&elements, &mut indices);
        indices
    }
}

#[cfg(test)]
mod tests {
    use super::Rearrange;

    #[test]
    fn loops_nest_in_row_major_order() {
        // [2, 3] transposed, each row taken twice.
        let twice = Rearrange::new(vec![vec![0, 1, 2], vec![0, 0], vec![0, 3]], 6).unwrap();
        assert_eq!(twice.indices(), [0, 3, 0, 3, 1, 4, 1, 4, 2, 5, 2, 5]);
        // The middle of [2, 4], whose rows are no run.
        assert_eq!(Rearrange::new(vec![vec![0, 4], vec![1, 2]], 8).unwrap().indices(), [1, 2, 5, 6]);
        // Whole rows backwards.
        assert_eq!(Rearrange::new(vec![vec![2, 0], vec![0, 1]], 4).unwrap().indices(), [2, 3, 0, 1]);
        assert_eq!(Rearrange::new(vec![vec![5]], 6).unwrap().indices(), [5]);
        assert_eq!(Rearrange::new(vec![], 1).unwrap().indices(), [0]);
        assert!(Rearrange::new(vec![vec![], vec![7]], 2).unwrap().indices().is_empty());
        assert!(Rearrange::new(vec![vec![0, 4], vec![0, 4]], 8).is_err());
    }
}

//! NumPy broadcasting of two operands, planned once; shared by float and integer kernels.

use crate::Unsupported;
use crate::shape::{Dim, Walk, len, strides};
use std::ops::Range;

/// How two operands broadcast against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcast {
    shape: Vec<usize>,
    walk: Walk,
    lens: [usize; 3],
}

impl Broadcast {
    /// Plans operands of shapes `a` and `b`.
    ///
    /// # Errors
    /// Shapes that do not broadcast, or more than nine dimensions that cannot be merged.
    pub fn new(a: &[usize], b: &[usize]) -> Result<Self, Unsupported> {
        const KERNEL: &str = "broadcast";
        let rank = a.len().max(b.len());
        let extend = |shape: &[usize]| [vec![1; rank - shape.len()], shape.to_vec()].concat();
        let (long_a, long_b) = (extend(a), extend(b));
        let mut shape = Vec::with_capacity(rank);
        for (&a_size, &b_size) in long_a.iter().zip(&long_b) {
            shape.push(match (a_size, b_size) {
                (1, size) | (size, 1) => size,
                (a_size, b_size) if a_size == b_size => a_size,
                _ => return Err(Unsupported::new(KERNEL, format!("shapes {a:?} and {b:?} do not broadcast"))),
            });
        }
        let lens = [len(KERNEL, a)?, len(KERNEL, b)?, len(KERNEL, &shape)?];
        let step = |sizes: &[usize], strides: &[usize], axis: usize| if sizes[axis] == 1 { 0 } else { strides[axis] };
        let (a_strides, b_strides) = (strides(&long_a), strides(&long_b));
        let dims = (0..rank).map(|axis| Dim {
            size: shape[axis],
            a: step(&long_a, &a_strides, axis),
            b: step(&long_b, &b_strides, axis),
        });
        let walk = Walk::new(KERNEL, dims)?;
        Ok(Self { shape, walk, lens })
    }

    /// The shape of the result.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements of the first operand, of the second, and of the result.
    #[must_use]
    pub fn lens(&self) -> [usize; 3] {
        self.lens
    }

    /// Elements of one row, and the step (0 or 1) of each operand along it.
    #[must_use]
    pub fn inner(&self) -> (usize, usize, usize) {
        (self.walk.inner.size, self.walk.inner.a, self.walk.inner.b)
    }

    /// Rows of the result.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.walk.rows
    }

    /// Calls `visit(row, offset of a, offset of b)` for each of `rows` in order.
    pub fn for_rows(&self, rows: Range<usize>, visit: impl FnMut(usize, usize, usize)) {
        self.walk.for_rows(rows, visit);
    }
}

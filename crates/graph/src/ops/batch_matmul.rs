//! BATCH_MATMUL: matrices `[.., m, k]` times matrices `[.., k, n]`, the other sizes broadcast.

use super::{Inputs, OpSpec, broadcast_shapes, product};
use crate::Result;

/// Attributes of BATCH_MATMUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchMatmul {
    /// Whether the left matrices are stored transposed, `[.., k, m]`.
    pub adj_x: bool,
    /// Whether the right matrices are stored transposed, `[.., n, k]`.
    pub adj_y: bool,
    /// Whether a float left operand is quantized with a zero point when the right one is int8 (dynamic range).
    pub asymmetric_quantize_inputs: bool,
}

/// Sizes of the matrices of a BATCH_MATMUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchMatmulSizes {
    /// Sizes before those of the matrices, of the output.
    pub batch: Vec<usize>,
    /// Rows of the left matrices and of the output.
    pub m: usize,
    /// Columns of the left, rows of the right matrices.
    pub k: usize,
    /// Columns of the right matrices and of the output.
    pub n: usize,
}

impl BatchMatmul {
    /// The sizes from the shapes of the operands.
    ///
    /// # Errors
    /// [`Error::Malformed`](crate::Error::Malformed) when the operands do not fit each other.
    pub fn sizes(&self, left: &[usize], right: &[usize]) -> Result<BatchMatmulSizes> {
        let op = "BATCH_MATMUL";
        let misfit = || crate::Error::malformed(op, format!("operands of shapes {left:?} and {right:?}"));
        let ([outer_left @ .., a, b], [outer_right @ .., c, d]) = (left, right) else { return Err(misfit()) };
        let (m, k) = if self.adj_x { (*b, *a) } else { (*a, *b) };
        let (k_right, n) = if self.adj_y { (*d, *c) } else { (*c, *d) };
        if k != k_right {
            return Err(misfit());
        }
        let batch = broadcast_shapes(op, outer_left, outer_right).map_err(|_| misfit())?;
        Ok(BatchMatmulSizes { batch, m, k, n })
    }
}

impl OpSpec for BatchMatmul {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=2)?;
        let (left, right) = (inputs.get(0, "left operand")?, inputs.get(1, "right operand")?);
        let BatchMatmulSizes { mut batch, m, n, .. } = self.sizes(&left.shape, &right.shape)?;
        batch.extend([m, n]);
        Ok(vec![batch])
    }

    fn macs(&self, inputs: &Inputs<'_>, output: &[usize]) -> u64 {
        let shape = |index| inputs.optional(index).map_or(&[][..], |tensor| &tensor.shape);
        let depth = self.sizes(shape(0), shape(1)).map_or(0, |sizes| sizes.k);
        product(output).saturating_mul(depth as u64)
    }
}

#[cfg(test)]
mod tests {
    use crate::{DType, Op, Tensor, ops::BatchMatmul};

    #[test]
    fn batches_are_broadcast_and_matrices_transposed() {
        let infer = |op: BatchMatmul, left: &[usize], right: &[usize]| {
            let [left, right] = [left, right].map(|shape| Tensor::new("x", DType::F32, shape));
            Op::from(op).infer_shapes(&[Some(&left), Some(&right)])
        };
        let plain = BatchMatmul::default();
        assert_eq!(infer(plain, &[2, 1, 3, 4], &[5, 4, 6]).unwrap(), [[2, 5, 3, 6]]);
        let both = BatchMatmul { adj_x: true, adj_y: true, ..plain };
        assert_eq!(infer(both, &[4, 3], &[6, 4]).unwrap(), [[3, 6]]);
        assert!(infer(plain, &[3, 4], &[3, 4]).is_err());
        assert!(infer(plain, &[4], &[4, 4]).is_err());
        assert!(infer(plain, &[2, 3, 4], &[3, 4, 4]).is_err());
    }
}

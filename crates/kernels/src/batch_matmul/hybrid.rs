//! Dynamic-range BATCH_MATMUL: float left operand and output, int8 right operand.

use super::{BatchMatmulGeometry, Batches, transpose};
use crate::fully_connected::FullyConnectedGeometry;
use crate::fully_connected::hybrid::HybridFullyConnected;
use crate::hybrid::HybridSpec;
use crate::integer_conv::{scratch_bytes, typed_scratch};
use crate::{Context, Unsupported};

/// A planned dynamic-range BATCH_MATMUL: each matrix product is a FULLY_CONNECTED, the right matrix its weights.
#[derive(Debug, Clone)]
pub struct HybridBatchMatmul {
    batches: Batches,
    products: Vec<HybridFullyConnected>,
}

impl HybridBatchMatmul {
    /// Plans the products; the weights of `spec` are the right operand.
    ///
    /// # Errors
    /// A bad geometry, or sizes or scales that do not fit it.
    pub fn new(geometry: BatchMatmulGeometry, spec: &HybridSpec<'_>) -> Result<Self, Unsupported> {
        let batches = Batches::new(geometry)?;
        let BatchMatmulGeometry { m, k, n, right_transposed, .. } = batches.geometry;
        if spec.weights.len() != batches.lens()[1] {
            let reason = format!("{} elements of the right operand, not {}", spec.weights.len(), batches.lens()[1]);
            return Err(Unsupported::new(super::KERNEL, reason));
        }
        let dense = FullyConnectedGeometry { batch: m, in_features: k, out_features: n };
        let mut rows = vec![0; k * n];
        let product = |matrix: usize| {
            let matrix = &spec.weights[matrix * k * n..][..k * n];
            let weights = if right_transposed {
                matrix
            } else {
                transpose(matrix, n, &mut rows, |x| x);
                &rows
            };
            HybridFullyConnected::new(dense, &HybridSpec { weights, ..*spec })
        };
        let products = (0..batches.counts[1]).map(product).collect::<Result<_, _>>()?;
        Ok(Self { batches, products })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        self.left_bytes() + self.products.first().map_or(0, HybridFullyConnected::scratch_bytes)
    }

    fn left_bytes(&self) -> usize {
        let BatchMatmulGeometry { m, k, left_transposed, .. } = self.batches.geometry;
        if left_transposed { scratch_bytes::<f32>(m * k) } else { 0 }
    }

    /// Runs.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, left: &[f32], output: &mut [f32], scratch: &mut [u8]) {
        let BatchMatmulGeometry { m, k, n, left_transposed, .. } = self.batches.geometry;
        let [left_len, _, output_len] = self.batches.lens();
        assert_eq!([left.len(), output.len()], [left_len, output_len], "operand and result have the planned shapes");
        let (rows, scratch) = scratch.split_at_mut(self.left_bytes());
        self.batches.for_each(|a, b, c| {
            let left = &left[a * m * k..][..m * k];
            let output = &mut output[c * m * n..][..m * n];
            let product = &self.products[b];
            let scratch = &mut scratch[..product.scratch_bytes()];
            if left_transposed {
                let rows = &mut typed_scratch::<f32>(rows)[..m * k];
                transpose(left, m, rows, |x| x);
                product.run(ctx, rows, output, scratch);
            } else {
                product.run(ctx, left, output, scratch);
            }
        });
    }
}

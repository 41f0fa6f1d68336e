//! FULLY_CONNECTED: geometry shared by the float and the integer kernels. Weights are `out_features in_features`.

pub mod blockwise;
pub mod float;
pub mod hybrid;
pub mod quantized;
pub mod wide;

use crate::Unsupported;

/// Geometry of a FULLY_CONNECTED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FullyConnectedGeometry {
    /// Rows of the input and of the output.
    pub batch: usize,
    /// Elements of one input row.
    pub in_features: usize,
    /// Elements of one output row.
    pub out_features: usize,
}

impl FullyConnectedGeometry {
    /// Refuses a geometry that no kernel can run.
    ///
    /// # Errors
    /// A size that overflows.
    pub fn check(&self) -> Result<(), Unsupported> {
        let Self { batch, in_features, out_features } = *self;
        [(batch, in_features), (batch, out_features), (in_features, out_features)]
            .iter()
            .all(|&(a, b)| a.checked_mul(b).is_some())
            .then_some(())
            .ok_or_else(|| Unsupported::new("fully_connected", format!("sizes overflow: {self:?}")))
    }
}

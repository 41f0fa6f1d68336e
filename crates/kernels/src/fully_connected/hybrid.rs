//! Dynamic-range FULLY_CONNECTED: float in and out, int8 weights.

use super::FullyConnectedGeometry;
use crate::byte_conv::ByteConv;
use crate::byte_gemm::Activations;
use crate::conv_2d::hybrid::{hybrid_scratch_bytes, run_hybrid};
use crate::hybrid::{HybridSpec, HybridStage, Order, RowQuantizer};
use crate::integer_conv::{Bias, Weights};
use crate::{Context, Unsupported};

/// A planned dynamic-range FULLY_CONNECTED; each row of the input has its own scale and zero point.
///
/// Litert: XNNPACK's. Reference: symmetric or asymmetric inputs as the op says.
#[derive(Debug, Clone)]
pub struct HybridFullyConnected {
    conv: ByteConv,
    stage: HybridStage,
    quantizer: RowQuantizer,
}

impl HybridFullyConnected {
    /// Plans a layer; weights are `out_features in_features`.
    ///
    /// # Errors
    /// A bad geometry, or sizes or scales that do not fit it.
    pub fn new(geometry: FullyConnectedGeometry, spec: &HybridSpec<'_>) -> Result<Self, Unsupported> {
        geometry.check()?;
        let (quantizer, order) = if spec.takes_xnnpack() {
            (RowQuantizer::Xnnpack, Order::FusedWeight)
        } else if spec.asymmetric_inputs {
            (RowQuantizer::Asymmetric, Order::Product)
        } else {
            (RowQuantizer::Symmetric, Order::Product)
        };
        let stage = HybridStage::new("fully_connected", spec, geometry.out_features, order)?;
        let conv = ByteConv::new(
            geometry.as_conv_2d(),
            Weights::I8(spec.weights),
            0,
            Bias::None,
            Activations::of::<i8>(0),
            None,
        )?;
        Ok(Self { conv, stage, quantizer })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        hybrid_scratch_bytes(&self.conv)
    }

    /// Bytes of the packed weights.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        self.conv.packed_bytes()
    }

    /// Runs. `input` is `batch in_features`, `output` is `batch out_features`.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[f32], output: &mut [f32], scratch: &mut [u8]) {
        run_hybrid(&self.conv, &self.stage, self.quantizer, 1, ctx, input, output, scratch);
    }
}

//! Dynamic-range DEPTHWISE_CONV_2D: float in and out, int8 weights. LiteRT runs it in the builtin in both modes.

use super::DepthwiseConv2dGeometry;
use super::sums::DepthwiseSums;
use crate::hybrid::{HybridSpec, HybridStage, Order, RowParams, RowQuantizer};
use crate::integer_conv::{Weights, scratch_bytes, typed_scratch};
use crate::numerics::Numerics;
use crate::{Context, Unsupported};

/// Channels that LiteRT's optimized kernel finishes at once; the rest multiply in another order.
const VECTOR: usize = 4;

/// A planned dynamic-range DEPTHWISE_CONV_2D; each image has its own scale and zero point.
#[derive(Debug, Clone)]
pub struct HybridDepthwiseConv2d {
    sums: DepthwiseSums,
    stage: HybridStage,
    numerics: Numerics,
}

impl HybridDepthwiseConv2d {
    /// Plans a convolution.
    ///
    /// # Errors
    /// A bad geometry, or sizes or scales that do not fit it.
    pub fn new(geometry: DepthwiseConv2dGeometry, spec: &HybridSpec<'_>) -> Result<Self, Unsupported> {
        geometry.check()?;
        let order = match spec.numerics {
            Numerics::Litert => Order::WeightThenRow,
            Numerics::Reference => Order::Product,
        };
        let stage = HybridStage::new("depthwise_conv_2d", spec, geometry.out_channels(), order)?;
        let sums = DepthwiseSums::new(geometry, Weights::I8(spec.weights), 0)?;
        Ok(Self { sums, stage, numerics: spec.numerics })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        let geometry = self.sums.geometry();
        let params = scratch_bytes::<RowParams>(geometry.batch);
        params + geometry.input_len() + scratch_bytes::<i16>(self.sums.scratch_len())
    }

    /// Runs. `input` and `output` are NHWC.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[f32], output: &mut [f32], scratch: &mut [u8]) {
        let geometry = self.sums.geometry();
        assert_eq!(input.len(), geometry.input_len(), "input elements");
        if output.is_empty() {
            return;
        }
        let (params, scratch) = scratch.split_at_mut(scratch_bytes::<RowParams>(geometry.batch));
        let params = &mut typed_scratch::<RowParams>(params)[..geometry.batch];
        let (quantized, wide) = scratch.split_at_mut(geometry.input_len());
        let quantized: &mut [i8] = bytemuck::cast_slice_mut(quantized);
        RowQuantizer::Asymmetric.run(ctx, input.len() / geometry.batch, input, quantized, params);
        let (quantized, params) = (&*quantized, &*params);
        let pixels = geometry.height.output * geometry.width.output;
        let vectors = geometry.out_channels() / VECTOR * VECTOR;
        let store = |pixel: usize, channel: usize, sums: &[i32], out: &mut [f32]| {
            let row = params[pixel / pixels].scale;
            let whole = match self.numerics {
                Numerics::Litert => vectors.saturating_sub(channel).min(out.len()),
                Numerics::Reference => out.len(),
            };
            let (out, tail) = out.split_at_mut(whole);
            self.stage.store(ctx, row, &sums[..whole], channel, out);
            self.stage.store_as(ctx, Order::RowThenWeight, row, &sums[whole..], channel + whole, tail);
        };
        self.sums.run(ctx, quantized, output, typed_scratch(wide), |image| params[image].zero_point, store);
    }
}

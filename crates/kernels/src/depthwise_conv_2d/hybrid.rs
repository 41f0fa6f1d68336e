//! Dynamic-range DEPTHWISE_CONV_2D: float in and out, int8 weights. LiteRT runs it in the builtin in both modes.

use super::DepthwiseConv2dGeometry;
use super::bytes::{ByteDepthwise, Floats};
use crate::byte_gemm::Activations;
use crate::hybrid::{HybridSpec, HybridStage, Order, RowParams, RowQuantizer};
use crate::integer_conv::{Weights, scratch_bytes, typed_scratch};
use crate::numerics::Numerics;
use crate::{Context, Unsupported};

/// Channels that LiteRT's optimized kernel finishes at once; the rest multiply in another order.
const VECTOR: usize = 4;

/// A planned dynamic-range DEPTHWISE_CONV_2D; each image has its own scale and zero point.
#[derive(Debug, Clone)]
pub struct HybridDepthwiseConv2d {
    conv: ByteDepthwise,
    stage: HybridStage,
    numerics: Numerics,
    /// By slot: the weight scale and the bias.
    scales: Vec<f32>,
    bias: Vec<f32>,
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
        let channels = geometry.out_channels();
        let stage = HybridStage::new("depthwise_conv_2d", spec, channels, order)?;
        let conv = ByteDepthwise::new(
            geometry,
            Weights::I8(spec.weights),
            0,
            &vec![0; channels],
            Activations::of::<i8>(0),
            None,
        )?;
        let by_slot = |values: &[f32]| -> Vec<f32> {
            conv.channels().iter().map(|&channel| values.get(channel).copied().unwrap_or(0.0)).collect()
        };
        let (scales, bias) = (by_slot(stage.scales()), by_slot(stage.bias()));
        Ok(Self { conv, stage, numerics: spec.numerics, scales, bias })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        let geometry = self.conv.geometry();
        let images = scratch_bytes::<RowParams>(geometry.batch) + scratch_bytes::<i32>(self.factors_len());
        images + geometry.input_len() + self.conv.scratch_len()
    }

    /// 32-bit values that belong to the images: for each, start values of the sums and both factors.
    fn factors_len(&self) -> usize {
        self.conv.geometry().batch * 3 * self.conv.slots()
    }

    /// Runs. `input` and `output` are NHWC.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[f32], output: &mut [f32], scratch: &mut [u8]) {
        let geometry = self.conv.geometry();
        assert_eq!(input.len(), geometry.input_len(), "input elements");
        if output.is_empty() {
            return;
        }
        let (params, scratch) = scratch.split_at_mut(scratch_bytes::<RowParams>(geometry.batch));
        let params = &mut typed_scratch::<RowParams>(params)[..geometry.batch];
        let (factors, scratch) = scratch.split_at_mut(scratch_bytes::<i32>(self.factors_len()));
        let factors = &mut typed_scratch::<i32>(factors)[..self.factors_len()];
        let (quantized, padded) = scratch.split_at_mut(geometry.input_len());
        let quantized: &mut [i8] = bytemuck::cast_slice_mut(quantized);
        RowQuantizer::Asymmetric.run(ctx, input.len() / geometry.batch, input, quantized, params);
        let slots = self.conv.slots();
        for (factors, params) in factors.chunks_exact_mut(3 * slots).zip(&*params) {
            let (bias, factors) = factors.split_at_mut(slots);
            self.conv.bias(ctx.isa, params.zero_point, bias);
            let (first, second) = factors.split_at_mut(slots);
            self.factors(params.scale, bytemuck::cast_slice_mut(first), bytemuck::cast_slice_mut(second));
        }
        let (params, factors) = (&*params, &*factors);
        let [low, high] = self.stage.bounds();
        let floats = |image: usize| {
            let (bias, factors) = factors[image * 3 * slots..][..3 * slots].split_at(slots);
            let (first, second) = bytemuck::cast_slice(factors).split_at(slots);
            Floats { zero_point: params[image].zero_point, bias, first, second, add: &self.bias, low, high }
        };
        self.conv.run_floats(ctx, quantized, output, padded, floats);
    }

    /// What a sum of each slot is multiplied with, one after the other, in an image of the scale `row`.
    fn factors(&self, row: f32, first: &mut [f32], second: &mut [f32]) {
        if self.numerics == Numerics::Reference {
            first.iter_mut().zip(&self.scales).for_each(|(first, scale)| *first = scale * row);
            second.fill(1.0);
            return;
        }
        first.copy_from_slice(&self.scales);
        second.fill(row);
        let vectors = self.conv.geometry().out_channels() / VECTOR * VECTOR;
        if vectors < self.conv.geometry().out_channels() {
            for ((first, second), &channel) in first.iter_mut().zip(second).zip(self.conv.channels()) {
                if channel >= vectors {
                    std::mem::swap(first, second);
                }
            }
        }
    }
}

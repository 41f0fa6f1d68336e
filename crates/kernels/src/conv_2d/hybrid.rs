//! Dynamic-range CONV_2D: float in and out, int8 weights.

use super::{Conv2dGeometry, Window};
use crate::byte_conv::{ByteConv, SumBlock};
use crate::byte_gemm::Activations;
use crate::hybrid::{HybridStage, Order, RowParams, RowQuantizer};
use crate::integer_conv::{Bias, Weights, scratch_bytes, typed_scratch};
use crate::numerics::Numerics;
use crate::{Context, Unsupported};

pub use crate::hybrid::HybridSpec;

/// A planned dynamic-range CONV_2D; each image has its own scale and zero point (in Litert a 1x1
/// convolution of stride 1 has them for each pixel).
///
/// Litert: XNNPACK's. Reference: with one weight scale symmetric inputs, with one for each channel asymmetric ones.
#[derive(Debug, Clone)]
pub struct HybridConv2d {
    conv: ByteConv,
    stage: HybridStage,
    quantizer: RowQuantizer,
}

impl HybridConv2d {
    /// Plans a convolution.
    ///
    /// # Errors
    /// A bad geometry, or sizes or scales that do not fit it.
    pub fn new(geometry: Conv2dGeometry, spec: &HybridSpec<'_>) -> Result<Self, Unsupported> {
        geometry.check()?;
        let per_channel =
            geometry.groups != 1 || spec.weight_scales.iter().any(|&scale| scale != spec.weight_scales[0]);
        let (quantizer, order) = match spec.numerics {
            _ if spec.takes_xnnpack() => (RowQuantizer::Xnnpack, Order::FusedWeight),
            _ if !per_channel => (RowQuantizer::Symmetric, Order::Product),
            Numerics::Litert if geometry.groups == 1 => (RowQuantizer::Asymmetric, Order::Product),
            Numerics::Litert | Numerics::Reference => (RowQuantizer::Asymmetric, Order::WeightThenRow),
        };
        // XNNPACK makes a 1x1 convolution a FULLY_CONNECTED, which quantizes each pixel on its own.
        let unit = |window: &Window| (window.kernel, window.stride, window.input) == (1, 1, window.output);
        let pointwise = geometry.groups == 1 && unit(&geometry.height) && unit(&geometry.width);
        let wide_enough = geometry.in_channels + geometry.out_channels > 2;
        let geometry = if spec.takes_xnnpack() && pointwise && wide_enough {
            let batch = geometry.batch * geometry.height.input * geometry.width.input;
            let one = Window { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad_before: 0 };
            Conv2dGeometry { batch, height: one, width: one, ..geometry }
        } else {
            geometry
        };
        Self::with(geometry, spec, quantizer, order)
    }

    /// XNNPACK's arithmetic with one quantization for each image whatever the geometry, as its deconvolution has.
    pub(crate) fn whole_images(geometry: Conv2dGeometry, spec: &HybridSpec<'_>) -> Result<Self, Unsupported> {
        geometry.check()?;
        Self::with(geometry, spec, RowQuantizer::Xnnpack, Order::FusedWeight)
    }

    fn with(
        geometry: Conv2dGeometry,
        spec: &HybridSpec<'_>,
        quantizer: RowQuantizer,
        order: Order,
    ) -> Result<Self, Unsupported> {
        let stage = HybridStage::new("conv_2d", spec, geometry.out_channels, order)?;
        let conv = ByteConv::new(geometry, Weights::I8(spec.weights), 0, Bias::None, Activations::of::<i8>(0), None)?;
        Ok(Self { conv, stage, quantizer })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        hybrid_scratch_bytes(&self.conv)
    }

    /// Runs. `input` and `output` are NHWC.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[f32], output: &mut [f32], scratch: &mut [u8]) {
        let pixels = self.conv.geometry().height.output * self.conv.geometry().width.output;
        run_hybrid(&self.conv, &self.stage, self.quantizer, pixels, ctx, input, output, scratch);
    }
}

/// Pixels that are quantized, then multiplied, while they are in the first cache.
const PIXELS: usize = 64;

/// Bytes for the row parameters, the quantized input and its padded copies.
pub(crate) fn hybrid_scratch_bytes(conv: &ByteConv) -> usize {
    let geometry = conv.geometry();
    match pixels_of_tasks(conv, 1) {
        Some((pixels, tasks)) => tasks * pixels_scratch_bytes(geometry, pixels),
        None => scratch_bytes::<RowParams>(geometry.batch) + geometry.input_len() + conv.scratch_len(),
    }
}

/// Where each row is one pixel, which the task that multiplies it quantizes: pixels of a task, and the most tasks.
fn pixels_of_tasks(conv: &ByteConv, threads: usize) -> Option<(usize, usize)> {
    let Conv2dGeometry { height, width, .. } = conv.geometry();
    conv.pixels_per_task(threads).filter(|_| height.output * width.output == 1)
}

/// Bytes for [`PIXELS`] quantized pixels, or for the `pixels` of a task if they are fewer, and their parameters.
fn pixels_scratch_bytes(geometry: &Conv2dGeometry, pixels: usize) -> usize {
    let pixels = pixels.min(PIXELS);
    scratch_bytes::<RowParams>(pixels) + pixels * geometry.in_channels
}

/// The body shared with FULLY_CONNECTED; a row of the output has `pixels` pixels.
pub(crate) fn run_hybrid(
    conv: &ByteConv,
    stage: &HybridStage,
    quantizer: RowQuantizer,
    pixels: usize,
    ctx: Context<'_>,
    input: &[f32],
    output: &mut [f32],
    scratch: &mut [u8],
) {
    let geometry = conv.geometry();
    assert_eq!(input.len(), geometry.input_len(), "input elements");
    if output.is_empty() || geometry.batch == 0 {
        return;
    }
    if let Some((per_task, _)) = pixels_of_tasks(conv, ctx.pool.threads()) {
        run_pixels(conv, stage, quantizer, per_task, ctx, input, output, scratch);
        return;
    }
    let (params, scratch) = scratch.split_at_mut(scratch_bytes::<RowParams>(geometry.batch));
    let params = &mut typed_scratch::<RowParams>(params)[..geometry.batch];
    let (quantized, padded) = scratch.split_at_mut(geometry.input_len());
    let quantized: &mut [i8] = bytemuck::cast_slice_mut(quantized);
    quantizer.run(ctx, input.len() / geometry.batch, input, quantized, params);
    let (quantized, params) = (&*quantized, &*params);
    let store = |block: &SumBlock<'_>, output: &mut [f32], stride: usize| {
        stage.store(ctx, block, pixels, params, output, stride);
    };
    conv.run_sums(ctx, quantized, output, padded, |image| params[image].zero_point, store);
}

/// [`run_hybrid`] where each row is one pixel: one call of the pool for both steps, and the bytes stay with who made them.
fn run_pixels(
    conv: &ByteConv,
    stage: &HybridStage,
    quantizer: RowQuantizer,
    per_task: usize,
    ctx: Context<'_>,
    input: &[f32],
    output: &mut [f32],
    scratch: &mut [u8],
) {
    let geometry = conv.geometry();
    let Conv2dGeometry { in_channels, out_channels, .. } = *geometry;
    let (chunk, lent) = (per_task * out_channels, pixels_scratch_bytes(geometry, per_task));
    ctx.pool.chunks_mut_with_scratch(output, chunk, scratch, lent, |task, output, scratch| {
        let (params, quantized) = scratch.split_at_mut(scratch_bytes::<RowParams>(per_task.min(PIXELS)));
        let params = typed_scratch::<RowParams>(params);
        let input = input[task * per_task * in_channels..].chunks(PIXELS * in_channels);
        for (input, output) in input.zip(output.chunks_mut(PIXELS * out_channels)) {
            let rows = output.len() / out_channels;
            let (params, quantized) = (&mut params[..rows], &mut quantized[..rows * in_channels]);
            let input = &input[..quantized.len()];
            quantizer.rows(ctx, in_channels, input, bytemuck::cast_slice_mut(quantized), params);
            conv.run_pixels(ctx, quantized, output, |block, output, stride| {
                stage.store(ctx, block, 1, params, output, stride);
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fully_connected::FullyConnectedGeometry;
    use crate::fully_connected::hybrid::HybridFullyConnected;
    use crate::{Activation, Isa, Pool};

    /// More pixels than are quantized at a time, as tasks of any number of threads: each is what its row alone gives.
    #[test]
    fn pixels_are_rows_of_their_own() {
        let (pixels, in_features, out_features) = (203, 64, 72);
        let input: Vec<f32> =
            (0..pixels * in_features).map(|at| ((at * 97 % 389) as f32 - 150.0) * (1 + at / 50) as f32).collect();
        let weights: Vec<i8> = (0..out_features * in_features).map(|at| (at * 37 % 255) as u8 as i8).collect();
        let spec = HybridSpec {
            weights: &weights,
            weight_scales: &[0.01],
            bias: Some(&vec![0.5; out_features]),
            activation: Activation::None,
            asymmetric_inputs: true,
            numerics: Numerics::Litert,
            delegated: true,
        };
        let one = Window { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad_before: 0 };
        let width = Window { input: 29, output: 29, ..one };
        let height = Window { input: 7, output: 7, ..one };
        let geometry =
            Conv2dGeometry { batch: 1, height, width, in_channels: in_features, out_channels: out_features, groups: 1 };
        let conv = HybridConv2d::new(geometry, &spec).unwrap();
        let row =
            HybridFullyConnected::new(FullyConnectedGeometry { batch: 1, in_features, out_features }, &spec).unwrap();
        for isa in Isa::available() {
            let single = Pool::new(1);
            let mut want = vec![0.0; pixels * out_features];
            let mut scratch = vec![0; row.scratch_bytes()];
            for (x, y) in input.chunks(in_features).zip(want.chunks_mut(out_features)) {
                row.run(Context { pool: &single, isa }, x, y, &mut scratch);
            }
            for threads in [1, 2, 3, 8] {
                let (pool, mut y) = (Pool::new(threads), vec![f32::NAN; want.len()]);
                conv.run(Context { pool: &pool, isa }, &input, &mut y, &mut vec![0xff; conv.scratch_bytes()]);
                assert_eq!(y, want, "{isa}, {threads} threads");
            }
        }
    }
}

//! Dynamic-range TRANSPOSE_CONV: float in and out, int8 weights.

use super::{KERNEL, Phases, TransposeConvGeometry};
use crate::conv_2d::hybrid::{HybridConv2d, HybridSpec};
use crate::hybrid::{RowParams, RowQuantizer};
use crate::integer_conv::{channel_scales, scratch_bytes, typed_scratch};
use crate::{Context, Unsupported};

/// A planned dynamic-range TRANSPOSE_CONV; each image has its own scale and zero point.
///
/// Litert: XNNPACK's. Reference: LiteRT's reference kernel, which adds each product to the output as a float.
#[derive(Debug, Clone)]
pub struct HybridTransposeConv {
    method: Method,
}

#[derive(Debug, Clone)]
enum Method {
    Xnnpack { phases: Box<Phases<HybridConv2d>>, conv_bytes: usize },
    Reference(Taps),
}

impl HybridTransposeConv {
    /// Plans a transposed convolution.
    ///
    /// # Errors
    /// A bad geometry, or sizes or scales that do not fit it.
    pub fn new(geometry: TransposeConvGeometry, spec: &HybridSpec<'_>) -> Result<Self, Unsupported> {
        if spec.takes_xnnpack() {
            let phases = Phases::new(geometry, spec.weights, 0, |geometry, weights| {
                HybridConv2d::whole_images(geometry, &HybridSpec { weights, ..*spec })
            })?;
            let conv_bytes = phases.all().map(HybridConv2d::scratch_bytes).max().unwrap_or(0);
            return Ok(Self { method: Method::Xnnpack { phases: Box::new(phases), conv_bytes } });
        }
        Ok(Self { method: Method::Reference(Taps::new(geometry, spec)?) })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        match &self.method {
            Method::Xnnpack { phases, conv_bytes } => {
                scratch_bytes::<f32>(phases.part_len + phases.geometry.in_channels) + conv_bytes
            }
            Method::Reference(taps) => scratch_bytes::<RowParams>(taps.geometry.batch) + taps.geometry.input_len(),
        }
    }

    /// Runs. `input` and `output` are NHWC.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[f32], output: &mut [f32], scratch: &mut [u8]) {
        match &self.method {
            Method::Xnnpack { phases, .. } => {
                let own = phases.part_len + phases.geometry.in_channels;
                let (part, scratch) = scratch.split_at_mut(scratch_bytes::<f32>(own));
                let (part, pixel) = typed_scratch::<f32>(part)[..own].split_at_mut(phases.part_len);
                pixel.fill(0.0);
                phases.run(input, pixel, output, part, |conv, x, y| {
                    conv.run(ctx, x, y, &mut scratch[..conv.scratch_bytes()]);
                });
            }
            Method::Reference(taps) => taps.run(ctx, input, output, scratch),
        }
    }
}

/// LiteRT's loops (`reference/transpose_conv.h`, `HybridTransposeConv`): for each input pixel and each tap, each product
/// times weight scale times image scale is added to the output; bias and activation come last.
#[derive(Debug, Clone)]
struct Taps {
    geometry: TransposeConvGeometry,
    weights: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<f32>,
    low: f32,
    high: f32,
}

impl Taps {
    fn new(geometry: TransposeConvGeometry, spec: &HybridSpec<'_>) -> Result<Self, Unsupported> {
        geometry.check()?;
        crate::numerics::check_activation(KERNEL, spec.activation)?;
        let bias = spec.bias.map_or_else(|| vec![0.0; geometry.out_channels], <[f32]>::to_vec);
        if (spec.weights.len(), bias.len()) != (geometry.weights_len(), geometry.out_channels) {
            let reason = format!("{} weights and {} biases for {geometry:?}", spec.weights.len(), bias.len());
            return Err(Unsupported::new(KERNEL, reason));
        }
        let (low, high) = spec.activation.range();
        let scales = channel_scales(KERNEL, spec.weight_scales, geometry.out_channels)?;
        Ok(Self { geometry, weights: spec.weights.to_vec(), scales, bias, low: low as f32, high: high as f32 })
    }

    fn run(&self, ctx: Context<'_>, input: &[f32], output: &mut [f32], scratch: &mut [u8]) {
        let TransposeConvGeometry { batch, height, width, in_channels, out_channels } = self.geometry;
        assert_eq!(input.len(), self.geometry.input_len(), "input elements");
        assert_eq!(output.len(), self.geometry.output_len(), "output elements");
        if output.is_empty() || batch == 0 {
            return;
        }
        let (params, quantized) = scratch.split_at_mut(scratch_bytes::<RowParams>(batch));
        let params = &mut typed_scratch::<RowParams>(params)[..batch];
        let quantized: &mut [i8] = bytemuck::cast_slice_mut(&mut quantized[..input.len()]);
        RowQuantizer::Asymmetric.run(ctx, input.len() / batch, input, quantized, params);
        output.fill(0.0);
        for (image, &RowParams { scale, zero_point, .. }) in params.iter().enumerate() {
            for y in 0..height.output {
                for x in 0..width.output {
                    let pixel = ((image * height.output + y) * width.output + x) * in_channels;
                    let values = &quantized[pixel..pixel + in_channels];
                    for tap_y in height.taps(y) {
                        for tap_x in width.taps(x) {
                            let out_y = y * height.stride + tap_y - height.pad_before;
                            let out_x = x * width.stride + tap_x - width.pad_before;
                            let at = ((image * height.input + out_y) * width.input + out_x) * out_channels;
                            for (channel, out) in output[at..at + out_channels].iter_mut().enumerate() {
                                let tap = ((channel * height.kernel + tap_y) * width.kernel + tap_x) * in_channels;
                                let weights = &self.weights[tap..tap + in_channels];
                                for (&x, &w) in values.iter().zip(weights) {
                                    let product = (i32::from(x) - zero_point) * i32::from(w);
                                    *out += product as f32 * self.scales[channel] * scale;
                                }
                            }
                        }
                    }
                }
            }
        }
        for pixel in output.chunks_exact_mut(out_channels) {
            for (out, &bias) in pixel.iter_mut().zip(&self.bias) {
                *out = (*out + bias).max(self.low).min(self.high);
            }
        }
    }
}

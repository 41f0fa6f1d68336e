//! The sums of the integer depthwise convolutions, shared by the quantized and the dynamic-range form.

use super::DepthwiseConv2dGeometry;
use crate::dispatch::multiversion;
use crate::integer_conv::{Images, Weights, padded, split};
use crate::numerics::Quantized;
use crate::{Context, Unsupported};

/// Output channels summed at once, on the stack.
const BLOCK: usize = 64;
/// Taps whose i16 x i8 products a 32-bit sum holds.
const TAPS_MAX: usize = 511;

/// Sums of products of a depthwise convolution, planned.
#[derive(Debug, Clone)]
pub(crate) struct DepthwiseSums {
    geometry: DepthwiseConv2dGeometry,
    /// `tap channel`, zero point subtracted.
    weights: Vec<i16>,
    /// Where each tap is, relative to the first.
    taps: Vec<usize>,
}

impl DepthwiseSums {
    /// Plans `geometry`, which has been checked.
    pub(crate) fn new(
        geometry: DepthwiseConv2dGeometry,
        weights: Weights<'_>,
        weight_zero_point: i32,
    ) -> Result<Self, Unsupported> {
        const KERNEL: &str = "depthwise_conv_2d";
        if weights.len() != geometry.weights_len() {
            let reason = format!("{} weights, expected {} for {geometry:?}", weights.len(), geometry.weights_len());
            return Err(Unsupported::new(KERNEL, reason));
        }
        let DepthwiseConv2dGeometry { height, width, in_channels, .. } = geometry;
        if height.kernel.saturating_mul(width.kernel) > TAPS_MAX {
            let reason = format!("a {}x{} window, at most {TAPS_MAX} taps", height.kernel, width.kernel);
            return Err(Unsupported::new(KERNEL, reason));
        }
        let weights = (0..weights.len()).map(|at| (weights.at(at) - weight_zero_point) as i16).collect();
        let mut taps = Vec::with_capacity(height.kernel * width.kernel);
        for y in 0..height.kernel {
            for x in 0..width.kernel {
                taps.push((y * height.dilation * padded(&width) + x * width.dilation) * in_channels);
            }
        }
        Ok(Self { geometry, weights, taps })
    }

    fn images(&self) -> Images {
        let DepthwiseConv2dGeometry { batch, height, width, in_channels, .. } = self.geometry;
        Images { batch, height, width, channels: in_channels }
    }

    /// i16 elements of scratch that a run needs.
    pub(crate) fn scratch_len(&self) -> usize {
        self.images().scratch_len()
    }

    /// Computes all sums; `store(pixel, channel, sums, out)` turns those of the channels from `channel` on into `out`.
    /// Pixels count over the whole batch.
    pub(crate) fn run<T: Quantized, O: Send>(
        &self,
        ctx: Context<'_>,
        input: &[T],
        output: &mut [O],
        scratch: &mut [i16],
        zero_point: impl Fn(usize) -> i32 + Sync,
        store: impl Fn(usize, usize, &[i32], &mut [O]) + Sync,
    ) {
        let DepthwiseConv2dGeometry { batch, height, width, in_channels, multiplier } = self.geometry;
        assert_eq!(input.len(), self.geometry.input_len(), "input elements");
        assert_eq!(output.len(), self.geometry.output_len(), "output elements");
        if output.is_empty() {
            return;
        }
        let images = self.images();
        let image_in = height.input * width.input * in_channels;
        let (pixels, channels) = (height.output * width.output, in_channels * multiplier);
        let pixels_per_task = (4096 / channels).max(1);
        for first in (0..batch).step_by(images.group()) {
            let group = images.group().min(batch - first);
            let input = &input[first * image_in..(first + group) * image_in];
            let wide = &mut scratch[..group * images.image_len() + crate::integer_gemm::SLACK];
            images.widen(ctx.pool, input, wide, &|image| zero_point(first + image));
            let wide = &*wide;
            let first_pixel = first * pixels;
            let output = &mut output[first_pixel * channels..(first_pixel + group * pixels) * channels];
            split(ctx.pool, output, pixels_per_task * channels, |task, output| {
                for (at, output) in output.chunks_exact_mut(channels).enumerate() {
                    let pixel = task * pixels_per_task + at;
                    let origin = images.origin(pixel);
                    for (block, output) in output.chunks_mut(BLOCK).enumerate() {
                        let channel = block * BLOCK;
                        let mut sums = [0; BLOCK];
                        let sums = &mut sums[..output.len()];
                        if multiplier == 1 {
                            let weights = &self.weights[channel..];
                            add_taps(ctx.isa, &wide[origin + channel..], &self.taps, weights, channels, sums);
                        } else {
                            self.add_taps_spread(&wide[origin..], channel, sums);
                        }
                        store(first_pixel + pixel, channel, sums, output);
                    }
                }
            });
        }
    }

    /// Several output channels for each input channel.
    fn add_taps_spread(&self, wide: &[i16], channel: usize, sums: &mut [i32]) {
        let (channels, multiplier) = (self.geometry.out_channels(), self.geometry.multiplier);
        for (&tap, weights) in self.taps.iter().zip(self.weights.chunks_exact(channels)) {
            for (at, (sum, &weight)) in sums.iter_mut().zip(&weights[channel..]).enumerate() {
                *sum += i32::from(wide[tap + (channel + at) / multiplier]) * i32::from(weight);
            }
        }
    }
}

multiversion! {
    to avx2;
    /// `sums += wide[tap..] * weights[tap * stride..]` for all taps.
    fn add_taps<>(wide: &[i16], taps: &[usize], weights: &[i16], stride: usize, sums: &mut [i32]) {
        /// Channels whose sums stay in registers over all taps.
        const LANES: usize = 16;
        let whole = sums.len() / LANES * LANES;
        for (at, sums) in sums[..whole].chunks_exact_mut(LANES).enumerate() {
            let mut lanes = [0i32; LANES];
            for (tap, &offset) in taps.iter().enumerate() {
                let values = &wide[offset + at * LANES..][..LANES];
                let weights = &weights[tap * stride + at * LANES..][..LANES];
                for ((lane, &value), &weight) in lanes.iter_mut().zip(values).zip(weights) {
                    *lane += i32::from(value) * i32::from(weight);
                }
            }
            for (sum, lane) in sums.iter_mut().zip(lanes) {
                *sum += lane;
            }
        }
        for (tap, &offset) in taps.iter().enumerate() {
            let (values, weights) = (&wide[offset + whole..], &weights[tap * stride + whole..]);
            for ((sum, &value), &weight) in sums[whole..].iter_mut().zip(values).zip(weights) {
                *sum += i32::from(value) * i32::from(weight);
            }
        }
    }
}

//! Float TRANSPOSE_CONV.

use super::{Phases, TransposeConvGeometry};
use crate::conv_2d::float::Conv2d;
use crate::conv_2d::{Conv2dGeometry, Window};
use crate::dispatch::multiversion;
use crate::{Activation, Context, Isa, Unsupported};

/// A planned float TRANSPOSE_CONV with its weights.
#[derive(Debug, Clone)]
pub struct TransposeConv {
    method: Method,
    geometry: TransposeConvGeometry,
    /// Elements of scratch for the outputs of a convolution, and for the convolution itself.
    part_len: usize,
    conv_len: usize,
}

#[derive(Debug, Clone)]
enum Method {
    Phases(Box<Phases<(Conv2d, Vec<f32>)>>),
    /// Where taps of neighbouring inputs do not overlap, all outputs of an input are channels of one 1x1 convolution.
    Blocks(Box<Conv2d>, Vec<f32>),
}

impl TransposeConv {
    /// Plans `geometry` on `isa` for pools of at most `threads`, and packs the weights (`out_channels height width
    /// in_channels`).
    ///
    /// # Errors
    /// A bad geometry, or weights that do not fit it.
    pub fn new(
        geometry: TransposeConvGeometry,
        weights: &[f32],
        isa: Isa,
        threads: usize,
    ) -> Result<Self, Unsupported> {
        let plan = |geometry: Conv2dGeometry, weights: &[f32]| {
            let conv = Conv2d::new(geometry, isa)?;
            let mut packed = Vec::new();
            conv.pack(weights, &mut packed);
            Ok((conv, packed))
        };
        if is_blocks(&geometry) && geometry.check().is_ok() && weights.len() == geometry.weights_len() {
            let TransposeConvGeometry { batch, height, width, in_channels, out_channels } = geometry;
            let taps = height.kernel * width.kernel;
            // From `channel tap` to `tap channel`.
            let rows = (0..taps * out_channels).map(|row| row % out_channels * taps + row / out_channels);
            let weights: Vec<f32> =
                rows.flat_map(|row| &weights[row * in_channels..(row + 1) * in_channels]).copied().collect();
            let one = |window: Window| Window { input: window.output, kernel: 1, stride: 1, ..window };
            let (height, width, out_channels) = (one(height), one(width), taps * out_channels);
            let conv = Conv2dGeometry { batch, height, width, in_channels, out_channels, groups: 1 };
            let (conv, packed) = plan(conv, &weights)?;
            let conv_len = conv.forward_scratch_len(threads);
            let part_len = geometry.output_len() + out_channels;
            return Ok(Self { method: Method::Blocks(Box::new(conv), packed), geometry, part_len, conv_len });
        }
        let phases = Phases::new(geometry, weights, 0.0, plan)?;
        let conv_len = phases.all().map(|(conv, _)| conv.forward_scratch_len(threads)).max().unwrap_or(0);
        let part_len = phases.part_len + geometry.in_channels;
        Ok(Self { method: Method::Phases(Box::new(phases)), geometry, part_len, conv_len })
    }

    /// Elements of scratch that [`Self::run`] needs.
    #[must_use]
    pub fn scratch_len(&self) -> usize {
        self.part_len + self.conv_len
    }

    /// Runs. `input` and `output` are NHWC.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(
        &self,
        ctx: Context<'_>,
        bias: Option<&[f32]>,
        activation: Activation,
        input: &[f32],
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (part, scratch) = scratch.split_at_mut(self.part_len);
        match &self.method {
            Method::Phases(phases) => {
                let (part, pixel) = part.split_at_mut(phases.part_len);
                pixel.fill(0.0);
                phases.run(input, pixel, output, part, |(conv, packed), x, y| {
                    conv.forward(ctx.pool, packed, bias, activation, x, y, scratch);
                });
            }
            Method::Blocks(conv, packed) => {
                let TransposeConvGeometry { height, width, out_channels, .. } = self.geometry;
                assert_eq!(input.len(), self.geometry.input_len(), "input elements");
                assert_eq!(output.len(), self.geometry.output_len(), "output elements");
                if output.is_empty() {
                    return;
                }
                let (part, biases) = part.split_at_mut(output.len());
                if let Some(bias) = bias {
                    biases.chunks_exact_mut(out_channels).for_each(|to| to.copy_from_slice(bias));
                }
                let biases = bias.map(|_| &*biases);
                conv.forward(ctx.pool, packed, biases, activation, input, part, scratch);
                let (run, part) = (width.kernel * out_channels, &*part);
                let rows = height.kernel * width.input * out_channels;
                ctx.pool.chunks_mut(output, rows, |row, output| {
                    spread(ctx.isa, run, height.kernel, &part[row * rows..][..rows], output);
                });
            }
        }
    }
}

/// Whether each output meets one tap of one input.
fn is_blocks(geometry: &TransposeConvGeometry) -> bool {
    let whole =
        |w: &Window| w.kernel == w.stride && w.pad_before == 0 && w.output.checked_mul(w.stride) == Some(w.input);
    whole(&geometry.height) && whole(&geometry.width) && geometry.out_channels > 0
}

multiversion! {
    to avx2;
    /// A row of blocks of `height` runs each becomes `height` rows of runs.
    fn spread<>(run: usize, height: usize, blocks: &[f32], rows: &mut [f32]) {
        let row_len = rows.len() / height;
        for (y, row) in rows.chunks_exact_mut(row_len).enumerate() {
            let blocks = blocks.chunks_exact(height * run).map(|block| &block[y * run..][..run]);
            match run {
                1 => row.iter_mut().zip(blocks).for_each(|(to, from)| *to = from[0]),
                2 => row.as_chunks_mut::<2>().0.iter_mut().zip(blocks).for_each(|(to, from)| *to = [from[0], from[1]]),
                _ => row.chunks_exact_mut(run).zip(blocks).for_each(|(to, from)| to.copy_from_slice(from)),
            }
        }
    }
}

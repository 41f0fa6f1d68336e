//! Float TRANSPOSE_CONV.

use super::{Phases, TransposeConvGeometry};
use crate::conv_2d::float::Conv2d;
use crate::{Activation, Context, Isa, Unsupported};

/// A planned float TRANSPOSE_CONV with its weights.
#[derive(Debug, Clone)]
pub struct TransposeConv {
    phases: Phases<(Conv2d, Vec<f32>)>,
    scratch_len: usize,
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
        let phases = Phases::new(geometry, weights, 0.0, |geometry, weights| {
            let conv = Conv2d::new(geometry, isa)?;
            let mut packed = Vec::new();
            conv.pack(weights, &mut packed);
            Ok((conv, packed))
        })?;
        let scratch_len = phases.all().map(|(conv, _)| conv.forward_scratch_len(threads)).max().unwrap_or(0);
        Ok(Self { phases, scratch_len })
    }

    /// Elements of scratch that [`Self::run`] needs.
    #[must_use]
    pub fn scratch_len(&self) -> usize {
        self.phases.part_len + self.scratch_len + self.phases.geometry.in_channels
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
        let (part, scratch) = scratch.split_at_mut(self.phases.part_len);
        let (scratch, pixel) = scratch.split_at_mut(self.scratch_len);
        pixel.fill(0.0);
        let pixel = &pixel[..self.phases.geometry.in_channels];
        self.phases.run(input, pixel, output, part, |(conv, packed), x, y| {
            conv.forward(ctx.pool, packed, bias, activation, x, y, scratch);
        });
    }
}

//! FAKE_QUANTIZE_WEIGHTS (training only): weights; then, all optional, a bias, the range `[2]` and step `[1]` of the
//! activations that the weights meet (see FAKE_QUANTIZE), and steps of the weights: `[1]`, or one for each channel. The
//! results are the weights, and the bias when there is one, on their integer grids, still in float32. Dropped when
//! quantized on export.

use super::fake_quantize::check_range;
use super::{Inputs, OpSpec, Parameter};
use crate::Result;

/// Attributes of fake quantization of constants. Without steps, scales follow the largest weights; with them, they are e
/// to the power of the steps, which learn (Esser et al., "Learned Step Size Quantization", 2020).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FakeQuantizeWeights {
    /// Bits of a weight, 2 to 8; one value of two's complement is not used, so that the grid is symmetric.
    pub bits: u8,
    /// The axis of the channels, each with a scale of its own; `None`: one scale for all.
    pub axis: Option<usize>,
    /// Whether the constant is an operand like an activation, with a zero point, rather than weights.
    pub operand: bool,
}

impl FakeQuantizeWeights {
    /// The largest step of a weight: 127 for 8 bits, 7 for 4.
    #[must_use]
    pub fn limit(&self) -> f32 {
        f32::from((1_u16 << (self.bits.clamp(2, 8) - 1)) - 1)
    }
}

impl OpSpec for FakeQuantizeWeights {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(1..=5)?;
        if !(2..=8).contains(&self.bits) {
            return Err(inputs.malformed(format!("got {} bits, expected 2 to 8", self.bits)));
        }
        let weights = inputs.get(0, "weights")?;
        let channels = match self.axis {
            None => 1,
            Some(axis) => *weights
                .shape
                .get(axis)
                .ok_or_else(|| inputs.malformed(format!("axis {axis} of weights of shape {:?}", weights.shape)))?,
        };
        if let Some(steps) = inputs.optional(4)
            && steps.shape != [channels]
        {
            return Err(inputs.malformed(format!("the steps have shape {:?}, expected [{channels}]", steps.shape)));
        }
        if inputs.optional(2).is_some() {
            check_range(inputs, 2, 3)?;
        }
        let bias = inputs.optional(1).map(|bias| bias.shape.clone());
        Ok(std::iter::once(weights.shape.clone()).chain(bias).collect())
    }

    fn parameter(&self, index: usize) -> Parameter {
        if index == 2 { Parameter::Moving } else { Parameter::Trainable }
    }
}

//! Weight-only quantization: integer weights with a DEQUANTIZE behind them, arithmetic in float32 (Krishnamoorthi, "Quantizing deep
//! convolutional networks for efficient inference: A whitepaper", 2018, "weight only quantization"), in the form of TensorFlow Lite's
//! 8-bit quantization specification.

use litesmith_graph::{Graph, Result};

use super::{Decision, QuantizeOptions, Scheme, rules::Choice, weights};
use crate::{Edit, Form};

/// Under this many elements, the DEQUANTIZE, its tensor and the scales take more room in the file than the integers save.
pub(super) const MIN_ELEMENTS: usize = 128;

/// Decides which weights become integers: those of convolutions and FULLY_CONNECTED of at least `min_elements`.
pub(super) fn decide(
    graph: &Graph,
    options: &QuantizeOptions,
    choices: &[Choice],
    decision: &mut Decision,
) -> Result<()> {
    for node in weights::to_integers(graph, options, choices, Scheme::WeightOnly, decision)? {
        decision.edits.push(Edit::Read { node, input: 1, form: Form::F32 });
    }
    Ok(())
}

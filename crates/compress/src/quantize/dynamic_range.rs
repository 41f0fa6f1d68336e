//! Dynamic range quantization: weights as integers, activations in float32. LiteRT's kernels quantize each row of an input
//! by its own range when they run.
//!
//! No paper: TensorFlow Lite's dynamic range quantization ("Post-training dynamic range quantization" of its guide), which its hybrid
//! kernels define. The weights are those of Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference: A
//! whitepaper", 2018: symmetric, with a scale for each channel.

use litesmith_graph::{Graph, Op, Result, ops::FullyConnected};

use super::{Decision, QuantizeOptions, Scheme, rules::Choice, weights};
use crate::Edit;

/// TensorFlow's converter leaves smaller weights in float32, too.
pub(super) const MIN_ELEMENTS: usize = 1024;

/// Decides which weights become integers: those of convolutions and FULLY_CONNECTED of at least `min_elements`.
pub(super) fn decide(
    graph: &Graph,
    options: &QuantizeOptions,
    choices: &[Choice],
    decision: &mut Decision,
) -> Result<()> {
    for node in weights::to_integers(graph, options, choices, Scheme::DynamicRange, decision)? {
        if let Op::FullyConnected(attributes) = &graph.nodes[node].op {
            let op = FullyConnected { asymmetric_quantize_inputs: true, ..attributes.clone() };
            decision.edits.push(Edit::Op { node, op: op.into() });
        }
    }
    Ok(())
}

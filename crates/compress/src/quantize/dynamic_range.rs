//! Dynamic range quantization: weights as integers, activations in float32. LiteRT's kernels quantize each row of an input
//! by its own range when they run.

use litesmith_graph::{Graph, Op, Result, ops::FullyConnected};

use super::{Decision, QuantizeOptions, Scheme, TensorReport, constant_weights, rules::Choice, weights};
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
    for (node, choice) in choices.iter().enumerate().filter(|(_, choice)| choice.scheme == Scheme::DynamicRange) {
        let Some((id, _)) = constant_weights(graph, node) else { continue };
        if graph.tensor(id).elements()? < options.min_elements(choice) {
            continue;
        }
        let encoded = weights::encode(graph, node, choice, &options.rounded, |_| {});
        let (constant, _) = encoded.map_err(|error| error.at(graph.place(node)))?;
        decision.report.tensors.push(TensorReport::of_constant(&constant));
        decision.edits.push(Edit::Constant { node, input: 1, constant });
        if let Op::FullyConnected(attributes) = &graph.nodes[node].op {
            let op = FullyConnected { asymmetric_quantize_inputs: true, ..attributes.clone() };
            decision.edits.push(Edit::Op { node, op: op.into() });
        }
    }
    Ok(())
}

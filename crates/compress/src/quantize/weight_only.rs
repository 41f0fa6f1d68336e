//! Weight-only quantization: integer weights with a DEQUANTIZE behind them, arithmetic in float32.

use litesmith_graph::{Graph, Result};

use super::{Decision, QuantizeOptions, Scheme, TensorReport, constant_weights, rules::Choice, weights};
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
    for (node, choice) in choices.iter().enumerate().filter(|(_, choice)| choice.scheme == Scheme::WeightOnly) {
        let Some((id, _)) = constant_weights(graph, node) else { continue };
        if graph.tensor(id).elements()? < options.min_elements(choice) {
            continue;
        }
        let encoded = weights::encode(graph, node, choice, &options.rounded, |_| {});
        let (constant, _) = encoded.map_err(|error| error.at(graph.place(node)))?;
        let report = TensorReport::of_constant(&constant);
        if !decision.report.tensors.contains(&report) {
            decision.report.tensors.push(report);
        }
        decision.edits.push(Edit::Constant { node, input: 1, constant });
        decision.edits.push(Edit::Read { node, input: 1, form: Form::F32 });
    }
    Ok(())
}

//! Float16 weights: constants are stored in half precision, a DEQUANTIZE before each use makes them float32.
//!
//! No paper: TensorFlow Lite's float16 quantization ("Post-training float16 quantization" of its guide), with the binary16 of IEEE
//! 754-2008, rounded to nearest even.

use half::f16;
use litesmith_graph::{DType, Data, Result, Tensor, TensorId};

use super::{Decision, QuantizeOptions, Scheme, TensorReport, params, rules::Choice};
use crate::{Edit, Form};

/// Under this many elements, the DEQUANTIZE and its tensor take more room in the file than half precision saves.
pub(super) const MIN_ELEMENTS: usize = 64;

/// Decides which constants become float16: every float32 one of at least `min_elements` whose elements fit.
pub(super) fn decide(
    graph: &litesmith_graph::Graph,
    options: &QuantizeOptions,
    choices: &[Choice],
    decision: &mut Decision,
) -> Result<()> {
    let mut encoded: Vec<Option<Option<Tensor>>> = vec![None; graph.tensors.len()];
    for (node, choice) in choices.iter().enumerate().filter(|(_, choice)| choice.scheme == Scheme::Float16) {
        for (input, id) in graph.nodes[node].inputs.iter().enumerate() {
            let Some(TensorId(id)) = *id else { continue };
            let tensor = &graph.tensors[id];
            if tensor.dtype != DType::F32 || tensor.data.is_none() || tensor.elements()? < options.min_elements(choice)
            {
                continue;
            }
            if encoded[id].is_none() {
                encoded[id] = Some(encode(tensor, decision)?);
            }
            if let Some(Some(constant)) = &encoded[id] {
                decision.edits.push(Edit::Constant { node, input, constant: constant.clone() });
                decision.edits.push(Edit::Read { node, input, form: Form::F32 });
            }
        }
    }
    Ok(())
}

/// The tensor in float16, rounded to nearest even; `None`, with a warning, when an element is too large for it.
fn encode(tensor: &Tensor, decision: &mut Decision) -> Result<Option<Tensor>> {
    let values = params::finite_elements(tensor)?;
    let halves: Vec<_> = values.iter().map(|&value| f16::from_f32(value)).collect();
    if let Some(index) = halves.iter().position(|half| half.is_infinite()) {
        decision.report.warnings.push(format!(
            "\"{}\" stays float32: element {index} is {}, float16 ends at 65504",
            tensor.name, values[index]
        ));
        return Ok(None);
    }
    let constant = Tensor { dtype: DType::F16, data: Some(Data::from_slice(&halves)), ..tensor.clone() };
    decision.report.tensors.push(TensorReport::of_constant(&constant));
    Ok(Some(constant))
}

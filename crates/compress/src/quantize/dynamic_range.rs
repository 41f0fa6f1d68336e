//! Dynamic range quantization: weights in int8, activations in float32. LiteRT's kernels quantize each row of an input
//! by its own range when they run.

use litesmith_graph::{Graph, Op, Result, ops::FullyConnected};

use super::{Decision, QuantizeOptions, TensorReport, constant_weights, params, scale_axis};
use crate::Edit;

/// TensorFlow's converter leaves smaller weights in float32, too.
pub(super) const MIN_ELEMENTS: usize = 1024;

/// Decides which weights become int8: those of convolutions and FULLY_CONNECTED of at least `min_elements`.
pub(super) fn decide(graph: &Graph, options: &QuantizeOptions) -> Result<Decision> {
    let mut decision = Decision::default();
    for (index, node) in graph.nodes.iter().enumerate() {
        let Some((id, axis)) = constant_weights(graph, index) else { continue };
        let tensor = graph.tensor(id);
        if tensor.elements()? < options.min_elements {
            continue;
        }
        let values = params::finite_elements(tensor)?;
        let axis = scale_axis(&node.op, axis, options);
        let scales = params::weight_scales(values, params::Channels::new(&tensor.shape, axis), 127.0);
        let constant = params::int8_weights(tensor, values, scales, axis);
        decision.report.tensors.push(TensorReport::of_constant(&constant));
        decision.edits.push(Edit::Constant { node: index, input: 1, constant });
        if let Op::FullyConnected(attributes) = &node.op {
            let op = FullyConnected { asymmetric_quantize_inputs: true, ..attributes.clone() };
            decision.edits.push(Edit::Op { node: index, op: op.into() });
        }
    }
    Ok(decision)
}

//! Telling a quantized model from one that can still be changed.

use litesmith_graph::ops::QuantizationRule;
use litesmith_graph::{DType, Error, Graph, Op, Result};

/// Checks that the weights of every layer are float32, as what changes weights needs them.
///
/// # Errors
/// [`Error::Invalid`] for a model that is quantized already, with the first layer and what its weights are.
pub fn check_float_weights(graph: &Graph) -> Result<()> {
    for (index, node) in graph.nodes.iter().enumerate() {
        let (QuantizationRule::Weights { .. }, Some(&Some(mut id))) = (node.op.quantization().rule, node.inputs.get(1))
        else {
            continue;
        };
        let producer = graph.producer(id).map(|producer| &graph.nodes[producer]);
        let dequantized = producer.filter(|producer| matches!(producer.op, Op::Dequantize(_)));
        if let Some(Some(stored)) = dequantized.and_then(|producer| producer.inputs.first()) {
            id = *stored;
        }
        let tensor = graph.tensor(id);
        let data = node.inputs.iter().flatten().map(|&id| graph.tensor(id)).find(|tensor| tensor.data.is_none());
        let form = match (tensor.dtype, data.map(|data| data.dtype)) {
            (DType::F32 | DType::F64, _) => continue,
            (DType::F16, _) => "float16",
            _ if dequantized.is_some() => "weight-only",
            (_, Some(DType::F32)) => "dynamic range",
            _ => "integers throughout",
        };
        let message =
            format!("the model is quantized already ({form}): its weights \"{}\" are {}", tensor.name, tensor.dtype);
        return Err(Error::invalid(graph.place(index), message)
            .with_hint("give the float32 model that it was made from: weights are changed before quantizing"));
    }
    Ok(())
}

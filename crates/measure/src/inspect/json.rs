//! An inspection as JSON.

use litesmith_graph::{ColorSpace, Metadata, Signature, TensorMetadata};
use litesmith_tflite::{
    Attribute, AttributeValue, InspectedGraph, InspectedOp, InspectedQuantization, InspectedTensor, Inspection,
};
use serde_json::{Map, Value, json};

use super::{constant_bytes, operators};

/// Everything that the file holds, but weights: names, shapes, types, quantization, attributes, metadata.
#[must_use]
pub fn inspection_json(found: &Inspection) -> Value {
    let operators = operators(found).into_iter().map(|row| {
        json!({
            "op": row.code.name, "code": row.code.code, "custom": row.code.is_custom, "version": row.code.version,
            "count": row.count, "macs": row.macs, "constant_bytes": row.constant_bytes,
            "implemented": row.code.refusal.is_none(), "refusal": row.code.refusal,
        })
    });
    let named_bytes = |list: &[(String, usize)]| {
        list.iter().map(|(name, bytes)| json!({ "name": name, "bytes": bytes })).collect::<Vec<_>>()
    };
    json!({
        "file_bytes": found.file_bytes,
        "gzip_bytes": found.packed.gzip,
        "zstd_bytes": found.packed.zstd,
        "schema_version": found.schema_version,
        "description": found.description,
        "min_runtime_version": found.min_runtime_version,
        "constant_bytes": constant_bytes(found),
        "operators": operators.collect::<Vec<_>>(),
        "subgraphs": found.subgraphs.iter().map(|graph| subgraph(found, graph)).collect::<Vec<_>>(),
        "signatures": found.signatures.iter().map(signature).collect::<Vec<_>>(),
        "metadata": metadata(&found.metadata),
        "metadata_entries": named_bytes(&found.metadata_entries),
        "associated_files": named_bytes(&found.associated_files),
        "buffers": found.buffer_bytes.len(),
        "warnings": found.warnings,
    })
}

fn subgraph(found: &Inspection, graph: &InspectedGraph) -> Value {
    let tensors = graph.tensors.iter().enumerate().map(|(index, t)| tensor(index, t));
    let ops = graph.ops.iter().enumerate().map(|(index, op)| self::op(found, graph, index, op));
    json!({
        "name": graph.name, "inputs": graph.inputs, "outputs": graph.outputs,
        "tensors": tensors.collect::<Vec<_>>(), "ops": ops.collect::<Vec<_>>(),
    })
}

fn tensor(index: usize, tensor: &InspectedTensor) -> Value {
    json!({
        "index": index, "name": tensor.name, "dtype": tensor.dtype, "shape": tensor.shape,
        "inferred": tensor.is_inferred, "shape_signature": tensor.signature, "buffer": tensor.buffer, "constant_bytes": tensor.constant_bytes,
        "values": tensor.values, "quantization": tensor.quantization.as_ref().map(quantization),
        "variable": tensor.is_variable, "sparse": tensor.is_sparse,
    })
}

fn quantization(quantization: &InspectedQuantization) -> Value {
    let blocks = quantization
        .blocks
        .map(|blocks| json!({ "size": blocks.size, "scales": blocks.scales, "zero_points": blocks.zero_points }));
    json!({
        "scales": quantization.scales, "zero_points": quantization.zero_points, "min": quantization.min,
        "max": quantization.max, "axis": quantization.axis, "details": quantization.details,
        "blocks": blocks,
    })
}

fn op(found: &Inspection, graph: &InspectedGraph, index: usize, op: &InspectedOp) -> Value {
    let code = &found.operator_codes[op.code];
    let attributes: Map<_, _> =
        op.attributes.iter().map(|Attribute { name, value }| (name.clone(), plain(value))).collect();
    json!({
        "index": index, "op": code.name, "version": code.version, "inputs": op.inputs, "outputs": op.outputs,
        "intermediates": op.intermediates, "attributes": attributes, "macs": op.macs,
        "constant_bytes": super::op_constant_bytes(graph, op),
    })
}

fn plain(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Bool(value) => (*value).into(),
        AttributeValue::Int(value) => (*value).into(),
        // The shortest decimal number that is this float, as the text shows it.
        AttributeValue::Float(value) => value.to_string().parse::<f64>().map_or(Value::Null, Value::from),
        AttributeValue::Double(value) => (*value).into(),
        AttributeValue::Text(text) => text.as_str().into(),
        AttributeValue::List(values) => values.iter().map(plain).collect(),
        AttributeValue::Bytes(bytes, first) => json!({ "bytes": bytes, "first": first }),
    }
}

fn signature(signature: &Signature) -> Value {
    let map = |list: &[(String, litesmith_graph::TensorId)]| {
        list.iter().map(|(name, id)| json!({ "name": name, "tensor": id.0 })).collect::<Vec<_>>()
    };
    json!({
        "key": signature.key, "subgraph": signature.graph, "inputs": map(&signature.inputs),
        "outputs": map(&signature.outputs),
    })
}

fn metadata(metadata: &Metadata) -> Value {
    if *metadata == Metadata::default() {
        return Value::Null;
    }
    let list = |list: &[TensorMetadata]| list.iter().map(tensor_metadata).collect::<Vec<_>>();
    json!({
        "name": metadata.name, "description": metadata.description, "version": metadata.version,
        "author": metadata.author, "license": metadata.license, "inputs": list(&metadata.inputs),
        "outputs": list(&metadata.outputs),
    })
}

fn tensor_metadata(tensor: &TensorMetadata) -> Value {
    let normalization = tensor.normalization.as_ref();
    json!({
        "name": tensor.name, "description": tensor.description,
        "normalization": normalization.map(|normalization| json!({ "mean": normalization.mean, "std": normalization.std })),
        "color_space": tensor.color_space.map(|space| match space {
            ColorSpace::Rgb => "rgb",
            ColorSpace::Grayscale => "grayscale",
        }),
        "min": tensor.min, "max": tensor.max, "labels": tensor.labels,
    })
}

//! What a `.tflite` file holds, as text, as JSON, and drawn.

mod html;
mod json;
mod layout;
mod text;

use std::collections::BTreeSet;

use litesmith_tflite::{InspectedGraph, InspectedOp, InspectedQuantization, InspectedTensor, Inspection, OperatorCode};

use crate::format::number;

pub use html::inspection_html;
pub use json::inspection_json;
pub use text::inspection_text;

/// One kind of op of a file.
struct OperatorRow<'a> {
    code: &'a OperatorCode,
    count: usize,
    /// `None` where an op of this kind is not implemented.
    macs: Option<u64>,
    constant_bytes: usize,
}

/// The kinds of ops that a file uses, those with most multiply-accumulates first.
fn operators(found: &Inspection) -> Vec<OperatorRow<'_>> {
    let mut rows: Vec<_> = found
        .operator_codes
        .iter()
        .map(|code| OperatorRow { code, count: 0, macs: Some(0), constant_bytes: 0 })
        .collect();
    for graph in &found.subgraphs {
        for op in &graph.ops {
            let row = &mut rows[op.code];
            row.count += 1;
            row.macs = row.macs.zip(op.macs).map(|(sum, macs)| sum.saturating_add(macs));
            row.constant_bytes += op_constant_bytes(graph, op);
        }
    }
    rows.retain(|row| row.count > 0);
    rows.sort_by_key(|row| (std::cmp::Reverse(row.macs.unwrap_or(0)), std::cmp::Reverse(row.count)));
    rows
}

fn op_constant_bytes(graph: &InspectedGraph, op: &InspectedOp) -> usize {
    let inputs: BTreeSet<_> = op.inputs.iter().flatten().collect();
    inputs.into_iter().map(|&id| graph.tensors[id].constant_bytes).sum()
}

/// Bytes of the constants of all tensors, each buffer counted once.
fn constant_bytes(found: &Inspection) -> usize {
    let tensors = found.subgraphs.iter().flat_map(|graph| &graph.tensors);
    let buffers: BTreeSet<_> = tensors.map(|tensor| (tensor.buffer, tensor.constant_bytes)).collect();
    buffers.into_iter().map(|(_, bytes)| bytes).sum()
}

/// Multiply-accumulates of the first subgraph, and how many of its ops tell none because they are not implemented.
fn macs(found: &Inspection) -> (u64, usize) {
    let ops = found.subgraphs.first().map_or(&[][..], |graph| &graph.ops);
    (ops.iter().filter_map(|op| op.macs).sum(), ops.iter().filter(|op| op.macs.is_none()).count())
}

/// `float32[1,28,28,1]`, with -1 for sizes that may change.
fn type_text(tensor: &InspectedTensor) -> String {
    let sizes: Vec<_> = tensor.shape_signature().iter().map(ToString::to_string).collect();
    format!("{}[{}]", tensor.dtype, sizes.join(","))
}

/// `scale 0.003922, zero point -128`, or the range of several scales with their axis.
fn quantization_text(quantization: &InspectedQuantization) -> String {
    let mut parts = Vec::new();
    let range = |values: &[f32]| {
        let (least, most) = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
        format!("{} to {}", number(least.into()), number(most.into()))
    };
    match quantization.scales.as_slice() {
        [] => {}
        [scale] => parts.push(format!("scale {}", number((*scale).into()))),
        several => {
            parts.push(format!("{} scales along axis {}, {}", several.len(), quantization.axis, range(several)));
        }
    }
    let zero_points: BTreeSet<_> = quantization.zero_points.iter().collect();
    match zero_points.iter().collect::<Vec<_>>().as_slice() {
        [] => {}
        [one] => parts.push(format!("zero point {one}")),
        several => parts.push(format!("zero points {} to {}", several[0], several[several.len() - 1])),
    }
    if let (Some(least), Some(most)) = (quantization.min.first(), quantization.max.first()) {
        parts.push(format!("seen {} to {}", number((*least).into()), number((*most).into())));
    }
    parts.extend(quantization.details.clone());
    if let Some(blocks) = quantization.blocks {
        parts.push(format!("blocks of {}, scales in tensor {}", blocks.size, blocks.scales));
        if blocks.zero_points > 0 {
            parts.push(format!("zero points in tensor {}", blocks.zero_points));
        }
    }
    parts.join(", ")
}

/// The elements of a small constant: `[1, 784]`.
fn values_text(values: &[f64]) -> String {
    const SHOWN: usize = 8;
    let more = if values.len() > SHOWN { ", …" } else { "" };
    let values: Vec<_> =
        values.iter().take(SHOWN).map(|v| if v.fract() == 0.0 { format!("{v}") } else { number(*v) }).collect();
    format!("[{}{more}]", values.join(", "))
}

/// Attributes that say something: those that are 0, empty or false say that the op is as usual.
fn attributes_text(op: &InspectedOp) -> String {
    let is_usual = |value: &str| matches!(value, "0" | "false" | "[]" | "NONE" | "" | "DEFAULT");
    let shown = op.attributes.iter().map(|attribute| (attribute.name.as_str(), attribute.value.to_string()));
    let shown = shown
        .filter(|(name, value)| !is_usual(value) && !["quantized_bias_type", "pot_scale_int16"].contains(name))
        .filter(|(name, value)| !(name.starts_with("dilation") && value == "1"));
    let short = |name: &str| match name {
        "fused_activation_function" => "activation".to_owned(),
        other => other.to_owned(),
    };
    shown.map(|(name, value)| format!("{}={value}", short(name))).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;

//! An inspection for terminals.

use litesmith_graph::{Metadata, TensorMetadata};
use litesmith_tflite::{InspectedGraph, Inspection};

use super::{attributes_text, constant_bytes, macs, operators, quantization_text, type_text, values_text};
use crate::format::{bytes, count, harmless, packed, plural, quantity, shortened};
use crate::{Align, TextTable};

/// The longest name in a column.
const NAME: usize = 40;

/// What the file holds: totals, inputs and outputs, the kinds of ops, each op with its attributes; with `tensors` every
/// tensor with its quantization too.
#[must_use]
pub fn inspection_text(found: &Inspection, tensors: bool) -> String {
    let mut text = totals(found);
    text += &signatures(found);
    text += &metadata(found);
    text += &format!("\n{}", kinds(found));
    let refused: Vec<_> = operators(found)
        .iter()
        .filter_map(|row| row.code.refusal.as_ref().map(|refusal| format!("{refusal} ({}x)", row.count)))
        .collect();
    if !refused.is_empty() {
        text += &format!("\nnot implemented by Litesmith: {}\n", refused.join(", "));
    }
    for (index, graph) in found.subgraphs.iter().enumerate() {
        text += &format!("\nsubgraph {index} \"{}\"\n", graph.name);
        text += &ends(graph);
        text += &ops(found, graph);
        if tensors {
            text += &format!("\n{}", all_tensors(graph));
        }
    }
    text.chars().map(|c| if c == '\n' { c } else { harmless(c) }).collect()
}

fn totals(found: &Inspection) -> String {
    let ops = found.subgraphs.iter().map(|graph| graph.ops.len()).sum::<usize>();
    let tensors = found.subgraphs.iter().map(|graph| graph.tensors.len()).sum::<usize>();
    let (macs, unknown) = macs(found);
    let mut text = format!(
        "{}{}, schema {}{}\n{}, {}, {}, {} of constants, {}{} MACs{}\n",
        bytes(found.file_bytes as u64),
        packed(found.packed),
        found.schema_version,
        found
            .min_runtime_version
            .as_ref()
            .map_or_else(String::new, |version| format!(", for TensorFlow Lite {version} or later")),
        plural(found.subgraphs.len() as u64, "subgraph"),
        plural(ops as u64, "op"),
        plural(tensors as u64, "tensor"),
        bytes(constant_bytes(found) as u64),
        if unknown > 0 { "at least " } else { "" },
        quantity(macs),
        if found.subgraphs.len() > 1 { " in subgraph 0" } else { "" },
    );
    if !found.description.is_empty() {
        text += &format!("description: {}\n", found.description);
    }
    if found.subgraphs.iter().flat_map(|graph| &graph.tensors).any(|tensor| tensor.is_inferred) {
        text += "shapes that the file leaves out are shown as they follow from its inputs\n";
    }
    text
}

fn signatures(found: &Inspection) -> String {
    let mut text = String::new();
    for signature in &found.signatures {
        let Some(graph) = found.subgraphs.get(signature.graph) else { continue };
        let list = |entries: &[(String, litesmith_graph::TensorId)]| {
            let entry = |(name, id): &(String, litesmith_graph::TensorId)| {
                format!("{name} {}", graph.tensors.get(id.0).map_or_else(String::new, type_text))
            };
            entries.iter().map(entry).collect::<Vec<_>>().join(", ")
        };
        text += &format!("signature {}: {} -> {}\n", signature.key, list(&signature.inputs), list(&signature.outputs));
    }
    text
}

fn metadata(found: &Inspection) -> String {
    let mut text = String::new();
    let Metadata { name, description, version, author, license, inputs, outputs } = &found.metadata;
    for (what, value) in
        [("name", name), ("about", description), ("version", version), ("author", author), ("license", license)]
    {
        if !value.is_empty() {
            text += &format!("metadata {what}: {}\n", shortened(value.lines().next().unwrap_or_default(), 100));
        }
    }
    for (what, list) in [("input", inputs), ("output", outputs)] {
        for (index, tensor) in list.iter().enumerate() {
            let described = tensor_metadata(tensor);
            if !described.is_empty() {
                text += &format!("metadata {what} {index}: {described}\n");
            }
        }
    }
    let packed = found.associated_files.iter().map(|(name, size)| format!("{name} ({})", bytes(*size as u64)));
    let packed: Vec<_> = packed.collect();
    if !packed.is_empty() {
        text += &format!("packed files: {}\n", packed.join(", "));
    }
    text
}

fn tensor_metadata(tensor: &TensorMetadata) -> String {
    let mut parts = Vec::new();
    if !tensor.name.is_empty() {
        parts.push(tensor.name.clone());
    }
    parts.extend(tensor.normalization.as_ref().map(|n| format!("mean {:?}, std {:?}", n.mean, n.std)));
    parts.extend(tensor.color_space.map(|space| format!("{space:?}").to_lowercase()));
    if let (Some(least), Some(most)) = (tensor.min.first(), tensor.max.first()) {
        parts.push(format!("from {least} to {most}"));
    }
    if let (Some(first), Some(last)) = (tensor.labels.first(), tensor.labels.last()) {
        let count = plural(tensor.labels.len() as u64, "label");
        parts.push(format!("{count} from \"{}\" to \"{}\"", shortened(first, NAME), shortened(last, NAME)));
    }
    parts.join(", ")
}

fn kinds(found: &Inspection) -> TextTable {
    let mut table = TextTable::new(&[
        ("kind of op", Align::Left),
        ("version", Align::Right),
        ("count", Align::Right),
        ("MACs", Align::Right),
        ("constant bytes", Align::Right),
        ("implemented", Align::Left),
    ]);
    for row in operators(found) {
        let name = if row.code.is_custom { format!("{} (custom)", row.code.name) } else { row.code.name.clone() };
        table.row([
            name,
            row.code.version.to_string(),
            row.count.to_string(),
            row.macs.map_or_else(|| "?".into(), some),
            some(row.constant_bytes as u64),
            if row.code.refusal.is_none() { "yes".into() } else { "no".into() },
        ]);
    }
    table
}

fn some(value: u64) -> String {
    if value == 0 { "-".into() } else { count(value) }
}

/// Inputs and outputs of a subgraph.
fn ends(graph: &InspectedGraph) -> String {
    let mut text = String::new();
    for (what, ids) in [("input ", &graph.inputs), ("output", &graph.outputs)] {
        for &id in ids {
            let tensor = &graph.tensors[id];
            let quantization = tensor.quantization.as_ref().map(quantization_text).filter(|text| !text.is_empty());
            let quantization = quantization.map_or_else(String::new, |text| format!("  ({text})"));
            text += &format!("{what} {} {}{quantization}\n", shortened(&tensor.name, 80), type_text(tensor));
        }
    }
    if text.is_empty() { text } else { text + "\n" }
}

fn ops(found: &Inspection, graph: &InspectedGraph) -> String {
    let mut table = TextTable::new(&[
        ("#", Align::Right),
        ("op", Align::Left),
        ("name", Align::Left),
        ("output", Align::Left),
        ("MACs", Align::Right),
        ("constant bytes", Align::Right),
        ("attributes", Align::Left),
    ]);
    for (index, op) in graph.ops.iter().enumerate() {
        let output = op.outputs.first().map(|&id| &graph.tensors[id]);
        table.row([
            index.to_string(),
            shortened(&found.operator_codes[op.code].name, NAME),
            output.map_or_else(String::new, |tensor| shortened(&tensor.name, NAME)),
            output.map_or_else(String::new, type_text),
            op.macs.map_or_else(|| "?".into(), some),
            some(super::op_constant_bytes(graph, op) as u64),
            shortened(&attributes_text(op), 100),
        ]);
    }
    table.to_string()
}

fn all_tensors(graph: &InspectedGraph) -> TextTable {
    let mut table = TextTable::new(&[
        ("tensor", Align::Right),
        ("name", Align::Left),
        ("type", Align::Left),
        ("constant bytes", Align::Right),
        ("quantization, values", Align::Left),
    ]);
    for (index, tensor) in graph.tensors.iter().enumerate() {
        let mut more: Vec<_> =
            tensor.quantization.iter().map(quantization_text).filter(|text| !text.is_empty()).collect();
        more.extend(tensor.values.as_ref().map(|values| values_text(values)));
        more.extend(tensor.is_variable.then(|| "variable".to_owned()));
        more.extend(tensor.is_sparse.then(|| "sparse".to_owned()));
        table.row([
            index.to_string(),
            shortened(&tensor.name, NAME),
            type_text(tensor),
            some(tensor.constant_bytes as u64),
            shortened(&more.join("; "), 120),
        ]);
    }
    table
}

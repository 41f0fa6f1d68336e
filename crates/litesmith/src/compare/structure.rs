//! Differences of two files: operators, inputs and outputs, tensors, attributes, metadata.

use std::collections::{BTreeMap, BTreeSet};

use litesmith_tflite::{InspectedGraph, InspectedOp, InspectedTensor, Inspection};
use serde::Serialize;

/// One difference. What one side lacks is empty there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where: `operators`, `tensor "conv"`, `metadata`.
    pub place: String,
    /// What differs there.
    pub what: String,
    /// The first file's.
    pub a: String,
    /// The second file's.
    pub b: String,
}

/// Every difference in structure: the counts of operators, the ends of each subgraph, then tensors and ops of the same name,
/// and what the files say of themselves. Weights are not compared.
#[must_use]
pub fn structure_differences(a: &Inspection, b: &Inspection) -> Vec<Difference> {
    let mut found = Found(Vec::new());
    found.check("file", "schema version", &a.schema_version, &b.schema_version);
    found.check("file", "description", &a.description, &b.description);
    let version = |side: &Inspection| side.min_runtime_version.clone().unwrap_or_default();
    found.check("file", "oldest runtime", &version(a), &version(b));
    found.check_maps("operators", &operators(a), &operators(b));
    found.check("file", "subgraphs", &a.subgraphs.len(), &b.subgraphs.len());
    for (index, (one, other)) in a.subgraphs.iter().zip(&b.subgraphs).enumerate() {
        let prefix = if index == 0 { String::new() } else { format!("subgraph {index}: ") };
        let ends = |graph: &InspectedGraph, ids: &[usize]| -> Vec<String> {
            ids.iter().map(|&id| format!("{} {}", graph.tensors[id].name, type_text(&graph.tensors[id]))).collect()
        };
        found.check_lists(&format!("{prefix}input"), &ends(one, &one.inputs), &ends(other, &other.inputs));
        found.check_lists(&format!("{prefix}output"), &ends(one, &one.outputs), &ends(other, &other.outputs));
        found.tensors(&prefix, one, other);
        found.ops(&prefix, (a, one), (b, other));
    }
    let signatures = |side: &Inspection| -> BTreeMap<String, String> {
        let names = |list: &[(String, litesmith_graph::TensorId)]| {
            list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(", ")
        };
        let text = |signature: &litesmith_graph::Signature| {
            (signature.key.clone(), format!("{} -> {}", names(&signature.inputs), names(&signature.outputs)))
        };
        side.signatures.iter().map(text).collect()
    };
    found.check_maps("signatures", &signatures(a), &signatures(b));
    found.check_maps("metadata", &metadata(a), &metadata(b));
    let files = |side: &Inspection| -> BTreeMap<String, String> {
        side.associated_files.iter().map(|(name, bytes)| (name.clone(), format!("{bytes} bytes"))).collect()
    };
    found.check_maps("packed files", &files(a), &files(b));
    found.0
}

struct Found(Vec<Difference>);

impl Found {
    fn add(&mut self, place: &str, what: &str, a: String, b: String) {
        self.0.push(Difference { place: place.into(), what: what.into(), a, b });
    }

    fn check<T: PartialEq + ToString>(&mut self, place: &str, what: &str, a: &T, b: &T) {
        if a != b {
            self.add(place, what, a.to_string(), b.to_string());
        }
    }

    fn check_maps(&mut self, place: &str, a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) {
        let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
        for key in keys {
            let value = |side: &BTreeMap<String, String>| side.get(key).cloned().unwrap_or_default();
            self.check(place, key, &value(a), &value(b));
        }
    }

    fn check_lists(&mut self, place: &str, a: &[String], b: &[String]) {
        for index in 0..a.len().max(b.len()) {
            let value = |side: &[String]| side.get(index).cloned().unwrap_or_default();
            self.check(&format!("{place} {index}"), "", &value(a), &value(b));
        }
    }

    /// Computed tensors of the same name, and those that only one side has. Constants are told of by their ops.
    fn tensors(&mut self, prefix: &str, a: &InspectedGraph, b: &InspectedGraph) {
        let (one, other) = (computed(a), computed(b));
        for (name, tensor) in &one {
            let place = format!("{prefix}tensor \"{name}\"");
            match other.get(name) {
                Some(counterpart) => {
                    self.check(&place, "type", &type_text(tensor), &type_text(counterpart));
                    self.check(&place, "quantization", &quantization(tensor), &quantization(counterpart));
                }
                None => self.add(&place, "", type_text(tensor), String::new()),
            }
        }
        for (name, tensor) in other.iter().filter(|(name, _)| !one.contains_key(*name)) {
            self.add(&format!("{prefix}tensor \"{name}\""), "", String::new(), type_text(tensor));
        }
    }

    /// Ops that compute a tensor of the same name: their kind, version, attributes, and the types of their constants.
    fn ops(&mut self, prefix: &str, a: (&Inspection, &InspectedGraph), b: (&Inspection, &InspectedGraph)) {
        let others: BTreeMap<_, _> = b.1.ops.iter().filter_map(|op| Some((output_name(b.1, op)?, op))).collect();
        for (index, op) in a.1.ops.iter().enumerate() {
            let Some((name, other)) = output_name(a.1, op).and_then(|name| Some((name, *others.get(name)?))) else {
                continue;
            };
            let (one_code, other_code) = (&a.0.operator_codes[op.code], &b.0.operator_codes[other.code]);
            let place = format!("{prefix}op {index} {} \"{name}\"", one_code.name);
            self.check(&place, "kind", &one_code.name, &other_code.name);
            self.check(&place, "version", &one_code.version, &other_code.version);
            if one_code.name == other_code.name {
                self.check_maps(&place, &attributes(op), &attributes(other));
            }
            self.check_maps(&place, &constants(a.1, op), &constants(b.1, other));
        }
    }
}

fn operators(side: &Inspection) -> BTreeMap<String, String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for op in side.subgraphs.iter().flat_map(|graph| &graph.ops) {
        *counts.entry(side.operator_codes[op.code].name.clone()).or_default() += 1;
    }
    counts.into_iter().map(|(name, count)| (name, count.to_string())).collect()
}

fn output_name<'a>(graph: &'a InspectedGraph, op: &InspectedOp) -> Option<&'a str> {
    op.outputs.first().map(|&id| graph.tensors[id].name.as_str())
}

fn attributes(op: &InspectedOp) -> BTreeMap<String, String> {
    op.attributes.iter().map(|attribute| (attribute.name.clone(), attribute.value.to_string())).collect()
}

fn constants(graph: &InspectedGraph, op: &InspectedOp) -> BTreeMap<String, String> {
    let input = |(index, id): (usize, &Option<usize>)| {
        let tensor = &graph.tensors[(*id)?];
        (tensor.constant_bytes > 0).then(|| (format!("constant input {index}"), type_text(tensor)))
    };
    op.inputs.iter().enumerate().filter_map(input).collect()
}

fn computed(graph: &InspectedGraph) -> BTreeMap<&str, &InspectedTensor> {
    let outputs = graph.ops.iter().flat_map(|op| &op.outputs);
    outputs.map(|&id| (graph.tensors[id].name.as_str(), &graph.tensors[id])).collect()
}

fn type_text(tensor: &InspectedTensor) -> String {
    let sizes: Vec<_> = tensor.shape_signature().iter().map(ToString::to_string).collect();
    format!("{}[{}]", tensor.dtype, sizes.join(","))
}

fn quantization(tensor: &InspectedTensor) -> String {
    if let Some(blocks) = tensor.quantization.as_ref().and_then(|found| found.blocks) {
        return format!("blocks of {}", blocks.size);
    }
    match tensor.quantization.as_ref().map(|found| (found.scales.as_slice(), found.zero_points.as_slice(), found.axis))
    {
        None | Some(([], _, _)) => String::new(),
        Some(([scale], zero, _)) => format!("scale {scale}, zero point {}", zero.first().unwrap_or(&0)),
        Some((scales, _, axis)) => {
            let sum: f64 = scales.iter().copied().map(f64::from).sum();
            format!("{} scales along axis {axis}, mean {:.6e}", scales.len(), sum / scales.len() as f64)
        }
    }
}

fn metadata(side: &Inspection) -> BTreeMap<String, String> {
    let metadata = &side.metadata;
    let mut all: BTreeMap<String, String> = [
        ("name", &metadata.name),
        ("description", &metadata.description),
        ("version", &metadata.version),
        ("author", &metadata.author),
        ("license", &metadata.license),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| (name.to_owned(), value.clone()))
    .collect();
    for (what, list) in [("input", &metadata.inputs), ("output", &metadata.outputs)] {
        for (index, tensor) in list.iter().enumerate() {
            if let Some(normalization) = &tensor.normalization {
                let text = format!("mean {:?}, std {:?}", normalization.mean, normalization.std);
                all.insert(format!("{what} {index} normalization"), text);
            }
            if !tensor.labels.is_empty() {
                all.insert(format!("{what} {index} labels"), tensor.labels.join(", "));
            }
        }
    }
    all
}

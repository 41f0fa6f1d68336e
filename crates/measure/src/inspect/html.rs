//! An inspection as one self-contained page: the graph drawn, everything else in tables.

use std::collections::BTreeMap;

use litesmith_tflite::{InspectedGraph, InspectedOp, InspectedTensor, Inspection};

use super::layout::{Problem, layout};
use super::{attributes_text, constant_bytes, macs, operators, quantization_text, type_text, values_text};
use crate::format::{bytes, count, packed, plural, quantity, shortened};
use crate::html::markup::Markup;

/// Ops of a subgraph that are drawn; a longer one has its table only.
const DRAWN_OPS_MAX: usize = 5_000;
/// Height of a node, and what a character of its two lines takes.
const NODE_HEIGHT: f64 = 42.0;
const TITLE_ADVANCE: f64 = 7.9;
const LINE_ADVANCE: f64 = 6.4;

/// Renders a page that needs no network, follows the reader's light or dark setting, and shows every subgraph drawn: a node
/// for each op, with details on a click, a search, zoom. Without scripts a click leads to the details further down. Texts of
/// the file are escaped, and a content security policy forbids the page to load anything. The same file gives the same bytes.
#[must_use]
pub fn inspection_html(found: &Inspection, title: &str) -> String {
    let mut m = Markup::default();
    m.raw("<!DOCTYPE html>\n");
    m.el("html", &[("lang", "en")], |m| {
        m.el("head", &[], |m| {
            m.void("meta", &[("charset", "utf-8")]);
            m.void("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
            let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
            m.void("meta", &[("http-equiv", "Content-Security-Policy"), ("content", policy)]);
            m.void("meta", &[("name", "generator"), ("content", "Litesmith")]);
            m.leaf("title", &[], title);
            m.el("style", &[], |m| m.raw(include_str!("graph.css")));
        });
        m.el("body", &[], |m| {
            m.el("header", &[], |m| head(m, found, title));
            m.el("main", &[], |m| {
                for (index, graph) in found.subgraphs.iter().enumerate() {
                    subgraph(m, found, index, graph);
                }
                section(m, "Kinds of ops", |m| kinds(m, found));
                facts(m, found);
                for (index, graph) in found.subgraphs.iter().enumerate() {
                    section(m, &format!("Ops of {}", subgraph_name(found, index)), |m| {
                        for (at, op) in graph.ops.iter().enumerate() {
                            details(m, found, index, graph, at, op);
                        }
                        for (what, ids) in [("in", &graph.inputs), ("out", &graph.outputs)] {
                            ids.iter().enumerate().for_each(|(at, &id)| end_details(m, index, graph, what, at, id));
                        }
                    });
                }
            });
            m.leaf("footer", &[], "Made by Litesmith. Everything shown is in this file; it loads nothing.");
            m.el("script", &[], |m| m.raw(include_str!("graph.js")));
        });
    });
    let mut html = m.finish();
    html.push('\n');
    html
}

fn section(m: &mut Markup, title: &str, inner: impl FnOnce(&mut Markup)) {
    m.el("section", &[], |m| {
        m.leaf("h2", &[], title);
        inner(m);
    });
}

fn subgraph_name(found: &Inspection, index: usize) -> String {
    let name = found.subgraphs.get(index).map_or("", |graph| graph.name.as_str());
    match (found.subgraphs.len(), name) {
        (0 | 1, _) => "the graph".into(),
        (_, "") => format!("subgraph {index}"),
        (_, name) => format!("subgraph {index} \"{}\"", shortened(name, 60)),
    }
}

fn head(m: &mut Markup, found: &Inspection, title: &str) {
    m.leaf("h1", &[], title);
    let ops = found.subgraphs.iter().map(|graph| graph.ops.len()).sum::<usize>();
    let (macs, unknown) = macs(found);
    m.el("p", &[("class", "lead")], |m| {
        m.prose(&format!(
            "{}{}, {}, {}{} MACs{}, {} of constants.",
            bytes(found.file_bytes as u64),
            packed(found.packed),
            plural(ops as u64, "op"),
            if unknown > 0 { "at least " } else { "" },
            quantity(macs),
            if found.subgraphs.len() > 1 { " in subgraph 0" } else { "" },
            bytes(constant_bytes(found) as u64),
        ));
        if !found.description.is_empty() {
            m.text(" ");
            m.name(&found.description);
        }
    });
    let refused: Vec<_> = operators(found).iter().filter_map(|row| row.code.refusal.clone()).collect();
    if !refused.is_empty() {
        m.leaf("p", &[("class", "warning")], &format!("Not implemented by Litesmith: {}.", refused.join(", ")));
    }
}

/// What a node of the drawing shows.
struct Node {
    class: &'static str,
    title: String,
    line: String,
    /// Element with its details.
    target: String,
    label: String,
    /// What the search looks through.
    words: String,
}

impl Node {
    fn width(&self) -> f64 {
        let (title, line) = (self.title.chars().count() as f64, self.line.chars().count() as f64);
        (title * TITLE_ADVANCE).max(line * LINE_ADVANCE).max(70.0) + 26.0
    }
}

/// An edge: between which nodes, and the tensor that flows.
struct Edge {
    from: usize,
    to: usize,
    tensor: usize,
}

fn drawing(found: &Inspection, index: usize, graph: &InspectedGraph) -> (Vec<Node>, Vec<Edge>) {
    let (mut nodes, mut edges) = (Vec::new(), Vec::new());
    let mut source: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, &id) in graph.inputs.iter().enumerate() {
        source.insert(id, nodes.len());
        nodes.push(end_node(index, graph, "in", at, id));
    }
    for (at, op) in graph.ops.iter().enumerate() {
        for &id in op.inputs.iter().flatten() {
            if let Some(&from) = source.get(&id) {
                edges.push(Edge { from, to: nodes.len(), tensor: id });
            }
        }
        source.extend(op.outputs.iter().map(|&id| (id, nodes.len())));
        nodes.push(op_node(found, index, graph, at, op));
    }
    for (at, &id) in graph.outputs.iter().enumerate() {
        if let Some(&from) = source.get(&id) {
            edges.push(Edge { from, to: nodes.len(), tensor: id });
        }
        nodes.push(end_node(index, graph, "out", at, id));
    }
    (nodes, edges)
}

fn end_node(index: usize, graph: &InspectedGraph, what: &'static str, at: usize, id: usize) -> Node {
    let tensor = &graph.tensors[id];
    let name = if what == "in" { "input" } else { "output" };
    Node {
        class: "end",
        title: shortened(&tensor.name, 34),
        line: compact(tensor),
        target: format!("g{index}-{what}{at}"),
        label: format!("{name} {} {}", tensor.name, type_text(tensor)),
        words: format!("{name} {}", tensor.name).to_lowercase(),
    }
}

fn op_node(found: &Inspection, index: usize, graph: &InspectedGraph, at: usize, op: &InspectedOp) -> Node {
    let code = &found.operator_codes[op.code];
    let output = op.outputs.first().map(|&id| &graph.tensors[id]);
    let name = output.map_or("", |tensor| tensor.name.as_str());
    Node {
        class: if code.refusal.is_some() { "unknown" } else { family(&code.name) },
        title: shortened(&code.name, 34),
        line: output.map_or_else(String::new, compact),
        target: format!("g{index}-op{at}"),
        label: format!("op {at} {} {name}", code.name),
        words: format!("{at} {} {name}", code.name).to_lowercase(),
    }
}

/// `int8 1×28×28×8`.
fn compact(tensor: &InspectedTensor) -> String {
    let sizes: Vec<_> =
        tensor.shape_signature().iter().map(|&size| if size < 0 { "?".into() } else { size.to_string() }).collect();
    format!("{} {}", tensor.dtype, sizes.join("×"))
}

/// The class of a node, which gives it its colour.
fn family(op: &str) -> &'static str {
    let has = |parts: &[&str]| parts.iter().any(|part| op.contains(part));
    match op {
        _ if has(&["CONV", "FULLY_CONNECTED", "MATMUL", "LSTM", "RNN", "SVDF", "EMBEDDING"]) => "weights",
        _ if has(&["POOL", "MEAN", "SUM", "REDUCE", "ARG_M", "TOPK", "SOFTMAX", "NORM"]) => "reduce",
        _ if has(&["QUANTIZE", "CAST"]) => "convert",
        _ if has(&["RELU", "TANH", "LOGISTIC", "SWISH", "ELU", "GELU"]) => "activation",
        _ if has(&[
            "RESHAPE",
            "SQUEEZE",
            "EXPAND",
            "TRANSPOSE",
            "CONCAT",
            "SPLIT",
            "PACK",
            "SLICE",
            "PAD",
            "GATHER",
            "TILE",
            "SHAPE",
            "SPACE",
            "RESIZE",
            "BROADCAST",
        ]) =>
        {
            "move"
        }
        _ => "other",
    }
}

fn subgraph(m: &mut Markup, found: &Inspection, index: usize, graph: &InspectedGraph) {
    let name = subgraph_name(found, index);
    m.el("section", &[("class", "drawing")], |m| {
        m.leaf("h2", &[], &format!("{}{}", name[..1].to_uppercase(), &name[1..]));
        if graph.ops.len() > DRAWN_OPS_MAX {
            let message =
                format!("It has {} ops, too many to draw; they are listed below.", count(graph.ops.len() as u64));
            m.leaf("p", &[], &message);
            return;
        }
        m.el("div", &[("class", "tools")], |m| {
            m.void(
                "input",
                &[("type", "search"), ("placeholder", "Find an op or tensor"), ("aria-label", "Find an op or tensor")],
            );
            m.leaf("span", &[("class", "found"), ("role", "status")], "");
            for (action, text, label) in [
                ("out", "−", "Zoom out"),
                ("in", "+", "Zoom in"),
                ("one", "1:1", "Natural size"),
                ("fit", "fit", "Fit all"),
            ] {
                m.leaf("button", &[("type", "button"), ("data-zoom", action), ("aria-label", label)], text);
            }
        });
        m.el("div", &[("class", "stage")], |m| {
            m.el("div", &[("class", "canvas"), ("tabindex", "0"), ("aria-label", "Drawn graph; scrolls")], |m| {
                draw(m, found, index, graph);
            });
            m.el("aside", &[("aria-live", "polite"), ("aria-label", "Details")], |m| {
                m.leaf("p", &[("class", "hint")], "Click a node for its details.");
            });
        });
    });
}

fn draw(m: &mut Markup, found: &Inspection, index: usize, graph: &InspectedGraph) {
    let (nodes, edges) = drawing(found, index, graph);
    let problem = Problem {
        widths: nodes.iter().map(Node::width).collect(),
        height: NODE_HEIGHT,
        edges: edges.iter().map(|edge| (edge.from, edge.to)).collect(),
    };
    let placed = layout(&problem);
    let pad = 16.0;
    let (width, height) = (placed.width + 2.0 * pad, placed.height + 2.0 * pad);
    let view = format!("{:.0} {:.0} {width:.0} {height:.0}", -pad, -pad);
    let (width, height) = (format!("{width:.0}"), format!("{height:.0}"));
    m.el("svg", &[("viewBox", view.as_str()), ("width", &width), ("height", &height), ("role", "group")], |m| {
        m.leaf("title", &[], &format!("{} of {}", plural(graph.ops.len() as u64, "op"), subgraph_name(found, index)));
        for (edge, points) in edges.iter().zip(&placed.edges) {
            let tensor = &graph.tensors[edge.tensor];
            let (from, to) = (edge.from.to_string(), edge.to.to_string());
            m.el("path", &[("d", &path(points)), ("data-from", &from), ("data-to", &to)], |m| {
                m.leaf("title", &[], &format!("{} {}", shortened(&tensor.name, 80), type_text(tensor)));
            });
        }
        for (at, (node, &(x, y))) in nodes.iter().zip(&placed.nodes).enumerate() {
            let half = node.width() / 2.0;
            let number = |value: f64| format!("{value:.1}");
            let href = format!("#{}", node.target);
            let class = format!("node {}", node.class);
            let at = at.to_string();
            let attributes = [
                ("href", href.as_str()),
                ("class", &class),
                ("data-n", &at),
                ("data-words", &node.words),
                ("aria-label", &node.label),
            ];
            m.el("a", &attributes, |m| {
                m.leaf("title", &[], &node.label);
                let (left, top, wide) = (number(x - half), number(y), number(half * 2.0));
                let high = number(NODE_HEIGHT);
                let radius = if node.class == "end" { "21" } else { "6" };
                m.void("rect", &[("x", &left), ("y", &top), ("width", &wide), ("height", &high), ("rx", radius)]);
                let (x, first, second) = (number(x), number(y + 18.0), number(y + 33.0));
                m.leaf("text", &[("x", &x), ("y", &first), ("class", "name")], &node.title);
                m.leaf("text", &[("x", &x), ("y", &second), ("class", "type")], &node.line);
            });
        }
    });
}

/// A smooth line: vertical where it leaves and enters a layer.
fn path(points: &[(f64, f64)]) -> String {
    let Some(first) = points.first() else { return String::new() };
    let mut path = format!("M{:.1} {:.1}", first.0, first.1);
    for pair in points.windows(2) {
        let [(x0, y0), (x, y)] = [pair[0], pair[1]];
        let middle = (y0 + y) / 2.0;
        if (x0 - x).abs() < 0.05 {
            path += &format!("V{y:.1}");
        } else {
            path += &format!("C{x0:.1} {middle:.1} {x:.1} {middle:.1} {x:.1} {y:.1}");
        }
    }
    path
}

fn table(m: &mut Markup, label: &str, columns: &[&str], rows: Vec<Vec<String>>) {
    m.el("div", &[("class", "scroll"), ("role", "region"), ("aria-label", label), ("tabindex", "0")], |m| {
        m.el("table", &[("class", if columns.len() == TENSOR_COLUMNS.len() { "tensors" } else { "" })], |m| {
            m.el("thead", &[], |m| {
                m.el("tr", &[], |m| columns.iter().for_each(|name| m.leaf("th", &[("scope", "col")], name)));
            });
            m.el("tbody", &[], |m| {
                for row in &rows {
                    m.el("tr", &[], |m| row.iter().for_each(|cell| m.el("td", &[], |m| m.name(cell))));
                }
            });
        });
    });
}

fn some(value: u64) -> String {
    if value == 0 { "–".into() } else { count(value) }
}

fn kinds(m: &mut Markup, found: &Inspection) {
    let rows = operators(found).into_iter().map(|row| {
        vec![
            if row.code.is_custom { format!("{} (custom)", row.code.name) } else { row.code.name.clone() },
            row.code.version.to_string(),
            row.count.to_string(),
            row.macs.map_or_else(|| "?".into(), some),
            some(row.constant_bytes as u64),
            if row.code.refusal.is_none() { "yes".into() } else { "no".into() },
        ]
    });
    table(m, "Kinds of ops", &["op", "version", "count", "MACs", "constant bytes", "implemented"], rows.collect());
}

/// What the file says of itself.
fn facts(m: &mut Markup, found: &Inspection) {
    let metadata = &found.metadata;
    let mut facts = vec![("schema version", found.schema_version.to_string())];
    facts.extend(found.min_runtime_version.iter().map(|version| ("oldest runtime", version.clone())));
    for (what, value) in [
        ("name", &metadata.name),
        ("about", &metadata.description),
        ("version", &metadata.version),
        ("author", &metadata.author),
        ("license", &metadata.license),
    ] {
        if !value.is_empty() {
            facts.push((what, value.clone()));
        }
    }
    for signature in &found.signatures {
        let names = |list: &[(String, litesmith_graph::TensorId)]| {
            list.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let text = format!("{}: {} → {}", signature.key, names(&signature.inputs), names(&signature.outputs));
        facts.push(("signature", text));
    }
    for (what, list) in [("input", &metadata.inputs), ("output", &metadata.outputs)] {
        for tensor in list {
            let mut parts = vec![tensor.name.clone(), tensor.description.clone()];
            parts.extend(tensor.normalization.as_ref().map(|n| format!("mean {:?}, std {:?}", n.mean, n.std)));
            if !tensor.labels.is_empty() {
                parts.push(format!("labels: {}", shortened(&tensor.labels.join(", "), 2_000)));
            }
            parts.retain(|part| !part.is_empty());
            facts.push((what, parts.join("; ")));
        }
    }
    for (name, size) in &found.metadata_entries {
        facts.push(("metadata entry", format!("{name}, {}", bytes(*size as u64))));
    }
    for (name, size) in &found.associated_files {
        facts.push(("packed file", format!("{name}, {}", bytes(*size as u64))));
    }
    facts.extend(found.warnings.iter().map(|warning| ("warning", warning.clone())));
    section(m, "What the file says of itself", |m| {
        m.el("dl", &[], |m| {
            for (name, value) in &facts {
                m.leaf("dt", &[], name);
                m.el("dd", &[], |m| m.name(value));
            }
        });
    });
}

fn tensor_row(role: String, id: usize, tensor: &InspectedTensor) -> Vec<String> {
    let mut more: Vec<_> = tensor.quantization.iter().map(quantization_text).filter(|text| !text.is_empty()).collect();
    more.extend(tensor.values.as_ref().map(|values| values_text(values)));
    if tensor.constant_bytes > 0 {
        more.push(format!("constant of {}", bytes(tensor.constant_bytes as u64)));
    }
    more.extend(tensor.is_variable.then(|| "variable".to_owned()));
    more.extend(tensor.is_sparse.then(|| "sparse".to_owned()));
    vec![role, format!("{id} {}", shortened(&tensor.name, 120)), type_text(tensor), more.join("; ")]
}

const TENSOR_COLUMNS: [&str; 4] = ["", "tensor", "type", "quantization, values"];

fn details(m: &mut Markup, found: &Inspection, index: usize, graph: &InspectedGraph, at: usize, op: &InspectedOp) {
    let code = &found.operator_codes[op.code];
    m.el("details", &[("id", &format!("g{index}-op{at}"))], |m| {
        m.el("summary", &[], |m| {
            m.text(&format!("{at} "));
            m.name(&shortened(&code.name, 80));
            m.text(" ");
            m.el("small", &[], |m| m.name(&shortened(&attributes_text(op), 120)));
        });
        let mut facts = vec![format!("version {}", code.version)];
        facts.extend(op.macs.filter(|&macs| macs > 0).map(|macs| format!("{} MACs", count(macs))));
        facts.extend(code.refusal.as_ref().map(|refusal| format!("not implemented by Litesmith: {refusal}")));
        m.el("p", &[], |m| m.prose(&facts.join(", ")));
        if !op.attributes.is_empty() {
            let rows = op.attributes.iter().map(|a| vec![a.name.clone(), shortened(&a.value.to_string(), 400)]);
            table(m, "Attributes", &["attribute", "value"], rows.collect());
        }
        let inputs = op.inputs.iter().enumerate().map(|(i, id)| match id {
            Some(id) => tensor_row(format!("input {i}"), *id, &graph.tensors[*id]),
            None => vec![format!("input {i}"), "left out".into(), String::new(), String::new()],
        });
        let outputs =
            op.outputs.iter().enumerate().map(|(i, &id)| tensor_row(format!("output {i}"), id, &graph.tensors[id]));
        let kept = op.intermediates.iter().map(|&id| tensor_row("kept".into(), id, &graph.tensors[id]));
        table(m, "Tensors", &TENSOR_COLUMNS, inputs.chain(outputs).chain(kept).collect());
    });
}

fn end_details(m: &mut Markup, index: usize, graph: &InspectedGraph, what: &str, at: usize, id: usize) {
    let role = if what == "in" { format!("input {at}") } else { format!("output {at}") };
    m.el("details", &[("id", &format!("g{index}-{what}{at}"))], |m| {
        m.leaf("summary", &[], &format!("{role} of the graph"));
        table(m, "Tensor", &TENSOR_COLUMNS, vec![tensor_row(role.clone(), id, &graph.tensors[id])]);
    });
}

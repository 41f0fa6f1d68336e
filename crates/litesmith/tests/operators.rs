//! docs/OPERATORS.md is what the op table, the reader's versions and the kernels say: element types and kernels are those that
//! a plan takes, found by planning every case of the op grid and every golden model. `cargo xtask operators` writes it.
//!
//! All plans are for plain Rust, so that the file does not depend on the machine that writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use litesmith::inputs::write_input;
use litesmith_graph::{DType, Data, Graph, Model, Node, OP_TABLE, Quantization, Tensor, TensorId};
use litesmith_runtime::{Exactness, Fate, Isa, Session, SessionOptions, exactness};
use litesmith_tflite::{Limits, op_versions};

/// The code of the op that names sparse constants.
const DENSIFY: i32 = 124;

/// What is known of an op from plans.
#[derive(Default)]
struct Found {
    types: BTreeSet<String>,
    kernels: BTreeSet<String>,
    exactness: BTreeSet<String>,
    /// Types of those that are folded where they stand alone, which is told of ops of which nothing else is known.
    folded: BTreeSet<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    found.sort();
    found
}

/// The models in the repository: of the grid, and whole.
fn models() -> Vec<Vec<u8>> {
    let mut models = Vec::new();
    for path in files("testdata/grid", "zip") {
        let mut archive = zip::ZipArchive::new(Cursor::new(std::fs::read(path).unwrap())).unwrap();
        for index in 0..archive.len() {
            let mut file = archive.by_index(index).unwrap();
            if file.name().ends_with(".tflite") {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).unwrap();
                models.push(bytes);
            }
        }
    }
    for path in files("testdata/models", "tflite").into_iter().chain(files("testdata/tflite", "tflite")) {
        models.push(std::fs::read(path).unwrap());
    }
    models
}

/// `int8 x int8 -> int8`: first input, second where it is no index or shape, first output.
fn types(graph: &Graph, node: &Node) -> String {
    let dtype = |id: usize| node.inputs.get(id).copied().flatten().map(|id| graph.tensor(id).dtype);
    let result = node.outputs.first().map_or("nothing", |&id| graph.tensor(id).dtype.name());
    let Some(first) = dtype(0) else { return result.to_owned() };
    let is_number = |dtype: &DType| !matches!(dtype, DType::I32 | DType::I64);
    match dtype(1).filter(|second| is_number(second) && *second != first) {
        Some(second) => format!("{first} × {second} → {result}"),
        None if first.name() == result => first.to_string(),
        None => format!("{first} → {result}"),
    }
}

fn words(bound: Exactness) -> String {
    match bound {
        Exactness::Exact => "exact".into(),
        Exactness::Relative(k) => format!("{k} eps"),
        Exactness::Sum(k) => format!("n/2 eps Σ + {k} eps"),
        Exactness::Share(k) => format!("(n/2 + {k} - ln y) eps"),
        Exactness::Power { .. } => "(β (n/2 + 1) + 2) eps".into(),
        Exactness::LogSum(k) => format!("(n/2 + {k}) 2⁻²³ + {k} eps"),
    }
}

/// The name of a kernel without what differs between instruction sets: `conv_2d/f32/winograd` of
/// `conv_2d/f32/scalar/4x8/winograd-2x2`.
fn for_any_isa(name: &str) -> String {
    let parts = name.split('/').filter(|part| *part != "scalar" && !part.starts_with(|c: char| c.is_ascii_digit()));
    let without_size = |part: &str| match part.rsplit_once('-') {
        Some((name, size)) if size.starts_with(|c: char| c.is_ascii_digit()) => name.to_owned(),
        _ => part.to_owned(),
    };
    parts.map(without_size).collect::<Vec<_>>().join("/")
}

fn look(model: &Model, found: &mut BTreeMap<&'static str, Found>) {
    let options = SessionOptions { isa: Some(Isa::Scalar), ..SessionOptions::default() };
    let Ok(mut session) = Session::new(model, options) else { return };
    note(&session, false, found);
    // Numbers with which RANGE counts to three, but no loop begins; then each op is a kernel of its own. Whether the run succeeds does
    // not matter.
    let inputs = if model.graphs.len() == 1 { session.input_count() } else { 0 };
    for index in 0..inputs {
        let number = if index == 1 { 4.0 } else { 1.0 };
        let Ok(count) = session.input_tensor(index).and_then(Tensor::elements) else { continue };
        let _ = write_input(&mut session, index, &vec![number; count]);
    }
    let _ = session.run_observed(&mut |_, _, _| {});
    note(&session, true, found);
}

/// The node alone, as a graph.
fn alone(graph: &Graph, node: &Node) -> Graph {
    let mut one = Graph::new("main");
    one.tensors.clone_from(&graph.tensors);
    one.nodes = vec![node.clone()];
    one.outputs.clone_from(&node.outputs);
    let is_given = |id: &TensorId| graph.tensor(*id).data.is_none();
    one.inputs = node.inputs.iter().flatten().copied().filter(is_given).collect();
    one.inputs.sort_unstable();
    one.inputs.dedup();
    one
}

/// The same ops on elements of every other type: all tensors of the type of a node's first input become of that type, constants among
/// them zeros. What a plan takes then is known to work, as kernels are made for types.
fn look_at_other_types(
    graph: &Graph,
    seen: &mut BTreeSet<(&'static str, DType)>,
    found: &mut BTreeMap<&'static str, Found>,
) {
    for node in &graph.nodes {
        let Some(from) = node.inputs.first().copied().flatten().map(|id| graph.tensor(id).dtype) else { continue };
        if !seen.insert((node.op.name(), from)) {
            continue;
        }
        for to in [DType::F32, DType::F16, DType::I8, DType::U8, DType::I16, DType::I32, DType::I64, DType::Bool] {
            // A grid of any kind, and the one that LiteRT wants of what lies between -1 and 1, or 0 and 1.
            let unit = match to {
                DType::I8 => Quantization::per_tensor(1.0 / 256.0, -128),
                DType::U8 => Quantization::per_tensor(1.0 / 256.0, 0),
                _ => Quantization::per_tensor(1.0 / 32768.0, 0),
            };
            for quantization in [Quantization::per_tensor(0.5, 0), unit] {
                let mut one = alone(graph, node);
                for tensor in one.tensors.iter_mut().filter(|tensor| tensor.dtype == from) {
                    tensor.dtype = to;
                    let is_quantized = matches!(to, DType::I8 | DType::U8 | DType::I16);
                    tensor.quantization = is_quantized.then(|| quantization.clone());
                    let size = tensor.byte_size().unwrap_or(0);
                    if let Some(data) = &mut tensor.data {
                        *data = Data::from_bytes(&vec![0; size]);
                    }
                }
                let options = SessionOptions { isa: Some(Isa::Scalar), ..SessionOptions::default() };
                if let Ok(session) = Session::new(&Model::from_graph(one), options) {
                    note(&session, true, found);
                }
            }
        }
    }
}

/// What a session does with each op; `alone` where it does nothing along with another.
fn note(session: &Session, alone: bool, found: &mut BTreeMap<&'static str, Found>) {
    for (node, info) in session.graph().nodes.iter().zip(session.explain()) {
        let entry = found.entry(node.op.name()).or_default();
        let kernel = match info.fate {
            Fate::Kernel { name, .. } if name.contains('+') => continue,
            Fate::Kernel { name, .. } if !name.ends_with("/empty") => for_any_isa(&name),
            Fate::View { .. } => "none: a view".into(),
            Fate::Folded if !alone => "none: folded".into(),
            Fate::Folded => {
                entry.folded.insert(types(session.graph(), node));
                continue;
            }
            _ => continue,
        };
        let dtype = node.outputs.first().map(|&id| session.graph().tensor(id).dtype);
        if matches!(dtype, Some(DType::F32 | DType::Complex64)) {
            entry.exactness.insert(words(exactness(&node.op)));
        }
        entry.kernels.insert(kernel);
        entry.types.insert(types(session.graph(), node));
    }
}

fn document() -> String {
    let mut found = BTreeMap::new();
    let loaded = models().into_iter().filter_map(|bytes| litesmith_tflite::read(&bytes, &Limits::default()).ok());
    let models: Vec<_> = loaded.map(|loaded| loaded.model).collect();
    models.iter().for_each(|model| look(model, &mut found));
    let mut seen = BTreeSet::new();
    let graphs = models.iter().flat_map(|model| &model.graphs);
    graphs.for_each(|graph| look_at_other_types(graph, &mut seen, &mut found));
    for entry in found.values_mut().filter(|entry| !entry.folded.is_empty() && entry.kernels.is_empty()) {
        entry.kernels.insert("none: folded".into());
        entry.types.append(&mut entry.folded);
    }
    let isas: Vec<_> = Isa::ALL.iter().map(|isa| isa.name()).collect();
    let mut text = format!(
        "# Operators\n\nWritten by `cargo xtask operators` from the op table, the reader and the planner; `cargo xtask check` fails \
         when it differs.\n\n- **versions**: the highest version that the reader takes.\n- **types**: element types that a plan \
         takes, first input × second → output, one type where all are the same; of the cases of `testdata/grid` and the models \
         of `testdata`, and of their ops alone with other types. An op may take more.\n- **kernels**: each is compiled for {}, and the one for the CPU is chosen when a \
         session is made; `litesmith run MODEL --explain` names it. `copy` moves elements and computes nothing.\n- **float32**: \
         the largest error against the exact result; `eps` is 2⁻²³ times the result, `n` the terms of a sum, `Σ` the sum of \
         their absolute values. Integer results are the bytes that LiteRT computes.\n\n| op | code | versions | types | kernels | \
         float32 |\n|---|---|---|---|---|---|\n",
        isas.join(", ")
    );
    let list = |set: Option<&BTreeSet<String>>, code: bool| {
        let quoted = |item: &String| if code && !item.starts_with("none") { format!("`{item}`") } else { item.clone() };
        let items: Vec<_> = set.into_iter().flatten().map(quoted).collect();
        if items.is_empty() { "–".to_owned() } else { items.join(", ") }
    };
    let mut rows: Vec<_> = OP_TABLE.iter().filter_map(|&(_, name, code)| Some((name, code?))).collect();
    rows.push(("DENSIFY", DENSIFY));
    rows.sort_unstable();
    for (name, code) in rows {
        if code == DENSIFY {
            // No op of a plan: the reader makes the constants dense.
            writeln!(
                text,
                "| {name} | {code} | any | float16, float32, int8 | none: folded when a file is read | exact |"
            )
            .unwrap();
            continue;
        }
        let entry = found.get(name);
        let versions = op_versions(code).map_or_else(|| "any".to_owned(), |count| count.to_string());
        writeln!(
            text,
            "| {name} | {code} | {versions} | {} | {} | {} |",
            list(entry.map(|entry| &entry.types), false),
            list(entry.map(|entry| &entry.kernels), true),
            list(entry.map(|entry| &entry.exactness), false),
        )
        .unwrap();
    }
    text
}

#[test]
fn the_list_of_operators_is_up_to_date() {
    let path = root().join("docs/OPERATORS.md");
    let text = document();
    if std::env::var_os("LITESMITH_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differ = written.lines().zip(text.lines()).find(|(written, now)| written != now);
    assert!(written == text, "docs/OPERATORS.md is out of date, first at {differ:?}: run `cargo xtask operators`");
}

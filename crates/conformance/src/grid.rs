//! The op grid: archives of `testdata/grid`, written by `oracle/grid` (its `__init__.py` describes them).

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use litesmith_graph::{DType, Error, Graph, Op};
use litesmith_runtime::{Exactness, Fate, Isa, NodeInfo, exactness};
use litesmith_tflite::Limits;
use serde_json::Value;

use crate::{MODES, Report, check_bytes, floats, plan};

/// The files of an archive by name.
type Files = BTreeMap<String, Vec<u8>>;

type Outcome<T> = std::result::Result<T, String>;

/// Replays all cases of the archive called `op` in both modes on each of `isas`.
#[must_use]
pub fn replay(op: &str, archive: &[u8], isas: &[Isa]) -> Report {
    let mut report = Report::default();
    let files = match unzip(archive) {
        Ok(files) => files,
        Err(message) => {
            report.add(|| op.to_owned(), Err(message));
            return report;
        }
    };
    for (name, info) in &files {
        let Some(case) = name.strip_suffix("/case.json") else { continue };
        report.cases += 1;
        let info: Value = match serde_json::from_slice(info) {
            Ok(info) => info,
            Err(error) => {
                report.add(|| format!("{op} {case}"), Err(error.to_string()));
                continue;
            }
        };
        for mode in MODES {
            for &isa in isas {
                let title = || format!("{op} {case} {} {isa}", mode.0);
                report.add(title, run(&files, case, &info, mode, isa));
            }
        }
    }
    report
}

fn unzip(archive: &[u8]) -> Outcome<Files> {
    let mut archive = zip::ZipArchive::new(Cursor::new(archive)).map_err(|error| error.to_string())?;
    let mut files = Files::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        files.insert(file.name().to_owned(), bytes);
    }
    Ok(files)
}

/// A case in one mode; LiteRT may have no answer in it.
fn run(
    files: &Files,
    case: &str,
    info: &Value,
    (mode, numerics): (&str, litesmith_runtime::Numerics),
    isa: Isa,
) -> Outcome<()> {
    let Some(runs) = info[mode].as_array() else { return Ok(()) };
    let text = |error: Error| error.to_string();
    let file = |name: String| files.get(&name).ok_or_else(|| format!("no file {name}"));
    let model = file(format!("{case}/model.tflite"))?;
    let bound = bound(&litesmith_tflite::read(model, &Limits::default()).map_err(text)?.model);
    let mut session = plan(model, numerics, isa, 1).map_err(text)?;
    for (run, outputs) in runs.iter().enumerate() {
        for index in 0..session.input_count() {
            let from = file(format!("{case}/{run}/input{index}"))?;
            let to = session.input_bytes_mut(index).map_err(text)?;
            if to.len() != from.len() {
                return Err(format!("input {index} has {} bytes, expected {}", to.len(), from.len()));
            }
            to.copy_from_slice(from);
        }
        session.run().map_err(text)?;
        // Its terms are others.
        let is_winograd =
            |info: &NodeInfo| matches!(&info.fate, Fate::Kernel { name, .. } if name.contains("/winograd"));
        let by_winograd = session.explain().iter().any(is_winograd);
        for (index, shape) in outputs.as_array().into_iter().flatten().enumerate() {
            let shape: Vec<u64> = shape.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
            let tensor = session.output_tensor(index).map_err(text)?;
            if !tensor.shape.iter().map(|&size| size as u64).eq(shape.iter().copied()) {
                return Err(format!("output {index} has shape {:?}, LiteRT's has {shape:?}", tensor.shape));
            }
            let dtype = tensor.dtype;
            let ours = session.output_bytes(index).map_err(text)?;
            let optional = |kind: &str| files.get(&format!("{case}/{run}/{kind}{index}")).map(Vec::as_slice);
            let answers = Answers {
                theirs: file(format!("{case}/{run}/{mode}{index}"))?,
                // Where the modes define an op differently there is one for each.
                exact: optional(&format!("exact_{mode}")).or_else(|| optional("exact")),
                magnitude: match by_winograd && bound.is_some() {
                    true => Some(optional("winograd").ok_or("no file of Winograd's terms")?),
                    false => optional("magnitude"),
                },
            };
            compare(dtype, ours, &answers, bound)
                .map_err(|error| format!("run {run} output {index} {dtype}: {error}"))?;
        }
    }
    Ok(())
}

/// What the only op of a model is held to.
#[derive(Clone, Copy)]
struct Bound {
    exactness: Exactness,
    terms: u64,
    /// Whether the true results must be there.
    needs_exact: bool,
}

/// The bound of the only op of a model and the terms of its sums; none where there are more ops.
fn bound(model: &litesmith_graph::Model) -> Option<Bound> {
    let [graph] = model.graphs.as_slice() else { return None };
    let [node] = graph.nodes.as_slice() else { return None };
    let exactness = exactness(&node.op);
    // Boxes are chosen by comparisons, and what a custom op means is not for every one of them said in numpy.
    let is_told = !matches!(node.op, Op::NonMaxSuppressionV4(_) | Op::NonMaxSuppressionV5(_) | Op::Custom(_));
    let is_float32 = |dtype: DType| matches!(dtype, DType::F32 | DType::I32 | DType::I64 | DType::Complex64);
    let mut tensors = node.inputs.iter().flatten().chain(&node.outputs).map(|&id| graph.tensor(id));
    let needs_exact = is_told && exactness != Exactness::Exact && tensors.all(|tensor| is_float32(tensor.dtype));
    Some(Bound { exactness, terms: terms(graph), needs_exact })
}

/// Terms of one element of the output: multiply-accumulates, or inputs, for each.
fn terms(graph: &Graph) -> u64 {
    let node = &graph.nodes[0];
    let outputs: Vec<_> = node.outputs.iter().map(|&id| graph.tensor(id)).collect();
    let inputs: Vec<_> = node.inputs.iter().map(|id| id.map(|id| graph.tensor(id))).collect();
    let elements = |shape: &[usize]| shape.iter().product::<usize>().max(1) as u64;
    match &node.op {
        // A row of exponentials.
        Op::Softmax(_) | Op::LogSoftmax(_) => {
            return outputs.first().and_then(|tensor| tensor.shape.last()).map_or(1, |&width| width as u64);
        }
        // Differences, products and sums of four pixels: 2.5 eps of each.
        Op::ResizeBilinear(_) => return 5,
        _ => {}
    }
    let macs = node.op.cost(&inputs, &outputs).macs;
    let most = inputs.iter().flatten().map(|tensor| elements(&tensor.shape)).max().unwrap_or(1);
    // One more for the bias.
    macs.max(most).div_ceil(outputs.first().map_or(1, |tensor| elements(&tensor.shape))) + 1
}

/// What an output is compared with.
struct Answers<'a> {
    /// LiteRT's.
    theirs: &'a [u8],
    /// The true results, in float64, where they are known.
    exact: Option<&'a [u8]>,
    /// Sums of the absolute values of the terms.
    magnitude: Option<&'a [u8]>,
}

fn compare(dtype: DType, ours: &[u8], answers: &Answers<'_>, bound: Option<Bound>) -> Outcome<()> {
    let &Answers { theirs, exact, magnitude } = answers;
    // Complex numbers are pairs.
    let dtype = if dtype == DType::Complex64 { DType::F32 } else { dtype };
    if !matches!(dtype, DType::F32 | DType::F16) {
        return check_bytes(ours, theirs);
    }
    if ours.len() != theirs.len() {
        return Err(format!("{} bytes, expected {}", ours.len(), theirs.len()));
    }
    let (ours, theirs) = (floats(dtype, ours), floats(dtype, theirs));
    let magnitude = magnitude.map_or_else(|| theirs.clone(), |bytes| floats(dtype, bytes));
    let exact: Option<Vec<_>> =
        exact.map(|bytes| bytes.as_chunks().0.iter().copied().map(f64::from_le_bytes).collect());
    if magnitude.len() != ours.len() || exact.as_ref().is_some_and(|exact| exact.len() != ours.len()) {
        return Err("exact results or magnitudes are not as many as the elements".into());
    }
    match (&exact, bound) {
        (Some(exact), Some(bound)) => check_exact(&ours, exact, &magnitude, bound)?,
        (None, Some(Bound { needs_exact: true, .. })) => {
            return Err("nothing holds it to its bound: no exact results".into());
        }
        _ => {}
    }
    let range = theirs.iter().fold(0.0_f32, |range, y| if y.is_finite() { range.max(y.abs()) } else { range });
    for (at, ((&ours, &theirs), &magnitude)) in ours.iter().zip(&theirs).zip(&magnitude).enumerate() {
        // Both sides may be off by the bound; a whole model by 1e-4 of its range.
        let allowed = match bound {
            Some(Bound { exactness, terms, .. }) => 2.0 * exactness.bound(theirs, magnitude.abs(), terms),
            None => 1e-4 * range,
        };
        // What is float16 is rounded once more on both sides, by half of its last bit.
        let rounding = if dtype == DType::F16 { theirs.abs() * 2.0_f32.powi(-10) + 2.0_f32.powi(-24) } else { 0.0 };
        // LiteRT may be further off than we: its error is known.
        let known = exact.as_ref().zip(bound).map_or(0.0, |(exact, Bound { exactness, terms, .. })| {
            let error = (f64::from(theirs) - exact[at]).abs() as f32;
            error * (1.0 + f32::EPSILON) + exactness.bound(exact[at] as f32, magnitude.abs(), terms)
        });
        let allowed = (allowed + rounding).max(known);
        let same = ours == theirs || (ours.is_nan() && theirs.is_nan());
        // A difference that is no number is not within the bound.
        let within = (ours - theirs).abs() <= allowed;
        if !(same || within) {
            return Err(format!("element {at}: {ours:e} for {theirs:e}, allowed is {allowed:e}"));
        }
    }
    Ok(())
}

/// Holds float32 results to the bound of the op; tells of the one that is furthest outside it.
fn check_exact(ours: &[f32], exact: &[f64], magnitude: &[f32], bound: Bound) -> Outcome<()> {
    let mut worst = (1.0, String::new());
    for (at, ((&ours, &exact), &magnitude)) in ours.iter().zip(exact).zip(magnitude).enumerate() {
        // Beyond the range, and where there is no result, the nearest float is the only one that will do.
        let nearest = exact as f32;
        if ours == nearest || (ours.is_nan() && nearest.is_nan()) {
            continue;
        }
        let error = (f64::from(ours) - exact).abs();
        let allowed = f64::from(bound.exactness.bound(nearest, magnitude.abs(), bound.terms));
        let ratio = if error.is_finite() { error / allowed } else { f64::INFINITY };
        if ratio > worst.0 {
            let eps = f64::from(f32::EPSILON) * exact.abs();
            let message = format!(
                "element {at}: {ours:e} for {exact:e} exactly, off by {:.2} eps of it, allowed are {:.2}",
                error / eps,
                allowed / eps
            );
            worst = (ratio, message);
        }
    }
    if worst.1.is_empty() { Ok(()) } else { Err(worst.1) }
}

//! Every archive of `testdata/grid` (see `oracle/grid/__init__.py`), on every instruction set of this CPU, in both modes:
//! integers must be the bytes that LiteRT computed, floats within the bound of the op.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use litesmith_graph::{DType, Graph, Model};
use litesmith_runtime::{Exactness, Isa, Numerics, Session, SessionOptions, exactness};
use litesmith_tflite::Limits;
use serde_json::Value;

/// The files of an archive by name.
type Files = BTreeMap<String, Vec<u8>>;

fn load(path: &Path) -> Files {
    let mut archive = zip::ZipArchive::new(Cursor::new(std::fs::read(path).unwrap())).unwrap();
    let files = archive.len();
    let read = |index| {
        let mut file = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        (file.name().to_owned(), bytes)
    };
    (0..files).map(read).collect()
}

/// A mode of a case: what went wrong, if anything.
fn replay(files: &Files, case: &str, info: &Value, numerics: Numerics, isa: Isa) -> Result<(), String> {
    let mode = match numerics {
        Numerics::Litert => "litert",
        Numerics::Reference => "reference",
    };
    let Some(runs) = info[mode].as_array() else { return Ok(()) };
    let model = litesmith_tflite::read(&files[&format!("{case}/model.tflite")], &Limits::default())
        .map_err(|error| error.to_string())?
        .model;
    let options = SessionOptions { numerics, isa: Some(isa), ..SessionOptions::default() };
    let mut session = Session::new(&model, options).map_err(|error| error.to_string())?;
    for (run, outputs) in runs.iter().enumerate() {
        for index in 0..session.input_count() {
            let from = &files[&format!("{case}/{run}/input{index}")];
            session.input_bytes_mut(index).unwrap().copy_from_slice(from);
        }
        session.run().map_err(|error| error.to_string())?;
        for (index, shape) in outputs.as_array().unwrap().iter().enumerate() {
            let shape: Vec<_> = shape.as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect();
            let tensor = session.output_tensor(index).unwrap();
            if tensor.shape != shape {
                return Err(format!("output {index} has shape {:?}, LiteRT's has {shape:?}", tensor.shape));
            }
            let dtype = tensor.dtype;
            let ours = session.output_bytes(index).unwrap();
            let theirs = &files[&format!("{case}/{run}/{mode}{index}")];
            let magnitude = files.get(&format!("{case}/{run}/magnitude{index}"));
            compare(dtype, ours, theirs, magnitude.map(Vec::as_slice), bound_of(&model))
                .map_err(|error| format!("run {run} output {index} {dtype}: {error}"))?;
        }
    }
    Ok(())
}

/// The bound of the only op of a model and the terms of its sums; that of whole models where there are more ops.
fn bound_of(model: &Model) -> Option<(Exactness, u64)> {
    let [graph] = model.graphs.as_slice() else { return None };
    let [node] = graph.nodes.as_slice() else { return None };
    Some((exactness(&node.op), terms(graph)))
}

/// Terms of one element of the output: multiply-accumulates, or inputs, for each.
fn terms(graph: &Graph) -> u64 {
    let node = &graph.nodes[0];
    let outputs: Vec<_> = node.outputs.iter().map(|&id| graph.tensor(id)).collect();
    let inputs: Vec<_> = node.inputs.iter().map(|id| id.map(|id| graph.tensor(id))).collect();
    let elements = |shape: &[usize]| shape.iter().product::<usize>().max(1) as u64;
    let macs = node.op.cost(&inputs, &outputs).macs;
    let most = inputs.iter().flatten().map(|tensor| elements(&tensor.shape)).max().unwrap_or(1);
    // One more for the bias.
    macs.max(most).div_ceil(outputs.first().map_or(1, |tensor| elements(&tensor.shape))) + 1
}

fn compare(
    dtype: DType,
    ours: &[u8],
    theirs: &[u8],
    magnitude: Option<&[u8]>,
    bound: Option<(Exactness, u64)>,
) -> Result<(), String> {
    let floats = |bytes: &[u8]| -> Vec<f32> {
        match dtype {
            DType::F16 => bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            _ => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        }
    };
    if !matches!(dtype, DType::F32 | DType::F16) {
        let wrong = ours.iter().zip(theirs).filter(|(ours, theirs)| ours != theirs).count();
        let first = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs);
        return match first {
            None if ours.len() == theirs.len() => Ok(()),
            None => Err(format!("{} bytes, expected {}", ours.len(), theirs.len())),
            Some(at) => Err(format!("{wrong} bytes differ, first at {at}: {} for {}", ours[at], theirs[at])),
        };
    }
    let (ours, theirs) = (floats(ours), floats(theirs));
    let magnitude = magnitude.map_or_else(|| theirs.clone(), floats);
    let range = theirs.iter().fold(0.0_f32, |range, y| if y.is_finite() { range.max(y.abs()) } else { range });
    for (at, ((&ours, &theirs), &magnitude)) in ours.iter().zip(&theirs).zip(&magnitude).enumerate() {
        // Both sides may be off by the bound.
        let allowed = match bound {
            Some((exactness, terms)) => 2.0 * exactness.bound(theirs, magnitude.abs(), terms),
            None => 1e-4 * range,
        };
        // What is float16 is rounded once more on both sides, by half of its last bit.
        let rounding = if dtype == DType::F16 { theirs.abs() * 2.0_f32.powi(-10) + 2.0_f32.powi(-24) } else { 0.0 };
        let allowed = allowed + rounding;
        let same = ours == theirs || (ours.is_nan() && theirs.is_nan());
        // A difference that is no number is not within the bound.
        let within = (ours - theirs).abs() <= allowed;
        if !(same || within) {
            return Err(format!("element {at}: {ours:e} for {theirs:e}, allowed is {allowed:e}"));
        }
    }
    Ok(())
}

/// `LITESMITH_OP_GRID` names another folder, of cases with other seeds.
fn archives() -> Vec<PathBuf> {
    let folder = std::env::var_os("LITESMITH_OP_GRID")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/grid"), PathBuf::from);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "zip"));
    paths.sort();
    paths
}

#[test]
fn every_case_agrees_with_litert() {
    let (mut cases, mut wrong) = (0, Vec::new());
    for path in archives() {
        let op = path.file_stem().unwrap().to_string_lossy().into_owned();
        let files = load(&path);
        for (name, info) in files.iter().filter(|(name, _)| name.ends_with("/case.json")) {
            let case = name.trim_end_matches("/case.json");
            let info: Value = serde_json::from_slice(info).unwrap();
            cases += 1;
            for numerics in [Numerics::Litert, Numerics::Reference] {
                for isa in Isa::available() {
                    if let Err(error) = replay(&files, case, &info, numerics, isa) {
                        wrong.push(format!("{op} {case} {numerics:?} {isa}: {error}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases >= 144, "only {cases} cases");
}

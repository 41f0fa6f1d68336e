//! The world's models: every `.tflite` file under the folder that `LITESMITH_MODELS` names, when it is set, must load, be planned
//! and run, with each of its signatures. Integers must be the same whatever runs them, floats nearly so.

use std::path::{Path, PathBuf};

use litesmith::{Isa, Session, SessionOptions, load_model};
use litesmith_graph::{DType, Model};
use litesmith_testkit::Random;

fn models(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            models(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "tflite") {
            found.push(path);
        }
    }
}

/// Fills an input: floats in 0..1, quantized values of every kind; plain integers, which are often indices, 0 or 1.
fn fill(dtype: DType, quantized: bool, bytes: &mut [u8], seed: u64) {
    let mut random = Random::new(seed);
    // 0..1, in which logarithms and square roots are defined.
    let mut float = || (random.float() + 1.0) / 2.0;
    match dtype {
        DType::F32 => bytes.chunks_exact_mut(4).for_each(|x| x.copy_from_slice(&float().to_ne_bytes())),
        DType::F16 => bytes.chunks_exact_mut(2).for_each(|x| {
            x.copy_from_slice(&half::f16::from_f32(float()).to_ne_bytes());
        }),
        DType::I8 | DType::U8 | DType::I16 if quantized => {
            random.fill(bytes);
        }
        _ => {
            let size = (dtype.bits() / 8).max(1);
            bytes.chunks_exact_mut(size).for_each(|x| {
                x.fill(0);
                x[0] = random.below(2) as u8;
            });
        }
    }
}

/// The outputs of two runs, one after the other: the second sees the states that the first left.
fn run(model: &Model, signature: Option<&str>, threads: usize, isa: Isa) -> Result<Vec<(DType, Vec<u8>)>, String> {
    let options = SessionOptions { threads, isa: Some(isa), ..SessionOptions::default() };
    let session = match signature {
        Some(key) => Session::for_signature(model, key, options),
        None => Session::new(model, options),
    };
    let mut session = session.map_err(|error| error.to_string())?;
    let mut outputs = Vec::new();
    for seed in 0..2 {
        for index in 0..session.input_count() {
            let tensor = session.input_tensor(index).unwrap();
            let (dtype, quantized) = (tensor.dtype, tensor.quantization.is_some());
            fill(dtype, quantized, session.input_bytes_mut(index).unwrap(), seed * 100 + index as u64);
        }
        session.run().map_err(|error| error.to_string())?;
        for index in 0..session.output_count() {
            let dtype = session.output_tensor(index).unwrap().dtype;
            outputs.push((dtype, session.output_bytes(index).unwrap().to_vec()));
        }
    }
    Ok(outputs)
}

/// The furthest that floats are apart, as a share of the largest magnitude.
fn apart(a: &[u8], b: &[u8]) -> f32 {
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks_exact(4).map(|x| f32::from_ne_bytes([x[0], x[1], x[2], x[3]])).collect()
    };
    let (a, b) = (floats(a), floats(b));
    let largest = a.iter().chain(&b).fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
    let same = |x: f32, y: f32| x == y || (x.is_nan() && y.is_nan());
    let share = |x: f32, y: f32| (x - y).abs() / largest;
    // A NaN beside a number is as far apart as can be; `max` alone would pass over it.
    let gap = |(&x, &y): (&f32, &f32)| match share(x, y) {
        _ if same(x, y) => 0.0,
        share if share.is_nan() => f32::INFINITY,
        share => share,
    };
    a.iter().zip(&b).map(gap).fold(0.0, f32::max)
}

/// What two runs of one signature differ in. Where float values decide what integers follow, as in dynamic range, what lies on
/// the border of a quantization step may fall to the other side.
fn difference(a: &[(DType, Vec<u8>)], b: &[(DType, Vec<u8>)], integer: bool) -> Option<String> {
    for (index, ((dtype, a), (_, b))) in a.iter().zip(b).enumerate() {
        if a.len() != b.len() {
            return Some(format!("output {index}: {} bytes and {}", a.len(), b.len()));
        }
        let wrong = match dtype {
            DType::F32 if !integer => apart(a, b) > 0.02,
            _ => integer && a != b,
        };
        if wrong {
            return Some(format!("output {index} {dtype} differs by {:.1e} of its range", apart(a, b)));
        }
    }
    None
}

#[test]
fn every_model_runs() {
    let Some(folder) = std::env::var_os("LITESMITH_MODELS") else {
        return;
    };
    let mut paths = Vec::new();
    models(Path::new(&folder), &mut paths);
    assert!(!paths.is_empty(), "no model in the folder LITESMITH_MODELS");
    let mut wrong = Vec::new();
    for path in &paths {
        let name = path.display();
        let model = match load_model(path) {
            Ok(loaded) => loaded.model,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        // Only a model without float tensors of its own computes the same bytes everywhere.
        let integer = model
            .graphs
            .iter()
            .flat_map(|graph| &graph.tensors)
            .all(|tensor| tensor.dtype != DType::F32 && tensor.dtype != DType::F16);
        let mut signatures: Vec<_> = model.signatures.iter().map(|signature| Some(signature.key.as_str())).collect();
        if signatures.is_empty() {
            signatures.push(None);
        }
        for signature in signatures {
            let mut first: Option<Vec<(DType, Vec<u8>)>> = None;
            for (threads, isa) in Isa::available().flat_map(|isa| [(1, isa), (2, isa)]) {
                let title = format!("{name} {} {threads} threads {isa}", signature.unwrap_or_default());
                match (run(&model, signature, threads, isa), &first) {
                    (Err(error), _) => {
                        wrong.push(format!("{title}: {error}"));
                        break;
                    }
                    (Ok(outputs), None) => first = Some(outputs),
                    (Ok(outputs), Some(first)) => {
                        wrong.extend(difference(first, &outputs, integer).map(|text| format!("{title}: {text}")));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} models:\n{}", wrong.len(), paths.len(), wrong.join("\n"));
}

//! The world's models: every `.tflite` file under the folder that `LITESMITH_MODELS` names, when it is set, must load, be planned
//! and run, with each of its signatures. Threads never change a byte. Instruction sets change none of an integer model's, and
//! of a float model's results no more than [`FLOAT_BOUND`] of their range, nor which is the largest.

use std::path::Path;

use litesmith::{Isa, Session, SessionOptions, load_model};
use litesmith_graph::{DType, Graph, Model, Op, TensorId};
use litesmith_testkit::{Random, files_below};

/// Shares of an output's range. One step of an 8-bit quantization is 1/255 of its tensor's range.
const FLOAT_BOUND: f32 = 1e-4;
const STEP_BOUND: f32 = 0.02;

/// What a model computes with.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Integers, but for what is converted from the inputs or to the outputs.
    Integer,
    Float,
    /// Floats that are quantized on the way: dynamic range, and models quantized in part. A float that lies on the border between
    /// two steps falls to either side by its last bit, and all that follows with it.
    Stepped,
}

fn kind(model: &Model) -> Kind {
    let kinds = model.graphs.iter().map(graph_kind);
    kinds.fold(Kind::Integer, |all, one| match (all, one) {
        (Kind::Stepped, _) | (_, Kind::Stepped) => Kind::Stepped,
        (Kind::Float, _) | (_, Kind::Float) => Kind::Float,
        _ => Kind::Integer,
    })
}

fn graph_kind(graph: &Graph) -> Kind {
    let is_float = |id: TensorId| matches!(graph.tensor(id).dtype, DType::F32 | DType::F16);
    let mut computed = vec![false; graph.tensors.len()];
    let mut kind = Kind::Integer;
    for node in &graph.nodes {
        let inputs = || node.inputs.iter().copied().flatten();
        let stepped = match node.op {
            Op::Quantize(_) => inputs().any(|id| computed[id.0]),
            Op::Dequantize(_) => false,
            _ if !node.outputs.iter().any(|&id| is_float(id)) => false,
            _ => {
                node.outputs.iter().for_each(|id| computed[id.0] = true);
                if kind == Kind::Integer {
                    kind = Kind::Float;
                }
                let is_weights = |id| {
                    let tensor = graph.tensor(id);
                    tensor.data.is_some() && tensor.quantization.is_some() && !is_float(id)
                };
                !matches!(node.op, Op::EmbeddingLookup(_)) && inputs().any(is_weights)
            }
        };
        if stepped {
            return Kind::Stepped;
        }
    }
    kind
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

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|x| f32::from_ne_bytes([x[0], x[1], x[2], x[3]])).collect()
}

/// The furthest that floats are apart, as a share of their range with zero in it.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    let finite = || a.iter().copied().filter(|x| x.is_finite());
    let range = (finite().fold(0.0, f32::max) - finite().fold(0.0, f32::min)).max(f32::MIN_POSITIVE);
    let same = |x: f32, y: f32| x == y || (x.is_nan() && y.is_nan());
    let share = |x: f32, y: f32| (x - y).abs() / range;
    // A NaN beside a number is as far apart as can be; `max` alone would pass over it.
    let gap = |(&x, &y): (&f32, &f32)| match share(x, y) {
        _ if same(x, y) => 0.0,
        share if share.is_nan() => f32::INFINITY,
        share => share,
    };
    a.iter().zip(b).map(gap).fold(0.0, f32::max)
}

fn top_1(values: &[f32]) -> Option<usize> {
    (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]).then(b.cmp(&a)))
}

/// What two runs of one signature on two instruction sets differ in.
fn difference(a: &[(DType, Vec<u8>)], b: &[(DType, Vec<u8>)], kind: Kind) -> Option<String> {
    for (index, ((dtype, a), (_, b))) in a.iter().zip(b).enumerate() {
        if a == b {
            continue;
        }
        if a.len() != b.len() {
            return Some(format!("output {index}: {} bytes and {}", a.len(), b.len()));
        }
        if kind == Kind::Integer || *dtype != DType::F32 {
            // Which numbers follow from quantized floats is not known: those of a stepped model may be any.
            if kind == Kind::Stepped {
                continue;
            }
            return Some(format!("output {index} {dtype} has other bytes"));
        }
        let (a, b) = (floats(a), floats(b));
        let bound = if kind == Kind::Stepped { STEP_BOUND } else { FLOAT_BOUND };
        if apart(&a, &b) > bound {
            return Some(format!("output {index} differs by {:.1e} of its range", apart(&a, &b)));
        }
        if kind == Kind::Float && top_1(&a) != top_1(&b) {
            return Some(format!("output {index} has another top-1"));
        }
    }
    None
}

#[test]
fn every_model_runs() {
    let Some(folder) = std::env::var_os("LITESMITH_MODELS") else {
        return;
    };
    let paths = files_below(Path::new(&folder), "tflite").unwrap();
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
        let kind = kind(&model);
        let mut signatures: Vec<_> = model.signatures.iter().map(|signature| Some(signature.key.as_str())).collect();
        if signatures.is_empty() {
            signatures.push(None);
        }
        for signature in signatures {
            let mut first: Option<Vec<(DType, Vec<u8>)>> = None;
            for isa in Isa::available() {
                let title = format!("{name} {} {isa} ({kind:?})", signature.unwrap_or_default());
                let outputs = match (run(&model, signature, 1, isa), run(&model, signature, 2, isa)) {
                    (Err(error), _) | (_, Err(error)) => {
                        wrong.push(format!("{title}: {error}"));
                        break;
                    }
                    (Ok(one), Ok(two)) => {
                        if one != two {
                            wrong.push(format!("{title}: two threads give other bytes"));
                        }
                        one
                    }
                };
                match &first {
                    None => first = Some(outputs),
                    Some(first) => {
                        wrong.extend(difference(first, &outputs, kind).map(|text| format!("{title}: {text}")));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences in {} models:\n{}", wrong.len(), paths.len(), wrong.join("\n"));
}

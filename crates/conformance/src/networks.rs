//! Whole networks, as TensorFlow's converter writes them (`testdata/models`, made by `oracle/make_model_goldens.py`).

use litesmith_graph::{DType, Error, Quantization};
use litesmith_runtime::{Isa, Session};
use litesmith_tflite::Limits;
use serde_json::Value;

use crate::npy::Array;
use crate::{MODES, Report, check_bytes, floats, plan};

/// Of the output's range. What two orders of summation in float32 leave.
const FLOAT_TOLERANCE: f32 = 1e-5;

type Outcome<T> = std::result::Result<T, String>;

/// Replays the entries of `models.json` whose model's name `wanted` accepts and whose results are integers or not, as
/// it says, in both modes, for each number of `threads`, on each of `isas`. `file` brings the files.
///
/// # Errors
/// If `models.json` cannot be read.
pub fn replay(
    file: &dyn Fn(&str) -> Option<Vec<u8>>,
    wanted: impl Fn(&str, bool) -> bool,
    threads: &[usize],
    isas: &[Isa],
) -> Outcome<Report> {
    let file = |name: &str| file(name).ok_or_else(|| format!("no file {name}"));
    let entries: Vec<Value> = serde_json::from_slice(&file("models.json")?).map_err(|error| error.to_string())?;
    let mut report = Report::default();
    for entry in &entries {
        let text = |key: &str| entry[key].as_str().ok_or_else(|| format!("models.json: no {key}"));
        let (name, exact) = (text("model")?, entry["exact"].as_bool().unwrap_or(false));
        if !wanted(name, exact) {
            continue;
        }
        report.cases += 1;
        let model = file(name)?;
        let loaded = litesmith_tflite::read(&model, &Limits::default()).map_err(|error| error.to_string())?;
        if !loaded.warnings.is_empty() {
            report.failures.push(format!("{name}: {}", loaded.warnings.join("; ")));
        }
        let input = Array::read(&file(text("input")?)?)?;
        for (mode, numerics) in MODES {
            // LiteRT's reference kernels abort on some models.
            let Ok(golden) = text(mode) else { continue };
            let golden = Array::read(&file(golden)?)?;
            for (&threads, &isa) in threads.iter().flat_map(|threads| isas.iter().map(move |isa| (threads, isa))) {
                // Without a fused multiply-add, what lies on the border of a quantization step before an int8 layer,
                // as in dynamic range, falls to the other side, which is more than the tolerance.
                if name.contains("dynamic") && !fused(isa) {
                    continue;
                }
                let outcome = plan(&model, numerics, isa, threads)
                    .and_then(|mut session| run(&mut session, &input).map(|()| session))
                    .map_err(|error| error.to_string())
                    .and_then(|session| compare(&session, &golden, exact));
                report.add(|| format!("{name} {mode}, {threads} threads, {isa}"), outcome);
            }
        }
    }
    Ok(report)
}

/// Whether float sums of `isa` round once for each product.
fn fused(isa: Isa) -> bool {
    !matches!(isa, Isa::Scalar | Isa::Simd128)
}

/// Runs all samples of `input` as one batch.
fn run(session: &mut Session, input: &Array) -> Result<(), Error> {
    if session.input_tensor(0)?.shape != input.shape {
        session.resize_batch(input.shape.first().copied().unwrap_or(1))?;
    }
    let tensor = session.input_tensor(0)?;
    let (dtype, quantization) = (tensor.dtype, tensor.quantization.as_ref().and_then(Quantization::as_per_tensor));
    let bytes: Vec<u8> = match quantization {
        Some((scale, zero_point)) if input.dtype == DType::F32 && dtype != DType::F32 => {
            let reals = floats(DType::F32, &input.bytes);
            let quantized = |real: &f32| (real / scale).round() as i64 + zero_point;
            match dtype {
                DType::I8 => reals.iter().map(|real| (quantized(real).clamp(-128, 127) as i8) as u8).collect(),
                DType::U8 => reals.iter().map(|real| quantized(real).clamp(0, 255) as u8).collect(),
                DType::I16 => reals
                    .iter()
                    .flat_map(|real| (quantized(real).clamp(i16::MIN.into(), i16::MAX.into()) as i16).to_le_bytes())
                    .collect(),
                other => return Err(Error::unsupported("input 0", format!("elements of type {other}"))),
            }
        }
        _ => input.bytes.clone(),
    };
    let to = session.input_bytes_mut(0)?;
    if to.len() != bytes.len() {
        return Err(Error::invalid("input 0", format!("got {} bytes, expected {}", bytes.len(), to.len())));
    }
    to.copy_from_slice(&bytes);
    session.run()
}

/// What is wrong with the output, if anything.
fn compare(session: &Session, golden: &Array, exact: bool) -> Outcome<()> {
    let tensor = session.output_tensor(0).map_err(|error| error.to_string())?;
    let ours = session.output_bytes(0).map_err(|error| error.to_string())?;
    if (tensor.dtype, &tensor.shape) != (golden.dtype, &golden.shape) {
        return Err(format!("{} {:?}, not {} {:?}", tensor.dtype, tensor.shape, golden.dtype, golden.shape));
    }
    if exact {
        return check_bytes(ours, &golden.bytes);
    }
    let (ours, theirs) = (floats(tensor.dtype, ours), floats(golden.dtype, &golden.bytes));
    let largest = theirs.iter().copied().fold(f32::MIN, f32::max);
    let smallest = theirs.iter().copied().fold(f32::MAX, f32::min);
    let relative = |(ours, theirs): (&f32, &f32)| (ours - theirs).abs() / (largest - smallest);
    let wrong: Vec<f32> =
        ours.iter().zip(&theirs).map(relative).filter(|r| r.is_nan() || *r > FLOAT_TOLERANCE).collect();
    match wrong.iter().copied().reduce(f32::max) {
        None => Ok(()),
        Some(most) => Err(format!("{} of {} outputs differ, by {most:.1e} of the range", wrong.len(), ours.len())),
    }
}

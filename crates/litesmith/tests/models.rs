//! Whole networks, as TensorFlow's converter writes them, against what LiteRT computed for them (`testdata/models`, made by
//! `oracle/make_model_goldens.py`): byte for byte for integers, under both numerics modes.

use std::path::PathBuf;

use litesmith::data::{NpyArray, Pixels, RawArray, load_npy, read_npy};
use litesmith::raw::run_npy;
use litesmith::{Isa, Numerics, Session, SessionOptions, load_model};
use serde_json::Value;

/// Of the output's range. What two orders of summation in float32 leave; dynamic range adds a quantization step of its own.
const FLOAT_TOLERANCE: f32 = 1e-5;

fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../testdata/models", name].iter().collect()
}

fn entries() -> Vec<Value> {
    let text = std::fs::read_to_string(file("models.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn run(model: &str, options: SessionOptions, input: &RawArray) -> Result<NpyArray, String> {
    let loaded = load_model(&file(model)).map_err(|error| error.to_string())?;
    assert_eq!(loaded.warnings, Vec::<String>::new(), "{model}");
    let mut session = Session::new(&loaded.model, options).map_err(|error| error.to_string())?;
    read_npy(&run_npy(&mut session, input).map_err(|error| error.to_string())?).map_err(|error| error.to_string())
}

fn floats(array: &NpyArray) -> Vec<f32> {
    match &array.values {
        Pixels::U8(bytes) => bytes.iter().copied().map(f32::from).collect(),
        Pixels::F32(values) => values.clone(),
    }
}

/// The furthest that two outputs are apart, as a share of the range of the wanted one.
fn apart(found: &[f32], wanted: &[f32]) -> f32 {
    let largest = wanted.iter().copied().fold(f32::MIN, f32::max);
    let smallest = wanted.iter().copied().fold(f32::MAX, f32::min);
    let furthest = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    furthest / (largest - smallest)
}

/// Compares every chosen network in both modes with 1, 2 and 3 threads and every instruction set of this CPU; all differences are reported at once.
fn compare(wanted_entry: impl Fn(&Value) -> bool, compared_min: usize) {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for entry in entries().iter().filter(|entry| wanted_entry(entry)) {
        let model = entry["model"].as_str().unwrap();
        let exact = entry["exact"].as_bool().unwrap();
        let input = RawArray::load(file(entry["input"].as_str().unwrap())).unwrap();
        for (mode, numerics) in [("litert", Numerics::Litert), ("reference", Numerics::Reference)] {
            // LiteRT's reference kernels abort on some models.
            let Some(golden) = entry[mode].as_str() else { continue };
            let wanted = load_npy(file(golden)).unwrap();
            // Scalar float sums have no fused multiply-add. Where an int8 layer follows, as in dynamic range, what lies on
            // the border of a quantization step falls to the other side, which is more than the tolerance.
            let scalar = !model.contains("dynamic");
            let isas = Isa::ALL.iter().copied().filter(|&isa| isa.is_available() && (scalar || isa != Isa::Scalar));
            for (threads, isa) in [1, 2, 3].into_iter().flat_map(|threads| isas.clone().map(move |isa| (threads, isa)))
            {
                compared += 1;
                let title = format!("{model} {mode}, {threads} threads, {isa}");
                let options = SessionOptions { threads, numerics, isa: Some(isa), ..SessionOptions::default() };
                match run(model, options, &input) {
                    Ok(found) => {
                        wrong.extend(difference(&found, &wanted, exact).map(|text| format!("{title}: {text}")))
                    }
                    Err(error) => wrong.push(format!("{title}: {error}")),
                }
            }
        }
    }
    assert!(compared >= compared_min, "only {compared} comparisons were made");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What is wrong with an output, if anything.
fn difference(found: &NpyArray, wanted: &NpyArray, exact: bool) -> Option<String> {
    if (found.dtype, &found.shape) != (wanted.dtype, &wanted.shape) {
        return Some(format!("{} {:?}, not {} {:?}", found.dtype, found.shape, wanted.dtype, wanted.shape));
    }
    let (found, wanted) = (floats(found), floats(wanted));
    let different = found.iter().zip(&wanted).filter(|(a, b)| a != b).count();
    let relative = apart(&found, &wanted);
    let bad = if exact { different > 0 } else { relative > FLOAT_TOLERANCE };
    bad.then(|| format!("{different} of {} outputs differ, by {relative:.1e} of the range", wanted.len()))
}

fn of_network(entry: &Value, name: &str) -> bool {
    entry["model"].as_str().unwrap().starts_with(name)
}

#[test]
fn the_reference_network_computes_what_litert_computes() {
    compare(|entry| of_network(entry, "digits"), 24);
}

#[test]
fn float_and_dynamic_networks_compute_what_litert_computes() {
    compare(|entry| !of_network(entry, "digits") && !entry["exact"].as_bool().unwrap(), 24);
}

#[test]
fn integer_networks_compute_what_litert_computes() {
    compare(|entry| !of_network(entry, "digits") && entry["exact"].as_bool().unwrap(), 20);
}

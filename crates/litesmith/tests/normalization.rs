//! How pixels become numbers for a model whose file does not say: bytes as the caller says or 0 to 1, floats as they are.

use std::path::Path;

use litesmith::compress::{CalibrationConfig, CalibratorKind, IoType, QuantizationConfig};
use litesmith::data::{OpenOptions, Split, SplitKind, open};
use litesmith::graph::ops::Relu;
use litesmith::graph::{DType, Graph, Model, Normalization, Tensor, TensorMetadata};
use litesmith::progress::Silent;
use litesmith::{EvaluateOptions, Predictor, SessionOptions, evaluate, quantize_on};

/// `max(x, 0)` of an image of two pixels, without metadata.
fn relu() -> Model {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::F32, [1, 1, 2, 1]));
    let y = graph.add_node(Relu, &[Some(x)], "y").unwrap();
    graph.outputs = vec![y];
    Model::from_graph(graph)
}

/// A `.npy` of format version 1.
fn npy(path: &Path, dtype: &str, shape: &str, bytes: &[u8]) {
    let mut header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({shape}), }}");
    header.push_str(&" ".repeat(63 - (header.len() + 10) % 64));
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(bytes);
    std::fs::write(path, file).unwrap();
}

fn split(folder: &Path, dtype: &str, bytes: &[u8]) -> Split {
    npy(&folder.join("x.npy"), dtype, "2, 1, 2", bytes);
    npy(&folder.join("y.npy"), "|u1", "2,", &[0, 1]);
    let spec = format!("npy:{0}/x.npy,{0}/y.npy", folder.display());
    open(&spec, &OpenOptions::default()).unwrap().require(SplitKind::Train).unwrap().clone()
}

fn floats(values: [f32; 4]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The output's scale after calibration on `split`.
fn output_scale(model: &Model, split: &Split, normalization: Option<Normalization>) -> f32 {
    let config = QuantizationConfig {
        input_type: IoType::Int8,
        output_type: IoType::Int8,
        calibration: CalibrationConfig {
            samples: 2,
            calibrator: CalibratorKind::MinMax,
            ..CalibrationConfig::default()
        },
        ..QuantizationConfig::default()
    };
    let session = SessionOptions::default();
    let (quantized, _) = quantize_on(model, Some(split), &config, vec![normalization], &session, &mut Silent).unwrap();
    let graph = quantized.main().unwrap();
    graph.tensor(graph.outputs[0]).quantization.as_ref().unwrap().scales[0] * 255.0
}

fn close(got: f32, expected: f32) {
    assert!((got - expected).abs() < expected * 1e-4, "got {got}, expected {expected}");
}

#[test]
fn bytes_are_calibrated_as_the_caller_says() {
    let folder = tempfile::tempdir().unwrap();
    let split = split(folder.path(), "|u1", &[0, 10, 100, 200]);
    close(output_scale(&relu(), &split, None), 200.0 / 255.0);
    let raw = |mean, std| Some(Normalization { mean: vec![mean], std: vec![std] });
    close(output_scale(&relu(), &split, raw(0.0, 1.0)), 200.0);
    close(output_scale(&relu(), &split, raw(100.0, 50.0)), 2.0);
}

#[test]
fn what_the_file_says_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let split = split(folder.path(), "|u1", &[0, 10, 100, 200]);
    let mut model = relu();
    let own = Normalization { mean: vec![0.0], std: vec![2.0] };
    model.metadata.inputs = vec![TensorMetadata { normalization: Some(own), ..TensorMetadata::default() }];
    close(output_scale(&model, &split, None), 100.0);
}

#[test]
fn floats_are_taken_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let split = split(folder.path(), "<f4", &floats([-80.0, 0.0, 12.0, 20.0]));
    close(output_scale(&relu(), &split, None), 20.0);
    // The caller speaks of bytes; these are none.
    close(output_scale(&relu(), &split, Some(Normalization { mean: vec![0.0], std: vec![255.0] })), 20.0);
}

#[test]
fn of_two_models_the_one_that_says_speaks_for_both() {
    let folder = tempfile::tempdir().unwrap();
    let split = split(folder.path(), "|u1", &[0, 10, 200, 100]);
    let says = Normalization { mean: vec![0.0], std: vec![1.0] };
    let mut told = relu();
    told.metadata.inputs = vec![TensorMetadata { normalization: Some(says), ..TensorMetadata::default() }];
    let session = SessionOptions::default;
    for (model, reference) in [(&told, &relu()), (&relu(), &told)] {
        let mut model = Predictor::for_split(model, session(), &split).unwrap();
        let mut reference = Predictor::for_split(reference, session(), &split).unwrap();
        let options = EvaluateOptions::default();
        let (_, agreement) = evaluate(&mut model, Some(&mut reference), &split, &options, &mut Silent).unwrap();
        assert_eq!(model.preprocess(), reference.preprocess());
        assert_eq!(model.preprocess().std, [1.0]);
        assert!(agreement.unwrap().finish().max_abs_difference.abs() < 1e-6);
    }
}

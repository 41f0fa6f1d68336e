//! What is written: reads back equal, never changes by accident, and is small.

mod common;

use std::path::PathBuf;

use litesmith_graph::ops::{BatchNormalization, Dropout, FullyConnected, Reshape};
use litesmith_graph::{DType, Data, Error, Graph, Model, Quantization, Tensor};
use litesmith_tflite::{Limits, Strip, WriteOptions, read, write};

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../testdata/tflite", name].iter().collect()
}

fn round_trip(model: &Model) -> Vec<u8> {
    let bytes = write(model, &WriteOptions::default()).unwrap();
    let loaded = read(&bytes, &Limits::default()).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.model, *model);
    bytes
}

/// The files are committed; `LITESMITH_BLESS=1` writes them anew.
#[test]
fn written_files_are_the_committed_ones() {
    let mut with_metadata = common::int8_cnn(&common::TINY);
    with_metadata.metadata = common::metadata(3);
    for (name, model) in [
        ("tiny-cnn-f32.tflite", common::float_cnn(&common::TINY)),
        ("tiny-cnn-int8-uint8io.tflite", with_metadata),
        ("tiny-depthwise-f16.tflite", common::float16_depthwise()),
    ] {
        let bytes = round_trip(&model);
        let path = golden(name);
        if std::env::var_os("LITESMITH_BLESS").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == bytes, "{name} differs from what is written now");
    }
}

#[test]
fn int8_mnist_cnn_is_no_larger_than_tensorflows() {
    let model = common::int8_cnn(&common::MNIST);
    assert_eq!(model.graphs[0].parameters(), 421_642);
    let bytes = round_trip(&model);
    assert!(bytes.len() <= 433_200, "{} bytes", bytes.len());
}

#[test]
fn data_is_aligned_and_equal_constants_are_stored_once() {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::F32, [1, 64]));
    let weights = Data::from_slice(&[0.123_456_79_f32; 64 * 64]);
    let mut y = x;
    for name in ["a", "b", "c"] {
        let w = graph.add_tensor(Tensor::constant("w", DType::F32, [64, 64], weights.clone()));
        y = graph.add_node(FullyConnected::default(), &[Some(y), Some(w), None], name).unwrap();
    }
    graph.outputs = vec![y];
    let bytes = round_trip(&Model::from_graph(graph));
    assert!(bytes.len() < 64 * 64 * 4 + 1500, "{} bytes", bytes.len());
    let found = bytes.windows(64).position(|window| window == &weights.bytes()[..64]).unwrap();
    assert_eq!(found % 16, 0);
}

#[test]
fn stripped_names_leave_those_of_inputs_and_outputs() {
    let model = common::float_cnn(&common::TINY);
    let bytes = write(&model, &WriteOptions { strip: Strip::Names, ..WriteOptions::default() }).unwrap();
    assert!(bytes.len() < write(&model, &WriteOptions::default()).unwrap().len());
    let graph = &read(&bytes, &Limits::default()).unwrap().model.graphs[0];
    let named: Vec<_> =
        graph.tensors.iter().map(|tensor| tensor.name.as_str()).filter(|name| !name.is_empty()).collect();
    assert_eq!(named, ["image", "probabilities"]);
}

#[test]
fn everything_a_tensor_can_say_survives() {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::I8, [2, 3]).with_quantization(Quantization::per_tensor(0.5, 3)));
    let mut per_axis = Tensor::new("per axis", DType::I8, [4, 3]);
    per_axis.quantization =
        Some(Quantization { scales: vec![0.1, 0.2, 0.3], zero_points: vec![1, -2, 3], axis: 1, block_size: None });
    graph.add_tensor(per_axis);
    let mut variable = Tensor::new("state", DType::F32, [0, 7]);
    variable.is_variable = true;
    graph.add_tensor(variable);
    graph.add_tensor(Tensor::new("scalar", DType::I64, []));
    graph.add_tensor(Tensor::constant("int4", DType::I4, [3], Data::from_bytes(&[0x21, 0x03])));
    let empty = graph.add_tensor(Tensor::constant("empty", DType::I32, [0], Data::from_bytes(&[])));
    let op = Reshape { new_shape: Some(vec![6]) };
    let y = graph.add_tensor(Tensor::new("y", DType::I8, [6]));
    graph.nodes.push(litesmith_graph::Node { op: op.into(), inputs: vec![Some(x), Some(empty)], outputs: vec![y] });
    graph.outputs = vec![y];
    let mut model = Model::from_graph(graph.clone());
    model.graphs.push(Graph { name: "second".into(), ..graph });
    model.signatures[0].graph = 1;
    model.extra_metadata = vec![("CONVERSION_METADATA".into(), Data::from_bytes(&[1, 2, 3]))];
    round_trip(&model);
}

/// The entry that old converters write too: sixteen bytes, the release whose runtime first knew every op version used.
#[test]
fn the_oldest_runtime_is_named() {
    let entry = |model: &Model| {
        let bytes = write(model, &WriteOptions::default()).unwrap();
        let found = bytes
            .windows(16)
            .position(|window| (window.starts_with(b"1.") || window.starts_with(b"2.")) && window.ends_with(&[0; 8]));
        String::from_utf8_lossy(&bytes[found.unwrap()..][..6]).into_owned()
    };
    assert_eq!(entry(&common::float_cnn(&common::TINY)), "1.5.0\0");
    assert_eq!(entry(&common::int8_cnn(&common::TINY)), "1.14.0");
    assert_eq!(entry(&common::float16_depthwise()), "1.15.0");
}

#[test]
fn ops_that_only_training_has_are_refused_with_advice() {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::F32, [1, 4]));
    let y = graph.add_node(Dropout { rate: 0.5 }, &[Some(x)], "dropout").unwrap();
    graph.outputs = vec![y];
    let error = write(&Model::from_graph(graph), &WriteOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    assert!(error.to_string().contains("op 0 DROPOUT \"dropout\""), "{error}");
    assert!(error.hint().unwrap().contains("export"), "{error}");
    assert!(litesmith_graph::Op::from(BatchNormalization { epsilon: 0.1, momentum: 0.9 }).is_training_only());
}

#[test]
fn metadata_must_fit_the_graph() {
    let mut model = common::float_cnn(&common::TINY);
    model.metadata = common::metadata(3);
    round_trip(&model);
    model.metadata.outputs[0].labels[1] = "two\nlines".into();
    assert!(write(&model, &WriteOptions::default()).unwrap_err().to_string().contains("line break"));
    model.metadata.outputs.push(litesmith_graph::TensorMetadata::default());
    let error = write(&model, &WriteOptions::default()).unwrap_err().to_string();
    assert!(error.contains("got 2 output entries") && error.contains("has 1 output"), "{error}");
}

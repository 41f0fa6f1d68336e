//! Stripped files: the same graphs without their names, in fewer bytes.

mod common;

use std::path::Path;

use litesmith_graph::ops::{Conv2d, FullyConnected, Mean};
use litesmith_graph::{DType, Data, Graph, Model, Node, Op, Quantization, Tensor, TensorId};
use litesmith_tflite::{Limits, Strip, WriteOptions, inspect, read, write};

fn strip(model: &Model) -> Vec<u8> {
    write(model, &WriteOptions { strip: Strip::Everything, ..WriteOptions::default() }).unwrap()
}

/// What of a model a stripped file holds.
fn bare(model: &Model) -> Model {
    let mut graphs = model.graphs.clone();
    for graph in &mut graphs {
        graph.name.clear();
        for (index, tensor) in graph.tensors.iter_mut().enumerate() {
            tensor.name.clear();
            let is_input = graph.inputs.iter().any(|id| id.0 == index);
            tensor.signature.take_if(|signature| !is_input || !signature[1..].contains(&-1));
        }
    }
    Model { graphs, ..Model::default() }
}

fn check(name: &str, model: &Model) -> (usize, usize) {
    let stripped = strip(model);
    let loaded = read(&stripped, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(loaded.model, bare(model), "{name}");
    assert_eq!(loaded.warnings, Vec::<String>::new(), "{name}");
    assert!(strip(&loaded.model) == stripped, "{name} is written otherwise the second time");
    (write(model, &WriteOptions::default()).unwrap().len(), stripped.len())
}

#[test]
fn real_models_keep_their_graphs_and_lose_bytes() {
    let mut seen = 0;
    for folder in ["../../testdata/models", "../../testdata/tflite"] {
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "tflite") {
                let model = read(&std::fs::read(&path).unwrap(), &Limits::default()).unwrap().model;
                let (before, after) = check(&path.display().to_string(), &model);
                assert!(after + 1000 < before || after * 10 < before * 8, "{}: {before} to {after}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 15, "{seen} models");
    let Some(folder) = std::env::var_os("LITESMITH_MODELS") else { return };
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        if let Ok(loaded) = read(&bytes, &Limits::default()) {
            check(&path.display().to_string(), &loaded.model);
        }
    }
}

/// How small: a few bytes more would mean that one of the ways to save them is gone.
#[test]
fn sizes_do_not_grow() {
    for (model, most) in [
        (common::int8_cnn(&common::TINY), 2281),
        (common::float_cnn(&common::TINY), 2181),
        (common::float16_depthwise(), 606),
    ] {
        let (_, bytes) = check("tiny", &model);
        assert!(bytes <= most, "{bytes} bytes, at most {most} expected");
    }
}

/// Convolutions of 8 to 8 channels that share their bias, then MEAN and FULLY_CONNECTED; every scale the same.
fn network(depth: usize, stride: usize, weights: DType) -> Model {
    let quantized = |mut tensor: Tensor| {
        tensor.quantization = Some(Quantization::per_tensor(0.0625, 0));
        tensor
    };
    let int8 = |name: &str, shape: &[usize]| quantized(Tensor::new(name, DType::I8, shape));
    let constant = |name: &str, dtype, shape: &[usize], bytes: &[u8]| {
        Tensor::constant(name, dtype, shape, Data::from_bytes(bytes))
    };
    let mut graph = Graph::new("main");
    let node = |graph: &mut Graph, op: Op, inputs: Vec<Option<TensorId>>, output: Tensor| {
        let output = graph.add_tensor(output);
        graph.nodes.push(Node { op, inputs, outputs: vec![output] });
        output
    };
    let mut y = graph.add_input(int8("x", &[1, 28, 28, 8]));
    let bias = graph.add_tensor(quantized(constant("bias", DType::I32, &[8], &[0; 32])));
    let mut side = 28_usize;
    for layer in 0..depth {
        let bytes: Vec<u8> =
            (0..8 * weights.bits()).map(|index| u8::try_from((index * 7 + layer * 13) % 251).unwrap()).collect();
        let weights = graph.add_tensor(quantized(constant("w", weights, &[8, 1, 1, 8], &bytes)));
        let op = Conv2d { stride_width: stride, stride_height: stride, ..Conv2d::default() };
        let inputs = vec![Some(y), Some(weights), Some(bias)];
        side = side.div_ceil(stride);
        y = node(&mut graph, op.into(), inputs, int8("y", &[1, side, side, 8]));
    }
    let axes: Vec<u8> = [1_i32, 2].iter().flat_map(|axis| axis.to_le_bytes()).collect();
    let axes = graph.add_tensor(constant("axes", DType::I32, &[2], &axes));
    y = node(&mut graph, Mean { keep_dims: false }.into(), vec![Some(y), Some(axes)], int8("mean", &[1, 8]));
    let dense = graph.add_tensor(quantized(constant("dense", DType::I8, &[10, 8], &[3; 80])));
    let inputs = vec![Some(y), Some(dense), None];
    y = node(&mut graph, FullyConnected::default().into(), inputs, int8("out", &[1, 10]));
    graph.outputs = vec![y];
    Model::from_graph(graph)
}

#[test]
fn what_is_equal_stands_once() {
    let [(_, one), (_, five)] = [1, 5].map(|depth| check("layers", &network(depth, 1, DType::I8)));
    // For each layer the 64 weights; their count, buffer and its place; tensor and its place; the output's place; the
    // operator, its place and two vectors.
    let layer = 64 + 4 + 8 + 4 + 20 + 4 + 4 + 20 + 4 + 16 + 8;
    assert!(five - one <= 4 * layer, "{} bytes for four layers", five - one);
}

#[test]
fn what_litert_derives_is_left_out_where_no_result_changes() {
    let strip = |model: &Model| {
        let bytes = write(model, &WriteOptions { strip: Strip::Derivable, ..WriteOptions::default() }).unwrap();
        (bytes.len(), read(&bytes, &Limits::default()).unwrap().model)
    };
    // The delegate takes int8 convolutions, and rounds otherwise.
    let model = network(2, 2, DType::I8);
    assert_eq!(strip(&model).1, bare(&model));
    let model = network(2, 2, DType::I4);
    let mut expected = bare(&model);
    for tensor in &mut expected.graphs[0].tensors {
        if tensor.shape == [1, 14, 14, 8] || tensor.shape == [1, 7, 7, 8] {
            tensor.shape.clear();
        }
        tensor.quantization.take_if(|_| tensor.shape == [8]);
    }
    let (bytes, found) = strip(&model);
    assert_eq!(found, expected);
    assert!(
        bytes < write(&model, &WriteOptions { strip: Strip::Everything, ..WriteOptions::default() }).unwrap().len()
    );
}

#[test]
fn inspect_says_how_small_it_packs() {
    let bytes = strip(&common::int8_cnn(&common::TINY));
    let found = inspect(&bytes, &Limits::default()).unwrap();
    assert_eq!(found.file_bytes, bytes.len());
    let smaller = |packed: Option<u64>| packed.unwrap() < bytes.len() as u64;
    assert!(smaller(found.packed.gzip) && smaller(found.packed.zstd), "{:?}", found.packed);
}

#[test]
fn inspect_shows_the_shapes_that_a_file_leaves_out() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../zoo/mnist/mnist-3.7kB-99.3.tflite");
    let found = inspect(&std::fs::read(path).unwrap(), &Limits::default()).unwrap();
    let graph = &found.subgraphs[0];
    let outputs: Vec<_> = graph.ops.iter().map(|op| graph.tensors[op.outputs[0]].shape.as_slice()).collect();
    assert_eq!(outputs[..3], [[1, 28, 28, 8], [1, 14, 14, 8], [1, 14, 14, 10]]);
    assert!(graph.tensors[graph.ops[0].outputs[0]].is_inferred && !graph.tensors[graph.inputs[0]].is_inferred);
    // 28 x 28 pixels of eight channels, each of nine products.
    assert_eq!(graph.ops[0].macs, Some(28 * 28 * 8 * 9));
}

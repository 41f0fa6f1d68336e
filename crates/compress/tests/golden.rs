//! Against TensorFlow's converter: the same float model and ranges give the same int8 weights, biases and parameters.

use std::path::Path;

use litesmith_compress::{IoType, QuantizeOptions, Range, Ranges, Scheme, quantize};
use litesmith_graph::{DType, Graph, Model, Tensor};
use litesmith_tflite::{Limits, read};

fn load(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tflite").join(name);
    read(&std::fs::read(path).unwrap(), &Limits::default()).unwrap().model
}

/// What the parameters of an int8 tensor express: the range that the converter had calibrated.
fn range(tensor: &Tensor) -> Range {
    let (scale, zero_point) = tensor.quantization.as_ref().unwrap().as_per_tensor().unwrap();
    Range::new((-128 - zero_point) as f32 * scale, (127 - zero_point) as f32 * scale)
}

fn inputs(graph: &Graph, node: usize) -> Vec<&Tensor> {
    graph.nodes[node].inputs.iter().flatten().map(|&id| graph.tensor(id)).collect()
}

#[test]
fn the_converter_and_we_agree_on_every_op_and_constant() {
    let float = load("tf-activations-f32.tflite");
    let converted = load("tf-activations-int8-uint8io.tflite");
    let (graph, expected) = (float.main().unwrap(), converted.main().unwrap());

    let mut ranges = Ranges::default();
    // The converted graph has a QUANTIZE before the first node.
    ranges.insert(graph.inputs[0], range(expected.tensor(expected.nodes[0].outputs[0])));
    for (node, expected_node) in graph.nodes.iter().zip(&expected.nodes[1..]) {
        let tensor = expected.tensor(expected_node.outputs[0]);
        if tensor.dtype == DType::I8 {
            ranges.insert(node.outputs[0], range(tensor));
        }
    }
    let options = QuantizeOptions::new(Scheme::Int8).with_io(IoType::Uint8, IoType::Uint8);
    let (quantized, report) = quantize(&float, &options, Some(&ranges)).unwrap();
    assert_eq!(report.kept_float, []);
    let result = quantized.main().unwrap();

    let names = |graph: &Graph| graph.nodes.iter().map(|node| node.op.name()).collect::<Vec<_>>();
    assert_eq!(names(result), names(expected));
    let mut weights = 0;
    for index in 0..result.nodes.len() {
        let place = result.place(index);
        let outputs = |graph: &Graph| graph.tensor(graph.nodes[index].outputs[0]).clone();
        let (ours, theirs) = (outputs(result), outputs(expected));
        assert_eq!(ours.dtype, theirs.dtype, "{place}");
        if let (Some(ours), Some(theirs)) = (&ours.quantization, &theirs.quantization) {
            assert_eq!(ours.zero_points, theirs.zero_points, "{place}");
            // Their range, computed back from scale and zero point, is off by a few units in the last place.
            assert!((ours.scales[0] / theirs.scales[0] - 1.0).abs() < 1e-6, "{place}: {ours:?} {theirs:?}");
        }
        for (ours, theirs) in inputs(result, index).into_iter().zip(inputs(expected, index)) {
            let (Some(our_data), Some(their_data)) = (&ours.data, &theirs.data) else { continue };
            assert_eq!((ours.dtype, &ours.shape), (theirs.dtype, &theirs.shape), "{place}");
            if ours.dtype == DType::I8 {
                assert_eq!(our_data.bytes(), their_data.bytes(), "{place}");
                assert_eq!(ours.quantization, theirs.quantization, "{place}");
                weights += our_data.len();
            } else if ours.quantization.is_some() {
                let (ours, theirs) = (our_data.elements::<i32>().unwrap(), their_data.elements::<i32>().unwrap());
                assert!(ours.iter().zip(theirs).all(|(a, b)| a.abs_diff(*b) <= 1), "{place}: {ours:?} {theirs:?}");
            }
        }
    }
    assert_eq!(weights, graph.parameters() - 61, "every weight was compared; 61 are biases");
}

//! Files that others made: what they say comes through.

use std::path::PathBuf;

use litesmith_graph::ops::{Activation, Concatenation, Conv2d, Gelu, LeakyRelu, Padding, StridedSlice};
use litesmith_graph::{ColorSpace, DType, Normalization, Op, TensorId};
use litesmith_tflite::{Limits, Loaded, WriteOptions, read, write};

fn load(name: &str) -> Loaded {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../testdata/tflite", name].iter().collect();
    read(&std::fs::read(path).unwrap(), &Limits::default()).unwrap()
}

/// Expected values were read with the Python schema of ai-edge-litert.
#[test]
fn a_file_of_tensorflow() {
    let Loaded { model, warnings, .. } = load("tf-activations-int8-uint8io.tflite");
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(model.description, "MLIR Converted.");
    let signature = &model.signatures[0];
    assert_eq!(signature.key, "serving_default");
    assert_eq!(signature.inputs, [("keras_tensor".to_owned(), TensorId(0))]);
    assert_eq!(signature.outputs, [("output_0".to_owned(), TensorId(51))]);
    let extra: Vec<_> = model.extra_metadata.iter().map(|(name, data)| (name.as_str(), data.len())).collect();
    assert_eq!(extra, [("CONVERSION_METADATA", 96)]);

    let graph = model.main().unwrap();
    assert_eq!((graph.inputs[0], graph.outputs[0]), (TensorId(0), TensorId(51)));
    let input = &graph.tensors[0];
    assert_eq!((input.name.as_str(), input.dtype), ("serving_default_keras_tensor:0", DType::U8));
    assert_eq!((&input.shape[..], input.signature.as_deref()), (&[1, 16, 16, 3][..], Some(&[-1, 16, 16, 3][..])));
    assert_eq!(input.quantization.as_ref().unwrap().scales, [0.007_842_265]);
    let filter = graph.tensors[22].quantization.as_ref().unwrap();
    assert_eq!((filter.scales.len(), filter.scales[0], filter.axis), (8, 0.001_922_924_1, 0));
    let bias = graph.tensors[7].data.as_ref().unwrap().elements::<i32>().unwrap();
    assert_eq!((bias.len(), bias.iter().min(), bias.iter().max()), (5, Some(&-12_561), Some(&6_782)));

    let ops: Vec<_> = graph.nodes.iter().map(|node| node.op.clone()).collect();
    let names: Vec<_> = ops.iter().map(Op::snake_name).collect();
    assert_eq!(
        names,
        "quantize conv_2d conv_2d leaky_relu conv_2d hard_swish conv_2d logistic conv_2d tanh conv_2d gelu pad conv_2d \
         max_pool_2d mean reduce_max concatenation shape strided_slice pack reshape shape strided_slice pack reshape \
         fully_connected softmax quantize"
            .split_whitespace()
            .collect::<Vec<_>>()
    );
    let conv = Conv2d { padding: Padding::Same, activation: Activation::Relu6, ..Conv2d::default() };
    assert_eq!(ops[1], Op::from(conv));
    assert_eq!(ops[3], Op::from(LeakyRelu { alpha: 0.2 }));
    assert_eq!(ops[11], Op::from(Gelu { approximate: false }));
    assert_eq!(ops[17], Op::from(Concatenation { axis: -1, activation: Activation::None }));
    assert_eq!(ops[19], Op::from(StridedSlice { shrink_axis_mask: 1, ..StridedSlice::default() }));
}

#[test]
fn metadata_of_tflite_support() {
    let Loaded { model, warnings, not_kept, .. } = load("support-metadata.tflite");
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(not_kept, ["file \"groessen.txt\"", "file \"values.txt\"", "score thresholding"]);
    let metadata = &model.metadata;
    let texts = [&metadata.name, &metadata.description, &metadata.version, &metadata.author, &metadata.license];
    assert_eq!(texts, ["Sizes", "Made by tflite-support", "v2", "Litesmith", "MIT OR Apache-2.0"]);
    let [input] = &metadata.inputs[..] else { panic!("{:?}", metadata.inputs) };
    assert_eq!((input.name.as_str(), input.description.as_str()), ("picture", "Colours"));
    assert_eq!(input.color_space, Some(ColorSpace::Rgb));
    assert_eq!(input.normalization, Some(Normalization { mean: vec![127.5], std: vec![127.5] }));
    assert_eq!((&input.min[..], &input.max[..]), (&[-1.0][..], &[1.0][..]));
    assert_eq!(metadata.outputs[0].labels, ["small", "medium", "large", "huge"]);

    // What is kept is written and read alike.
    let written = write(&model, &WriteOptions::default()).unwrap();
    assert_eq!(read(&written, &Limits::default()).unwrap().model, model);
}

#[test]
fn labels_beyond_the_limit_are_left_out_with_a_warning() {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../testdata/tflite/support-metadata.tflite"].iter().collect();
    let limits = Limits { associated_file_bytes: 40, ..Limits::default() };
    let Loaded { model, warnings, .. } = read(&std::fs::read(path).unwrap(), &limits).unwrap();
    assert!(warnings[0].contains("associated_file_bytes"), "{warnings:?}");
    assert!(model.metadata.outputs[0].labels.is_empty());
}

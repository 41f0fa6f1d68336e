//! Simulated quantization: it stands where integers will be, and what was not trained is what calibration gives.

use litesmith_compress::{
    Granularity, QuantizeOptions, Range, Ranges, Scheme, Simulation, WeightBits, quantize, simulate, simulated,
};
use litesmith_graph::{DType, Graph, Model, Op};
use litesmith_train::{arch::*, export};

fn network() -> Graph {
    let relu = || Activation::new(ActivationFunction::Relu);
    let mut network = Architecture::sequential("network", [12, 12, 2]);
    let x = network.push(Conv2D { padding: Padding::Same, ..Conv2D::new(4, 3) });
    let y = network.push(DepthwiseConv2D { padding: Padding::Same, ..DepthwiseConv2D::new(3) });
    let sum = network.apply(Add {}, &[&x, &y]);
    network.push(relu());
    let pooled = network.push(AveragePooling2D::default());
    network.apply(MaxPooling2D::default(), &[&sum]);
    let tanh = network.push(Activation::new(ActivationFunction::Tanh));
    network.apply(Concatenate::default(), &[&pooled, &tanh]);
    network
        .with(Dropout { rate: 0.5 })
        .with(Conv2D::new(6, 3))
        .with(BatchNormalization::default())
        .with(relu())
        .with(Dropout { rate: 0.5 })
        .with(Flatten {})
        .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(3) })
        .graph(5)
        .unwrap()
}

/// Ranges as if calibrated.
fn ranges(graph: &Graph) -> Ranges {
    let mut ranges = Ranges::default();
    for id in (0..graph.tensors.len()).map(litesmith_graph::TensorId) {
        let tensor = graph.tensor(id);
        if tensor.dtype == DType::F32 && tensor.data.is_none() {
            ranges.insert(id, Range::new(-1.0 - 0.03 * id.0 as f32, 2.0 + 0.01 * id.0 as f32));
        }
    }
    ranges
}

fn names(graph: &Graph) -> Vec<&'static str> {
    graph.nodes.iter().map(|node| node.op.name()).collect()
}

#[test]
fn it_stands_where_integers_will_be() {
    let graph = export::fold(&network()).unwrap();
    let simulation = Simulation::StraightThrough { momentum: 0.9 };
    let result = simulate(&graph, &QuantizeOptions::new(Scheme::Int8), simulation, &ranges(&graph)).unwrap();
    assert_eq!(
        names(&result),
        [
            "FAKE_QUANTIZE",
            "FAKE_QUANTIZE_WEIGHTS",
            "CONV_2D",
            "FAKE_QUANTIZE",
            "FAKE_QUANTIZE_WEIGHTS",
            "DEPTHWISE_CONV_2D",
            "FAKE_QUANTIZE",
            // The sum is read twice, so that RELU is an op of its own.
            "ADD",
            "FAKE_QUANTIZE",
            "RELU",
            "FAKE_QUANTIZE",
            "AVERAGE_POOL_2D",
            "FAKE_QUANTIZE",
            "MAX_POOL_2D",
            "TANH",
            "FAKE_QUANTIZE",
            // The parameters of TANH are its own: it is converted before it is joined; the other input is alone in its
            // group but for what was pooled.
            "FAKE_QUANTIZE",
            "CONCATENATION",
            "DROPOUT",
            "FAKE_QUANTIZE_WEIGHTS",
            "CONV_2D",
            "FAKE_QUANTIZE",
            "DROPOUT",
            "RESHAPE",
            "FAKE_QUANTIZE_WEIGHTS",
            "FULLY_CONNECTED",
            "FAKE_QUANTIZE",
            "SOFTMAX"
        ]
    );
    // What is pooled, what it is pooled to, and what is joined with it share one range, which pooling does not move.
    let fakes: Vec<_> = result.nodes.iter().filter(|node| matches!(node.op, Op::FakeQuantize(_))).collect();
    assert_eq!(fakes[4].inputs[1], fakes[5].inputs[1]);
    assert_eq!(fakes[4].inputs[1], fakes[7].inputs[1]);
    let moves = |index: usize| matches!(&fakes[index].op, Op::FakeQuantize(op) if op.momentum.is_some());
    assert!(moves(4) && !moves(5) && moves(7));
    // Neither do the input's and that of TANH.
    assert!(!moves(0) && !moves(6));
}

#[test]
fn untrained_it_is_quantization_after_training() {
    let exported = export::export(&network()).unwrap();
    let calibrated = ranges(&exported).settled();
    for (weights, granularity) in
        [(WeightBits::Int8, Granularity::PerChannel), (WeightBits::Int8, Granularity::PerTensor)]
    {
        let options = QuantizeOptions { weights, granularity, ..QuantizeOptions::new(Scheme::Int8) };
        let model = Model::from_graph(exported.clone());
        let (expected, _) = quantize(&model, &options, Some(&calibrated)).unwrap();
        let simulation = Simulation::StraightThrough { momentum: 0.9 };
        let graph = simulate(&exported, &options, simulation, &calibrated).unwrap();
        let (float, ranges) = simulated(&graph).unwrap();
        let (actual, _) = quantize(&Model::from_graph(float), &options, Some(&ranges)).unwrap();
        assert_eq!(actual.main().unwrap().nodes.len(), expected.main().unwrap().nodes.len());
        for (actual, expected) in actual.main().unwrap().tensors.iter().zip(&expected.main().unwrap().tensors) {
            assert_eq!(actual, expected, "{weights:?} {granularity:?}");
        }
    }
}

#[test]
fn learned_scales_are_those_of_the_file() {
    let exported = export::export(&network()).unwrap();
    let options = QuantizeOptions { weights: WeightBits::Int4, ..QuantizeOptions::new(Scheme::Int8) };
    let mut graph = simulate(&exported, &options, Simulation::LearnedStep, &ranges(&exported)).unwrap();
    // As if learned: the first convolution's scales, and the scale of what it computes.
    let scales = [0.5_f32, 0.25, 0.125, 1.0];
    let set = |graph: &mut Graph, name: &str, values: &[f32]| {
        let tensor = graph.tensors.iter_mut().find(|tensor| tensor.name.ends_with(name)).unwrap();
        assert_eq!(tensor.shape, [values.len()], "{}", tensor.name);
        tensor.data = Some(litesmith_graph::Data::from_slice(values));
    };
    set(&mut graph, "/steps", &scales.map(f32::ln));
    set(&mut graph, "/step", &[2.0_f32.ln()]);
    let (float, ranges) = simulated(&graph).unwrap();
    let (model, _) = quantize(&Model::from_graph(float), &options, Some(&ranges)).unwrap();
    let main = model.main().unwrap();
    let conv = main.nodes.iter().find(|node| matches!(node.op, Op::Conv2d(_))).unwrap();
    let weights = main.tensor(conv.inputs[1].unwrap());
    assert_eq!(weights.dtype, DType::I4);
    for (scale, expected) in weights.quantization.as_ref().unwrap().scales.iter().zip(scales) {
        assert!((scale / expected - 1.0).abs() < 1e-6, "{scale} {expected}");
    }
    let range = self::ranges(&exported).get(exported.nodes[0].outputs[0]).unwrap();
    let output = main.tensor(conv.outputs[0]).quantization.as_ref().unwrap().scales[0];
    assert!((output / (2.0 * (range.max - range.min) / 255.0) - 1.0).abs() < 1e-6);
}

#[test]
fn other_schemes_are_refused() {
    let exported = export::export(&network()).unwrap();
    let simulation = Simulation::LearnedStep;
    let error =
        simulate(&exported, &QuantizeOptions::new(Scheme::Int16x8), simulation, &ranges(&exported)).unwrap_err();
    assert!(error.to_string().contains("only int8 activations"), "{error}");
    let normalized = network();
    let options = QuantizeOptions::new(Scheme::Int8);
    let error = simulate(&normalized, &options, simulation, &ranges(&normalized)).unwrap_err();
    assert!(error.to_string().contains("exists only while training"), "{error}");
}

//! Every scheme on the zoo's architectures and on graphs that mix what is hard to quantize.

use litesmith_compress::{
    Granularity, IoType, QuantizeOptions, QuantizeReport, Range, Ranges, Scheme, WeightBits, quantize,
};
use litesmith_graph::{
    DType, Data, Graph, Model, Normalization, Tensor, TensorId, TensorMetadata,
    ops::{
        Add, Concatenation, Conv2d, Elu, FullyConnected, Gelu, HardSwish, LeakyRelu, Logistic, MaxPool2d, Mean, Mul,
        Padding, Relu6, Reshape, Softmax, Sub, Tanh,
    },
};
use litesmith_testkit::check_quantization_spec;
use litesmith_train::{export::export, zoo};

/// Ranges that differ from tensor to tensor, as calibration gives them.
fn ranges(graph: &Graph) -> Ranges {
    let mut ranges = Ranges::default();
    for (index, tensor) in graph.tensors.iter().enumerate() {
        if tensor.dtype == DType::F32 && tensor.data.is_none() {
            let width = 1.0 + (index * 7 % 13) as f32 * 0.37;
            let low = if index % 3 == 0 { 0.0 } else { -0.4 * width };
            ranges.insert(TensorId(index), Range::new(low, width));
        }
    }
    ranges
}

fn zoo_models() -> Vec<Model> {
    let specs = ["mnist-cnn", "lenet-5", "ds-cnn", "resnet-8", "mobilenet-v1:width=0.25", "mobilenet-v2:width=0.35"];
    let graph = |spec: &&str| export(&zoo::architecture(spec).unwrap().graph(1).unwrap()).unwrap();
    specs.iter().map(|spec| Model::from_graph(graph(spec))).collect()
}

fn run(model: &Model, options: &QuantizeOptions) -> (Model, QuantizeReport) {
    let ranges = ranges(model.main().unwrap());
    let (quantized, report) = quantize(model, options, Some(&ranges)).unwrap();
    quantized.check().unwrap();
    check_quantization_spec(quantized.main().unwrap()).unwrap();
    let (again, _) = quantize(model, options, Some(&ranges)).unwrap();
    assert_eq!(quantized, again);
    (quantized, report)
}

fn op_names(model: &Model) -> Vec<&'static str> {
    model.main().unwrap().nodes.iter().map(|node| node.op.name()).collect()
}

fn constant_bytes(model: &Model) -> usize {
    model.main().unwrap().tensors.iter().filter_map(|tensor| tensor.data.as_ref()).map(Data::len).sum()
}

#[test]
fn the_zoo_quantizes_whole() {
    for model in zoo_models() {
        let graph = model.main().unwrap();
        for (scheme, io) in [
            (Scheme::Int8, IoType::Float32),
            (Scheme::Int8, IoType::Int8),
            (Scheme::Int8, IoType::Uint8),
            (Scheme::Int16x8, IoType::Float32),
            (Scheme::Int16x8, IoType::Int16),
        ] {
            let (quantized, report) = run(&model, &QuantizeOptions::new(scheme).with_io(io, io));
            assert_eq!(report.kept_float, []);
            let result = quantized.main().unwrap();
            for (ids, old) in [(&result.inputs, &graph.inputs), (&result.outputs, &graph.outputs)] {
                assert_eq!(result.tensor(ids[0]).dtype, io.dtype());
                assert_eq!(result.tensor(ids[0]).name, graph.tensor(old[0]).name);
                assert_eq!(result.tensor(ids[0]).signature, graph.tensor(old[0]).signature);
            }
            let borders = if matches!(io, IoType::Float32 | IoType::Uint8) { 2 } else { 0 };
            assert_eq!(result.nodes.len(), graph.nodes.len() + borders, "{} {io:?}", graph.name);
            assert_eq!(quantized.signatures[0].outputs[0].1, result.outputs[0]);
            let floats = result.tensors.iter().filter(|tensor| tensor.dtype == DType::F32).count();
            assert_eq!(floats, if io == IoType::Float32 { 2 } else { 0 });
            assert!(constant_bytes(&quantized) * 3 < constant_bytes(&model));
        }
    }
}

#[test]
fn weight_only_schemes_shrink_the_zoo_and_keep_its_activations() {
    for model in zoo_models() {
        let (half, report) = run(&model, &QuantizeOptions::new(Scheme::Float16));
        assert!(report.warnings.is_empty());
        assert!(constant_bytes(&half) * 100 < constant_bytes(&model) * 55);
        let (dynamic, report) = run(&model, &QuantizeOptions::new(Scheme::DynamicRange));
        assert!(!report.tensors.is_empty());
        assert_eq!(op_names(&dynamic), op_names(&model));
        let (same, _) = run(&model, &QuantizeOptions::new(Scheme::Float32));
        assert_eq!(same.main().unwrap().nodes.len(), model.main().unwrap().nodes.len());
    }
}

#[test]
fn dynamic_range_leaves_small_weights_and_every_bias_in_float() {
    let model = &zoo_models()[0];
    let (quantized, report) = run(model, &QuantizeOptions::new(Scheme::DynamicRange));
    let graph = quantized.main().unwrap();
    let weights = |name: &str| {
        let nodes = graph.nodes.iter().filter(|node| node.op.name() == name);
        nodes.map(|node| graph.tensor(node.inputs[1].unwrap())).collect::<Vec<_>>()
    };
    let convolutions = weights("CONV_2D");
    assert_eq!(convolutions[0].dtype, DType::F32, "288 elements are too few");
    assert_eq!(convolutions[1].dtype, DType::I8);
    assert_eq!(convolutions[1].quantization.as_ref().unwrap().scales.len(), 64);
    for dense in weights("FULLY_CONNECTED") {
        assert_eq!(dense.quantization.as_ref().unwrap().scales.len(), dense.shape[0]);
    }
    assert_eq!(report.tensors.len(), 3);
    let options = QuantizeOptions { granularity: Granularity::PerTensor, ..QuantizeOptions::new(Scheme::DynamicRange) };
    let (quantized, _) = run(model, &options);
    let graph = quantized.main().unwrap();
    let dense = graph.nodes.iter().find(|node| node.op.name() == "FULLY_CONNECTED").unwrap();
    assert_eq!(graph.tensor(dense.inputs[1].unwrap()).quantization.as_ref().unwrap().scales.len(), 1);
}

/// The types of the activations that each op of a kind reads.
fn reads(model: &Model, name: &str) -> Vec<DType> {
    let graph = model.main().unwrap();
    let nodes = graph.nodes.iter().filter(|node| node.op.name() == name);
    nodes.map(|node| graph.tensor(node.inputs[0].unwrap()).dtype).collect()
}

fn count(model: &Model, name: &str) -> usize {
    op_names(model).iter().filter(|op| **op == name).count()
}

fn with_rules(scheme: Scheme, rules: &[&str]) -> QuantizeOptions {
    let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    QuantizeOptions { rules, ..QuantizeOptions::new(scheme) }
}

#[test]
fn every_scheme_takes_int4_weights_where_litert_has_them() {
    for model in zoo_models() {
        let depthwise = count(&model, "DEPTHWISE_CONV_2D");
        let weighted = depthwise + count(&model, "CONV_2D") + count(&model, "FULLY_CONNECTED");
        for (scheme, without) in [
            (Scheme::Int8, 0),
            (Scheme::Int16x8, depthwise),
            (Scheme::DynamicRange, depthwise),
            (Scheme::WeightOnly, 0),
        ] {
            for granularity in [Granularity::PerChannel, Granularity::PerTensor] {
                let options = QuantizeOptions {
                    weights: WeightBits::Int4,
                    granularity,
                    min_elements: Some(0),
                    ..QuantizeOptions::new(scheme)
                };
                let (quantized, report) = run(&model, &options);
                assert_eq!(report.warnings.len(), without, "{:?}", report.warnings);
                let tensors = &quantized.main().unwrap().tensors;
                let narrow: Vec<_> = tensors.iter().filter(|tensor| tensor.dtype == DType::I4).collect();
                assert_eq!(narrow.len(), weighted - without);
                for tensor in narrow {
                    let scales = tensor.quantization.as_ref().unwrap().scales.len();
                    assert_eq!(scales > 1, granularity == Granularity::PerChannel, "{}", tensor.name);
                }
            }
        }
    }
}

#[test]
fn blocks_are_for_int4_weights_of_fully_connected_only() {
    let models = zoo_models();
    let options = |granularity| QuantizeOptions {
        weights: WeightBits::Int4,
        granularity,
        ..QuantizeOptions::new(Scheme::DynamicRange)
    };
    let (quantized, report) = run(&models[0], &options(Granularity::Blockwise64));
    let graph = quantized.main().unwrap();
    let blocks: Vec<_> = graph.tensors.iter().filter_map(|tensor| tensor.quantization.as_ref()?.block_size).collect();
    assert_eq!(blocks, [64, 64], "3136 and 128 inputs");
    assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
    assert!(report.warnings[0].contains("CONV_2D") && report.warnings[0].contains("FULLY_CONNECTED only"));
    // lenet-5: a convolution, and rows of 400 and 120.
    let (quantized, report) = run(&models[1], &options(Granularity::Blockwise32));
    assert!(quantized.main().unwrap().tensors.iter().all(|tensor| {
        tensor.quantization.as_ref().is_none_or(|found| found.block_size.is_none() && found.scales.len() > 1)
    }));
    assert_eq!(report.warnings.len(), 3, "{:?}", report.warnings);
    assert!(report.warnings[1].contains("blocks of 32 do not divide its 400 inputs"), "{:?}", report.warnings);

    // A rule may ask for them where the rest of the model cannot.
    let rules = with_rules(Scheme::Int8, &["op:FULLY_CONNECTED=dynamic,w4,blockwise-64"]);
    let (quantized, report) = run(&models[0], &rules);
    let tensors = &quantized.main().unwrap().tensors;
    assert!(
        tensors.iter().any(|tensor| tensor.quantization.as_ref().is_some_and(|found| found.block_size == Some(64)))
    );
    assert_eq!(report.warnings, Vec::<String>::new());
    for scheme in [Scheme::Int8, Scheme::Int16x8, Scheme::WeightOnly] {
        let options = QuantizeOptions { scheme, ..options(Granularity::Blockwise32) };
        let error = quantize(&models[0], &options, None).unwrap_err().to_string();
        assert!(error.contains("blockwise scales do not go with int4 weights"), "{error}");
    }
    let options = QuantizeOptions { weights: WeightBits::Int8, ..options(Granularity::Blockwise32) };
    let error = quantize(&models[0], &options, None).unwrap_err().to_string();
    assert!(error.contains("blockwise scales do not go with int8 weights and dynamic range"), "{error}");
}

#[test]
fn weight_only_keeps_the_arithmetic_and_dequantizes() {
    let model = &zoo_models()[0];
    let (quantized, _) = run(model, &QuantizeOptions::new(Scheme::WeightOnly));
    assert_eq!(count(&quantized, "DEQUANTIZE"), 4);
    assert!(reads(&quantized, "CONV_2D").iter().all(|dtype| *dtype == DType::F32));
    assert!(constant_bytes(&quantized) * 100 < constant_bytes(model) * 27);
}

#[test]
fn conversions_stand_only_around_ops_of_another_kind() {
    // conv2d, pool, conv2d_1, pool, flatten, dense, dense_1, softmax.
    let model = &zoo_models()[0];
    let names = |rules: &[&str]| {
        let (quantized, report) = run(model, &with_rules(Scheme::Int8, rules));
        assert_eq!(report.kept_float, [], "what was asked for is no news");
        quantized
    };
    // The first layers and the pooling behind them stay float: one conversion before the second convolution.
    let first = names(&["node:0=float32"]);
    assert_eq!(op_names(&first)[..4], ["CONV_2D", "MAX_POOL_2D", "QUANTIZE", "CONV_2D"]);
    assert_eq!((count(&first, "QUANTIZE"), count(&first, "DEQUANTIZE")), (1, 1));
    // The pooling behind an int16 convolution is int16, too.
    let wide = names(&["op:CONV_2D=int16x8"]);
    assert_eq!(reads(&wide, "CONV_2D"), [DType::I16; 2]);
    assert_eq!(reads(&wide, "MAX_POOL_2D"), [DType::I16; 2]);
    assert_eq!(reads(&wide, "FULLY_CONNECTED"), [DType::I8; 2]);
    assert_eq!((count(&wide, "QUANTIZE"), count(&wide, "DEQUANTIZE")), (2, 1));
    // By name, and float32 arithmetic with integer weights between integers.
    let name = model.main().unwrap().tensor(model.main().unwrap().nodes[2].outputs[0]).name.clone();
    let inner = names(&[&format!("{name}=dynamic"), "op:FULLY_CONNECTED=w4"]);
    assert_eq!(reads(&inner, "CONV_2D"), [DType::I8, DType::F32]);
    let graph = inner.main().unwrap();
    let weights = |name: &str| {
        let nodes = graph.nodes.iter().filter(|node| node.op.name() == name);
        nodes.map(|node| graph.tensor(node.inputs[1].unwrap()).dtype).collect::<Vec<_>>()
    };
    assert_eq!(weights("CONV_2D"), [DType::I8; 2]);
    assert_eq!(weights("FULLY_CONNECTED"), [DType::I4; 2]);
    // All of them, one op in integers only.
    let alone = run(model, &with_rules(Scheme::Float32, &["op:SOFTMAX=int8"])).0;
    assert_eq!((count(&alone, "QUANTIZE"), count(&alone, "DEQUANTIZE")), (1, 1));
}

#[test]
fn an_input_that_ops_of_several_kinds_read_stays_float() {
    let mut build = Build::new();
    let (a, b) = (build.conv(build.x, "a"), build.conv(build.x, "b"));
    let c = build.conv(build.x, "c");
    let sum = build.graph.add_node(Add::default(), &[Some(a), Some(b)], "sum").unwrap();
    let all = build.graph.add_node(Add::default(), &[Some(sum), Some(c)], "all").unwrap();
    let model = build.model(&[all]);
    let (quantized, _) = run(&model, &with_rules(Scheme::Int8, &["b=int16x8", "c=float32"]));
    assert_eq!(reads(&quantized, "CONV_2D"), [DType::I8, DType::I16, DType::F32]);
    // In: int8 and int16. Between: int16 to int8 for the sum, and float to int8.
    assert_eq!((count(&quantized, "QUANTIZE"), count(&quantized, "DEQUANTIZE")), (4, 1));
    // Given as bytes it is converted from those.
    let bytes = with_rules(Scheme::Int8, &["b=int16x8", "c=float32"]).with_io(IoType::Int8, IoType::Int8);
    let (quantized, _) = run(&model, &bytes);
    assert_eq!(quantized.main().unwrap().tensor(quantized.main().unwrap().inputs[0]).dtype, DType::I8);
    assert_eq!((count(&quantized, "QUANTIZE"), count(&quantized, "DEQUANTIZE")), (3, 1));
}

#[test]
fn a_rule_that_selects_nothing_is_an_error_that_names_the_ops() {
    let model = &zoo_models()[0];
    let ranges = ranges(model.main().unwrap());
    let error = quantize(model, &with_rules(Scheme::Int8, &["dence*=float32"]), Some(&ranges)).unwrap_err();
    assert!(error.to_string().contains("rule \"dence*=float32\": it selects no op"), "{error}");
    assert!(error.hint().unwrap().contains("op 0 CONV_2D"), "{error}");
    let error = quantize(model, &with_rules(Scheme::Float16, &["node:0=int8"]), None).unwrap_err();
    assert!(error.to_string().contains("needs calibrated ranges"), "{error}");
}

/// A graph builder for what the zoo does not hold.
struct Build {
    graph: Graph,
    x: TensorId,
}

impl Build {
    fn new() -> Self {
        let mut graph = Graph::new("main");
        let x = graph.add_input(Tensor::new("x", DType::F32, [1, 8, 8, 4]));
        Self { graph, x }
    }

    fn conv(&mut self, x: TensorId, name: &str) -> TensorId {
        let values: Vec<_> = (0..144).map(|i| ((i * 37 % 101) as f32 - 50.0) / 80.0).collect();
        let w = Tensor::constant(format!("{name}_w"), DType::F32, [4, 3, 3, 4], Data::from_slice(&values));
        let w = self.graph.add_tensor(w);
        let op = Conv2d { padding: Padding::Same, ..Conv2d::default() };
        self.graph.add_node(op, &[Some(x), Some(w), None], name).unwrap()
    }

    fn integers(&mut self, values: &[i32]) -> TensorId {
        let shape = [values.len()];
        self.graph.add_tensor(Tensor::constant("integers", DType::I32, shape, Data::from_slice(values)))
    }

    fn concat(&mut self, inputs: &[TensorId], name: &str) -> TensorId {
        let op = Concatenation { axis: -1, activation: litesmith_graph::ops::Activation::None };
        self.graph.add_node(op, &inputs.iter().copied().map(Some).collect::<Vec<_>>(), name).unwrap()
    }

    fn model(mut self, outputs: &[TensorId]) -> Model {
        self.graph.outputs = outputs.to_vec();
        Model::from_graph(self.graph)
    }
}

#[test]
fn every_activation_op_has_an_int8_form() {
    let mut build = Build::new();
    let mut x = build.x;
    x = build.conv(x, "c0");
    x = build.graph.add_node(LeakyRelu { alpha: 0.2 }, &[Some(x)], "leaky").unwrap();
    x = build.graph.add_node(HardSwish, &[Some(x)], "swish").unwrap();
    x = build.graph.add_node(Gelu::default(), &[Some(x)], "gelu").unwrap();
    x = build.graph.add_node(Elu, &[Some(x)], "elu").unwrap();
    x = build.graph.add_node(Relu6, &[Some(x)], "relu6").unwrap();
    let y = build.graph.add_node(Logistic, &[Some(x)], "logistic").unwrap();
    let z = build.graph.add_node(Tanh, &[Some(x)], "tanh").unwrap();
    x = build.graph.add_node(Mul::default(), &[Some(y), Some(z)], "mul").unwrap();
    let offset = Tensor::constant("offset", DType::F32, [4], Data::from_slice(&[0.5_f32, -1.0, 2.0, 0.0]));
    let offset = build.graph.add_tensor(offset);
    x = build.graph.add_node(Sub::default(), &[Some(x), Some(offset)], "sub").unwrap();
    let axes = build.integers(&[1, 2]);
    x = build.graph.add_node(Mean { keep_dims: false }, &[Some(x), Some(axes)], "mean").unwrap();
    x = build.graph.add_node(Softmax::default(), &[Some(x)], "softmax").unwrap();
    let model = build.model(&[x]);

    let (quantized, report) = run(&model, &QuantizeOptions::new(Scheme::Int8));
    assert_eq!(report.kept_float, []);
    assert_eq!(quantized.main().unwrap().nodes.len(), model.main().unwrap().nodes.len() + 2);

    // In int16, two of them have no kernel; the float stretch is one, with one conversion on each side.
    let (quantized, report) = run(&model, &QuantizeOptions::new(Scheme::Int16x8));
    let kept: Vec<_> = report.kept_float.iter().map(|kept| kept.op.as_str()).collect();
    assert_eq!(kept, ["op 2 HARD_SWISH \"swish\"", "op 4 ELU \"elu\""]);
    assert!(report.kept_float[0].reason.contains("int16"));
    let names = op_names(&quantized);
    assert_eq!(names[1..5], ["CONV_2D", "LEAKY_RELU", "DEQUANTIZE", "HARD_SWISH"]);
}

#[test]
fn concatenation_shares_parameters_and_requantizes_what_others_read() {
    let mut build = Build::new();
    let a = build.conv(build.x, "a");
    let b = build.conv(build.x, "b");
    let squashed = build.graph.add_node(Logistic, &[Some(b)], "squashed").unwrap();
    let joined = build.concat(&[a, b, squashed], "joined");
    let model = build.model(&[joined]);
    let graph = model.main().unwrap();
    let mut ranges = Ranges::default();
    for (id, range) in [(graph.inputs[0], (0.0, 1.0)), (a, (-1.0, 1.0)), (b, (-4.0, 2.0)), (joined, (-4.0, 2.0))] {
        ranges.insert(id, Range::new(range.0, range.1));
    }
    let (quantized, report) = quantize(&model, &QuantizeOptions::new(Scheme::Int8), Some(&ranges)).unwrap();
    let graph = quantized.main().unwrap();
    check_quantization_spec(graph).unwrap();
    // `a` is read by nothing else and takes the wider range; `b` has it already; `squashed` has fixed parameters.
    assert_eq!(
        op_names(&quantized),
        ["QUANTIZE", "CONV_2D", "CONV_2D", "LOGISTIC", "QUANTIZE", "CONCATENATION", "DEQUANTIZE"]
    );
    let range = |name: &str| report.tensors.iter().find(|tensor| tensor.name == name).unwrap().range.unwrap();
    assert_eq!(range("a"), Range::new(-4.0, 2.0));
    assert_eq!(range("b"), Range::new(-4.0, 2.0));
}

#[test]
fn concatenation_of_equal_fixed_parameters_needs_no_conversion() {
    let mut build = Build::new();
    let conv = build.conv(build.x, "c");
    let a = build.graph.add_node(Logistic, &[Some(conv)], "a").unwrap();
    let b = build.graph.add_node(Logistic, &[Some(build.x)], "b").unwrap();
    let joined = build.concat(&[a, b], "joined");
    let model = build.model(&[joined]);
    let (quantized, _) = run(&model, &QuantizeOptions::new(Scheme::Int8).with_io(IoType::Int8, IoType::Int8));
    assert_eq!(op_names(&quantized), ["CONV_2D", "LOGISTIC", "LOGISTIC", "CONCATENATION"]);
}

#[test]
fn a_residual_and_a_constant_join_keep_to_the_rules() {
    let mut build = Build::new();
    let a = build.conv(build.x, "a");
    let sum = build.graph.add_node(Add::default(), &[Some(a), Some(build.x)], "sum").unwrap();
    let plane = Tensor::constant("plane", DType::F32, [1, 8, 8, 1], Data::from_slice(&[9.0_f32; 64]));
    let plane = build.graph.add_tensor(plane);
    let joined = build.concat(&[sum, plane], "joined");
    let pool = MaxPool2d {
        padding: Padding::Valid,
        stride_height: 2,
        stride_width: 2,
        filter_height: 2,
        filter_width: 2,
        activation: litesmith_graph::ops::Activation::None,
    };
    let pooled = build.graph.add_node(pool, &[Some(joined)], "pooled").unwrap();
    let model = build.model(&[pooled]);
    for scheme in [Scheme::Int8, Scheme::Int16x8] {
        let (_, report) = run(&model, &QuantizeOptions::new(scheme));
        let range = |name: &str| report.tensors.iter().find(|tensor| tensor.name.starts_with(name)).unwrap().range;
        assert_eq!(range("joined").unwrap().max, 9.0);
        assert_eq!(range("sum"), range("pooled"));
    }
}

#[test]
fn computed_weights_stay_float_and_are_reported() {
    let mut build = Build::new();
    let shape = build.integers(&[4, 64]);
    let flat = build.graph.add_node(Reshape::default(), &[Some(build.x), Some(shape)], "flat").unwrap();
    let y = build.graph.add_node(FullyConnected::default(), &[Some(flat), Some(flat), None], "y").unwrap();
    let y = build.graph.add_node(Softmax::default(), &[Some(y)], "z").unwrap();
    let model = build.model(&[y]);
    let (_, report) = run(&model, &QuantizeOptions::new(Scheme::Int8).with_io(IoType::Uint8, IoType::Uint8));
    assert_eq!(report.kept_float.len(), 1);
    assert!(report.kept_float[0].reason.contains("weights"));
}

#[test]
fn a_missing_bias_is_added_where_the_kernels_want_one() {
    let mut build = Build::new();
    let y = build.conv(build.x, "y");
    let model = build.model(&[y]);
    let (quantized, _) = run(&model, &QuantizeOptions::new(Scheme::Int8));
    let graph = quantized.main().unwrap();
    let bias = graph.tensor(graph.nodes[1].inputs[2].unwrap());
    assert_eq!((bias.dtype, bias.data.as_ref().unwrap().bytes()), (DType::I32, &[0_u8; 16][..]));
    for scheme in [Scheme::Float32, Scheme::Float16, Scheme::DynamicRange] {
        let (quantized, _) = run(&model, &QuantizeOptions::new(scheme));
        let graph = quantized.main().unwrap();
        let convolution = graph.nodes.iter().find(|node| node.op.name() == "CONV_2D").unwrap();
        assert_eq!(graph.tensor(convolution.inputs[2].unwrap()).shape, [4]);
    }
}

#[test]
fn normalization_sets_the_parameters_of_integer_inputs_and_is_written_down() {
    let mut model = zoo_models().swap_remove(0);
    let labels: Vec<_> = (0..10).map(|digit| digit.to_string()).collect();
    model.metadata.outputs = vec![TensorMetadata { labels, ..TensorMetadata::default() }];
    model.extra_metadata = ["CONVERSION_METADATA", "mine"].map(|name| (name.into(), Data::from_bytes(&[1]))).to_vec();
    let input = model.main().unwrap().inputs[0];
    let normalization = Normalization { mean: vec![127.0], std: vec![128.0] };
    let mut ranges = ranges(model.main().unwrap());
    ranges.insert(input, Range::new(-0.99, 1.0));
    for (io, dtype, zero_point) in [(IoType::Uint8, DType::U8, 127), (IoType::Int8, DType::I8, -1)] {
        let options =
            QuantizeOptions::new(Scheme::Int8).with_io(io, io).with_normalization(vec![Some(normalization.clone())]);
        let (quantized, report) = quantize(&model, &options, Some(&ranges)).unwrap();
        let graph = quantized.main().unwrap();
        let input = graph.tensor(graph.inputs[0]);
        assert_eq!(input.dtype, dtype);
        assert_eq!(input.quantization.as_ref().unwrap().as_per_tensor(), Some((1.0 / 128.0, zero_point)));
        assert_eq!(quantized.metadata.inputs[0].normalization, Some(normalization.clone()));
        assert_eq!(quantized.metadata.outputs, model.metadata.outputs);
        assert_eq!(quantized.extra_metadata, model.extra_metadata[1..]);
        assert_eq!(report.warnings, Vec::<String>::new());

        let mut wide = ranges.clone();
        wide.insert(litesmith_graph::TensorId(0), Range::new(-3.0, 1.0));
        let (_, report) = quantize(&model, &options, Some(&wide)).unwrap();
        assert!(report.warnings[0].contains("calibration saw -3 to 1"), "{:?}", report.warnings);
        wide.insert(litesmith_graph::TensorId(0), Range::new(0.0, 0.004));
        let (_, report) = quantize(&model, &options, Some(&wide)).unwrap();
        assert!(report.warnings[0].contains("calibration saw only 0 to 0.004"), "{:?}", report.warnings);
    }
    // For a float input it is written down only.
    let options = QuantizeOptions::new(Scheme::Float16).with_normalization(vec![Some(normalization.clone())]);
    let (half, _) = quantize(&model, &options, None).unwrap();
    assert_eq!(half.metadata.inputs[0].normalization, Some(normalization));
}

#[test]
fn what_cannot_be_done_is_an_error_that_says_what_to_do() {
    let model = &zoo_models()[0];
    let ranges = ranges(model.main().unwrap());
    let fails = |options: &QuantizeOptions, ranges: Option<&Ranges>, model: &Model, expected: &str| {
        let error = quantize(model, options, ranges).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        error.hint().map(ToString::to_string)
    };
    let int8 = QuantizeOptions::new(Scheme::Int8);
    assert!(fails(&int8, None, model, "needs calibrated ranges").unwrap().contains("calibrate"));
    fails(&int8, Some(&Ranges::default()), model, "has no calibrated range");
    fails(&int8.clone().with_io(IoType::Int16, IoType::Float32), Some(&ranges), model, "int16 inputs do not go");
    fails(&QuantizeOptions::new(Scheme::Float16).with_io(IoType::Uint8, IoType::Uint8), None, model, "uint8 inputs");
    let between = Normalization { mean: vec![127.5], std: vec![127.5] };
    let options = int8.clone().with_io(IoType::Uint8, IoType::Uint8).with_normalization(vec![Some(between)]);
    assert!(fails(&options, Some(&ranges), model, "mean 127.5").unwrap().contains("float32"));

    let (quantized, _) = quantize(model, &int8, Some(&ranges)).unwrap();
    assert!(fails(&int8, Some(&ranges), &quantized, "quantized already").unwrap().contains("float32 model"));
    fails(&QuantizeOptions::new(Scheme::Float16), None, &quantized, "quantized already");
    let unfolded = Model::from_graph(zoo::architecture("ds-cnn").unwrap().graph(1).unwrap());
    fails(&int8, Some(&ranges), &unfolded, "only while training");

    let mut broken = model.clone();
    let graph = broken.main_mut().unwrap();
    let bias = graph.nodes[0].inputs[2].unwrap();
    let values = vec![f32::NAN; graph.tensor(bias).elements().unwrap()];
    graph.tensor_mut(bias).data = Some(Data::from_slice(&values));
    fails(&int8, Some(&ranges), &broken, "element 0 is NaN");
}

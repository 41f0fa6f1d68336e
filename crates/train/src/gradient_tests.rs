//! Every gradient against central differences in f64, for every input, on shapes without symmetry.

use litesmith_graph::ops::{self, Activation, Padding};
use litesmith_graph::{DType, Data, Graph, OP_TABLE, Op, Tensor, TensorId};
use litesmith_kernels::{Isa, Pool};

use crate::executor::{BatchView, Executor};
use crate::loss::{Loss, Objective, Targets};
use crate::random::Stream;

mod distill;
mod fake_quantize;
mod rearrange;

/// A graph under construction whose constants are random.
struct Case {
    graph: Graph,
    stream: Stream,
    count: u64,
}

impl Case {
    fn new(seed: u64) -> Self {
        Self { graph: Graph::new("main"), stream: Stream::new(seed, "gradient test"), count: 0 }
    }

    fn input(&mut self, shape: &[usize]) -> Option<TensorId> {
        let shape = [&[1], shape].concat();
        Some(self.graph.add_input(Tensor::new("x", DType::F32, shape)))
    }

    fn weights(&mut self, shape: &[usize]) -> Option<TensorId> {
        let len: usize = shape.iter().product();
        self.count += 1;
        let stream = self.stream.for_number(self.count);
        let values: Vec<f32> = (0..len as u64).map(|index| (stream.normal(index) * 0.7 + 0.1) as f32).collect();
        let name = format!("w{}", self.count);
        Some(self.graph.add_tensor(Tensor::constant(name, DType::F32, shape, Data::from_slice(&values))))
    }

    fn integers(&mut self, values: &[i32]) -> Option<TensorId> {
        Some(self.graph.add_tensor(Tensor::constant("i", DType::I32, [values.len()], Data::from_slice(values))))
    }

    fn node(&mut self, op: impl Into<Op>, inputs: &[Option<TensorId>]) -> Option<TensorId> {
        self.count += 1;
        let name = format!("y{}", self.count);
        Some(self.graph.add_node(op, inputs, &name).unwrap())
    }

    /// Checks a graph whose output is `output`.
    fn check(&mut self, output: Option<TensorId>, samples: usize) {
        self.graph.outputs = output.into_iter().collect();
        let objective = Objective { loss: Loss::MeanSquaredError, ..Objective::default() };
        let width: usize = self.graph.tensor(output.unwrap()).shape.iter().product();
        let stream = self.stream.for_number(1_000_000);
        let targets: Vec<f32> = (0..(samples * width) as u64).map(|index| stream.normal(index) as f32).collect();
        check_gradients(&self.graph, samples, &objective, Targets::Dense(&targets), &[]);
    }
}

/// Compares the gradients of all trainable variables and inputs with central differences.
fn check_gradients(graph: &Graph, samples: usize, objective: &Objective, targets: Targets<'_>, taught: &[Vec<f32>]) {
    let pool = Pool::serial();
    let mut executor = Executor::<f64>::new(graph, Isa::Scalar, true).unwrap();
    let (mut trainable, moving) = executor.program.initial_variables().unwrap();
    let inputs = executor.program.inputs;
    let stream = Stream::new(9, "inputs");
    let mut given: Vec<Vec<f64>> = (0..inputs)
        .map(|input| {
            let len = executor.program.sizes[input] * samples;
            (0..len as u64).map(|index| stream.for_number(input as u64).normal(index) * 1.5).collect()
        })
        .collect();
    let random = Stream::new(4, "dropout");
    let mut loss = |trainable: &[f64], given: &[Vec<f64>]| {
        executor.prepare(&pool, trainable, &moving);
        let views: Vec<&[f64]> = given.iter().map(Vec::as_slice).collect();
        let batch = BatchView { given: &views, samples, targets, taught };
        let sums = executor.train(&pool, trainable, &mut moving.clone(), batch, objective, random).unwrap();
        let mut gradient = vec![0.0; trainable.len()];
        executor.gradient(samples, 0, &mut gradient);
        let input_gradients: Vec<_> = (0..inputs).map(|input| executor.input_gradient(input, samples)).collect();
        (sums.loss / samples as f64, gradient, input_gradients)
    };
    let (_, gradient, input_gradients) = loss(&trainable, &given);
    assert!(gradient.iter().chain(input_gradients.iter().flatten()).any(|g| g.abs() > 1e-3), "no gradient at all");
    let step = 1e-5;
    let compare = |what: String, computed: f64, plus: f64, minus: f64| {
        let expected = (plus - minus) / (2.0 * step);
        let tolerance = 1e-7 + 1e-6 * expected.abs();
        assert!((computed - expected).abs() < tolerance, "{what}: got {computed}, central difference {expected}");
    };
    for index in 0..trainable.len() {
        let kept = trainable[index];
        trainable[index] = kept + step;
        let plus = loss(&trainable, &given).0;
        trainable[index] = kept - step;
        let minus = loss(&trainable, &given).0;
        trainable[index] = kept;
        compare(format!("variable element {index}"), gradient[index], plus, minus);
    }
    for input in 0..inputs {
        for index in 0..given[input].len() {
            let kept = given[input][index];
            given[input][index] = kept + step;
            let plus = loss(&trainable, &given).0;
            given[input][index] = kept - step;
            let minus = loss(&trainable, &given).0;
            given[input][index] = kept;
            compare(format!("input {input} element {index}"), input_gradients[input][index], plus, minus);
        }
    }
}

/// Checks the op called `name`.
fn check_op(name: &str) {
    let mut case = Case::new(name.len() as u64);
    match name {
        "conv_2d" => {
            for (padding, strides, dilation, groups, activation) in [
                (Padding::Same, [2, 1], [1, 1], 1, Activation::None),
                (Padding::Valid, [1, 3], [1, 1], 1, Activation::Relu),
                (Padding::Same, [1, 1], [2, 1], 1, Activation::Relu6),
                (Padding::Same, [1, 2], [1, 1], 2, Activation::Tanh),
            ] {
                let mut case = Case::new(groups as u64);
                let x = case.input(&[5, 7, 4]);
                let (w, b) = (case.weights(&[6, 3, 2, 4 / groups]), case.weights(&[6]));
                let op = ops::Conv2d {
                    padding,
                    stride_height: strides[0],
                    stride_width: strides[1],
                    dilation_height: dilation[0],
                    dilation_width: dilation[1],
                    activation,
                };
                let y = case.node(op, &[x, w, b]);
                case.check(y, 3);
            }
            let x = case.input(&[4, 3, 2]);
            let w = case.weights(&[3, 1, 1, 2]);
            let y = case.node(ops::Conv2d::default(), &[x, w, None]);
            case.check(y, 2);
        }
        "depthwise_conv_2d" => {
            for (padding, strides, dilation, multiplier, activation) in [
                (Padding::Same, [2, 1], [1, 1], 1, Activation::Relu6),
                (Padding::Valid, [1, 2], [1, 1], 2, Activation::None),
                (Padding::Same, [1, 1], [1, 2], 3, Activation::ReluN1To1),
            ] {
                let mut case = Case::new(multiplier as u64);
                let x = case.input(&[5, 6, 3]);
                let (w, b) = (case.weights(&[1, 3, 2, 3 * multiplier]), case.weights(&[3 * multiplier]));
                let op = ops::DepthwiseConv2d {
                    padding,
                    stride_height: strides[0],
                    stride_width: strides[1],
                    dilation_height: dilation[0],
                    dilation_width: dilation[1],
                    activation,
                };
                let y = case.node(op, &[x, w, b]);
                case.check(y, 3);
            }
        }
        "fully_connected" => {
            let x = case.input(&[5]);
            let (w, b) = (case.weights(&[4, 5]), case.weights(&[4]));
            let op = ops::FullyConnected { activation: Activation::Relu, ..ops::FullyConnected::default() };
            let hidden = case.node(op, &[x, w, b]);
            // The same weights twice: both uses must add up.
            let (v, c) = (case.weights(&[4, 4]), case.weights(&[4]));
            let again = case.node(ops::FullyConnected::default(), &[hidden, v, c]);
            let y = case.node(ops::FullyConnected::default(), &[again, v, None]);
            case.check(y, 5);
            let mut case = Case::new(2);
            let x = case.input(&[3, 2, 5]);
            let w = case.weights(&[4, 5]);
            let y = case.node(ops::FullyConnected { keep_num_dims: true, ..Default::default() }, &[x, w, None]);
            case.check(y, 2);
        }
        "max_pool_2d" | "average_pool_2d" => {
            for (padding, strides, filter, activation) in
                [(Padding::Same, [2, 3], [3, 2], Activation::None), (Padding::Valid, [1, 2], [2, 3], Activation::Relu)]
            {
                let mut case = Case::new(5);
                let x = case.input(&[5, 7, 3]);
                let y = if name == "max_pool_2d" {
                    let op = ops::MaxPool2d {
                        padding,
                        stride_height: strides[0],
                        stride_width: strides[1],
                        filter_height: filter[0],
                        filter_width: filter[1],
                        activation,
                    };
                    case.node(op, &[x])
                } else {
                    let op = ops::AveragePool2d {
                        padding,
                        stride_height: strides[0],
                        stride_width: strides[1],
                        filter_height: filter[0],
                        filter_width: filter[1],
                        activation,
                    };
                    case.node(op, &[x])
                };
                case.check(y, 2);
            }
        }
        "div" | "maximum" | "minimum" | "squared_difference" | "prelu" => {
            let op: Op = match name {
                "div" => ops::Div { activation: Activation::Tanh }.into(),
                "maximum" => ops::Maximum.into(),
                "minimum" => ops::Minimum.into(),
                "squared_difference" => ops::SquaredDifference.into(),
                _ => ops::Prelu.into(),
            };
            let (a, b) = (case.input(&[3, 2, 4]), case.input(&[3, 1, 4]));
            // A divisor must stay away from zero.
            let b = if name == "div" { case.node(ops::Logistic, &[b]) } else { b };
            let y = case.node(op.clone(), &[a, b]);
            let c = case.weights(&[1, 3, 2, 1]);
            // Squares of squares would be too large for differences.
            let y = case.node(ops::Tanh, &[y]);
            let y = if name == "div" {
                let quotient = case.node(op, &[c, b]);
                case.node(ops::Add::default(), &[y, quotient])
            } else {
                case.node(op, &[y, c])
            };
            case.check(y, 2);
        }
        "add" | "sub" | "mul" => {
            let op = |activation| -> Op {
                match name {
                    "add" => ops::Add { activation, ..ops::Add::default() }.into(),
                    "sub" => ops::Sub { activation, ..ops::Sub::default() }.into(),
                    _ => ops::Mul { activation }.into(),
                }
            };
            let (a, b) = (case.input(&[3, 2, 4]), case.input(&[3, 1, 4]));
            let both = case.node(op(Activation::Relu), &[a, b]);
            let c = case.weights(&[4]);
            let shifted = case.node(op(Activation::None), &[both, c]);
            let d = case.weights(&[1, 3, 2, 1]);
            let y = case.node(op(Activation::None), &[d, shifted]);
            // One tensor read three times: its gradients must add up.
            let y = case.node(op(Activation::None), &[y, both]);
            let y = case.node(op(Activation::Tanh), &[y, both]);
            case.check(y, 2);
        }
        "concatenation" => {
            let (a, b) = (case.input(&[3, 2, 4]), case.input(&[3, 2, 1]));
            let y = case.node(ops::Concatenation { axis: -1, activation: Activation::Relu }, &[a, b, a]);
            case.check(y, 2);
        }
        "pack" => {
            let (a, b) = (case.input(&[3, 4]), case.input(&[3, 4]));
            let y = case.node(ops::Pack { axis: 2 }, &[a, b]);
            case.check(y, 2);
        }
        "pad" => {
            let x = case.input(&[3, 2, 2]);
            let paddings = case.graph.add_tensor(Tensor::constant(
                "p",
                DType::I32,
                [4, 2],
                Data::from_slice(&[0_i32, 0, 1, 2, 0, 3, 1, 0]),
            ));
            let y = case.node(ops::Pad, &[x, Some(paddings)]);
            case.check(y, 2);
        }
        "mean" | "sum" | "reduce_max" | "reduce_min" => {
            let x = case.input(&[3, 5, 2]);
            for axes in [&[1, 2][..], &[-1], &[1, 3]] {
                let mut case = Case { graph: case.graph.clone(), ..Case::new(3) };
                let axes = case.integers(axes);
                let y = match name {
                    "mean" => case.node(ops::Mean { keep_dims: false }, &[x, axes]),
                    "sum" => case.node(ops::Sum { keep_dims: true }, &[x, axes]),
                    "reduce_min" => case.node(ops::ReduceMin { keep_dims: true }, &[x, axes]),
                    _ => case.node(ops::ReduceMax { keep_dims: true }, &[x, axes]),
                };
                case.check(y, 2);
            }
        }
        "softmax" => {
            let x = case.input(&[2, 5]);
            let y = case.node(ops::Softmax { beta: 0.7 }, &[x]);
            case.check(y, 3);
        }
        "strided_slice" => {
            let x = case.input(&[5, 4, 3]);
            let (begin, end, strides) =
                (case.integers(&[0, 4, 1, -1]), case.integers(&[0, 0, 4, 0]), case.integers(&[1, -2, 2, 1]));
            let op = ops::StridedSlice { begin_mask: 1, end_mask: 1, shrink_axis_mask: 8, ..Default::default() };
            let y = case.node(op, &[x, begin, end, strides]);
            case.check(y, 2);
        }
        "reshape" | "squeeze" | "expand_dims" => {
            let x = case.input(&[3, 1, 4]);
            let w = case.weights(&[4]);
            let x = case.node(ops::Mul::default(), &[x, w]);
            let view = match name {
                "reshape" => case.node(ops::Reshape { new_shape: Some(vec![-1, 4, 3]) }, &[x]),
                "squeeze" => case.node(ops::Squeeze { squeeze_dims: vec![2] }, &[x]),
                _ => {
                    let axis = case.graph.add_tensor(Tensor::constant("a", DType::I32, [], Data::from_slice(&[1_i32])));
                    case.node(ops::ExpandDims, &[x, Some(axis)])
                }
            };
            let y = case.node(ops::Tanh, &[view]);
            case.check(y, 2);
        }
        "batch_normalization" => {
            let x = case.input(&[2, 3]);
            let (gamma, beta) = (case.weights(&[3]), case.weights(&[3]));
            let (mean, variance) = (case.weights(&[3]), case.weights(&[3]));
            let op = ops::BatchNormalization { epsilon: 1e-3, momentum: 0.9 };
            let normalized = case.node(op, &[x, gamma, beta, mean, variance]);
            // Two shards, of different sizes, and a second normalization that reads the first.
            let y = case.node(ops::Tanh, &[normalized]);
            let (gamma, beta) = (case.weights(&[3]), case.weights(&[3]));
            let (mean, variance) = (case.weights(&[3]), case.weights(&[3]));
            let y = case.node(op, &[y, gamma, beta, mean, variance]);
            // What alone reads a normalization is computed with it.
            let y = case.node(ops::Relu, &[y]);
            let y = case.node(ops::Add::default(), &[y, normalized]);
            case.check(y, 21);
        }
        "fake_quantize" => fake_quantize::check_activations(),
        "fake_quantize_weights" => fake_quantize::check_weights(),
        "dropout" => {
            let x = case.input(&[4, 5]);
            let y = case.node(ops::Dropout { rate: 0.4 }, &[x]);
            case.check(y, 3);
        }
        "relu" | "relu6" | "relu_n1_to_1" | "logistic" | "tanh" | "leaky_relu" | "elu" | "hard_swish" | "gelu" => {
            let ops: Vec<Op> = match name {
                "relu" => vec![ops::Relu.into()],
                "relu6" => vec![ops::Relu6.into()],
                "relu_n1_to_1" => vec![ops::ReluN1To1.into()],
                "logistic" => vec![ops::Logistic.into()],
                "tanh" => vec![ops::Tanh.into()],
                "leaky_relu" => vec![ops::LeakyRelu { alpha: 0.3 }.into()],
                "elu" => vec![ops::Elu.into()],
                "hard_swish" => vec![ops::HardSwish.into()],
                _ => vec![ops::Gelu { approximate: false }.into(), ops::Gelu { approximate: true }.into()],
            };
            for op in ops {
                let mut case = Case::new(8);
                let x = case.input(&[7, 5]);
                let w = case.weights(&[5]);
                let x = case.node(ops::Mul::default(), &[x, w]);
                let y = case.node(op, &[x]);
                case.check(y, 2);
            }
        }
        "abs" | "neg" | "exp" | "log" | "sqrt" | "rsqrt" | "square" | "sin" | "cos" | "relu_0_to_1" | "log_softmax" => {
            let op: Op = match name {
                "abs" => ops::Abs.into(),
                "neg" => ops::Neg.into(),
                "exp" => ops::Exp.into(),
                "log" => ops::Log.into(),
                "sqrt" => ops::Sqrt.into(),
                "rsqrt" => ops::Rsqrt.into(),
                "square" => ops::Square.into(),
                "sin" => ops::Sin.into(),
                "cos" => ops::Cos.into(),
                "log_softmax" => ops::LogSoftmax.into(),
                _ => ops::Relu0To1.into(),
            };
            let x = case.input(&[7, 5]);
            let x = if matches!(name, "log" | "sqrt" | "rsqrt") { case.node(ops::Logistic, &[x]) } else { x };
            let y = case.node(op, &[x]);
            case.check(y, 2);
        }
        "floor" | "ceil" | "round" | "sign" | "pow" | "floor_div" | "floor_mod" | "less" | "less_equal" | "greater"
        | "greater_equal" | "equal" | "not_equal" => {
            let x = case.input(&[3]);
            let w = case.weights(&[3]);
            let (op, inputs): (Op, _) = match name {
                "floor" => (ops::Floor.into(), vec![x]),
                "ceil" => (ops::Ceil.into(), vec![x]),
                "round" => (ops::Round.into(), vec![x]),
                "sign" => (ops::Sign.into(), vec![x]),
                "pow" => (ops::Pow.into(), vec![x, w]),
                "floor_div" => (ops::FloorDiv.into(), vec![x, w]),
                "floor_mod" => (ops::FloorMod.into(), vec![x, w]),
                "less" => (ops::Less.into(), vec![x, w]),
                "less_equal" => (ops::LessEqual.into(), vec![x, w]),
                "greater" => (ops::Greater.into(), vec![x, w]),
                "greater_equal" => (ops::GreaterEqual.into(), vec![x, w]),
                "equal" => (ops::Equal.into(), vec![x, w]),
                _ => (ops::NotEqual.into(), vec![x, w]),
            };
            let y = case.node(op, &inputs);
            case.graph.outputs = y.into_iter().collect();
            let error = Executor::<f32>::new(&case.graph, Isa::Scalar, false).err().unwrap();
            assert!(matches!(error, litesmith_graph::Error::Unsupported(_)), "{error}");
        }
        "l2_normalization"
        | "local_response_normalization"
        | "l2_pool_2d"
        | "reduce_prod"
        | "cumsum"
        | "batch_matmul" => {
            let x = case.input(&[4, 4, 2]);
            let axis = case.integers(&[1]);
            let pool = ops::L2Pool2d {
                padding: ops::Padding::Valid,
                stride_height: 1,
                stride_width: 1,
                filter_height: 2,
                filter_width: 2,
                activation: ops::Activation::None,
            };
            let response = ops::LocalResponseNormalization { radius: 1, bias: 1.0, alpha: 1.0, beta: 0.5 };
            let (op, inputs): (Op, _) = match name {
                "l2_normalization" => (ops::L2Normalization.into(), vec![x]),
                "local_response_normalization" => (response.into(), vec![x]),
                "l2_pool_2d" => (pool.into(), vec![x]),
                "reduce_prod" => (ops::ReduceProd { keep_dims: false }.into(), vec![x, axis]),
                "cumsum" => (ops::Cumsum::default().into(), vec![x, axis]),
                _ => (ops::BatchMatmul { adj_y: true, ..Default::default() }.into(), vec![x, x]),
            };
            let y = case.node(op, &inputs);
            case.graph.outputs = y.into_iter().collect();
            let error = Executor::<f32>::new(&case.graph, Isa::Scalar, false).err().unwrap();
            assert!(matches!(error, litesmith_graph::Error::Unsupported(_)), "{error}");
        }
        // Their output shape is an input, or their results are positions.
        "transpose_conv" | "topk_v2" | "arg_max" | "arg_min" | "non_max_suppression_v4" | "non_max_suppression_v5" => {}
        // It is not needed: training builds ADD.
        "add_n" => {}
        // They keep state.
        "lstm"
        | "rnn"
        | "svdf"
        | "unidirectional_sequence_rnn"
        | "unidirectional_sequence_lstm"
        | "bidirectional_sequence_lstm"
        | "bidirectional_sequence_rnn" => {}
        // They take truth values, which are no floats.
        "reduce_any" | "reduce_all" => {}
        "cast" | "logical_and" | "logical_or" | "logical_not" | "select" | "select_v2" => {}
        "dequantize" | "quantize" | "shape" => {
            let x = case.input(&[3]);
            let op: Op = match name {
                "dequantize" => ops::Dequantize.into(),
                "quantize" => ops::Quantize.into(),
                _ => ops::Shape { out_type: DType::I32 }.into(),
            };
            let y = case.node(op, &[x]);
            case.graph.outputs = y.into_iter().collect();
            let error = Executor::<f32>::new(&case.graph, Isa::Scalar, false).err().unwrap();
            assert!(matches!(error, litesmith_graph::Error::Unsupported(_)), "{error}");
        }
        // They have no gradient, and need subgraphs and custom kernels to be checked at all.
        "custom"
        | "if"
        | "while"
        | "call_once"
        | "var_handle"
        | "read_variable"
        | "assign_variable"
        | "stablehlo_composite" => {}
        other => assert!(rearrange::check(other), "no gradient check for {other}"),
    }
}

#[test]
fn the_gradient_of_every_op_is_that_of_central_differences() {
    for (name, _, _) in OP_TABLE {
        check_op(name);
    }
}

#[test]
fn the_gradient_of_every_loss_is_that_of_central_differences() {
    let mut case = Case::new(11);
    let x = case.input(&[4]);
    let (w, b) = (case.weights(&[3, 4]), case.weights(&[3]));
    let y = case.node(ops::FullyConnected::default(), &[x, w, b]);
    let dense = [0.2, 0.5, 0.3, 1.0, 0.0, 0.0, 0.0, 0.9, 0.1, 0.3, 0.3, 0.4];
    let losses = [
        (Loss::SparseCategoricalCrossentropy, true),
        (Loss::CategoricalCrossentropy, false),
        (Loss::BinaryCrossentropy, false),
        (Loss::BinaryCrossentropy, true),
        (Loss::MeanSquaredError, true),
    ];
    for (loss, sparse) in losses {
        for smoothing in [0.0, 0.1] {
            if loss == Loss::MeanSquaredError && smoothing > 0.0 {
                continue;
            }
            let class_weights = vec![1.0, 0.5, 2.0];
            let objective = Objective { loss, label_smoothing: smoothing, class_weights, ..Objective::default() };
            objective.check(3).unwrap();
            // With its softmax or sigmoid the graph has the same gradient: the loss contains it.
            let mut graph = case.graph.clone();
            graph.outputs = y.into_iter().collect();
            let activation: Option<Op> = match loss {
                Loss::BinaryCrossentropy => Some(ops::Logistic.into()),
                Loss::MeanSquaredError => None,
                _ => Some(ops::Softmax::default().into()),
            };
            if let Some(activation) = activation {
                let z = graph.add_node(activation, &[y], "z").unwrap();
                graph.outputs = vec![z];
            }
            let targets = if sparse { Targets::Classes(&[0, 2, 1, 1]) } else { Targets::Dense(&dense) };
            check_gradients(&loss.strip(&graph), 4, &objective, targets, &[]);
        }
    }
}

#[test]
fn a_reshape_whose_shape_is_computed_from_the_batch_can_be_trained_through() {
    // As TensorFlow's converter writes Flatten for a batch that may change.
    let mut case = Case::new(1);
    let x = case.input(&[3, 2]);
    let w = case.weights(&[2]);
    let y = case.node(ops::Mul::default(), &[x, w]);
    let shape = case.node(ops::Shape { out_type: DType::I32 }, &[y]);
    let (begin, end, strides) = (case.integers(&[0]), case.integers(&[1]), case.integers(&[1]));
    let slice = ops::StridedSlice { shrink_axis_mask: 1, ..Default::default() };
    let batch = case.node(slice, &[shape, begin, end, strides]);
    let rest = case.graph.add_tensor(Tensor::constant("rest", DType::I32, [], Data::from_slice(&[6_i32])));
    let packed = case.node(ops::Pack { axis: 0 }, &[batch, Some(rest)]);
    let flat = case.graph.add_tensor(Tensor::new("flat", DType::F32, [1, 6]));
    case.graph.nodes.push(litesmith_graph::Node {
        op: ops::Reshape::default().into(),
        inputs: vec![y, packed],
        outputs: vec![flat],
    });
    let v = case.weights(&[4, 6]);
    let y = case.node(ops::FullyConnected::default(), &[Some(flat), v, None]);
    case.check(y, 3);
    let input = case.graph.inputs[0];
    case.graph.tensor_mut(input).signature = Some(vec![-1, 3, 2]);
    let exported = crate::export::export(&case.graph).unwrap();
    let names: Vec<_> = exported.nodes.iter().map(|node| node.op.name()).collect();
    assert_eq!(names, ["MUL", "RESHAPE", "FULLY_CONNECTED"]);
    assert_eq!(exported.tensor(exported.outputs[0]).to_string(), "float32[-1,4]");
}

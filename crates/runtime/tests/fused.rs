//! Ops that are done together: functions of one byte by the kernel that makes the byte, chains on large images a few rows at a
//! time. The same results as op by op.

use litesmith_graph::ops::{
    Activation, Add, Conv2d, DepthwiseConv2d, FullyConnected, HardSwish, Logistic, Mul, Neg, Padding, Relu, Relu6,
    ReluN1To1, Sub,
};
use litesmith_graph::{DType, Data, Graph, Model, Quantization, Tensor, TensorId};
use litesmith_runtime::{Fate, Isa, Numerics, Session, SessionOptions};

fn quantize(graph: &mut Graph, id: TensorId, scale: f32, zero_point: i64) -> TensorId {
    graph.tensor_mut(id).quantization = Some(Quantization::per_tensor(scale, zero_point));
    id
}

/// A convolution, `x * logistic(x) + 1`, and a sum of `logistic(x)` and the rest, if `shared`.
fn swish(shared: bool) -> Graph {
    let mut graph = Graph::new("main");
    let input = Tensor::new("x", DType::I8, [1, 5, 7, 6]).with_quantization(Quantization::per_tensor(0.05, 3));
    let x = graph.add_input(input);
    let weights: Vec<i8> = (0..20 * 9 * 6).map(|i| (i * 37 % 255 - 127) as i8).collect();
    let weights = Tensor::constant("w", DType::I8, [20, 3, 3, 6], Data::from_slice(&weights))
        .with_quantization(Quantization::per_tensor(0.01, 0));
    let w = graph.add_tensor(weights);
    let conv = graph.add_node(Conv2d::default(), &[Some(x), Some(w), None], "conv").unwrap();
    quantize(&mut graph, conv, 0.06, -4);
    let gate = graph.add_node(Logistic, &[Some(conv)], "gate").unwrap();
    quantize(&mut graph, gate, 1.0 / 256.0, -128);
    let product = graph.add_node(Mul::default(), &[Some(conv), Some(gate)], "product").unwrap();
    quantize(&mut graph, product, 0.05, -100);
    let one = Tensor::constant("one", DType::I8, [1], Data::from_slice(&[100_i8]));
    let one = graph.add_tensor(one.with_quantization(Quantization::per_tensor(0.01, 0)));
    let sum = graph.add_node(Add::default(), &[Some(one), Some(product)], "sum").unwrap();
    quantize(&mut graph, sum, 0.05, -90);
    graph.outputs = vec![sum];
    if shared {
        let both = graph.add_node(Add::default(), &[Some(sum), Some(gate)], "both").unwrap();
        quantize(&mut graph, both, 0.05, -80);
        graph.outputs = vec![both, gate];
    }
    graph
}

#[test]
fn a_fused_run_and_an_observed_one_agree() {
    for (shared, kernels) in [(false, 1), (true, 3)] {
        let model = Model::from_graph(swish(shared));
        for numerics in [Numerics::Litert, Numerics::Reference] {
            for isa in Isa::available() {
                let options = SessionOptions { numerics, isa: Some(isa), ..SessionOptions::default() };
                let mut session = Session::new(&model, options).unwrap();
                let runs = |session: &Session| {
                    session.explain().iter().filter(|node| matches!(node.fate, Fate::Kernel { .. })).count()
                };
                assert_eq!(runs(&session), kernels);
                for (index, value) in session.input_mut::<i8>(0).unwrap().iter_mut().enumerate() {
                    *value = (index * 91 % 256) as u8 as i8;
                }
                session.run().unwrap();
                let outputs = |session: &Session| {
                    (0..session.output_count()).map(|at| session.output::<i8>(at).unwrap().to_vec()).collect::<Vec<_>>()
                };
                let fused = outputs(&session);
                let mut seen = Vec::new();
                session.run_observed(&mut |_, tensor, _| seen.push(tensor.name.clone())).unwrap();
                let all = ["x", "conv", "gate", "product", "sum", "both"];
                assert_eq!(seen, all[..if shared { 6 } else { 5 }]);
                assert_eq!(outputs(&session), fused, "{isa} {numerics}");
                assert!(fused[0].iter().any(|&value| value != fused[0][0]));
                session.run().unwrap();
                assert_eq!(outputs(&session), fused);
            }
        }
    }
}

/// Residual blocks: a convolution and the input; a depthwise convolution and the sum before, which is read again; the product of a
/// dense layer and another, of which the first is an output too.
fn residual(shared: bool) -> Graph {
    let mut graph = Graph::new("main");
    let input = Tensor::new("x", DType::I8, [1, 33, 9, 6]).with_quantization(Quantization::per_tensor(0.05, 3));
    let x = graph.add_input(input);
    let constant = |graph: &mut Graph, name: &str, shape: &[usize]| {
        let values: Vec<i8> = (0..shape.iter().product::<usize>()).map(|i| (i * 37 % 255) as u8 as i8).collect();
        let values: Vec<i8> = values.iter().map(|&value| value.max(-127)).collect();
        let tensor = Tensor::constant(name, DType::I8, shape.to_vec(), Data::from_slice(&values));
        graph.add_tensor(tensor.with_quantization(Quantization::per_tensor(0.01, 0)))
    };
    let w = constant(&mut graph, "w", &[6, 3, 3, 6]);
    let same = Conv2d { padding: Padding::Same, ..Conv2d::default() };
    let conv = graph.add_node(same, &[Some(x), Some(w), None], "conv").unwrap();
    quantize(&mut graph, conv, 0.06, -4);
    let sum =
        graph.add_node(Add { activation: Activation::Relu, ..Add::default() }, &[Some(x), Some(conv)], "sum").unwrap();
    quantize(&mut graph, sum, 0.07, -90);
    let w = constant(&mut graph, "dw", &[1, 3, 3, 6]);
    let same = DepthwiseConv2d { padding: Padding::Same, ..DepthwiseConv2d::default() };
    let depthwise = graph.add_node(same, &[Some(sum), Some(w), None], "depthwise").unwrap();
    quantize(&mut graph, depthwise, 0.05, 7);
    let difference = graph.add_node(Sub::default(), &[Some(depthwise), Some(sum)], "difference").unwrap();
    quantize(&mut graph, difference, 0.08, 9);
    let w = constant(&mut graph, "fc", &[35, 33 * 9 * 6]);
    let dense = |graph: &mut Graph, name: &str| {
        let dense = graph.add_node(FullyConnected::default(), &[Some(difference), Some(w), None], name).unwrap();
        quantize(graph, dense, 4.0, 11)
    };
    let (first, second) = (dense(&mut graph, "first"), dense(&mut graph, "second"));
    let product = graph.add_node(Mul::default(), &[Some(second), Some(first)], "product").unwrap();
    quantize(&mut graph, product, 900.0, -2);
    graph.outputs = vec![product, first];
    if shared {
        graph.outputs.extend([second, conv]);
    }
    graph
}

#[test]
fn the_op_of_two_operands_is_computed_by_what_makes_the_last_of_them() {
    for (shared, fused) in [(false, 3), (true, 1)] {
        let model = Model::from_graph(residual(shared));
        for (threads, numerics) in
            (1..4).flat_map(|threads| [Numerics::Litert, Numerics::Reference].map(|n| (threads, n)))
        {
            for isa in Isa::available() {
                let options = SessionOptions { numerics, threads, isa: Some(isa), ..SessionOptions::default() };
                let mut session = Session::new(&model, options).unwrap();
                let explained = session.explain();
                assert_eq!(explained.iter().filter(|node| node.fate == Fate::Fused).count(), fused, "{explained:?}");
                for (index, value) in session.input_mut::<i8>(0).unwrap().iter_mut().enumerate() {
                    *value = (index * 91 % 256) as u8 as i8;
                }
                let outputs = |session: &Session| {
                    (0..session.output_count()).map(|at| session.output::<i8>(at).unwrap().to_vec()).collect::<Vec<_>>()
                };
                session.run().unwrap();
                session.run().unwrap();
                let together = outputs(&session);
                session.run_observed(&mut |_, _, _| {}).unwrap();
                assert_eq!(outputs(&session), together, "{isa} {numerics}, {threads} threads");
                assert!(together[0].iter().any(|&value| value != together[0][0]));
            }
        }
    }
}

fn weights(graph: &mut Graph, name: &str, shape: [usize; 4]) -> TensorId {
    let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    graph.add_tensor(Tensor::constant(name, DType::F32, shape, Data::from_slice(&values)))
}

/// CONV_2D, HARD_SWISH and DEPTHWISE_CONV_2D on an image of more than a megabyte, and one more reader of the first, if `shared`.
fn mobile(height: usize, kernel: usize, stride: usize, dilation: usize, padding: Padding, shared: bool) -> Graph {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::F32, [1, height, 83, 3]));
    let w = weights(&mut graph, "w", [72, 3, 3, 3]);
    let b = weights(&mut graph, "b", [1, 1, 1, 72]);
    graph.tensor_mut(b).shape = vec![72];
    let conv = Conv2d { stride_height: 2, stride_width: 1, padding: Padding::Same, ..Conv2d::default() };
    let conv = graph.add_node(conv, &[Some(x), Some(w), Some(b)], "conv").unwrap();
    let swish = graph.add_node(HardSwish, &[Some(conv)], "swish").unwrap();
    let w = weights(&mut graph, "dw", [1, kernel, kernel, 72]);
    let depthwise = DepthwiseConv2d {
        stride_height: stride,
        stride_width: stride,
        dilation_height: dilation,
        dilation_width: dilation,
        padding,
        activation: Activation::Relu6,
    };
    let depthwise = graph.add_node(depthwise, &[Some(swish), Some(w), Some(b)], "depthwise").unwrap();
    graph.outputs = vec![depthwise];
    if shared {
        graph.outputs.push(conv);
    }
    graph
}

/// The bits of the output of a session that has run before, the same as where it runs one op after the other.
fn fused_as_observed(session: &mut Session, what: &str) -> Vec<u32> {
    for (index, value) in session.input_mut::<f32>(0).unwrap().iter_mut().enumerate() {
        *value = (index * 91 % 255) as f32 / 128.0 - 1.0;
    }
    let bits = |session: &Session| -> Vec<u32> {
        session.output::<f32>(0).unwrap().iter().map(|value| value.to_bits()).collect()
    };
    session.run().unwrap();
    session.run().unwrap();
    let fused = bits(session);
    session.run_observed(&mut |_, _, _| {}).unwrap();
    assert!(bits(session) == fused, "{what}");
    fused
}

#[test]
fn rows_of_a_chain_are_those_of_its_ops() {
    use Padding::{Same, Valid};
    let cases =
        [(111, 3, 1, 1, Same), (112, 3, 2, 1, Same), (111, 5, 2, 1, Same), (112, 5, 1, 1, Valid), (113, 3, 1, 2, Same)];
    for ((height, kernel, stride, dilation, padding), shared) in
        cases.into_iter().flat_map(|case| [(case, false), (case, true)])
    {
        let model = Model::from_graph(mobile(height, kernel, stride, dilation, padding, shared));
        let mut first: Option<Vec<u32>> = None;
        for threads in [0, 1, 2, 3] {
            for isa in Isa::available() {
                let options = SessionOptions { threads, isa: Some(isa), ..SessionOptions::default() };
                let mut session = Session::new(&model, options).unwrap();
                let explained = session.explain();
                let along = explained.iter().filter_map(|node| match &node.fate {
                    Fate::Kernel { along, .. } => Some(along.clone()),
                    _ => None,
                });
                // Where the first op's output is one of the graph's, only the other two are done together.
                let expected: &[Vec<usize>] = if shared { &[vec![], vec![1]] } else { &[vec![0, 1]] };
                assert_eq!(along.collect::<Vec<_>>(), expected);
                assert_eq!(explained[1].fate, Fate::Fused);
                let fused =
                    fused_as_observed(&mut session, &format!("{height} {kernel} {stride} {isa}, {threads} threads"));
                if Some(isa) == Isa::available().last() {
                    assert!(*first.get_or_insert_with(|| fused.clone()) == fused, "{threads} threads");
                }
            }
        }
    }
}

/// DEPTHWISE_CONV_2D, HARD_SWISH, CONV_2D of 1x1 and HARD_SWISH on a small image.
fn separable(height: usize, width: usize) -> Graph {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::F32, [1, height, width, 48]));
    let w = weights(&mut graph, "dw", [1, 3, 3, 48]);
    let depthwise = DepthwiseConv2d { padding: Padding::Same, ..DepthwiseConv2d::default() };
    let depthwise = graph.add_node(depthwise, &[Some(x), Some(w), None], "depthwise").unwrap();
    let swish = graph.add_node(HardSwish, &[Some(depthwise)], "swish").unwrap();
    let w = weights(&mut graph, "w", [40, 1, 1, 48]);
    let conv = graph.add_node(Conv2d::default(), &[Some(swish), Some(w), None], "conv").unwrap();
    let swish = graph.add_node(HardSwish, &[Some(conv)], "swish2").unwrap();
    graph.outputs = vec![swish];
    graph
}

#[test]
fn threads_do_the_ops_of_their_rows_of_a_small_image_together() {
    for (height, width) in [(12, 33), (15, 33), (52, 11), (12, 2)] {
        let model = Model::from_graph(separable(height, width));
        let mut first: Option<Vec<u32>> = None;
        for threads in [1, 2, 3, 4] {
            let mut session = Session::new(&model, SessionOptions { threads, ..SessionOptions::default() }).unwrap();
            let explained = session.explain();
            let along = explained.iter().filter_map(|node| match &node.fate {
                Fate::Kernel { along, .. } if !along.is_empty() => Some(along.clone()),
                _ => None,
            });
            // Not where some threads would have more rows than others, or hardly any work.
            let is_even = height % threads == 0 || height / threads >= 16;
            let shared = threads > 1 && width > 2 && is_even;
            assert_eq!(along.collect::<Vec<_>>(), if shared { vec![vec![0, 1, 2]] } else { vec![] });
            let fused = fused_as_observed(&mut session, &format!("{height} rows, {threads} threads"));
            assert!(*first.get_or_insert_with(|| fused.clone()) == fused, "{height} rows, {threads} threads");
        }
    }
}

/// Float ops with activations behind them that are ops of their own, each read once but for `conv`, if `shared`.
fn activated(shared: bool) -> Graph {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::F32, [1, 9, 7, 5]));
    let w = weights(&mut graph, "w", [24, 3, 3, 5]);
    let conv = Conv2d { padding: Padding::Same, ..Conv2d::default() };
    let conv = graph.add_node(conv, &[Some(x), Some(w), None], "conv").unwrap();
    let relu = graph.add_node(Relu, &[Some(conv)], "relu").unwrap();
    let w = weights(&mut graph, "dw", [1, 3, 3, 24]);
    let depthwise = DepthwiseConv2d { padding: Padding::Same, ..DepthwiseConv2d::default() };
    let depthwise = graph.add_node(depthwise, &[Some(relu), Some(w), None], "depthwise").unwrap();
    let relu6 = graph.add_node(Relu6, &[Some(depthwise)], "relu6").unwrap();
    // Its first operand is read again, so it is the second that the difference overwrites.
    let difference = graph.add_node(Sub::default(), &[Some(relu), Some(relu6)], "difference").unwrap();
    let clamped = graph.add_node(ReluN1To1, &[Some(difference)], "clamped").unwrap();
    let sum = graph.add_node(Add::default(), &[Some(clamped), Some(relu)], "sum").unwrap();
    let sum = graph.add_node(Relu, &[Some(sum)], "positive").unwrap();
    let w = weights(&mut graph, "fc", [3, 1, 1, 9 * 7 * 24]);
    graph.tensor_mut(w).shape = vec![3, 9 * 7 * 24];
    let dense = graph.add_node(FullyConnected::default(), &[Some(sum), Some(w), None], "dense").unwrap();
    let scores = graph.add_node(Relu, &[Some(dense)], "scores").unwrap();
    graph.outputs = vec![scores, sum];
    if shared {
        graph.outputs.push(conv);
    }
    graph
}

#[test]
fn activations_are_applied_by_the_op_before_if_nothing_else_reads_it() {
    for shared in [false, true] {
        let model = Model::from_graph(activated(shared));
        for (threads, isa) in [1, 2].into_iter().flat_map(|threads| Isa::available().map(move |isa| (threads, isa))) {
            let options = SessionOptions { threads, isa: Some(isa), ..SessionOptions::default() };
            let mut session = Session::new(&model, options).unwrap();
            let explained = session.explain();
            let fused = explained.iter().filter(|node| node.fate == Fate::Fused).count();
            assert_eq!(fused, if shared { 4 } else { 5 });
            let names = explained.iter().filter_map(|node| match &node.fate {
                Fate::Kernel { name, .. } => Some(name.clone()),
                _ => None,
            });
            assert_eq!(names.filter(|name| name.ends_with("+relu")).count(), if shared { 2 } else { 3 });
            for (index, value) in session.input_mut::<f32>(0).unwrap().iter_mut().enumerate() {
                *value = (index * 91 % 255) as f32 / 128.0 - 1.0;
            }
            let bits = |session: &Session| -> Vec<Vec<u32>> {
                let output =
                    |at| session.output::<f32>(at).unwrap().iter().map(|value: &f32| value.to_bits()).collect();
                (0..session.output_count()).map(output).collect()
            };
            session.run().unwrap();
            let together = bits(&session);
            session.run_observed(&mut |_, _, _| {}).unwrap();
            assert!(bits(&session) == together, "{isa}, {threads} threads");
            // What the activations do shows: sums are cut off at zero, and not all of them.
            let zeros = together[1].iter().filter(|&&bits| bits == 0).count();
            assert!((1..together[1].len()).contains(&zeros));
        }
    }
}

#[test]
fn a_product_with_a_row_is_written_over_the_image() {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::F32, [1, 5, 4, 6]));
    let row = graph.add_input(Tensor::new("row", DType::F32, [1, 1, 1, 6]));
    let negative = graph.add_node(Neg, &[Some(x)], "negative").unwrap();
    let scaled = graph.add_node(Mul::default(), &[Some(row), Some(negative)], "scaled").unwrap();
    let scaled = graph.add_node(Mul::default(), &[Some(scaled), Some(row)], "again").unwrap();
    graph.outputs = vec![scaled];
    let mut session = Session::new(&Model::from_graph(graph), SessionOptions::default()).unwrap();
    let explained = session.explain();
    let slots = explained.iter().map(|node| match &node.fate {
        Fate::Kernel { slots, .. } => slots.as_slice(),
        _ => &[],
    });
    assert!(slots.collect::<std::collections::BTreeSet<_>>().len() == 1, "{explained:?}");
    let image: Vec<f32> = (0..120).map(|at| at as f32 / 8.0 - 7.0).collect();
    let row = [0.5, -1.0, 2.0, 0.25, 3.0, -0.125];
    session.input_mut::<f32>(0).unwrap().copy_from_slice(&image);
    session.input_mut::<f32>(1).unwrap().copy_from_slice(&row);
    session.run().unwrap();
    let want = image.iter().enumerate().map(|(at, x)| -x * row[at % 6] * row[at % 6]);
    assert!(session.output::<f32>(0).unwrap().iter().copied().eq(want));
}

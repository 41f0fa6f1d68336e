//! Sessions on small graphs whose results are known.

use litesmith_graph::ops::{
    self, Activation, Add, Conv2d, Dequantize, FullyConnected, MaxPool2d, Pack, Padding, Relu, Reshape, Shape, Softmax,
    StridedSlice, Tanh,
};
use litesmith_graph::{DType, Data, Error, Graph, Model, Quantization, Tensor, TensorId};
use litesmith_runtime::{Fate, Isa, Numerics, Session, SessionOptions};

fn constant(graph: &mut Graph, name: &str, shape: &[usize], elements: &[f32]) -> TensorId {
    graph.add_tensor(Tensor::constant(name, DType::F32, shape, Data::from_slice(elements)))
}

fn integers(graph: &mut Graph, elements: &[i32]) -> TensorId {
    graph.add_tensor(Tensor::constant("", DType::I32, [elements.len()], Data::from_slice(elements)))
}

/// A convolution, a pool, a flatten as TensorFlow's converter writes it for an open batch, a dense layer, a softmax.
fn small() -> Graph {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::F32, [1, 6, 6, 2]));
    let weights: Vec<_> = (0..3 * 9 * 2).map(|i| (i as f32 * 0.37).sin() * 0.3).collect();
    let w = constant(&mut graph, "w", &[3, 3, 3, 2], &weights);
    let b = constant(&mut graph, "b", &[3], &[0.1, -0.2, 0.3]);
    let conv = Conv2d { padding: Padding::Same, activation: Activation::Relu, ..Conv2d::default() };
    let conv = graph.add_node(conv, &[Some(x), Some(w), Some(b)], "conv").unwrap();
    let pool = MaxPool2d {
        padding: Padding::Valid,
        stride_height: 2,
        stride_width: 2,
        filter_height: 2,
        filter_width: 2,
        activation: Activation::None,
    };
    let pool = graph.add_node(pool, &[Some(conv)], "pool").unwrap();
    let shape = graph.add_node(Shape { out_type: DType::I32 }, &[Some(pool)], "shape").unwrap();
    let (zero, one) = (integers(&mut graph, &[0]), integers(&mut graph, &[1]));
    let slice = StridedSlice { shrink_axis_mask: 1, ..StridedSlice::default() };
    let batch = graph.add_node(slice, &[Some(shape), Some(zero), Some(one), Some(one)], "batch").unwrap();
    let units = graph.add_tensor(Tensor::constant("units", DType::I32, [], Data::from_slice(&[27_i32])));
    let packed = graph.add_node(Pack { axis: 0 }, &[Some(batch), Some(units)], "packed").unwrap();
    // The planner computes `packed`; while building, its value stands in the attribute.
    let flat = graph.add_node(Reshape { new_shape: Some(vec![-1, 27]) }, &[Some(pool), Some(packed)], "flat").unwrap();
    let dense: Vec<_> = (0..4 * 27).map(|i| (i as f32 * 0.71).cos() * 0.4).collect();
    let v = constant(&mut graph, "v", &[4, 27], &dense);
    let dense = graph.add_node(FullyConnected::default(), &[Some(flat), Some(v), None], "dense").unwrap();
    let y = graph.add_node(Softmax::default(), &[Some(dense)], "y").unwrap();
    graph.outputs = vec![y];
    graph.make_batch_dynamic().unwrap();
    graph
}

fn options(threads: usize) -> SessionOptions {
    SessionOptions { threads, ..SessionOptions::default() }
}

fn image(batch: usize) -> Vec<f32> {
    (0..batch * 72).map(|i| ((i * 7919) % 101) as f32 / 50.0 - 1.0).collect()
}

fn run(session: &mut Session, input: &[f32]) -> Vec<f32> {
    session.input_mut::<f32>(0).unwrap().copy_from_slice(input);
    session.run().unwrap();
    session.output::<f32>(0).unwrap().to_vec()
}

#[test]
fn a_batch_is_its_images_one_by_one_for_any_threads() {
    let model = Model::from_graph(small());
    let input = image(5);
    let mut one = Session::new(&model, options(1)).unwrap();
    let singly: Vec<f32> = input.chunks(72).flat_map(|image| run(&mut one, image)).collect();
    for row in singly.chunks(4) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "a softmax sums to 1: {row:?}");
    }
    for threads in [1, 2, 3] {
        let mut session = Session::new(&model, options(threads)).unwrap();
        session.resize_batch(5).unwrap();
        assert_eq!(session.output_tensor(0).unwrap().shape, [5, 4]);
        assert_eq!(run(&mut session, &input), singly, "{threads} threads");
        session.resize_input(0, &[2, 6, 6, 2]).unwrap();
        assert_eq!(run(&mut session, &input[..144]), singly[..8]);
    }
}

#[test]
fn every_instruction_set_agrees_with_scalar() {
    let model = Model::from_graph(small());
    let scalar = SessionOptions { isa: Some(Isa::Scalar), ..options(1) };
    let expected = run(&mut Session::new(&model, scalar).unwrap(), &image(1));
    for isa in Isa::ALL.iter().copied().filter(|isa| isa.is_available()) {
        let mut session = Session::new(&model, SessionOptions { isa: Some(isa), ..options(1) }).unwrap();
        for (a, b) in run(&mut session, &image(1)).iter().zip(&expected) {
            assert!((a - b).abs() < 1e-6, "{isa}: {a} and {b}");
        }
    }
}

/// What takes long is computed when the model runs, not when it is planned.
#[test]
fn constants_are_folded_as_long_as_it_takes_little_time() {
    for (size, folds) in [(64, true), (1100, false)] {
        let mut graph = Graph::new("main");
        let value = Tensor::constant("value", DType::F32, [], Data::from_slice(&[0.5_f32]));
        let shape = Tensor::constant("shape", DType::I32, [2], Data::from_slice(&[size, size]));
        let (shape, value) = (graph.add_tensor(shape), graph.add_tensor(value));
        let filled = graph.add_node(ops::Fill, &[Some(shape), Some(value)], "filled").unwrap();
        let product = graph.add_node(ops::BatchMatmul::default(), &[Some(filled), Some(filled)], "product").unwrap();
        let x = graph.add_input(Tensor::new("x", DType::F32, [size as usize, size as usize]));
        graph.outputs = vec![graph.add_node(ops::Add::default(), &[Some(product), Some(x)], "y").unwrap()];
        let mut session = Session::new(&Model::from_graph(graph), options(1)).unwrap();
        assert_eq!(session.explain()[1].fate == Fate::Folded, folds, "{size}");
        if folds {
            continue;
        }
        session.run().unwrap();
        assert_eq!(session.output::<f32>(0).unwrap()[7], 0.25 * size as f32);
    }
}

#[test]
fn shapes_are_folded_and_views_take_no_step() {
    let session = Session::new(&Model::from_graph(small()), options(1)).unwrap();
    let nodes = session.explain();
    let of =
        |fate: fn(&Fate) -> bool| nodes.iter().filter(move |node| fate(&node.fate)).map(|node| node.place.as_str());
    assert_eq!(
        of(|fate| matches!(fate, Fate::Kernel { .. })).collect::<Vec<_>>(),
        ["op 0 CONV_2D \"conv\"", "op 1 MAX_POOL_2D \"pool\"", "op 6 FULLY_CONNECTED \"dense\"", "op 7 SOFTMAX \"y\""]
    );
    assert_eq!(of(|fate| matches!(fate, Fate::View { of } if of == "pool")).count(), 1);
    assert_eq!(of(|fate| *fate == Fate::Folded).count(), 3);
    let slow = nodes.iter().filter(|node| node.is_slow(session.isa())).count();
    assert_eq!(slow, 0, "{nodes:?}");
    let memory = session.memory();
    assert_eq!(memory.arena_bytes + memory.scratch_bytes, session.arena_bytes());
    assert!(memory.weight_bytes > 0);
}

#[test]
fn every_node_without_a_kernel_is_told_of_at_once() {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::I64, [4]));
    let a = graph.add_node(Tanh, &[Some(x)], "a").unwrap();
    let b = graph.add_node(Tanh, &[Some(a)], "b").unwrap();
    let c = graph.add_node(Softmax { beta: 1.0 }, &[Some(b)], "c").unwrap();
    graph.outputs = vec![c];
    let error = Session::new(&Model::from_graph(graph), options(1)).err().unwrap();
    let text = error.to_string();
    assert!(text.starts_with("3 ops cannot be planned: "), "{text}");
    assert!(text.contains("TANH (2x, first op 0 TANH \"a\"): no kernel takes (int64) to (int64)"), "{text}");
    assert!(text.contains("SOFTMAX (1x, first op 2"), "{text}");
    assert!(error.hint().unwrap().contains("docs/OPERATORS.md"));
}

#[test]
fn stepwise_runs_give_the_same_and_name_each_node_that_ran() {
    let mut session = Session::new(&Model::from_graph(small()), options(1)).unwrap();
    let expected = run(&mut session, &image(1));
    let mut ran = Vec::new();
    session.run_stepwise(&mut |node| ran.push(node)).unwrap();
    assert_eq!(ran, [0, 1, 6, 7]);
    assert_eq!(session.output::<f32>(0).unwrap(), expected);
}

#[test]
fn an_observer_sees_every_computed_tensor_before_its_memory_is_used_again() {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::F32, [4]));
    let mut last = x;
    for index in 0..6 {
        let one = constant(&mut graph, "one", &[1], &[1.0]);
        last = graph.add_node(Add::default(), &[Some(last), Some(one)], &format!("t{index}")).unwrap();
    }
    let shape = integers(&mut graph, &[2, 2]);
    let view = graph.add_node(Reshape::default(), &[Some(last), Some(shape)], "view").unwrap();
    graph.outputs = vec![view];
    let mut session = Session::new(&Model::from_graph(graph), options(1)).unwrap();
    assert!(session.arena_bytes() <= 4 * 16, "six sums share memory: {}", session.arena_bytes());
    session.input_mut::<f32>(0).unwrap().copy_from_slice(&[0.0, 1.0, 2.0, 3.0]);
    let mut seen = Vec::new();
    session
        .run_observed(&mut |_, tensor, bytes| {
            seen.push((tensor.name.clone(), f32::from_le_bytes(bytes[..4].try_into().unwrap())));
        })
        .unwrap();
    let names: Vec<_> = seen.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x", "t0", "t1", "t2", "t3", "t4", "t5", "view"]);
    let values: Vec<_> = seen.iter().map(|&(_, value)| value).collect();
    assert_eq!(values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 6.0]);
}

#[test]
fn a_failed_resize_leaves_the_session_as_it_was() {
    let mut graph = small();
    let fixed = graph.tensors.iter().position(|tensor| tensor.name == "packed").unwrap();
    let node = graph.producer(TensorId(fixed)).unwrap();
    let two = integers(&mut graph, &[1, 27]);
    graph.replace_uses(TensorId(fixed), two);
    graph.nodes.remove(node);
    let mut session = Session::new(&Model::from_graph(graph), options(1)).unwrap();
    let before = run(&mut session, &image(1));
    let error = session.resize_batch(3).unwrap_err();
    assert_eq!(
        error.to_string(),
        "resizing to batch 3: op 4 RESHAPE \"flat\": 81 elements do not fit the shape [1, 27]"
    );
    assert!(matches!(session.resize_input(0, &[3, 72]), Err(Error::Invalid(_))));
    assert_eq!(run(&mut session, &image(1)), before);
}

#[test]
fn wrong_types_and_indices_are_errors() {
    let mut session = Session::new(&Model::from_graph(small()), options(1)).unwrap();
    assert!(session.input_mut::<i8>(0).unwrap_err().to_string().contains("float32"));
    assert!(session.input_mut::<f32>(1).is_err());
    assert!(session.output::<f32>(1).is_err());
}

#[test]
fn memory_beyond_the_limit_is_an_error() {
    let limit = SessionOptions { arena_bytes_max: 1 << 20, ..options(1) };
    let mut session = Session::new(&Model::from_graph(small()), limit).unwrap();
    assert!(matches!(session.resize_batch(1 << 20), Err(Error::Limit(_))));
}

#[test]
fn types_that_no_kernel_takes_are_named() {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::U32, [4]));
    let y = graph.add_node(Relu, &[Some(x)], "y").unwrap();
    graph.outputs = vec![y];
    let error = Session::new(&Model::from_graph(graph), options(1)).err().unwrap();
    assert_eq!(error.to_string(), "op 0 RELU \"y\": no kernel takes (uint32) to (uint32)");
}

#[test]
fn an_integer_layer_runs_under_both_numerics() {
    let mut graph = Graph::new("main");
    let input = Tensor::new("x", DType::I8, [1, 4]).with_quantization(Quantization::per_tensor(0.5, 3));
    let x = graph.add_input(input);
    let weights = Tensor::constant("w", DType::I8, [2, 4], Data::from_slice(&[1_i8, 2, 3, 4, -1, 0, 1, 0]))
        .with_quantization(Quantization::per_channel(vec![0.25, 0.5], 0));
    let w = graph.add_tensor(weights);
    let bias = Tensor::constant("b", DType::I32, [2], Data::from_slice(&[8_i32, -4]))
        .with_quantization(Quantization::per_channel(vec![0.125, 0.25], 0));
    let b = graph.add_tensor(bias);
    let y = graph.add_node(FullyConnected::default(), &[Some(x), Some(w), Some(b)], "y").unwrap();
    graph.tensor_mut(y).quantization = Some(Quantization::per_tensor(0.25, -2));
    graph.outputs = vec![y];
    for numerics in [Numerics::Litert, Numerics::Reference] {
        let options = SessionOptions { numerics, ..options(1) };
        let mut session = Session::new(&Model::from_graph(graph.clone()), options).unwrap();
        session.input_mut::<i8>(0).unwrap().copy_from_slice(&[5, 3, 7, 1]);
        session.run().unwrap();
        // (5-3)*1 + 0*2 + 4*3 - 2*4 + 8 = 14, times 0.5*0.25/0.25 = 7, minus 2; and -2 + 4 - 4 = -2, times 1, minus 2.
        assert_eq!(session.output::<i8>(0).unwrap(), [5, -4]);
    }
}

/// As LiteRT does (docs/NUMERICS.md): for int8 and int16 activations, for kernels of bytes and of words.
#[test]
fn signed_weights_with_a_zero_point_are_refused_by_conv_2d_and_subtracted_by_fully_connected() {
    for (dtype, bias) in [(DType::I8, Data::from_slice(&[8_i32])), (DType::I16, Data::from_slice(&[8_i64]))] {
        let make = |conv: bool| {
            let mut graph = Graph::new("main");
            let shape = if conv { vec![1, 1, 1, 4] } else { vec![1, 4] };
            let quantized = |scale, zero_point| Quantization::per_tensor(scale, zero_point);
            let input = Tensor::new("x", dtype, shape.clone()).with_quantization(quantized(0.5, 0));
            let x = graph.add_input(input);
            let weights = Tensor::constant("w", DType::I8, shape, Data::from_slice(&[1_i8, -2, 3, 4]));
            let w = graph.add_tensor(weights.with_quantization(quantized(0.5, -3)));
            let bias_type = if dtype == DType::I8 { DType::I32 } else { DType::I64 };
            let b = graph
                .add_tensor(Tensor::constant("b", bias_type, [1], bias.clone()).with_quantization(quantized(0.25, 0)));
            let inputs = [Some(x), Some(w), Some(b)];
            let y = match conv {
                true => graph.add_node(Conv2d::default(), &inputs, "y"),
                false => graph.add_node(FullyConnected::default(), &inputs, "y"),
            };
            let y = y.unwrap();
            graph.tensor_mut(y).quantization = Some(quantized(0.25, 0));
            graph.outputs = vec![y];
            Model::from_graph(graph)
        };
        for numerics in [Numerics::Litert, Numerics::Reference] {
            for isa in Isa::available() {
                let options = SessionOptions { numerics, isa: Some(isa), ..options(1) };
                let error = Session::new(&make(true), options.clone()).err().unwrap().to_string();
                assert!(error.contains("zero point -3, expected 0"), "{error}");
                let mut session = Session::new(&make(false), options).unwrap();
                let expected = 4 + 2 - 2 * 6 + 3 * 7 + 8;
                if dtype == DType::I8 {
                    session.input_mut::<i8>(0).unwrap().copy_from_slice(&[1, 2, -2, 3]);
                    session.run().unwrap();
                    assert_eq!(session.output::<i8>(0).unwrap(), [expected], "{numerics:?} {isa}");
                } else {
                    session.input_mut::<i16>(0).unwrap().copy_from_slice(&[1, 2, -2, 3]);
                    session.run().unwrap();
                    assert_eq!(session.output::<i16>(0).unwrap(), [i16::from(expected)], "{numerics:?} {isa}");
                }
            }
        }
    }
}

/// Whatever else reads scales of blocks would take them for those of an axis.
#[test]
fn scales_of_blocks_are_for_weights_of_fully_connected_with_float_activations() {
    let blocks = Tensor::constant("w", DType::I4, [2, 32], Data::from_bytes(&[0x21; 32]))
        .with_quantization(Quantization::blockwise(vec![0.5, 2.0], 32));
    let with = |make: &dyn Fn(&mut Graph, TensorId) -> TensorId| {
        let mut graph = Graph::new("main");
        let w = graph.add_tensor(blocks.clone());
        let y = make(&mut graph, w);
        graph.outputs = vec![y];
        Session::new(&Model::from_graph(graph), options(1))
    };
    let dense = |dtype: DType, computed_bias: bool| {
        move |graph: &mut Graph, w: TensorId| {
            let quantized = |tensor: Tensor| match dtype {
                DType::I8 => tensor.with_quantization(Quantization::per_tensor(0.5, 0)),
                _ => tensor,
            };
            let x = graph.add_input(quantized(Tensor::new("x", dtype, [1, 32])));
            let b = computed_bias.then(|| graph.add_input(Tensor::new("b", DType::F32, [2])));
            let y = graph.add_node(FullyConnected::default(), &[Some(x), Some(w), b], "y").unwrap();
            let tensor = graph.tensor_mut(y);
            *tensor = quantized(tensor.clone());
            y
        }
    };
    let mut session = with(&dense(DType::F32, false)).unwrap();
    session.input_mut::<f32>(0).unwrap().fill(255.0);
    session.run().unwrap();
    // 16 times 1 and 2, and a scale for each row; 255 has steps of 1.
    assert_eq!(session.output::<f32>(0).unwrap(), [255.0 * 24.0, 255.0 * 96.0]);
    let error = |made: litesmith_graph::Result<Session>| made.err().unwrap().to_string();
    assert!(error(with(&dense(DType::F32, true))).contains("computed bias"));
    for error in [
        error(with(&dense(DType::I8, false))),
        error(with(&|graph, w| graph.add_node(Dequantize, &[Some(w)], "y").unwrap())),
    ] {
        assert!(error.contains("blockwise quantization of \"w\""), "{error}");
    }
}

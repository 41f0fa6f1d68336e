//! Ops that are functions of one byte, done by the kernel that makes the byte: the same results as op by op.

use litesmith_graph::ops::{Add, Conv2d, Logistic, Mul};
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

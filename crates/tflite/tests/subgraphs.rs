//! Several subgraphs, the ops that run them, variables and custom ops: written and read back.

use litesmith_graph::ops::{
    AssignVariable, CallOnce, Custom, If, ReadVariable, Relu, StablehloComposite, VarHandle, While,
};
use litesmith_graph::{DType, Data, Graph, Model, Node, Op, Signature, Tensor, TensorId};
use litesmith_tflite::{Limits, WriteOptions, read, write};

fn node(graph: &mut Graph, op: impl Into<Op>, inputs: &[TensorId], outputs: &[TensorId]) {
    let inputs = inputs.iter().copied().map(Some).collect();
    graph.nodes.push(Node { op: op.into(), inputs, outputs: outputs.to_vec() });
}

fn model() -> Model {
    let mut main = Graph::new("main");
    let x = main.add_input(Tensor::new("x", DType::F32, [2]));
    let flag = main.add_input(Tensor::new("flag", DType::Bool, [1]));
    let handle = main.add_tensor(Tensor::new("handle", DType::Resource, []));
    let values: Vec<_> =
        (0..5).map(|index| main.add_tensor(Tensor::new(format!("t{index}"), DType::F32, [2]))).collect();
    node(&mut main, CallOnce { init_graph: 3 }, &[], &[]);
    node(&mut main, VarHandle { container: "c".into(), shared_name: "v".into() }, &[], &[handle]);
    node(&mut main, ReadVariable, &[handle], &[values[0]]);
    node(&mut main, If { then_graph: 1, else_graph: 1 }, &[flag, x], &[values[1]]);
    node(&mut main, While { condition_graph: 2, body_graph: 1 }, &[values[1]], &[values[2]]);
    let composite = StablehloComposite {
        name: "odml.relu".into(),
        decomposition_graph: 1,
        attributes: Data::from_bytes(&[1, 2, 3]),
        version: 2,
    };
    node(&mut main, composite, &[values[2]], &[values[3]]);
    let custom =
        |name: &str, options: &[u8]| Custom { name: name.into(), version: 3, options: Data::from_bytes(options) };
    node(&mut main, custom("Mine", &[9; 5]), &[values[3]], &[values[4]]);
    let last = main.add_tensor(Tensor::new("y", DType::F32, [2]));
    node(&mut main, custom("Yours", &[]), &[values[4]], &[last]);
    node(&mut main, AssignVariable, &[handle, last], &[]);
    main.outputs = vec![last];

    let mut body = Graph::new("body");
    let x = body.add_input(Tensor::new("x", DType::F32, [2]));
    let y = body.add_node(Relu, &[Some(x)], "y").unwrap();
    body.outputs = vec![y];
    let mut condition = Graph::new("condition");
    condition.add_input(Tensor::new("x", DType::F32, [2]));
    let always = Tensor::constant("go", DType::Bool, [1], Data::from_bytes(&[1]));
    condition.outputs = vec![condition.add_tensor(always)];
    let signature = |key: &str, graph| Signature {
        key: key.into(),
        graph,
        inputs: vec![("a".into(), TensorId(0))],
        outputs: vec![("b".into(), TensorId(1))],
    };
    Model {
        graphs: vec![main, body, condition, Graph::new("init")],
        signatures: vec![signature("one", 0), signature("two", 1)],
        ..Model::default()
    }
}

#[test]
fn a_model_of_several_subgraphs_reads_back() {
    let model = model();
    let bytes = write(&model, &WriteOptions::default()).unwrap();
    let loaded = read(&bytes, &Limits::default()).unwrap();
    assert_eq!(loaded.model, model);
    assert_eq!(write(&loaded.model, &WriteOptions::default()).unwrap(), bytes);
}

#[test]
fn a_subgraph_that_is_not_there_is_refused() {
    let mut model = model();
    model.graphs[0].nodes[3].op = If { then_graph: 1, else_graph: 4 }.into();
    let error = model.check().unwrap_err().to_string();
    assert!(error.contains("op 3 IF \"t1\": runs subgraph 4 of 4"), "{error}");
}

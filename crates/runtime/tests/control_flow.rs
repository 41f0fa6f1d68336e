//! Subgraphs that call one another, values that outlive a run, shapes that depend on values.

use litesmith_graph::ops::{
    Activation, Add, AssignVariable, CallOnce, Concatenation, If, Mul, Pad, ReadVariable, Relu, Reshape,
    StablehloComposite, VarHandle, While,
};
use litesmith_graph::{DType, Data, Error, Graph, Model, Node, Op, Result, Signature, Tensor, TensorId};
use litesmith_runtime::{Fate, Session, SessionLimits, SessionOptions};

fn node(graph: &mut Graph, op: impl Into<Op>, inputs: &[TensorId], outputs: &[TensorId]) {
    let inputs = inputs.iter().copied().map(Some).collect();
    graph.nodes.push(Node { op: op.into(), inputs, outputs: outputs.to_vec() });
}

fn floats(graph: &mut Graph, shape: &[usize], elements: &[f32]) -> TensorId {
    graph.add_tensor(Tensor::constant("c", DType::F32, shape, Data::from_slice(elements)))
}

fn value(graph: &mut Graph, name: &str, dtype: DType, shape: &[usize]) -> TensorId {
    graph.add_tensor(Tensor::new(name, dtype, shape))
}

fn model(graphs: Vec<Graph>) -> Model {
    Model { graphs, ..Model::default() }
}

fn session(graphs: Vec<Graph>) -> Result<Session> {
    Session::new(&model(graphs), SessionOptions::default())
}

fn run(session: &mut Session, input: &[f32]) -> Result<Vec<f32>> {
    session.input_mut::<f32>(0)?.copy_from_slice(input);
    session.run()?;
    Ok(session.output::<f32>(0)?.to_vec())
}

/// `x` and a constant.
fn binary(name: &str, op: impl Into<Op>, shape: &[usize], constant: &[f32]) -> Graph {
    let mut graph = Graph::new(name);
    let x = graph.add_input(Tensor::new("x", DType::F32, shape));
    let c = floats(&mut graph, &[constant.len()], constant);
    let y = graph.add_node(op, &[Some(x), Some(c)], "y").unwrap();
    graph.outputs = vec![y];
    graph
}

/// Zeros around `x`: one element before and one after.
fn grow(name: &str) -> Graph {
    let mut graph = Graph::new(name);
    let x = graph.add_input(Tensor::new("x", DType::F32, [2]));
    let around = graph.add_tensor(Tensor::constant("p", DType::I32, [1, 2], Data::from_slice(&[1_i32, 1])));
    let y = graph.add_node(Pad, &[Some(x), Some(around)], "y").unwrap();
    graph.outputs = vec![y];
    graph
}

fn branching(then_graph: Graph, else_graph: Graph) -> Vec<Graph> {
    let mut main = Graph::new("main");
    let x = main.add_input(Tensor::new("x", DType::F32, [2]));
    let flag = main.add_input(Tensor::new("flag", DType::Bool, [1]));
    let y = value(&mut main, "y", DType::F32, &[2]);
    node(&mut main, If { then_graph: 1, else_graph: 2 }, &[flag, x], &[y]);
    let z = main.add_node(Relu, &[Some(y)], "z").unwrap();
    main.outputs = vec![z];
    vec![main, then_graph, else_graph]
}

#[test]
fn if_takes_the_branch_that_the_condition_says() {
    let graphs = branching(binary("a", Add::default(), &[2], &[10.0]), binary("b", Mul::default(), &[2], &[3.0]));
    let mut session = session(graphs).unwrap();
    for (flag, expected) in [(1, [11.0, 12.0]), (0, [3.0, 6.0]), (1, [11.0, 12.0])] {
        session.input_bytes_mut(1).unwrap()[0] = flag;
        assert_eq!(run(&mut session, &[1.0, 2.0]).unwrap(), expected);
    }
    // A branch follows the shape of what it is given.
    session.resize_input(0, &[3]).unwrap();
    session.input_bytes_mut(1).unwrap()[0] = 0;
    assert_eq!(run(&mut session, &[1.0, 2.0, 3.0]).unwrap(), [3.0, 6.0, 9.0]);
}

#[test]
fn branches_may_give_other_shapes() {
    let graphs = branching(grow("a"), binary("b", Mul::default(), &[2], &[3.0]));
    let mut session = session(graphs).unwrap();
    assert!(session.explain().iter().all(|node| node.fate == Fate::Later));
    for (flag, expected) in [(1, vec![0.0, 1.0, 2.0, 0.0]), (0, vec![3.0, 6.0]), (1, vec![0.0, 1.0, 2.0, 0.0])] {
        session.input_bytes_mut(1).unwrap()[0] = flag;
        assert_eq!(run(&mut session, &[1.0, 2.0]).unwrap(), expected);
        assert_eq!(session.output_tensor(0).unwrap().shape, [expected.len()]);
    }
}

/// `while go[0]: x, go = body(x, go)`.
fn looping(shape: &[usize], body: Graph) -> Vec<Graph> {
    let mut main = Graph::new("main");
    let x = main.add_input(Tensor::new("x", DType::F32, shape));
    let go = main.add_input(Tensor::new("go", DType::Bool, [4]));
    let y = value(&mut main, "y", DType::F32, shape);
    let left = value(&mut main, "left", DType::Bool, &[4]);
    node(&mut main, While { condition_graph: 1, body_graph: 2 }, &[x, go], &[y, left]);
    main.outputs = vec![y, left];
    let mut condition = Graph::new("condition");
    condition.add_input(Tensor::new("x", DType::F32, shape));
    let go = condition.add_input(Tensor::new("go", DType::Bool, [4]));
    condition.outputs = vec![go];
    vec![main, condition, body]
}

#[test]
fn while_goes_on_until_the_condition_fails() {
    // The body leaves the flag as it is, so that only the limit stops the loop.
    let mut body = binary("body", Add::default(), &[2], &[1.0]);
    let go = body.add_input(Tensor::new("go", DType::Bool, [4]));
    body.outputs.push(go);
    let graphs = looping(&[2], body);
    let mut never = session(graphs.clone()).unwrap();
    never.input_bytes_mut(1).unwrap().fill(0);
    assert_eq!(run(&mut never, &[1.0, 2.0]).unwrap(), [1.0, 2.0]);

    let limits = SessionLimits { loop_iterations: 100, ..SessionLimits::default() };
    let options = SessionOptions { limits, ..SessionOptions::default() };
    let mut endless = Session::new(&model(graphs), options).unwrap();
    endless.input_bytes_mut(1).unwrap().fill(1);
    let error = run(&mut endless, &[1.0, 2.0]).unwrap_err();
    assert!(matches!(error, Error::Limit(_)), "{error}");
    assert!(error.to_string().contains("op 0 WHILE \"y\": loops made more than 100 iterations"), "{error}");
}

#[test]
fn a_loop_may_exchange_its_values() {
    // (a, b, go, stop) -> (b, a, stop, go): once around.
    let mut main = Graph::new("main");
    let ids: Vec<_> = ["a", "b", "go", "stop"]
        .iter()
        .enumerate()
        .map(|(index, name)| main.add_input(Tensor::new(*name, if index < 2 { DType::F32 } else { DType::Bool }, [1])))
        .collect();
    let outputs: Vec<_> =
        (0..4).map(|index| value(&mut main, "o", if index < 2 { DType::F32 } else { DType::Bool }, &[1])).collect();
    node(&mut main, While { condition_graph: 1, body_graph: 2 }, &ids, &outputs);
    main.outputs = outputs;
    let mut condition = main.clone();
    condition.nodes.clear();
    condition.outputs = vec![condition.inputs[2]];
    let mut body = condition.clone();
    body.outputs = [1, 0, 3, 2].map(|index| body.inputs[index]).to_vec();
    let mut session = session(vec![main, condition, body]).unwrap();
    session.input_bytes_mut(2).unwrap()[0] = 1;
    session.input_mut::<f32>(1).unwrap()[0] = 7.0;
    assert_eq!(run(&mut session, &[5.0]).unwrap(), [7.0]);
    assert_eq!(session.output::<f32>(1).unwrap(), [5.0]);
    assert_eq!((session.output_bytes(2).unwrap(), session.output_bytes(3).unwrap()), (&[0][..], &[1][..]));
}

#[test]
fn a_loop_may_grow_its_values() {
    // Each iteration plans for the next shape, up to the limit.
    let mut body = grow("body");
    let go = body.add_input(Tensor::new("go", DType::Bool, [4]));
    body.outputs.push(go);
    let limits = SessionLimits { loop_iterations: 3, ..SessionLimits::default() };
    let options = SessionOptions { limits, ..SessionOptions::default() };
    let mut session = Session::new(&model(looping(&[2], body)), options).unwrap();
    session.input_bytes_mut(1).unwrap().fill(0);
    assert_eq!(run(&mut session, &[1.0, 2.0]).unwrap(), [1.0, 2.0]);
    assert_eq!(session.output_tensor(0).unwrap().shape, [2]);
    session.input_bytes_mut(1).unwrap().fill(1);
    assert!(matches!(run(&mut session, &[1.0, 2.0]), Err(Error::Limit(_))));
}

#[test]
fn composites_are_the_ops_that_they_stand_for() {
    let mut main = Graph::new("main");
    let x = main.add_input(Tensor::new("x", DType::F32, [2]));
    let (y, same) = (value(&mut main, "y", DType::F32, &[2]), value(&mut main, "same", DType::F32, &[2]));
    let composite = |graph| StablehloComposite {
        name: "c".into(),
        decomposition_graph: graph,
        attributes: Data::from_bytes(&[]),
        version: 1,
    };
    node(&mut main, composite(1), &[x], &[y, same]);
    let z = main.add_node(Add::default(), &[Some(y), Some(same)], "z").unwrap();
    main.outputs = vec![z, same];
    // The first output is that of another composite, the second the input as it is.
    let mut outer = Graph::new("outer");
    let x = outer.add_input(Tensor::new("x", DType::F32, [2]));
    let y = value(&mut outer, "y", DType::F32, &[2]);
    node(&mut outer, composite(2), &[x], &[y]);
    outer.outputs = vec![y, x];
    let graphs = vec![main, outer, binary("inner", Mul::default(), &[2], &[10.0])];
    let mut planned = session(graphs.clone()).unwrap();
    assert_eq!(run(&mut planned, &[1.0, 2.0]).unwrap(), [11.0, 22.0]);
    assert_eq!(planned.output::<f32>(1).unwrap(), [1.0, 2.0]);
    let kernels = planned.explain().into_iter().filter(|node| matches!(node.fate, Fate::Kernel { .. }));
    assert_eq!(kernels.map(|node| node.place).collect::<Vec<_>>(), ["op 0 MUL \"y\"", "op 1 ADD \"z\""]);

    let mut endless = graphs;
    endless[2].nodes[0] = Node { op: composite(2).into(), ..endless[2].nodes[0].clone() };
    endless[2].nodes[0].inputs.pop();
    let error = session(endless).err().unwrap();
    assert!(matches!(error, Error::Limit(_)), "{error}");
}

#[test]
fn subgraphs_that_call_themselves_are_refused() {
    let mut graphs = branching(grow("a"), grow("b"));
    let mut recursive = graphs[0].clone();
    recursive.inputs.reverse();
    graphs[1] = recursive;
    let flag = graphs[1].inputs[0];
    graphs[1].nodes[0].inputs = vec![Some(flag), Some(graphs[1].inputs[1])];
    graphs[0].nodes[0].inputs.insert(1, Some(flag));
    graphs[1].nodes[0].inputs.insert(1, Some(flag));
    graphs[2] = graphs[1].clone();
    let error = session(graphs).err().unwrap();
    assert!(matches!(error, Error::Limit(_)), "{error}");
}

#[test]
fn subgraphs_that_multiply_are_limited() {
    // Each graph runs the next one twice, by IF or as a composite: 2 to the 14th runs of the last.
    for composite in [false, true] {
        let mut graphs = Vec::new();
        for level in 0..14 {
            let mut graph = Graph::new(format!("level {level}"));
            let flag = graph.add_input(Tensor::new("flag", DType::Bool, [1]));
            let mut last = graph.add_input(Tensor::new("x", DType::F32, [2]));
            for _ in 0..2 {
                let next = value(&mut graph, "y", DType::F32, &[2]);
                if level == 13 {
                    node(&mut graph, Relu, &[last], &[next]);
                } else if composite {
                    let attributes = Data::from_bytes(&[]);
                    let decomposition_graph = level + 1;
                    let op = StablehloComposite { name: "c".into(), decomposition_graph, attributes, version: 1 };
                    node(&mut graph, op, &[flag, last], &[next]);
                } else {
                    let op = If { then_graph: level + 1, else_graph: level + 1 };
                    node(&mut graph, op, &[flag, flag, last], &[next]);
                }
                last = next;
            }
            graph.outputs = vec![last];
            graphs.push(graph);
        }
        let limits = SessionLimits { planned_nodes: 5_000, ..SessionLimits::default() };
        let options = SessionOptions { limits, ..SessionOptions::default() };
        let error = Session::new(&model(graphs), options).err().unwrap();
        assert!(matches!(error, Error::Limit(_)), "{error}");
        assert!(error.to_string().contains("more than 5000 ops and tensors"), "{error}");
    }
}

/// `total += x; y = total`, the variable set to 100 by a subgraph that runs once.
fn counter() -> Vec<Graph> {
    let mut main = Graph::new("main");
    let x = main.add_input(Tensor::new("x", DType::F32, [2]));
    let handle = value(&mut main, "handle", DType::Resource, &[]);
    let before = value(&mut main, "before", DType::F32, &[2]);
    node(&mut main, CallOnce { init_graph: 1 }, &[], &[]);
    node(&mut main, VarHandle { container: String::new(), shared_name: "total".into() }, &[], &[handle]);
    node(&mut main, ReadVariable, &[handle], &[before]);
    let after = main.add_node(Add::default(), &[Some(before), Some(x)], "after").unwrap();
    node(&mut main, AssignVariable, &[handle, after], &[]);
    let y = value(&mut main, "y", DType::F32, &[2]);
    node(&mut main, ReadVariable, &[handle], &[y]);
    main.outputs = vec![y];
    let mut init = Graph::new("init");
    let handle = value(&mut init, "handle", DType::Resource, &[]);
    let hundred = floats(&mut init, &[2], &[100.0, 100.0]);
    node(&mut init, VarHandle { container: String::new(), shared_name: "total".into() }, &[], &[handle]);
    node(&mut init, AssignVariable, &[handle, hundred], &[]);
    let mut peek = Graph::new("peek");
    let handle = value(&mut peek, "handle", DType::Resource, &[]);
    node(&mut peek, VarHandle { container: String::new(), shared_name: "total".into() }, &[], &[handle]);
    let y = value(&mut peek, "y", DType::F32, &[2]);
    node(&mut peek, ReadVariable, &[handle], &[y]);
    peek.outputs = vec![y];
    vec![main, init, peek]
}

#[test]
fn variables_outlive_a_run_and_are_shared_by_signatures() {
    let mut model = model(counter());
    let signature = |key: &str, graph, inputs: &[(&str, usize)], output: usize| Signature {
        key: key.into(),
        graph,
        inputs: inputs.iter().map(|&(name, id)| (name.into(), TensorId(id))).collect(),
        outputs: vec![("total".into(), TensorId(output))],
    };
    model.signatures = vec![signature("add", 0, &[("amount", 0)], 4), signature("peek", 2, &[], 1)];
    let mut session = Session::for_signature(&model, "add", SessionOptions::default()).unwrap();
    assert_eq!(session.input_index("amount").unwrap(), 0);
    assert_eq!(session.input_index("x").unwrap(), 0);
    let error = session.output_index("y2").unwrap_err();
    assert_eq!(error.hint(), Some("it has total"));
    assert_eq!(run(&mut session, &[1.0, 2.0]).unwrap(), [101.0, 102.0]);
    assert_eq!(run(&mut session, &[1.0, 2.0]).unwrap(), [102.0, 104.0]);
    session.select_signature("peek").unwrap();
    session.run().unwrap();
    assert_eq!(session.output::<f32>(0).unwrap(), [102.0, 104.0]);
    session.select_signature("add").unwrap();
    assert_eq!(run(&mut session, &[1.0, 0.0]).unwrap(), [103.0, 104.0]);
    session.reset_variables().unwrap();
    assert_eq!(run(&mut session, &[1.0, 0.0]).unwrap(), [101.0, 100.0]);
    let error = session.select_signature("take").unwrap_err();
    assert_eq!(error.hint(), Some("it has add, peek"));
    assert_eq!(run(&mut session, &[1.0, 0.0]).unwrap(), [102.0, 100.0]);

    let mut peek = Session::for_signature(&model, "peek", SessionOptions::default()).unwrap();
    let error = peek.run().unwrap_err().to_string();
    assert!(error.contains("it is read before anything is assigned to it"), "{error}");
}

#[test]
fn a_variable_may_grow_from_run_to_run() {
    let mut main = Graph::new("main");
    let x = main.add_input(Tensor::new("x", DType::F32, [2]));
    let handle = value(&mut main, "handle", DType::Resource, &[]);
    let before = value(&mut main, "before", DType::F32, &[1]);
    node(&mut main, CallOnce { init_graph: 1 }, &[], &[]);
    node(&mut main, VarHandle { container: String::new(), shared_name: "list".into() }, &[], &[handle]);
    node(&mut main, ReadVariable, &[handle], &[before]);
    let join = Concatenation { axis: 0, activation: Activation::None };
    let after = main.add_node(join, &[Some(before), Some(x)], "after").unwrap();
    node(&mut main, AssignVariable, &[handle, after], &[]);
    let y = value(&mut main, "y", DType::F32, &[3]);
    node(&mut main, ReadVariable, &[handle], &[y]);
    main.outputs = vec![y];
    let mut init = Graph::new("init");
    let handle = value(&mut init, "handle", DType::Resource, &[]);
    let first = floats(&mut init, &[1], &[9.0]);
    node(&mut init, VarHandle { container: String::new(), shared_name: "list".into() }, &[], &[handle]);
    node(&mut init, AssignVariable, &[handle, first], &[]);
    let mut session = session(vec![main, init]).unwrap();
    assert_eq!(run(&mut session, &[1.0, 2.0]).unwrap(), [9.0, 1.0, 2.0]);
    assert_eq!(run(&mut session, &[3.0, 4.0]).unwrap(), [9.0, 1.0, 2.0, 3.0, 4.0]);
    // What the inputs hold is still there when the plan follows the variable.
    session.run().unwrap();
    assert_eq!(session.output_tensor(0).unwrap().shape, [7]);
    assert_eq!(session.output::<f32>(0).unwrap(), [9.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0]);
    session.reset_variables().unwrap();
    assert_eq!(run(&mut session, &[5.0, 6.0]).unwrap(), [9.0, 5.0, 6.0]);
}

#[test]
fn variables_of_another_type_or_without_a_handle_are_refused() {
    let mut graphs = counter();
    graphs[1].tensors[1] = Tensor::constant("c", DType::I32, [2], Data::from_slice(&[1, 2]));
    let error = session(graphs).err().unwrap().to_string();
    assert!(error.contains("op 2 READ_VARIABLE \"before\": the variable is int32, the output float32"), "{error}");
    let mut graphs = counter();
    let x = graphs[0].inputs[0];
    graphs[0].nodes[2].inputs = vec![Some(x)];
    let error = session(graphs).err().unwrap().to_string();
    assert!(error.contains("its first input does not come from a VAR_HANDLE"), "{error}");
}

#[test]
fn variable_tensors_begin_with_zero_or_their_buffer() {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::F32, [2]));
    let zero = graph.add_tensor(Tensor { is_variable: true, ..Tensor::new("zero", DType::F32, [2]) });
    let one = floats(&mut graph, &[2], &[1.0, 2.0]);
    graph.tensor_mut(one).is_variable = true;
    let y = graph.add_node(Add::default(), &[Some(x), Some(zero)], "y").unwrap();
    let y = graph.add_node(Add::default(), &[Some(y), Some(one)], "y").unwrap();
    graph.outputs = vec![y, one];
    let mut session = session(vec![graph]).unwrap();
    assert_eq!(run(&mut session, &[10.0, 20.0]).unwrap(), [11.0, 22.0]);
    assert_eq!(session.output::<f32>(1).unwrap(), [1.0, 2.0]);
}

/// `x` in a shape that is an input, and then zeros around it as another input says.
fn reshaping() -> Graph {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::F32, [4]));
    let shape = graph.add_input(Tensor::new("shape", DType::I32, [2]));
    let around = graph.add_input(Tensor::new("around", DType::I32, [2, 2]));
    let two = floats(&mut graph, &[1], &[2.0]);
    let doubled = graph.add_node(Mul::default(), &[Some(x), Some(two)], "doubled").unwrap();
    let shaped = value(&mut graph, "shaped", DType::F32, &[1, 4]);
    node(&mut graph, Reshape::default(), &[doubled, shape], &[shaped]);
    let relu = value(&mut graph, "relu", DType::F32, &[1, 4]);
    node(&mut graph, Relu, &[shaped], &[relu]);
    let padded = value(&mut graph, "padded", DType::F32, &[1, 4]);
    node(&mut graph, Pad, &[relu, around], &[padded]);
    graph.outputs = vec![padded, doubled, relu];
    graph
}

#[test]
fn shapes_follow_values() {
    let mut session = session(vec![reshaping()]).unwrap();
    assert_eq!(session.output_bytes(0).unwrap(), []);
    let mut go = |shape: [i32; 2], around: [i32; 4]| -> Result<(Vec<usize>, Vec<f32>)> {
        session.input_mut::<i32>(1)?.copy_from_slice(&shape);
        session.input_mut::<i32>(2)?.copy_from_slice(&around);
        let y = run(&mut session, &[1.0, -2.0, 3.0, 4.0])?;
        assert_eq!(session.output::<f32>(1)?, [2.0, -4.0, 6.0, 8.0]);
        assert_eq!(session.output::<f32>(2)?, [2.0, 0.0, 6.0, 8.0]);
        assert!(session.explain().iter().all(|node| node.fate != Fate::Later));
        Ok((session.output_tensor(0)?.shape.clone(), y))
    };
    assert_eq!(go([1, 4], [0; 4]).unwrap(), (vec![1, 4], vec![2.0, 0.0, 6.0, 8.0]));
    let columns = (vec![2, 3], vec![0.0, 2.0, 0.0, 0.0, 6.0, 8.0]);
    assert_eq!(go([2, 2], [0, 0, 1, 0]).unwrap(), columns);
    assert_eq!(go([2, 2], [0, 0, 1, 0]).unwrap(), columns);
    assert_eq!(go([-1, 1], [0, 1, 0, 0]).unwrap(), (vec![5, 1], vec![2.0, 0.0, 6.0, 8.0, 0.0]));
    let error = go([3, 2], [0; 4]).unwrap_err().to_string();
    assert!(error.contains("op 1 RESHAPE \"shaped\": 4 elements do not fit the shape [3, 2]"), "{error}");
    assert_eq!(go([2, 2], [0, 0, 1, 0]).unwrap(), columns);
}

#[test]
fn dynamic_sizes_are_limited() {
    let options = SessionOptions { arena_bytes_max: 1 << 20, ..SessionOptions::default() };
    let mut session = Session::from_graph(reshaping(), options).unwrap();
    session.input_mut::<i32>(1).unwrap().copy_from_slice(&[2, 2]);
    session.input_mut::<i32>(2).unwrap().copy_from_slice(&[0, 1 << 20, 0, 0]);
    let error = session.run().unwrap_err();
    assert!(matches!(error, Error::Limit(_)), "{error}");
    let arena = session.arena_bytes();
    for around in 1..50 {
        session.input_mut::<i32>(2).unwrap()[1] = around * 100;
        session.run().unwrap();
    }
    session.input_mut::<i32>(2).unwrap().fill(0);
    session.run().unwrap();
    assert!(session.arena_bytes() < arena + 1000, "what plans held is given back");
}

//! Indices that are known only when the op runs.

use litesmith_graph::ops::{EmbeddingLookup, Gather, GatherNd, Where};
use litesmith_graph::{DType, Error, Graph, Model, Op, Tensor};
use litesmith_runtime::{Session, SessionOptions};

fn session(op: impl Into<Op>, inputs: &[(DType, &[usize])]) -> Session {
    let mut graph = Graph::new("main");
    let inputs: Vec<_> =
        inputs.iter().map(|&(dtype, shape)| Some(graph.add_input(Tensor::new("x", dtype, shape)))).collect();
    let y = graph.add_node(op, &inputs, "y").unwrap();
    graph.outputs = vec![y];
    Session::new(&Model::from_graph(graph), SessionOptions::default()).unwrap()
}

#[test]
fn an_index_outside_its_axis_fails_that_run_only() {
    for (op, rows) in [(Op::from(Gather { axis: 0, batch_dims: 0 }), &[2_usize][..]), (GatherNd.into(), &[2, 1])] {
        let mut session = session(op, &[(DType::F32, &[3, 2]), (DType::I32, rows)]);
        session.input_mut::<f32>(0).unwrap().copy_from_slice(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        for wrong in [3, -1, i32::MAX, i32::MIN] {
            session.input_mut::<i32>(1).unwrap().copy_from_slice(&[0, wrong]);
            let error = session.run().unwrap_err();
            assert!(matches!(error, Error::Invalid(_)), "{error}");
            let expected = format!("index {wrong} of an axis that has 3");
            assert!(error.to_string().contains(&expected), "{error}");
        }
        session.input_mut::<i32>(1).unwrap().copy_from_slice(&[2, 0]);
        session.run().unwrap();
        assert_eq!(session.output::<f32>(0).unwrap(), [4.0, 5.0, 0.0, 1.0]);
    }
}

#[test]
fn a_row_outside_its_table_is_an_error() {
    let mut session = session(EmbeddingLookup, &[(DType::I32, &[1]), (DType::F32, &[3, 2])]);
    session.input_mut::<i32>(0).unwrap()[0] = 3;
    assert!(session.run().unwrap_err().to_string().contains("index 3 of an axis that has 3"));
}

#[test]
fn the_result_of_where_grows_and_shrinks_with_its_condition() {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::I32, [2, 3]));
    let y = graph.add_tensor(Tensor::new("y", DType::I64, [0, 2]));
    graph.nodes.push(litesmith_graph::Node { op: Where.into(), inputs: vec![Some(x)], outputs: vec![y] });
    graph.outputs = vec![y];
    let mut session = Session::new(&Model::from_graph(graph), SessionOptions::default()).unwrap();
    for (condition, rows) in
        [([0, 7, 0, 0, -1, 1], &[0_i64, 1, 1, 1, 1, 2][..]), ([0; 6], &[]), ([1, 0, 0, 0, 0, 0], &[0, 0])]
    {
        session.input_mut::<i32>(0).unwrap().copy_from_slice(&condition);
        session.run().unwrap();
        assert_eq!(session.output_tensor(0).unwrap().shape, [rows.len() / 2, 2]);
        assert_eq!(session.output::<i64>(0).unwrap(), rows);
    }
}

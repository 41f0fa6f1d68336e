//! Arrays in, arrays out, for models of several inputs and outputs of any type.

use litesmith::data::{RawArray, read_npy, write_npy};
use litesmith::graph::ops::{Add, Relu, Reshape, ReverseV2, Sum};
use litesmith::graph::{DType, Data, Graph, Model, Tensor, TensorId};
use litesmith::raw::{output_npy, run_arrays, run_npy};
use litesmith::{Session, SessionOptions};

/// Arrays for inputs, by name or in order.
type Arrays = Vec<(Option<String>, RawArray)>;

/// `a + b` and `a` in another shape, of integers with 64 bits.
fn session() -> Session {
    let mut graph = Graph::new("main");
    let a = graph.add_input(Tensor::new("a", DType::F32, [1, 2]));
    let b = graph.add_input(Tensor::new("b", DType::F32, [1, 2]));
    let c = graph.add_input(Tensor::new("c", DType::I64, [4]));
    let sum = graph.add_node(Add::default(), &[Some(a), Some(b)], "sum").unwrap();
    let square = graph.add_node(Reshape { new_shape: Some(vec![-1, 2]) }, &[Some(c)], "square").unwrap();
    graph.outputs = vec![sum, square];
    Session::new(&Model::from_graph(graph), SessionOptions::default()).unwrap()
}

fn array<T: Copy>(dtype: DType, shape: &[usize], elements: &[T], bytes: fn(T) -> Vec<u8>) -> RawArray {
    let bytes: Vec<u8> = elements.iter().flat_map(|&element| bytes(element)).collect();
    RawArray::read(&write_npy(dtype, shape, &bytes).unwrap()).unwrap()
}

fn floats(shape: &[usize], elements: &[f32]) -> RawArray {
    array(DType::F32, shape, elements, |element| element.to_le_bytes().to_vec())
}

fn longs(elements: &[i64]) -> RawArray {
    array(DType::I64, &[elements.len()], elements, |element| element.to_le_bytes().to_vec())
}

#[test]
fn arrays_are_given_by_name_and_in_order_and_set_the_shapes() {
    let mut session = session();
    let large = [i64::MAX, i64::MIN, (1 << 53) + 1, 0];
    let inputs = [
        (Some("b".into()), floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0])),
        (None, floats(&[2, 2], &[10.0, 20.0, 30.0, 40.0])),
        (Some("c".into()), longs(&large)),
    ];
    run_arrays(&mut session, &inputs).unwrap();
    let sum = read_npy(&output_npy(&session, 0).unwrap()).unwrap();
    assert_eq!(sum.shape, [2, 2]);
    assert_eq!(session.output::<f32>(0).unwrap(), [11.0, 22.0, 33.0, 44.0]);
    let square = RawArray::read(&output_npy(&session, session.output_index("square").unwrap()).unwrap()).unwrap();
    assert_eq!((square.shape.as_slice(), square.bytes), ([2, 2].as_slice(), longs(&large).bytes));
}

/// Rows that depend on each other run together, however many they are; sizes that are open follow the array.
#[test]
fn rows_of_one_input_are_not_torn_apart() {
    let rows = 130;
    let values: Vec<f32> = (0..rows * 4).map(|index| index as f32).collect();
    let input = || Tensor { signature: Some(vec![-1, 4]), ..Tensor::new("x", DType::F32, [1, 4]) };
    let run = |node: &dyn Fn(&mut Graph, TensorId) -> TensorId, values: &[f32], shape: &[usize]| {
        let mut graph = Graph::new("main");
        let x = graph.add_input(input());
        graph.outputs = vec![node(&mut graph, x)];
        let mut session = Session::new(&Model::from_graph(graph), SessionOptions::default()).unwrap();
        let array = RawArray::read(&run_npy(&mut session, &floats(shape, values)).unwrap()).unwrap();
        (array.shape.clone(), array.to_f32().unwrap())
    };
    let axis = |graph: &mut Graph| graph.add_tensor(Tensor::constant("axis", DType::I32, [1], Data::from_slice(&[0])));
    let reversed = run(
        &|graph, x| {
            let axis = axis(graph);
            graph.add_node(ReverseV2, &[Some(x), Some(axis)], "y").unwrap()
        },
        &values,
        &[rows, 4],
    );
    assert_eq!(reversed.1[..4], values[(rows - 1) * 4..]);
    let sum = run(
        &|graph, x| {
            let axis = axis(graph);
            graph.add_node(Sum { keep_dims: false }, &[Some(x), Some(axis)], "y").unwrap()
        },
        &values,
        &[rows, 4],
    );
    assert_eq!((sum.0, sum.1[0]), (vec![4], (0..rows).map(|row| 4.0 * row as f32).sum()));
    // Each row by itself: in parts, with the same result.
    let relu = run(&|graph, x| graph.add_node(Relu, &[Some(x)], "y").unwrap(), &values, &[rows, 4]);
    assert_eq!(relu, (vec![rows, 4], values.clone()));
    // Three rows become one, which 64 rows do not divide into.
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor { signature: Some(vec![-1, 4]), ..Tensor::new("x", DType::F32, [3, 4]) });
    graph.outputs = vec![graph.add_node(Reshape { new_shape: Some(vec![-1, 12]) }, &[Some(x)], "y").unwrap()];
    let mut session = Session::new(&Model::from_graph(graph), SessionOptions::default()).unwrap();
    let merged = run_npy(&mut session, &floats(&[129, 4], &values[..129 * 4])).unwrap();
    assert_eq!(RawArray::read(&merged).unwrap().shape, [43, 12]);
}

#[test]
fn arrays_that_do_not_fit_are_errors() {
    let cases: [(&str, Arrays); 5] = [
        ("the model has 3 inputs", vec![(None, floats(&[1, 2], &[0.0; 2])); 4]),
        ("two arrays are given for it", vec![(None, floats(&[1, 2], &[0.0; 2])), (Some("a".into()), longs(&[0]))]),
        ("expected rank 2", vec![(None, floats(&[2], &[0.0; 2]))]),
        (
            "got int64, expected float32",
            vec![(None, array(DType::I64, &[1, 2], &[0_i64; 2], |x| x.to_le_bytes().into()))],
        ),
        ("do not broadcast", vec![(None, floats(&[3, 2], &[0.0; 6])), (None, floats(&[4, 2], &[0.0; 8]))]),
    ];
    for (expected, inputs) in cases {
        let mut session = session();
        let error = run_arrays(&mut session, &inputs).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}, expected {expected}");
    }
}

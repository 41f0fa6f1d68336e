//! Ops that change nothing, left out.

use litesmith_graph::{Graph, Model, Op, TensorId};

/// A copy of `model` without the RESHAPE, SQUEEZE and EXPAND_DIMS in front of a FULLY_CONNECTED that reads rows of a fixed
/// length wherever they lie: without `keep_num_dims` the op divides its input into rows itself. Outputs stay the same, byte
/// for byte.
#[must_use]
pub fn simplify(model: &Model) -> Model {
    let mut model = model.clone();
    for graph in &mut model.graphs {
        let mut is_changed = false;
        for node in 0..graph.nodes.len() {
            let reads_rows = matches!(&graph.nodes[node].op, Op::FullyConnected(op) if !op.keep_num_dims);
            while let Some(source) = graph.nodes[node].inputs.first().copied().flatten().filter(|_| reads_rows)
                && let Some(origin) = reshaped(graph, source)
            {
                graph.nodes[node].inputs[0] = Some(origin);
                is_changed = true;
            }
        }
        if is_changed {
            graph.remove_dead();
        }
    }
    model.refresh_signature();
    model
}

/// What `tensor` is the reshaped form of, the same elements with the same meaning.
fn reshaped(graph: &Graph, tensor: TensorId) -> Option<TensorId> {
    let node = graph.nodes.iter().find(|node| node.outputs.contains(&tensor))?;
    let origin = match node.op {
        Op::Reshape(_) | Op::Squeeze(_) | Op::ExpandDims(_) => node.inputs.first().copied().flatten()?,
        _ => return None,
    };
    let (from, to) = (graph.tensor(origin), graph.tensor(tensor));
    // A vector would become one row, and a scalar none.
    let is_same = from.dtype == to.dtype && from.quantization == to.quantization && from.shape.len() >= 2;
    is_same.then_some(origin)
}

#[cfg(test)]
mod tests {
    use litesmith_graph::ops::{Activation, FullyConnected, MaxPool2d, Padding, Relu, Reshape};
    use litesmith_graph::{DType, Data, Tensor};
    use litesmith_runtime::{Session, SessionOptions};

    use super::*;

    /// A pool, its output flattened for `keep_num_dims`, and a dense layer; flattened twice.
    fn model(keep_num_dims: bool) -> Model {
        let mut graph = Graph::new("main");
        let x = graph.add_input(Tensor::new("x", DType::F32, [2, 4, 4, 3]));
        let pool = MaxPool2d {
            padding: Padding::Valid,
            stride_height: 2,
            stride_width: 2,
            filter_height: 2,
            filter_width: 2,
            activation: Activation::None,
        };
        let pooled = graph.add_node(pool, &[Some(x)], "pooled").unwrap();
        let half = graph.add_node(Reshape { new_shape: Some(vec![2, 2, 6]) }, &[Some(pooled)], "half").unwrap();
        let flat = graph.add_node(Reshape { new_shape: Some(vec![2, 12]) }, &[Some(half)], "flat").unwrap();
        let weights: Vec<f32> = (0..60).map(|index| (index % 7) as f32 - 3.0).collect();
        let weights = graph.add_tensor(Tensor::constant("w", DType::F32, [5, 12], Data::from_slice(&weights)));
        let dense = FullyConnected { keep_num_dims, ..FullyConnected::default() };
        let y = graph.add_node(dense, &[Some(flat), Some(weights), None], "y").unwrap();
        let z = graph.add_node(Relu, &[Some(y)], "z").unwrap();
        graph.outputs = vec![z];
        Model::from_graph(graph)
    }

    fn run(model: &Model) -> Vec<f32> {
        let mut session = Session::new(model, SessionOptions::default()).unwrap();
        let input: Vec<f32> = (0..96).map(|index| (index * 5 % 17) as f32).collect();
        session.input_mut::<f32>(0).unwrap().copy_from_slice(&input);
        session.run().unwrap();
        session.output::<f32>(0).unwrap().to_vec()
    }

    #[test]
    fn rows_need_no_reshape() {
        let before = model(false);
        let after = simplify(&before);
        let graph = after.main().unwrap();
        assert_eq!(graph.nodes.len(), 3, "{graph:?}");
        assert_eq!(graph.tensors.len(), 5);
        after.check().unwrap();
        assert_eq!(run(&after), run(&before));
        // Which last size is a row must be told where it is kept.
        let kept = model(true);
        assert_eq!(simplify(&kept), kept);
    }
}

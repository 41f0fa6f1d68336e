//! Ops that change nothing, left out.

use litesmith_graph::{Graph, Model, Op, Result, TensorId};

/// A copy of `model` without the RESHAPE, SQUEEZE and EXPAND_DIMS in front of a FULLY_CONNECTED that reads rows of a fixed
/// length wherever they lie: without `keep_num_dims` the op divides its input into rows itself. Outputs stay the same, byte
/// for byte.
///
/// # Errors
/// [`Error::Unsupported`](litesmith_graph::Error::Unsupported) for a signature that names a tensor which is no input or
/// output of its graph.
pub fn simplify(model: &Model) -> Result<Model> {
    let mut result = model.clone();
    for (index, graph) in model.graphs.iter().enumerate() {
        if let Some(simpler) = without_reshapes(graph) {
            result.replace_graph(index, simpler)?;
        }
    }
    Ok(result)
}

/// `graph` without them, if it has any.
fn without_reshapes(graph: &Graph) -> Option<Graph> {
    let mut changed: Option<Graph> = None;
    for node in 0..graph.nodes.len() {
        let reads_rows = matches!(&graph.nodes[node].op, Op::FullyConnected(op) if !op.keep_num_dims);
        let mut source = graph.nodes[node].inputs.first().copied().flatten().filter(|_| reads_rows);
        while let Some(origin) = source.and_then(|source| reshaped(graph, source)) {
            changed.get_or_insert_with(|| graph.clone()).nodes[node].inputs[0] = Some(origin);
            source = Some(origin);
        }
    }
    if let Some(changed) = &mut changed {
        changed.remove_dead();
    }
    changed
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
        let after = simplify(&before).unwrap();
        let graph = after.main().unwrap();
        assert_eq!(graph.nodes.len(), 3, "{graph:?}");
        assert_eq!(graph.tensors.len(), 5);
        after.check().unwrap();
        assert_eq!(run(&after), run(&before));
        let signature = &after.signatures[0];
        assert_eq!((signature.inputs[0].1, signature.outputs[0].1), (graph.inputs[0], graph.outputs[0]));
        // Which last size is a row must be told where it is kept.
        let kept = model(true);
        assert_eq!(simplify(&kept).unwrap(), kept);
    }
}

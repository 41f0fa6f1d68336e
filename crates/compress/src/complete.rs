//! What a model has too much of, and what it lacks, before it becomes a file.

use std::borrow::Cow;

use litesmith_graph::ops::QuantizationRule;
use litesmith_graph::{DType, Data, Graph, Model, Op, Quantization, Result, Tensor};

/// `model` as a file should hold it: without ops and tensors that nothing reads, and with a bias of zeros for each CONV_2D and
/// DEPTHWISE_CONV_2D that has none, since LiteRT 2.x refuses the first without one and crashes in the second.
/// FULLY_CONNECTED, TRANSPOSE_CONV, and DEPTHWISE_CONV_2D with int16 activations run without, and stay without.
///
/// # Errors
/// [`Error::Malformed`](litesmith_graph::Error::Malformed) when the model fails [`Model::check`].
pub fn complete(model: &Model) -> Result<Cow<'_, Model>> {
    model.check()?;
    let mut result = Cow::Borrowed(model);
    for (index, graph) in model.graphs.iter().enumerate() {
        let mut live = graph.clone();
        live.remove_dead();
        if (live.nodes.len(), live.tensors.len()) != (graph.nodes.len(), graph.tensors.len()) {
            // A graph whose signature names what is neither input nor output stays whole: its tensors keep their numbers.
            drop(result.to_mut().replace_graph(index, live));
        }
        let graph = &result.graphs[index];
        let missing = |node: usize| missing_bias(graph, node).map(|bias| (node, bias));
        let missing: Vec<_> = (0..graph.nodes.len()).filter_map(missing).collect();
        for (node, bias) in missing {
            let graph = &mut result.to_mut().graphs[index];
            let id = graph.add_tensor(bias);
            let inputs = &mut graph.nodes[node].inputs;
            inputs.truncate(2);
            inputs.push(Some(id));
        }
    }
    Ok(result)
}

/// A bias of zeros for the op of node `index`, where LiteRT does not run it without one.
pub(crate) fn missing_bias(graph: &Graph, index: usize) -> Option<Tensor> {
    let node = &graph.nodes[index];
    let (Op::Conv2d(_) | Op::DepthwiseConv2d(_)) = node.op else { return None };
    let input = |position: usize| node.inputs.get(position).copied().flatten().map(|id| graph.tensor(id));
    let (input, weights, None) = (input(0)?, input(1)?, input(2)) else { return None };
    let QuantizationRule::Weights { axis } = node.op.quantization().rule else { return None };
    let channels = weights.shape.get(axis).copied().unwrap_or(0);
    let (dtype, data) = match (input.dtype, &node.op) {
        (DType::F32, _) => (DType::F32, Data::from_slice(&vec![0.0_f32; channels])),
        (DType::I8 | DType::U8, _) => (DType::I32, Data::from_slice(&vec![0_i32; channels])),
        (DType::I16, Op::Conv2d(_)) => (DType::I64, Data::from_slice(&vec![0_i64; channels])),
        _ => return None,
    };
    let bias = Tensor::constant(format!("{}_bias", weights.name), dtype, [channels], data);
    if dtype == DType::F32 {
        return Some(bias);
    }
    let (scale, _) = input.quantization.as_ref()?.as_per_tensor()?;
    let scales: Vec<f32> = weights.quantization.as_ref()?.scales.iter().map(|weight| weight * scale).collect();
    Some(bias.with_quantization(match scales.as_slice() {
        &[scale] => Quantization::per_tensor(scale, 0),
        _ => Quantization::per_channel(scales, 0),
    }))
}

#[cfg(test)]
mod tests {
    use litesmith_graph::ops::{Conv2d, DepthwiseConv2d, Relu};

    use super::*;

    /// A convolution, or a depthwise one, of `input` by `weights`, neither with a bias, and a tensor that nothing reads.
    fn model(input: DType, weights: DType, op: impl Into<Op>) -> Model {
        let quantized = |tensor: Tensor| match tensor.dtype {
            DType::F32 => tensor,
            _ => tensor.with_quantization(Quantization::per_tensor(0.5, 0)),
        };
        let bytes = vec![1_u8; 2 * 2 * 4 * 4 * weights.bits() / 8];
        let constant = || quantized(Tensor::constant("w", weights, [4, 2, 2, 4], Data::from_bytes(&bytes)));
        let mut graph = Graph::new("main");
        let x = graph.add_input(quantized(Tensor::new("x", input, [1, 8, 8, 4])));
        graph.add_tensor(constant());
        let op = op.into();
        let filter = match op {
            Op::DepthwiseConv2d(_) => Tensor { shape: vec![1, 4, 4, 4], ..constant() },
            _ => constant(),
        };
        let w = graph.add_tensor(filter);
        let y = graph.add_node(op, &[Some(x), Some(w), None], "y").unwrap();
        graph.outputs = vec![y];
        Model::from_graph(graph)
    }

    #[test]
    fn convolutions_get_a_bias_and_what_nobody_reads_goes() {
        for (input, weights, bias) in [
            (DType::F32, DType::F32, Some((DType::F32, None))),
            (DType::F32, DType::I8, Some((DType::F32, None))),
            (DType::I8, DType::I8, Some((DType::I32, Some(0.25)))),
            (DType::I16, DType::I8, Some((DType::I64, Some(0.25)))),
        ] {
            for op in [Op::from(Conv2d::default()), DepthwiseConv2d::default().into()] {
                let runs_without = input == DType::I16 && matches!(op, Op::DepthwiseConv2d(_));
                let before = model(input, weights, op);
                let after = complete(&before).unwrap().into_owned();
                after.check().unwrap();
                let graph = after.main().unwrap();
                assert_eq!(graph.tensors.len(), if runs_without { 3 } else { 4 }, "{graph:?}");
                let found = graph.nodes[0].inputs.get(2).copied().flatten().map(|id| graph.tensor(id));
                let scale = |tensor: &Tensor| tensor.quantization.as_ref().map(|found| found.scales[0]);
                let found_bias = found.map(|tensor| (tensor.dtype, scale(tensor)));
                assert_eq!(found_bias, bias.filter(|_| !runs_without), "{input} {weights}");
                assert!(found.is_none_or(|tensor| tensor.shape == [4]));
                assert!(matches!(complete(&after).unwrap(), Cow::Borrowed(_)), "it is complete");
            }
        }
    }

    #[test]
    fn signatures_follow_or_the_graph_stays_whole() {
        let mut whole = model(DType::F32, DType::F32, Conv2d::default());
        let y = whole.graphs[0].outputs[0];
        let z = whole.graphs[0].add_node(Relu, &[Some(y)], "z").unwrap();
        whole.graphs[0].outputs = vec![z];
        whole.signatures[0].outputs[0].1 = z;
        let smaller = complete(&whole).unwrap();
        assert_eq!(smaller.signatures[0].outputs[0].1, smaller.main().unwrap().outputs[0]);
        let mut odd = whole.clone();
        odd.signatures[0].outputs[0].1 = y;
        let completed = complete(&odd).unwrap();
        assert_eq!(completed.graphs[0].tensors.len(), odd.graphs[0].tensors.len() + 1);
        assert_eq!(completed.signatures, odd.signatures);
    }
}

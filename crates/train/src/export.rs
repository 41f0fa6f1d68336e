//! From a training graph to one that a `.tflite` file can hold: what only training needs is folded away.

use litesmith_graph::ops::{self, Activation};
use litesmith_graph::{DType, Data, Error, Graph, Node, Op, Result, Tensor, TensorId};

/// The graph that a `.tflite` file holds: batch normalization folded into the convolution or fully connected op before
/// it, or turned into MUL and ADD where there is none; dropout removed; zero padding and activations fused into their
/// neighbours; the batch dynamic when the graph allows it. Fake quantization stays: whoever put it there quantizes.
///
/// # Errors
/// [`Error::Malformed`] when the graph is not valid.
pub fn export(graph: &Graph) -> Result<Graph> {
    let mut graph = graph.clone();
    graph.check()?;
    remove_dropout(&mut graph);
    fold(&graph)
}

/// The same graph as [`export`] gives, but that dropout stays: to go on training with ops as they will be exported, batch
/// normalization having become part of the weights.
///
/// # Errors
/// [`Error::Malformed`] when the graph is not valid.
pub fn fold(graph: &Graph) -> Result<Graph> {
    let mut graph = graph.clone();
    graph.check()?;
    crate::program::fix_reshapes(&mut graph);
    fold_batch_normalization(&mut graph)?;
    fuse_padding(&mut graph)?;
    fuse_activations(&mut graph);
    graph.remove_dead();
    if graph.inputs.iter().any(|&id| graph.tensor(id).is_dynamic()) {
        graph.make_batch_dynamic()?;
    }
    graph.check()?;
    Ok(graph)
}

/// Makes the readers of each dropout read its input.
fn remove_dropout(graph: &mut Graph) {
    for index in 0..graph.nodes.len() {
        if let Op::Dropout(_) = graph.nodes[index].op
            && let (Some(input), output) = (graph.nodes[index].inputs[0], graph.nodes[index].outputs[0])
        {
            graph.replace_uses(output, input);
        }
    }
    graph.nodes.retain(|node| !matches!(node.op, Op::Dropout(_)));
}

/// Puts a clamping activation that stands alone into the op whose result it alone reads.
pub(crate) fn fuse_activations(graph: &mut Graph) {
    let mut fused = Vec::new();
    for index in 0..graph.nodes.len() {
        let activation = match graph.nodes[index].op {
            Op::Relu(_) => Activation::Relu,
            Op::Relu6(_) => Activation::Relu6,
            Op::ReluN1To1(_) => Activation::ReluN1To1,
            _ => continue,
        };
        let (Some(input), output) = (graph.nodes[index].inputs[0], graph.nodes[index].outputs[0]) else { continue };
        if !read_once(graph, input) {
            continue;
        }
        let Some(producer) = graph.producer(input) else { continue };
        let Some(slot) = activation_mut(&mut graph.nodes[producer].op).filter(|slot| **slot == Activation::None) else {
            continue;
        };
        *slot = activation;
        graph.nodes[producer].outputs[0] = output;
        fused.push(index);
    }
    remove_nodes(graph, &fused);
    graph.remove_dead();
}

/// Turns a PAD and the VALID window op that alone reads it into a SAME one, where that pads as much.
fn fuse_padding(graph: &mut Graph) -> Result<()> {
    let mut fused = Vec::new();
    for index in 0..graph.nodes.len() {
        let Op::Pad(_) = graph.nodes[index].op else { continue };
        let (Some(input), Some(paddings)) = (graph.nodes[index].inputs[0], graph.nodes[index].inputs[1]) else {
            continue;
        };
        let padded = graph.nodes[index].outputs[0];
        let paddings = graph.tensor(paddings);
        let (Some(data), DType::I32) = (&paddings.data, paddings.dtype) else { continue };
        let &[0, 0, top, bottom, left, right, 0, 0] = data.elements::<i32>()? else { continue };
        let &[reader] = graph.consumers(padded).as_slice() else { continue };
        if graph.outputs.contains(&padded) || graph.nodes[reader].inputs.first() != Some(&Some(padded)) {
            continue;
        }
        let (kernel, op) = {
            let node = &graph.nodes[reader];
            let Some(filter) = node.inputs.get(1).copied().flatten() else { continue };
            (graph.tensor(filter).shape.clone(), &node.op)
        };
        let (border, strides, dilations) = match op {
            Op::Conv2d(op) => {
                (op.padding, [op.stride_height, op.stride_width], [op.dilation_height, op.dilation_width])
            }
            Op::DepthwiseConv2d(op) => {
                (op.padding, [op.stride_height, op.stride_width], [op.dilation_height, op.dilation_width])
            }
            // Pools cannot take zeros in: an average does not count padding, a maximum is not bounded by it.
            _ => continue,
        };
        let (&[_, height, width, _], &[_, kernel_height, kernel_width, _]) =
            (graph.tensor(input).shape.as_slice(), kernel.as_slice())
        else {
            continue;
        };
        let axes = [
            (height, kernel_height, strides[0], dilations[0], [top, bottom]),
            (width, kernel_width, strides[1], dilations[1], [left, right]),
        ];
        let mut fits = border == ops::Padding::Valid;
        for (size, kernel, stride, dilation, sides) in axes {
            let same = ops::window("CONV_2D", ops::Padding::Same, size, kernel, stride, dilation)?;
            let extent = (kernel - 1) * dilation + 1;
            let needed = ((same.output.max(1) - 1) * stride + extent).saturating_sub(size);
            let expected = [same.pad_before, needed - same.pad_before];
            fits &= sides.map(|side| usize::try_from(side).ok()) == expected.map(Some);
        }
        if !fits {
            continue;
        }
        let node = &mut graph.nodes[reader];
        match &mut node.op {
            Op::Conv2d(op) => op.padding = ops::Padding::Same,
            Op::DepthwiseConv2d(op) => op.padding = ops::Padding::Same,
            _ => continue,
        }
        node.inputs[0] = Some(input);
        fused.push(index);
    }
    remove_nodes(graph, &fused);
    Ok(())
}

/// Folds each batch normalization, with its moving mean and variance, into the op before it, or makes it MUL and ADD.
fn fold_batch_normalization(graph: &mut Graph) -> Result<()> {
    let mut index = 0;
    while index < graph.nodes.len() {
        let Op::BatchNormalization(op) = graph.nodes[index].op else {
            index += 1;
            continue;
        };
        let place = graph.place(index);
        let affine = affine(graph, index, op.epsilon).map_err(|error| error.at(&place))?;
        let (Some(input), output) = (graph.nodes[index].inputs[0], graph.nodes[index].outputs[0]) else {
            return Err(Error::malformed(place, "the input is missing"));
        };
        match foldable(graph, input) {
            Some(producer) => {
                fold_into(graph, producer, &affine).map_err(|error| error.at(&place))?;
                graph.nodes[producer].outputs[0] = output;
                graph.nodes.remove(index);
            }
            None => {
                let name = graph.tensor(output).name.clone();
                let channels = affine.scale.len();
                let mut constant = |suffix: &str, values: &[f32]| {
                    let name = format!("{name}/{suffix}");
                    graph.add_tensor(Tensor::constant(name, DType::F32, [channels], Data::from_slice(values)))
                };
                let (scale, shift) = (constant("scale", &affine.scale), constant("shift", &affine.shift));
                let scaled = Tensor {
                    name: format!("{name}/scaled"),
                    data: None,
                    signature: None,
                    ..graph.tensor(output).clone()
                };
                let scaled = graph.add_tensor(scaled);
                let mul = Node {
                    op: ops::Mul::default().into(),
                    inputs: vec![Some(input), Some(scale)],
                    outputs: vec![scaled],
                };
                let add = Node {
                    op: ops::Add::default().into(),
                    inputs: vec![Some(scaled), Some(shift)],
                    outputs: vec![output],
                };
                graph.nodes.splice(index..=index, [mul, add]);
                index += 2;
            }
        }
    }
    Ok(())
}

/// `y = scale * x + shift` for each channel.
struct Affine {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

fn affine(graph: &Graph, index: usize, epsilon: f32) -> Result<Affine> {
    let constant = |input: usize| floats(graph, graph.nodes[index].inputs.get(input).copied().flatten());
    let (gamma, beta, mean, variance) = (constant(1)?, constant(2)?, constant(3)?, constant(4)?);
    // In f64, so that the folded op rounds each parameter once.
    let scale: Vec<f64> = gamma
        .iter()
        .zip(&variance)
        .map(|(&gamma, &variance)| f64::from(gamma) / (f64::from(variance) + f64::from(epsilon)).sqrt())
        .collect();
    let shift = scale
        .iter()
        .zip(beta.iter().zip(&mean))
        .map(|(&scale, (&beta, &mean))| (f64::from(beta) - f64::from(mean) * scale) as f32)
        .collect();
    Ok(Affine { scale: scale.iter().map(|&scale| scale as f32).collect(), shift })
}

fn floats(graph: &Graph, id: Option<TensorId>) -> Result<Vec<f32>> {
    let tensor = id.map(|id| graph.tensor(id)).ok_or_else(|| Error::malformed("", "a parameter is missing"))?;
    match &tensor.data {
        Some(data) if tensor.dtype == DType::F32 => Ok(data.elements::<f32>()?.to_vec()),
        _ => Err(Error::unsupported(format!("\"{}\"", tensor.name), "it is not a float32 constant")),
    }
}

/// The op that computes `id`, when scaling and shifting its channels can be put into its weights: nothing else reads
/// the result or the weights, and no activation stands between.
fn foldable(graph: &Graph, id: TensorId) -> Option<usize> {
    let producer = graph.producer(id)?;
    let node = &graph.nodes[producer];
    let activation = match &node.op {
        Op::Conv2d(op) => op.activation,
        Op::DepthwiseConv2d(op) => op.activation,
        Op::FullyConnected(op) => op.activation,
        _ => return None,
    };
    let own = |id: &TensorId| {
        let tensor = graph.tensor(*id);
        tensor.data.is_some() && tensor.dtype == DType::F32 && read_once(graph, *id)
    };
    let fits = activation == Activation::None && read_once(graph, id) && node.inputs[1..].iter().flatten().all(own);
    fits.then_some(producer)
}

fn fold_into(graph: &mut Graph, producer: usize, affine: &Affine) -> Result<()> {
    let node = graph.nodes[producer].clone();
    let channels = affine.scale.len();
    let filter = node.inputs.get(1).copied().flatten();
    let mut weights = floats(graph, filter)?;
    let Some(filter) = filter else { return Ok(()) };
    match node.op {
        // Output channels are the last axis of a depthwise filter, and the first of the others.
        Op::DepthwiseConv2d(_) => {
            for row in weights.chunks_exact_mut(channels.max(1)) {
                row.iter_mut().zip(&affine.scale).for_each(|(weight, scale)| *weight *= scale);
            }
        }
        _ => {
            let size = weights.len() / channels.max(1);
            for (filter, scale) in weights.chunks_exact_mut(size.max(1)).zip(&affine.scale) {
                filter.iter_mut().for_each(|weight| *weight *= scale);
            }
        }
    }
    graph.tensor_mut(filter).data = Some(Data::from_slice(&weights));
    let bias = node.inputs.get(2).copied().flatten();
    let old = match bias {
        Some(_) => floats(graph, bias)?,
        None => vec![0.0; channels],
    };
    let new: Vec<f32> =
        old.iter().zip(affine.scale.iter().zip(&affine.shift)).map(|(b, (scale, shift))| b * scale + shift).collect();
    let data = Data::from_slice(&new);
    match bias {
        Some(bias) => graph.tensor_mut(bias).data = Some(data),
        None => {
            let name = graph.tensor(node.outputs[0]).name.clone();
            let bias = graph.add_tensor(Tensor::constant(format!("{name}/bias"), DType::F32, [channels], data));
            let inputs = &mut graph.nodes[producer].inputs;
            inputs.truncate(2);
            inputs.push(Some(bias));
        }
    }
    Ok(())
}

/// Whether exactly one input of one node reads `id`, and the graph does not give it out.
fn read_once(graph: &Graph, id: TensorId) -> bool {
    let reads = graph.nodes.iter().flat_map(|node| &node.inputs).filter(|input| **input == Some(id)).count();
    reads == 1 && !graph.outputs.contains(&id)
}

/// Where an activation goes that is fused into `op`. CONCATENATION has the attribute, but LiteRT runs it only when it is NONE.
fn activation_mut(op: &mut Op) -> Option<&mut Activation> {
    if let Op::Concatenation(_) = op { None } else { op.fused_activation_mut() }
}

fn remove_nodes(graph: &mut Graph, indices: &[usize]) {
    let mut index = 0;
    graph.nodes.retain(|_| {
        index += 1;
        !indices.contains(&(index - 1))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{
        Activation as ActivationLayer, ActivationFunction, Architecture, AveragePooling2D, BatchNormalization, Conv2D,
        DepthwiseConv2D, MaxPooling2D, Sides, ZeroPadding2D,
    };

    fn names(graph: &Graph) -> Vec<&'static str> {
        graph.nodes.iter().map(|node| node.op.name()).collect()
    }

    fn padded(sides: Sides, strides: usize) -> Architecture {
        Architecture::sequential("padded", [8, 9, 2])
            .with(ZeroPadding2D { padding: sides })
            .with(DepthwiseConv2D { strides: strides.into(), ..DepthwiseConv2D::new(3) })
    }

    #[test]
    fn padding_becomes_same_only_where_same_pads_as_much() {
        // 8 rows with stride 2 need one row below; 9 columns one on each side.
        let fits = padded(Sides::Each([[0, 1], [1, 1]]), 2).graph(0).unwrap();
        let exported = export(&fits).unwrap();
        assert_eq!(names(&exported), ["DEPTHWISE_CONV_2D"]);
        assert_eq!(exported.tensor(exported.outputs[0]).shape, fits.tensor(fits.outputs[0]).shape);
        assert_eq!(names(&export(&padded(Sides::All(1), 1).graph(0).unwrap()).unwrap()), ["DEPTHWISE_CONV_2D"]);
        // Rows padded above instead: the same size, other numbers.
        for other in [padded(Sides::Each([[1, 0], [1, 1]]), 2), padded(Sides::All(2), 1)] {
            let graph = other.graph(0).unwrap();
            assert_eq!(names(&export(&graph).unwrap()), ["PAD", "DEPTHWISE_CONV_2D"]);
        }
        // Pools do not count padding, so that zeros around them must stay.
        let pools = Architecture::sequential("pools", [8, 8, 2])
            .with(ZeroPadding2D { padding: Sides::All(1) })
            .with(MaxPooling2D { pool_size: 3.into(), strides: Some(1.into()), ..MaxPooling2D::default() })
            .with(ZeroPadding2D { padding: Sides::All(1) })
            .with(AveragePooling2D { pool_size: 3.into(), strides: Some(1.into()), ..AveragePooling2D::default() });
        let graph = pools.graph(0).unwrap();
        assert_eq!(names(&export(&graph).unwrap()), ["PAD", "MAX_POOL_2D", "PAD", "AVERAGE_POOL_2D"]);
    }

    #[test]
    fn normalization_folds_only_where_nothing_stands_between() {
        let relu = || ActivationLayer::new(ActivationFunction::Relu);
        let mut network = Architecture::sequential("n", [6, 6, 2]);
        let conv = network.push(Conv2D::new(3, 1));
        let normalized = network.push(BatchNormalization::default());
        network.apply(crate::arch::Add {}, &[&conv, &normalized]);
        network.push(relu());
        network.push(BatchNormalization::default());
        let graph = network.graph(0).unwrap();
        // The convolution's result is read twice, and RELU stands before the second one.
        assert_eq!(names(&export(&graph).unwrap()), ["CONV_2D", "MUL", "ADD", "ADD", "MUL", "ADD"]);
        let chain = Architecture::sequential("c", [6, 6, 2])
            .with(Conv2D::new(3, 1))
            .with(BatchNormalization::default())
            .with(relu());
        let exported = export(&chain.graph(0).unwrap()).unwrap();
        assert_eq!(names(&exported), ["CONV_2D"]);
        assert!(matches!(&exported.nodes[0].op, Op::Conv2d(op) if op.activation == Activation::Relu));
        assert_eq!(exported.parameters(), 2 * 3 + 3);
    }
}

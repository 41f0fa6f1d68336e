//! TensorFlow Lite's 8-bit quantization specification as a check, with LiteRT's rules for int16 activations beside it.
//!
//! Written from the specification, apart from the code that quantizes, so that each checks the other.

use litesmith_graph::{DType, Error, Graph, Node, Op, Result, Tensor};

/// Checks every node of `graph` that reads or computes quantized tensors: types, symmetric narrow weights, bias scales,
/// shared and prescribed parameters. Ops between float32 tensors are not looked at.
///
/// # Errors
/// [`Error::Malformed`] with the place and the first rule that is broken.
pub fn check_quantization_spec(graph: &Graph) -> Result<()> {
    for tensor in graph.tensors.iter().filter(|tensor| tensor.data.is_none() && is_integer(tensor.dtype)) {
        parameters(tensor).map_err(|message| Error::malformed(format!("tensor \"{}\"", tensor.name), message))?;
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        check_node(graph, node).map_err(|message| Error::malformed(graph.place(index), message))?;
    }
    Ok(())
}

fn is_integer(dtype: DType) -> bool {
    matches!(dtype, DType::I8 | DType::U8 | DType::I16)
}

/// Scale and zero point of an activation.
fn parameters(tensor: &Tensor) -> Result<(f32, i64), String> {
    let parameters = tensor.quantization.as_ref().and_then(|quantization| quantization.as_per_tensor());
    let (scale, zero_point) = parameters.ok_or_else(|| format!("{tensor} must have one scale and zero point"))?;
    let zero_points = match tensor.dtype {
        DType::I8 => -128..=127,
        DType::U8 => 0..=255,
        _ => 0..=0,
    };
    if !(scale.is_normal() && scale > 0.0 && zero_points.contains(&zero_point)) {
        return Err(format!("{tensor} has scale {scale} and zero point {zero_point}"));
    }
    Ok((scale, zero_point))
}

fn check_node(graph: &Graph, node: &Node) -> Result<(), String> {
    let inputs: Vec<_> = node.inputs.iter().map(|id| id.map(|id| graph.tensor(id))).collect();
    let input = |index: usize| inputs.get(index).copied().flatten();
    let Some(output) = node.outputs.first().map(|&id| graph.tensor(id)) else { return Ok(()) };
    let Some(first) = input(0) else { return Ok(()) };
    if !is_integer(first.dtype) && !is_integer(output.dtype) {
        return Ok(());
    }
    let same_type = || match first.dtype == output.dtype {
        true => Ok(()),
        false => Err(format!("input is {}, output {}", first.dtype, output.dtype)),
    };
    let same_parameters = |tensor: &Tensor| match parameters(tensor)? == parameters(output)? {
        true if tensor.dtype == output.dtype => Ok(()),
        _ => Err(format!("\"{}\" must have the type and parameters of the output", tensor.name)),
    };
    let prescribed = |int8: (f32, i64)| -> Result<(), String> {
        same_type()?;
        let expected = if output.dtype == DType::I8 { int8 } else { (1.0 / 32_768.0, 0) };
        match parameters(output)? == expected {
            true => Ok(()),
            false => Err(format!("the output has {:?}, expected {expected:?}", parameters(output)?)),
        }
    };
    match &node.op {
        Op::Conv2d(_) | Op::FullyConnected(_) => weighted(first, input(1), input(2), output, 0),
        Op::DepthwiseConv2d(_) => weighted(first, input(1), input(2), output, 3),
        Op::AveragePool2d(_)
        | Op::MaxPool2d(_)
        | Op::Reshape(_)
        | Op::Pad(_)
        | Op::Squeeze(_)
        | Op::StridedSlice(_)
        | Op::DepthToSpace(_)
        | Op::SpaceToDepth(_)
        | Op::Gather(_)
        | Op::Transpose(_)
        | Op::ResizeBilinear(_)
        | Op::BatchToSpaceNd(_)
        | Op::SpaceToBatchNd(_)
        | Op::GatherNd(_)
        | Op::Split(_)
        | Op::Slice(_)
        | Op::Tile(_)
        | Op::Unpack(_)
        | Op::ResizeNearestNeighbor(_)
        | Op::MirrorPad(_)
        | Op::SplitV(_)
        | Op::ReverseV2(_)
        | Op::BroadcastTo(_)
        | Op::ExpandDims(_)
        | Op::ReduceMax(_)
        | Op::ReduceMin(_) => {
            // SPLIT has its axis first.
            let value = if let Op::Split(_) = node.op { input(1).unwrap_or(first) } else { first };
            same_parameters(value)?;
            node.outputs.iter().map(|&id| graph.tensor(id)).try_for_each(same_parameters)
        }
        Op::DynamicUpdateSlice(_) => {
            let values = [Some(first), input(1)];
            values.into_iter().flatten().try_for_each(same_parameters)
        }
        Op::Concatenation(_) | Op::Maximum(_) | Op::Minimum(_) | Op::Pack(_) => {
            inputs.iter().flatten().try_for_each(|tensor| same_parameters(tensor))
        }
        Op::Softmax(_) | Op::Logistic(_) => prescribed((1.0 / 256.0, -128)),
        Op::LogSoftmax(_) => prescribed((1.0 / 16.0, 127)),
        Op::Tanh(_) => prescribed((1.0 / 128.0, 0)),
        Op::Add(_) | Op::Sub(_) | Op::Prelu(_) | Op::Mul(_) => inputs.iter().flatten().try_for_each(|tensor| {
            parameters(tensor)?;
            match tensor.dtype == output.dtype {
                true => Ok(()),
                false => Err(format!("\"{}\" is {}, the output {}", tensor.name, tensor.dtype, output.dtype)),
            }
        }),
        Op::Mean(_)
        | Op::Sum(_)
        | Op::Relu(_)
        | Op::Relu6(_)
        | Op::LeakyRelu(_)
        | Op::Exp(_)
        | Op::Log(_)
        | Op::Abs(_)
        | Op::Gelu(_) => same_type(),
        Op::HardSwish(_) => {
            int8_only(output)?;
            same_type()?;
            match parameters(first)?.0 / (parameters(output)?.0 * 128.0) < 1.0 {
                true => Ok(()),
                false => Err("the input's scale must be under 128 of the output's".into()),
            }
        }
        Op::SquaredDifference(_) | Op::Relu0To1(_) | Op::ReluN1To1(_) | Op::Elu(_) => {
            int8_only(output).and_then(|()| same_type())
        }
        Op::Quantize(_) => match (first.dtype, output.dtype) {
            (DType::F32, DType::I8 | DType::U8 | DType::I16)
            | (DType::I8 | DType::U8, DType::I8 | DType::U8 | DType::I16)
            | (DType::I16, DType::I8 | DType::I16) => Ok(()),
            (from, to) => Err(format!("LiteRT does not convert {from} to {to}")),
        },
        Op::Dequantize(_) if output.dtype == DType::F32 => Ok(()),
        Op::Less(_)
        | Op::Greater(_)
        | Op::GreaterEqual(_)
        | Op::LessEqual(_)
        | Op::Equal(_)
        | Op::NotEqual(_)
        | Op::LogicalOr(_)
        | Op::LogicalAnd(_)
        | Op::LogicalNot(_)
        | Op::Rank(_)
        | Op::Cast(_)
        | Op::Shape(_) => Ok(()),
        // What the specification does not name has no integer form.
        _ => Err("it has no integer form".into()),
    }
}

fn int8_only(output: &Tensor) -> Result<(), String> {
    match output.dtype {
        DType::I8 => Ok(()),
        other => Err(format!("LiteRT has no {other} kernel")),
    }
}

fn weighted(
    input: &Tensor,
    weights: Option<&Tensor>,
    bias: Option<&Tensor>,
    output: &Tensor,
    axis: usize,
) -> Result<(), String> {
    if input.dtype != output.dtype || !matches!(input.dtype, DType::I8 | DType::I16) {
        return Err(format!("input is {}, output {}", input.dtype, output.dtype));
    }
    let weights = weights.filter(|weights| matches!(weights.dtype, DType::I8 | DType::I4));
    let weights = weights.ok_or("the weights are not int8 or int4")?;
    if (weights.dtype, input.dtype, axis) == (DType::I4, DType::I16, 3) {
        return Err("LiteRT reads int4 weights of a DEPTHWISE_CONV_2D as int8 where activations are int16".into());
    }
    let quantization = weights.quantization.as_ref().ok_or("the weights have no scales")?;
    if quantization.zero_points.iter().any(|&zero_point| zero_point != 0) {
        return Err("the weights must have zero point 0".into());
    }
    if quantization.scales.len() > 1 && quantization.axis != axis {
        return Err(format!("the weights' scales lie along axis {}, expected {axis}", quantization.axis));
    }
    if let Some(scale) = quantization.scales.iter().find(|scale| !scale.is_normal()) {
        return Err(format!("the weights have a scale of {scale}"));
    }
    let count = weights.elements().map_err(|error| error.to_string())?;
    let elements = weights.data.as_ref().ok_or("the weights are computed")?.narrow_integers(weights.dtype, count);
    let lowest = if weights.dtype == DType::I4 { -8 } else { -128 };
    if elements.map_err(|error| error.to_string())?.contains(&lowest) {
        return Err(format!("the weights hold {lowest}, outside the narrow range"));
    }
    let Some(bias) = bias else { return Ok(()) };
    let expected = if input.dtype == DType::I8 { DType::I32 } else { DType::I64 };
    if bias.dtype != expected {
        return Err(format!("the bias is {}, expected {expected}", bias.dtype));
    }
    let bias = bias.quantization.as_ref().ok_or("the bias has no scales")?;
    let (input_scale, _) = parameters(input)?;
    let products = quantization.scales.iter().map(|scale| input_scale * scale);
    if bias.zero_points.iter().any(|&zero_point| zero_point != 0) || !products.eq(bias.scales.iter().copied()) {
        return Err("the bias must have zero point 0 and the scales of input times weights".into());
    }
    Ok(())
}

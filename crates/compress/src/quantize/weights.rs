//! Weights as integers: their scales, and the integers themselves.

use std::collections::BTreeMap;

use litesmith_graph::{Error, Graph, Op, Quantization, Result, Tensor};
use litesmith_kernels::grid::{Channels, weight_scales};

use super::{
    Decision, Granularity, QuantizeOptions, Scheme, WeightBits, constant_bias, constant_weights, params, rules::Choice,
};

/// Weights whose rounding was decided elsewhere, by op of the float graph.
pub type Rounded = BTreeMap<usize, RoundedWeights>;

/// Integers for the weights of one op.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundedWeights {
    /// Their scales, as many as quantization chooses itself.
    pub scales: Vec<f32>,
    /// The integers.
    pub steps: Vec<i8>,
}

/// The grid on which the weights of an op lie.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WeightGrid {
    /// One for each channel or block, or one for all.
    pub(crate) scales: Vec<f32>,
    /// The axis of the scales; `None` for one.
    pub(crate) axis: Option<usize>,
    /// How many elements of a row share a scale; `None` where all of a channel do.
    pub(crate) block_size: Option<usize>,
    /// Largest magnitude of the integers.
    pub(crate) limit: f32,
}

impl WeightGrid {
    fn channels(&self, tensor: &Tensor) -> Channels {
        channels(tensor, self.axis, self.block_size)
    }

    fn quantization(&self) -> Quantization {
        match self.block_size {
            Some(size) => Quantization::blockwise(self.scales.clone(), size),
            None => Quantization::per_channel(self.scales.clone(), self.axis.unwrap_or(0)),
        }
    }

    /// Which scale the element `index` of `tensor` has.
    pub(crate) fn channel(&self, tensor: &Tensor, index: usize) -> usize {
        self.channels(tensor).of(index)
    }

    /// The scale of the element `index` of `tensor`.
    pub(crate) fn scale(&self, tensor: &Tensor, index: usize) -> f32 {
        self.scales[self.channel(tensor, index)]
    }

    /// The nearest integers to `values`, the elements of `tensor`.
    pub(crate) fn nearest(&self, tensor: &Tensor, values: &[f32]) -> Vec<i8> {
        params::nearest_steps(values, self.channels(tensor), &self.scales, self.limit)
    }

    /// What integers stand for.
    pub(crate) fn real(&self, tensor: &Tensor, steps: &[i8]) -> Vec<f32> {
        steps.iter().enumerate().map(|(index, &step)| f32::from(step) * self.scale(tensor, index)).collect()
    }
}

fn channels(tensor: &Tensor, axis: Option<usize>, block_size: Option<usize>) -> Channels {
    match block_size {
        Some(size) => Channels::of_blocks(tensor.shape.iter().product(), size),
        None => Channels::new(&tensor.shape, axis),
    }
}

/// The float32 weights of the op of node `index`, and the grid for them under `choice`: that of `rounded`, or a new one.
pub(crate) fn grid<'a>(
    graph: &'a Graph,
    index: usize,
    choice: &Choice,
    rounded: &Rounded,
) -> Result<(&'a Tensor, &'a [f32], WeightGrid)> {
    let Some((id, axis)) = constant_weights(graph, index) else {
        return Err(Error::malformed("inputs", "got no constant float32 weights"));
    };
    let tensor = graph.tensor(id);
    let values = params::finite_elements(tensor)?;
    let per_channel = Channels::new(&tensor.shape, Some(axis));
    let axis = (choice.granularity == Granularity::PerChannel).then_some(axis);
    let block_size = choice.granularity.block_size();
    let channels = channels(tensor, axis, block_size);
    let limit = choice.weights.limit();
    let mut grid = WeightGrid {
        scales: match choice.weights {
            WeightBits::Int8 => weight_scales(values, channels, limit),
            WeightBits::Int4 if block_size.is_some() => params::block_scales(values, channels, limit),
            WeightBits::Int4 => params::least_error_scales(values, channels, limit),
        },
        axis,
        block_size,
        limit,
    };
    let is_depthwise = matches!(graph.nodes[index].op, Op::DepthwiseConv2d(_));
    // LiteRT's dynamic-range DEPTHWISE_CONV_2D takes a scale for each channel for granted.
    if axis.is_none() && is_depthwise && choice.scheme == Scheme::DynamicRange {
        grid = WeightGrid { scales: vec![grid.scales[0]; per_channel.count()], axis: Some(3), block_size: None, limit };
    }
    if let Some(known) = rounded.get(&index)
        && known.scales.len() == grid.scales.len()
    {
        grid.scales.clone_from(&known.scales);
    }
    Ok((tensor, values, grid))
}

/// The weights of the op of node `index` as an integer constant, with its scales. `adjust` may raise the scales.
pub(super) fn encode(
    graph: &Graph,
    index: usize,
    choice: &Choice,
    rounded: &Rounded,
    adjust: impl FnOnce(&mut Vec<f32>),
) -> Result<(Tensor, Vec<f32>)> {
    let (tensor, values, mut grid) = grid(graph, index, choice, rounded)?;
    adjust(&mut grid.scales);
    let steps = steps(index, tensor, values, &grid, rounded);
    Ok((params::integer_weights(tensor, &steps, grid.quantization(), choice.weights), grid.scales))
}

/// Makes the weights of the nodes that become `scheme`, where they are large enough, integers of their own range, and gives
/// these nodes.
pub(super) fn to_integers(
    graph: &Graph,
    options: &QuantizeOptions,
    choices: &[Choice],
    scheme: Scheme,
    decision: &mut Decision,
) -> Result<Vec<usize>> {
    let mut nodes = Vec::new();
    for (node, choice) in choices.iter().enumerate().filter(|(_, choice)| choice.scheme == scheme) {
        let Some((id, _)) = constant_weights(graph, node) else { continue };
        if graph.tensor(id).elements()? >= options.min_elements(choice) {
            let encoded = encode(graph, node, choice, &options.rounded, |_| {});
            let (constant, _) = encoded.map_err(|error| error.at(graph.place(node)))?;
            decision.constant(node, 1, constant);
            nodes.push(node);
        }
    }
    Ok(nodes)
}

/// The integers for weights: those decided elsewhere, if they are of this grid, or the nearest.
fn steps(index: usize, tensor: &Tensor, values: &[f32], grid: &WeightGrid, rounded: &Rounded) -> Vec<i8> {
    match rounded.get(&index) {
        Some(known) if known.scales == grid.scales && known.steps.len() == values.len() => known.steps.clone(),
        _ => grid.nearest(tensor, values),
    }
}

/// The weights of the op of node `index` as quantization will round them, in float32.
pub(crate) fn rounded_values(graph: &Graph, index: usize, choice: &Choice, rounded: &Rounded) -> Result<Vec<f32>> {
    let (tensor, values, grid) = grid(graph, index, choice, rounded)?;
    Ok(grid.real(tensor, &steps(index, tensor, values, &grid, rounded)))
}

/// With what LiteRT has no int4 weights, where `choice` asks for them.
pub(super) fn without_int4(op: &Op, choice: &Choice) -> Option<&'static str> {
    if choice.weights != WeightBits::Int4 {
        return None;
    }
    match (op, choice.scheme) {
        (Op::DepthwiseConv2d(_), Scheme::DynamicRange) => Some("float32 activations"),
        (Op::DepthwiseConv2d(_), Scheme::Int16x8) => Some("int16 activations"),
        _ => None,
    }
}

/// Why the weights of node `index` cannot have a scale for each block, where `choice` asks for it.
pub(super) fn without_blocks(graph: &Graph, index: usize, choice: &Choice) -> Result<Option<String>> {
    let Some(size) = choice.granularity.block_size() else { return Ok(None) };
    let Some((id, _)) = constant_weights(graph, index) else { return Ok(Some("they are computed".into())) };
    let tensor = graph.tensor(id);
    let inputs = tensor.shape.last().copied().unwrap_or(0);
    Ok(if !matches!(graph.nodes[index].op, Op::FullyConnected(_)) {
        Some("LiteRT has blockwise scales for FULLY_CONNECTED only".into())
    } else if choice.scheme != Scheme::DynamicRange || choice.weights != WeightBits::Int4 {
        Some(format!("LiteRT has blockwise scales for int4 weights in {} only", Scheme::DynamicRange))
    } else if constant_bias(graph, index).is_none() {
        Some("LiteRT has blockwise scales beside a constant bias only".into())
    } else if inputs % size != 0 {
        Some(format!("blocks of {size} do not divide its {inputs} inputs"))
    } else {
        let largest = params::finite_elements(tensor)?.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        (largest > choice.weights.limit() * params::BLOCK_SCALE_MAX)
            .then(|| format!("blocks with weights of {largest} have no float16 scale"))
    })
}

//! Which channels of a graph can only go together, found by following each from the layer that makes it to the layers
//! that read it (as in Fang, Ma, Song, Mi and Wang, "DepGraph: Towards Any Structural Pruning", CVPR 2023, but channel by channel).
//!
//! Every output channel of a convolution or fully connected op is a variable; ops that mix channels elementwise (ADD, a
//! depthwise convolution, batch normalization) make variables equal; ops that rearrange (CONCATENATION, RESHAPE) carry
//! them to another place. What is equal in the end is a [`Unit`]: it goes as a whole or not at all.

use std::collections::{BTreeMap, HashMap};

use litesmith_graph::ops::{self, Inputs, resolve_axes, resolve_axis};
use litesmith_graph::{DType, Graph, Node, Op, Result, Tensor, TensorId};

/// Channels that can only be removed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Why it has to stay, if it has.
    pub locked: Option<String>,
    /// The layers, by number among [`Channels::layers`], that make its channels; ascending.
    pub layers: Vec<usize>,
}

/// Units that the same layers make: what is pruned as one layer is without residual connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Layers, by number among [`Channels::layers`].
    pub layers: Vec<usize>,
    /// Units, by number among [`Channels::units`], in the order of the channels of the first layer.
    pub units: Vec<usize>,
}

/// What an axis of a constant does with the channels along it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Each index makes a channel: the filters of a layer.
    Makes,
    /// Each index reads a channel.
    Reads,
    /// Neither: a bias, a scale, an axis of computed values.
    Follows,
}

/// Channels along one axis of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) axis: usize,
    /// The variable of each index.
    ids: Vec<usize>,
    pub(crate) role: Role,
}

/// The channels of a graph.
#[derive(Debug, Clone)]
pub struct Channels {
    /// For each tensor, the axes along which there are channels that could go.
    pub(crate) labels: Vec<Vec<Labels>>,
    layers: Vec<usize>,
    units: Vec<Unit>,
    groups: Vec<Group>,
    /// The unit of each variable.
    unit_of: Vec<usize>,
}

impl Channels {
    /// Finds the channels of a float graph: one as a `.tflite` file holds it, or one with what only training needs.
    ///
    /// # Errors
    /// [`Error::Malformed`](litesmith_graph::Error::Malformed) when the graph is not valid.
    pub fn new(graph: &Graph) -> Result<Self> {
        graph.check()?;
        let mut builder = Builder {
            graph,
            parents: Vec::new(),
            locks: HashMap::new(),
            labels: vec![Vec::new(); graph.tensors.len()],
            layers: Vec::new(),
            opaque: Vec::new(),
        };
        for (index, node) in graph.nodes.iter().enumerate() {
            builder.node(index, node).map_err(|error| error.at(graph.place(index)))?;
        }
        Ok(builder.finish())
    }

    /// The nodes that make channels: CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED with constant float32 weights.
    #[must_use]
    pub fn layers(&self) -> &[usize] {
        &self.layers
    }

    /// What can only be removed as a whole.
    #[must_use]
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The units, by the layers that make them.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// For each index along the axis, its unit.
    pub(crate) fn units_along<'a>(&'a self, labels: &'a Labels) -> impl ExactSizeIterator<Item = usize> + 'a {
        labels.ids.iter().map(|&id| self.unit_of[id])
    }

    /// Tensor, axis and role of everything that holds channels.
    pub(crate) fn places(&self) -> impl Iterator<Item = (TensorId, &Labels)> {
        let tensors = self.labels.iter().enumerate();
        tensors.flat_map(|(tensor, labels)| labels.iter().map(move |labels| (TensorId(tensor), labels)))
    }
}

struct Builder<'a> {
    graph: &'a Graph,
    /// Union-find over variables.
    parents: Vec<usize>,
    /// Why a variable must stay, by its root at the time.
    locks: HashMap<usize, String>,
    labels: Vec<Vec<Labels>>,
    /// Nodes that make channels, and the variables that they make.
    layers: Vec<(usize, Vec<usize>)>,
    /// Tensors that are read in a way that is not followed, and by what.
    opaque: Vec<(TensorId, String)>,
}

impl Builder<'_> {
    fn fresh(&mut self, count: usize) -> Vec<usize> {
        let start = self.parents.len();
        self.parents.extend(start..start + count);
        (start..start + count).collect()
    }

    fn root(&mut self, mut id: usize) -> usize {
        while self.parents[id] != id {
            self.parents[id] = self.parents[self.parents[id]];
            id = self.parents[id];
        }
        id
    }

    fn join(&mut self, a: &[usize], b: &[usize]) {
        for (&a, &b) in a.iter().zip(b) {
            let (a, b) = (self.root(a), self.root(b));
            let (low, high) = (a.min(b), a.max(b));
            self.parents[high] = low;
        }
    }

    fn lock(&mut self, ids: &[usize], why: &str) {
        for &id in ids {
            self.locks.entry(id).or_insert_with(|| why.to_owned());
        }
    }

    fn lock_tensor(&mut self, id: TensorId, why: &str) {
        let ids: Vec<_> = self.labels[id.0].iter().flat_map(|labels| labels.ids.clone()).collect();
        self.lock(&ids, why);
    }

    fn tensor(&self, id: TensorId) -> &Tensor {
        self.graph.tensor(id)
    }

    /// The channels of a computed tensor.
    fn channels(&self, id: TensorId) -> Option<(usize, Vec<usize>)> {
        self.labels[id.0].first().map(|labels| (labels.axis, labels.ids.clone()))
    }

    /// Says that the indices of a tensor along an axis are these channels; what was known of them becomes equal.
    fn attach(&mut self, id: TensorId, axis: usize, ids: &[usize], role: Role) {
        match self.labels[id.0].iter().find(|labels| labels.axis == axis) {
            Some(known) => {
                let known = known.ids.clone();
                self.join(&known, ids);
            }
            None => self.labels[id.0].push(Labels { axis, ids: ids.to_vec(), role }),
        }
    }

    fn is_float_constant(&self, id: TensorId) -> bool {
        self.tensor(id).data.is_some() && self.tensor(id).dtype == DType::F32
    }

    /// The inputs of the node keep all channels.
    fn refuse(&mut self, index: usize, node: &Node, why: &str) {
        let why = format!("{}: {why}", self.graph.place(index));
        self.opaque.extend(node.inputs.iter().flatten().map(|&id| (id, why.clone())));
    }

    fn node(&mut self, index: usize, node: &Node) -> Result<()> {
        let input = |position: usize| node.inputs.get(position).copied().flatten();
        let (Some(x), Some(&y)) = (input(0), node.outputs.first()) else {
            self.refuse(index, node, "its channels are not followed");
            return Ok(());
        };
        match &node.op {
            Op::Conv2d(_) => self.convolution(index, node),
            Op::DepthwiseConv2d(_) => self.depthwise(index, node),
            Op::FullyConnected(_) => self.fully_connected(index, node),
            Op::BatchNormalization(_) => {
                if let Some((axis, ids)) = self.channels(x) {
                    node.inputs.iter().skip(1).flatten().for_each(|&id| self.attach(id, 0, &ids, Role::Follows));
                    self.attach(y, axis, &ids, Role::Follows);
                }
            }
            Op::Add(_)
            | Op::Sub(_)
            | Op::Mul(_)
            | Op::Div(_)
            | Op::Maximum(_)
            | Op::Minimum(_)
            | Op::SquaredDifference(_)
            | Op::Prelu(_)
            | Op::AddN(_) => self.elementwise(index, node),
            Op::Concatenation(op) => {
                let axis = resolve_axis("CONCATENATION", i64::from(op.axis), self.tensor(y).shape.len())?;
                self.concatenation(index, node, axis);
            }
            Op::Relu(_)
            | Op::Relu6(_)
            | Op::ReluN1To1(_)
            | Op::Relu0To1(_)
            | Op::LeakyRelu(_)
            | Op::Elu(_)
            | Op::Gelu(_)
            | Op::HardSwish(_)
            | Op::Logistic(_)
            | Op::Tanh(_)
            | Op::Exp(_)
            | Op::Neg(_)
            | Op::Sin(_)
            | Op::Cos(_)
            | Op::Log(_)
            | Op::Sqrt(_)
            | Op::Rsqrt(_)
            | Op::Square(_)
            | Op::Abs(_)
            | Op::Sign(_)
            | Op::Round(_)
            | Op::Ceil(_)
            | Op::Floor(_)
            | Op::Dropout(_)
            | Op::MaxPool2d(_)
            | Op::AveragePool2d(_)
            | Op::L2Pool2d(_)
            | Op::ResizeBilinear(_)
            | Op::ResizeNearestNeighbor(_) => {
                if let Some((axis, ids)) = self.channels(x) {
                    self.attach(y, axis, &ids, Role::Follows);
                }
            }
            Op::Pad(_) | Op::Padv2(_) | Op::MirrorPad(_) => self.pad(index, node)?,
            Op::Mean(ops::Mean { keep_dims })
            | Op::Sum(ops::Sum { keep_dims })
            | Op::ReduceMax(ops::ReduceMax { keep_dims })
            | Op::ReduceMin(ops::ReduceMin { keep_dims }) => self.reduce(index, node, *keep_dims)?,
            Op::Reshape(_) | Op::Squeeze(_) | Op::ExpandDims(_) => {
                if let Some((axis, ids)) = self.channels(x) {
                    let (from, to) = (&self.tensor(x).shape, &self.tensor(y).shape);
                    match reshaped(from, axis, &ids, to) {
                        Some((axis, ids)) => self.attach(y, axis, &ids, Role::Follows),
                        None => self.refuse(index, node, "the new shape does not keep the channels apart"),
                    }
                }
            }
            Op::Transpose(_) => {
                if let Some((axis, ids)) = self.channels(x) {
                    let order = self.inputs(node).integers(1, "permutation")?;
                    let order = order.iter().map(|&from| resolve_axis("TRANSPOSE", from, order.len()));
                    let order = order.collect::<Result<Vec<_>>>()?;
                    if let Some(axis) = order.iter().position(|&from| from == axis) {
                        self.attach(y, axis, &ids, Role::Follows);
                    }
                }
            }
            // Its result changes with the channels, as it should.
            Op::Shape(_) | Op::Rank(_) => {}
            Op::Softmax(_) | Op::LogSoftmax(_) | Op::L2Normalization(_) | Op::LocalResponseNormalization(_) => {
                self.refuse(index, node, "each result depends on all channels");
            }
            Op::FakeQuantize(_)
            | Op::FakeQuantizeWeights(_)
            | Op::DepthToSpace(_)
            | Op::Dequantize(_)
            | Op::EmbeddingLookup(_)
            | Op::Lstm(_)
            | Op::Rnn(_)
            | Op::SpaceToDepth(_)
            | Op::Svdf(_)
            | Op::Custom(_)
            | Op::UnidirectionalSequenceRnn(_)
            | Op::Gather(_)
            | Op::BatchToSpaceNd(_)
            | Op::SpaceToBatchNd(_)
            | Op::UnidirectionalSequenceLstm(_)
            | Op::StridedSlice(_)
            | Op::BidirectionalSequenceRnn(_)
            | Op::TopkV2(_)
            | Op::Split(_)
            | Op::BidirectionalSequenceLstm(_)
            | Op::Cast(_)
            | Op::ArgMax(_)
            | Op::Less(_)
            | Op::Greater(_)
            | Op::GreaterEqual(_)
            | Op::LessEqual(_)
            | Op::Select(_)
            | Op::Slice(_)
            | Op::TransposeConv(_)
            | Op::Tile(_)
            | Op::Equal(_)
            | Op::NotEqual(_)
            | Op::Pow(_)
            | Op::ArgMin(_)
            | Op::ReduceProd(_)
            | Op::Pack(_)
            | Op::LogicalOr(_)
            | Op::OneHot(_)
            | Op::LogicalAnd(_)
            | Op::LogicalNot(_)
            | Op::Unpack(_)
            | Op::FloorDiv(_)
            | Op::ReduceAny(_)
            | Op::ZerosLike(_)
            | Op::Fill(_)
            | Op::FloorMod(_)
            | Op::Range(_)
            | Op::SplitV(_)
            | Op::ReverseV2(_)
            | Op::GatherNd(_)
            | Op::Where(_)
            | Op::Quantize(_)
            | Op::If(_)
            | Op::While(_)
            | Op::NonMaxSuppressionV4(_)
            | Op::NonMaxSuppressionV5(_)
            | Op::ScatterNd(_)
            | Op::SparseToDense(_)
            | Op::Atan2(_)
            | Op::SelectV2(_)
            | Op::BatchMatmul(_)
            | Op::Cumsum(_)
            | Op::Rfft2d(_)
            | Op::Real(_)
            | Op::Imag(_)
            | Op::ComplexAbs(_)
            | Op::CallOnce(_)
            | Op::BroadcastTo(_)
            | Op::ReduceAll(_)
            | Op::VarHandle(_)
            | Op::ReadVariable(_)
            | Op::AssignVariable(_)
            | Op::BroadcastArgs(_)
            | Op::DynamicUpdateSlice(_)
            | Op::Bitcast(_)
            | Op::StablehloComposite(_) => self.refuse(index, node, "channels are not followed through it"),
        }
        Ok(())
    }

    fn inputs(&self, node: &Node) -> Inputs<'_> {
        Inputs::new(&node.op, self.graph.node_tensors(&node.inputs))
    }

    /// Weights and bias of a layer, when they are float32 constants.
    fn parameters(&self, node: &Node) -> Option<(TensorId, Option<TensorId>)> {
        let weights = node.inputs.get(1).copied().flatten()?;
        let bias = node.inputs.get(2).copied().flatten();
        let fits = self.is_float_constant(weights) && bias.is_none_or(|bias| self.is_float_constant(bias));
        fits.then_some((weights, bias))
    }

    /// The layer makes new channels along `axis` of its weights.
    fn make(&mut self, index: usize, weights: TensorId, axis: usize, bias: Option<TensorId>, y: TensorId) {
        let ids = self.fresh(self.tensor(weights).shape[axis]);
        self.attach(weights, axis, &ids, Role::Makes);
        if let Some(bias) = bias {
            self.attach(bias, 0, &ids, Role::Follows);
        }
        self.attach(y, self.tensor(y).shape.len().saturating_sub(1), &ids, Role::Follows);
        self.layers.push((index, ids));
    }

    fn convolution(&mut self, index: usize, node: &Node) {
        let (Some(x), y) = (node.inputs[0], node.outputs[0]) else { return };
        let Some((weights, bias)) = self.parameters(node) else {
            return self.refuse(index, node, "its weights are not float32 constants");
        };
        let (from, filter) = (self.tensor(x).shape.clone(), self.tensor(weights).shape.clone());
        if from.last() != filter.last() {
            return self.refuse(index, node, "a convolution in groups");
        }
        match self.channels(x) {
            Some((3, ids)) => self.attach(weights, 3, &ids, Role::Reads),
            Some((_, ids)) => self.lock(&ids, &format!("{}: it slides along them", self.graph.place(index))),
            None => {}
        }
        self.make(index, weights, 0, bias, y);
    }

    fn depthwise(&mut self, index: usize, node: &Node) {
        let (Some(x), y) = (node.inputs[0], node.outputs[0]) else { return };
        let Some((weights, bias)) = self.parameters(node) else {
            return self.refuse(index, node, "its weights are not float32 constants");
        };
        let of = |shape: &[usize]| shape.last().copied().unwrap_or(1).max(1);
        let (before, after) = (of(&self.tensor(x).shape), of(&self.tensor(weights).shape));
        match self.channels(x) {
            // Channel c makes the channels from c * multiplier on.
            Some((3, ids)) => {
                let multiplier = after / before;
                let ids: Vec<_> = ids.iter().flat_map(|&id| std::iter::repeat_n(id, multiplier)).collect();
                self.attach(weights, 3, &ids, Role::Makes);
                if let Some(bias) = bias {
                    self.attach(bias, 0, &ids, Role::Follows);
                }
                self.attach(y, 3, &ids, Role::Follows);
                self.layers.push((index, ids));
            }
            Some((_, ids)) => self.lock(&ids, &format!("{}: it slides along them", self.graph.place(index))),
            // All are made from one channel, so each can go by itself.
            None if before == 1 && after > 1 => self.make(index, weights, 3, bias, y),
            None => {}
        }
    }

    fn fully_connected(&mut self, index: usize, node: &Node) {
        let (Some(x), y) = (node.inputs[0], node.outputs[0]) else { return };
        let Some((weights, bias)) = self.parameters(node) else {
            return self.refuse(index, node, "its weights are not float32 constants");
        };
        if let Some((axis, ids)) = self.channels(x) {
            let from = self.tensor(x).shape.clone();
            let units = self.tensor(weights).shape[1];
            let rows = from.iter().product::<usize>() / units.max(1);
            // What is read as rows of another length than the last axis is reshaped on the way.
            match reshaped(&from, axis, &ids, &[rows, units]) {
                Some((1, ids)) => self.attach(weights, 1, &ids, Role::Reads),
                _ => self.lock(&ids, &format!("{}: its rows do not keep them apart", self.graph.place(index))),
            }
        }
        self.make(index, weights, 0, bias, y);
    }

    /// Ops that broadcast: what meets in an element becomes equal.
    fn elementwise(&mut self, index: usize, node: &Node) {
        let (y, inputs) = (node.outputs[0], node.inputs.iter().flatten().copied().collect::<Vec<_>>());
        let rank = self.tensor(y).shape.len();
        // The axis of the result that an input's axis falls on.
        let shift = |this: &Self, id: TensorId| rank.saturating_sub(this.tensor(id).shape.len());
        let labelled: Vec<_> =
            inputs.iter().filter_map(|&id| self.channels(id).map(|(axis, _)| axis + shift(self, id))).collect();
        let Some(&axis) = labelled.first() else { return };
        if labelled.iter().any(|&other| other != axis) {
            return self.refuse(index, node, "its inputs have their channels along different axes");
        }
        let size = self.tensor(y).shape[axis];
        let mut joined: Option<Vec<usize>> = None;
        for &id in &inputs {
            let own = axis.checked_sub(shift(self, id));
            let own_size = own.map_or(1, |own| self.tensor(id).shape[own]);
            let place = || format!("{}: it meets channels that do not go", self.graph.place(index));
            match (self.channels(id), own) {
                (Some((_, ids)), _) if own_size != size => self.lock(&ids, &place()),
                (Some((_, ids)), _) => match &joined {
                    Some(first) => self.join(&first.clone(), &ids),
                    None => joined = Some(ids),
                },
                _ => {}
            }
        }
        let Some(ids) = joined else { return };
        for &id in &inputs {
            let Some(own) = axis.checked_sub(shift(self, id)) else { continue };
            if self.channels(id).is_some() || self.tensor(id).shape[own] != size || size == 1 {
                continue;
            }
            if self.is_float_constant(id) {
                self.attach(id, own, &ids, Role::Follows);
            } else {
                self.lock(&ids, &format!("{}: it meets channels that do not go", self.graph.place(index)));
            }
        }
        self.attach(y, axis, &ids, Role::Follows);
    }

    fn concatenation(&mut self, index: usize, node: &Node, axis: usize) {
        let (y, inputs) = (node.outputs[0], node.inputs.iter().flatten().copied().collect::<Vec<_>>());
        let known: Vec<_> = inputs.iter().map(|&id| self.channels(id)).collect();
        let why = format!("{}: joined with channels that do not go", self.graph.place(index));
        let Some(along) = known.iter().flatten().map(|(along, _)| *along).next() else { return };
        if known.iter().flatten().any(|(other, _)| *other != along) {
            return self.refuse(index, node, "its inputs have their channels along different axes");
        }
        let mut joined = Vec::new();
        for (&id, known) in inputs.iter().zip(known) {
            let ids = match known {
                Some((_, ids)) => ids,
                None => {
                    // The input of the graph, say.
                    let ids = self.fresh(self.tensor(id).shape[along]);
                    self.lock(&ids, &why);
                    ids
                }
            };
            if along == axis {
                joined.extend(ids);
            } else if joined.is_empty() {
                joined = ids;
            } else {
                self.join(&joined, &ids);
            }
        }
        self.attach(y, along, &joined, Role::Follows);
    }

    fn pad(&mut self, index: usize, node: &Node) -> Result<()> {
        let (Some(x), y) = (node.inputs[0], node.outputs[0]) else { return Ok(()) };
        let Some((axis, ids)) = self.channels(x) else { return Ok(()) };
        let paddings = self.inputs(node).integers(1, "paddings")?;
        match paddings.get(2 * axis..2 * axis + 2) {
            Some([0, 0]) => self.attach(y, axis, &ids, Role::Follows),
            _ => self.refuse(index, node, "it pads channels"),
        }
        Ok(())
    }

    fn reduce(&mut self, index: usize, node: &Node, keep_dims: bool) -> Result<()> {
        let (Some(x), y) = (node.inputs[0], node.outputs[0]) else { return Ok(()) };
        let Some((axis, ids)) = self.channels(x) else { return Ok(()) };
        let axes = self.inputs(node).integers(1, "axes")?;
        let axes = resolve_axes(node.op.name(), &axes, self.tensor(x).shape.len())?;
        if axes.contains(&axis) {
            self.refuse(index, node, "each result depends on all channels");
        } else {
            let gone = if keep_dims { 0 } else { axes.iter().filter(|&&other| other < axis).count() };
            self.attach(y, axis - gone, &ids, Role::Follows);
        }
        Ok(())
    }

    fn finish(mut self) -> Channels {
        for (id, why) in std::mem::take(&mut self.opaque) {
            self.lock_tensor(id, &why);
        }
        for &id in &self.graph.outputs {
            self.lock_tensor(id, "an output of the model");
        }
        let roots: Vec<_> = (0..self.parents.len()).map(|id| self.root(id)).collect();
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        let mut units: Vec<Unit> = Vec::new();
        let mut unit_of = Vec::with_capacity(roots.len());
        for &root in &roots {
            let unit = *numbers.entry(root).or_insert_with(|| {
                units.push(Unit { locked: None, layers: Vec::new() });
                units.len() - 1
            });
            unit_of.push(unit);
        }
        let mut locks: Vec<_> = self.locks.into_iter().collect();
        locks.sort();
        for (id, why) in locks {
            units[unit_of[id]].locked.get_or_insert(why);
        }
        for (layer, (_, ids)) in self.layers.iter().enumerate() {
            for &id in ids {
                let layers = &mut units[unit_of[id]].layers;
                if layers.last() != Some(&layer) {
                    layers.push(layer);
                }
            }
        }
        let mut groups: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
        for (number, unit) in units.iter().enumerate().filter(|(_, unit)| !unit.layers.is_empty()) {
            groups.entry(unit.layers.clone()).or_default().push(number);
        }
        Channels {
            labels: self.labels,
            layers: self.layers.iter().map(|(node, _)| *node).collect(),
            units,
            groups: groups.into_iter().map(|(layers, units)| Group { layers, units }).collect(),
            unit_of,
        }
    }
}

/// Where the channels along `axis` of a tensor of shape `from` lie when it gets the shape `to`: the axis, and the channel
/// of each of its indices. `None` when an index would hold elements of several channels.
fn reshaped(from: &[usize], axis: usize, ids: &[usize], to: &[usize]) -> Option<(usize, Vec<usize>)> {
    let is_period = |period: usize| {
        ids.len().is_multiple_of(period) && ids.iter().skip(period).eq(ids[..ids.len() - period].iter())
    };
    let period = (1..=ids.len()).find(|&period| is_period(period))?;
    let inner: usize = from.get(axis + 1..)?.iter().product();
    let cycle = period * inner;
    (0..to.len()).rev().find_map(|axis| {
        let step: usize = to[axis + 1..].iter().product();
        let fits = step != 0 && inner.is_multiple_of(step) && cycle != 0 && (to[axis] * step).is_multiple_of(cycle);
        (fits && to[axis] > 0).then(|| (axis, (0..to[axis]).map(|index| ids[index * step / inner % period]).collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshapes_carry_channels() {
        // Flattened: channels come round again with every pixel.
        assert_eq!(reshaped(&[1, 2, 1, 3], 3, &[7, 8, 9], &[1, 6]), Some((1, vec![7, 8, 9, 7, 8, 9])));
        // Back, and with the pixels merged only.
        assert_eq!(reshaped(&[1, 6], 1, &[7, 8, 9, 7, 8, 9], &[1, 2, 1, 3]), Some((3, vec![7, 8, 9])));
        assert_eq!(reshaped(&[1, 1, 1, 2], 3, &[4, 5], &[1, 2]), Some((1, vec![4, 5])));
        // Channels first: each stays for all of its pixels.
        assert_eq!(reshaped(&[1, 2, 2, 2], 1, &[4, 5], &[1, 8]), Some((1, vec![4, 4, 4, 4, 5, 5, 5, 5])));
        // Two channels in each column, or channels that leave their axis.
        assert_eq!(reshaped(&[1, 2, 1, 3], 3, &[7, 8, 9], &[1, 3, 2]), None);
    }
}

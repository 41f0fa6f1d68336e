//! A float graph taken apart into its layers, for the algorithms that look at what each computes: the ops with weights, each
//! with what it reads and what it computes before its activation.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use litesmith_graph::{
    DType, Data, Error, Graph, Node, Op, Result, Tensor, TensorId,
    ops::{Activation, Relu, Relu6, ReluN1To1, Tanh},
};
use litesmith_runtime::{Session, SessionOptions};

use crate::FloatRunner;
use crate::quantize::{constant_bias, constant_weights};

/// One sample: the elements of each graph input.
pub type Sample = Vec<Vec<f32>>;

/// What looks on: index of the sample, index of the layer, what it reads, what it computes.
type See<'a> = dyn FnMut(usize, usize, &[f32], &[f32]) + 'a;

/// An op with constant weights and no bias or a constant one.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// Index of the op in the float graph.
    pub(crate) node: usize,
    /// What it reads.
    pub(crate) input: TensorId,
    /// What it computes, before its activation: the channels lie along the last axis.
    pub(crate) output: TensorId,
    weights: TensorId,
    bias: TensorId,
    /// Nodes up to it in the graph of [`Layers`].
    prefix: usize,
}

/// A float graph whose weights can be replaced layer by layer, and seen through.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    graph: Graph,
    layers: Vec<Layer>,
}

impl Layers {
    /// Takes `graph` apart. Layers whose activation is no op of its own are left out, as are those with computed weights.
    pub(crate) fn new(graph: &Graph) -> Result<Self> {
        let mut result = graph.clone();
        let nodes = std::mem::take(&mut result.nodes);
        let mut layers = Vec::new();
        for (index, mut node) in nodes.into_iter().enumerate() {
            let parts = constant_weights(graph, index).zip(constant_bias(graph, index));
            let (Some(((weights, axis), bias)), Some(Some(input))) = (parts, node.inputs.first().copied()) else {
                result.nodes.push(node);
                continue;
            };
            let activation = node.op.fused_activation().unwrap_or(Activation::None);
            let after: Option<Op> = match activation {
                Activation::None => None,
                Activation::Relu => Some(Relu.into()),
                Activation::Relu6 => Some(Relu6.into()),
                Activation::ReluN1To1 => Some(ReluN1To1.into()),
                Activation::Tanh => Some(Tanh.into()),
                Activation::SignBit => {
                    result.nodes.push(node);
                    continue;
                }
            };
            // Weights may be shared; here each layer has its own.
            let weights = result.add_tensor(graph.tensor(weights).clone());
            let channels = result.tensor(weights).shape.get(axis).copied().unwrap_or(0);
            let bias = match bias {
                Some(bias) => graph.tensor(bias).clone(),
                None => Tensor::constant("bias", DType::F32, [channels], Data::from_slice(&vec![0.0_f32; channels])),
            };
            let bias = result.add_tensor(bias);
            node.inputs = vec![Some(input), Some(weights), Some(bias)];
            let mut output = node.outputs[0];
            if let Some(op) = after {
                let activated = output;
                output = result.add_tensor(result.tensor(activated).clone());
                node.outputs[0] = output;
                if let Some(fused) = node.op.fused_activation_mut() {
                    *fused = Activation::None;
                }
                result.nodes.push(node);
                layers.push(Layer { node: index, input, output, weights, bias, prefix: result.nodes.len() });
                result.nodes.push(Node { op, inputs: vec![Some(output)], outputs: vec![activated] });
            } else {
                result.nodes.push(node);
                layers.push(Layer { node: index, input, output, weights, bias, prefix: result.nodes.len() });
            }
        }
        Ok(Self { graph: result, layers })
    }

    /// The layers in the order in which they run.
    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    pub(crate) fn weights(&self, layer: usize) -> Result<&[f32]> {
        elements(&self.graph, self.layers[layer].weights)
    }

    pub(crate) fn bias(&self, layer: usize) -> Result<&[f32]> {
        elements(&self.graph, self.layers[layer].bias)
    }

    pub(crate) fn set_weights(&mut self, layer: usize, values: &[f32]) {
        self.graph.tensor_mut(self.layers[layer].weights).data = Some(Data::from_slice(values));
    }

    pub(crate) fn set_bias(&mut self, layer: usize, values: &[f32]) {
        self.graph.tensor_mut(self.layers[layer].bias).data = Some(Data::from_slice(values));
    }

    /// The weights of a layer as a constant of the float graph with other elements.
    pub(crate) fn weights_tensor(&self, layer: usize, values: &[f32]) -> Tensor {
        Tensor { data: Some(Data::from_slice(values)), ..self.graph.tensor(self.layers[layer].weights).clone() }
    }

    /// The bias of a layer, zeros where it has none, as a constant of the float graph with other elements.
    pub(crate) fn bias_tensor(&self, layer: usize, values: &[f32]) -> Tensor {
        Tensor { data: Some(Data::from_slice(values)), ..self.graph.tensor(self.layers[layer].bias).clone() }
    }

    /// Runs the graph up to the last of `layers` on every sample; `see` is called for each of `layers` and each sample.
    pub(crate) fn run(
        &self,
        layers: &[usize],
        samples: &[Sample],
        options: &SessionOptions,
        see: &mut See<'_>,
    ) -> Result<()> {
        let Some(last) = layers.iter().map(|&layer| self.layers[layer].prefix).max() else { return Ok(()) };
        let mut graph = self.graph.clone();
        graph.nodes.truncate(last);
        graph.outputs = layers.iter().map(|&layer| self.layers[layer].output).collect();
        let mut session = Session::from_graph(graph, options.clone())?;
        for (index, sample) in samples.iter().enumerate() {
            let inputs: Vec<_> = sample.iter().map(Vec::as_slice).collect();
            let mut read: Vec<Vec<f32>> = vec![Vec::new(); layers.len()];
            let mut observe = |id: TensorId, values: &[f32]| {
                for (&layer, read) in layers.iter().zip(&mut read) {
                    if self.layers[layer].input == id {
                        read.clear();
                        read.extend_from_slice(values);
                    }
                    if self.layers[layer].output == id {
                        see(index, layer, read, values);
                    }
                }
            };
            FloatRunner::run(&mut session, &inputs, &mut observe)?;
        }
        Ok(())
    }

    /// Bytes that a [`Walk`] keeps of each sample, at most.
    fn kept_bytes(&self) -> usize {
        let bytes = |id: &TensorId| self.graph.tensor(*id).byte_size().unwrap_or(0);
        let cuts = self.layers.iter().filter_map(|layer| self.crossing(layer.prefix - 1));
        cuts.map(|kept| kept.iter().map(bytes).sum()).max().unwrap_or(0)
    }

    /// What nodes from `cut` on read of what is computed before it; `None` where that is more than float32 activations.
    fn crossing(&self, cut: usize) -> Option<BTreeSet<TensorId>> {
        if self.graph.tensors.iter().any(|tensor| tensor.dtype == DType::Resource) {
            return None;
        }
        let (before, after) = self.graph.nodes.split_at(cut);
        let made: BTreeSet<_> =
            before.iter().flat_map(|node| &node.outputs).chain(&self.graph.inputs).copied().collect();
        let read = after.iter().flat_map(|node| &node.inputs).flatten().filter(|id| made.contains(id)).copied();
        let read: BTreeSet<_> = read.collect();
        read.iter().all(|&id| self.graph.tensor(id).dtype == DType::F32).then_some(read)
    }

    /// The op of a layer, and its weights.
    pub(crate) fn op_and_weights(&self, layer: usize) -> (&Op, &Tensor) {
        let Layer { prefix, weights, .. } = self.layers[layer];
        (&self.graph.nodes[prefix - 1].op, self.graph.tensor(weights))
    }

    /// The shape of a tensor for one sample.
    pub(crate) fn shape(&self, id: TensorId) -> &[usize] {
        &self.graph.tensor(id).shape
    }
}

/// What a [`Walk`] keeps at once, at most: 512 MiB.
const KEPT_BYTES: usize = 512 << 20;

/// Goes from layer to layer while weights and biases change behind it. It keeps what each sample has come to, so that an op runs twice
/// for each sample and not once more for every layer that follows.
pub(crate) struct Walk {
    /// The node in front of which the samples are.
    at: usize,
    /// What they are there.
    kept: BTreeMap<TensorId, Vec<Vec<f32>>>,
    samples: usize,
}

impl Walk {
    /// As many of `samples`, evenly, as a walk through `layers` can keep.
    pub(crate) fn thinned<'a>(layers: &Layers, samples: &'a [Sample]) -> Cow<'a, [Sample]> {
        let most = (KEPT_BYTES / layers.kept_bytes().max(1)).clamp(1, samples.len().max(1));
        if most >= samples.len() {
            return Cow::Borrowed(samples);
        }
        (0..most).map(|index| samples[index * samples.len() / most].clone()).collect()
    }

    /// In front of the first node.
    pub(crate) fn new(layers: &Layers, samples: &[Sample]) -> Result<Self> {
        let inputs = &layers.graph.inputs;
        if let Some(sample) = samples.iter().find(|sample| sample.len() != inputs.len()) {
            return Err(Error::invalid(
                "sample",
                format!("got {} inputs, the model has {}", sample.len(), inputs.len()),
            ));
        }
        let of = |index: usize| samples.iter().map(|sample: &Sample| sample[index].clone()).collect();
        let kept = inputs.iter().enumerate().map(|(index, &id)| (id, of(index))).collect();
        Ok(Self { at: 0, kept, samples: samples.len() })
    }

    /// What `layer` computes before its activation: the moments of each channel. Goes up to that layer; layers are taken in order.
    pub(crate) fn moments(&mut self, layers: &Layers, layer: usize, options: &SessionOptions) -> Result<Moments> {
        let Layer { output, prefix, .. } = layers.layers[layer];
        let cut = prefix - 1;
        let crossing = layers.crossing(cut);
        let new: Vec<_> = crossing.iter().flatten().filter(|id| !self.kept.contains_key(id)).copied().collect();
        let mut graph = layers.graph.clone();
        graph.nodes = graph.nodes[self.at..prefix].to_vec();
        graph.inputs = self.kept.keys().copied().collect();
        graph.outputs = new.iter().copied().filter(|&id| id != output).chain([output]).collect();
        let mut session = Session::from_graph(graph, options.clone())?;
        let mut moments = Moments::new(layers.bias(layer)?.len());
        let mut found: BTreeMap<TensorId, Vec<Vec<f32>>> = new.iter().map(|&id| (id, Vec::new())).collect();
        for sample in 0..self.samples {
            let inputs: Vec<_> = self.kept.values().map(|values| values[sample].as_slice()).collect();
            FloatRunner::run(&mut session, &inputs, &mut |id, values| {
                if id == output {
                    moments.add(values);
                }
                if let Some(found) = found.get_mut(&id) {
                    found.push(values.to_vec());
                }
            })?;
        }
        // Where not all was seen, or in another size than the graph says, the next layers are reached from further back.
        let expected = |id: TensorId| layers.graph.tensor(id).elements().ok();
        let is_whole = |(&id, values): (&TensorId, &Vec<Vec<f32>>)| {
            values.len() == self.samples && values.iter().all(|values| Some(values.len()) == expected(id))
        };
        if let Some(crossing) = crossing.filter(|_| found.iter().all(is_whole)) {
            self.kept.retain(|id, _| crossing.contains(id));
            self.kept.append(&mut found);
            self.at = cut;
        }
        Ok(moments)
    }
}

fn elements(graph: &Graph, id: TensorId) -> Result<&[f32]> {
    let tensor = graph.tensor(id);
    let data = tensor.data.as_ref();
    data.ok_or_else(|| Error::malformed(format!("tensor \"{}\"", tensor.name), "it is not constant"))?.elements()
}

/// Mean and variance of each channel, gathered over samples.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    sums: Vec<f64>,
    squares: Vec<f64>,
    count: u64,
}

impl Moments {
    pub(crate) fn new(channels: usize) -> Self {
        Self { sums: vec![0.0; channels], squares: vec![0.0; channels], count: 0 }
    }

    /// Takes in elements whose last axis are the channels.
    pub(crate) fn add(&mut self, values: &[f32]) {
        for row in values.chunks_exact(self.sums.len().max(1)) {
            for ((sum, square), &value) in self.sums.iter_mut().zip(&mut self.squares).zip(row) {
                let value = f64::from(value);
                *sum += value;
                *square += value * value;
            }
            self.count += 1;
        }
    }

    pub(crate) fn mean(&self, channel: usize) -> f64 {
        self.sums[channel] / (self.count.max(1) as f64)
    }

    pub(crate) fn variance(&self, channel: usize) -> f64 {
        let mean = self.mean(channel);
        (self.squares[channel] / (self.count.max(1) as f64) - mean * mean).max(0.0)
    }
}

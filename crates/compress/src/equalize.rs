//! Cross-layer equalization: the channels between two layers are given like ranges, without changing what the network computes.

use std::collections::BTreeMap;

use litesmith_graph::{Data, Graph, Op, Result, Tensor, TensorId, ops::Activation};
use litesmith_runtime::{Session, SessionOptions};
use serde::{Deserialize, Serialize};

use crate::quantize::{constant_bias, constant_weights};
use crate::{Edit, FloatRunner, Sample};

/// Settings of [`equalize`]: the `[equalization]` table of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EqualizationConfig {
    /// Rounds over all pairs of layers at most; it ends before when nothing changes any more.
    pub iterations: usize,
    /// Whether a RELU6 between two layers is made a RELU, so that they can be equalized: it changes the network where values
    /// above 6 occur.
    pub replace_relu6: bool,
}

impl Default for EqualizationConfig {
    /// 40 rounds; RELU6 stays.
    fn default() -> Self {
        Self { iterations: 40, replace_relu6: false }
    }
}

/// What equalization did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EqualizationReport {
    /// The pairs of layers, each as indices of nodes of the float graph.
    pub pairs: Vec<(usize, usize)>,
    /// The largest factor by which a channel was scaled, up or down; 1 when nothing changed.
    pub largest_factor: f32,
    /// Layers whose RELU6 became a RELU.
    pub replaced_relu6: Vec<usize>,
}

/// Below this change of every factor, a round has changed nothing.
const CONVERGED: f64 = 1e-4;

/// No channel is scaled by more, up or down. What is a thousand times as small as another channel is noise next to its steps; trained
/// networks have channels that died at 1e-20, and to make those as large as others would leave ranges that no kernel rescales
/// between.
const FACTOR_MAX: f64 = 1024.0;

/// Scales the output channels of a layer down and the matching input channels of the next one up, or the other way round, until
/// the largest magnitudes of both are equal for each channel: `s = sqrt(r1 / r2)`, first weights and bias divided by `s`, second
/// weights multiplied (Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization Through Weight Equalization and Bias
/// Correction", ICCV 2019, section 4.1). It repeats over all pairs until nothing changes. Weights with one scale for all channels
/// then use the whole of their integers in every channel, and so do the activations between the layers. A channel is scaled by 1024
/// at most.
///
/// A pair is two of CONV_2D (ungrouped), DEPTHWISE_CONV_2D and FULLY_CONNECTED where nothing else reads what is between, with
/// nothing or a RELU between, and ops that treat each channel alike: pooling, zero padding, reshaping that keeps the channels
/// innermost.
///
/// With `peaks` no channel becomes larger than the largest is, which would widen the range of them all: the factor of a channel
/// is at least that of the channel with the largest values, times their ratio (as the activations of Meller, Finkelstein, Almog
/// and Grobman, "Same, Same But Different: Recovering Neural Network Quantization Error Through Weight Factorization", ICML 2019).
/// It takes the place of the absorption of high biases of the first paper, which needs statistics of batch normalization: channels
/// that died, with weights near 0 and a bias, are the ones that it concerns.
///
/// # Errors
/// [`litesmith_graph::Error::Malformed`] when weights hold no float32 elements.
pub fn equalize(
    graph: &Graph,
    config: &EqualizationConfig,
    peaks: Option<&ChannelPeaks>,
) -> Result<(Vec<Edit>, EqualizationReport)> {
    let pairs: Vec<_> = (0..graph.nodes.len()).filter_map(|first| Pair::from(graph, first, config)).collect();
    let mut weights: Vec<Option<Vec<f32>>> = vec![None; graph.nodes.len()];
    let mut biases = weights.clone();
    for &index in pairs.iter().flat_map(|pair| [&pair.first, &pair.second]) {
        if let Some((id, _)) = constant_weights(graph, index) {
            weights[index] = Some(elements(graph.tensor(id))?);
        }
        if let Some(Some(id)) = constant_bias(graph, index) {
            biases[index] = Some(elements(graph.tensor(id))?);
        }
    }
    let mut report = EqualizationReport { largest_factor: 1.0, ..EqualizationReport::default() };
    let mut factors: Vec<Vec<f64>> = pairs.iter().map(|pair| vec![1.0; pair.channels]).collect();
    for _ in 0..config.iterations {
        let mut changed = false;
        for (pair, factors) in pairs.iter().zip(&mut factors) {
            let (Some(first), Some(second)) = (&weights[pair.first], &weights[pair.second]) else { continue };
            let outgoing = largest(first, pair.channels, |index| pair.first_channels.of(index));
            let incoming = largest(second, pair.channels, |index| pair.second_channels.of(index));
            let magnitudes = outgoing.iter().zip(&incoming);
            let mut wanted: Vec<_> =
                magnitudes.zip(factors.iter()).map(|((&out, &into), &so_far)| so_far * scale(out, into)).collect();
            if let Some(peaks) = peaks.and_then(|peaks| peaks.of(graph, pair)) {
                bound(&mut wanted, peaks);
            }
            let within = wanted.iter().map(|factor| factor.clamp(1.0 / FACTOR_MAX, FACTOR_MAX));
            let scales: Vec<_> = within.zip(factors.iter()).map(|(factor, so_far)| factor / so_far).collect();
            changed |= scales.iter().any(|scale| scale.ln().abs() > CONVERGED);
            divide(weights[pair.first].as_mut(), &scales, |index| pair.first_channels.of(index), true);
            divide(biases[pair.first].as_mut(), &scales, |index| index % pair.channels, true);
            divide(weights[pair.second].as_mut(), &scales, |index| pair.second_channels.of(index), false);
            factors.iter_mut().zip(&scales).for_each(|(factor, scale)| *factor *= scale);
        }
        if !changed {
            break;
        }
    }
    let mut edits = Vec::new();
    for (node, (weights, bias)) in weights.into_iter().zip(biases).enumerate() {
        let weights = weights.zip(constant_weights(graph, node).map(|(id, _)| id));
        let bias = bias.zip(constant_bias(graph, node).flatten());
        for (input, changed) in [(1, weights), (2, bias)] {
            if let Some((values, id)) = changed {
                let constant = Tensor { data: Some(Data::from_slice(&values)), ..graph.tensor(id).clone() };
                edits.push(Edit::Constant { node, input, constant });
            }
        }
    }
    for pair in &pairs {
        report.pairs.push((pair.first, pair.second));
        let mut op = graph.nodes[pair.first].op.clone();
        if let Some(activation @ Activation::Relu6) = op.fused_activation_mut() {
            *activation = Activation::Relu;
            edits.push(Edit::Op { node: pair.first, op });
            report.replaced_relu6.push(pair.first);
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "a factor, to be shown")]
    for factor in factors.iter().flatten() {
        report.largest_factor = report.largest_factor.max(factor.max(1.0 / factor) as f32);
    }
    Ok((edits, report))
}

/// The largest magnitude of each channel, the last axis, of what ops compute.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChannelPeaks(BTreeMap<TensorId, Vec<f32>>);

impl ChannelPeaks {
    /// Runs `graph` on `samples`.
    ///
    /// # Errors
    /// Those of the runner.
    pub fn measure(graph: &Graph, runner: &mut dyn FloatRunner, samples: &[Sample]) -> Result<Self> {
        let mut peaks = Self::default();
        for sample in samples {
            let inputs: Vec<_> = sample.iter().map(Vec::as_slice).collect();
            runner.run(&inputs, &mut |id, values| {
                let channels = graph.tensor(id).shape.last().copied().unwrap_or(1).max(1);
                let so_far = peaks.0.entry(id).or_insert_with(|| vec![0.0; channels]);
                let seen = largest(values, channels, |index| index % channels);
                so_far.iter_mut().zip(seen).for_each(|(most, value)| *most = most.max(value));
            })?;
        }
        Ok(peaks)
    }

    /// Those of the channels between two layers, behind the activation of the first.
    fn of(&self, graph: &Graph, pair: &Pair) -> Option<&[f32]> {
        let between = graph.nodes[pair.first].outputs.first()?;
        self.0.get(between).map(Vec::as_slice).filter(|peaks| peaks.len() == pair.channels)
    }
}

/// Raises factors so that no channel, divided by its own, has a larger peak than the one that has the largest.
fn bound(factors: &mut [f64], peaks: &[f32]) {
    let Some(most) = (0..peaks.len()).max_by(|&a, &b| peaks[a].total_cmp(&peaks[b])).filter(|&most| peaks[most] > 0.0)
    else {
        return;
    };
    let of_largest = factors[most] / f64::from(peaks[most]);
    factors.iter_mut().zip(peaks).for_each(|(factor, &peak)| *factor = factor.max(of_largest * f64::from(peak)));
}

/// The factor that makes two magnitudes equal; 1 where one is 0: the channel does nothing.
fn scale(outgoing: f32, incoming: f32) -> f64 {
    let scale = (f64::from(outgoing) / f64::from(incoming)).sqrt();
    if scale.is_normal() && scale > 0.0 { scale } else { 1.0 }
}

fn largest(values: &[f32], channels: usize, channel: impl Fn(usize) -> usize) -> Vec<f32> {
    let mut largest = vec![0.0_f32; channels];
    for (index, value) in values.iter().enumerate() {
        let largest = &mut largest[channel(index)];
        *largest = largest.max(value.abs());
    }
    largest
}

fn divide(values: Option<&mut Vec<f32>>, scales: &[f64], channel: impl Fn(usize) -> usize, down: bool) {
    let Some(values) = values else { return };
    for (index, value) in values.iter_mut().enumerate() {
        let scale = scales[channel(index)];
        #[expect(clippy::cast_possible_truncation, reason = "rounding to float32 is meant")]
        let scaled = (if down { f64::from(*value) / scale } else { f64::from(*value) * scale }) as f32;
        *value = scaled;
    }
}

fn elements(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.data.as_ref().map(|data| data.elements::<f32>()).transpose()?.unwrap_or_default().to_vec())
}

/// How the elements of weights belong to channels.
#[derive(Debug, Clone, Copy)]
struct Channels {
    inner: usize,
    count: usize,
}

impl Channels {
    fn of(self, index: usize) -> usize {
        index / self.inner % self.count
    }
}

/// Two layers, one behind the other.
struct Pair {
    first: usize,
    second: usize,
    channels: usize,
    /// Output channels of the first.
    first_channels: Channels,
    /// Input channels of the second.
    second_channels: Channels,
}

impl Pair {
    /// The pair that begins with node `first`, if one does.
    fn from(graph: &Graph, first: usize, config: &EqualizationConfig) -> Option<Self> {
        let (id, axis) = constant_weights(graph, first)?;
        constant_bias(graph, first)?;
        let weights = graph.tensor(id);
        let channels = *weights.shape.get(axis)?;
        // Weights that another op reads, too, cannot be changed for one of them.
        let reads = |id: TensorId| graph.nodes.iter().filter(|node| node.inputs.contains(&Some(id))).count();
        let first_channels =
            Channels { inner: weights.shape.iter().skip(axis + 1).product::<usize>().max(1), count: channels.max(1) };
        match graph.nodes[first].op.fused_activation()? {
            Activation::None | Activation::Relu => {}
            Activation::Relu6 if config.replace_relu6 => {}
            Activation::Relu6 | Activation::ReluN1To1 | Activation::Tanh | Activation::SignBit => return None,
        }
        let mut between = *graph.nodes[first].outputs.first()?;
        loop {
            if graph.outputs.contains(&between) || reads(between) != 1 {
                return None;
            }
            let index = graph.nodes.iter().position(|node| node.inputs.contains(&Some(between)))?;
            let node = &graph.nodes[index];
            if node.inputs.first().copied().flatten() != Some(between) {
                return None;
            }
            let output = *node.outputs.first()?;
            match &node.op {
                Op::Conv2d(_) | Op::DepthwiseConv2d(_) | Op::FullyConnected(_) => {
                    let (second_id, _) = constant_weights(graph, index)?;
                    if reads(id) != 1 || reads(second_id) != 1 {
                        return None;
                    }
                    let second_channels = input_channels(graph, index, between, channels)?;
                    return Some(Self { first, second: index, channels, first_channels, second_channels });
                }
                Op::Relu(_) | Op::LeakyRelu(_) => {}
                Op::MaxPool2d(op) if is_homogeneous(op.activation) => {}
                Op::AveragePool2d(op) if is_homogeneous(op.activation) => {}
                Op::Pad(_) if pads_no_channels(graph, index) => {}
                // Where the channels stay innermost, as in flattening an image.
                Op::Reshape(_) if graph.tensor(output).shape.last()? % channels == 0 => {}
                Op::Mean(_) if keeps_channels(graph, index) => {}
                _ => return None,
            }
            between = output;
        }
    }
}

fn is_homogeneous(activation: Activation) -> bool {
    matches!(activation, Activation::None | Activation::Relu)
}

/// How the weights of node `index` belong to the `channels` of what it reads.
fn input_channels(graph: &Graph, index: usize, input: TensorId, channels: usize) -> Option<Channels> {
    let (id, _) = constant_weights(graph, index)?;
    let shape = &graph.tensor(id).shape;
    let count = channels.max(1);
    match &graph.nodes[index].op {
        Op::Conv2d(_) => (shape.last() == Some(&channels)).then_some(Channels { inner: 1, count }),
        Op::DepthwiseConv2d(_) => {
            let fits = graph.tensor(input).shape.last() == Some(&channels);
            let multiplier = shape.last()?.checked_div(channels)?.max(1);
            fits.then_some(Channels { inner: multiplier, count })
        }
        Op::FullyConnected(_) => (shape.last()? % count == 0).then_some(Channels { inner: 1, count }),
        _ => None,
    }
}

/// Whether a MEAN is over other axes than the last.
fn keeps_channels(graph: &Graph, index: usize) -> bool {
    let inputs = &graph.nodes[index].inputs;
    let tensor = |input: usize| inputs.get(input).copied().flatten().map(|id| graph.tensor(id));
    let axes = tensor(1).and_then(|axes| axes.data.as_ref()?.elements::<i32>().ok());
    let rank = tensor(0).map_or(0, |input| input.shape.len());
    axes.is_some_and(|axes| axes.iter().all(|&axis| axis != -1 && usize::try_from(axis).ok() != rank.checked_sub(1)))
}

/// Whether a PAD leaves the last axis as it is.
fn pads_no_channels(graph: &Graph, index: usize) -> bool {
    let node = &graph.nodes[index];
    let shapes = [node.inputs.first().copied().flatten(), node.outputs.first().copied()];
    let last = |id: Option<TensorId>| id.and_then(|id| graph.tensor(id).shape.last());
    last(shapes[0]).is_some() && last(shapes[0]) == last(shapes[1])
}

/// How far the outputs of a float network moved when it was changed.
pub(crate) struct Moved {
    /// Mean absolute change over the range of the outputs.
    mean: f64,
    /// Samples whose largest output is another, of how many.
    other: (usize, usize),
}

impl Moved {
    /// By this share of the range outputs may move, and this share of the samples may have another largest output, without a word.
    const SILENT: f64 = 0.005;

    /// Runs both graphs on `samples`.
    pub(crate) fn measure(before: &Graph, after: &Graph, samples: &[Sample], options: &SessionOptions) -> Result<Self> {
        let mut sessions = [
            Session::from_graph(before.clone(), options.clone())?,
            Session::from_graph(after.clone(), options.clone())?,
        ];
        let (mut sum, mut count, mut other) = (0.0_f64, 0_usize, 0);
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for sample in samples {
            let inputs: Vec<_> = sample.iter().map(Vec::as_slice).collect();
            let mut outputs = [Vec::new(), Vec::new()];
            for ((session, graph), output) in sessions.iter_mut().zip([before, after]).zip(&mut outputs) {
                FloatRunner::run(session, &inputs, &mut |id, values| {
                    if graph.outputs.first() == Some(&id) {
                        *output = values.to_vec();
                    }
                })?;
            }
            let [old, new] = outputs;
            for (&old, &new) in old.iter().zip(&new) {
                sum += f64::from((old - new).abs());
                (least, most) = (least.min(f64::from(old)), most.max(f64::from(old)));
            }
            count += old.len();
            let largest = |values: &[f32]| (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]));
            other += usize::from(largest(&old) != largest(&new));
        }
        let range = (most - least).max(f64::MIN_POSITIVE);
        Ok(Self { mean: sum / count.max(1) as f64 / range, other: (other, samples.len()) })
    }

    /// What to say of it, where it matters.
    pub(crate) fn warning(&self) -> Option<String> {
        let (other, samples) = self.other;
        let share = other as f64 / samples.max(1) as f64;
        (self.mean > Self::SILENT || share > Self::SILENT).then(|| {
            format!(
                "its outputs moved by {:.2} % of their range on average, and {other} of {samples} samples have another largest \
                 output; leave the replacement out unless the accuracy says otherwise",
                self.mean * 100.0
            )
        })
    }
}

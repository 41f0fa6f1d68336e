//! What training keeps of a model that was made smaller before: weights that are zero stay zero, and weights that share a
//! value go on sharing one. So pruning, clustering and quantization-aware training can follow each other, each keeping
//! what those before it won (Collaborative optimization in the TensorFlow Model Optimization Toolkit has the same aim).

use std::collections::HashMap;

use litesmith_graph::{Graph, Node, Op, Result, TensorId};

use crate::report::Weights;

/// As many different values as a layer of any size may have to count as clustered.
const FEW: usize = 64;
/// As many as one may have that has at least twice as many weights: those of a byte.
const MANY: usize = 256;

const ZERO: u32 = u32::MAX;
const FREE: u32 = u32::MAX - 1;

/// Which weights of a graph are zero, and which share a value.
///
/// ```
/// use litesmith_graph::Data;
/// use litesmith_train::{Preserved, zoo};
///
/// # fn main() -> litesmith_graph::Result<()> {
/// let mut graph = zoo::architecture("lenet-5")?.graph(1)?;
/// assert!(Preserved::of(&graph)?.layers().is_empty());
/// let weights = graph.nodes[0].inputs[1].unwrap();
/// let mut values = graph.tensor(weights).data.as_ref().unwrap().elements::<f32>()?.to_vec();
/// values[..10].fill(0.0);
/// graph.tensor_mut(weights).data = Some(Data::from_slice(&values));
/// let preserved = Preserved::of(&graph)?;
/// assert_eq!((preserved.layers()[0].zeros, preserved.layers()[0].shared), (10, None));
/// values.fill(0.5);
/// preserved.hold(weights, &mut values);
/// assert_eq!(values[..11], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preserved {
    layers: Vec<PreservedLayer>,
}

/// What is kept of the weights of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreservedLayer {
    /// The weights.
    pub weights: TensorId,
    /// How many there are.
    pub elements: usize,
    /// How many of them are zero.
    pub zeros: usize,
    /// Whether the others share values.
    pub shared: Option<SharedValues>,
    /// The cluster of each weight, [`ZERO`] or [`FREE`].
    cluster: Vec<u32>,
    /// Clusters.
    count: usize,
}

/// How the weights of a layer share values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedValues {
    /// Different values besides zero: of all channels, or the most that one of them has.
    pub values: usize,
    /// Whether the channels share values with each other.
    pub across_channels: bool,
}

impl Preserved {
    /// What there is to keep among the float32 weights of CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED, fake quantization
    /// before them or not.
    ///
    /// Zeros count in layers where not all weights are zero. Weights count as shared when some value besides zero is there
    /// twice, and the layer, or else each of its output channels, has no more than 64 of them; or no more than 256, and at
    /// most half as many as weights.
    ///
    /// # Errors
    /// [`Error::Malformed`](litesmith_graph::Error::Malformed) when constants are not as long as their shape.
    pub fn of(graph: &Graph) -> Result<Self> {
        let mut layers: Vec<PreservedLayer> = Vec::new();
        for node in &graph.nodes {
            let Some(weights) = weights_of(graph, node) else { continue };
            if layers.iter().any(|layer| layer.weights == weights) {
                continue;
            }
            let tensor = graph.tensor(weights);
            let Some(data) = &tensor.data else { continue };
            let values = data.elements::<f32>()?;
            let is_depthwise = matches!(node.op, Op::DepthwiseConv2d(_));
            let channels = if is_depthwise { tensor.shape.last() } else { tensor.shape.first() }.copied().unwrap_or(1);
            let each = (values.len() / channels.max(1)).max(1);
            let channel_of = |index: usize| if is_depthwise { index % channels.max(1) } else { index / each };
            layers.extend(PreservedLayer::new(weights, values, channels, &channel_of));
        }
        Ok(Self { layers })
    }

    /// The layers that have something to keep.
    #[must_use]
    pub fn layers(&self) -> &[PreservedLayer] {
        &self.layers
    }

    /// Sets weights to zero that were, and gives those that shared a value their mean: the shared value changed by the mean
    /// of what its weights changed by. What has become zero since then, by pruning, has left its cluster.
    pub fn hold(&self, weights: TensorId, values: &mut [f32]) {
        let Some(layer) = self.layers.iter().find(|layer| layer.weights == weights) else { return };
        let mut sums = vec![(0.0_f64, 0_u32); layer.count];
        for (value, &cluster) in values.iter_mut().zip(&layer.cluster) {
            if cluster == ZERO {
                *value = 0.0;
            } else if let Some((sum, count)) = sums.get_mut(cluster as usize).filter(|_| *value != 0.0) {
                *sum += f64::from(*value);
                *count += 1;
            }
        }
        if sums.is_empty() {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "rounding to float32 is meant")]
        let means: Vec<f32> = sums.iter().map(|&(sum, count)| (sum / f64::from(count.max(1))) as f32).collect();
        for (value, &cluster) in values.iter_mut().zip(&layer.cluster).filter(|(value, _)| **value != 0.0) {
            *value = means.get(cluster as usize).copied().unwrap_or(*value);
        }
    }

    pub(crate) fn hold_all(&self, weights: &mut Weights<'_>) {
        if !self.layers.is_empty() {
            weights.tensors_mut().for_each(|(tensor, values)| self.hold(tensor, values));
        }
    }

    /// What is kept, in words; `None` when it is nothing.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
        let shared = self.layers.iter().filter(|layer| layer.shared.is_some()).count();
        let zeros: usize = self.layers.iter().map(|layer| layer.zeros).sum();
        let sparse: Vec<_> = self.layers.iter().filter(|layer| layer.zeros > 0).collect();
        let elements: usize = sparse.iter().map(|layer| layer.elements).sum();
        let layers = |count: usize| format!("{count} layer{}", if count == 1 { "" } else { "s" });
        let mut words = Vec::new();
        if zeros > 0 {
            let share = 100.0 * zeros as f64 / elements as f64;
            words.push(format!("the zeros of {} ({share:.1} % of their weights)", layers(sparse.len())));
        }
        if shared > 0 {
            words.push(format!("the shared values of {}", layers(shared)));
        }
        (!words.is_empty()).then(|| words.join(" and "))
    }
}

impl PreservedLayer {
    fn new(
        weights: TensorId,
        values: &[f32],
        channels: usize,
        channel_of: &dyn Fn(usize) -> usize,
    ) -> Option<PreservedLayer> {
        let zeros = values.iter().filter(|&&value| value == 0.0).count();
        let others = values.len() - zeros;
        if others == 0 {
            return None;
        }
        let mut of_layer = HashMap::new();
        let mut of_channel = HashMap::new();
        let mut most = vec![0; channels.max(1)];
        for (index, value) in values.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            let (next, next_of_channel) = (of_layer.len(), of_channel.len());
            of_layer.entry(value.to_bits()).or_insert(next);
            of_channel.entry((channel_of(index), value.to_bits())).or_insert_with(|| {
                most[channel_of(index)] += 1;
                next_of_channel
            });
        }
        // Of so many values at most in one place, and so many in all.
        let are_few = |most: usize, all: usize| all < others && (most <= FEW || most <= MANY && all * 2 <= others);
        let most = most.into_iter().max().unwrap_or(0);
        let (by_layer, by_channel) = (of_layer.len(), of_channel.len());
        let number = |number: usize| u32::try_from(number).unwrap_or(FREE);
        let (shared, count, cluster_of): (_, _, Box<dyn Fn(usize) -> u32>) = if are_few(by_layer, by_layer) {
            // A value that two channels hit upon by chance does not make them share all.
            let across_channels = by_layer * 10 < by_channel * 9;
            let values_at_most = if across_channels { by_layer } else { most };
            let shared = SharedValues { values: values_at_most, across_channels };
            (Some(shared), by_layer, Box::new(|index| number(of_layer[&values[index].to_bits()])))
        } else if are_few(most, by_channel) {
            let shared = SharedValues { values: most, across_channels: false };
            let of = |index: usize| number(of_channel[&(channel_of(index), values[index].to_bits())]);
            (Some(shared), by_channel, Box::new(of))
        } else {
            (None, 0, Box::new(|_| FREE))
        };
        if shared.is_none() && zeros == 0 {
            return None;
        }
        let cluster = (0..values.len()).map(|index| if values[index] == 0.0 { ZERO } else { cluster_of(index) });
        Some(Self { weights, elements: values.len(), zeros, shared, cluster: cluster.collect(), count })
    }
}

/// The tensor that a node's weights are learned in.
fn weights_of(graph: &Graph, node: &Node) -> Option<TensorId> {
    let (Op::Conv2d(_) | Op::DepthwiseConv2d(_) | Op::FullyConnected(_)) = node.op else { return None };
    let read = node.inputs.get(1).copied().flatten()?;
    let weights = match graph.producer(read).map(|producer| &graph.nodes[producer]) {
        Some(Node { op: Op::FakeQuantizeWeights(_), inputs, .. }) => inputs.first().copied().flatten()?,
        _ => read,
    };
    let tensor = graph.tensor(weights);
    (tensor.data.is_some() && tensor.dtype == litesmith_graph::DType::F32).then_some(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(values: &[f32], channels: usize) -> Option<PreservedLayer> {
        let each = values.len() / channels;
        PreservedLayer::new(TensorId(0), values, channels, &|index| index / each)
    }

    #[test]
    fn what_is_shared_is_told_from_what_happens_to_be_equal() {
        let different: Vec<f32> = (1..=600_i16).map(|n| f32::from(n) * 0.01).collect();
        assert_eq!(layer(&different, 6), None);
        assert_eq!(layer(&[0.0; 12], 2), None, "nothing would learn");
        let mut once_equal = different.clone();
        once_equal[7] = once_equal[8];
        assert_eq!(layer(&once_equal, 6), None);
        let of_layer: Vec<f32> = (0..600_i16).map(|n| f32::from(n % 16 - 5)).collect();
        let found = layer(&of_layer, 6).unwrap();
        assert_eq!(found.shared, Some(SharedValues { values: 15, across_channels: true }));
        assert_eq!(found.zeros, 38);
        let of_channel: Vec<f32> = (0..6000_i16).map(|n| f32::from(n / 100 * 8 + n % 8 + 1)).collect();
        let found = layer(&of_channel, 60).unwrap();
        assert_eq!(found.shared, Some(SharedValues { values: 8, across_channels: false }));
        // Values of half precision are not clusters.
        let coarse: Vec<f32> = (0..2048_i16).map(|n| 1.0 + f32::from(n.wrapping_mul(7919) % 1024) / 1024.0).collect();
        assert_eq!(layer(&coarse, 4), None);
    }

    #[test]
    fn a_pruned_weight_leaves_its_cluster() {
        let values = [1.0, 1.0, 1.0, -2.0, -2.0, 0.0];
        let preserved = Preserved { layers: vec![layer(&values, 1).unwrap()] };
        let mut moved = [1.1, 0.0, 1.3, -2.0, -1.0, 0.7];
        preserved.hold(TensorId(0), &mut moved);
        assert_eq!(moved, [1.2, 0.0, 1.2, -1.5, -1.5, 0.0]);
    }
}

//! Weight sharing (Han, Mao and Dally, "Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization and Huffman
//! Coding", ICLR 2016, section 3): the weights of a layer take few values, found by k-means, and keep
//! sharing them while the network learns. A `.tflite` file is no smaller by it, its compressed form is.

use litesmith_data::{Purpose, Rng};
use litesmith_graph::{Data, Error, Graph, Result, TensorId};
use litesmith_train::{Ended, EpochRecord, StepRecord, TrainConfig, TrainObserver, Weights, check_float_weights};
use serde::{Deserialize, Serialize};

use crate::fine_tune::FineTune;
use crate::prune::{check_excluded, is_excluded, layer_weights};

/// What shares values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClusterScope {
    /// All weights of a layer.
    #[default]
    Layer,
    /// The weights of each output channel.
    Channel,
}

/// Where k-means begins. All are deterministic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Initial {
    /// Evenly between the least and the largest weight; what Han et al. found best, since the rare large weights count.
    #[default]
    #[serde(rename = "linear")]
    Linear,
    /// Evenly along the weights in ascending order.
    #[serde(rename = "density")]
    Density,
    /// Far from each other, by chance (Arthur and Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007).
    #[serde(rename = "kmeans++")]
    KMeansPlusPlus,
}

/// How weights are clustered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clustering {
    /// Values that the weights of a layer, or of a channel, take at most; 2 or more. Zero is one of them where it is kept.
    pub clusters: usize,
    /// What shares values.
    pub scope: ClusterScope,
    /// Where k-means begins.
    pub initial: Initial,
    /// Rounds of k-means at most.
    pub iterations: usize,
    /// Whether weights that are zero stay zero, so that a pruned model stays sparse.
    pub preserve_zeros: bool,
    /// Seed of [`Initial::KMeansPlusPlus`].
    pub seed: u64,
    /// Layers with fewer weights stay as they are.
    pub min_elements: usize,
    /// Layers whose name begins with one of these stay as they are.
    pub exclude: Vec<String>,
}

impl Default for Clustering {
    fn default() -> Self {
        Self {
            clusters: 16,
            scope: ClusterScope::default(),
            initial: Initial::default(),
            iterations: 100,
            preserve_zeros: true,
            seed: 0,
            min_elements: 0,
            exclude: Vec::new(),
        }
    }
}

impl Clustering {
    /// Into how many parts the weights of a tensor fall that share values only among themselves, and which part each is in.
    fn parts(&self, shape: &[usize], is_depthwise: bool) -> (usize, impl Fn(usize) -> usize + use<>) {
        let channels = if is_depthwise { shape.last() } else { shape.first() }.copied().unwrap_or(1).max(1);
        let inner = (shape.iter().product::<usize>() / channels).max(1);
        let scope = self.scope;
        let count = if scope == ClusterScope::Layer { 1 } else { channels };
        let part_of = move |index| match scope {
            ClusterScope::Layer => 0,
            ClusterScope::Channel if is_depthwise => index % channels,
            ClusterScope::Channel => index / inner,
        };
        (count, part_of)
    }

    /// Checks that the numbers make sense.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field as place.
    pub fn check(&self) -> Result<()> {
        if !(2..=1 << 16).contains(&self.clusters) {
            return Err(Error::invalid("clusters", format!("got {}, expected 2 to 65536", self.clusters)));
        }
        if self.iterations == 0 {
            return Err(Error::invalid("iterations", "got 0, expected 1 or more"));
        }
        Ok(())
    }
}

/// What became of the weights of a layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerClusters {
    /// Name of what it computes.
    pub layer: String,
    /// Weights.
    pub elements: usize,
    /// Different values among them.
    pub values: usize,
    /// Bits a weight that a code for those values needs (their entropy), each channel with one of its own where that is the scope.
    pub bits: f64,
}

/// Bits of all `values`, which are sorted, in a code made for them.
fn entropy(values: &[(usize, f32)]) -> f64 {
    let count = values.len() as f64;
    values.chunk_by(|a, b| a.1 == b.1).map(|run| run.len() as f64 * (count / run.len() as f64).log2()).sum()
}

/// What clustering did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterReport {
    /// Layers in the order of the graph.
    pub layers: Vec<LayerClusters>,
    /// Whether fine-tuning was cancelled, so that the graph is not what was asked for.
    pub cancelled: bool,
}

/// Which weights share a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightClusters {
    layers: Vec<Layer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Layer {
    tensor: TensorId,
    /// The cluster of each weight; [`ZERO`] for those that stay zero.
    cluster: Vec<u32>,
    /// Clusters.
    count: usize,
}

const ZERO: u32 = u32::MAX;

impl WeightClusters {
    /// Clusters the weights of a float graph.
    ///
    /// # Errors
    /// Those of [`Clustering::check`] and [`check_float_weights`]; [`Error::Invalid`] when there are no float32 weights to
    /// cluster, or some are not finite.
    pub fn of(graph: &Graph, config: &Clustering) -> Result<Self> {
        config.check()?;
        check_float_weights(graph)?;
        check_excluded(graph, &config.exclude)?;
        let mut layers = Vec::new();
        for (tensor, name, is_depthwise) in layer_weights(graph) {
            let Some(data) = &graph.tensor(tensor).data else { continue };
            let values = data.elements::<f32>()?;
            if values.len() < config.min_elements || is_excluded(graph, tensor, &name, &config.exclude) {
                continue;
            }
            if let Some(bad) = values.iter().find(|value| !value.is_finite()) {
                return Err(Error::invalid(
                    format!("weights of \"{name}\""),
                    format!("got {bad}, expected finite numbers"),
                ));
            }
            let shape = &graph.tensor(tensor).shape;
            let (parts, part_of) = config.parts(shape, is_depthwise);
            let mut members: Vec<Vec<usize>> = vec![Vec::new(); parts];
            let mut cluster = vec![ZERO; values.len()];
            let mut zeros = vec![false; parts];
            for (index, &value) in values.iter().enumerate() {
                if config.preserve_zeros && value == 0.0 {
                    zeros[part_of(index)] = true;
                } else {
                    members[part_of(index)].push(index);
                }
            }
            let mut count = 0;
            for (part, members) in members.iter().enumerate() {
                let wanted = config.clusters - usize::from(zeros[part]);
                let own: Vec<f32> = members.iter().map(|&index| values[index]).collect();
                let (assigned, found) = k_means(&own, wanted, config, part as u64);
                for (&index, &number) in members.iter().zip(&assigned) {
                    cluster[index] = u32::try_from(count + number).unwrap_or(ZERO);
                }
                count += found;
            }
            layers.push(Layer { tensor, cluster, count });
        }
        match layers.is_empty() {
            true => Err(Error::invalid("cluster", "the model has no float32 weights to cluster")
                .with_hint("weights are clustered in a float32 model, before quantizing")),
            false => Ok(Self { layers }),
        }
    }

    /// Gives all weights of a cluster their mean, and those that are zero zero.
    pub fn hold(&self, tensor: TensorId, values: &mut [f32]) {
        let Some(layer) = self.layers.iter().find(|layer| layer.tensor == tensor) else { return };
        let mut sums = vec![(0.0_f64, 0_usize); layer.count];
        for (&value, &cluster) in values.iter().zip(&layer.cluster) {
            if let Some((sum, count)) = sums.get_mut(cluster as usize) {
                *sum += f64::from(value);
                *count += 1;
            }
        }
        let means: Vec<f32> = sums.iter().map(|(sum, count)| (sum / (*count).max(1) as f64) as f32).collect();
        for (value, &cluster) in values.iter_mut().zip(&layer.cluster) {
            *value = means.get(cluster as usize).copied().unwrap_or(0.0);
        }
    }

    /// The same in a graph.
    ///
    /// # Errors
    /// [`Error::Malformed`] when constants are not as long as their shape.
    pub fn hold_in(&self, graph: &mut Graph) -> Result<()> {
        for layer in &self.layers {
            let tensor = graph.tensor_mut(layer.tensor);
            let Some(data) = &tensor.data else { continue };
            let mut values = data.elements::<f32>()?.to_vec();
            self.hold(layer.tensor, &mut values);
            tensor.data = Some(Data::from_slice(&values));
        }
        Ok(())
    }
}

/// The cluster of each value, by k-means on a line (Lloyd, "Least Squares Quantization in PCM", 1982), and how many clusters there are.
fn k_means(values: &[f32], clusters: usize, config: &Clustering, stream: u64) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let sorted: Vec<f64> = order.iter().map(|&index| f64::from(values[index])).collect();
    let mut distinct = sorted.clone();
    distinct.dedup();
    let mut centres = if distinct.len() <= clusters { distinct } else { initial(&sorted, clusters, config, stream) };
    centres.sort_by(f64::total_cmp);
    centres.dedup();
    // On a line a cluster is a run of the sorted values, so that sums of runs are all that is needed.
    let mut sums = vec![0.0; sorted.len() + 1];
    for (index, value) in sorted.iter().enumerate() {
        sums[index + 1] = sums[index] + value;
    }
    let ends = |centres: &[f64]| -> Vec<usize> {
        let middles = centres.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
        let mut ends: Vec<usize> = middles.map(|middle| sorted.partition_point(|&value| value <= middle)).collect();
        ends.push(sorted.len());
        ends
    };
    for _ in 0..config.iterations {
        let mut start = 0;
        let before = centres.clone();
        for (centre, end) in centres.iter_mut().zip(ends(&before)) {
            if end > start {
                *centre = (sums[end] - sums[start]) / (end - start) as f64;
            }
            start = end;
        }
        if centres == before {
            break;
        }
    }
    let mut cluster = vec![0; values.len()];
    let (mut start, mut found) = (0, 0);
    for end in ends(&centres) {
        if end > start {
            order[start..end].iter().for_each(|&index| cluster[index] = found);
            found += 1;
        }
        start = end.max(start);
    }
    (cluster, found)
}

fn initial(sorted: &[f64], clusters: usize, config: &Clustering, stream: u64) -> Vec<f64> {
    let (Some(&least), Some(&largest)) = (sorted.first(), sorted.last()) else { return Vec::new() };
    match config.initial {
        Initial::Linear if clusters == 1 => vec![(least + largest) / 2.0],
        Initial::Linear => {
            (0..clusters).map(|k| least + (largest - least) * k as f64 / (clusters - 1) as f64).collect()
        }
        Initial::Density => (0..clusters).map(|k| sorted[(2 * k + 1) * sorted.len() / (2 * clusters)]).collect(),
        Initial::KMeansPlusPlus => {
            let mut random = Rng::new(config.seed, Purpose::Shuffle, &[stream, sorted.len() as u64]);
            let mut centres = vec![sorted[random.below(sorted.len() as u64) as usize]];
            let mut nearest: Vec<f64> = sorted.iter().map(|value| (value - centres[0]).powi(2)).collect();
            while centres.len() < clusters {
                let mut left = random.unit_f64() * nearest.iter().sum::<f64>();
                let chosen = nearest.iter().position(|distance| {
                    left -= distance;
                    left < 0.0
                });
                let Some(&centre) = chosen.and_then(|index| sorted.get(index)) else { break };
                centres.push(centre);
                nearest.iter_mut().zip(sorted).for_each(|(d, value)| *d = d.min((value - centre).powi(2)));
            }
            centres
        }
    }
}

/// Keeps weights shared while another observer watches.
struct Sharer<'a> {
    clusters: &'a WeightClusters,
    inner: &'a mut dyn TrainObserver,
}

impl TrainObserver for Sharer<'_> {
    fn on_step(&mut self, record: &StepRecord) {
        self.inner.on_step(record);
    }

    fn on_epoch(&mut self, record: &EpochRecord) {
        self.inner.on_epoch(record);
    }

    // The mean of updated weights is the shared value updated by the mean of their updates.
    fn after_update(&mut self, weights: &mut Weights<'_>) {
        weights.tensors_mut().for_each(|(tensor, values)| self.clusters.hold(tensor, values));
        self.inner.after_update(weights);
    }
}

/// Lets the weights of each layer of a float graph share values, and, with `tune`, the values learn: each by the mean of
/// what its weights would change by.
///
/// # Errors
/// Those of [`WeightClusters::of`] and of training.
pub fn cluster_weights(
    graph: &Graph,
    config: &Clustering,
    tune: Option<&FineTune<'_>>,
    observer: &mut dyn TrainObserver,
) -> Result<(Graph, ClusterReport)> {
    let clusters = WeightClusters::of(graph, config)?;
    let mut shared = graph.clone();
    clusters.hold_in(&mut shared)?;
    let mut cancelled = false;
    if let Some(tune) = tune.filter(|tune| tune.config.epochs > 0) {
        // Layers that are left out keep what they have, but zeros that are not to be preserved are a value like others.
        let preserve = config.preserve_zeros && tune.config.preserve;
        let tune = FineTune { config: TrainConfig { preserve, ..tune.config.clone() }, ..tune.clone() };
        let mut sharer = Sharer { clusters: &clusters, inner: observer };
        let (tuned, ended) = tune.run(&shared, tune.config.epochs, &mut sharer)?;
        (shared, cancelled) = (tuned, ended == Ended::Cancelled);
        clusters.hold_in(&mut shared)?;
    }
    let mut layers = Vec::new();
    for (tensor, layer, is_depthwise) in layer_weights(&shared) {
        let tensor = shared.tensor(tensor);
        let Some(data) = &tensor.data else { continue };
        let (_, part_of) = config.parts(&tensor.shape, is_depthwise);
        let mut sorted: Vec<_> =
            data.elements::<f32>()?.iter().enumerate().map(|(index, &value)| (part_of(index), value)).collect();
        let elements = sorted.len();
        // A code for each channel that has values of its own.
        sorted.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let bits = sorted.chunk_by(|a, b| a.0 == b.0).map(entropy).sum::<f64>() / elements.max(1) as f64;
        sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
        let values = sorted.chunk_by(|a, b| a.1 == b.1).count();
        layers.push(LayerClusters { layer, elements, values, bits });
    }
    Ok((shared, ClusterReport { layers, cancelled }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_a_code_for_each_channel() {
        // Two channels of two values each, all different.
        let channels = [(0, 1.0), (0, 1.0), (0, 2.0), (0, 2.0), (1, 3.0), (1, 3.0), (1, 4.0), (1, 4.0)];
        let of = |values: &[(usize, f32)]| entropy(values) / values.len() as f64;
        assert_eq!((of(&channels[..4]), of(&channels[4..]), of(&channels)), (1.0, 1.0, 2.0));
        let config = Clustering { scope: ClusterScope::Channel, ..Clustering::default() };
        let of = |shape: &[usize], is_depthwise| (0..8).map(config.parts(shape, is_depthwise).1).collect::<Vec<_>>();
        assert_eq!(of(&[2, 1, 2, 2], false), [0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(of(&[1, 2, 2, 2], true), [0, 1, 0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn k_means_finds_what_is_apart() {
        let values = [5.0, 0.1, -3.0, 0.2, 5.2, -3.1, 0.0, 5.1];
        for initial in [Initial::Linear, Initial::Density, Initial::KMeansPlusPlus] {
            let config = Clustering { initial, ..Clustering::default() };
            let (cluster, found) = k_means(&values, 3, &config, 0);
            assert_eq!((cluster, found), (vec![2, 1, 0, 1, 2, 0, 1, 2], 3), "{initial:?}");
        }
        // Fewer values than clusters stay as they are.
        assert_eq!(k_means(&[2.0, 1.0, 2.0], 16, &Clustering::default(), 0), (vec![1, 0, 1], 2));
        assert_eq!(k_means(&[], 4, &Clustering::default(), 0), (vec![], 0));
    }
}

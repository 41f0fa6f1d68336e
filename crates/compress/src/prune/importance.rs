//! How much each channel matters.

use litesmith_data::{Purpose, Rng};
use litesmith_graph::{Graph, Result, TensorId};
use serde::{Deserialize, Serialize};

use super::channels::{Channels, Role};

/// By what channels are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Importance {
    /// Sum of the absolute weights of the filters that make the channel (Li, Kadav, Durdanovic, Samet and Graf, "Pruning
    /// Filters for Efficient ConvNets", ICLR 2017, section 3.1), relative to the mean of its layer.
    L1,
    /// Root of the sum of their squares (He, Kang, Dong, Fu and Yang, "Soft Filter Pruning for Accelerating Deep Convolutional Neural
    /// Networks", IJCAI 2018), relative to the mean of its layer.
    L2,
    /// What the loss changes by to first order when nobody reads the channel any more, squared and averaged over batches
    /// (Molchanov, Mallya, Tyree, Frosio and Kautz, "Importance Estimation for Neural Network Pruning", CVPR 2019, with a gate where the
    /// channel is read): `(sum of gradient * weight)^2`, over the weights that read it; relative to its layer.
    #[default]
    Taylor,
    /// By chance: what the others are to be compared with.
    Random,
}

impl Importance {
    /// Whether it needs gradients.
    #[must_use]
    pub fn needs_gradients(self) -> bool {
        self == Self::Taylor
    }
}

/// The importance of each unit by the weights alone, for L1 and L2; by chance for [`Importance::Random`].
///
/// # Errors
/// [`Error::Malformed`](litesmith_graph::Error::Malformed) when constants are not as long as their shape.
pub fn magnitude(channels: &Channels, graph: &Graph, importance: Importance, seed: u64) -> Result<Vec<f64>> {
    let units = channels.units().len();
    if importance == Importance::Random {
        let mut random = Rng::new(seed, Purpose::Shuffle, &[units as u64]);
        return Ok((0..units).map(|_| random.unit_f64()).collect());
    }
    let mut sums: Vec<Vec<(TensorId, f64)>> = vec![Vec::new(); units];
    let mut failed = None;
    channels.for_each_slice(graph, Role::Makes, |id, unit, range| {
        let values = graph.tensor(id).data.as_ref().map(|data| data.elements::<f32>());
        let values = match values {
            Some(Ok(values)) => &values[range],
            Some(Err(error)) => {
                failed = Some(error);
                return;
            }
            None => return,
        };
        let sum: f64 = match importance {
            Importance::L2 => values.iter().map(|&w| f64::from(w) * f64::from(w)).sum(),
            _ => values.iter().map(|&w| f64::from(w).abs()).sum(),
        };
        match sums[unit].iter_mut().find(|(other, _)| *other == id) {
            Some((_, known)) => *known += sum,
            None => sums[unit].push((id, sum)),
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let norm = |sum: f64| if importance == Importance::L2 { sum.sqrt() } else { sum };
    // The mean of each layer, to compare layers of other sizes and scales.
    let mut layers: std::collections::HashMap<TensorId, (f64, f64)> = std::collections::HashMap::new();
    for &(id, sum) in sums.iter().flatten() {
        let (total, count) = layers.entry(id).or_default();
        *total += norm(sum);
        *count += 1.0;
    }
    let relative = |&(id, sum): &(TensorId, f64)| match layers.get(&id) {
        Some(&(total, count)) if total > 0.0 => norm(sum) * count / total,
        _ => 0.0,
    };
    Ok(sums.iter().map(|sums| sums.iter().map(relative).sum::<f64>() / sums.len().max(1) as f64).collect())
}

/// Gathers [`Importance::Taylor`] over batches.
#[derive(Debug, Clone)]
pub struct Taylor {
    sums: Vec<f64>,
}

impl Taylor {
    /// No batch so far.
    #[must_use]
    pub fn new(channels: &Channels) -> Self {
        Self { sums: vec![0.0; channels.units().len()] }
    }

    /// Adds a batch. `of` gives the weights of a tensor of the graph and the gradient of the loss with respect to them.
    pub fn add<'a>(
        &mut self,
        channels: &Channels,
        graph: &Graph,
        of: impl Fn(TensorId) -> Option<(&'a [f32], &'a [f32])>,
    ) {
        let mut change = vec![0.0_f64; self.sums.len()];
        channels.for_each_slice(graph, Role::Reads, |id, unit, range| {
            if let Some((weights, gradients)) = of(id)
                && let (Some(weights), Some(gradients)) = (weights.get(range.clone()), gradients.get(range))
            {
                change[unit] += weights.iter().zip(gradients).map(|(&w, &g)| f64::from(w) * f64::from(g)).sum::<f64>();
            }
        });
        self.sums.iter_mut().zip(&change).for_each(|(sum, change)| *sum += change * change);
    }

    /// The importance of each unit, within each group relative to the root of the sum of squares (Molchanov, Tyree, Karras, Aila
    /// and Kautz, "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017, section 2.2): first-order
    /// changes of different layers compare badly, and without it all of one layer goes first.
    #[must_use]
    pub fn importance(&self, channels: &Channels) -> Vec<f64> {
        let mut importance = vec![0.0; self.sums.len()];
        for group in channels.groups() {
            let norm = group.units.iter().map(|&unit| self.sums[unit] * self.sums[unit]).sum::<f64>().sqrt();
            for &unit in &group.units {
                importance[unit] = if norm > 0.0 { self.sums[unit] / norm } else { 0.0 };
            }
        }
        importance
    }
}

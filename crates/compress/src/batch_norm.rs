//! Batch-norm re-estimation on a network whose batch normalization is folded: each channel gets back the mean and variance that
//! it had before its weights were rounded.

use litesmith_graph::{Graph, Result};
use litesmith_runtime::SessionOptions;
use serde::{Deserialize, Serialize};

use crate::bias_correction::{moments, round_weights};
use crate::layers::{Layers, Sample, Walk};
use crate::quantize::{grid, weighted_choices};
use crate::{Edit, Granularity, QuantizeOptions, Rounded, RoundedWeights};

/// Settings of [`batch_norm_reestimation`]: the `[batch_norm]` table of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchNormConfig {
    /// The largest factor, up or down, by which a channel's deviation is corrected; above 1.
    pub largest_factor: f32,
}

impl Default for BatchNormConfig {
    /// A factor of up to 2.
    fn default() -> Self {
        Self { largest_factor: 2.0 }
    }
}

/// Re-estimates the normalization of each channel over the samples with rounded weights, as training would have found it, and
/// folds it into weights and bias again: with mean `m~` and deviation `d~` behind rounded weights, `m` and `d` before,
/// `w' = w d / d~` and `b' = (b - m~) d / d~ + m`. This is the batch-normalization tuning of Hubara, Nahshan, Hanani, Banner and
/// Soudry, "Improving Post Training Neural Quantization: Layer-wise Calibration and Integer Programming", 2020, who rebuild folded
/// layers from the statistics of the float network; it works on any layer, and no training graph is needed. The integers of the
/// weights stay what they are: the factor goes into the scale of the channel. Weights with one scale for all channels, and
/// layers that stay float, only get their mean back, which is what [`crate::bias_correction()`] does.
///
/// Returns the edits, and the rounded weights with their new scales, for [`QuantizeOptions::rounded`].
///
/// # Errors
/// Those of running the graph on the samples, and of options that do not fit the graph.
pub fn batch_norm_reestimation(
    graph: &Graph,
    options: &QuantizeOptions,
    config: &BatchNormConfig,
    samples: &[Sample],
    session: &SessionOptions,
) -> Result<(Vec<Edit>, Rounded)> {
    let float = Layers::new(graph)?;
    let samples = &*Walk::thinned(&float, samples);
    let before = moments(&float, samples, session)?;
    let mut rounded = float.clone();
    let changed = round_weights(graph, options, &mut rounded)?;
    let choices = weighted_choices(graph, options)?;
    let mut walk = Walk::new(&rounded, samples)?;
    let mut edits = Vec::new();
    let mut scaled = options.rounded.clone();
    for layer in 0..rounded.layers().len() {
        if !changed[..=layer].contains(&true) {
            continue;
        }
        let node = rounded.layers()[layer].node;
        let now = walk.moments(&rounded, layer, session)?;
        let bias = rounded.bias(layer)?.to_vec();
        let largest = f64::from(config.largest_factor.max(1.0));
        let rescaled = choices[node].filter(|choice| choice.granularity == Granularity::PerChannel);
        let factors: Vec<_> = (0..bias.len())
            .map(|channel| {
                let factor = (before[layer].variance(channel) / now.variance(channel)).sqrt();
                if rescaled.is_some() && factor.is_finite() { factor.clamp(1.0 / largest, largest) } else { 1.0 }
            })
            .collect();
        #[expect(clippy::cast_possible_truncation, reason = "rounding to float32 is meant")]
        let corrected: Vec<_> = (0..bias.len())
            .map(|channel| {
                let centred = (f64::from(bias[channel]) - now.mean(channel)) * factors[channel];
                (centred + before[layer].mean(channel)) as f32
            })
            .collect();
        rounded.set_bias(layer, &corrected);
        let constant = rounded.bias_tensor(layer, &corrected);
        edits.push(Edit::Constant { node, input: 2, constant });
        if let Some(choice) = rescaled {
            let (tensor, values, grid) = grid(graph, node, &choice, &options.rounded)?;
            let scale = |value: f32, channel: usize| {
                #[expect(clippy::cast_possible_truncation, reason = "rounding to float32 is meant")]
                let scaled = (f64::from(value) * factors.get(channel).copied().unwrap_or(1.0)) as f32;
                scaled
            };
            let each = |values: &[f32]| -> Vec<f32> {
                values.iter().enumerate().map(|(at, &value)| scale(value, grid.channel(tensor, at))).collect()
            };
            let steps = scaled.remove(&node).map_or_else(|| grid.nearest(tensor, values), |known| known.steps);
            let scales = grid.scales.iter().enumerate().map(|(channel, &value)| scale(value, channel)).collect();
            scaled.insert(node, RoundedWeights { scales, steps });
            let simulated = each(rounded.weights(layer)?);
            rounded.set_weights(layer, &simulated);
            let constant = float.weights_tensor(layer, &each(float.weights(layer)?));
            edits.push(Edit::Constant { node, input: 1, constant });
        }
    }
    Ok((edits, scaled))
}

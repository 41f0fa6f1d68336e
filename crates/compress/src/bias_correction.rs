//! Bias correction: rounded weights shift the mean of what a layer computes; its bias takes that back.

use litesmith_graph::{Graph, Result};
use litesmith_runtime::SessionOptions;

use crate::layers::{Layers, Moments, Sample, Walk};
use crate::quantize::{rounded_values, weighted_choices};
use crate::{Edit, QuantizeOptions};

/// Adds to each bias what its layer's outputs lose on average when weights are rounded as `options` say: `E[y] - E[y~]` for each
/// channel, before the activation, over the samples (Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization Through
/// Weight Equalization and Bias Correction", ICCV 2019, section 4.2, in its empirical form of appendix D). Layers are taken in
/// the order in which they run, each behind the corrected ones before it. Activations are not rounded while it measures:
/// theirs is as often up as down. `progress` is told how many layers of how many are done.
///
/// # Errors
/// Those of running the graph on the samples, and of options that do not fit the graph.
pub fn bias_correction(
    graph: &Graph,
    options: &QuantizeOptions,
    samples: &[Sample],
    session: &SessionOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Edit>> {
    let float = Layers::new(graph)?;
    let samples = &*Walk::thinned(&float, samples);
    let means = moments(&float, samples, session)?;
    let mut rounded = float.clone();
    let changed = round_weights(graph, options, &mut rounded)?;
    let mut walk = Walk::new(&rounded, samples)?;
    let mut edits = Vec::new();
    for layer in 0..rounded.layers().len() {
        // Layers before the first that is rounded compute what they did.
        if !changed[..=layer].contains(&true) {
            continue;
        }
        let now = walk.moments(&rounded, layer, session)?;
        let bias: Vec<_> = rounded.bias(layer)?.to_vec();
        #[expect(clippy::cast_possible_truncation, reason = "rounding to float32 is meant")]
        let corrected: Vec<_> = bias
            .iter()
            .enumerate()
            .map(|(channel, &bias)| (f64::from(bias) + means[layer].mean(channel) - now.mean(channel)) as f32)
            .collect();
        rounded.set_bias(layer, &corrected);
        let constant = rounded.bias_tensor(layer, &corrected);
        progress(layer + 1, rounded.layers().len());
        edits.push(Edit::Constant { node: rounded.layers()[layer].node, input: 2, constant });
    }
    Ok(edits)
}

/// Every layer.
pub(crate) fn all(layers: &Layers) -> Vec<usize> {
    (0..layers.layers().len()).collect()
}

/// Gives every layer the weights that quantization will give it; tells which changed.
pub(crate) fn round_weights(graph: &Graph, options: &QuantizeOptions, layers: &mut Layers) -> Result<Vec<bool>> {
    let choices = weighted_choices(graph, options)?;
    let mut changed = vec![false; layers.layers().len()];
    for (layer, changed) in changed.iter_mut().enumerate() {
        let node = layers.layers()[layer].node;
        if let Some(choice) = &choices[node] {
            layers.set_weights(layer, &rounded_values(graph, node, choice, &options.rounded)?);
            *changed = true;
        }
    }
    Ok(changed)
}

/// Mean and variance of each channel that each layer computes, before its activation.
pub(crate) fn moments(layers: &Layers, samples: &[Sample], session: &SessionOptions) -> Result<Vec<Moments>> {
    let wanted = all(layers);
    let channels = |&layer: &usize| layers.bias(layer).map(<[f32]>::len);
    let mut moments = wanted.iter().map(|layer| channels(layer).map(Moments::new)).collect::<Result<Vec<_>>>()?;
    layers.run(&wanted, samples, session, &mut |_, layer, _, values| moments[layer].add(values))?;
    Ok(moments)
}

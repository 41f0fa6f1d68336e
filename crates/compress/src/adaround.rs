//! AdaRound: whether each weight is rounded up or down is learned, so that what the layer computes stays what it was.

use litesmith_graph::{Error, Graph, Op, Result, Tensor, ops::Padding};
use litesmith_runtime::SessionOptions;
use serde::{Deserialize, Serialize};

use crate::bias_correction::all;
use crate::layers::{Layers, Sample};
use crate::quantize::{WeightGrid, grid, weighted_choices};
use crate::{QuantizeOptions, Rounded, RoundedWeights};

/// Settings of [`adaround`]: the `[adaround]` table of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaRoundConfig {
    /// Steps of the optimizer for each layer.
    pub iterations: usize,
    /// Step size of the optimizer (Adam).
    pub learning_rate: f32,
    /// Weight of the term that pushes every weight to one side, relative to the error of rounding to nearest.
    pub regularization: f32,
    /// Share of the iterations before that term begins, from 0 to below 1.
    pub warm_start: f32,
    /// Exponent of that term at its beginning and at the end; it falls evenly between.
    pub beta: [f32; 2],
    /// Positions of a layer's output that are looked at, over all samples.
    pub positions: usize,
    /// Positions for each step of the optimizer.
    pub batch: usize,
    /// Seed that chooses positions.
    pub seed: u64,
}

impl Default for AdaRoundConfig {
    /// 1000 iterations of Adam at 0.01, regularization 0.1 from a fifth on, beta from 20 to 2, 2048 positions, 64 at a time.
    fn default() -> Self {
        Self {
            iterations: 1000,
            learning_rate: 1e-2,
            regularization: 0.1,
            warm_start: 0.2,
            beta: [20.0, 2.0],
            positions: 2048,
            batch: 64,
            seed: 1,
        }
    }
}

impl AdaRoundConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the one that is out of its range.
    pub fn check(&self) -> Result<()> {
        let fail = |what: &str, message: String| Err(Error::invalid(format!("adaround: {what}"), message));
        for (what, value) in [("iterations", self.iterations), ("positions", self.positions), ("batch", self.batch)] {
            if value == 0 {
                return fail(what, "got 0, expected at least 1".into());
            }
        }
        for (what, value) in [("learning_rate", self.learning_rate), ("beta", self.beta[0]), ("beta", self.beta[1])] {
            if !(value.is_finite() && value > 0.0) {
                return fail(what, format!("got {value}, expected a positive number"));
            }
        }
        if !(self.regularization.is_finite() && self.regularization >= 0.0) {
            return fail("regularization", format!("got {}, expected a number of at least 0", self.regularization));
        }
        if !(0.0..1.0).contains(&self.warm_start) {
            return fail("warm_start", format!("got {}, expected 0 to below 1", self.warm_start));
        }
        Ok(())
    }
}

/// What AdaRound did to one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct AdaRoundLayer {
    /// Index of the op in the float graph.
    pub node: usize,
    /// Mean squared error of its outputs with weights rounded to nearest.
    pub nearest: f64,
    /// The same with the weights that were learned.
    pub learned: f64,
    /// How many weights are rounded to the farther side.
    pub changed: usize,
}

/// The two ends between which the sigmoid is stretched: it reaches 0 and 1 (section 3.3 of the paper).
const STRETCH: (f32, f32) = (-0.1, 1.1);

/// Learns the rounding of the weights of each layer that `options` give integer weights (Nagel, Amjad, van Baalen, Louizos and
/// Blankevoort, "Up or Down? Adaptive Rounding for Post-Training Quantization", ICML 2020). Layer by layer, in the order in which
/// they run: inputs come from the network with the layers before already rounded, the outputs to reach from the float network
/// (the asymmetric form of section 3.3), before the activation. A soft rounding `h(v)` between 0 and 1 is optimized with Adam
/// and pushed to one side by `1 - |2h - 1|^beta`. Each output channel is a problem of its own, over a random choice of output
/// positions. A channel for which nothing better than the nearest integers was found keeps those. The scales stay.
///
/// The same for any number of threads.
///
/// # Errors
/// Those of running the graph on the samples, and of options that do not fit the graph.
pub fn adaround(
    graph: &Graph,
    options: &QuantizeOptions,
    config: &AdaRoundConfig,
    samples: &[Sample],
    session: &SessionOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(Rounded, Vec<AdaRoundLayer>)> {
    config.check()?;
    let choices = weighted_choices(graph, options)?;
    let mut layers = Layers::new(graph)?;
    let wanted: Vec<_> = all(&layers)
        .into_iter()
        .filter(|&layer| choices[layers.layers()[layer].node].is_some() && is_ungrouped(&layers, layer))
        .collect();
    // What the float network computes at the positions of each layer.
    let mut targets: Vec<Vec<f32>> = vec![Vec::new(); layers.layers().len()];
    let per_sample = config.positions.div_ceil(samples.len().max(1));
    layers.run(&wanted, samples, session, &mut |sample, layer, _, output| {
        let channels = layers.bias(layer).map_or(1, <[f32]>::len).max(1);
        for position in positions(config.seed, layer, sample, output.len() / channels, per_sample) {
            targets[layer].extend_from_slice(&output[position * channels..(position + 1) * channels]);
        }
    })?;
    let mut result = Rounded::new();
    let mut report = Vec::new();
    for (done, &layer) in wanted.iter().enumerate() {
        let node = layers.layers()[layer].node;
        progress(done, wanted.len());
        let Some(choice) = &choices[node] else { continue };
        let (tensor, values, grid) = grid(graph, node, choice, &options.rounded)?;
        let shape = PatchShape::new(&layers, layer)?;
        let mut rows = Vec::new();
        layers.run(&[layer], samples, session, &mut |sample, layer, input, output| {
            let count = output.len() / shape.out_channels.max(1);
            for position in positions(config.seed, layer, sample, count, per_sample) {
                shape.patch(input, position, &mut rows);
            }
        })?;
        let bias = layers.bias(layer)?;
        for row in targets[layer].chunks_exact_mut(bias.len().max(1)) {
            row.iter_mut().zip(bias).for_each(|(target, bias)| *target -= bias);
        }
        let problem =
            Problem { tensor, values, grid: &grid, shape: &shape, rows: &rows, targets: &targets[layer], config };
        let (steps, nearest, learned) = problem.solve(session.threads);
        let changed =
            steps.iter().zip(grid.nearest(tensor, values)).filter(|(step, nearest)| **step != *nearest).count();
        report.push(AdaRoundLayer { node, nearest, learned, changed });
        layers.set_weights(layer, &grid.real(tensor, &steps));
        result.insert(node, RoundedWeights { scales: grid.scales.clone(), steps });
    }
    progress(wanted.len(), wanted.len());
    Ok((result, report))
}

/// Whether every output channel reads either all input channels or, of a depthwise layer, one.
fn is_ungrouped(layers: &Layers, layer: usize) -> bool {
    let Layer { op, input, weights } = Layer::of(layers, layer);
    !matches!(op, Op::Conv2d(_)) || layers.shape(input).last() == weights.last()
}

struct Layer<'a> {
    op: &'a Op,
    input: litesmith_graph::TensorId,
    weights: &'a [usize],
}

impl<'a> Layer<'a> {
    fn of(layers: &'a Layers, layer: usize) -> Self {
        let (op, weights) = layers.op_and_weights(layer);
        Self { op, input: layers.layers()[layer].input, weights: &weights.shape }
    }
}

/// `count` of `total` output positions of a sample, by chance but always the same.
fn positions(seed: u64, layer: usize, sample: usize, total: usize, count: usize) -> impl Iterator<Item = usize> {
    let mut random = Random::new(seed ^ ((layer as u64) << 40) ^ ((sample as u64) << 8));
    let every = total <= count;
    (0..count.min(total)).map(move |index| if every { index } else { random.below(total) })
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        usize::try_from(bits % (end.max(1) as u64)).unwrap_or(0)
    }
}

/// What an output position of a layer reads: a window of the input, all channels of it.
struct PatchShape {
    /// Input height, width, channels.
    input: [usize; 3],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// Padding above and to the left.
    before: [usize; 2],
    output: [usize; 2],
    out_channels: usize,
    is_depthwise: bool,
}

impl PatchShape {
    fn new(layers: &Layers, layer: usize) -> Result<Self> {
        let Layer { op, input, weights } = Layer::of(layers, layer);
        let image = || match *layers.shape(input) {
            [_, height, width, channels] => Ok([height, width, channels]),
            ref shape => Err(Error::malformed("input", format!("got shape {shape:?}, expected four sizes"))),
        };
        let windowed = |padding: Padding, stride: [usize; 2], dilation: [usize; 2], is_depthwise: bool| {
            let input = image()?;
            let [out, kernel_height, kernel_width, last] = *weights else {
                return Err(Error::malformed("weights", format!("got shape {weights:?}, expected four sizes")));
            };
            let kernel = [kernel_height, kernel_width];
            let (mut before, mut output) = ([0; 2], [0; 2]);
            for axis in 0..2 {
                let reach = (kernel[axis].max(1) - 1) * dilation[axis] + 1;
                let stride = stride[axis].max(1);
                if padding == Padding::Same {
                    output[axis] = input[axis].div_ceil(stride);
                    before[axis] = ((output[axis].max(1) - 1) * stride + reach).saturating_sub(input[axis]) / 2;
                } else {
                    output[axis] = (input[axis] + stride).saturating_sub(reach) / stride;
                }
            }
            let out_channels = if is_depthwise { last } else { out };
            Ok(Self { input, kernel, stride, dilation, before, output, out_channels, is_depthwise })
        };
        match op {
            Op::Conv2d(op) => windowed(
                op.padding,
                [op.stride_height, op.stride_width],
                [op.dilation_height, op.dilation_width],
                false,
            ),
            Op::DepthwiseConv2d(op) => {
                windowed(op.padding, [op.stride_height, op.stride_width], [op.dilation_height, op.dilation_width], true)
            }
            _ => {
                let [out_channels, units] = *weights else {
                    return Err(Error::malformed("weights", format!("got shape {weights:?}, expected two sizes")));
                };
                // Each row of units is an image of one pixel; rows lie below each other.
                Ok(Self {
                    input: [1, 1, units],
                    kernel: [1, 1],
                    stride: [1, 1],
                    dilation: [1, 1],
                    before: [0, 0],
                    output: [1, 1],
                    out_channels,
                    is_depthwise: false,
                })
            }
        }
    }

    /// Elements of a patch.
    fn len(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.input[2]
    }

    /// Appends what the output position reads; zeros outside.
    fn patch(&self, input: &[f32], position: usize, patch: &mut Vec<f32>) {
        let [height, width, channels] = self.input;
        let image = position / (self.output[0] * self.output[1]).max(1);
        let at = position % (self.output[0] * self.output[1]).max(1);
        let at = [at / self.output[1].max(1), at % self.output[1].max(1)];
        for row in 0..self.kernel[0] {
            for column in 0..self.kernel[1] {
                let place = |axis: usize, tap: usize, size: usize| {
                    let from =
                        (at[axis] * self.stride[axis] + tap * self.dilation[axis]).checked_sub(self.before[axis]);
                    from.filter(|&from| from < size)
                };
                match (place(0, row, height), place(1, column, width)) {
                    (Some(y), Some(x)) => {
                        let start = ((image * height + y) * width + x) * channels;
                        patch.extend_from_slice(&input[start..start + channels]);
                    }
                    _ => patch.extend(std::iter::repeat_n(0.0, channels)),
                }
            }
        }
    }

    /// The elements of the weights of output channel `channel`, each with its place in the patch.
    fn taps(&self, channel: usize) -> Vec<(usize, usize)> {
        let (length, channels) = (self.len(), self.input[2].max(1));
        if self.is_depthwise {
            let multiplier = (self.out_channels / channels).max(1);
            let taps = self.kernel[0] * self.kernel[1];
            (0..taps).map(|tap| (tap * self.out_channels + channel, tap * channels + channel / multiplier)).collect()
        } else {
            (0..length).map(|place| (channel * length + place, place)).collect()
        }
    }
}

/// The rounding of one layer.
struct Problem<'a> {
    tensor: &'a Tensor,
    values: &'a [f32],
    grid: &'a WeightGrid,
    shape: &'a PatchShape,
    /// Patches, one after the other.
    rows: &'a [f32],
    /// What the float network computes there, without the bias: all channels of a position together.
    targets: &'a [f32],
    config: &'a AdaRoundConfig,
}

impl Problem<'_> {
    /// The integers, and the mean squared errors of the nearest ones and of these.
    fn solve(&self, threads: usize) -> (Vec<i8>, f64, f64) {
        let mut steps = self.grid.nearest(self.tensor, self.values);
        let channels = self.shape.out_channels;
        let threads = threads.clamp(1, channels.max(1));
        let solved: Vec<(usize, Channel)> = std::thread::scope(|scope| {
            let work = |thread: usize| {
                (thread..channels).step_by(threads).map(|channel| (channel, self.channel(channel))).collect::<Vec<_>>()
            };
            let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || work(thread))).collect();
            let mut solved = work(0);
            for other in others {
                // A panic of a thread is a panic of all.
                solved.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            solved
        });
        let (mut nearest, mut learned) = (vec![0.0; channels], vec![0.0; channels]);
        for (channel, found) in solved {
            (nearest[channel], learned[channel]) = (found.nearest, found.learned);
            for ((index, _), step) in self.shape.taps(channel).into_iter().zip(found.steps) {
                steps[index] = step;
            }
        }
        let count = channels.max(1) as f64;
        (steps, nearest.iter().sum::<f64>() / count, learned.iter().sum::<f64>() / count)
    }

    fn channel(&self, channel: usize) -> Channel {
        let taps = self.shape.taps(channel);
        let length = taps.len();
        let stride = self.shape.len();
        // What this channel reads, and what it is to compute, in units of its scale.
        let scale = taps.first().map_or(1.0, |&(index, _)| self.grid.scale(self.tensor, index));
        // Where blocks have scales of their own, what they read is scaled instead.
        let has_own_rows = self.shape.is_depthwise || self.grid.block_size.is_some();
        let rows: Vec<f32> = if has_own_rows {
            let factors = taps.iter().map(|&(index, place)| (self.grid.scale(self.tensor, index) / scale, place));
            let factors: Vec<_> = factors.collect();
            let rows = self.rows.chunks_exact(stride.max(1));
            rows.flat_map(|row| factors.iter().map(|&(factor, place)| row[place] * factor)).collect()
        } else {
            Vec::new()
        };
        let rows = if has_own_rows { &rows } else { self.rows };
        let targets: Vec<f32> = self
            .targets
            .iter()
            .skip(channel)
            .step_by(self.shape.out_channels.max(1))
            .map(|target| target / scale)
            .collect();
        let limit = self.grid.limit;
        let steps = |index: usize| self.values[index] / self.grid.scale(self.tensor, index);
        let real: Vec<f32> = taps.iter().map(|&(index, _)| steps(index).clamp(-limit, limit)).collect();
        let floor: Vec<f32> = real.iter().map(|value| value.floor().min(limit - 1.0)).collect();
        let nearest: Vec<f32> = real.iter().map(|value| value.round()).collect();
        let error = |weights: &[f32]| squared_error(rows, &targets, weights);
        let nearest_error = error(&nearest);
        let config = self.config;

        // h(v) begins where the float weight lies.
        let (low, high) = STRETCH;
        let begin = |(value, floor): (&f32, &f32)| {
            let part = ((value - floor).clamp(0.0, 1.0) - low) / (high - low);
            (part / (1.0 - part)).ln()
        };
        let mut v: Vec<f32> = real.iter().zip(&floor).map(begin).collect();
        let (mut mean, mut square) = (vec![0.0_f32; length], vec![0.0_f32; length]);
        let (mut soft, mut weights, mut slope, mut gradient) = (v.clone(), v.clone(), v.clone(), v.clone());
        let mut random = Random::new(config.seed ^ 0x5bd1_e995);
        let count = targets.len();
        // The loss of the nearest integers is 1, whatever the layer.
        let data_weight = if nearest_error > 0.0 { 1.0 / nearest_error } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, reason = "a weight of a loss")]
        let data_weight = data_weight as f32 * 2.0 / config.batch as f32;
        let warm = config.warm_start * config.iterations as f32;
        let mut fall = [1.0_f32, 1.0];
        for iteration in 0..config.iterations {
            for (index, &v) in v.iter().enumerate() {
                let sigmoid = 1.0 / (1.0 + (-v).exp());
                let stretched = sigmoid * (high - low) + low;
                let inside = (0.0..=1.0).contains(&stretched);
                soft[index] = stretched.clamp(0.0, 1.0);
                weights[index] = floor[index] + soft[index];
                slope[index] = if inside { sigmoid * (1.0 - sigmoid) * (high - low) } else { 0.0 };
            }
            gradient.fill(0.0);
            for _ in 0..config.batch.min(count) {
                let at = random.below(count);
                let row = &rows[at * length..(at + 1) * length];
                let difference = dot(row, &weights) - targets[at];
                gradient.iter_mut().zip(row).for_each(|(gradient, x)| *gradient += difference * x);
            }
            let progress = (iteration as f32 - warm) / (config.iterations as f32 - warm).max(1.0);
            let beta = config.beta[0] + (config.beta[1] - config.beta[0]) * progress;
            let push = if progress >= 0.0 { config.regularization / length.max(1) as f32 } else { 0.0 };
            fall[0] *= 0.9;
            fall[1] *= 0.999;
            for index in 0..length {
                let centred = 2.0 * soft[index] - 1.0;
                let regularization = -push * beta * centred.abs().powf(beta - 1.0) * 2.0 * centred.signum();
                let gradient = (gradient[index] * data_weight + regularization) * slope[index];
                mean[index] += 0.1 * (gradient - mean[index]);
                square[index] += 0.001 * (gradient * gradient - square[index]);
                let step = (mean[index] / (1.0 - fall[0])) / ((square[index] / (1.0 - fall[1])).sqrt() + 1e-12);
                v[index] -= config.learning_rate * step;
            }
        }
        let up = |v: f32| if v >= 0.0 { 1.0 } else { 0.0 };
        let learned: Vec<f32> = floor.iter().zip(&v).map(|(floor, &v)| (floor + up(v)).clamp(-limit, limit)).collect();
        let learned_error = error(&learned);
        let (best, best_error) =
            if learned_error < nearest_error { (learned, learned_error) } else { (nearest, nearest_error) };
        let unit = f64::from(scale) * f64::from(scale);
        #[expect(clippy::cast_possible_truncation, reason = "integers between -127 and 127")]
        let steps = best.iter().map(|&step| step as i8).collect();
        Channel { steps, nearest: nearest_error * unit, learned: best_error * unit }
    }
}

/// What was found for one output channel.
struct Channel {
    steps: Vec<i8>,
    nearest: f64,
    learned: f64,
}

/// The mean squared error of `weights` over all rows.
fn squared_error(rows: &[f32], targets: &[f32], weights: &[f32]) -> f64 {
    let errors =
        rows.chunks_exact(weights.len().max(1)).zip(targets).map(|(row, target)| f64::from(dot(row, weights) - target));
    errors.map(|error| error * error).sum::<f64>() / targets.len().max(1) as f64
}

/// The sum of products, in sixteen partial sums, so that it can be computed with vectors.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use litesmith_graph::{
        DType, Data, Tensor,
        ops::{Activation, Conv2d, DepthwiseConv2d, FullyConnected},
    };

    use super::*;

    fn values(count: usize) -> Vec<f32> {
        let mut random = Random::new(count as u64);
        (0..count).map(|_| random.below(2000) as f32 / 1000.0 - 1.0).collect()
    }

    /// A graph of one op, which the caller's input feeds.
    fn one(op: impl Into<Op>, input: &[usize], weights: &[usize]) -> Graph {
        let mut graph = Graph::new("main");
        let x = graph.add_input(Tensor::new("x", DType::F32, input));
        let data = Data::from_slice(&values(weights.iter().product()));
        let w = graph.add_tensor(Tensor::constant("w", DType::F32, weights, data));
        let y = graph.add_node(op, &[Some(x), Some(w), None], "y").unwrap();
        graph.outputs = vec![y];
        graph
    }

    #[test]
    fn patches_are_what_the_kernels_read() {
        let mut graphs = Vec::new();
        for padding in [Padding::Same, Padding::Valid] {
            for (stride, dilation) in [([1, 1], [1, 1]), ([2, 3], [1, 1]), ([1, 1], [2, 1]), ([2, 1], [1, 3])] {
                let conv = Conv2d {
                    padding,
                    stride_height: stride[0],
                    stride_width: stride[1],
                    dilation_height: dilation[0],
                    dilation_width: dilation[1],
                    activation: Activation::Relu,
                };
                graphs.push(one(conv, &[1, 7, 8, 3], &[5, 3, 2, 3]));
                let depthwise = DepthwiseConv2d {
                    padding,
                    stride_height: stride[0],
                    stride_width: stride[1],
                    dilation_height: dilation[0],
                    dilation_width: dilation[1],
                    activation: Activation::Tanh,
                };
                graphs.push(one(depthwise, &[1, 7, 8, 3], &[1, 3, 2, 6]));
            }
        }
        graphs.push(one(FullyConnected { keep_num_dims: true, ..FullyConnected::default() }, &[1, 4, 6], &[5, 6]));
        for graph in &graphs {
            let layers = Layers::new(graph).unwrap();
            let shape = PatchShape::new(&layers, 0).unwrap();
            let weights = layers.weights(0).unwrap();
            let sample = vec![values(graph.tensor(graph.inputs[0]).elements().unwrap())];
            let mut seen = 0;
            layers
                .run(&[0], &[sample], &SessionOptions::default(), &mut |_, _, input, output| {
                    for (at, expected) in output.iter().enumerate() {
                        let (position, channel) = (at / shape.out_channels, at % shape.out_channels);
                        let mut patch = Vec::new();
                        shape.patch(input, position, &mut patch);
                        let sum: f32 =
                            shape.taps(channel).iter().map(|&(index, place)| weights[index] * patch[place]).sum();
                        assert!((sum - expected).abs() < 1e-5, "{:?} {at}: {sum} {expected}", graph.nodes[0].op);
                        seen += 1;
                    }
                })
                .unwrap();
            assert!(seen > 0);
        }
    }

    #[test]
    fn settings_are_checked() {
        AdaRoundConfig::default().check().unwrap();
        for (config, expected) in [
            (AdaRoundConfig { iterations: 0, ..AdaRoundConfig::default() }, "iterations"),
            (AdaRoundConfig { learning_rate: 0.0, ..AdaRoundConfig::default() }, "learning_rate"),
            (AdaRoundConfig { regularization: -1.0, ..AdaRoundConfig::default() }, "regularization"),
            (AdaRoundConfig { warm_start: 1.0, ..AdaRoundConfig::default() }, "warm_start"),
            (AdaRoundConfig { beta: [f32::NAN, 2.0], ..AdaRoundConfig::default() }, "beta"),
        ] {
            assert!(config.check().unwrap_err().to_string().contains(expected), "{expected}");
        }
    }
}

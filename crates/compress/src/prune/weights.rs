//! Pruning of single weights, with masks that hold through every update.

use std::str::FromStr;

use litesmith_graph::{DType, Data, Error, Graph, Op, Result, TensorId};
use litesmith_train::{Ended, EpochRecord, StepRecord, TrainConfig, TrainObserver, Weights, check_float_weights};
use serde::{Deserialize, Serialize};

use crate::fine_tune::FineTune;

/// Which weights can become zero together. The weights of a layer are seen as a matrix of a row for each output channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pattern {
    /// Each weight by itself, the smallest first (Han, Pool, Tran and Dally, "Learning both Weights and Connections for Efficient Neural
    /// Networks", NIPS 2015).
    #[default]
    Unstructured,
    /// Of each `of` consecutive weights of a row, `keep` stay: `2:4` (Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021).
    KeepOf {
        /// Weights that stay.
        keep: usize,
        /// Of so many.
        of: usize,
    },
    /// Blocks of so many rows and columns: `block:1x4` (Narang, Undersander and Diamos, "Block-Sparse Recurrent Neural Networks", 2017,
    /// who rank a block by its largest weight; here it is the sum of the absolute values).
    Block {
        /// Rows: output channels.
        rows: usize,
        /// Consecutive weights of a row.
        columns: usize,
    },
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let pair = |text: &str, between: char| {
            let (a, b) = text.split_once(between)?;
            Some((a.parse::<usize>().ok()?, b.parse::<usize>().ok()?))
        };
        let found = match text.strip_prefix("block:") {
            Some(sizes) => pair(sizes, 'x')
                .filter(|&(rows, columns)| rows > 0 && columns > 0 && rows * columns <= 1 << 16)
                .map(|(rows, columns)| Self::Block { rows, columns }),
            None if text == "unstructured" => Some(Self::Unstructured),
            None => pair(text, ':')
                .filter(|&(keep, of)| 0 < keep && keep < of && of <= 1 << 16)
                .map(|(keep, of)| Self::KeepOf { keep, of }),
        };
        found.ok_or_else(|| {
            Error::invalid(
                "pattern",
                format!("got \"{text}\", expected unstructured, N:M as 2:4, or block:RxC as block:1x4"),
            )
        })
    }
}

impl TryFrom<String> for Pattern {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unstructured => f.write_str("unstructured"),
            Self::KeepOf { keep, of } => write!(f, "{keep}:{of}"),
            Self::Block { rows, columns } => write!(f, "block:{rows}x{columns}"),
        }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

/// In so many steps at least sparsity grows, where there are as many updates: what goes in a few large ones costs more than
/// fine-tuning wins back.
const CHOICES: u64 = 20;

/// How many weights become zero, which, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WeightPruning {
    /// Share of each layer's weights that becomes zero; less than 1. With a pattern as `2:4`, that of the pattern when
    /// not given.
    pub sparsity: Option<f64>,
    /// Which weights go together.
    pub pattern: Pattern,
    /// Share that becomes zero at once, where sparsity grows.
    pub initial_sparsity: f64,
    /// When sparsity begins to grow, as a share of all updates.
    pub begin: f64,
    /// When it has grown, as a share of all updates; the rest is training with the final mask.
    pub end: f64,
    /// Exponent of the growth: `s = final + (initial - final) * (1 - progress)^power` (Zhu and Gupta, "To prune,
    /// or not to prune: exploring the efficacy of pruning for model compression", 2017, use 3).
    pub power: f64,
    /// Updates from one choice of weights to the next; less where sparsity would grow in fewer than 20 steps.
    pub frequency: u64,
    /// Layers with fewer weights stay as they are.
    pub min_elements: usize,
    /// Layers whose name begins with one of these stay as they are.
    pub exclude: Vec<String>,
}

impl Default for WeightPruning {
    fn default() -> Self {
        Self {
            sparsity: None,
            pattern: Pattern::default(),
            initial_sparsity: 0.0,
            begin: 0.0,
            end: 0.6,
            power: 3.0,
            frequency: 10,
            min_elements: 0,
            exclude: Vec::new(),
        }
    }
}

impl WeightPruning {
    /// Checks that the numbers make sense.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field as place.
    pub fn check(&self) -> Result<()> {
        let fail = |field: &str, message: String| Err(Error::invalid(field, message));
        let shares = [("sparsity", self.sparsity.unwrap_or(0.0)), ("initial_sparsity", self.initial_sparsity)];
        if let Some((field, share)) = shares.iter().find(|(_, share)| !(0.0..1.0).contains(share)) {
            return fail(field, format!("got {share}, expected 0 or more and less than 1"));
        }
        match (self.pattern, self.sparsity) {
            (Pattern::KeepOf { keep, of }, Some(sparsity)) if sparsity != 1.0 - keep as f64 / of as f64 => {
                return fail("sparsity", format!("got {sparsity}, the pattern {} has its own", self.pattern));
            }
            (Pattern::KeepOf { .. }, _) | (_, Some(_)) => {}
            (_, None) => return fail("sparsity", format!("it is needed with the pattern {}", self.pattern)),
        }
        if !(0.0 <= self.begin && self.begin <= self.end && self.end <= 1.0) {
            return fail(
                "begin",
                format!("got {} to {}, expected two ascending shares from 0 to 1", self.begin, self.end),
            );
        }
        if !(self.power.is_finite() && self.power > 0.0) {
            return fail("power", format!("got {}, expected a positive number", self.power));
        }
        if self.frequency == 0 {
            return fail("frequency", "got 0, expected 1 or more".into());
        }
        Ok(())
    }

    /// Whether weights are chosen after `update`, counted from 1, of `updates`.
    #[must_use]
    pub fn chooses_at(&self, update: u64, updates: u64) -> bool {
        let end = ((self.end * updates as f64).ceil() as u64).max(1);
        let growing = ((self.end - self.begin) * updates as f64) as u64;
        let every = self.frequency.min(growing / CHOICES).max(1);
        update == end || update < end && update.is_multiple_of(every)
    }

    /// The share of zeros that is wanted after `update` of `updates`.
    #[must_use]
    pub fn sparsity_at(&self, update: u64, updates: u64) -> f64 {
        let target = match self.pattern {
            Pattern::KeepOf { keep, of } => 1.0 - keep as f64 / of as f64,
            Pattern::Unstructured | Pattern::Block { .. } => self.sparsity.unwrap_or(0.0),
        };
        let (begin, end) = (self.begin * updates as f64, self.end * updates as f64);
        let now = update as f64;
        if now < begin {
            0.0
        } else if now >= end {
            target
        } else {
            let left = 1.0 - (now - begin) / (end - begin);
            target + (self.initial_sparsity.min(target) - target) * left.powf(self.power)
        }
    }
}

/// Sparsity of a layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerSparsity {
    /// Name of what it computes.
    pub layer: String,
    /// Weights.
    pub elements: usize,
    /// Those that are zero.
    pub zeros: usize,
    /// Why it was left as it is, if it was.
    pub left: Option<String>,
}

/// What pruning of weights did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SparsityReport {
    /// Layers in the order of the graph.
    pub layers: Vec<LayerSparsity>,
    /// Whether fine-tuning was cancelled, so that the graph is not what was asked for.
    pub cancelled: bool,
}

impl SparsityReport {
    /// Share of zeros among the weights of all layers.
    #[must_use]
    pub fn sparsity(&self) -> f64 {
        let zeros: usize = self.layers.iter().map(|layer| layer.zeros).sum();
        let elements: usize = self.layers.iter().map(|layer| layer.elements).sum();
        zeros as f64 / elements.max(1) as f64
    }
}

/// Which weights are zero and stay it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightMasks {
    layers: Vec<Mask>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mask {
    tensor: TensorId,
    /// Weights of a row; a row for each output channel.
    columns: usize,
    zero: Vec<bool>,
    pattern: Pattern,
}

/// The weights of the layers of a graph: tensor, name of the layer, whether it is depthwise.
pub(crate) fn layer_weights(graph: &Graph) -> Vec<(TensorId, String, bool)> {
    let mut found: Vec<(TensorId, String, bool)> = Vec::new();
    for node in &graph.nodes {
        let (Op::Conv2d(_) | Op::DepthwiseConv2d(_) | Op::FullyConnected(_)) = node.op else { continue };
        let (Some(weights), Some(&y)) = (node.inputs.get(1).copied().flatten(), node.outputs.first()) else { continue };
        let tensor = graph.tensor(weights);
        let is_new = found.iter().all(|(known, ..)| *known != weights);
        if tensor.dtype == DType::F32 && tensor.data.is_some() && is_new {
            let is_depthwise = matches!(node.op, Op::DepthwiseConv2d(_));
            found.push((weights, graph.tensor(y).name.clone(), is_depthwise));
        }
    }
    found
}

/// Checks that each prefix begins the name of a layer, or of its weights.
///
/// # Errors
/// [`Error::Invalid`] for one that does not, with the layers there are.
pub fn check_excluded(graph: &Graph, prefixes: &[String]) -> Result<()> {
    let layers = layer_weights(graph);
    let missing = prefixes.iter().find(|prefix| {
        layers.iter().all(|(weights, layer, _)| !is_excluded(graph, *weights, layer, std::slice::from_ref(*prefix)))
    });
    let Some(prefix) = missing else { return Ok(()) };
    let names: Vec<_> = layers.iter().map(|(_, layer, _)| layer.as_str()).collect();
    Err(Error::invalid("exclude", format!("no layer's name begins with \"{prefix}\""))
        .with_hint(format!("the layers are {}", names.join(", "))))
}

/// Whether the name of a layer, or of its weights, begins with one of the prefixes.
pub(crate) fn is_excluded(graph: &Graph, weights: TensorId, layer: &str, prefixes: &[String]) -> bool {
    let name = &graph.tensor(weights).name;
    prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()) || layer.starts_with(prefix.as_str()))
}

impl WeightMasks {
    /// The weights that are zero already: what another algorithm that changes weights has to preserve.
    ///
    /// # Errors
    /// [`Error::Malformed`] when constants are not as long as their shape.
    pub fn of_zeros(graph: &Graph) -> Result<Self> {
        let mut layers = Vec::new();
        for (tensor, ..) in layer_weights(graph) {
            let Some(data) = &graph.tensor(tensor).data else { continue };
            let zero: Vec<_> = data.elements::<f32>()?.iter().map(|&w| w == 0.0).collect();
            layers.push(Mask { tensor, columns: columns(graph, tensor), zero, pattern: Pattern::Unstructured });
        }
        Ok(Self { layers })
    }

    /// Which layers `config` prunes, starting from the zeros that there are; and why it leaves the others.
    fn new(graph: &Graph, config: &WeightPruning) -> Result<(Self, Vec<LayerSparsity>)> {
        let zeros = Self::of_zeros(graph)?;
        let mut reports = Vec::new();
        let mut masks = Vec::new();
        for ((tensor, layer, is_depthwise), mask) in layer_weights(graph).into_iter().zip(zeros.layers) {
            let rows = mask.zero.len() / mask.columns.max(1);
            let left = if is_excluded(graph, tensor, &layer, &config.exclude) {
                Some("excluded by name".to_owned())
            } else if mask.zero.len() < config.min_elements {
                Some(format!("fewer than {} weights", config.min_elements))
            } else {
                match config.pattern {
                    Pattern::Unstructured => None,
                    _ if is_depthwise => Some(format!("depthwise filters have no rows for {}", config.pattern)),
                    Pattern::KeepOf { of, .. } if !mask.columns.is_multiple_of(of) => {
                        Some(format!("rows of {} weights do not divide into groups of {of}", mask.columns))
                    }
                    Pattern::Block { rows: r, columns: c }
                        if !rows.is_multiple_of(r) || !mask.columns.is_multiple_of(c) =>
                    {
                        Some(format!("{rows} rows of {} weights do not divide into blocks of {r}x{c}", mask.columns))
                    }
                    Pattern::KeepOf { .. } | Pattern::Block { .. } => None,
                }
            };
            let elements = mask.zero.len();
            if left.is_none() {
                masks.push(Mask { pattern: config.pattern, ..mask });
            }
            reports.push(LayerSparsity { layer, elements, zeros: 0, left });
        }
        Ok((Self { layers: masks }, reports))
    }

    fn of(&mut self, tensor: TensorId) -> Option<&mut Mask> {
        self.layers.iter_mut().find(|mask| mask.tensor == tensor)
    }

    /// Sets the weights to zero that are to be.
    pub fn hold(&self, tensor: TensorId, values: &mut [f32]) {
        if let Some(mask) = self.layers.iter().find(|mask| mask.tensor == tensor) {
            values.iter_mut().zip(&mask.zero).filter(|(_, zero)| **zero).for_each(|(value, _)| *value = 0.0);
        }
    }

    /// Sets them to zero in a graph.
    ///
    /// # Errors
    /// [`Error::Malformed`] when constants are not as long as their shape.
    pub fn hold_in(&self, graph: &mut Graph) -> Result<()> {
        for mask in &self.layers {
            let tensor = graph.tensor_mut(mask.tensor);
            let Some(data) = &tensor.data else { continue };
            let mut values = data.elements::<f32>()?.to_vec();
            self.hold(mask.tensor, &mut values);
            tensor.data = Some(Data::from_slice(&values));
        }
        Ok(())
    }
}

/// Weights of a row, in memory order: all of an output channel. Of a depthwise filter, whose channels come last, a pixel.
fn columns(graph: &Graph, tensor: TensorId) -> usize {
    graph.tensor(tensor).shape.iter().skip(1).product::<usize>().max(1)
}

impl Mask {
    /// Chooses anew, among the present weights, so that a share `sparsity` is zero. What is zero stays it.
    fn choose(&mut self, values: &[f32], sparsity: f64) {
        let columns = self.columns;
        // The weights that go together, in memory order of their first.
        let (rows, across) = match self.pattern {
            Pattern::Unstructured => (1, 1),
            Pattern::Block { rows, columns } => (rows, columns),
            Pattern::KeepOf { keep, of } => {
                if sparsity > 0.0 {
                    for (group, zero) in values.chunks(of).zip(self.zero.chunks_mut(of)) {
                        for index in smallest(group.iter().map(|w| w.abs()), group.len().saturating_sub(keep)) {
                            zero[index] = true;
                        }
                    }
                }
                return;
            }
        };
        let blocks_across = columns / across;
        let blocks = values.len() / (rows * across).max(1);
        let elements = |block: usize| {
            let start = block / blocks_across * rows * columns + block % blocks_across * across;
            (0..rows).flat_map(move |row| start + row * columns..start + row * columns + across)
        };
        let norm = |block: usize| elements(block).map(|index| values[index].abs()).sum::<f32>();
        let count = (blocks as f64 * sparsity).round() as usize;
        for block in smallest((0..blocks).map(norm), count) {
            elements(block).for_each(|index| self.zero[index] = true);
        }
    }
}

/// The indices of the `count` smallest; the earlier one of equals.
fn smallest(values: impl Iterator<Item = f32>, count: usize) -> Vec<usize> {
    let mut order: Vec<(f32, usize)> = values.enumerate().map(|(index, value)| (value, index)).collect();
    let count = count.min(order.len());
    let rank = |a: &(f32, usize), b: &(f32, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if count > 0 && count < order.len() {
        order.select_nth_unstable_by(count - 1, rank);
    }
    order.truncate(count);
    order.into_iter().map(|(_, index)| index).collect()
}

/// Grows masks and holds them while another observer watches.
struct Pruner<'a> {
    config: &'a WeightPruning,
    masks: WeightMasks,
    update: u64,
    updates: u64,
    inner: &'a mut dyn TrainObserver,
}

impl TrainObserver for Pruner<'_> {
    fn on_step(&mut self, record: &StepRecord) {
        self.inner.on_step(record);
    }

    fn on_epoch(&mut self, record: &EpochRecord) {
        self.inner.on_epoch(record);
    }

    fn after_update(&mut self, weights: &mut Weights<'_>) {
        self.update += 1;
        let chooses = self.config.chooses_at(self.update, self.updates);
        let sparsity = self.config.sparsity_at(self.update, self.updates);
        for (tensor, values) in weights.tensors_mut() {
            // The update has moved what is to be zero, which must not make it look better than others.
            self.masks.hold(tensor, values);
            if let Some(mask) = self.masks.of(tensor).filter(|_| chooses) {
                mask.choose(values, sparsity);
                self.masks.hold(tensor, values);
            }
        }
        self.inner.after_update(weights);
    }
}

/// Sets weights of a float graph to zero: at once without `tune`, else while the network learns, along the schedule of
/// `config`. Weights that are zero already stay it.
///
/// # Errors
/// Those of [`WeightPruning::check`], [`check_float_weights`] and training; [`Error::Invalid`] when no layer can be pruned.
pub fn prune_weights(
    graph: &Graph,
    config: &WeightPruning,
    tune: Option<&FineTune<'_>>,
    observer: &mut dyn TrainObserver,
) -> Result<(Graph, SparsityReport)> {
    config.check()?;
    check_float_weights(graph)?;
    check_excluded(graph, &config.exclude)?;
    let (mut masks, mut layers) = WeightMasks::new(graph, config)?;
    if masks.layers.is_empty() {
        let why = layers.iter().find_map(|layer| layer.left.clone());
        return Err(Error::invalid(
            "prune",
            format!("no layer can be pruned ({})", why.as_deref().unwrap_or("none is float32")),
        )
        .with_hint("weights are pruned in a float32 model, before quantizing"));
    }
    let mut pruned = graph.clone();
    let mut cancelled = false;
    match tune.filter(|tune| tune.config.epochs > 0) {
        None => {
            for mask in &mut masks.layers {
                if let Some(data) = &graph.tensor(mask.tensor).data {
                    mask.choose(data.elements::<f32>()?, config.sparsity_at(1, 1));
                }
            }
        }
        Some(tune) => {
            let updates = tune.steps_per_epoch() * tune.config.epochs as u64;
            let mut pruner = Pruner { config, masks, update: 0, updates, inner: observer };
            // An epoch before the last zeros came is better by what it has not yet given up.
            let restore_best = tune.config.restore_best && config.end == 0.0;
            let tune = FineTune { config: TrainConfig { restore_best, ..tune.config.clone() }, ..tune.clone() };
            let (tuned, ended) = tune.run(graph, tune.config.epochs, &mut pruner)?;
            (pruned, masks, cancelled) = (tuned, pruner.masks, ended == Ended::Cancelled);
        }
    }
    // An average of weights still holds something of what has become zero.
    masks.hold_in(&mut pruned)?;
    for ((tensor, ..), layer) in layer_weights(&pruned).into_iter().zip(&mut layers) {
        if let Some(data) = &pruned.tensor(tensor).data {
            layer.zeros = data.elements::<f32>()?.iter().filter(|&&w| w == 0.0).count();
        }
    }
    Ok((pruned, SparsityReport { layers, cancelled }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(pattern: &str, columns: usize, len: usize) -> Mask {
        Mask { tensor: TensorId(0), columns, zero: vec![false; len], pattern: pattern.parse().unwrap() }
    }

    #[test]
    fn patterns_read_and_write_themselves() {
        for text in ["unstructured", "2:4", "1:16", "block:1x4", "block:4x1"] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
        for text in ["", "4:2", "2:2", "0:4", "block:", "block:0x4", "2:4:8", "blocks:1x4"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_pattern_takes_the_smallest() {
        let values = [4.0, -1.0, 2.0, -3.0, 0.5, 8.0, -7.0, 6.0];
        let mut single = mask("unstructured", 4, 8);
        single.choose(&values, 0.5);
        assert_eq!(single.zero, [false, true, true, true, true, false, false, false]);
        // What was chosen once stays, whatever the weights become.
        single.choose(&[0.0, 9.0, 9.0, 9.0, 9.0, 0.0, 0.0, 0.0], 0.1);
        assert!(single.zero[1] && single.zero[4]);
        let mut two_of_four = mask("2:4", 4, 8);
        two_of_four.choose(&values, 0.5);
        assert_eq!(two_of_four.zero, [false, true, true, false, true, false, false, true]);
        let mut blocks = mask("block:1x2", 4, 8);
        blocks.choose(&values, 0.5);
        assert_eq!(blocks.zero, [true, true, true, true, false, false, false, false]);
        let mut columns = mask("block:2x1", 4, 8);
        columns.choose(&values, 0.25);
        assert_eq!(columns.zero, [true, false, false, false, true, false, false, false]);
    }

    #[test]
    fn sparsity_grows_by_the_cube() {
        let config = WeightPruning { sparsity: Some(0.8), begin: 0.1, end: 0.5, ..WeightPruning::default() };
        config.check().unwrap();
        assert_eq!(config.sparsity_at(9, 100), 0.0);
        assert_eq!(config.sparsity_at(10, 100), 0.0);
        assert!((config.sparsity_at(30, 100) - 0.7).abs() < 1e-12);
        assert_eq!(config.sparsity_at(50, 100), 0.8);
        // At the end in any case, and in a short run more often than asked.
        let chosen = |updates| (1..=updates).filter(|&update| config.chooses_at(update, updates)).collect::<Vec<_>>();
        assert_eq!(chosen(10), [1, 2, 3, 4, 5]);
        assert_eq!(chosen(100)[17..], [36, 38, 40, 42, 44, 46, 48, 50]);
        assert_eq!(chosen(4000)[..2], [10, 20]);
        assert_eq!(chosen(4000).last(), Some(&2000));
        let at_once = WeightPruning { end: 0.0, begin: 0.0, ..config.clone() };
        assert_eq!((1..=9).filter(|&update| at_once.chooses_at(update, 9)).collect::<Vec<_>>(), [1]);
        for wrong in [
            WeightPruning { sparsity: None, ..WeightPruning::default() },
            WeightPruning { sparsity: Some(0.8), pattern: "2:4".parse().unwrap(), ..WeightPruning::default() },
            WeightPruning { begin: 0.7, ..config.clone() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}

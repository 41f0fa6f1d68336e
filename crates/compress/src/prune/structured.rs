//! Channel pruning in steps: rank, remove, fine-tune.

use litesmith_graph::{Error, Graph, Result};
use litesmith_train::{Ended, TrainConfig, TrainObserver, Trainer, check_float_weights};
use serde::{Deserialize, Serialize};

use super::channels::Channels;
use super::importance::{Importance, Taylor, magnitude};
use crate::fine_tune::FineTune;

/// What each layer has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The same share of every layer (of layers that are added to each other, of all together).
    Layer,
    /// A share of all channels, the least important first, wherever they are.
    #[default]
    Global,
}

/// How many channels go, and which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelPruning {
    /// Share of the channels that could go which does; 0 or more, less than 1.
    pub ratio: f64,
    /// By what channels are ranked.
    pub importance: Importance,
    /// Whether each layer gives the same share.
    pub scope: Scope,
    /// Channels that a layer keeps at least.
    pub min_channels: usize,
    /// Layers keep a multiple of this many channels, as kernels like it, where they had one.
    pub multiple_of: usize,
    /// In how many steps, each followed by its part of the fine-tuning.
    pub steps: usize,
    /// Batches to take gradients from in each step, for [`Importance::Taylor`].
    pub batches: usize,
    /// Seed of [`Importance::Random`].
    pub seed: u64,
    /// Layers whose name begins with one of these keep their channels.
    pub exclude: Vec<String>,
}

impl Default for ChannelPruning {
    fn default() -> Self {
        Self {
            ratio: 0.5,
            importance: Importance::default(),
            scope: Scope::default(),
            min_channels: 1,
            multiple_of: 1,
            steps: 1,
            batches: 50,
            seed: 0,
            exclude: Vec::new(),
        }
    }
}

impl ChannelPruning {
    /// Checks that the numbers make sense.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field as place.
    pub fn check(&self) -> Result<()> {
        let fail = |field: &str, message: String| Err(Error::invalid(field, message));
        if !(0.0..1.0).contains(&self.ratio) {
            return fail("ratio", format!("got {}, expected 0 or more and less than 1", self.ratio));
        }
        let counts = [
            ("min_channels", self.min_channels),
            ("multiple_of", self.multiple_of),
            ("steps", self.steps),
            ("batches", self.batches),
        ];
        match counts.iter().find(|(_, count)| *count == 0) {
            Some((field, _)) => fail(field, "got 0, expected 1 or more".into()),
            None => Ok(()),
        }
    }
}

/// How many channels there were that could go, before any did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Originals {
    groups: Vec<usize>,
}

impl Originals {
    /// Of the graph as it is now.
    #[must_use]
    pub fn of(channels: &Channels, graph: &Graph, config: &ChannelPruning) -> Self {
        let groups = 0..channels.groups().len();
        Self { groups: groups.map(|group| prunable(channels, graph, config, group).len()).collect() }
    }
}

/// The units of a group that may go.
fn prunable(channels: &Channels, graph: &Graph, config: &ChannelPruning, group: usize) -> Vec<usize> {
    let group = &channels.groups()[group];
    let is_kept = |layer: &usize| {
        let node = &graph.nodes[channels.layers()[*layer]];
        let names = node.outputs.iter().chain(node.inputs.get(1).and_then(Option::as_ref));
        names.map(|&id| &graph.tensor(id).name).any(|name| config.exclude.iter().any(|prefix| name.starts_with(prefix)))
    };
    if group.layers.iter().any(is_kept) {
        return Vec::new();
    }
    group.units.iter().copied().filter(|&unit| channels.units()[unit].locked.is_none()).collect()
}

/// Which units go, so that a share `ratio` of the original ones is gone in all: an entry for each of
/// [`Channels::units`]. Ties go to the earlier channel. Where [`ChannelPruning::min_channels`] and
/// [`ChannelPruning::multiple_of`] stand against it, fewer go.
///
/// # Errors
/// [`Error::Invalid`] when `importance` has not one entry for each unit, or `originals` is of another graph.
pub fn choose_channels(
    channels: &Channels,
    graph: &Graph,
    importance: &[f64],
    originals: &Originals,
    ratio: f64,
    config: &ChannelPruning,
) -> Result<Vec<bool>> {
    let count = channels.units().len();
    if importance.len() != count || originals.groups.len() != channels.groups().len() {
        return Err(Error::invalid(
            "prune",
            format!(
                "got {} importances and {} groups, expected {count} and {}",
                importance.len(),
                originals.groups.len(),
                channels.groups().len()
            ),
        ));
    }
    let mut order: Vec<Vec<usize>> =
        (0..channels.groups().len()).map(|group| prunable(channels, graph, config, group)).collect();
    let rank = |&a: &usize, &b: &usize| importance[a].total_cmp(&importance[b]).then(b.cmp(&a));
    order.iter_mut().for_each(|units| units.sort_by(rank));
    // How many of a group go when `wanted` should.
    let allowed = |group: usize, wanted: usize| {
        let size = channels.groups()[group].units.len();
        let step = if size.is_multiple_of(config.multiple_of) { config.multiple_of } else { 1 };
        let kept = size.saturating_sub(wanted).max(config.min_channels).next_multiple_of(step);
        size.saturating_sub(kept).min(order[group].len())
    };
    let wanted: Vec<usize> = match config.scope {
        Scope::Layer => {
            let of_group = |(group, &original): (usize, &usize)| {
                let kept = (original as f64 * (1.0 - ratio)).round() as usize;
                allowed(group, order[group].len().saturating_sub(kept))
            };
            originals.groups.iter().enumerate().map(of_group).collect()
        }
        Scope::Global => {
            let original: usize = originals.groups.iter().sum();
            let present: usize = order.iter().map(Vec::len).sum();
            let kept = (original as f64 * (1.0 - ratio)).round() as usize;
            let target = present.saturating_sub(kept);
            let mut all: Vec<(usize, usize)> = order
                .iter()
                .enumerate()
                .flat_map(|(group, units)| units.iter().map(move |&unit| (unit, group)))
                .collect();
            all.sort_by(|(a, _), (b, _)| rank(a, b));
            let mut wanted = vec![0; order.len()];
            let mut gone = vec![0; order.len()];
            let mut total = 0;
            // What rounding and minimums hold back, others give.
            for (_, group) in all {
                if total >= target {
                    break;
                }
                wanted[group] += 1;
                total -= gone[group];
                gone[group] = allowed(group, wanted[group]);
                total += gone[group];
            }
            gone
        }
    };
    let mut removed = vec![false; count];
    for (units, wanted) in order.iter().zip(wanted) {
        units.iter().take(wanted).for_each(|&unit| removed[unit] = true);
    }
    Ok(removed)
}

/// What became of the channels of layers that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupReport {
    /// The layers: names of what they compute.
    pub layers: Vec<String>,
    /// Channels before.
    pub before: usize,
    /// Channels after.
    pub after: usize,
    /// Why some or all of them could not go.
    pub locked: Option<String>,
}

/// What channel pruning did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelReport {
    /// Layers, in the order of the graph.
    pub groups: Vec<GroupReport>,
    /// Parameters before and after.
    pub parameters: (usize, usize),
    /// Multiply-accumulates of one run before and after.
    pub macs: (u64, u64),
    /// Whether fine-tuning was cancelled, so that the graph is not what was asked for.
    pub cancelled: bool,
}

fn macs(graph: &Graph) -> u64 {
    (0..graph.nodes.len()).map(|node| graph.cost(node).macs).sum()
}

fn report(before: &Graph, after: &Graph, config: &ChannelPruning, cancelled: bool) -> Result<ChannelReport> {
    let (old, new) = (Channels::new(before)?, Channels::new(after)?);
    let name = |layer: &usize| {
        let node = &before.nodes[old.layers()[*layer]];
        node.outputs.first().map(|&id| before.tensor(id).name.clone()).unwrap_or_default()
    };
    let groups = old.groups().iter().enumerate().map(|(number, group)| {
        let locked = group.units.iter().find_map(|&unit| old.units()[unit].locked.clone());
        let is_excluded = locked.is_none() && prunable(&old, before, config, number).is_empty();
        GroupReport {
            layers: group.layers.iter().map(name).collect(),
            before: group.units.len(),
            after: new.groups().get(number).map_or(0, |group| group.units.len()),
            locked: if is_excluded { Some("excluded by name".into()) } else { locked },
        }
    });
    Ok(ChannelReport {
        groups: groups.collect(),
        parameters: (before.parameters(), after.parameters()),
        macs: (macs(before), macs(after)),
        cancelled,
    })
}

/// Prunes the channels of a float graph in steps, with fine-tuning between them if `tune` is given: after step s of n, the
/// share `(1 - ratio)^(s / n)` is left, and the network learns for its part of the epochs.
///
/// # Errors
/// Those of [`ChannelPruning::check`], [`check_float_weights`], [`Channels::new`] and training; [`Error::Invalid`] when gradients are needed and
/// there are no data, or nothing can be removed.
pub fn prune_channels(
    graph: &Graph,
    config: &ChannelPruning,
    tune: Option<&FineTune<'_>>,
    observer: &mut dyn TrainObserver,
) -> Result<(Graph, ChannelReport)> {
    config.check()?;
    check_float_weights(graph)?;
    super::check_excluded(graph, &config.exclude)?;
    let mut channels = Channels::new(graph)?;
    let originals = Originals::of(&channels, graph, config);
    if originals.groups.iter().all(|&count| count == 0) {
        let why = channels.units().iter().find_map(|unit| unit.locked.clone());
        return Err(Error::invalid(
            "prune",
            format!(
                "no channel of the model can go ({})",
                why.as_deref().unwrap_or("it has no layer with float32 weights")
            ),
        )
        .with_hint("channel pruning takes a float32 model; prune before quantizing"));
    }
    let mut current = graph.clone();
    for step in 1..=config.steps {
        let ratio = 1.0 - (1.0 - config.ratio).powf(step as f64 / config.steps as f64);
        let importance = rank(&channels, &current, config, tune)?;
        let removed = choose_channels(&channels, &current, &importance, &originals, ratio, config)?;
        current = channels.removed(&current, &removed)?;
        if let Some(tune) = tune {
            let epochs = tune.config.epochs * step / config.steps - tune.config.epochs * (step - 1) / config.steps;
            if epochs > 0 {
                let (tuned, ended) = tune.run(&current, epochs, observer)?;
                current = tuned;
                if ended == Ended::Cancelled {
                    let report = report(graph, &current, config, true)?;
                    return Ok((current, report));
                }
            }
        }
        channels = Channels::new(&current)?;
    }
    let report = report(graph, &current, config, false)?;
    Ok((current, report))
}

fn rank(channels: &Channels, graph: &Graph, config: &ChannelPruning, tune: Option<&FineTune<'_>>) -> Result<Vec<f64>> {
    if !config.importance.needs_gradients() {
        return magnitude(channels, graph, config.importance, config.seed);
    }
    let Some(tune) = tune else {
        return Err(Error::invalid("importance", "taylor needs gradients, so it needs data")
            .with_hint("give training data, or rank by l1 or l2"));
    };
    let mut taylor = Taylor::new(channels);
    // Ranking alone, without fine-tuning, is no training of no epochs.
    let training = TrainConfig { epochs: tune.config.epochs.max(1), ..tune.config.clone() };
    let mut trainer = Trainer::new(graph, training, tune.options.clone())?;
    trainer.gradients(tune.data, config.batches, &mut |batch| taylor.add(channels, graph, |id| batch.get(id)))?;
    Ok(taylor.importance(channels))
}

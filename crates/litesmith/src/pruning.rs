//! Pruning a model and letting its weights share values, with fine-tuning, from model to model. Teachers that the
//! configuration of fine-tuning names are read from their files.

use litesmith_compress::{
    ChannelPruning, ChannelReport, ClusterReport, Clustering, FineTune, SparsityReport, WeightPruning, cluster_weights,
    prune_channels, prune_weights,
};
use litesmith_graph::{Graph, Model, Result};
use litesmith_measure::format;
use litesmith_train::{EpochRecord, StepRecord, TrainObserver};

use crate::progress::{Progress, Stage};
use crate::teacher::call_teachers;
use crate::training::check_classes;

/// Prunes the channels of a float32 model ([`prune_channels`]); signatures and metadata stay.
///
/// # Errors
/// Those of [`prune_channels`]; [`litesmith_graph::Error::Unsupported`] for a model of several graphs.
pub fn prune_model_channels(
    model: &Model,
    config: &ChannelPruning,
    tune: Option<&FineTune<'_>>,
    progress: &mut dyn Progress,
) -> Result<(Model, ChannelReport)> {
    changed(model, tune, progress, |graph, tune, watch| prune_channels(graph, config, tune, watch))
}

/// Prunes the weights of a float32 model ([`prune_weights`]); signatures and metadata stay.
///
/// # Errors
/// Those of [`prune_weights`]; [`litesmith_graph::Error::Unsupported`] for a model of several graphs.
pub fn prune_model_weights(
    model: &Model,
    config: &WeightPruning,
    tune: Option<&FineTune<'_>>,
    progress: &mut dyn Progress,
) -> Result<(Model, SparsityReport)> {
    changed(model, tune, progress, |graph, tune, watch| prune_weights(graph, config, tune, watch))
}

/// Lets the weights of a float32 model share values ([`cluster_weights`]); signatures and metadata stay.
///
/// # Errors
/// Those of [`cluster_weights`]; [`litesmith_graph::Error::Unsupported`] for a model of several graphs.
pub fn cluster_model(
    model: &Model,
    config: &Clustering,
    tune: Option<&FineTune<'_>>,
    progress: &mut dyn Progress,
) -> Result<(Model, ClusterReport)> {
    changed(model, tune, progress, |graph, tune, watch| cluster_weights(graph, config, tune, watch))
}

/// The model with its graph changed by `change`, which fine-tunes with the teachers that the configuration names.
fn changed<R>(
    model: &Model,
    tune: Option<&FineTune<'_>>,
    progress: &mut dyn Progress,
    change: impl FnOnce(&Graph, Option<&FineTune<'_>>, &mut dyn TrainObserver) -> Result<(Graph, R)>,
) -> Result<(Model, R)> {
    let graph = model.only_graph()?;
    let mut tune = tune.cloned();
    if let Some(tune) = &mut tune {
        check_classes(graph, tune.config.loss, &tune.data.train, progress)?;
        call_teachers(&mut tune.options, &tune.config, tune.data, progress)?;
    }
    let tune = tune.as_ref();
    let images = tune.map_or(0, |tune| tune.data.train.len() as u64);
    let mut watch =
        Watch { progress, epochs: tune.map_or(0, |tune| tune.config.epochs), done: 0, images, begun: false };
    let result = change(graph, tune, &mut watch);
    watch.progress.finish();
    let (new, report) = result?;
    let mut result = model.clone();
    result.replace_graph(0, new)?;
    result.check()?;
    Ok((result, report))
}

/// Tells of fine-tuning, over all of its steps.
struct Watch<'a> {
    progress: &'a mut dyn Progress,
    epochs: usize,
    done: usize,
    images: u64,
    begun: bool,
}

impl TrainObserver for Watch<'_> {
    fn on_step(&mut self, step: &StepRecord) {
        if !std::mem::replace(&mut self.begun, true) {
            let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
            self.progress
                .start(Stage::Train { epoch: number(self.done + 1), epochs: number(self.epochs) }, self.images);
        }
        let each = self.images / step.steps_per_epoch.max(1) as u64;
        self.progress.advance((step.step as u64 * each).min(self.images));
    }

    fn on_epoch(&mut self, epoch: &EpochRecord) {
        self.begun = false;
        self.done += 1;
        self.progress.finish();
        let accuracy = format::percent(epoch.training.accuracy);
        let mut line =
            format!("epoch {}/{}: loss {:.4}, accuracy {accuracy}", self.done, self.epochs, epoch.training.loss);
        if let Some(validation) = epoch.validation {
            line += &format!("; validation {:.4}, {}", validation.loss, format::percent(validation.accuracy));
        }
        self.progress.note(&line);
    }
}

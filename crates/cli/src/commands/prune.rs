//! `prune`, and what it shares with `cluster`.

use std::path::Path;

use litesmith::compress::{ChannelPruning, FineTune, Importance, Scope, WeightPruning};
use litesmith::data::SplitKind;
use litesmith::measure::{Align, TextTable, format};
use litesmith::tflite::WriteOptions;
use litesmith::train::{Schedule, TrainConfig, TrainData, TrainOptions};
use litesmith::{
    Model, Predictor, Result, SessionOptions, files, prune_model_channels, prune_model_weights, train_data,
};

use super::quantize::{save, sizes};
use super::train::cancel_on_interrupt;
use super::{existing, load_float, open_data};
use crate::Verdict;
use crate::args::{FineTuneArgs, ImportanceArg, OutArgs, PruneArgs, ScopeArg};
use crate::output::Output;

/// Most characters of a layer's name in a table, and most names of layers in a row; `--json` has all.
pub(super) const NAME: usize = 40;
const NAMES: usize = 3;

impl From<ImportanceArg> for Importance {
    fn from(importance: ImportanceArg) -> Self {
        match importance {
            ImportanceArg::L1 => Self::L1,
            ImportanceArg::L2 => Self::L2,
            ImportanceArg::Taylor => Self::Taylor,
            ImportanceArg::Random => Self::Random,
        }
    }
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Layer => Self::Layer,
            ScopeArg::Global => Self::Global,
        }
    }
}

pub(crate) fn run(args: &PruneArgs, output: &Output) -> Result<Verdict> {
    files::check_absent(&args.out.out, existing(args.out.force))?;
    let loaded = load_float(&args.model, output)?;
    let (model, sparse) = (loaded.model, args.change.sparse || loaded.is_sparse);
    let tuning = Tuning::new(&args.change.tune, &args.model, &model, output)?;
    let tune = tuning.as_ref().map(|tuning| tuning.fine_tune(output)).transpose()?;
    match args.structured {
        Some(ratio) => channels(args, ratio, &model, tune.as_ref(), sparse, output),
        None => weights(args, &model, tune, sparse, output),
    }
}

fn channels(
    args: &PruneArgs,
    ratio: f64,
    model: &Model,
    tune: Option<&FineTune<'_>>,
    sparse: bool,
    output: &Output,
) -> Result<Verdict> {
    let default = if tune.is_some() { Importance::Taylor } else { Importance::L1 };
    let config = ChannelPruning {
        ratio,
        importance: args.importance.map_or(default, Importance::from),
        scope: args.scope.map_or(Scope::Global, Scope::from),
        min_channels: args.min_channels as usize,
        multiple_of: args.multiple_of as usize,
        steps: args.steps as usize,
        seed: args.change.tune.training.seed.unwrap_or(0),
        exclude: args.change.exclude.clone(),
        ..ChannelPruning::default()
    };
    let (pruned, report) = prune_model_channels(model, &config, tune, &mut output.progress())?;
    if report.cancelled {
        return Ok(interrupted(output));
    }
    let mut table = TextTable::new(&[
        ("layers", Align::Left),
        ("channels", Align::Right),
        ("left", Align::Right),
        ("kept because", Align::Left),
    ]);
    for group in &report.groups {
        let why = group.locked.clone().unwrap_or_default();
        let layers: Vec<_> = group.layers.iter().map(|layer| format::shortened(layer, NAME)).collect();
        let layers = match layers.split_at_checked(NAMES) {
            Some((shown, rest)) if !rest.is_empty() => format!("{} and {} more", shown.join(", "), rest.len()),
            _ => layers.join(", "),
        };
        table.row([layers, group.before.to_string(), group.after.to_string(), why]);
    }
    let numbers = serde_json::json!({
        "groups": report.groups, "parameters": report.parameters.1, "parameters_before": report.parameters.0,
        "macs": report.macs.1, "macs_before": report.macs.0,
    });
    let words = format!(
        "{table}parameters {} (before {}), multiply-accumulates {} (before {})\n",
        format::count(report.parameters.1 as u64),
        format::count(report.parameters.0 as u64),
        format::count(report.macs.1),
        format::count(report.macs.0),
    );
    finish(&args.out, &args.model, &pruned, sparse, words, numbers, output)
}

fn weights(
    args: &PruneArgs,
    model: &Model,
    tune: Option<FineTune<'_>>,
    sparse: bool,
    output: &Output,
) -> Result<Verdict> {
    let default = WeightPruning::default();
    let config = WeightPruning {
        sparsity: args.sparsity,
        pattern: args.pattern.unwrap_or_default(),
        exclude: args.change.exclude.clone(),
        initial_sparsity: args.initial_sparsity.unwrap_or(default.initial_sparsity),
        begin: args.begin.unwrap_or(default.begin),
        end: args.end.unwrap_or(default.end),
        power: args.power.unwrap_or(default.power),
        frequency: args.frequency.unwrap_or(default.frequency),
        ..default
    };
    let tune = tune.map(|tune| match args.change.tune.training.config {
        Some(_) => tune,
        // While weights go, the others need steps of full size to make up for them.
        None => FineTune { config: TrainConfig { schedule: held_until(config.end), ..tune.config }, ..tune },
    });
    let (pruned, report) = prune_model_weights(model, &config, tune.as_ref(), &mut output.progress())?;
    if report.cancelled {
        return Ok(interrupted(output));
    }
    let mut table = TextTable::new(&[
        ("layer", Align::Left),
        ("weights", Align::Right),
        ("zero", Align::Right),
        ("left as it is because", Align::Left),
    ]);
    for layer in &report.layers {
        let share = format::percent(layer.zeros as f64 / layer.elements.max(1) as f64);
        table.row([
            format::shortened(&layer.layer, NAME),
            format::count(layer.elements as u64),
            share,
            layer.left.clone().unwrap_or_default(),
        ]);
    }
    let words = format!("{table}{} of all weights are zero\n", format::percent(report.sparsity()));
    let numbers = serde_json::json!({ "layers": report.layers, "sparsity": report.sparsity() });
    finish(&args.out, &args.model, &pruned, sparse, words, numbers, output)
}

/// The full learning rate until a share of all updates, then half a cosine to 0.
fn held_until(share: f64) -> Schedule {
    match share {
        0.0 => Schedule::Cosine { final_factor: 0.0 },
        1.0 => Schedule::Constant,
        rise => Schedule::OneCycle { rise, div_factor: 1.0, final_div_factor: 1e9 },
    }
}

/// Saves the model, and says what was done and how large it is now.
pub(super) fn finish(
    out: &OutArgs,
    from: &Path,
    model: &Model,
    sparse: bool,
    words: String,
    mut numbers: serde_json::Value,
    output: &Output,
) -> Result<Verdict> {
    let before = std::fs::metadata(from).map_or(0, |metadata| metadata.len());
    let saved = save(out, &WriteOptions { sparse, ..WriteOptions::default() }, model)?;
    if output.json {
        numbers["model"] = serde_json::json!(out.out);
        numbers["file_bytes"] = saved.bytes.into();
        numbers["gzip_bytes"] = saved.packed.gzip.into();
        numbers["zstd_bytes"] = saved.packed.zstd.into();
        numbers["file_bytes_before"] = before.into();
        output.print_json(&numbers)?;
        return Ok(Verdict::Good);
    }
    output.say(&words);
    output.print(&sizes(&out.out, saved, before, from))?;
    Ok(Verdict::Good)
}

pub(super) fn interrupted(output: &Output) -> Verdict {
    output.say("interrupted; nothing was written");
    Verdict::Interrupted
}

/// What fine-tuning reads.
pub(super) struct Tuning {
    config: TrainConfig,
    data: TrainData,
}

impl Tuning {
    /// `None` without `--data`.
    pub(super) fn new(args: &FineTuneArgs, path: &Path, model: &Model, output: &Output) -> Result<Option<Self>> {
        let Some(spec) = &args.data else { return Ok(None) };
        let default =
            TrainConfig { epochs: 3, schedule: Schedule::Cosine { final_factor: 0.0 }, ..TrainConfig::default() };
        let config = super::train::training(&args.training, default)?;
        // No epochs at all is fine here: gradients alone are.
        TrainConfig { epochs: config.epochs.max(1), ..config.clone() }.check()?;
        let dataset = open_data(spec, args.skip_bad, output)?;
        let train = dataset.require(SplitKind::Train)?;
        let predictor =
            Predictor::for_split(model, SessionOptions::default(), train).map_err(|error| error.at(path.display()))?;
        let data = train_data(&dataset, args.training.validation, config.seed, predictor.preprocess().clone())?;
        Ok(Some(Self { config, data }))
    }

    pub(super) fn fine_tune(&self, output: &Output) -> Result<FineTune<'_>> {
        let cancel = Some(cancel_on_interrupt()?);
        let options = TrainOptions { threads: output.threads, cancel, ..TrainOptions::default() };
        Ok(FineTune { config: self.config.clone(), options, data: &self.data })
    }
}

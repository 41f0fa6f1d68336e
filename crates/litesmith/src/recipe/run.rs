//! Carrying a recipe out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use litesmith_compress::{FineTune, IoType, QuantizationConfig};
use litesmith_data::{Dataset, SplitKind};
use litesmith_graph::{Error, Model, Result};
use litesmith_measure::Stopwatch;
use litesmith_runtime::SessionOptions;
use litesmith_tflite::{Strip, WriteOptions};
use litesmith_train::{Ended, TrainConfig, TrainData, TrainOptions};

use super::kept::Kept;
use super::{Described, GIVEN, Recipe, Step, check};
use crate::files::{self, Existing};
use crate::predictor::Predictor;
use crate::progress::Progress;
use crate::teacher::appoint;
use crate::training::{TrainJob, preprocess_for, train_data, train_model};
use crate::{
    add_labels, cluster_model, load_model, model_bytes, prune_model_channels, prune_model_weights, quantize_on,
};

/// What a recipe works with.
#[derive(Clone)]
pub struct RecipeRun<'a> {
    /// Samples. The test samples are not looked at.
    pub dataset: &'a Dataset,
    /// Model to begin with; without, the recipe names an architecture.
    pub model: Option<&'a Model>,
    /// How models run, and the number of threads.
    pub session: SessionOptions,
    /// When set, the step at hand is broken off.
    pub cancel: Option<Arc<AtomicBool>>,
    /// Folder for what each step that trains makes, those of teachers too: made when missing. What it holds of the same recipe, data,
    /// model and instruction set is not made again.
    pub keep: Option<PathBuf>,
    /// File that names those which the model behind the last step that was done is saved in, when a later one fails or is cancelled
    /// and nothing is kept: [`rescued`].
    pub rescue: Option<PathBuf>,
}

/// What a recipe made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The model.
    pub model: Model,
    /// The file.
    pub bytes: Vec<u8>,
    /// What each step has to say for itself, in the order of the steps.
    pub notes: Vec<String>,
    /// Seconds of each step.
    pub seconds: Vec<f64>,
}

/// A model between two steps.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) model: Option<Model>,
    pub(crate) strip: Strip,
    pub(crate) sparse: bool,
    pub(crate) notes: Vec<String>,
    pub(crate) seconds: Vec<f64>,
    teachers: Teachers,
}

/// What recipes of teachers made.
#[derive(Debug, Clone, Default)]
struct Teachers {
    /// By their files: each is carried out once. `None` while that is under way.
    made: BTreeMap<PathBuf, Option<Model>>,
    /// Seconds that those of the step at hand took before, as they were kept.
    seconds_before: f64,
}

impl State {
    /// Before the first step.
    pub(crate) fn new(model: Option<&Model>) -> Self {
        Self {
            model: model.cloned(),
            strip: Strip::Nothing,
            sparse: false,
            notes: Vec::new(),
            seconds: Vec::new(),
            teachers: Teachers::default(),
        }
    }

    /// The model as a file.
    pub(crate) fn finish(self) -> Result<Made> {
        let model = self.model.ok_or_else(|| {
            Error::invalid("recipe", "no step made a model").with_hint("begin with do = \"train\", or give a model")
        })?;
        let bytes = model_bytes(&model, &WriteOptions { strip: self.strip, sparse: self.sparse })?;
        Ok(Made { model, bytes, notes: self.notes, seconds: self.seconds })
    }
}

/// Carries `recipe` out. `None` when it was cancelled. What can be known to fail is found before the first step. When a later step
/// fails, or is cancelled, what the steps before it made is saved beside [`RecipeRun::rescue`], which the error's hint, or a note, names.
///
/// # Errors
/// Those of its steps, with the step as place.
pub fn run_recipe(recipe: &Recipe, run: &RecipeRun<'_>, progress: &mut dyn Progress) -> Result<Option<Made>> {
    check::check(recipe, run)?;
    let state = carry_out(recipe, State::new(run.model), run, progress)?;
    state.map(State::finish).transpose()
}

/// All steps.
fn carry_out(
    recipe: &Recipe,
    mut state: State,
    run: &RecipeRun<'_>,
    progress: &mut dyn Progress,
) -> Result<Option<State>> {
    for number in 0..recipe.steps.len() {
        let before = state.model.clone();
        match run_step(recipe, number, state, run, progress) {
            Ok(Some(next)) => state = next,
            Ok(None) => {
                if let Some(kept) = rescue(recipe, number, before, run)? {
                    progress.note(&kept);
                }
                return Ok(None);
            }
            Err(error) => {
                let Some(kept) = rescue(recipe, number, before, run)? else { return Err(error) };
                let hint = error.hint().map_or(kept.clone(), |hint| format!("{hint}; {kept}"));
                return Err(error.with_hint(hint));
            }
        }
    }
    Ok(Some(state))
}

/// Saves `model`, which is what the steps before `number` made, and says where; `None` where they made nothing.
fn rescue(recipe: &Recipe, number: usize, model: Option<Model>, run: &RecipeRun<'_>) -> Result<Option<String>> {
    let done = recipe.steps[..number].iter().enumerate().rev().find(|(_, step)| !matches!(step, Step::Strip(_)));
    let (Some((last, step)), Some(model)) = (done, model) else { return Ok(None) };
    let made = format!("what step {} ({}) made is in", last + 1, step.name());
    Ok(match (&run.keep, &run.rescue) {
        (Some(folder), _) if step.trains() => Some(format!("{made} {}, from where it goes on", folder.display())),
        (_, Some(name)) => {
            let path = rescued(name, last);
            files::save(&path, &model_bytes(&model, &WriteOptions::default())?, Existing::Replace)?;
            Some(format!("{made} {}", path.display()))
        }
        _ => None,
    })
}

/// Where the model behind step `number`, counted from 0, is saved when a later one fails: `small-after-step-2.tflite` for
/// `small.tflite`.
#[must_use]
pub fn rescued(name: &Path, number: usize) -> PathBuf {
    let stem = name.file_stem().unwrap_or_default().to_string_lossy();
    name.with_file_name(format!("{stem}-after-step-{}.tflite", number + 1))
}

/// Carries out step `number`, counted from 0.
pub(crate) fn run_step(
    recipe: &Recipe,
    number: usize,
    mut state: State,
    run: &RecipeRun<'_>,
    progress: &mut dyn Progress,
) -> Result<Option<State>> {
    let step = &recipe.steps[number];
    if run.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
        return Ok(None);
    }
    let kept = Kept::of(recipe, number, run)?;
    let found = kept.as_ref().map(Kept::load).transpose()?.flatten();
    if let (Some(kept), Some((mut model, said))) = (&kept, found) {
        progress.note(&format!("step {} ({}): {} has it", number + 1, step.name(), kept.path().display()));
        // It may be of a recipe that is called otherwise.
        if matches!(step, Step::Train(..)) && !recipe.name.is_empty() {
            model.metadata.name.clone_from(&recipe.name);
        } else if let Some(before) = &state.model {
            model.metadata.name.clone_from(&before.metadata.name);
        }
        state.model = Some(model);
        state.notes.push(said.note);
        state.seconds.push(said.seconds);
        return Ok(Some(state));
    }
    let clock = Stopwatch::start();
    let note = match step {
        Step::Train(config, io) => train(recipe, config, *io, &mut state, run, progress),
        Step::PruneChannels(config, train) => {
            // Gradients alone, to rank channels by, take no epochs.
            let ranking = TrainConfig { epochs: 0, seed: recipe.seed, ..TrainConfig::default() };
            let train = train.as_ref().or(config.importance.needs_gradients().then_some(&ranking));
            tuned(recipe, train, &mut state, run, progress, |model, tune, progress| {
                let (model, report) = prune_model_channels(model, config, tune, progress)?;
                let ((before, after), (macs_before, macs)) = (report.parameters, report.macs);
                let note = format!("{before} parameters become {after}, {macs_before} MACs {macs}");
                Ok((model, note, report.cancelled))
            })
        }
        Step::PruneWeights(config, train) => {
            tuned(recipe, train.as_ref(), &mut state, run, progress, |model, tune, progress| {
                let (model, report) = prune_model_weights(model, config, tune, progress)?;
                let note = format!("{} of the weights are zero", litesmith_measure::format::percent(report.sparsity()));
                Ok((model, note, report.cancelled))
            })
        }
        Step::Cluster(config, train) => {
            tuned(recipe, train.as_ref(), &mut state, run, progress, |model, tune, progress| {
                let (model, report) = cluster_model(model, config, tune, progress)?;
                Ok((model, format!("{} layers share values", report.layers.len()), report.cancelled))
            })
        }
        Step::Quantize(config, described) => quantize(recipe, config, described, &mut state, run, progress).map(Some),
        Step::Strip(config) => {
            (state.strip, state.sparse) = (config.level.into(), config.sparse);
            Ok(Some(String::new()))
        }
    };
    let Some(note) = note.map_err(|error| error.at(check::place(number, step)))? else {
        return Ok(None);
    };
    let seconds = clock.elapsed_seconds() + std::mem::take(&mut state.teachers.seconds_before);
    if let (Some(kept), Some(model)) = (kept, &state.model) {
        kept.save(model, &note, seconds)?;
    }
    state.notes.push(note);
    state.seconds.push(seconds);
    Ok(Some(state))
}

fn no_model() -> Error {
    Error::invalid("model", "there is none yet")
        .with_hint("begin with do = \"train\" and arch = \"NAME\", or give a model")
}

/// The samples to learn from and to choose by, as `model` takes them.
pub(crate) fn train_split(recipe: &Recipe, run: &RecipeRun<'_>, model: &Model) -> Result<TrainData> {
    let train = run.dataset.require(SplitKind::Train)?;
    let preprocess = Predictor::for_split(model, run.session.clone(), train)?.preprocess().clone();
    train_data(run.dataset, recipe.validation, recipe.seed, preprocess)
}

/// The model that another recipe makes, to learn from; it may learn from others itself. `None` when that was cancelled.
///
/// It holds the same samples back as that of the `student`, which would else choose by samples that its teacher knows.
fn teacher_of(
    path: &Path,
    student: &Recipe,
    teachers: &mut Teachers,
    run: &RecipeRun<'_>,
    progress: &mut dyn Progress,
) -> Result<Option<Model>> {
    // The same file by whatever way.
    let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match teachers.made.get(&file) {
        Some(Some(made)) => return Ok(Some(made.clone())),
        Some(None) => {
            let message = format!("{}: the recipe learns from itself", path.display());
            return Err(Error::invalid("distill.teacher", message).with_hint("name the file of a model"));
        }
        None => {}
    }
    let recipe = Recipe { seed: student.seed, validation: student.validation, ..Recipe::load(path)? };
    progress.note(&format!("the teacher, by {}", path.display()));
    teachers.made.insert(file.clone(), None);
    let clock = Stopwatch::start();
    let (made, seconds_before) = (std::mem::take(&mut teachers.made), teachers.seconds_before);
    let state = State { teachers: Teachers { made, seconds_before: 0.0 }, ..State::new(None) };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let rescue = run.rescue.as_ref().map(|name| {
        name.with_file_name(format!("{}-{stem}.tflite", name.file_stem().unwrap_or_default().to_string_lossy()))
    });
    let made = carry_out(&recipe, state, &RecipeRun { model: None, rescue, ..run.clone() }, progress)
        .map_err(|error| error.at(path.display()))?;
    let Some(mut state) = made else { return Ok(None) };
    teachers.made = std::mem::take(&mut state.teachers.made);
    let before = (state.seconds.iter().sum::<f64>() - clock.elapsed_seconds()).max(0.0);
    teachers.seconds_before = seconds_before + before;
    let model = state.finish().map_err(|error| error.at(path.display()))?.model;
    teachers.made.insert(file, Some(model.clone()));
    Ok(Some(model))
}

/// The teacher that is called so ([`GIVEN`]).
pub(super) fn given<'a>(run: &RecipeRun<'a>) -> Result<&'a Model> {
    run.model.ok_or_else(|| {
        Error::invalid("distill.teacher", format!("got \"{GIVEN}\", but the recipe begins without a model"))
            .with_hint("give a model to begin with, or name the file of the teacher")
    })
}

pub(super) fn is_recipe(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

/// How a step trains by `config` on `data`: a teacher is the model given where it is called so ([`GIVEN`]), else a file, named
/// as seen from the recipe: a model, or another recipe, which is carried out first; `None` when that was cancelled.
fn training(
    recipe: &Recipe,
    config: &TrainConfig,
    data: &TrainData,
    teachers: &mut Teachers,
    run: &RecipeRun<'_>,
    progress: &mut dyn Progress,
) -> Result<Option<(TrainConfig, TrainOptions)>> {
    let mut config = config.clone();
    let mut options = TrainOptions {
        threads: run.session.threads,
        isa: run.session.isa,
        cancel: run.cancel.clone(),
        ..TrainOptions::default()
    };
    let Some(distill) = &mut config.distill else { return Ok(Some((config, options))) };
    for teacher in std::mem::take(&mut distill.teacher) {
        let path = recipe.folder.join(&teacher);
        let name = path.display();
        let (model, name): (_, &dyn std::fmt::Display) = if teacher == Path::new(GIVEN) {
            (Cow::Borrowed(given(run)?), &"the model given")
        } else if is_recipe(&teacher) {
            let Some(model) = teacher_of(&path, recipe, teachers, run, progress)? else { return Ok(None) };
            (Cow::Owned(model), &name)
        } else {
            (Cow::Owned(load_model(&path)?.model), &name)
        };
        appoint(&model, name, distill, &mut options, data, progress)?;
        distill.teacher.push(path);
    }
    Ok(Some((config, options)))
}

/// What a change makes of a model, what it has to say for itself, and whether it was cancelled.
type Changed = (Model, String, bool);

/// Changes a float model, with or without fine-tuning; `None` when that was cancelled.
fn tuned(
    recipe: &Recipe,
    train: Option<&TrainConfig>,
    state: &mut State,
    run: &RecipeRun<'_>,
    progress: &mut dyn Progress,
    change: impl FnOnce(&Model, Option<&FineTune<'_>>, &mut dyn Progress) -> Result<Changed>,
) -> Result<Option<String>> {
    let model = state.model.as_ref().ok_or_else(no_model)?;
    let (changed, note, cancelled) = match train {
        Some(config) => {
            let data = train_split(recipe, run, model)?;
            let Some((config, options)) = training(recipe, config, &data, &mut state.teachers, run, progress)? else {
                return Ok(None);
            };
            change(model, Some(&FineTune { config, options, data: &data }), progress)?
        }
        None => change(model, None, progress)?,
    };
    state.model = Some(changed);
    Ok((!cancelled).then_some(note))
}

fn quantize(
    recipe: &Recipe,
    config: &QuantizationConfig,
    described: &Described,
    state: &mut State,
    run: &RecipeRun<'_>,
    progress: &mut dyn Progress,
) -> Result<String> {
    let mut model = Cow::Borrowed(state.model.as_ref().ok_or_else(no_model)?);
    if let Some(labels) = &described.labels {
        add_labels(model.to_mut(), &recipe.folder.join(labels))?;
    }
    let train = train_split(recipe, run, &model)?.train;
    let normalization = match described.normalization() {
        Some(said) => vec![Some(said)],
        None => model.metadata.inputs.iter().map(|input| input.normalization.clone()).collect(),
    };
    let (model, report) = quantize_on(&model, Some(&train), config, normalization, &run.session, progress)?;
    report.quantization.warnings.iter().for_each(|warning| progress.note(&format!("warning: {warning}")));
    state.model = Some(model);
    Ok(format!("{}, {} ops stay float32", config.scheme, report.quantization.kept_float.len()))
}

fn train(
    recipe: &Recipe,
    config: &TrainConfig,
    io: IoType,
    state: &mut State,
    run: &RecipeRun<'_>,
    progress: &mut dyn Progress,
) -> Result<Option<String>> {
    let (graph, name, data) = match &state.model {
        Some(model) => {
            if let (Some(arch), Some(_), true) = (&recipe.arch, run.model, state.notes.is_empty()) {
                progress.note(&format!("a model is given: the recipe's arch, {arch}, is not used"));
            }
            let data = train_split(recipe, run, model)?;
            (model.main()?.clone(), model.metadata.name.clone(), data)
        }
        None => {
            let architecture = check::architecture(recipe, run)?.ok_or_else(no_model)?;
            let train = run.dataset.require(SplitKind::Train)?;
            let graph = architecture.graph(recipe.seed)?;
            let preprocess = preprocess_for(&graph, train)?;
            let data = train_data(run.dataset, recipe.validation, recipe.seed, preprocess)?;
            (graph, architecture.name.clone(), data)
        }
    };
    let Some((config, options)) = training(recipe, config, &data, &mut state.teachers, run, progress)? else {
        return Ok(None);
    };
    let epochs = config.epochs;
    let job = TrainJob {
        name: if recipe.name.is_empty() { &name } else { &recipe.name },
        graph: &graph,
        config,
        options,
        data: &data,
        resume: None,
        metrics: None,
        io: (io, io),
    };
    let trained = train_model(job, progress)?;
    if trained.report.ended == Ended::Cancelled {
        return Ok(None);
    }
    let best = trained.report.best_epoch;
    let epoch = best.and_then(|best| trained.report.history.iter().find(|epoch| epoch.epoch == best));
    let accuracy = epoch.and_then(|epoch| epoch.validation).map(|validation| validation.accuracy);
    state.model = Some(trained.model);
    Ok(Some(match (best, accuracy) {
        (Some(epoch), Some(accuracy)) => {
            format!("epoch {epoch}, validation accuracy {}", litesmith_measure::format::percent(accuracy))
        }
        _ => litesmith_measure::format::plural(epochs as u64, "epoch"),
    }))
}

//! Training a network on a data set, from a graph to a model that is ready to be saved.

use std::io::Write;
use std::path::Path;

use litesmith_compress::{IoType, QuantizeReport};
use litesmith_data::{Preprocess, Split};
use litesmith_graph::{ColorSpace, Error, Graph, Metadata, Model, Normalization, Result, TensorMetadata};
use litesmith_measure::{EpochRecord, Fact, Stopwatch, Training, format, peak_rss_bytes};
use litesmith_train::arch::Architecture;
use litesmith_train::zoo::{ZOO, ZooSpec};
use litesmith_train::{
    JsonLines, Loss, Preserved, StepRecord, TrainConfig, TrainData, TrainObserver, TrainOptions, TrainReport, Trainer,
    export,
};

use crate::files;
use crate::progress::{Progress, Stage};
use crate::qat::{self, Outcome};
use crate::teacher::call_teachers;

/// What to train, how, and on what.
pub struct TrainJob<'a> {
    /// Name of the model, for its metadata.
    pub name: &'a str,
    /// The network with its initial weights.
    pub graph: &'a Graph,
    /// How to train.
    pub config: TrainConfig,
    /// Threads, checkpoint, cancellation.
    pub options: TrainOptions,
    /// Samples.
    pub data: &'a TrainData,
    /// Checkpoint to go on from.
    pub resume: Option<&'a Path>,
    /// Where a line of JSON for each epoch goes, and whether each step gets one too.
    pub metrics: Option<(Box<dyn Write + 'a>, bool)>,
    /// Types of the inputs and outputs of an integer model, which quantization-aware training gives.
    pub io: (IoType, IoType),
}

/// A trained model.
pub struct Trained {
    /// The exported model: folded, with the names of the classes and the normalisation of the input. An integer model after
    /// quantization-aware training.
    pub model: Model,
    /// What was quantized, after quantization-aware training.
    pub quantization: Option<QuantizeReport>,
    /// What the trainer reports.
    pub report: TrainReport,
    /// The same for a report, with times.
    pub training: Training,
}

/// The architecture behind a name of the zoo, with options, or a `.toml` file. One of the zoo has as many classes as its
/// options say, else `classes`, else its own number.
///
/// # Errors
/// Those of reading and of [`Architecture::from_toml`]; [`Error::Invalid`] for an unknown name or option.
pub fn load_architecture(what: &str, classes: Option<usize>) -> Result<Architecture> {
    let path = Path::new(what);
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
        let bytes = files::load(path, 1 << 20)?;
        let text = String::from_utf8(bytes)
            .map_err(|error| Error::malformed(what, format!("it is no UTF-8 text: {error}")))?;
        return Architecture::from_toml(&text).map_err(|error| crate::recipe::hinted(error.at(what)));
    }
    let mut spec: ZooSpec = what.parse()?;
    let own = ZOO.iter().find(|entry| entry.name == spec.name).map(|entry| entry.classes);
    if spec.classes.is_none() && classes != own {
        spec.classes = classes;
    }
    spec.architecture()
}

/// How the images of `split` are brought to the input of `graph`, which says how large they are: scaled to 0 to 1,
/// images of another size resized.
///
/// # Errors
/// Those of [`Split::default_preprocess`].
pub fn preprocess_for(graph: &Graph, split: &Split) -> Result<Preprocess> {
    let mut preprocess = split.default_preprocess()?;
    if let Some(&input) = graph.inputs.first()
        && let [_, height, width, rest @ ..] = graph.tensor(input).shape.as_slice()
    {
        (preprocess.height, preprocess.width) = (*height, *width);
        preprocess.channels = rest.first().copied().unwrap_or(1);
    }
    Ok(preprocess)
}

/// Whether the network has an output for each class; fewer classes than outputs are worth a word.
pub(crate) fn check_classes(graph: &Graph, loss: Loss, split: &Split, progress: &mut dyn Progress) -> Result<()> {
    let classes = split.classes().len();
    let outputs = graph.outputs.first().and_then(|&output| graph.tensor(output).shape.last().copied()).unwrap_or(0);
    if !matches!(loss, Loss::SparseCategoricalCrossentropy | Loss::CategoricalCrossentropy) || classes == outputs {
        return Ok(());
    }
    if classes > outputs {
        return Err(Error::invalid(
            "classes",
            format!("the network has {outputs} outputs, the data {classes} classes"),
        )
        .with_hint(format!("give the last layer {classes} units; names of the zoo take classes={classes}")));
    }
    progress.note(&format!("warning: the network has {outputs} outputs, the data only {classes} classes"));
    Ok(())
}

/// Trains and exports. With [`TrainConfig::qat`], some epochs are in float32 and the rest as the integer model computes, which
/// is exported; a checkpoint of either kind can be resumed. Teachers that the configuration names are read from their files.
///
/// # Errors
/// Those of [`Trainer::new`], [`Trainer::resume`] and [`Trainer::train`]; [`Error::Io`] when metrics cannot be written.
pub fn train_model(job: TrainJob<'_>, progress: &mut dyn Progress) -> Result<Trained> {
    let TrainJob { name, graph, config, mut options, data, resume, metrics, io } = job;
    config.check()?;
    check_classes(graph, config.loss, &data.train, progress)?;
    if config.preserve
        && let Some(what) = Preserved::of(graph)?.summary()
    {
        progress.note(&format!("training keeps {what}"));
    }
    if let (Some(distill), true) = (&config.distill, config.qat.is_some()) {
        // Batch normalization is folded when the quantized epochs begin; say now what will be missing then.
        distill.check_student(&export::fold(graph)?).map_err(|error| error.at("quantization-aware training"))?;
    }
    call_teachers(&mut options, &config, data, progress)?;
    let clock = Stopwatch::start();
    let mut watch = Watch {
        progress,
        epochs: config.epochs,
        images: data.train.len() as u64,
        lines: metrics.map(|(writer, steps)| JsonLines::new(writer, steps)),
        epoch_clock: None,
        samples: 0,
        records: Vec::new(),
    };
    let trained = match &config.qat {
        Some(qat) => qat::train(graph, &config, qat, io, options, data, resume, &mut watch),
        None => train_float(graph, &config, options, data, resume, &mut watch),
    };
    watch.progress.finish();
    let (lines, records) = (watch.lines.take(), std::mem::take(&mut watch.records));
    if let Some(lines) = lines {
        lines.finish().map_err(|error| Error::io("metrics", error))?;
    }
    let Outcome { mut model, report, quantization } = trained?;
    model.metadata = describe(&model, name, &data.preprocess, data.train.classes())?;
    let training = Training {
        epochs: with_earlier_epochs(&report, records),
        best_epoch: report.best_epoch.map(|epoch| epoch as u64),
        seconds: Some(clock.elapsed_seconds()),
        peak_rss_bytes: peak_rss_bytes(),
        configuration: configuration(&config),
    };
    Ok(Trained { model, quantization, report, training })
}

fn train_float(
    graph: &Graph,
    config: &TrainConfig,
    options: TrainOptions,
    data: &TrainData,
    resume: Option<&Path>,
    watch: &mut Watch<'_>,
) -> Result<Outcome> {
    let mut trainer = match resume {
        Some(path) => Trainer::resume(graph, config.clone(), options, path)?,
        None => Trainer::new(graph, config.clone(), options)?,
    };
    let report = trainer.train(data, watch)?;
    Ok(Outcome { model: Model::from_graph(trainer.exported_graph()?), report, quantization: None })
}

/// Metadata that says what goes in and what comes out: normalisation, colours, names of the classes.
fn describe(model: &Model, name: &str, preprocess: &Preprocess, classes: &[String]) -> Result<Metadata> {
    let graph = model.main()?;
    let tensor_name =
        |ids: &[litesmith_graph::TensorId]| ids.first().map(|&id| graph.tensor(id).name.clone()).unwrap_or_default();
    let input = TensorMetadata {
        name: tensor_name(&graph.inputs),
        description: format!("Image of {} pixels", preprocess.shape()),
        normalization: Some(Normalization { mean: preprocess.mean.clone(), std: preprocess.std.clone() }),
        color_space: match preprocess.channels {
            1 => Some(ColorSpace::Grayscale),
            3 => Some(ColorSpace::Rgb),
            _ => None,
        },
        ..TensorMetadata::default()
    };
    let outputs = graph.outputs.first().and_then(|&id| graph.tensor(id).shape.last().copied()).unwrap_or(0);
    let output = TensorMetadata {
        name: tensor_name(&graph.outputs),
        description: "Score of each class".into(),
        labels: if classes.len() == outputs { classes.to_vec() } else { Vec::new() },
        ..TensorMetadata::default()
    };
    Ok(Metadata { name: name.into(), inputs: vec![input], outputs: vec![output], ..Metadata::default() })
}

/// The epochs of the report; those trained here have times.
fn with_earlier_epochs(report: &TrainReport, timed: Vec<EpochRecord>) -> Vec<EpochRecord> {
    let earlier = report.history.len().saturating_sub(timed.len());
    report.history.iter().take(earlier).map(record).chain(timed).collect()
}

fn record(epoch: &litesmith_train::EpochRecord) -> EpochRecord {
    EpochRecord {
        epoch: epoch.epoch as u64,
        train_loss: Some(epoch.training.loss),
        train_accuracy: Some(epoch.training.accuracy),
        validation_loss: epoch.validation.map(|validation| validation.loss),
        validation_accuracy: epoch.validation.map(|validation| validation.accuracy),
        learning_rate: Some(epoch.learning_rate),
        seconds: None,
        samples_per_second: None,
    }
}

/// The settings that differ from the defaults of another run most often, for people.
fn configuration(config: &TrainConfig) -> Vec<Fact> {
    let rate = config.learning_rate.unwrap_or_else(|| config.optimizer.default_learning_rate());
    let mut facts = vec![
        Fact::new("optimizer", to_words(&config.optimizer)),
        Fact::new("learning rate", rate),
        Fact::new("schedule", to_words(&config.schedule)),
        Fact::new("batch", config.batch),
        Fact::new("epochs", config.epochs),
        Fact::new("augmentation", to_words(&config.augment)),
        Fact::new("seed", config.seed),
    ];
    if let Some(qat) = &config.qat {
        facts.push(Fact::new("quantization-aware", to_words(qat)));
    }
    if let Some(distill) = &config.distill {
        facts.push(Fact::new("distillation", to_words(distill)));
    }
    facts
}

/// A setting as the configuration file writes it, on one line.
fn to_words<T: serde::Serialize>(setting: &T) -> String {
    match serde_json::to_value(setting) {
        Ok(serde_json::Value::Object(fields)) => {
            let mut words: Vec<_> =
                fields.get("name").and_then(|name| name.as_str()).map(Into::into).into_iter().collect();
            let is_set = |value: &serde_json::Value| {
                value.as_f64().is_none_or(|number| number != 0.0) && *value != serde_json::Value::Bool(false)
            };
            let others = fields.iter().filter(|(key, value)| *key != "name" && is_set(value) && !value.is_object());
            words.extend(others.map(|(key, value)| format!("{key} {value}")));
            if words.is_empty() { "none".into() } else { words.join(", ") }
        }
        Ok(value) => value.to_string(),
        Err(_) => String::new(),
    }
}

pub(crate) struct Watch<'a> {
    progress: &'a mut dyn Progress,
    epochs: usize,
    images: u64,
    lines: Option<JsonLines<Box<dyn Write + 'a>>>,
    epoch_clock: Option<Stopwatch>,
    samples: u64,
    records: Vec<EpochRecord>,
}

impl Watch<'_> {
    pub(crate) fn note(&mut self, line: &str) {
        self.progress.note(line);
    }
}

impl TrainObserver for Watch<'_> {
    fn on_step(&mut self, step: &StepRecord) {
        if self.epoch_clock.is_none() {
            let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
            self.progress.start(Stage::Train { epoch: number(step.epoch), epochs: number(self.epochs) }, self.images);
            self.epoch_clock = Some(Stopwatch::start());
            self.samples = 0;
        } else {
            // The clock starts with the first step, whose samples are therefore not counted.
            self.samples += step.samples as u64;
        }
        let done = (step.step as u64 - 1) * (self.images / step.steps_per_epoch.max(1) as u64) + step.samples as u64;
        self.progress.advance(done.min(self.images));
        if let Some(lines) = &mut self.lines {
            lines.on_step(step);
        }
    }

    fn on_epoch(&mut self, epoch: &litesmith_train::EpochRecord) {
        let seconds = self.epoch_clock.take().map(|clock| clock.elapsed_seconds());
        let rate = seconds.filter(|&seconds| seconds > 0.0).map(|seconds| self.samples as f64 / seconds);
        self.progress.finish();
        let mut line = format!(
            "epoch {}/{}: loss {:.4}, accuracy {}",
            epoch.epoch,
            self.epochs,
            epoch.training.loss,
            format::percent(epoch.training.accuracy)
        );
        if let Some(validation) = epoch.validation {
            let accuracy = format::percent(validation.accuracy);
            line += &format!("; validation {:.4}, {accuracy}", validation.loss);
        }
        if let (Some(seconds), Some(rate)) = (seconds, rate) {
            line += &format!("; {seconds:.1} s, {rate:.0} images/s");
        }
        self.progress.note(&line);
        self.records.push(EpochRecord { seconds, samples_per_second: rate, ..record(epoch) });
        if let Some(lines) = &mut self.lines {
            lines.on_epoch(epoch);
        }
    }
}

/// Samples to learn from and samples to choose by: the data set's own validation split, or a share of the training
/// samples. The test split is never looked at.
///
/// # Errors
/// [`Error::Invalid`] when the data set has no training samples or the share leaves none.
pub fn train_data(
    dataset: &litesmith_data::Dataset,
    validation: f64,
    seed: u64,
    preprocess: Preprocess,
) -> Result<TrainData> {
    use litesmith_data::{SplitKind, ValidationSplit};
    let train: &Split = dataset.require(SplitKind::Train)?;
    if let Some(own) = &dataset.validation {
        return Ok(TrainData { train: train.clone(), validation: Some(own.clone()), preprocess });
    }
    if validation == 0.0 {
        return Ok(TrainData { train: train.clone(), validation: None, preprocess });
    }
    let (train, validation) = train.split_validation(ValidationSplit::Fraction { fraction: validation, seed })?;
    Ok(TrainData { train, validation: Some(validation), preprocess })
}

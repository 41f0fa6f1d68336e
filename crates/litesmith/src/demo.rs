//! The whole way in one call: train the reference network on MNIST, convert it six ways, evaluate and time each.

use std::path::{Path, PathBuf};

use litesmith_compress::{CalibrationConfig, IoType, QuantizationConfig, Scheme};
use litesmith_data::{OpenOptions, Split, SplitKind, open};
use litesmith_graph::{Error, Model, Result};
use litesmith_measure::{
    Comparison, Fact, Machine, ModelKind, ModelResult, ModelSummary, Report, Stopwatch, TimingOptions, render_html,
    time,
};
use litesmith_runtime::{Session, SessionOptions};
use litesmith_train::{Schedule, TrainConfig, TrainOptions, zoo};

use crate::files::{self, Existing};
use crate::progress::Progress;
use crate::training::{TrainJob, train_data, train_model};
use crate::{EvaluateOptions, Predictor, evaluate, quantize_on, report_evaluation};

/// Epochs unless told otherwise: above 99.0 % on the test images, well within two minutes on two cores.
pub const EPOCHS: u32 = 5;

/// Samples that activation ranges are measured on.
const CALIBRATION_SAMPLES: usize = 500;

/// What the demo does and where.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Folder for the models and the report; made when missing, its files are replaced.
    pub out: PathBuf,
    /// Data set, in the form of MNIST.
    pub data: String,
    /// Passes over the training images.
    pub epochs: u32,
    /// Seed of weights, order and validation split.
    pub seed: u64,
    /// Threads.
    pub threads: usize,
}

/// A model file of the demo: name, kind, and how `litesmith quantize` makes it.
fn files_to_make(seed: u64) -> [(&'static str, ModelKind, QuantizationConfig); 6] {
    let to = |scheme: Scheme, io: IoType| QuantizationConfig {
        scheme,
        input_type: io,
        output_type: io,
        calibration: CalibrationConfig { samples: CALIBRATION_SAMPLES, seed, ..CalibrationConfig::default() },
        ..QuantizationConfig::default()
    };
    [
        ("f32", ModelKind::Float32, to(Scheme::Float32, IoType::Float32)),
        ("f16", ModelKind::Float16, to(Scheme::Float16, IoType::Float32)),
        ("dynamic", ModelKind::DynamicRange, to(Scheme::DynamicRange, IoType::Float32)),
        ("int8", ModelKind::Int8, to(Scheme::Int8, IoType::Float32)),
        ("int8-uint8io", ModelKind::Int8Uint8Io, to(Scheme::Int8, IoType::Uint8)),
        ("int16x8", ModelKind::Int16x8, to(Scheme::Int16x8, IoType::Float32)),
    ]
}

/// Trains `mnist-cnn`, writes `mnist-cnn-{f32,f16,dynamic,int8,int8-uint8io,int16x8}.tflite`, evaluates each on every test
/// image, times each, and writes `report.html` and `report.json` beside them; returns what the report holds.
///
/// # Errors
/// Those of reading the data, of training, and of writing the files.
pub fn run(options: &DemoOptions, progress: &mut dyn Progress) -> Result<Report> {
    let clock = Stopwatch::start();
    std::fs::create_dir_all(&options.out).map_err(|error| Error::io(options.out.display(), error))?;
    let dataset = open(&options.data, &OpenOptions::default())?;
    let test = dataset.require(SplitKind::Test)?;
    let preprocess = dataset.require(SplitKind::Train)?.default_preprocess()?;
    let data = train_data(&dataset, 0.1, options.seed, preprocess)?;
    progress.note(&format!(
        "training mnist-cnn on {} images of {}, {} for validation",
        data.train.len(),
        dataset.name,
        data.validation.as_ref().map_or(0, Split::len)
    ));
    let graph = zoo::architecture("mnist-cnn")?.graph(options.seed)?;
    let config = TrainConfig {
        epochs: options.epochs as usize,
        batch: 64,
        seed: options.seed,
        learning_rate: Some(2e-3),
        schedule: Schedule::OneCycle { rise: 0.3, div_factor: 10.0, final_div_factor: 100.0 },
        ..TrainConfig::default()
    };
    let threads = options.threads;
    let job = TrainJob {
        name: "mnist-cnn",
        graph: &graph,
        config,
        options: TrainOptions { threads, source: "mnist-cnn".into(), ..TrainOptions::default() },
        data: &data,
        resume: None,
        metrics: None,
        io: (IoType::Float32, IoType::Float32),
    };
    let trained = train_model(job, progress)?;

    let session = SessionOptions { threads, ..SessionOptions::default() };
    progress.note(&format!("quantizing with {CALIBRATION_SAMPLES} training images"));
    let mut results = Vec::new();
    let mut evaluations = Vec::new();
    for (name, kind, config) in files_to_make(options.seed) {
        let (model, report) = quantize_on(&trained.model, Some(&data.train), &config, Vec::new(), &session, progress)?;
        report.quantization.warnings.iter().for_each(|warning| progress.note(&format!("warning: {name}: {warning}")));
        let file = format!("mnist-cnn-{name}.tflite");
        let bytes = crate::save_model(&options.out.join(&file), &model, Existing::Replace)?;
        // What is evaluated is the file, as anybody would load it.
        let model = crate::load_model(&options.out.join(&file))?.model;
        progress.note(&format!("evaluating {file}"));
        let mut predictor = Predictor::for_split(&model, session.clone(), test)?;
        let mut reference = match kind {
            ModelKind::Float32 => None,
            _ => Some(Predictor::for_split(&trained.model, session.clone(), test)?),
        };
        let evaluate_options = EvaluateOptions { batch: 100, ..EvaluateOptions::default() };
        let (evaluation, agreement) = evaluate(&mut predictor, reference.as_mut(), test, &evaluate_options, progress)?;
        let metrics = evaluation.finish();
        results.push(ModelResult {
            agreement: agreement.map(|agreement| agreement.finish()),
            timing: Some(time_one(&model, &session)?),
            ..ModelResult::new(name, &file, kind, bytes, &metrics)
        });
        if matches!(kind, ModelKind::Float32 | ModelKind::Int8Uint8Io) {
            evaluations.push(report_evaluation(name, "the MNIST test set", test, metrics)?);
        }
    }

    let report = Report {
        title: "mnist-cnn on MNIST".into(),
        subtitle: format!(
            "One network, six files: trained on {} handwritten digits, evaluated on {} others.",
            data.train.len(),
            test.len()
        ),
        comparison: Some(Comparison {
            data: "the MNIST test set".into(),
            sample_noun: "image".into(),
            reference: 0,
            models: results,
        }),
        training: Some(trained.training),
        evaluations,
        layers: Some(ModelSummary::of(trained.model.main()?)?),
        machine: Some(Machine::detect()),
        facts: vec![
            Fact::new("Litesmith", env!("CARGO_PKG_VERSION")),
            Fact::new("threads", threads),
            Fact::new("calibration images", CALIBRATION_SAMPLES),
            Fact::new("seconds from start to this report", format!("{:.0}", clock.elapsed_seconds())),
        ],
        reproduce: vec![format!(
            "litesmith demo --epochs {} --seed {} --threads {threads}",
            options.epochs, options.seed
        )],
        ..Report::default()
    };
    save_text(&options.out.join("report.json"), &report.write_json()?)?;
    save_text(&options.out.join("report.html"), &render_html(&report))?;
    Ok(report)
}

/// Time of one image at a time.
fn time_one(model: &Model, options: &SessionOptions) -> Result<litesmith_measure::Timing> {
    let mut session = Session::new(model, options.clone())?;
    let timing = TimingOptions { warmup_runs: 20, runs: 500, ..TimingOptions::default() };
    time(&timing, || session.run())
}

fn save_text(path: &Path, text: &str) -> Result<()> {
    files::save(path, text.as_bytes(), Existing::Replace)
}

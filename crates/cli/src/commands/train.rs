//! `train`.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use litesmith::compress::IoType;
use litesmith::data::{Augment, SplitKind};
use litesmith::measure::{Fact, Machine, ModelSummary, Report, format, render_html};
use litesmith::recipe::hinted;
use litesmith::train::{
    EarlyStopping, Ended, Optimizer, Qat, QatGranularity, QatMethod, QatWeights, Schedule, TrainConfig, TrainOptions,
};
use litesmith::{
    Error, Predictor, Result, SessionOptions, TrainJob, files, load_architecture, preprocess_for, train_data,
    train_model,
};

use super::{existing, load_float, open_data};
use crate::Verdict;
use crate::args::{GranularityArg, OptimizerArg, QatMethodArg, ScheduleArg, TrainArgs, TrainingArgs, WeightsArg};
use crate::output::Output;

pub(crate) fn run(args: &TrainArgs, output: &Output) -> Result<Verdict> {
    // Refuse what would fail in the end before the work, not after.
    // Metrics of a run that goes on are added to those of its beginning.
    let metrics = args.metrics.as_ref().filter(|_| args.resume.is_none());
    for path in [Some(&args.out.out), args.html.as_ref(), metrics].into_iter().flatten() {
        files::check_absent(path, existing(args.out.force))?;
    }
    // A checkpoint is overwritten by the run that goes on from it, and by no other.
    if let Some(path) = args.checkpoint.as_ref().filter(|path| Some(*path) != args.resume.as_ref()) {
        files::check_absent(path, existing(args.out.force)).map_err(|error| match path.is_file() {
            true => {
                error.with_hint(format!("pass --resume {0} to go on from it, or --force to replace it", path.display()))
            }
            false => error,
        })?;
    }
    let config = config(args)?;
    // Before the data, which may take long to open.
    let model = args.model.as_ref().map(|path| load_float(path, output)).transpose()?.map(|loaded| loaded.model);
    let dataset = open_data(&args.data.data, args.data.skip_bad, output)?;
    let train = dataset.require(SplitKind::Train)?;
    let (graph, source, preprocess) = match (&args.arch, args.model.as_ref().zip(model.as_ref())) {
        (Some(arch), _) => {
            let architecture = load_architecture(arch, Some(train.classes().len()))?;
            let graph = architecture.graph(config.seed)?;
            let preprocess = preprocess_for(&graph, train)?;
            (graph, architecture.name.clone(), preprocess)
        }
        (None, Some((path, model))) => {
            let predictor = Predictor::for_split(model, SessionOptions::default(), train)
                .map_err(|error| error.at(path.display()))?;
            let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let name = Some(model.metadata.name.clone()).filter(|name| !name.is_empty()).unwrap_or_else(stem);
            (model.main()?.clone(), name, predictor.preprocess().clone())
        }
        (None, None) => return Err(Error::invalid("train", "got neither --arch nor --model")),
    };
    let data = train_data(&dataset, args.training.validation, config.seed, preprocess)?;
    let metrics = match &args.metrics {
        Some(path) => {
            let mut file = std::fs::OpenOptions::new();
            let file = match args.resume {
                Some(_) => file.append(true).create(true),
                None => file.write(true).create(true).truncate(true),
            };
            let file = file.open(path).map_err(|error| Error::io(path.display(), error))?;
            Some((Box::new(BufWriter::new(file)) as Box<dyn Write>, args.metrics_steps))
        }
        None => None,
    };
    let io = |own: Option<_>| own.or(args.qat.io).map_or(IoType::Float32, IoType::from);
    let job = TrainJob {
        name: &source,
        graph: &graph,
        config,
        options: TrainOptions {
            threads: output.threads,
            isa: args.isa,
            checkpoint: args.checkpoint.clone().or_else(|| args.resume.clone()),
            checkpoint_every: args.checkpoint_every,
            cancel: Some(cancel_on_interrupt()?),
            source: source.clone(),
            ..TrainOptions::default()
        },
        data: &data,
        resume: args.resume.as_deref(),
        metrics,
        io: (io(args.qat.input_type), io(args.qat.output_type)),
    };
    let trained = train_model(job, &mut output.progress())?;
    let report = &trained.report;
    if report.ended == Ended::Cancelled {
        match args.checkpoint.as_ref().or(args.resume.as_ref()) {
            Some(path) => {
                output.say(&format!("interrupted; the same command with --resume {} goes on from here", path.display()))
            }
            None => output.say("interrupted; with --checkpoint FILE it could be resumed"),
        }
        if output.json {
            output.print_json(&serde_json::json!({
                "model": null, "ended": report.ended, "history": report.history, "updates": report.updates,
                "checkpoint": args.checkpoint.as_ref().or(args.resume.as_ref()),
            }))?;
        }
        return Ok(Verdict::Interrupted);
    }
    if let Some(quantization) = &trained.quantization {
        for warning in &quantization.warnings {
            output.warn(warning);
        }
        for kept in &quantization.kept_float {
            output.warn(&format!("{} stays float32: {}", kept.op, kept.reason));
        }
    }
    let bytes = litesmith::save_model(&args.out.out, &trained.model, existing(args.out.force))?;
    if let Some(path) = &args.html {
        let page = Report {
            title: format!("Training {source} on {}", dataset.name),
            training: Some(trained.training.clone()),
            layers: Some(ModelSummary::of(trained.model.main()?)?),
            machine: Some(Machine::detect()),
            facts: vec![Fact::new("Litesmith", env!("CARGO_PKG_VERSION")), Fact::new("threads", output.threads)],
            ..Report::default()
        };
        files::save(path, render_html(&page).as_bytes(), existing(args.out.force))?;
    }
    let best = report.best_epoch.and_then(|best| report.history.iter().find(|epoch| epoch.epoch == best));
    if output.json {
        output.print_json(&serde_json::json!({
            "model": args.out.out, "file_bytes": bytes, "best_epoch": report.best_epoch, "ended": report.ended,
            "history": report.history, "skipped_samples": dataset.skipped.len(),
        }))?;
        return Ok(Verdict::Good);
    }
    let chosen = best.map_or(String::new(), |epoch| match epoch.validation {
        Some(validation) => {
            format!(", weights of epoch {}, validation accuracy {}", epoch.epoch, format::percent(validation.accuracy))
        }
        None => format!(", weights of epoch {}", epoch.epoch),
    });
    output.print(&format!("{}: {}{chosen}", args.out.out.display(), format::bytes(bytes)))?;
    Ok(Verdict::Good)
}

fn config(args: &TrainArgs) -> Result<TrainConfig> {
    let mut config = training(&args.training, TrainConfig { epochs: 10, ..TrainConfig::default() })?;
    if let Some(optimizer) = args.optimizer {
        config.optimizer = match optimizer {
            OptimizerArg::Sgd => Optimizer::sgd(0.9, true),
            OptimizerArg::Adam => Optimizer::adam(),
            OptimizerArg::Adamw => Optimizer::adam_w(),
            OptimizerArg::Rmsprop => Optimizer::rms_prop(),
        };
    }
    if let Some(schedule) = args.schedule {
        config.schedule = match schedule {
            ScheduleArg::Constant => Schedule::Constant,
            ScheduleArg::Step => Schedule::Step { epochs: config.epochs.div_ceil(3).max(1), factor: 0.1 },
            ScheduleArg::Cosine => Schedule::Cosine { final_factor: 0.0 },
            ScheduleArg::OneCycle => Schedule::OneCycle { rise: 0.3, div_factor: 25.0, final_div_factor: 10_000.0 },
        };
    }
    if let Some(preset) = &args.augment {
        config.augment = Augment::preset(preset)?;
    }
    config.weight_decay = args.weight_decay.or(config.weight_decay);
    config.label_smoothing = args.label_smoothing.unwrap_or(config.label_smoothing);
    config.ema_momentum = args.ema.or(config.ema_momentum);
    if let Some(patience) = args.patience {
        let min_delta = config.early_stopping.map_or(0.0, |stopping| stopping.min_delta);
        config.early_stopping = Some(EarlyStopping { patience, min_delta });
    }
    config.preserve &= !args.no_preserve;
    config.qat = qat(args, config.qat)?;
    config.check()?;
    Ok(config)
}

/// Quantization-aware training by the file and the options, which win.
fn qat(args: &TrainArgs, file: Option<Qat>) -> Result<Option<Qat>> {
    let given = &args.qat;
    if given.qat.is_none() && file.is_none() {
        let options = [
            ("--qat-method", given.qat_method.is_some()),
            ("--qat-delay-epochs", given.qat_delay_epochs.is_some()),
            ("--qat-learning-rate", given.qat_learning_rate.is_some()),
            ("--granularity", given.granularity.is_some()),
            ("--io", given.io.is_some()),
            ("--input-type", given.input_type.is_some()),
            ("--output-type", given.output_type.is_some()),
        ];
        return match options.into_iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(Error::invalid(option, "it is for quantization-aware training")
                .with_hint("pass --qat int8 or int4, or give the configuration file a [qat]")),
            None => Ok(None),
        };
    }
    let mut qat = file.unwrap_or_default();
    qat.weights = match given.qat {
        Some(WeightsArg::Int8) => QatWeights::Int8,
        Some(WeightsArg::Int4) => QatWeights::Int4,
        None => qat.weights,
    };
    qat.method = match given.qat_method {
        Some(QatMethodArg::Ste) => QatMethod::Ste,
        Some(QatMethodArg::Lsq) => QatMethod::Lsq,
        None => qat.method,
    };
    qat.granularity = match given.granularity {
        Some(GranularityArg::PerChannel) => QatGranularity::PerChannel,
        Some(GranularityArg::PerTensor) => QatGranularity::PerTensor,
        None => qat.granularity,
    };
    qat.delay_epochs = given.qat_delay_epochs.or(qat.delay_epochs);
    qat.learning_rate = given.qat_learning_rate.or(qat.learning_rate);
    if args.model.is_some() {
        // The model is trained already: all epochs are quantized ones.
        qat.delay_epochs = qat.delay_epochs.or(Some(0));
        qat.learning_rate = qat.learning_rate.or(args.training.learning_rate);
    }
    Ok(Some(qat))
}

/// The training configuration in the file that is named, or else `default`, with the options that win over it.
pub(super) fn training(args: &TrainingArgs, default: TrainConfig) -> Result<TrainConfig> {
    let mut config = args.config.as_deref().map_or(Ok(default), load_config)?;
    config.epochs = args.epochs.unwrap_or(config.epochs);
    config.batch = args.batch_size.unwrap_or(config.batch);
    config.learning_rate = args.learning_rate.or(config.learning_rate);
    config.seed = args.seed.unwrap_or(config.seed);
    if !args.teacher.is_empty() {
        config.distill.get_or_insert_default().teacher.clone_from(&args.teacher);
    }
    Ok(config)
}

/// The training configuration in a file.
fn load_config(path: &Path) -> Result<TrainConfig> {
    let bytes = files::load(path, 1 << 20)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::malformed(path.display(), format!("it is no UTF-8 text: {error}")))?;
    let mut config = TrainConfig::from_toml(&text).map_err(|error| hinted(error.at(path.display())))?;
    // A file names others as seen from where it lies.
    if let (Some(distill), Some(folder)) = (&mut config.distill, path.parent()) {
        distill.teacher.iter_mut().for_each(|teacher| *teacher = folder.join(&*teacher));
    }
    Ok(config)
}

/// A flag that Ctrl-C sets; a second Ctrl-C ends the process at once.
pub(super) fn cancel_on_interrupt() -> Result<Arc<AtomicBool>> {
    let cancel = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancel);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })
    .map_err(|error| Error::invalid("Ctrl-C", format!("it cannot be caught: {error}")))?;
    Ok(cancel)
}

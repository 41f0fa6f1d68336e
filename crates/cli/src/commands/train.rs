//! `train`.

use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use litesmith::data::{Augment, SplitKind};
use litesmith::graph::Graph;
use litesmith::measure::{Fact, Machine, ModelSummary, Report, format, render_html};
use litesmith::train::{EarlyStopping, Ended, Optimizer, Schedule, TrainConfig, TrainOptions};
use litesmith::{Error, Predictor, Result, SessionOptions, TrainJob, files, train_data, train_model};

use super::summary::architecture;
use super::{existing, load_model, open_data};
use crate::Verdict;
use crate::args::{OptimizerArg, ScheduleArg, TrainArgs};
use crate::output::Output;

pub(crate) fn run(args: &TrainArgs, output: &Output) -> Result<Verdict> {
    // Refuse what would fail in the end before the work, not after.
    for path in [Some(&args.out.out), args.html.as_ref(), args.metrics.as_ref()].into_iter().flatten() {
        files::check_absent(path, existing(args.out.force))?;
    }
    // A checkpoint is overwritten by the run that goes on from it, and by no other.
    if let Some(path) = args.checkpoint.as_ref().filter(|path| Some(*path) != args.resume.as_ref()) {
        files::check_absent(path, existing(args.out.force)).map_err(|error| {
            error.with_hint(format!("pass --resume {0} to go on from it, or --force to replace it", path.display()))
        })?;
    }
    let config = config(args)?;
    let dataset = open_data(&args.data.data, args.data.skip_bad, output)?;
    let train = dataset.require(SplitKind::Train)?;
    let (graph, source, preprocess) = match (&args.arch, &args.model) {
        (Some(arch), _) => {
            let graph = architecture(arch)?.graph(config.seed)?;
            let mut preprocess = train.default_preprocess()?;
            fit_to_input(&graph, &mut preprocess);
            (graph, arch.clone(), preprocess)
        }
        (None, Some(path)) => {
            let model = load_model(path, output)?;
            let predictor = Predictor::new(&model, SessionOptions::default(), train.shape())
                .map_err(|error| error.at(path.display()))?;
            (model.main()?.clone(), path.display().to_string(), predictor.preprocess().clone())
        }
        (None, None) => return Err(Error::invalid("train", "got neither --arch nor --model")),
    };
    let data = train_data(&dataset, args.validation, config.seed, preprocess)?;
    let metrics = match &args.metrics {
        Some(path) => {
            let file = std::fs::File::create(path).map_err(|error| Error::io(path.display(), error))?;
            Some((Box::new(BufWriter::new(file)) as Box<dyn Write>, args.metrics_steps))
        }
        None => None,
    };
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
        },
        data: &data,
        resume: args.resume.as_deref(),
        metrics,
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
        return Ok(Verdict::Bad);
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

/// The network says how large its images are; image files of another size are resized.
fn fit_to_input(graph: &Graph, preprocess: &mut litesmith::data::Preprocess) {
    if let Some(&input) = graph.inputs.first()
        && let [_, height, width, rest @ ..] = graph.tensor(input).shape.as_slice()
    {
        (preprocess.height, preprocess.width) = (*height, *width);
        preprocess.channels = rest.first().copied().unwrap_or(1);
    }
}

fn config(args: &TrainArgs) -> Result<TrainConfig> {
    let mut config = match &args.config {
        Some(path) => {
            let bytes = files::load(path, 1 << 20)?;
            let text = String::from_utf8(bytes)
                .map_err(|error| Error::malformed(path.display(), format!("it is no UTF-8 text: {error}")))?;
            TrainConfig::from_toml(&text).map_err(|error| error.at(path.display()))?
        }
        None => TrainConfig { epochs: 10, ..TrainConfig::default() },
    };
    config.epochs = args.epochs.unwrap_or(config.epochs);
    config.batch = args.batch_size.unwrap_or(config.batch);
    config.seed = args.seed.unwrap_or(config.seed);
    if let Some(optimizer) = args.optimizer {
        config.optimizer = match optimizer {
            OptimizerArg::Sgd => Optimizer::sgd(0.9, true),
            OptimizerArg::Adam => Optimizer::adam(),
            OptimizerArg::Adamw => Optimizer::adam_w(),
            OptimizerArg::Rmsprop => Optimizer::rms_prop(),
        };
    }
    config.learning_rate = args.learning_rate.or(config.learning_rate);
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
    config.check()?;
    Ok(config)
}

/// A flag that Ctrl-C sets; a second Ctrl-C ends the process at once.
fn cancel_on_interrupt() -> Result<Arc<AtomicBool>> {
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

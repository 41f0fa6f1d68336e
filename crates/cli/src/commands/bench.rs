//! `bench`.

use std::time::Duration;

use litesmith::bench::{BenchModel, InferenceBench, TrainBench, TrainTimes, inference, train};
use litesmith::data::SplitKind;
use litesmith::measure::{Stopwatch, TimingOptions, format};
use litesmith::train::TrainConfig;
use litesmith::{Error, Result, load_architecture, preprocess_for};

use super::{load_arrays, load_model, open_data, session_options};
use crate::Verdict;
use crate::args::{BenchArgs, BenchTrainArgs, BenchWhat};
use crate::output::Output;

pub(crate) fn run(args: &BenchArgs, output: &Output) -> Result<Verdict> {
    match &args.what {
        Some(BenchWhat::Train(args)) => bench_train(args, output),
        None => bench_models(args, output),
    }
}

fn bench_models(args: &BenchArgs, output: &Output) -> Result<Verdict> {
    let mut models = Vec::with_capacity(args.models.len());
    for path in &args.models {
        let clock = Stopwatch::start();
        let model = load_model(path, output)?;
        models.push(BenchModel { name: path.display().to_string(), model, load_ns: clock.elapsed_ns() });
    }
    let report = inference(&InferenceBench {
        models: &models,
        signature: args.signature.as_deref(),
        threads: &output.thread_counts,
        batch: args.batch.map(|batch| batch as usize),
        arrays: &load_arrays(&args.input)?,
        session: session_options(&args.runtime, output),
        timing: TimingOptions {
            warmup_runs: args.warmup,
            runs: args.runs,
            time_limit: Some(Duration::from_secs_f64(args.seconds)),
        },
        profile: args.profile,
        seed: args.seed,
    })?;
    if output.json {
        output.print_json(&serde_json::to_value(&report).map_err(|error| Error::invalid("bench", error))?)?;
    } else {
        output.print(&report.to_text())?;
    }
    Ok(Verdict::Good)
}

fn bench_train(args: &BenchTrainArgs, output: &Output) -> Result<Verdict> {
    let dataset = open_data(&args.data.data, args.data.skip_bad, output)?;
    let all = dataset.require(SplitKind::Train)?;
    let graph = load_architecture(&args.arch, Some(all.classes().len()))?.graph(0)?;
    let split = args.images.map_or_else(|| all.clone(), |images| all.take(images));
    let goal = args
        .to_accuracy
        .map(|percent| Ok::<_, Error>((dataset.require(SplitKind::Test)?, percent / 100.0)))
        .transpose()?;
    let config = TrainConfig {
        epochs: args.epochs,
        batch: args.batch,
        learning_rate: args.learning_rate,
        ..TrainConfig::default()
    };
    let times = train(&TrainBench {
        graph: &graph,
        config,
        threads: output.threads,
        isa: args.isa,
        preprocess: preprocess_for(&graph, &split)?,
        train: &split,
        goal,
        since_start: output.since_start,
    })?;
    let reached = args.to_accuracy.is_none() || times.seconds_to_goal.is_some();
    if output.json {
        let mut json = serde_json::to_value(&times).map_err(|error| Error::invalid("bench", error))?;
        json["isa"] = args.isa.unwrap_or_else(litesmith::Isa::detect).name().into();
        output.print_json(&json)?;
    } else {
        output.print(&to_text(args, &times))?;
    }
    Ok(if reached { Verdict::Good } else { Verdict::Bad })
}

fn to_text(args: &BenchTrainArgs, times: &TrainTimes) -> String {
    let mut text = format!(
        "{} images/s with batches of {}\n{:.0} GFLOP/s, {} of the {:.0} that this machine's multiply-adds reach\n{:.2} s \
         from the start of the process to the end of the first step\n",
        format::count(times.images_per_s.round() as u64),
        args.batch,
        times.gflops,
        format::percent(times.gflops / times.peak_gflops),
        times.peak_gflops,
        times.start_to_first_step_s,
    );
    if let Some(bytes) = times.peak_rss_bytes {
        text += &format!("{} of memory at the peak\n", format::bytes(bytes));
    }
    match (args.to_accuracy, times.seconds_to_goal) {
        (Some(goal), Some(seconds)) => text += &format!("{seconds:.1} s of training to {goal} % on the test set\n"),
        (Some(goal), None) => text += &format!("{goal} % on the test set was not reached in {} epochs\n", args.epochs),
        (None, _) => {}
    }
    text
}

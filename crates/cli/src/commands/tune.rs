//! `tune`.

use std::path::{Path, PathBuf};

use litesmith::measure::{Align, TextTable, format};
use litesmith::tune::{Ended, NotHonoured, Trial, TuneConfig, TuneData, TuneJob, TuneReport, tune};
use litesmith::{Error, Result, files};

use super::train::cancel_on_interrupt;
use super::{existing, load_unquantized, session_options};
use crate::Verdict;
use crate::args::TuneArgs;
use crate::output::Output;

pub(crate) fn run(args: &TuneArgs, output: &Output) -> Result<Verdict> {
    files::check_absent(&args.out.out, existing(args.out.force))?;
    let bytes = files::load(&args.config, 1 << 18)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::malformed(args.config.display(), format!("it is no UTF-8 text: {error}")))?;
    let config = TuneConfig::from_yaml(&text).map_err(|error| error.at(args.config.display()))?;
    let path = model_path(args, &config)?;
    name_not_honoured(&args.config, &config.not_honoured, args.data.is_some(), output);
    let model = load_unquantized(&path, output)?.model;
    let data = TuneData::open(&config, args.data.as_deref(), args.skip_bad)?;
    for skipped in &data.skipped {
        output.warn(&format!("skipped: {skipped}"));
    }
    output.say(&format!("evaluating on {}", data.description));
    let cancel = cancel_on_interrupt()?;
    let job = TuneJob {
        model: &model,
        config: &config,
        data: &data,
        session: session_options(&args.runtime, output),
        out: &args.out.out,
        existing: existing(args.out.force),
        cancel: Some(&cancel),
    };
    let report = tune(&job, &mut output.progress())?;
    name_not_honoured(&args.config, &report.not_honoured, false, output);
    if output.json {
        let mut json = serde_json::to_value(&report).map_err(|error| Error::invalid("--json", error))?;
        let not: Vec<_> = config.not_honoured.iter().chain(&report.not_honoured).collect();
        json["not_honoured"] = serde_json::json!(not);
        json["model"] = serde_json::json!(report.best.map(|_| &args.out.out));
        json["samples"] = serde_json::json!(data.evaluation.len());
        output.print_json(&json)?;
    } else {
        print(args, &report, &config, output)?;
    }
    Ok(match (report.ended, report.met) {
        (Ended::Cancelled, _) => Verdict::Interrupted,
        (Ended::PerformanceOnly, _) | (_, true) => Verdict::Good,
        (_, false) => Verdict::Bad,
    })
}

/// `--model`, else what the configuration names, beside it or from here.
fn model_path(args: &TuneArgs, config: &TuneConfig) -> Result<PathBuf> {
    if let Some(path) = &args.model {
        return Ok(path.clone());
    }
    let named = config.model.as_deref().unwrap_or_default();
    let beside = args.config.parent().unwrap_or(Path::new("")).join(named);
    let candidates = [PathBuf::from(named), beside];
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        Error::invalid(args.config.display(), format!("it names no model that is there: got {named:?}"))
            .with_hint("pass --model MODEL, a float .tflite file, or name one by model.path")
    })
}

/// One warning for all keys without effect. What `--data` stands in for needs no word.
fn name_not_honoured(path: &Path, not: &[NotHonoured], has_data: bool, output: &Output) {
    let is_replaced = |not: &&NotHonoured| has_data && not.key.contains(".dataloader.dataset.");
    let lines: Vec<_> =
        not.iter().filter(|not| !is_replaced(not)).map(|not| format!("\n  {}: {}", not.key, not.reason)).collect();
    if !lines.is_empty() {
        output.warn(&format!("{}: these keys have no effect:{}", path.display(), lines.concat()));
    }
}

fn print(args: &TuneArgs, report: &TuneReport, config: &TuneConfig, output: &Output) -> Result<()> {
    let mut table = TextTable::new(&[
        ("trial", Align::Right),
        ("stage", Align::Left),
        ("settings", Align::Left),
        ("float32", Align::Right),
        ("accuracy", Align::Right),
        ("loss", Align::Right),
        ("latency", Align::Right),
        ("size", Align::Right),
    ]);
    let accuracy = |accuracy: Option<f64>| accuracy.map_or("-".into(), format::percent);
    if let Some(float) = &report.baseline {
        let [latency, size] = [format::duration_ns(float.latency_ns), format::bytes(float.file_bytes)];
        table.row(["", "", "float model", "", &accuracy(float.accuracy), "", &latency, &size]);
    }
    for (index, trial) in report.trials.iter().enumerate() {
        table.row([
            format!("{}{}", if report.best == Some(index) { "* " } else { "" }, index + 1),
            trial.stage.clone(),
            trial.settings.clone(),
            match trial.float_ops.as_slice() {
                [op] => op.clone(),
                ops => ops.len().to_string(),
            },
            accuracy(trial.accuracy),
            trial.loss.map_or("-".into(), format::percent),
            format::duration_ns(trial.latency_ns),
            format::bytes(trial.file_bytes),
        ]);
    }
    output.print(&table.to_string())?;
    let Some(best) = report.best.and_then(|best| report.trials.get(best)) else {
        return output.print("no model was finished");
    };
    output.print(&format!(
        "{}: {}, {}{}",
        args.out.out.display(),
        format::bytes(best.file_bytes),
        best.settings,
        floats(best)
    ))?;
    let limit = format::percent(config.criterion.tolerance);
    let kind = if config.criterion.relative { "relative" } else { "absolute" };
    match (report.ended, report.met) {
        (Ended::PerformanceOnly, _) => Ok(()),
        (_, true) => output.print(&format!("the accuracy criterion is met: {kind} loss of at most {limit}")),
        (ended, false) => {
            let why = match ended {
                Ended::MaxTrials => "; max_trials ended the search",
                Ended::Timeout => "; timeout ended the search",
                Ended::Cancelled => "; the search was interrupted",
                Ended::Met | Ended::Exhausted | Ended::PerformanceOnly => "; everything was tried",
            };
            output.print(&format!("the accuracy criterion is not met: {kind} loss of at most {limit}{why}"))
        }
    }
}

fn floats(trial: &Trial) -> String {
    match trial.float_ops.is_empty() {
        true => String::new(),
        false => format!("; in float32: {}", trial.float_ops.join(", ")),
    }
}

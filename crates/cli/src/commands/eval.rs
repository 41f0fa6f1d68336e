//! `eval`.

use litesmith::data::OpenOptions;
use litesmith::measure::{Align, Machine, ModelSummary, Report, TextTable, format, render_html};
use litesmith::{EvaluateOptions, Predictor, Result, evaluate, files, report_evaluation};

use super::{assume_normalization, existing, load_model, open_data_with, session_options};
use crate::Verdict;
use crate::args::EvalArgs;
use crate::output::Output;

pub(crate) fn run(args: &EvalArgs, output: &Output) -> Result<Verdict> {
    if let Some(path) = &args.html {
        files::check_absent(path, existing(args.force))?;
    }
    let mut model = load_model(&args.model, output)?;
    assume_normalization(&mut model, &args.normalization, &args.model)?;
    let classes = Some(args.classes.clone()).filter(|classes| !classes.is_empty());
    let open = OpenOptions { skip_bad: args.data.skip_bad, classes, ..OpenOptions::default() };
    let dataset = open_data_with(&args.data.data, open, output)?;
    let (kind, split) = match args.split {
        Some(kind) => (kind.into(), dataset.require(kind.into())?),
        None => dataset.evaluation()?,
    };
    let session = session_options(&args.runtime, output);
    let mut predictor =
        Predictor::for_split(&model, session.clone(), split).map_err(|error| error.at(args.model.display()))?;
    if let Some(mismatch) = predictor.mismatch(split) {
        output.warn(&mismatch);
    }
    let mut reference = match &args.against {
        Some(path) => {
            let mut model = load_model(path, output)?;
            if model.metadata.inputs.iter().all(|input| input.normalization.is_none()) {
                assume_normalization(&mut model, &args.normalization, path)?;
            }
            Some(Predictor::for_split(&model, session, split).map_err(|error| error.at(path.display()))?)
        }
        None => None,
    };
    let options =
        EvaluateOptions { batch: args.batch_size as usize, top_k: args.top_k.clone(), ..EvaluateOptions::default() };
    let (evaluation, agreement) =
        evaluate(&mut predictor, reference.as_mut(), split, &options, &mut output.progress())?;
    let metrics = evaluation.finish();
    let agreement = agreement.map(|agreement| agreement.finish());

    if let Some(path) = &args.html {
        let report = Report {
            title: format!("{} on {} {kind}", args.model.display(), dataset.name),
            evaluations: vec![report_evaluation(
                &args.model.display().to_string(),
                &format!("{} {kind}", dataset.name),
                split,
                metrics.clone(),
            )?],
            layers: Some(ModelSummary::of(model.main()?)?),
            machine: Some(Machine::detect()),
            ..Report::default()
        };
        files::save(path, render_html(&report).as_bytes(), existing(args.force))?;
        output.say(&format!("wrote {}", path.display()));
    }
    let passed = args.floor.is_none_or(|floor| metrics.accuracy * 100.0 >= floor);
    if output.json {
        output.print_json(&serde_json::json!({
            "model": args.model, "data": dataset.name, "split": kind, "metrics": metrics, "agreement": agreement,
            "floor_percent": args.floor, "passed": passed, "skipped_samples": dataset.skipped.len(),
        }))?;
    } else {
        output.print(&metrics.to_text())?;
        if let Some(confusion) = metrics.confusion_text() {
            output.print(&format!("\n{confusion}"))?;
        }
        if let (Some(agreement), Some(path)) = (&agreement, &args.against) {
            output.print(&format!("\nagainst {}\n{}", path.display(), agreement.to_text()))?;
        }
    }
    if !passed {
        let mut table = TextTable::new(&[("accuracy", Align::Right), ("floor", Align::Right)]);
        table.row([format::percent(metrics.accuracy), format::percent(args.floor.unwrap_or_default() / 100.0)]);
        output.say(&format!("below the floor:\n{table}"));
        return Ok(Verdict::Bad);
    }
    Ok(Verdict::Good)
}

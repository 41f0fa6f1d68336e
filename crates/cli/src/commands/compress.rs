//! `compress`.

use litesmith::measure::{Align, TextTable, format};
use litesmith::recipe::{Recipe, RecipeRun, run_recipe};
use litesmith::search::{Goal, SearchEnded, SearchOptions, SearchReport, search};
use litesmith::{Error, Result, SessionOptions, files};

use super::train::cancel_on_interrupt;
use super::{existing, load_source, open_data};
use crate::Verdict;
use crate::args::CompressArgs;
use crate::output::Output;

pub(crate) fn run(args: &CompressArgs, output: &Output) -> Result<Verdict> {
    match &args.recipe {
        Some(path) => {
            let recipe = Recipe::load(path)?;
            let seed = args.seed.unwrap_or(recipe.seed);
            make(args, &Recipe { seed, ..recipe }, output)
        }
        None => look(args, output),
    }
}

/// Carries a recipe out.
fn make(args: &CompressArgs, recipe: &Recipe, output: &Output) -> Result<Verdict> {
    files::check_absent(&args.out, existing(args.force))?;
    let Some(data) = args.data.as_ref().or(recipe.data.as_ref()) else {
        return Err(Error::invalid("--data", "neither the command line nor the recipe names a data set"));
    };
    let dataset = open_data(data, args.skip_bad, output)?;
    let source = args.model.as_ref().map(|path| load_source(path, output)).transpose()?;
    let model = source.map(|source| source.model);
    let run = RecipeRun {
        dataset: &dataset,
        model: model.as_ref(),
        session: SessionOptions { threads: output.threads, ..SessionOptions::default() },
        cancel: Some(cancel_on_interrupt()?),
        keep: args.keep.clone(),
        rescue: Some(args.out.clone()),
    };
    let Some(made) = run_recipe(recipe, &run, &mut output.progress())? else {
        output.say(&match &args.keep {
            Some(folder) => format!("interrupted; the same command goes on with what {} holds", folder.display()),
            None => format!("interrupted; {} was not made: with --keep DIR such a run can go on", args.out.display()),
        });
        return Ok(Verdict::Interrupted);
    };
    files::save(&args.out, &made.bytes, existing(args.force))?;
    let packed = litesmith::tflite::Packed::of(&made.bytes);
    if output.json {
        let steps = recipe.steps.iter().zip(made.seconds.iter().zip(&made.notes));
        let steps: Vec<_> = steps
            .map(|(step, (seconds, note))| serde_json::json!({ "do": step.name(), "seconds": seconds, "note": note }))
            .collect();
        output.print_json(&serde_json::json!({
            "model": args.out, "file_bytes": made.bytes.len(), "steps": steps,
            "gzip_bytes": packed.gzip, "zstd_bytes": packed.zstd,
        }))?;
        return Ok(Verdict::Good);
    }
    let mut table = TextTable::new(&[("step", Align::Left), ("seconds", Align::Right), ("", Align::Left)]);
    for (step, (seconds, note)) in recipe.steps.iter().zip(made.seconds.iter().zip(&made.notes)) {
        table.row([step.name(), &format!("{seconds:.1}"), note]);
    }
    output.say(&table.to_string());
    output.print(&format!(
        "{}: {}{}",
        args.out.display(),
        format::bytes(made.bytes.len() as u64),
        format::packed(packed)
    ))?;
    Ok(Verdict::Good)
}

/// Searches.
fn look(args: &CompressArgs, output: &Output) -> Result<Verdict> {
    let goal = match (args.floor, args.max_drop, args.budget, args.latency_us) {
        (Some(floor), ..) => Goal::Floor(floor / 100.0),
        (_, Some(drop), ..) => Goal::MaxDrop(drop / 100.0),
        (_, _, Some(bytes), _) => Goal::Budget(bytes),
        (_, _, _, Some(most)) => Goal::LatencyUs(most),
        _ => {
            return Err(Error::invalid("compress", "got no goal")
                .with_hint("pass --floor, --max-drop, --budget or --latency-us"));
        }
    };
    let (Some(path), Some(data)) = (&args.model, &args.data) else {
        return Err(Error::invalid("compress", "a search needs a model and --data"));
    };
    let model = load_source(path, output)?.model;
    let dataset = open_data(data, args.skip_bad, output)?;
    let options = SearchOptions {
        goal,
        model_name: path.display().to_string(),
        out: args.out.clone(),
        resume: args.resume,
        seed: args.seed.unwrap_or(1),
        epochs: args.epochs as usize,
        validation: args.validation,
        seconds_max: args.time_limit,
        session: SessionOptions { threads: output.threads, ..SessionOptions::default() },
        cancel: cancel_on_interrupt()?,
    };
    let report = search(&model, &dataset, &options, &mut output.progress())?;
    let best = &report.points[report.best];
    if output.json {
        output.print_json(&serde_json::json!({
            "goal": goal.to_string(), "reached": report.reached, "best": best, "out": args.out,
            "front": report.front.iter().map(|&index| &report.points[index]).collect::<Vec<_>>(),
            "models": report.points.len() - 1, "test_accuracy": report.test_accuracy,
            "reached_on_test": report.reached_on_test,
            "ended": match report.ended {
                SearchEnded::Finished => "finished",
                SearchEnded::TimeLimit => "time limit",
                SearchEnded::Cancelled => "cancelled",
            },
        }))?;
    } else {
        output.print(&front(&report))?;
        let tested = report.test_accuracy.map_or(String::new(), |[given, found]| {
            let change = format::points(found - given);
            format!("; on the test samples {} ({change})", format::percent(found))
        });
        let file = args.out.join("best.tflite");
        output.print(&format!("{}: {}, {}{tested}", file.display(), best.name, format::bytes(best.bytes)))?;
        output.say(&format!("report: {}", args.out.join("report.html").display()));
    }
    if report.ended != SearchEnded::Finished {
        output.say("the search is not at its end; the same command with --resume goes on");
    }
    if let (true, Some(false), Some([given, found])) = (report.reached, report.reached_on_test, report.test_accuracy) {
        output.warn(&format!(
            "met on the validation samples, missed on the test samples: {goal}; they give {} of {}. A larger margin, or more \
             validation samples, makes such a surprise less likely",
            format::percent(found),
            format::percent(given)
        ));
    }
    if !report.reached {
        let file = args.out.join("best.tflite");
        output.warn(&format!(
            "not reached: {goal}; saved is the nearest found, {} of {}: {}",
            format::percent(best.accuracy),
            format::bytes(best.bytes),
            file.display()
        ));
    }
    Ok(match report.ended {
        SearchEnded::Cancelled => Verdict::Interrupted,
        _ if report.reached => Verdict::Good,
        _ => Verdict::Bad,
    })
}

/// The front as a table, the best marked.
fn front(report: &SearchReport) -> String {
    let mut table = TextTable::new(&[
        ("model", Align::Left),
        ("bytes", Align::Right),
        ("gzip", Align::Right),
        ("zstd", Align::Right),
        ("accuracy", Align::Right),
        ("change", Align::Right),
        ("latency p50", Align::Right),
        ("file", Align::Left),
    ]);
    let given = &report.points[0];
    for &index in &report.front {
        let point = &report.points[index];
        table.row([
            format!("{}{}", if index == report.best { "* " } else { "  " }, point.name),
            format::count(point.bytes),
            point.gzip_bytes.map_or_else(String::new, format::count),
            point.zstd_bytes.map_or_else(String::new, format::count),
            format::percent(point.accuracy),
            if index == 0 { "-".into() } else { format::points(point.accuracy - given.accuracy) },
            format::duration_ns((point.latency_us * 1000.0) as u64),
            point.file.clone(),
        ]);
    }
    table.to_string()
}

//! `diff`.

use litesmith::compare::{Difference, NumericDiff, Side, compare_numerically, structure_differences};
use litesmith::measure::{Align, TextTable, format};
use litesmith::{Error, Isa, Numerics, Result, SessionOptions, inspect_model};

use super::{arena_bytes_max, load_arrays, load_model};
use crate::Verdict;
use crate::args::DiffArgs;
use crate::output::Output;

/// Rows of a table; JSON has all.
const ROWS: usize = 60;

pub(crate) fn run(args: &DiffArgs, output: &Output) -> Result<Verdict> {
    for (what, count) in
        [("--numerics", args.numerics.len()), ("--isa", args.isa.len()), ("--threads", output.thread_counts.len())]
    {
        if count > 2 {
            return Err(Error::invalid(what, format!("got {count} values, expected one or two")));
        }
    }
    let structure = match &args.b {
        Some(b) => {
            let inspect = |path| inspect_model(path, &output.file_limits);
            structure_differences(&inspect(&args.a)?, &inspect(b)?)
        }
        None => Vec::new(),
    };
    // First, as the values of two models cannot always be compared.
    if args.b.is_some() && !output.json {
        output.print(&structure_text(&structure))?;
    }
    let numeric = if args.structure { None } else { Some(compare(args, output)?) };
    let same = numeric.as_ref().map_or(structure.is_empty(), |numeric| numeric.outputs_agree);
    if output.json {
        output.print_json(&serde_json::json!({
            "a": args.a, "b": args.b.as_ref().unwrap_or(&args.a), "structure": structure, "numeric": numeric,
            "tolerance": args.tolerance, "same": same,
        }))?;
    } else if let Some(numeric) = &numeric {
        output.print(&numeric_text(numeric, args))?;
    }
    Ok(if same { Verdict::Good } else { Verdict::Bad })
}

/// The two ways to run: each setting once for both, or once for each.
fn settings(args: &DiffArgs, output: &Output, side: usize) -> SessionOptions {
    fn of<T: Copy>(values: &[T], side: usize) -> Option<T> {
        values.get(side.min(values.len().saturating_sub(1))).copied()
    }
    SessionOptions {
        threads: of(&output.thread_counts, side).unwrap_or(output.threads),
        numerics: of(&args.numerics, side).map_or(Numerics::Litert, Numerics::from),
        isa: of(&args.isa, side),
        arena_bytes_max: arena_bytes_max(args.memory_limit),
        limits: output.session_limits.clone(),
        ..SessionOptions::default()
    }
}

fn compare(args: &DiffArgs, output: &Output) -> Result<NumericDiff> {
    let several = args.numerics.len().max(args.isa.len()).max(output.thread_counts.len()) > 1;
    if args.b.is_none() && !several {
        return Err(Error::invalid("diff", "there is one model and one way to run it").with_hint(
            "name a second model, or two ways: --numerics litert,reference or --isa scalar,avx2 or --threads 1,2",
        ));
    }
    let a = load_model(&args.a, output)?;
    let b = args.b.as_ref().map(|path| load_model(path, output)).transpose()?;
    let side = |index: usize| {
        let path = if index == 0 { &args.a } else { args.b.as_ref().unwrap_or(&args.a) };
        let session = settings(args, output, index);
        let isa = session.isa.unwrap_or_else(Isa::detect);
        let name = format!(
            "{} ({}, {isa}, {})",
            path.display(),
            session.numerics,
            format::plural(session.threads as u64, "thread")
        );
        Side {
            name,
            model: if index == 0 { &a } else { b.as_ref().unwrap_or(&a) },
            signature: args.signature.clone(),
            session,
        }
    };
    compare_numerically(&side(0), &side(1), &load_arrays(&args.input)?, args.seed, args.tolerance)
}

fn structure_text(differences: &[Difference]) -> String {
    if differences.is_empty() {
        return "structure: the same\n".into();
    }
    let columns = [("where", Align::Left), ("what", Align::Left), ("A", Align::Left), ("B", Align::Left)];
    let mut table = TextTable::new(&columns);
    let cell = |text: &str| if text.is_empty() { "-".to_owned() } else { format::shortened(text, 48) };
    for difference in differences.iter().take(ROWS) {
        let place = format::shortened(&difference.place, 48);
        table.row([place, cell(&difference.what), cell(&difference.a), cell(&difference.b)]);
    }
    format!(
        "structure: {}\n\n{table}{}",
        format::plural(differences.len() as u64, "difference"),
        more(differences.len())
    )
}

fn more(count: usize) -> String {
    count
        .checked_sub(ROWS)
        .filter(|&more| more > 0)
        .map_or_else(String::new, |more| format!("and {more} more; --json has all\n"))
}

fn numeric_text(numeric: &NumericDiff, args: &DiffArgs) -> String {
    let mut table = TextTable::new(&[
        ("op", Align::Left),
        ("tensor", Align::Left),
        ("A", Align::Left),
        ("differing", Align::Right),
        ("max", Align::Right),
        ("of range", Align::Right),
        ("mean", Align::Right),
        ("SQNR dB", Align::Right),
        ("cosine", Align::Right),
    ]);
    let shown: Vec<_> = numeric.tensors.iter().filter(|tensor| args.all || tensor.differing > 0).collect();
    for tensor in shown.iter().take(ROWS) {
        let output = if tensor.is_output { " (output)" } else { "" };
        table.row([
            tensor.op.clone(),
            format!("{}{output}", format::shortened(&tensor.name, 40)),
            tensor.kind.clone(),
            format::percent(tensor.differing as f64 / tensor.elements.max(1) as f64),
            format::number(tensor.max_abs),
            format::number(tensor.max_of_range),
            format::number(tensor.mean_abs),
            tensor.sqnr_db.map_or_else(|| "-".into(), |db| format!("{db:.1}")),
            format!("{:.6}", tensor.cosine),
        ]);
    }
    let differing = numeric.tensors.iter().filter(|tensor| tensor.differing > 0).count();
    let mut text = format!("\nvalues: {differing} of {} tensors differ\n", numeric.tensors.len());
    if numeric.unmatched_a + numeric.unmatched_b > 0 {
        text += &format!("without a counterpart: {} of A, {} of B\n", numeric.unmatched_a, numeric.unmatched_b);
    }
    if !shown.is_empty() {
        text += &format!("\n{table}{}", more(shown.len()));
    }
    if let Some(first) = numeric.first_diverging.and_then(|first| numeric.tensors.get(first)) {
        text += &format!("\nfirst beyond the tolerance: {} \"{}\"\n", first.op, format::shortened(&first.name, 80));
    }
    let range = format!("{} of the range of their values", format::number(args.tolerance));
    text + &match (numeric.outputs_agree, args.tolerance) {
        (true, 0.0) => "the outputs are the same\n".to_owned(),
        (false, 0.0) => "the outputs differ\n".to_owned(),
        (true, _) => format!("the outputs agree within {range}\n"),
        (false, _) => format!("the outputs differ by more than {range}\n"),
    }
}

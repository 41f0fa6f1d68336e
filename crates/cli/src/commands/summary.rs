//! `summary`.

use std::path::Path;

use litesmith::measure::{Align, ModelSummary, TextTable, format};
use litesmith::train::Summary;
use litesmith::{Error, Result, load_architecture};

use super::load_model;
use crate::Verdict;
use crate::args::SummaryArgs;
use crate::output::Output;

pub(crate) fn run(args: &SummaryArgs, output: &Output) -> Result<Verdict> {
    let path = Path::new(&args.what);
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tflite")) {
        let model = load_model(path, output)?;
        let summary = ModelSummary::of(model.main()?)?;
        if output.json {
            output.print_json(&to_json(&summary)?)?;
        } else {
            output.print(&summary.to_text())?;
        }
        return Ok(Verdict::Good);
    }
    let summary = load_architecture(&args.what, None)?.summary()?;
    if output.json {
        output.print_json(&to_json(&summary)?)?;
    } else {
        output.print(&to_text(&summary))?;
    }
    Ok(Verdict::Good)
}

fn to_text(summary: &Summary) -> String {
    let left = |name| (name, Align::Left);
    let right = |name| (name, Align::Right);
    let mut table = TextTable::new(&[
        left("layer"),
        left("type"),
        left("reads"),
        left("output"),
        right("parameters"),
        right("MACs"),
    ]);
    for row in &summary.rows {
        let shape: Vec<_> = row.output_shape.iter().map(ToString::to_string).collect();
        table.row([
            row.name.clone(),
            row.layer.clone(),
            row.inputs.join(", "),
            format!("[{}]", shape.join(", ")),
            format::count((row.parameters_trainable + row.parameters_fixed) as u64),
            format::count(row.macs),
        ]);
    }
    let fixed = match summary.parameters_fixed() {
        0 => String::new(),
        fixed => format!(" ({} of them statistics that no gradient changes)", format::count(fixed as u64)),
    };
    format!(
        "{table}\n{} parameters{fixed}, {} multiply-accumulates for one sample\n",
        format::count(summary.parameters() as u64),
        format::count(summary.macs())
    )
}

fn to_json<T: litesmith::Serialize>(value: &T) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|error| Error::invalid("summary", error))
}

//! `demo`.

use litesmith::demo::{DemoOptions, run as run_demo};
use litesmith::{Error, Result};

use crate::Verdict;
use crate::args::DemoArgs;
use crate::output::Output;

pub(crate) fn run(args: &DemoArgs, output: &Output) -> Result<Verdict> {
    let options = DemoOptions {
        out: args.out.clone(),
        data: args.data.clone(),
        epochs: args.epochs,
        seed: args.seed,
        threads: output.threads,
    };
    let report = run_demo(&options, &mut output.progress())?;
    if output.json {
        output.print_json(&serde_json::to_value(&report).map_err(|error| Error::invalid("report", error))?)?;
    } else if let Some(comparison) = &report.comparison {
        output.print(&comparison.to_text())?;
    }
    output.say(&format!("report: {}", args.out.join("report.html").display()));
    Ok(Verdict::Good)
}

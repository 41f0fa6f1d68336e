//! `debug`.

use litesmith::data::SplitKind;
use litesmith::measure::layer_error_html;
use litesmith::{DebugNames, DebugOptions, Result, debug_quantized, files};

use super::{assume_normalization, existing, load_model, open_data, session_options};
use crate::Verdict;
use crate::args::DebugArgs;
use crate::output::Output;

pub(crate) fn run(args: &DebugArgs, output: &Output) -> Result<Verdict> {
    if let Some(path) = &args.html {
        files::check_absent(path, existing(args.force))?;
    }
    let mut quantized = load_model(&args.model, output)?;
    assume_normalization(&mut quantized, &args.normalization, &args.model)?;
    let float = load_model(&args.against, output)?;
    let dataset = open_data(&args.data.data, args.data.skip_bad, output)?;
    // Never the test samples: what is changed for them would be chosen by them.
    let split = dataset.require(SplitKind::Train)?;
    let names = DebugNames {
        quantized: args.model.display().to_string(),
        float: args.against.display().to_string(),
        data: args.data.data.clone(),
        data_title: format!("{} {}", dataset.name, SplitKind::Train),
    };
    let options = DebugOptions {
        samples: args.samples as usize,
        seed: args.seed,
        session: session_options(&args.runtime, output),
    };
    let report = debug_quantized(&quantized, &float, split, &names, &options, &mut output.progress())?;
    if let Some(path) = &args.html {
        files::save(path, layer_error_html(&report).as_bytes(), existing(args.force))?;
        output.say(&format!("wrote {}", path.display()));
    }
    if output.json {
        let verdict = report.verdict();
        output.print_json(&serde_json::json!({ "verdict": verdict, "report": report }))?;
    } else {
        output.print(&report.to_text())?;
    }
    Ok(Verdict::Good)
}

//! `inspect`.

use litesmith::measure::{inspection_html, inspection_json, inspection_text};
use litesmith::{Result, files, inspect_model};

use super::existing;
use crate::Verdict;
use crate::args::InspectArgs;
use crate::output::Output;

pub(crate) fn run(args: &InspectArgs, output: &Output) -> Result<Verdict> {
    if let Some(path) = &args.html {
        files::check_absent(path, existing(args.force))?;
    }
    let found = inspect_model(&args.model, &output.file_limits)?;
    for warning in &found.warnings {
        output.warn(&format!("{}: {warning}", args.model.display()));
    }
    if let Some(path) = &args.html {
        let name = args.model.file_name().unwrap_or(args.model.as_os_str()).to_string_lossy();
        files::save(path, inspection_html(&found, &name).as_bytes(), existing(args.force))?;
        output.say(&format!("wrote {}", path.display()));
    }
    if output.json {
        output.print_json(&inspection_json(&found))?;
    } else if args.html.is_none() {
        output.print(&inspection_text(&found, args.tensors))?;
    }
    Ok(Verdict::Good)
}

//! `strip`.

use litesmith::tflite::{Strip, WriteOptions};
use litesmith::{Result, files};

use super::quantize::{save, sizes};
use super::{existing, load_source};
use crate::Verdict;
use crate::args::StripArgs;
use crate::output::Output;

pub(crate) fn run(args: &StripArgs, output: &Output) -> Result<Verdict> {
    files::check_absent(&args.out.out, existing(args.out.force))?;
    let loaded = load_source(&args.model, output)?;
    let (model, sparse) = (loaded.model, args.sparse || loaded.is_sparse);
    let entries = model.signatures.iter().filter(|signature| signature.graph > 0).count();
    if entries > 0 {
        output.warn(&format!(
            "{}: {entries} of its signatures run another subgraph than the first, and cannot be called without their names",
            args.model.display()
        ));
    }
    let strip = if args.derivable { Strip::Derivable } else { Strip::Everything };
    let before = std::fs::metadata(&args.model).map_or(0, |metadata| metadata.len());
    let saved = save(&args.out, &WriteOptions { strip, sparse }, &model)?;
    if output.json {
        output.print_json(&serde_json::json!({
            "model": args.out.out, "file_bytes": saved.bytes, "gzip_bytes": saved.packed.gzip,
            "zstd_bytes": saved.packed.zstd, "file_bytes_before": before,
        }))?;
    } else {
        output.print(&sizes(&args.out.out, saved, before, &args.model))?;
    }
    Ok(Verdict::Good)
}

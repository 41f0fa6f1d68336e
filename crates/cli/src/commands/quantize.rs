//! `quantize`.

use std::path::Path;

use litesmith::compress::{IoType, QuantizeOptions, Scheme, quantize};
use litesmith::graph::{Normalization, TensorMetadata};
use litesmith::measure::format;
use litesmith::tflite::{Strip, WriteOptions};
use litesmith::{CalibrateOptions, Error, Model, Result, Saved, SessionOptions, calibrate_on, files};

use super::{existing, load_model, open_data};
use crate::Verdict;
use crate::args::{IoArg, OutArgs, QuantizeArgs, SchemeArg};
use crate::output::Output;

impl From<SchemeArg> for Scheme {
    fn from(scheme: SchemeArg) -> Self {
        match scheme {
            SchemeArg::Float32 => Self::Float32,
            SchemeArg::Float16 => Self::Float16,
            SchemeArg::Dynamic => Self::DynamicRange,
            SchemeArg::Int8 => Self::Int8,
            SchemeArg::Int16x8 => Self::Int16x8,
        }
    }
}

impl From<IoArg> for IoType {
    fn from(io: IoArg) -> Self {
        match io {
            IoArg::Float32 => Self::Float32,
            IoArg::Int8 => Self::Int8,
            IoArg::Uint8 => Self::Uint8,
            IoArg::Int16 => Self::Int16,
        }
    }
}

pub(crate) fn run(args: &QuantizeArgs, output: &Output) -> Result<Verdict> {
    files::check_absent(&args.out.out, existing(args.out.force))?;
    let mut model = load_model(&args.model, output)?;
    if let Some(path) = &args.labels {
        add_labels(&mut model, path)?;
    }
    let io = |own: Option<IoArg>| own.or(args.io).map_or(IoType::Float32, IoType::from);
    let mut options = QuantizeOptions::new(args.scheme.into()).with_io(io(args.input_type), io(args.output_type));
    if !args.mean.is_empty() {
        let normalization = Normalization { mean: args.mean.clone(), std: args.std.clone() };
        options = options.with_normalization(vec![Some(normalization)]);
    }
    let ranges = match (&args.calibrate, options.scheme.needs_ranges()) {
        (Some(spec), true) => {
            let dataset = open_data(spec, args.skip_bad, output)?;
            // Never the test samples: what is measured on them must not have shaped the model.
            let split = dataset.require(litesmith::data::SplitKind::Train)?;
            let calibration = CalibrateOptions {
                samples: args.samples as usize,
                seed: args.seed,
                session: SessionOptions { threads: output.threads, ..SessionOptions::default() },
            };
            Some(calibrate_on(&model, split, &calibration, &mut output.progress())?)
        }
        (None, true) => {
            return Err(Error::invalid("--type", "int8 and int16x8 need the ranges of the activations")
                .with_hint("pass --calibrate DATA, as --calibrate mnist, or choose --type float16 or dynamic"));
        }
        (Some(_), false) => {
            output.warn("--calibrate has no effect: this type needs no ranges");
            None
        }
        (None, false) => None,
    };
    let (quantized, report) = quantize(&model, &options, ranges.as_ref())?;
    for warning in &report.warnings {
        output.warn(warning);
    }
    for kept in &report.kept_float {
        output.warn(&format!("{} stays float32: {}", kept.op, kept.reason));
    }
    let strip = if args.strip { Strip::Everything } else { Strip::Nothing };
    let saved = save(&args.out, strip, &quantized)?;
    let before = std::fs::metadata(&args.model).map_or(0, |metadata| metadata.len());
    if output.json {
        let kept: Vec<_> =
            report.kept_float.iter().map(|kept| serde_json::json!({ "op": kept.op, "reason": kept.reason })).collect();
        return output
            .print_json(&serde_json::json!({
                "model": args.out.out, "file_bytes": saved.bytes, "gzip_bytes": saved.gzip_bytes, "file_bytes_before": before,
                "warnings": report.warnings, "kept_float": kept,
            }))
            .map(|()| Verdict::Good);
    }
    output.print(&sizes(&args.out.out, saved, before, &args.model))?;
    Ok(Verdict::Good)
}

/// Saves what a command made.
pub(super) fn save(out: &OutArgs, strip: Strip, model: &Model) -> Result<Saved> {
    litesmith::save_model_as(&out.out, model, &WriteOptions { strip }, existing(out.force))
}

/// How large a new file is, beside the one that it was made from.
pub(super) fn sizes(out: &Path, saved: Saved, before: u64, from: &Path) -> String {
    format!(
        "{}: {} ({:.1} % of {}), {} gzipped",
        out.display(),
        format::bytes(saved.bytes),
        saved.bytes as f64 * 100.0 / before.max(1) as f64,
        from.display(),
        format::bytes(saved.gzip_bytes),
    )
}

/// Packs the lines of a file as the names of the first output's classes.
fn add_labels(model: &mut Model, path: &std::path::Path) -> Result<()> {
    let bytes = files::load(path, 1 << 24)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::malformed(path.display(), format!("it is no UTF-8 text: {error}")))?;
    let labels: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    let graph = model.main()?;
    let output = graph
        .outputs
        .first()
        .map(|&id| graph.tensor(id))
        .ok_or_else(|| Error::malformed("model", "it has no output"))?;
    let classes = output.shape.last().copied().unwrap_or(0);
    if labels.len() != classes {
        return Err(Error::invalid(
            path.display(),
            format!("got {} lines, the model's output has {classes} classes", labels.len()),
        ));
    }
    let name = output.name.clone();
    if model.metadata.outputs.is_empty() {
        model.metadata.outputs.push(TensorMetadata { name, ..TensorMetadata::default() });
    }
    if let Some(metadata) = model.metadata.outputs.first_mut() {
        metadata.labels = labels;
    }
    Ok(())
}

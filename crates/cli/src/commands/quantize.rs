//! `quantize`.

use std::path::Path;

use litesmith::compress::{
    AdaRoundConfig, BatchNormConfig, CalibrationConfig, CalibratorKind, EqualizationConfig, Granularity, IoType,
    PostTrainingReport, QuantizationConfig, Rule, Scheme, WeightBits,
};
use litesmith::graph::Normalization;
use litesmith::measure::format;
use litesmith::tflite::{Strip, WriteOptions};
use litesmith::{Error, Model, Result, Saved, SessionOptions, add_labels, files, quantize_on};

use super::{existing, load_unquantized, open_data};
use crate::Verdict;
use crate::args::{CalibratorArg, IoArg, OutArgs, QuantizeArgs, QuantizeGranularityArg, SchemeArg, WeightsArg};
use crate::output::Output;

impl From<SchemeArg> for Scheme {
    fn from(scheme: SchemeArg) -> Self {
        match scheme {
            SchemeArg::Float32 => Self::Float32,
            SchemeArg::Float16 => Self::Float16,
            SchemeArg::Dynamic => Self::DynamicRange,
            SchemeArg::WeightOnly => Self::WeightOnly,
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

impl From<CalibratorArg> for CalibratorKind {
    fn from(calibrator: CalibratorArg) -> Self {
        match calibrator {
            CalibratorArg::MinMax => Self::MinMax,
            CalibratorArg::MovingAverage => Self::MovingAverage,
            CalibratorArg::Percentile => Self::Percentile,
            CalibratorArg::Kl => Self::Kl,
            CalibratorArg::Mse => Self::Mse,
        }
    }
}

/// What the flags say.
fn config(args: &QuantizeArgs) -> Result<QuantizationConfig> {
    let io = |own: Option<IoArg>| own.or(args.io).map_or(IoType::Float32, IoType::from);
    let mut calibration = CalibrationConfig {
        calibrator: args.calibrator.into(),
        samples: args.samples as usize,
        seed: args.seed,
        ..CalibrationConfig::default()
    };
    if let Some(percentile) = args.percentile {
        if calibration.calibrator != CalibratorKind::Percentile {
            return Err(Error::invalid(
                "--percentile",
                format!("it does not go with --calibrator {}", calibration.calibrator),
            )
            .with_hint("pass --calibrator percentile"));
        }
        calibration.percentile = percentile;
    }
    let kept = args.keep_float.iter().cloned().map(Rule::keep_float);
    let adaround = || {
        let mut config = AdaRoundConfig { seed: args.seed, ..AdaRoundConfig::default() };
        config.iterations = args.adaround_iterations.map_or(config.iterations, |iterations| iterations as usize);
        config
    };
    Ok(QuantizationConfig {
        scheme: args.scheme.into(),
        input_type: io(args.input_type),
        output_type: io(args.output_type),
        weights: match args.weights {
            WeightsArg::Int8 => WeightBits::Int8,
            WeightsArg::Int4 => WeightBits::Int4,
        },
        granularity: match args.granularity {
            QuantizeGranularityArg::PerChannel => Granularity::PerChannel,
            QuantizeGranularityArg::PerTensor => Granularity::PerTensor,
            QuantizeGranularityArg::Blockwise32 => Granularity::Blockwise32,
            QuantizeGranularityArg::Blockwise64 => Granularity::Blockwise64,
            QuantizeGranularityArg::Blockwise128 => Granularity::Blockwise128,
            QuantizeGranularityArg::Blockwise256 => Granularity::Blockwise256,
        },
        rules: args.rule.iter().cloned().chain(kept).collect(),
        min_elements: None,
        calibration,
        equalization: args
            .equalize
            .then(|| EqualizationConfig { replace_relu6: args.replace_relu6, ..EqualizationConfig::default() }),
        adaround: args.adaround.then(adaround),
        batch_norm: args.bn_reestimation.then(BatchNormConfig::default),
        bias_correction: args.bias_correction,
    })
}

pub(crate) fn run(args: &QuantizeArgs, output: &Output) -> Result<Verdict> {
    files::check_absent(&args.out.out, existing(args.out.force))?;
    let loaded = load_unquantized(&args.model, output)?;
    let (mut model, sparse) = (loaded.model, args.sparse || loaded.is_sparse);
    if let Some(path) = &args.labels {
        add_labels(&mut model, path)?;
    }
    let config = config(args)?;
    let mut normalization = Vec::new();
    if !args.mean.is_empty() {
        normalization.push(Some(Normalization { mean: args.mean.clone(), std: args.std.clone() }));
    }
    let dataset = match (&args.calibrate, config.needs_samples()) {
        (Some(spec), true) => Some(open_data(spec, args.skip_bad, output)?),
        (None, true) => {
            return Err(Error::invalid("--calibrate", "what is asked for needs to see the activations").with_hint(
                "pass --calibrate DATA, as --calibrate mnist, or choose --type float16, dynamic or weight-only",
            ));
        }
        (Some(_), false) => {
            output.warn("--calibrate has no effect: nothing that is asked for needs to see the activations");
            None
        }
        (None, false) => None,
    };
    // Never the test samples: what is measured on them must not have shaped the model.
    let split = dataset.as_ref().map(|dataset| dataset.require(litesmith::data::SplitKind::Train)).transpose()?;
    let session = SessionOptions { threads: output.threads, ..SessionOptions::default() };
    let (quantized, report) = quantize_on(&model, split, &config, normalization, &session, &mut output.progress())?;
    for warning in &report.quantization.warnings {
        output.warn(warning);
    }
    for kept in &report.quantization.kept_float {
        output.warn(&format!("{} stays float32: {}", kept.op, kept.reason));
    }
    let strip = if args.strip { Strip::Everything } else { Strip::Nothing };
    let before = std::fs::metadata(&args.model).map_or(0, |metadata| metadata.len());
    let saved = save(&args.out, &WriteOptions { strip, sparse }, &quantized)?;
    if output.json {
        let kept: Vec<_> = report
            .quantization
            .kept_float
            .iter()
            .map(|kept| serde_json::json!({ "op": kept.op, "reason": kept.reason }))
            .collect();
        return output
            .print_json(&serde_json::json!({
                "model": args.out.out, "file_bytes": saved.bytes, "gzip_bytes": saved.packed.gzip,
                "zstd_bytes": saved.packed.zstd, "file_bytes_before": before,
                "warnings": report.quantization.warnings, "kept_float": kept,
                "equalization": equalization_json(&report), "adaround": adaround_json(&model, &report)?,
            }))
            .map(|()| Verdict::Good);
    }
    if let Some(equalization) = &report.equalization {
        output.print(&format!(
            "equalized {} pairs of layers, channels by up to {:.3}",
            equalization.pairs.len(),
            equalization.largest_factor
        ))?;
    }
    for layer in &report.adaround {
        output.print(&format!(
            "{}: {} weights rounded to the farther side, squared error {:.3e}, to the nearest {:.3e}",
            model.main()?.place(layer.node),
            layer.changed,
            layer.learned,
            layer.nearest
        ))?;
    }
    output.print(&sizes(&args.out.out, saved, before, &args.model))?;
    Ok(Verdict::Good)
}

/// Saves what a command made.
pub(super) fn save(out: &OutArgs, options: &WriteOptions, model: &Model) -> Result<Saved> {
    litesmith::save_model_as(&out.out, model, options, existing(out.force))
}

/// How large a new file is, beside the one that it was made from.
pub(super) fn sizes(out: &Path, saved: Saved, before: u64, from: &Path) -> String {
    format!(
        "{}: {} ({:.1} % of {}){}",
        out.display(),
        format::bytes(saved.bytes),
        saved.bytes as f64 * 100.0 / before.max(1) as f64,
        from.display(),
        format::packed(saved.packed),
    )
}

fn equalization_json(report: &PostTrainingReport) -> serde_json::Value {
    report.equalization.as_ref().map_or(serde_json::Value::Null, |equalization| {
        serde_json::json!({
            "pairs": equalization.pairs, "largest_factor": equalization.largest_factor,
            "replaced_relu6": equalization.replaced_relu6,
        })
    })
}

fn adaround_json(model: &Model, report: &PostTrainingReport) -> Result<Vec<serde_json::Value>> {
    let graph = model.main()?;
    let layer = |layer: &litesmith::compress::AdaRoundLayer| {
        serde_json::json!({
            "op": graph.place(layer.node), "changed": layer.changed, "squared_error": layer.learned,
            "squared_error_nearest": layer.nearest,
        })
    };
    Ok(report.adaround.iter().map(layer).collect())
}

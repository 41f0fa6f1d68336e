//! The layer that breaks a quantized model is named: on a network that learned real digits, with one grid ruined at a time.

use std::path::Path;
use std::sync::LazyLock;

use litesmith::compress::{Granularity, IoType, QuantizeOptions, Range, Ranges, Rule, Scheme, WeightBits, quantize};
use litesmith::data::{OpenOptions, Split, SplitKind, open};
use litesmith::graph::{Model, Normalization, TensorId};
use litesmith::measure::{Cause, LayerError, LayerErrorReport};
use litesmith::progress::Silent;
use litesmith::recipe::{Recipe, Step};
use litesmith::train::{TrainConfig, TrainData, TrainOptions, zoo};
use litesmith::{
    CalibrateOptions, DebugNames, DebugOptions, SessionOptions, TrainJob, calibrate_on, debug_quantized, train_model,
};

struct Trained {
    model: Model,
    split: Split,
    ranges: Ranges,
}

/// `mnist-cnn` after an epoch on 2,000 digits, and its calibrated ranges.
static TRAINED: LazyLock<Trained> = LazyLock::new(|| trained("mnist-cnn", 2000));

fn trained(name: &str, samples: usize) -> Trained {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/mnist");
    let data = open(&format!("mnist:{}", folder.display()), &OpenOptions::default()).unwrap();
    let split = data.require(SplitKind::Train).unwrap().take(samples);
    let preprocess = split.default_preprocess().unwrap();
    let job = TrainJob {
        name,
        graph: &zoo::architecture(name).unwrap().graph(1).unwrap(),
        config: TrainConfig { epochs: 1, batch: 32, seed: 1, ..TrainConfig::default() },
        options: TrainOptions { threads: 2, source: name.into(), ..TrainOptions::default() },
        data: &TrainData { train: split.clone(), validation: None, preprocess },
        resume: None,
        metrics: None,
        io: (litesmith::compress::IoType::Float32, litesmith::compress::IoType::Float32),
    };
    let model = train_model(job, &mut Silent).unwrap().model;
    let calibration = CalibrateOptions { samples: 100, seed: 1, session: SessionOptions::default() };
    let ranges = calibrate_on(&model, &split, &calibration, &mut Silent).unwrap();
    Trained { model, split, ranges }
}

fn debug(quantized: &Model, float: &Model) -> litesmith::Result<LayerErrorReport> {
    let names = DebugNames {
        quantized: "q.tflite".into(),
        float: "f.tflite".into(),
        data: "mnist".into(),
        data_title: "MNIST train".into(),
    };
    let options = DebugOptions { samples: 20, seed: 3, session: SessionOptions::default() };
    debug_quantized(quantized, float, &TRAINED.split, &names, &options, &mut Silent)
}

fn quantized(options: &QuantizeOptions, ranges: &Ranges) -> LayerErrorReport {
    let (model, _) = quantize(&TRAINED.model, options, Some(ranges)).unwrap();
    debug(&model, &TRAINED.model).unwrap()
}

/// What computes a grid of its own: the ops with weights.
fn weighted_layers() -> Vec<(TensorId, String)> {
    let graph = TRAINED.model.main().unwrap();
    let weighted = graph.nodes.iter().filter(|node| ["CONV_2D", "FULLY_CONNECTED"].contains(&node.op.name()));
    weighted.map(|node| (node.outputs[0], graph.tensor(node.outputs[0]).name.clone())).collect()
}

fn own(layer: &LayerError) -> f64 {
    layer.own.as_ref().and_then(|own| own.snr_db).unwrap_or(f64::INFINITY)
}

fn layer<'a>(report: &'a LayerErrorReport, name: &str) -> &'a LayerError {
    report.layers.iter().find(|layer| layer.name == name && layer.op != "QUANTIZE").unwrap()
}

#[test]
fn a_healthy_model_has_no_layer_that_stands_out() {
    for (scheme, io) in
        [(Scheme::Int8, IoType::Float32), (Scheme::Int8, IoType::Uint8), (Scheme::Int16x8, IoType::Int16)]
    {
        let report = quantized(&QuantizeOptions::new(scheme).with_io(io, io), &TRAINED.ranges);
        assert_eq!((report.unmatched_quantized, report.unmatched_float), (0, 0));
        let text = report.to_text();
        for layer in &report.layers {
            assert!(layer.error.snr_db.is_none_or(|snr| snr > 20.0), "{}\n{text}", layer.name);
            assert!(layer.own.is_some() && !layer.stands_out, "{}\n{text}", layer.name);
            assert!(layer.grid.as_ref().unwrap().beyond < 1e-3, "{}\n{text}", layer.name);
        }
        assert!(report.verdict().starts_with("no layer stands out"), "{text}");
        assert!(report.kept_float.is_empty());
        let accuracy = report.accuracy.unwrap();
        assert!((accuracy.quantized - accuracy.float).abs() < 0.1 && accuracy.float > 0.5, "{text}");
    }
}

#[test]
fn the_layer_whose_calibrated_range_is_ruined_comes_first() {
    let healthy = quantized(&QuantizeOptions::new(Scheme::Int8), &TRAINED.ranges);
    let layers = weighted_layers();
    assert_eq!(layers.len(), 4);
    for (id, name) in &layers {
        for (factor, cause) in [(8.0, Cause::Wide), (0.125, Cause::Clipped)] {
            let mut ranges = TRAINED.ranges.clone();
            let range = ranges.get(*id).unwrap();
            ranges.insert(*id, Range::new(range.min * factor, range.max * factor));
            let report = quantized(&QuantizeOptions::new(Scheme::Int8), &ranges);
            let (worst, text) = (&report.layers[0], report.to_text());
            assert_eq!((&worst.name, worst.stands_out, worst.cause), (name, true, Some(cause)), "x{factor}\n{text}");
            assert!(own(worst) < own(layer(&healthy, name)) - 12.0, "x{factor}\n{text}");
            let grid = worst.grid.as_ref().unwrap();
            if cause == Cause::Wide {
                assert!((0.09..0.2).contains(&grid.used) && grid.beyond == 0.0, "{text}");
            } else {
                assert!(grid.used > 4.0 && grid.beyond > 0.01 && grid.at_ends > 0.01, "{text}");
            }
            // Those after it pass its error on, and are not blamed for it.
            for other in report.layers.iter().skip(1) {
                assert!(!other.stands_out, "x{factor}: {}\n{text}", other.name);
                // A weaker signal may reach them, but they add no more noise than before.
                if other.op != "QUANTIZE" {
                    let noise = |layer: &LayerError| layer.own.as_ref().unwrap().mean_abs;
                    let before = noise(layer(&healthy, &other.name));
                    assert!(noise(other) <= before * 1.5, "x{factor}: {}\n{text}", other.name);
                }
            }
            let [none, kept] = report.kept_float.as_slice() else { panic!("{text}") };
            assert_eq!((&none.name, kept.name.as_ref()), (&None, Some(name)));
            let (output, none, kept) = (&report.output.as_ref().unwrap(), &none.output, &kept.output);
            let snr = |error: &litesmith::measure::ErrorMetrics| error.snr_db.unwrap_or(f64::INFINITY);
            assert!((snr(output) - snr(none)).abs() < 3.0, "the same grids, the same error: {text}");
            // Without the ruined grid the model is as good as it was.
            let before = snr(healthy.output.as_ref().unwrap());
            assert!(snr(kept) > before - 1.5, "x{factor}: {before} dB before the grid was ruined\n{text}");
            let calibrator = if cause == Cause::Wide { "--calibrator mse" } else { "--calibrator minmax" };
            let parts = [calibrator, &format!("--keep-float {name}"), &format!("--rule '{name}=int16x8'")];
            assert_eq!(report.suggestions.len(), parts.len(), "{text}");
            for (suggestion, part) in report.suggestions.iter().zip(parts) {
                assert!(suggestion.command.contains(part), "{text}");
            }
        }
    }
}

#[test]
fn what_is_suggested_follows_what_was_measured() {
    let layers = weighted_layers();
    let mut ranges = TRAINED.ranges.clone();
    // Two grids, of which one alone decides the answers.
    for ((id, _), factor) in layers.iter().zip([16.0, 256.0]) {
        let range = ranges.get(*id).unwrap();
        ranges.insert(*id, Range::new(range.min * factor, range.max * factor));
    }
    let report = quantized(&QuantizeOptions::new(Scheme::Int8), &ranges);
    let text = report.to_text();
    let [none, tried @ ..] = report.kept_float.as_slice() else { panic!("{text}") };
    let value = |result: &litesmith::measure::KeptFloatResult| {
        (result.accuracy.unwrap(), result.output.snr_db.unwrap_or(f64::INFINITY))
    };
    let helps = |result: &&litesmith::measure::KeptFloatResult| {
        let (now, before) = (value(result), value(none));
        now.0 > before.0 || now.0 == before.0 && now.1 >= before.1 + 0.5
    };
    let mut helpful: Vec<_> = tried.iter().filter(helps).collect();
    helpful.sort_by(|a, b| value(b).partial_cmp(&value(a)).unwrap());
    assert!(tried.len() == 2 && !helpful.is_empty(), "{text}");
    let kept: Vec<_> = helpful.iter().map(|result| format!("--keep-float {}", result.name.as_ref().unwrap())).collect();
    let float = report.suggestions.iter().find(|found| found.command.contains("--keep-float")).unwrap();
    assert!(float.command.contains(&kept.join(" ")), "{text}");
    assert_eq!(float.command.matches("--keep-float").count(), kept.len(), "{text}");
}

/// A recipe that leaves it out makes a model that reads its pixels otherwise.
#[test]
fn recipes_and_commands_say_how_pixels_become_numbers() {
    let normalization = Normalization { mean: vec![33.0], std: vec![79.0] };
    let mut float = TRAINED.model.clone();
    float.metadata.inputs.clear();
    for (scheme, io) in
        [(Scheme::Int8, IoType::Uint8), (Scheme::Int8, IoType::Float32), (Scheme::DynamicRange, IoType::Float32)]
    {
        let options = QuantizeOptions::new(scheme)
            .with_io(io, IoType::Float32)
            .with_normalization(vec![Some(normalization.clone())]);
        let mut ranges = TRAINED.ranges.clone();
        ranges.insert(float.main().unwrap().inputs[0], Range::new(-33.0 / 79.0, 222.0 / 79.0));
        let (model, _) = quantize(&float, &options, Some(&ranges)).unwrap();
        let report = debug(&model, &float).unwrap();
        assert!(!report.suggestions.is_empty());
        for suggestion in &report.suggestions {
            assert!(suggestion.command.contains("--mean 33 --std 79"), "{}", suggestion.command);
            let recipe = Recipe::from_toml(&suggestion.recipe).unwrap();
            let Step::Quantize(config, described) = &recipe.steps[0] else { panic!("{recipe:?}") };
            assert_eq!((config.scheme, config.input_type), (scheme, io));
            assert_eq!((&described.mean, &described.std), (&normalization.mean, &normalization.std));
        }
    }
}

#[test]
fn weights_that_lost_too_much_are_the_cause() {
    let (_, name) = weighted_layers().swap_remove(1);
    let mut rule: Rule = format!("{name}=w4,per-tensor").parse().unwrap();
    let mut options = QuantizeOptions::new(Scheme::Int8);
    options.rules.push(rule.clone());
    let report = quantized(&options, &TRAINED.ranges);
    let (worst, text) = (&report.layers[0], report.to_text());
    assert_eq!((&worst.name, worst.cause), (&name, Some(Cause::Weights)), "{text}");
    let weights = worst.weights.as_ref().unwrap();
    assert!(weights.scales == 1 && weights.error.snr_db < Some(25.0), "{:?}", weights.error);
    assert_eq!(weights.grid.as_ref().map(|grid| grid.dtype.as_str()), Some("int4"));
    assert!(weights.values.total() > 1000);

    // Float activations have no grid; their weights do.
    rule.scheme = Some(Scheme::WeightOnly);
    options =
        QuantizeOptions { scheme: Scheme::WeightOnly, rules: vec![rule], ..QuantizeOptions::new(Scheme::WeightOnly) };
    let report = quantized(&options, &TRAINED.ranges);
    assert_eq!((&report.layers[0].name, report.layers[0].cause), (&name, Some(Cause::Weights)), "{}", report.to_text());
    assert!(report.layers[0].grid.is_none() && report.kept_float.is_empty());
    assert!(report.suggestions[0].command.contains("--type weight-only"), "{}", report.suggestions[0].command);
}

#[test]
fn commands_say_how_the_model_was_made() {
    let options = QuantizeOptions {
        weights: WeightBits::Int4,
        granularity: Granularity::PerTensor,
        ..QuantizeOptions::new(Scheme::Int8).with_io(IoType::Int8, IoType::Float32)
    };
    let command = &quantized(&options, &TRAINED.ranges).suggestions[0].command;
    for part in
        ["--type int8", "--input-type int8", "--granularity per-tensor", "--calibrate mnist", "-o q-mixed.tflite"]
    {
        assert!(command.contains(part), "{part}: {command}");
    }
    for (scheme, expected) in
        [(Scheme::Float16, "--type float16 --keep"), (Scheme::DynamicRange, "--type dynamic --keep")]
    {
        let report = quantized(&QuantizeOptions::new(scheme), &TRAINED.ranges);
        assert!(report.suggestions[0].command.contains(expected), "{:?}", report.suggestions);
        assert!(report.layers.iter().any(|layer| layer.weights.is_some()), "{scheme}");
    }
}

#[test]
fn models_that_do_not_belong_together_are_refused() {
    let float = &TRAINED.model;
    let (int8, _) = quantize(float, &QuantizeOptions::new(Scheme::Int8), Some(&TRAINED.ranges)).unwrap();
    let said = |quantized: &Model, float: &Model| {
        let error = debug(quantized, float).unwrap_err();
        assert!(error.hint().is_some(), "{error}");
        error.to_string()
    };
    assert_eq!(said(float, float), "q.tflite: nothing in it is quantized");
    assert_eq!(said(&int8, &int8), "f.tflite: it is quantized, expected the float model");
    let blocks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models/blocks-f32.tflite");
    let blocks = said(&int8, &litesmith::load_model(&blocks).unwrap().model);
    assert!(blocks.contains("its inputs are [[1, 28, 28, 1]], those of f.tflite are"), "{blocks}");
    let mut strange = trained("lenet-5", 64).model;
    for tensor in &mut strange.graphs[0].tensors {
        tensor.name.insert(0, '?');
    }
    let strange = said(&int8, &strange);
    assert!(strange.contains("have a counterpart in f.tflite"), "{strange}");
}

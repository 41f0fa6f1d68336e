//! Each algorithm of post-training quantization on a small network trained on real digits: what it is for, and that it does it.

use std::path::Path;
use std::sync::OnceLock;

use litesmith_compress::{
    AdaRoundConfig, BatchNormConfig, CalibrationConfig, CalibratorKind, ChannelPeaks, EqualizationConfig, Granularity,
    IoType, QuantizationConfig, Sample, Scheme, WeightBits, amend, calibration_samples, equalize, post_training,
};
use litesmith_data::{OpenOptions, Preprocess, SplitKind, open};
use litesmith_graph::ops::Activation as Fused;
use litesmith_graph::{Data, Graph, Model, Op, TensorId};
use litesmith_runtime::{Session, SessionOptions};
use litesmith_testkit::check_quantization_spec;
use litesmith_tflite::{Limits, WriteOptions, read, write};
use litesmith_train::arch::{
    Activation, ActivationFunction, Architecture, BatchNormalization, Conv2D, Dense, DepthwiseConv2D,
    GlobalAveragePooling2D, Padding,
};
use litesmith_train::{Schedule, Silent, TrainConfig, TrainData, TrainOptions, Trainer};

/// Test images and labels.
struct Digits {
    model: Model,
    calibration: Vec<Sample>,
    images: Vec<Sample>,
    labels: Vec<usize>,
}

fn architecture() -> Graph {
    let mut network = Architecture::sequential("small", [28, 28, 1]);
    network.push(Conv2D { strides: 2.into(), use_bias: false, padding: Padding::Same, ..Conv2D::new(12, 3) });
    network.push(BatchNormalization { momentum: 0.9, ..BatchNormalization::default() });
    network.push(Activation::new(ActivationFunction::Relu));
    for (filters, strides) in [(24, 2), (32, 1)] {
        network.push(DepthwiseConv2D { strides: strides.into(), padding: Padding::Same, ..DepthwiseConv2D::new(3) });
        network.push(BatchNormalization { momentum: 0.9, ..BatchNormalization::default() });
        network.push(Activation::new(ActivationFunction::Relu));
        network.push(Conv2D { use_bias: false, ..Conv2D::new(filters, 1) });
        network.push(BatchNormalization { momentum: 0.9, ..BatchNormalization::default() });
        network.push(Activation::new(ActivationFunction::Relu));
    }
    network.push(GlobalAveragePooling2D::default());
    network.push(Dense { activation: ActivationFunction::Softmax, ..Dense::new(10) });
    network.graph(5).unwrap()
}

/// The trained network and what to measure it on, made once.
fn digits() -> &'static Digits {
    static DIGITS: OnceLock<Digits> = OnceLock::new();
    DIGITS.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/mnist");
        let mnist = open(&format!("mnist:{}", folder.display()), &OpenOptions::default()).unwrap();
        let train = mnist.require(SplitKind::Train).unwrap();
        let preprocess = Preprocess::unit(train.first_shape().unwrap());
        let data = TrainData { train: train.take(8000), validation: None, preprocess: preprocess.clone() };
        let schedule = Schedule::OneCycle { rise: 0.3, div_factor: 10.0, final_div_factor: 100.0 };
        let config =
            TrainConfig { epochs: 7, batch: 50, learning_rate: Some(1e-2), schedule, ..TrainConfig::default() };
        let mut trainer = Trainer::new(&architecture(), config, TrainOptions::default()).unwrap();
        trainer.train(&data, &mut Silent).unwrap();
        let model = Model::from_graph(trainer.exported_graph().unwrap());
        let calibration = calibration_samples(train, &preprocess, 100, 1).unwrap().map(Result::unwrap).collect();

        let test = mnist.require(SplitKind::Test).unwrap().take(1000);
        let loader =
            litesmith_data::Loader::new(test, preprocess, litesmith_data::LoaderConfig::evaluation(1)).unwrap();
        let mut batch = litesmith_data::Batch::default();
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        for step in 0..loader.steps_per_epoch() {
            loader.fill(0, step, &mut batch).unwrap();
            images.push(vec![batch.images.clone()]);
            labels.push(batch.labels[0] as usize);
        }
        Digits { model, calibration, images, labels }
    })
}

/// What a model with float inputs and outputs computes for every image.
fn outputs(model: &Model, images: &[Sample]) -> Vec<Vec<f32>> {
    let mut session = Session::new(model, SessionOptions::default()).unwrap();
    let run = |image: &Sample| {
        session.input_mut::<f32>(0).unwrap().copy_from_slice(&image[0]);
        session.run().unwrap();
        session.output::<f32>(0).unwrap().to_vec()
    };
    images.iter().map(run).collect()
}

fn accuracy(model: &Model) -> f64 {
    let rows = outputs(model, &digits().images);
    let right = rows.iter().zip(&digits().labels).filter(|(row, label)| {
        let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(index, _)| index);
        best == Some(**label)
    });
    right.count() as f64 / digits().labels.len() as f64
}

/// Mean squared difference to what the float network computes.
fn error(model: &Model, float: &Model) -> f64 {
    let images = &digits().images;
    let pairs = outputs(model, images).into_iter().flatten().zip(outputs(float, images).into_iter().flatten());
    let squares: Vec<_> = pairs.map(|(a, b)| f64::from(a - b).powi(2)).collect();
    squares.iter().sum::<f64>() / squares.len() as f64
}

/// Quantizes, and gives what a file of it holds.
fn quantized(model: &Model, config: &QuantizationConfig, samples: &[Sample]) -> Model {
    let session = SessionOptions::default();
    let (quantized, _) = post_training(model, config, Vec::new(), samples, &session, &mut |_, _, _| {}).unwrap();
    check_quantization_spec(quantized.main().unwrap()).unwrap();
    read(&write(&quantized, &WriteOptions::default()).unwrap(), &Limits::default()).unwrap().model
}

/// Four bits, and nothing that makes up for them.
fn int4() -> QuantizationConfig {
    QuantizationConfig { weights: WeightBits::Int4, bias_correction: Some(false), ..QuantizationConfig::default() }
}

/// The same network, whose depthwise layers give channels of very different sizes that the layer behind takes back.
fn with_uneven_channels(model: &Model) -> Model {
    let mut model = model.clone();
    let graph = model.main_mut().unwrap();
    let mut changed = 0;
    for first in 0..graph.nodes.len() - 1 {
        let (Op::DepthwiseConv2d(_), Op::Conv2d(_)) = (&graph.nodes[first].op, &graph.nodes[first + 1].op) else {
            continue;
        };
        let channels = graph.tensor(graph.nodes[first].outputs[0]).shape[3];
        let factor = |channel: usize| 2.0_f32.powi((channel * 5 % 11) as i32 - 5);
        let (inputs, next) = (model_inputs(&graph.nodes[first].inputs), model_inputs(&graph.nodes[first + 1].inputs));
        let mut scale = |id: TensorId, by: &dyn Fn(usize) -> f32| {
            let tensor = graph.tensor_mut(id);
            let values = tensor.data.as_ref().unwrap().elements::<f32>().unwrap();
            let scaled: Vec<_> = values.iter().enumerate().map(|(at, value)| value * by(at % channels)).collect();
            tensor.data = Some(Data::from_slice(&scaled));
        };
        scale(inputs[1], &factor);
        scale(inputs[2], &factor);
        scale(next[1], &|channel| 1.0 / factor(channel));
        changed += 1;
    }
    assert_eq!(changed, 2);
    model
}

fn model_inputs(inputs: &[Option<TensorId>]) -> Vec<TensorId> {
    inputs.iter().map(|id| id.unwrap()).collect()
}

#[test]
fn the_network_has_learned_to_read() {
    let float = accuracy(&digits().model);
    assert!(float > 0.93, "{float}");
    for (name, config, bound) in [
        ("int8", QuantizationConfig::default(), 0.01),
        (
            "per tensor",
            QuantizationConfig { granularity: Granularity::PerTensor, ..QuantizationConfig::default() },
            0.03,
        ),
        ("int16x8", QuantizationConfig { scheme: Scheme::Int16x8, ..QuantizationConfig::default() }, 0.01),
        ("weight-only", QuantizationConfig { scheme: Scheme::WeightOnly, ..QuantizationConfig::default() }, 0.01),
        ("weight-only int4", QuantizationConfig { scheme: Scheme::WeightOnly, ..int4() }, 0.1),
        ("dynamic int4", QuantizationConfig { scheme: Scheme::DynamicRange, min_elements: Some(0), ..int4() }, 0.1),
        ("int16 by int4", QuantizationConfig { scheme: Scheme::Int16x8, ..int4() }, 0.1),
        ("int4", int4(), 0.1),
    ] {
        let loss = float - accuracy(&quantized(&digits().model, &config, &digits().calibration));
        assert!(loss <= bound, "{name} loses {loss}");
    }
}

#[test]
fn equalization_makes_one_scale_enough_for_uneven_channels() {
    let uneven = with_uneven_channels(&digits().model);
    let (edits, report) = equalize(uneven.main().unwrap(), &EqualizationConfig::default(), None).unwrap();
    // Every layer but the last is followed by another: the mean before the dense layer keeps the channels.
    assert_eq!(report.pairs.len(), 5);
    assert!(report.largest_factor > 8.0, "{report:?}");
    let mut equal = uneven.clone();
    *equal.main_mut().unwrap() = amend(uneven.main().unwrap(), &edits).unwrap();
    assert!(error(&equal, &uneven) < 1e-10, "it computes the same: {}", error(&equal, &uneven));

    let per_tensor = QuantizationConfig { granularity: Granularity::PerTensor, ..QuantizationConfig::default() };
    let equalized = QuantizationConfig { equalization: Some(EqualizationConfig::default()), ..per_tensor.clone() };
    let float = accuracy(&uneven);
    let without = accuracy(&quantized(&uneven, &per_tensor, &digits().calibration));
    let with = accuracy(&quantized(&uneven, &equalized, &digits().calibration));
    assert!(without < float - 0.1, "the channels are not uneven enough: {without}");
    assert!(with > float - 0.02, "{with}, float {float}, without {without}");
    // A channel that died, as those of trained networks do, is not brought back to the size of the others.
    let mut dead = uneven.clone();
    let graph = dead.main_mut().unwrap();
    for input in &model_inputs(&graph.nodes[report.pairs[0].0].inputs)[1..] {
        let tensor = graph.tensor_mut(*input);
        let mut values = tensor.data.as_ref().unwrap().elements::<f32>().unwrap().to_vec();
        let channels = tensor.shape[0];
        let inner = values.len() / channels;
        values[..inner].iter_mut().for_each(|value| *value *= 1e-20);
        tensor.data = Some(Data::from_slice(&values));
    }
    let (edits, report) = equalize(dead.main().unwrap(), &EqualizationConfig::default(), None).unwrap();
    assert!(report.largest_factor > 1000.0 && report.largest_factor <= 1024.01, "{report:?}");
    let mut equal = dead.clone();
    *equal.main_mut().unwrap() = amend(dead.main().unwrap(), &edits).unwrap();
    assert!(error(&equal, &dead) < 1e-10, "it computes the same: {}", error(&equal, &dead));
    // Without iterations nothing happens.
    let none = EqualizationConfig { iterations: 0, ..EqualizationConfig::default() };
    assert_eq!(equalize(uneven.main().unwrap(), &none, None).unwrap().1.largest_factor, 1.0);
}

#[test]
fn replacing_relu6_says_how_far_the_outputs_moved() {
    let mut clipped = with_uneven_channels(&digits().model);
    for node in &mut clipped.main_mut().unwrap().nodes {
        if let Some(activation) = node.op.fused_activation_mut().filter(|activation| **activation == Fused::Relu) {
            *activation = Fused::Relu6;
        }
    }
    let said = |model: &Model, scheme: Scheme, replace_relu6: bool, samples: &[Sample]| {
        let equalization = Some(EqualizationConfig { replace_relu6, ..EqualizationConfig::default() });
        let config = QuantizationConfig { scheme, equalization, ..QuantizationConfig::default() };
        let session = SessionOptions::default();
        let (_, report) = post_training(model, &config, Vec::new(), samples, &session, &mut |_, _, _| {}).unwrap();
        report.quantization.warnings.into_iter().find(|warning| warning.contains("RELU6"))
    };
    let samples = &digits().calibration;
    let warning = said(&clipped, Scheme::Int8, true, samples).unwrap();
    assert!(warning.contains("its outputs moved by") && warning.contains("of 100 samples"), "{warning}");
    let warning = said(&clipped, Scheme::DynamicRange, true, &[]).unwrap();
    assert!(warning.contains("not known without samples"), "{warning}");
    assert_eq!(said(&clipped, Scheme::Int8, false, samples), None);
    assert_eq!(said(&digits().model, Scheme::Int8, true, samples), None);
}

/// Channels that died have weights near 0 and a bias: to make their weights as large as others' makes constants of them that nothing
/// else comes near.
#[test]
fn equalization_does_not_make_a_channel_larger_than_the_largest() {
    let mut model = digits().model.clone();
    let graph = model.main_mut().unwrap();
    let [_, weights, bias] = model_inputs(&graph.nodes[0].inputs)[..] else { panic!("no bias") };
    let edit = |graph: &mut Graph, id, change: &dyn Fn(usize, f32) -> f32| {
        let tensor = graph.tensor_mut(id);
        let values = tensor.data.as_ref().unwrap().elements::<f32>().unwrap();
        let values: Vec<_> = values.iter().enumerate().map(|(index, &value)| change(index, value)).collect();
        tensor.data = Some(Data::from_slice(&values));
    };
    let inner: usize = graph.tensor(weights).shape[1..].iter().product();
    edit(graph, weights, &|index, value| if index < inner { value * 1e-5 } else { value });
    edit(graph, bias, &|index, value| if index == 0 { 0.5 } else { value });
    let samples = &digits().calibration;
    let config = EqualizationConfig::default();
    let graph = model.main().unwrap();
    let mut session = Session::from_graph(graph.clone(), SessionOptions::default()).unwrap();
    let peaks = ChannelPeaks::measure(graph, &mut session, samples).unwrap();
    let loss = |peaks: Option<&ChannelPeaks>| {
        let (edits, report) = equalize(graph, &config, peaks).unwrap();
        let mut equal = model.clone();
        *equal.main_mut().unwrap() = amend(graph, &edits).unwrap();
        assert!(error(&equal, &model) < 1e-10, "it computes the same: {}", error(&equal, &model));
        let quantized = quantized(&equal, &QuantizationConfig::default(), samples);
        (error(&quantized, &model), report.largest_factor)
    };
    let ((wild, most), (bounded, least)) = (loss(None), loss(Some(&peaks)));
    assert!(most > 100.0 && least < 30.0, "{most} {least}");
    assert!(bounded < 0.1 * wild, "{bounded} {wild}");
    // What quantizes bounds them.
    let whole = QuantizationConfig { equalization: Some(config.clone()), ..QuantizationConfig::default() };
    let whole = error(&quantized(&model, &whole, samples), &model);
    assert!((whole / bounded - 1.0).abs() < 0.2, "{whole} {bounded}");
}

#[test]
fn relu6_is_equalized_when_it_may_be_replaced() {
    let mut model = digits().model.clone();
    for node in &mut model.main_mut().unwrap().nodes {
        if let Some(activation @ litesmith_graph::ops::Activation::Relu) = node.op.fused_activation_mut() {
            *activation = litesmith_graph::ops::Activation::Relu6;
        }
    }
    let (_, report) = equalize(model.main().unwrap(), &EqualizationConfig::default(), None).unwrap();
    assert_eq!(report.pairs, []);
    let config = EqualizationConfig { replace_relu6: true, ..EqualizationConfig::default() };
    let (edits, report) = equalize(model.main().unwrap(), &config, None).unwrap();
    assert_eq!((report.pairs.len(), report.replaced_relu6.len()), (5, 5));
    let equal = amend(model.main().unwrap(), &edits).unwrap();
    let relus =
        equal.nodes.iter().filter(|node| node.op.fused_activation() == Some(litesmith_graph::ops::Activation::Relu));
    assert_eq!(relus.count(), 5);
}

/// One calibration image with a pixel that no digit has.
#[test]
fn calibrators_that_clip_survive_an_outlier() {
    let mut samples = digits().calibration.clone();
    samples[7][0][400] = 60.0;
    let with = |calibrator| {
        let calibration = CalibrationConfig { calibrator, percentile: 99.9, ..CalibrationConfig::default() };
        let config = QuantizationConfig { calibration, ..QuantizationConfig::default() };
        let model = quantized(&digits().model, &config, &samples);
        (accuracy(&model), error(&model, &digits().model))
    };
    let float = accuracy(&digits().model);
    let (minmax, minmax_error) = with(CalibratorKind::MinMax);
    assert!(minmax < float - 0.05, "min-max takes no harm: {minmax}");
    // Not MSE: the square of one value so far out outweighs the steps of all others.
    for kind in [CalibratorKind::Percentile, CalibratorKind::Kl, CalibratorKind::MovingAverage] {
        let (accuracy, error) = with(kind);
        let bound = if kind == CalibratorKind::MovingAverage { 0.03 } else { 0.015 };
        assert!(accuracy > float - bound, "{kind}: {accuracy}, float {float}, min-max {minmax}");
        assert!(error < minmax_error / 3.0, "{kind}: {error}, min-max {minmax_error}");
    }
}

/// The even background of digits is a constant behind each convolution, far more frequent than all else.
#[test]
fn no_calibrator_harms_clean_data() {
    let with = |calibrator| {
        let calibration = CalibrationConfig { calibrator, ..CalibrationConfig::default() };
        let config = QuantizationConfig { calibration, ..QuantizationConfig::default() };
        error(&quantized(&digits().model, &config, &digits().calibration), &digits().model)
    };
    let minmax = with(CalibratorKind::MinMax);
    for &kind in CalibratorKind::ALL {
        let error = with(kind);
        assert!(error < 10.0 * minmax, "{kind}: {error}, min-max {minmax}");
    }
}

#[test]
fn adaround_beats_rounding_to_nearest() {
    let adaround = Some(AdaRoundConfig { iterations: 400, ..AdaRoundConfig::default() });
    let learned = QuantizationConfig { adaround, ..int4() };
    let session = SessionOptions::default();
    let quantize = |threads| {
        let session = SessionOptions { threads, ..session.clone() };
        post_training(&digits().model, &learned, Vec::new(), &digits().calibration, &session, &mut |_, _, _| {})
            .unwrap()
    };
    let (model, report) = quantize(1);
    assert_eq!(report.adaround.len(), 6);
    for layer in &report.adaround {
        // Those of nine weights a channel have little to choose from; what the layers before lost stays lost.
        let is_depthwise = matches!(digits().model.main().unwrap().nodes[layer.node].op, Op::DepthwiseConv2d(_));
        let bound = if is_depthwise || layer.node == 0 { 1.0 } else { 0.9 };
        assert!(layer.learned <= bound * layer.nearest, "{layer:?}");
    }
    assert!(quantize(3) == (model.clone(), report), "threads matter");
    let nearest = quantized(&digits().model, &int4(), &digits().calibration);
    let (nearest_error, learned_error) = (error(&nearest, &digits().model), error(&model, &digits().model));
    assert!(learned_error < 0.6 * nearest_error, "{learned_error} {nearest_error}");
    assert!(accuracy(&model) >= accuracy(&nearest), "{} {}", accuracy(&model), accuracy(&nearest));
}

/// The difference of mean outputs to the float network, over classes.
fn shift(model: &Model) -> f64 {
    let means = |model: &Model| {
        let rows = outputs(model, &digits().images);
        let mean = |class: usize| rows.iter().map(|row| f64::from(row[class])).sum::<f64>() / rows.len() as f64;
        (0..10).map(mean).collect::<Vec<_>>()
    };
    means(model).iter().zip(means(&digits().model)).map(|(a, b)| (a - b).abs()).sum()
}

#[test]
fn bias_correction_takes_back_the_shift_of_the_mean() {
    let plain = quantized(&digits().model, &int4(), &digits().calibration);
    // Where activations are calibrated, it is what happens unless told otherwise.
    let config = QuantizationConfig { bias_correction: None, ..int4() };
    assert_eq!(config.calibration.calibrator, CalibratorKind::Mse);
    let corrected = quantized(&digits().model, &config, &digits().calibration);
    assert!(shift(&corrected) < 0.6 * shift(&plain), "{} {}", shift(&corrected), shift(&plain));
    let errors = (error(&corrected, &digits().model), error(&plain, &digits().model));
    assert!(errors.0 < errors.1, "{errors:?}");
    // What needs no samples otherwise, does not need them for this.
    let weights = QuantizationConfig { scheme: Scheme::WeightOnly, ..config };
    assert!(!weights.needs_samples());
    let asked = QuantizationConfig { bias_correction: Some(true), ..weights.clone() };
    let (plain, asked) =
        (quantized(&digits().model, &weights, &[]), quantized(&digits().model, &asked, &digits().calibration));
    assert!(shift(&asked) < 0.6 * shift(&plain), "{} {}", shift(&asked), shift(&plain));
}

#[test]
fn batch_norm_reestimation_gives_channels_their_statistics_back() {
    let plain = quantized(&digits().model, &int4(), &digits().calibration);
    let config = QuantizationConfig { batch_norm: Some(BatchNormConfig::default()), ..int4() };
    let tuned = quantized(&digits().model, &config, &digits().calibration);
    // It restores the means too: correction behind it, which is the default without, would restore those of weights that were
    // changed to be rounded.
    let default = QuantizationConfig { bias_correction: None, ..config.clone() };
    assert!(quantized(&digits().model, &default, &digits().calibration) == tuned);
    let errors = (error(&tuned, &digits().model), error(&plain, &digits().model));
    assert!(errors.0 < 0.8 * errors.1, "{errors:?}");
    // The integers stay; the scales and biases are others.
    let weights = |model: &Model| {
        let graph = model.main().unwrap();
        let constants = graph.tensors.iter().filter(|tensor| tensor.dtype == litesmith_graph::DType::I4);
        constants.map(|tensor| (tensor.data.clone(), tensor.quantization.clone())).collect::<Vec<_>>()
    };
    let (plain, tuned) = (weights(&plain), weights(&tuned));
    assert_eq!(plain.len(), 6);
    for ((data, quantization), (tuned_data, tuned_quantization)) in plain.iter().zip(&tuned) {
        assert!(data == tuned_data);
        assert!(quantization != tuned_quantization);
    }
}

#[test]
fn all_of_it_together_and_with_integer_borders() {
    let config = QuantizationConfig {
        input_type: IoType::Uint8,
        output_type: IoType::Uint8,
        granularity: Granularity::PerTensor,
        equalization: Some(EqualizationConfig::default()),
        adaround: Some(AdaRoundConfig { iterations: 200, ..AdaRoundConfig::default() }),
        batch_norm: Some(BatchNormConfig::default()),
        bias_correction: None,
        calibration: CalibrationConfig { calibrator: CalibratorKind::Mse, ..CalibrationConfig::default() },
        ..int4()
    };
    let text = toml::to_string(&config).unwrap();
    assert_eq!(toml::from_str::<QuantizationConfig>(&text).unwrap(), config);
    let model = quantized(&digits().model, &config, &digits().calibration);
    let mut session = Session::new(&model, SessionOptions::default()).unwrap();
    let mut right = 0;
    for (image, &label) in digits().images.iter().zip(&digits().labels) {
        let bytes = session.input_mut::<u8>(0).unwrap();
        bytes.iter_mut().zip(&image[0]).for_each(|(byte, value)| *byte = (value * 255.0).round() as u8);
        session.run().unwrap();
        let scores = session.output::<u8>(0).unwrap();
        right += usize::from((0..10).max_by_key(|&class| (scores[class], 10 - class)) == Some(label));
    }
    let float = accuracy(&digits().model);
    assert!(right as f64 / 1000.0 > float - 0.06, "{right}, float {float}");
}

#[test]
fn the_recipe_of_the_guide_is_one() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/QUANTIZATION.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, recipe) = guide.split_once("```toml quantization\n").unwrap();
    let config: QuantizationConfig = toml::from_str(recipe.split_once("```").unwrap().0).unwrap();
    config.check().unwrap();
    assert_eq!((config.weights, config.calibration.calibrator), (WeightBits::Int4, CalibratorKind::Mse));
    assert_eq!((config.rules.len(), config.adaround.unwrap().iterations), (1, 2000));
}

#[test]
fn what_is_missing_is_said_before_any_work() {
    let message = |config: &str, samples: &[Sample]| {
        let config: QuantizationConfig = toml::from_str(config).unwrap();
        let session = SessionOptions::default();
        let model = &digits().model;
        post_training(model, &config, Vec::new(), samples, &session, &mut |_, _, _| panic!("work"))
            .unwrap_err()
            .to_string()
    };
    let one = &digits().calibration[..1];
    assert!(message("", &[]).contains("no samples"));
    assert!(message("scheme = \"float32\"\nbias_correction = true", &[]).contains("no samples"));
    assert!(message("rules = [\"nothing*=int8\"]", one).contains("selects no op"));
    assert!(message("scheme = \"float16\"\nweights = \"int4\"", one).contains("int4 weights do not go with float16"));
    let blocks = "blockwise scales do not go with int8 weights and int8";
    assert!(message("granularity = \"blockwise-32\"", one).contains(blocks));
    let config = "scheme = \"dynamic\"\nweights = \"int4\"\ngranularity = \"blockwise-256\"";
    assert_eq!(toml::from_str::<QuantizationConfig>(config).unwrap().granularity, Granularity::Blockwise256);
    assert!(toml::from_str::<QuantizationConfig>("granularity = \"blockwise-16\"").is_err());
    assert!(message("[adaround]\nbatch = 0", one).contains("adaround: batch"));
    assert!(message("[batch_norm]\nlargest_factor = 0.5", one).contains("batch_norm: largest_factor"));
    assert!(message("bias_correction = true\n[batch_norm]", one).contains("beside batch-norm re-estimation"));
    assert!(toml::from_str::<QuantizationConfig>("[adaround]\nbach = 3").is_err());
    assert!(toml::from_str::<QuantizationConfig>("rules = [\"a=int9\"]").unwrap_err().to_string().contains("int9"));
}

//! From MNIST and a float network to files that run: what each scheme costs in the outputs.

use std::path::Path;

use litesmith_compress::{
    AdaRoundConfig, Granularity, IoType, MinMax, QuantizeOptions, Range, Ranges, Scheme, WeightBits, adaround,
    calibrate, calibration_samples, quantize,
};
use litesmith_data::{OpenOptions, Preprocess, SplitKind, open};
use litesmith_graph::{DType, Data, Graph, Model, Normalization};
use litesmith_runtime::{Session, SessionOptions};
use litesmith_tflite::{Limits, WriteOptions, read, write};
use litesmith_train::arch::{Activation, ActivationFunction, Architecture, Conv2D, Dense, Flatten};
use litesmith_train::{export::export, zoo};

fn samples(count: usize, seed: u64) -> Vec<Vec<f32>> {
    let spec = format!("mnist:{}", Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/mnist").display());
    let mnist = open(&spec, &OpenOptions::default()).unwrap();
    let split = mnist.require(SplitKind::Train).unwrap();
    let preprocess = Preprocess::unit(split.first_shape().unwrap());
    let samples = calibration_samples(split, &preprocess, count, seed).unwrap();
    samples.map(|sample| sample.unwrap().swap_remove(0)).collect()
}

fn calibrated(graph: &Graph, samples: &[Vec<f32>]) -> Ranges {
    let mut session = Session::from_graph(graph.clone(), SessionOptions::default()).unwrap();
    let samples = samples.iter().map(|sample| Ok(vec![sample.clone()]));
    calibrate(graph, &mut session, samples, &|| Box::new(MinMax::default())).unwrap()
}

/// The first input's elements as the model takes them.
fn encode(session: &mut Session, values: &[f32]) {
    let tensor = session.input_tensor(0).unwrap().clone();
    let (scale, zero_point) = tensor.quantization.and_then(|q| q.as_per_tensor()).unwrap_or((1.0, 0));
    let steps = values.iter().map(|value| (value / scale).round() + zero_point as f32);
    match tensor.dtype {
        DType::F32 => session.input_mut::<f32>(0).unwrap().copy_from_slice(values),
        DType::U8 => session.input_mut::<u8>(0).unwrap().iter_mut().zip(steps).for_each(|(x, step)| *x = step as u8),
        DType::I8 => session.input_mut::<i8>(0).unwrap().iter_mut().zip(steps).for_each(|(x, step)| *x = step as i8),
        _ => session.input_mut::<i16>(0).unwrap().iter_mut().zip(steps).for_each(|(x, step)| *x = step as i16),
    }
}

/// The first output's elements as real values.
fn decode(session: &Session) -> Vec<f32> {
    let tensor = session.output_tensor(0).unwrap();
    let quantization = tensor.quantization.as_ref().and_then(|q| q.as_per_tensor());
    let (scale, zero_point) = quantization.unwrap_or((1.0, 0));
    let real = |step: f32| scale * (step - zero_point as f32);
    match tensor.dtype {
        DType::F32 => session.output::<f32>(0).unwrap().to_vec(),
        DType::U8 => session.output::<u8>(0).unwrap().iter().map(|&step| real(f32::from(step))).collect(),
        DType::I8 => session.output::<i8>(0).unwrap().iter().map(|&step| real(f32::from(step))).collect(),
        _ => session.output::<i16>(0).unwrap().iter().map(|&step| real(f32::from(step))).collect(),
    }
}

fn outputs(model: &Model, samples: &[Vec<f32>]) -> Vec<f32> {
    let mut session = Session::new(model, SessionOptions::default()).unwrap();
    let mut outputs = Vec::new();
    for sample in samples {
        encode(&mut session, sample);
        session.run().unwrap();
        outputs.extend(decode(&session));
    }
    outputs
}

#[test]
fn a_session_calibrates_batches_as_well_as_single_samples() {
    let graph = export(&zoo::architecture("lenet-5").unwrap().graph(3).unwrap()).unwrap();
    let images = samples(24, 1);
    let one_by_one = calibrated(&graph, &images);
    let batches: Vec<_> = images.chunks(10).map(<[_]>::concat).collect();
    assert_eq!(calibrated(&graph, &batches), one_by_one);

    let mut session = Session::from_graph(graph.clone(), SessionOptions::default()).unwrap();
    let half = vec![Ok(vec![vec![0.0; 28 * 14]])];
    let error = calibrate(&graph, &mut session, half, &|| Box::new(MinMax::default())).unwrap_err();
    assert!(error.to_string().contains("got 392 elements, expected 784"), "{error}");
}

#[test]
fn each_scheme_stays_close_to_the_float_network() {
    let model = Model::from_graph(export(&zoo::architecture("mnist-cnn").unwrap().graph(3).unwrap()).unwrap());
    let ranges = calibrated(model.main().unwrap(), &samples(60, 1));
    assert_eq!(ranges.get(model.main().unwrap().inputs[0]), Some(Range::new(0.0, 1.0)));
    let held_back = samples(20, 2);
    let expected = outputs(&model, &held_back);
    let options = |scheme, io| QuantizeOptions::new(scheme).with_io(io, io);
    let unit = Normalization { mean: vec![0.0], std: vec![255.0] };
    for (options, bound) in [
        (options(Scheme::Float32, IoType::Float32), 0.0),
        (options(Scheme::Float16, IoType::Float32), 1e-4),
        (options(Scheme::DynamicRange, IoType::Float32), 4e-3),
        (options(Scheme::Int8, IoType::Float32), 1e-2),
        (options(Scheme::Int8, IoType::Int8), 1e-2),
        (options(Scheme::Int8, IoType::Uint8).with_normalization(vec![Some(unit)]), 1e-2),
        (options(Scheme::Int16x8, IoType::Float32), 2e-3),
        (options(Scheme::Int16x8, IoType::Int16), 2e-3),
    ] {
        let (quantized, report) = quantize(&model, &options, Some(&ranges)).unwrap();
        assert!(report.kept_float.is_empty() && report.warnings.is_empty(), "{report:?}");
        let bytes = write(&quantized, &WriteOptions::default()).unwrap();
        let quantized = read(&bytes, &Limits::default()).unwrap().model;
        let actual = outputs(&quantized, &held_back);
        let worst = actual.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= bound, "{:?} {:?}: off by {worst}", options.scheme, options.input_type);
        assert!(bound == 0.0 || worst > 0.0, "{:?} changed nothing", options.scheme);
        // TensorFlow's converter needs 433,200 bytes for this network with uint8 input and output.
        assert!(options.input_type != IoType::Uint8 || bytes.len() <= 433_200, "{} bytes", bytes.len());
    }
}

/// A network whose first FULLY_CONNECTED has 512 inputs, 32 of which have weights `factor` times as large as the others.
fn with_outliers(factor: f32) -> Model {
    let mut network = Architecture::sequential("outliers", [28, 28, 1]);
    network.push(Conv2D { strides: 7.into(), ..Conv2D::new(32, 7) });
    network.push(Activation::new(ActivationFunction::Relu));
    network.push(Flatten::default());
    network.push(Dense { activation: ActivationFunction::Relu, ..Dense::new(24) });
    network.push(Dense::new(10));
    let mut graph = export(&network.graph(5).unwrap()).unwrap();
    let dense = graph.nodes.iter().find(|node| node.op.name() == "FULLY_CONNECTED").unwrap();
    let weights = graph.tensor_mut(dense.inputs[1].unwrap());
    assert_eq!(weights.shape, [24, 512]);
    let mut values = weights.data.as_ref().unwrap().elements::<f32>().unwrap().to_vec();
    values.chunks_mut(512).for_each(|row| row[64..96].iter_mut().for_each(|weight| *weight *= factor));
    weights.data = Some(Data::from_slice(&values));
    Model::from_graph(graph)
}

fn squared_error(found: &[f32], expected: &[f32]) -> f64 {
    found.iter().zip(expected).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}

/// An outlier costs the precision of its own block only; the file that is read back computes the same.
#[test]
fn blocks_keep_outliers_from_the_other_weights() {
    let float = with_outliers(16.0);
    let images = samples(40, 3);
    let expected = outputs(&float, &images);
    let graph = float.main().unwrap();
    let dense = graph.nodes.iter().find(|node| node.op.name() == "FULLY_CONNECTED").unwrap();
    let float_weights = graph.tensor(dense.inputs[1].unwrap()).data.as_ref().unwrap().elements::<f32>().unwrap();
    let options = |granularity| QuantizeOptions {
        weights: WeightBits::Int4,
        granularity,
        rules: vec!["op:CONV_2D=float32".parse().unwrap()],
        ..QuantizeOptions::new(Scheme::DynamicRange)
    };
    let error = |granularity: Granularity| {
        let (quantized, report) = quantize(&float, &options(granularity), None).unwrap();
        let blocks = granularity.block_size();
        assert_eq!(report.warnings, Vec::<String>::new());
        let bytes = write(&quantized, &WriteOptions::default()).unwrap();
        let read = read(&bytes, &Limits::default()).unwrap().model;
        let found = outputs(&read, &images);
        assert_eq!(found, outputs(&quantized, &images));
        let graph = read.main().unwrap();
        let dense = graph.nodes.iter().find(|node| node.op.name() == "FULLY_CONNECTED").unwrap();
        let weights = graph.tensor(dense.inputs[1].unwrap());
        let quantization = weights.quantization.as_ref().unwrap();
        assert_eq!(quantization.block_size, blocks);
        assert_eq!(Granularity::of(quantization), Some(granularity));
        assert_eq!(quantization.scales.len(), blocks.map_or(24, |size| 24 * 512 / size));
        let inner = blocks.unwrap_or(512);
        let steps = weights.data.as_ref().unwrap().narrow_integers(DType::I4, 24 * 512).unwrap();
        let real = |(at, &step): (usize, &i8)| f32::from(step) * quantization.scales[at / inner];
        let rounded: Vec<_> = steps.iter().enumerate().map(real).collect();
        (squared_error(&rounded, float_weights), squared_error(&found, &expected))
    };
    let granularities = [
        Granularity::Blockwise32,
        Granularity::Blockwise64,
        Granularity::Blockwise128,
        Granularity::Blockwise256,
        Granularity::PerChannel,
    ];
    let errors: Vec<_> = granularities.iter().map(|&granularity| error(granularity)).collect();
    assert!(errors.is_sorted_by(|a, b| a.0 < b.0), "larger blocks have coarser weights: {errors:?}");
    assert!(errors[0].1 < 0.5 * errors[4].1, "{errors:?}");
}

#[test]
fn adaround_learns_weights_in_blocks() {
    let float = with_outliers(2.0);
    let mut options = QuantizeOptions {
        weights: WeightBits::Int4,
        granularity: Granularity::Blockwise64,
        rules: vec!["op:CONV_2D=float32".parse().unwrap()],
        ..QuantizeOptions::new(Scheme::DynamicRange)
    };
    let images: Vec<_> = samples(200, 7).into_iter().map(|image| vec![image]).collect();
    let config = AdaRoundConfig { iterations: 300, ..AdaRoundConfig::default() };
    let graph = float.main().unwrap();
    let session = SessionOptions::default();
    let (rounded, report) = adaround(graph, &options, &config, &images, &session, &mut |_, _| {}).unwrap();
    assert_eq!(report.len(), 1);
    assert!(report[0].changed > 100 && report[0].learned < 0.9 * report[0].nearest, "{report:?}");
    let images = samples(40, 3);
    let expected = outputs(&float, &images);
    let (nearest, _) = quantize(&float, &options, None).unwrap();
    options.rounded = rounded;
    let (learned, _) = quantize(&float, &options, None).unwrap();
    let [nearest, learned] = [nearest, learned].map(|model| squared_error(&outputs(&model, &images), &expected));
    assert!(learned < nearest, "{learned} {nearest}");
}

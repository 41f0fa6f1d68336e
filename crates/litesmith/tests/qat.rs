//! Quantization-aware training on the real MNIST: what is exported is what was simulated, and it helps.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use litesmith::compress::{IoType, MinMax, QuantizeOptions, calibrate, calibration_samples, quantize};
use litesmith::data::{OpenOptions, Split, SplitKind, ValidationSplit, open};
use litesmith::graph::{DType, Graph, Model};
use litesmith::progress::{Progress, Silent as NoProgress, Stage};
use litesmith::train::arch::{
    Activation, ActivationFunction, Add, Architecture, AveragePooling2D, BatchNormalization, Concatenate, Conv2D,
    Dense, DepthwiseConv2D, Dropout, Flatten, GlobalAveragePooling2D, MaxPooling2D, Padding,
};
use litesmith::train::{
    Ended, Qat, QatGranularity, QatMethod, QatWeights, Silent, TrainConfig, TrainData, TrainOptions, Trainer, export,
};
use litesmith::{
    EvaluateOptions, Predictor, Session, SessionOptions, TrainJob, evaluate, qat_graph, qat_model, qat_options,
    train_model,
};

fn mnist(kind: SplitKind) -> Split {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/mnist");
    let mnist = open(&format!("mnist:{}", folder.display()), &OpenOptions::default()).unwrap();
    mnist.require(kind).unwrap().clone()
}

fn data(samples: usize, validation: usize) -> TrainData {
    let all = mnist(SplitKind::Train).take(samples + validation);
    let preprocess = all.default_preprocess().unwrap();
    let (train, validation) = all.split_validation(ValidationSplit::Last(validation)).unwrap();
    TrainData { train, validation: Some(validation), preprocess }
}

fn relu() -> Activation {
    Activation::new(ActivationFunction::Relu)
}

fn cnn() -> Graph {
    let activation = ActivationFunction::Relu;
    Architecture::sequential("cnn", [28, 28, 1])
        .with(Conv2D { activation, ..Conv2D::new(6, 3) })
        .with(MaxPooling2D::default())
        .with(Conv2D { activation, strides: 2.into(), ..Conv2D::new(12, 3) })
        .with(AveragePooling2D::default())
        .with(Flatten {})
        .with(Dense { activation, ..Dense::new(24) })
        .with(Dropout { rate: 0.1 })
        .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(10) })
        .graph(3)
        .unwrap()
}

fn separable() -> Graph {
    let normalization = || BatchNormalization { momentum: 0.8, ..BatchNormalization::default() };
    Architecture::sequential("separable", [28, 28, 1])
        .with(Conv2D { strides: 2.into(), padding: Padding::Same, use_bias: false, ..Conv2D::new(8, 3) })
        .with(normalization())
        .with(relu())
        .with(DepthwiseConv2D { padding: Padding::Same, use_bias: false, ..DepthwiseConv2D::new(3) })
        .with(normalization())
        .with(relu())
        .with(Conv2D { use_bias: false, ..Conv2D::new(16, 1) })
        .with(normalization())
        .with(relu())
        .with(DepthwiseConv2D { strides: 2.into(), padding: Padding::Same, ..DepthwiseConv2D::new(3) })
        .with(normalization())
        .with(Activation::new(ActivationFunction::Relu6))
        .with(GlobalAveragePooling2D::default())
        .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(10) })
        .graph(3)
        .unwrap()
}

/// Sums and concatenations, of tensors that others read and of tensors that nobody else does.
fn residual() -> Graph {
    let normalization = || BatchNormalization { momentum: 0.8, ..BatchNormalization::default() };
    let conv = |filters, strides: usize| Conv2D {
        strides: strides.into(),
        padding: Padding::Same,
        use_bias: false,
        ..Conv2D::new(filters, 3)
    };
    let mut network = Architecture::sequential("residual", [28, 28, 1]);
    network.push(conv(8, 2));
    network.push(normalization());
    let x = network.push(relu());
    network.push(conv(8, 1));
    let y = network.push(normalization());
    network.apply(Add {}, &[&x, &y]);
    let x = network.push(relu());
    let pooled = network.push(AveragePooling2D::default());
    network.apply(conv(8, 2), &[&x]);
    let y = network.push(Activation::new(ActivationFunction::Tanh));
    network.apply(conv(4, 2), &[&x]);
    let z = network.push(normalization());
    network.apply(Concatenate::default(), &[&pooled, &y, &z]);
    network
        .with(conv(16, 2))
        .with(normalization())
        .with(relu())
        .with(GlobalAveragePooling2D::default())
        .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(10) })
        .graph(3)
        .unwrap()
}

fn config(epochs: usize) -> TrainConfig {
    TrainConfig { epochs, batch: 50, seed: 7, learning_rate: Some(4e-3), ..TrainConfig::default() }
}

fn trained(graph: &Graph, data: &TrainData, epochs: usize) -> Graph {
    let mut trainer = Trainer::new(graph, config(epochs), TrainOptions::default()).unwrap();
    trainer.train(data, &mut Silent).unwrap();
    trainer.trained_graph()
}

/// A trainer that has been through quantization-aware training.
fn fine_tuned(float: &Graph, qat: &Qat, options: &QuantizeOptions, data: &TrainData, epochs: usize) -> Trainer {
    let graph = qat_graph(float, qat, options, data, SessionOptions::default(), 1).unwrap();
    let config = TrainConfig { learning_rate: Some(1e-3), qat: Some(qat.clone()), ..config(epochs) };
    let mut trainer = Trainer::new(&graph, config, TrainOptions::default()).unwrap();
    trainer.train(data, &mut Silent).unwrap();
    trainer
}

/// Right images of all 10,000, as the file runs.
fn right(model: &Model, data: &TrainData, split: &Split) -> u64 {
    let bytes = litesmith::tflite::write(model, &litesmith::tflite::WriteOptions::default()).unwrap();
    let model = litesmith::tflite::read(&bytes, &litesmith::tflite::Limits::default()).unwrap().model;
    let mut predictor = Predictor::new(&model, SessionOptions::default(), split.shape()).unwrap();
    assert_eq!(predictor.preprocess(), &data.preprocess);
    let (evaluation, _) = evaluate(&mut predictor, None, split, &EvaluateOptions::default(), &mut NoProgress).unwrap();
    (evaluation.finish().accuracy * evaluation.samples() as f64).round() as u64
}

#[test]
fn the_exported_model_is_what_was_simulated() {
    let data = data(4000, 200);
    let test = mnist(SplitKind::Test);
    let base = Qat::default();
    let int4 = Qat { weights: QatWeights::Int4, ..base.clone() };
    let lsq = Qat { method: QatMethod::Lsq, ..int4.clone() };
    for (graph, qats) in [
        (cnn(), vec![base.clone(), Qat { granularity: QatGranularity::PerTensor, ..lsq.clone() }]),
        (separable(), vec![Qat { granularity: QatGranularity::PerTensor, ..base.clone() }, int4]),
        (residual(), vec![base, lsq]),
    ] {
        let float = trained(&graph, &data, 6);
        for qat in qats {
            let options = qat_options(&qat, IoType::Float32, IoType::Float32).unwrap();
            let mut trainer = fine_tuned(&float, &qat, &options, &data, 1);
            let simulated = trainer.evaluate(&test, &data.preprocess).unwrap();
            let simulated = (simulated.accuracy * 10_000.0).round() as u64;
            let (model, report) = qat_model(&trainer, &options).unwrap();
            assert!(report.kept_float.is_empty(), "{report:?}");
            let exported = right(&model, &data, &test);
            assert!(simulated > 7000, "{} {qat:?}: {simulated}", graph.name);
            assert!(simulated.abs_diff(exported) <= 5, "{} {qat:?}: {simulated}, {exported}", graph.name);
        }
    }
}

#[test]
fn int4_after_training_with_it_is_far_better_than_without() {
    let data = data(4000, 300);
    let test = mnist(SplitKind::Test);
    let float = trained(&separable(), &data, 8);
    let base = Qat { weights: QatWeights::Int4, granularity: QatGranularity::PerTensor, ..Qat::default() };
    let options = qat_options(&base, IoType::Int8, IoType::Int8).unwrap();
    let exported = export::export(&float).unwrap();
    let mut session = Session::from_graph(exported.clone(), SessionOptions::default()).unwrap();
    let samples = calibration_samples(&data.train, &data.preprocess, 200, 1).unwrap();
    let ranges = calibrate(&exported, &mut session, samples, &|| Box::new(MinMax::default())).unwrap();
    let (without, _) = quantize(&Model::from_graph(exported.clone()), &options, Some(&ranges)).unwrap();
    let float_right = right(&Model::from_graph(exported), &data, &test);
    let without = right(&without, &data, &test);
    assert!(without + 200 < float_right, "int4 costs something here: {without} of {float_right}");
    for method in [QatMethod::Ste, QatMethod::Lsq] {
        let qat = Qat { method, ..base.clone() };
        let trainer = fine_tuned(&float, &qat, &options, &data, 3);
        let (model, _) = qat_model(&trainer, &options).unwrap();
        let main = model.main().unwrap();
        assert_eq!(main.tensor(main.inputs[0]).dtype, DType::I8);
        assert!(main.tensors.iter().any(|tensor| tensor.dtype == DType::I4));
        let with = right(&model, &data, &test);
        assert!(
            2 * (float_right - with.min(float_right)) < float_right - without,
            "{method:?}: {with}, without {without}, float {float_right}"
        );
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let data = data(90, 40);
    let float = trained(&residual(), &data, 1);
    for method in [QatMethod::Ste, QatMethod::Lsq] {
        let qat = Qat { method, weights: QatWeights::Int4, ..Qat::default() };
        let options = qat_options(&qat, IoType::Float32, IoType::Float32).unwrap();
        let graph = qat_graph(&float, &qat, &options, &data, SessionOptions::default(), 1).unwrap();
        let trained = |threads| {
            let config = TrainConfig { qat: Some(qat.clone()), ema_momentum: Some(0.9), ..config(2) };
            let options = TrainOptions { threads, ..TrainOptions::default() };
            let mut trainer = Trainer::new(&graph, config, options).unwrap();
            trainer.train(&data, &mut Silent).unwrap();
            trainer.trained_graph()
        };
        let one = trained(1);
        assert_ne!(one, graph);
        assert_eq!(one, trained(3), "{method:?}");
    }
}

/// Cancels after some updates.
struct CancelAfter(u64, Arc<AtomicBool>);

impl Progress for CancelAfter {
    fn start(&mut self, _: Stage, _: u64) {}
    fn advance(&mut self, _: u64) {
        self.0 = self.0.saturating_sub(1);
        self.1.store(self.0 == 0, Ordering::Relaxed);
    }
    fn finish(&mut self) {}
    fn note(&mut self, _: &str) {}
}

#[test]
fn a_resumed_run_ends_where_an_uninterrupted_one_does() {
    // Two updates an epoch: two epochs in float32, two quantized.
    let data = data(90, 40);
    let graph = residual();
    let folder = tempfile::tempdir().unwrap();
    for method in [QatMethod::Ste, QatMethod::Lsq] {
        let run = |options: TrainOptions, resume: Option<&Path>, progress: &mut dyn Progress| {
            let job = TrainJob {
                name: "residual",
                graph: &graph,
                config: TrainConfig { qat: Some(Qat { method, ..Qat::default() }), ..config(4) },
                options,
                data: &data,
                resume,
                metrics: None,
                io: (IoType::Uint8, IoType::Float32),
            };
            train_model(job, progress).unwrap()
        };
        let whole = run(TrainOptions::default(), None, &mut NoProgress);
        assert_eq!(whole.report.history.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(whole.report.updates, 8);
        assert!(whole.quantization.unwrap().kept_float.is_empty());
        assert_eq!(whole.model.main().unwrap().tensor(whole.model.main().unwrap().inputs[0]).dtype, DType::U8);
        // Within the first epoch, at the end of the float ones, within the quantized ones.
        for updates in [1, 4, 5, 7] {
            let path = folder.path().join(format!("{method:?}-{updates}"));
            let flag = Arc::new(AtomicBool::new(false));
            let options =
                TrainOptions { checkpoint: Some(path.clone()), cancel: Some(flag.clone()), ..TrainOptions::default() };
            let first = run(options, None, &mut CancelAfter(updates, flag));
            assert_eq!(first.report.ended, Ended::Cancelled);
            let second = run(TrainOptions::default(), Some(&path), &mut NoProgress);
            assert_eq!(second.report, whole.report, "{method:?} after {updates} updates");
            assert_eq!(second.model, whole.model, "{method:?} after {updates} updates");
        }
    }
}

#[test]
fn what_makes_no_sense_is_said() {
    let data = data(60, 20);
    let graph = cnn();
    let error = |qat: Qat, epochs| {
        let job = TrainJob {
            name: "cnn",
            graph: &graph,
            config: TrainConfig { qat: Some(qat), ..config(epochs) },
            options: TrainOptions::default(),
            data: &data,
            resume: None,
            metrics: None,
            io: (IoType::Int8, IoType::Int8),
        };
        train_model(job, &mut NoProgress).err().unwrap().to_string()
    };
    assert!(error(Qat { delay_epochs: Some(2), ..Qat::default() }, 2).contains("qat.delay_epochs: got 2 of 2"));
    assert!(error(Qat { delay_epochs: Some(1), ..Qat::default() }, 1).contains("qat.delay_epochs: got 1 of 1"));
    assert!(error(Qat { rules: vec!["dense".into()], ..Qat::default() }, 2).contains("qat.rules"));
    assert!(error(Qat { range_momentum: 1.0, ..Qat::default() }, 2).contains("qat.range_momentum"));
    let config = TrainConfig { qat: Some(Qat::default()), ..config(1) };
    let float = Trainer::new(&graph, config, TrainOptions::default()).err().unwrap();
    assert!(float.to_string().contains("no fake quantization"), "{float}");
}

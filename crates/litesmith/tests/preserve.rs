//! Pruning, clustering and quantization-aware training of a network that reads the real MNIST, one after the other: each
//! keeps what those before it won, and the file is what was simulated.

use std::collections::HashSet;
use std::path::Path;
use std::sync::OnceLock;

use litesmith::compress::{
    ClusterScope, Clustering, FineTune, IoType, WeightPruning, cluster_weights, prune_weights, quantize,
};
use litesmith::data::{OpenOptions, Split, SplitKind, ValidationSplit, open};
use litesmith::graph::{DType, Graph, Model, Op, TensorId};
use litesmith::progress::Silent as NoProgress;
use litesmith::train::arch::{
    Activation, ActivationFunction, Architecture, AveragePooling2D, Conv2D, Dense, DepthwiseConv2D, Flatten,
};
use litesmith::train::{Qat, QatMethod, QatWeights, Silent, TrainConfig, TrainData, TrainOptions, Trainer, export};
use litesmith::{
    EvaluateOptions, Predictor, SessionOptions, TrainJob, evaluate, qat_graph, qat_model, qat_options, share_scales,
    train_model,
};

struct Digits {
    float: Graph,
    data: TrainData,
    test: Split,
}

fn config(epochs: usize) -> TrainConfig {
    TrainConfig { epochs, batch: 50, seed: 7, learning_rate: Some(2e-3), ..TrainConfig::default() }
}

/// A network with each kind of layer, which has learned some MNIST.
fn digits() -> &'static Digits {
    static DIGITS: OnceLock<Digits> = OnceLock::new();
    DIGITS.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/mnist");
        let mnist = open(&format!("mnist:{}", folder.display()), &OpenOptions::default()).unwrap();
        let some = mnist.require(SplitKind::Train).unwrap().take(4300);
        let preprocess = some.default_preprocess().unwrap();
        let (train, validation) = some.split_validation(ValidationSplit::Last(300)).unwrap();
        let data = TrainData { train, validation: Some(validation), preprocess };
        let activation = ActivationFunction::Relu;
        let network = Architecture::sequential("digits", [28, 28, 1])
            .with(Conv2D { activation, strides: 2.into(), ..Conv2D::new(8, 3) })
            .with(DepthwiseConv2D::new(3))
            .with(Activation::new(activation))
            .with(Conv2D { activation, ..Conv2D::new(16, 3) })
            .with(AveragePooling2D::default())
            .with(Flatten {})
            .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(10) });
        let mut trainer = Trainer::new(&network.graph(3).unwrap(), config(5), TrainOptions::default()).unwrap();
        trainer.train(&data, &mut Silent).unwrap();
        let float = trainer.exported_graph().unwrap();
        Digits { float, data, test: mnist.require(SplitKind::Test).unwrap().clone() }
    })
}

fn tune(epochs: usize, change: impl FnOnce(&mut TrainConfig)) -> FineTune<'static> {
    let mut config = config(epochs);
    change(&mut config);
    FineTune { config, options: TrainOptions::default(), data: &digits().data }
}

fn pruned(graph: &Graph, sparsity: f64) -> Graph {
    let config = WeightPruning { sparsity: Some(sparsity), ..WeightPruning::default() };
    prune_weights(graph, &config, Some(&tune(2, |_| ())), &mut Silent).unwrap().0
}

fn clustered(graph: &Graph, clusters: usize, scope: ClusterScope) -> Graph {
    let config = Clustering { clusters, scope, ..Clustering::default() };
    cluster_weights(graph, &config, Some(&tune(1, |_| ())), &mut Silent).unwrap().0
}

/// The weights of each layer as a file holds them, the number of channels and whether they come last.
fn weights(graph: &Graph) -> Vec<(Vec<f32>, usize, bool)> {
    let weights = graph.nodes.iter().filter_map(|node| match node.op {
        Op::Conv2d(_) | Op::FullyConnected(_) => Some((node.inputs[1]?, false)),
        Op::DepthwiseConv2d(_) => Some((node.inputs[1]?, true)),
        _ => None,
    });
    let values = |id: TensorId| -> Vec<f32> {
        let tensor = graph.tensor(id);
        let data = tensor.data.as_ref().unwrap();
        match tensor.dtype {
            DType::F32 => data.elements::<f32>().unwrap().to_vec(),
            dtype => {
                let integers = data.narrow_integers(dtype, tensor.shape.iter().product()).unwrap();
                integers.iter().map(|&integer| integer.into()).collect()
            }
        }
    };
    weights
        .map(|(id, last)| {
            let shape = &graph.tensor(id).shape;
            (values(id), if last { shape[3] } else { shape[0] }, last)
        })
        .collect()
}

fn distinct<'a>(values: impl IntoIterator<Item = &'a f32>) -> usize {
    values.into_iter().map(|value| value.to_bits()).collect::<HashSet<_>>().len()
}

fn most_in_a_channel((values, channels, last): &(Vec<f32>, usize, bool)) -> usize {
    let each = values.len() / channels;
    (0..*channels)
        .map(|channel| match last {
            true => distinct(values.iter().skip(channel).step_by(*channels)),
            false => distinct(&values[channel * each..(channel + 1) * each]),
        })
        .max()
        .unwrap()
}

/// What is zero in `before` is zero in `after`.
fn zeros_stay(before: &Graph, after: &Graph) -> bool {
    weights(before).iter().zip(weights(after)).all(|((before, ..), (after, ..))| {
        assert_eq!(before.len(), after.len());
        before.iter().zip(&after).all(|(&before, &after)| before != 0.0 || after == 0.0)
    })
}

fn sparsity(graph: &Graph) -> f64 {
    let all: Vec<f32> = weights(graph).into_iter().flat_map(|(values, ..)| values).collect();
    all.iter().filter(|&&value| value == 0.0).count() as f64 / all.len() as f64
}

/// Right images of all 10,000, as the file runs.
fn right(model: &Model) -> u64 {
    let Digits { test, data, .. } = digits();
    let bytes = litesmith::tflite::write(model, &litesmith::tflite::WriteOptions::default()).unwrap();
    let model = litesmith::tflite::read(&bytes, &litesmith::tflite::Limits::default()).unwrap().model;
    let mut predictor = Predictor::new(&model, SessionOptions::default(), test.shape()).unwrap();
    assert_eq!(predictor.preprocess(), &data.preprocess);
    let (evaluation, _) = evaluate(&mut predictor, None, test, &EvaluateOptions::default(), &mut NoProgress).unwrap();
    (evaluation.finish().accuracy * evaluation.samples() as f64).round() as u64
}

fn qat(graph: &Graph, qat: Qat, change: impl FnOnce(&mut TrainConfig)) -> Model {
    let mut config = TrainConfig { qat: Some(Qat { delay_epochs: Some(0), ..qat }), ..config(2) };
    change(&mut config);
    let job = TrainJob {
        name: "digits",
        graph,
        config,
        options: TrainOptions::default(),
        data: &digits().data,
        resume: None,
        metrics: None,
        io: (IoType::Int8, IoType::Int8),
    };
    let trained = train_model(job, &mut NoProgress).unwrap();
    assert!(trained.quantization.unwrap().kept_float.is_empty());
    trained.model
}

#[test]
fn pruned_then_clustered_then_quantized_keeps_zeros_and_clusters() {
    let float = &digits().float;
    let float_right = right(&Model::from_graph(float.clone()));
    let sparse = pruned(float, 0.7);
    let shared = clustered(&sparse, 16, ClusterScope::Layer);
    assert!(zeros_stay(&sparse, &shared) && sparsity(&shared) > 0.69);
    assert!(weights(&shared).iter().all(|(values, ..)| distinct(values) <= 16));
    for (method, bits) in
        [(QatMethod::Ste, QatWeights::Int8), (QatMethod::Lsq, QatWeights::Int8), (QatMethod::Lsq, QatWeights::Int4)]
    {
        let model = qat(&shared, Qat { method, weights: bits, ..Qat::default() }, |_| ());
        let graph = model.main().unwrap();
        assert!(zeros_stay(&shared, graph), "{method:?} {bits:?}");
        for (values, ..) in weights(graph) {
            assert!(distinct(&values) <= 16, "{method:?} {bits:?}: {} values", distinct(&values));
        }
        let right = right(&model);
        assert!(right + 300 > float_right, "{method:?} {bits:?}: {right} after {float_right}");
    }
    // Without it, neither is kept.
    let model = qat(&shared, Qat::default(), |config| config.preserve = false);
    assert!(!zeros_stay(&shared, model.main().unwrap()));
    assert!(weights(model.main().unwrap()).iter().any(|(values, ..)| distinct(values) > 64));
}

#[test]
fn what_was_kept_is_what_was_simulated() {
    let Digits { float, data, test } = digits();
    let shared = clustered(&pruned(float, 0.6), 16, ClusterScope::Layer);
    let of = Qat::default();
    let mut options = qat_options(&of, IoType::Float32, IoType::Float32).unwrap();
    assert_eq!(share_scales(&shared, &mut options).unwrap(), 4);
    let graph = qat_graph(&shared, &of, &options, data, SessionOptions::default(), 1).unwrap();
    let config = TrainConfig { qat: Some(of), ema_momentum: Some(0.9), ..config(1) };
    let mut trainer = Trainer::new(&graph, config, TrainOptions::default()).unwrap();
    trainer.train(data, &mut Silent).unwrap();
    let simulated = (trainer.evaluate(test, &data.preprocess).unwrap().accuracy * 10_000.0).round() as u64;
    let (model, _) = qat_model(&trainer, &options).unwrap();
    assert!(zeros_stay(&shared, model.main().unwrap()));
    assert!(weights(model.main().unwrap()).iter().all(|(values, ..)| distinct(values) <= 16));
    assert!(simulated.abs_diff(right(&model)) <= 5, "{simulated}, {}", right(&model));
    assert!(simulated > 9000, "{simulated}");
}

#[test]
fn clusters_of_channels_keep_a_scale_for_each() {
    let shared = clustered(&digits().float, 4, ClusterScope::Channel);
    let model = qat(&shared, Qat::default(), |_| ());
    let graph = model.main().unwrap();
    for layer in &weights(graph) {
        assert!(most_in_a_channel(layer) <= 4, "{}", most_in_a_channel(layer));
    }
    let scales = graph.nodes.iter().filter_map(|node| match node.op {
        Op::Conv2d(_) => graph.tensor(node.inputs[1]?).quantization.as_ref(),
        _ => None,
    });
    assert!(scales.into_iter().all(|quantization| quantization.scales.len() > 1));
}

#[test]
fn training_in_float_and_pruning_keep_them_too() {
    let Digits { float, data, .. } = digits();
    let shared = clustered(&pruned(float, 0.5), 8, ClusterScope::Layer);
    let job = TrainJob {
        name: "digits",
        graph: &shared,
        config: TrainConfig { ema_momentum: Some(0.95), weight_decay: Some(0.01), ..config(1) },
        options: TrainOptions::default(),
        data,
        resume: None,
        metrics: None,
        io: (IoType::Float32, IoType::Float32),
    };
    let trained = train_model(job, &mut NoProgress).unwrap().model;
    let trained = trained.main().unwrap();
    assert!(zeros_stay(&shared, trained));
    assert_ne!(weights(trained), weights(&shared), "the values learn");
    assert!(weights(trained).iter().all(|(values, ..)| distinct(values) <= 8));
    // More zeros take weights out of their clusters, and leave the others together.
    let sparser = pruned(&shared, 0.8);
    assert!(zeros_stay(&shared, &sparser) && sparsity(&sparser) > 0.79);
    assert!(weights(&sparser).iter().all(|(values, ..)| distinct(values) <= 8));
    let bytes = |graph: &Graph| {
        let exported = export::export(graph).unwrap();
        let (model, _) = quantize(
            &Model::from_graph(exported),
            &litesmith::compress::QuantizeOptions::new(litesmith::compress::Scheme::DynamicRange),
            None,
        )
        .unwrap();
        let file = litesmith::tflite::write(&model, &litesmith::tflite::WriteOptions::default()).unwrap();
        litesmith::tflite::Packed::of(&file).gzip.unwrap()
    };
    assert!(bytes(&sparser) * 3 < bytes(float) * 2, "{} of {}", bytes(&sparser), bytes(float));
}

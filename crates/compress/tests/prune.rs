//! Pruning and weight sharing on real networks: what is removed is what was zero, and MNIST still reads.

use std::path::Path;
use std::sync::OnceLock;

use litesmith_compress::{
    ChannelPruning, Channels, ClusterScope, Clustering, FineTune, Importance, Initial, Originals, Scope, WeightMasks,
    WeightPruning, choose_channels, cluster_weights, magnitude, prune_channels, prune_weights,
};
use litesmith_data::{OpenOptions, Preprocess, Purpose, Rng, Split, SplitKind, open};
use litesmith_graph::{Graph, Model, Op};
use litesmith_runtime::{Session, SessionOptions};
use litesmith_tflite::{Limits, WriteOptions, read, write};
use litesmith_train::arch::{
    Activation, ActivationFunction, Add, Architecture, BatchNormalization, Concatenate, Conv2D, Dense, DepthwiseConv2D,
    Flatten, MaxPooling2D,
};
use litesmith_train::export::export;
use litesmith_train::{Silent, TrainConfig, TrainData, TrainOptions, Trainer, zoo};

/// Concatenations of concatenations, one of them added to a convolution as wide: groups that overlap in part.
fn joined() -> Architecture {
    let mut network = Architecture::sequential("joined", [12, 12, 3]);
    let input = network.input();
    let left = network.apply(Conv2D::new(6, 3), &[&input]);
    let right = network.apply(Conv2D::new(10, 3), &[&input]);
    let both = network.apply(Concatenate::default(), &[&left, &right]);
    let wide = network.apply(Conv2D::new(16, 3), &[&input]);
    let sum = network.apply(Add {}, &[&both, &wide]);
    let more = network.apply(Concatenate::default(), &[&sum, &right]);
    network.apply(BatchNormalization::default(), &[&more]);
    network.push(DepthwiseConv2D { depth_multiplier: 2, ..DepthwiseConv2D::new(3) });
    network.push(MaxPooling2D::default());
    network.push(Flatten {});
    network.push(Dense::new(20));
    network.push(Dense::new(4));
    network
}

fn outputs(graph: &Graph, count: usize) -> Vec<f32> {
    let mut session = Session::from_graph(graph.clone(), SessionOptions::default()).unwrap();
    let mut random = Rng::new(9, Purpose::Input, &[]);
    let mut outputs = Vec::new();
    for _ in 0..count {
        session.input_mut::<f32>(0).unwrap().iter_mut().for_each(|x| *x = random.unit_f32());
        session.run().unwrap();
        outputs.extend_from_slice(session.output::<f32>(0).unwrap());
    }
    outputs
}

/// Which units go: at random, so that the choice has nothing to do with the weights.
fn at_random(graph: &Graph, channels: &Channels, config: &ChannelPruning) -> Vec<bool> {
    let importance = magnitude(channels, graph, Importance::Random, 5).unwrap();
    choose_channels(channels, graph, &importance, &Originals::of(channels, graph, config), config.ratio, config)
        .unwrap()
}

/// Folded parameters of batch normalization that do nothing would hide what is done to them.
fn shuffle_constants(graph: &mut Graph) {
    let mut random = Rng::new(3, Purpose::Input, &[1]);
    for tensor in &mut graph.tensors {
        if let (Some(data), 1) = (&tensor.data, tensor.shape.len())
            && tensor.dtype == litesmith_graph::DType::F32
        {
            let values: Vec<f32> =
                data.elements::<f32>().unwrap().iter().map(|x| x + 0.5 * random.unit_f32()).collect();
            tensor.data = Some(litesmith_graph::Data::from_slice(&values));
        }
    }
}

#[test]
fn removed_channels_are_worth_what_zeros_are() {
    let named = |spec: &str| zoo::architecture(spec).unwrap().graph(3).unwrap();
    let networks = [
        ("mnist-cnn", named("mnist-cnn")),
        ("resnet-8", named("resnet-8")),
        ("mobilenet-v1", named("mobilenet-v1:width=0.25,input=32x32x3,classes=5")),
        ("mobilenet-v2", named("mobilenet-v2:width=0.35,input=32x32x3,classes=5")),
        ("ds-cnn", named("ds-cnn")),
        ("joined", joined().graph(3).unwrap()),
    ];
    for (name, mut training) in networks {
        shuffle_constants(&mut training);
        for scope in [Scope::Layer, Scope::Global] {
            let config = ChannelPruning { scope, ..ChannelPruning::default() };
            // As a file holds it, and with batch normalization still in it.
            let exported = export(&training).unwrap();
            for graph in [&exported, &training] {
                let channels = Channels::new(graph).unwrap();
                let removed = at_random(graph, &channels, &config);
                let expected = outputs(&export(&channels.zeroed(graph, &removed).unwrap()).unwrap(), 3);
                let smaller = export(&channels.removed(graph, &removed).unwrap()).unwrap();
                let actual = outputs(&smaller, 3);
                let largest = expected.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
                let worst = actual.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst <= 1e-5 * largest.max(1.0), "{name} {scope:?}: off by {worst} of {largest}");
                assert_ne!(expected, outputs(&exported, 3), "{name}: what was removed did nothing");
                let (before, after) = (exported.parameters(), smaller.parameters());
                assert!(after * 2 < before, "{name} {scope:?}: {after} of {before} parameters");
                let again =
                    read(&write(&Model::from_graph(smaller), &WriteOptions::default()).unwrap(), &Limits::default());
                assert_eq!(outputs(again.unwrap().model.main().unwrap(), 3), actual, "{name}");
            }
        }
    }
}

#[test]
fn groups_say_what_goes_together_and_what_stays() {
    let graph = export(&zoo::architecture("resnet-8").unwrap().graph(1).unwrap()).unwrap();
    let channels = Channels::new(&graph).unwrap();
    // Three stages, each with the convolution inside its block by itself, and the classes.
    let sizes: Vec<_> = channels.groups().iter().map(|group| (group.layers.len(), group.units.len())).collect();
    assert_eq!(sizes, [(2, 16), (1, 16), (1, 32), (2, 32), (1, 64), (2, 64), (1, 10)]);
    let last = &channels.units()[channels.groups()[6].units[0]];
    assert!(last.locked.is_some());
    let mut removed = vec![false; channels.units().len()];
    removed[channels.groups()[6].units[0]] = true;
    assert!(channels.removed(&graph, &removed).unwrap_err().to_string().contains("must stay"));

    let graph = joined().graph(1).unwrap();
    let channels = Channels::new(&graph).unwrap();
    let mut sizes: Vec<_> = channels.groups().iter().map(|group| (group.layers.len(), group.units.len())).collect();
    sizes.sort_unstable();
    // Both convolutions share channels with the wide one, and the depthwise one makes two of each.
    assert_eq!(sizes, [(1, 4), (1, 20), (3, 6), (3, 10)]);
}

#[test]
fn minimum_and_multiple_are_kept() {
    let graph = export(&zoo::architecture("mobilenet-v2:width=0.35,input=32x32x3").unwrap().graph(1).unwrap()).unwrap();
    for scope in [Scope::Layer, Scope::Global] {
        let config = ChannelPruning {
            ratio: 0.7,
            importance: Importance::L1,
            scope,
            min_channels: 8,
            multiple_of: 8,
            ..ChannelPruning::default()
        };
        let (pruned, report) = prune_channels(&graph, &config, None, &mut Silent).unwrap();
        assert!(report.parameters.1 * 2 < report.parameters.0, "{:?}", report.parameters);
        assert_eq!(report.parameters.1, pruned.parameters());
        for group in &report.groups {
            assert!(group.locked.is_some() || group.after % 8 == 0 && group.after >= 8, "{group:?}");
            assert!(group.locked.is_none() || group.after == group.before, "{group:?}");
        }
        assert!(report.groups.iter().any(|group| group.after < group.before));
    }
}

#[test]
fn impossible_requests_say_so() {
    let graph = export(&zoo::architecture("lenet-5").unwrap().graph(1).unwrap()).unwrap();
    let run = |config: ChannelPruning| prune_channels(&graph, &config, None, &mut Silent).unwrap_err().to_string();
    assert!(run(ChannelPruning { ratio: 1.0, ..ChannelPruning::default() }).contains("less than 1"));
    assert!(run(ChannelPruning { steps: 0, ..ChannelPruning::default() }).contains("expected 1 or more"));
    assert!(run(ChannelPruning::default()).contains("needs data"));
    let config =
        ChannelPruning { importance: Importance::L1, exclude: vec![String::new()], ..ChannelPruning::default() };
    assert!(run(config).contains("no channel"));
    let wrong: Result<ChannelPruning, _> = toml::from_str("ratoi = 0.5");
    assert!(wrong.unwrap_err().to_string().contains("ratio"));
    let recipe: ChannelPruning = toml::from_str("ratio = 0.25\nimportance = \"l2\"\nscope = \"layer\"").unwrap();
    assert_eq!((recipe.importance, recipe.scope), (Importance::L2, Scope::Layer));
    let recipe: WeightPruning = toml::from_str("pattern = \"2:4\"").unwrap();
    assert_eq!(toml::from_str::<WeightPruning>(&toml::to_string(&recipe).unwrap()).unwrap(), recipe);
    let recipe: Clustering = toml::from_str("clusters = 8\ninitial = \"kmeans++\"").unwrap();
    assert_eq!(recipe.initial, Initial::KMeansPlusPlus);
}

/// A small network that has learned some MNIST, and the data.
struct Digits {
    graph: Graph,
    data: TrainData,
    test: Split,
    accuracy: f64,
}

fn digits() -> &'static Digits {
    static DIGITS: OnceLock<Digits> = OnceLock::new();
    DIGITS.get_or_init(|| {
        let spec = format!("mnist:{}", Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/mnist").display());
        let mnist = open(&spec, &OpenOptions::default()).unwrap();
        let train = mnist.require(SplitKind::Train).unwrap().take(4000);
        let test = mnist.require(SplitKind::Test).unwrap().take(1000);
        let preprocess = Preprocess::unit(train.first_shape().unwrap());
        let data = TrainData { train, validation: None, preprocess };
        let relu = || Activation::new(ActivationFunction::Relu);
        let network = Architecture::sequential("small", [28, 28, 1])
            .with(Conv2D { strides: 2.into(), ..Conv2D::new(16, 3) })
            .with(relu())
            .with(Conv2D { strides: 2.into(), ..Conv2D::new(32, 3) })
            .with(relu())
            .with(DepthwiseConv2D::new(3))
            .with(relu())
            .with(Flatten {})
            .with(Dense::new(10));
        let mut trainer = Trainer::new(&network.graph(1).unwrap(), config(6), TrainOptions::default()).unwrap();
        trainer.train(&data, &mut Silent).unwrap();
        let graph = trainer.exported_graph().unwrap();
        let accuracy = accuracy(&graph, &data, &test);
        assert!(accuracy > 0.9, "{accuracy}");
        Digits { graph, data, test, accuracy }
    })
}

fn config(epochs: usize) -> TrainConfig {
    TrainConfig { epochs, batch: 50, learning_rate: Some(0.003), ..TrainConfig::default() }
}

fn tune(digits: &Digits, epochs: usize) -> FineTune<'_> {
    FineTune { config: config(epochs), options: TrainOptions::default(), data: &digits.data }
}

fn accuracy(graph: &Graph, data: &TrainData, test: &Split) -> f64 {
    let mut trainer = Trainer::new(graph, config(1), TrainOptions::default()).unwrap();
    trainer.evaluate(test, &data.preprocess).unwrap().accuracy
}

/// As it comes back from a file.
fn stored(graph: &Graph) -> (Graph, usize) {
    let bytes = write(&Model::from_graph(graph.clone()), &WriteOptions::default()).unwrap();
    (read(&bytes, &Limits::default()).unwrap().model.main().unwrap().clone(), bytes.len())
}

/// The weights of each layer, with their row length.
fn weights(graph: &Graph) -> Vec<(usize, Vec<f32>)> {
    let layers = graph
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::Conv2d(_) | Op::DepthwiseConv2d(_) | Op::FullyConnected(_)));
    let weights = layers.map(|node| graph.tensor(node.inputs[1].unwrap()));
    weights
        .map(|tensor| {
            let values = tensor.data.as_ref().unwrap().elements::<f32>().unwrap().to_vec();
            (tensor.shape[1..].iter().product(), values)
        })
        .collect()
}

#[test]
fn half_of_the_channels_go_and_digits_are_still_read() {
    let digits = digits();
    let pruning = ChannelPruning { steps: 2, batches: 20, ..ChannelPruning::default() };
    let (pruned, report) = prune_channels(&digits.graph, &pruning, Some(&tune(digits, 4)), &mut Silent).unwrap();
    let (_, before) = stored(&digits.graph);
    let (pruned, after) = stored(&pruned);
    assert!(after * 3 < before * 2, "{after} of {before} bytes");
    let channels: usize = report.groups.iter().map(|group| group.after).sum();
    assert_eq!(channels, 24 + 10, "{:?}", report.groups);
    let kept = accuracy(&pruned, &digits.data, &digits.test);
    assert!(kept > digits.accuracy - 0.03, "{kept} after {}", digits.accuracy);
}

#[test]
fn taylor_knows_better_than_chance() {
    let digits = digits();
    let run = |importance: Importance, seed: u64| {
        let pruning = ChannelPruning { ratio: 0.7, importance, seed, batches: 40, ..ChannelPruning::default() };
        let (pruned, _) = prune_channels(&digits.graph, &pruning, Some(&tune(digits, 0)), &mut Silent).unwrap();
        accuracy(&pruned, &digits.data, &digits.test)
    };
    let taylor = run(Importance::Taylor, 0);
    let chance: Vec<_> = (0..5).map(|seed| run(Importance::Random, seed)).collect();
    let mean = chance.iter().sum::<f64>() / chance.len() as f64;
    assert!(taylor > mean + 0.1 && chance.iter().all(|&other| taylor > other), "taylor {taylor}, by chance {chance:?}");
}

#[test]
fn weights_become_zero_as_asked_and_stay_zero() {
    let digits = digits();
    for (pattern, sparsity) in [("unstructured", Some(0.8)), ("2:4", None), ("block:1x4", Some(0.5))] {
        let pruning = WeightPruning { sparsity, pattern: pattern.parse().unwrap(), ..WeightPruning::default() };
        let (pruned, report) = prune_weights(&digits.graph, &pruning, Some(&tune(digits, 3)), &mut Silent).unwrap();
        let (pruned, _) = stored(&pruned);
        for ((columns, values), layer) in weights(&pruned).iter().zip(&report.layers) {
            let zeros = values.iter().filter(|&&w| w == 0.0).count();
            assert_eq!(zeros, layer.zeros, "{pattern} {layer:?}");
            if layer.left.is_some() {
                assert_eq!(zeros, 0, "{pattern} {layer:?}");
                continue;
            }
            let share = zeros as f64 / values.len() as f64;
            assert!((share - sparsity.unwrap_or(0.5)).abs() < 0.01, "{pattern} {layer:?}: {share}");
            assert_eq!(values.len() % columns, 0);
            let fits = values.chunks(4).all(|group| match group.iter().filter(|&&w| w == 0.0).count() {
                zeros if pattern == "2:4" => zeros == 2,
                zeros if pattern == "block:1x4" => zeros == 0 || zeros == 4,
                _ => true,
            });
            assert!(fits, "{pattern} {layer:?}");
        }
        // Sparse, the file is smaller where there are enough zeros, and holds the same.
        let model = Model::from_graph(pruned.clone());
        let sparse = write(&model, &WriteOptions { sparse: true, ..WriteOptions::default() }).unwrap();
        let dense = write(&model, &WriteOptions::default()).unwrap();
        let most = if pattern == "unstructured" { 60 } else { 90 };
        assert!(sparse.len() * 100 < dense.len() * most, "{pattern}: {} of {} bytes", sparse.len(), dense.len());
        let again = read(&sparse, &Limits::default()).unwrap().model;
        assert_eq!(weights(again.main().unwrap()), weights(&pruned), "{pattern}");
        // The first convolution has rows of nine, and a depthwise one none.
        let left = report.layers.iter().filter(|layer| layer.left.is_some()).count();
        assert_eq!(left, if pattern == "unstructured" { 0 } else { 2 }, "{:?}", report.layers);
        let kept = accuracy(&pruned, &digits.data, &digits.test);
        assert!(kept > digits.accuracy - 0.05, "{pattern}: {kept} after {}", digits.accuracy);
    }
}

#[test]
fn an_average_of_weights_is_as_sparse() {
    let digits = digits();
    let pruning = WeightPruning { sparsity: Some(0.6), end: 0.9, frequency: 7, ..WeightPruning::default() };
    let mut tune = tune(digits, 1);
    tune.config.ema_momentum = Some(0.9);
    let (_, report) = prune_weights(&digits.graph, &pruning, Some(&tune), &mut Silent).unwrap();
    assert!((report.sparsity() - 0.6).abs() < 0.01, "{report:?}");
}

#[test]
fn clusters_share_values_and_spare_zeros() {
    let digits = digits();
    let sparse = WeightPruning { sparsity: Some(0.7), ..WeightPruning::default() };
    let (sparse, _) = prune_weights(&digits.graph, &sparse, Some(&tune(digits, 2)), &mut Silent).unwrap();
    let masks = WeightMasks::of_zeros(&sparse).unwrap();
    for scope in [ClusterScope::Layer, ClusterScope::Channel] {
        let sharing = Clustering { clusters: 8, scope, ..Clustering::default() };
        let (once, _) = cluster_weights(&sparse, &sharing, None, &mut Silent).unwrap();
        let (shared, report) = cluster_weights(&sparse, &sharing, Some(&tune(digits, 2)), &mut Silent).unwrap();
        assert_ne!(weights(&once), weights(&shared), "the values did not learn");
        let (shared, _) = stored(&shared);
        assert_eq!(WeightMasks::of_zeros(&shared).unwrap(), masks, "{scope:?}");
        for ((columns, values), layer) in weights(&shared).iter().zip(&report.layers) {
            let distinct = |values: &[f32]| {
                let mut sorted = values.to_vec();
                sorted.sort_by(f32::total_cmp);
                sorted.dedup();
                sorted.len()
            };
            assert_eq!(distinct(values), layer.values);
            let is_depthwise = *columns == values.len();
            match scope {
                ClusterScope::Layer => assert!(layer.values <= 8 && layer.bits <= 3.0, "{layer:?}"),
                ClusterScope::Channel if is_depthwise => {}
                ClusterScope::Channel => assert!(values.chunks(*columns).all(|row| distinct(row) <= 8), "{layer:?}"),
            }
        }
        let kept = accuracy(&shared, &digits.data, &digits.test);
        assert!(kept > digits.accuracy - 0.05, "{scope:?}: {kept} after {}", digits.accuracy);
    }
}

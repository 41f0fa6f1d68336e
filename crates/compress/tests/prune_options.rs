//! What each option of pruning and of sharing weights does, on networks small enough to count it by hand.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use litesmith_compress::{
    ChannelPruning, ClusterScope, Clustering, FineTune, Importance, Scope, WeightPruning, cluster_weights,
    prune_channels, prune_weights,
};
use litesmith_data::{OpenOptions, Preprocess, SplitKind, open};
use litesmith_graph::ops::FullyConnected;
use litesmith_graph::{DType, Data, Graph, Op, Tensor, TensorId};
use litesmith_train::arch::{Activation, ActivationFunction, Architecture, Dense, Flatten};
use litesmith_train::export::export;
use litesmith_train::{EpochRecord, Silent, TrainConfig, TrainData, TrainObserver, TrainOptions, Weights, zoo};

fn network(spec: &str) -> Graph {
    export(&zoo::architecture(spec).unwrap().graph(1).unwrap()).unwrap()
}

/// 200 digits: four updates an epoch, of 50.
static DATA: LazyLock<TrainData> = LazyLock::new(|| {
    let spec = format!("mnist:{}", Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/mnist").display());
    let train = open(&spec, &OpenOptions::default()).unwrap().require(SplitKind::Train).unwrap().take(200);
    let preprocess = Preprocess::unit(train.first_shape().unwrap());
    TrainData { train, validation: None, preprocess }
});

fn tune(epochs: usize) -> FineTune<'static> {
    let config = TrainConfig { epochs, batch: 50, learning_rate: Some(0.01), ..TrainConfig::default() };
    FineTune { config, options: TrainOptions { threads: 1, ..TrainOptions::default() }, data: &DATA }
}

/// What is seen of training: for each update the weights of each tensor, as they are when all have done with them.
#[derive(Default)]
struct Seen {
    updates: Vec<Vec<(TensorId, Vec<f32>)>>,
    epochs: Vec<usize>,
}

impl TrainObserver for Seen {
    fn after_update(&mut self, weights: &mut Weights<'_>) {
        self.updates.push(weights.tensors_mut().map(|(tensor, values)| (tensor, values.to_vec())).collect());
    }

    fn on_epoch(&mut self, epoch: &EpochRecord) {
        self.epochs.push(epoch.epoch);
    }
}

/// Tensors of the weights that layers multiply by.
fn layers(graph: &Graph) -> Vec<TensorId> {
    let has_weights = |op: &Op| matches!(op, Op::Conv2d(_) | Op::DepthwiseConv2d(_) | Op::FullyConnected(_));
    graph.nodes.iter().filter(|node| has_weights(&node.op)).map(|node| node.inputs[1].unwrap()).collect()
}

fn elements(graph: &Graph, tensor: TensorId) -> &[f32] {
    graph.tensor(tensor).data.as_ref().unwrap().elements().unwrap()
}

fn zeros(values: &[f32]) -> usize {
    values.iter().filter(|&&value| value == 0.0).count()
}

fn distinct(values: &[f32]) -> usize {
    values.iter().map(|value| value.to_bits()).collect::<BTreeSet<_>>().len()
}

#[test]
fn by_layer_each_gives_its_share_and_globally_the_sum_of_all_does() {
    let graph = network("resnet-8");
    let groups = |scope| {
        let config = ChannelPruning { ratio: 0.25, importance: Importance::L1, scope, ..ChannelPruning::default() };
        let (_, report) = prune_channels(&graph, &config, None, &mut Silent).unwrap();
        report.groups.into_iter().filter(|group| group.locked.is_none()).collect::<Vec<_>>()
    };
    let (layer, global) = (groups(Scope::Layer), groups(Scope::Global));
    assert!(layer.iter().all(|group| group.after * 4 == group.before * 3), "{layer:?}");
    assert!(global.iter().any(|group| group.after * 4 != group.before * 3), "{global:?}");
    let left = |groups: &[litesmith_compress::GroupReport]| groups.iter().map(|group| group.after).sum::<usize>();
    assert_eq!(left(&layer), left(&global));
}

#[test]
fn excluded_layers_keep_their_channels_and_others_do_not() {
    let graph = network("mnist-cnn");
    let config =
        ChannelPruning { importance: Importance::L2, exclude: vec!["conv2d_1".into()], ..ChannelPruning::default() };
    let (_, report) = prune_channels(&graph, &config, None, &mut Silent).unwrap();
    for group in report.groups.iter().filter(|group| group.locked.as_deref() != Some("excluded by name")) {
        assert!(group.after < group.before || group.locked.is_some(), "{group:?}");
    }
    let kept: Vec<_> = report.groups.iter().filter(|group| group.layers == ["conv2d_1"]).collect();
    assert!(kept.len() == 1 && kept[0].after == kept[0].before, "{report:?}");
    assert_eq!(kept[0].locked.as_deref(), Some("excluded by name"));
    let typo = ChannelPruning { exclude: vec!["conv3d".into()], ..config };
    let error = prune_channels(&graph, &typo, None, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("\"conv3d\"") && error.hint().unwrap().contains("conv2d_1"), "{error}");
}

/// Where a unit never fires, nothing depends on it, however large its weights are.
#[test]
fn taylor_looks_at_what_channels_do_and_norms_at_their_weights() {
    let mut graph = Architecture::sequential("dead", [28, 28, 1])
        .with(Flatten {})
        .with(Dense::new(8))
        .with(Activation::new(ActivationFunction::Relu))
        .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(10) })
        .graph(1)
        .map(|graph| export(&graph).unwrap())
        .unwrap();
    let (weights, reader) = (layers(&graph)[0], layers(&graph)[1]);
    let dense = graph.nodes.iter().find(|node| node.inputs.get(1) == Some(&Some(weights))).unwrap();
    let bias = dense.inputs[2].unwrap();
    let mut change = |tensor: TensorId, change: &dyn Fn(usize, &mut f32)| {
        let mut values = elements(&graph, tensor).to_vec();
        values.iter_mut().enumerate().for_each(|(index, value)| change(index, value));
        graph.tensor_mut(tensor).data = Some(Data::from_slice(&values));
    };
    change(weights, &|index, value| *value *= if index / 784 == 5 { 100.0 } else { 1.0 });
    change(reader, &|index, value| *value *= if index % 8 == 5 { 100.0 } else { 1.0 });
    change(bias, &|index, value| *value = if index == 5 { -1e6 } else { 0.0 });
    let dead_after = |importance| {
        let config = ChannelPruning { ratio: 0.125, importance, batches: 4, ..ChannelPruning::default() };
        let (pruned, report) = prune_channels(&graph, &config, Some(&tune(0)), &mut Silent).unwrap();
        assert_eq!((report.groups[0].before, report.groups[0].after), (8, 7));
        let node = pruned.nodes.iter().find(|node| matches!(node.op, Op::FullyConnected(_))).unwrap();
        elements(&pruned, node.inputs[2].unwrap()).iter().filter(|&&bias| bias == -1e6).count()
    };
    assert_eq!(dead_after(Importance::Taylor), 0);
    assert_eq!((dead_after(Importance::L1), dead_after(Importance::L2)), (1, 1));
}

#[test]
fn small_and_excluded_layers_keep_their_weights() {
    let graph = network("lenet-5");
    let (first, all) = (layers(&graph)[0], layers(&graph));
    let most = elements(&graph, first).len() + 1;
    let name = &graph.tensor(all[1]).name;
    let pruning = WeightPruning {
        sparsity: Some(0.5),
        min_elements: most,
        exclude: vec![name.clone()],
        ..WeightPruning::default()
    };
    let (pruned, report) = prune_weights(&graph, &pruning, None, &mut Silent).unwrap();
    let sharing = Clustering { clusters: 4, min_elements: most, exclude: vec![name.clone()], ..Clustering::default() };
    let (shared, _) = cluster_weights(&graph, &sharing, None, &mut Silent).unwrap();
    for (number, &layer) in all.iter().enumerate() {
        let is_left = number < 2;
        let (before, sparse, few) = (elements(&graph, layer), elements(&pruned, layer), elements(&shared, layer));
        assert_eq!(sparse == before, is_left, "{number}");
        assert_eq!(few == before, is_left, "{number}");
        assert!(is_left || zeros(sparse) * 2 == before.len() && distinct(few) == 4, "{number}");
        assert_eq!(report.layers[number].left.is_some(), is_left, "{report:?}");
    }
}

/// A fully connected layer of two rows.
fn dense(weights: &[f32]) -> Graph {
    let columns = weights.len() / 2;
    let mut graph = Graph::new("dense");
    let x = graph.add_input(Tensor::new("x", DType::F32, [1, columns]));
    let weights = graph.add_tensor(Tensor::constant("w", DType::F32, [2, columns], Data::from_slice(weights)));
    let y = graph.add_node(FullyConnected::default(), &[Some(x), Some(weights), None], "y").unwrap();
    graph.outputs = vec![y];
    graph
}

#[test]
fn zeros_are_a_value_of_their_own_unless_they_need_not_stay() {
    let graph = dense(&[0.0, 0.1, 1.0, 1.1, 4.0, 4.2, 0.0, 1.0]);
    let shared = |config: Clustering| {
        let (shared, report) = cluster_weights(&graph, &config, None, &mut Silent).unwrap();
        (elements(&shared, layers(&shared)[0]).to_vec(), report.layers[0].clone())
    };
    let (kept, report) = shared(Clustering { clusters: 3, ..Clustering::default() });
    let small = (0.1_f64 + 1.0 + 1.1 + 1.0) / 4.0;
    let expected = [0.0, small, small, small, 4.1, 4.1, 0.0, small];
    assert!(kept.iter().zip(expected).all(|(&value, expected)| (f64::from(value) - expected).abs() < 1e-6), "{kept:?}");
    // Shares 1/4, 1/2, 1/4.
    assert_eq!((report.elements, report.values, report.bits), (8, 3, 1.5));
    let (free, _) = shared(Clustering { clusters: 3, preserve_zeros: false, ..Clustering::default() });
    assert!((free[0] - 0.1 / 3.0).abs() < 1e-6 && free[0] == free[1] && free[0] == free[6], "{free:?}");
    let (rows, report) = shared(Clustering { clusters: 2, scope: ClusterScope::Channel, ..Clustering::default() });
    assert!(rows[..4].iter().all(|value| *value == 0.0 || *value == rows[1]) && rows[1] != rows[4], "{rows:?}");
    assert_eq!(report.values, 3);
}

#[test]
fn values_are_shared_through_every_update() {
    let graph = network("lenet-5");
    let config = Clustering { clusters: 5, ..Clustering::default() };
    let mut seen = Seen::default();
    cluster_weights(&graph, &config, Some(&tune(1)), &mut seen).unwrap();
    assert_eq!(seen.updates.len(), 4);
    for layer in layers(&graph) {
        for (update, weights) in (1..).zip(&seen.updates) {
            let values = &weights.iter().find(|(tensor, _)| *tensor == layer).unwrap().1;
            assert!(distinct(values) <= 5, "update {update}: {} values", distinct(values));
        }
    }
}

/// Layers of one kind, which train fast.
fn perceptron() -> Graph {
    let architecture = Architecture::sequential("perceptron", [28, 28, 1])
        .with(Flatten {})
        .with(Dense::new(40))
        .with(Activation::new(ActivationFunction::Relu))
        .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(10) });
    export(&architecture.graph(1).unwrap()).unwrap()
}

#[test]
fn channels_go_in_as_many_steps_as_asked_and_the_epochs_are_shared_among_them() {
    let graph = perceptron();
    let hidden = layers(&graph)[0];
    for (steps, expected) in [(1, vec![20; 24]), (3, [[32; 8], [25; 8], [20; 8]].concat())] {
        let config = ChannelPruning { ratio: 0.5, steps, importance: Importance::L1, ..ChannelPruning::default() };
        let mut seen = Seen::default();
        prune_channels(&graph, &config, Some(&tune(6)), &mut seen).unwrap();
        // What is left falls evenly: 40 units to 40 / 2^(1/3), 40 / 2^(2/3), 20. Four updates an epoch, two epochs a step.
        let left = |weights: &Vec<(TensorId, Vec<f32>)>| {
            weights.iter().find(|(tensor, _)| *tensor == hidden).map_or(0, |(_, values)| values.len() / 784)
        };
        let left: Vec<_> = seen.updates.iter().map(left).collect();
        assert_eq!(left, expected);
    }
}

#[test]
fn sparsity_grows_along_the_polynomial_in_as_many_steps_as_the_schedule_has() {
    let graph = perceptron();
    for (power, initial) in [(3, 0.0), (1, 0.2)] {
        let config = WeightPruning {
            sparsity: Some(0.8),
            initial_sparsity: initial,
            begin: 0.1,
            end: 0.6,
            power: f64::from(power),
            frequency: 2,
            ..WeightPruning::default()
        };
        let mut seen = Seen::default();
        prune_weights(&graph, &config, Some(&tune(20)), &mut seen).unwrap();
        assert_eq!(seen.updates.len(), 80);
        for layer in layers(&graph) {
            let of = |weights: &Vec<(TensorId, Vec<f32>)>| {
                let (_, values) = weights.iter().find(|(tensor, _)| *tensor == layer).unwrap();
                (zeros(values), values.len())
            };
            let mut before = 0;
            let mut steps = 0;
            for (update, (zeros, all)) in (1..).zip(seen.updates.iter().map(of)) {
                // From the 8th update to the 48th of 80, at every second.
                let now = (update - update % 2).min(48);
                let left = 1.0 - f64::from(now - 8).max(0.0) / 40.0;
                let share = if now < 8 { 0.0 } else { 0.8 + (initial - 0.8) * left.powi(power) };
                assert_eq!(zeros, (share * all as f64).round() as usize, "update {update}, power {power}");
                steps += usize::from(zeros != before);
                before = zeros;
            }
            // At the 8th there is nothing to do where growth begins with nothing; of few weights a small step may be none.
            let is_large = elements(&graph, layer).len() > 10_000;
            assert!(!is_large || steps == if initial > 0.0 { 21 } else { 20 }, "{steps} steps");
        }
    }
}

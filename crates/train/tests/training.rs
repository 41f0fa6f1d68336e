//! Training on a few hundred images of the real MNIST.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use litesmith_data::{Augment, OpenOptions, Preprocess, Split, SplitKind, ValidationSplit, open};
use litesmith_graph::{Graph, Op};
use litesmith_train::arch::{
    Activation, ActivationFunction, Add, Architecture, BatchNormalization, Conv2D, Dense, DepthwiseConv2D, Dropout,
    Flatten, GlobalAveragePooling2D, MaxPooling2D, Padding,
};
use litesmith_train::{
    ClassWeights, EarlyStopping, Ended, JsonLines, Loss, Monitor, Optimizer, Schedule, Silent, StepRecord, TrainConfig,
    TrainData, TrainObserver, TrainOptions, Trainer, Weights,
};

fn mnist(samples: usize, validation: usize) -> TrainData {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/mnist");
    let mnist = open(&format!("mnist:{}", folder.display()), &OpenOptions::default()).unwrap();
    let all = mnist.require(SplitKind::Train).unwrap().take(samples + validation);
    let preprocess = all.default_preprocess().unwrap();
    if validation == 0 {
        return TrainData { train: all, validation: None, preprocess };
    }
    let (train, validation) = all.split_validation(ValidationSplit::Last(validation)).unwrap();
    TrainData { train, validation: Some(validation), preprocess }
}

fn small_cnn() -> Graph {
    Architecture::sequential("small", [28, 28, 1])
        .with(Conv2D { strides: 2.into(), activation: ActivationFunction::Relu, ..Conv2D::new(8, 3) })
        .with(MaxPooling2D::default())
        .with(Flatten {})
        .with(Dropout { rate: 0.1 })
        .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(10) })
        .graph(3)
        .unwrap()
}

/// Batch normalization after each kind of op, with and without bias, after none, and a residual connection.
fn normalized_cnn() -> Graph {
    let relu = || Activation::new(ActivationFunction::Relu);
    let mut network = Architecture::sequential("normalized", [28, 28]);
    network.push(BatchNormalization::default());
    network.push(Conv2D { strides: 3.into(), use_bias: false, ..Conv2D::new(8, 3) });
    network.push(BatchNormalization { momentum: 0.8, ..BatchNormalization::default() });
    let x = network.push(relu());
    network.push(DepthwiseConv2D { padding: Padding::Same, ..DepthwiseConv2D::new(3) });
    network.push(BatchNormalization { momentum: 0.8, ..BatchNormalization::default() });
    let y = network.push(Activation::new(ActivationFunction::HardSwish));
    network.apply(Add {}, &[&x, &y]);
    network.push(relu());
    network
        .with(Dropout { rate: 0.2 })
        .with(GlobalAveragePooling2D::default())
        .with(Dense::new(16))
        .with(BatchNormalization { momentum: 0.8, ..BatchNormalization::default() })
        .with(relu())
        .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(10) })
        .graph(3)
        .unwrap()
}

fn options(threads: usize) -> TrainOptions {
    TrainOptions { threads, ..TrainOptions::default() }
}

fn config() -> TrainConfig {
    TrainConfig { epochs: 2, batch: 50, seed: 7, ..TrainConfig::default() }
}

fn trained(graph: &Graph, config: &TrainConfig, threads: usize, data: &TrainData) -> Graph {
    let mut trainer = Trainer::new(graph, config.clone(), options(threads)).unwrap();
    trainer.train(data, &mut Silent).unwrap();
    trainer.trained_graph()
}

#[test]
fn a_network_learns_digits() {
    let data = mnist(1500, 300);
    let config = TrainConfig { epochs: 6, batch: 32, ..config() };
    let mut trainer = Trainer::new(&small_cnn(), config, options(0)).unwrap();
    let mut lines = JsonLines::new(Vec::new(), true);
    let report = trainer.train(&data, &mut lines).unwrap();
    assert_eq!((report.ended, report.history.len(), report.updates), (Ended::Finished, 6, 6 * 47));
    let best = report.history[report.best_epoch.unwrap() - 1].validation.unwrap();
    assert!(best.accuracy > 0.85, "{report:?}");
    assert!(report.history[5].training.loss < 0.5 * report.history[0].training.loss);
    let again = trainer.evaluate(data.validation.as_ref().unwrap(), &data.preprocess).unwrap();
    assert_eq!(again, best, "the weights of the best epoch are kept");
    let lines = String::from_utf8(lines.finish().unwrap()).unwrap();
    let records: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 6 * 48);
    assert_eq!(records[0]["event"], "step");
    assert_eq!(records[47]["event"], "epoch");
    assert_eq!(records[47]["validation"]["samples"], 300);
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    // 90 samples in batches of 50: whole shards, parts of shards, and a smaller last batch.
    let data = mnist(90, 40);
    let config = TrainConfig {
        augment: Augment::preset("digits").unwrap(),
        clip_norm: Some(0.5),
        ema_momentum: Some(0.9),
        ..config()
    };
    for graph in [small_cnn(), normalized_cnn()] {
        let one = trained(&graph, &config, 1, &data);
        assert_ne!(one, graph);
        for threads in [2, 5] {
            assert_eq!(one, trained(&graph, &config, threads, &data), "{threads} threads");
        }
        let other = TrainConfig { seed: 8, ..config.clone() };
        assert_ne!(one, trained(&graph, &other, 1, &data), "another seed");
    }
}

/// Cancels after some updates.
struct CancelAfter {
    updates: u64,
    flag: Arc<AtomicBool>,
}

impl TrainObserver for CancelAfter {
    fn on_step(&mut self, _: &StepRecord) {
        self.updates -= 1;
        self.flag.store(self.updates == 0, Ordering::Relaxed);
    }
}

#[test]
fn a_resumed_run_ends_where_an_uninterrupted_one_does() {
    let data = mnist(170, 60);
    let folder = tempfile::tempdir().unwrap();
    let optimizers =
        [Optimizer::adam(), Optimizer::sgd(0.9, true), Optimizer::RmsProp { rho: 0.9, momentum: 0.5, epsilon: 1e-7 }];
    for (number, optimizer) in optimizers.into_iter().enumerate() {
        let config = TrainConfig {
            epochs: 3,
            optimizer,
            schedule: Schedule::Cosine { final_factor: 0.1 },
            warm_up_epochs: 0.5,
            weight_decay: Some(0.01),
            ema_momentum: Some(0.8),
            augment: Augment { mixup_alpha: 0.2, ..Augment::preset("digits").unwrap() },
            loss: Loss::CategoricalCrossentropy,
            ..config()
        };
        let graph = if number == 0 { normalized_cnn() } else { small_cnn() };
        let mut whole = Trainer::new(&graph, config.clone(), options(2)).unwrap();
        let expected = whole.train(&data, &mut Silent).unwrap();
        // Four updates an epoch: 2 is within the first, 4 at its end, 7 within the second.
        for updates in [2, 4, 7] {
            let path = folder.path().join(format!("{number}-{updates}.safetensors"));
            let flag = Arc::new(AtomicBool::new(false));
            let cancelled = TrainOptions { checkpoint: Some(path.clone()), cancel: Some(flag.clone()), ..options(1) };
            let mut first = Trainer::new(&graph, config.clone(), cancelled).unwrap();
            let report = first.train(&data, &mut CancelAfter { updates, flag }).unwrap();
            assert_eq!((report.ended, report.updates), (Ended::Cancelled, updates));
            let mut second = Trainer::resume(&graph, config.clone(), options(2), &path).unwrap();
            let report = second.train(&data, &mut Silent).unwrap();
            assert_eq!(report, expected, "after {updates} updates");
            assert_eq!(second.trained_graph(), whole.trained_graph(), "after {updates} updates");
        }
    }
}

#[test]
fn checkpoints_refuse_what_they_were_not_made_from() {
    let data = mnist(100, 20);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.safetensors");
    let with = TrainOptions { checkpoint: Some(path.clone()), source: "the network".into(), ..options(1) };
    let mut trainer = Trainer::new(&small_cnn(), config(), with).unwrap();
    trainer.train(&data, &mut Silent).unwrap();
    let header = litesmith_train::CheckpointHeader::load(&path).unwrap();
    assert_eq!((header.epochs_done, header.finished, header.source.as_str()), (2, true, "the network"));

    let error =
        |graph: &Graph, config: TrainConfig| Trainer::resume(graph, config, options(1), &path).unwrap_err().to_string();
    assert!(error(&small_cnn(), TrainConfig { batch: 51, ..config() }).contains("configuration"));
    assert!(error(&normalized_cnn(), config()).contains("no such tensor"));
    let mut more = Trainer::resume(&small_cnn(), TrainConfig { epochs: 3, ..config() }, options(1), &path).unwrap();
    assert_eq!(more.train(&data, &mut Silent).unwrap().history.len(), 3);
    let other = mnist(80, 20);
    let mut more = Trainer::resume(&small_cnn(), TrainConfig { epochs: 3, ..config() }, options(1), &path).unwrap();
    assert!(more.train(&other, &mut Silent).unwrap_err().to_string().contains("80 samples"));

    let bytes = std::fs::read(&path).unwrap();
    for cut in [0, 7, 100, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let refused = Trainer::resume(&small_cnn(), config(), options(1), &path).unwrap_err();
        assert!(matches!(refused, litesmith_graph::Error::Malformed(_)), "{refused}");
    }
    // A changed byte of the header is an error or another number; of the weights, another weight.
    let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for at in (0..8).chain((8..8 + header_len).step_by(97)) {
        for byte in [0xff, b'9', b'"'] {
            let mut damaged = bytes.clone();
            damaged[at] = byte;
            std::fs::write(&path, damaged).unwrap();
            if let Ok(mut trainer) = Trainer::resume(&small_cnn(), config(), options(1), &path) {
                let _ = trainer.train(&data, &mut Silent);
            }
        }
    }
}

#[test]
fn sizes_that_no_machine_has_are_refused_before_they_are_allocated() {
    let layer = |layer: &str| format!("name = \"n\"\ninput = [28, 28, 1]\n{layer}");
    let huge = i64::MAX;
    let cases = [
        (layer(&format!("[[layer]]\ntype = \"Conv2D\"\nfilters = {huge}\nkernel_size = 3\n")), "too many elements"),
        (layer("[[layer]]\ntype = \"Conv2D\"\nfilters = 2000000000\nkernel_size = 3\n"), "has more than"),
        (layer(&format!("[[layer]]\ntype = \"Conv2D\"\nfilters = 4\nkernel_size = {huge}\n")), "Conv2D"),
        (layer("[[layer]]\ntype = \"Flatten\"\n[[layer]]\ntype = \"Dense\"\nunits = 4000000000\n"), "has more than"),
        (layer(&"[[layer]]\ntype = \"Conv2D\"\nfilters = 4000\nkernel_size = 3\n".repeat(4)), "has more than"),
        (layer(&format!("[[layer]]\ntype = \"ZeroPadding2D\"\npadding = {huge}\n")), "too large"),
        (layer("[[layer]]\ntype = \"MaxPooling2D\"\nstrides = 0\n"), "MaxPooling2D"),
        (format!("name = \"n\"\ninput = [{huge}, {huge}, 3]\n[[layer]]\ntype = \"Flatten\"\n"), "too"),
    ];
    for (text, expected) in cases {
        let error = Architecture::from_toml(&text).and_then(|architecture| architecture.graph(0)).unwrap_err();
        assert!(error.to_string().contains(expected), "{text}: {error}");
    }
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let texts = [
        "learning_rate = nan",
        "learning_rate = -0.1",
        "weight_decay = inf",
        "warm_up_epochs = -1.0",
        "clip_norm = 0.0",
        "ema_momentum = nan",
        "epochs = 0",
        "batch = -1",
        "label_smoothing = nan",
        "label_smoothing = -0.5",
        "class_weights = { list = [1.0, nan] }",
        "loader_threads = 0",
        "augment = { shift = nan }",
        "optimizer = { name = \"adam\", beta_1 = nan }",
    ];
    for text in texts {
        assert!(TrainConfig::from_toml(text).is_err(), "{text}");
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_training_and_says_where() {
    let data = mnist(200, 0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.safetensors");
    let config = TrainConfig { optimizer: Optimizer::sgd(0.9, false), learning_rate: Some(1e20), ..config() };
    for (checkpoint, hint) in [(None, "without a checkpoint"), (Some(path.clone()), "before the first checkpoint")] {
        let mut trainer =
            Trainer::new(&small_cnn(), config.clone(), TrainOptions { checkpoint, ..options(2) }).unwrap();
        let error = trainer.train(&data, &mut Silent).unwrap_err();
        assert!(error.hint().unwrap().contains(hint), "{error:?}");
    }
    let options = TrainOptions { checkpoint: Some(path.clone()), checkpoint_every: 1, ..options(2) };
    let mut trainer = Trainer::new(&small_cnn(), config, options).unwrap();
    let error = trainer.train(&data, &mut Silent).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("epoch 1 step ") && text.contains("is not finite") && text.contains("\""), "{text}");
    assert!(error.hint().unwrap().contains("c.safetensors"), "{error:?}");
    assert!(litesmith_train::CheckpointHeader::load(&path).unwrap().updates >= 1);
}

#[test]
fn training_stops_early_and_keeps_the_best_epoch() {
    let data = mnist(100, 50);
    let config = TrainConfig {
        epochs: 40,
        optimizer: Optimizer::sgd(0.0, false),
        // So large a rate that the loss soon gets worse again.
        learning_rate: Some(1.0),
        early_stopping: Some(EarlyStopping { patience: 2, min_delta: 0.0 }),
        monitor: Monitor::Loss,
        ..config()
    };
    let mut trainer = Trainer::new(&small_cnn(), config, options(2)).unwrap();
    let report = trainer.train(&data, &mut Silent).unwrap();
    assert_eq!(report.ended, Ended::EarlyStopping);
    let best = report.best_epoch.unwrap();
    assert_eq!(report.history.len(), best + 2);
    let loss = |epoch: usize| report.history[epoch - 1].validation.unwrap().loss;
    assert!((1..=report.history.len()).all(|epoch| loss(epoch) >= loss(best)));
    let kept = trainer.evaluate(data.validation.as_ref().unwrap(), &data.preprocess).unwrap();
    assert_eq!(kept.loss, loss(best));
}

#[test]
fn the_exported_graph_computes_what_the_training_graph_computes() {
    let data = mnist(200, 60);
    let graph = normalized_cnn();
    let mut trainer = Trainer::new(&graph, config(), options(2)).unwrap();
    trainer.train(&data, &mut Silent).unwrap();
    let exported = trainer.exported_graph().unwrap();
    exported.check().unwrap();
    let ops: Vec<_> = exported.nodes.iter().map(|node| node.op.name()).collect();
    assert_eq!(
        ops,
        [
            "RESHAPE",
            "MUL",
            "ADD",
            "CONV_2D",
            "DEPTHWISE_CONV_2D",
            "HARD_SWISH",
            "ADD",
            "MEAN",
            "FULLY_CONNECTED",
            "FULLY_CONNECTED",
            "SOFTMAX"
        ]
    );
    assert_eq!(exported.tensor(exported.inputs[0]).to_string(), "float32[-1,28,28]");
    // Fine-tuning takes the exported graph up again; before the first update it gives the same loss.
    let before = trainer.evaluate(data.validation.as_ref().unwrap(), &data.preprocess).unwrap();
    let mut tuned = Trainer::new(&exported, config(), options(2)).unwrap();
    let after = tuned.evaluate(data.validation.as_ref().unwrap(), &data.preprocess).unwrap();
    assert!((before.loss - after.loss).abs() < 1e-5 * before.loss, "{before:?} {after:?}");
    assert_eq!(before.accuracy, after.accuracy);
    let report = tuned.train(&data, &mut Silent).unwrap();
    assert!(report.history[1].training.loss < report.history[0].training.loss);
}

#[test]
fn frozen_layers_and_observers_decide_what_changes() {
    struct Zero;
    impl TrainObserver for Zero {
        fn after_update(&mut self, weights: &mut Weights<'_>) {
            for (name, _, values) in weights.iter_mut() {
                if name == "dense/bias" {
                    values[3] = 0.0;
                }
            }
        }
    }
    let data = mnist(100, 0);
    let config = TrainConfig { frozen: vec!["conv2d/".into()], weight_decay: Some(0.1), ..config() };
    let graph = small_cnn();
    let mut trainer = Trainer::new(&graph, config.clone(), options(2)).unwrap();
    trainer.train(&data, &mut Zero).unwrap();
    let trained = trainer.trained_graph();
    let values = |graph: &Graph, name: &str| {
        let tensor = graph.tensors.iter().find(|tensor| tensor.name == name).unwrap();
        tensor.data.as_ref().unwrap().elements::<f32>().unwrap().to_vec()
    };
    assert_eq!(values(&trained, "conv2d/kernel"), values(&graph, "conv2d/kernel"));
    assert_ne!(values(&trained, "dense/kernel"), values(&graph, "dense/kernel"));
    assert_eq!(values(&trained, "dense/bias")[3], 0.0);
    let unknown = TrainConfig { frozen: vec!["stem".into()], ..config };
    assert!(Trainer::new(&graph, unknown, options(1)).unwrap_err().to_string().contains("stem"));
}

#[test]
fn class_weights_and_other_losses_train() {
    let data = mnist(200, 0);
    let first_and_last = |config: TrainConfig| {
        let mut trainer = Trainer::new(&small_cnn(), TrainConfig { epochs: 3, ..config }, options(2)).unwrap();
        let report = trainer.train(&data, &mut Silent).unwrap();
        (report.history[0].training.loss, report.history[2].training.loss)
    };
    let configs = [
        TrainConfig { class_weights: ClassWeights::Balanced, label_smoothing: 0.1, ..config() },
        TrainConfig { loss: Loss::MeanSquaredError, ..config() },
        TrainConfig { loss: Loss::BinaryCrossentropy, optimizer: Optimizer::adam_w(), ..config() },
        TrainConfig { schedule: Schedule::OneCycle { rise: 0.3, div_factor: 25.0, final_div_factor: 1e4 }, ..config() },
        TrainConfig { optimizer: Optimizer::rms_prop(), clip_value: Some(0.1), drop_last: true, ..config() },
    ];
    for config in configs {
        let (first, last) = first_and_last(config.clone());
        assert!(last < first, "{config:?}: {first} to {last}");
    }
}

#[test]
fn configurations_come_from_toml_and_say_what_is_wrong() {
    let text = r#"
epochs = 12
batch = 64
optimizer = { name = "sgd", momentum = 0.9, nesterov = true }
learning_rate = 0.05
schedule = { name = "one_cycle" }
class_weights = "balanced"
early_stopping = { patience = 3 }

[augment]
shift = 0.1
"#;
    let config = TrainConfig::from_toml(text).unwrap();
    assert_eq!(config.optimizer, Optimizer::sgd(0.9, true));
    assert_eq!(config.class_weights, ClassWeights::Balanced);
    assert_eq!(config.augment.shift, 0.1);
    let error = |from: &str, to: &str| TrainConfig::from_toml(&text.replace(from, to)).unwrap_err().to_string();
    assert!(error("batch = 64", "batch_size = 64").contains("line 3: unknown field `batch_size`"));
    assert!(error("0.05", "-1").contains("learning_rate: got -1"));
    assert!(error("patience = 3", "patience = 0").contains("patience"));
    assert!(error("momentum = 0.9, ", "").contains("nesterov"));
}

#[test]
fn data_that_do_not_fit_are_refused() {
    let data = mnist(50, 0);
    let ten = small_cnn();
    let shape = litesmith_data::ImageShape::new(20, 20, 1);
    let wrong = TrainData { preprocess: Preprocess::unit(shape), ..data.clone() };
    let mut trainer = Trainer::new(&ten, config(), options(1)).unwrap();
    assert!(trainer.train(&wrong, &mut Silent).unwrap_err().to_string().contains("elements for input 0"));
    let three = Architecture::sequential("three", [28, 28, 1])
        .with(Flatten {})
        .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(3) })
        .graph(0)
        .unwrap();
    let mut trainer = Trainer::new(&three, config(), options(1)).unwrap();
    assert!(trainer.train(&data, &mut Silent).unwrap_err().to_string().contains("the network has 3 outputs"));
    let mut nothing = ten.clone();
    nothing.nodes.retain(|node| !matches!(node.op, Op::Conv2d(_)));
    assert!(Trainer::new(&nothing, config(), options(1)).is_err());
    let _: &Split = &data.train;
}

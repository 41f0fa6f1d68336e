//! Tuning a small network of real digits with configuration files of Neural Compressor: each strategy, what ends it, and what goes on.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use litesmith::compress::Scheme;
use litesmith::data::{OpenOptions, Preprocess, SplitKind, open};
use litesmith::files::Existing;
use litesmith::graph::{Data, Model};
use litesmith::progress::{Progress, Silent, Stage};
use litesmith::train::arch::{ActivationFunction, Architecture, Dense, Flatten};
use litesmith::train::{self, TrainConfig, TrainData, TrainOptions, Trainer};
use litesmith::tune::{Ended, TuneConfig, TuneData, TuneJob, TuneReport, tune};
use litesmith::{Result, SessionOptions, load_model};

const SEARCHES: [&str; 5] = ["basic", "mse", "bayesian", "random", "exhaustive"];

fn mnist() -> String {
    format!("mnist:{}", Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/mnist").display())
}

/// Three dense layers that know digits.
fn network() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let mut network = Architecture::sequential("dense", [28, 28, 1]);
        network.push(Flatten::default());
        network.push(Dense { activation: ActivationFunction::Relu, ..Dense::new(24) });
        network.push(Dense { activation: ActivationFunction::Relu, ..Dense::new(16) });
        network.push(Dense { activation: ActivationFunction::Softmax, ..Dense::new(10) });
        let digits = open(&mnist(), &OpenOptions { only: Some(SplitKind::Train), ..OpenOptions::default() }).unwrap();
        let train = digits.train.unwrap();
        let preprocess = Preprocess::unit(train.first_shape().unwrap());
        let data = TrainData { train: train.take(4000), validation: None, preprocess };
        let config = TrainConfig { epochs: 3, batch: 32, learning_rate: Some(3e-3), seed: 3, ..TrainConfig::default() };
        let mut trainer = Trainer::new(&network.graph(3).unwrap(), config, TrainOptions::default()).unwrap();
        trainer.train(&data, &mut train::Silent).unwrap();
        Model::from_graph(trainer.exported_graph().unwrap())
    })
}

/// The nodes of the dense layers.
fn layers(model: &Model) -> Vec<usize> {
    let graph = model.main().unwrap();
    (0..graph.nodes.len()).filter(|&node| graph.nodes[node].op.name() == "FULLY_CONNECTED").collect()
}

/// How a report calls node `node`.
fn name(model: &Model, node: usize) -> String {
    let graph = model.main().unwrap();
    format!("{} \"{}\"", graph.nodes[node].op.name(), graph.tensor(graph.nodes[node].outputs[0]).name)
}

/// The network with a second layer that 8-bit weights ruin: the first unit before it is always 0, so that its weights do not
/// matter, and they are so large that nothing is left of the others in 127 steps. Also the name of that layer.
fn ruined() -> (Model, String) {
    let mut model = network().clone();
    let layers = layers(&model);
    let graph = model.main_mut().unwrap();
    let mut change = |node: usize, input: usize, change: &dyn Fn(usize, &mut f32)| {
        let id = graph.nodes[node].inputs[input].unwrap();
        let tensor = graph.tensor_mut(id);
        let mut values = tensor.data.as_ref().unwrap().elements::<f32>().unwrap().to_vec();
        values.iter_mut().enumerate().for_each(|(index, value)| change(index, value));
        tensor.data = Some(Data::from_slice(&values));
    };
    change(layers[0], 1, &|index, value| {
        if index < 784 {
            *value = 0.0
        }
    });
    change(layers[0], 2, &|index, value| {
        if index == 0 {
            *value = -1.0
        }
    });
    change(layers[1], 1, &|index, value| {
        if index % 24 == 0 {
            *value = 1000.0
        }
    });
    let name = name(&model, layers[1]);
    (model, name)
}

/// 800 samples; what is asked for, beside the strategy, comes after.
fn config(strategy: &str, more: &str) -> TuneConfig {
    let text = format!(
        "evaluation:\n  accuracy:\n    iteration: 16\n    dataloader: {{batch_size: 50}}\n  performance: {{warmup: 1, iteration: 3}}\n\
         tuning:\n  random_seed: 7\n  strategy: {{name: {strategy}}}\n{more}"
    );
    TuneConfig::from_yaml(&text).unwrap()
}

/// A criterion that nothing meets.
fn hopeless(strategy: &str, trials: usize) -> TuneConfig {
    let criterion = "  accuracy_criterion: {relative: -0.5}\n";
    config(strategy, &format!("{criterion}  exit_policy: {{max_trials: {trials}}}\n"))
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn tune(&self, model: &Model, config: &TuneConfig, out: &str) -> Result<TuneReport> {
        self.tune_with(model, config, out, &mut Silent, None)
    }

    fn tune_with(
        &self,
        model: &Model,
        config: &TuneConfig,
        out: &str,
        progress: &mut dyn Progress,
        cancel: Option<&AtomicBool>,
    ) -> Result<TuneReport> {
        let data = TuneData::open(config, Some(&mnist()), false)?;
        let out = self.path(out);
        let session = SessionOptions { threads: 1, ..SessionOptions::default() };
        let job = TuneJob { model, config, data: &data, session, out: &out, existing: Existing::Keep, cancel };
        tune(&job, progress)
    }
}

/// What must not differ from run to run.
fn outcome(report: &TuneReport) -> Vec<(String, Option<f64>, u64)> {
    let of = |trial: &litesmith::tune::Trial| (format!("{:?}", trial.config), trial.accuracy, trial.file_bytes);
    report.trials.iter().map(of).collect()
}

#[test]
fn the_layer_that_int8_ruins_falls_back_and_no_other() {
    let (model, layer) = ruined();
    let place = Place::new();
    for strategy in ["basic", "mse"] {
        let criterion = "  accuracy_criterion: {relative: 0.02}\n";
        let out = format!("{strategy}.tflite");
        let report = place.tune(&model, &config(strategy, criterion), &out).unwrap();
        let float = report.baseline.unwrap().accuracy.unwrap();
        let int8 = report.trials[0].accuracy.unwrap();
        assert!(float > 0.8 && int8 < 0.5, "{strategy}: float {float}, int8 {int8}");
        assert!(report.met && report.ended == Ended::Met, "{strategy}: {report:?}");
        let best = &report.trials[report.best.unwrap()];
        assert_eq!(best.float_ops, [layer.as_str()], "{strategy}");
        assert_eq!(best.config.scheme, Scheme::Int8);
        assert!(best.accuracy.unwrap() >= float * 0.98);
        assert!(best.latency_ns > 0);
        // The file is the one that was measured.
        assert_eq!(std::fs::metadata(place.path(&out)).unwrap().len(), best.file_bytes);
        load_model(&place.path(&out)).unwrap();
        // mse falls back first what basic has to find by trying.
        let tried = report.trials.iter().filter(|trial| !trial.float_ops.is_empty()).count();
        assert_eq!(tried, if strategy == "mse" { 1 } else { 2 }, "{strategy}");
    }
}

#[test]
fn what_int8_does_not_harm_needs_one_trial() {
    let place = Place::new();
    let report = place.tune(network(), &config("basic", ""), "a.tflite").unwrap();
    assert_eq!((report.trials.len(), report.best, report.met, report.ended), (1, Some(0), true, Ended::Met));
    assert!(report.trials[0].loss.unwrap() <= 0.01 && report.trials[0].float_ops.is_empty());
    let kept = place.tune(network(), &config("basic", ""), "a.tflite").unwrap_err();
    assert!(kept.to_string().contains("a.tflite"), "{kept}");
}

#[test]
fn every_strategy_ends_with_max_trials_and_the_seed_decides() {
    let place = Place::new();
    for strategy in SEARCHES {
        let config = hopeless(strategy, 3);
        let [first, second] =
            ["1", "2"].map(|run| place.tune(network(), &config, &format!("{strategy}{run}.tflite")).unwrap());
        assert_eq!((first.trials.len(), first.met, first.ended), (3, false, Ended::MaxTrials), "{strategy}");
        assert_eq!(outcome(&first), outcome(&second), "{strategy}");
        let file = |run| std::fs::read(place.path(&format!("{strategy}{run}.tflite"))).unwrap();
        assert_eq!(file(1), file(2), "{strategy}");
        // None met it: the most accurate is saved.
        let best = first.trials[first.best.unwrap()].accuracy;
        assert!(first.trials.iter().all(|trial| trial.accuracy <= best), "{strategy}");
    }
    let seeded = |seed| {
        let mut config = hopeless("random", 8);
        config.seed = seed;
        let report = place.tune(network(), &config, &format!("seed{seed}.tflite")).unwrap();
        let chosen = |trial: &litesmith::tune::Trial| (trial.settings.clone(), trial.config.rules.clone());
        report.trials.iter().map(chosen).collect::<Vec<_>>()
    };
    assert_ne!(seeded(1), seeded(2));
}

#[test]
fn spaces_are_searched_whole_and_nothing_twice() {
    let place = Place::new();
    // Two calibrators; two granularities for each of three layers.
    let sets = ["exhaustive", "random", "bayesian"].map(|strategy| {
        let report = place.tune(network(), &hopeless(strategy, 100), &format!("{strategy}.tflite")).unwrap();
        assert_eq!((report.trials.len(), report.ended), (16, Ended::Exhausted), "{strategy}");
        let mut configs: Vec<_> = outcome(&report).into_iter().map(|(config, ..)| config).collect();
        configs.sort();
        configs.dedup();
        configs
    });
    assert_eq!(sets[0].len(), 16);
    assert!(sets.iter().all(|set| *set == sets[0]));
}

#[test]
fn a_resumed_run_ends_where_the_uninterrupted_one_does() {
    let (model, _) = ruined();
    let place = Place::new();
    let whole = place.tune(&model, &config("basic", ""), "whole.tflite").unwrap();
    assert!(whole.trials.len() > 4, "{}", whole.trials.len());
    let exit = "  exit_policy: {max_trials: 3}\n";
    let workspace = Some(place.path("work"));
    let mut part = config("basic", exit);
    part.workspace.clone_from(&workspace);
    let part = place.tune(&model, &part, "part.tflite").unwrap();
    assert_eq!(part.trials.len(), 3);
    let mut resumed = config("basic", "");
    resumed.workspace.clone_from(&workspace);
    resumed.resume.clone_from(&workspace);
    let rest = place.tune(&model, &resumed, "rest.tflite").unwrap();
    assert_eq!(outcome(&rest), outcome(&whole));
    assert_eq!((rest.best, rest.ended), (whole.best, whole.ended));
    let file = |name| std::fs::read(place.path(name)).unwrap();
    assert_eq!(file("rest.tflite"), file("whole.tflite"));
    // What was measured before is not measured again: a clock would not give the same nanoseconds three times.
    let latencies = |report: &TuneReport| report.trials[..3].iter().map(|trial| trial.latency_ns).collect::<Vec<_>>();
    assert_eq!(latencies(&rest), latencies(&part));
    // All of it is known by now, and the best is made again.
    let again = place.tune(&model, &resumed, "again.tflite").unwrap();
    assert_eq!((outcome(&again), file("again.tflite")), (outcome(&whole), file("whole.tflite")));

    let other = place.tune(network(), &resumed, "other.tflite").unwrap_err().to_string();
    assert!(other.contains("another model"), "{other}");
    let mut begun = config("basic", "");
    begun.workspace = workspace;
    let begun = place.tune(&model, &begun, "begun.tflite").unwrap_err();
    assert!(begun.hint().unwrap().contains("tuning.workspace.resume"), "{begun}");
}

/// Interrupts when the first trial is done.
struct Interrupt<'a>(&'a AtomicBool);

impl Progress for Interrupt<'_> {
    fn start(&mut self, _: Stage, _: u64) {}
    fn advance(&mut self, _: u64) {}
    fn note(&mut self, message: &str) {
        if message.starts_with("trial 1") {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    fn finish(&mut self) {}
}

#[test]
fn an_interrupted_run_leaves_the_best_so_far() {
    let place = Place::new();
    let cancel = AtomicBool::new(false);
    let mut progress = Interrupt(&cancel);
    let config = hopeless("basic", 10);
    let report = place.tune_with(network(), &config, "a.tflite", &mut progress, Some(&cancel)).unwrap();
    assert_eq!((report.trials.len(), report.best, report.ended), (1, Some(0), Ended::Cancelled));
    load_model(&place.path("a.tflite")).unwrap();
    let report = place.tune_with(network(), &config, "b.tflite", &mut progress, Some(&cancel)).unwrap();
    assert_eq!((report.trials.len(), report.best, report.ended), (0, None, Ended::Cancelled));
    assert!(!place.path("b.tflite").exists());
}

#[test]
fn with_a_timeout_the_search_goes_on_and_the_objective_chooses() {
    let place = Place::new();
    let exit = "  accuracy_criterion: {absolute: 50%}\n  exit_policy: {timeout: 3600, max_trials: 4}\n  objective: modelsize\n";
    let report = place.tune(network(), &config("basic", exit), "a.tflite").unwrap();
    assert_eq!((report.trials.len(), report.met, report.ended), (4, true, Ended::MaxTrials));
    let smallest = report.trials.iter().map(|trial| trial.file_bytes).min().unwrap();
    assert!(report.trials[0].file_bytes > smallest, "scales for each layer take less than for each channel");
    assert_eq!(report.trials[report.best.unwrap()].file_bytes, smallest);
}

#[test]
fn what_the_file_says_of_ops_holds() {
    let place = Place::new();
    let layers = layers(network());
    let [first, second, last] = [0, 1, 2].map(|layer| name(network(), layers[layer]));
    let output = second.split('"').nth(1).unwrap().to_owned();
    let once = "  exit_policy: {performance_only: True}\n";
    for (number, (quantization, expected)) in [
        ("{recipes: {first_conv_or_matmul_quantization: False}}".to_owned(), vec![first.clone()]),
        ("{recipes: {last_conv_or_matmul_quantization: False}}".to_owned(), vec![last.clone()]),
        (format!("{{op_wise: {{'{output}': {{weight: {{dtype: fp32}}}}}}}}"), vec![second.clone()]),
        ("{optype_wise: {MatMul: {weight: {dtype: [fp32]}}}}".to_owned(), vec![first, second, last]),
        ("{approach: post_training_dynamic_quant}".to_owned(), vec![]),
    ]
    .into_iter()
    .enumerate()
    {
        let config = config("basic", &format!("{once}quantization: {quantization}\n"));
        let report = place.tune(network(), &config, &format!("{number}.tflite")).unwrap();
        assert_eq!((report.trials.len(), report.ended), (1, Ended::PerformanceOnly));
        let trial = &report.trials[0];
        assert_eq!((&trial.float_ops, trial.accuracy), (&expected, None), "{quantization}");
        let dynamic = quantization.contains("dynamic");
        assert_eq!(trial.config.scheme, if dynamic { Scheme::DynamicRange } else { Scheme::Int8 });
    }
    for (quantization, expected, hint) in [
        ("{op_wise: {zzzzzzzzzzzz: {weight: {dtype: fp32}}}}", "quantization.op_wise.zzzzzzzzzzzz", "there are"),
        (
            "{optype_wise: {MatMull: {weight: {dtype: fp32}}}}",
            "quantization.optype_wise.MatMull",
            "did you mean MatMul?",
        ),
        ("{model_wise: {weight: {dtype: fp32}}}", "leaves no op", "int8"),
    ] {
        let config = config("basic", &format!("quantization: {quantization}\n"));
        let error = place.tune(network(), &config, "none.tflite").unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{:?}", error.hint());
    }
}

#[test]
fn static_and_dynamic_are_both_tried() {
    let place = Place::new();
    let auto = "  exit_policy: {max_trials: 8}\n  accuracy_criterion: {relative: -1}\nquantization:\n  \
                approach: post_training_auto_quant\n  calibration: {sampling_size: [50, 80]}\n  \
                model_wise: {weight: {granularity: per_channel}, activation: {algorithm: minmax}}\n";
    let report = place.tune(network(), &config("basic", auto), "a.tflite").unwrap();
    let model: Vec<_> = report.trials.iter().filter(|trial| trial.stage == "model").collect();
    let schemes: Vec<_> = model.iter().map(|trial| (trial.config.scheme, trial.config.calibration.samples)).collect();
    assert_eq!(schemes, [(Scheme::Int8, 50), (Scheme::Int8, 80), (Scheme::DynamicRange, 50)]);
}

#[test]
fn transforms_become_the_normalization_of_the_file() {
    let place = Place::new();
    let text = "evaluation:\n  accuracy:\n    dataloader:\n      transform:\n        Resize: {size: 32}\n        Rescale:\n        \
                Normalize: {mean: [0.5], std: [0.25]}\ntuning: {exit_policy: {performance_only: True}}\n";
    let report = place.tune(network(), &TuneConfig::from_yaml(text).unwrap(), "a.tflite").unwrap();
    let normalization = load_model(&place.path("a.tflite")).unwrap().model.metadata.inputs[0].normalization.clone();
    let normalization = normalization.unwrap();
    assert_eq!((normalization.mean, normalization.std), (vec![127.5], vec![63.75]));
    let not: Vec<_> = report.not_honoured.iter().map(|not| not.key.as_str()).collect();
    assert_eq!(not, ["evaluation.accuracy.dataloader.transform.Resize.size"]);
}

#[test]
fn the_split_that_the_file_names_is_the_one_that_counts() {
    let samples = |dataset: &str| {
        let text = format!("evaluation: {{accuracy: {{dataloader: {{dataset: {{{dataset}}}}}}}}}");
        let data = TuneData::open(&TuneConfig::from_yaml(&text).unwrap(), Some(&mnist()), false).unwrap();
        (data.evaluation.len(), data.calibration.len())
    };
    assert_eq!(samples("MNIST: {root: x, train: False}"), (10_000, 60_000));
    assert_eq!(samples("MNIST: {root: x, train: True}"), (60_000, 60_000));
    assert_eq!(samples("MNIST: {root: x}"), (6_000, 54_000));
    let without = TuneData::open(&TuneConfig::from_yaml("device: cpu").unwrap(), None, false).unwrap_err();
    assert!(without.hint().unwrap().contains("--data"), "{without}");
}

//! A student learns from a teacher, on digits of the real MNIST.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use litesmith::compress::{IoType, QuantizeOptions, Scheme, quantize};
use litesmith::data::{Augment, Dataset, ImageShape, OpenOptions, Preprocess, Split, SplitKind, open};
use litesmith::files::Existing;
use litesmith::graph::{Graph, Model, ops};
use litesmith::progress::Silent;
use litesmith::train::arch::{ActivationFunction, Architecture, Conv2D, Dense, Flatten, MaxPooling2D};
use litesmith::train::{Distill, Hint, Loss, Teacher, TrainConfig, TrainData, TrainOptions, Trainer};
use litesmith::{
    CalibrateOptions, EvaluateOptions, Predictor, SessionOptions, TeacherModel, TrainJob, Trained, calibrate_on,
    evaluate, save_model, train_model,
};

static MNIST: LazyLock<Dataset> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/mnist");
    open(&format!("mnist:{}", folder.display()), &OpenOptions::default()).unwrap()
});

fn samples(count: usize) -> TrainData {
    let train = MNIST.require(SplitKind::Train).unwrap().take(count);
    let preprocess = train.default_preprocess().unwrap();
    TrainData { train, validation: None, preprocess }
}

fn test_images() -> Split {
    MNIST.require(SplitKind::Test).unwrap().take(2000)
}

/// Networks of other names start from other weights.
fn network(name: &str, filters: usize, classes: usize) -> Graph {
    Architecture::sequential(name, [28, 28, 1])
        .with(Conv2D { strides: 2.into(), activation: ActivationFunction::Relu, ..Conv2D::new(filters, 3) })
        .with(MaxPooling2D::default())
        .with(Flatten {})
        .with(Dense { activation: ActivationFunction::Softmax, ..Dense::new(classes) })
        .graph(name.bytes().map(u64::from).sum())
        .unwrap()
}

fn train(graph: &Graph, config: TrainConfig, options: TrainOptions, data: &TrainData) -> litesmith::Result<Trained> {
    let job = TrainJob {
        name: "network",
        graph,
        config,
        options,
        data,
        resume: None,
        metrics: None,
        io: (IoType::Float32, IoType::Float32),
    };
    train_model(job, &mut Silent)
}

/// A teacher of many more samples than its students get.
static TEACHER: LazyLock<Model> = LazyLock::new(|| {
    let config = TrainConfig { epochs: 4, batch: 64, ..TrainConfig::default() };
    train(&network("teacher", 24, 10), config, TrainOptions::default(), &samples(6000)).unwrap().model
});

fn student(config: TrainConfig, threads: usize, teacher: Option<TeacherModel>) -> Model {
    let teachers = teacher.into_iter().map(|teacher| Arc::new(Mutex::new(teacher)) as Arc<Mutex<dyn Teacher>>);
    let options = TrainOptions { threads, teachers: teachers.collect(), ..TrainOptions::default() };
    train(&network("student", 4, 10), config, options, &samples(150)).unwrap().model
}

fn config() -> TrainConfig {
    TrainConfig {
        epochs: 40,
        batch: 50,
        seed: 7,
        learning_rate: Some(5e-3),
        augment: Augment::preset("digits").unwrap(),
        ..TrainConfig::default()
    }
}

fn teacher(model: &Model) -> TeacherModel {
    TeacherModel::new(model, &[], SessionOptions::default(), None).unwrap()
}

/// Accuracy, and share of answers that are the teacher's.
fn measure(model: &Model) -> (f64, f64) {
    let predictor = |model| Predictor::new(model, SessionOptions::default(), None).unwrap();
    let (mut model, mut teacher) = (predictor(model), predictor(&TEACHER));
    let (own, same) =
        evaluate(&mut model, Some(&mut teacher), &test_images(), &EvaluateOptions::default(), &mut Silent).unwrap();
    (own.finish().accuracy, same.unwrap().finish().top1_agreement)
}

#[test]
fn a_student_of_few_samples_learns_more_from_a_teacher_than_from_labels() {
    let alone = measure(&student(config(), 0, None));
    let distilled = TrainConfig { distill: Some(Distill::default()), ..config() };
    let taught = measure(&student(distilled.clone(), 0, Some(teacher(&TEACHER))));
    println!("alone {alone:?}, taught {taught:?}, teacher {:?}", measure(&TEACHER));
    assert!(taught.0 > alone.0 + 0.02 && taught.1 > alone.1 + 0.02, "alone {alone:?}, taught {taught:?}");
    // An integer teacher says nearly the same.
    let calibration = CalibrateOptions { samples: 200, seed: 0, session: SessionOptions::default() };
    let ranges = calibrate_on(&TEACHER, &samples(1000).train, &calibration, &mut Silent).unwrap();
    let options = QuantizeOptions::new(Scheme::Int8).with_io(IoType::Uint8, IoType::Uint8);
    let (integer, _) = quantize(&TEACHER, &options, Some(&ranges)).unwrap();
    let by_integers = measure(&student(distilled, 0, Some(teacher(&integer))));
    assert!((by_integers.0 - taught.0).abs() < 0.01, "{by_integers:?} {taught:?}");
}

#[test]
fn distillation_goes_with_mixup_smoothing_and_averages_on_any_number_of_threads() {
    let distill = Some(Distill { temperature: 2.0, alpha: 0.5, ..Distill::default() });
    let config = TrainConfig {
        epochs: 2,
        // Whole shards, parts of shards, and a smaller last batch.
        batch: 40,
        label_smoothing: 0.1,
        ema_momentum: Some(0.9),
        loss: Loss::CategoricalCrossentropy,
        augment: Augment { mixup_alpha: 0.3, ..Augment::preset("digits").unwrap() },
        distill,
        ..config()
    };
    let model = |config: &TrainConfig, threads| {
        let options = SessionOptions { threads, ..SessionOptions::default() };
        student(config.clone(), threads, Some(TeacherModel::new(&TEACHER, &[], options, None).unwrap()))
    };
    let one = model(&config, 1);
    assert_eq!(one, model(&config, 3));
    let smooth = TrainConfig { label_smoothing: 0.0, ..config.clone() };
    assert_ne!(one, model(&smooth, 1), "labels count");
    // The teacher alone: nothing that concerns labels changes a bit.
    let alone = |config: &TrainConfig| {
        let distill = Some(Distill { alpha: 1.0, ..Distill::default() });
        model(&TrainConfig { distill, ..config.clone() }, 2)
    };
    assert_eq!(alone(&config), alone(&smooth));
    assert_ne!(alone(&config), one);
}

/// A teacher that says the same of every image.
#[derive(Debug)]
struct Fixed(Preprocess, [f32; 10]);

impl Teacher for Fixed {
    fn preprocess(&self) -> &Preprocess {
        &self.0
    }

    fn shapes(&self) -> &[Vec<usize>] {
        static SHAPES: LazyLock<Vec<Vec<usize>>> = LazyLock::new(|| vec![vec![10]]);
        &SHAPES
    }

    fn run(&mut self, images: &[f32], outputs: &mut Vec<Vec<f32>>) -> litesmith::Result<()> {
        *outputs = vec![self.1.repeat(images.len() / 784)];
        Ok(())
    }
}

#[test]
fn several_teachers_teach_the_mean_of_their_scores() {
    let config = TrainConfig { epochs: 1, distill: Some(Distill::default()), ..config() };
    let taught = |scores: &[[f32; 10]]| {
        let preprocess = samples(1).preprocess;
        let fixed = |&scores| Arc::new(Mutex::new(Fixed(preprocess.clone(), scores))) as Arc<Mutex<dyn Teacher>>;
        let options = TrainOptions { teachers: scores.iter().map(fixed).collect(), ..TrainOptions::default() };
        train(&network("student", 4, 10), config.clone(), options, &samples(150)).unwrap().model
    };
    let ramp: [f32; 10] = std::array::from_fn(|class| class as f32);
    let back: [f32; 10] = std::array::from_fn(|class| 3.0 * (9 - class) as f32);
    let mean: [f32; 10] = std::array::from_fn(|class| (ramp[class] + back[class]) / 2.0);
    assert_eq!(taught(&[ramp, back]), taught(&[mean]));
    assert_ne!(taught(&[ramp, back]), taught(&[ramp]), "the second counts");
    // Hints are the first's; the second is asked for scores alone. One that does not fit is told by its number.
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str, model: &Model| {
        let path = folder.path().join(name);
        save_model(&path, model, Existing::Keep).unwrap();
        path
    };
    let few = Model::from_graph(litesmith::train::export::export(&network("few", 4, 7)).unwrap());
    let (first, few) = (save("first.tflite", &TEACHER), save("few.tflite", &few));
    let by = |teacher: Vec<PathBuf>| {
        let hints = vec![hint("conv2d", "conv2d", 1.0)];
        let distill = Some(Distill { teacher, hints, ..Distill::default() });
        let config = TrainConfig { epochs: 1, distill, ..config.clone() };
        train(&network("student", 4, 10), config, TrainOptions::default(), &samples(60))
    };
    let twice = by(vec![first.clone(), first.clone()]).unwrap().model;
    assert_eq!(twice, by(vec![first.clone()]).unwrap().model, "the mean of two that are the same");
    let error = by(vec![first, few]).err().unwrap().to_string();
    assert!(error.contains("teacher 2") && error.contains("7 classes"), "{error}");
}

/// Trains a student of the teacher in a file.
fn refused(name: &str, model: &Model, preprocess: Option<Preprocess>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    save_model(&path, model, Existing::Keep).unwrap();
    let config = TrainConfig { distill: Some(Distill { teacher: vec![path], ..Distill::default() }), ..config() };
    let data = samples(60);
    let data = TrainData { preprocess: preprocess.unwrap_or(data.preprocess.clone()), ..data };
    let error = train(&network("student", 4, 10), config, TrainOptions::default(), &data).err().unwrap();
    assert!(error.hint().is_some(), "{error}");
    error.to_string()
}

#[test]
fn teachers_that_do_not_fit_are_refused() {
    let model = |graph: &Graph| Model::from_graph(litesmith::train::export::export(graph).unwrap());
    let few = refused("few.tflite", &model(&network("few", 4, 7)), None);
    assert!(few.contains("7 classes") && few.contains("10 outputs"), "{few}");
    let sequential = |shape| Architecture::sequential("other", shape).with(Flatten {});
    let large = sequential([32, 32, 3]).with(Dense::new(10)).graph(1).unwrap();
    let large = refused("large.tflite", &model(&large), None);
    assert!(large.contains("32x32x3") && large.contains("28x28x1"), "{large}");
    let sigmoid = Dense { activation: ActivationFunction::Sigmoid, ..Dense::new(10) };
    let sigmoid = sequential([28, 28, 1]).with(sigmoid).graph(1).unwrap();
    let sigmoid = refused("sigmoid.tflite", &model(&sigmoid), None);
    assert!(sigmoid.contains("sigmoid.tflite") && sigmoid.contains("LOGISTIC"), "{sigmoid}");
    let shape = ImageShape::new(28, 28, 1);
    let other = refused("other.tflite", &TEACHER, Some(Preprocess::with_mean_std(shape, vec![127.5], vec![127.5])));
    assert!(other.contains("mean [0.0] and std [255.0]") && other.contains("127.5"), "{other}");
}

#[test]
fn a_teacher_and_its_configuration_belong_together() {
    let distilled = TrainConfig { distill: Some(Distill::default()), ..config() };
    let graph = network("student", 4, 10);
    let none = Trainer::new(&graph, distilled.clone(), TrainOptions::default()).err().unwrap().to_string();
    assert!(none.contains("no teacher"), "{none}");
    let unnamed = train(&graph, distilled.clone(), TrainOptions::default(), &samples(50)).err().unwrap();
    assert!(unnamed.to_string().contains("no teacher is named"), "{unnamed}");
    let missing = Distill { teacher: vec![PathBuf::from("no/teacher.tflite")], ..Distill::default() };
    let missing = TrainConfig { distill: Some(missing), ..config() };
    let missing = train(&graph, missing, TrainOptions::default(), &samples(50)).err().unwrap().to_string();
    assert!(missing.contains("no/teacher.tflite"), "{missing}");
    let options = TrainOptions { teachers: vec![Arc::new(Mutex::new(teacher(&TEACHER)))], ..TrainOptions::default() };
    let unasked = Trainer::new(&graph, config(), options).err().unwrap().to_string();
    assert!(unasked.contains("no [distill]"), "{unasked}");
    for (distill, loss, expected) in [
        (Distill { temperature: 0.0, ..Distill::default() }, Loss::default(), "distill.temperature: got 0"),
        (Distill { alpha: 1.5, ..Distill::default() }, Loss::default(), "distill.alpha: got 1.5"),
        (Distill { alpha: 0.0, ..Distill::default() }, Loss::default(), "alpha is 0"),
        (Distill { hints: vec![hint("a", "b", 0.0)], ..Distill::default() }, Loss::default(), "a weight of 0"),
        (Distill::default(), Loss::BinaryCrossentropy, "categorical"),
    ] {
        let error = TrainConfig { distill: Some(distill), loss, ..config() }.check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let named = |names: &str| TrainConfig::from_toml(&format!("[distill]\nteacher = {names}"));
    for (names, count) in [("\"a.tflite\"", 1), ("[\"a.tflite\", \"b.tflite\"]", 2), ("[]", 0)] {
        let config = named(names).unwrap();
        assert_eq!(config.distill.as_ref().unwrap().teacher.len(), count, "{names}");
        assert_eq!(TrainConfig::from_toml(&toml::to_string(&config).unwrap()).unwrap(), config, "{names}");
    }
    let number = named("3").unwrap_err().to_string();
    assert!(number.contains("line 2") && number.contains("the name of a file, or a list of names"), "{number}");
    let unknown =
        TrainConfig::from_toml("[distill]\nteacher = \"t.tflite\"\ntemprature = 3.0").unwrap_err().to_string();
    assert!(unknown.contains("line 3") && unknown.contains("`temperature`"), "{unknown}");
}

fn hint(student: &str, teacher: &str, weight: f64) -> Hint {
    Hint { student: student.into(), teacher: teacher.into(), weight }
}

/// Mean squared difference of the convolutions of a model and the teacher, on test images.
fn difference(model: &Model) -> f64 {
    let images: Vec<f32> = (0..40).flat_map(|index| pixels(&test_images(), index)).collect();
    let features = |model: &Model| {
        let hints = [hint("", "conv2d", 1.0)];
        let mut teacher = TeacherModel::new(model, &hints, SessionOptions::default(), None).unwrap();
        let mut outputs = Vec::new();
        teacher.run(&images, &mut outputs).unwrap();
        outputs.swap_remove(1)
    };
    let (own, wanted) = (features(model), features(&TEACHER));
    assert_eq!(own.len(), 40 * 13 * 13 * 24);
    own.iter().zip(&wanted).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / own.len() as f64
}

fn pixels(split: &Split, index: usize) -> Vec<f32> {
    let preprocess = split.default_preprocess().unwrap();
    let mut values = vec![0.0; 784];
    litesmith::data::preprocess(&split.get(index).unwrap().image, &preprocess, &mut values).unwrap();
    values
}

#[test]
fn hints_make_a_layer_like_one_of_the_teacher() {
    let taught = |filters: usize, hints: Vec<Hint>, threads: usize| {
        let hinted = Some(Distill { alpha: 0.5, hints: hints.clone(), ..Distill::default() });
        let config = TrainConfig { epochs: 20, ema_momentum: Some(0.5), distill: hinted, ..config() };
        let options = SessionOptions { threads, ..SessionOptions::default() };
        let teacher = TeacherModel::new(&TEACHER, &hints, options, None).unwrap();
        let options =
            TrainOptions { threads, teachers: vec![Arc::new(Mutex::new(teacher))], ..TrainOptions::default() };
        train(&network("student", filters, 10), config, options, &samples(150)).unwrap().model
    };
    let without = taught(24, Vec::new(), 2);
    let with = taught(24, vec![hint("conv2d", "conv2d", 20.0)], 2);
    println!("without {}, with {}", difference(&without), difference(&with));
    assert!(difference(&with) < 0.5 * difference(&without), "{} {}", difference(&with), difference(&without));
    // Fewer channels: a convolution of its own stands between, which is not exported.
    let narrow = taught(4, vec![hint("conv2d", "conv2d", 20.0)], 1);
    assert_eq!(narrow, taught(4, vec![hint("conv2d", "conv2d", 20.0)], 3), "threads matter");
    let plain = taught(4, Vec::new(), 1);
    assert_ne!(narrow, plain, "the hint counts");
    let names = |model: &Model| model.graphs[0].tensors.iter().map(|tensor| tensor.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&narrow), names(&plain));
}

#[test]
fn hints_that_fit_nothing_are_refused() {
    let refused = |student: &str, of_teacher: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("teacher.tflite");
        save_model(&path, &TEACHER, Existing::Keep).unwrap();
        let hints = vec![hint(student, of_teacher, 1.0)];
        let distill = Some(Distill { teacher: vec![path], hints, ..Distill::default() });
        let config = TrainConfig { distill, ..config() };
        let error = train(&network("student", 4, 10), config, TrainOptions::default(), &samples(60)).err().unwrap();
        format!("{error}; {}", error.hint().unwrap())
    };
    let student = refused("conv3d", "conv2d");
    assert!(student.contains("computes no \"conv3d\"") && student.contains("max_pooling2d"), "{student}");
    let teacher = refused("conv2d", "conv3d");
    assert!(teacher.contains("teacher computes no \"conv3d\"") && teacher.contains("max_pooling2d"), "{teacher}");
    let sizes = refused("max_pooling2d", "conv2d");
    assert!(sizes.contains("[6, 6, 4]") && sizes.contains("[13, 13, 24]"), "{sizes}");
}

/// Whatever stands around the softmax, the scores are those before it.
#[test]
fn the_scores_of_a_teacher_are_those_before_its_softmax() {
    let images: Vec<f32> = (0..2 * 784).map(|index| (index % 97) as f32 / 97.0).collect();
    let scores = |model: &Model| {
        let (mut teacher, mut outputs) = (teacher(model), Vec::new());
        teacher.run(&images, &mut outputs).unwrap();
        outputs.swap_remove(0)
    };
    let mut bare = TEACHER.clone();
    let graph = &mut bare.graphs[0];
    let softmax = graph.producer(graph.outputs[0]).unwrap();
    graph.outputs = vec![graph.nodes[softmax].inputs[0].unwrap()];
    bare.metadata.outputs.clear();
    let expected = scores(&bare);
    assert_eq!(expected.len(), 20);
    assert!(expected.iter().any(|score| *score < 0.0), "scores are no shares");
    assert_eq!(scores(&TEACHER), expected);
    let mut sharp = TEACHER.clone();
    sharp.graphs[0].nodes[softmax].op = ops::Softmax { beta: 2.0 }.into();
    let doubled: Vec<_> = expected.iter().map(|score| 2.0 * score).collect();
    assert_eq!(scores(&sharp), doubled);
}

//! The page as a whole: well-formed, escaped, complete, on a report of real digits and on the odd ones.

use super::{layer_error_html, render_html};
use crate::*;

const HOSTILE: &str = "</title><script>alert(1)</script>\" onload='x' & \u{0}\u{202e}\u{ffff}";

/// The page as XML, which is stricter than HTML: every element closed, every attribute quoted, every entity known.
fn parse(report: &Report) -> String {
    well_formed(render_html(report))
}

fn well_formed(html: String) -> String {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(&html, options);
    let document = document.unwrap_or_else(|error| panic!("{error}\n{}", html.lines().take(400).collect::<String>()));
    let mut ids = std::collections::BTreeSet::new();
    for element in document.descendants().filter(roxmltree::Node::is_element) {
        let name = element.tag_name().name();
        assert!(!["script", "link", "iframe", "object", "embed"].contains(&name), "<{name}>");
        if let Some(id) = element.attribute("id") {
            assert!(ids.insert(id.to_string()), "id {id} twice");
        }
        for attribute in element.attributes() {
            assert!(!attribute.name().starts_with("on"), "{attribute:?}");
            let address = ["src", "href"].contains(&attribute.name());
            let own = attribute.value().starts_with('#') || attribute.value().starts_with("data:image/png;base64,");
            assert!(!address || own, "{attribute:?}");
        }
        if name == "img" {
            assert!(element.attribute("alt").is_some_and(|alt| !alt.is_empty()));
        }
        if name == "svg" {
            let children: Vec<_> = element.children().filter(|c| c.is_element()).map(|c| c.tag_name().name()).collect();
            assert_eq!(children[..2], ["title", "desc"]);
        }
        if let Some(target) = element.attribute("href").and_then(|href| href.strip_prefix('#')) {
            assert!(html.contains(&format!(" id=\"{target}\"")), "{target}");
        }
    }
    assert!(!html.contains("NaN%") && !html.contains("inf"), "numbers that are none");
    html
}

/// For looking at a page: `LITESMITH_REPORT=/some/folder cargo test -p litesmith-measure`.
fn keep(name: &str, html: &str) {
    if let Ok(folder) = std::env::var("LITESMITH_REPORT") {
        std::fs::write(format!("{folder}/{name}"), html).unwrap();
    }
}

/// Reads a gzip-compressed IDX file of the repository: its payload after `header` bytes.
fn idx(name: &str, header: usize) -> Vec<u8> {
    let path = format!("{}/../../data/mnist/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut bytes).unwrap();
    bytes.split_off(header)
}

/// A classifier of real digits that is easy to compute: the nearest of the ten mean pictures of the first `count` test
/// images, as a softmax over distances.
fn nearest_mean(images: &[u8], labels: &[u8]) -> Vec<[f32; 10]> {
    let mut means = vec![[0.0_f32; 784]; 10];
    let mut counts = [0.0_f32; 10];
    for (image, &label) in images.chunks(784).zip(labels) {
        means[label as usize].iter_mut().zip(image).for_each(|(mean, &pixel)| *mean += f32::from(pixel) / 255.0);
        counts[label as usize] += 1.0;
    }
    means.iter_mut().zip(counts).for_each(|(mean, count)| mean.iter_mut().for_each(|pixel| *pixel /= count));
    let scores = |image: &[u8]| {
        let distance = |mean: &[f32; 784]| {
            image.iter().zip(mean).map(|(&pixel, &mean)| (f32::from(pixel) / 255.0 - mean).powi(2)).sum::<f32>()
        };
        let exps: Vec<f32> = means.iter().map(|mean| (-distance(mean) / 4.0).exp()).collect();
        let sum: f32 = exps.iter().sum();
        std::array::from_fn(|class| exps[class] / sum)
    };
    images.chunks(784).map(scores).collect()
}

/// The report of the demo, with real pictures and made-up curves.
fn demo() -> Report {
    let count = 1000;
    let images = idx("t10k-images-idx3-ubyte.gz", 16)[..count * 784].to_vec();
    let labels = idx("t10k-labels-idx1-ubyte.gz", 8)[..count].to_vec();
    let scores = nearest_mean(&images, &labels);
    let mut evaluation = Evaluation::with_class_count(10).unwrap();
    let mut agreement = Agreement::new();
    for (scores, &label) in scores.iter().zip(&labels) {
        evaluation.add(scores, label.into()).unwrap();
        let coarse = scores.map(|score| (score * 64.0).round() / 64.0);
        agreement.add(&coarse, scores, Some(label.into())).unwrap();
    }
    let mut evaluation = EvaluationReport::new("f32", "the MNIST test set", "image", evaluation.finish());
    evaluation
        .add_wrong_pictures(100, |index| {
            let start = index as usize * 784;
            Picture::new(28, 28, 1, images[start..start + 784].to_vec())
        })
        .unwrap();
    let model = |name: &str, kind, file_bytes, correct, latency: u64| ModelResult {
        name: name.into(),
        file: format!("mnist-cnn-{name}.tflite"),
        kind,
        file_bytes,
        samples: 10_000,
        correct,
        agreement: Some(agreement.finish()),
        timing: Timing::from_latencies_ns(5, (0..100).map(|i| latency + i * 137).collect()),
    };
    let epochs = (1..=8).map(|epoch| {
        let x = epoch as f64;
        EpochRecord {
            epoch,
            train_loss: Some(0.24 / x.powf(1.4) + 0.004),
            train_accuracy: Some(0.9995 - 0.07 / x.powf(1.6)),
            validation_loss: Some(0.072 / x.powf(0.55) + 0.0012 * x),
            validation_accuracy: Some(0.9925 - 0.0125 / x.powf(1.3) - 0.0001 * (x - 6.0).abs()),
            learning_rate: Some(1e-3 * (1.0 - x / 9.0)),
            seconds: Some(10.4),
            samples_per_second: Some(5280.0),
        }
    });
    Report {
        title: "mnist-cnn on MNIST".into(),
        subtitle:
            "A convolutional network that reads handwritten digits, trained, quantized and measured on this machine."
                .into(),
        created: Some("24 November 2026".into()),
        comparison: Some(Comparison {
            data: "the MNIST test set".into(),
            sample_noun: "image".into(),
            reference: 0,
            models: vec![
                model("f32", ModelKind::Float32, 1_688_908, 9917, 212_000),
                model("f16", ModelKind::Float16, 846_112, 9917, 214_000),
                model("dynamic", ModelKind::DynamicRange, 431_216, 9915, 171_000),
                model("int8", ModelKind::Int8, 433_008, 9914, 83_000),
                model("int8-uint8io", ModelKind::Int8Uint8Io, 433_192, 9914, 82_000),
                model("int16x8", ModelKind::Int16x8, 434_816, 9917, 391_000),
            ],
        }),
        training: Some(Training {
            epochs: epochs.collect(),
            best_epoch: Some(6),
            seconds: Some(83.4),
            peak_rss_bytes: Some(286_000_000),
            configuration: vec![
                Fact::new("optimiser", "Adam (β₁ 0.9, β₂ 0.999)"),
                Fact::new("learning rate", "0.001, cosine to 0, one epoch of warm-up"),
                Fact::new("batch size", 128),
                Fact::new("loss", "sparse categorical cross-entropy"),
                Fact::new("validation", "the last 5,000 training images"),
                Fact::new("seed", 42),
            ],
        }),
        evaluations: vec![evaluation],
        layers: Some(layers()),
        machine: Some(Machine {
            cpu: "AMD EPYC".into(),
            arch: "x86_64".into(),
            os: "linux".into(),
            threads: 2,
            features: ["avx2", "fma", "f16c", "avx512f", "avx512vnni"].map(String::from).to_vec(),
            memory_bytes: Some(16_384_000_000),
        }),
        facts: vec![
            Fact::new("Litesmith", "0.1.0"),
            Fact::new("numerics", "litert"),
            Fact::new("data", "MNIST, LeCun, Cortes and Burges, CC BY-SA 3.0"),
        ],
        reproduce: vec!["cargo run --release -- demo --seed 42 --out litesmith-demo".into()],
    }
}

fn layers() -> ModelSummary {
    use litesmith_graph::ops::{Activation, Conv2d, FullyConnected, MaxPool2d, Padding, Reshape, Softmax};
    use litesmith_graph::{DType, Data, Graph, Tensor, TensorId};
    let mut graph = Graph::new("mnist-cnn");
    let weights = |graph: &mut Graph, name: &str, shape: &[usize]| -> TensorId {
        let data = Data::from_slice(&vec![0.0_f32; shape.iter().product()]);
        graph.add_tensor(Tensor::constant(name, DType::F32, shape, data))
    };
    let mut x = graph.add_input(Tensor::new("image", DType::F32, [1, 28, 28, 1]));
    for (name, filters, channels) in [("conv2d", 32, 1), ("conv2d_1", 64, 32)] {
        let w = weights(&mut graph, "w", &[filters, 3, 3, channels]);
        let b = weights(&mut graph, "b", &[filters]);
        let conv = Conv2d { padding: Padding::Same, activation: Activation::Relu, ..Conv2d::default() };
        x = graph.add_node(conv, &[Some(x), Some(w), Some(b)], name).unwrap();
        let pool = MaxPool2d {
            padding: Padding::Valid,
            stride_height: 2,
            stride_width: 2,
            filter_height: 2,
            filter_width: 2,
            activation: Activation::None,
        };
        x = graph.add_node(pool, &[Some(x)], &format!("{name}/pool")).unwrap();
    }
    let shape = graph.add_tensor(Tensor::constant("s", DType::I32, [2], Data::from_slice(&[-1_i32, 3136])));
    x = graph.add_node(Reshape::default(), &[Some(x), Some(shape)], "flatten").unwrap();
    for (name, units, inputs) in [("dense", 128, 3136), ("dense_1", 10, 128)] {
        let w = weights(&mut graph, "w", &[units, inputs]);
        let b = weights(&mut graph, "b", &[units]);
        x = graph.add_node(FullyConnected::default(), &[Some(x), Some(w), Some(b)], name).unwrap();
    }
    x = graph.add_node(Softmax { beta: 1.0 }, &[Some(x)], "probabilities").unwrap();
    graph.outputs = vec![x];
    graph.make_batch_dynamic().unwrap();
    ModelSummary::of(&graph).unwrap()
}

#[test]
fn the_demo_report_is_complete() {
    let report = demo();
    let html = parse(&report);
    keep("report.html", &html);
    assert_eq!(html.matches("<img ").count(), report.evaluations[0].wrong_pictures.len());
    for expected in ["1,688,908", "99.17 %", "−0.03", "421,642", "kept: epoch 6", "cargo run --release -- demo"] {
        assert!(html.contains(expected), "{expected}");
    }
    let again = Report::read_json(&report.write_json().unwrap()).unwrap();
    assert!(again == report);
    assert!(render_html(&again) == html);
}

#[test]
fn an_empty_report_is_a_page() {
    let html = parse(&Report::default());
    assert!(!html.contains("<section"));
    assert_eq!(Report::read_json("{\"title\": \"\"}").unwrap(), Report::default());
    assert!(Report::read_json("{}").unwrap_err().to_string().contains("missing field `title`"));
}

#[test]
fn each_part_stands_alone() {
    let all = demo();
    let parts = [
        Report { comparison: all.comparison.clone(), ..Report::default() },
        Report { training: all.training.clone(), ..Report::default() },
        Report { evaluations: all.evaluations.clone(), ..Report::default() },
        Report { layers: all.layers.clone(), ..Report::default() },
        Report { machine: all.machine.clone(), ..Report::default() },
    ];
    for part in parts {
        assert_eq!(parse(&part).matches("<section").count(), 1);
    }
}

/// A search has no kinds of models to explain: its page has speed there, and names as it gives them.
#[test]
fn models_of_no_kind_are_drawn_by_size_and_by_speed() {
    let mut comparison = demo().comparison.unwrap();
    for model in &mut comparison.models {
        (model.kind, model.name) = (ModelKind::Other, format!("25 % pruned, {}", model.name));
    }
    let page = |comparison: &Comparison| parse(&Report { comparison: Some(comparison.clone()), ..Report::default() });
    let html = page(&comparison);
    assert_eq!(html.matches("<svg").count(), 2);
    assert!(html.contains("Speed against accuracy") && !html.contains("What the formats are"));
    assert_eq!(html.matches(">25 % pruned, int16x8</text>").count(), 2);
    // Not where some were not timed.
    comparison.models[2].timing = None;
    assert_eq!(page(&comparison).matches("<svg").count(), 1);
    assert_eq!(parse(&demo()).matches("Speed against accuracy").count(), 0);
}

#[test]
fn curves_of_zero_one_and_broken_epochs() {
    let training = |epochs| Report { training: Some(Training { epochs, ..Training::default() }), ..Report::default() };
    assert!(parse(&training(vec![])).contains("No epoch was finished"));
    let one = EpochRecord { epoch: 1, train_loss: Some(0.5), train_accuracy: Some(1.0), ..EpochRecord::default() };
    let html = parse(&training(vec![one.clone()]));
    keep("one-epoch.html", &html);
    assert!(html.contains("<circle") && !html.contains("validation</text>"));
    assert!(parse(&training(vec![EpochRecord { epoch: 1, ..EpochRecord::default() }])).contains("Not recorded."));
    let nan = EpochRecord {
        epoch: 2,
        train_loss: Some(f64::NAN),
        train_accuracy: Some(f64::INFINITY),
        seconds: Some(f64::NAN),
        ..EpochRecord::default()
    };
    let report = training(vec![one.clone(), nan, EpochRecord { epoch: u64::MAX, ..one }]);
    keep("broken-curves.html", &parse(&report));
    let again = Report::read_json(&report.write_json().unwrap()).unwrap();
    assert_eq!(again.training.unwrap().epochs[1].train_loss, None);
}

#[test]
fn hostile_names_stay_text() {
    let mut report = demo();
    report.title = HOSTILE.into();
    report.subtitle = HOSTILE.into();
    report.reproduce = vec![HOSTILE.into()];
    report.facts = vec![Fact::new(HOSTILE, HOSTILE)];
    let evaluation = &mut report.evaluations[0];
    evaluation.model = HOSTILE.into();
    evaluation.sample_noun = HOSTILE.into();
    evaluation.metrics.classes.iter_mut().for_each(|class| class.name = HOSTILE.into());
    let comparison = report.comparison.as_mut().unwrap();
    comparison.data = HOSTILE.into();
    for model in &mut comparison.models {
        (model.name, model.file) = (HOSTILE.into(), HOSTILE.into());
    }
    report.layers.as_mut().unwrap().layers[0].name = HOSTILE.into();
    let html = parse(&report);
    keep("hostile.html", &html);
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;"));
    assert!(!html.contains('\u{202e}'), "a character that turns the direction of text");
}

#[test]
fn counts_that_disagree_do_not_break_the_page() {
    let mut report = demo();
    let evaluation = &mut report.evaluations[0];
    evaluation.metrics.correct = u64::MAX;
    evaluation.metrics.confusion = Some(vec![vec![u64::MAX; 3]; 2]);
    evaluation.metrics.classes.truncate(1);
    evaluation.wrong_pictures[0].picture.pixels.clear();
    evaluation.wrong_pictures[1].sample.label = usize::MAX;
    evaluation.wrong_pictures[2].sample.predicted = None;
    evaluation.wrong_pictures[3].sample.confidence = Some(12.5);
    let comparison = report.comparison.as_mut().unwrap();
    comparison.reference = 99;
    comparison.models[0].samples = 0;
    comparison.models[1].file_bytes = 0;
    comparison.models[2].agreement.as_mut().unwrap().broken = Some(u64::MAX);
    let html = parse(&report);
    assert!(html.contains("no picture: ") && html.contains("nothing (NaN)") && html.contains("score 12.50"));
}

#[test]
fn many_classes_list_mistakes_instead_of_a_matrix() {
    let mut evaluation = Evaluation::with_class_count(1000).unwrap();
    for label in 0..1000 {
        let mut scores = vec![0.0; 1000];
        scores[label / 2 * 2] = 1.0;
        evaluation.add(&scores, label).unwrap();
    }
    let evaluation = EvaluationReport::new("m", "d", "image", evaluation.finish());
    let html = parse(&Report { evaluations: vec![evaluation], ..Report::default() });
    keep("many-classes.html", &html);
    assert!(html.contains("Most frequent mistakes") && html.contains("classes with the lowest F1"));
    assert!(html.len() < 100_000, "{}", html.len());
}

#[test]
fn one_class_and_nothing_wrong() {
    let mut evaluation = Evaluation::new(["only"]).unwrap();
    evaluation.add(&[1.0], 0).unwrap();
    let report =
        |metrics| Report { evaluations: vec![EvaluationReport::new("m", "d", "image", metrics)], ..Report::default() };
    assert!(parse(&report(evaluation.finish())).contains("No image is classified wrong."));
    assert!(parse(&report(Evaluation::new(["only"]).unwrap().finish())).contains("No sample was evaluated."));
}

#[test]
fn a_page_of_layer_errors_draws_values_and_grids() {
    let mut report = crate::layer_error::tests::report();
    report.layers[1].values = Bins::new((-20.0, 14.0), 16, 0, [(-19.0, 1), (1.0, 50), (13.5, 2)].into_iter());
    report.layers[1].weights = Some(WeightsError {
        foreign: false,
        name: "w".into(),
        error: ErrorMetrics::default(),
        scales: 3,
        grid: Some(Grid::new("int4", 1.0, 0, (-8, 7))),
        values: Bins::new((-7.0, 7.0), 16, 1, [(-6.5, 4), (2.0, 9)].into_iter()),
    });
    report.kept_float.push(KeptFloatResult { name: None, accuracy: None, output: ErrorMetrics::default() });
    let html = well_formed(layer_error_html(&report));
    keep("layer-errors.html", &html);
    for part in
        ["\"coarse&quot; breaks most".replace('"', "&quot;").as_str(), "class=\"beyond\"", "class=\"edge\"", "3 scales"]
    {
        assert!(html.contains(part), "{part}");
    }
    // The steps of int4: 16 lines.
    let steps = html.split("class=\"steps\"").map(|path| path.split("\"/>").next().unwrap().matches('M').count());
    assert!(steps.into_iter().any(|lines| lines == 16));
    let again: LayerErrorReport = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(layer_error_html(&again), html);

    report.layers[0].name = HOSTILE.into();
    report.suggestions[0].command = HOSTILE.into();
    report.notes.push(HOSTILE.into());
    well_formed(layer_error_html(&report));
    well_formed(layer_error_html(&LayerErrorReport::default()));
}

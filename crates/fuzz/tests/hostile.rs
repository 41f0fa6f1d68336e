//! Damaged and hostile models give errors or run; they never panic and never take memory without bound.

use std::io::Read;
use std::path::PathBuf;

use litesmith_fuzz::{Reached, TARGETS, exercise_bytes, exercise_graph};
use litesmith_graph::ops::{
    Activation, AveragePool2d, Concatenation, Conv2d, ExpandDims, FullyConnected, Logistic, MaxPool2d, Pad, Padding,
    ReduceMax, Relu, Reshape, Shape, Softmax, Tanh,
};
use litesmith_graph::{DType, Data, Graph, Model, Quantization, Tensor, TensorId};
use litesmith_runtime::{Session, SessionOptions};
use litesmith_testkit::{Random, damage, random_graph};
use litesmith_tflite::{Limits, WriteOptions, read, write};

fn testdata(folder: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../testdata", folder].iter().collect()
}

/// Every model of a folder: name and bytes.
fn models(folder: &str) -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<_> = std::fs::read_dir(testdata(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "tflite"));
    paths.sort();
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let models: Vec<_> = paths.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect();
    assert!(!models.is_empty(), "no models in {folder}");
    models
}

fn all_models() -> Vec<(String, Vec<u8>)> {
    [models("models"), models("tflite"), models("../fuzz/corpus/models")].concat()
}

/// The first model of every archive of the op grid, so that each op that can be read is there.
fn grid_models() -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<_> = std::fs::read_dir(testdata("grid")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let first = |path: &PathBuf| {
        let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
        let name = archive.file_names().find(|name| name.ends_with(".tflite")).unwrap().to_owned();
        let mut bytes = Vec::new();
        archive.by_name(&name).unwrap().read_to_end(&mut bytes).unwrap();
        (format!("{} {name}", path.file_name().unwrap().to_string_lossy()), bytes)
    };
    let models: Vec<_> = paths.iter().map(first).collect();
    assert!(models.len() >= 120, "only {} archives", models.len());
    models
}

#[test]
fn the_corpus_passes_every_target() {
    for (name, bytes) in all_models() {
        for (target, run) in TARGETS {
            eprintln!("{name}: {target}");
            run(&bytes);
        }
        assert_eq!(exercise_bytes(&bytes, 1), Reached::Ran, "{name}");
    }
}

/// Inputs by which coverage-guided fuzzing reached more than the models do, each with the target that kept it.
#[test]
fn what_fuzzing_kept_passes_its_target() {
    for name in ["read", "plan", "run", "metadata"] {
        let (_, run) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
        let entries = std::fs::read_dir(testdata("../fuzz/corpus").join(name)).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        assert!(paths.len() >= 10, "{name}: {} inputs", paths.len());
        paths.sort();
        for path in paths {
            eprintln!("{}", path.display());
            run(&std::fs::read(&path).unwrap());
        }
    }
}

#[test]
fn damaged_archives_of_labels_are_warnings() {
    let models = models("tflite");
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let (_, bytes) = &models[random.below(models.len())];
        let archive = bytes.windows(4).position(|window| window == b"PK\x03\x04").unwrap_or(0);
        litesmith_fuzz::metadata(&damage(&bytes[archive..], &mut random));
    }
}

/// Flips one byte in every `step` and cuts off there.
fn flip_and_cut(models: Vec<(String, Vec<u8>)>, step: usize) {
    for (name, bytes) in models {
        let mut flipped = bytes.clone();
        for at in (0..bytes.len()).step_by(step) {
            eprintln!("{name}: byte {at} flipped");
            flipped[at] ^= 0xff;
            exercise_bytes(&flipped, at as u64);
            flipped[at] ^= 0xff;
            eprintln!("{name}: {at} bytes");
            exercise_bytes(&bytes[..at], at as u64);
        }
    }
}

#[test]
fn a_flipped_byte_or_a_cut_off_end_is_an_error_or_runs() {
    flip_and_cut(all_models(), 97);
}

/// One model of each op. They are small and mostly tables, so that bytes are taken closer together.
#[test]
fn a_flipped_byte_or_a_cut_off_end_of_any_op_is_an_error_or_runs() {
    flip_and_cut(grid_models(), 3);
}

/// Whole networks. They are large and mostly weights, in which any byte is as good as another: one in 389 is enough.
#[test]
fn a_flipped_byte_or_a_cut_off_end_of_the_zoo_is_an_error_or_runs() {
    flip_and_cut(models("../zoo/mnist"), 389);
}

#[test]
fn random_damage_is_an_error_or_runs() {
    let models = all_models();
    let mut ran = 0;
    for seed in 0..1500 {
        eprintln!("seed {seed}");
        let mut random = Random::new(seed);
        let (_, bytes) = &models[random.below(models.len())];
        ran += usize::from(exercise_bytes(&damage(bytes, &mut random), seed) == Reached::Ran);
    }
    assert!((300..1300).contains(&ran), "the damage must be neither too small nor too large: {ran} of 1500 ran");
}

#[test]
fn random_graphs_are_an_error_or_run() {
    let mut ran = 0;
    for seed in 0..3000 {
        eprintln!("seed {seed}");
        ran += usize::from(exercise_graph(&random_graph(&mut Random::new(seed)), seed) == Reached::Ran);
    }
    assert!((900..2400).contains(&ran), "{ran} of 3000 ran");
}

fn integers(graph: &mut Graph, elements: &[i32]) -> TensorId {
    graph.add_tensor(Tensor::constant("", DType::I32, [elements.len()], Data::from_slice(elements)))
}

fn zeros(graph: &mut Graph, dtype: DType, shape: &[usize]) -> TensorId {
    let bytes = Tensor::new("", dtype, shape).byte_size().unwrap();
    graph.add_tensor(Tensor::constant("w", dtype, shape, Data::from_bytes(&vec![0; bytes])))
}

/// A graph of one node that reads a float input of `shape` and what `more` adds.
fn one(op: impl Into<litesmith_graph::Op>, shape: &[usize], more: impl FnOnce(&mut Graph) -> Vec<TensorId>) -> Graph {
    let mut graph = Graph::new("main");
    let x = graph.add_input(Tensor::new("x", DType::F32, shape));
    let inputs = [vec![x], more(&mut graph)].concat().into_iter().map(Some).collect();
    let y = graph.add_tensor(Tensor::new("y", DType::F32, [1]));
    graph.nodes.push(litesmith_graph::Node { op: op.into(), inputs, outputs: vec![y] });
    graph.outputs = vec![y];
    graph
}

const POOL: MaxPool2d = MaxPool2d {
    padding: Padding::Same,
    stride_height: 1,
    stride_width: 1,
    filter_height: 2,
    filter_width: 2,
    activation: Activation::None,
};

/// Hostile models by name, with what they must lead to: a part of the error, or nothing when they run.
fn attacks() -> Vec<(&'static str, Graph, &'static str)> {
    let same = Conv2d { padding: Padding::Same, ..Conv2d::default() };
    let filter = |graph: &mut Graph| vec![zeros(graph, DType::F32, &[1, 3, 3, 1])];
    let huge = i32::MAX as usize;
    let mut expand = one(Relu, &[1], |_| vec![]);
    let mut fold = Graph::new("main");
    let mut shared = Graph::new("main");
    // Halves are computed as floats, which take memory of their own.
    let mut halves = Graph::new("main");
    let x = halves.add_input(Tensor::new("x", DType::F16, [1 << 20, 1 << 20]));
    halves.outputs = vec![halves.add_node(Relu, &[Some(x)], "y").unwrap()];
    {
        let axis = integers(&mut expand, &[0]);
        let mut last = expand.outputs[0];
        for _ in 0..40 {
            let next = expand.add_tensor(Tensor::new("", DType::F32, [1]));
            expand.nodes.push(litesmith_graph::Node {
                op: ExpandDims.into(),
                inputs: vec![Some(last), Some(axis)],
                outputs: vec![next],
            });
            last = next;
        }
        expand.outputs = vec![last];

        // 256 KiB of zeros from 4 bytes, a thousand times.
        let seed = zeros(&mut fold, DType::F32, &[1, 1]);
        let paddings = fold.add_tensor(Tensor::constant("p", DType::I32, [2, 2], Data::from_slice(&[0, 255, 0, 255])));
        for _ in 0..1000 {
            let padded = fold.add_node(Pad, &[Some(seed), Some(paddings)], "").unwrap();
            fold.outputs.push(padded);
        }

        // Eleven hundred layers pack one matrix of 64 KiB each for itself.
        let mut last = shared.add_input(Tensor::new("x", DType::F32, [1, 128]));
        let weights = zeros(&mut shared, DType::F32, &[128, 128]);
        for _ in 0..1100 {
            last = shared.add_node(FullyConnected::default(), &[Some(last), Some(weights)], "").unwrap();
        }
        shared.outputs = vec![last];
    }
    // Ops that are done a few rows at a time: how many was looked for at every row.
    let mut chain = Graph::new("main");
    let mut last = chain.add_input(Tensor::new("x", DType::F32, [1, huge, 1, 1]));
    for _ in 0..3 {
        last = chain.add_node(Logistic, &[Some(last)], "").unwrap();
    }
    chain.outputs = vec![last];
    let mut variable = one(Relu, &[4], |_| vec![]);
    variable.inputs.clear();
    variable.tensors[0].is_variable = true;
    let mut types = one(FullyConnected::default(), &[1, 4], |graph| {
        vec![zeros(graph, DType::F32, &[4, 4]), zeros(graph, DType::I64, &[4])]
    });
    types.name = "main".into();
    let mut axis = one(same.clone(), &[1, 4, 4, 3], |graph| {
        let weights = zeros(graph, DType::I8, &[3, 3, 3, 3]);
        graph.tensor_mut(weights).quantization = Some(Quantization::per_channel(vec![0.5; 3], 3));
        vec![weights]
    });
    axis.name = "main".into();
    let mut constant_output = one(Relu, &[4], |_| vec![]);
    let weights = zeros(&mut constant_output, DType::F32, &[4]);
    let x = constant_output.inputs[0];
    constant_output.outputs = vec![weights, x, x, weights];
    constant_output.inputs = vec![x, x];
    let mut tiny_scale = one(Tanh, &[4], |_| vec![]);
    for (id, scale) in [(0, 1e-45), (1, f32::MAX)] {
        tiny_scale.tensors[id].dtype = DType::I16;
        tiny_scale.tensors[id].quantization = Some(Quantization::per_tensor(scale, 0));
    }
    vec![
        (
            "dilation",
            one(Conv2d { dilation_height: huge, dilation_width: huge, ..same.clone() }, &[1, 9, 9, 1], filter),
            "sizes overflow",
        ),
        ("stride", one(Conv2d { stride_height: huge, stride_width: huge, ..same.clone() }, &[1, 9, 9, 1], filter), ""),
        // The rows of a task are looked for by halving: one by one, planning took minutes.
        ("chain", chain, "they need"),
        ("rows", one(same.clone(), &[1, huge, 1, 1], filter), "they need"),
        ("stride-zero", one(Conv2d { stride_height: 0, ..same.clone() }, &[1, 9, 9, 1], filter), "got stride_h 0"),
        (
            "filter-not-constant",
            one(same, &[1, 1, 1, 1], |graph| vec![graph.add_input(Tensor::new("w", DType::F32, [1, huge, huge, 1]))]),
            "too large",
        ),
        ("window-larger-than-input", one(POOL, &[1, 1, 1, 1], |_| vec![]), ""),
        (
            "window-huge",
            one(
                AveragePool2d {
                    padding: Padding::Same,
                    stride_height: 1,
                    stride_width: 1,
                    filter_height: huge,
                    filter_width: huge,
                    activation: Activation::None,
                },
                &[1, 9, 9, 1],
                |_| vec![],
            ),
            "",
        ),
        ("empty-and-huge", one(Softmax::default(), &[huge, huge, 0], |_| vec![]), ""),
        ("empty-and-overflowing", one(Relu, &[0, huge, huge, huge], |_| vec![]), "too many elements"),
        (
            "empty-reduction",
            one(ReduceMax { keep_dims: false }, &[huge, 0, 3], |graph| vec![integers(graph, &[0, 1])]),
            "",
        ),
        (
            "empty-concatenation",
            one(Concatenation { axis: 1, activation: Activation::None }, &[huge, 0], |graph| {
                vec![graph.add_input(Tensor::new("z", DType::F32, [huge, 0]))]
            }),
            "",
        ),
        ("overflow", one(Relu, &[huge, huge, huge], |_| vec![]), "too many elements"),
        ("too-large", one(Relu, &[huge, 64], |_| vec![]), "they need"),
        ("pad-huge", one(Pad, &[1, 1], |graph| vec![integers(graph, &[0, i32::MAX, i32::MAX, 0])]), "is too large"),
        ("reshape-unknown", one(Reshape { new_shape: Some(vec![-1, 0]) }, &[0, 4], |_| vec![]), "do not fit"),
        ("shape-type", one(Shape { out_type: DType::I32 }, &[4], |_| vec![]), "no kernel takes"),
        ("axes", expand, "axes, at most 32 can be"),
        ("folded", fold, "are allowed"),
        ("packed", shared, "are allowed"),
        ("variable", variable, ""),
        ("bias-type", types, "the bias (input 2) is int64, expected float32"),
        ("quantized-axis", axis, "weights quantized along axis 3"),
        ("outputs-that-nothing-computes", constant_output, ""),
        ("scales", tiny_scale, "scale"),
        ("halves", halves, "allowed are"),
    ]
}

#[test]
fn attacks_fail_as_they_should() {
    let bless = std::env::var_os("LITESMITH_BLESS").is_some();
    let mut wrong = Vec::new();
    let attacks = attacks();
    let names: Vec<_> = attacks.iter().map(|(name, ..)| *name).collect();
    for (name, graph, expected) in attacks {
        let path = testdata("attacks").join(format!("{name}.tflite"));
        if bless {
            let bytes = write(&Model::from_graph(graph), &WriteOptions::default()).unwrap();
            std::fs::write(&path, bytes).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let options = SessionOptions { arena_bytes_max: 1 << 20, ..SessionOptions::default() };
        let result = read(&bytes, &Limits::default())
            .and_then(|loaded| Session::new(&loaded.model, options))
            .and_then(|mut session| session.run());
        match result {
            Ok(()) if expected.is_empty() => {}
            Ok(()) => wrong.push(format!("{name} runs, expected {expected:?}")),
            Err(error) if expected.is_empty() || !error.to_string().contains(expected) => {
                wrong.push(format!("{name}: {error}, expected {expected:?}"));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    // Files that fuzzing found need no expectation.
    for (name, bytes) in models("attacks") {
        litesmith_fuzz::inspect(&bytes);
        if !names.contains(&name.trim_end_matches(".tflite")) {
            eprintln!("{name}");
            exercise_bytes(&bytes, 1);
        }
    }
}

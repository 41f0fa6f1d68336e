//! What fuzzing and the tests of hostile models call: each function takes bytes that may be a model. Errors are expected;
//! panics, hangs and memory without bound are not.
#![forbid(unsafe_code)]
#![expect(clippy::expect_used, reason = "a broken expectation is a finding")]

use std::sync::OnceLock;

use litesmith_graph::{DType, Graph, Model, Tensor, TensorMetadata, ops::Relu};
use litesmith_runtime::{Isa, Numerics, Session, SessionLimits, SessionOptions};
use litesmith_testkit::Random;
use litesmith_tflite::{Limits, WriteOptions};

/// What a case may take for activations.
const ARENA_BYTES_MAX: usize = 1 << 18;

/// A name, and the function that takes bytes which may be a model.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] =
    &[("read", read), ("rewrite", rewrite), ("inspect", inspect), ("metadata", metadata), ("plan", plan), ("run", run)];

/// How far a case came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reached {
    /// The reader refused it.
    Refused,
    /// It was read, but there is no plan for it.
    Read,
    /// It ran.
    Ran,
}

fn limits() -> Limits {
    Limits { sparse_bytes: ARENA_BYTES_MAX, ..Limits::default() }
}

/// Reads.
pub fn read(bytes: &[u8]) {
    drop(litesmith_tflite::read(bytes, &limits()));
}

/// Lists what the file holds.
pub fn inspect(bytes: &[u8]) {
    drop(litesmith_tflite::inspect(bytes, &limits()));
}

/// Reads, writes, and reads again: what is written must be read as the same model.
pub fn rewrite(bytes: &[u8]) {
    let Ok(loaded) = litesmith_tflite::read(bytes, &limits()) else { return };
    let Ok(written) = litesmith_tflite::write(&loaded.model, &WriteOptions::default()) else { return };
    let again = litesmith_tflite::read(&written, &limits()).expect("what was written can be read");
    let twice = litesmith_tflite::write(&again.model, &WriteOptions::default()).expect("it was written before");
    assert_eq!(written, twice, "a model that was read back is written as before");
}

/// Takes the bytes for the ZIP archive of labels behind a model that is in order.
pub fn metadata(bytes: &[u8]) {
    static MODEL: OnceLock<Vec<u8>> = OnceLock::new();
    let model = MODEL.get_or_init(|| {
        let mut graph = Graph::new("main");
        let x = graph.add_input(Tensor::new("x", DType::F32, [1, 2]));
        let y = graph.add_node(Relu, &[Some(x)], "y").expect("RELU takes any shape");
        graph.outputs = vec![y];
        let mut model = Model::from_graph(graph);
        let labels = vec!["a".to_owned(), "b".to_owned()];
        model.metadata.outputs = vec![TensorMetadata { labels, ..TensorMetadata::default() }];
        model.metadata.inputs = vec![TensorMetadata::default()];
        let mut bytes = litesmith_tflite::write(&model, &WriteOptions::default()).expect("the model is in order");
        let archive = bytes.windows(4).position(|window| window == b"PK\x03\x04").unwrap_or(bytes.len());
        bytes.truncate(archive);
        bytes
    });
    let loaded = litesmith_tflite::read(&[model, bytes].concat(), &limits());
    assert!(loaded.is_ok(), "a damaged archive is a warning");
}

/// Reads and plans.
pub fn plan(bytes: &[u8]) {
    if let Ok(loaded) = litesmith_tflite::read(bytes, &limits()) {
        drop(Session::new(&loaded.model, options(&mut Random::new(0))));
    }
}

/// Reads, plans and runs.
pub fn run(bytes: &[u8]) {
    exercise_bytes(bytes, bytes.len() as u64);
}

/// Reads, writes, plans and runs what `bytes` may hold.
pub fn exercise_bytes(bytes: &[u8], seed: u64) -> Reached {
    let Ok(loaded) = litesmith_tflite::read(bytes, &limits()) else { return Reached::Refused };
    if let Ok(written) = litesmith_tflite::write(&loaded.model, &WriteOptions::default()) {
        litesmith_tflite::read(&written, &limits()).expect("what was written can be read");
    }
    exercise_model(&loaded.model, seed)
}

/// Plans and runs `graph`, also for another batch.
pub fn exercise_graph(graph: &Graph, seed: u64) -> Reached {
    exercise_model(&Model { graphs: vec![graph.clone()], ..Model::default() }, seed)
}

fn options(random: &mut Random) -> SessionOptions {
    let isas: Vec<_> = Isa::ALL.iter().copied().filter(|isa| isa.is_available()).collect();
    SessionOptions {
        threads: 1 + usize::from(random.once_in(4)),
        numerics: random.pick(&[Numerics::Litert, Numerics::Reference]),
        isa: Some(random.pick(&isas)),
        arena_bytes_max: ARENA_BYTES_MAX,
        limits: SessionLimits { call_depth: 6, planned_nodes: 10_000, stages: 20, loop_iterations: 100 },
        ..SessionOptions::default()
    }
}

/// Plans and runs `model`: its main graph, also again and for another batch, and its signatures.
pub fn exercise_model(model: &Model, seed: u64) -> Reached {
    let mut random = Random::new(seed);
    let Ok(mut session) = Session::new(model, options(&mut random)) else { return Reached::Read };
    run_once(&mut session, &mut random);
    if random.once_in(2) {
        run_once(&mut session, &mut random);
    }
    if session.resize_batch(3).is_ok() {
        run_once(&mut session, &mut random);
    }
    drop(session.reset_variables());
    for signature in model.signatures.iter().take(4) {
        if session.select_signature(&signature.key).is_ok() {
            run_once(&mut session, &mut random);
        }
    }
    drop((session.explain(), session.memory()));
    Reached::Ran
}

fn run_once(session: &mut Session, random: &mut Random) {
    for index in 0..session.input_count() {
        let dtype = session.input_tensor(index).expect("it is an input").dtype;
        match dtype {
            DType::F32 => {
                if let Ok(values) = session.input_mut::<f32>(index) {
                    values.iter_mut().for_each(|value| *value = random.float() * 4.0);
                }
            }
            // Sizes, axes and indices: most of them small.
            DType::I32 => {
                if let Ok(values) = session.input_mut::<i32>(index) {
                    values.iter_mut().for_each(|value| *value = random.below(6) as i32 - 1);
                }
            }
            _ => {
                if let Ok(bytes) = session.input_bytes_mut(index) {
                    random.fill(bytes);
                }
            }
        }
    }
    let ran = session
        .run_observed(&mut |_, tensor, bytes| assert_eq!(bytes.len(), tensor.byte_size().expect("it was planned")));
    if ran.is_err() {
        return;
    }
    for index in 0..session.output_count() {
        let tensor = session.output_tensor(index).expect("it is an output").clone();
        if tensor.dtype.bits() != 0 {
            let bytes = session.output_bytes(index).expect("it is an output").len();
            assert_eq!(bytes, tensor.byte_size().expect("it was planned"));
        }
    }
}

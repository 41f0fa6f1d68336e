//! Puts a model, or bytes that may be one, through everything that reads and runs models.

use litesmith_graph::{DType, Graph};
use litesmith_runtime::{Isa, Numerics, Session, SessionOptions};
use litesmith_testkit::Random;
use litesmith_tflite::{Limits, WriteOptions, read, write};

/// What a case may take for activations.
pub(crate) const ARENA_BYTES_MAX: usize = 1 << 18;

/// How far a case came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reached {
    /// The reader refused it.
    Refused,
    /// It was read, but there is no plan for it.
    Read,
    /// It ran.
    Ran,
}

/// Reads, writes, plans and runs what `bytes` may hold. Errors are expected; panics are not.
pub(crate) fn exercise_bytes(bytes: &[u8], seed: u64) -> Reached {
    let Ok(loaded) = read(bytes, &Limits::default()) else { return Reached::Refused };
    if let Ok(written) = write(&loaded.model, &WriteOptions::default()) {
        read(&written, &Limits::default()).expect("what was written can be read");
    }
    let Ok(graph) = loaded.model.main() else { return Reached::Read };
    exercise_graph(graph, seed)
}

/// Plans and runs `graph`, also for another batch.
pub(crate) fn exercise_graph(graph: &Graph, seed: u64) -> Reached {
    let mut random = Random::new(seed);
    let isas: Vec<_> = Isa::ALL.iter().copied().filter(|isa| isa.is_available()).collect();
    let options = SessionOptions {
        threads: 1 + usize::from(random.once_in(4)),
        numerics: random.pick(&[Numerics::Litert, Numerics::Reference]),
        isa: Some(random.pick(&isas)),
        arena_bytes_max: ARENA_BYTES_MAX,
        ..SessionOptions::default()
    };
    let Ok(mut session) = Session::from_graph(graph.clone(), options) else { return Reached::Read };
    run(&mut session, &mut random);
    if session.resize_batch(3).is_ok() {
        run(&mut session, &mut random);
    }
    Reached::Ran
}

fn run(session: &mut Session, random: &mut Random) {
    for index in 0..session.input_count() {
        let dtype = session.input_tensor(index).expect("it is an input").dtype;
        match dtype {
            DType::F32 => {
                if let Ok(values) = session.input_mut::<f32>(index) {
                    values.iter_mut().for_each(|value| *value = random.float() * 4.0);
                }
            }
            _ => match dtype.bits() {
                8 => session.input_mut::<u8>(index).map(|values| random.fill(values)).unwrap_or(()),
                16 => session
                    .input_mut::<u16>(index)
                    .map(|values| random.fill(bytemuck::cast_slice_mut(values)))
                    .unwrap_or(()),
                _ => {}
            },
        }
    }
    let ran = session
        .run_observed(&mut |_, tensor, bytes| assert_eq!(bytes.len(), tensor.byte_size().expect("it was planned")));
    if ran.is_err() {
        return;
    }
    for index in 0..session.output_count() {
        let tensor = session.output_tensor(index).expect("it is an output").clone();
        if tensor.dtype.bits() == 8 {
            assert_eq!(
                session.output::<u8>(index).expect("it has the size").len(),
                tensor.elements().expect("it was planned")
            );
        }
    }
}

//! What LiteRT computed, replayed: integers must be the same bytes, floats within the bound that the op declares.
//!
//! The tests of this crate call it natively; `cargo xtask wasm` compiles it to WebAssembly, so that the same code judges
//! there. It touches no file system: callers bring the bytes.
#![forbid(unsafe_code)]

pub mod grid;
pub mod networks;
mod npy;

use litesmith_graph::{DType, Result};
use litesmith_runtime::{Isa, Numerics, Session, SessionOptions};
use litesmith_tflite::Limits;

/// What came of a replay.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases, each a model with its inputs.
    pub cases: usize,
    /// Cases times numerics modes, instruction sets and numbers of threads.
    pub runs: usize,
    /// What was wrong, a line each.
    pub failures: Vec<String>,
}

impl Report {
    /// Adds what came of another replay.
    pub fn merge(&mut self, other: Self) {
        self.cases += other.cases;
        self.runs += other.runs;
        self.failures.extend(other.failures);
    }

    fn add(&mut self, title: impl FnOnce() -> String, outcome: std::result::Result<(), String>) {
        self.runs += 1;
        if let Err(message) = outcome {
            self.failures.push(format!("{}: {message}", title()));
        }
    }
}

/// The modes by the names that the recordings use.
const MODES: [(&str, Numerics); 2] = [("litert", Numerics::Litert), ("reference", Numerics::Reference)];

/// A model ready to run.
///
/// # Errors
/// Those of reading and of planning.
pub fn plan(model: &[u8], numerics: Numerics, isa: Isa, threads: usize) -> Result<Session> {
    let model = litesmith_tflite::read(model, &Limits::default())?.model;
    Session::new(&model, SessionOptions { threads, numerics, isa: Some(isa), ..SessionOptions::default() })
}

/// The floats of a tensor of float16 or float32.
fn floats(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        DType::F16 => bytes.as_chunks().0.iter().map(|&bytes| half::f16::from_le_bytes(bytes).to_f32()).collect(),
        _ => bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
    }
}

/// Compares integers.
fn check_bytes(ours: &[u8], theirs: &[u8]) -> std::result::Result<(), String> {
    if ours.len() != theirs.len() {
        return Err(format!("{} bytes, expected {}", ours.len(), theirs.len()));
    }
    let mut different = ours.iter().zip(theirs).enumerate().filter(|(_, (ours, theirs))| ours != theirs);
    match different.next() {
        None => Ok(()),
        Some((at, (ours, theirs))) => {
            Err(format!("{} bytes differ, first at {at}: {ours} for {theirs}", 1 + different.count()))
        }
    }
}

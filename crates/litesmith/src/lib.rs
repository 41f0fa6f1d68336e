//! One tool that takes an image model from data to device: load data, build, train, evaluate, quantize, run. This crate is
//! the stable library; the command line is a face over it.
//!
//! ```no_run
//! use litesmith::{Predictor, SessionOptions, load_model};
//!
//! let loaded = load_model("digits-int8.tflite".as_ref())?;
//! let mut predictor = Predictor::new(&loaded.model, SessionOptions::default(), None)?;
//! let image = litesmith::data::load_image("digit.png")?;
//! println!("{:?}", predictor.predict_image(&image)?);
//! # Ok::<(), litesmith::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod bench;
pub mod compare;
mod debug;
pub mod demo;
mod evaluate;
pub mod files;
pub mod inputs;
mod labels;
mod pictures;
mod predictor;
pub mod progress;
mod pruning;
mod qat;
mod quantize;
pub mod raw;
pub mod recipe;
pub mod search;
mod teacher;
mod training;
pub mod tune;

use std::path::Path;

pub use litesmith_compress as compress;
pub use litesmith_data as data;
pub use litesmith_graph as graph;
pub use litesmith_measure as measure;
pub use litesmith_runtime as runtime;
pub use litesmith_tflite as tflite;
pub use litesmith_train as train;

pub use debug::{DebugNames, DebugOptions, debug_quantized};
pub use evaluate::{EvaluateOptions, evaluate};
pub use labels::add_labels;
pub use litesmith_graph::{Error, Model, Result};
pub use litesmith_runtime::{Isa, Numerics, Session, SessionOptions};
pub use pictures::report_evaluation;
pub use predictor::Predictor;
pub use pruning::{cluster_model, prune_model_channels, prune_model_weights};
pub use qat::{qat_graph, qat_model, qat_options, share_scales};
pub use quantize::{CalibrateOptions, calibrate_on, quantize_on};
/// What serialises to JSON.
pub use serde::Serialize;
pub use teacher::TeacherModel;
pub use training::{TrainJob, Trained, load_architecture, preprocess_for, train_data, train_model};

/// Loads a `.tflite` file.
///
/// # Errors
/// [`Error::Io`] when it cannot be read; those of [`tflite::read`], with the path as place.
pub fn load_model(path: &Path) -> Result<tflite::Loaded> {
    load_model_within(path, &tflite::Limits::default())
}

/// The same with limits of the caller's.
///
/// # Errors
/// Those of [`load_model`].
pub fn load_model_within(path: &Path, limits: &tflite::Limits) -> Result<tflite::Loaded> {
    let bytes = files::load(path, limits.file_bytes as u64)?;
    tflite::read(&bytes, limits).map_err(|error| error.at(path.display()))
}

/// Looks into a `.tflite` file, which need not be one that Litesmith can run.
///
/// # Errors
/// [`Error::Io`] when it cannot be read; those of [`tflite::inspect`], with the path as place.
pub fn inspect_model(path: &Path, limits: &tflite::Limits) -> Result<tflite::Inspection> {
    let bytes = files::load(path, limits.file_bytes as u64)?;
    let mut found = tflite::inspect(&bytes, limits).map_err(|error| error.at(path.display()))?;
    for code in found.operator_codes.iter_mut().filter(|code| code.is_custom) {
        if !litesmith_runtime::is_builtin_custom(&code.name) {
            code.refusal = Some(format!("custom op \"{}\", which the program that runs it has to register", code.name));
        }
    }
    Ok(found)
}

/// Saves a model as a `.tflite` file, whole or not at all; returns its size in bytes.
///
/// # Errors
/// Those of [`tflite::write`] and [`files::save`].
pub fn save_model(path: &Path, model: &Model, existing: files::Existing) -> Result<u64> {
    // Without packing it to see, which takes longer than to save it.
    write_model(path, model, &tflite::WriteOptions::default(), existing).map(|bytes| bytes.len() as u64)
}

/// How large a saved file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of the file when packed.
    pub packed: tflite::Packed,
}

/// The bytes of a `.tflite` file written with `options`, which runs in LiteRT and holds nothing that is never read: the model is
/// completed before ([`compress::complete`]), and simplified where it is stripped ([`compress::simplify`]).
/// [`tflite::write`] writes a model as it is.
///
/// # Errors
/// Those of [`tflite::write`], [`compress::complete`] and [`compress::simplify`].
pub fn model_bytes(model: &Model, options: &tflite::WriteOptions) -> Result<Vec<u8>> {
    let model = compress::complete(model)?;
    match options.strip {
        tflite::Strip::Nothing | tflite::Strip::Names => tflite::write(&model, options),
        tflite::Strip::Everything | tflite::Strip::Derivable => tflite::write(&compress::simplify(&model)?, options),
    }
}

/// Saves a model as a `.tflite` file written with `options`, as [`model_bytes`] gives it, whole or not at all.
///
/// # Errors
/// Those of [`model_bytes`] and [`files::save`].
pub fn save_model_as(
    path: &Path,
    model: &Model,
    options: &tflite::WriteOptions,
    existing: files::Existing,
) -> Result<Saved> {
    let bytes = write_model(path, model, options, existing)?;
    Ok(Saved { bytes: bytes.len() as u64, packed: tflite::Packed::of(&bytes) })
}

fn write_model(
    path: &Path,
    model: &Model,
    options: &tflite::WriteOptions,
    existing: files::Existing,
) -> Result<Vec<u8>> {
    let bytes = model_bytes(model, options).map_err(|error| error.at(path.display()))?;
    files::save(path, &bytes, existing)?;
    Ok(bytes)
}

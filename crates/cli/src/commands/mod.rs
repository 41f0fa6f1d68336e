//! One file a command: turns what was said into calls of the library, and their results into words.

pub(crate) mod bench;
pub(crate) mod cluster;
pub(crate) mod compress;
pub(crate) mod debug;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod eval;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod prune;
pub(crate) mod quantize;
pub(crate) mod run;
pub(crate) mod strip;
pub(crate) mod summary;
pub(crate) mod train;
pub(crate) mod tune;

use std::path::{Path, PathBuf};

use litesmith::data::{Dataset, OpenOptions, RawArray, open};
use litesmith::files::Existing;
use litesmith::graph::{Normalization, TensorMetadata};
use litesmith::tflite::Loaded;
use litesmith::{Error, Model, Result, SessionOptions};

use crate::args::{NormalizationArgs, RuntimeArgs};
use crate::output::Output;

/// Loads a model and passes its oddities on.
fn load_model(path: &Path, output: &Output) -> Result<Model> {
    load_file(path, output).map(|loaded| loaded.model)
}

/// The same with what else the file tells.
fn load_file(path: &Path, output: &Output) -> Result<Loaded> {
    let loaded = litesmith::load_model_within(path, &output.file_limits)?;
    for warning in &loaded.warnings {
        output.warn(&format!("{}: {warning}", path.display()));
    }
    Ok(loaded)
}

/// Loads a model of which another file is made, and says what that will be without.
fn load_source(path: &Path, output: &Output) -> Result<Loaded> {
    let loaded = load_file(path, output)?;
    if !loaded.not_kept.is_empty() {
        output.warn(&format!("{}: metadata that is not kept: {}", path.display(), loaded.not_kept.join(", ")));
    }
    Ok(loaded)
}

/// The same for a command that changes weights: they have to be float32.
fn load_float(path: &Path, output: &Output) -> Result<Loaded> {
    let loaded = load_source(path, output)?;
    litesmith::train::check_float_weights(loaded.model.main()?).map_err(|error| error.at(path.display()))?;
    Ok(loaded)
}

/// The same for a command that quantizes: nobody may have done so, nor stored weights as float16.
fn load_unquantized(path: &Path, output: &Output) -> Result<Loaded> {
    let loaded = load_source(path, output)?;
    litesmith::compress::check_float(loaded.model.main()?).map_err(|error| error.at(path.display()))?;
    Ok(loaded)
}

/// Where the model does not say how pixels become numbers, they become what the command line says.
fn assume_normalization(model: &mut Model, args: &NormalizationArgs, path: &Path) -> Result<()> {
    if args.mean.is_empty() {
        return Ok(());
    }
    let inputs = &mut model.metadata.inputs;
    if inputs.iter().any(|input| input.normalization.is_some()) {
        let message = "the model says how pixels become numbers: --mean and --std are for those that do not";
        return Err(Error::invalid(path.display(), message)
            .with_hint("leave --mean and --std out; litesmith inspect shows what the model says"));
    }
    if inputs.is_empty() {
        inputs.push(TensorMetadata::default());
    }
    inputs[0].normalization = Some(Normalization { mean: args.mean.clone(), std: args.std.clone() });
    Ok(())
}

/// Opens a data set and lists what was left out of it.
fn open_data(spec: &str, skip_bad: bool, output: &Output) -> Result<Dataset> {
    open_data_with(spec, OpenOptions { skip_bad, ..OpenOptions::default() }, output)
}

fn open_data_with(spec: &str, options: OpenOptions, output: &Output) -> Result<Dataset> {
    let dataset = open(spec, &options)?;
    if !dataset.skipped.is_empty() {
        output.warn(&format!("{} samples of {} were skipped:", dataset.skipped.len(), dataset.name));
        const SHOWN: usize = 20;
        for skipped in dataset.skipped.iter().take(SHOWN) {
            output.warn(&format!("  {}: {}", skipped.split, skipped.error));
        }
        if let Some(more) = dataset.skipped.len().checked_sub(SHOWN).filter(|&more| more > 0) {
            output.warn(&format!("  and {more} more"));
        }
    }
    Ok(dataset)
}

fn session_options(runtime: &RuntimeArgs, output: &Output) -> SessionOptions {
    SessionOptions {
        threads: output.threads,
        numerics: runtime.numerics.into(),
        isa: runtime.isa,
        arena_bytes_max: arena_bytes_max(runtime.memory_limit),
        limits: output.session_limits.clone(),
        ..SessionOptions::default()
    }
}

/// What `--memory-limit` says.
fn arena_bytes_max(limit: Option<u64>) -> usize {
    let given = limit.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    given.unwrap_or(SessionOptions::default().arena_bytes_max)
}

/// `NAME=FILE`, or a file alone. A file whose own name has the sign is one when it is there.
fn named(text: &str) -> (Option<String>, PathBuf) {
    match text.split_once('=') {
        Some((name, path)) if !Path::new(text).exists() => (Some(name.to_owned()), path.into()),
        _ => (None, text.into()),
    }
}

/// The arrays of `--input`, with the names of their inputs where they have one.
fn load_arrays(inputs: &[String]) -> Result<Vec<(Option<String>, RawArray)>> {
    let load = |text: &String| {
        let (name, path) = named(text);
        Ok((name, RawArray::load(&path)?))
    };
    inputs.iter().map(load).collect()
}

fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Keep }
}

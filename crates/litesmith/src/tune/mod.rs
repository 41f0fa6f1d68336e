//! Tuning with a configuration file of Intel's Neural Compressor 1.x: quantize, evaluate, fall back op by op until the criterion
//! holds.

mod config;
mod data;
mod run;
mod schema;
mod space;
mod state;
mod strategy;
mod yaml;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use litesmith_compress::QuantizationConfig;
use litesmith_graph::{Model, Result};
use litesmith_runtime::SessionOptions;
use serde::Serialize;

use crate::files::Existing;
use crate::progress::Progress;

pub use config::{Approach, Criterion, Objective, StrategyKind, TuneConfig};
pub use data::{DataKind, DataSource, Transforms, TuneData};
pub use schema::NotHonoured;

use run::Run;

/// What to tune, and where to.
pub struct TuneJob<'a> {
    /// A float32 model.
    pub model: &'a Model,
    /// How.
    pub config: &'a TuneConfig,
    /// On what.
    pub data: &'a TuneData,
    /// How models run.
    pub session: SessionOptions,
    /// Where the best model so far goes.
    pub out: &'a Path,
    /// What becomes of files that exist.
    pub existing: Existing,
    /// Set when the search is to end.
    pub cancel: Option<&'a AtomicBool>,
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// A model met the criterion.
    Met,
    /// `max_trials` models were tried.
    MaxTrials,
    /// The time is over.
    Timeout,
    /// Everything was tried.
    Exhausted,
    /// One model was asked for, whatever its accuracy: `performance_only`.
    PerformanceOnly,
    /// It was interrupted.
    Cancelled,
}

/// A model and its measurements.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// What the strategy was at: `model`, `type`, `op`, `ops`, or its name.
    pub stage: String,
    /// The settings in a few words.
    pub settings: String,
    /// Ops that stay float32.
    pub float_ops: Vec<String>,
    /// The quantization: a table of a recipe.
    pub config: QuantizationConfig,
    /// Share of the samples whose class is among the k best; `None` where nothing was evaluated.
    pub accuracy: Option<f64>,
    /// What is lost, as the criterion means it; `None` where nothing was evaluated, or where all was lost of nothing.
    pub loss: Option<f64>,
    /// Whether the criterion is met.
    pub met: bool,
    /// Median time of one image.
    pub latency_ns: u64,
    /// Size of the file.
    pub file_bytes: u64,
}

/// The float model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Baseline {
    /// Share of the samples whose class is among the k best; `None` where nothing was evaluated.
    pub accuracy: Option<f64>,
    /// Median time of one image.
    pub latency_ns: u64,
    /// Size of the file.
    pub file_bytes: u64,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TuneReport {
    /// The float model.
    pub baseline: Option<Baseline>,
    /// Every model that was tried, in order.
    pub trials: Vec<Trial>,
    /// Which of them was saved: the best; none where not one was finished.
    pub best: Option<usize>,
    /// Whether the best meets the criterion.
    pub met: bool,
    /// Why it ended.
    pub ended: Ended,
    /// Keys of the configuration that turned out to have no effect on this model.
    pub not_honoured: Vec<NotHonoured>,
}

/// Tunes: the float model is evaluated, then what the strategy asks for is quantized and evaluated, until the first model meets
/// the criterion (without a timeout), the time or the trials are over, everything was tried, or `cancel` is set. The best model
/// so far is saved whenever there is a better one, and every trial is kept in the workspace, if there is one. The same seed gives
/// the same trials and the same file; a run that goes on with another's workspace ends as one that was not interrupted.
///
/// The best model is the one that meets the criterion with the least of what the objective counts, or, where none meets it, the
/// most accurate one; of equals the first.
///
/// # Errors
/// Those of quantizing and running; [`Invalid`](crate::Error::Invalid) where the configuration does not fit the model, where `out`
/// or a workspace's state exists and is to be kept, or where the state to go on with is of another model.
pub fn tune(job: &TuneJob<'_>, progress: &mut dyn Progress) -> Result<TuneReport> {
    Run::new(job, progress)?.finish()
}

//! What a run keeps, so that another can go on with it.

use std::path::{Path, PathBuf};

use litesmith_compress::QuantizationConfig;
use litesmith_graph::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::files::{self, Existing};

/// Name of the file in the workspace.
const FILE: &str = "litesmith-tune.json";
const VERSION: u32 = 1;
const BYTES_MAX: u64 = 1 << 28;

/// What was measured of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Measured {
    /// Samples whose class is among the k best; `None` where nothing was evaluated.
    pub(super) correct: Option<u64>,
    /// Median time of one image.
    pub(super) latency_ns: u64,
    pub(super) file_bytes: u64,
}

/// A trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) config: QuantizationConfig,
    pub(super) measured: Measured,
    /// Seconds since the run began, those of the runs before included.
    pub(super) seconds: f64,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    version: u32,
    /// Of the model, the samples and what is measured on them.
    fingerprint: String,
    pub(super) baseline: Measured,
    pub(super) trials: Vec<Record>,
}

impl State {
    pub(super) fn new(fingerprint: String, baseline: Measured) -> Self {
        Self { version: VERSION, fingerprint, baseline, trials: Vec::new() }
    }

    /// Reads the state in `path`, a file or the workspace that has it.
    ///
    /// # Errors
    /// Those of reading; [`Error::Malformed`] for what is no state, [`Error::Invalid`] for that of another model or other data.
    pub(super) fn load(path: &Path, fingerprint: &str) -> Result<Self> {
        let path = file_of(path);
        let bytes = files::load(&path, BYTES_MAX)?;
        let state: Self = serde_json::from_slice(&bytes).map_err(|error| {
            Error::malformed(path.display(), format!("it is no state of `litesmith tune`: {error}"))
        })?;
        if state.version != VERSION || state.fingerprint != fingerprint {
            return Err(Error::invalid(path.display(), "it is of another model, other data or another metric")
                .with_hint("take tuning.workspace.resume out of the configuration to begin anew"));
        }
        Ok(state)
    }

    /// # Errors
    /// Those of writing.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_vec(self).map_err(|error| Error::invalid(path.display(), error))?;
        files::save(path, &json, Existing::Replace)
    }
}

/// The state in a workspace, or the file itself.
pub(super) fn file_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(FILE) } else { path.to_path_buf() }
}

/// FNV-1a (Fowler, Noll and Vo) of 64 bits: tells apart by accident what is different, not on purpose.
pub(super) fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // The length keeps the parts apart.
        for byte in part.len().to_le_bytes().iter().chain(*part) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

//! Checkpoints: a safetensors file whose header holds, as JSON, where training stands.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use litesmith_graph::{Error, Result};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::loss::Sums;
use crate::program::Variable;
use crate::report::EpochRecord;
use crate::{Evaluation, TrainConfig};

/// The key under which the header stands in the safetensors metadata.
const KEY: &str = "litesmith";

/// Where training stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointHeader {
    /// Version of this layout: 1.
    pub version: u32,
    /// How it is trained.
    pub config: TrainConfig,
    /// What the caller says about the network, to build it again (the text of an architecture file, a path).
    pub source: String,
    /// Name of the training samples.
    pub data: String,
    /// How many they are.
    pub samples: usize,
    /// Epochs that have ended.
    pub epochs_done: usize,
    /// Steps done of the epoch at hand.
    pub steps_done: usize,
    /// Updates made since the start.
    pub updates: u64,
    /// Epochs and updates of a run with another graph that this one goes on from; they are not among those above.
    #[serde(default)]
    pub before: (usize, u64),
    /// Every epoch that has ended, those before included.
    pub history: Vec<EpochRecord>,
    /// Epochs since the best one.
    pub epochs_without_improvement: usize,
    /// Whether training has come to its end.
    pub finished: bool,
    /// The best epoch so far (from 1, those before counted) and its measures.
    pub best: Option<(usize, Evaluation)>,
    /// Loss (the bits of an f64), right samples and samples of the epoch at hand.
    pub(crate) sums: (u64, u64, u64),
}

impl CheckpointHeader {
    pub(crate) fn set_sums(&mut self, sums: Sums) {
        self.sums = (sums.loss.to_bits(), sums.correct, sums.samples);
    }

    pub(crate) fn sums(&self) -> Sums {
        Sums { loss: f64::from_bits(self.sums.0), correct: self.sums.1, samples: self.sums.2 }
    }

    /// Reads the header of the checkpoint at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Malformed`] when it is no checkpoint.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io(path.display(), error))?;
        header(&bytes).map_err(|error| error.at(path.display()))
    }
}

/// Flat vectors by group (`weights`, `moving`, `ema`, `best`, `optimizer/mean`), to be stored variable by variable.
pub(crate) type Groups<'a> = Vec<(String, &'a [Variable], Vec<f32>)>;

/// Writes a checkpoint so that a reader sees the old one or the whole new one.
pub(crate) fn save(path: &Path, header: &CheckpointHeader, groups: &Groups<'_>) -> Result<()> {
    let text = serde_json::to_string(header).map_err(|error| Error::invalid(path.display(), error))?;
    let mut views = Vec::new();
    for (group, variables, flat) in groups {
        for (index, variable) in variables.iter().enumerate() {
            let bytes = bytemuck::cast_slice(&flat[variable.range.clone()]);
            let view = TensorView::new(Dtype::F32, variable.shape.clone(), bytes)
                .map_err(|error| Error::invalid(&variable.name, error))?;
            views.push((tensor_name(group, index, variable), view));
        }
    }
    let metadata = HashMap::from([(KEY.to_owned(), text)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| Error::invalid(path.display(), error))?;
    let io = |error| Error::io(path.display(), error);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".litesmith-").suffix(".tmp");
    // Temporary files are private by default; this one becomes an ordinary file, so the umask decides.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // Only the kind: the rest of the message names the temporary file.
    let mut file = builder.tempfile_in(folder).map_err(|error| io(error.kind().into()))?;
    file.write_all(&bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

/// A checkpoint in memory.
pub(crate) struct Loaded {
    bytes: Vec<u8>,
    pub(crate) header: CheckpointHeader,
}

impl Loaded {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io(path.display(), error))?;
        let header = header(&bytes).map_err(|error| error.at(path.display()))?;
        Ok(Self { bytes, header })
    }

    /// The flat vector of a group.
    pub(crate) fn group(&self, group: &str, variables: &[Variable]) -> Result<Vec<f32>> {
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(malformed)?;
        let mut flat = Vec::with_capacity(variables.last().map_or(0, |last| last.range.end));
        for (index, variable) in variables.iter().enumerate() {
            let name = tensor_name(group, index, variable);
            let tensor = tensors.tensor(&name).map_err(|_| {
                Error::invalid(&name, "the checkpoint has no such tensor")
                    .with_hint("a checkpoint resumes only the network that it was made from")
            })?;
            if tensor.dtype() != Dtype::F32 || tensor.shape() != variable.shape {
                return Err(Error::invalid(
                    &name,
                    format!("got {:?} {:?}, expected F32 {:?}", tensor.dtype(), tensor.shape(), variable.shape),
                )
                .with_hint("a checkpoint resumes only the network that it was made from"));
            }
            let bytes = tensor.data().as_chunks::<4>().0;
            flat.extend(bytes.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        }
        Ok(flat)
    }
}

/// Names need not be unique in a graph, so each carries its place.
fn tensor_name(group: &str, index: usize, variable: &Variable) -> String {
    format!("{group}/{index}/{}", variable.name)
}

fn header(bytes: &[u8]) -> Result<CheckpointHeader> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
    let text = metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(KEY))
        .ok_or_else(|| Error::malformed("", "it is a safetensors file, but no checkpoint of Litesmith"))?;
    let header: CheckpointHeader = serde_json::from_str(text).map_err(|error| Error::malformed("header", error))?;
    if header.version != 1 {
        return Err(Error::unsupported("header", format!("got version {}, expected 1", header.version)));
    }
    Ok(header)
}

fn malformed(error: safetensors::SafeTensorError) -> Error {
    Error::malformed("", error).with_hint("the file is damaged or no safetensors file")
}

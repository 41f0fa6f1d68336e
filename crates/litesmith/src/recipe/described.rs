//! What a `quantize` step says of the model's first input and output.

use std::path::PathBuf;

use litesmith_graph::{Error, Normalization, Result};
use serde::{Deserialize, Serialize};

/// How bytes become the model's input, and what its output means: keys of a `quantize` step, as `--mean`, `--std` and `--labels` of
/// the command.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Described {
    /// `real = (raw - mean) / std`, `raw` being bytes: one for all channels, or one for each. A number alone is a list of one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f32>,
    /// What `raw - mean` is divided by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub std: Vec<f32>,
    /// File with the names of the classes, one a line, as seen from the recipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
}

impl Described {
    /// Takes its keys out of a step.
    pub(super) fn take(step: &mut toml::Table) -> std::result::Result<Self, toml::de::Error> {
        let mut own = toml::Table::new();
        for key in ["mean", "std", "labels"] {
            if let Some(value) = step.remove(key) {
                let is_number = value.is_integer() || value.is_float();
                own.insert(key.into(), if is_number { toml::Value::Array(vec![value]) } else { value });
            }
        }
        own.try_into()
    }

    /// That of the first input, where it is said.
    pub(super) fn normalization(&self) -> Option<Normalization> {
        let is_said = !self.mean.is_empty() || !self.std.is_empty();
        is_said.then(|| Normalization { mean: self.mean.clone(), std: self.std.clone() })
    }

    pub(super) fn check(&self) -> Result<()> {
        let (found, missing) = match (self.mean.is_empty(), self.std.is_empty()) {
            (false, true) => ("mean", "std"),
            (true, false) => ("std", "mean"),
            _ => return Ok(()),
        };
        Err(Error::invalid(missing, format!("it is missing, but there is {found}"))
            .with_hint("give both: real = (raw - mean) / std"))
    }
}

//! What a report holds. `report.json` is this, and `report.html` is [`render_html`](crate::render_html) of it.

use litesmith_graph::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::{AgreementMetrics, Machine, Metrics, ModelSummary, Picture, Timing, WrongSample};

/// A report: training, evaluation and comparison of models. Every part is optional; what is absent is left out of the
/// rendering.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// What the report is about, as `mnist-cnn on MNIST`.
    pub title: String,
    /// One or two sentences under the title.
    #[serde(default)]
    pub subtitle: String,
    /// When it was made, as the reader shall see it (a date; the renderer reads no clock).
    #[serde(default)]
    pub created: Option<String>,
    /// Models side by side.
    #[serde(default)]
    pub comparison: Option<Comparison>,
    /// How training went.
    #[serde(default)]
    pub training: Option<Training>,
    /// Evaluations of single models.
    #[serde(default)]
    pub evaluations: Vec<EvaluationReport>,
    /// Layers of a model.
    #[serde(default)]
    pub layers: Option<ModelSummary>,
    /// What it was measured on.
    #[serde(default)]
    pub machine: Option<Machine>,
    /// Versions, seeds, data sets: whatever identifies the run.
    #[serde(default)]
    pub facts: Vec<Fact>,
    /// Commands that make the report again, one a line.
    #[serde(default)]
    pub reproduce: Vec<String>,
}

impl Report {
    /// The report as JSON, indented.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a number cannot be written.
    pub fn write_json(&self) -> Result<String> {
        let mut json = serde_json::to_string_pretty(self).map_err(|error| Error::invalid("report", error))?;
        json.push('\n');
        Ok(json)
    }

    /// Reads what [`Report::write_json`] wrote.
    ///
    /// # Errors
    /// [`Error::Malformed`] with line and column.
    pub fn read_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| {
            Error::malformed("report", error).with_hint("a report is the JSON that Litesmith wrote beside report.html")
        })
    }
}

/// A name and a value, as `optimiser`: `Adam`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

impl Fact {
    /// A fact.
    pub fn new(name: impl Into<String>, value: impl ToString) -> Self {
        Self { name: name.into(), value: value.to_string() }
    }
}

/// Models evaluated on the same data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The data, as `MNIST test`.
    pub data: String,
    /// What a sample is called, as `image`.
    pub sample_noun: String,
    /// Index in `models` of the one that the others are compared with; usually the float model.
    pub reference: usize,
    /// Models, in the order of the table.
    pub models: Vec<ModelResult>,
}

/// One model's size, accuracy and speed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelResult {
    /// Name, unique in the report, as `int8`.
    pub name: String,
    /// File name.
    pub file: String,
    /// How its numbers are stored; decides the explanation.
    pub kind: ModelKind,
    /// Size of the file.
    pub file_bytes: u64,
    /// Samples evaluated.
    pub samples: u64,
    /// Samples predicted right.
    pub correct: u64,
    /// Agreement with the reference model, on the same samples.
    #[serde(default)]
    pub agreement: Option<AgreementMetrics>,
    /// Time of one run with a batch of 1.
    #[serde(default)]
    pub timing: Option<Timing>,
}

impl ModelResult {
    /// `correct / samples`, 0 to 1; 0 when there are no samples.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        if self.samples == 0 { 0.0 } else { self.correct as f64 / self.samples as f64 }
    }
}

/// How a model's numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelKind {
    /// 32-bit floats.
    Float32,
    /// Weights as 16-bit floats, computed in float.
    Float16,
    /// Weights as 8-bit integers, activations float and quantized on the fly.
    DynamicRange,
    /// Weights and activations as 8-bit integers, inputs and outputs float or int8.
    Int8,
    /// As `Int8`, inputs and outputs uint8.
    Int8Uint8Io,
    /// 8-bit weights and 16-bit activations.
    Int16x8,
    /// Something else.
    Other,
}

impl ModelKind {
    /// What it is called.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16 weights",
            Self::DynamicRange => "dynamic range",
            Self::Int8 => "int8",
            Self::Int8Uint8Io => "int8 with uint8 input and output",
            Self::Int16x8 => "int16 activations, int8 weights",
            Self::Other => "other",
        }
    }

    /// What it means, in a sentence or two for a reader who is new to it; empty for `Other`.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Float32 => {
                "Every weight is a 32-bit floating-point number, as in training. The most exact form, and the \
                 reference for the others."
            }
            Self::Float16 => {
                "Weights are stored with 16 bits and widened when the model loads. Half the size, the same arithmetic \
                 after that; hardly ever a loss in accuracy."
            }
            Self::DynamicRange => {
                "Weights are 8-bit integers, each a whole number times a scale. Activations are quantized while the model \
                 runs, so no calibration data is needed. A quarter of the size."
            }
            Self::Int8 => {
                "Weights and activations are 8-bit integers: real value = scale × (integer − zero point). The range of \
                 each activation is measured on sample data beforehand (calibration). A quarter of the size, and it runs on \
                 integer-only hardware such as microcontrollers and NPUs."
            }
            Self::Int8Uint8Io => {
                "As int8, but the input and output are bytes from 0 to 255. A camera's picture goes in as it is, without \
                 a conversion to float."
            }
            Self::Int16x8 => {
                "Weights have 8 bits, activations 16. Nearly the size of int8, with finer steps between layers; for \
                 models that lose too much with int8."
            }
            Self::Other => "",
        }
    }
}

/// How training went.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Training {
    /// Epochs, in order.
    pub epochs: Vec<EpochRecord>,
    /// Number of the epoch whose weights were kept, when that was chosen.
    #[serde(default)]
    pub best_epoch: Option<u64>,
    /// Wall-clock time of all epochs.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// The most memory that the process held.
    #[serde(default)]
    pub peak_rss_bytes: Option<u64>,
    /// Optimiser, schedule, batch size, augmentation, seed, ...
    #[serde(default)]
    pub configuration: Vec<Fact>,
}

/// One pass over the training data. Absent numbers were not measured; NaN becomes absent in JSON.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Number, from 1.
    pub epoch: u64,
    /// Mean loss on the training data, while the weights changed.
    #[serde(default)]
    pub train_loss: Option<f64>,
    /// Accuracy on the training data, 0 to 1, while the weights changed.
    #[serde(default)]
    pub train_accuracy: Option<f64>,
    /// Mean loss on the validation data, after the epoch.
    #[serde(default)]
    pub validation_loss: Option<f64>,
    /// Accuracy on the validation data, 0 to 1, after the epoch.
    #[serde(default)]
    pub validation_accuracy: Option<f64>,
    /// Learning rate at the end of the epoch.
    #[serde(default)]
    pub learning_rate: Option<f64>,
    /// Wall-clock time of the epoch.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// Training samples per second.
    #[serde(default)]
    pub samples_per_second: Option<f64>,
}

/// One model's evaluation in detail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// The model, as `int8`.
    pub model: String,
    /// The data, as `MNIST test`.
    pub data: String,
    /// What a sample is called, as `image`.
    pub sample_noun: String,
    /// The metrics.
    pub metrics: Metrics,
    /// Wrong samples as pictures, in the order in which they are shown; most confident first teaches most.
    #[serde(default)]
    pub wrong_pictures: Vec<WrongPicture>,
}

/// A sample that was predicted wrong, as a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WrongPicture {
    /// Which sample, and what was predicted.
    pub sample: WrongSample,
    /// The sample.
    pub picture: Picture,
}

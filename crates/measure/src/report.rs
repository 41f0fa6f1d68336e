//! What a report holds. `report.json` is this, and `report.html` is [`render_html`](crate::render_html) of it.

use litesmith_graph::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::{AgreementMetrics, Align, Machine, Metrics, ModelSummary, Picture, TextTable, Timing, WrongSample, format};

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

impl Comparison {
    /// The model that the others are compared with; the first when `reference` is out of range.
    #[must_use]
    pub fn reference_model(&self) -> Option<&ModelResult> {
        self.models.get(self.reference).or_else(|| self.models.first())
    }

    /// For terminals: a row for each model with bytes, accuracy, change against the reference, and median latency.
    #[must_use]
    pub fn to_text(&self) -> String {
        let change = self.reference_model().map_or_else(String::new, |model| format!("change vs {}", model.name));
        let mut table = TextTable::new(&[
            ("model", Align::Left),
            ("bytes", Align::Right),
            ("accuracy", Align::Right),
            (&change, Align::Right),
            ("latency p50", Align::Right),
        ]);
        for model in &self.models {
            let reference = self.reference_model().filter(|reference| !std::ptr::eq(*reference, model));
            let evaluated = model.samples > 0;
            let reference = reference.filter(|reference| evaluated && reference.samples > 0);
            table.row([
                model.name.clone(),
                format::count(model.file_bytes),
                if evaluated { format::percent(model.accuracy()) } else { "-".into() },
                reference.map_or("-".into(), |reference| format::points(model.accuracy() - reference.accuracy())),
                model.timing.as_ref().map_or("-".into(), |timing| format::duration_ns(timing.latency_ns_p50)),
            ]);
        }
        table.to_string()
    }
}

impl ModelResult {
    /// A model with the totals of its metrics; agreement and timing are left out.
    pub fn new(
        name: impl Into<String>,
        file: impl Into<String>,
        kind: ModelKind,
        file_bytes: u64,
        metrics: &Metrics,
    ) -> Self {
        Self {
            name: name.into(),
            file: file.into(),
            kind,
            file_bytes,
            samples: metrics.samples,
            correct: metrics.correct,
            agreement: None,
            timing: None,
        }
    }

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

impl EvaluationReport {
    /// An evaluation without pictures.
    pub fn new(
        model: impl Into<String>,
        data: impl Into<String>,
        sample_noun: impl Into<String>,
        metrics: Metrics,
    ) -> Self {
        Self {
            model: model.into(),
            data: data.into(),
            sample_noun: sample_noun.into(),
            metrics,
            wrong_pictures: Vec::new(),
        }
    }

    /// Adds pictures of up to `limit` of the wrong samples that the metrics keep: those without a prediction first, then the
    /// most confident. `picture` gives the sample at a position in the data set.
    ///
    /// # Errors
    /// The first error of `picture`.
    pub fn add_wrong_pictures(&mut self, limit: usize, mut picture: impl FnMut(u64) -> Result<Picture>) -> Result<()> {
        let mut wrong: Vec<_> = self.metrics.wrong.iter().collect();
        let confidence = |sample: &WrongSample| sample.confidence.unwrap_or(f32::INFINITY);
        wrong.sort_by(|a, b| confidence(b).total_cmp(&confidence(a)));
        for sample in wrong.into_iter().take(limit) {
            self.wrong_pictures.push(WrongPicture { sample: sample.clone(), picture: picture(sample.index)? });
        }
        Ok(())
    }
}

/// A sample that was predicted wrong, as a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WrongPicture {
    /// Which sample, and what was predicted.
    pub sample: WrongSample,
    /// The sample.
    pub picture: Picture,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Evaluation;

    #[test]
    fn comparison_is_one_table() {
        let metrics = |wrong: u32| {
            let mut evaluation = Evaluation::with_class_count(2).unwrap();
            (0..10_000).for_each(|i| {
                evaluation.add(&[1.0, 0.0], usize::from(i < wrong)).unwrap();
            });
            evaluation.finish()
        };
        let timing = Timing::from_latencies_ns(0, vec![83_000]);
        let comparison = Comparison {
            data: "d".into(),
            sample_noun: "image".into(),
            reference: 0,
            models: vec![
                ModelResult::new("f32", "f32.tflite", ModelKind::Float32, 1_688_908, &metrics(83)),
                ModelResult {
                    timing,
                    ..ModelResult::new("int8", "int8.tflite", ModelKind::Int8, 433_008, &metrics(86))
                },
                ModelResult {
                    samples: 0,
                    ..ModelResult::new("f16", "f16.tflite", ModelKind::Float16, 846_112, &metrics(0))
                },
            ],
        };
        let expected = "\
model      bytes  accuracy  change vs f32  latency p50
-----  ---------  --------  -------------  -----------
f32    1,688,908   99.17 %              -            -
int8     433,008   99.14 %          −0.03      83.0 µs
f16      846,112         -              -            -
";
        assert_eq!(comparison.to_text(), expected);
    }

    #[test]
    fn most_confident_mistakes_come_first() {
        let mut evaluation = Evaluation::with_class_count(2).unwrap();
        for scores in [[0.4, 0.6], [0.1, 0.9], [0.9, 0.1], [f32::NAN, 0.0], [0.3, 0.7]] {
            evaluation.add(&scores, 0).unwrap();
        }
        let mut report = EvaluationReport::new("m", "d", "image", evaluation.finish());
        report.add_wrong_pictures(3, |index| Picture::new(1, 1, 1, vec![index as u8])).unwrap();
        let shown: Vec<_> = report.wrong_pictures.iter().map(|wrong| wrong.picture.pixels[0]).collect();
        assert_eq!(shown, [3, 1, 4]);
        assert!(report.add_wrong_pictures(1, |_| Picture::new(0, 0, 0, vec![])).is_err());
    }
}

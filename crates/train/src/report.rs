//! What training tells while it runs and in the end.

use std::io::Write;

use litesmith_graph::TensorId;
use serde::{Deserialize, Serialize};

/// One update of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepRecord {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Step in the epoch, from 1.
    pub step: usize,
    /// Steps in an epoch.
    pub steps_per_epoch: usize,
    /// Samples of the batch.
    pub samples: usize,
    /// Mean loss of the batch, before the update.
    pub loss: f64,
    /// Share of the batch's samples that were right, before the update.
    pub accuracy: f64,
    /// Learning rate of the update.
    pub learning_rate: f64,
    /// Norm of all gradients together, before clipping.
    pub gradient_norm: f64,
}

/// Loss and accuracy of some samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean loss.
    pub loss: f64,
    /// Share of samples that are right.
    pub accuracy: f64,
    /// Samples.
    pub samples: u64,
}

/// One time through the training samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Updates made since the start.
    pub updates: u64,
    /// Training samples, each as it was before the update that it took part in; augmented, with dropout.
    pub training: Evaluation,
    /// Validation samples after the epoch, when there are any.
    pub validation: Option<Evaluation>,
    /// Learning rate of the epoch's last update.
    pub learning_rate: f64,
    /// Whether the epoch is the best so far by the validation samples.
    pub is_best: bool,
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// All epochs are done.
    Finished,
    /// The validation samples showed no improvement for as long as was asked.
    EarlyStopping,
    /// The caller asked for it.
    Cancelled,
}

/// How training went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainReport {
    /// Every epoch, those before a resumption included.
    pub history: Vec<EpochRecord>,
    /// The epoch (from 1) whose weights the trainer holds; `None` when an epoch has not ended.
    pub best_epoch: Option<usize>,
    /// Why it ended.
    pub ended: Ended,
    /// Updates made since the start.
    pub updates: u64,
}

/// Watches training. The library prints nothing; a progress bar is an observer.
pub trait TrainObserver {
    /// After each update.
    fn on_step(&mut self, _record: &StepRecord) {}

    /// After each epoch and its validation.
    fn on_epoch(&mut self, _record: &EpochRecord) {}

    /// After each update, with the weights to change them (to keep pruned ones at zero).
    fn after_update(&mut self, _weights: &mut Weights<'_>) {}
}

/// An observer that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl TrainObserver for Silent {}

/// The trainable variables by name.
#[derive(Debug)]
pub struct Weights<'a> {
    pub(crate) variables: &'a [crate::program::Variable],
    pub(crate) values: &'a mut [f32],
}

impl Weights<'_> {
    /// Name, shape and elements of each variable.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &[usize], &mut [f32])> {
        let mut rest = &mut *self.values;
        self.variables.iter().map(move |variable| {
            let (own, after) = std::mem::take(&mut rest).split_at_mut(variable.range.len());
            rest = after;
            (variable.name.as_str(), variable.shape.as_slice(), own)
        })
    }

    /// Tensor, in the graph that is trained, and elements of each variable.
    pub fn tensors_mut(&mut self) -> impl Iterator<Item = (TensorId, &mut [f32])> {
        let variables = self.variables;
        self.iter_mut().zip(variables).map(|((_, _, values), variable)| (variable.tensor, values))
    }
}

/// Weights and their gradients, of one batch.
#[derive(Debug)]
pub struct BatchGradients<'a> {
    pub(crate) variables: &'a [crate::program::Variable],
    pub(crate) values: &'a [f32],
    pub(crate) gradients: &'a [f32],
}

impl<'a> BatchGradients<'a> {
    /// The elements of a tensor of the graph that is trained, and the gradient of the batch's mean loss with respect to
    /// them; `None` for what does not learn.
    #[must_use]
    pub fn get(&self, tensor: TensorId) -> Option<(&'a [f32], &'a [f32])> {
        let variable = self.variables.iter().find(|variable| variable.tensor == tensor)?;
        Some((&self.values[variable.range.clone()], &self.gradients[variable.range.clone()]))
    }
}

/// Writes a line of JSON for each epoch and, if asked, for each step: `{"event":"epoch",..}`.
#[derive(Debug)]
pub struct JsonLines<W> {
    writer: W,
    steps: bool,
    error: Option<std::io::Error>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Step(&'a StepRecord),
    Epoch(&'a EpochRecord),
}

impl<W: Write> JsonLines<W> {
    /// Writes to `writer`; lines for steps too if `steps`.
    pub fn new(writer: W, steps: bool) -> Self {
        Self { writer, steps, error: None }
    }

    /// Flushes, and gives the writer back, or the first error that writing met.
    ///
    /// # Errors
    /// What the writer refused.
    pub fn finish(mut self) -> std::io::Result<W> {
        match self.error {
            Some(error) => Err(error),
            None => self.writer.flush().map(|()| self.writer),
        }
    }

    fn write(&mut self, line: &Line<'_>) {
        if self.error.is_some() {
            return;
        }
        let written = serde_json::to_writer(&mut self.writer, line).map_err(std::io::Error::from);
        self.error = written.and_then(|()| self.writer.write_all(b"\n")).err();
    }
}

impl<W: Write> TrainObserver for JsonLines<W> {
    fn on_step(&mut self, record: &StepRecord) {
        if self.steps {
            self.write(&Line::Step(record));
        }
    }

    fn on_epoch(&mut self, record: &EpochRecord) {
        self.write(&Line::Epoch(record));
    }
}

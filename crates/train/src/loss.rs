//! Losses, computed from what the network gives before a last softmax or sigmoid, with their gradients.

use litesmith_graph::{Error, Graph, Op, Result};
use litesmith_kernels::Real;
use serde::{Deserialize, Serialize};

use crate::distill::Softened;

/// What is minimised, with Keras's names. Each is the mean over the samples of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Cross-entropy of a softmax, targets being classes.
    #[default]
    SparseCategoricalCrossentropy,
    /// Cross-entropy of a softmax, targets being a share for each class.
    CategoricalCrossentropy,
    /// Cross-entropy of a sigmoid for each output, averaged over the outputs.
    BinaryCrossentropy,
    /// Squared difference, averaged over the outputs.
    MeanSquaredError,
}

impl Loss {
    /// Whether the loss contains the activation that `op` is, so that the gradient is taken of both at once.
    fn contains(self, op: &Op) -> bool {
        match self {
            Self::SparseCategoricalCrossentropy | Self::CategoricalCrossentropy => {
                matches!(op, Op::Softmax(softmax) if softmax.beta == 1.0)
            }
            Self::BinaryCrossentropy => matches!(op, Op::Logistic(_)),
            Self::MeanSquaredError => false,
        }
    }

    /// `graph` without the last activation, when the loss contains it.
    pub(crate) fn strip(self, graph: &Graph) -> Graph {
        let mut graph = graph.clone();
        if let [output] = graph.outputs[..]
            && let Some(last) = graph.producer(output)
            && self.contains(&graph.nodes[last].op)
            && let Some(logits) = graph.nodes[last].inputs.first().copied().flatten()
        {
            graph.outputs = vec![logits];
        }
        graph
    }
}

/// What the samples of a batch should give.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Targets<'a> {
    /// A class for each sample.
    Classes(&'a [u32]),
    /// A number for each output of each sample.
    Dense(&'a [f32]),
}

/// A loss with what changes its targets and weights.
#[derive(Debug, Clone, Default)]
pub(crate) struct Objective {
    pub(crate) loss: Loss,
    /// Share of the target that is spread evenly over the classes.
    pub(crate) label_smoothing: f64,
    /// A factor for the samples of each class; empty for 1.
    pub(crate) class_weights: Vec<f64>,
    /// How the scores of a teacher count.
    pub(crate) softened: Option<Softened>,
    /// The weight of each hint.
    pub(crate) hints: Vec<f64>,
}

/// Sums over samples.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Sums {
    pub(crate) loss: f64,
    pub(crate) correct: u64,
    pub(crate) samples: u64,
}

impl Sums {
    pub(crate) fn add(&mut self, other: Self) {
        self.loss += other.loss;
        self.correct += other.correct;
        self.samples += other.samples;
    }
}

impl Objective {
    /// Checks that targets and weights fit `outputs` outputs.
    pub(crate) fn check(&self, outputs: usize) -> Result<()> {
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return Err(Error::invalid(
                "label_smoothing",
                format!("got {}, expected 0 or more and less than 1", self.label_smoothing),
            ));
        }
        if self.label_smoothing > 0.0 && self.loss == Loss::MeanSquaredError {
            return Err(Error::invalid("label_smoothing", "the mean squared error has no labels to smooth"));
        }
        if !self.class_weights.is_empty() && self.class_weights.len() != outputs.max(2) {
            return Err(Error::invalid(
                "class_weights",
                format!("got {} weights for {outputs} outputs", self.class_weights.len()),
            ));
        }
        match self.class_weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
            Some(weight) => Err(Error::invalid("class_weights", format!("got {weight}, expected 0 or more"))),
            None => Ok(()),
        }
    }

    /// The loss, summed over the samples of `logits`, and how many are right; into `gradient`, if given, the derivative
    /// times `scale`. `teacher` holds a teacher's scores for the same samples, or nothing.
    pub(crate) fn evaluate<T: Real>(
        &self,
        logits: &[T],
        width: usize,
        targets: Targets<'_>,
        teacher: &[f32],
        scale: f64,
        mut gradient: Option<&mut [T]>,
    ) -> Sums {
        let mut sums = Sums::default();
        let width = width.max(1);
        let softened = self.softened.filter(|_| !teacher.is_empty());
        let labels = 1.0 - softened.map_or(0.0, |softened| softened.alpha);
        for (sample, row) in logits.chunks_exact(width).enumerate() {
            let target = Target::of(targets, sample, width);
            let weight = match target.class(width) {
                Some(class) => self.class_weights.get(class).copied().unwrap_or(1.0),
                None => 1.0,
            };
            let mut gradient = gradient.as_deref_mut().map(|all| &mut all[sample * width..(sample + 1) * width]);
            let factor = T::from_f64(weight * scale * labels);
            let own = gradient.as_deref_mut();
            let loss = match self.loss {
                Loss::SparseCategoricalCrossentropy | Loss::CategoricalCrossentropy => {
                    self.softmax_row(row, &target, factor, own)
                }
                Loss::BinaryCrossentropy => self.sigmoid_row(row, &target, factor, own),
                Loss::MeanSquaredError => squared_row(row, &target, factor, own),
            };
            sums.loss += weight * labels * loss;
            if let Some(softened) = softened {
                let teacher = &teacher[sample * width..(sample + 1) * width];
                sums.loss += weight * softened.row(row, teacher, T::from_f64(weight * scale), gradient);
            }
            sums.samples += 1;
            sums.correct += u64::from(self.is_right(row, &target));
        }
        sums
    }

    fn softmax_row<T: Real>(&self, row: &[T], target: &Target<'_>, factor: T, gradient: Option<&mut [T]>) -> f64 {
        let largest = row.iter().fold(-T::INFINITY, |a, &b| if b > a { b } else { a });
        let mut total = T::ZERO;
        for &logit in row {
            total += (logit - largest).exp();
        }
        let log_total = total.to_f64().ln();
        let mut loss = 0.0;
        let mut target_total = 0.0;
        for (index, &logit) in row.iter().enumerate() {
            let share = self.smoothed(target.at(index), row.len());
            target_total += share;
            if share != 0.0 {
                loss += share * (log_total - (logit - largest).to_f64());
            }
        }
        if let Some(gradient) = gradient {
            let scale = T::from_f64(target_total) / total;
            for (index, (gradient, &logit)) in gradient.iter_mut().zip(row).enumerate() {
                let share = T::from_f64(self.smoothed(target.at(index), row.len()));
                *gradient = factor * ((logit - largest).exp() * scale - share);
            }
        }
        loss
    }

    fn sigmoid_row<T: Real>(&self, row: &[T], target: &Target<'_>, factor: T, gradient: Option<&mut [T]>) -> f64 {
        // Keras smooths binary targets towards one half.
        let wanted = |index: usize| self.smoothed(target.binary(index, row.len()), 2);
        let count = row.len() as f64;
        let mut loss = 0.0;
        for (index, &logit) in row.iter().enumerate() {
            let x = logit.to_f64();
            loss += (x.max(0.0) - x * wanted(index) + (-x.abs()).exp().ln_1p()) / count;
        }
        if let Some(gradient) = gradient {
            let factor = factor / T::from_f64(count);
            for (index, (gradient, &logit)) in gradient.iter_mut().zip(row).enumerate() {
                *gradient = factor * (logit.logistic() - T::from_f64(wanted(index)));
            }
        }
        loss
    }

    fn smoothed(&self, share: f64, classes: usize) -> f64 {
        share * (1.0 - self.label_smoothing) + self.label_smoothing / classes as f64
    }

    fn is_right<T: Real>(&self, row: &[T], target: &Target<'_>) -> bool {
        match (self.loss, row) {
            (Loss::BinaryCrossentropy, &[logit]) => (logit > T::ZERO) == (target.binary(0, 1) >= 0.5),
            (Loss::MeanSquaredError, &[output]) => (output > T::from_f64(0.5)) == (target.binary(0, 1) >= 0.5),
            _ => target.class(row.len()) == Some(largest(row)),
        }
    }
}

fn squared_row<T: Real>(row: &[T], target: &Target<'_>, factor: T, gradient: Option<&mut [T]>) -> f64 {
    let count = row.len() as f64;
    let mut loss = 0.0;
    for (index, &output) in row.iter().enumerate() {
        loss += (output.to_f64() - target.binary(index, row.len())).powi(2) / count;
    }
    if let Some(gradient) = gradient {
        let factor = factor * T::from_f64(2.0 / count);
        for (index, (gradient, &output)) in gradient.iter_mut().zip(row).enumerate() {
            *gradient = factor * (output - T::from_f64(target.binary(index, row.len())));
        }
    }
    loss
}

/// The target of one sample.
enum Target<'a> {
    Class(usize),
    Dense(&'a [f32]),
}

impl<'a> Target<'a> {
    fn of(targets: Targets<'a>, sample: usize, width: usize) -> Self {
        match targets {
            Targets::Classes(classes) => Self::Class(classes[sample] as usize),
            Targets::Dense(values) => Self::Dense(&values[sample * width..(sample + 1) * width]),
        }
    }

    /// The share of class `index`.
    fn at(&self, index: usize) -> f64 {
        match self {
            Self::Class(class) => f64::from(u8::from(*class == index)),
            Self::Dense(values) => f64::from(values[index]),
        }
    }

    /// The wanted value of output `index`; a single output wants the class itself, 0 or 1.
    fn binary(&self, index: usize, outputs: usize) -> f64 {
        match self {
            Self::Class(class) if outputs == 1 => *class as f64,
            Self::Class(_) | Self::Dense(_) => self.at(index),
        }
    }

    /// The class, or that with the largest share; of a single output 0 or 1.
    fn class(&self, outputs: usize) -> Option<usize> {
        match self {
            Self::Class(class) => Some(*class),
            Self::Dense([value]) if outputs == 1 => Some(usize::from(*value >= 0.5)),
            Self::Dense(values) => (!values.is_empty()).then(|| largest(values)),
        }
    }
}

/// The index of the first largest element.
fn largest<T: PartialOrd + Copy>(values: &[T]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

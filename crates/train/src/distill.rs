//! Distillation: a student learns from what a teacher computes of the same images, besides from labels.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use litesmith_data::Preprocess;
use litesmith_graph::{Error, Result};
use litesmith_kernels::Real;
use serde::{Deserialize, Serialize};

use crate::Loss;

/// What a student takes over from its teacher (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015):
/// the loss is `(1 - alpha)` times that of the labels and `alpha * temperature^2` times the Kullback-Leibler divergence of
/// the student's softmax from the teacher's, both of scores divided by the temperature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Distill {
    /// The teacher's file. [`Trainer`](crate::Trainer) wants the teacher itself, in
    /// [`TrainOptions`](crate::TrainOptions); `litesmith::train_model` reads the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// What scores are divided by: above 1, classes that the teacher holds for unlikely count too. Its square in the loss
    /// keeps gradients of one size.
    pub temperature: f64,
    /// The teacher's share, more than 0, up to 1.
    pub alpha: f64,
}

impl Default for Distill {
    fn default() -> Self {
        Self { teacher: None, temperature: 4.0, alpha: 0.9 }
    }
}

impl Distill {
    /// Checks the numbers, and that the loss of the labels is one of a softmax.
    pub(crate) fn check(&self, loss: Loss) -> Result<()> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(Error::invalid(
                "distill.temperature",
                format!("got {}, expected a positive number", self.temperature),
            ));
        }
        if !(self.alpha > 0.0 && self.alpha <= 1.0) {
            return Err(Error::invalid(
                "distill.alpha",
                format!("got {}, expected more than 0 and at most 1", self.alpha),
            ));
        }
        match loss {
            Loss::SparseCategoricalCrossentropy | Loss::CategoricalCrossentropy => Ok(()),
            Loss::BinaryCrossentropy | Loss::MeanSquaredError => {
                Err(Error::invalid("distill", "only a categorical cross-entropy can be distilled")
                    .with_hint("loss = \"sparse_categorical_crossentropy\" or \"categorical_crossentropy\""))
            }
        }
    }
}

/// A model that a student learns from: it sees the same preprocessed and augmented images.
pub trait Teacher: std::fmt::Debug + Send {
    /// How images become its input, which must be how they become the student's.
    fn preprocess(&self) -> &Preprocess;

    /// Classes that it tells apart.
    fn classes(&self) -> usize;

    /// Its scores before the softmax, `[samples, classes]`, of images `[samples, height, width, channels]`. They must not
    /// depend on how many threads compute them.
    ///
    /// # Errors
    /// Those of running it.
    fn scores(&mut self, images: &[f32], scores: &mut Vec<f32>) -> Result<()>;
}

/// The teacher of a trainer, if it has one, with what it said last.
pub(crate) struct Lessons {
    teacher: Option<Arc<Mutex<dyn Teacher>>>,
    scores: Vec<f32>,
}

impl Lessons {
    /// Checks that there is a teacher where one is asked for, and that it tells as many classes apart as the student has
    /// outputs.
    pub(crate) fn new(
        distill: Option<&Distill>,
        teacher: Option<Arc<Mutex<dyn Teacher>>>,
        outputs: usize,
    ) -> Result<Self> {
        match (distill, &teacher) {
            (None, None) => {}
            (Some(_), None) => {
                return Err(Error::invalid("distill", "there is no teacher")
                    .with_hint("give TrainOptions one; litesmith::train_model reads it from its file"));
            }
            (None, Some(_)) => {
                return Err(Error::invalid(
                    "teacher",
                    "the configuration has no [distill], so nothing would be learned",
                ));
            }
            (Some(_), Some(teacher)) => {
                let classes = teacher.lock().unwrap_or_else(PoisonError::into_inner).classes();
                if classes != outputs {
                    return Err(Error::invalid(
                        "teacher",
                        format!("it tells {classes} classes apart, the student has {outputs} outputs"),
                    )
                    .with_hint("teacher and student must be for the same classes, in the same order"));
                }
            }
        }
        Ok(Self { teacher, scores: Vec::new() })
    }

    /// Checks that the teacher wants images as the student gets them.
    pub(crate) fn check(&self, student: &Preprocess) -> Result<()> {
        let Some(teacher) = &self.teacher else { return Ok(()) };
        let teacher = teacher.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = teacher.preprocess();
        if wanted.shape() != student.shape() {
            return Err(Error::invalid(
                "teacher",
                format!("it takes images of {}, the student gets {}", wanted.shape(), student.shape()),
            )
            .with_hint("teacher and student learn from the same pixels: they need inputs of one size"));
        }
        let of_channel = |numbers: &[f32], channel: usize| numbers.get(channel % numbers.len().max(1)).copied();
        let same = |a: &[f32], b: &[f32]| (0..student.channels).all(|c| of_channel(a, c) == of_channel(b, c));
        if !same(&wanted.mean, &student.mean) || !same(&wanted.std, &student.std) {
            return Err(Error::invalid(
                "teacher",
                format!(
                    "it takes pixels with mean {:?} and std {:?}, the student with mean {:?} and std {:?}",
                    wanted.mean, wanted.std, student.mean, student.std
                ),
            )
            .with_hint("teacher and student learn from the same pixels: they need one normalisation"));
        }
        Ok(())
    }

    /// The teacher's scores of a batch; none without a teacher.
    pub(crate) fn of(&mut self, images: &[f32]) -> Result<&[f32]> {
        if let Some(teacher) = &self.teacher {
            let mut teacher = teacher.lock().unwrap_or_else(PoisonError::into_inner);
            teacher.scores(images, &mut self.scores).map_err(|error| error.at("teacher"))?;
            if let Some(score) = self.scores.iter().find(|score| !score.is_finite()) {
                return Err(Error::invalid("teacher", format!("it gives a score of {score}")));
            }
        }
        Ok(&self.scores)
    }
}

/// The part of the loss that compares scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Softened {
    pub(crate) temperature: f64,
    pub(crate) alpha: f64,
}

impl From<&Distill> for Softened {
    fn from(distill: &Distill) -> Self {
        Self { temperature: distill.temperature, alpha: distill.alpha }
    }
}

impl Softened {
    /// `alpha * temperature^2 * KL(teacher || student)` of one sample; its derivative times `factor` is added to
    /// `gradient`.
    pub(crate) fn row<T: Real>(self, row: &[T], teacher: &[f32], factor: T, gradient: Option<&mut [T]>) -> f64 {
        let inverse = T::from_f64(1.0 / self.temperature);
        let teacher = |index: usize| T::from_f64(f64::from(teacher[index]));
        let mut largest = (-T::INFINITY, -T::INFINITY);
        for (index, &logit) in row.iter().enumerate() {
            largest = (largest.0.larger(logit), largest.1.larger(teacher(index)));
        }
        // Logarithms of both softmaxes, but for their sums.
        let softened = |index: usize| ((row[index] - largest.0) * inverse, (teacher(index) - largest.1) * inverse);
        let mut totals = (T::ZERO, T::ZERO);
        for index in 0..row.len() {
            let (student, teacher) = softened(index);
            totals.0 += student.exp();
            totals.1 += teacher.exp();
        }
        let log_ratio = totals.0.to_f64().ln() - totals.1.to_f64().ln();
        let mut divergence = 0.0;
        for index in 0..row.len() {
            let (student, teacher) = softened(index);
            let share = (teacher.exp() / totals.1).to_f64();
            divergence += share * (teacher.to_f64() - student.to_f64() + log_ratio);
        }
        if let Some(gradient) = gradient {
            let factor = factor * T::from_f64(self.alpha * self.temperature);
            for (index, gradient) in gradient.iter_mut().enumerate() {
                let (student, teacher) = softened(index);
                *gradient += factor * (student.exp() / totals.0 - teacher.exp() / totals.1);
            }
        }
        self.alpha * self.temperature * self.temperature * divergence
    }
}

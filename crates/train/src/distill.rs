//! Distillation: a student learns from what a teacher computes of the same images, besides from labels.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use litesmith_data::Preprocess;
use litesmith_graph::ops::{Conv2d, FullyConnected};
use litesmith_graph::{DType, Data, Error, Graph, Op, Result, Tensor, TensorId};
use litesmith_kernels::Real;
use serde::{Deserialize, Serialize};

use crate::{Initializer, Loss};

/// What a student takes over from its teacher (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015):
/// the loss is `(1 - alpha)` times that of the labels and `alpha * temperature^2` times the Kullback-Leibler divergence of
/// the student's softmax from the teacher's, both of scores divided by the temperature; and what hints add.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Distill {
    /// The teacher's file, or several: the mean of their scores is what is learned, the geometric mean of their softmaxes.
    /// [`Trainer`](crate::Trainer) wants the teachers themselves, in [`TrainOptions`](crate::TrainOptions);
    /// `litesmith::train_model` reads the files.
    #[serde(with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub teacher: Vec<PathBuf>,
    /// What scores are divided by: above 1, classes that the teacher holds for unlikely count too. Its square in the loss
    /// keeps gradients of one size.
    pub temperature: f64,
    /// The teacher's share, 0 to 1; 0 leaves the teacher to its hints.
    pub alpha: f64,
    /// Tensors within the student that are to be like some of the teacher's; of several teachers, the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<Hint>,
}

/// A tensor of the student that learns to be like one of the teacher (Romero et al., "FitNets: Hints for Thin Deep Nets",
/// 2015): the loss gets `weight` times their mean squared difference. Where the teacher's has another number of channels
/// the student's goes through a 1x1 convolution, or a fully connected op, that learns too and is not exported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hint {
    /// Name of the student's tensor; that of a layer's output is the layer's.
    pub student: String,
    /// Name of the teacher's tensor.
    pub teacher: String,
    /// Factor of the difference; 1 when left out.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

/// A file's name, or a list of them.
mod one_or_more {
    use std::path::PathBuf;

    use serde::de::{Deserializer, Error, SeqAccess, Visitor};
    use serde::ser::{Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(names: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        match names {
            [name] => name.serialize(serializer),
            names => names.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Vec<PathBuf>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a file, or a list of names")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(vec![name.into()])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = names.next_element()? {
                    all.push(name);
                }
                Ok(all)
            }
        }

        deserializer.deserialize_any(Names)
    }
}

impl Default for Distill {
    fn default() -> Self {
        Self { teacher: Vec::new(), temperature: 4.0, alpha: 0.9, hints: Vec::new() }
    }
}

impl Distill {
    /// Checks that `graph`, a student, computes the tensors that the hints name.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the first that is missing, and what there is.
    pub fn check_student(&self, graph: &Graph) -> Result<()> {
        self.hints.iter().enumerate().try_for_each(|(number, hint)| student(graph, number, hint).map(drop))
    }

    /// Checks the numbers, and that the loss of the labels is one of a softmax where scores are compared.
    pub(crate) fn check(&self, loss: Loss) -> Result<()> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(Error::invalid(
                "distill.temperature",
                format!("got {}, expected a positive number", self.temperature),
            ));
        }
        if !(0.0..=1.0).contains(&self.alpha) {
            return Err(Error::invalid("distill.alpha", format!("got {}, expected 0 to 1", self.alpha)));
        }
        if let Some(hint) = self.hints.iter().find(|hint| !(hint.weight > 0.0 && hint.weight.is_finite())) {
            return Err(Error::invalid(
                "distill.hints",
                format!("got a weight of {}, expected a positive number", hint.weight),
            ));
        }
        if self.alpha == 0.0 && self.hints.is_empty() {
            return Err(Error::invalid("distill", "alpha is 0 and there are no hints: the teacher has nothing to say"));
        }
        match loss {
            _ if self.alpha == 0.0 => Ok(()),
            Loss::SparseCategoricalCrossentropy | Loss::CategoricalCrossentropy => Ok(()),
            Loss::BinaryCrossentropy | Loss::MeanSquaredError => Err(Error::invalid(
                "distill",
                "scores can be compared only with a categorical cross-entropy",
            )
            .with_hint(
                "alpha = 0 with hints, or loss = \"sparse_categorical_crossentropy\" or \"categorical_crossentropy\"",
            )),
        }
    }
}

/// A model that a student learns from: it sees the same preprocessed and augmented images.
pub trait Teacher: std::fmt::Debug + Send {
    /// How images become its input, which must be how they become the student's.
    fn preprocess(&self) -> &Preprocess;

    /// Shapes for one sample of what it gives: its scores, `[classes]`, then the tensors of the hints in their order.
    fn shapes(&self) -> &[Vec<usize>];

    /// Runs on images `[samples, height, width, channels]`. Gives its scores before the softmax, `[samples, classes]`, and
    /// the tensors of the hints, a vector each, whatever `outputs` held before. They must not depend on how many threads
    /// compute them.
    ///
    /// # Errors
    /// Those of running it.
    fn run(&mut self, images: &[f32], outputs: &mut Vec<Vec<f32>>) -> Result<()>;
}

/// The teachers of a trainer, if it has any, with what they said last.
pub(crate) struct Lessons {
    teachers: Vec<Arc<Mutex<dyn Teacher>>>,
    taught: Vec<Vec<f32>>,
    /// What one of several says.
    said: Vec<Vec<f32>>,
}

impl Lessons {
    /// Checks that there is a teacher where one is asked for.
    pub(crate) fn new(distill: Option<&Distill>, teachers: Vec<Arc<Mutex<dyn Teacher>>>) -> Result<Self> {
        if distill.is_some() && teachers.is_empty() {
            return Err(Error::invalid("distill", "there is no teacher")
                .with_hint("give TrainOptions one; litesmith::train_model reads it from its file"));
        }
        if distill.is_none() && !teachers.is_empty() {
            return Err(Error::invalid("teacher", "the configuration has no [distill], so nothing would be learned"));
        }
        Ok(Self { teachers, taught: Vec::new(), said: Vec::new() })
    }

    /// Makes what the hints compare outputs of `graph`, a student with one output, its scores. Weights that this takes
    /// start by `seed`. Checks that the teachers tell as many classes apart as the student, if scores are compared.
    pub(crate) fn attach(&self, graph: &mut Graph, distill: &Distill, seed: u64) -> Result<()> {
        let shape = graph.outputs.first().map_or(&[][..], |&id| &graph.tensor(id).shape);
        let outputs: usize = shape.iter().skip(1).product();
        for (index, teacher) in self.teachers.iter().enumerate() {
            let teacher = teacher.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((scores, hints)) = teacher.shapes().split_first() else {
                return Err(Error::invalid(name(index, self.teachers.len()), "it gives no scores"));
            };
            let classes: usize = scores.iter().product();
            if distill.alpha > 0.0 && classes != outputs {
                return Err(Error::invalid(
                    name(index, self.teachers.len()),
                    format!("it tells {classes} classes apart, the student has {outputs} outputs"),
                )
                .with_hint("teacher and student must be for the same classes, in the same order"));
            }
            let wanted = if index == 0 { distill.hints.as_slice() } else { &[] };
            if hints.len() != wanted.len() {
                return Err(Error::invalid(
                    name(index, self.teachers.len()),
                    format!(
                        "it gives {} tensors besides scores, the configuration has {} hints for it",
                        hints.len(),
                        wanted.len()
                    ),
                ));
            }
            for (number, (hint, shape)) in wanted.iter().zip(hints).enumerate() {
                let own = student(graph, number, hint)?;
                let compared = comparable(graph, own, shape, number, seed)
                    .map_err(|error| error.at(format!("distill.hints {number}, \"{}\"", hint.student)))?;
                graph.outputs.push(compared);
            }
        }
        Ok(())
    }

    /// Checks that the teachers want images as the student gets them.
    pub(crate) fn check(&self, student: &Preprocess) -> Result<()> {
        for (index, teacher) in self.teachers.iter().enumerate() {
            let teacher = teacher.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted = teacher.preprocess();
            if wanted.shape() != student.shape() {
                return Err(Error::invalid(
                    name(index, self.teachers.len()),
                    format!("it takes images of {}, the student gets {}", wanted.shape(), student.shape()),
                )
                .with_hint("teacher and student learn from the same pixels: they need inputs of one size"));
            }
            let of_channel = |numbers: &[f32], channel: usize| numbers.get(channel % numbers.len().max(1)).copied();
            let same = |a: &[f32], b: &[f32]| (0..student.channels).all(|c| of_channel(a, c) == of_channel(b, c));
            if !same(&wanted.mean, &student.mean) || !same(&wanted.std, &student.std) {
                return Err(Error::invalid(
                    name(index, self.teachers.len()),
                    format!(
                        "it takes pixels with mean {:?} and std {:?}, the student with mean {:?} and std {:?}",
                        wanted.mean, wanted.std, student.mean, student.std
                    ),
                )
                .with_hint("teacher and student learn from the same pixels: they need one normalisation"));
            }
        }
        Ok(())
    }

    /// What the teachers say of a batch: the mean of their scores, then the tensors of the hints; nothing without a teacher.
    pub(crate) fn of(&mut self, images: &[f32]) -> Result<&[Vec<f32>]> {
        let share = 1.0 / self.teachers.len().max(1) as f32;
        for (index, teacher) in self.teachers.iter().enumerate() {
            let mut teacher = teacher.lock().unwrap_or_else(PoisonError::into_inner);
            let said = if index == 0 { &mut self.taught } else { &mut self.said };
            teacher.run(images, said).map_err(|error| error.at(name(index, self.teachers.len())))?;
            if let Some(value) = said.iter().flatten().find(|value| !value.is_finite()) {
                return Err(Error::invalid(name(index, self.teachers.len()), format!("got {value} from it")));
            }
            if index > 0 {
                let scores = self.taught.iter_mut().zip(&self.said).take(1);
                scores.for_each(|(sum, said)| sum.iter_mut().zip(said).for_each(|(sum, score)| *sum += score));
            }
        }
        if self.teachers.len() > 1 {
            self.taught.iter_mut().take(1).flatten().for_each(|score| *score *= share);
        }
        Ok(&self.taught)
    }
}

/// What messages call teacher `index` of `count`.
fn name(index: usize, count: usize) -> String {
    if count > 1 { format!("teacher {}", index + 1) } else { "teacher".into() }
}

/// The student's tensor of hint `number`.
fn student(graph: &Graph, number: usize, hint: &Hint) -> Result<TensorId> {
    let mut computed = graph.nodes.iter().flat_map(|node| &node.outputs).copied();
    computed.find(|id| graph.tensor(*id).name == hint.student).ok_or_else(|| {
        let names = graph.nodes.iter().flat_map(|node| &node.outputs).map(|&id| graph.tensor(id).name.as_str());
        Error::invalid(format!("distill.hints {number}"), format!("the student computes no \"{}\"", hint.student))
            .with_hint(format!("its tensors are {}", names.collect::<Vec<_>>().join(", ")))
    })
}

/// `own`, or a regressor of it, which has as many channels as the teacher's tensor of shape `wanted` for one sample.
fn comparable(graph: &mut Graph, own: TensorId, wanted: &[usize], number: usize, seed: u64) -> Result<TensorId> {
    let shape = graph.tensor(own).shape.get(1..).unwrap_or_default().to_vec();
    if shape == wanted {
        return Ok(own);
    }
    let (op, kernel): (Op, Vec<usize>) = match (shape.as_slice(), wanted) {
        (&[height, width, channels], &[rows, columns, more]) if (height, width) == (rows, columns) => {
            (Conv2d::default().into(), vec![more, 1, 1, channels])
        }
        (&[channels], &[more]) => (FullyConnected::default().into(), vec![more, channels]),
        _ => {
            return Err(Error::invalid(
                "",
                format!("its shape for one image is {shape:?}, that of the teacher's {wanted:?}"),
            )
            .with_hint("only the number of channels may differ: choose layers whose images are of one size"));
        }
    };
    let name = |part: &str| format!("distill/hint_{number}/{part}");
    let (channels, more) = (shape.last().copied().unwrap_or(1), wanted.last().copied().unwrap_or(1));
    let values = Initializer::GlorotUniform.values(seed, &name("kernel"), channels * more, channels, more);
    let kernel = Tensor::constant(name("kernel"), DType::F32, kernel, Data::from_slice(&values));
    let bias = Tensor::constant(name("bias"), DType::F32, [more], Data::from_slice(&vec![0.0_f32; more]));
    let (kernel, bias) = (graph.add_tensor(kernel), graph.add_tensor(bias));
    graph.add_node(op, &[Some(own), Some(kernel), Some(bias)], &name("regressor"))
}

/// `each` times the sum of squared differences; its derivative times `scale` is written to `gradient`, or added where `add`
/// says so.
pub(crate) fn hint<T: Real>(
    own: &[T],
    teacher: &[f32],
    each: f64,
    scale: f64,
    gradient: Option<&mut [T]>,
    add: bool,
) -> f64 {
    let difference = |(own, &teacher): (&T, &f32)| *own - T::from_f64(f64::from(teacher));
    let total: f64 = own.iter().zip(teacher).map(|pair| difference(pair).to_f64().powi(2)).sum();
    if let Some(gradient) = gradient {
        let factor = T::from_f64(2.0 * each * scale);
        for (gradient, pair) in gradient.iter_mut().zip(own.iter().zip(teacher)) {
            let step = factor * difference(pair);
            *gradient = if add { *gradient + step } else { step };
        }
    }
    total * each
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

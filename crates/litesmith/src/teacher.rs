//! A `.tflite` model as the teacher of another network.

use std::sync::{Arc, Mutex};

use litesmith_data::{ImageShape, Preprocess};
use litesmith_graph::{Error, Graph, Model, Op, Result, TensorId};
use litesmith_runtime::SessionOptions;
use litesmith_train::{Distill, Hint, Teacher, TrainConfig, TrainData, TrainOptions};

use crate::progress::Progress;
use crate::{Predictor, load_model};

/// A model, float or quantized, that a student learns from: its scores before the last softmax, and other tensors.
pub struct TeacherModel {
    predictor: Predictor,
    /// What the softmax multiplies scores by.
    beta: f32,
    shapes: Vec<Vec<usize>>,
}

impl std::fmt::Debug for TeacherModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TeacherModel").field("preprocess", self.preprocess()).finish_non_exhaustive()
    }
}

impl TeacherModel {
    /// Plans `model`, to give the tensors that `hints` name besides its scores; `shape` as for [`Predictor::new`].
    ///
    /// # Errors
    /// Those of [`Predictor::new`]; [`Error::Unsupported`] for several outputs, and for one that is a sigmoid;
    /// [`Error::Invalid`] for a tensor that the model does not compute.
    pub fn new(model: &Model, hints: &[Hint], options: SessionOptions, shape: Option<ImageShape>) -> Result<Self> {
        let graph = model.main()?;
        let (logits, beta) = logits(graph)?;
        let mut outputs = vec![logits];
        for hint in hints {
            let mut computed = graph.nodes.iter().flat_map(|node| &node.outputs).copied();
            let named = computed.find(|&id| graph.tensor(id).name == hint.teacher);
            outputs.push(named.ok_or_else(|| {
                let names = graph.nodes.iter().flat_map(|node| &node.outputs).map(|&id| graph.tensor(id).name.as_str());
                Error::invalid("distill.hints", format!("the teacher computes no \"{}\"", hint.teacher))
                    .with_hint(format!("its tensors are {}", names.collect::<Vec<_>>().join(", ")))
            })?);
        }
        let mut model = model.clone();
        // Signatures and labels speak of the outputs as they were.
        model.signatures.clear();
        model.metadata.outputs.clear();
        if let Some(graph) = model.graphs.first_mut() {
            graph.outputs = outputs;
        }
        let predictor = Predictor::new(&model, options, shape)?;
        let session = predictor.session();
        let shape = |index| Ok(session.output_tensor(index)?.shape.iter().skip(1).copied().collect());
        let shapes = (0..session.output_count()).map(shape).collect::<Result<_>>()?;
        Ok(Self { predictor, beta, shapes })
    }
}

impl Teacher for TeacherModel {
    fn preprocess(&self) -> &Preprocess {
        self.predictor.preprocess()
    }

    fn shapes(&self) -> &[Vec<usize>] {
        &self.shapes
    }

    fn run(&mut self, images: &[f32], outputs: &mut Vec<Vec<f32>>) -> Result<()> {
        self.predictor.predict(images)?;
        outputs.resize_with(self.shapes.len(), Vec::new);
        for (index, output) in outputs.iter_mut().enumerate() {
            self.predictor.read(index, output)?;
        }
        if let Some(scores) = outputs.first_mut() {
            scores.iter_mut().for_each(|score| *score *= self.beta);
        }
        Ok(())
    }
}

/// Gives `options` the teachers that `config` names, read from their files, if it names any and they have none yet.
pub(crate) fn call_teachers(
    options: &mut TrainOptions,
    config: &TrainConfig,
    data: &TrainData,
    progress: &mut dyn Progress,
) -> Result<()> {
    let Some(distill) = config.distill.as_ref().filter(|_| options.teachers.is_empty()) else { return Ok(()) };
    if distill.teacher.is_empty() {
        return Err(
            Error::invalid("distill", "no teacher is named").with_hint("teacher = \"FILE.tflite\", or --teacher FILE")
        );
    }
    for path in &distill.teacher {
        let model = load_model(path)?.model;
        appoint(&model, &path.display(), distill, options, data, progress)?;
    }
    Ok(())
}

/// Gives `options` one more teacher: `model`, called `name`, which runs as training by them does. The hints are those of the
/// first. Other names for the classes than the data's are worth a word.
pub(crate) fn appoint(
    model: &Model,
    name: &dyn std::fmt::Display,
    distill: &Distill,
    options: &mut TrainOptions,
    data: &TrainData,
    progress: &mut dyn Progress,
) -> Result<()> {
    let labels = model.metadata.outputs.first().map(|output| output.labels.as_slice()).unwrap_or_default();
    if !labels.is_empty() && labels != data.train.classes() {
        progress.note(&format!("warning: {name} has other names for the classes than the data"));
    }
    let mut session = SessionOptions { isa: options.isa, ..SessionOptions::default() };
    if options.threads > 0 {
        session.threads = options.threads;
    }
    let hints = if options.teachers.is_empty() { distill.hints.as_slice() } else { &[] };
    let teacher = TeacherModel::new(model, hints, session, Some(data.preprocess.shape()));
    options.teachers.push(Arc::new(Mutex::new(teacher.map_err(|error| error.at(name))?)));
    Ok(())
}

/// The scores that the softmax at the end of `graph` reads, and what it multiplies them by. Scores of a graph without
/// softmax are taken as they are, those of a LOG_SOFTMAX included: a softmax of logarithms of shares gives the shares.
fn logits(graph: &Graph) -> Result<(TensorId, f32)> {
    let &[output] = graph.outputs.as_slice() else {
        return Err(Error::unsupported(
            "model",
            format!("it has {} outputs, expected one with the scores of the classes", graph.outputs.len()),
        ));
    };
    let mut id = output;
    while let Some(index) = graph.producer(id) {
        let node = &graph.nodes[index];
        let input = node.inputs.first().copied().flatten();
        match (&node.op, input) {
            (Op::Softmax(softmax), Some(input)) => return Ok((input, softmax.beta)),
            (Op::Logistic(_), _) => {
                return Err(Error::unsupported(graph.place(index), "scores of a sigmoid cannot be distilled")
                    .with_hint("a teacher ends in a softmax over the classes, or in scores before one"));
            }
            // What stands between a softmax and the caller: other types, other shapes.
            (Op::Quantize(_) | Op::Dequantize(_) | Op::Reshape(_) | Op::Squeeze(_), Some(input)) => id = input,
            _ => break,
        }
    }
    Ok((output, 1.0))
}

//! A `.tflite` model as the teacher of another network.

use litesmith_data::{ImageShape, Preprocess};
use litesmith_graph::{Error, Graph, Model, Op, Result, TensorId};
use litesmith_runtime::SessionOptions;
use litesmith_train::Teacher;

use crate::Predictor;

/// A model, float or quantized, that a student learns from: its scores before the last softmax.
pub struct TeacherModel {
    predictor: Predictor,
    /// What the softmax multiplies scores by.
    beta: f32,
    classes: usize,
}

impl std::fmt::Debug for TeacherModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TeacherModel").field("preprocess", self.preprocess()).finish_non_exhaustive()
    }
}

impl TeacherModel {
    /// Plans `model`; `shape` as for [`Predictor::new`].
    ///
    /// # Errors
    /// Those of [`Predictor::new`]; [`Error::Unsupported`] for several outputs, and for one that is a sigmoid.
    pub fn new(model: &Model, options: SessionOptions, shape: Option<ImageShape>) -> Result<Self> {
        let (logits, beta) = logits(model.main()?)?;
        let mut model = model.clone();
        // Signatures and labels speak of the outputs as they were.
        model.signatures.clear();
        model.metadata.outputs.clear();
        if let Some(graph) = model.graphs.first_mut() {
            graph.outputs = vec![logits];
        }
        let predictor = Predictor::new(&model, options, shape)?;
        let classes = predictor.session().output_tensor(0)?.shape.iter().skip(1).product();
        Ok(Self { predictor, beta, classes })
    }
}

impl Teacher for TeacherModel {
    fn preprocess(&self) -> &Preprocess {
        self.predictor.preprocess()
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn scores(&mut self, images: &[f32], scores: &mut Vec<f32>) -> Result<()> {
        let logits = self.predictor.predict(images)?;
        scores.clear();
        scores.extend(logits.iter().map(|logit| logit * self.beta));
        Ok(())
    }
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

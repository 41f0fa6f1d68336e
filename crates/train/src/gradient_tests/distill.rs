//! The loss of a student and its gradient.

use super::*;
use std::sync::{Arc, Mutex};

use litesmith_data::Preprocess;

use crate::distill::{Distill, Hint, Lessons, Softened, Teacher};

const TEACHER: [f32; 12] = [2.0, -1.0, 0.5, 0.0, 0.0, 0.0, -3.0, 4.0, 9.0, 1.0, 1.5, 1.25];

fn objective(temperature: f64, alpha: f64, label_smoothing: f64) -> Objective {
    let softened = Some(Softened { temperature, alpha });
    Objective { label_smoothing, class_weights: vec![1.0, 0.5, 2.0], softened, ..Objective::default() }
}

#[test]
fn the_gradient_of_distillation_is_that_of_central_differences() {
    let mut case = Case::new(12);
    let x = case.input(&[4]);
    let (w, b) = (case.weights(&[3, 4]), case.weights(&[3]));
    let y = case.node(ops::FullyConnected::default(), &[x, w, b]);
    case.graph.outputs = y.into_iter().collect();
    let dense = [0.2, 0.5, 0.3, 1.0, 0.0, 0.0, 0.0, 0.9, 0.1, 0.3, 0.3, 0.4];
    for (temperature, alpha, smoothing) in [(1.0, 0.3, 0.0), (4.0, 0.9, 0.1), (2.5, 1.0, 0.0)] {
        for targets in [Targets::Classes(&[0, 2, 1, 1]), Targets::Dense(&dense)] {
            check_gradients(&case.graph, 4, &objective(temperature, alpha, smoothing), targets, &[TEACHER.to_vec()]);
        }
    }
}

/// The formula of the paper, term by term.
#[test]
fn the_loss_of_a_student_is_that_of_the_paper() {
    let softmax = |scores: &[f64], temperature: f64| -> Vec<f64> {
        let total: f64 = scores.iter().map(|score| (score / temperature).exp()).sum();
        scores.iter().map(|score| (score / temperature).exp() / total).collect()
    };
    let student = [0.3, -0.2, 1.1, 2.0, 0.0, -1.0, 0.5, 0.5, 0.5, -4.0, 3.0, 1.0];
    let classes = [0_u32, 2, 1, 1];
    for (temperature, alpha) in [(1.0, 0.3), (4.0, 0.9), (2.5, 1.0)] {
        let mut expected = 0.0;
        for (sample, &class) in classes.iter().enumerate() {
            let logits = &student[sample * 3..][..3];
            let teacher: Vec<f64> = TEACHER[sample * 3..][..3].iter().map(|&score| f64::from(score)).collect();
            let (q, p) = (softmax(logits, temperature), softmax(&teacher, temperature));
            let divergence: f64 = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum();
            let labels = -softmax(logits, 1.0)[class as usize].ln();
            let weight = [1.0, 0.5, 2.0][class as usize];
            expected += weight * ((1.0 - alpha) * labels + alpha * temperature * temperature * divergence);
        }
        let objective = objective(temperature, alpha, 0.0);
        let sums = objective.evaluate(&student, 3, Targets::Classes(&classes), &TEACHER, 1.0, None);
        assert!((sums.loss - expected).abs() < 1e-12 * expected, "{} {expected}", sums.loss);
        let alone = objective.evaluate(&student, 3, Targets::Classes(&classes), &[], 1.0, None);
        assert!((sums.loss - alone.loss).abs() > 0.1, "the teacher counts");
    }
}

/// Has shapes and is never run.
#[derive(Debug)]
struct Shapes(Vec<Vec<usize>>);

impl Teacher for Shapes {
    fn preprocess(&self) -> &Preprocess {
        unreachable!("gradients are not those of images")
    }

    fn shapes(&self) -> &[Vec<usize>] {
        &self.0
    }

    fn run(&mut self, _: &[f32], _: &mut Vec<Vec<f32>>) -> litesmith_graph::Result<()> {
        unreachable!("what it gives is made up")
    }
}

/// A tensor that is read on, one that has a regressor of a convolution, one of a fully connected op, a view of one that
/// has a hint already, and the scores themselves.
#[test]
fn the_gradient_of_hints_is_that_of_central_differences() {
    let mut case = Case::new(13);
    let x = case.input(&[3, 2, 2]);
    let (w, b) = (case.weights(&[4, 1, 1, 2]), case.weights(&[4]));
    let y = case.node(ops::Conv2d::default(), &[x, w, b]);
    let y = case.node(ops::Tanh, &[y]);
    let reshape = ops::Reshape { new_shape: Some(vec![-1, 24]) };
    let flat = case.node(reshape, &[y]);
    let (w, b) = (case.weights(&[5, 24]), case.weights(&[5]));
    let z = case.node(ops::FullyConnected::default(), &[flat, w, b]);
    let (w, b) = (case.weights(&[3, 5]), case.weights(&[3]));
    let scores = case.node(ops::FullyConnected::default(), &[z, w, b]);
    case.graph.outputs = scores.into_iter().collect();
    let shapes: [&[usize]; 6] = [&[3], &[3, 2, 4], &[3, 2, 7], &[24], &[6], &[3]];
    let tensors = [y, y, flat, z, scores];
    let name = |id: Option<TensorId>| case.graph.tensor(id.unwrap()).name.clone();
    let hints = tensors.iter().zip([1.0, 0.5, 2.0, 1.5, 0.7]);
    let hints = hints.map(|(&id, weight)| Hint { student: name(id), teacher: String::new(), weight }).collect();
    let distill = Distill { alpha: 0.3, hints, ..Distill::default() };
    let teacher = Shapes(shapes.iter().map(|shape| shape.to_vec()).collect());
    let lessons = Lessons::new(Some(&distill), vec![Arc::new(Mutex::new(teacher))]).unwrap();
    let mut graph = case.graph.clone();
    lessons.attach(&mut graph, &distill, 5).unwrap();
    assert_eq!(graph.nodes.len(), case.graph.nodes.len() + 2, "two regressors");
    let stream = Stream::new(3, "teacher");
    let taught = shapes.iter().enumerate().map(|(output, shape)| {
        let stream = stream.for_number(output as u64);
        (0..4 * shape.iter().product::<usize>() as u64).map(|index| stream.normal(index) as f32).collect()
    });
    let taught: Vec<Vec<f32>> = taught.collect();
    let weights = distill.hints.iter().map(|hint| hint.weight).collect();
    for objective in [
        Objective { hints: weights, ..objective(2.0, 0.3, 0.1) },
        Objective { loss: Loss::MeanSquaredError, hints: vec![1.0; 5], ..Objective::default() },
    ] {
        check_gradients(&graph, 4, &objective, Targets::Classes(&[0, 2, 1, 1]), &taught);
    }
}

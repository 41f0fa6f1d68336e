//! The loss of a student and its gradient.

use super::*;
use crate::distill::Softened;

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
            check_gradients(&case.graph, 4, &objective(temperature, alpha, smoothing), targets, &TEACHER);
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

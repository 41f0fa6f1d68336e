//! How far two models agree on the same samples.

use litesmith_graph::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::argmax;
use crate::format::{count, number, percent, plural};

/// How many differing samples are listed.
const DIFFERING: usize = 100;

/// Gathers the outputs of a model and of a reference (the float model, or another runtime) on the same samples.
#[derive(Debug, Clone, Default)]
pub struct Agreement {
    samples: u64,
    same_top1: u64,
    elements: u64,
    nan_elements: u64,
    differences_sum: f64,
    differences_max: f64,
    differing: Vec<u64>,
    labelled: bool,
    broken: u64,
    repaired: u64,
}

impl Agreement {
    /// No samples yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the scores of both for the next sample and, where it is known, its true class.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the numbers of scores differ; nothing is added then.
    pub fn add(&mut self, scores: &[f32], reference: &[f32], label: Option<usize>) -> Result<()> {
        if scores.len() != reference.len() {
            let message = format!("got {} scores, the reference gives {}", scores.len(), reference.len());
            return Err(Error::invalid(format!("sample {}", self.samples), message)
                .with_hint("only models with the same classes can be compared"));
        }
        for (&ours, &theirs) in scores.iter().zip(reference) {
            // Two equal infinities differ by nothing, though subtracting them gives NaN.
            let difference = if ours == theirs { 0.0 } else { (f64::from(ours) - f64::from(theirs)).abs() };
            if difference.is_finite() {
                self.elements += 1;
                self.differences_sum += difference;
                self.differences_max = self.differences_max.max(difference);
            } else {
                self.nan_elements += 1;
            }
        }
        let (ours, theirs) = (argmax(scores), argmax(reference));
        if ours == theirs {
            self.same_top1 += 1;
        } else if self.differing.len() < DIFFERING {
            self.differing.push(self.samples);
        }
        if label.is_some() {
            self.labelled = true;
            self.broken += u64::from(theirs == label && ours != label);
            self.repaired += u64::from(ours == label && theirs != label);
        }
        self.samples += 1;
        Ok(())
    }

    /// The agreement on the samples so far.
    #[must_use]
    pub fn finish(&self) -> AgreementMetrics {
        let mean = |sum: f64, n: u64| if n == 0 { 0.0 } else { sum / n as f64 };
        AgreementMetrics {
            samples: self.samples,
            same_top1: self.same_top1,
            top1_agreement: mean(self.same_top1 as f64, self.samples),
            mean_abs_difference: mean(self.differences_sum, self.elements),
            max_abs_difference: self.differences_max,
            nan_elements: self.nan_elements,
            broken: self.labelled.then_some(self.broken),
            repaired: self.labelled.then_some(self.repaired),
            differing: self.differing.clone(),
        }
    }
}

/// How far a model agrees with a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgreementMetrics {
    /// Samples compared.
    pub samples: u64,
    /// Samples for which both predict the same class (or both give NaN).
    pub same_top1: u64,
    /// `same_top1 / samples`, 0 to 1; 0 when there are no samples.
    pub top1_agreement: f64,
    /// Mean of `|score - reference score|` over all finite elements.
    pub mean_abs_difference: f64,
    /// Largest of them.
    pub max_abs_difference: f64,
    /// Elements without a finite difference (NaN, or an infinity on one side).
    pub nan_elements: u64,
    /// Samples that the reference gets right and the model wrong, where labels are known.
    pub broken: Option<u64>,
    /// Samples that the model gets right and the reference wrong, where labels are known.
    pub repaired: Option<u64>,
    /// Positions of the first 100 samples with different predictions.
    pub differing: Vec<u64>,
}

impl AgreementMetrics {
    /// McNemar's exact test: the probability that two equally good models differ in accuracy by at least this much on
    /// these samples. Only the samples count that one gets right and the other wrong. `None` without labels, and above a
    /// million such samples, where summing term by term takes too long.
    #[must_use]
    pub fn p_value(&self) -> Option<f64> {
        let (broken, repaired) = (self.broken?, self.repaired?);
        let changed = broken.checked_add(repaired).filter(|&changed| changed <= 1_000_000)?;
        Some(two_sided_binomial(broken.min(repaired), changed))
    }

    /// For terminals, one line.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "same prediction on {} ({} of {}); mean |difference| {}, largest {}",
            percent(self.top1_agreement),
            count(self.same_top1),
            plural(self.samples, "sample"),
            number(self.mean_abs_difference),
            number(self.max_abs_difference),
        );
        if let (Some(broken), Some(repaired)) = (self.broken, self.repaired) {
            text += &format!("; {} newly wrong, {} newly right", count(broken), count(repaired));
        }
        if self.nan_elements > 0 {
            text += &format!("; {} not finite", plural(self.nan_elements, "element"));
        }
        text
    }
}

/// `2 * P(X <= low)` for X binomial with n trials of probability 1/2, at most 1.
fn two_sided_binomial(low: u64, n: u64) -> f64 {
    // In logarithms, since 0.5^n underflows; ln of n choose k grows term by term.
    let (mut ln_term, mut sum) = (-(n as f64) * std::f64::consts::LN_2, 0.0);
    for k in 0..=low {
        sum += f64::exp(ln_term);
        ln_term += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_and_changed_predictions_are_counted() {
        let mut agreement = Agreement::new();
        agreement.add(&[0.75, 0.25], &[0.5, 0.5], Some(0)).unwrap();
        agreement.add(&[0.25, 0.75], &[0.75, 0.25], Some(0)).unwrap();
        agreement.add(&[f32::NAN, f32::INFINITY], &[0.0, f32::INFINITY], Some(1)).unwrap();
        let metrics = agreement.finish();
        assert_eq!((metrics.samples, metrics.same_top1, metrics.nan_elements), (3, 1, 1));
        assert_eq!((metrics.mean_abs_difference, metrics.max_abs_difference), (1.5 / 5.0, 0.5));
        assert_eq!((metrics.broken, metrics.repaired), (Some(2), Some(0)));
        assert_eq!(metrics.differing, [1, 2]);
        let expected = "same prediction on 33.33 % (1 of 3 samples); mean |difference| 0.3000, largest 0.5000; \
                        2 newly wrong, 0 newly right; 1 element not finite";
        assert_eq!(metrics.to_text(), expected);
        let error = agreement.add(&[0.0], &[0.0, 1.0], None).unwrap_err();
        assert_eq!(error.to_string(), "sample 3: got 1 scores, the reference gives 2");
    }

    #[test]
    fn mcnemar_is_exact() {
        let with = |broken, repaired| AgreementMetrics {
            broken: Some(broken),
            repaired: Some(repaired),
            ..Agreement::new().finish()
        };
        assert_eq!(with(0, 0).p_value(), Some(1.0));
        assert_eq!(with(4, 5).p_value(), Some(1.0));
        // (1 + 10) / 2^10 * 2
        assert!((with(9, 1).p_value().unwrap() - 22.0 / 1024.0).abs() < 1e-12);
        assert!(with(5000, 4000).p_value().unwrap() < 1e-20);
        assert_eq!(Agreement::new().finish().p_value(), None);
    }
}

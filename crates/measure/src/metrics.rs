//! Metrics of a classifier, gathered one sample at a time.

use std::collections::BTreeMap;

use litesmith_graph::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::format::{count, percent, plural};
use crate::{Align, TextTable};

/// Up to this many classes [`Metrics::confusion`] holds the whole matrix.
const MATRIX_CLASSES: usize = 1000;

/// With more classes than this, text lists only those with the lowest F1.
const TEXT_CLASSES: usize = 50;

/// How many pairs [`Metrics::confusions`] lists.
const CONFUSIONS: usize = 20;

/// Gathers a classifier's scores against the true labels; [`Evaluation::finish`] makes [`Metrics`] of them.
///
/// The prediction is the class of the highest score, the first of several equal ones, as NumPy's `argmax` decides. A
/// sample with a NaN among its scores has no prediction: it counts as wrong and is reported apart.
#[derive(Debug, Clone)]
pub struct Evaluation {
    classes: Vec<String>,
    top_k: Vec<usize>,
    wrong_limit: usize,
    samples: u64,
    nan_samples: u64,
    pairs: BTreeMap<(usize, usize), u64>,
    support: Vec<u64>,
    label_ranks: Vec<u64>,
    wrong: Vec<WrongSample>,
}

impl Evaluation {
    /// No samples yet, of a classifier with these classes, in the order of its scores. Reports top-5 when there are more
    /// than five classes, and keeps the first 1,000 wrong samples.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no class.
    pub fn new<S: Into<String>>(classes: impl IntoIterator<Item = S>) -> Result<Self> {
        let classes: Vec<String> = classes.into_iter().map(Into::into).collect();
        if classes.is_empty() {
            return Err(Error::invalid("evaluation", "got no classes, expected at least one"));
        }
        Ok(Self {
            top_k: if classes.len() > 5 { vec![5] } else { Vec::new() },
            wrong_limit: 1000,
            samples: 0,
            nan_samples: 0,
            pairs: BTreeMap::new(),
            support: vec![0; classes.len()],
            label_ranks: vec![0; classes.len()],
            wrong: Vec::new(),
            classes,
        })
    }

    /// As [`Evaluation::new`], with classes named `0`, `1`, ...
    ///
    /// # Errors
    /// [`Error::Invalid`] when `classes` is 0.
    pub fn with_class_count(classes: usize) -> Result<Self> {
        Self::new((0..classes).map(|class| class.to_string()))
    }

    /// Reports top-k accuracy for these k, beside the accuracy itself (k = 1); k of 0 and above the classes are dropped.
    #[must_use]
    pub fn with_top_k(mut self, k: impl IntoIterator<Item = usize>) -> Self {
        self.top_k = k.into_iter().filter(|k| (1..=self.classes.len()).contains(k)).collect();
        self
    }

    /// Keeps the first `limit` wrong samples; the rest are only counted.
    #[must_use]
    pub fn with_wrong_limit(mut self, limit: usize) -> Self {
        self.wrong_limit = limit;
        self
    }

    /// Samples so far.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Adds the next sample: its scores (probabilities or logits) and true class. Returns the prediction.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the scores are not one for each class, or the label is no class; nothing is added then.
    pub fn add(&mut self, scores: &[f32], label: usize) -> Result<Option<usize>> {
        let place = || format!("sample {}", self.samples);
        let classes = self.classes.len();
        if scores.len() != classes {
            return Err(Error::invalid(place(), format!("got {} scores, expected {classes}", scores.len()))
                .with_hint("the model's last output axis and the data's classes must agree"));
        }
        let Some(&label_score) = scores.get(label) else {
            return Err(Error::invalid(place(), format!("got label {label}, expected 0 to {}", classes - 1))
                .with_hint("labels are class numbers, counted from 0"));
        };
        let predicted = argmax(scores);
        match predicted {
            None => self.nan_samples += 1,
            Some(class) => {
                *self.pairs.entry((label, class)).or_default() += 1;
                let ahead = scores.iter().enumerate();
                let rank = ahead
                    .filter(|&(index, &score)| score > label_score || (score == label_score && index < label))
                    .count();
                self.label_ranks[rank] += 1;
            }
        }
        self.support[label] += 1;
        if predicted != Some(label) && self.wrong.len() < self.wrong_limit {
            let confidence = predicted.and_then(|class| scores.get(class).copied());
            self.wrong.push(WrongSample {
                index: self.samples,
                label,
                predicted,
                confidence,
                label_score: finite(label_score),
            });
        }
        self.samples += 1;
        Ok(predicted)
    }

    /// Adds the samples of `next`, an evaluation with the same classes, as if they had come after these.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the classes differ.
    pub fn merge(&mut self, next: &Self) -> Result<()> {
        if self.classes != next.classes {
            return Err(Error::invalid("evaluation", "cannot merge evaluations of different classes"));
        }
        let room = self.wrong_limit.saturating_sub(self.wrong.len());
        let offset = self.samples;
        let moved = next.wrong.iter().take(room).cloned();
        self.wrong.extend(moved.map(|sample| WrongSample { index: sample.index + offset, ..sample }));
        for (&pair, &count) in &next.pairs {
            *self.pairs.entry(pair).or_default() += count;
        }
        for (sums, more) in [(&mut self.support, &next.support), (&mut self.label_ranks, &next.label_ranks)] {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
        self.samples += next.samples;
        self.nan_samples += next.nan_samples;
        Ok(())
    }

    /// The metrics of the samples so far.
    #[must_use]
    pub fn finish(&self) -> Metrics {
        let samples = self.samples;
        let pair = |label: usize, predicted: usize| self.pairs.get(&(label, predicted)).copied().unwrap_or(0);
        let mut predicted = vec![0; self.classes.len()];
        for (&(_, class), count) in &self.pairs {
            predicted[class] += count;
        }
        let counts = self.support.iter().zip(&predicted).enumerate();
        let classes: Vec<_> = counts
            .zip(&self.classes)
            .map(|((class, (&support, &predicted)), name)| {
                let correct = pair(class, class);
                ClassMetrics {
                    name: name.clone(),
                    support,
                    predicted,
                    correct,
                    precision: ratio(correct, predicted),
                    recall: ratio(correct, support),
                    f1: ratio(2 * correct, support + predicted),
                }
            })
            .collect();
        let correct = classes.iter().map(|class| class.correct).sum();
        let top_k = |&k: &usize| {
            let within = self.label_ranks.iter().take(k).sum();
            TopK { k, correct: within, accuracy: ratio(within, samples) }
        };
        let mut confusions: Vec<_> = self.pairs.iter().filter(|((label, predicted), _)| label != predicted).collect();
        confusions.sort_by_key(|&(pair, count)| (std::cmp::Reverse(count), pair));
        let seen: Vec<_> = classes.iter().filter(|class| class.is_seen()).collect();
        let row = |label: usize| (0..self.classes.len()).map(|predicted| pair(label, predicted)).collect();
        Metrics {
            samples,
            correct,
            accuracy: ratio(correct, samples),
            accuracy_interval_95: wilson_interval_95(correct, samples),
            top_k: self.top_k.iter().map(top_k).collect(),
            nan_samples: self.nan_samples,
            macro_average: Average::of(&seen, |_| 1.0),
            weighted_average: Average::of(&seen, |class| class.support as f64),
            confusion: (self.classes.len() <= MATRIX_CLASSES).then(|| (0..self.classes.len()).map(row).collect()),
            confusions: confusions
                .into_iter()
                .take(CONFUSIONS)
                .map(|(&(label, predicted), &count)| Confusion { label, predicted, count })
                .collect(),
            wrong: self.wrong.clone(),
            classes,
        }
    }
}

/// The metrics of a classifier on a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Samples evaluated.
    pub samples: u64,
    /// Samples whose prediction was the true class.
    pub correct: u64,
    /// `correct / samples`, 0 to 1; 0 when there are no samples.
    pub accuracy: f64,
    /// Wilson interval of the accuracy: with samples like these, the accuracy on all such data lies in it 95 times in 100.
    pub accuracy_interval_95: [f64; 2],
    /// Top-k accuracies asked for.
    pub top_k: Vec<TopK>,
    /// Samples with a NaN among their scores; they count as wrong and are in no column of the confusion matrix.
    pub nan_samples: u64,
    /// Mean over the classes that occur as label or prediction, each counting the same.
    pub macro_average: Average,
    /// Mean over the classes weighted by their samples.
    pub weighted_average: Average,
    /// Metrics of each class.
    pub classes: Vec<ClassMetrics>,
    /// `confusion[label][predicted]` counts samples, for up to 1,000 classes. Rows sum to the support of the class, less
    /// its samples with NaN scores.
    pub confusion: Option<Vec<Vec<u64>>>,
    /// The up to 20 most frequent mistakes, most frequent first.
    pub confusions: Vec<Confusion>,
    /// Wrong samples, in order, as many as were asked to be kept.
    pub wrong: Vec<WrongSample>,
}

/// Top-k accuracy: how often the true class is among the k highest scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    /// How many of the highest scores count.
    pub k: usize,
    /// Samples whose true class is among them.
    pub correct: u64,
    /// `correct / samples`.
    pub accuracy: f64,
}

/// Precision, recall and F1 averaged over classes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Average {
    /// Mean precision.
    pub precision: f64,
    /// Mean recall.
    pub recall: f64,
    /// Mean F1.
    pub f1: f64,
}

impl Average {
    fn of(classes: &[&ClassMetrics], weight: impl Fn(&ClassMetrics) -> f64) -> Self {
        let total: f64 = classes.iter().map(|class| weight(class)).sum();
        let mean = |value: fn(&ClassMetrics) -> f64| {
            let sum: f64 = classes.iter().map(|class| weight(class) * value(class)).sum();
            if total > 0.0 { sum / total } else { 0.0 }
        };
        Self {
            precision: mean(|class| class.precision),
            recall: mean(|class| class.recall),
            f1: mean(|class| class.f1),
        }
    }
}

/// Metrics of one class. A ratio without samples below it is 0, as in scikit-learn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// Name.
    pub name: String,
    /// Samples of this class.
    pub support: u64,
    /// Samples predicted to be of this class.
    pub predicted: u64,
    /// Samples of this class predicted as such.
    pub correct: u64,
    /// `correct / predicted`: when the model says this class, how often it is right.
    pub precision: f64,
    /// `correct / support`: of the samples of this class, the share that the model finds.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
}

/// A mistake and how often it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// True class.
    pub label: usize,
    /// Class predicted instead.
    pub predicted: usize,
    /// Samples.
    pub count: u64,
}

/// A sample that was predicted wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WrongSample {
    /// Position in the data set, from 0.
    pub index: u64,
    /// True class.
    pub label: usize,
    /// Class predicted; `None` when the scores held NaN.
    pub predicted: Option<usize>,
    /// Score of the class predicted; a probability when the model ends in softmax. `None` when it is not finite.
    pub confidence: Option<f32>,
    /// Score of the true class. `None` when it is not finite.
    pub label_score: Option<f32>,
}

impl ClassMetrics {
    /// Whether the class occurs as label or prediction; the metrics of others say nothing.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.support > 0 || self.predicted > 0
    }
}

impl Metrics {
    /// For terminals: the totals, a table of classes (of many classes, the 50 with the lowest F1), and the most frequent
    /// mistakes.
    #[must_use]
    pub fn to_text(&self) -> String {
        let [low, high] = self.accuracy_interval_95;
        let (correct, samples) = (count(self.correct), plural(self.samples, "sample"));
        let mut text = format!(
            "accuracy {} ({correct} of {samples}; 95 % interval {} to {})\n",
            percent(self.accuracy),
            percent(low),
            percent(high)
        );
        for TopK { k, correct, accuracy } in &self.top_k {
            text += &format!("top-{k} accuracy {} ({} of {samples})\n", percent(*accuracy), count(*correct));
        }
        if self.nan_samples > 0 {
            text += &format!("{} gave NaN scores and count as wrong\n", plural(self.nan_samples, "sample"));
        }
        let numbers = ["precision", "recall", "F1", "support"].map(|name| (name, Align::Right));
        let mut table = TextTable::new(&[&[("class", Align::Left)][..], &numbers].concat());
        let mut classes: Vec<_> = self.classes.iter().collect();
        if classes.len() > TEXT_CLASSES {
            classes.retain(|class| class.is_seen());
            classes.sort_by(|a, b| a.f1.total_cmp(&b.f1));
            classes.truncate(TEXT_CLASSES);
            text += &format!("\nthe {TEXT_CLASSES} of {} classes with the lowest F1", count(self.classes.len() as u64));
        }
        for class in classes {
            let precision = if class.predicted > 0 { percent(class.precision) } else { "-".into() };
            let recall = if class.support > 0 { percent(class.recall) } else { "-".into() };
            let f1 = if class.is_seen() { percent(class.f1) } else { "-".into() };
            table.row([class.name.clone(), precision, recall, f1, count(class.support)]);
        }
        for (name, average) in [("macro average", self.macro_average), ("weighted average", self.weighted_average)] {
            let [precision, recall, f1] = [average.precision, average.recall, average.f1].map(percent);
            table.row([name.into(), precision, recall, f1, count(self.samples)]);
        }
        text += &format!("\n{table}");
        if !self.confusions.is_empty() {
            let mut table =
                TextTable::new(&[("true", Align::Left), ("predicted", Align::Left), ("samples", Align::Right)]);
            for &Confusion { label, predicted, count: samples } in self.confusions.iter().take(10) {
                table.row([self.class_name(label), self.class_name(predicted), &count(samples)]);
            }
            text += &format!("\nmost frequent mistakes\n{table}");
        }
        text
    }

    /// The confusion matrix for terminals: true classes down, predicted across, as wide as there are classes; `None` when
    /// the matrix is not held.
    #[must_use]
    pub fn confusion_text(&self) -> Option<String> {
        let names = (0..self.classes.len()).map(|class| (self.class_name(class), Align::Right));
        let mut table =
            TextTable::new(&[("true \\ predicted", Align::Right)].into_iter().chain(names).collect::<Vec<_>>());
        for (label, row) in self.confusion.as_ref()?.iter().enumerate() {
            let counts = row.iter().map(|&samples| if samples == 0 { ".".into() } else { count(samples) });
            table.row([self.class_name(label).to_string()].into_iter().chain(counts));
        }
        Some(table.to_string())
    }

    /// The name of a class; empty when there is no such class.
    #[must_use]
    pub fn class_name(&self, class: usize) -> &str {
        self.classes.get(class).map_or("", |class| &class.name)
    }
}

/// Index of the highest score, the first of several equal ones; `None` when there is none or one is NaN.
#[must_use]
pub fn argmax(scores: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (index, &score) in scores.iter().enumerate() {
        if score.is_nan() {
            return None;
        }
        if best.is_none_or(|(_, highest)| score > highest) {
            best = Some((index, score));
        }
    }
    best.map(|(index, _)| index)
}

/// The 95 % interval of a proportion by Wilson (Probable Inference, the Law of Succession, and Statistical Inference,
/// 1927), which unlike the textbook one stays within 0 to 1 and holds near both ends. `[0, 1]` without trials.
#[must_use]
pub fn wilson_interval_95(successes: u64, trials: u64) -> [f64; 2] {
    if trials == 0 {
        return [0.0, 1.0];
    }
    const Z: f64 = 1.959_963_984_540_054;
    let n = trials as f64;
    let p = successes.min(trials) as f64 / n;
    let center = p + Z * Z / (2.0 * n);
    let reach = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    // The bounds enclose p; rounding must not deny it at 0 and 1, where one of them equals p.
    [((center - reach) / scale).clamp(0.0, p), ((center + reach) / scale).clamp(p, 1.0)]
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn finite(value: f32) -> Option<f32> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Three classes; the labels and predictions of scikit-learn's `classification_report` example.
    fn example() -> Metrics {
        let mut evaluation = Evaluation::new(["class 0", "class 1", "class 2"]).unwrap().with_top_k([2]);
        for (label, predicted) in [(0, 0), (1, 0), (2, 2), (2, 2), (2, 1)] {
            let mut scores = [0.1, 0.2, 0.3];
            scores[predicted] = 0.9;
            assert_eq!(evaluation.add(&scores, label).unwrap(), Some(predicted));
        }
        evaluation.finish()
    }

    #[test]
    fn agrees_with_scikit_learn() {
        let metrics = example();
        assert_eq!((metrics.samples, metrics.correct, metrics.accuracy), (5, 3, 0.6));
        let class = |index: usize| &metrics.classes[index];
        assert_eq!((class(0).precision, class(0).recall, class(0).support), (0.5, 1.0, 1));
        assert_eq!((class(1).precision, class(1).recall, class(1).f1), (0.0, 0.0, 0.0));
        assert_eq!((class(2).precision, class(2).recall, class(2).f1), (1.0, 2.0 / 3.0, 0.8));
        let rounded = |average: Average| [average.precision, average.recall, average.f1].map(|v| (v * 100.0).round());
        assert_eq!(rounded(metrics.macro_average), [50.0, 56.0, 49.0]);
        assert_eq!(rounded(metrics.weighted_average), [70.0, 60.0, 61.0]);
        assert_eq!(metrics.confusion, Some(vec![vec![1, 0, 0], vec![1, 0, 0], vec![0, 1, 2]]));
        // Sample 1 has its label third (0.9, 0.2, 0.3 with label 1); sample 4 has it second.
        assert_eq!(metrics.top_k, [TopK { k: 2, correct: 4, accuracy: 0.8 }]);
        let wrong: Vec<_> = metrics.wrong.iter().map(|w| (w.index, w.label, w.predicted, w.confidence)).collect();
        assert_eq!(wrong, [(1, 1, Some(0), Some(0.9)), (4, 2, Some(1), Some(0.9))]);
    }

    #[test]
    fn text_is_aligned() {
        let expected = "\
accuracy 60.00 % (3 of 5 samples; 95 % interval 23.07 % to 88.24 %)
top-2 accuracy 80.00 % (4 of 5 samples)

class             precision    recall       F1  support
----------------  ---------  --------  -------  -------
class 0             50.00 %  100.00 %  66.67 %        1
class 1              0.00 %    0.00 %   0.00 %        1
class 2            100.00 %   66.67 %  80.00 %        3
macro average       50.00 %   55.56 %  48.89 %        5
weighted average    70.00 %   60.00 %  61.33 %        5

most frequent mistakes
true     predicted  samples
-------  ---------  -------
class 1  class 0          1
class 2  class 1          1
";
        assert_eq!(example().to_text(), expected);
        let matrix = example().confusion_text().unwrap();
        assert_eq!(matrix.lines().last(), Some("         class 2        .        1        2"));
    }

    #[test]
    fn text_of_many_classes_lists_the_worst() {
        let mut evaluation = Evaluation::with_class_count(200).unwrap();
        let scores: Vec<f32> = (0..200).map(|class| if class == 150 { 1.0 } else { 0.0 }).collect();
        for label in 100..200 {
            evaluation.add(&scores, label).unwrap();
        }
        let text = evaluation.finish().to_text();
        assert!(text.contains("the 50 of 200 classes with the lowest F1\nclass "), "{text}");
        assert!(
            !text.contains("\n0  ")
                && text.contains("\n100  ")
                && !text.contains("\n150  ")
                && text.lines().count() < 75,
            "{text}"
        );
    }

    #[test]
    fn ties_go_to_the_first_and_nan_has_no_prediction() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(argmax(&[f32::NEG_INFINITY, f32::NEG_INFINITY]), Some(0));
        assert_eq!((argmax(&[0.5, f32::NAN]), argmax(&[])), (None, None));
        let mut evaluation = Evaluation::with_class_count(2).unwrap();
        assert_eq!(evaluation.add(&[f32::NAN, 1.0], 1).unwrap(), None);
        assert_eq!(evaluation.add(&[0.5, 0.5], 1).unwrap(), Some(0));
        let metrics = evaluation.finish();
        assert_eq!((metrics.nan_samples, metrics.correct, metrics.wrong.len()), (1, 0, 2));
        assert_eq!((metrics.wrong[0].predicted, metrics.wrong[0].confidence), (None, None));
        assert!(metrics.to_text().contains("1 sample gave NaN scores"));
        let json = serde_json::to_string(&metrics).unwrap();
        assert_eq!(serde_json::from_str::<Metrics>(&json).unwrap(), metrics);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_not_counted() {
        let mut evaluation = Evaluation::with_class_count(3).unwrap();
        let message = |error: Error| error.to_string();
        assert_eq!(message(evaluation.add(&[0.0; 2], 0).unwrap_err()), "sample 0: got 2 scores, expected 3");
        assert_eq!(message(evaluation.add(&[0.0; 3], 3).unwrap_err()), "sample 0: got label 3, expected 0 to 2");
        assert!(Evaluation::with_class_count(0).is_err());
        let metrics = evaluation.finish();
        assert_eq!((metrics.samples, metrics.accuracy, metrics.accuracy_interval_95), (0, 0.0, [0.0, 1.0]));
        assert!(evaluation.merge(&Evaluation::with_class_count(2).unwrap()).is_err());
    }

    #[test]
    fn wilson_bounds_solve_their_equation() {
        // The bounds are the p for which the observed share lies just 1.96 standard errors of p away.
        for (successes, trials) in [(9900, 10_000), (3, 5), (1, 2)] {
            let share = successes as f64 / trials as f64;
            for bound in wilson_interval_95(successes, trials) {
                let standard_error = (bound * (1.0 - bound) / trials as f64).sqrt();
                assert!(((share - bound).abs() / standard_error - 1.959_964).abs() < 1e-5, "{successes}/{trials}");
            }
        }
        // At the ends the equation gives z^2 / (n + z^2).
        let [low, high] = wilson_interval_95(0, 10);
        assert_eq!(low, 0.0);
        assert!((high - 3.841_459 / 13.841_459).abs() < 1e-6);
        let [low, high] = wilson_interval_95(10, 10);
        assert!(high == 1.0 && (low - 10.0 / 13.841_459).abs() < 1e-6);
    }

    fn samples() -> impl Strategy<Value = Vec<(Vec<f32>, usize)>> {
        let score = prop_oneof![8 => -1.0_f32..1.0, 2 => Just(0.5), 1 => Just(f32::NAN), 1 => Just(f32::INFINITY)];
        proptest::collection::vec((proptest::collection::vec(score, 4), 0_usize..4), 0..60)
    }

    proptest! {
        #[test]
        fn counts_add_up(samples in samples(), split in 0_usize..60) {
            let add = |part: &[(Vec<f32>, usize)]| {
                let mut evaluation = Evaluation::with_class_count(4).unwrap().with_top_k([1, 2, 4]).with_wrong_limit(10);
                part.iter().for_each(|(scores, label)| { evaluation.add(scores, *label).unwrap(); });
                evaluation
            };
            let metrics = add(&samples).finish();
            let matrix = metrics.confusion.clone().unwrap();
            let nan = |label| samples.iter().filter(|(s, l)| *l == label && s.iter().any(|v| v.is_nan())).count() as u64;
            for (label, class) in metrics.classes.iter().enumerate() {
                prop_assert_eq!(matrix[label].iter().sum::<u64>() + nan(label), class.support);
                prop_assert_eq!(matrix.iter().map(|row| row[label]).sum::<u64>(), class.predicted);
            }
            prop_assert_eq!(metrics.top_k[0].correct, metrics.correct);
            prop_assert!(metrics.top_k[1].correct <= metrics.top_k[2].correct);
            prop_assert_eq!(metrics.top_k[2].correct + metrics.nan_samples, metrics.samples);
            let [low, high] = metrics.accuracy_interval_95;
            prop_assert!(low <= metrics.accuracy && metrics.accuracy <= high);
            prop_assert_eq!(metrics.wrong.len() as u64, (metrics.samples - metrics.correct).min(10));

            let (first, second) = samples.split_at(split.min(samples.len()));
            let mut merged = add(first);
            merged.merge(&add(second)).unwrap();
            prop_assert_eq!(merged.finish(), metrics);
        }
    }
}

//! One model's evaluation: classes, confusion matrix, wrong samples as pictures.

use super::markup::Markup;
use super::{cell, header_row, scrolling};
use crate::format::{count, number, percent, plural};
use crate::{Confusion, EvaluationReport, Metrics, WrongPicture};

/// With more classes than this a matrix is too large to read.
const MATRIX_CLASSES: usize = 24;

/// With more classes than this the table lists those with the lowest F1.
const TABLE_CLASSES: usize = 60;

pub(super) fn write(m: &mut Markup, evaluation: &EvaluationReport) {
    let EvaluationReport { data, sample_noun: noun, metrics, .. } = evaluation;
    if metrics.samples == 0 {
        m.leaf("p", &[("class", "lead")], "No sample was evaluated.");
        return;
    }
    let wrong = metrics.samples.saturating_sub(metrics.correct);
    m.el("p", &[("class", "lead")], |m| {
        m.prose(&format!(
            "Of {} of {data}, {} are classified right ({}) and {} wrong.",
            plural(metrics.samples, noun),
            count(metrics.correct),
            percent(metrics.accuracy),
            count(wrong)
        ));
        for top in &metrics.top_k {
            m.prose(&format!(" In {} the true class is among the {} highest scores.", percent(top.accuracy), top.k));
        }
        if metrics.nan_samples > 0 {
            m.prose(&format!(
                " For {} the model gave NaN (not a number) instead of scores; these count as wrong.",
                plural(metrics.nan_samples, noun)
            ));
        }
    });
    // A matrix with long or many names needs the whole width.
    let narrow = metrics.classes.len() <= 12 && metrics.classes.iter().all(|class| class.name.chars().count() <= 4);
    m.el("div", &[("class", if narrow || metrics.classes.len() > MATRIX_CLASSES { "pair" } else { "" })], |m| {
        m.el("div", &[], |m| match &metrics.confusion {
            Some(confusion) if confusion.len() <= MATRIX_CLASSES => matrix(m, metrics, confusion, noun),
            _ => mistakes(m, metrics, noun),
        });
        m.el("div", &[], |m| classes(m, metrics));
    });
    if !evaluation.wrong_pictures.is_empty() {
        gallery(m, evaluation, wrong);
    } else if wrong == 0 {
        m.leaf("p", &[], &format!("No {noun} is classified wrong."));
    }
}

fn matrix(m: &mut Markup, metrics: &Metrics, confusion: &[Vec<u64>], noun: &str) {
    m.leaf("h3", &[], "Confusion matrix");
    let misses = confusion.iter().enumerate().flat_map(|(label, row)| {
        row.iter().enumerate().filter(move |(predicted, _)| *predicted != label).map(|(_, count)| *count)
    });
    let most = misses.max().unwrap_or(0).max(1) as f64;
    scrolling(m, "Confusion matrix", |m| {
        m.el("table", &[("class", "matrix")], |m| {
            m.el("thead", &[], |m| {
                m.el("tr", &[], |m| {
                    m.leaf("td", &[("style", "background:none")], "");
                    m.leaf("th", &[("class", "axis"), ("colspan", &confusion.len().to_string())], "predicted →");
                });
                m.el("tr", &[], |m| {
                    m.leaf("th", &[("class", "axis"), ("scope", "col")], "true ↓");
                    for class in 0..confusion.len() {
                        m.el("th", &[("scope", "col")], |m| m.name(metrics.class_name(class)));
                    }
                });
            });
            m.el("tbody", &[], |m| {
                for (label, row) in confusion.iter().enumerate() {
                    let support = row.iter().fold(0, |sum: u64, &count| sum.saturating_add(count)).max(1) as f64;
                    m.el("tr", &[], |m| {
                        m.el("th", &[("scope", "row")], |m| m.name(metrics.class_name(label)));
                        for (predicted, &samples) in row.iter().enumerate() {
                            let (truth, read) = (metrics.class_name(label), metrics.class_name(predicted));
                            let tip = format!("{truth} taken for {read}: {}", plural(samples, noun));
                            // Mistakes are few beside what is right: each has its own scale, with the square root so that
                            // single ones still show. 0.72 leaves the numbers readable in light and dark.
                            let (class, strength) = match samples {
                                0 => ("", 0.0),
                                _ if label == predicted => ("ok", 0.1 + 0.62 * (samples as f64 / support).min(1.0)),
                                _ => ("miss", 0.12 + 0.6 * (samples as f64 / most).sqrt()),
                            };
                            let style = format!("--a:{strength:.2}");
                            let shown = if samples == 0 { "·".into() } else { count(samples) };
                            m.leaf("td", &[("class", class), ("style", &style), ("title", &tip)], &shown);
                        }
                    });
                }
            });
        });
    });
    m.el("p", &[("class", "explain")], |m| {
        m.prose(&format!(
            "A row holds the {noun}s of one true class, a column what they were taken for. Blue, on the diagonal, is right; orange \
             is mistakes, darker where they are more frequent."
        ));
        if let Some(&Confusion { label, predicted, count: samples }) = metrics.confusions.first() {
            m.text(" The most frequent: ");
            m.name(metrics.class_name(label));
            m.text(" taken for ");
            m.name(metrics.class_name(predicted));
            m.prose(&format!(", {}.", if samples == 1 { "once".into() } else { format!("{} times", count(samples)) }));
        }
    });
}

fn mistakes(m: &mut Markup, metrics: &Metrics, noun: &str) {
    m.leaf("h3", &[], "Most frequent mistakes");
    if metrics.confusions.is_empty() {
        m.leaf("p", &[], "There are none.");
        return;
    }
    scrolling(m, "Most frequent mistakes", |m| {
        m.el("table", &[], |m| {
            header_row(m, 2, &["true class", "taken for", &format!("{noun}s")]);
            m.el("tbody", &[], |m| {
                for &Confusion { label, predicted, count: samples } in &metrics.confusions {
                    m.el("tr", &[], |m| {
                        m.el("th", &[("scope", "row"), ("class", "l")], |m| m.name(metrics.class_name(label)));
                        m.el("td", &[("class", "l")], |m| m.name(metrics.class_name(predicted)));
                        cell(m, &count(samples));
                    });
                }
            });
        });
    });
}

fn classes(m: &mut Markup, metrics: &Metrics) {
    let mut classes: Vec<_> = metrics.classes.iter().collect();
    let all = classes.len();
    if all > TABLE_CLASSES {
        m.leaf("h3", &[], &format!("The {TABLE_CLASSES} classes with the lowest F1"));
        classes.retain(|class| class.is_seen());
        classes.sort_by(|a, b| a.f1.total_cmp(&b.f1));
        classes.truncate(TABLE_CLASSES);
    } else {
        m.leaf("h3", &[], "Class by class");
    }
    scrolling(m, "Classes", |m| {
        m.el("table", &[], |m| {
            header_row(m, 1, &["class", "precision", "recall", "F1", "samples"]);
            m.el("tbody", &[], |m| {
                for class in classes {
                    let shown = |whole: u64, value: f64| if whole == 0 { "–".into() } else { percent(value) };
                    m.el("tr", &[], |m| {
                        m.el("th", &[("scope", "row"), ("class", "l")], |m| m.name(&class.name));
                        cell(m, &shown(class.predicted, class.precision));
                        cell(m, &shown(class.support, class.recall));
                        cell(m, &shown(class.support.saturating_add(class.predicted), class.f1));
                        cell(m, &count(class.support));
                    });
                }
            });
            m.el("tfoot", &[], |m| {
                let averages = [("mean", metrics.macro_average), ("weighted mean", metrics.weighted_average)];
                for (name, average) in averages {
                    m.el("tr", &[], |m| {
                        m.leaf("th", &[("scope", "row"), ("class", "l")], name);
                        for value in [average.precision, average.recall, average.f1] {
                            cell(m, &percent(value));
                        }
                        cell(m, &count(metrics.samples));
                    });
                }
            });
        });
    });
    m.leaf(
        "p",
        &[("class", "explain")],
        "Precision: when the model says this class, how often it is right. Recall: of all that belong to the class, the share \
         that it finds. F1 is their harmonic mean, low when either is. The weighted mean counts each class by its samples.",
    );
}

fn gallery(m: &mut Markup, evaluation: &EvaluationReport, wrong: u64) {
    let EvaluationReport { sample_noun: noun, metrics, wrong_pictures: pictures, .. } = evaluation;
    m.leaf("h3", &[], "The mistakes");
    let shown = pictures.len() as u64;
    let which = if shown >= wrong { "all".to_string() } else { count(shown) };
    m.leaf(
        "p",
        &[("class", "explain")],
        &format!(
            "{which} of the {} taken for something else: what it is, what the model took it for, and how sure it was (the score of its \
             answer). High confidence in a wrong answer deserves a look: the label may be doubtful, or such samples are missing \
             in training.",
            plural(wrong, noun)
        ),
    );
    m.el("ul", &[("class", "gallery")], |m| {
        for WrongPicture { sample, picture } in pictures {
            let truth = metrics.class_name(sample.label);
            let read = sample.predicted.map(|class| metrics.class_name(class));
            let confidence = sample.confidence.map(|score| match score {
                0.0..=1.0 => format!("{:.0} %", score * 100.0),
                _ => format!("score {}", number(f64::from(score))),
            });
            m.el("li", &[], |m| {
                match picture.to_data_uri() {
                    Ok(uri) => {
                        let alt = format!("{noun} {}: {truth}, taken for {}", sample.index, read.unwrap_or("nothing"));
                        m.void("img", &[("src", &uri), ("alt", &alt), ("title", &alt), ("loading", "lazy")]);
                    }
                    Err(error) => m.leaf("div", &[("class", "none")], &format!("no picture: {error}")),
                }
                m.el("b", &[], |m| m.name(truth));
                m.text(", taken for ");
                m.el("b", &[], |m| m.name(read.unwrap_or("nothing (NaN)")));
                m.void("br", &[]);
                m.prose(&format!("{}№ {}", confidence.map_or(String::new(), |text| text + " · "), sample.index));
            });
        }
    });
}

//! Models side by side: the table, size against accuracy, and what the kinds of models are.

use super::chart::{Point, ScatterChart};
use super::markup::Markup;
use super::{cell, scrolling};
use crate::format::{bytes, count, duration_ns, percent, plural, points};
use crate::{Comparison, ModelKind, ModelResult, wilson_interval_95};

pub(super) fn write(m: &mut Markup, comparison: &Comparison) {
    let Some(reference) = comparison.reference_model() else { return };
    let several = comparison.models.len() > 1;
    m.el("p", &[("class", "lead")], |m| {
        m.prose(&if several {
            format!(
                "{} models, each run on {} of {}.",
                comparison.models.len(),
                plural(reference.samples, &comparison.sample_noun),
                comparison.data
            )
        } else {
            format!("Run on {} of {}.", plural(reference.samples, &comparison.sample_noun), comparison.data)
        });
    });
    table(m, comparison, reference);
    m.el("div", &[("class", "pair")], |m| how_to_read(m, comparison, reference));
    m.el("div", &[("class", if several { "pair" } else { "" })], |m| {
        if several {
            m.el("figure", &[("class", "panel")], |m| size_chart(m, comparison, reference));
        }
        let has_kinds = comparison.models.iter().any(|model| !model.kind.explanation().is_empty());
        if has_kinds {
            m.el("div", &[], |m| kinds(m, comparison));
        } else if several && comparison.models.iter().all(|model| model.timing.is_some()) {
            m.el("figure", &[("class", "panel")], |m| speed_chart(m, comparison, reference));
        }
    });
}

fn table(m: &mut Markup, comparison: &Comparison, reference: &ModelResult) {
    let several = comparison.models.len() > 1;
    let labelled = comparison.models.iter().any(|model| model.agreement.as_ref().is_some_and(|a| a.broken.is_some()));
    let timed = comparison.models.iter().any(|model| model.timing.is_some());
    let mut columns = vec!["bytes", "accuracy"];
    if several {
        columns.push("change, points");
    }
    if labelled {
        columns.extend(["newly wrong", "newly right"]);
    }
    if timed {
        columns.push("latency p50");
    }
    scrolling(m, "Models", |m| {
        m.el("table", &[], |m| {
            m.el("thead", &[], |m| {
                m.el("tr", &[], |m| {
                    m.leaf("th", &[("scope", "col"), ("class", "l")], "model");
                    columns.iter().for_each(|name| m.leaf("th", &[("scope", "col")], name));
                    m.leaf("th", &[("scope", "col"), ("class", "l file")], "file");
                });
            });
            m.el("tbody", &[], |m| {
                for model in &comparison.models {
                    let is_reference = std::ptr::eq(model, reference);
                    m.el("tr", &[], |m| {
                        m.el("th", &[("scope", "row"), ("class", "l")], |m| m.name(&model.name));
                        cell(m, &count(model.file_bytes));
                        cell(m, &if model.samples == 0 { "–".into() } else { percent(model.accuracy()) });
                        if several {
                            cell(
                                m,
                                &if is_reference {
                                    "–".into()
                                } else {
                                    points(model.accuracy() - reference.accuracy())
                                },
                            );
                        }
                        if labelled {
                            let agreement = model.agreement.as_ref().filter(|_| !is_reference);
                            let number = |value: Option<u64>| value.map_or("–".into(), count);
                            cell(m, &number(agreement.and_then(|agreement| agreement.broken)));
                            cell(m, &number(agreement.and_then(|agreement| agreement.repaired)));
                        }
                        if timed {
                            let text = model.timing.as_ref().map(crate::Timing::to_text).unwrap_or_default();
                            let median = model.timing.as_ref().map(|timing| duration_ns(timing.latency_ns_p50));
                            m.leaf("td", &[("title", &text)], &median.unwrap_or_else(|| "–".into()));
                        }
                        m.el("td", &[("class", "l file")], |m| m.leaf("code", &[], &model.file));
                    });
                }
            });
        });
    });
}

fn how_to_read(m: &mut Markup, comparison: &Comparison, reference: &ModelResult) {
    let noun = &comparison.sample_noun;
    if reference.samples == 0 {
        return;
    }
    let [low, high] = wilson_interval_95(reference.correct, reference.samples);
    m.el("p", &[("class", "explain")], |m| {
        m.leaf("b", &[], "How to read this. ");
        if comparison.models.len() > 1 {
            let one = 100.0 / reference.samples as f64;
            let one = format!("{one:.4}");
            m.prose(&format!(
                "Change is the difference in accuracy to {} in percentage points; one {noun} is {} of a point. ",
                reference.name,
                one.trim_end_matches('0').trim_end_matches('.')
            ));
        }
        if comparison.models.iter().any(|model| model.timing.is_some()) {
            m.text(
                "Latency p50 is the median time of one run with a batch of 1: half of the runs were faster. It holds for the machine \
                 that it was measured on. ",
            );
        }
        m.prose(&format!(
            "The {noun}s tested are a sample of all that could be met: {} of {} right means that the accuracy on all such \
             {noun}s very likely (95 times in 100) lies between {} and {}.",
            count(reference.correct),
            count(reference.samples),
            percent(low),
            percent(high)
        ));
    });
    let compared: Vec<_> = comparison
        .models
        .iter()
        .filter(|model| !std::ptr::eq(*model, reference))
        .filter_map(|model| Some((model, model.agreement.as_ref()?.p_value()?)))
        .collect();
    if compared.is_empty() {
        return;
    }
    m.el("p", &[("class", "explain")], |m| {
        m.leaf("b", &[], "Are the differences real? ");
        m.prose(&format!(
            "All models saw the same {noun}s, so only those count that one model gets right and {} wrong, or the reverse \
             (newly right, newly wrong). If both happen about equally often, the change is chance (McNemar's exact test). ",
            reference.name
        ));
        let different: Vec<_> = compared.iter().filter(|(_, p)| *p < 0.05).collect();
        if different.is_empty() {
            m.prose(&match compared.as_slice() {
                [(only, p)] => format!("{} differs from {} by no more than chance (p = {p:.2}).", only.name, reference.name),
                _ => format!("Here, no model differs from {} by more than chance: every p is above 0.05.", reference.name),
            });
        } else {
            let names: Vec<_> = different.iter().map(|(model, p)| format!("{} (p = {p:.3})", model.name)).collect();
            m.prose(&format!("Here, more than chance separates from {}: {}.", reference.name, names.join(", ")));
        }
    });
}

/// The points of a chart of `x` against accuracy.
fn points_of(
    comparison: &Comparison,
    reference: &ModelResult,
    x: impl Fn(&ModelResult) -> Option<(f64, String)>,
) -> Vec<Point> {
    let shown = comparison.models.iter().filter(|model| model.samples > 0);
    shown
        .filter_map(|model| {
            let (x, text) = x(model)?;
            Some(Point {
                x,
                y: model.accuracy() * 100.0,
                name: shorten(&model.name),
                tip: format!("{}: {text}, {}", model.name, percent(model.accuracy())),
                class: if std::ptr::eq(model, reference) { "second" } else { "first" },
            })
        })
        .collect()
}

fn speed_chart(m: &mut Markup, comparison: &Comparison, reference: &ModelResult) {
    let median = |model: &ModelResult| {
        let ns = model.timing.as_ref()?.latency_ns_p50.max(1);
        Some((ns as f64, duration_ns(ns)))
    };
    let described: Vec<_> = comparison
        .models
        .iter()
        .filter_map(|model| Some(format!("{}: {}, {}", model.name, median(model)?.1, percent(model.accuracy()))))
        .collect();
    let chart = ScatterChart {
        title: "Speed and accuracy of each model",
        description: &described.join("; "),
        x_name: "latency p50, logarithmic",
        y_name: "accuracy, %",
        x_label: |tick| duration_ns(tick.round() as u64).replace(".0 ", " "),
        y_limits: (0.0, 100.0),
        points: points_of(comparison, reference, median),
        band: None,
    };
    m.leaf("h3", &[("style", "margin-top:0")], "Speed against accuracy");
    chart.write(m);
    m.leaf(
        "figcaption",
        &[],
        "Up and to the left is better: more accurate and faster. What is smaller is not always faster: weights of four bits \
         take less room, and the same multiplications.",
    );
}

fn size_chart(m: &mut Markup, comparison: &Comparison, reference: &ModelResult) {
    let size =
        |model: &ModelResult| Some((model.file_bytes.max(1) as f64, format!("{} bytes", count(model.file_bytes))));
    let [low, high] = wilson_interval_95(reference.correct, reference.samples);
    let band = (reference.samples > 0)
        .then(|| (low * 100.0, high * 100.0, format!("95 % interval of {}", shorten(&reference.name))));
    let described: Vec<_> = comparison
        .models
        .iter()
        .map(|model| format!("{}: {}, {}", model.name, bytes(model.file_bytes), percent(model.accuracy())))
        .collect();
    let chart = ScatterChart {
        title: "Size and accuracy of each model",
        description: &described.join("; "),
        x_name: "file size, logarithmic",
        y_name: "accuracy, %",
        x_label: |tick| bytes(tick.round() as u64).replace(".00", ""),
        y_limits: (0.0, 100.0),
        points: points_of(comparison, reference, size),
        band,
    };
    m.leaf("h3", &[("style", "margin-top:0")], "Size against accuracy");
    chart.write(m);
    m.el("figcaption", &[], |m| {
        m.text(
            "Up and to the left is better: more accurate and smaller. Equal distances along the bottom are equal ratios of \
             size. Models inside the shaded band lie within what this test can tell apart from ",
        );
        m.name(&reference.name);
        m.text(".");
    });
}

fn kinds(m: &mut Markup, comparison: &Comparison) {
    let mut kinds: Vec<ModelKind> = Vec::new();
    for model in &comparison.models {
        if !model.kind.explanation().is_empty() && !kinds.contains(&model.kind) {
            kinds.push(model.kind);
        }
    }
    if kinds.is_empty() {
        return;
    }
    m.leaf("h3", &[], "What the formats are");
    m.el("dl", &[("class", "words")], |m| {
        for kind in kinds {
            m.leaf("dt", &[], kind.title());
            m.leaf("dd", &[], kind.explanation());
        }
    });
}

/// Names are labels in charts; long ones would cover them.
fn shorten(name: &str) -> String {
    if name.chars().count() <= 30 { name.into() } else { name.chars().take(29).chain(['…']).collect() }
}

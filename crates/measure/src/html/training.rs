//! Curves of loss and accuracy, the numbers behind them, the configuration.

use super::chart::{LineChart, Series};
use super::details::facts;
use super::markup::Markup;
use super::scale::HUGE;
use super::{cell, header_row, scrolling};
use crate::format::{duration_ns, number, percent, quantity};
use crate::{EpochRecord, Training};

/// The greatest accuracy, on validation data where there are any: what it is, its epoch, and its value.
pub(super) fn best_accuracy(training: &Training) -> Option<(&'static str, (u64, f64))> {
    let best = |value: fn(&EpochRecord) -> Option<f64>| {
        let values =
            training.epochs.iter().filter_map(|epoch| Some((epoch.epoch, value(epoch).filter(|v| v.is_finite())?)));
        values.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
    };
    let validation = best(|epoch| epoch.validation_accuracy).map(|best| ("best validation accuracy", best));
    validation.or_else(|| best(|epoch| epoch.train_accuracy).map(|best| ("best training accuracy", best)))
}

fn has_validation(training: &Training) -> bool {
    training.epochs.iter().any(|epoch| epoch.validation_loss.is_some() || epoch.validation_accuracy.is_some())
}

pub(super) fn write(m: &mut Markup, training: &Training) {
    if training.epochs.is_empty() {
        m.leaf("p", &[("class", "lead")], "No epoch was finished, so there are no curves.");
    } else {
        let validated = has_validation(training);
        m.el("p", &[("class", "lead")], |m| {
            m.text("An epoch is one pass over all training data.");
            if validated {
                m.text(" After each, the network is tried on validation data that it does not learn from.");
            }
        });
        m.el("div", &[("class", "pair charts")], |m| {
            m.el("figure", &[("class", "panel")], |m| loss_chart(m, training));
            m.el("figure", &[("class", "panel")], |m| accuracy_chart(m, training));
        });
        m.el("details", &[], |m| {
            m.leaf("summary", &[], "Numbers of each epoch");
            epochs_table(m, training);
        });
    }
    if !training.configuration.is_empty() {
        m.leaf("h3", &[], "Configuration");
        facts(m, &training.configuration);
    }
}

fn series(training: &Training, values: [fn(&EpochRecord) -> Option<f64>; 2]) -> Vec<Series> {
    let named = [("training", "first"), ("validation", "second")].into_iter().zip(values);
    let epochs = || training.epochs.iter().filter(|epoch| (epoch.epoch as f64) < HUGE);
    let all = named.map(|((name, class), value)| Series {
        name,
        class,
        points: epochs().map(|epoch| (epoch.epoch as f64, value(epoch))).collect(),
    });
    all.filter(|series| series.points.iter().any(|(_, value)| value.is_some_and(f64::is_finite))).collect()
}

fn mark(training: &Training) -> Option<(f64, String)> {
    let best = training.best_epoch.filter(|best| training.epochs.iter().any(|epoch| epoch.epoch == *best))?;
    Some((best as f64, format!("kept: epoch {best}")))
}

fn first_and_last(series: &[Series], format: fn(f64) -> String) -> String {
    let described = series.iter().filter_map(|series| {
        let mut values = series.points.iter().filter_map(|point| Some((point.0, point.1.filter(|v| v.is_finite())?)));
        let first = values.next()?;
        let last = values.next_back().unwrap_or(first);
        Some(format!(
            "{}: {} in epoch {}, {} in epoch {}",
            series.name,
            format(first.1),
            first.0,
            format(last.1),
            last.0
        ))
    });
    described.collect::<Vec<_>>().join("; ")
}

fn loss_chart(m: &mut Markup, training: &Training) {
    let series = series(training, [|epoch| epoch.train_loss, |epoch| epoch.validation_loss]);
    m.leaf("h3", &[("style", "margin-top:0")], "Loss");
    if series.is_empty() {
        m.leaf("p", &[], "Not recorded.");
        return;
    }
    let chart = LineChart {
        title: "Loss after each epoch",
        description: &first_and_last(&series, number),
        x_name: "epoch",
        y_name: "mean loss per sample",
        y_limits: (f64::NEG_INFINITY, f64::INFINITY),
        series,
        mark: mark(training),
        ends_high: false,
        format: number,
    };
    chart.write(m);
    m.el("figcaption", &[], |m| {
        m.text("What training makes small: 0 would be certainty about every right answer.");
        if has_validation(training) {
            m.text(
                " When the validation line turns up while the training line still falls, the network has begun to memorise \
                 (overfitting).",
            );
        }
    });
}

fn accuracy_chart(m: &mut Markup, training: &Training) {
    let series = series(
        training,
        [|epoch| epoch.train_accuracy.map(|v| v * 100.0), |epoch| epoch.validation_accuracy.map(|v| v * 100.0)],
    );
    m.leaf("h3", &[("style", "margin-top:0")], "Accuracy");
    if series.is_empty() {
        m.leaf("p", &[], "Not recorded.");
        return;
    }
    let chart = LineChart {
        title: "Accuracy after each epoch",
        description: &first_and_last(&series, |value| percent(value / 100.0)),
        x_name: "epoch",
        y_name: "accuracy, %",
        y_limits: (0.0, 100.0),
        series,
        mark: mark(training),
        ends_high: true,
        format: |value| percent(value / 100.0),
    };
    chart.write(m);
    m.el("figcaption", &[], |m| {
        m.text("The share of right answers.");
        if has_validation(training) {
            m.text(
                " The training line can lie below the validation line at first: it is an average over the epoch, while the \
                 network still learned, and with dropout or augmentation its task is harder.",
            );
        }
    });
}

fn epochs_table(m: &mut Markup, training: &Training) {
    type Column = (&'static str, fn(&EpochRecord) -> Option<String>);
    let all: [Column; 7] = [
        ("training loss", |epoch| epoch.train_loss.map(number)),
        ("validation loss", |epoch| epoch.validation_loss.map(number)),
        ("training accuracy", |epoch| epoch.train_accuracy.map(percent)),
        ("validation accuracy", |epoch| epoch.validation_accuracy.map(percent)),
        ("learning rate", |epoch| epoch.learning_rate.map(number)),
        ("time", |epoch| epoch.seconds.map(|seconds| duration_ns((seconds * 1e9) as u64))),
        ("samples per second", |epoch| epoch.samples_per_second.map(|rate| quantity(rate as u64))),
    ];
    let columns: Vec<_> =
        all.into_iter().filter(|(_, value)| training.epochs.iter().any(|e| value(e).is_some())).collect();
    scrolling(m, "Epochs", |m| {
        m.el("table", &[], |m| {
            let names: Vec<_> = ["epoch"].into_iter().chain(columns.iter().map(|column| column.0)).collect();
            header_row(m, 1, &names);
            m.el("tbody", &[], |m| {
                for epoch in &training.epochs {
                    m.el("tr", &[], |m| {
                        m.leaf("th", &[("scope", "row"), ("class", "l")], &epoch.epoch.to_string());
                        columns.iter().for_each(|(_, value)| cell(m, &value(epoch).unwrap_or_else(|| "–".into())));
                    });
                }
            });
        });
    });
}

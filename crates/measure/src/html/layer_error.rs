//! The page of `litesmith debug`: which layer adds the most error, and why.

use super::chart::{LineChart, Series};
use super::histogram::HistogramChart;
use super::markup::Markup;
use super::{Section, Tile, cell, contents, document, header_row, scrolling, tile, write_tiles};
use crate::format::{count, number, percent, plural, points, shortened};
use crate::layer_error::decibels;
use crate::{Bins, Grid, GridUse, LayerError, LayerErrorReport};

/// What is above this is drawn at it: there is no error to speak of.
const TOP_DB: f64 = 80.0;
/// Layers that are drawn; the table has all.
const DRAWN: usize = 30;

/// Renders a report as one HTML file, as [`crate::render_html`] does one: the errors along the network, every tensor in a
/// table, and for the layers with the most error of their own, histograms of their values and weights with the grid over
/// them. The same report gives the same bytes.
#[must_use]
pub fn layer_error_html(report: &LayerErrorReport) -> String {
    // The commands below have the whole paths.
    let title = format!("{} against {}", file_name(&report.quantized), file_name(&report.float));
    document(&title, "Made by Litesmith. Everything shown is in this file; it loads nothing.", |m| {
        let sections = sections(report);
        m.el("header", &[], |m| {
            m.leaf("p", &[("class", "eyebrow")], "Litesmith debug");
            m.leaf("h1", &[], &title);
            m.leaf("p", &[("class", "subtitle")], &sentence(&report.verdict()));
            write_tiles(m, &tiles(report));
            contents(m, &sections);
        });
        m.el("main", &[], |m| sections.iter().for_each(|section| section.write(m)));
    })
}

/// A path without its folders.
fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// With a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(characters).chain(['.']).collect()
}

fn tiles(report: &LayerErrorReport) -> Vec<Tile> {
    let mut tiles = Vec::new();
    if let Some(accuracy) = report.accuracy {
        let change = points(accuracy.quantized - accuracy.float);
        let more = format!("float {}, {change} points", percent(accuracy.float));
        let what = format!("accuracy on {}", plural(report.samples, "sample"));
        tiles.push(tile(what, percent(accuracy.quantized), more));
    }
    if let Some(output) = &report.output {
        let more = "signal to noise of what the model gives";
        tiles.push(tile("output", format!("{} dB", decibels(output.snr_db)), more));
    }
    if let Some(worst) = report.worst() {
        let own = decibels(worst.own.as_ref().and_then(|own| own.snr_db));
        let more = format!("{} {}", worst.op, shortened(&worst.name, 40));
        tiles.push(tile("most noise of its own", format!("{own} dB"), more));
    }
    let out = report.layers.iter().filter(|layer| layer.stands_out).count();
    tiles.push(tile("layers that stand out", count(out as u64), format!("of {}", report.layers.len())));
    tiles
}

fn sections(report: &LayerErrorReport) -> Vec<Section<'_>> {
    let mut sections = vec![Section::new("along", "Along the network", |m| along(m, report))];
    if !report.suggestions.is_empty() || !report.kept_float.is_empty() {
        sections.push(Section::new("try", "What to try", |m| what_to_try(m, report)));
    }
    sections.push(Section::new("tensors", "Every tensor", |m| table(m, report)));
    sections.push(Section::new("layers", "Values and grids", |m| layers(m, report)));
    sections
}

fn along(m: &mut Markup, report: &LayerErrorReport) {
    m.el("p", &[("class", "lead")], |m| {
        m.prose(&format!(
            "Both models ran on {} of {}. For each tensor: how much signal there is to the noise of all layers up to it, and \
             to the noise that its own op adds, given inputs that are quantized already.",
            plural(report.samples, "sample"),
            report.data
        ));
    });
    let mut ordered: Vec<_> = report.layers.iter().collect();
    ordered.sort_by_key(|layer| layer.position);
    let points = |value: &dyn Fn(&LayerError) -> Option<f64>| {
        // At the top already here: the axis is for what is drawn.
        let shown = |layer: &&LayerError| (layer.position as f64, value(layer).map(|value| value.min(TOP_DB)));
        ordered.iter().map(shown).collect::<Vec<_>>()
    };
    // Where both are the same, its own shows.
    let series = vec![
        Series { name: "so far", class: "first", points: points(&|layer| layer.error.snr_db) },
        Series { name: "its own", class: "second", points: points(&|layer| layer.own.as_ref()?.snr_db) },
    ];
    let worst = report.worst();
    let chart = LineChart {
        title: "Signal to noise of each layer",
        description: &sentence(&report.verdict()),
        x_name: "layer",
        y_name: "signal to noise, dB",
        y_limits: (f64::NEG_INFINITY, TOP_DB),
        series: series.into_iter().filter(|series| series.points.iter().any(|point| point.1.is_some())).collect(),
        mark: worst.map(|worst| (worst.position as f64, format!("most of its own: {}", shortened(&worst.name, 24)))),
        ends_high: true,
        format: |value| format!("{value:.1} dB"),
    };
    m.el("figure", &[("class", "panel beside")], |m| {
        chart.write(m);
        m.leaf(
            "figcaption",
            &[],
            "Every 6 dB less is twice the error; 80 dB and more are drawn as 80. A layer whose own line dips is where to look; what follows only passes its \
             error on. Layers that add nothing, as those that only move values, have no point of their own.",
        );
    });
    for note in &report.notes {
        m.el("p", &[("class", "explain")], |m| {
            m.leaf("b", &[], "Note. ");
            m.text(&sentence(note));
        });
    }
}

fn what_to_try(m: &mut Markup, report: &LayerErrorReport) {
    for suggestion in &report.suggestions {
        m.leaf("h3", &[], &sentence(&suggestion.what));
        m.leaf("pre", &[("tabindex", "0")], &suggestion.command);
        if !suggestion.recipe.is_empty() {
            m.el("details", &[], |m| {
                m.leaf("summary", &[], "as a recipe, for litesmith compress FLOAT --recipe FILE");
                m.leaf("pre", &[("tabindex", "0")], suggestion.recipe.trim_end());
            });
        }
    }
    if report.kept_float.is_empty() {
        return;
    }
    m.leaf("h3", &[], "What it would bring");
    m.leaf(
        "p",
        &[("class", "explain")],
        "Quantized anew with the grids of this model, but for one layer, which stays float and whose result is calibrated \
         on the samples.",
    );
    scrolling(m, "Kept float", |m| {
        m.el("table", &[], |m| {
            header_row(m, 1, &["kept float", "output SNR, dB", "accuracy"]);
            m.el("tbody", &[], |m| {
                for result in &report.kept_float {
                    m.el("tr", &[], |m| {
                        m.el("th", &[("scope", "row"), ("class", "l")], |m| match &result.name {
                            Some(name) => m.name(name),
                            None => m.text("none"),
                        });
                        cell(m, &decibels(result.output.snr_db));
                        cell(m, &result.accuracy.map_or_else(|| "–".into(), percent));
                    });
                }
            });
        });
    });
}

fn table(m: &mut Markup, report: &LayerErrorReport) {
    m.leaf(
        "p",
        &[("class", "lead")],
        "The largest noise of its own first. Errors are shares of the range of the float values. At the ends: quantized values \
         at an end of the grid that does not stand for 0. Beyond: float values that the grid cuts off. Used: the range of the \
         float values over that of the grid.",
    );
    scrolling(m, "Tensors", |m| {
        m.el("table", &[("class", "dense")], |m| {
            let columns =
                ["tensor", "op", "#", "own, dB", "SNR, dB", "cosine", "max", "mean", "at the ends", "beyond", "used"];
            header_row(m, 2, &columns);
            m.el("tbody", &[], |m| report.layers.iter().enumerate().for_each(|(rank, layer)| row(m, rank, layer)));
        });
    });
    if report.unmatched_quantized + report.unmatched_float > 0 {
        m.el("p", &[("class", "explain")], |m| {
            m.prose(&format!(
                "Without a counterpart: {} of the quantized model, {} of the float model.",
                plural(report.unmatched_quantized as u64, "tensor"),
                report.unmatched_float
            ));
        });
    }
}

fn row(m: &mut Markup, rank: usize, layer: &LayerError) {
    m.el("tr", &[], |m| {
        m.el("th", &[("scope", "row"), ("class", "l"), ("title", &layer.name)], |m| {
            if rank < DRAWN {
                m.el("a", &[("href", &format!("#layer-{}", layer.position))], |m| m.name(&layer.name));
            } else {
                m.name(&layer.name);
            }
        });
        m.el("td", &[("class", "l")], |m| m.leaf("code", &[], &layer.op));
        cell(m, &layer.position.to_string());
        let own = layer.own.as_ref().map_or_else(|| "?".into(), |own| decibels(own.snr_db));
        m.leaf("td", if layer.stands_out { &[("class", "out")] } else { &[] }, &own);
        cell(m, &decibels(layer.error.snr_db));
        cell(m, &format!("{:.5}", layer.error.cosine));
        cell(m, &percent(layer.error.max_of_range));
        cell(m, &percent(layer.error.mean_of_range));
        let grid = |share: fn(&GridUse) -> f64| layer.grid.as_ref().map_or("–".into(), |grid| percent(share(grid)));
        cell(m, &grid(|grid| grid.at_ends));
        cell(m, &grid(|grid| grid.beyond));
        cell(m, &grid(|grid| grid.used));
    });
}

fn layers(m: &mut Markup, report: &LayerErrorReport) {
    m.leaf(
        "p",
        &[("class", "lead")],
        "Bars are float values, in equal intervals, zeros left out; thin lines are the values that the grid can express, a \
         thick one is its end. Bars of the second colour lie beyond it. A good grid ends where the bars do.",
    );
    for (rank, layer) in report.layers.iter().take(DRAWN).enumerate() {
        m.el("div", &[("id", &format!("layer-{}", layer.position))], |m| one_layer(m, rank, layer));
    }
    if let Some(more) = report.layers.len().checked_sub(DRAWN).filter(|&more| more > 0) {
        m.el("p", &[("class", "explain")], |m| m.prose(&format!("{more} more are in the table only.")));
    }
}

fn one_layer(m: &mut Markup, rank: usize, layer: &LayerError) {
    m.el("h3", &[], |m| {
        m.text(&format!("{}. ", rank + 1));
        m.el("span", &[("title", &layer.name)], |m| m.name(&shortened(&layer.name, 60)));
        m.text(" ");
        m.leaf("code", &[], &layer.op);
    });
    m.el("p", &[("class", "explain")], |m| {
        m.leaf("code", &[], &layer.kind);
        let own = match (&layer.own, &layer.own_unknown) {
            (Some(own), _) if own.snr_db.is_none() => "adds no error".into(),
            (Some(own), _) => format!("{} dB of its own", decibels(own.snr_db)),
            (None, Some(why)) => format!("its own error is not known: {why}"),
            (None, None) => "its own error is not known".into(),
        };
        m.prose(&format!(" · {own} · {} dB so far", decibels(layer.error.snr_db)));
        if let Some(cause) = layer.cause_text() {
            m.text(" · ");
            m.leaf("span", &[("class", "out")], &cause);
        }
    });
    m.el("div", &[("class", "pair")], |m| {
        let grid = layer.grid.as_ref().map(|used| &used.grid);
        let used = layer.grid.as_ref().map(|used| format!(" The values take {} of it.", percent(used.used)));
        let caption = format!("{}{}", described(&layer.values, grid, "value"), used.unwrap_or_default());
        figure(m, "Values", "value", &layer.values, grid, &caption);
        if let Some(weights) = &layer.weights {
            let per_channel = weights.scales > 1;
            let x_name = if per_channel { "weight over the scale of its channel" } else { "weight" };
            let scales = match weights.scales {
                0 | 1 => String::new(),
                scales => format!(" {} scales, one for each channel.", count(scales as u64)),
            };
            let caption = format!(
                "{}{scales} Signal to noise {} dB.",
                described(&weights.values, weights.grid.as_ref(), "weight"),
                decibels(weights.error.snr_db)
            );
            figure(m, "Weights", x_name, &weights.values, weights.grid.as_ref(), &caption);
        }
    });
}

fn described(values: &Bins, grid: Option<&Grid>, noun: &str) -> String {
    let zeros = match values.zeros as f64 / values.total().max(1) as f64 {
        0.0 => String::new(),
        share => format!(", {} of them 0", percent(share)),
    };
    let grid = grid.map_or_else(String::new, |grid| {
        let steps = count(grid.steps() as u64);
        format!(
            " Grid {}: {} to {}, {steps} values, {} apart.",
            grid.dtype,
            number(grid.low),
            number(grid.high),
            number(grid.scale)
        )
    });
    format!("{}{zeros}.{grid}", plural(values.total(), noun))
}

fn figure(m: &mut Markup, title: &str, x_name: &str, values: &Bins, grid: Option<&Grid>, caption: &str) {
    m.el("figure", &[("class", "panel")], |m| {
        m.leaf("h4", &[], title);
        HistogramChart { title, description: caption, x_name, values, grid }.write(m);
        m.el("figcaption", &[], |m| m.prose(caption));
    });
}

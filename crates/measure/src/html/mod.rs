//! `report.html`: one self-contained file, rendered from a [`Report`] alone.

mod chart;
mod comparison;
mod details;
mod evaluation;
mod histogram;
mod layer_error;
pub(crate) mod markup;
mod scale;
mod training;

use crate::Report;
use crate::format::{bytes, duration_ns, percent, points};
use markup::Markup;

pub use layer_error::layer_error_html;

/// Renders a report as one HTML file that needs no network and no script, follows the reader's light or dark setting,
/// prints, and has a table beside every chart. The same report gives the same bytes. Texts of the report are escaped, and
/// a content security policy forbids the page to load anything.
#[must_use]
pub fn render_html(report: &Report) -> String {
    document(
        &report.title,
        "Made by Litesmith. Everything shown is in this file and in the JSON file beside it; it loads nothing.",
        |m| {
            m.el("header", &[], |m| head(m, report));
            m.el("main", &[], |m| sections(report).into_iter().for_each(|section| section.write(m)));
        },
    )
}

/// The page around a body and a line at its foot.
fn document(title: &str, foot: &str, body: impl FnOnce(&mut Markup)) -> String {
    let mut m = Markup::default();
    m.raw("<!DOCTYPE html>\n");
    m.el("html", &[("lang", "en")], |m| {
        m.el("head", &[], |m| {
            m.void("meta", &[("charset", "utf-8")]);
            m.void("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
            let policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";
            m.void("meta", &[("http-equiv", "Content-Security-Policy"), ("content", policy)]);
            m.void("meta", &[("name", "generator"), ("content", "Litesmith")]);
            m.leaf("title", &[], title);
            m.el("style", &[], |m| m.raw(include_str!("style.css")));
        });
        m.el("body", &[], |m| {
            m.el("div", &[("class", "wrap")], |m| {
                body(m);
                m.leaf("footer", &[], foot);
            });
        });
    });
    let mut html = m.finish();
    html.push('\n');
    html
}

/// A section with its entry in the table of contents.
struct Section<'a> {
    id: String,
    title: String,
    body: Box<dyn Fn(&mut Markup) + 'a>,
}

impl<'a> Section<'a> {
    fn new(id: impl Into<String>, title: impl Into<String>, body: impl Fn(&mut Markup) + 'a) -> Self {
        Self { id: id.into(), title: title.into(), body: Box::new(body) }
    }

    fn write(&self, m: &mut Markup) {
        let heading = format!("{}-title", self.id);
        m.el("section", &[("id", &self.id), ("aria-labelledby", &heading)], |m| {
            m.leaf("h2", &[("id", &heading)], &self.title);
            (self.body)(m);
        });
    }
}

fn sections(report: &Report) -> Vec<Section<'_>> {
    let mut sections = Vec::new();
    if let Some(comparison) = report.comparison.as_ref().filter(|comparison| !comparison.models.is_empty()) {
        sections.push(Section::new("models", "Size, accuracy and speed", |m| comparison::write(m, comparison)));
    }
    if let Some(training) = &report.training {
        sections.push(Section::new("training", "Training", |m| training::write(m, training)));
    }
    for (index, evaluation) in report.evaluations.iter().enumerate() {
        let title = format!("What {} gets right and wrong", evaluation.model);
        sections.push(Section::new(format!("evaluation-{}", index + 1), title, |m| evaluation::write(m, evaluation)));
    }
    if let Some(layers) = &report.layers {
        sections.push(Section::new("layers", "Layer by layer", |m| details::layers(m, layers)));
    }
    if report.machine.is_some() || !report.facts.is_empty() || !report.reproduce.is_empty() {
        sections.push(Section::new("making", "How it was made", |m| details::making(m, report)));
    }
    sections
}

fn head(m: &mut Markup, report: &Report) {
    m.el("p", &[("class", "eyebrow")], |m| {
        m.text("Litesmith report");
        if let Some(created) = &report.created {
            m.text(" · ");
            m.text(created);
        }
    });
    m.leaf("h1", &[], &report.title);
    if !report.subtitle.is_empty() {
        m.leaf("p", &[("class", "subtitle")], &report.subtitle);
    }
    write_tiles(m, &tiles(report));
    contents(m, &sections(report));
}

fn write_tiles(m: &mut Markup, tiles: &[Tile]) {
    if tiles.is_empty() {
        return;
    }
    m.el("div", &[("class", "tiles")], |m| {
        for tile in tiles {
            m.el("div", &[("class", "tile")], |m| {
                m.leaf("div", &[("class", "what")], &tile.what);
                m.leaf("div", &[("class", "value")], &tile.value);
                m.el("div", &[("class", "more")], |m| m.prose(&tile.more));
            });
        }
    });
}

/// Links to the sections, where there are several.
fn contents(m: &mut Markup, sections: &[Section<'_>]) {
    if sections.len() > 1 {
        m.el("nav", &[("aria-label", "Sections")], |m| {
            m.el("ul", &[], |m| {
                for section in sections {
                    m.el("li", &[], |m| m.leaf("a", &[("href", &format!("#{}", section.id))], &section.title));
                }
            });
        });
    }
}

/// A number that the reader came for.
struct Tile {
    what: String,
    value: String,
    more: String,
}

fn tile(what: impl Into<String>, value: impl Into<String>, more: impl Into<String>) -> Tile {
    Tile { what: what.into(), value: value.into(), more: more.into() }
}

fn tiles(report: &Report) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let interval = |[low, high]: [f64; 2]| format!("95 % interval {} to {}", percent(low), percent(high));
    match report.comparison.as_ref().and_then(|comparison| Some((comparison, comparison.reference_model()?))) {
        Some((comparison, reference)) => {
            let accuracy = percent(reference.accuracy());
            let bounds = crate::wilson_interval_95(reference.correct, reference.samples);
            tiles.push(tile(format!("accuracy of {}", reference.name), accuracy, interval(bounds)));
            let smallest =
                comparison.models.iter().min_by_key(|model| model.file_bytes).filter(|model| model.file_bytes > 0);
            if let Some(smallest) = smallest.filter(|model| model.file_bytes < reference.file_bytes) {
                let times = reference.file_bytes as f64 / smallest.file_bytes as f64;
                let change = points(smallest.accuracy() - reference.accuracy());
                let more = format!("{times:.1} times smaller than {}, {change} points of accuracy", reference.name);
                tiles.push(tile(format!("smallest file: {}", smallest.name), bytes(smallest.file_bytes), more));
            }
            let timed = comparison.models.iter().filter_map(|model| Some((model, model.timing.as_ref()?)));
            if let Some((fastest, timing)) = timed.min_by_key(|(_, timing)| timing.latency_ns_p50) {
                let more = match &reference.timing {
                    Some(theirs) if fastest.name != reference.name && timing.latency_ns_p50 > 0 => {
                        let times = theirs.latency_ns_p50 as f64 / timing.latency_ns_p50 as f64;
                        format!(
                            "median for one {}; {times:.1} times as fast as {}",
                            comparison.sample_noun, reference.name
                        )
                    }
                    _ => format!("median for one {}", comparison.sample_noun),
                };
                tiles.push(tile(format!("fastest: {}", fastest.name), duration_ns(timing.latency_ns_p50), more));
            }
        }
        None => {
            for evaluation in report.evaluations.iter().take(2) {
                let metrics = &evaluation.metrics;
                let what = format!("accuracy of {} on {}", evaluation.model, evaluation.data);
                tiles.push(tile(what, percent(metrics.accuracy), interval(metrics.accuracy_interval_95)));
                let wrong = metrics.samples.saturating_sub(metrics.correct);
                let of = format!("of {}", crate::format::plural(metrics.samples, &evaluation.sample_noun));
                tiles.push(tile("wrong", crate::format::count(wrong), of));
            }
        }
    }
    if let Some(training) = &report.training {
        if tiles.is_empty()
            && let Some((what, best)) = training::best_accuracy(training)
        {
            tiles.push(tile(what, percent(best.1), format!("epoch {}", best.0)));
        }
        if let Some(seconds) = training.seconds.filter(|seconds| *seconds >= 0.0) {
            let mut more = crate::format::plural(training.epochs.len() as u64, "epoch");
            if let Some(peak) = training.peak_rss_bytes {
                more += &format!(", {} of memory at the peak", bytes(peak));
            }
            tiles.push(tile("training time", duration_ns((seconds * 1e9) as u64), more));
        }
    }
    tiles
}

/// A table that scrolls sideways where the page is too narrow for it.
fn scrolling(m: &mut Markup, label: &str, inner: impl FnOnce(&mut Markup)) {
    let attributes = [("class", "scroll"), ("role", "region"), ("aria-label", label), ("tabindex", "0")];
    m.el("div", &attributes, inner);
}

/// A row of column headers; those after `left` are of numbers.
fn header_row(m: &mut Markup, left: usize, names: &[&str]) {
    m.el("thead", &[], |m| {
        m.el("tr", &[], |m| {
            for (index, name) in names.iter().enumerate() {
                let class = if index < left { "l" } else { "r" };
                m.leaf("th", &[("scope", "col"), ("class", class)], name);
            }
        });
    });
}

/// A cell with a number.
fn cell(m: &mut Markup, text: &str) {
    m.leaf("td", &[], text);
}

/// A short horizontal bar of this share, before the number that it shows.
fn bar(m: &mut Markup, share: f64) {
    let width = format!("width:{:.1}%", (share * 100.0).clamp(0.0, 100.0));
    m.el("span", &[("class", "bar"), ("aria-hidden", "true")], |m| m.leaf("i", &[("style", &width)], ""));
}

#[cfg(test)]
mod tests;

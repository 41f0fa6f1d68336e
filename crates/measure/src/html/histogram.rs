//! Histograms with the grid that the values are quantized to drawn over them.

use super::chart::{Frame, TEXT, line, number, svg, text, text_width};
use super::markup::Markup;
use super::scale::Scale;
use crate::format;
use crate::{Bins, Grid};

/// More steps than this would be one grey area.
const STEPS_MAX: f64 = 600.0;

/// How often values occur, and what a grid makes of them.
pub(super) struct HistogramChart<'a> {
    /// What it shows, for those who cannot see it.
    pub(super) title: &'a str,
    /// The same in a sentence or two.
    pub(super) description: &'a str,
    /// Name of the horizontal axis.
    pub(super) x_name: &'a str,
    /// The values.
    pub(super) values: &'a Bins,
    /// What they are rounded to.
    pub(super) grid: Option<&'a Grid>,
}

impl HistogramChart<'_> {
    /// Writes the chart.
    pub(super) fn write(&self, m: &mut Markup) {
        let view = self.view();
        let x = Scale::linear([view.0, view.1], 5, view);
        let most = self.values.counts.iter().copied().max().unwrap_or(0).max(1);
        let y = Scale::log([1.0, most as f64], 1.5);
        let y_label = |tick: f64| format::quantity(tick.round() as u64);
        let decimals = x.decimals();
        let frame = Frame::new(&x, &y, &y_label, 14.0);
        svg(m, self.title, self.description, |m| {
            frame.axes(m, &|tick| format!("{tick:.decimals$}"), &y_label, self.x_name, "values, logarithmic");
            let is_beyond = |middle: f64| self.grid.is_some_and(|grid| middle < grid.low || middle > grid.high);
            for (class, beyond) in [("bars", false), ("beyond", true)] {
                let path = self.bars(&frame, &|middle| is_beyond(middle) == beyond);
                if !path.is_empty() {
                    m.void("path", &[("class", class), ("d", &path)]);
                }
            }
            if let Some(grid) = self.grid {
                steps(m, &frame, grid, view);
                edges(m, &frame, grid, view);
            }
        });
    }

    /// The values, and the ends of the grid where they are not far off.
    fn view(&self) -> (f64, f64) {
        let (low, high) = (self.values.low.min(0.0), self.values.high.max(0.0));
        let span = if high > low { high - low } else { 1.0 };
        let (mut from, mut to) = (low - span * 0.04, high + span * 0.04);
        if let Some(grid) = self.grid {
            if grid.low > low - span * 0.3 {
                from = from.min(grid.low - span * 0.04);
            }
            if grid.high < high + span * 0.3 {
                to = to.max(grid.high + span * 0.04);
            }
        }
        (from, to)
    }

    fn bars(&self, frame: &Frame<'_>, chosen: &dyn Fn(f64) -> bool) -> String {
        let width = (self.values.high - self.values.low) / self.values.counts.len().max(1) as f64;
        let mut path = String::new();
        for (index, &count) in self.values.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let start = self.values.low + index as f64 * width;
            if !chosen(start + width / 2.0) {
                continue;
            }
            let (left, right) = (frame.x(start), frame.x(start + width));
            // At least a hairline, for values that all are the same.
            let right = right.max(left + 1.0);
            let [left, right, top, bottom] = [left, right, frame.y(count as f64), frame.bottom].map(number);
            path += &format!("M{left} {bottom}V{top}H{right}V{bottom}Z");
        }
        path
    }
}

/// A line for each value of the grid.
fn steps(m: &mut Markup, frame: &Frame<'_>, grid: &Grid, view: (f64, f64)) {
    let (low, high) = (grid.low.max(view.0), grid.high.min(view.1));
    // 0 is on every grid.
    let (first, last) = ((low / grid.scale).ceil(), (high / grid.scale).floor());
    if !(0.0..STEPS_MAX).contains(&(last - first)) {
        return;
    }
    let (top, bottom) = (number(frame.top), number(frame.bottom));
    let mut path = String::new();
    for step in 0..=(last - first) as i64 {
        let at = number(frame.x((first + step as f64) * grid.scale));
        path += &format!("M{at} {top}V{bottom}");
    }
    m.void("path", &[("class", "steps"), ("d", &path)]);
}

/// Where the grid ends, or how far it goes on.
fn edges(m: &mut Markup, frame: &Frame<'_>, grid: &Grid, view: (f64, f64)) {
    let height = frame.top + TEXT;
    if grid.low >= view.0 {
        let x = frame.x(grid.low);
        line(m, "edge", (x, frame.top), (x, frame.bottom));
    } else {
        text(m, "note", frame.left + 4.0, height, "start", &format!("← grid to {}", format::number(grid.low)));
    }
    if grid.high <= view.1 {
        let x = frame.x(grid.high);
        line(m, "edge", (x, frame.top), (x, frame.bottom));
        let label = "end of the grid";
        // Beside the line, wherever there is room.
        let (at, anchor) = if frame.right - x > text_width(label) { (x + 5.0, "start") } else { (x - 5.0, "end") };
        text(m, "note", at, height, anchor, label);
    } else {
        text(m, "note", frame.right - 4.0, height, "end", &format!("grid to {} →", format::number(grid.high)));
    }
}

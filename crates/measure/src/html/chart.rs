//! Line and scatter charts as SVG. Colours come from the style sheet, so that they follow light and dark.

use super::markup::Markup;
use super::scale::{HUGE, Scale};

/// Size of every chart in its own units; the page scales it.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;

/// Height of text, and a width of its characters that no common typeface exceeds on average. The style sheet enlarges
/// text up to this size on narrow screens.
pub(super) const TEXT: f64 = 14.0;
const CHARACTER: f64 = 8.0;

/// The value, if an axis can show it.
fn usable(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.abs() < HUGE)
}

/// A line of a chart.
pub(super) struct Series {
    /// Name, written at its end.
    pub(super) name: &'static str,
    /// Class that gives the colour.
    pub(super) class: &'static str,
    /// Points in order; a `None` interrupts the line.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// A chart of lines over whole numbers.
pub(super) struct LineChart<'a> {
    /// What it shows, for those who cannot see it.
    pub(super) title: &'a str,
    /// The same in a sentence or two.
    pub(super) description: &'a str,
    /// Name of the horizontal axis.
    pub(super) x_name: &'a str,
    /// Name and unit of the vertical axis.
    pub(super) y_name: &'a str,
    /// Range that values cannot leave.
    pub(super) y_limits: (f64, f64),
    /// Lines.
    pub(super) series: Vec<Series>,
    /// A value of x to mark, and what to write there.
    pub(super) mark: Option<(f64, String)>,
    /// Whether lines end high, so that the mark is written low.
    pub(super) ends_high: bool,
    /// Writes a value, for tooltips.
    pub(super) format: fn(f64) -> String,
}

impl LineChart<'_> {
    /// Writes the chart.
    pub(super) fn write(&self, m: &mut Markup) {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Scale::counting(points().map(|point| point.0), 6);
        let y = Scale::linear(points().filter_map(|point| point.1), 5, self.y_limits);
        let names = self.series.iter().map(|series| text_width(series.name)).fold(0.0, f64::max);
        let decimals = y.decimals();
        let y_label = |tick: f64| format!("{tick:.decimals$}");
        let frame = Frame::new(&x, &y, &y_label, names + 14.0);
        svg(m, self.title, self.description, |m| {
            frame.axes(m, &|tick| format!("{tick:.0}"), &y_label, self.x_name, self.y_name);
            if let Some((value, label)) = &self.mark {
                let at = frame.x(*value);
                line(m, "mark", (at, frame.top), (at, frame.bottom));
                let left = at - frame.left > text_width(label) + 8.0;
                let label_y = if self.ends_high { frame.bottom - 8.0 } else { frame.top + TEXT };
                text(
                    m,
                    "note",
                    if left { at - 6.0 } else { at + 6.0 },
                    label_y,
                    if left { "end" } else { "start" },
                    label,
                );
            }
            for series in &self.series {
                m.el("g", &[("class", series.class)], |m| {
                    m.void("path", &[("class", "line"), ("d", &frame.path(&series.points))]);
                    for &(at, value) in &series.points {
                        let Some(value) = usable(value) else { continue };
                        let tip = format!("{} {at}, {}: {}", self.x_name, series.name, (self.format)(value));
                        dot(m, frame.x(at), frame.y(value), if series.points.len() > 40 { 1.5 } else { 3.0 }, &tip);
                    }
                });
            }
            let ends: Vec<_> = self
                .series
                .iter()
                .filter_map(|series| {
                    let last = series.points.iter().rev().find_map(|&(at, value)| Some((at, usable(value)?)))?;
                    Some((series, frame.x(last.0), frame.y(last.1)))
                })
                .collect();
            let heights =
                spread(&ends.iter().map(|end| end.2).collect::<Vec<_>>(), TEXT + 1.0, frame.top, frame.bottom);
            for ((series, end_x, _), height) in ends.iter().zip(heights) {
                let class = format!("label {}", series.class);
                text(m, &class, end_x + 9.0, height + TEXT * 0.33, "start", series.name);
            }
        });
    }
}

/// A point of a scatter chart.
pub(super) struct Point {
    /// Horizontal value, positive.
    pub(super) x: f64,
    /// Vertical value.
    pub(super) y: f64,
    /// Name, written beside it.
    pub(super) name: String,
    /// Shown when the pointer rests on it.
    pub(super) tip: String,
    /// Class that gives the colour.
    pub(super) class: &'static str,
}

/// A chart of points over a logarithmic axis.
pub(super) struct ScatterChart<'a> {
    /// What it shows, for those who cannot see it.
    pub(super) title: &'a str,
    /// The same in a sentence or two.
    pub(super) description: &'a str,
    /// Name of the horizontal axis.
    pub(super) x_name: &'a str,
    /// Name and unit of the vertical axis.
    pub(super) y_name: &'a str,
    /// Writes a tick of the horizontal axis.
    pub(super) x_label: fn(f64) -> String,
    /// Range that vertical values cannot leave.
    pub(super) y_limits: (f64, f64),
    /// Points.
    pub(super) points: Vec<Point>,
    /// A range of vertical values to shade, and what to write there.
    pub(super) band: Option<(f64, f64, String)>,
}

impl ScatterChart<'_> {
    /// Writes the chart.
    pub(super) fn write(&self, m: &mut Markup) {
        let x = Scale::log(self.points.iter().map(|point| point.x), 1.5);
        let band = self.band.iter().flat_map(|band| [band.0, band.1]);
        let y = Scale::linear(self.points.iter().map(|point| point.y).chain(band), 5, self.y_limits);
        let decimals = y.decimals();
        let y_label = |tick: f64| format!("{tick:.decimals$}");
        let frame = Frame::new(&x, &y, &y_label, 12.0);
        svg(m, self.title, self.description, |m| {
            let mut taken: Vec<Area> = Vec::new();
            if let Some((low, high, _)) = &self.band {
                let (top, bottom) = (frame.y(*high), frame.y(*low));
                let [x, y, width, height] =
                    [frame.left, top, frame.right - frame.left, (bottom - top).max(1.0)].map(number);
                m.void("rect", &[("class", "band"), ("x", &x), ("y", &y), ("width", &width), ("height", &height)]);
            }
            frame.axes(m, &|tick| (self.x_label)(tick), &y_label, self.x_name, self.y_name);
            if let Some((low, _, label)) = &self.band {
                let baseline = frame.y(*low) - 6.0;
                text(m, "note", frame.left + 6.0, baseline, "start", label);
                taken.push(Area::new(frame.left + 6.0, baseline - TEXT, text_width(label), TEXT));
            }
            let at: Vec<_> = self.points.iter().map(|point| (frame.x(point.x), frame.y(point.y))).collect();
            let front = self.front();
            for pair in front.windows(2) {
                let ((x, y), (next_x, next_y)) = (at[pair[0]], at[pair[1]]);
                line(m, "front", (x, y), (next_x, y));
                line(m, "front", (next_x, y), (next_x, next_y));
            }
            taken.extend(at.iter().map(|&(x, y)| Area::new(x - 6.0, y - 6.0, 12.0, 12.0)));
            // From the top down, so that labels that have to move keep the order of their points. Of many only those of the front
            // are named, where there is room; the others tell their name when pointed at.
            let crowded = at.len() > MANY;
            let named = |index: &usize| !crowded || front.contains(index) || self.points[*index].class == "second";
            let mut order: Vec<usize> = (0..at.len()).filter(named).collect();
            order.sort_by(|&a, &b| at[a].1.total_cmp(&at[b].1));
            let mut labels: Vec<Option<Area>> = vec![None; at.len()];
            for index in order {
                let area = frame.place(at[index].0, at[index].1, text_width(&self.points[index].name), &taken);
                if !crowded || frame.is_free(&area, &taken) {
                    labels[index] = Some(area);
                    taken.push(area);
                }
            }
            for (&(x, y), area) in at.iter().zip(&labels) {
                let Some(area) = area else { continue };
                let middle = area.y + area.height / 2.0;
                if (middle - y).abs() > TEXT * 0.6 {
                    let near = if area.x > x { area.x - 2.0 } else { area.x + area.width + 2.0 };
                    line(m, "leader", (x, y), (near, middle));
                }
            }
            for ((point, &(x, y)), area) in self.points.iter().zip(&at).zip(&labels) {
                m.el("g", &[("class", point.class)], |m| dot(m, x, y, 5.5, &point.tip));
                let Some(area) = area else { continue };
                let left = area.x < x;
                let (anchor_x, anchor) = if left { (area.x + area.width, "end") } else { (area.x, "start") };
                text(m, "label", anchor_x, area.y + area.height * 0.78, anchor, &point.name);
            }
        });
    }

    /// The points that no other beats, from left to right: those with more and more of the vertical value.
    fn front(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.points.len()).collect();
        let key = |index: usize| (self.points[index].x, -self.points[index].y);
        order.sort_by(|&a, &b| key(a).0.total_cmp(&key(b).0).then(key(a).1.total_cmp(&key(b).1)));
        let mut most = f64::NEG_INFINITY;
        order.retain(|&index| {
            let beats = self.points[index].y > most;
            most = most.max(self.points[index].y);
            beats
        });
        order
    }
}

/// More points than this are crowded.
const MANY: usize = 8;

/// The rectangle in which values are drawn.
pub(super) struct Frame<'a> {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    x: &'a Scale,
    y: &'a Scale,
}

impl<'a> Frame<'a> {
    pub(super) fn new(x: &'a Scale, y: &'a Scale, y_label: &dyn Fn(f64) -> String, right_margin: f64) -> Self {
        let widest = y.ticks.iter().map(|&tick| text_width(&y_label(tick))).fold(0.0, f64::max);
        Self { left: widest + 10.0, right: WIDTH - right_margin, top: 34.0, bottom: HEIGHT - 44.0, x, y }
    }

    pub(super) fn x(&self, value: f64) -> f64 {
        self.left + self.x.position(value).clamp(0.0, 1.0) * (self.right - self.left)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        self.bottom - self.y.position(value).clamp(0.0, 1.0) * (self.bottom - self.top)
    }

    pub(super) fn axes(
        &self,
        m: &mut Markup,
        x_label: &dyn Fn(f64) -> String,
        y_label: &dyn Fn(f64) -> String,
        x_name: &str,
        y_name: &str,
    ) {
        for &tick in &self.y.ticks {
            let y = self.y(tick);
            line(m, "grid", (self.left, y), (self.right, y));
            text(m, "tick", self.left - 7.0, y + TEXT * 0.33, "end", &y_label(tick));
        }
        line(m, "axis", (self.left, self.bottom), (self.right, self.bottom));
        for &tick in &self.x.ticks {
            let x = self.x(tick);
            line(m, "axis", (x, self.bottom), (x, self.bottom + 4.0));
            text(m, "tick", x, self.bottom + 5.0 + TEXT, "middle", &x_label(tick));
        }
        text(m, "name", 0.0, TEXT, "start", y_name);
        text(m, "name", self.right, HEIGHT - 5.0, "end", x_name);
    }

    fn path(&self, points: &[(f64, Option<f64>)]) -> String {
        let mut path = String::new();
        let mut command = 'M';
        for &(x, y) in points {
            match usable(y) {
                Some(y) => {
                    path += &format!("{command}{} {}", number(self.x(x)), number(self.y(y)));
                    command = 'L';
                }
                None => command = 'M',
            }
        }
        path
    }

    /// Whether a label covers nothing of what is taken and lies inside.
    fn is_free(&self, area: &Area, taken: &[Area]) -> bool {
        let is_inside = area.x >= self.left
            && area.x + area.width <= WIDTH
            && area.y >= self.top - TEXT
            && area.y + area.height <= self.bottom;
        is_inside && taken.iter().all(|other| area.overlap(other) < 1.0)
    }

    /// Where to write a label of this width for the point `(x, y)`: beside it, or up and down from there, wherever it
    /// covers least of what is taken and stays inside.
    fn place(&self, x: f64, y: f64, width: f64, taken: &[Area]) -> Area {
        let cost = |area: &Area| {
            let covered: f64 = taken.iter().map(|other| area.overlap(other)).sum();
            let outside = (self.left - area.x).max(0.0)
                + (area.x + area.width - WIDTH).max(0.0)
                + (self.top - TEXT - area.y).max(0.0)
                + (area.y + area.height - self.bottom).max(0.0);
            let moved = (area.y + area.height / 2.0 - y).abs();
            covered * 10.0 + outside * 100.0 + moved + if area.x < x { 4.0 } else { 0.0 }
        };
        let shifts = (0..14).flat_map(|i| [f64::from(i), -f64::from(i)]);
        let candidates = shifts.flat_map(|shift| {
            let top = y - TEXT / 2.0 + shift * TEXT / 2.0;
            let gap = if shift == 0.0 { 10.0 } else { 18.0 };
            [Area::new(x + gap, top, width, TEXT), Area::new(x - gap - width, top, width, TEXT)]
        });
        let best = candidates.min_by(|a, b| cost(a).total_cmp(&cost(b)));
        best.unwrap_or(Area::new(x + 10.0, y - TEXT / 2.0, width, TEXT))
    }
}

/// A rectangle.
#[derive(Debug, Clone, Copy)]
struct Area {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Area {
    fn new(x: f64, y: f64, width: f64, height: f64) -> Self {
        Self { x, y, width, height }
    }

    fn overlap(&self, other: &Self) -> f64 {
        let along = |a: f64, a_size: f64, b: f64, b_size: f64| ((a + a_size).min(b + b_size) - a.max(b)).max(0.0);
        along(self.x, self.width, other.x, other.width) * along(self.y, self.height, other.y, other.height)
    }
}

/// Moves heights as little as needed, keeping their order, so that they lie `gap` apart and, if they fit, within the bounds.
fn spread(heights: &[f64], gap: f64, top: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|&a, &b| heights[a].total_cmp(&heights[b]));
    let mut spread = heights.to_vec();
    let mut floor = top;
    for &index in &order {
        spread[index] = spread[index].max(floor);
        floor = spread[index] + gap;
    }
    let mut ceiling = bottom;
    for &index in order.iter().rev() {
        spread[index] = spread[index].min(ceiling);
        ceiling = spread[index] - gap;
    }
    spread
}

pub(super) fn svg(m: &mut Markup, title: &str, description: &str, inner: impl FnOnce(&mut Markup)) {
    let view_box = format!("0 0 {WIDTH} {HEIGHT}");
    let attributes =
        [("class", "chart"), ("xmlns", "http://www.w3.org/2000/svg"), ("viewBox", &view_box), ("role", "img")];
    m.el("svg", &attributes, |m| {
        m.leaf("title", &[], title);
        m.leaf("desc", &[], description);
        inner(m);
    });
}

pub(super) fn line(m: &mut Markup, class: &str, from: (f64, f64), to: (f64, f64)) {
    let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(number);
    m.void("line", &[("class", class), ("x1", &x1), ("y1", &y1), ("x2", &x2), ("y2", &y2)]);
}

pub(super) fn text(m: &mut Markup, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
    m.leaf("text", &[("class", class), ("x", &number(x)), ("y", &number(y)), ("text-anchor", anchor)], text);
}

fn dot(m: &mut Markup, x: f64, y: f64, radius: f64, tip: &str) {
    m.el("circle", &[("class", "dot"), ("cx", &number(x)), ("cy", &number(y)), ("r", &number(radius))], |m| {
        m.leaf("title", &[], tip);
    });
}

pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_string).unwrap_or(text)
}

pub(super) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_spread_in_order() {
        assert_eq!(spread(&[50.0, 50.0, 52.0], 10.0, 0.0, 100.0), [50.0, 60.0, 70.0]);
        assert_eq!(spread(&[98.0, 97.0], 10.0, 0.0, 100.0), [100.0, 90.0]);
        assert_eq!(spread(&[], 10.0, 0.0, 100.0), [0.0; 0]);
    }

    #[test]
    fn labels_of_points_in_one_place_do_not_touch() {
        let (x, y) = (Scale::log([4e5, 1.7e6], 1.5), Scale::linear([99.0, 99.2], 5, (0.0, 100.0)));
        let frame = Frame::new(&x, &y, &|tick| format!("{tick:.2}"), 12.0);
        let (at_x, at_y) = (frame.x(4.3e5), frame.y(99.1));
        let mut taken = vec![Area::new(at_x - 6.0, at_y - 6.0, 12.0, 12.0)];
        for _ in 0..6 {
            let area = frame.place(at_x, at_y, 90.0, &taken);
            assert!(taken.iter().all(|other| area.overlap(other) == 0.0), "{area:?} {taken:?}");
            taken.push(area);
        }
    }
}

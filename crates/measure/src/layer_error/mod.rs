//! How far a quantized model is from its float model, layer by layer: what `litesmith debug` tells.

mod tally;

use serde::{Deserialize, Serialize};

use crate::format::{number, percent, plural, points, shortened};
use crate::{Align, TextTable};

pub use tally::{ErrorMetrics, ErrorTally, Grid, GridTally, GridUse};

/// Rows of a table as text; JSON and the page have all.
const ROWS: usize = 60;
/// A layer whose own error leaves less signal than this is suspicious whatever the others do: an error of a tenth.
const LOW_DB: f64 = 20.0;
/// So is one that is this much worse than the median layer: a grid three times as coarse.
const BELOW_MEDIAN_DB: f64 = 10.0;
/// Layers with an error of their own from which on there is a usual one.
const FEW_LAYERS: usize = 3;
/// Above this, an error of a thousandth, no layer is suspicious.
const GOOD_DB: f64 = 60.0;

/// A quantized model against its float model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerErrorReport {
    /// The quantized model.
    pub quantized: String,
    /// The float model.
    pub float: String,
    /// The data, as `MNIST train`.
    pub data: String,
    /// Samples that both ran on.
    pub samples: u64,
    /// Tensors of both models, by their own error, worst first; see [`LayerErrorReport::rank`].
    pub layers: Vec<LayerError>,
    /// Computed tensors of the quantized model without a counterpart; conversions between types are not among them.
    pub unmatched_quantized: usize,
    /// Computed tensors of the float model without a counterpart.
    pub unmatched_float: usize,
    /// Error of the first output.
    pub output: Option<ErrorMetrics>,
    /// Share of right answers on the samples, where the outputs are classes.
    pub accuracy: Option<Accuracy>,
    /// What becomes of the model when one suspicious layer is kept float.
    pub kept_float: Vec<KeptFloatResult>,
    /// Commands that quantize with the worst layer computed more exactly.
    pub suggestions: Vec<Suggestion>,
    /// What the reader should know besides.
    pub notes: Vec<String>,
}

/// Share of right answers, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Of the quantized model.
    pub quantized: f64,
    /// Of the float model.
    pub float: f64,
}

/// A model quantized like the one looked at, on the same grids, but for one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptFloatResult {
    /// The layer that is float; `None` for no layer, to compare with.
    pub name: Option<String>,
    /// Share of right answers on the samples, 0 to 1, where the outputs are classes.
    pub accuracy: Option<f64>,
    /// Error of the first output.
    pub output: ErrorMetrics,
}

/// A command to paste.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suggestion {
    /// What it does.
    pub what: String,
    /// The command.
    pub command: String,
    /// The same as a recipe, for `litesmith compress FLOAT --recipe FILE`; empty where there is none.
    #[serde(default)]
    pub recipe: String,
}

/// One tensor that both models compute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerError {
    /// Position among the layers in the order in which the quantized model computes them, from 0.
    pub position: usize,
    /// Op that computes it.
    pub op: String,
    /// Its name in the float model.
    pub name: String,
    /// Its name in the quantized model, where it is another.
    pub quantized_name: Option<String>,
    /// Type and shape in the quantized model, as `int8[1,10]`.
    pub kind: String,
    /// Whether it is what the model gives.
    pub is_output: bool,
    /// What `litesmith quantize --keep-float` takes to compute it with floats.
    pub selector: Option<String>,
    /// Error of the quantized model up to here.
    pub error: ErrorMetrics,
    /// Error that this op alone adds: its result against that of the float op on the same, dequantized inputs. `None` where
    /// the two ops cannot be compared.
    pub own: Option<ErrorMetrics>,
    /// Why there is no own error.
    pub own_unknown: Option<String>,
    /// Grid of the quantized values.
    pub grid: Option<GridUse>,
    /// The float values.
    pub values: Bins,
    /// Weights, where the op has any that were quantized.
    pub weights: Option<WeightsError>,
    /// Whether its own error is suspicious, see [`LayerErrorReport::rank`].
    pub stands_out: bool,
    /// The likely cause of the own error, where it stands out.
    pub cause: Option<Cause>,
}

/// Weights of an op.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightsError {
    /// Name in the float model.
    pub name: String,
    /// Error of the quantized weights.
    pub error: ErrorMetrics,
    /// Whether they are not the float weights rounded: trained, scaled, or those of another model.
    #[serde(default)]
    pub foreign: bool,
    /// How many scales they have; 0 for float16.
    pub scales: usize,
    /// Grid, where they are integers: of the real values where there is one scale, else of values over their scale.
    pub grid: Option<Grid>,
    /// The float weights, on the same axis as the grid.
    pub values: Bins,
}

/// Counts of values in intervals of equal width; zeros are counted apart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Bins {
    /// Start of the first.
    pub low: f64,
    /// End of the last.
    pub high: f64,
    /// Values in each.
    pub counts: Vec<u64>,
    /// Values that are 0.
    pub zeros: u64,
}

impl Bins {
    /// `count` intervals for values from `low` to `high`, filled from those of a finer histogram: middle and count.
    #[must_use]
    pub fn new((low, high): (f64, f64), count: usize, zeros: u64, fine: impl Iterator<Item = (f64, u64)>) -> Self {
        let mut counts = vec![0; count.max(1)];
        let last = counts.len() - 1;
        let width = (high - low).max(f64::MIN_POSITIVE);
        for (middle, count) in fine {
            let at = ((middle - low) / width * (last + 1) as f64) as usize;
            counts[at.min(last)] += count;
        }
        Self { low, high, counts, zeros }
    }

    /// All values.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.zeros + self.counts.iter().sum::<u64>()
    }
}

/// Why an op adds so much error of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Values that are not finite.
    NotFinite,
    /// Values lie beyond the grid and are cut off.
    Clipped,
    /// The grid is much wider than the values, its steps too coarse.
    Wide,
    /// The weights lost too much.
    Weights,
    /// The grid fits, but has too few steps for values of such different sizes.
    Steps,
}

impl LayerError {
    /// The own error as a ratio to signal, for ranking: infinite without error, unknown without comparison.
    fn own_db(&self) -> Option<f64> {
        let own = self.own.as_ref()?;
        Some(if own.not_finite > 0 { f64::NEG_INFINITY } else { own.snr_db.unwrap_or(f64::INFINITY) })
    }

    fn likely_cause(&self) -> Cause {
        let weights = self.weights.as_ref().and_then(|weights| weights.error.snr_db).unwrap_or(f64::INFINITY);
        match (&self.own, &self.grid) {
            (Some(own), _) if own.not_finite > 0 => Cause::NotFinite,
            (_, Some(grid)) if grid.beyond > 1e-3 => Cause::Clipped,
            (_, Some(grid)) if grid.used < 0.4 => Cause::Wide,
            (Some(own), _) if own.snr_db.is_some_and(|own| weights < own + 6.0) => Cause::Weights,
            _ => Cause::Steps,
        }
    }

    /// The cause in a sentence.
    #[must_use]
    pub fn cause_text(&self) -> Option<String> {
        let grid = self.grid.as_ref();
        Some(match self.cause? {
            Cause::NotFinite => "it computes values that are NaN or infinite".into(),
            Cause::Clipped => format!(
                "{} of its float values lie beyond its grid and are cut off: the calibrated range is too narrow",
                percent(grid?.beyond)
            ),
            Cause::Wide => format!(
                "its values take {} of its grid, so that steps are {} times as coarse as they need be: the calibrated range \
                 is too wide",
                percent(grid?.used),
                number(1.0 / grid?.used.max(f64::MIN_POSITIVE))
            ),
            Cause::Weights => {
                let weights = self.weights.as_ref()?;
                let grid = weights.grid.as_ref().map_or("float16", |grid| grid.dtype.as_str());
                format!(
                    "its weights keep {} dB as {grid} with {}",
                    decibels(weights.error.snr_db),
                    plural(weights.scales as u64, "scale")
                )
            }
            Cause::Steps => "its grid fits its values, but has too few steps for them".into(),
        })
    }
}

/// Decibels with one decimal; a dash where there is no error.
pub(crate) fn decibels(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{value:.1}"))
}

impl LayerErrorReport {
    /// Sorts the layers by their own error, the least signal to noise first, those without a comparison last, and marks those
    /// that stand out: below 20 dB, or 10 dB below the median layer and below 60 dB.
    pub fn rank(&mut self) {
        // What adds nothing, as ops that only move values, is no measure for those that compute.
        let mut known: Vec<_> =
            self.layers.iter().filter_map(LayerError::own_db).filter(|own| own.is_finite()).collect();
        known.sort_by(f64::total_cmp);
        // Of few layers none is the usual one.
        let usual = known.get(known.len() / 2).filter(|_| known.len() >= FEW_LAYERS);
        let low = usual.map_or(LOW_DB, |median| (median - BELOW_MEDIAN_DB).clamp(LOW_DB, GOOD_DB));
        for layer in &mut self.layers {
            layer.stands_out = layer.own_db().unwrap_or(f64::INFINITY) < low;
            layer.cause = layer.stands_out.then(|| layer.likely_cause());
        }
        self.layers.sort_by(|a, b| match (a.own_db(), b.own_db()) {
            (Some(a_db), Some(b_db)) => a_db.total_cmp(&b_db).then(a.position.cmp(&b.position)),
            (a_db, b_db) => b_db.is_some().cmp(&a_db.is_some()).then(a.position.cmp(&b.position)),
        });
    }

    /// The layer with the largest own error, if any has one.
    #[must_use]
    pub fn worst(&self) -> Option<&LayerError> {
        self.layers.first().filter(|layer| layer.own_db().is_some_and(|own| own < f64::INFINITY))
    }

    /// What to conclude, in a sentence or two.
    #[must_use]
    pub fn verdict(&self) -> String {
        let Some(worst) = self.worst() else {
            return "no op adds an error of its own that could be measured".into();
        };
        let name = format!("{} \"{}\"", worst.op, shortened(&worst.name, 80));
        let own = decibels(worst.own.as_ref().and_then(|own| own.snr_db));
        match worst.cause_text() {
            Some(cause) => format!("{name} breaks most: {own} dB of signal to its own noise; {cause}"),
            None => format!("no layer stands out; {name} adds most, {own} dB of signal to its own noise"),
        }
    }

    /// For terminals: the table, the verdict, what to try.
    #[must_use]
    pub fn to_text(&self) -> String {
        let columns = ["own dB", "SNR dB", "cosine", "max", "mean", "at ends", "beyond", "grid used"];
        let mut header = vec![("op", Align::Left), ("tensor", Align::Left)];
        header.extend(columns.map(|name| (name, Align::Right)));
        let mut table = TextTable::new(&header);
        for layer in self.layers.iter().take(ROWS) {
            let output = if layer.is_output { " (output)" } else { "" };
            let own = match (&layer.own, layer.stands_out) {
                (None, _) => "?".into(),
                (Some(own), false) => decibels(own.snr_db),
                (Some(own), true) => format!("! {}", decibels(own.snr_db)),
            };
            let grid =
                |share: fn(&GridUse) -> f64| layer.grid.as_ref().map_or("–".into(), |grid| percent(share(grid)));
            table.row([
                layer.op.clone(),
                format!("{}{output}", shortened(&layer.name, 40)),
                own,
                decibels(layer.error.snr_db),
                format!("{:.5}", layer.error.cosine),
                percent(layer.error.max_of_range),
                percent(layer.error.mean_of_range),
                grid(|grid| grid.at_ends),
                grid(|grid| grid.beyond),
                grid(|grid| grid.used),
            ]);
        }
        let mut text = format!(
            "{} against {} on {} of {}\n\n{table}",
            self.quantized,
            self.float,
            plural(self.samples, "sample"),
            self.data
        );
        if let Some(more) = self.layers.len().checked_sub(ROWS).filter(|&more| more > 0) {
            text += &format!("and {more} more; --json and --html have all\n");
        }
        text += "\nown dB: signal to the noise that the op adds to its dequantized inputs, worst first; ! stands out\n\
                 SNR, cosine, max, mean: the tensor against the float model, errors as shares of the float range\n";
        if self.unmatched_quantized + self.unmatched_float > 0 {
            text += &format!(
                "without a counterpart: {} of the quantized model, {} of the float model\n",
                self.unmatched_quantized, self.unmatched_float
            );
        }
        for note in &self.notes {
            text += &format!("note: {note}\n");
        }
        text += &format!("\n{}\n", self.verdict());
        if let Some(accuracy) = self.accuracy {
            text += &format!(
                "accuracy on these samples: {}, float {}, {} points\n",
                percent(accuracy.quantized),
                percent(accuracy.float),
                points(accuracy.quantized - accuracy.float)
            );
        }
        if !self.kept_float.is_empty() {
            text += &format!(
                "\nquantized anew on the same grids, with one layer kept float:\n\n{}",
                self.kept_float_table()
            );
        }
        for suggestion in &self.suggestions {
            text += &format!("\n{}:\n  {}\n", suggestion.what, suggestion.command);
        }
        if let Some(suggestion) = self.suggestions.first().filter(|suggestion| !suggestion.recipe.is_empty()) {
            text += "\nthe first of these as a recipe, for `litesmith compress FLOAT --recipe FILE`:\n";
            suggestion.recipe.lines().for_each(|line| text += &format!("{}\n", format!("  {line}").trim_end()));
        }
        text
    }

    fn kept_float_table(&self) -> TextTable {
        let mut table =
            TextTable::new(&[("kept float", Align::Left), ("output SNR dB", Align::Right), ("accuracy", Align::Right)]);
        for result in &self.kept_float {
            table.row([
                result.name.as_deref().map_or_else(|| "none".into(), |name| shortened(name, 60)),
                decibels(result.output.snr_db),
                result.accuracy.map_or_else(|| "–".into(), percent),
            ]);
        }
        table
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A layer with this own and total SNR.
    pub(crate) fn layer(position: usize, name: &str, own: Option<f64>, snr: f64) -> LayerError {
        let metrics = |snr_db| ErrorMetrics { elements: 10, snr_db, cosine: 0.999, ..ErrorMetrics::default() };
        LayerError {
            position,
            op: "CONV_2D".into(),
            name: name.into(),
            quantized_name: None,
            kind: "int8[1,2,5]".into(),
            is_output: name == "last",
            selector: Some(name.into()),
            error: metrics(Some(snr)),
            own: own.map(|own| metrics(Some(own))),
            own_unknown: own.is_none().then(|| "the ops differ".into()),
            grid: Some(GridUse { grid: Grid::new("int8", 0.1, 0, (-128, 127)), at_ends: 0.0, beyond: 0.0, used: 0.9 }),
            values: Bins::new((-1.0, 3.0), 8, 4, [(-0.5, 3), (2.9, 5)].into_iter()),
            weights: None,
            stands_out: false,
            cause: None,
        }
    }

    pub(crate) fn report() -> LayerErrorReport {
        let mut coarse = layer(1, "coarse", Some(22.0), 21.0);
        coarse.grid.as_mut().unwrap().used = 0.125;
        let mut report = LayerErrorReport {
            quantized: "q.tflite".into(),
            float: "f.tflite".into(),
            data: "digits train".into(),
            samples: 10,
            layers: vec![
                layer(0, "first", Some(41.0), 41.0),
                coarse,
                layer(2, "unknown", None, 19.0),
                layer(3, "last", Some(44.0), 20.0),
            ],
            accuracy: Some(Accuracy { quantized: 0.9, float: 0.95 }),
            suggestions: vec![Suggestion {
                what: "to keep it".into(),
                command: "litesmith quantize f.tflite".into(),
                recipe: String::new(),
            }],
            ..LayerErrorReport::default()
        };
        report.rank();
        report
    }

    #[test]
    fn the_layer_with_the_most_noise_of_its_own_comes_first_and_says_why() {
        let report = report();
        let names: Vec<_> = report.layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["coarse", "first", "last", "unknown"]);
        let out: Vec<_> = report.layers.iter().map(|layer| layer.cause).collect();
        assert_eq!(out, [Some(Cause::Wide), None, None, None]);
        let text = report.to_text();
        for part in [
            "\"coarse\" breaks most: 22.0 dB",
            "last (output)",
            "12.50 % of its grid",
            "8.000 times",
            "? ",
            "! 22.0",
            "−5.00 points",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn healthy_layers_do_not_stand_out() {
        let mut report = report();
        report.layers.retain(|layer| layer.name != "coarse");
        report.rank();
        assert!(report.verdict().starts_with("no layer stands out; CONV_2D \"first\""), "{}", report.verdict());
        report.layers.retain(|layer| layer.own.is_none());
        assert_eq!(report.worst(), None);
        assert!(report.to_text().contains("no op adds an error"));
    }

    #[test]
    fn causes() {
        let mut clipped = layer(0, "clipped", Some(12.0), 12.0);
        clipped.grid.as_mut().unwrap().beyond = 0.03;
        let mut weights = layer(1, "weights", Some(12.0), 12.0);
        weights.weights = Some(WeightsError {
            foreign: false,
            name: "w".into(),
            error: ErrorMetrics { snr_db: Some(13.0), ..ErrorMetrics::default() },
            scales: 1,
            grid: None,
            values: Bins::default(),
        });
        let mut broken = layer(2, "broken", Some(12.0), 12.0);
        broken.own.as_mut().unwrap().not_finite = 1;
        let layers = vec![clipped, weights, broken, layer(3, "steps", Some(15.0), 9.0)];
        let mut report = LayerErrorReport { layers, ..LayerErrorReport::default() };
        report.rank();
        let causes: Vec<_> = report.layers.iter().map(|layer| (layer.name.as_str(), layer.cause.unwrap())).collect();
        let expected = [
            ("broken", Cause::NotFinite),
            ("clipped", Cause::Clipped),
            ("weights", Cause::Weights),
            ("steps", Cause::Steps),
        ];
        assert_eq!(causes, expected);
        let texts: Vec<_> = report.layers.iter().filter_map(LayerError::cause_text).collect();
        assert!(texts[1].starts_with("3.00 % of its float values") && texts[2].contains("13.0 dB"), "{texts:?}");
    }

    #[test]
    fn bins_gather_what_a_finer_histogram_holds() {
        let bins = Bins::new((0.0, 4.0), 2, 7, [(0.5, 1), (1.9, 2), (2.0, 3), (4.0, 4)].into_iter());
        assert_eq!((bins.counts.as_slice(), bins.total()), (&[3, 7][..], 17));
    }
}

//! What to do about a layer that breaks accuracy: commands to paste, and what they would bring.

use litesmith_compress::{
    CalibrationConfig, CalibratorKind, Granularity, IoType, LayerPair, Own, Pairing, QuantizationConfig,
    QuantizeOptions, Range, Ranges, Rule, Scheme, Selector, WeightBits, quantize, selector_of,
};
use litesmith_graph::{DType, Graph, Model, Normalization, Op, Result, Tensor, TensorId};
use litesmith_measure::{Cause, ErrorTally, KeptFloatResult, LayerError, LayerErrorReport, Suggestion, argmax};
use litesmith_runtime::{Session, SessionOptions};

use super::watch::{Values, Watched};
use super::{DebugNames, TwoSided};

/// What is needed to quantize the float model again.
pub(super) struct Remedy<'a> {
    pub(super) quantized: &'a Model,
    pub(super) float: &'a Model,
    pub(super) pairing: &'a Pairing,
    pub(super) names: &'a DebugNames,
    pub(super) session: &'a SessionOptions,
}

/// What a suggestion does otherwise.
struct Change {
    rules: Vec<Rule>,
    calibrator: Option<CalibratorKind>,
}

/// The entries of `table` that are not those of `default`, tables within likewise.
fn without(table: toml::Table, default: &toml::Table) -> toml::Table {
    let changed = table.into_iter().filter(|(key, value)| default.get(key) != Some(value));
    let inner = changed.map(|(key, value)| match (value, default.get(&key)) {
        (toml::Value::Table(own), Some(toml::Value::Table(default))) => (key, without(own, default).into()),
        (value, _) => (key, value),
    });
    inner.collect()
}

/// The scheme of a graph whose activations are integers.
pub(super) fn integer_scheme(graph: &Graph) -> Option<Scheme> {
    let computed = |dtypes: &[DType]| {
        let counts =
            |tensor: &&Tensor| tensor.data.is_none() && tensor.quantization.is_some() && dtypes.contains(&tensor.dtype);
        graph.tensors.iter().filter(counts).count()
    };
    let (bytes, words) = (computed(&[DType::I8, DType::U8]), computed(&[DType::I16]));
    match bytes.max(words) {
        0 => None,
        _ if words > bytes => Some(Scheme::Int16x8),
        _ => Some(Scheme::Int8),
    }
}

fn scheme_of(graph: &Graph) -> Scheme {
    let is_integer = |tensor: &Tensor| matches!(tensor.dtype, DType::I4 | DType::I8) && tensor.data.is_some();
    integer_scheme(graph).unwrap_or_else(|| {
        let reads = |node: &litesmith_graph::Node| node.inputs.iter().flatten().any(|&id| is_integer(graph.tensor(id)));
        let readers: Vec<_> = graph.nodes.iter().filter(|node| reads(node)).collect();
        match readers.as_slice() {
            [] => Scheme::Float16,
            readers if readers.iter().all(|node| matches!(node.op, Op::Dequantize(_))) => Scheme::WeightOnly,
            _ => Scheme::DynamicRange,
        }
    })
}

/// How the weights of most layers are stored.
fn weights_of(pairing: &Pairing, graph: &Graph) -> (WeightBits, Granularity) {
    let stored: Vec<_> = pairing.layers.iter().filter_map(|pair| Some(graph.tensor(pair.weights?.1))).collect();
    let most =
        |chosen: &dyn Fn(&Tensor) -> bool| stored.iter().filter(|tensor| chosen(tensor)).count() * 2 > stored.len();
    let granularity = |tensor: &Tensor| tensor.quantization.as_ref().and_then(Granularity::of);
    let blocks = stored.iter().find_map(|tensor| granularity(tensor).filter(|found| found.block_size().is_some()));
    let per_tensor = most(&|tensor| granularity(tensor) == Some(Granularity::PerTensor));
    (
        if most(&|tensor| tensor.dtype == DType::I4) { WeightBits::Int4 } else { WeightBits::Int8 },
        // Where there are blocks, the other layers have none because they cannot.
        blocks.unwrap_or(if per_tensor { Granularity::PerTensor } else { Granularity::PerChannel }),
    )
}

/// The types of the input and the output, `None` where they are floats.
fn io_types(graph: &Graph) -> (Option<IoType>, Option<IoType>) {
    let of = |ids: &[TensorId]| match graph.tensor(*ids.first()?).dtype {
        DType::I8 => Some(IoType::Int8),
        DType::U8 => Some(IoType::Uint8),
        DType::I16 => Some(IoType::Int16),
        _ => None,
    };
    (of(&graph.inputs), of(&graph.outputs))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

impl Remedy<'_> {
    fn quantized_graph(&self) -> Result<&Graph> {
        self.quantized.main()
    }

    /// How the layers were quantized that were not quantized as most are, by their op in the float graph.
    fn deviating(&self, graph: &Graph) -> Vec<(usize, Rule)> {
        let (scheme, (weights, granularity)) = (scheme_of(graph), weights_of(self.pairing, graph));
        let mut rules = Vec::new();
        for pair in &self.pairing.layers {
            let (Some(node), Some(_), Own::Op(..)) = (pair.float_node, pair.quantized_node, &pair.own) else {
                continue;
            };
            let mut rule = Rule { ops: Selector::Node(node), scheme: None, weights: None, granularity: None };
            if scheme.needs_ranges() {
                rule.scheme = pair.outputs.first().and_then(|&(_, id)| match graph.tensor(id).dtype {
                    DType::I8 | DType::U8 => Some(Scheme::Int8),
                    DType::I16 => Some(Scheme::Int16x8),
                    DType::F32 => Some(Scheme::Float32),
                    _ => None,
                });
                rule.scheme = rule.scheme.filter(|own| *own != scheme);
            }
            if let Some(stored) = pair.weights.map(|(_, id)| graph.tensor(id)) {
                let own = if stored.dtype == DType::I4 { WeightBits::Int4 } else { WeightBits::Int8 };
                rule.weights = Some(own).filter(|own| *own != weights);
                let own =
                    stored.quantization.as_ref().filter(|found| !found.scales.is_empty()).and_then(Granularity::of);
                rule.granularity = own.filter(|own| *own != granularity);
            }
            if rule.scheme.is_some() || rule.weights.is_some() || rule.granularity.is_some() {
                rules.push((node, rule));
            }
        }
        rules
    }

    /// Commands that compute the layers that stand out, or the worst one, more exactly.
    pub(super) fn suggestions(&self, report: &LayerErrorReport) -> Vec<Suggestion> {
        let Ok(graph) = self.quantized_graph() else { return Vec::new() };
        let mut chosen: Vec<&str> = Vec::new();
        let mut only_weights = true;
        let mut calibrator = None;
        let suspects = report.layers.iter().filter(|layer| layer.stands_out).take(super::TRIED);
        for layer in suspects.chain(report.worst()) {
            only_weights &= layer.cause == Some(Cause::Weights);
            calibrator = calibrator.or(match layer.cause {
                Some(Cause::Clipped) => Some(("to calibrate anew with nothing cut off", CalibratorKind::MinMax)),
                Some(Cause::Wide) => Some(("to calibrate anew for finer steps", CalibratorKind::Mse)),
                _ => None,
            });
            if let Some(selector) = layer.selector.as_deref().filter(|selector| !chosen.contains(selector)) {
                chosen.push(selector);
            }
        }
        if let Some(names) = helpful(&report.kept_float) {
            let layer = |name: &str| report.layers.iter().find(|layer| layer.name == name && layer.selector.is_some());
            chosen = names.into_iter().filter_map(|name| layer(name)?.selector.as_deref()).collect();
        }
        let noun = if chosen.len() == 1 { "the layer" } else { "the layers" };
        let rules = |what: &str| {
            let rules = chosen.iter().filter_map(|selector| format!("{selector}={what}").parse().ok());
            Change { rules: rules.collect(), calibrator: None }
        };
        let needs_ranges = scheme_of(graph).needs_ranges();
        // A range that does not fit is mended by another one: no layer needs to be larger or slower for it.
        let mut suggestions: Vec<_> = calibrator
            .filter(|_| needs_ranges)
            .map(|(what, kind)| {
                let change = Change { rules: Vec::new(), calibrator: Some(kind) };
                self.suggestion(graph, what.into(), &change, "calibrated")
            })
            .into_iter()
            .collect();
        if chosen.is_empty() {
            return suggestions;
        }
        let or = if suggestions.is_empty() { "" } else { "or " };
        let anew = if needs_ranges { "calibrate anew and " } else { "" };
        let what = format!("{or}to {anew}compute {noun} with floats");
        suggestions.push(self.suggestion(graph, what, &rules(Scheme::Float32.keyword()), "mixed"));
        // Finer activations do nothing for weights that lost too much.
        let finer = match only_weights {
            true => Some(("w8,per-channel", "8-bit weights, a scale for each channel")).filter(|_| {
                let is_coarse = |layer: &LayerError| {
                    let weights = layer.weights.as_ref().filter(|_| layer.stands_out);
                    weights.is_some_and(|found| {
                        found.scales == 1 || found.grid.as_ref().is_some_and(|grid| grid.dtype == "int4")
                    })
                };
                report.layers.iter().any(is_coarse)
            }),
            false => Some(("int16x8", "16-bit activations")).filter(|_| scheme_of(graph) == Scheme::Int8),
        };
        if let Some((what, words)) = finer {
            suggestions.push(self.suggestion(graph, format!("or {noun} with {words}"), &rules(what), "mixed"));
        }
        suggestions
    }

    fn suggestion(&self, graph: &Graph, what: String, change: &Change, suffix: &str) -> Suggestion {
        let command = self.command(graph, change, suffix);
        Suggestion { what, command, recipe: self.recipe(graph, change).unwrap_or_default() }
    }

    /// What has to be said of the input so that it is quantized again as it is: integers have it in their grid, and samples become
    /// numbers by it where the float model does not say how they do.
    fn normalization(&self, input: Option<IoType>) -> Option<&Normalization> {
        let [own, float] = [self.quantized, self.float]
            .map(|model| model.metadata.inputs.first().and_then(|input| input.normalization.as_ref()));
        own.filter(|_| input.is_some() || float.is_none())
    }

    /// The same as a recipe; what is as by default is left out.
    fn recipe(&self, graph: &Graph, change: &Change) -> Option<String> {
        let (weights, granularity) = weights_of(self.pairing, graph);
        let (input, output) = io_types(graph);
        let default = QuantizationConfig::default();
        let config = QuantizationConfig {
            scheme: scheme_of(graph),
            weights,
            granularity,
            input_type: input.unwrap_or(IoType::Float32),
            output_type: output.unwrap_or(IoType::Float32),
            rules: self.deviations(graph).into_iter().chain(change.rules.iter().cloned()).collect(),
            calibration: CalibrationConfig {
                calibrator: change.calibrator.unwrap_or(default.calibration.calibrator),
                ..default.calibration.clone()
            },
            ..default.clone()
        };
        let table = |config: &QuantizationConfig| toml::Table::try_from(config).ok();
        let whole = table(&config)?;
        let scheme = whole.get("scheme")?.clone();
        let step = without(whole, &table(&default)?);
        let mut recipe = toml::Table::new();
        recipe.insert("data".into(), self.names.data.clone().into());
        // Calibration by all training samples, as the command's.
        recipe.insert("validation".into(), 0.0.into());
        let mut named = toml::Table::from_iter([("do".to_owned(), "quantize".into())]);
        // Named also where it is the default: the step says what it does.
        named.insert("scheme".into(), scheme);
        named.extend(step);
        if let Some(Normalization { mean, std }) = self.normalization(input) {
            let list = |values: &[f32]| toml::Value::try_from(values);
            named.insert("mean".into(), list(mean).ok()?);
            named.insert("std".into(), list(std).ok()?);
        }
        recipe.insert("step".into(), toml::Value::Array(vec![named.into()]));
        let text = toml::to_string(&recipe).ok()?;
        crate::recipe::Recipe::from_toml(&text).ok().map(|_| text)
    }

    /// What of the rest of the model is not made as most of it is.
    fn deviations(&self, graph: &Graph) -> Vec<Rule> {
        let Ok(float) = self.float.main() else { return Vec::new() };
        let rule = |(node, rule)| Rule { ops: selector_of(float, node), ..rule };
        self.deviating(graph).into_iter().map(rule).collect()
    }

    fn command(&self, graph: &Graph, change: &Change, suffix: &str) -> String {
        let scheme = scheme_of(graph);
        let mut words = vec!["litesmith quantize".to_owned(), quoted(&self.names.float)];
        words.push(format!("--type {}", scheme.keyword()));
        let (input, output) = io_types(graph);
        if input == output {
            words.extend(input.map(|io| format!("--io {}", io.dtype())));
        } else {
            words.extend(input.map(|io| format!("--input-type {}", io.dtype())));
            words.extend(output.map(|io| format!("--output-type {}", io.dtype())));
        }
        if let Some(normalization) = self.normalization(input) {
            let list = |values: &[f32]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            words.push(format!("--mean {} --std {}", list(&normalization.mean), list(&normalization.std)));
        }
        let (bits, granularity) = weights_of(self.pairing, graph);
        if scheme != Scheme::Float16 {
            words.extend((bits == WeightBits::Int4).then(|| "--weights int4".to_owned()));
            let granularity = Some(granularity).filter(|granularity| *granularity != Granularity::PerChannel);
            words.extend(granularity.map(|granularity| format!("--granularity {}", granularity.keyword())));
        }
        if scheme.needs_ranges() {
            words.push(format!("--calibrate {}", quoted(&self.names.data)));
        }
        words.extend(self.deviations(graph).iter().map(|rule| format!("--rule {}", quoted(&rule.to_string()))));
        words.extend(change.calibrator.map(|kind| format!("--calibrator {kind}")));
        words.extend(change.rules.iter().map(|rule| match rule.scheme {
            Some(Scheme::Float32) => format!("--keep-float {}", quoted(&rule.ops.to_string())),
            _ => format!("--rule {}", quoted(&rule.to_string())),
        }));
        let stem = self.names.quantized.strip_suffix(".tflite").unwrap_or(&self.names.quantized);
        words.push(format!("-o {}", quoted(&format!("{stem}-{suffix}.tflite"))));
        words.join(" ")
    }

    /// Quantizes the float model on the grids of the quantized one, once as it is and once with each of `suspects` float, and
    /// runs the results. Each suspect comes with the layer that it is an output of.
    pub(super) fn try_float(
        &self,
        suspects: &[(LayerError, usize)],
        watched: &Watched<'_>,
        samples: &[TwoSided],
        expected: &[Vec<f32>],
        has_classes: bool,
    ) -> Result<Vec<KeptFloatResult>> {
        let graph = self.quantized_graph()?;
        let mut tried: Vec<String> = Vec::new();
        let mut results =
            vec![KeptFloatResult { name: None, ..self.run(None, watched, samples, expected, has_classes)? }];
        for (layer, pair) in suspects {
            let Some(selector) = &layer.selector else { continue };
            if tried.contains(selector) {
                continue;
            }
            tried.push(selector.clone());
            let grid =
                self.pairing.layers[*pair].outputs.iter().find_map(|&(_, id)| graph.tensor(id).quantization.clone());
            let kept = Kept { selector: selector.parse()?, grid };
            let result = self.run(Some(kept), watched, samples, expected, has_classes)?;
            results.push(KeptFloatResult { name: Some(layer.name.clone()), ..result });
        }
        Ok(results)
    }

    fn run(
        &self,
        kept: Option<Kept>,
        watched: &Watched<'_>,
        samples: &[TwoSided],
        expected: &[Vec<f32>],
        has_classes: bool,
    ) -> Result<KeptFloatResult> {
        let graph = self.quantized_graph()?;
        let scheme = scheme_of(graph);
        let (weights, granularity) = weights_of(self.pairing, graph);
        let ranges = self.ranges(graph, watched, kept.as_ref());
        let kept = kept.into_iter().map(|kept| Rule::keep_float(kept.selector));
        let options = QuantizeOptions {
            weights,
            granularity,
            rules: self.deviating(graph).into_iter().map(|(_, rule)| rule).chain(kept).collect(),
            ..QuantizeOptions::new(scheme).with_io(IoType::Float32, IoType::Float32)
        };
        let (model, _) = quantize(self.float, &options, Some(&ranges))?;
        let mut session = Session::new(&model, self.session.clone())?;
        session.resize_batch(1)?;
        let output = session.graph().outputs.first().copied();
        let mut tally = ErrorTally::default();
        let mut right = 0_u64;
        for (sample, expected) in samples.iter().zip(expected) {
            let values = Values::of(&mut session, &sample.float)?;
            if let Some(scores) = output.and_then(|output| values.get(output)) {
                tally.add(expected, scores)?;
                right += u64::from(argmax(scores) == Some(sample.label));
            }
        }
        Ok(KeptFloatResult {
            name: None,
            accuracy: has_classes.then(|| right as f64 / samples.len().max(1) as f64),
            output: tally.finish(),
        })
    }

    /// The ranges that the grids of the quantized model express. What lies on the grid of a layer that is kept float, it or
    /// what passes its values on, has the range of the float values instead.
    fn ranges(&self, graph: &Graph, watched: &Watched<'_>, kept: Option<&Kept>) -> Ranges {
        let mut ranges = Ranges::default();
        for (LayerPair { outputs, .. }, tallies) in self.pairing.layers.iter().zip(watched.layers()) {
            for (&(float_id, id), tally) in outputs.iter().zip(tallies) {
                let quantization = graph.tensor(id).quantization.as_ref();
                let is_replaced = kept.is_some_and(|kept| kept.grid.is_some() && kept.grid.as_ref() == quantization);
                let grid = tally.grid.as_ref().map(|grid| grid.finish().grid).filter(|_| !is_replaced);
                let range = grid.map(|grid| Range::new(grid.low as f32, grid.high as f32)).or_else(|| tally.range());
                if let Some(range) = range {
                    ranges.insert(float_id, range);
                }
            }
        }
        ranges
    }
}

/// Least gain of the output, in dB, that speaks for keeping a layer float where no more answers are right by it.
const GAIN_DB: f64 = 0.5;

/// The layers that it was measured to help to keep float, the best first: more answers are right, or as many and the output is
/// nearer to the float model's. `None` where nothing was tried.
pub(super) fn helpful(results: &[KeptFloatResult]) -> Option<Vec<&str>> {
    let (none, tried) = results.split_first()?;
    let of = |result: &KeptFloatResult| (result.accuracy.unwrap_or(0.0), result.output.snr_db.unwrap_or(f64::INFINITY));
    let before = of(none);
    let mut found: Vec<_> = tried
        .iter()
        .map(|result| (of(result), result))
        .filter(|(after, _)| after.0 > before.0 || after.0 == before.0 && after.1 >= before.1 + GAIN_DB)
        .collect();
    found.sort_by(|(a, _), (b, _)| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
    Some(found.into_iter().filter_map(|(_, result)| result.name.as_deref()).collect())
}

/// A layer that is kept float.
struct Kept {
    selector: Selector,
    /// The grid that its result was on.
    grid: Option<litesmith_graph::Quantization>,
}

#[cfg(test)]
mod tests {
    use litesmith_measure::ErrorMetrics;

    use super::*;

    #[test]
    fn only_layers_that_help_are_suggested_and_the_best_first() {
        let result = |name: Option<&str>, accuracy: Option<f64>, snr_db: f64| KeptFloatResult {
            name: name.map(Into::into),
            accuracy,
            output: ErrorMetrics { snr_db: Some(snr_db), ..ErrorMetrics::default() },
        };
        assert_eq!(helpful(&[]), None);
        let mut results = vec![
            result(None, Some(0.9), 20.0),
            result(Some("a"), Some(0.88), 30.0),
            result(Some("b"), Some(0.9), 21.0),
            result(Some("c"), Some(0.93), 19.0),
            result(Some("d"), Some(0.9), 20.1),
        ];
        assert_eq!(helpful(&results), Some(vec!["c", "b"]));
        results.iter_mut().for_each(|result| result.accuracy = None);
        assert_eq!(helpful(&results), Some(vec!["a", "b"]));
    }

    #[test]
    fn words_for_a_shell() {
        for (word, expected) in
            [("dense_1", "dense_1"), ("a b", "'a b'"), ("x;y", "'x;y'"), ("it's", "'it'\\''s'"), ("", "''")]
        {
            assert_eq!(quoted(word), expected);
        }
    }
}

//! What a configuration file of Neural Compressor 1.x asks for.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use litesmith_compress::{CalibratorKind, Granularity, WeightBits};
use litesmith_graph::{Error, Result};
use litesmith_measure::TimingOptions;

use super::data::{DataKind, DataSource, Transforms};
use super::schema::{self, NotHonoured, unknown};
use super::yaml::{self, Kind, Value};

/// How the model is quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approach {
    /// `post_training_static_quant`: int8.
    Static,
    /// `post_training_dynamic_quant`: dynamic range.
    Dynamic,
    /// `post_training_auto_quant`: both, int8 first.
    Auto,
}

/// How the next trial is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrategyKind {
    /// Settings, then ops back to float32 by what each does to the accuracy.
    Basic,
    /// The same, ops by what each does to the squared error of the output.
    Mse,
    /// A model of what was tried chooses among settings op by op.
    Bayesian,
    /// Settings op by op at random.
    Random,
    /// All settings op by op, in order.
    Exhaustive,
}

const STRATEGIES: [(&str, StrategyKind); 5] = [
    ("basic", StrategyKind::Basic),
    ("mse", StrategyKind::Mse),
    ("bayesian", StrategyKind::Bayesian),
    ("random", StrategyKind::Random),
    ("exhaustive", StrategyKind::Exhaustive),
];

impl std::fmt::Display for StrategyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(STRATEGIES.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name))
    }
}

/// Which of the models that meet the criterion is the best, where the search goes on after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// The fewest multiply-accumulates in float32: what a clock says differs from run to run, this does not.
    Performance,
    /// The smallest file.
    ModelSize,
}

/// How much accuracy may be lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Criterion {
    /// The loss allowed.
    pub tolerance: f64,
    /// As a share of the float model's, or as a difference.
    pub relative: bool,
    /// Whether more is better.
    pub higher_is_better: bool,
}

impl Criterion {
    /// What is lost from `baseline` to `accuracy`, as the tolerance is meant; negative for a gain.
    #[must_use]
    pub fn loss(&self, baseline: f64, accuracy: f64) -> f64 {
        let lost = if self.higher_is_better { baseline - accuracy } else { accuracy - baseline };
        match self.relative {
            // Of nothing, any loss is all of it.
            true if baseline == 0.0 => {
                if lost == 0.0 {
                    0.0
                } else {
                    f64::INFINITY.copysign(lost)
                }
            }
            true => lost / baseline,
            false => lost,
        }
    }

    /// Whether that is allowed.
    #[must_use]
    pub fn is_met(&self, baseline: f64, accuracy: f64) -> bool {
        // Accuracies are quotients: a loss of exactly the tolerance must not fail by a last bit.
        self.loss(baseline, accuracy) <= self.tolerance + 1e-12
    }
}

/// Whether ops may be float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Float {
    /// When nothing else helps.
    #[default]
    Fallback,
    /// It is one of the settings to try.
    Listed,
    /// They are nothing else.
    Only,
}

/// Settings that are to be tried; an empty list allows all.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Wish {
    pub(super) float: Option<Float>,
    pub(super) granularity: Vec<Granularity>,
    pub(super) bits: Vec<WeightBits>,
    pub(super) calibrators: Vec<CalibratorKind>,
}

/// What a configuration file asks for. docs/COMPRESSION.md has the keys.
#[derive(Debug, Clone, PartialEq)]
pub struct TuneConfig {
    /// The model, where the file names one: `model.path`, else `model.name`.
    pub model: Option<String>,
    /// `quantization.approach`.
    pub approach: Approach,
    /// `quantization.calibration.sampling_size`, each tried.
    pub sampling_sizes: Vec<usize>,
    /// `quantization.calibration.dataloader`.
    pub calibration: DataSource,
    /// `evaluation.accuracy.dataloader`.
    pub evaluation: DataSource,
    /// `quantization.recipes.first_conv_or_matmul_quantization`.
    pub quantize_first: bool,
    /// `quantization.recipes.last_conv_or_matmul_quantization`.
    pub quantize_last: bool,
    /// Whether biases are corrected: `fast_bias_correction`, `weight_correction` or `advance.bias_correction`.
    pub bias_correction: bool,
    pub(super) model_wise: Wish,
    pub(super) optype_wise: Vec<(String, Wish)>,
    pub(super) op_wise: Vec<(String, Wish)>,
    /// `evaluation.accuracy.metric.topk`.
    pub top_k: usize,
    /// Samples to evaluate on at most: `evaluation.accuracy.iteration` batches.
    pub samples_max: Option<usize>,
    /// `evaluation.performance`: how one image is timed.
    pub timing: TimingOptions,
    /// `tuning.strategy.name`.
    pub strategy: StrategyKind,
    /// `tuning.accuracy_criterion`.
    pub criterion: Criterion,
    /// `tuning.objective`.
    pub objective: Objective,
    /// `tuning.exit_policy.timeout`; without one the first model that meets the criterion ends the search.
    pub timeout: Option<Duration>,
    /// `tuning.exit_policy.max_trials`.
    pub max_trials: usize,
    /// `tuning.exit_policy.performance_only`: one model, all quantized, its accuracy not measured.
    pub performance_only: bool,
    /// `tuning.random_seed`.
    pub seed: u64,
    /// `tuning.workspace.path`: the folder that the trials are kept in.
    pub workspace: Option<PathBuf>,
    /// `tuning.workspace.resume`: the file, or its folder, of the run to go on with.
    pub resume: Option<PathBuf>,
    /// Keys that have no effect.
    pub not_honoured: Vec<NotHonoured>,
}

impl TuneConfig {
    /// Reads the YAML of Neural Compressor 1.x (1.14.2).
    ///
    /// # Errors
    /// [`Error::Malformed`] and [`Error::Limit`] for what is no YAML or too much of it; [`Error::Invalid`] with line and key for
    /// keys that there are not (the nearest named), for values that make no sense, and for strategies other than the five.
    pub fn from_yaml(text: &str) -> Result<Self> {
        let root = yaml::parse(text)?;
        if root.kind == Kind::Null {
            return Err(Error::malformed("", "there is nothing in it")
                .with_hint("write at least the line \"version: 1.0\", which leaves all as it is by default"));
        }
        let not_honoured = schema::check(&root)?;
        Reader { root: &root, not_honoured }.config()
    }
}

/// The tree, and what turned out to have no effect.
struct Reader<'a> {
    root: &'a Value,
    not_honoured: Vec<NotHonoured>,
}

fn place(value: &Value, path: &str) -> String {
    format!("line {}: {path}", value.line)
}

fn wrong(value: &Value, path: &str, expected: &str) -> Error {
    Error::invalid(place(value, path), format!("got {}, expected {expected}", value.shown()))
}

fn scalar<'a>(value: &'a Value, path: &str) -> Result<&'a str> {
    match &value.kind {
        Kind::Scalar(text) => Ok(text.trim()),
        _ => Err(wrong(value, path, "one value")),
    }
}

fn parsed<T: FromStr>(value: &Value, path: &str, expected: &str) -> Result<T> {
    scalar(value, path)?.parse().map_err(|_| wrong(value, path, expected))
}

fn boolean(value: &Value, path: &str) -> Result<bool> {
    match scalar(value, path)?.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        _ => Err(wrong(value, path, "True or False")),
    }
}

/// A list, or words with commas or spaces between them.
fn words(value: &Value, path: &str) -> Result<Vec<String>> {
    match &value.kind {
        Kind::Scalar(text) => Ok(text
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|word| !word.is_empty())
            .map(String::from)
            .collect()),
        Kind::List(items) => items.iter().map(|item| scalar(item, path).map(String::from)).collect(),
        Kind::Null => Ok(Vec::new()),
        Kind::Map(_) => Err(wrong(value, path, "a list")),
    }
}

fn numbers<T: FromStr>(value: &Value, path: &str, expected: &str) -> Result<Vec<T>> {
    words(value, path)?.iter().map(|word| word.parse().map_err(|_| wrong_word(value, path, word, expected))).collect()
}

fn wrong_word(value: &Value, path: &str, word: &str, expected: &str) -> Error {
    Error::invalid(place(value, path), format!("got {word:?}, expected {expected}"))
}

/// A number, or a percentage.
fn share(value: &Value, path: &str) -> Result<f64> {
    let text = scalar(value, path)?;
    let number: Option<f64> = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse().ok().map(|percent: f64| percent / 100.0),
        None => text.parse().ok(),
    };
    number.filter(|number| number.is_finite()).ok_or_else(|| wrong(value, path, "a number such as 0.01 or 1%"))
}

/// Appends what is not there yet.
fn add<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

impl<'a> Reader<'a> {
    fn at(&self, path: &str) -> Option<&'a Value> {
        self.root.at(path)
    }

    fn read<T>(&self, path: &str, default: T, read: impl Fn(&'a Value, &str) -> Result<T>) -> Result<T> {
        self.at(path).map_or(Ok(default), |value| read(value, path))
    }

    fn not(&mut self, key: impl Into<String>, reason: &str) {
        let not = NotHonoured { key: key.into(), reason: reason.into() };
        if !self.not_honoured.iter().any(|other| other.key == not.key) {
            self.not_honoured.push(not);
        }
    }

    fn config(mut self) -> Result<TuneConfig> {
        self.version()?;
        let text = |value, path: &str| scalar(value, path).map(|text| Some(text.to_owned()));
        let path = |value, path: &str| scalar(value, path).map(|text| Some(PathBuf::from(text)));
        let model = match self.read("model.path", None, text)? {
            Some(path) => Some(path),
            None => self.read("model.name", None, text)?,
        };
        let recipe = |name: &str, default| self.read(&format!("quantization.recipes.{name}"), default, boolean);
        let quantize_first = recipe("first_conv_or_matmul_quantization", true)?;
        let quantize_last = recipe("last_conv_or_matmul_quantization", true)?;
        let bias_correction = recipe("fast_bias_correction", false)?
            || recipe("weight_correction", false)?
            || self.at("quantization.advance.bias_correction").is_some();
        let count = |value, path: &str| {
            let counts = numbers(value, path, "numbers of samples, at least 1")?;
            match counts.contains(&0) || counts.is_empty() {
                true => Err(wrong(value, path, "numbers of samples, at least 1")),
                false => Ok(counts),
            }
        };
        let sampling_sizes = self.read("quantization.calibration.sampling_size", vec![100], count)?;
        let evaluation = self.data("evaluation.accuracy.dataloader")?;
        let batches = self.read("evaluation.accuracy.iteration", -1, |v, p| parsed::<i64>(v, p, "a whole number"))?;
        let samples_max = usize::try_from(batches).ok().filter(|&batches| batches > 0);
        let samples_max = samples_max.map(|batches| batches.saturating_mul(evaluation.batch.unwrap_or(1)));
        Ok(TuneConfig {
            model,
            approach: self.approach()?,
            sampling_sizes,
            calibration: self.data("quantization.calibration.dataloader")?,
            evaluation,
            quantize_first,
            quantize_last,
            bias_correction,
            model_wise: match self.at("quantization.model_wise") {
                Some(value) => self.wish(value, "quantization.model_wise", true)?,
                None => Wish::default(),
            },
            optype_wise: self.wishes("quantization.optype_wise")?,
            op_wise: self.wishes("quantization.op_wise")?,
            top_k: self.top_k()?,
            samples_max,
            timing: self.timing()?,
            strategy: self.strategy()?,
            criterion: self.criterion()?,
            objective: self.objective()?,
            timeout: self.read("tuning.exit_policy.timeout", None, |value, path| {
                let seconds: u64 = parsed(value, path, "seconds, 0 or more")?;
                Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
            })?,
            max_trials: self.read("tuning.exit_policy.max_trials", 100, |value, path| {
                parsed(value, path, "a whole number of at least 1")
                    .and_then(|trials| if trials == 0 { Err(wrong(value, path, "at least 1")) } else { Ok(trials) })
            })?,
            performance_only: self.read("tuning.exit_policy.performance_only", false, boolean)?,
            seed: self.read("tuning.random_seed", 1978, |v, p| parsed(v, p, "a whole number of 0 or more"))?,
            workspace: self.read("tuning.workspace.path", None, path)?,
            resume: self.read("tuning.workspace.resume", None, path)?,
            not_honoured: self.not_honoured,
        })
    }

    fn version(&self) -> Result<()> {
        let Some(value) = self.at("version") else { return Ok(()) };
        match parsed::<f64>(value, "version", "1.0")? {
            1.0 => Ok(()),
            _ => Err(wrong(value, "version", "1.0")
                .with_hint("later versions of Neural Compressor have no configuration files; those of 1.x are read")),
        }
    }

    fn approach(&mut self) -> Result<Approach> {
        const PATH: &str = "quantization.approach";
        const NAMES: [&str; 4] = [
            "post_training_static_quant",
            "post_training_dynamic_quant",
            "post_training_auto_quant",
            "quant_aware_training",
        ];
        let Some(value) = self.at(PATH) else { return Ok(Approach::Static) };
        let name = scalar(value, PATH)?;
        match NAMES.iter().position(|known| *known == name) {
            Some(0) => Ok(Approach::Static),
            Some(1) => Ok(Approach::Dynamic),
            Some(2) => Ok(Approach::Auto),
            Some(_) => {
                self.not(PATH, "tune does not train: post_training_static_quant is done instead");
                Ok(Approach::Static)
            }
            None => Err(unknown(&place(value, PATH), "approach", name, &NAMES)),
        }
    }

    fn strategy(&self) -> Result<StrategyKind> {
        const PATH: &str = "tuning.strategy.name";
        let Some(value) = self.at(PATH) else { return Ok(StrategyKind::Basic) };
        let name = scalar(value, PATH)?;
        let found = STRATEGIES.iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            let names: Vec<_> = STRATEGIES.iter().map(|(name, _)| *name).collect();
            Error::invalid(place(value, PATH), format!("got {name:?}, expected {}", names.join(", ")))
                .with_hint("basic is the usual one")
        })
    }

    fn criterion(&self) -> Result<Criterion> {
        const PATH: &str = "tuning.accuracy_criterion";
        let relative = self.at("tuning.accuracy_criterion.relative");
        let absolute = self.at("tuning.accuracy_criterion.absolute");
        let (tolerance, relative) = match (relative, absolute) {
            (Some(_), Some(both)) => {
                return Err(Error::invalid(place(both, PATH), "got relative and absolute, expected one of them"));
            }
            (Some(value), None) => (share(value, "tuning.accuracy_criterion.relative")?, true),
            (None, Some(value)) => (share(value, "tuning.accuracy_criterion.absolute")?, false),
            (None, None) => (0.01, true),
        };
        let higher_is_better = self.read("tuning.accuracy_criterion.higher_is_better", true, boolean)?;
        Ok(Criterion { tolerance, relative, higher_is_better })
    }

    fn objective(&mut self) -> Result<Objective> {
        const PATH: &str = "tuning.objective";
        let Some(value) = self.at(PATH) else { return Ok(Objective::Performance) };
        match scalar(value, PATH)? {
            "performance" => Ok(Objective::Performance),
            "modelsize" => Ok(Objective::ModelSize),
            "footprint" => {
                self.not(PATH, "memory is not an objective; modelsize is used, which is near");
                Ok(Objective::ModelSize)
            }
            other => Err(unknown(&place(value, PATH), "objective", other, &["performance", "modelsize", "footprint"])),
        }
    }

    fn timing(&self) -> Result<TimingOptions> {
        let count = |path: &str, default: i64| self.read(path, default, |v, p| parsed::<i64>(v, p, "a whole number"));
        Ok(TimingOptions {
            warmup_runs: u64::try_from(count("evaluation.performance.warmup", 5)?).unwrap_or(0),
            runs: u64::try_from(count("evaluation.performance.iteration", -1)?).unwrap_or(100).max(1),
            time_limit: Some(Duration::from_millis(500)),
        })
    }

    fn top_k(&self) -> Result<usize> {
        self.read("evaluation.accuracy.metric.topk", 1, |value, path| {
            let k = parsed(value, path, "a number of classes, at least 1")?;
            if k == 0 { Err(wrong(value, path, "at least 1")) } else { Ok(k) }
        })
    }

    /// A data loader; all of it may be missing.
    fn data(&mut self, path: &str) -> Result<DataSource> {
        let mut source = DataSource::default();
        let Some(loader) = self.at(path) else { return Ok(source) };
        if let Some(value) = loader.at("batch_size") {
            let expected = "a number of samples, at least 1";
            let batch = parsed(value, &format!("{path}.batch_size"), expected)?;
            source.batch = Some(batch).filter(|&batch| batch > 0);
        }
        for (name, value) in loader.get("dataset").map_or(&[][..], Value::entries) {
            let kind = match name.as_str() {
                "MNIST" => DataKind::Mnist,
                "FashionMNIST" => DataKind::FashionMnist,
                "ImageFolder" => DataKind::ImageFolder,
                _ => continue,
            };
            let path = format!("{path}.dataset.{name}");
            let root = value.at("root").ok_or_else(|| {
                Error::invalid(place(value, &path), "it has no root")
                    .with_hint("write root: and the folder of the data")
            })?;
            if source.set.is_some() {
                return Err(Error::invalid(place(value, &path), "got a second data set, expected one"));
            }
            let train = value.at("train").map(|value| boolean(value, &format!("{path}.train"))).transpose()?;
            source.set = Some((kind, scalar(root, &format!("{path}.root"))?.to_owned(), train));
        }
        let transforms = loader.get("transform").map_or(&[][..], Value::entries);
        source.transforms = self.transforms(transforms, &format!("{path}.transform"))?;
        Ok(source)
    }

    fn transforms(&mut self, entries: &'a [(String, Value)], path: &str) -> Result<Transforms> {
        let mut transforms = Transforms::default();
        let mut white = 1.0;
        for (name, value) in entries {
            let path = format!("{path}.{name}");
            let side = || -> Result<(usize, usize)> {
                let expected = "one size or height and width in pixels";
                let value = value.at("size").ok_or_else(|| Error::invalid(place(value, &path), "it has no size"))?;
                match *numbers(value, &path, expected)?.as_slice() {
                    [side] if side > 0 => Ok((side, side)),
                    [height, width] if height > 0 && width > 0 => Ok((height, width)),
                    _ => Err(wrong(value, &path, expected)),
                }
            };
            match name.as_str() {
                "Resize" => transforms.resize = Some(side()?),
                "CenterCrop" => transforms.crop = Some(side()?),
                "Rescale" | "ToTensor" => {
                    white = 255.0;
                    transforms.mean_std.get_or_insert((vec![0.0], vec![255.0]));
                }
                "Normalize" => {
                    let list = |key: &str, default: f32| match value.at(key) {
                        Some(value) => numbers::<f32>(value, &format!("{path}.{key}"), "a number for each channel"),
                        None => Ok(vec![default]),
                    };
                    let scaled = |values: Vec<f32>| values.into_iter().map(|value| value * white).collect();
                    transforms.mean_std = Some((scaled(list("mean", 0.0)?), scaled(list("std", 1.0)?)));
                }
                _ => {}
            }
        }
        Ok(transforms)
    }

    fn wishes(&mut self, path: &str) -> Result<Vec<(String, Wish)>> {
        let entries = self.at(path).map_or(&[][..], Value::entries);
        entries
            .iter()
            .map(|(name, value)| Ok((name.clone(), self.wish(value, &format!("{path}.{name}"), false)?)))
            .collect()
    }

    /// Settings below `path`. Those of the calibrator hold for the whole model.
    fn wish(&mut self, value: &'a Value, path: &str, whole: bool) -> Result<Wish> {
        let mut wish = Wish::default();
        let mut floats = Vec::new();
        for part in ["weight", "activation"] {
            let weight = part == "weight";
            for (name, value) in value.get(part).map_or(&[][..], Value::entries) {
                let key = format!("{path}.{part}.{name}");
                let words = words(value, &key)?;
                if name == "dtype" && !words.is_empty() {
                    let float = words.iter().filter(|word| matches!(word.as_str(), "fp32" | "bf16")).count();
                    floats.push(match float {
                        0 => Float::Fallback,
                        n if n == words.len() => Float::Only,
                        _ => Float::Listed,
                    });
                }
                for word in &words {
                    let reason = match (name.as_str(), word.as_str()) {
                        ("granularity", "per_channel") if weight => {
                            add(&mut wish.granularity, Granularity::PerChannel);
                            None
                        }
                        ("granularity", "per_tensor") if weight => {
                            add(&mut wish.granularity, Granularity::PerTensor);
                            None
                        }
                        ("granularity", "per_tensor") => None,
                        ("granularity", "per_channel") => Some("activations of TensorFlow Lite have one scale"),
                        ("scheme", "sym") if weight => None,
                        ("scheme", "asym") if !weight => None,
                        ("scheme", "asym" | "asym_float") if weight => Some("weights of TensorFlow Lite are symmetric"),
                        ("scheme", "sym") => Some("int8 activations of TensorFlow Lite have a zero point"),
                        ("dtype", "int8" | "fp32") => None,
                        ("dtype", "uint8") => Some("uint8 is int8 in TensorFlow Lite"),
                        ("dtype", "bf16") => Some("bf16 is float32 in TensorFlow Lite"),
                        ("algorithm", "minmax") if weight => None,
                        ("algorithm", "minmax" | "kl") if !weight => {
                            let minmax = word == "minmax";
                            let kind = if minmax { CalibratorKind::MinMax } else { CalibratorKind::Kl };
                            add(&mut wish.calibrators, kind);
                            None
                        }
                        ("algorithm", "placeholder") if !weight => Some("there is no such algorithm here"),
                        ("bit", bit) => {
                            let expected = "4, 7 or 8";
                            let bit: f64 = bit.parse().map_err(|_| wrong_word(value, &key, bit, expected))?;
                            match bit {
                                4.0 => add(&mut wish.bits, WeightBits::Int4),
                                // 7 keeps sums of older x86 instructions from overflowing; no kernel here does.
                                7.0 | 8.0 => add(&mut wish.bits, WeightBits::Int8),
                                _ => return Err(wrong_word(value, &key, &bit.to_string(), expected)),
                            }
                            None
                        }
                        ("compute_dtype", _) => None,
                        (_, word) => {
                            let known: &[&str] = match (name.as_str(), weight) {
                                ("granularity", _) => &["per_channel", "per_tensor"],
                                ("scheme", _) => &["asym", "sym"],
                                ("dtype", _) => &["int8", "uint8", "fp32", "bf16"],
                                (_, true) => &["minmax"],
                                (_, false) => &["minmax", "kl"],
                            };
                            return Err(unknown(&place(value, &key), "value", word, known));
                        }
                    };
                    if let Some(reason) = reason {
                        self.not(key.clone(), reason);
                    }
                }
                if !whole && name == "algorithm" && !weight && !wish.calibrators.is_empty() {
                    self.not(
                        key,
                        "one algorithm calibrates the whole model: quantization.model_wise.activation.algorithm",
                    );
                    wish.calibrators.clear();
                }
            }
        }
        wish.float = match floats.as_slice() {
            [] => None,
            floats if floats.contains(&Float::Only) => Some(Float::Only),
            floats if floats.contains(&Float::Listed) => Some(Float::Listed),
            _ => Some(Float::Fallback),
        };
        Ok(wish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_neural_compressor() {
        let config = TuneConfig::from_yaml("model: {name: digits, framework: NA}").unwrap();
        assert_eq!(config.approach, Approach::Static);
        assert_eq!((config.sampling_sizes.as_slice(), config.max_trials, config.seed), (&[100][..], 100, 1978));
        assert_eq!(config.criterion, Criterion { tolerance: 0.01, relative: true, higher_is_better: true });
        assert_eq!((config.strategy, config.timeout, config.top_k), (StrategyKind::Basic, None, 1));
        assert_eq!(config.model.as_deref(), Some("digits"));
        assert_eq!(config.not_honoured[0].key, "model.framework");
    }

    #[test]
    fn values_are_read_as_neural_compressor_reads_them() {
        let config = TuneConfig::from_yaml(
            "quantization:\n  approach: post_training_auto_quant\n  calibration:\n    sampling_size: 100, 200\n  \
             model_wise:\n    weight: {granularity: 'per_tensor', dtype: int8, bit: [4.0, 7.0]}\n    \
             activation: {dtype: 'int8, fp32', algorithm: 'minmax, kl', scheme: asym}\n  op_wise:\n    \
             conv1: {weight: {dtype: [fp32]}}\ntuning:\n  accuracy_criterion: {absolute: 0.5%}\n  strategy: {name: mse}\n  \
             exit_policy: {timeout: 60, max_trials: 7, performance_only: False}\nevaluation:\n  accuracy:\n    metric: {topk: 5}\n    \
             dataloader:\n      dataset: {MNIST: {root: digits, train: False}}\n      transform:\n        Rescale: {}\n        \
             Normalize: {mean: [0.5], std: [0.25]}\n",
        )
        .unwrap();
        assert_eq!((config.approach, config.strategy), (Approach::Auto, StrategyKind::Mse));
        assert_eq!(config.sampling_sizes, [100, 200]);
        assert_eq!(config.model_wise.granularity, [Granularity::PerTensor]);
        assert_eq!(config.model_wise.bits, [WeightBits::Int4, WeightBits::Int8]);
        assert_eq!(config.model_wise.calibrators, [CalibratorKind::MinMax, CalibratorKind::Kl]);
        assert_eq!(config.model_wise.float, Some(Float::Listed));
        assert_eq!(config.op_wise[0].1.float, Some(Float::Only));
        assert_eq!(config.criterion.tolerance, 0.005);
        assert_eq!((config.timeout, config.max_trials), (Some(Duration::from_secs(60)), 7));
        assert_eq!(config.evaluation.set, Some((DataKind::Mnist, "digits".into(), Some(false))));
        assert_eq!(config.evaluation.transforms.mean_std, Some((vec![127.5], vec![63.75])));
        assert_eq!(config.not_honoured, []);
    }

    #[test]
    fn wrong_values_say_line_key_and_what_is_possible() {
        for (text, expected) in [
            (
                "tuning:\n  strategy: {name: tpe}",
                "line 2: tuning.strategy.name: got \"tpe\", expected basic, mse, bayesian",
            ),
            ("tuning: {accuracy_criterion: {relative: much}}", "tuning.accuracy_criterion.relative: got \"much\""),
            ("tuning: {accuracy_criterion: {relative: 0.1, absolute: 0.1}}", "expected one of them"),
            ("tuning: {exit_policy: {max_trials: 0}}", "max_trials: got \"0\", expected at least 1"),
            ("tuning: {exit_policy: {performance_only: maybe}}", "expected True or False"),
            ("quantization: {calibration: {sampling_size: [0]}}", "expected numbers of samples, at least 1"),
            ("quantization: {approach: static}", "which is no approach here"),
            ("quantization: {model_wise: {weight: {bit: 5.0}}}", "got \"5\", expected 4, 7 or 8"),
            ("quantization: {model_wise: {activation: {algorithm: minmx}}}", "which is no value here"),
            ("# to be written\n", "there is nothing in it"),
            ("version: 2.0", "version: got \"2.0\", expected 1.0"),
            ("evaluation: {accuracy: {dataloader: {dataset: {MNIST: {train: True}}}}}", "it has no root"),
        ] {
            let error = TuneConfig::from_yaml(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn losses_are_relative_or_absolute() {
        let relative = Criterion { tolerance: 0.1, relative: true, higher_is_better: true };
        assert!(relative.is_met(0.9, 0.81) && !relative.is_met(0.9, 0.80));
        let absolute = Criterion { relative: false, ..relative };
        assert!(absolute.is_met(0.9, 0.8) && !absolute.is_met(0.9, 0.79));
        let lower = Criterion { higher_is_better: false, ..relative };
        assert!(lower.is_met(0.5, 0.55) && !lower.is_met(0.5, 0.56));
        assert!(relative.is_met(0.0, 0.0) && relative.is_met(0.0, 0.5));
    }
}

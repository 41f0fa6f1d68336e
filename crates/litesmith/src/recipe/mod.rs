//! Recipes: a model made step by step, as a TOML file says it.
//!
//! ```
//! use litesmith::recipe::{Recipe, Step};
//!
//! let recipe = Recipe::from_toml(
//!     r#"
//!     arch = "lenet-5"
//!
//!     [[step]]
//!     do = "train"
//!     epochs = 3
//!
//!     [[step]]
//!     do = "quantize"
//!     scheme = "int8"
//!     "#,
//! )?;
//! assert!(matches!(recipe.steps[1], Step::Quantize(..)));
//! let error = Recipe::from_toml("arch = \"lenet-5\"\n[[step]]\ndo = \"train\"\nepoch = 3").unwrap_err();
//! assert!(error.to_string().contains("epochs"));
//! # Ok::<(), litesmith::Error>(())
//! ```

use std::path::{Path, PathBuf};

use litesmith_compress::{ChannelPruning, Clustering, IoType, QuantizationConfig, Scheme, WeightPruning};
use litesmith_graph::{Error, Result};
use litesmith_tflite::Strip;
use litesmith_train::TrainConfig;
use serde::{Deserialize, Serialize};

mod check;
mod described;
mod kept;
mod run;
mod suggest;

pub use described::Described;
pub use run::{Made, RecipeRun, rescued, run_recipe};
pub(crate) use run::{State, run_step, train_split};
pub use suggest::hinted;

use crate::files;

/// The teacher of a `distill` table that is the model which the recipe begins with, instead of a file.
pub const GIVEN: &str = "given";

/// What to make, and how.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recipe {
    /// What it makes, for people and the metadata of the model.
    pub name: String,
    /// Architecture to begin with: a name of the zoo with options, or a TOML file. Not needed where a model is given.
    pub arch: Option<String>,
    /// Data set; that of the command line wins.
    pub data: Option<String>,
    /// Share of the training samples that choices are made by.
    pub validation: f64,
    /// Seed of initial weights, the validation samples, and of steps that name none.
    pub seed: u64,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// Folder that file names are relative to.
    pub folder: PathBuf,
}

/// One step of a recipe.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Trains, or goes on training. With a `qat` table quantization-aware, which makes an integer model whose inputs and
    /// outputs are of the type that `io` names.
    Train(TrainConfig, IoType),
    /// Removes channels, fine-tuning as the `train` table says.
    PruneChannels(ChannelPruning, Option<TrainConfig>),
    /// Sets weights to zero, fine-tuning as the `train` table says.
    PruneWeights(WeightPruning, Option<TrainConfig>),
    /// Lets weights share values, fine-tuning as the `train` table says.
    Cluster(Clustering, Option<TrainConfig>),
    /// Quantizes after training, and says what the input and output are.
    Quantize(QuantizationConfig, Described),
    /// Leaves out of the file what running it does not need.
    Strip(StripConfig),
}

/// How much is left out of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StripConfig {
    /// What is left out.
    pub level: StripLevel,
    /// Whether float weights of mostly zeros are stored sparse, where the file gets smaller by it.
    pub sparse: bool,
}

/// See [`Strip`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StripLevel {
    /// Names of tensors between ops, and descriptions.
    Names,
    /// Whatever running the model does not need.
    #[default]
    Everything,
    /// That, and what LiteRT finds out itself.
    Derivable,
}

impl From<StripLevel> for Strip {
    fn from(level: StripLevel) -> Self {
        match level {
            StripLevel::Names => Self::Names,
            StripLevel::Everything => Self::Everything,
            StripLevel::Derivable => Self::Derivable,
        }
    }
}

/// Reads the keys of a step; a `train` table comes apart from them.
type Read = fn(toml::Table, Option<TrainConfig>) -> std::result::Result<Step, toml::de::Error>;

/// The steps: a name, and how its keys are read. A new step is a row.
const STEPS: &[(&str, Read)] = &[
    ("train", |mut table, _| {
        let io = table.remove("io").map_or(Ok(IoType::Float32), toml::Value::try_into)?;
        table.try_into().map(|config| Step::Train(config, io))
    }),
    ("prune_channels", |table, train| table.try_into().map(|config| Step::PruneChannels(config, train))),
    ("prune_weights", |table, train| table.try_into().map(|config| Step::PruneWeights(config, train))),
    ("cluster", |table, train| table.try_into().map(|config| Step::Cluster(config, train))),
    ("quantize", |mut table, _| {
        if let Some(io) = table.remove("io") {
            for side in ["input_type", "output_type"] {
                table.entry(side).or_insert_with(|| io.clone());
            }
        }
        let described = Described::take(&mut table)?;
        table.try_into().map(|config| Step::Quantize(config, described))
    }),
    ("strip", |table, _| table.try_into().map(Step::Strip)),
];

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(default = "a_tenth")]
    validation: f64,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    step: Vec<toml::Table>,
}

fn a_tenth() -> f64 {
    0.1
}

impl Recipe {
    /// The recipe of a file.
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`Recipe::from_toml`] with the file as place.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = files::load(path, 1 << 20)?;
        let text = String::from_utf8(bytes)
            .map_err(|error| Error::malformed(path.display(), format!("it is no UTF-8 text: {error}")))?;
        let recipe = Self::from_toml(&text).map_err(|error| error.at(path.display()))?;
        Ok(Self { folder: path.parent().map(Path::to_path_buf).unwrap_or_default(), ..recipe })
    }

    /// The recipe that a TOML text says.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown step or key, with the nearest that is known, and for values that make no sense.
    pub fn from_toml(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text.bytes().take(span.start).filter(|&byte| byte == b'\n').count() + 1);
            suggest::explain(line.map_or(String::new(), |line| format!("line {line}")), error.message())
        })?;
        if !(0.0..1.0).contains(&file.validation) {
            let got = format!("got {}, expected 0 or more and less than 1", file.validation);
            return Err(Error::invalid("validation", got));
        }
        let steps: Vec<Step> = (1..)
            .zip(file.step)
            .map(|(number, table)| read_step(table, file.seed).map_err(|error| error.at(format!("step {number}"))))
            .collect::<Result<_>>()?;
        if steps.is_empty() {
            return Err(
                Error::invalid("step", "there is none").with_hint("a recipe has steps: [[step]], do = \"train\"")
            );
        }
        check::check_order(&steps)?;
        let File { name, arch, data, validation, seed, .. } = file;
        Ok(Self { name, arch, data, validation, seed, steps, folder: PathBuf::new() })
    }

    /// The recipe as TOML, which [`Recipe::from_toml`] reads back.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a value cannot be written.
    pub fn to_toml(&self) -> Result<String> {
        let unwritten = |error: toml::ser::Error| Error::invalid("recipe", error);
        let step = self.steps.iter().map(Step::to_table).collect::<std::result::Result<_, _>>();
        let file = File {
            name: self.name.clone(),
            arch: self.arch.clone(),
            data: self.data.clone(),
            validation: self.validation,
            seed: self.seed,
            step: step.map_err(unwritten)?,
        };
        toml::to_string(&file).map_err(unwritten)
    }
}

fn read_step(mut table: toml::Table, seed: u64) -> Result<Step> {
    let names = || STEPS.iter().map(|(name, _)| *name);
    let what = match table.remove("do") {
        Some(toml::Value::String(what)) => what,
        _ => {
            let known = names().collect::<Vec<_>>().join(", ");
            return Err(Error::invalid("do", format!("it is missing, expected one of {known}")));
        }
    };
    let Some((_, read)) = STEPS.iter().find(|(name, _)| *name == what) else {
        let known = names().collect::<Vec<_>>().join(", ");
        let error = Error::invalid("do", format!("got \"{what}\", expected one of {known}"));
        return Err(match suggest::nearest(&what, names()) {
            Some(near) => error.with_hint(format!("did you mean \"{near}\"?")),
            None => error,
        });
    };
    let explain = |error: toml::de::Error| suggest::explain_step(&what, error.message(), keys_beside(&what));
    let mut train: Option<TrainConfig> = match table.remove("train") {
        Some(toml::Value::Table(table)) if FINE_TUNED.contains(&what.as_str()) => {
            let has_seed = table.contains_key("seed");
            let config: TrainConfig = table
                .try_into()
                .map_err(|error: toml::de::Error| suggest::explain(format!("{what}.train"), error.message()))?;
            Some(if has_seed { config } else { TrainConfig { seed, ..config } })
        }
        Some(value) => {
            // Whoever reads the step says that it does not know it.
            table.insert("train".into(), value);
            None
        }
        None => None,
    };
    let has_seed = table.contains_key("seed");
    let mut step = read(table, train.take()).map_err(explain)?;
    if let (Step::Train(config, _), false) = (&mut step, has_seed) {
        config.seed = seed;
    }
    step.check().map_err(|error| error.at(what))?;
    Ok(step)
}

/// The keys of a step besides those of its configuration.
fn keys_beside(step: &str) -> &'static [&'static str] {
    match step {
        "train" => &["io"],
        "quantize" => &["io", "mean", "std", "labels"],
        step if FINE_TUNED.contains(&step) => &["train"],
        _ => &[],
    }
}

/// Steps with a `train` table.
const FINE_TUNED: [&str; 3] = ["prune_channels", "prune_weights", "cluster"];

impl Step {
    /// As the recipe says it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Train(..) => "train",
            Self::PruneChannels(..) => "prune_channels",
            Self::PruneWeights(..) => "prune_weights",
            Self::Cluster(..) => "cluster",
            Self::Quantize(..) => "quantize",
            Self::Strip(_) => "strip",
        }
    }

    /// Whether it trains, and so takes long.
    #[must_use]
    pub fn trains(&self) -> bool {
        self.training().is_some()
    }

    /// How it trains, where it does.
    #[must_use]
    pub fn training(&self) -> Option<&TrainConfig> {
        match self {
            Self::Train(config, _) => Some(config),
            Self::PruneChannels(_, train) | Self::PruneWeights(_, train) | Self::Cluster(_, train) => train.as_ref(),
            Self::Quantize(..) | Self::Strip(_) => None,
        }
    }

    /// Whether weights are no longer float32 behind it.
    #[must_use]
    pub fn quantizes(&self) -> bool {
        match self {
            Self::Train(config, _) => config.qat.is_some(),
            Self::Quantize(config, _) => config.scheme != Scheme::Float32 || !config.rules.is_empty(),
            Self::PruneChannels(..) | Self::PruneWeights(..) | Self::Cluster(..) | Self::Strip(_) => false,
        }
    }

    fn check(&self) -> Result<()> {
        let tuned = |train: &Option<TrainConfig>| train.as_ref().map_or(Ok(()), TrainConfig::check);
        match self {
            Self::Train(config, _) => config.check(),
            Self::PruneChannels(config, train) => config.check().and_then(|()| tuned(train)),
            Self::PruneWeights(config, train) => config.check().and_then(|()| tuned(train)),
            Self::Cluster(config, train) => config.check().and_then(|()| tuned(train)),
            Self::Quantize(config, described) => config.check().and_then(|()| described.check()),
            Self::Strip(_) => Ok(()),
        }
    }

    fn to_table(&self) -> std::result::Result<toml::Table, toml::ser::Error> {
        let (mut table, train) = match self {
            Self::Train(config, io) => {
                let mut table = toml::Table::try_from(config)?;
                if *io != IoType::Float32 {
                    table.insert("io".into(), toml::Value::try_from(io)?);
                }
                (table, None)
            }
            Self::PruneChannels(config, train) => (toml::Table::try_from(config)?, train.as_ref()),
            Self::PruneWeights(config, train) => (toml::Table::try_from(config)?, train.as_ref()),
            Self::Cluster(config, train) => (toml::Table::try_from(config)?, train.as_ref()),
            Self::Quantize(config, described) => {
                let mut table = toml::Table::try_from(config)?;
                table.extend(toml::Table::try_from(described)?);
                (table, None)
            }
            Self::Strip(config) => (toml::Table::try_from(config)?, None),
        };
        table.insert("do".into(), self.name().into());
        if let Some(train) = train {
            table.insert("train".into(), toml::Value::try_from(train)?);
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        name = "digits"
        arch = "lenet-5"
        seed = 7

        [[step]]
        do = "train"
        epochs = 2

        [[step]]
        do = "prune_channels"
        ratio = 0.5
        train = { epochs = 1, seed = 3 }

        [[step]]
        do = "quantize"
        scheme = "int8"

        [[step]]
        do = "strip"
    "#;

    #[test]
    fn a_recipe_is_read_and_written() {
        let recipe = Recipe::from_toml(TEXT).unwrap();
        let Step::Train(config, _) = &recipe.steps[0] else { panic!("{recipe:?}") };
        assert_eq!((config.epochs, config.seed), (2, 7), "the seed of the recipe");
        let Step::PruneChannels(config, Some(train)) = &recipe.steps[1] else { panic!("{recipe:?}") };
        assert_eq!((config.ratio, train.epochs, train.seed), (0.5, 1, 3));
        assert_eq!(Recipe::from_toml(&recipe.to_toml().unwrap()).unwrap(), recipe);
    }

    #[test]
    fn a_step_says_what_the_input_and_the_output_are() {
        let step = |keys: &str| Recipe::from_toml(&format!("[[step]]\ndo = \"quantize\"\n{keys}"));
        let recipe =
            step("io = \"uint8\"\noutput_type = \"int8\"\nmean = 127\nstd = [64.5]\nlabels = \"l.txt\"").unwrap();
        let Step::Quantize(config, described) = &recipe.steps[0] else { panic!("{recipe:?}") };
        assert_eq!((config.input_type, config.output_type), (IoType::Uint8, IoType::Int8), "the narrower key wins");
        let expected = Described { mean: vec![127.0], std: vec![64.5], labels: Some("l.txt".into()) };
        assert_eq!(*described, expected);
        assert_eq!(Recipe::from_toml(&recipe.to_toml().unwrap()).unwrap(), recipe);
        let error = step("mean = 127").unwrap_err().to_string();
        assert!(error.contains("step 1: quantize: std: it is missing"), "{error}");
    }

    #[test]
    fn nothing_follows_a_quantization_but_strip() {
        let steps = |names: &[&str]| {
            let step = |name: &&str| match name.split_once(' ') {
                Some((name, keys)) => format!("[[step]]\ndo = \"{name}\"\n{keys}\n"),
                None => format!("[[step]]\ndo = \"{name}\"\n"),
            };
            Recipe::from_toml(&names.iter().map(step).collect::<String>())
        };
        let qat = "train qat = {}";
        for (names, expected) in [
            (&["train", "quantize", "prune_channels"], "step 3 (prune_channels)"),
            (&["quantize scheme = \"float16\"", "strip", "cluster"], "step 3 (cluster)"),
            (&["quantize", "quantize", "strip"], "step 2 (quantize)"),
            (&[qat, "train", "strip"], "step 2 (train)"),
        ] {
            let error = steps(names).unwrap_err();
            assert!(error.to_string().contains(expected) && error.to_string().contains("float32 weights"), "{error}");
            assert!(error.hint().is_some());
        }
        steps(&["quantize scheme = \"float32\"", "cluster", "quantize", "strip"]).unwrap();
    }

    #[test]
    fn what_is_not_known_is_said_with_what_is_near() {
        let error = |text: &str| Recipe::from_toml(text).unwrap_err().to_string();
        let cases = [
            ("archs = \"lenet-5\"", "arch"),
            ("[[step]]\ndo = \"quantise\"", "quantize"),
            ("[[step]]\ndo = \"train\"\nepoch = 3", "epochs"),
            ("[[step]]\ndo = \"prune_channels\"\nration = 0.5", "ratio"),
            ("[[step]]\ndo = \"cluster\"\ntrain = { epoch = 1 }", "epochs"),
        ];
        for (text, near) in cases {
            let error = Recipe::from_toml(text).unwrap_err();
            assert_eq!(error.hint(), Some(format!("did you mean \"{near}\"?").as_str()), "{error}");
        }
        for (step, key, near) in [
            ("strip", "lvl", "level"),
            ("quantize", "equalize", "equalization"),
            ("quantize", "bn_reestimation", "batch_norm"),
            ("quantize", "type", "scheme"),
            ("quantize", "label", "labels"),
            ("train", "lr", "learning_rate"),
            ("cluster", "training", "train"),
        ] {
            let error = Recipe::from_toml(&format!("[[step]]\ndo = \"{step}\"\n{key} = 1")).unwrap_err();
            assert_eq!(error.hint(), Some(format!("did you mean \"{near}\"?").as_str()), "{error}");
        }
        assert!(error("name = \"x\"").contains("there is none"));
        assert!(error("[[step]]\nepochs = 3").contains("it is missing"));
        let error = error("[[step]]\ndo = \"prune_channels\"\nratio = 1.5");
        assert!(error.contains("step 1") && error.contains("ratio"), "{error}");
    }
}

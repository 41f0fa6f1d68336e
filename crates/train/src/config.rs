//! How to train.

use litesmith_data::Augment;
use litesmith_graph::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::{Distill, Loss, Optimizer, Schedule};

/// How to train, as a TOML or JSON file may say it. What is left out has its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Times that every sample is seen, at least 1.
    pub epochs: usize,
    /// Samples for each update of the weights, at least 1.
    pub batch: usize,
    /// Decides order, augmentation and dropout.
    pub seed: u64,
    /// How gradients change the weights.
    pub optimizer: Optimizer,
    /// Size of the steps; Keras's default for the optimiser when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// How the learning rate goes.
    pub schedule: Schedule,
    /// Epochs in which the learning rate rises linearly before the schedule begins.
    pub warm_up_epochs: f64,
    /// Share of the weights, times the learning rate, that each update takes away. Applies to filters and weights, not to
    /// biases and normalizations. Keras's default for the optimiser when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// What is minimised.
    pub loss: Loss,
    /// Share of each target that is spread evenly over the classes.
    pub label_smoothing: f64,
    /// Factors on the loss of the samples of each class.
    pub class_weights: ClassWeights,
    /// Bound on the norm of all gradients together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Bound on each element of the gradients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_value: Option<f64>,
    /// Share that each update keeps of an average of the weights, which is then what is validated and exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_momentum: Option<f64>,
    /// When to stop before the last epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// Which measure of the validation samples decides what is best.
    pub monitor: Monitor,
    /// Whether the weights of the best epoch are kept in the end, when there are validation samples.
    pub restore_best: bool,
    /// Variables whose names begin with one of these do not learn.
    pub frozen: Vec<String>,
    /// Whether weights that are zero in the beginning stay zero, and weights that share a value go on sharing one:
    /// [`Preserved`](crate::Preserved) says which do. So a pruned or clustered model stays one.
    pub preserve: bool,
    /// Random changes to each image; a file may name a preset instead: `augment = "digits"`.
    #[serde(deserialize_with = "preset_or_table")]
    pub augment: Augment,
    /// Leaves out the last batch of an epoch when it is smaller than the others.
    pub drop_last: bool,
    /// Threads that read and augment images ahead of training, 1 to 256.
    pub loader_threads: usize,
    /// Trains what the integer model will compute, after some epochs in float32. [`Trainer`](crate::Trainer) wants a graph with
    /// fake quantization for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qat: Option<Qat>,
    /// Learns from a teacher besides from labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distill: Option<Distill>,
}

/// Quantization-aware training: weights and activations are rounded as the integer model will round them, while they
/// learn (Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
/// 2018). Activations are int8.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Qat {
    /// Type of the weights.
    pub weights: QatWeights,
    /// How scales come about.
    pub method: QatMethod,
    /// How many scales the weights of an op have.
    pub granularity: QatGranularity,
    /// What single ops become instead: `conv*=w8`, `op:FULLY_CONNECTED=per-tensor`, `dense=float32`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Epochs in float32 before; by default half of all but never the last, or none for a model that is trained already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_epochs: Option<usize>,
    /// Learning rate of the epochs with quantization; by default a tenth of that before. The schedule begins anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Share of the range of an activation that each update keeps; the rest follows the batch. Ranges that are learned do
    /// not follow.
    pub range_momentum: f32,
    /// Training samples from which the first ranges are taken.
    pub calibration_samples: usize,
}

impl Default for Qat {
    fn default() -> Self {
        Self {
            weights: QatWeights::default(),
            method: QatMethod::default(),
            granularity: QatGranularity::default(),
            rules: Vec::new(),
            delay_epochs: None,
            learning_rate: None,
            range_momentum: 0.99,
            calibration_samples: 200,
        }
    }
}

/// Type of the weights in quantization-aware training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QatWeights {
    /// Steps from -127 to 127.
    #[default]
    Int8,
    /// Steps from -7 to 7, two to a byte.
    Int4,
}

/// How scales come about in quantization-aware training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QatMethod {
    /// From the largest weights, and for activations from a moving average of smallest and largest value; the gradient
    /// passes straight through the rounding (Jacob et al., 2018).
    #[default]
    Ste,
    /// They are learned with the weights (Esser et al., "Learned Step Size Quantization", 2020).
    Lsq,
}

/// How many scales the weights of an op have in quantization-aware training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QatGranularity {
    /// One for each output channel.
    #[default]
    PerChannel,
    /// One.
    PerTensor,
}

impl Qat {
    fn check(&self) -> Result<()> {
        let bad = |field: &str, message: String| Err(Error::invalid(field, message));
        if let Some(rate) = self.learning_rate.filter(|rate| !(*rate > 0.0 && rate.is_finite())) {
            return bad("qat.learning_rate", format!("got {rate}, expected a positive number"));
        }
        if !(0.0..1.0).contains(&self.range_momentum) {
            return bad(
                "qat.range_momentum",
                format!("got {}, expected 0 or more and less than 1", self.range_momentum),
            );
        }
        if self.calibration_samples == 0 {
            return bad("qat.calibration_samples", "got 0, expected at least 1".into());
        }
        Ok(())
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 1,
            batch: 128,
            seed: 0,
            optimizer: Optimizer::default(),
            learning_rate: None,
            schedule: Schedule::default(),
            warm_up_epochs: 0.0,
            weight_decay: None,
            loss: Loss::default(),
            label_smoothing: 0.0,
            class_weights: ClassWeights::default(),
            clip_norm: None,
            clip_value: None,
            ema_momentum: None,
            early_stopping: None,
            monitor: Monitor::default(),
            restore_best: true,
            frozen: Vec::new(),
            preserve: true,
            augment: Augment::default(),
            drop_last: false,
            loader_threads: 1,
            qat: None,
            distill: None,
        }
    }
}

/// An [`Augment`], or the name of one of its presets.
fn preset_or_table<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Augment, D::Error> {
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Augment;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a table of augmentations, or one of {}", Augment::PRESETS.join(", "))
        }

        fn visit_str<E: serde::de::Error>(self, name: &str) -> std::result::Result<Augment, E> {
            Augment::preset(name).map_err(|_| E::invalid_value(serde::de::Unexpected::Str(name), &self))
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> std::result::Result<Augment, A::Error> {
            Augment::deserialize(serde::de::value::MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_any(Visitor)
}

/// Factors on the loss of the samples of each class.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// All 1.
    #[default]
    Equal,
    /// In inverse proportion to the number of samples, so that every class counts the same; their mean over the samples
    /// is 1.
    Balanced,
    /// These, by class index.
    List(Vec<f64>),
}

/// When to stop before the last epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Epochs without improvement after which training stops, at least 1.
    pub patience: usize,
    /// What counts as an improvement: more than this.
    #[serde(default)]
    pub min_delta: f64,
}

/// A measure of the validation samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// Share of samples that are right; among equals the lower loss is better.
    #[default]
    Accuracy,
    /// The loss.
    Loss,
}

impl TrainConfig {
    /// The configuration in a TOML text.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the line of an unknown key or a value of the wrong kind, and those of
    /// [`TrainConfig::check`].
    pub fn from_toml(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text.bytes().take(span.start).filter(|&byte| byte == b'\n').count() + 1);
            Error::invalid(line.map_or(String::new(), |line| format!("line {line}")), error.message())
        })?;
        config.check()?;
        Ok(config)
    }

    /// Checks that the numbers make sense.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field.
    pub fn check(&self) -> Result<()> {
        let bad = |field: &str, message: String| Err(Error::invalid(field, message));
        for (field, value) in [("epochs", self.epochs), ("batch", self.batch)] {
            if value == 0 {
                return bad(field, "got 0, expected at least 1".into());
            }
        }
        if let Some(stopping) = self.early_stopping {
            if stopping.patience == 0 {
                return bad("early_stopping.patience", "got 0, expected at least 1".into());
            }
            if !(stopping.min_delta >= 0.0 && stopping.min_delta.is_finite()) {
                return bad("early_stopping.min_delta", format!("got {}, expected 0 or more", stopping.min_delta));
            }
        }
        let positive =
            [("learning_rate", self.learning_rate), ("clip_norm", self.clip_norm), ("clip_value", self.clip_value)];
        for (field, value) in positive {
            if let Some(value) = value.filter(|value| !(*value > 0.0 && value.is_finite())) {
                return bad(field, format!("got {value}, expected a positive number"));
            }
        }
        for (field, value) in
            [("weight_decay", self.weight_decay.unwrap_or(0.0)), ("warm_up_epochs", self.warm_up_epochs)]
        {
            if !(value >= 0.0 && value.is_finite()) {
                return bad(field, format!("got {value}, expected 0 or more"));
            }
        }
        if let Some(value) = self.ema_momentum.filter(|value| !(0.0..1.0).contains(value)) {
            return bad("ema_momentum", format!("got {value}, expected 0 or more and less than 1"));
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return bad("label_smoothing", format!("got {}, expected 0 or more and less than 1", self.label_smoothing));
        }
        if let ClassWeights::List(weights) = &self.class_weights
            && let Some(weight) = weights.iter().find(|weight| !(**weight >= 0.0 && weight.is_finite()))
        {
            return bad("class_weights", format!("got {weight}, expected 0 or more"));
        }
        if !(1..=256).contains(&self.loader_threads) {
            return bad("loader_threads", format!("got {}, expected 1 to 256", self.loader_threads));
        }
        if let Some(qat) = &self.qat {
            qat.check()?;
        }
        if let Some(distill) = &self.distill {
            distill.check(self.loss)?;
        }
        self.optimizer.check()?;
        self.schedule.check()?;
        self.augment.check()
    }
}

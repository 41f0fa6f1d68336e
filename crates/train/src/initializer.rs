//! Keras's initialisers of weights.

use litesmith_graph::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::random::Stream;

/// How a weight tensor starts, with Keras's names and defaults.
///
/// In a file either the name (`"he_normal"`) or a table with parameters (`{ name = "constant", value = 0.1 }`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Initializer {
    /// Uniform within `±sqrt(6 / (fan_in + fan_out))` (Glorot and Bengio, 2010).
    GlorotUniform,
    /// Truncated normal of variance `2 / (fan_in + fan_out)` (Glorot and Bengio, 2010).
    GlorotNormal,
    /// Uniform within `±sqrt(6 / fan_in)` (He et al., 2015).
    HeUniform,
    /// Truncated normal of variance `2 / fan_in` (He et al., 2015).
    HeNormal,
    /// Uniform within `±sqrt(3 / fan_in)` (LeCun et al., 1998).
    LecunUniform,
    /// Truncated normal of variance `1 / fan_in` (LeCun et al., 1998).
    LecunNormal,
    /// Normal.
    RandomNormal {
        /// Mean.
        mean: f32,
        /// Standard deviation.
        stddev: f32,
    },
    /// Uniform in `minval..maxval`.
    RandomUniform {
        /// Lower bound.
        minval: f32,
        /// Upper bound.
        maxval: f32,
    },
    /// Normal, redrawn beyond two standard deviations.
    TruncatedNormal {
        /// Mean.
        mean: f32,
        /// Standard deviation before truncation.
        stddev: f32,
    },
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// All the same.
    Constant {
        /// The value.
        value: f32,
    },
}

/// Standard deviation of a standard normal truncated at two standard deviations: dividing by it restores the variance.
const TRUNCATED_STDDEV: f64 = 0.879_625_661_034_239_8;

impl Initializer {
    /// `elements` starting values of the tensor `name` of a network with this seed. `fan_in` and `fan_out` are counted as
    /// Keras counts them: taps times channels read, and taps times channels written.
    #[must_use]
    pub fn values(self, seed: u64, name: &str, elements: usize, fan_in: usize, fan_out: usize) -> Vec<f32> {
        let stream = Stream::new(seed, "initializer").for_text(name);
        let (fan_in, fan_out) = (fan_in.max(1) as f64, fan_out.max(1) as f64);
        let uniform = |low: f64, high: f64| {
            (0..elements as u64).map(|index| (low + (high - low) * stream.unit(index)) as f32).collect()
        };
        let within = |limit: f64| uniform(-limit, limit);
        let truncated = |mean: f64, stddev: f64| {
            (0..elements as u64).map(|index| (mean + stddev * stream.truncated_normal(index)) as f32).collect()
        };
        match self {
            Self::GlorotUniform => within((6.0 / (fan_in + fan_out)).sqrt()),
            Self::GlorotNormal => truncated(0.0, (2.0 / (fan_in + fan_out)).sqrt() / TRUNCATED_STDDEV),
            Self::HeUniform => within((6.0 / fan_in).sqrt()),
            Self::HeNormal => truncated(0.0, (2.0 / fan_in).sqrt() / TRUNCATED_STDDEV),
            Self::LecunUniform => within((3.0 / fan_in).sqrt()),
            Self::LecunNormal => truncated(0.0, (1.0 / fan_in).sqrt() / TRUNCATED_STDDEV),
            Self::RandomNormal { mean, stddev } => {
                let value = |index| (f64::from(mean) + f64::from(stddev) * stream.normal(index)) as f32;
                (0..elements as u64).map(value).collect()
            }
            Self::RandomUniform { minval, maxval } => uniform(f64::from(minval), f64::from(maxval)),
            Self::TruncatedNormal { mean, stddev } => truncated(f64::from(mean), f64::from(stddev)),
            Self::Zeros => vec![0.0; elements],
            Self::Ones => vec![1.0; elements],
            Self::Constant { value } => vec![value; elements],
        }
    }
}

/// The two forms in a file.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected an initializer's name, or a table with its name and parameters")]
enum Written {
    Name(String),
    Table(Table),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mean: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stddev: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minval: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    maxval: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<f32>,
}

impl TryFrom<Written> for Initializer {
    type Error = Error;

    fn try_from(written: Written) -> Result<Self> {
        let table = match written {
            Written::Table(table) => table,
            Written::Name(name) => Table { name, mean: None, stddev: None, minval: None, maxval: None, value: None },
        };
        let Table { name, mean, stddev, minval, maxval, value } = &table;
        let refuse = |accepted: &[&str]| {
            let given = [
                ("mean", mean.is_some()),
                ("stddev", stddev.is_some()),
                ("minval", minval.is_some()),
                ("maxval", maxval.is_some()),
                ("value", value.is_some()),
            ];
            match given.into_iter().find(|(parameter, given)| *given && !accepted.contains(parameter)) {
                Some((parameter, _)) => {
                    Err(Error::invalid("initializer", format!("{name} has no parameter `{parameter}`")))
                }
                None => Ok(()),
            }
        };
        let plain = |initializer: Self| refuse(&[]).map(|()| initializer);
        let (mean_or, stddev_or) = (mean.unwrap_or(0.0), stddev.unwrap_or(0.05));
        match name.as_str() {
            "glorot_uniform" => plain(Self::GlorotUniform),
            "glorot_normal" => plain(Self::GlorotNormal),
            "he_uniform" => plain(Self::HeUniform),
            "he_normal" => plain(Self::HeNormal),
            "lecun_uniform" => plain(Self::LecunUniform),
            "lecun_normal" => plain(Self::LecunNormal),
            "zeros" => plain(Self::Zeros),
            "ones" => plain(Self::Ones),
            "random_normal" => {
                refuse(&["mean", "stddev"]).map(|()| Self::RandomNormal { mean: mean_or, stddev: stddev_or })
            }
            "truncated_normal" => {
                refuse(&["mean", "stddev"]).map(|()| Self::TruncatedNormal { mean: mean_or, stddev: stddev_or })
            }
            "random_uniform" => refuse(&["minval", "maxval"])
                .map(|()| Self::RandomUniform { minval: minval.unwrap_or(-0.05), maxval: maxval.unwrap_or(0.05) }),
            "constant" => refuse(&["value"]).map(|()| Self::Constant { value: value.unwrap_or(0.0) }),
            _ => Err(Error::invalid(
                "initializer",
                format!(
                    "unknown initializer `{name}`, expected one of glorot_uniform, glorot_normal, he_uniform, he_normal, \
                     lecun_uniform, lecun_normal, random_normal, random_uniform, truncated_normal, zeros, ones, constant"
                ),
            )),
        }
    }
}

impl From<Initializer> for Written {
    fn from(initializer: Initializer) -> Self {
        let table =
            |name: &str| Table { name: name.into(), mean: None, stddev: None, minval: None, maxval: None, value: None };
        let name = |name: &str| Self::Name(name.into());
        match initializer {
            Initializer::GlorotUniform => name("glorot_uniform"),
            Initializer::GlorotNormal => name("glorot_normal"),
            Initializer::HeUniform => name("he_uniform"),
            Initializer::HeNormal => name("he_normal"),
            Initializer::LecunUniform => name("lecun_uniform"),
            Initializer::LecunNormal => name("lecun_normal"),
            Initializer::Zeros => name("zeros"),
            Initializer::Ones => name("ones"),
            Initializer::RandomNormal { mean, stddev } => {
                Self::Table(Table { mean: Some(mean), stddev: Some(stddev), ..table("random_normal") })
            }
            Initializer::TruncatedNormal { mean, stddev } => {
                Self::Table(Table { mean: Some(mean), stddev: Some(stddev), ..table("truncated_normal") })
            }
            Initializer::RandomUniform { minval, maxval } => {
                Self::Table(Table { minval: Some(minval), maxval: Some(maxval), ..table("random_uniform") })
            }
            Initializer::Constant { value } => Self::Table(Table { value: Some(value), ..table("constant") }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_variance_that_their_name_promises() {
        let (fan_in, fan_out) = (50, 150);
        let expected = [
            (Initializer::GlorotUniform, 2.0_f64 / 200.0),
            (Initializer::GlorotNormal, 2.0 / 200.0),
            (Initializer::HeUniform, 2.0 / 50.0),
            (Initializer::HeNormal, 2.0 / 50.0),
            (Initializer::LecunUniform, 1.0 / 50.0),
            (Initializer::LecunNormal, 1.0 / 50.0),
            (Initializer::RandomNormal { mean: 0.0, stddev: 0.5 }, 0.25),
            (Initializer::RandomUniform { minval: -3.0, maxval: 3.0 }, 3.0),
        ];
        for (initializer, variance) in expected {
            let values = initializer.values(3, "dense/kernel", 20_000, fan_in, fan_out);
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
            let square = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64;
            assert!(mean.abs() < 0.03 * variance.sqrt(), "{initializer:?}: mean {mean}");
            assert!((square / variance - 1.0).abs() < 0.04, "{initializer:?}: variance {square}, expected {variance}");
        }
    }

    #[test]
    fn values_depend_on_seed_and_name_only() {
        let draw = |seed, name| Initializer::HeNormal.values(seed, name, 8, 4, 4);
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }
}

//! Which calibrator, by name and with its settings.

use std::fmt;
use std::str::FromStr;

use litesmith_graph::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Calibrator, Kl, MinMax, MovingAverage, Mse, Percentile};

macro_rules! calibrators {
    ($($variant:ident $name:literal $(alias $alias:literal)?, $doc:literal, $make:expr;)*) => {
        /// How the values that a tensor takes during calibration become the range that is quantized.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum CalibratorKind {
            $(
                #[doc = $doc]
                #[serde(rename = $name $(, alias = $alias)?)]
                $variant,
            )*
        }

        impl CalibratorKind {
            /// Every calibrator.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name, as on the command line and in recipes.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What it does, in a line.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self { $(Self::$variant => $doc),* }
            }
        }

        impl FromStr for CalibratorKind {
            type Err = Error;

            /// [`Error::Invalid`] for a name that no calibrator has.
            fn from_str(text: &str) -> Result<Self> {
                match text {
                    $($name $(| $alias)? => Ok(Self::$variant),)*
                    _ => Err(Error::invalid("calibrator", format!("got \"{text}\""))
                        .with_hint(format!("there are {}", [$($name),*].join(", ")))),
                }
            }
        }

        impl CalibrationConfig {
            /// A new calibrator for one tensor.
            #[must_use]
            pub fn calibrator(&self) -> Box<dyn Calibrator> {
                let make: &dyn Fn(&Self) -> Box<dyn Calibrator> = match self.calibrator {
                    $(CalibratorKind::$variant => &$make),*
                };
                make(self)
            }
        }
    };
}

calibrators! {
    MinMax "minmax", "The smallest and largest value seen: nothing is clipped",
        |_: &Self| Box::new(MinMax::default());
    MovingAverage "moving_average", "Smallest and largest value of each sample, averaged",
        |config: &Self| Box::new(MovingAverage::new(config.averaging_constant));
    Percentile "percentile", "All but the rarest values",
        |config: &Self| Box::new(Percentile::new(config.percentile));
    Kl "kl" alias "entropy", "The range that keeps most information (KL divergence)",
        |_: &Self| Box::new(Kl::default());
    Mse "mse", "The range with the smallest squared quantization error",
        |_: &Self| Box::new(Mse::default());
}

impl fmt::Display for CalibratorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How activation ranges are measured: the `[calibration]` table of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrationConfig {
    /// From values to a range.
    pub calibrator: CalibratorKind,
    /// Samples of the training data, the same number of each class as far as there are.
    pub samples: usize,
    /// Seed that chooses them.
    pub seed: u64,
    /// Percentage of the values that `percentile` keeps, above 50 and at most 100.
    pub percentile: f64,
    /// Weight of each new sample for `moving_average`, above 0 and at most 1.
    pub averaging_constant: f64,
}

impl Default for CalibrationConfig {
    /// Smallest squared error over 200 samples of seed 1; 99.99 percent; a constant of 0.01.
    fn default() -> Self {
        Self { calibrator: CalibratorKind::Mse, samples: 200, seed: 1, percentile: 99.99, averaging_constant: 0.01 }
    }
}

impl CalibrationConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the one that is out of its range.
    pub fn check(&self) -> Result<()> {
        let fail = |what: &str, message: String| Err(Error::invalid(format!("calibration: {what}"), message));
        if self.samples == 0 {
            return fail("samples", "got 0, expected at least one".into());
        }
        if !(self.percentile > 50.0 && self.percentile <= 100.0) {
            return fail("percentile", format!("got {}, expected more than 50 and at most 100", self.percentile));
        }
        if !(self.averaging_constant > 0.0 && self.averaging_constant <= 1.0) {
            return fail(
                "averaging_constant",
                format!("got {}, expected more than 0 and at most 1", self.averaging_constant),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grid;

    #[test]
    fn names_are_read_and_written() {
        for &kind in CalibratorKind::ALL {
            assert_eq!(kind.to_string().parse::<CalibratorKind>().unwrap(), kind);
            let config = CalibrationConfig { calibrator: kind, ..CalibrationConfig::default() };
            assert_eq!(toml::from_str::<CalibrationConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
            let mut calibrator = config.calibrator();
            assert_eq!(calibrator.range(Grid::Int8), None);
            calibrator.observe(&[-1.0, 2.0]);
            let range = calibrator.range(Grid::Int8).unwrap();
            assert!(range.min >= -1.0 && range.max <= 2.0 && range.max > 1.0, "{kind}: {range:?}");
        }
        assert_eq!("entropy".parse::<CalibratorKind>().unwrap(), CalibratorKind::Kl);
        let error = "max".parse::<CalibratorKind>().unwrap_err();
        assert!(error.hint().is_some_and(|hint| hint.contains("moving_average")), "{error}");
    }

    #[test]
    fn settings_are_checked() {
        assert!(toml::from_str::<CalibrationConfig>("percentil = 99.0").is_err());
        let config: CalibrationConfig = toml::from_str("calibrator = \"entropy\"\nsamples = 10").unwrap();
        assert_eq!((config.calibrator, config.samples, config.seed), (CalibratorKind::Kl, 10, 1));
        config.check().unwrap();
        for (text, expected) in [
            ("samples = 0", "samples: got 0"),
            ("percentile = 20.0", "percentile: got 20"),
            ("averaging_constant = 2.0", "averaging_constant: got 2"),
        ] {
            let config: CalibrationConfig = toml::from_str(text).unwrap();
            assert!(config.check().unwrap_err().to_string().contains(expected), "{text}");
        }
    }
}

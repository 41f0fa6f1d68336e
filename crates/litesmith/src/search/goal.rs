//! What a search looks for.

use litesmith_graph::{Error, Result};
use litesmith_measure::format;

use super::Point;

/// What is asked of a model, and by what those that meet it are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// The smallest file of at least this accuracy, 0 to 1.
    Floor(f64),
    /// The smallest file that loses at most this much accuracy, 0 to 1, to the model given.
    MaxDrop(f64),
    /// The most accurate of at most this many bytes.
    Budget(u64),
    /// The most accurate that takes at most this many microseconds for one sample.
    LatencyUs(f64),
}

impl Goal {
    /// Checks that it can be asked of the model given.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a number outside its range.
    pub(super) fn check(&self, given: &Point) -> Result<()> {
        let is_share = |value: f64| (0.0..=1.0).contains(&value);
        match *self {
            Self::Floor(floor) if !is_share(floor) => {
                Err(Error::invalid("floor", format!("got {}, expected 0 to 100 %", format::percent(floor))))
            }
            Self::MaxDrop(drop) if !is_share(drop) => {
                Err(Error::invalid("max-drop", format!("got {drop}, expected 0 or more points")))
            }
            Self::Budget(0) => Err(Error::invalid("budget", "got 0 bytes, expected at least 1")),
            Self::LatencyUs(most) if !(most > 0.0 && most.is_finite()) => {
                Err(Error::invalid("latency-us", format!("got {most}, expected a positive number")))
            }
            _ if given.samples == 0 => Err(Error::invalid("validation", "there are no samples to choose by")),
            _ => Ok(()),
        }
    }

    /// The accuracy below which a model is no use, for goals that have one.
    #[must_use]
    pub fn floor(&self, given_accuracy: f64) -> Option<f64> {
        match *self {
            Self::Floor(floor) => Some(floor),
            Self::MaxDrop(drop) => Some(given_accuracy - drop),
            Self::Budget(_) | Self::LatencyUs(_) => None,
        }
    }

    /// Whether a model meets it.
    #[must_use]
    pub fn is_met(&self, point: &Point, given_accuracy: f64) -> bool {
        match *self {
            Self::Floor(_) | Self::MaxDrop(_) => {
                self.floor(given_accuracy).is_some_and(|floor| point.accuracy >= floor - 1e-12)
            }
            Self::Budget(most) => point.bytes <= most,
            Self::LatencyUs(most) => point.latency_us <= most,
        }
    }

    /// Orders models: the first of two is better when its key is smaller. Those that meet the goal come first.
    pub(super) fn key(&self, point: &Point, given_accuracy: f64) -> (bool, f64, f64) {
        let met = self.is_met(point, given_accuracy);
        let (bytes, wrong) = (point.bytes as f64, 1.0 - point.accuracy);
        match (self, met) {
            (Self::Floor(_) | Self::MaxDrop(_), true) => (false, bytes, wrong),
            // Nearest to the goal.
            (Self::Floor(_) | Self::MaxDrop(_), false) => (true, wrong, bytes),
            (Self::Budget(_) | Self::LatencyUs(_), true) => (false, wrong, bytes),
            (Self::Budget(_), false) => (true, bytes, wrong),
            (Self::LatencyUs(_), false) => (true, point.latency_us, wrong),
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Floor(floor) => write!(f, "the smallest of at least {}", format::percent(*floor)),
            Self::MaxDrop(drop) => write!(f, "the smallest that loses at most {} points", drop * 100.0),
            Self::Budget(most) => write!(f, "the most accurate of at most {}", format::bytes(*most)),
            Self::LatencyUs(most) => write!(f, "the most accurate that takes at most {most} microseconds"),
        }
    }
}

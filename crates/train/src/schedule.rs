//! Learning rate over the course of training.

use litesmith_graph::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the learning rate goes, as a factor on the configured one.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// It stays.
    #[default]
    Constant,
    /// It is multiplied by `factor` after every `epochs` epochs.
    Step {
        /// Epochs between two changes, at least 1.
        epochs: usize,
        /// Factor of each change.
        #[serde(default = "tenth")]
        factor: f64,
    },
    /// It falls along half a cosine to `final_factor` (Loshchilov and Hutter, 2016, without restarts).
    Cosine {
        /// Factor at the end.
        #[serde(default)]
        final_factor: f64,
    },
    /// It rises from `1 / div_factor` along half a cosine for `rise` of the steps, then falls to
    /// `1 / (div_factor * final_div_factor)` (Smith and Topin, 2018).
    OneCycle {
        /// Share of the steps in which it rises, between 0 and 1.
        #[serde(default = "three_tenths")]
        rise: f64,
        /// The peak over the start.
        #[serde(default = "twenty_five")]
        div_factor: f64,
        /// The start over the end.
        #[serde(default = "ten_thousand")]
        final_div_factor: f64,
    },
}

fn tenth() -> f64 {
    0.1
}
fn three_tenths() -> f64 {
    0.3
}
fn twenty_five() -> f64 {
    25.0
}
fn ten_thousand() -> f64 {
    10_000.0
}

impl Schedule {
    /// Checks the parameters.
    pub(crate) fn check(&self) -> Result<()> {
        let bad = |message: String| Err(Error::invalid("schedule", message));
        match *self {
            Self::Constant => Ok(()),
            Self::Step { epochs: 0, .. } => bad("got 0 epochs between steps, expected at least 1".into()),
            Self::Step { factor, .. } if !(factor > 0.0 && factor.is_finite()) => {
                bad(format!("got factor {factor}, expected a positive number"))
            }
            Self::Cosine { final_factor } if !(0.0..=1.0).contains(&final_factor) => {
                bad(format!("got final_factor {final_factor}, expected 0 to 1"))
            }
            Self::OneCycle { rise, div_factor, final_div_factor }
                if !(rise > 0.0 && rise < 1.0 && div_factor >= 1.0 && final_div_factor >= 1.0) =>
            {
                bad(format!(
                    "got rise {rise}, div_factor {div_factor}, final_div_factor {final_div_factor}, expected a rise between \
                     0 and 1 and factors of at least 1"
                ))
            }
            Self::Step { .. } | Self::Cosine { .. } | Self::OneCycle { .. } => Ok(()),
        }
    }

    /// The factor for step `step` of `total`, of which the first `warm_up` rise linearly to the schedule's start.
    pub(crate) fn factor(&self, step: u64, steps_per_epoch: u64, total: u64, warm_up: u64) -> f64 {
        if step < warm_up {
            let start = self.after_warm_up(0.0, 0);
            return start * (step + 1) as f64 / warm_up as f64;
        }
        let rest = total.saturating_sub(warm_up).max(1);
        let position = (step - warm_up) as f64 / rest as f64;
        self.after_warm_up(position.min(1.0), step / steps_per_epoch.max(1))
    }

    fn after_warm_up(&self, position: f64, epoch: u64) -> f64 {
        // Half a cosine from `from` at 0 to `to` at 1.
        let ease = |from: f64, to: f64, at: f64| to + (from - to) * (1.0 + (std::f64::consts::PI * at).cos()) / 2.0;
        match *self {
            Self::Constant => 1.0,
            Self::Step { epochs, factor } => {
                factor.powi(i32::try_from(epoch / epochs.max(1) as u64).unwrap_or(i32::MAX))
            }
            Self::Cosine { final_factor } => ease(1.0, final_factor, position),
            Self::OneCycle { rise, div_factor, final_div_factor } => {
                let (start, end) = (1.0 / div_factor, 1.0 / (div_factor * final_div_factor));
                if position < rise {
                    ease(start, 1.0, position / rise)
                } else {
                    ease(1.0, end, (position - rise) / (1.0 - rise))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_pass_through_their_defining_points() {
        let close = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-12, "got {got}, expected {expected}");
        let step = Schedule::Step { epochs: 2, factor: 0.5 };
        close(step.factor(19, 10, 100, 0), 1.0);
        close(step.factor(20, 10, 100, 0), 0.5);
        close(step.factor(59, 10, 100, 0), 0.25);
        let cosine = Schedule::Cosine { final_factor: 0.2 };
        close(cosine.factor(0, 10, 100, 0), 1.0);
        close(cosine.factor(50, 10, 100, 0), 0.6);
        close(cosine.factor(100, 10, 100, 0), 0.2);
        close(cosine.factor(4, 10, 110, 10), 0.5);
        close(cosine.factor(60, 10, 110, 10), 0.6);
        let cycle = Schedule::OneCycle { rise: 0.25, div_factor: 10.0, final_div_factor: 100.0 };
        close(cycle.factor(0, 10, 100, 0), 0.1);
        close(cycle.factor(25, 10, 100, 0), 1.0);
        close(cycle.factor(100, 10, 100, 0), 0.001);
    }
}

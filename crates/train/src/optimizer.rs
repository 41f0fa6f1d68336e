//! Optimisers, with Keras's names and defaults. The variables are updated in chunks of a fixed size, each by one thread.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use litesmith_graph::{Error, Result};
use litesmith_kernels::{Pool, Real};
use serde::{Deserialize, Serialize};

use crate::program::Variable;

/// How gradients change the weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimizer {
    /// Gradient descent; default learning rate 0.01.
    Sgd {
        /// Share of the last step that is kept.
        #[serde(default)]
        momentum: f64,
        /// Whether the gradient is taken ahead of the momentum (Sutskever et al., 2013).
        #[serde(default)]
        nesterov: bool,
    },
    /// Adam (Kingma and Ba, 2014); default learning rate 0.001.
    Adam {
        /// Decay of the mean of the gradients.
        #[serde(default = "beta_1")]
        beta_1: f64,
        /// Decay of the mean of their squares.
        #[serde(default = "beta_2")]
        beta_2: f64,
        /// Added to the root of the mean of squares.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// Adam with weight decay apart from the gradient (Loshchilov and Hutter, 2017); default learning rate 0.001, default
    /// weight decay 0.004.
    AdamW {
        /// Decay of the mean of the gradients.
        #[serde(default = "beta_1")]
        beta_1: f64,
        /// Decay of the mean of their squares.
        #[serde(default = "beta_2")]
        beta_2: f64,
        /// Added to the root of the mean of squares.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// RMSprop (Tieleman and Hinton, 2012); default learning rate 0.001.
    RmsProp {
        /// Decay of the mean of squares.
        #[serde(default = "beta_1")]
        rho: f64,
        /// Share of the last step that is kept.
        #[serde(default)]
        momentum: f64,
        /// Added to the mean of squares before its root is taken.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
}

fn beta_1() -> f64 {
    0.9
}
fn beta_2() -> f64 {
    0.999
}
fn epsilon() -> f64 {
    1e-7
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::adam()
    }
}

impl Optimizer {
    /// Adam with Keras's defaults.
    #[must_use]
    pub fn adam() -> Self {
        Self::Adam { beta_1: beta_1(), beta_2: beta_2(), epsilon: epsilon() }
    }

    /// AdamW with Keras's defaults.
    #[must_use]
    pub fn adam_w() -> Self {
        Self::AdamW { beta_1: beta_1(), beta_2: beta_2(), epsilon: epsilon() }
    }

    /// RMSprop with Keras's defaults.
    #[must_use]
    pub fn rms_prop() -> Self {
        Self::RmsProp { rho: beta_1(), momentum: 0.0, epsilon: epsilon() }
    }

    /// Gradient descent with this momentum.
    #[must_use]
    pub fn sgd(momentum: f64, nesterov: bool) -> Self {
        Self::Sgd { momentum, nesterov }
    }

    /// Keras's default learning rate.
    #[must_use]
    pub fn default_learning_rate(self) -> f64 {
        match self {
            Self::Sgd { .. } => 0.01,
            Self::Adam { .. } | Self::AdamW { .. } | Self::RmsProp { .. } => 0.001,
        }
    }

    /// Keras's default weight decay.
    #[must_use]
    pub fn default_weight_decay(self) -> f64 {
        match self {
            Self::AdamW { .. } => 0.004,
            Self::Sgd { .. } | Self::Adam { .. } | Self::RmsProp { .. } => 0.0,
        }
    }

    /// Checks the parameters.
    pub(crate) fn check(&self) -> Result<()> {
        let share = |name: &str, value: f64| {
            if (0.0..1.0).contains(&value) {
                return Ok(());
            }
            Err(Error::invalid("optimizer", format!("got {name} {value}, expected 0 or more and less than 1")))
        };
        let positive = |value: f64| {
            if value > 0.0 && value.is_finite() {
                return Ok(());
            }
            Err(Error::invalid("optimizer", format!("got epsilon {value}, expected a positive number")))
        };
        match *self {
            Self::Sgd { momentum, nesterov } if nesterov && momentum == 0.0 => {
                Err(Error::invalid("optimizer", "nesterov needs a momentum above 0"))
            }
            Self::Sgd { momentum, .. } => share("momentum", momentum),
            Self::Adam { beta_1, beta_2, epsilon } | Self::AdamW { beta_1, beta_2, epsilon } => {
                share("beta_1", beta_1)?;
                share("beta_2", beta_2)?;
                positive(epsilon)
            }
            Self::RmsProp { rho, momentum, epsilon } => {
                share("rho", rho)?;
                share("momentum", momentum)?;
                positive(epsilon)
            }
        }
    }

    /// Names of the vectors that it keeps, each as long as the variables.
    pub(crate) fn slots(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd { momentum, .. } if *momentum == 0.0 => &[],
            Self::Sgd { .. } => &["momentum"],
            Self::Adam { .. } | Self::AdamW { .. } => &["mean", "square"],
            Self::RmsProp { momentum, .. } if *momentum == 0.0 => &["square"],
            Self::RmsProp { .. } => &["square", "momentum"],
        }
    }
}

/// Elements in a chunk: large enough to pay for handing it to a thread. Part of the arithmetic of the gradient's norm.
const CHUNK: usize = 16 * 1024;

/// What changes from step to step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
    pub(crate) learning_rate: f64,
    pub(crate) weight_decay: f64,
    /// Bound on the norm of all gradients together.
    pub(crate) clip_norm: Option<f64>,
    /// Bound on each element of the gradients.
    pub(crate) clip_value: Option<f64>,
    /// Share of the averaged weights that each step keeps.
    pub(crate) ema: Option<f64>,
}

/// The optimiser's memory, and the gradient of the step at hand.
pub(crate) struct OptimizerState<T> {
    optimizer: Optimizer,
    chunks: Vec<Mutex<Chunk<T>>>,
    /// Updates made.
    pub(crate) updates: u64,
}

struct Chunk<T> {
    gradient: Vec<T>,
    slots: Vec<Vec<T>>,
    ema: Vec<T>,
    /// Parts that weight decay applies to.
    decayed: Vec<Range<usize>>,
    /// Parts that do not learn.
    frozen: Vec<Range<usize>>,
    squares: f64,
}

impl<T: Real> OptimizerState<T> {
    /// Fresh memory for `variables`, whose elements are `values`. Weight decay applies to what has more than one axis:
    /// filters and weights, not biases or normalizations. Those for which `frozen` holds keep their values.
    pub(crate) fn new(
        optimizer: Optimizer,
        variables: &[Variable],
        values: &[T],
        ema: bool,
        frozen: impl Fn(&Variable) -> bool,
    ) -> Self {
        let chunks = values.chunks(CHUNK).enumerate().map(|(index, values)| {
            let (start, len) = (index * CHUNK, values.len());
            let part = |variable: &Variable| {
                let from = variable.range.start.max(start);
                let to = variable.range.end.min(start + len);
                (from < to).then(|| from - start..to - start)
            };
            Mutex::new(Chunk {
                gradient: vec![T::ZERO; len],
                slots: vec![vec![T::ZERO; len]; optimizer.slots().len()],
                ema: if ema { values.to_vec() } else { Vec::new() },
                decayed: variables.iter().filter(|variable| variable.shape.len() > 1).filter_map(part).collect(),
                frozen: variables.iter().filter(|variable| frozen(variable)).filter_map(part).collect(),
                squares: 0.0,
            })
        });
        Self { optimizer, chunks: chunks.collect(), updates: 0 }
    }

    /// Takes in a gradient: `gather(start, chunk)` fills `chunk` with the elements from `start` on. Returns its norm.
    pub(crate) fn gather(&mut self, pool: &Pool, gather: &(dyn Fn(usize, &mut [T]) + Sync)) -> f64 {
        let chunks = &self.chunks;
        pool.run(chunks.len(), &|index| {
            let mut chunk = lock(&chunks[index]);
            let Chunk { gradient, frozen, squares, .. } = &mut *chunk;
            gather(index * CHUNK, gradient);
            for range in frozen {
                gradient[range.clone()].fill(T::ZERO);
            }
            *squares = sum_of_squares(gradient);
        });
        chunks.iter().map(|chunk| lock(chunk).squares).sum::<f64>().sqrt()
    }

    /// Changes `values` by the gradient taken in, whose norm is `norm`.
    pub(crate) fn apply(&mut self, pool: &Pool, values: &mut [T], update: &Update, norm: f64) {
        self.updates += 1;
        let step = Rule::new(self.optimizer, update, self.updates);
        let scale = match update.clip_norm {
            Some(limit) if norm > limit => T::from_f64(limit / norm),
            _ => T::ONE,
        };
        let decay = T::from_f64(1.0 - update.learning_rate * update.weight_decay);
        let chunks = &self.chunks;
        pool.chunks_mut(values, CHUNK, |index, values| {
            let mut chunk = lock(&chunks[index]);
            let Chunk { gradient, slots, ema, decayed, frozen, .. } = &mut *chunk;
            if scale != T::ONE {
                gradient.iter_mut().for_each(|gradient| *gradient *= scale);
            }
            if let Some(limit) = update.clip_value {
                let limit = T::from_f64(limit);
                gradient.iter_mut().for_each(|gradient| *gradient = gradient.larger(-limit).smaller(limit));
            }
            if update.weight_decay != 0.0 {
                for range in decayed.iter().filter(|range| !frozen.contains(range)) {
                    values[range.clone()].iter_mut().for_each(|value| *value *= decay);
                }
            }
            step.apply(values, gradient, slots);
            if let Some(keep) = update.ema {
                let keep = T::from_f64(keep);
                let rest = T::ONE - keep;
                ema.iter_mut().zip(values.iter()).for_each(|(ema, &value)| *ema = *ema * keep + value * rest);
            }
        });
    }

    /// The averaged weights, flat; empty when none are kept.
    pub(crate) fn ema(&self) -> Vec<T> {
        self.collect(|chunk| &chunk.ema)
    }

    /// The vectors that the optimiser keeps, flat.
    pub(crate) fn slots(&self) -> Vec<(&'static str, Vec<T>)> {
        let names = self.optimizer.slots().iter().enumerate();
        names.map(|(slot, name)| (*name, self.collect(|chunk| &chunk.slots[slot]))).collect()
    }

    /// Puts back what [`OptimizerState::slots`] and [`OptimizerState::ema`] gave.
    pub(crate) fn restore(&mut self, slots: &[Vec<T>], ema: &[T]) {
        for (index, chunk) in self.chunks.iter_mut().enumerate() {
            let chunk = chunk.get_mut().unwrap_or_else(PoisonError::into_inner);
            let range = index * CHUNK..index * CHUNK + chunk.gradient.len();
            for (slot, flat) in chunk.slots.iter_mut().zip(slots) {
                slot.copy_from_slice(&flat[range.clone()]);
            }
            if !chunk.ema.is_empty() {
                chunk.ema.copy_from_slice(&ema[range]);
            }
        }
    }

    fn collect(&self, part: impl Fn(&Chunk<T>) -> &[T]) -> Vec<T> {
        let mut flat = Vec::new();
        for chunk in &self.chunks {
            flat.extend_from_slice(part(&lock(chunk)));
        }
        flat
    }
}

/// Sum of squares in 16 interleaved partial sums, in f64.
fn sum_of_squares<T: Real>(values: &[T]) -> f64 {
    let mut lanes = [0.0_f64; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value.to_f64() * value.to_f64();
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += value.to_f64() * value.to_f64();
    }
    lanes.iter().sum()
}

/// The optimiser with the numbers of one step, in the element type.
#[derive(Clone, Copy)]
enum Rule<T> {
    Sgd {
        rate: T,
    },
    Momentum {
        rate: T,
        momentum: T,
        nesterov: bool,
    },
    /// `rate` holds the correction of both biases, and `epsilon` that of the root's.
    Adam {
        rate: T,
        keep_mean: T,
        keep_square: T,
        epsilon: T,
    },
    RmsProp {
        rate: T,
        keep: T,
        epsilon: T,
    },
    RmsPropMomentum {
        rate: T,
        keep: T,
        epsilon: T,
        momentum: T,
    },
}

impl<T: Real> Rule<T> {
    fn new(optimizer: Optimizer, update: &Update, updates: u64) -> Self {
        let rate = update.learning_rate;
        let real = T::from_f64;
        match optimizer {
            Optimizer::Sgd { momentum: 0.0, .. } => Self::Sgd { rate: real(rate) },
            Optimizer::Sgd { momentum, nesterov } => {
                Self::Momentum { rate: real(rate), momentum: real(momentum), nesterov }
            }
            Optimizer::Adam { beta_1, beta_2, epsilon } | Optimizer::AdamW { beta_1, beta_2, epsilon } => {
                let power = i32::try_from(updates).unwrap_or(i32::MAX);
                let corrected = rate * (1.0 - beta_2.powi(power)).sqrt() / (1.0 - beta_1.powi(power));
                Self::Adam {
                    rate: real(corrected),
                    keep_mean: real(beta_1),
                    keep_square: real(beta_2),
                    epsilon: real(epsilon),
                }
            }
            Optimizer::RmsProp { rho, momentum: 0.0, epsilon } => {
                Self::RmsProp { rate: real(rate), keep: real(rho), epsilon: real(epsilon) }
            }
            Optimizer::RmsProp { rho, momentum, epsilon } => Self::RmsPropMomentum {
                rate: real(rate),
                keep: real(rho),
                epsilon: real(epsilon),
                momentum: real(momentum),
            },
        }
    }

    fn apply(self, values: &mut [T], gradient: &[T], slots: &mut [Vec<T>]) {
        let moves = values.iter_mut().zip(gradient);
        match (self, slots) {
            (Self::Sgd { rate }, _) => moves.for_each(|(value, &g)| *value -= rate * g),
            (Self::Momentum { rate, momentum, nesterov }, [velocities]) => {
                for ((value, &g), velocity) in moves.zip(velocities) {
                    *velocity = momentum * *velocity - rate * g;
                    *value += if nesterov { momentum * *velocity - rate * g } else { *velocity };
                }
            }
            (Self::Adam { rate, keep_mean, keep_square, epsilon }, [means, squares]) => {
                let (rest_mean, rest_square) = (T::ONE - keep_mean, T::ONE - keep_square);
                for ((value, &g), (mean, square)) in moves.zip(means.iter_mut().zip(squares)) {
                    *mean += (g - *mean) * rest_mean;
                    *square += (g * g - *square) * rest_square;
                    *value -= rate * *mean / (square.sqrt() + epsilon);
                }
            }
            (Self::RmsProp { rate, keep, epsilon }, [squares]) => {
                for ((value, &g), square) in moves.zip(squares) {
                    *square = keep * *square + (T::ONE - keep) * g * g;
                    *value -= rate * g / (*square + epsilon).sqrt();
                }
            }
            (Self::RmsPropMomentum { rate, keep, epsilon, momentum }, [squares, velocities]) => {
                for ((value, &g), (square, velocity)) in moves.zip(squares.iter_mut().zip(velocities)) {
                    *square = keep * *square + (T::ONE - keep) * g * g;
                    *velocity = momentum * *velocity + rate * g / (*square + epsilon).sqrt();
                    *value -= *velocity;
                }
            }
            // The slots are made by the same optimiser, so their number always fits.
            _ => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `steps` steps on f(x) = x^2 / 2 from x = 1 (so that the gradient is x), in f64.
    fn run(optimizer: Optimizer, steps: usize, change: impl Fn(&mut Update)) -> (f64, OptimizerState<f64>) {
        let variables =
            [Variable { name: "w".into(), tensor: litesmith_graph::TensorId(0), shape: vec![1, 1], range: 0..1 }];
        let mut values = vec![1.0_f64];
        let mut state = OptimizerState::new(optimizer, &variables, &values, true, |_| false);
        let mut update =
            Update { learning_rate: 0.1, weight_decay: 0.0, clip_norm: None, clip_value: None, ema: Some(0.5) };
        change(&mut update);
        let pool = Pool::serial();
        for _ in 0..steps {
            let current = values.clone();
            let norm = state.gather(&pool, &|start, chunk| chunk.copy_from_slice(&current[start..]));
            assert_eq!(norm, current[0].abs());
            state.apply(&pool, &mut values, &update, norm);
        }
        (values[0], state)
    }

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-12, "got {got}, expected {expected}");
    }

    #[test]
    fn two_steps_of_each_optimiser_are_those_worked_out_by_hand() {
        close(run(Optimizer::sgd(0.0, false), 2, |_| {}).0, 0.81);
        // v1 = -0.1, x1 = 0.9; v2 = 0.9 * -0.1 - 0.09 = -0.18, x2 = 0.72.
        close(run(Optimizer::sgd(0.9, false), 2, |_| {}).0, 0.72);
        // v1 = -0.1, x1 = 1 - 0.09 - 0.1 = 0.81; v2 = -0.09 - 0.081 = -0.171, x2 = 0.81 - 0.1539 - 0.081.
        close(run(Optimizer::sgd(0.9, true), 2, |_| {}).0, 0.5751);
        let adam = Optimizer::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-300 };
        // The first step of Adam is the learning rate whatever the gradient; the second follows from both means.
        close(run(adam, 1, |_| {}).0, 0.9);
        let (mean, square) = (0.9 * 0.1 + 0.1 * 0.9, 0.999 * 0.001 + 0.001 * 0.81);
        let rate = 0.1 * (1.0 - 0.999_f64.powi(2)).sqrt() / (1.0 - 0.81);
        close(run(adam, 2, |_| {}).0, 0.9 - rate * mean / f64::sqrt(square));
        let rms = Optimizer::RmsProp { rho: 0.9, momentum: 0.0, epsilon: 1e-300 };
        close(run(rms, 1, |_| {}).0, 1.0 - 0.1 / 0.1_f64.sqrt());
        let rms = Optimizer::RmsProp { rho: 0.9, momentum: 0.5, epsilon: 1e-300 };
        let first = 0.1 / 0.1_f64.sqrt();
        let x = 1.0 - first;
        let square = 0.09 + 0.1 * x * x;
        close(run(rms, 2, |_| {}).0, x - 0.5 * first - 0.1 * x / square.sqrt());
    }

    #[test]
    fn decay_clipping_and_averaging() {
        let sgd = Optimizer::sgd(0.0, false);
        close(run(sgd, 1, |update| update.weight_decay = 0.5).0, 0.95 - 0.1);
        close(run(sgd, 1, |update| update.clip_norm = Some(0.25)).0, 1.0 - 0.025);
        close(run(sgd, 1, |update| update.clip_value = Some(0.125)).0, 1.0 - 0.0125);
        let (_, state) = run(sgd, 2, |_| {});
        close(state.ema()[0], 0.5 * (0.5 + 0.45) + 0.5 * 0.81);
    }
}

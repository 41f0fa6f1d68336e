//! Training, timed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use litesmith_data::{Preprocess, Split};
use litesmith_graph::{Error, Graph, Result};
use litesmith_kernels::{Isa, Pool};
use litesmith_measure::{Stopwatch, peak_rss_bytes};
use litesmith_train::{EpochRecord, StepRecord, TrainConfig, TrainData, TrainObserver, TrainOptions, Trainer};
use serde::Serialize;

use super::peak::float_multiply_adds;

/// How to time training.
pub struct TrainBench<'a> {
    /// The network with its initial weights.
    pub graph: &'a Graph,
    /// How to train; each epoch is timed on its own.
    pub config: TrainConfig,
    /// Threads.
    pub threads: usize,
    /// Instruction set; the best of this CPU when `None`.
    pub isa: Option<Isa>,
    /// Samples of one epoch.
    pub train: &'a Split,
    /// How images are brought to the network's input.
    pub preprocess: Preprocess,
    /// Samples whose accuracy is looked at after each epoch, outside the clock, and the accuracy (0 to 1) to stop at.
    pub goal: Option<(&'a Split, f64)>,
    /// Started when the process did.
    pub since_start: Stopwatch,
}

/// Times of training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainTimes {
    /// Images a second, the median of the epochs: loading, augmentation and updates; not the first step, which plans.
    pub images_per_s: f64,
    /// Images a second of each epoch.
    pub images_per_s_epochs: Vec<f64>,
    /// Billions of floating-point operations a second in the layers' multiply-accumulates, two for each: forward, the
    /// gradient of the weights, and that of the inputs where one is needed.
    pub gflops: f64,
    /// The same for independent multiply-adds in registers on as many threads: what the machine can do.
    pub peak_gflops: f64,
    /// From the start of the process to the end of the first step.
    pub start_to_first_step_s: f64,
    /// The most memory that the process held.
    pub peak_rss_bytes: Option<u64>,
    /// Seconds of training until the goal was reached, when one was set and reached.
    pub seconds_to_goal: Option<f64>,
    /// Mean loss of the last epoch: that it falls tells that what was timed is training.
    pub loss: f64,
}

/// Trains and times.
///
/// # Errors
/// Those of [`Trainer::new`] and [`Trainer::train`].
pub fn train(bench: &TrainBench<'_>) -> Result<TrainTimes> {
    let cancel = Arc::new(AtomicBool::new(false));
    let options = TrainOptions {
        threads: bench.threads,
        isa: bench.isa,
        cancel: Some(Arc::clone(&cancel)),
        ..TrainOptions::default()
    };
    let data = TrainData {
        train: bench.train.clone(),
        validation: bench.goal.map(|(split, _)| split.clone()),
        preprocess: bench.preprocess.clone(),
    };
    let mut trainer = Trainer::new(bench.graph, bench.config.clone(), options)?;
    let mut clock = Clock {
        since_start: bench.since_start,
        first_step_s: None,
        whole_epoch: Stopwatch::start(),
        after_first_step: None,
        samples: 0,
        rates: Vec::new(),
        training_s: 0.0,
        goal: bench.goal.map(|(_, accuracy)| accuracy),
        seconds_to_goal: None,
        cancel,
    };
    let report = trainer.train(&data, &mut clock)?;
    let loss = report.history.last().map_or(f64::NAN, |epoch| epoch.training.loss);
    let mut sorted = clock.rates.clone();
    sorted.sort_by(f64::total_cmp);
    let images_per_s = sorted
        .get(sorted.len() / 2)
        .copied()
        .ok_or_else(|| Error::invalid("bench", "an epoch has a single step; take more images or smaller batches"))?;
    Ok(TrainTimes {
        images_per_s,
        gflops: images_per_s * 2.0 * training_macs(bench.graph) as f64 / 1e9,
        peak_gflops: 2.0
            * float_multiply_adds(&Pool::new(bench.threads), bench.isa.unwrap_or_else(Isa::detect), bench.threads),
        images_per_s_epochs: clock.rates,
        start_to_first_step_s: clock.first_step_s.unwrap_or(f64::NAN),
        peak_rss_bytes: peak_rss_bytes(),
        seconds_to_goal: clock.seconds_to_goal,
        loss,
    })
}

/// Multiply-accumulates of one image, forward and backward: each layer three times, the first one without the gradient of
/// the image.
fn training_macs(graph: &Graph) -> u64 {
    let macs = || (0..graph.nodes.len()).map(|index| graph.cost(index).macs);
    let first = macs().find(|&macs| macs > 0).unwrap_or(0);
    (macs().fold(0, u64::saturating_add)).saturating_mul(3).saturating_sub(first)
}

struct Clock {
    since_start: Stopwatch,
    first_step_s: Option<f64>,
    whole_epoch: Stopwatch,
    after_first_step: Option<Stopwatch>,
    samples: u64,
    rates: Vec<f64>,
    training_s: f64,
    goal: Option<f64>,
    seconds_to_goal: Option<f64>,
    cancel: Arc<AtomicBool>,
}

impl TrainObserver for Clock {
    fn on_step(&mut self, step: &StepRecord) {
        self.first_step_s.get_or_insert_with(|| self.since_start.elapsed_seconds());
        match &self.after_first_step {
            None => (self.after_first_step, self.samples) = (Some(Stopwatch::start()), 0),
            Some(_) => self.samples += step.samples as u64,
        }
        if step.step == step.steps_per_epoch {
            self.training_s += self.whole_epoch.elapsed_seconds();
            let clock = self.after_first_step.take().filter(|_| self.samples > 0);
            self.rates.extend(clock.map(|clock| self.samples as f64 / clock.elapsed_seconds()));
        }
    }

    fn on_epoch(&mut self, epoch: &EpochRecord) {
        if let (Some(goal), Some(reached)) = (self.goal, epoch.validation)
            && reached.accuracy >= goal
        {
            self.seconds_to_goal = Some(self.training_s);
            self.cancel.store(true, Ordering::Relaxed);
        }
        self.whole_epoch = Stopwatch::start();
    }
}

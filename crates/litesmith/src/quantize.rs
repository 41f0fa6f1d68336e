//! Calibrating a float model on a data set.

use litesmith_compress::{MinMax, Ranges, calibrate, calibration_samples};
use litesmith_data::Split;
use litesmith_graph::{Model, Result};
use litesmith_runtime::{Session, SessionOptions};

use crate::predictor::Predictor;
use crate::progress::{Progress, Stage};

/// How to calibrate.
#[derive(Debug, Clone)]
pub struct CalibrateOptions {
    /// Samples to run, the same number of each class as far as there are.
    pub samples: usize,
    /// Seed that chooses them.
    pub seed: u64,
    /// How the model runs.
    pub session: SessionOptions,
}

/// Runs a float model on samples of `split` and gives the range of each activation, smallest to largest value.
///
/// # Errors
/// Those of reading samples and running the model; see [`calibrate`].
pub fn calibrate_on(
    model: &Model,
    split: &Split,
    options: &CalibrateOptions,
    progress: &mut dyn Progress,
) -> Result<Ranges> {
    let predictor = Predictor::new(model, options.session.clone(), split.shape())?;
    let mut session = Session::new(model, options.session.clone())?;
    let samples = calibration_samples(split, predictor.preprocess(), options.samples, options.seed)?;
    progress.start(Stage::Calibrate, options.samples.min(split.len()) as u64);
    let counted = (1..).zip(samples).map(|(done, sample)| {
        progress.advance(done);
        sample
    });
    let ranges = calibrate(model.main()?, &mut session, counted, &|| Box::new(MinMax::default()));
    progress.finish();
    ranges
}

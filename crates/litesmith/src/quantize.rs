//! Calibrating and quantizing a float model on a data set.

use litesmith_compress::{
    CalibrationConfig, CalibratorKind, PostTrainingReport, QuantizationConfig, Ranges, Sample, Step, calibrate,
    calibration_samples, post_training,
};
use litesmith_data::Split;
use litesmith_graph::{Error, Model, Normalization, Result};
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
    let config = CalibrationConfig {
        calibrator: CalibratorKind::MinMax,
        samples: options.samples,
        seed: options.seed,
        ..CalibrationConfig::default()
    };
    let (samples, _) = samples_of(model, split, &config, None, &options.session)?;
    let mut session = Session::new(model, options.session.clone())?;
    progress.start(Stage::Calibrate, options.samples.min(split.len()) as u64);
    let counted = (1..).zip(samples).map(|(done, sample)| {
        progress.advance(done);
        sample
    });
    let ranges = calibrate(model.main()?, &mut session, counted, &|| config.calibrator());
    progress.finish();
    ranges
}

/// Samples of `split` as the model takes them: as its file says, or else, where they are bytes, as `normalization` does; with
/// [`Predictor::mismatch`].
fn samples_of(
    model: &Model,
    split: &Split,
    config: &CalibrationConfig,
    normalization: Option<&Normalization>,
    session: &SessionOptions,
) -> Result<(impl Iterator<Item = Result<Sample>> + use<>, Option<String>)> {
    let mut predictor = Predictor::for_split(model, session.clone(), split)?;
    if let Some(normalization) = normalization.filter(|_| split.is_bytes()) {
        predictor.assume_normalization(normalization).map_err(|error| error.at("normalization"))?;
    }
    let samples = calibration_samples(split, predictor.preprocess(), config.samples, config.seed)?;
    Ok((samples, predictor.mismatch(split)))
}

/// Quantizes a float32 model as `config` says, with samples of `split`, which may be left out where
/// [`QuantizationConfig::needs_samples`] is false; `normalization` is that of each input, by which bytes of `split` become numbers
/// where the model does not say how they do. See [`post_training`].
///
/// # Errors
/// Those of reading samples and of [`post_training`].
pub fn quantize_on(
    model: &Model,
    split: Option<&Split>,
    config: &QuantizationConfig,
    normalization: Vec<Option<Normalization>>,
    session: &SessionOptions,
    progress: &mut dyn Progress,
) -> Result<(Model, PostTrainingReport)> {
    config.check()?;
    let mut mismatch = None;
    let samples = match split {
        Some(split) if config.needs_samples() => {
            let normalization = normalization.first().and_then(Option::as_ref);
            let (samples, found) = samples_of(model, split, &config.calibration, normalization, session)?;
            mismatch = found;
            samples.collect::<Result<Vec<_>>>()?
        }
        None if config.needs_samples() => {
            return Err(Error::invalid("quantize", "got no data, but the activations must be seen")
                .with_hint("give a data set to calibrate with, or choose float16, dynamic or weight-only"));
        }
        _ => Vec::new(),
    };
    let mut running = None;
    let mut result = post_training(model, config, normalization, &samples, session, &mut |step, done, of| {
        if running != Some(step) {
            if running.is_some() {
                progress.finish();
            }
            running = Some(step);
            let stage = match step {
                Step::Calibrate => Stage::Calibrate,
                Step::Round => Stage::Round,
                Step::Correct => Stage::Correct,
            };
            progress.start(stage, of as u64);
        }
        progress.advance(done as u64);
    });
    if running.is_some() {
        progress.finish();
    }
    if let Ok((_, report)) = &mut result {
        report.quantization.warnings.extend(mismatch);
    }
    result
}

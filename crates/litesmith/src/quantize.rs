//! Calibrating a float model on a data set.

use litesmith_compress::{FloatRunner, MinMax, Ranges, calibrate};
use litesmith_data::{Split, preprocess};
use litesmith_graph::{Model, Result, TensorId};
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
    let chosen = split.sample_stratified(options.samples, options.seed);
    let predictor = Predictor::new(model, options.session.clone(), split.shape())?;
    let mut session = Session::new(model, options.session.clone())?;
    progress.start(Stage::Calibrate, chosen.len() as u64);
    let samples = (0..chosen.len()).map(|index| {
        let sample = chosen.get(index)?;
        let mut pixels = vec![0.0; predictor.input_len()];
        preprocess(&sample.image, predictor.preprocess(), &mut pixels)?;
        progress.advance(index as u64 + 1);
        Ok(vec![pixels])
    });
    let ranges = calibrate(model.main()?, &mut Runner(&mut session), samples, &|| Box::new(MinMax::default()));
    progress.finish();
    ranges
}

struct Runner<'a>(&'a mut Session);

impl FloatRunner for Runner<'_> {
    fn run(&mut self, inputs: &[&[f32]], observe: &mut dyn FnMut(TensorId, &[f32])) -> Result<()> {
        for (index, input) in inputs.iter().enumerate() {
            self.0.input_mut::<f32>(index)?.copy_from_slice(input);
        }
        self.0.run_observed(&mut |id, tensor, bytes| {
            // The inputs are known to whoever gave them; other types have no range.
            if tensor.dtype == litesmith_graph::DType::F32
                && let Ok(values) = bytemuck::try_cast_slice(bytes)
            {
                observe(id, values);
            }
        })
    }
}

//! Calibration samples from a data set.

use litesmith_data::{Batch, Loader, LoaderConfig, Preprocess, Split};
use litesmith_graph::Result;

/// `count` samples of `split` for [`calibrate`](super::calibrate) on a graph with one input: a stratified random choice by
/// `seed`, each brought to the network's input by `preprocess`. All samples when there are no more than `count`.
///
/// # Errors
/// Those of [`Loader::new`]; the iterator gives those of reading samples.
pub fn calibration_samples(
    split: &Split,
    preprocess: &Preprocess,
    count: usize,
    seed: u64,
) -> Result<impl Iterator<Item = Result<Vec<Vec<f32>>>> + use<>> {
    let config = LoaderConfig { prefetch: 0, ..LoaderConfig::evaluation(1) };
    let loader = Loader::new(split.sample_stratified(count, seed), preprocess.clone(), config)?;
    let mut batch = Batch::default();
    Ok((0..loader.steps_per_epoch()).map(move |step| {
        loader.fill(0, step, &mut batch)?;
        Ok(vec![batch.images.clone()])
    }))
}

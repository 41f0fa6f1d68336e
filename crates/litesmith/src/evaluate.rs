//! Evaluating a model on a data set.

use litesmith_data::{Batch, Loader, LoaderConfig, Split};
use litesmith_graph::{Error, Result};
use litesmith_measure::{Agreement, Evaluation};

use crate::predictor::Predictor;
use crate::progress::{Progress, Stage};

/// How to evaluate.
#[derive(Debug, Clone)]
pub struct EvaluateOptions {
    /// Images at a time; the result does not depend on it.
    pub batch: usize,
    /// Which top-k accuracies to count.
    pub top_k: Vec<usize>,
    /// Wrong samples to keep.
    pub wrong_limit: usize,
}

impl Default for EvaluateOptions {
    /// 64 images at a time, the first 1,000 wrong samples kept.
    fn default() -> Self {
        Self { batch: 64, top_k: Vec::new(), wrong_limit: 1000 }
    }
}

/// Runs `model` on every sample of `split`; with `reference`, also compares it with that model sample by sample. Where only one of
/// the two says how pixels become numbers, both get those numbers.
///
/// # Errors
/// Those of reading samples and running models; [`Error::Invalid`] when the model's classes are not the data's.
pub fn evaluate(
    model: &mut Predictor,
    mut reference: Option<&mut Predictor>,
    split: &Split,
    options: &EvaluateOptions,
    progress: &mut dyn Progress,
) -> Result<(Evaluation, Option<Agreement>)> {
    let mut evaluation = Evaluation::new(split.classes().iter().cloned())?
        .with_top_k(options.top_k.iter().copied())
        .with_wrong_limit(options.wrong_limit);
    if let Some(k) = options.top_k.iter().find(|&&k| k == 0 || k > split.classes().len()) {
        return Err(Error::invalid(
            "top-k",
            format!("got {k}, expected 1 to {}, the number of classes", split.classes().len()),
        ));
    }
    if let Some(other) = reference.as_deref_mut() {
        model.agree_on_normalization(other)?;
    }
    let mut agreement = reference.as_ref().map(|_| Agreement::new());
    let loader = |predictor: &Predictor| {
        Loader::new(split.clone(), predictor.preprocess().clone(), LoaderConfig::evaluation(options.batch.max(1)))
    };
    let mut epoch = loader(model)?.epoch(0, 0);
    // A reference that sees images otherwise gets batches of its own.
    let mut reference_epoch = match &reference {
        Some(other) if other.preprocess() != model.preprocess() => Some(loader(other)?.epoch(0, 0)),
        _ => None,
    };
    let (mut batch, mut reference_batch) = (Batch::default(), Batch::default());
    progress.start(Stage::Evaluate, split.len() as u64);
    let classes = split.classes().len();
    while epoch.next_into(&mut batch)?.is_some() {
        if batch.is_empty() {
            continue;
        }
        let scores = model.predict(&batch.images)?;
        check_classes(scores.len(), batch.len(), classes)?;
        for (row, &label) in scores.chunks_exact(classes).zip(&batch.labels) {
            evaluation.add(row, label as usize)?;
        }
        if let (Some(reference), Some(agreement)) = (reference.as_deref_mut(), agreement.as_mut()) {
            let images = match reference_epoch.as_mut() {
                Some(epoch) => {
                    epoch.next_into(&mut reference_batch)?;
                    &reference_batch.images
                }
                None => &batch.images,
            };
            let expected = reference.predict(images)?;
            check_classes(expected.len(), batch.len(), classes).map_err(|error| error.at("the model compared with"))?;
            let rows = scores.chunks_exact(classes).zip(expected.chunks_exact(classes));
            for ((row, expected), &label) in rows.zip(&batch.labels) {
                agreement.add(row, expected, Some(label as usize))?;
            }
        }
        progress.advance(evaluation.samples());
    }
    progress.finish();
    Ok((evaluation, agreement))
}

/// What to say where an accuracy is not above that of guessing.
pub(crate) fn like_guessing(accuracy: f64, samples: u64, classes: usize) -> Option<String> {
    let chance = 1.0 / classes.max(1) as f64;
    let deviation = (chance * (1.0 - chance) / samples.max(1) as f64).sqrt();
    (classes > 1 && samples > 0 && accuracy <= chance + 3.0 * deviation).then(|| {
        format!(
            "the model given has {} of the answers right, as guessing among {classes} classes would: is it the data that it was \
             trained for, and do pixels become the numbers that it wants?",
            litesmith_measure::format::percent(accuracy)
        )
    })
}

pub(crate) fn check_classes(scores: usize, samples: usize, classes: usize) -> Result<()> {
    if classes > 0 && scores == samples * classes {
        return Ok(());
    }
    Err(Error::invalid(
        "model",
        format!("it gives {} scores for an image, the data has {classes} classes", scores / samples.max(1)),
    )
    .with_hint(
        "the data set must have the classes that the model was trained for; where it has samples of some of them only, \
         `litesmith eval --classes` takes the names of all",
    ))
}

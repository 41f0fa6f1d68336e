//! Samples of a data set as pictures for reports.

use litesmith_data::{Pixels, Split};
use litesmith_graph::Result;
use litesmith_measure::{EvaluationReport, Metrics, Picture};

/// Pictures that a report shows.
const PICTURES_MAX: usize = 100;

/// An evaluation with its wrong samples as pictures, the most confident mistakes first, which teach most; 100 at most.
///
/// # Errors
/// Those of reading samples.
pub fn report_evaluation(model: &str, data: &str, split: &Split, metrics: Metrics) -> Result<EvaluationReport> {
    let mut report = EvaluationReport::new(model, data, "image", metrics);
    report.add_wrong_pictures(PICTURES_MAX, |index| {
        let image = split.get(usize::try_from(index).unwrap_or(usize::MAX))?.image;
        let shape = image.shape();
        match image.pixels() {
            Pixels::U8(bytes) => Picture::new(shape.width, shape.height, shape.channels, bytes.clone()),
            // Values of any range: the smallest becomes black, the largest white.
            Pixels::F32(values) => {
                let low = values.iter().copied().fold(f32::INFINITY, f32::min);
                let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                Picture::from_floats(shape.width, shape.height, shape.channels, values, low, high)
            }
        }
    })?;
    Ok(report)
}

//! Samples of a data set as pictures for reports.

use litesmith_data::{Pixels, Split};
use litesmith_graph::Result;
use litesmith_measure::{Picture, WrongPicture, WrongSample};

/// Pictures that a report shows.
const PICTURES_MAX: usize = 100;

/// The wrong samples as pictures, the most confident mistakes first, which teach most; 100 at most.
///
/// # Errors
/// Those of reading samples.
pub fn wrong_pictures(split: &Split, wrong: &[WrongSample]) -> Result<Vec<WrongPicture>> {
    let mut wrong: Vec<_> = wrong.iter().collect();
    let confidence = |sample: &WrongSample| sample.confidence.unwrap_or(f32::NEG_INFINITY);
    wrong.sort_by(|a, b| confidence(b).total_cmp(&confidence(a)));
    let picture = |sample: &WrongSample| {
        let image = split.get(usize::try_from(sample.index).unwrap_or(usize::MAX))?.image;
        let shape = image.shape();
        let pixels = match image.pixels() {
            Pixels::U8(bytes) => bytes.clone(),
            // Values of any range: the smallest becomes black, the largest white.
            Pixels::F32(values) => {
                let low = values.iter().copied().fold(f32::INFINITY, f32::min);
                let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let scale = if high > low { 255.0 / (high - low) } else { 0.0 };
                values.iter().map(|value| ((value - low) * scale) as u8).collect()
            }
        };
        let picture = Picture::new(shape.width, shape.height, shape.channels, pixels)?;
        Ok(WrongPicture { sample: sample.clone(), picture })
    };
    wrong.into_iter().take(PICTURES_MAX).map(picture).collect()
}

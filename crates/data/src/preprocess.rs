//! From a decoded image to the numbers a network takes: channels, size, normalisation.

use litesmith_graph::{Error, Result};

use crate::image::{Image, ImageShape, Pixels};

/// How an image is brought to the network's size. Pixel centres lie at half-integers (as in `tf.image.resize` and
/// Pillow): output pixel `i` looks at input position `(i + 0.5) * input / output - 0.5`; beyond the border the border
/// pixel counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Between the two nearest pixels on each axis, without antialiasing: `tf.image.resize(method="bilinear")`.
    #[default]
    Bilinear,
    /// The pixel that the centre falls into.
    Nearest,
    /// The mean over the area the output pixel covers; the choice for shrinking photographs.
    Area,
}

/// How an image becomes a network's input: grey from colour or colour from grey, resize, then `(pixel - mean) / std`.
///
/// Pixels of image files count from 0 to 255, so [0, 1] is mean 0, std 255 and [-1, 1] is mean 127.5, std 127.5.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Rows of the network's input.
    pub height: usize,
    /// Columns of the network's input.
    pub width: usize,
    /// Channels of the network's input.
    pub channels: usize,
    /// How to come to that size.
    #[serde(default)]
    pub resize: Resize,
    /// Subtracted from each pixel: one number, or one for each channel.
    pub mean: Vec<f32>,
    /// Divides the difference: one number, or one for each channel.
    pub std: Vec<f32>,
}

/// No side of a network's input is longer.
const SIDE_PX_MAX: usize = 1 << 16;

impl Preprocess {
    /// 0..=255 becomes [0, 1].
    #[must_use]
    pub fn unit(shape: ImageShape) -> Self {
        Self::with_mean_std(shape, vec![0.0], vec![255.0])
    }

    /// Values are taken as they are.
    #[must_use]
    pub fn identity(shape: ImageShape) -> Self {
        Self::with_mean_std(shape, vec![0.0], vec![1.0])
    }

    /// `(pixel - mean) / std`, one number or one for each channel; bilinear resizing.
    #[must_use]
    pub fn with_mean_std(shape: ImageShape, mean: Vec<f32>, std: Vec<f32>) -> Self {
        let ImageShape { height, width, channels } = shape;
        Self { height, width, channels, resize: Resize::default(), mean, std }
    }

    /// Height, width and channels of the result.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        ImageShape::new(self.height, self.width, self.channels)
    }

    /// Checks that the numbers make sense.
    ///
    /// # Errors
    /// `Invalid` for a side of 0 or above 65,536, for as many means or stds as neither 1 nor the channels, for a mean
    /// that is not finite, for a std that is zero or not finite.
    pub fn check(&self) -> Result<()> {
        let bad = |message: String| Err(Error::invalid("preprocess", message));
        for (name, side) in [("height", self.height), ("width", self.width), ("channels", self.channels)] {
            if side == 0 || side > SIDE_PX_MAX {
                return bad(format!("got {name} {side}, expected 1 to {SIDE_PX_MAX}"));
            }
        }
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != 1 && values.len() != self.channels {
                return bad(format!(
                    "got {} values of {name} for {} channels, expected 1 or {}",
                    values.len(),
                    self.channels,
                    self.channels
                ));
            }
        }
        if let Some(mean) = self.mean.iter().find(|mean| !mean.is_finite()) {
            return bad(format!("got mean {mean}, expected a finite number"));
        }
        if let Some(std) = self.std.iter().find(|std| !std.is_normal()) {
            return bad(format!("got std {std}, expected a finite number other than 0"));
        }
        Ok(())
    }

    /// `(pixel - mean) / std` on HWC values in place.
    pub(crate) fn normalise(&self, values: &mut [f32]) {
        if let ([mean], [std]) = (self.mean.as_slice(), self.std.as_slice()) {
            for v in values {
                *v = (*v - mean) / std;
            }
            return;
        }
        let (means, stds) = (self.mean.iter().cycle(), self.std.iter().cycle());
        let affine: Vec<(f32, f32)> = means.zip(stds).take(self.channels).map(|(&m, &s)| (m, s)).collect();
        for pixel in values.chunks_exact_mut(self.channels.max(1)) {
            for (v, (mean, std)) in pixel.iter_mut().zip(&affine) {
                *v = (*v - mean) / std;
            }
        }
    }
}

/// Writes `image` as the network takes it to `out`: height x width x channels of `preprocess`, HWC, normalised.
///
/// Grey from colour is Pillow's: `(19595 R + 38470 G + 7471 B + 32768) >> 16` on bytes, and
/// `0.299 R + 0.587 G + 0.114 B` on floats. Colour from grey repeats the value.
///
/// # Errors
/// `Invalid` when `preprocess` makes no sense, `out` has another length, or the channels of the image cannot become
/// those asked for (only 1 to any number, and 3 to 1).
pub fn preprocess(image: &Image, preprocess: &Preprocess, out: &mut [f32]) -> Result<()> {
    preprocess.check()?;
    pixels_into(image, preprocess, out)?;
    preprocess.normalise(out);
    Ok(())
}

/// Channels and size of `preprocess`, values still as pixels. `preprocess` has been checked.
pub(crate) fn pixels_into(image: &Image, preprocess: &Preprocess, out: &mut [f32]) -> Result<()> {
    let (from, to) = (image.shape(), preprocess.shape());
    if to.elements() != Some(out.len()) {
        return Err(Error::invalid("preprocess", format!("got room for {} values, expected shape {to}", out.len())));
    }
    if from.elements().unwrap_or(0) == 0 {
        return Err(Error::invalid("preprocess", format!("got an image of shape {from}, without pixels")));
    }
    if from == to {
        match image.pixels() {
            Pixels::U8(values) => out.iter_mut().zip(values).for_each(|(o, &v)| *o = f32::from(v)),
            Pixels::F32(values) => out.copy_from_slice(values),
        }
        return Ok(());
    }
    let (values, channels) = match (from.channels, to.channels) {
        (a, b) if a == b => (to_floats(image.pixels()), a),
        (1, _) => (to_floats(image.pixels()), 1),
        (3, 1) => (to_grey(image.pixels()), 1),
        (a, b) => {
            return Err(Error::invalid("preprocess", format!("cannot make {b} channels of an image of {a}"))
                .with_hint("the network must take 1 or 3 channels, or as many as the image has"));
        }
    };
    let resized = resize(&values, ImageShape { channels, ..from }, to.height, to.width, preprocess.resize);
    if channels == to.channels {
        out.copy_from_slice(&resized);
    } else {
        for (pixel, value) in out.chunks_exact_mut(to.channels).zip(&resized) {
            pixel.fill(*value);
        }
    }
    Ok(())
}

fn to_floats(pixels: &Pixels) -> Vec<f32> {
    match pixels {
        Pixels::U8(values) => values.iter().map(|&v| f32::from(v)).collect(),
        Pixels::F32(values) => values.clone(),
    }
}

fn to_grey(pixels: &Pixels) -> Vec<f32> {
    match pixels {
        Pixels::U8(values) => values
            .as_chunks::<3>()
            .0
            .iter()
            .map(|&[r, g, b]| {
                ((19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b) + 32_768) >> 16) as f32
            })
            .collect(),
        Pixels::F32(values) => {
            values.as_chunks::<3>().0.iter().map(|[r, g, b]| 0.299 * r + 0.587 * g + 0.114 * b).collect()
        }
    }
}

/// What one output position takes from its axis: `weights` for the inputs from `first` on.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

fn taps(resize: Resize, input: usize, output: usize) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    let last = input - 1;
    let tap = |i: usize| match resize {
        Resize::Nearest => {
            let first = (((i as f64 + 0.5) * scale).floor() as usize).min(last);
            Taps { first, weights: vec![1.0] }
        }
        Resize::Bilinear => {
            let position = ((i as f64 + 0.5) * scale - 0.5).clamp(0.0, last as f64);
            let first = (position.floor() as usize).min(last);
            let fraction = (position - first as f64) as f32;
            let weights = if first == last { vec![1.0] } else { vec![1.0 - fraction, fraction] };
            Taps { first, weights }
        }
        Resize::Area => {
            let (from, to) = (i as f64 * scale, (i + 1) as f64 * scale);
            let first = (from.floor() as usize).min(last);
            let end = (to.ceil() as usize).clamp(first + 1, input);
            let covered = |x: usize| (to.min((x + 1) as f64) - from.max(x as f64)).max(0.0);
            let total: f64 = (first..end).map(covered).sum();
            // The ends can meet in one rounding error's width; one pixel then counts whole.
            let weight =
                |x: usize| if total > 0.0 { (covered(x) / total) as f32 } else { f32::from(u8::from(x == first)) };
            Taps { first, weights: (first..end).map(weight).collect() }
        }
    };
    (0..output).map(tap).collect()
}

/// Resizes HWC `values` of shape `from`: first along the rows, then along the columns.
fn resize(values: &[f32], from: ImageShape, height: usize, width: usize, resize: Resize) -> Vec<f32> {
    let channels = from.channels;
    if (from.height, from.width) == (height, width) {
        return values.to_vec();
    }
    let across = taps(resize, from.width, width);
    let mut narrowed = Vec::with_capacity(from.height * width * channels);
    for row in values.chunks_exact(from.width * channels) {
        for tap in &across {
            for channel in 0..channels {
                let column = row.iter().skip(tap.first * channels + channel).step_by(channels);
                narrowed.push(column.zip(&tap.weights).map(|(v, w)| v * w).sum());
            }
        }
    }
    let row_len = width * channels;
    let mut out = vec![0.0; height * row_len];
    for (tap, out_row) in taps(resize, from.height, height).iter().zip(out.chunks_exact_mut(row_len)) {
        for (row, weight) in narrowed.chunks_exact(row_len).skip(tap.first).zip(&tap.weights) {
            for (o, v) in out_row.iter_mut().zip(row) {
                *o += v * weight;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f32], width: usize, method: Resize) -> Vec<f32> {
        resize(values, ImageShape::new(1, values.len(), 1), 1, width, method)
    }

    #[test]
    fn pixel_centres_lie_at_half_integers() {
        // As tf.image.resize of [1, 2, 3, 4] gives.
        assert_eq!(row(&[1.0, 2.0, 3.0, 4.0], 2, Resize::Bilinear), [1.5, 3.5]);
        assert_eq!(row(&[1.0, 2.0], 4, Resize::Bilinear), [1.0, 1.25, 1.75, 2.0]);
        assert_eq!(row(&[1.0, 2.0, 3.0, 4.0], 2, Resize::Nearest), [2.0, 4.0]);
        assert_eq!(row(&[1.0, 2.0], 4, Resize::Nearest), [1.0, 1.0, 2.0, 2.0]);
    }

    #[test]
    fn area_is_the_mean_of_what_is_covered() {
        assert_eq!(row(&[1.0, 2.0, 3.0, 4.0], 2, Resize::Area), [1.5, 3.5]);
        assert_eq!(row(&[3.0, 6.0, 9.0], 2, Resize::Area), [4.0, 8.0]);
        assert_eq!(row(&[1.0, 2.0], 4, Resize::Area), [1.0, 1.0, 2.0, 2.0]);
        let (ones, shape) = (vec![1.0; 53 * 37 * 3], ImageShape::new(53, 37, 3));
        for (height, width) in [(7, 5), (1, 1), (52, 36), (200, 100)] {
            let out = resize(&ones, shape, height, width, Resize::Area);
            assert_eq!(out.len(), height * width * 3);
            assert!(out.iter().all(|v| (v - 1.0).abs() < 1e-5));
        }
    }

    #[test]
    fn channels_and_axes_stay_apart() {
        let values: Vec<f32> = (0..2 * 3 * 2).map(|i| i as f32).collect();
        let out = resize(&values, ImageShape::new(2, 3, 2), 4, 3, Resize::Nearest);
        assert_eq!(out, [&values[..6], &values[..6], &values[6..], &values[6..]].concat());
        let out = resize(&values, ImageShape::new(2, 3, 2), 2, 1, Resize::Area);
        assert_eq!(out, [2.0, 3.0, 8.0, 9.0]);
    }
}

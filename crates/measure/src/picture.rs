//! Small pictures in reports.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use litesmith_graph::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Width and height may be at most this: pictures in reports are thumbnails.
const SIDE_MAX: usize = 4096;

/// A small picture. In JSON the pixels are base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Values of one pixel: 1 grey, 2 grey and opacity, 3 red green blue, 4 red green blue and opacity.
    pub channels: usize,
    /// `height * width * channels` values from 0 (black) to 255, the first row first, channels together.
    #[serde(serialize_with = "write_base64", deserialize_with = "read_base64")]
    pub pixels: Vec<u8>,
}

impl Picture {
    /// A picture of these pixels.
    ///
    /// # Errors
    /// Those of [`Picture::check`].
    pub fn new(width: usize, height: usize, channels: usize, pixels: Vec<u8>) -> Result<Self> {
        let picture = Self { width, height, channels, pixels };
        picture.check()?;
        Ok(picture)
    }

    /// A picture of real numbers, `low` becoming black and `high` white; what lies outside is clamped, NaN is black.
    ///
    /// # Errors
    /// Those of [`Picture::check`].
    pub fn from_floats(
        width: usize,
        height: usize,
        channels: usize,
        values: &[f32],
        low: f32,
        high: f32,
    ) -> Result<Self> {
        // `as` saturates and takes NaN to 0.
        let pixels = values.iter().map(|value| ((value - low) / (high - low) * 255.0).round() as u8).collect();
        Self::new(width, height, channels, pixels)
    }

    /// Checks that there are 1 to 4 channels, 1 to 4096 pixels to each side, and as many values as these take.
    ///
    /// # Errors
    /// [`Error::Invalid`] says which rule is broken.
    pub fn check(&self) -> Result<()> {
        let Self { width, height, channels, pixels } = self;
        let place = || format!("picture {width}x{height}x{channels}");
        let sides = 1..=SIDE_MAX;
        if !sides.contains(width) || !sides.contains(height) || !(1..=4).contains(channels) {
            return Err(Error::invalid(place(), format!("expected sides of 1 to {SIDE_MAX} and 1 to 4 channels")));
        }
        let expected = width * height * channels;
        if pixels.len() != expected {
            return Err(Error::invalid(place(), format!("got {} values, expected {expected}", pixels.len())));
        }
        Ok(())
    }

    /// The picture as a PNG file.
    ///
    /// # Errors
    /// Those of [`Picture::check`].
    pub fn write_png(&self) -> Result<Vec<u8>> {
        self.check()?;
        let failed = |error: png::EncodingError| Error::invalid("picture", error);
        let mut bytes = Vec::new();
        // `check` bounds both sides by `SIDE_MAX`.
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_color(match self.channels {
            1 => png::ColorType::Grayscale,
            2 => png::ColorType::GrayscaleAlpha,
            3 => png::ColorType::Rgb,
            _ => png::ColorType::Rgba,
        });
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&self.pixels).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(bytes)
    }

    /// The picture as a `data:` address, for HTML that needs no network.
    ///
    /// # Errors
    /// Those of [`Picture::check`].
    pub fn to_data_uri(&self) -> Result<String> {
        Ok(format!("data:image/png;base64,{}", STANDARD.encode(self.write_png()?)))
    }
}

fn write_base64<S: Serializer>(pixels: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(pixels))
}

fn read_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn png_holds_the_pixels() {
        for channels in 1..=4 {
            let pixels: Vec<u8> = (0..5 * 3 * channels).map(|value| value as u8 * 4).collect();
            let bytes = Picture::new(5, 3, channels, pixels.clone()).unwrap().write_png().unwrap();
            let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
            let mut decoded = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut decoded).unwrap();
            assert_eq!((info.width, info.height, decoded), (5, 3, pixels));
        }
    }

    #[test]
    fn floats_are_scaled_and_clamped() {
        let picture = Picture::from_floats(5, 1, 1, &[-1.0, 0.0, 1.0, 9.0, f32::NAN], -1.0, 1.0).unwrap();
        assert_eq!(picture.pixels, [0, 128, 255, 255, 0]);
    }

    #[test]
    fn json_is_base64_and_wrong_sizes_are_refused() {
        let picture = Picture::new(2, 1, 1, vec![0, 255]).unwrap();
        let json = serde_json::to_string(&picture).unwrap();
        assert_eq!(json, r#"{"width":2,"height":1,"channels":1,"pixels":"AP8="}"#);
        assert_eq!(serde_json::from_str::<Picture>(&json).unwrap(), picture);
        assert!(serde_json::from_str::<Picture>(&json.replace("AP8=", "!")).is_err());
        let error = Picture::new(2, 2, 1, vec![0; 3]).unwrap_err();
        assert_eq!(error.to_string(), "picture 2x2x1: got 3 values, expected 4");
        assert!(Picture::new(usize::MAX, usize::MAX, 4, vec![]).is_err());
        assert!(Picture::new(1, 1, 0, vec![]).is_err());
    }
}

//! Images in memory, and decoding them from files.

use std::path::Path;

use litesmith_graph::{Error, Result};

/// Height, width and channels of an image; its elements lie in that order (HWC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ImageShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 for grey, 3 for red, green, blue; any number for arrays.
    pub channels: usize,
}

impl ImageShape {
    /// Height, width, channels.
    #[must_use]
    pub const fn new(height: usize, width: usize, channels: usize) -> Self {
        Self { height, width, channels }
    }

    /// Elements of one image, or `None` where that overflows `usize`.
    #[must_use]
    pub const fn elements(self) -> Option<usize> {
        match self.height.checked_mul(self.width) {
            Some(pixels) => pixels.checked_mul(self.channels),
            None => None,
        }
    }
}

impl std::fmt::Display for ImageShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}", self.height, self.width, self.channels)
    }
}

/// Pixel values of an image, HWC.
#[derive(Debug, Clone, PartialEq)]
pub enum Pixels {
    /// 0 is black, 255 is full brightness: what image files and ubyte IDX hold.
    U8(Vec<u8>),
    /// Values as the file has them: arrays of any other type.
    F32(Vec<f32>),
}

impl Pixels {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U8(v) => v.len(),
            Self::F32(v) => v.len(),
        }
    }

    /// No elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value that stands for full brightness: 255 for bytes, 1 for floats.
    #[must_use]
    pub fn white(&self) -> f32 {
        match self {
            Self::U8(_) => 255.0,
            Self::F32(_) => 1.0,
        }
    }

    /// An empty byte buffer, made of this one where it already is one.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        if !matches!(self, Self::U8(_)) {
            *self = Self::U8(Vec::new());
        }
        match self {
            Self::U8(v) => v,
            Self::F32(_) => unreachable!("just made a U8"),
        }
    }

    /// As [`Self::bytes_mut`], of floats.
    pub(crate) fn floats_mut(&mut self) -> &mut Vec<f32> {
        if !matches!(self, Self::F32(_)) {
            *self = Self::F32(Vec::new());
        }
        match self {
            Self::F32(v) => v,
            Self::U8(_) => unreachable!("just made an F32"),
        }
    }
}

/// An image: a shape and as many pixel values.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    shape: ImageShape,
    pixels: Pixels,
}

impl Default for Image {
    /// An image without pixels, to be filled.
    fn default() -> Self {
        Self { shape: ImageShape::new(0, 0, 0), pixels: Pixels::U8(Vec::new()) }
    }
}

impl Image {
    /// An image of `shape` from its values in HWC order.
    ///
    /// # Errors
    /// `Invalid` when there are not exactly as many values as the shape has elements.
    pub fn new(shape: ImageShape, pixels: Pixels) -> Result<Self> {
        if shape.elements() != Some(pixels.len()) {
            return Err(Error::invalid("image", format!("got {} values for shape {shape}", pixels.len())));
        }
        Ok(Self { shape, pixels })
    }

    /// Height, width, channels.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// The values in HWC order; as many as the shape has elements.
    #[must_use]
    pub fn pixels(&self) -> &Pixels {
        &self.pixels
    }

    /// Replaces the contents by what `fill` puts into the (recycled) pixel buffer.
    pub(crate) fn refill(&mut self, shape: ImageShape, fill: impl FnOnce(&mut Pixels) -> Result<()>) -> Result<()> {
        self.shape = ImageShape::new(0, 0, 0);
        fill(&mut self.pixels)?;
        if shape.elements() != Some(self.pixels.len()) {
            return Err(Error::invalid("image", format!("got {} values for shape {shape}", self.pixels.len())));
        }
        self.shape = shape;
        Ok(())
    }
}

/// Limits on what decoding an image file may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// Largest height or width in pixels.
    pub side_px_max: u32,
    /// Largest memory for one decoded image in bytes.
    pub decoded_bytes_max: u64,
    /// Largest image file in bytes.
    pub file_bytes_max: u64,
}

impl Default for ImageLimits {
    /// 16,384 pixels a side, 512 MiB decoded, 256 MiB of file.
    fn default() -> Self {
        Self { side_px_max: 16_384, decoded_bytes_max: 512 << 20, file_bytes_max: 256 << 20 }
    }
}

/// Loads a PNG, JPEG or BMP file: grey files as one channel, all others as red, green, blue.
///
/// The format is told by the content, not by the name. Sixteen-bit files are scaled to eight bits; an alpha channel is
/// dropped, its colours kept as they are (as Pillow's `convert("RGB")` does); EXIF orientation is not applied.
///
/// # Errors
/// `Io` when the file cannot be read, `Unsupported` for another format, `Malformed` when it does not decode, `Limit`
/// beyond [`ImageLimits::default`].
pub fn load_image(path: impl AsRef<Path>) -> Result<Image> {
    let path = path.as_ref();
    let limits = ImageLimits::default();
    let place = path.display();
    let bytes = crate::files::read_bounded(path, limits.file_bytes_max)?;
    decode_image(&bytes, limits).map_err(|e| e.at(place))
}

/// Decodes the bytes of a PNG, JPEG or BMP file; see [`load_image`].
///
/// # Errors
/// `Unsupported` for another format, `Malformed` when it does not decode, `Limit` beyond `limits`.
pub fn decode_image(bytes: &[u8], limits: ImageLimits) -> Result<Image> {
    use image::ImageFormat;
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::Bmp)) => format,
        Ok(other) => {
            return Err(Error::unsupported("byte 0", format!("got a {other:?} image, expected PNG, JPEG or BMP"))
                .with_hint("convert it to PNG first"));
        }
        Err(_) => {
            let start = bytes.get(..bytes.len().min(8)).unwrap_or_default();
            return Err(Error::unsupported(
                "byte 0",
                format!("got {} bytes beginning {start:02x?}, expected a PNG, JPEG or BMP image", bytes.len()),
            ));
        }
    };
    let mut reader = image::ImageReader::with_format(std::io::Cursor::new(bytes), format);
    let mut decoder_limits = image::Limits::default();
    decoder_limits.max_image_width = Some(limits.side_px_max);
    decoder_limits.max_image_height = Some(limits.side_px_max);
    decoder_limits.max_alloc = Some(limits.decoded_bytes_max);
    reader.limits(decoder_limits);
    let decoded = reader.decode().map_err(|e| match e {
        image::ImageError::Limits(_) => Error::limit(format!("{format:?} image"), e)
            .with_hint(format!("scale it to at most {} pixels a side", limits.side_px_max)),
        image::ImageError::Unsupported(_) => Error::unsupported(format!("{format:?} image"), e),
        _ => Error::malformed(format!("{format:?} image of {} bytes", bytes.len()), format!("does not decode: {e}")),
    })?;
    let (height, width) = (decoded.height() as usize, decoded.width() as usize);
    if height == 0 || width == 0 {
        return Err(Error::malformed(format!("{format:?} image"), format!("has {height}x{width} pixels")));
    }
    let grey = matches!(
        decoded.color(),
        image::ColorType::L8 | image::ColorType::La8 | image::ColorType::L16 | image::ColorType::La16
    );
    let (channels, values) =
        if grey { (1, decoded.into_luma8().into_raw()) } else { (3, decoded.into_rgb8().into_raw()) };
    Image::new(ImageShape::new(height, width, channels), Pixels::U8(values))
}

//! RESIZE_BILINEAR: images in another size, each pixel a mean of four.

use super::{Inputs, OpSpec};
use crate::Result;

/// Attributes of RESIZE_BILINEAR; height and width of the result are input 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResizeBilinear {
    /// Whether the corner pixels of both images lie on each other.
    pub align_corners: bool,
    /// Whether coordinates are those of pixel centers. Not together with the other.
    pub half_pixel_centers: bool,
}

impl OpSpec for ResizeBilinear {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=2)?;
        if self.align_corners && self.half_pixel_centers {
            return Err(inputs.malformed("align_corners and half_pixel_centers exclude each other"));
        }
        let [batch, height, width, channels] = inputs.shape::<4>(0, "image")?;
        let size = inputs.integers(1, "size")?;
        match size.iter().map(|&size| usize::try_from(size)).collect::<Result<Vec<_>, _>>().as_deref() {
            Ok(&[rows, columns]) if height > 0 && width > 0 => Ok(vec![vec![batch, rows, columns, channels]]),
            _ => Err(inputs.malformed(format!("got a size of {size:?} for an image of {height} x {width}"))),
        }
    }
}

//! RESIZE_BILINEAR.

use litesmith_graph::ops::ResizeBilinear;
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for ResizeBilinear {
    const OPTIONS: u8 = 15;
    const VERSIONS: &'static [&'static str] = &["1.7.0", "1.14.0", "2.2.0", "2.5.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        // Fields 0 and 1 held the size before it became an input.
        options.expect_fields(4)?;
        Ok(Self { align_corners: options.scalar(2, false)?, half_pixel_centers: options.scalar(3, false)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.scalar(2, self.align_corners, false).scalar(3, self.half_pixel_centers, false);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.input_dtype(0) {
            Some(DType::I16) => 4,
            _ if self.half_pixel_centers => 3,
            Some(DType::I8) => 2,
            _ => 1,
        }
    }
}

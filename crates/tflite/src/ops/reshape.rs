//! RESHAPE.

use litesmith_graph::Result;
use litesmith_graph::ops::Reshape;

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Reshape {
    const OPTIONS: u8 = 17;
    const VERSIONS: &'static [&'static str] = &["1.5.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self { new_shape: options.expect_fields(1)?.scalars(0)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        if let Some(new_shape) = &self.new_shape {
            options.scalars(0, new_shape);
        }
        Ok(())
    }

    fn has_options(&self) -> bool {
        self.new_shape.is_some()
    }

    fn version(&self, _: &Tensors<'_>) -> usize {
        1
    }
}

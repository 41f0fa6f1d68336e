//! SQUEEZE.

use litesmith_graph::Result;
use litesmith_graph::ops::Squeeze;

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Squeeze {
    const OPTIONS: u8 = 30;
    const VERSIONS: &'static [&'static str] = &["1.6.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self { squeeze_dims: options.expect_fields(1)?.scalars(0)?.unwrap_or_default() })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        if !self.squeeze_dims.is_empty() {
            options.scalars(0, &self.squeeze_dims);
        }
        Ok(())
    }

    fn version(&self, _: &Tensors<'_>) -> usize {
        1
    }
}

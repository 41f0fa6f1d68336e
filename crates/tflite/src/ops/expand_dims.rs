//! EXPAND_DIMS.

use litesmith_graph::Result;
use litesmith_graph::ops::ExpandDims;

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for ExpandDims {
    const OPTIONS: u8 = 0;
    const VERSIONS: &'static [&'static str] = &["1.10.0"];

    fn read(_: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn write(&self, _: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        Ok(())
    }

    fn version(&self, _: &Tensors<'_>) -> usize {
        1
    }
}

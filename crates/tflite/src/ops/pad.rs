//! PAD.

use litesmith_graph::ops::Pad;
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Pad {
    const OPTIONS: u8 = 0;
    const VERSIONS: &'static [&'static str] = &["1.5.0", "1.14.0", "2.4.0", "2.6.0", "2.20.0", "2.23.0"];

    fn read(_: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn write(&self, _: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.input_dtype(0) {
            Some(DType::Bool) => 5,
            _ if node.input_shape(0).len() > 4 => 4,
            Some(DType::I16) => 3,
            Some(DType::I8) => 2,
            _ => 1,
        }
    }
}

//! DEQUANTIZE.

use litesmith_graph::ops::Dequantize;
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Dequantize {
    const OPTIONS: u8 = 0;
    const VERSIONS: &'static [&'static str] =
        &["1.13.1", "1.14.0", "1.15.0", "2.2.0", "2.7.0", "2.18.0", "2.21.0", "2.22.0", "2.23.0"];

    fn read(_: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn write(&self, _: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.input_dtype(0) {
            Some(DType::U4) => 8,
            Some(DType::I2) => 7,
            Some(DType::I4) => 6,
            Some(DType::I16 | DType::F16) => 3,
            Some(DType::I8) if node.is_per_channel(0) => 5,
            Some(DType::I8) => 2,
            _ => 1,
        }
    }
}

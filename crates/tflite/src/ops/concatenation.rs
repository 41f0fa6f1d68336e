//! CONCATENATION.

use litesmith_graph::ops::Concatenation;
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Concatenation {
    const OPTIONS: u8 = 10;
    const VERSIONS: &'static [&'static str] = &["1.5.0", "1.14.0", "2.3.0", "2.14.0", "2.21.0", "2.23.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.expect_fields(2)?;
        Ok(Self { axis: options.scalar(0, 0)?, activation: options.activation(1)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.scalar(0, self.axis, 0).activation(1, self.activation);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.input_dtype(0) {
            Some(DType::F16) => 6,
            Some(DType::I4) => 5,
            Some(DType::U32) => 4,
            Some(DType::I16) => 3,
            Some(DType::I8) => 2,
            _ => 1,
        }
    }
}

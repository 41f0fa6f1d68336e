//! SHAPE.

use litesmith_graph::ops::Shape;
use litesmith_graph::{DType, Error, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Shape {
    const OPTIONS: u8 = 55;
    const VERSIONS: &'static [&'static str] = &["1.10.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        let code = options.require()?.expect_fields(1)?.scalar(0, 0_i8)?;
        match DType::from_code(code) {
            Some(out_type @ (DType::I32 | DType::I64)) => Ok(Self { out_type }),
            _ => Err(Error::malformed("", format!("got out_type {code}, expected 2 (int32) or 4 (int64)"))),
        }
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.scalar(0, self.out_type.code(), 0);
        Ok(())
    }

    fn version(&self, _: &Tensors<'_>) -> usize {
        1
    }
}

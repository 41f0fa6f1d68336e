//! CAST.

use litesmith_graph::ops::Cast;
use litesmith_graph::{DType, Error, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Cast {
    const OPTIONS: u8 = 37;
    const VERSIONS: &'static [&'static str] =
        &["1.5.0", "2.7.0", "2.8.0", "2.9.0", "2.12.0", "2.15.0", "2.17.0", "2.21.0", "2.23.0"];

    /// The types of the tensors count: LiteRT ignores those in the options, which old files leave out.
    fn read(options: &Options<'_>, node: &Tensors<'_>) -> Result<Self> {
        options.expect_fields(2)?;
        let to = node.output_dtype().ok_or_else(|| Error::malformed("", "it has no output"))?;
        Ok(Self { to })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, node: &Tensors<'_>) -> Result<()> {
        let from = node.input_dtype(0).unwrap_or(DType::F32);
        options.scalar(0, from.code(), 0).scalar(1, self.to.code(), 0);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        let (from, to) = (node.input_dtype(0), node.output_dtype());
        let any = |types: &[DType]| [from, to].into_iter().flatten().any(|dtype| types.contains(&dtype));
        if any(&[DType::I2, DType::U4]) {
            8
        } else if any(&[DType::BF16]) {
            7
        } else if (from, to) == (Some(DType::I4), Some(DType::F32)) {
            6
        } else if any(&[DType::F64, DType::F16]) {
            5
        } else if any(&[DType::U16]) {
            4
        } else if any(&[DType::I8]) {
            3
        } else if any(&[DType::U32]) {
            2
        } else {
            1
        }
    }
}

//! SVDF.

use litesmith_graph::ops::Svdf;
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Svdf {
    const OPTIONS: u8 = 6;
    const VERSIONS: &'static [&'static str] = &["1.5.0", "1.14.0", "2.2.0", "2.3.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.require()?.expect_fields(3)?;
        Ok(Self {
            rank: options.positive(0, 0, "rank")?,
            activation: options.activation(1)?,
            asymmetric_quantize_inputs: options.scalar(2, false)?,
        })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.positive(0, self.rank, 0, "rank")?.activation(1, self.activation).scalar(
            2,
            self.asymmetric_quantize_inputs,
            false,
        );
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.is_hybrid() {
            _ if node.input_dtype(0) == Some(DType::I8) => 3,
            true if self.asymmetric_quantize_inputs => 4,
            true => 2,
            false => 1,
        }
    }
}

//! BATCH_MATMUL.

use litesmith_graph::ops::BatchMatmul;
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for BatchMatmul {
    const OPTIONS: u8 = 101;
    const VERSIONS: &'static [&'static str] = &["2.3.0", "2.3.0", "2.4.0", "2.5.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.expect_fields(3)?;
        Ok(Self {
            adj_x: options.scalar(0, false)?,
            adj_y: options.scalar(1, false)?,
            asymmetric_quantize_inputs: options.scalar(2, false)?,
        })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.scalar(0, self.adj_x, false).scalar(1, self.adj_y, false).scalar(
            2,
            self.asymmetric_quantize_inputs,
            false,
        );
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.input_dtype(0) {
            Some(DType::I16) => 3,
            Some(DType::I8) => 2,
            _ if node.is_hybrid() && self.asymmetric_quantize_inputs => 4,
            _ => 1,
        }
    }
}

//! PACK.

use litesmith_graph::ops::Pack;
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Pack {
    const OPTIONS: u8 = 59;
    const VERSIONS: &'static [&'static str] = &["1.11.0", "1.14.0", "2.3.0", "2.13.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        // Field 0 says how many inputs there are, which the node says too.
        Ok(Self { axis: options.expect_fields(2)?.scalar(1, 0)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, node: &Tensors<'_>) -> Result<()> {
        options.positive(0, node.inputs.len(), 0, "values_count")?.scalar(1, self.axis, 0);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.input_dtype(0) {
            Some(DType::U32) => 4,
            Some(DType::I16) => 3,
            Some(DType::I8) => 2,
            _ => 1,
        }
    }
}

//! SOFTMAX.

use litesmith_graph::ops::Softmax;
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Softmax {
    const OPTIONS: u8 = 9;
    const VERSIONS: &'static [&'static str] = &["1.5.0", "1.14.0", "2.3.0", "2.23.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self { beta: options.require()?.expect_fields(1)?.scalar(0, 0.0)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.scalar(0, self.beta, 0.0);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.input_dtype(0) {
            Some(DType::F16) => 4,
            _ => node.version_by_first_input(),
        }
    }
}

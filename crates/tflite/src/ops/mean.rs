//! MEAN.

use litesmith_graph::Result;
use litesmith_graph::ops::Mean;

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Mean {
    const OPTIONS: u8 = 27;
    const VERSIONS: &'static [&'static str] = &["1.6.0", "1.14.0", "2.4.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self { keep_dims: options.expect_fields(1)?.scalar(0, false)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.scalar(0, self.keep_dims, false);
        Ok(())
    }

    fn runs_without_options(_: &Tensors<'_>) -> bool {
        true
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        node.version_by_first_input()
    }
}

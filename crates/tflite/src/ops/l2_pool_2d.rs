//! L2_POOL_2D.

use litesmith_graph::Result;
use litesmith_graph::ops::L2Pool2d;

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for L2Pool2d {
    const OPTIONS: u8 = 5;
    const VERSIONS: &'static [&'static str] = &["1.5.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.require()?.expect_fields(6)?;
        Ok(Self {
            padding: options.padding(0)?,
            stride_width: options.positive(1, 0, "stride_w")?,
            stride_height: options.positive(2, 0, "stride_h")?,
            filter_width: options.positive(3, 0, "filter_width")?,
            filter_height: options.positive(4, 0, "filter_height")?,
            activation: options.activation(5)?,
        })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options
            .padding(0, self.padding)
            .positive(1, self.stride_width, 0, "stride_w")?
            .positive(2, self.stride_height, 0, "stride_h")?
            .positive(3, self.filter_width, 0, "filter_width")?
            .positive(4, self.filter_height, 0, "filter_height")?
            .activation(5, self.activation);
        Ok(())
    }

    fn version(&self, _: &Tensors<'_>) -> usize {
        1
    }
}

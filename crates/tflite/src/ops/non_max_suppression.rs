//! NON_MAX_SUPPRESSION_V4 and V5.

use litesmith_graph::Result;
use litesmith_graph::ops::{NonMaxSuppressionV4, NonMaxSuppressionV5};

use super::{Format, Options, OptionsBuilder, Tensors};

macro_rules! without_fields {
    ($($name:ident $options:literal)*) => {$(
        impl Format for $name {
            const OPTIONS: u8 = $options;
            const VERSIONS: &'static [&'static str] = &["2.1.0"];

            fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
                options.expect_fields(0)?;
                Ok(Self)
            }

            fn write(&self, _: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
                Ok(())
            }

            fn version(&self, _: &Tensors<'_>) -> usize {
                1
            }
        }
    )*};
}

without_fields! {
    NonMaxSuppressionV4 95
    NonMaxSuppressionV5 96
}

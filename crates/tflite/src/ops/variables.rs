//! VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE.

use litesmith_graph::Result;
use litesmith_graph::ops::{AssignVariable, ReadVariable, VarHandle};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for VarHandle {
    const OPTIONS: u8 = 111;
    const VERSIONS: &'static [&'static str] = &["2.6.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.expect_fields(2)?;
        Ok(Self { container: options.string(0)?, shared_name: options.string(1)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.string(0, &self.container).string(1, &self.shared_name);
        Ok(())
    }

    fn version(&self, _: &Tensors<'_>) -> usize {
        1
    }
}

macro_rules! empty_options {
    ($($op:ident $options:literal;)*) => {
        $(impl Format for $op {
            const OPTIONS: u8 = $options;
            const VERSIONS: &'static [&'static str] = &["2.6.0"];

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
        })*
    };
}

empty_options! {
    ReadVariable 112;
    AssignVariable 113;
}

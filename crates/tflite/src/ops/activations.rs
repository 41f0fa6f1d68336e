//! Element-wise activations.

use litesmith_graph::ops::{Elu, Gelu, HardSwish, LeakyRelu, Logistic, Relu, Relu0To1, Relu6, ReluN1To1, Tanh};
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

macro_rules! without_options {
    ($($op:ident [$($release:literal),*] $version:expr;)*) => {
        $(impl Format for $op {
            const OPTIONS: u8 = 0;
            const VERSIONS: &'static [&'static str] = &[$($release),*];

            fn read(_: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
                Ok(Self)
            }

            fn write(&self, _: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
                Ok(())
            }

            fn version(&self, node: &Tensors<'_>) -> usize {
                $version(node)
            }
        })*
    };
}

without_options! {
    Relu ["1.5.0", "2.1.0", "2.5.0"] relu_version;
    Relu6 ["1.5.0", "1.14.0", "2.5.0"] Tensors::version_by_first_input;
    ReluN1To1 ["1.5.0"] |_| 1;
    Relu0To1 ["2.10.0"] |_| 1;
    Logistic ["1.14.0", "1.14.0", "2.3.0"] Tensors::version_by_first_input;
    Tanh ["1.14.0", "1.14.0", "2.3.0"] Tensors::version_by_first_input;
    HardSwish ["1.15.0"] |_| 1;
    Elu ["1.14.0"] |_| 1;
}

fn relu_version(node: &Tensors<'_>) -> usize {
    match node.input_dtype(0) {
        Some(DType::I16) => 3,
        Some(DType::I8 | DType::U8) => 2,
        _ => 1,
    }
}

impl Format for LeakyRelu {
    const OPTIONS: u8 = 75;
    const VERSIONS: &'static [&'static str] = &["1.13.1", "2.3.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self { alpha: options.require()?.expect_fields(1)?.scalar(0, 0.0)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.scalar(0, self.alpha, 0.0);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        if node.input_dtype(0) == Some(DType::I16) { 2 } else { 1 }
    }
}

impl Format for Gelu {
    const OPTIONS: u8 = 116;
    const VERSIONS: &'static [&'static str] = &["2.9.0", "2.9.0", "2.23.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self { approximate: options.expect_fields(1)?.scalar(0, false)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.scalar(0, self.approximate, false);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.input_dtype(0) {
            Some(DType::F16) => 3,
            Some(DType::I8 | DType::U8) => 2,
            _ => 1,
        }
    }
}

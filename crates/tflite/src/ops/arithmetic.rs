//! Ops of two operands beside ADD, SUB and MUL.

use litesmith_graph::ops::{Div, Maximum, Minimum, Prelu, SquaredDifference};
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

/// Ops without attributes: number of the options table, releases, version.
macro_rules! empty_options {
    ($($op:ident $options:literal [$($release:literal),*] $version:expr;)*) => {
        $(impl Format for $op {
            const OPTIONS: u8 = $options;
            const VERSIONS: &'static [&'static str] = &[$($release),*];

            fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
                options.expect_fields(0)?;
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

empty_options! {
    Maximum 39 ["1.14.0", "1.14.0", "2.3.0", "2.3.0"] extremum_version;
    Minimum 39 ["1.14.0", "1.14.0", "2.3.0", "2.3.0"] extremum_version;
    SquaredDifference 76 ["1.13.1", "2.5.0"] int8_version;
    Prelu 0 ["1.8.0"] |_| 1;
}

fn extremum_version(node: &Tensors<'_>) -> usize {
    match node.input_dtype(0) {
        Some(DType::I16) => 4,
        _ if broadcasts_above_rank_4(node) => 3,
        Some(DType::I8) => 2,
        _ => 1,
    }
}

/// 2 for int8, else 1.
fn int8_version(node: &Tensors<'_>) -> usize {
    if node.input_dtype(0) == Some(DType::I8) { 2 } else { 1 }
}

fn broadcasts_above_rank_4(node: &Tensors<'_>) -> bool {
    node.input_shape(0) != node.input_shape(1) && node.largest_rank() > 4
}

impl Format for Div {
    const OPTIONS: u8 = 29;
    const VERSIONS: &'static [&'static str] = &["1.6.0", "2.3.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self { activation: options.expect_fields(1)?.activation(0)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.activation(0, self.activation);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        if broadcasts_above_rank_4(node) { 2 } else { 1 }
    }
}

//! Ops of two operands beside ADD, SUB and MUL.

use litesmith_graph::ops::{AddN, Atan2, Div, FloorDiv, FloorMod, Maximum, Minimum, Pow, Prelu, SquaredDifference};
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

pub(super) use empty_options;

empty_options! {
    Maximum 39 ["1.14.0", "1.14.0", "2.3.0", "2.3.0"] extremum_version;
    Minimum 39 ["1.14.0", "1.14.0", "2.3.0", "2.3.0"] extremum_version;
    SquaredDifference 76 ["1.13.1", "2.5.0"] int8_version;
    Prelu 0 ["1.8.0"] |_| 1;
    AddN 82 ["1.14.0"] |_| 1;
    Atan2 122 ["2.10.0"] |_| 1;
    Pow 56 ["1.10.0"] |_| 1;
    FloorDiv 65 ["1.14.0", "1.14.0", "2.13.0"] floor_div_version;
    FloorMod 72 ["1.13.0", "2.13.0"] small_version;
}

fn floor_div_version(node: &Tensors<'_>) -> usize {
    match node.input_dtype(0) {
        Some(DType::I16 | DType::I8) => 3,
        Some(DType::F32) => 2,
        _ => 1,
    }
}

/// 2 for int8 and int16, else 1.
pub(super) fn small_version(node: &Tensors<'_>) -> usize {
    if matches!(node.input_dtype(0), Some(DType::I8 | DType::I16)) { 2 } else { 1 }
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
pub(super) fn int8_version(node: &Tensors<'_>) -> usize {
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

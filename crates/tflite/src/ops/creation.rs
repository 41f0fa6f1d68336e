//! Ops whose result follows from shapes and a few numbers, and BITCAST.

use litesmith_graph::ops::{Bitcast, BroadcastArgs, Fill, Range, Rank, ZerosLike};
use litesmith_graph::{DType, Error, Result};

use super::{Format, Options, OptionsBuilder, Tensors, without_options};

without_options! {
    ZerosLike ["1.12.0"] |_, _| 1;
    Range ["1.13.0", "2.14.0"] |dtype, _| if dtype == Some(DType::I64) { 2 } else { 1 };
    Rank ["1.14.0"] |_, _| 1;
    BroadcastArgs ["2.6.0"] |_, _| 1;
}

impl Format for Fill {
    const OPTIONS: u8 = 0;
    const VERSIONS: &'static [&'static str] = &["1.13.0", "2.3.0", "2.5.0", "2.12.0", "2.23.0"];

    fn read(_: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn write(&self, _: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.input_dtype(1) {
            Some(DType::F16) => 4,
            Some(DType::I8 | DType::I16) => 3,
            Some(DType::Bool | DType::String) => 2,
            _ => 1,
        }
    }
}

impl Format for Bitcast {
    const OPTIONS: u8 = 0;
    const VERSIONS: &'static [&'static str] = &["2.13.0"];

    fn read(_: &Options<'_>, node: &Tensors<'_>) -> Result<Self> {
        let dtype = node.output_dtype().ok_or_else(|| Error::malformed("", "it has no output"))?;
        Ok(Self { dtype })
    }

    fn write(&self, _: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        Ok(())
    }

    fn version(&self, _: &Tensors<'_>) -> usize {
        1
    }
}

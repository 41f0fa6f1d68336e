//! Ops that find elements by computed indices.

use litesmith_graph::ops::{
    DynamicUpdateSlice, EmbeddingLookup, Gather, GatherNd, OneHot, ScatterNd, SparseToDense, Where,
};
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors, without_options};

impl Format for Gather {
    const OPTIONS: u8 = 23;
    const VERSIONS: &'static [&'static str] =
        &["1.6.0", "1.14.0", "1.15.0", "2.4.0", "2.5.0", "2.13.0", "2.15.0", "2.23.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.expect_fields(2)?;
        Ok(Self { axis: options.scalar(0, 0)?, batch_dims: options.scalar(1, 0)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.scalar(0, self.axis, 0).scalar(1, self.batch_dims, 0);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match (node.input_dtype(0), node.input_dtype(1)) {
            (Some(DType::I4), _) => 7,
            (_, Some(DType::I16)) => 6,
            _ if self.batch_dims != 0 => 5,
            (Some(DType::I16), _) => 4,
            (Some(DType::Bool), _) => 3,
            (Some(DType::I8), _) => 2,
            _ => 1,
        }
    }
}

without_options! {
    ScatterNd ["2.1.0"] |_, _| 1;
    Where ["1.14.0", "2.8.0"] |dtype, _| if dtype == Some(DType::Bool) { 1 } else { 2 };
}

impl Format for SparseToDense {
    const OPTIONS: u8 = 50;
    const VERSIONS: &'static [&'static str] = &["1.9.0", "1.14.0", "1.15.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self { validate_indices: options.expect_fields(1)?.scalar(0, false)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.scalar(0, self.validate_indices, false);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.input_dtype(2) {
            Some(DType::I8 | DType::U8) => 3,
            Some(DType::I64) => 2,
            _ => 1,
        }
    }
}

impl Format for GatherNd {
    const OPTIONS: u8 = 0;
    const VERSIONS: &'static [&'static str] = &["1.14.0", "2.3.0", "2.5.0", "2.13.0", "2.16.0", "2.23.0"];

    fn read(_: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn write(&self, _: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match (node.input_dtype(0), node.input_dtype(1)) {
            (Some(DType::F16 | DType::BF16), _) => 6,
            (Some(DType::Bool), _) => 5,
            (_, Some(DType::I16)) => 4,
            (Some(DType::I16), _) => 3,
            (Some(DType::String), _) => 2,
            _ => 1,
        }
    }
}

impl Format for EmbeddingLookup {
    const OPTIONS: u8 = 0;
    const VERSIONS: &'static [&'static str] = &["1.13.0", "1.14.0", "1.14.0", "2.18.0", "2.23.0"];

    fn read(_: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn write(&self, _: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        if node.input_dtype(1) == Some(DType::I4) || node.is_per_channel(1) { 4 } else { 1 }
    }
}

impl Format for OneHot {
    const OPTIONS: u8 = 61;
    const VERSIONS: &'static [&'static str] = &["1.11.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self { axis: options.expect_fields(1)?.scalar(0, 0)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.scalar(0, self.axis, 0);
        Ok(())
    }

    fn version(&self, _: &Tensors<'_>) -> usize {
        1
    }
}

impl Format for DynamicUpdateSlice {
    const OPTIONS: u8 = 0;
    const VERSIONS: &'static [&'static str] = &["2.9.0", "2.17.0", "2.19.0", "2.20.0", "2.21.0", "2.23.0"];

    fn read(_: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn write(&self, _: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        if node.input_dtype(2) == Some(DType::I64) { 2 } else { 1 }
    }
}

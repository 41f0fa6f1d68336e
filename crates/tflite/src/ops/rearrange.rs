//! Ops that only rearrange elements.

use litesmith_graph::ops::{
    BroadcastTo, DepthToSpace, MirrorPad, ResizeNearestNeighbor, ReverseV2, Slice, SpaceToDepth, Split, SplitV, Tile,
    Transpose, Unpack,
};
use litesmith_graph::{DType, Error, Result};

use super::{Format, Options, OptionsBuilder, Tensors, without_options};

without_options! {
    Transpose ["1.6.0", "1.14.0", "1.15.0", "2.3.0", "2.4.0", "2.12.0", "2.14.4", "2.22.0", "2.23.0"]
        |dtype, rank| match (dtype, rank) {
            (Some(DType::F16), _) => 9,
            (Some(DType::BF16), _) | (_, 7..) => 8,
            (Some(DType::I4), _) => 7,
            (_, 6) => 6,
            (Some(DType::I16), _) => 5,
            (_, 5) => 4,
            (Some(DType::Bool), _) => 3,
            (Some(DType::I8), _) => 2,
            _ => 1,
        };
    Slice ["1.14.0", "1.14.0", "1.14.0", "2.4.0", "2.5.0", "2.14.0", "2.21.0", "2.23.0"]
        |dtype, rank| match (dtype, rank) {
            (Some(DType::F16), _) => 8,
            (Some(DType::I4), _) => 7,
            (Some(DType::U32), _) => 6,
            (_, 5..) => 5,
            (Some(DType::I16), _) => 4,
            (Some(DType::String), _) => 3,
            (Some(DType::I8), _) => 2,
            _ => 1,
        };
    Tile ["1.10.1", "2.2.0", "2.8.0"] |dtype, _| match dtype {
        Some(DType::I8) => 3,
        Some(DType::String) => 2,
        _ => 1,
    };
    // No release names a runtime for version 1; LiteRT's table begins with 2.
    BroadcastTo ["2.5.0", "2.5.0", "2.5.0", "2.23.0"] |dtype, _| match dtype {
        Some(DType::I8 | DType::I16) => 3,
        _ => 2,
    };
    ReverseV2 ["1.14.0", "2.2.0", "2.5.0", "2.23.0"] |dtype, _| match dtype {
        Some(DType::I8) => 3,
        Some(DType::Bool) => 2,
        _ => 1,
    };
}

impl Format for Split {
    const OPTIONS: u8 = 35;
    const VERSIONS: &'static [&'static str] = &["1.5.0", "1.14.0", "1.14.0", "2.3.0", "2.23.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self { num_splits: options.require()?.expect_fields(1)?.positive(0, 0, "num_splits")? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.positive(0, self.num_splits, 0, "num_splits")?;
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.input_dtype(1) {
            Some(DType::I16) => 4,
            Some(DType::I32) => 3,
            Some(DType::I8) => 2,
            _ => 1,
        }
    }
}

impl Format for SplitV {
    const OPTIONS: u8 = 79;
    const VERSIONS: &'static [&'static str] = &["1.13.1", "2.3.0", "2.23.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        // Field 0 says how many outputs there are, which the sizes say too.
        options.expect_fields(1)?;
        Ok(Self)
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, node: &Tensors<'_>) -> Result<()> {
        options.positive(0, node.outputs.len(), 0, "num_splits")?;
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        if node.input_dtype(0) == Some(DType::I8) { 2 } else { 1 }
    }
}

impl Format for Unpack {
    const OPTIONS: u8 = 64;
    const VERSIONS: &'static [&'static str] = &["1.11.0", "1.14.0", "2.2.0", "2.3.0", "2.22.0", "2.23.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.require()?.expect_fields(2)?;
        Ok(Self { num: options.positive(0, 0, "num")?, axis: options.scalar(1, 0)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.positive(0, self.num, 0, "num")?.scalar(1, self.axis, 0);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.input_dtype(0) {
            Some(DType::F16 | DType::BF16) => 5,
            Some(DType::I16) => 4,
            Some(DType::Bool) => 3,
            Some(DType::I8 | DType::U8) => 2,
            _ => 1,
        }
    }
}

macro_rules! blocks {
    ($($op:ident $options:literal [$($release:literal),*];)*) => {
        $(impl Format for $op {
            const OPTIONS: u8 = $options;
            const VERSIONS: &'static [&'static str] = &[$($release),*];

            fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
                Ok(Self { block_size: options.require()?.expect_fields(1)?.positive(0, 0, "block_size")? })
            }

            fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
                options.positive(0, self.block_size, 0, "block_size")?;
                Ok(())
            }

            fn version(&self, node: &Tensors<'_>) -> usize {
                if node.input_dtype(0) == Some(DType::I8) { 2 } else { 1 }
            }
        })*
    };
}

blocks! {
    SpaceToDepth 19 ["1.5.0", "1.14.0"];
    DepthToSpace 94 ["2.1.0", "2.5.0"];
}

impl Format for MirrorPad {
    const OPTIONS: u8 = 77;
    const VERSIONS: &'static [&'static str] = &["1.13.1", "2.3.0", "2.12.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        match options.require()?.expect_fields(1)?.scalar(0, 0_i8)? {
            0 => Ok(Self { symmetric: false }),
            1 => Ok(Self { symmetric: true }),
            mode => Err(Error::malformed("", format!("got mode {mode}, expected 0 (REFLECT) or 1 (SYMMETRIC)"))),
        }
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.scalar(0, i8::from(self.symmetric), 0);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        node.version_by_first_input()
    }
}

impl Format for ResizeNearestNeighbor {
    const OPTIONS: u8 = 74;
    const VERSIONS: &'static [&'static str] = &["1.13.1", "1.14.0", "2.3.0", "2.4.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.expect_fields(2)?;
        Ok(Self { align_corners: options.scalar(0, false)?, half_pixel_centers: options.scalar(1, false)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.scalar(0, self.align_corners, false).scalar(1, self.half_pixel_centers, false);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.input_dtype(0) {
            Some(DType::I16) => 4,
            _ if self.align_corners || self.half_pixel_centers => 3,
            Some(DType::I8) => 2,
            _ => 1,
        }
    }
}

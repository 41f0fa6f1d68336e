//! Ops along axes.

use litesmith_graph::ops::{
    ArgMax, ArgMin, Cumsum, L2Normalization, LocalResponseNormalization, ReduceAll, ReduceAny, ReduceProd, Sum, TopkV2,
};
use litesmith_graph::{DType, Error, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

macro_rules! reductions {
    ($($type:ident [$($since:literal),*];)*) => {$(
        impl Format for $type {
            const OPTIONS: u8 = 27;
            const VERSIONS: &'static [&'static str] = &[$($since),*];

            fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
                Ok(Self { keep_dims: options.expect_fields(1)?.scalar(0, false)? })
            }

            fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
                options.scalar(0, self.keep_dims, false);
                Ok(())
            }

            fn version(&self, node: &Tensors<'_>) -> usize {
                // Quantized types came with the last version.
                let is_quantized = matches!(node.input_dtype(0), Some(DType::I8 | DType::I16));
                if is_quantized { Self::VERSIONS.len() } else { 1 }
            }
        }
    )*};
}

reductions! {
    Sum ["1.10.0", "1.15.0"];
    ReduceProd ["1.11.0", "2.6.0"];
    ReduceAny ["1.11.0"];
    ReduceAll ["2.6.0"];
}

macro_rules! positions {
    ($($type:ident $options:literal;)*) => {$(
        impl Format for $type {
            const OPTIONS: u8 = $options;
            const VERSIONS: &'static [&'static str] = &["1.9.0", "1.14.0", "2.9.0"];

            fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
                let code = options.expect_fields(1)?.scalar(0, 0_i8)?;
                match DType::from_code(code) {
                    Some(output_type @ (DType::I32 | DType::I64)) => Ok(Self { output_type }),
                    _ => Err(Error::malformed("", format!("output type {code}, expected int32 or int64"))),
                }
            }

            fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
                options.scalar(0, self.output_type.code(), 0);
                Ok(())
            }

            fn version(&self, node: &Tensors<'_>) -> usize {
                match node.input_dtype(0) {
                    Some(DType::Bool) => 3,
                    Some(DType::I8) => 2,
                    _ => 1,
                }
            }
        }
    )*};
}

positions! {
    ArgMax 40;
    ArgMin 57;
}

impl Format for TopkV2 {
    const OPTIONS: u8 = 34;
    const VERSIONS: &'static [&'static str] = &["1.7.0", "1.14.0", "2.13.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.expect_fields(0)?;
        Ok(Self)
    }

    fn write(&self, _: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        let positions = node.outputs.get(1).map(|tensor| tensor.dtype);
        let types = [node.input_dtype(0), node.input_dtype(1), positions];
        match node.input_dtype(0) {
            _ if types.contains(&Some(DType::I16)) => 3,
            Some(DType::I8) => 2,
            _ => 1,
        }
    }
}

impl Format for Cumsum {
    const OPTIONS: u8 = 102;
    const VERSIONS: &'static [&'static str] = &["2.4.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.expect_fields(2)?;
        Ok(Self { exclusive: options.scalar(0, false)?, reverse: options.scalar(1, false)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.scalar(0, self.exclusive, false).scalar(1, self.reverse, false);
        Ok(())
    }

    fn version(&self, _: &Tensors<'_>) -> usize {
        1
    }
}

impl Format for L2Normalization {
    const OPTIONS: u8 = 12;
    const VERSIONS: &'static [&'static str] = &["1.5.0", "1.14.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        match options.expect_fields(1)?.scalar(0, 0_i8)? {
            0 => Ok(Self),
            code => Err(Error::unsupported("", format!("the fused activation {code} of L2_NORMALIZATION"))),
        }
    }

    fn write(&self, _: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        if node.input_dtype(0) == Some(DType::I8) { 2 } else { 1 }
    }
}

impl Format for LocalResponseNormalization {
    const OPTIONS: u8 = 13;
    const VERSIONS: &'static [&'static str] = &["1.5.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.require()?.expect_fields(4)?;
        let radius = options.scalar(0, 0_i32)?;
        Ok(Self {
            radius: usize::try_from(radius).map_err(|_| Error::malformed("", format!("radius {radius}")))?,
            bias: options.scalar(1, 0.0)?,
            alpha: options.scalar(2, 0.0)?,
            beta: options.scalar(3, 0.0)?,
        })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        let radius = i32::try_from(self.radius)
            .map_err(|_| Error::invalid("", format!("radius {} is larger than a file can hold", self.radius)))?;
        options.scalar(0, radius, 0).scalar(1, self.bias, 0.0).scalar(2, self.alpha, 0.0).scalar(3, self.beta, 0.0);
        Ok(())
    }

    fn version(&self, _: &Tensors<'_>) -> usize {
        1
    }
}

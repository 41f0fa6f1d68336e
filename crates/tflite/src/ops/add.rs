//! ADD.

use litesmith_graph::ops::Add;
use litesmith_graph::{DType, Error, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Add {
    const OPTIONS: u8 = 11;
    const VERSIONS: &'static [&'static str] = &["1.5.0", "1.14.0", "2.4.0", "2.6.0", "2.13.0"];

    fn read(options: &Options<'_>, node: &Tensors<'_>) -> Result<Self> {
        read_general_scales(options, node)?;
        Ok(Self { activation: options.activation(0)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, node: &Tensors<'_>) -> Result<()> {
        options.activation(0, self.activation);
        write_general_scales(options, node);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.input_dtype(0) {
            Some(DType::I16) if node.input(0).is_some_and(|tensor| tensor.quantization.is_none()) => 5,
            Some(DType::I64) => 4,
            Some(DType::I16) => 3,
            Some(DType::I8) => 2,
            _ => 1,
        }
    }
}

/// Refuses int16 operands whose scales must be powers of two (`pot_scale_int16`, the default of old files): they are
/// added by other arithmetic than the general kernel.
pub(super) fn read_general_scales(options: &Options<'_>, node: &Tensors<'_>) -> Result<()> {
    let power_of_two = options.expect_fields(2)?.scalar(1, true)?;
    let quantized = node.input(0).is_some_and(|tensor| tensor.dtype == DType::I16 && tensor.quantization.is_some());
    if power_of_two && quantized {
        return Err(Error::unsupported("", "int16 with pot_scale_int16: scales that are powers of two"));
    }
    Ok(())
}

/// Writes `pot_scale_int16` as false where it means something.
pub(super) fn write_general_scales(options: &mut OptionsBuilder<'_>, node: &Tensors<'_>) {
    options.scalar(1, node.input_dtype(0) != Some(DType::I16), true);
}

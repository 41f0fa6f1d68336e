//! ADD.

use litesmith_graph::ops::Add;
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Add {
    const OPTIONS: u8 = 11;
    const VERSIONS: &'static [&'static str] = &["1.5.0", "1.14.0", "2.4.0", "2.6.0", "2.13.0", "2.23.0"];

    fn read(options: &Options<'_>, node: &Tensors<'_>) -> Result<Self> {
        let pot_scale_int16 = read_pot_scale(options, node)?;
        Ok(Self { activation: options.activation(0)?, pot_scale_int16 })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, node: &Tensors<'_>) -> Result<()> {
        options.activation(0, self.activation);
        write_pot_scale(options, node, self.pot_scale_int16);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.input_dtype(0) {
            Some(DType::F16) => 6,
            Some(DType::I16) if node.input(0).is_some_and(|tensor| tensor.quantization.is_none()) => 5,
            Some(DType::I64) => 4,
            Some(DType::I16) if !self.pot_scale_int16 => 3,
            Some(DType::I8) => 2,
            _ => 1,
        }
    }
}

/// `pot_scale_int16`, which is true by default, where it means something: for quantized int16.
pub(super) fn read_pot_scale(options: &Options<'_>, node: &Tensors<'_>) -> Result<bool> {
    Ok(options.expect_fields(2)?.scalar(1, true)? && is_quantized_int16(node))
}

/// Writes `pot_scale_int16`, as its default where it means nothing.
pub(super) fn write_pot_scale(options: &mut OptionsBuilder<'_>, node: &Tensors<'_>, pot_scale: bool) {
    options.scalar(1, pot_scale || node.input_dtype(0) != Some(DType::I16), true);
}

fn is_quantized_int16(node: &Tensors<'_>) -> bool {
    node.input(0).is_some_and(|tensor| tensor.dtype == DType::I16 && tensor.quantization.is_some())
}

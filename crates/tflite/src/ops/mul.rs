//! MUL.

use litesmith_graph::ops::Mul;
use litesmith_graph::{DType, Result, Tensor};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Mul {
    const OPTIONS: u8 = 21;
    const VERSIONS: &'static [&'static str] =
        &["1.5.0", "1.14.0", "1.15.0", "2.3.0", "2.6.0", "2.11.0", "2.13.0", "2.23.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self { activation: options.expect_fields(1)?.activation(0)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.activation(0, self.activation);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        let scale = |tensor: Option<&Tensor>| {
            let quantization = tensor.and_then(|tensor| tensor.quantization.as_ref());
            quantization.and_then(|quantization| quantization.as_per_tensor()).map(|(scale, _)| scale)
        };
        let scales = (scale(node.input(0)), scale(node.input(1)), scale(node.outputs.first().copied()));
        // Kernels before version 3 had a multiplier below 1 only.
        let large = matches!(scales, (Some(a), Some(b), Some(output)) if a * b / output >= 1.0);
        match node.input_dtype(0) {
            Some(DType::F16) => 8,
            Some(DType::I16) if scales.0.is_none() => 7,
            Some(DType::U32) => 7,
            Some(DType::Complex64) => 6,
            Some(DType::I64) => 5,
            Some(DType::I16) => 4,
            _ if large => 3,
            Some(DType::I8) => 2,
            _ => 1,
        }
    }
}

//! QUANTIZE.

use litesmith_graph::ops::Quantize;
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Quantize {
    const OPTIONS: u8 = 0;
    const VERSIONS: &'static [&'static str] = &["1.14.0", "1.15.0", "2.7.0", "2.21.0", "2.21.0", "2.21.0"];

    fn read(_: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn write(&self, _: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        let per_channel = |tensor: &&litesmith_graph::Tensor| {
            tensor.quantization.as_ref().is_some_and(|quantization| quantization.scales.len() > 1)
        };
        match (node.input_dtype(0), node.output_dtype()) {
            (Some(DType::U4), _) | (_, Some(DType::U4)) => 5,
            (Some(DType::I4), _) | (_, Some(DType::I4)) => 4,
            _ if node.outputs.iter().any(per_channel) => 3,
            (_, Some(DType::I16)) => 2,
            _ => 1,
        }
    }
}

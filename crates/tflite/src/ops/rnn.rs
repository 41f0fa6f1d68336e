//! Plain recurrent layers.

use litesmith_graph::ops::{BidirectionalSequenceRnn, Rnn, UnidirectionalSequenceRnn};
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

const VERSIONS: &[&str] = &["1.14.0", "1.14.0", "2.3.0"];

fn version(node: &Tensors<'_>, asymmetric: bool) -> usize {
    match node.input_dtype(1) == Some(DType::I8) && node.output_dtype() == Some(DType::F32) {
        true if asymmetric => 3,
        true => 2,
        false => 1,
    }
}

impl Format for Rnn {
    const OPTIONS: u8 = 7;
    const VERSIONS: &'static [&'static str] = &["1.5.0", "1.14.0", "2.3.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.expect_fields(2)?;
        Ok(Self { activation: options.activation(0)?, asymmetric_quantize_inputs: options.scalar(1, false)? })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.activation(0, self.activation).scalar(1, self.asymmetric_quantize_inputs, false);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        version(node, self.asymmetric_quantize_inputs)
    }
}

impl Format for UnidirectionalSequenceRnn {
    const OPTIONS: u8 = 31;
    const VERSIONS: &'static [&'static str] = VERSIONS;

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.expect_fields(3)?;
        Ok(Self {
            time_major: options.scalar(0, false)?,
            activation: options.activation(1)?,
            asymmetric_quantize_inputs: options.scalar(2, false)?,
        })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options.scalar(0, self.time_major, false).activation(1, self.activation).scalar(
            2,
            self.asymmetric_quantize_inputs,
            false,
        );
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        version(node, self.asymmetric_quantize_inputs)
    }
}

impl Format for BidirectionalSequenceRnn {
    const OPTIONS: u8 = 70;
    const VERSIONS: &'static [&'static str] = &["1.14.0", "1.14.0", "2.3.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.expect_fields(4)?;
        Ok(Self {
            time_major: options.scalar(0, false)?,
            activation: options.activation(1)?,
            merge_outputs: options.scalar(2, false)?,
            asymmetric_quantize_inputs: options.scalar(3, false)?,
        })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options
            .scalar(0, self.time_major, false)
            .activation(1, self.activation)
            .scalar(2, self.merge_outputs, false)
            .scalar(3, self.asymmetric_quantize_inputs, false);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        version(node, self.asymmetric_quantize_inputs)
    }
}

//! LSTM layers.

use litesmith_graph::ops::{BidirectionalSequenceLstm, Lstm, UnidirectionalSequenceLstm};
use litesmith_graph::{Error, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for UnidirectionalSequenceLstm {
    const OPTIONS: u8 = 71;
    const VERSIONS: &'static [&'static str] = &["1.13.1", "1.14.0", "2.3.0", "2.12.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.expect_fields(6)?;
        Ok(Self {
            activation: options.activation(0)?,
            cell_clip: options.clip(1)?,
            projection_clip: options.clip(2)?,
            time_major: options.scalar(3, false)?,
            asymmetric_quantize_inputs: options.scalar(4, false)?,
            diagonal_recurrent_tensors: options.scalar(5, false)?,
            intermediates: Vec::new(),
        })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options
            .activation(0, self.activation)
            .scalar(1, self.cell_clip, 0.0)
            .scalar(2, self.projection_clip, 0.0)
            .scalar(3, self.time_major, false)
            .scalar(4, self.asymmetric_quantize_inputs, false)
            .scalar(5, self.diagonal_recurrent_tensors, false);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.is_hybrid_at(2) {
            _ if self.diagonal_recurrent_tensors => 4,
            true if self.asymmetric_quantize_inputs => 3,
            true => 2,
            false => 1,
        }
    }
}

impl Format for Lstm {
    const OPTIONS: u8 = 14;
    const VERSIONS: &'static [&'static str] = &["1.7.0", "1.10.0", "1.14.0", "2.3.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.expect_fields(5)?;
        let is_basic = match options.scalar(3, 0_i8)? {
            0 => false,
            1 => true,
            kind => {
                return Err(Error::malformed("", format!("got kernel_type {kind}, expected 0 (FULL) or 1 (BASIC)")));
            }
        };
        Ok(Self {
            activation: options.activation(0)?,
            cell_clip: options.clip(1)?,
            projection_clip: options.clip(2)?,
            asymmetric_quantize_inputs: options.scalar(4, false)?,
            intermediates: Vec::new(),
            is_basic,
        })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options
            .activation(0, self.activation)
            .scalar(1, self.cell_clip, 0.0)
            .scalar(2, self.projection_clip, 0.0)
            .scalar(3, i8::from(self.is_basic), 0)
            .scalar(4, self.asymmetric_quantize_inputs, false);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.is_hybrid_at(2) {
            _ if self.is_basic => 2,
            true if self.asymmetric_quantize_inputs => 4,
            true => 3,
            false => 1,
        }
    }
}

impl Format for BidirectionalSequenceLstm {
    const OPTIONS: u8 = 69;
    const VERSIONS: &'static [&'static str] = &["1.14.0", "1.14.0", "1.14.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.expect_fields(6)?;
        Ok(Self {
            activation: options.activation(0)?,
            cell_clip: options.clip(1)?,
            projection_clip: options.clip(2)?,
            merge_outputs: options.scalar(3, false)?,
            time_major: options.scalar(4, true)?,
            asymmetric_quantize_inputs: options.scalar(5, false)?,
        })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options
            .activation(0, self.activation)
            .scalar(1, self.cell_clip, 0.0)
            .scalar(2, self.projection_clip, 0.0)
            .scalar(3, self.merge_outputs, false)
            .scalar(4, self.time_major, true)
            .scalar(5, self.asymmetric_quantize_inputs, false);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        match node.is_hybrid_at(4) {
            true if self.asymmetric_quantize_inputs => 3,
            true => 2,
            // Version 1 is time-major always.
            false if !self.time_major => 2,
            false => 1,
        }
    }
}

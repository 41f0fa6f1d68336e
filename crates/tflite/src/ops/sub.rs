//! SUB.

use litesmith_graph::ops::Sub;
use litesmith_graph::{DType, Result};

use super::add::{read_pot_scale, write_pot_scale};
use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for Sub {
    const OPTIONS: u8 = 28;
    const VERSIONS: &'static [&'static str] = &["1.6.0", "1.14.0", "2.3.0", "2.4.0", "2.4.0"];

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
        let broadcasts = node.input_shape(0) != node.input_shape(1);
        match node.input_dtype(0) {
            Some(DType::I16) if !self.pot_scale_int16 => 5,
            Some(DType::I64) => 4,
            _ if broadcasts && node.largest_rank() > 4 => 3,
            Some(DType::I8) => 2,
            _ => 1,
        }
    }
}

//! STRIDED_SLICE.

use litesmith_graph::ops::StridedSlice;
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors};

impl Format for StridedSlice {
    const OPTIONS: u8 = 32;
    const VERSIONS: &'static [&'static str] =
        &["1.6.0", "1.14.0", "2.1.0", "2.2.0", "2.5.0", "2.6.0", "2.14.0", "2.14.0"];

    fn read(options: &Options<'_>, _: &Tensors<'_>) -> Result<Self> {
        options.expect_fields(6)?;
        Ok(Self {
            begin_mask: options.scalar(0, 0)?,
            end_mask: options.scalar(1, 0)?,
            ellipsis_mask: options.scalar(2, 0)?,
            new_axis_mask: options.scalar(3, 0)?,
            shrink_axis_mask: options.scalar(4, 0)?,
            offset: options.scalar(5, false)?,
        })
    }

    fn write(&self, options: &mut OptionsBuilder<'_>, _: &Tensors<'_>) -> Result<()> {
        options
            .scalar(0, self.begin_mask, 0)
            .scalar(1, self.end_mask, 0)
            .scalar(2, self.ellipsis_mask, 0)
            .scalar(3, self.new_axis_mask, 0)
            .scalar(4, self.shrink_axis_mask, 0)
            .scalar(5, self.offset, false);
        Ok(())
    }

    fn version(&self, node: &Tensors<'_>) -> usize {
        let dtype = node.input_dtype(0);
        if self.offset {
            8
        } else if dtype == Some(DType::U32) {
            7
        } else if self.ellipsis_mask != 0 || self.new_axis_mask != 0 {
            6
        } else if dtype == Some(DType::String) {
            5
        } else if node.input_shape(0).len() > 4 {
            4
        } else {
            match dtype {
                Some(DType::Bool) => 3,
                Some(DType::I8) => 2,
                _ => 1,
            }
        }
    }
}

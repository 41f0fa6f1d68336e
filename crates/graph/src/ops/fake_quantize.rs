//! FAKE_QUANTIZE (training only): input `[..]`, range `[2]` (smallest and largest value), step `[1]` (optional). The
//! result is the input on the int8 grid that the range spans, still in float32. Dropped when quantized on export.

use super::{Inputs, OpSpec, Parameter};
use crate::Result;

/// How a value half way between two steps is rounded, which depends on the kernel whose result is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ties {
    /// To the even distance from the zero point: sums of products.
    #[default]
    Even,
    /// Away from the integer 0: AVERAGE_POOL_2D.
    AwayFromZero,
    /// Up: RESIZE_BILINEAR.
    Up,
}

/// Attributes of fake quantization (Jacob et al., 2018). With a step, both ends of the range are multiplied by e to its power,
/// and it learns (Esser et al., 2020).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FakeQuantize {
    /// Share of the old range that each update keeps, in `0.0..1.0`; the rest follows the values of the batch. `None`: the
    /// range stays as it is.
    pub momentum: Option<f32>,
    /// How halves are rounded.
    pub ties: Ties,
}

impl OpSpec for FakeQuantize {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=3)?;
        check_range(inputs, 1, 2)?;
        Ok(vec![inputs.get(0, "input")?.shape.clone()])
    }

    fn parameter(&self, index: usize) -> Parameter {
        match index {
            0 => Parameter::Constant,
            1 => Parameter::Moving,
            _ => Parameter::Trainable,
        }
    }
}

/// Checks a range of two elements and an optional step of one.
pub(super) fn check_range(inputs: &Inputs<'_>, range: usize, step: usize) -> Result<()> {
    let [ends] = inputs.shape(range, "range")?;
    if ends != 2 {
        return Err(inputs.malformed(format!("the range has {ends} elements, expected 2")));
    }
    match inputs.optional(step) {
        Some(tensor) if tensor.shape != [1] => {
            Err(inputs.malformed(format!("the step has shape {:?}, expected [1]", tensor.shape)))
        }
        _ => Ok(()),
    }
}

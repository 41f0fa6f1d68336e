//! SUB with NumPy broadcasting.

use super::add::infer_binary;
use super::{Activation, Inputs, OpSpec, Parameter};
use crate::Result;

/// Attributes of SUB.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sub {
    /// Applied to the result.
    pub activation: Activation,
    /// Whether quantized int16 operands whose scales are all powers of two are subtracted without multipliers: the one whose scale
    /// is not the result's is shifted.
    pub pot_scale_int16: bool,
}

impl OpSpec for Sub {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        infer_binary("SUB", inputs)
    }

    fn fused_activation(&mut self) -> Option<&mut Activation> {
        Some(&mut self.activation)
    }

    fn parameter(&self, _: usize) -> Parameter {
        Parameter::Trainable
    }
}

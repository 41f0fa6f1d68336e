//! FULLY_CONNECTED: input `[.., in_units]`, weights `[out_units, in_units]`, bias `[out_units]` (optional).

use super::conv_2d::check_bias;
use super::{Activation, Inputs, OpSpec, Parameter, product};
use crate::{Result, elements};

/// Attributes of FULLY_CONNECTED.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FullyConnected {
    /// Applied to the result.
    pub activation: Activation,
    /// Whether the output keeps the outer sizes of the input; otherwise it is `[batch, out_units]`.
    pub keep_num_dims: bool,
    /// Whether a float input is quantized with a zero point when the weights are integers (dynamic range).
    pub asymmetric_quantize_inputs: bool,
}

impl OpSpec for FullyConnected {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=3)?;
        let input = inputs.get(0, "input")?;
        let [out_units, in_units] = inputs.shape(1, "weights")?;
        let total = elements(&input.shape)?;
        if in_units == 0 || total % in_units != 0 {
            return Err(inputs.malformed(format!(
                "an input of shape {:?} does not divide into rows of {in_units}, as the weights expect",
                input.shape
            )));
        }
        check_bias(inputs, 2, out_units)?;
        if !self.keep_num_dims {
            return Ok(vec![vec![total / in_units, out_units]]);
        }
        match input.shape.split_last() {
            Some((&last, outer)) if last == in_units => Ok(vec![[outer, &[out_units]].concat()]),
            _ => Err(inputs.malformed(format!(
                "the last size of the input {:?} must be {in_units} to keep the others",
                input.shape
            ))),
        }
    }

    fn macs(&self, inputs: &Inputs<'_>, output: &[usize]) -> u64 {
        let in_units = inputs.optional(1).and_then(|weights| weights.shape.last().copied()).unwrap_or(0);
        product(output).saturating_mul(in_units as u64)
    }

    fn fused_activation(&mut self) -> Option<&mut Activation> {
        Some(&mut self.activation)
    }

    fn parameter(&self, index: usize) -> Parameter {
        if index == 0 { Parameter::Constant } else { Parameter::Trainable }
    }
}

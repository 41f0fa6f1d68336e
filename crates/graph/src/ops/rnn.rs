//! Plain recurrent layers: input, weights `units features`, recurrent weights `units units`, bias `units`, and the state `batch
//! units`, a variable.

use super::{Activation, Inputs, OpSpec, product};
use crate::{Result, elements};

/// Attributes of RNN: one step on an input `batch features`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rnn {
    /// Of the sum.
    pub activation: Activation,
    /// Whether a float input is quantized with a zero point when the weights are integers (dynamic range).
    pub asymmetric_quantize_inputs: bool,
}

/// Attributes of UNIDIRECTIONAL_SEQUENCE_RNN: input `batch time features`, or `time batch features`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnidirectionalSequenceRnn {
    /// Of the sum.
    pub activation: Activation,
    /// Whether the first axis of input and output is the time.
    pub time_major: bool,
    /// Whether a float input is quantized with a zero point when the weights are integers (dynamic range).
    pub asymmetric_quantize_inputs: bool,
}

/// Checks the inputs; gives the units.
fn check(inputs: &Inputs<'_>, batch: usize, features: usize) -> Result<usize> {
    inputs.expect_count(5..=5)?;
    let [units, columns] = inputs.shape(1, "weights")?;
    let recurrent = inputs.shape(2, "recurrent weights")?;
    let ([bias], state) = (inputs.shape(3, "bias")?, inputs.shape(4, "state")?);
    if columns != features || recurrent != [units, units] || bias != units || state != [batch, units] {
        return Err(inputs.malformed(format!(
            "weights {units}x{columns}, recurrent weights {recurrent:?}, a bias of {bias} and a state {state:?} do not fit \
             {batch} rows of {features}"
        )));
    }
    Ok(units)
}

fn macs(inputs: &Inputs<'_>) -> u64 {
    let Some(input) = inputs.optional(0) else { return 0 };
    let rows = elements(&input.shape).unwrap_or(0) as u64 / (input.shape.last().copied().unwrap_or(1).max(1) as u64);
    let each = (1..=2).filter_map(|index| inputs.optional(index)).map(|weights| product(&weights.shape));
    rows.saturating_mul(each.fold(0, u64::saturating_add))
}

impl OpSpec for Rnn {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        let [batch, features] = inputs.shape(0, "input")?;
        Ok(vec![vec![batch, check(inputs, batch, features)?]])
    }

    fn macs(&self, inputs: &Inputs<'_>, _: &[usize]) -> u64 {
        macs(inputs)
    }
}

impl OpSpec for UnidirectionalSequenceRnn {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        let [first, second, features] = inputs.shape(0, "input")?;
        let units = check(inputs, if self.time_major { second } else { first }, features)?;
        Ok(vec![vec![first, second, units]])
    }

    fn macs(&self, inputs: &Inputs<'_>, _: &[usize]) -> u64 {
        macs(inputs)
    }
}

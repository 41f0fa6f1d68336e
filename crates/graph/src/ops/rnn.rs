//! Plain recurrent layers: input, weights `units features`, recurrent weights `units units`, bias `units`, and the state `batch
//! units`, a variable.

use super::{Activation, Inputs, OpSpec, product};
use crate::{Error, Result, elements};

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

/// Attributes of BIDIRECTIONAL_SEQUENCE_RNN: one layer forward and one backward through the sequence. Its 12 inputs: the input;
/// weights, recurrent weights, bias and state of the forward layer, then of the backward one; a second input, and weights of both
/// layers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BidirectionalSequenceRnn {
    /// Of the sums.
    pub activation: Activation,
    /// Whether the first axis of input and output is the time.
    pub time_major: bool,
    /// Whether the rows of both layers stand side by side in one output; otherwise there are two.
    pub merge_outputs: bool,
    /// Whether a float input is quantized with a zero point when the weights are integers (dynamic range).
    pub asymmetric_quantize_inputs: bool,
}

/// Checks the inputs of the layer whose weights are input `first`; gives the units.
fn check(inputs: &Inputs<'_>, first: usize, batch: usize, features: usize) -> Result<usize> {
    let [units, columns] = inputs.shape(first, "weights")?;
    let recurrent = inputs.shape(first + 1, "recurrent weights")?;
    let ([bias], state) = (inputs.shape(first + 2, "bias")?, inputs.shape(first + 3, "state")?);
    if columns != features || recurrent != [units, units] || bias != units || state != [batch, units] {
        return Err(inputs.malformed(format!(
            "weights {units}x{columns}, recurrent weights {recurrent:?}, a bias of {bias} and a state {state:?} do not fit \
             {batch} rows of {features}"
        )));
    }
    Ok(units)
}

fn macs(inputs: &Inputs<'_>, weights: &[usize]) -> u64 {
    let Some(input) = inputs.optional(0) else { return 0 };
    let rows = elements(&input.shape).unwrap_or(0) as u64 / (input.shape.last().copied().unwrap_or(1).max(1) as u64);
    let each = weights.iter().filter_map(|&index| inputs.optional(index)).map(|weights| product(&weights.shape));
    rows.saturating_mul(each.fold(0, u64::saturating_add))
}

impl OpSpec for Rnn {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(5..=5)?;
        let [batch, features] = inputs.shape(0, "input")?;
        Ok(vec![vec![batch, check(inputs, 1, batch, features)?]])
    }

    fn macs(&self, inputs: &Inputs<'_>, _: &[usize]) -> u64 {
        macs(inputs, &[1, 2])
    }
}

impl OpSpec for UnidirectionalSequenceRnn {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(5..=5)?;
        let [first, second, features] = inputs.shape(0, "input")?;
        let units = check(inputs, 1, if self.time_major { second } else { first }, features)?;
        Ok(vec![vec![first, second, units]])
    }

    fn macs(&self, inputs: &Inputs<'_>, _: &[usize]) -> u64 {
        macs(inputs, &[1, 2])
    }
}

impl OpSpec for BidirectionalSequenceRnn {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(12..=12)?;
        if let Some(index) = (9..12).find(|&index| inputs.optional(index).is_some()) {
            return Err(Error::unsupported(
                "BIDIRECTIONAL_SEQUENCE_RNN",
                format!("input {index}, of a second input: layers that are stacked inside the op"),
            ));
        }
        let [first, second, features] = inputs.shape(0, "input")?;
        let batch = if self.time_major { second } else { first };
        let [forward, backward] = [check(inputs, 1, batch, features)?, check(inputs, 5, batch, features)?];
        let row = |units: usize| vec![first, second, units];
        match self.merge_outputs {
            true => Ok(vec![row(forward.saturating_add(backward))]),
            false => Ok(vec![row(forward), row(backward)]),
        }
    }

    fn macs(&self, inputs: &Inputs<'_>, _: &[usize]) -> u64 {
        macs(inputs, &[1, 2, 5, 6])
    }
}

//! LSTM layers, stepped through whole sequences or by single steps.
//!
//! The full kernels have 20 or 24 inputs (LiteRT `kernels/lstm_shared.h`): the input; four weight matrices of the input and four
//! recurrent ones, for the gates input, forget, cell, output; three peepholes (input, forget, output); four biases; projection
//! weights and bias; the output state and the cell state, which are variables; four layer normalizations.

use super::{Activation, Inputs, OpSpec, product};
use crate::{Result, TensorId, elements};

/// Attributes of UNIDIRECTIONAL_SEQUENCE_LSTM: input `batch time features`, or `time batch features`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UnidirectionalSequenceLstm {
    /// Of the cell's new value and of the cells before the output gate.
    pub activation: Activation,
    /// Largest magnitude of a cell; 0 for no limit.
    pub cell_clip: f32,
    /// Largest magnitude of a projected output; 0 for no limit.
    pub projection_clip: f32,
    /// Whether the first axis of input and output is the time.
    pub time_major: bool,
    /// Whether a float input is quantized with a zero point when the weights are integers (dynamic range).
    pub asymmetric_quantize_inputs: bool,
    /// Whether the recurrent weights may be diagonals; they say so themselves by their rank.
    pub diagonal_recurrent_tensors: bool,
    /// Tensors that stand for values inside the op: their quantization is that of the sums of the four gates before layer
    /// normalization, and of the output before the projection.
    pub intermediates: Vec<TensorId>,
}

/// Attributes of LSTM, with its full kernel: one step on an input `batch features`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lstm {
    /// Of the cell's new value and of the cells before the output gate.
    pub activation: Activation,
    /// Largest magnitude of a cell; 0 for no limit.
    pub cell_clip: f32,
    /// Largest magnitude of a projected output; 0 for no limit.
    pub projection_clip: f32,
    /// Whether a float input is quantized with a zero point when the weights are integers (dynamic range).
    pub asymmetric_quantize_inputs: bool,
    /// As [`UnidirectionalSequenceLstm::intermediates`].
    pub intermediates: Vec<TensorId>,
}

/// Where the inputs of the full kernels are.
pub mod full_lstm {
    /// First of the four weights of the input: those of the gates input, forget, cell, output.
    pub const INPUT_WEIGHTS: usize = 1;
    /// First of the four recurrent weights.
    pub const RECURRENT_WEIGHTS: usize = 5;
    /// First of the three peepholes: those of the gates input, forget, output.
    pub const PEEPHOLES: usize = 9;
    /// First of the four biases.
    pub const BIASES: usize = 12;
    /// Weights of the projection.
    pub const PROJECTION: usize = 16;
    /// Bias of the projection.
    pub const PROJECTION_BIAS: usize = 17;
    /// The output of the step before, a variable.
    pub const OUTPUT_STATE: usize = 18;
    /// The cells, a variable.
    pub const CELL_STATE: usize = 19;
    /// First of the four layer normalizations.
    pub const NORMS: usize = 20;
}

/// Checks the inputs of a full kernel for `rows` of `features` in `batch` sequences; gives the elements of an output row.
fn check_full(inputs: &Inputs<'_>, batch: usize, features: usize) -> Result<usize> {
    use full_lstm::{BIASES, CELL_STATE, INPUT_WEIGHTS, NORMS, OUTPUT_STATE, PEEPHOLES, PROJECTION, RECURRENT_WEIGHTS};
    if inputs.len() != 24 {
        inputs.expect_count(20..=20)?;
    }
    let [cells, columns] = inputs.shape(INPUT_WEIGHTS + 3, "output gate weights")?;
    if columns != features {
        return Err(inputs.malformed(format!("weights for rows of {columns}, the input has rows of {features}")));
    }
    let recurrent = inputs.get(RECURRENT_WEIGHTS + 3, "recurrent output gate weights")?;
    let outputs = match recurrent.shape[..] {
        [diagonal] if diagonal == cells => cells,
        [rows, columns] if rows == cells => columns,
        _ => {
            let message = format!("recurrent weights of shape {:?} for {cells} cells", recurrent.shape);
            return Err(inputs.malformed(message));
        }
    };
    let coupled = inputs.optional(INPUT_WEIGHTS).is_none();
    let expect = |index: usize, name: &str, shape: &[usize], optional: bool| match inputs.optional(index) {
        None if optional => Ok(()),
        None => Err(inputs.malformed(format!("{name} (input {index}) is missing"))),
        Some(tensor) if tensor.shape == shape => Ok(()),
        Some(tensor) => {
            Err(inputs.malformed(format!("{name} (input {index}) has shape {:?}, expected {shape:?}", tensor.shape)))
        }
    };
    let normed = inputs.optional(NORMS + 1).is_some();
    for gate in 0..4 {
        let none = coupled && gate == 0;
        if none && [RECURRENT_WEIGHTS, PEEPHOLES, BIASES, NORMS].iter().any(|&at| inputs.optional(at).is_some()) {
            return Err(inputs.malformed("it has parts of an input gate but no weights of the input for it"));
        }
        expect(INPUT_WEIGHTS + gate, "weights", &[cells, features], none)?;
        expect(RECURRENT_WEIGHTS + gate, "recurrent weights", &recurrent.shape, none)?;
        expect(BIASES + gate, "bias", &[cells], none)?;
        expect(NORMS + gate, "layer normalization", &[cells], none || !normed)?;
    }
    let peepholes = (0..3).filter(|gate| inputs.optional(PEEPHOLES + gate).is_some()).count();
    if peepholes != 0 && peepholes != 3 - usize::from(coupled) {
        return Err(inputs.malformed(format!("it has {peepholes} peepholes, expected none or one for each gate")));
    }
    for gate in 0..3 {
        expect(PEEPHOLES + gate, "peephole", &[cells], true)?;
    }
    expect(PROJECTION, "projection", &[outputs, cells], true)?;
    expect(PROJECTION + 1, "projection bias", &[outputs], true)?;
    for (index, name, row) in [(OUTPUT_STATE, "output state", outputs), (CELL_STATE, "cell state", cells)] {
        let state = inputs.get(index, name)?;
        if Some(state.elements()?) != batch.checked_mul(row) {
            let message = format!("the {name} has shape {:?}, expected {batch} by {row}", state.shape);
            return Err(inputs.malformed(message));
        }
    }
    Ok(outputs)
}

/// Multiply-accumulates of all matrices for the rows of the input.
fn full_macs(inputs: &Inputs<'_>) -> u64 {
    let Some(input) = inputs.optional(0) else { return 0 };
    let rows = elements(&input.shape).unwrap_or(0) as u64 / (input.shape.last().copied().unwrap_or(1).max(1) as u64);
    let matrices = (full_lstm::INPUT_WEIGHTS..full_lstm::BIASES).chain([full_lstm::PROJECTION]);
    let each = matrices.filter_map(|index| inputs.optional(index)).map(|weights| product(&weights.shape));
    rows.saturating_mul(each.fold(0, u64::saturating_add))
}

impl OpSpec for UnidirectionalSequenceLstm {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        let [first, second, features] = inputs.shape(0, "input")?;
        let outputs = check_full(inputs, if self.time_major { second } else { first }, features)?;
        Ok(vec![vec![first, second, outputs]])
    }

    fn macs(&self, inputs: &Inputs<'_>, _: &[usize]) -> u64 {
        full_macs(inputs)
    }
}

impl OpSpec for Lstm {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        let [batch, features] = inputs.shape(0, "input")?;
        Ok(vec![vec![batch, check_full(inputs, batch, features)?]])
    }

    fn macs(&self, inputs: &Inputs<'_>, _: &[usize]) -> u64 {
        full_macs(inputs)
    }
}

//! LSTM layers, stepped through whole sequences or by single steps.
//!
//! The full kernels have 20 or 24 inputs (LiteRT `kernels/lstm_shared.h`): the input; four weight matrices of the input and four
//! recurrent ones, for the gates input, forget, cell, output; three peepholes (input, forget, output); four biases; projection
//! weights and bias; the output state and the cell state, which are variables; four layer normalizations.

use super::{Activation, Inputs, OpSpec, product};
use crate::{Error, Result, TensorId, elements};

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

/// Attributes of LSTM: one step on an input `batch features`.
///
/// Its basic kernel has five inputs: the input; the output of the step before, a variable; the weights of all gates in one matrix,
/// `4 cells` by `features cells`, in the order input gate, new value, forget gate, output gate; their biases; the cells, a
/// variable. It gives the output, the cells, and two tensors that it works with: the input beside the output of the step before,
/// and the sums of the gates.
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
    /// Whether it has the basic kernel, which looks at no other attribute: its activation is tanh.
    pub is_basic: bool,
}

/// Where the inputs of the basic kernel of LSTM are.
impl Lstm {
    /// The output of the step before.
    pub const BASIC_OUTPUT_STATE: usize = 1;
    /// The weights of all gates.
    pub const BASIC_WEIGHTS: usize = 2;
    /// Their biases.
    pub const BASIC_BIAS: usize = 3;
    /// The cells.
    pub const BASIC_CELL_STATE: usize = 4;
}

/// Attributes of BIDIRECTIONAL_SEQUENCE_LSTM: one layer forward and one backward through the sequence.
///
/// It has 48 inputs: the input; weights, recurrent weights, peepholes, biases and projection of the forward layer, then of the
/// backward one; output state and cell state of both; a second input, with weights for each gate of both layers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BidirectionalSequenceLstm {
    /// Of the cell's new value and of the cells before the output gate.
    pub activation: Activation,
    /// Largest magnitude of a cell; 0 for no limit.
    pub cell_clip: f32,
    /// Largest magnitude of a projected output; 0 for no limit.
    pub projection_clip: f32,
    /// Whether the rows of both layers stand side by side in one output; otherwise there are two.
    pub merge_outputs: bool,
    /// Whether the first axis of input and output is the time.
    pub time_major: bool,
    /// Whether a float input is quantized with a zero point when the weights are integers (dynamic range).
    pub asymmetric_quantize_inputs: bool,
}

/// Where the inputs of one layer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LstmInputs {
    /// First of the four weights of the input: those of the gates input, forget, cell, output.
    pub input_weights: usize,
    /// First of the four recurrent weights.
    pub recurrent_weights: usize,
    /// First of the three peepholes: those of the gates input, forget, output.
    pub peepholes: usize,
    /// First of the four biases.
    pub biases: usize,
    /// Weights of the projection; its bias comes next.
    pub projection: usize,
    /// The output of the step before, a variable.
    pub output_state: usize,
    /// The cells, a variable.
    pub cell_state: usize,
    /// First of the four layer normalizations, where there may be some.
    pub norms: Option<usize>,
}

impl LstmInputs {
    /// Those of LSTM and UNIDIRECTIONAL_SEQUENCE_LSTM.
    pub const FULL: Self = Self { output_state: 18, cell_state: 19, norms: Some(20), ..Self::from(1) };
    /// Those of the forward layer of BIDIRECTIONAL_SEQUENCE_LSTM.
    pub const FORWARD: Self = Self { output_state: 35, cell_state: 36, ..Self::from(1) };
    /// Those of its backward layer.
    pub const BACKWARD: Self = Self { output_state: 37, cell_state: 38, ..Self::from(18) };

    const fn from(first: usize) -> Self {
        Self {
            input_weights: first,
            recurrent_weights: first + 4,
            peepholes: first + 8,
            biases: first + 11,
            projection: first + 15,
            output_state: 0,
            cell_state: 0,
            norms: None,
        }
    }
}

/// The second input of BIDIRECTIONAL_SEQUENCE_LSTM.
const AUXILIARY_INPUT: usize = 39;

/// Checks the inputs of a full kernel for `batch` sequences of rows of `features`; gives the elements of an output row.
fn check_full(inputs: &Inputs<'_>, batch: usize, features: usize) -> Result<usize> {
    if inputs.len() != 24 {
        inputs.expect_count(20..=20)?;
    }
    check_layer(inputs, LstmInputs::FULL, batch, features)
}

/// The same for one layer.
fn check_layer(inputs: &Inputs<'_>, at: LstmInputs, batch: usize, features: usize) -> Result<usize> {
    let [cells, columns] = inputs.shape(at.input_weights + 3, "output gate weights")?;
    if columns != features {
        return Err(inputs.malformed(format!("weights for rows of {columns}, the input has rows of {features}")));
    }
    let recurrent = inputs.get(at.recurrent_weights + 3, "recurrent output gate weights")?;
    let outputs = match recurrent.shape[..] {
        [diagonal] if diagonal == cells => cells,
        [rows, columns] if rows == cells => columns,
        _ => {
            let message = format!("recurrent weights of shape {:?} for {cells} cells", recurrent.shape);
            return Err(inputs.malformed(message));
        }
    };
    let coupled = inputs.optional(at.input_weights).is_none();
    let expect = |index: usize, name: &str, shape: &[usize], optional: bool| match inputs.optional(index) {
        None if optional => Ok(()),
        None => Err(inputs.malformed(format!("{name} (input {index}) is missing"))),
        Some(tensor) if tensor.shape == shape => Ok(()),
        Some(tensor) => {
            Err(inputs.malformed(format!("{name} (input {index}) has shape {:?}, expected {shape:?}", tensor.shape)))
        }
    };
    let normed = at.norms.is_some_and(|norms| inputs.optional(norms + 1).is_some());
    let of_input_gate = [Some(at.recurrent_weights), Some(at.peepholes), Some(at.biases), at.norms];
    if coupled && of_input_gate.into_iter().flatten().any(|index| inputs.optional(index).is_some()) {
        return Err(inputs.malformed("it has parts of an input gate but no weights of the input for it"));
    }
    for gate in 0..4 {
        let none = coupled && gate == 0;
        expect(at.input_weights + gate, "weights", &[cells, features], none)?;
        expect(at.recurrent_weights + gate, "recurrent weights", &recurrent.shape, none)?;
        expect(at.biases + gate, "bias", &[cells], none)?;
        if let Some(norms) = at.norms {
            expect(norms + gate, "layer normalization", &[cells], none || !normed)?;
        }
    }
    let peepholes = (0..3).filter(|gate| inputs.optional(at.peepholes + gate).is_some()).count();
    if peepholes != 0 && peepholes != 3 - usize::from(coupled) {
        return Err(inputs.malformed(format!("it has {peepholes} peepholes, expected none or one for each gate")));
    }
    for gate in 0..3 {
        expect(at.peepholes + gate, "peephole", &[cells], true)?;
    }
    expect(at.projection, "projection", &[outputs, cells], true)?;
    expect(at.projection + 1, "projection bias", &[outputs], true)?;
    for (index, name, row) in [(at.output_state, "output state", outputs), (at.cell_state, "cell state", cells)] {
        let state = inputs.get(index, name)?;
        if Some(state.elements()?) != batch.checked_mul(row) {
            let message = format!("the {name} has shape {:?}, expected {batch} by {row}", state.shape);
            return Err(inputs.malformed(message));
        }
    }
    Ok(outputs)
}

/// Multiply-accumulates of all matrices for the rows of the input.
fn full_macs(inputs: &Inputs<'_>, layers: &[LstmInputs]) -> u64 {
    let Some(input) = inputs.optional(0) else { return 0 };
    let rows = elements(&input.shape).unwrap_or(0) as u64 / (input.shape.last().copied().unwrap_or(1).max(1) as u64);
    let matrices = layers.iter().flat_map(|at| (at.input_weights..at.biases).chain([at.projection]));
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
        full_macs(inputs, &[LstmInputs::FULL])
    }
}

/// Checks the inputs of a basic kernel; gives the shapes of its outputs.
fn check_basic(inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
    inputs.expect_count(5..=5)?;
    let [batch, features] = inputs.shape(0, "input")?;
    let [_, cells] = inputs.shape(Lstm::BASIC_OUTPUT_STATE, "output state")?;
    let wide = |what: &str| inputs.malformed(format!("{what} of {features} features and {cells} cells are too many"));
    let together = features.checked_add(cells).ok_or_else(|| wide("columns"))?;
    let gates = cells.checked_mul(4).ok_or_else(|| wide("rows"))?;
    for (index, name, shape) in [
        (Lstm::BASIC_OUTPUT_STATE, "output state", &[batch, cells][..]),
        (Lstm::BASIC_WEIGHTS, "weights", &[gates, together]),
        (Lstm::BASIC_BIAS, "bias", &[gates]),
        (Lstm::BASIC_CELL_STATE, "cell state", &[batch, cells]),
    ] {
        let found = &inputs.get(index, name)?.shape;
        if found != shape {
            return Err(inputs.malformed(format!("{name} (input {index}) has shape {found:?}, expected {shape:?}")));
        }
    }
    Ok(vec![vec![batch, cells], vec![batch, cells], vec![batch, together], vec![batch, gates]])
}

impl OpSpec for Lstm {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        if self.is_basic {
            return check_basic(inputs);
        }
        let [batch, features] = inputs.shape(0, "input")?;
        Ok(vec![vec![batch, check_full(inputs, batch, features)?]])
    }

    fn macs(&self, inputs: &Inputs<'_>, _: &[usize]) -> u64 {
        if self.is_basic {
            let rows = inputs.optional(0).and_then(|input| input.shape.first().copied()).unwrap_or(0) as u64;
            let weights = inputs.optional(Self::BASIC_WEIGHTS).map_or(0, |weights| product(&weights.shape));
            return rows.saturating_mul(weights);
        }
        full_macs(inputs, &[LstmInputs::FULL])
    }
}

impl OpSpec for BidirectionalSequenceLstm {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(48..=48)?;
        if let Some(index) = (AUXILIARY_INPUT..48).find(|&index| inputs.optional(index).is_some()) {
            return Err(Error::unsupported(
                "BIDIRECTIONAL_SEQUENCE_LSTM",
                format!("input {index}, of a second input: layers that are stacked inside the op"),
            ));
        }
        let [first, second, features] = inputs.shape(0, "input")?;
        let batch = if self.time_major { second } else { first };
        let forward = check_layer(inputs, LstmInputs::FORWARD, batch, features)?;
        let backward = check_layer(inputs, LstmInputs::BACKWARD, batch, features)?;
        let row = |outputs: usize| vec![first, second, outputs];
        match self.merge_outputs {
            true => Ok(vec![row(forward.saturating_add(backward))]),
            false => Ok(vec![row(forward), row(backward)]),
        }
    }

    fn macs(&self, inputs: &Inputs<'_>, _: &[usize]) -> u64 {
        full_macs(inputs, &[LstmInputs::FORWARD, LstmInputs::BACKWARD])
    }
}

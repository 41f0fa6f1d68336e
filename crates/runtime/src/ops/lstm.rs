//! LSTM layers.

use litesmith_graph::ops::{BidirectionalSequenceLstm, Lstm as LstmOp, LstmInputs, UnidirectionalSequenceLstm};
use litesmith_graph::{DType, Error, Result, Tensor, TensorId};
use litesmith_kernels::Buffer;
use litesmith_kernels::lstm::basic::{BasicLstm, BasicLstmSpec};
use litesmith_kernels::lstm::float::{Lstm, LstmGate, LstmSpec};
use litesmith_kernels::lstm::quantized::{
    QuantizedGate, QuantizedLstm, QuantizedLstmSpec, QuantizedProjection, Scaled,
};
use litesmith_kernels::lstm::{Gates, LstmGeometry};
use litesmith_kernels::recurrent::{RecurrentWeights, SequenceGeometry};

use super::{Element, NodeContext, fused_activation, quant_params, refused};
use crate::kernel::Kernel;

/// Attributes that the full kernels share.
#[derive(Clone, Copy)]
struct Full<'a> {
    sequence: SequenceGeometry,
    activation: litesmith_graph::ops::Activation,
    cell_clip: f32,
    projection_clip: f32,
    asymmetric_inputs: bool,
    intermediates: &'a [TensorId],
    /// Where the inputs of the layer are.
    at: LstmInputs,
}

pub(super) fn plan_unidirectional(cx: &NodeContext<'_>, op: &UnidirectionalSequenceLstm) -> Result<Kernel> {
    let [first, second, _] = cx.input(0)?.shape[..] else { return Err(cx.no_kernel()) };
    let [steps, batch] = if op.time_major { [first, second] } else { [second, first] };
    let full = Full {
        sequence: SequenceGeometry { batch, steps, time_major: op.time_major, backward: false },
        activation: op.activation,
        cell_clip: op.cell_clip,
        projection_clip: op.projection_clip,
        asymmetric_inputs: op.asymmetric_quantize_inputs,
        intermediates: &op.intermediates,
        at: LstmInputs::FULL,
    };
    plan_full(cx, &full)
}

/// The basic kernel: float, as an LSTM whose weights are cut out of one matrix, and uint8.
fn plan_basic(cx: &NodeContext<'_>) -> Result<Kernel> {
    let ([_, inputs], [batch, cells]) = (&cx.input(0)?.shape[..], &cx.output()?.shape[..]) else {
        return Err(cx.no_kernel());
    };
    let (&inputs, &batch, &cells) = (inputs, batch, cells);
    let outputs = cx.node.outputs.iter().map(|&id| cx.graph.tensor(id).dtype);
    let dtypes: Vec<_> = cx.node.inputs.iter().flatten().map(|&id| cx.graph.tensor(id).dtype).chain(outputs).collect();
    // The two that it works with hold nothing here that others could read.
    let work = &cx.node.outputs[2..];
    let readers = cx.graph.nodes.iter().flat_map(|node| node.inputs.iter().flatten()).chain(&cx.graph.outputs);
    if readers.into_iter().any(|id| work.contains(id)) {
        return Err(Error::unsupported("", "a model that reads the tensors that the basic kernel works with"));
    }
    match dtypes[..] {
        [U8, U8, U8, DType::I32, DType::I16, U8, DType::I16, U8, DType::I16] => {
            plan_basic_quantized(cx, [batch, inputs, cells])
        }
        _ if dtypes.iter().all(|&dtype| dtype == DType::F32) => {
            let weights: &[f32] = cx.constant(LstmOp::BASIC_WEIGHTS, "weights")?;
            let bias: &[f32] = cx.constant(LstmOp::BASIC_BIAS, "bias")?;
            let part = |gate: usize, columns: std::ops::Range<usize>| -> Vec<f32> {
                let rows = weights.chunks_exact((inputs + cells).max(1)).skip(gate * cells).take(cells);
                rows.flat_map(|row| row[columns.clone()].iter().copied()).collect()
            };
            let parts: Vec<_> =
                (0..4).map(|gate| (part(gate, 0..inputs), part(gate, inputs..inputs + cells))).collect();
            let gate = |gate: usize| LstmGate {
                input: RecurrentWeights::F32(&parts[gate].0),
                recurrent: RecurrentWeights::F32(&parts[gate].1),
                peephole: None,
                norm: None,
                bias: &bias[gate * cells..][..cells],
            };
            let sequence = SequenceGeometry { batch, steps: 1, time_major: true, backward: false };
            let spec = LstmSpec {
                gates: Gates { input: Some(gate(0)), cell: gate(1), forget: gate(2), output: gate(3) },
                diagonal: false,
                projection: None,
                projection_bias: None,
                activation: fused_activation(litesmith_graph::ops::Activation::Tanh)?,
                cell_clip: 0.0,
                projection_clip: 0.0,
                asymmetric_inputs: false,
            };
            let lstm =
                Lstm::new(LstmGeometry { sequence, inputs, cells, outputs: cells }, &spec, cx.isa).map_err(refused)?;
            let (bytes, tables) = (lstm.scratch_bytes(), lstm.packed_bytes());
            let kernel = Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
                let (inputs, [output, state, _, _, hidden, cell], scratch) = io.split_states()?;
                let states = [hidden.as_mut_slice(), cell.as_mut_slice()];
                let scratch = &mut scratch.as_mut_slice()[..bytes];
                lstm.run(context, inputs.get(0), output.as_mut_slice(), cells, states, scratch);
                state.as_mut_slice::<f32>()[..batch * cells].copy_from_slice(&cell.as_slice::<f32>()[..batch * cells]);
                Ok(())
            });
            Ok(kernel.with_scratch(bytes).with_tables(tables))
        }
        _ => Err(cx.no_kernel()),
    }
}

const U8: DType = DType::U8;

fn plan_basic_quantized(cx: &NodeContext<'_>, [batch, inputs, cells]: [usize; 3]) -> Result<Kernel> {
    let scale = |index: usize| Ok(quant_params(cx.input(index)?)?.scale);
    let spec = BasicLstmSpec {
        inputs,
        cells,
        weights: cx.constant(LstmOp::BASIC_WEIGHTS, "weights")?,
        weights_zero_point: quant_params(cx.input(LstmOp::BASIC_WEIGHTS)?)?.zero_point,
        bias: cx.constant(LstmOp::BASIC_BIAS, "bias")?,
        bias_scale: scale(LstmOp::BASIC_BIAS)?,
        cell_scale: quant_params(cx.graph.tensor(cx.node.outputs[1]))?.scale,
    };
    let lstm = BasicLstm::new(&spec).map_err(refused)?;
    let tables = lstm.packed_bytes();
    let kernel = Kernel::new(cx.kernel_name(DType::U8), move |context, mut io| {
        let (inputs, [output, state, _, sums, hidden, cell], _) = io.split_states()?;
        let (rows, sums) = (batch * cells, &mut sums.as_mut_slice::<i16>()[..lstm.sums_len(batch)]);
        let (hidden, cell) = (&mut hidden.as_mut_slice()[..rows], &mut cell.as_mut_slice()[..rows]);
        lstm.run(context, inputs.get(0), hidden, cell, sums);
        output.as_mut_slice()[..rows].copy_from_slice(hidden);
        state.as_mut_slice()[..rows].copy_from_slice(cell);
        Ok(())
    });
    Ok(kernel.with_tables(tables))
}

pub(super) fn plan_step(cx: &NodeContext<'_>, op: &LstmOp) -> Result<Kernel> {
    if op.is_basic {
        return plan_basic(cx);
    }
    let [batch, _] = cx.input(0)?.shape[..] else { return Err(cx.no_kernel()) };
    let full = Full {
        sequence: SequenceGeometry { batch, steps: 1, time_major: true, backward: false },
        activation: op.activation,
        cell_clip: op.cell_clip,
        projection_clip: op.projection_clip,
        asymmetric_inputs: op.asymmetric_quantize_inputs,
        intermediates: &op.intermediates,
        at: LstmInputs::FULL,
    };
    plan_full(cx, &full)
}

fn plan_full(cx: &NodeContext<'_>, full: &Full<'_>) -> Result<Kernel> {
    let dtypes = [
        cx.input(0)?,
        cx.input(full.at.input_weights + 3)?,
        cx.output()?,
        cx.input(full.at.output_state)?,
        cx.input(full.at.cell_state)?,
    ]
    .map(|tensor| tensor.dtype);
    match dtypes {
        [DType::F32, DType::F32 | DType::I8 | DType::U8, DType::F32, DType::F32, DType::F32] => plan_float(cx, full),
        [DType::I8, DType::I8, DType::I8, DType::I8, DType::I16] => plan_quantized(cx, full),
        _ => Err(cx.no_kernel()),
    }
}

fn geometry(cx: &NodeContext<'_>, full: &Full<'_>) -> Result<LstmGeometry> {
    let [cells, inputs] = cx.input(full.at.input_weights + 3)?.shape[..] else { return Err(cx.no_kernel()) };
    let outputs = cx.input(full.at.recurrent_weights + 3)?.shape.last().copied().unwrap_or(0);
    Ok(LstmGeometry { sequence: full.sequence, inputs, cells, outputs })
}

/// The parts of each gate, by its place among the four.
fn gates<T>(cx: &NodeContext<'_>, full: &Full<'_>, part: impl Fn(usize) -> Result<T>) -> Result<Gates<T>> {
    let input = cx.optional(full.at.input_weights).map(|_| part(0)).transpose()?;
    Ok(Gates { input, forget: part(1)?, cell: part(2)?, output: part(3)? })
}

/// Where the peephole of a gate is, if it has one; the cell's new value has none.
fn peephole_index(cx: &NodeContext<'_>, full: &Full<'_>, gate: usize) -> Option<usize> {
    let index = [Some(0), Some(1), None, Some(2)].get(gate).copied().flatten()? + full.at.peepholes;
    cx.optional(index).map(|_| index)
}

/// Where the layer normalization of the first gate is, if there is one.
fn norms(cx: &NodeContext<'_>, full: &Full<'_>) -> Option<usize> {
    full.at.norms.filter(|norms| cx.optional(norms + 1).is_some())
}

/// Constant weights of a layer with float activations.
pub(super) fn float_weights<'a>(cx: &NodeContext<'a>, index: usize, name: &str) -> Result<RecurrentWeights<'a>> {
    match cx.input(index)?.dtype {
        DType::F32 => Ok(RecurrentWeights::F32(cx.constant(index, name)?)),
        DType::I8 => {
            let Scaled { data, scale } = scaled(cx, index, name)?;
            Ok(RecurrentWeights::I8 { data, scale })
        }
        // See weights::signed_weights.
        DType::U8 => {
            let Scaled { data, scale } = scaled::<u8>(cx, index, name)?;
            Ok(RecurrentWeights::I8 { data: bytemuck::cast_slice(data), scale })
        }
        _ => Err(cx.no_kernel()),
    }
}

pub(super) fn optional<'a, T: Element>(cx: &NodeContext<'a>, index: usize, name: &str) -> Result<Option<&'a [T]>> {
    cx.optional(index).map(|_| cx.constant(index, name)).transpose()
}

/// A constant of one scale and zero point 0.
pub(super) fn scaled<'a, T: Element>(cx: &NodeContext<'a>, index: usize, name: &str) -> Result<Scaled<'a, T>> {
    Ok(Scaled { data: cx.constant(index, name)?, scale: symmetric_scale(cx.input(index)?)? })
}

fn symmetric_scale(tensor: &Tensor) -> Result<f32> {
    let place = || format!("tensor \"{}\"", tensor.name);
    match tensor.quantization.as_ref().and_then(litesmith_graph::Quantization::as_per_tensor) {
        Some((scale, 0)) => Ok(scale),
        Some((_, zero_point)) => Err(Error::unsupported(place(), format!("weights with zero point {zero_point}"))),
        None => Err(Error::malformed(place(), format!("{} weights need one scale", tensor.dtype))),
    }
}

/// A layer with float activations.
fn float_layer(cx: &NodeContext<'_>, full: &Full<'_>) -> Result<Lstm> {
    let geometry = geometry(cx, full)?;
    let norms = norms(cx, full);
    let spec = LstmSpec {
        gates: gates(cx, full, |gate| {
            let peephole = peephole_index(cx, full, gate);
            Ok(LstmGate {
                input: float_weights(cx, full.at.input_weights + gate, "weights")?,
                recurrent: float_weights(cx, full.at.recurrent_weights + gate, "recurrent weights")?,
                peephole: peephole.map(|index| float_weights(cx, index, "peephole")).transpose()?,
                norm: norms.map(|norms| cx.constant(norms + gate, "layer normalization")).transpose()?,
                bias: cx.constant(full.at.biases + gate, "bias")?,
            })
        })?,
        diagonal: cx.input(full.at.recurrent_weights + 3)?.shape.len() == 1,
        projection: match cx.optional(full.at.projection) {
            Some(_) => Some(float_weights(cx, full.at.projection, "projection")?),
            None => None,
        },
        projection_bias: optional(cx, full.at.projection + 1, "projection bias")?,
        activation: fused_activation(full.activation)?,
        cell_clip: full.cell_clip,
        projection_clip: full.projection_clip,
        asymmetric_inputs: full.asymmetric_inputs,
    };
    Lstm::new(geometry, &spec, cx.isa).map_err(refused)
}

/// The name of the kernel of a layer with float activations.
fn float_name(cx: &NodeContext<'_>, full: &Full<'_>) -> Result<String> {
    let hybrid = cx.input(full.at.input_weights + 3)?.dtype != DType::F32;
    Ok(if hybrid { cx.hybrid_name() } else { cx.kernel_name(DType::F32) })
}

fn plan_float(cx: &NodeContext<'_>, full: &Full<'_>) -> Result<Kernel> {
    let (lstm, outputs) = (float_layer(cx, full)?, geometry(cx, full)?.outputs);
    let (bytes, tables) = (lstm.scratch_bytes(), lstm.packed_bytes());
    let kernel = Kernel::new(float_name(cx, full)?, move |context, mut io| {
        let (inputs, [output, hidden, cell], scratch) = io.split_states()?;
        let states = [hidden.as_mut_slice(), cell.as_mut_slice()];
        let scratch = &mut scratch.as_mut_slice()[..bytes];
        lstm.run(context, inputs.get(0), output.as_mut_slice(), outputs, states, scratch);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes).with_tables(tables))
}

pub(super) fn plan_bidirectional(cx: &NodeContext<'_>, op: &BidirectionalSequenceLstm) -> Result<Kernel> {
    let [first, second, _] = cx.input(0)?.shape[..] else { return Err(cx.no_kernel()) };
    let [steps, batch] = if op.time_major { [first, second] } else { [second, first] };
    let full = |at: LstmInputs, backward: bool| Full {
        sequence: SequenceGeometry { batch, steps, time_major: op.time_major, backward },
        activation: op.activation,
        cell_clip: op.cell_clip,
        projection_clip: op.projection_clip,
        asymmetric_inputs: op.asymmetric_quantize_inputs,
        intermediates: &[],
        at,
    };
    let (forward, backward) = (full(LstmInputs::FORWARD, false), full(LstmInputs::BACKWARD, true));
    let states = cx.node.op.state_inputs().iter().map(|&index| Ok(cx.input(index)?.dtype));
    let outputs = cx.node.outputs.iter().map(|&id| Ok(cx.graph.tensor(id).dtype));
    let floats = states.chain(outputs).chain([Ok(cx.input(0)?.dtype)]).collect::<Result<Vec<_>>>()?;
    if floats.iter().any(|&dtype| dtype != DType::F32) {
        return Err(cx.no_kernel());
    }
    let layers = [float_layer(cx, &forward)?, float_layer(cx, &backward)?];
    let [left, right] = [geometry(cx, &forward)?.outputs, geometry(cx, &backward)?.outputs];
    let bytes = layers.iter().map(Lstm::scratch_bytes).max().unwrap_or(0);
    let tables = layers.iter().map(Lstm::packed_bytes).sum();
    let merged = op.merge_outputs;
    let kernel = Kernel::new(float_name(cx, &forward)?, move |context, mut io| {
        let run =
            |layer: &Lstm, x: &[f32], y: &mut [f32], stride: usize, states: [&mut Buffer; 2], scratch: &mut Buffer| {
                let states = states.map(|state| state.as_mut_slice());
                layer.run(context, x, y, stride, states, &mut scratch.as_mut_slice()[..bytes]);
            };
        let [forward, backward] = &layers;
        if merged {
            let (inputs, [output, hidden, cell, back_hidden, back_cell], scratch) = io.split_states()?;
            let (x, y) = (inputs.get(0), output.as_mut_slice());
            run(forward, x, y, left + right, [hidden, cell], scratch);
            run(backward, x, &mut y[left..], left + right, [back_hidden, back_cell], scratch);
        } else {
            let (inputs, [output, back_output, hidden, cell, back_hidden, back_cell], scratch) = io.split_states()?;
            run(forward, inputs.get(0), output.as_mut_slice(), left, [hidden, cell], scratch);
            run(backward, inputs.get(0), back_output.as_mut_slice(), right, [back_hidden, back_cell], scratch);
        }
        Ok(())
    });
    Ok(kernel.with_scratch(bytes).with_tables(tables))
}

fn plan_quantized(cx: &NodeContext<'_>, full: &Full<'_>) -> Result<Kernel> {
    let geometry = geometry(cx, full)?;
    if full.intermediates.len() != 5 {
        let got = full.intermediates.len();
        return Err(Error::malformed("", format!("got {got} intermediate tensors, an int8 layer has 5")));
    }
    let norms = norms(cx, full);
    let intermediate = |index: usize| cx.graph.tensor(full.intermediates[index]);
    let cell_scale = match cx.input(full.at.cell_state)?.quantization.as_ref().and_then(|found| found.as_per_tensor()) {
        Some((scale, 0)) => scale,
        _ => return Err(Error::malformed("", "the cell state needs one scale and zero point 0")),
    };
    let cell_exponent = cell_scale.log2().round();
    if (cell_scale.log2() - cell_exponent).abs() > 1e-3 {
        return Err(Error::malformed("", format!("the cell state has scale {cell_scale}, expected a power of two")));
    }
    let spec = QuantizedLstmSpec {
        input: quant_params(cx.input(0)?)?,
        output: quant_params(cx.input(full.at.output_state)?)?,
        hidden: quant_params(intermediate(4))?,
        cell_exponent: cell_exponent as i32,
        gates: gates(cx, full, |gate| {
            let peephole = peephole_index(cx, full, gate);
            let norm = |norms: usize| -> Result<_> {
                let norm = scaled(cx, norms + gate, "layer normalization")?;
                Ok((norm, quant_params(intermediate(gate))?.scale))
            };
            Ok(QuantizedGate {
                input: scaled(cx, full.at.input_weights + gate, "weights")?,
                recurrent: scaled(cx, full.at.recurrent_weights + gate, "recurrent weights")?,
                peephole: peephole.map(|index| scaled(cx, index, "peephole")).transpose()?,
                norm: norms.map(norm).transpose()?,
                bias: cx.constant(full.at.biases + gate, "bias")?,
            })
        })?,
        projection: match cx.optional(full.at.projection) {
            Some(_) => Some(QuantizedProjection {
                weights: scaled(cx, full.at.projection, "projection")?,
                bias: optional(cx, full.at.projection + 1, "projection bias")?,
            }),
            None => None,
        },
        cell_clip: full.cell_clip,
        projection_clip: full.projection_clip,
    };
    let lstm = QuantizedLstm::new(geometry, &spec).map_err(refused)?;
    let (bytes, tables) = (lstm.scratch_bytes(), lstm.packed_bytes());
    let kernel = Kernel::new(cx.kernel_name(DType::I8), move |context, mut io| {
        let (inputs, [output, hidden, cell], scratch) = io.split_states()?;
        let (hidden, cell) = (hidden.as_mut_slice(), cell.as_mut_slice());
        lstm.run(context, inputs.get(0), output.as_mut_slice(), hidden, cell, &mut scratch.as_mut_slice()[..bytes]);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes).with_tables(tables))
}

//! LSTM layers.

use litesmith_graph::ops::{Lstm as LstmOp, UnidirectionalSequenceLstm, full_lstm as at};
use litesmith_graph::{DType, Error, Result, Tensor, TensorId};
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
    };
    plan_full(cx, &full)
}

pub(super) fn plan_step(cx: &NodeContext<'_>, op: &LstmOp) -> Result<Kernel> {
    let [batch, _] = cx.input(0)?.shape[..] else { return Err(cx.no_kernel()) };
    let full = Full {
        sequence: SequenceGeometry { batch, steps: 1, time_major: true, backward: false },
        activation: op.activation,
        cell_clip: op.cell_clip,
        projection_clip: op.projection_clip,
        asymmetric_inputs: op.asymmetric_quantize_inputs,
        intermediates: &op.intermediates,
    };
    plan_full(cx, &full)
}

fn plan_full(cx: &NodeContext<'_>, full: &Full<'_>) -> Result<Kernel> {
    let dtypes = [
        cx.input(0)?,
        cx.input(at::INPUT_WEIGHTS + 3)?,
        cx.output()?,
        cx.input(at::OUTPUT_STATE)?,
        cx.input(at::CELL_STATE)?,
    ]
    .map(|tensor| tensor.dtype);
    match dtypes {
        [DType::F32, DType::F32 | DType::I8, DType::F32, DType::F32, DType::F32] => plan_float(cx, full),
        [DType::I8, DType::I8, DType::I8, DType::I8, DType::I16] => plan_quantized(cx, full),
        _ => Err(cx.no_kernel()),
    }
}

fn geometry(cx: &NodeContext<'_>, full: &Full<'_>) -> Result<LstmGeometry> {
    let [cells, inputs] = cx.input(at::INPUT_WEIGHTS + 3)?.shape[..] else { return Err(cx.no_kernel()) };
    let outputs = cx.output()?.shape.last().copied().unwrap_or(0);
    Ok(LstmGeometry { sequence: full.sequence, inputs, cells, outputs })
}

/// The parts of each gate, by its place among the four.
fn gates<T>(cx: &NodeContext<'_>, part: impl Fn(usize) -> Result<T>) -> Result<Gates<T>> {
    let input = cx.optional(at::INPUT_WEIGHTS).map(|_| part(0)).transpose()?;
    Ok(Gates { input, forget: part(1)?, cell: part(2)?, output: part(3)? })
}

/// Where the peephole of a gate is; the cell's new value has none.
fn peephole_index(gate: usize) -> Option<usize> {
    [Some(at::PEEPHOLES), Some(at::PEEPHOLES + 1), None, Some(at::PEEPHOLES + 2)].get(gate).copied().flatten()
}

/// Constant weights of a layer with float activations.
pub(super) fn float_weights<'a>(cx: &NodeContext<'a>, index: usize, name: &str) -> Result<RecurrentWeights<'a>> {
    match cx.input(index)?.dtype {
        DType::F32 => Ok(RecurrentWeights::F32(cx.constant(index, name)?)),
        DType::I8 => {
            let Scaled { data, scale } = scaled(cx, index, name)?;
            Ok(RecurrentWeights::I8 { data, scale })
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

fn plan_float(cx: &NodeContext<'_>, full: &Full<'_>) -> Result<Kernel> {
    let geometry = geometry(cx, full)?;
    let normed = cx.optional(at::NORMS + 1).is_some();
    let spec = LstmSpec {
        gates: gates(cx, |gate| {
            let peephole = peephole_index(gate).filter(|&index| cx.optional(index).is_some());
            Ok(LstmGate {
                input: float_weights(cx, at::INPUT_WEIGHTS + gate, "weights")?,
                recurrent: float_weights(cx, at::RECURRENT_WEIGHTS + gate, "recurrent weights")?,
                peephole: peephole.map(|index| float_weights(cx, index, "peephole")).transpose()?,
                norm: normed.then(|| cx.constant(at::NORMS + gate, "layer normalization")).transpose()?,
                bias: cx.constant(at::BIASES + gate, "bias")?,
            })
        })?,
        diagonal: cx.input(at::RECURRENT_WEIGHTS + 3)?.shape.len() == 1,
        projection: match cx.optional(at::PROJECTION) {
            Some(_) => Some(float_weights(cx, at::PROJECTION, "projection")?),
            None => None,
        },
        projection_bias: optional(cx, at::PROJECTION_BIAS, "projection bias")?,
        activation: fused_activation(full.activation)?,
        cell_clip: full.cell_clip,
        projection_clip: full.projection_clip,
        asymmetric_inputs: full.asymmetric_inputs,
    };
    let lstm = Lstm::new(geometry, &spec, cx.isa).map_err(refused)?;
    let (bytes, tables) = (lstm.scratch_bytes(), lstm.packed_bytes());
    let hybrid = cx.input(at::INPUT_WEIGHTS + 3)?.dtype == DType::I8;
    let name = if hybrid { cx.hybrid_name() } else { cx.kernel_name(DType::F32) };
    let kernel = Kernel::new(name, move |context, mut io| {
        let (inputs, [output, hidden, cell], scratch) = io.split_states()?;
        let states = [hidden.as_mut_slice(), cell.as_mut_slice()];
        lstm.run(
            context,
            inputs.get(0),
            output.as_mut_slice(),
            geometry.outputs,
            states,
            &mut scratch.as_mut_slice()[..bytes],
        );
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
    let normed = cx.optional(at::NORMS + 1).is_some();
    let intermediate = |index: usize| cx.graph.tensor(full.intermediates[index]);
    let cell_scale = match cx.input(at::CELL_STATE)?.quantization.as_ref().and_then(|found| found.as_per_tensor()) {
        Some((scale, 0)) => scale,
        _ => return Err(Error::malformed("", "the cell state needs one scale and zero point 0")),
    };
    let cell_exponent = cell_scale.log2().round();
    if (cell_scale.log2() - cell_exponent).abs() > 1e-3 {
        return Err(Error::malformed("", format!("the cell state has scale {cell_scale}, expected a power of two")));
    }
    let spec = QuantizedLstmSpec {
        input: quant_params::<i8>(cx.input(0)?)?,
        output: quant_params::<i8>(cx.input(at::OUTPUT_STATE)?)?,
        hidden: quant_params::<i8>(intermediate(4))?,
        cell_exponent: cell_exponent as i32,
        gates: gates(cx, |gate| {
            let peephole = peephole_index(gate).filter(|&index| cx.optional(index).is_some());
            let norm = || -> Result<_> {
                let norm = scaled(cx, at::NORMS + gate, "layer normalization")?;
                Ok((norm, quant_params::<i16>(intermediate(gate))?.scale))
            };
            Ok(QuantizedGate {
                input: scaled(cx, at::INPUT_WEIGHTS + gate, "weights")?,
                recurrent: scaled(cx, at::RECURRENT_WEIGHTS + gate, "recurrent weights")?,
                peephole: peephole.map(|index| scaled(cx, index, "peephole")).transpose()?,
                norm: normed.then(norm).transpose()?,
                bias: cx.constant(at::BIASES + gate, "bias")?,
            })
        })?,
        projection: match cx.optional(at::PROJECTION) {
            Some(_) => Some(QuantizedProjection {
                weights: scaled(cx, at::PROJECTION, "projection")?,
                bias: optional(cx, at::PROJECTION_BIAS, "projection bias")?,
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

//! Plain recurrent layers.

use litesmith_graph::ops::{Activation, BidirectionalSequenceRnn, Rnn as RnnOp, UnidirectionalSequenceRnn};
use litesmith_graph::{DType, Result};
use litesmith_kernels::recurrent::SequenceGeometry;
use litesmith_kernels::rnn::{Rnn, RnnGeometry, RnnSpec};

use super::lstm::float_weights;
use super::{NodeContext, fused_activation, refused};
use crate::kernel::Kernel;

pub(super) fn plan_step(cx: &NodeContext<'_>, op: &RnnOp) -> Result<Kernel> {
    let batch = cx.input(0)?.shape.first().copied().unwrap_or(0);
    let sequence = SequenceGeometry { batch, steps: 1, time_major: true, backward: false };
    plan(cx, sequence, op.activation, op.asymmetric_quantize_inputs)
}

pub(super) fn plan_unidirectional(cx: &NodeContext<'_>, op: &UnidirectionalSequenceRnn) -> Result<Kernel> {
    let [first, second, _] = cx.input(0)?.shape[..] else { return Err(cx.no_kernel()) };
    let [steps, batch] = if op.time_major { [first, second] } else { [second, first] };
    let sequence = SequenceGeometry { batch, steps, time_major: op.time_major, backward: false };
    plan(cx, sequence, op.activation, op.asymmetric_quantize_inputs)
}

fn plan(cx: &NodeContext<'_>, sequence: SequenceGeometry, activation: Activation, asymmetric: bool) -> Result<Kernel> {
    if cx.output()?.dtype != DType::F32 {
        return Err(cx.no_kernel());
    }
    let (rnn, units) = layer(cx, 1, sequence, activation, asymmetric)?;
    let (bytes, tables) = (rnn.scratch_bytes(), rnn.packed_bytes());
    let kernel = Kernel::new(name(cx)?, move |context, mut io| {
        let (inputs, [output, state], scratch) = io.split_states()?;
        let scratch = &mut scratch.as_mut_slice()[..bytes];
        rnn.run(context, inputs.get(0), output.as_mut_slice(), units, state.as_mut_slice(), scratch);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes).with_tables(tables))
}

fn name(cx: &NodeContext<'_>) -> Result<String> {
    Ok(if cx.input(1)?.dtype != DType::F32 { cx.hybrid_name() } else { cx.kernel_name(DType::F32) })
}

/// The layer whose weights are input `first`, and its units.
fn layer(
    cx: &NodeContext<'_>,
    first: usize,
    sequence: SequenceGeometry,
    activation: Activation,
    asymmetric: bool,
) -> Result<(Rnn, usize)> {
    let dtypes = [cx.input(0)?, cx.input(first + 2)?, cx.input(first + 3)?].map(|tensor| tensor.dtype);
    if dtypes != [DType::F32; 3] {
        return Err(cx.no_kernel());
    }
    let [units, inputs] = cx.input(first)?.shape[..] else { return Err(cx.no_kernel()) };
    let spec = RnnSpec {
        input: float_weights(cx, first, "weights")?,
        recurrent: float_weights(cx, first + 1, "recurrent weights")?,
        bias: cx.constant(first + 2, "bias")?,
        activation: fused_activation(activation)?,
        asymmetric_inputs: asymmetric,
    };
    Ok((Rnn::new(RnnGeometry { sequence, inputs, units }, &spec, cx.isa).map_err(refused)?, units))
}

pub(super) fn plan_bidirectional(cx: &NodeContext<'_>, op: &BidirectionalSequenceRnn) -> Result<Kernel> {
    let [first, second, _] = cx.input(0)?.shape[..] else { return Err(cx.no_kernel()) };
    let [steps, batch] = if op.time_major { [first, second] } else { [second, first] };
    if cx.node.outputs.iter().any(|&id| cx.graph.tensor(id).dtype != DType::F32) {
        return Err(cx.no_kernel());
    }
    let plan = |first: usize, backward: bool| {
        let sequence = SequenceGeometry { batch, steps, time_major: op.time_major, backward };
        layer(cx, first, sequence, op.activation, op.asymmetric_quantize_inputs)
    };
    let ((forward, left), (backward, right)) = (plan(1, false)?, plan(5, true)?);
    let bytes = forward.scratch_bytes().max(backward.scratch_bytes());
    let tables = forward.packed_bytes() + backward.packed_bytes();
    let merged = op.merge_outputs;
    let kernel = Kernel::new(name(cx)?, move |context, mut io| {
        if merged {
            let (inputs, [output, state, back_state], scratch) = io.split_states()?;
            let (x, y, scratch) = (inputs.get(0), output.as_mut_slice(), &mut scratch.as_mut_slice()[..bytes]);
            forward.run(context, x, y, left + right, state.as_mut_slice(), scratch);
            // Nothing stands behind the forward rows of an empty sequence.
            if !y.is_empty() {
                backward.run(context, x, &mut y[left..], left + right, back_state.as_mut_slice(), scratch);
            }
        } else {
            let (inputs, [output, back_output, state, back_state], scratch) = io.split_states()?;
            let (x, scratch) = (inputs.get(0), &mut scratch.as_mut_slice()[..bytes]);
            forward.run(context, x, output.as_mut_slice(), left, state.as_mut_slice(), scratch);
            backward.run(context, x, back_output.as_mut_slice(), right, back_state.as_mut_slice(), scratch);
        }
        Ok(())
    });
    Ok(kernel.with_scratch(bytes).with_tables(tables))
}

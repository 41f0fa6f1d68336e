//! Plain recurrent layers.

use litesmith_graph::ops::{Activation, Rnn as RnnOp, UnidirectionalSequenceRnn};
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
    let dtypes = [cx.input(0)?, cx.input(3)?, cx.input(4)?, cx.output()?].map(|tensor| tensor.dtype);
    if dtypes != [DType::F32; 4] {
        return Err(cx.no_kernel());
    }
    let [units, inputs] = cx.input(1)?.shape[..] else { return Err(cx.no_kernel()) };
    let spec = RnnSpec {
        input: float_weights(cx, 1, "weights")?,
        recurrent: float_weights(cx, 2, "recurrent weights")?,
        bias: cx.constant(3, "bias")?,
        activation: fused_activation(activation)?,
        asymmetric_inputs: asymmetric,
    };
    let rnn = Rnn::new(RnnGeometry { sequence, inputs, units }, &spec, cx.isa).map_err(refused)?;
    let (bytes, tables) = (rnn.scratch_bytes(), rnn.packed_bytes());
    let name = if cx.input(1)?.dtype == DType::I8 { cx.hybrid_name() } else { cx.kernel_name(DType::F32) };
    let kernel = Kernel::new(name, move |context, mut io| {
        let (inputs, [output, state], scratch) = io.split_states()?;
        let scratch = &mut scratch.as_mut_slice()[..bytes];
        rnn.run(context, inputs.get(0), output.as_mut_slice(), state.as_mut_slice(), scratch);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes).with_tables(tables))
}

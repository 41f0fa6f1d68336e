//! Ops that only rearrange elements: one copy for each output, the same for every type of whole bytes.

use litesmith_graph::ops::Rearrangement;
use litesmith_graph::{DType, Error, Op, Result, ops};
use litesmith_kernels::Numerics;
use litesmith_kernels::rearrange::{Rearrange, Steps};

use super::{NodeContext, refused, same_quantization};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Kernel> {
    let inputs = cx.graph.node_tensors(&cx.node.inputs);
    let Some(found) = cx.node.op.rearrangement(&inputs) else { return Err(cx.no_kernel()) };
    let (value, mut outputs) = found?;
    let input = cx.input(value)?;
    for &id in &cx.node.outputs {
        let output = cx.graph.tensor(id);
        if input.dtype != output.dtype {
            return Err(cx.no_kernel());
        }
        same_quantization(input, output)?;
    }
    if outputs.len() != cx.node.outputs.len() {
        return Err(Error::malformed("", format!("got {} outputs, expected {}", cx.node.outputs.len(), outputs.len())));
    }
    if let (Op::ResizeNearestNeighbor(op), DType::U8, Numerics::Litert) = (&cx.node.op, input.dtype, cx.numerics())
        && !op.align_corners
        && !op.half_pixel_centers
    {
        outputs.iter_mut().for_each(|output| nearest_in_fixed_point(&input.shape, &mut output.loops));
    }
    let (elements, bits) = (input.elements()?, input.dtype.bits());
    if bits == 0 || !bits.is_multiple_of(8) {
        return Err(cx.no_kernel());
    }
    let copies = outputs.into_iter().map(|output| kernel(output, elements, bits / 8)).collect::<Result<Vec<_>>>()?;
    Ok(Kernel::new(cx.copy_name(), move |context, io| {
        let x = io.inputs.get(value);
        for ((copy, buffer), &bytes) in copies.iter().zip(io.outputs.iter_mut()).zip(io.output_bytes) {
            copy.run(context, x, &mut buffer.as_mut_slice()[..bytes]);
        }
        Ok(())
    }))
}

/// The copy that fills one output from an input of `len` elements of `bytes` bytes.
pub(super) fn kernel(output: Rearrangement, len: usize, bytes: usize) -> Result<Rearrange> {
    let loops = output.loops.into_iter().map(|steps| match steps {
        ops::Steps::Even { start, step, count } => Steps::Even { start, step, count },
        ops::Steps::Listed(steps) => Steps::Listed(steps),
    });
    Rearrange::new(loops.collect(), len, bytes).map_err(refused)
}

/// LiteRT's optimized kernel for uint8 finds pixels with a scale of 16 fractional bits, rounded up
/// (`optimized_ops.h`, `ResizeNearestNeighbor`).
fn nearest_in_fixed_point(shape: &[usize], loops: &mut [ops::Steps]) {
    for axis in [1, 2] {
        let stride: usize = shape[axis + 1..].iter().product();
        let (input, count) = (shape[axis] as u128, loops[axis].count() as u128);
        let place = |index: u128| ((index * ((input << 16) / count + 1)) >> 16).min(input - 1) as usize * stride;
        loops[axis] = ops::Steps::Listed((0..count).map(place).collect());
    }
}

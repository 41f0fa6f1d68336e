//! Ops that only rearrange elements: one copy for each output, the same for every type of whole bytes.

use bytemuck::Pod;
use litesmith_graph::{DType, Error, Op, Result};
use litesmith_kernels::Numerics;
use litesmith_kernels::rearrange::Rearrange;

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
    let elements = input.elements()?;
    let copies = outputs
        .into_iter()
        .map(|output| Rearrange::new(output.loops, elements).map_err(refused))
        .collect::<Result<Vec<_>>>()?;
    match input.dtype.bits() {
        8 => Ok(kernel::<u8>(cx, value, copies)),
        16 => Ok(kernel::<u16>(cx, value, copies)),
        32 => Ok(kernel::<u32>(cx, value, copies)),
        64 => Ok(kernel::<u64>(cx, value, copies)),
        _ => Err(cx.no_kernel()),
    }
}

/// LiteRT's optimized kernel for uint8 finds pixels with a scale of 16 fractional bits, rounded up
/// (`optimized_ops.h`, `ResizeNearestNeighbor`).
fn nearest_in_fixed_point(shape: &[usize], loops: &mut [Vec<usize>]) {
    for axis in [1, 2] {
        let stride: usize = shape[axis + 1..].iter().product();
        let (input, count) = (shape[axis] as u128, loops[axis].len() as u128);
        for (index, place) in loops[axis].iter_mut().enumerate() {
            let pixel = ((index as u128 * ((input << 16) / count + 1)) >> 16).min(input - 1);
            *place = pixel as usize * stride;
        }
    }
}

fn kernel<T: Pod>(cx: &NodeContext<'_>, value: usize, copies: Vec<Rearrange>) -> Kernel {
    Kernel::new(cx.copy_name(), move |_, io| {
        let x = io.inputs.get::<T>(value);
        for ((copy, buffer), bytes) in copies.iter().zip(io.outputs.iter_mut()).zip(io.output_bytes) {
            copy.forward(x, &mut buffer.as_mut_slice::<T>()[..bytes / size_of::<T>()]);
        }
        Ok(())
    })
}

//! PAD, PADV2, and SPACE_TO_BATCH_ND, which pads first.

use bytemuck::Pod;
use litesmith_graph::ops::{Inputs, PaddedRearrangement, SpaceToBatchNd};
use litesmith_graph::{DType, Error, Result};
use litesmith_kernels::movement;
use litesmith_kernels::numerics::Quantized;

use super::{NodeContext, quant_params, rearrange, refused, same_quantization};
use crate::kernel::Kernel;

/// PAD; PADV2 where input `value` is what to pad with.
pub(super) fn plan(cx: &NodeContext<'_>, value: Option<usize>) -> Result<Kernel> {
    let (input, output) = (cx.input(0)?, cx.output()?);
    let value_fits = value.is_none_or(|value| cx.input(value).is_ok_and(|value| value.dtype == output.dtype));
    if input.dtype != output.dtype || !value_fits {
        return Err(cx.no_kernel());
    }
    same_quantization(input, output)?;
    match input.dtype.bits() {
        8 => plan_typed::<u8>(cx, value),
        16 => plan_typed::<u16>(cx, value),
        32 => plan_typed::<u32>(cx, value),
        64 => plan_typed::<u64>(cx, value),
        _ => Err(cx.no_kernel()),
    }
}

/// Zero, as the quantization of the output writes it.
fn zero<T: Pod>(cx: &NodeContext<'_>) -> Result<T> {
    let output = cx.output()?;
    let point = match (&output.quantization, output.dtype) {
        (Some(_), DType::I8) => zero_point::<i8>(cx)?,
        (Some(_), DType::U8) => zero_point::<u8>(cx)?,
        (Some(_), DType::I16) => zero_point::<i16>(cx)?,
        _ => 0,
    };
    Ok(bytemuck::pod_read_unaligned(&i64::from(point).to_le_bytes()[..size_of::<T>()]))
}

fn zero_point<T: Quantized>(cx: &NodeContext<'_>) -> Result<i32> {
    Ok(quant_params::<T>(cx.output()?)?.zero_point)
}

fn plan_typed<T: Pod + Send + Sync>(cx: &NodeContext<'_>, value: Option<usize>) -> Result<Kernel> {
    let size = |size: i64| usize::try_from(size).map_err(|_| Error::malformed("", format!("padding {size}")));
    let paddings = cx.integers(1, "paddings")?;
    let paddings =
        paddings.chunks_exact(2).map(|pair| Ok((size(pair[0])?, size(pair[1])?))).collect::<Result<Vec<_>>>()?;
    let pad = movement::Pad::new(&cx.input(0)?.shape, &paddings).map_err(refused)?;
    let zero = zero::<T>(cx)?;
    Ok(Kernel::new(cx.copy_name(), move |context, mut io| {
        let (inputs, y) = io.split();
        let value = value.and_then(|value| inputs.get(value).first().copied()).unwrap_or(zero);
        pad.forward(context.pool, inputs.get(0), value, y);
        Ok(())
    }))
}

pub(super) fn plan_space_to_batch_nd(cx: &NodeContext<'_>, op: &SpaceToBatchNd) -> Result<Kernel> {
    let (input, output) = (cx.input(0)?, cx.output()?);
    if input.dtype != output.dtype {
        return Err(cx.no_kernel());
    }
    same_quantization(input, output)?;
    match input.dtype.bits() {
        8 => plan_space_to_batch_of::<u8>(cx, op),
        16 => plan_space_to_batch_of::<u16>(cx, op),
        32 => plan_space_to_batch_of::<u32>(cx, op),
        64 => plan_space_to_batch_of::<u64>(cx, op),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_space_to_batch_of<T: Pod + Send + Sync>(cx: &NodeContext<'_>, op: &SpaceToBatchNd) -> Result<Kernel> {
    let inputs = Inputs::new(&cx.node.op, cx.graph.node_tensors(&cx.node.inputs));
    let PaddedRearrangement { paddings, padded, output } = op.resolve(&inputs)?;
    let len = litesmith_graph::elements(&padded)?;
    let blocks = rearrange::kernel(output, len, size_of::<T>())?;
    if paddings.iter().all(|&padding| padding == (0, 0)) {
        return Ok(Kernel::new(cx.copy_name(), move |context, mut io| {
            let (inputs, y) = io.split();
            blocks.run(context, inputs.get(0), y);
            Ok(())
        }));
    }
    let pad = movement::Pad::new(&cx.input(0)?.shape, &paddings).map_err(refused)?;
    let zero = zero::<T>(cx)?;
    let kernel = Kernel::new(cx.copy_name(), move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        let padded = &mut scratch.as_mut_slice::<T>()[..len];
        pad.forward(context.pool, inputs.get(0), zero, padded);
        blocks.run(context, bytemuck::cast_slice(padded), y);
        Ok(())
    });
    Ok(kernel.with_scratch(len * size_of::<T>()))
}

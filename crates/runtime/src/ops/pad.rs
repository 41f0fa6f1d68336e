//! PAD, PADV2, and SPACE_TO_BATCH_ND, which pads first.

use litesmith_graph::ops::{Inputs, PaddedRearrangement, SpaceToBatchNd};
use litesmith_graph::{DType, Error, Result};
use litesmith_kernels::movement;

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
    let zero = zero(cx)?;
    let size = |size: i64| usize::try_from(size).map_err(|_| Error::malformed("", format!("padding {size}")));
    let paddings = cx.integers(1, "paddings")?;
    let paddings =
        paddings.chunks_exact(2).map(|pair| Ok((size(pair[0])?, size(pair[1])?))).collect::<Result<Vec<_>>>()?;
    let pad = movement::Pad::new(&cx.input(0)?.shape, &paddings).map_err(refused)?;
    Ok(Kernel::new(cx.copy_name(), move |context, mut io| {
        let (inputs, y) = io.split();
        let value = value.and_then(|value| inputs.get(value).get(..zero.len())).unwrap_or(&zero);
        pad.forward_bytes(context.pool, inputs.get(0), value, y);
        Ok(())
    }))
}

/// The bytes of zero, as the quantization of the output writes it, for elements of 1, 2, 4 or 8.
fn zero(cx: &NodeContext<'_>) -> Result<Vec<u8>> {
    let output = cx.output()?;
    let point = match (&output.quantization, output.dtype) {
        (Some(_), DType::I8 | DType::U8 | DType::I16) => quant_params(output)?.zero_point,
        _ => 0,
    };
    match output.dtype.bits() {
        bits @ (8 | 16 | 32 | 64) => Ok(i64::from(point).to_le_bytes()[..bits / 8].to_vec()),
        _ => Err(cx.no_kernel()),
    }
}

pub(super) fn plan_space_to_batch_nd(cx: &NodeContext<'_>, op: &SpaceToBatchNd) -> Result<Kernel> {
    let (input, output) = (cx.input(0)?, cx.output()?);
    if input.dtype != output.dtype {
        return Err(cx.no_kernel());
    }
    same_quantization(input, output)?;
    let zero = zero(cx)?;
    let inputs = Inputs::new(&cx.node.op, cx.graph.node_tensors(&cx.node.inputs));
    let PaddedRearrangement { paddings, padded, output } = op.resolve(&inputs)?;
    let len = litesmith_graph::elements(&padded)?;
    let blocks = rearrange::kernel(output, len, zero.len())?;
    if paddings.iter().all(|&padding| padding == (0, 0)) {
        return Ok(Kernel::new(cx.copy_name(), move |context, mut io| {
            let (inputs, y) = io.split();
            blocks.run(context, inputs.get(0), y);
            Ok(())
        }));
    }
    let pad = movement::Pad::new(&cx.input(0)?.shape, &paddings).map_err(refused)?;
    let bytes = len * zero.len();
    let kernel = Kernel::new(cx.copy_name(), move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        let padded = &mut scratch.as_mut_slice()[..bytes];
        pad.forward_bytes(context.pool, inputs.get(0), &zero, padded);
        blocks.run(context, padded, y);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes))
}

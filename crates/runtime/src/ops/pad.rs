//! PAD.

use bytemuck::Pod;
use litesmith_graph::{DType, Error, Result};
use litesmith_kernels::movement;
use litesmith_kernels::numerics::Quantized;

use super::{NodeContext, quant_params, refused, same_quantization};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (input, output) = (cx.input(0)?, cx.output()?);
    if input.dtype != output.dtype {
        return Err(cx.no_kernel());
    }
    same_quantization(input, output)?;
    match input.dtype {
        DType::F32 => plan_value(cx, 0.0_f32),
        DType::I8 => plan_value(cx, zero::<i8>(cx)?),
        DType::U8 => plan_value(cx, zero::<u8>(cx)?),
        DType::I16 => plan_value(cx, zero::<i16>(cx)?),
        DType::I32 => plan_value(cx, 0_i32),
        DType::I64 => plan_value(cx, 0_i64),
        _ => Err(cx.no_kernel()),
    }
}

/// Zero, as the quantization of the output writes it.
fn zero<T: Quantized>(cx: &NodeContext<'_>) -> Result<T> {
    let output = cx.output()?;
    match output.quantization {
        Some(_) => Ok(T::narrow(quant_params::<T>(output)?.zero_point)),
        None => Ok(T::narrow(0)),
    }
}

fn plan_value<T: Pod + Send + Sync>(cx: &NodeContext<'_>, value: T) -> Result<Kernel> {
    let size = |size: i64| usize::try_from(size).map_err(|_| Error::malformed("", format!("padding {size}")));
    let paddings = cx.integers(1, "paddings")?;
    let paddings =
        paddings.chunks_exact(2).map(|pair| Ok((size(pair[0])?, size(pair[1])?))).collect::<Result<Vec<_>>>()?;
    let pad = movement::Pad::new(&cx.input(0)?.shape, &paddings).map_err(refused)?;
    Ok(Kernel::new(cx.copy_name(), move |_, mut io| {
        let (inputs, y) = io.split();
        pad.forward(inputs.get(0), value, y);
        Ok(())
    }))
}

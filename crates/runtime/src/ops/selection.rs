//! ARG_MAX, ARG_MIN, TOPK_V2, CUMSUM: ops along one axis.

use bytemuck::Pod;
use litesmith_graph::{DType, Error, Result, ops::Cumsum, ops::resolve_axis};
use litesmith_kernels::selection::{AlongAxis, top_k};

use super::{NodeContext, refused};
use crate::kernel::Kernel;

fn along_axis(cx: &NodeContext<'_>) -> Result<AlongAxis> {
    let shape = &cx.input(0)?.shape;
    let axes = cx.integers(1, "axis")?;
    let &[axis] = axes.as_slice() else {
        return Err(Error::malformed("", format!("got {} axes, expected one", axes.len())));
    };
    let axis = resolve_axis(cx.node.op.name(), axis, shape.len())?;
    AlongAxis::new(cx.node.op.snake_name(), shape, axis).map_err(refused)
}

/// ARG_MAX (`largest`) or ARG_MIN.
pub(super) fn plan_position(cx: &NodeContext<'_>, largest: bool) -> Result<Kernel> {
    match cx.input(0)?.dtype {
        DType::F32 => position::<f32>(cx, largest),
        DType::I8 => position::<i8>(cx, largest),
        // Booleans are bytes of 0 and 1.
        DType::U8 | DType::Bool => position::<u8>(cx, largest),
        DType::I32 => position::<i32>(cx, largest),
        _ => Err(cx.no_kernel()),
    }
}

fn position<T: Pod + PartialOrd>(cx: &NodeContext<'_>, largest: bool) -> Result<Kernel> {
    match cx.output()?.dtype {
        DType::I32 => position_to::<T, i32>(cx, largest),
        DType::I64 => position_to::<T, i64>(cx, largest),
        _ => Err(cx.no_kernel()),
    }
}

fn position_to<T: Pod + PartialOrd, P: Pod + TryFrom<usize> + Default>(
    cx: &NodeContext<'_>,
    largest: bool,
) -> Result<Kernel> {
    let along = along_axis(cx)?;
    Ok(Kernel::new(cx.kernel_name(cx.input(0)?.dtype), move |_, mut io| {
        let (inputs, y) = io.split::<P>();
        let x = inputs.get::<T>(0);
        if largest {
            along.position(x, y, |a, b| a > b);
        } else {
            along.position(x, y, |a, b| a < b);
        }
        Ok(())
    }))
}

pub(super) fn plan_top_k(cx: &NodeContext<'_>) -> Result<Kernel> {
    match cx.input(0)?.dtype {
        DType::F32 => top_k_of::<f32>(cx, |x| x.is_nan()),
        DType::U8 => top_k_of::<u8>(cx, |_| false),
        DType::I8 => top_k_of::<i8>(cx, |_| false),
        DType::I16 => top_k_of::<i16>(cx, |_| false),
        DType::I32 => top_k_of::<i32>(cx, |_| false),
        DType::I64 => top_k_of::<i64>(cx, |_| false),
        _ => Err(cx.no_kernel()),
    }
}

fn top_k_of<T: Pod + PartialOrd>(cx: &NodeContext<'_>, is_nan: fn(T) -> bool) -> Result<Kernel> {
    let positions = cx.node.outputs.get(1).map(|&id| cx.graph.tensor(id).dtype);
    match positions {
        Some(DType::I32) => top_k_to::<T, i32>(cx, is_nan),
        Some(DType::I16) => top_k_to::<T, i16>(cx, is_nan),
        _ => Err(cx.no_kernel()),
    }
}

fn top_k_to<T: Pod + PartialOrd, P: Pod + TryFrom<usize> + Default>(
    cx: &NodeContext<'_>,
    is_nan: fn(T) -> bool,
) -> Result<Kernel> {
    let (input, output) = (cx.input(0)?, cx.output()?);
    let last = |shape: &[usize]| shape.last().copied().unwrap_or(0);
    let (size, k) = (last(&input.shape), last(&output.shape));
    if input.dtype != output.dtype || u32::try_from(size).is_err() {
        return Err(cx.no_kernel());
    }
    let kernel = Kernel::new(cx.kernel_name(input.dtype), move |_, io| {
        if let [values, positions, ..] = io.outputs {
            let values = &mut values.as_mut_slice::<T>()[..io.output_bytes[0] / size_of::<T>()];
            let positions = &mut positions.as_mut_slice::<P>()[..io.output_bytes[1] / size_of::<P>()];
            let scratch = &mut io.scratch.as_mut_slice::<u32>()[..size];
            top_k(size, k, io.inputs.get(0), values, positions, scratch, |a: T, b: T| a > b, is_nan);
        }
        Ok(())
    });
    Ok(kernel.with_scratch(size.saturating_mul(size_of::<u32>())))
}

pub(super) fn plan_cumsum(cx: &NodeContext<'_>, op: &Cumsum) -> Result<Kernel> {
    let along = along_axis(cx)?;
    let how = [op.exclusive, op.reverse];
    let name = cx.kernel_name(cx.output()?.dtype);
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => Ok(Kernel::new(name, move |_, mut io| {
            let (inputs, y) = io.split();
            along.cumulate(inputs.get(0), y, 0.0_f32, how, |a, b| a + b);
            Ok(())
        })),
        (DType::I32, DType::I32) => Ok(Kernel::new(name, move |_, mut io| {
            let (inputs, y) = io.split();
            along.cumulate(inputs.get(0), y, 0_i32, how, i32::wrapping_add);
            Ok(())
        })),
        (DType::I64, DType::I64) => Ok(Kernel::new(name, move |_, mut io| {
            let (inputs, y) = io.split();
            along.cumulate(inputs.get(0), y, 0_i64, how, i64::wrapping_add);
            Ok(())
        })),
        _ => Err(cx.no_kernel()),
    }
}

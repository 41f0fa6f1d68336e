//! ARG_MAX, ARG_MIN, TOPK_V2, CUMSUM: ops along one axis.

use bytemuck::Pod;
use litesmith_graph::{DType, Error, Result, ops::Cumsum, ops::resolve_axis};
use litesmith_kernels::selection::{AlongAxis, TopK};

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
    let wide = match cx.output()?.dtype {
        DType::I32 => false,
        DType::I64 => true,
        _ => return Err(cx.no_kernel()),
    };
    let along = along_axis(cx)?;
    Ok(Kernel::new(cx.scalar_name(cx.input(0)?.dtype), move |_, mut io| {
        let (inputs, y) = io.split::<u8>();
        let x = inputs.get::<T>(0);
        // What does not fit is 0.
        if wide {
            let y = bytemuck::cast_slice_mut::<_, i64>(y);
            along.position(x, largest, &mut |place, position| y[place] = i64::try_from(position).unwrap_or(0));
        } else {
            let y = bytemuck::cast_slice_mut::<_, i32>(y);
            along.position(x, largest, &mut |place, position| y[place] = i32::try_from(position).unwrap_or(0));
        }
        Ok(())
    }))
}

pub(super) fn plan_top_k(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (input, output) = (cx.input(0)?, cx.output()?);
    let last = |shape: &[usize]| shape.last().copied().unwrap_or(0);
    let (size, k) = (last(&input.shape), last(&output.shape));
    let top = match input.dtype {
        DType::F32 => TopK::new::<f32>(size, k),
        DType::U8 => TopK::new::<u8>(size, k),
        DType::I8 => TopK::new::<i8>(size, k),
        DType::I16 => TopK::new::<i16>(size, k),
        DType::I32 => TopK::new::<i32>(size, k),
        DType::I64 => TopK::new::<i64>(size, k),
        _ => None,
    };
    let positions = cx.node.outputs.get(1).map(|&id| cx.graph.tensor(id).dtype);
    let (Some(top), true, Some(DType::I32 | DType::I16)) = (top, input.dtype == output.dtype, positions) else {
        return Err(cx.no_kernel());
    };
    let narrow = positions == Some(DType::I16);
    let len = top.scratch_len();
    let kernel = Kernel::new(cx.scalar_name(input.dtype), move |_, io| {
        if let [values, positions, ..] = io.outputs {
            let values = &mut values.as_mut_slice::<u8>()[..io.output_bytes[0]];
            let (ranks, order) = io.scratch.as_mut_slice::<u64>().split_at_mut(len);
            let scratch = (ranks, bytemuck::cast_slice_mut(order));
            let x = io.inputs.get(0);
            // What does not fit is 0.
            if narrow {
                let positions = positions.as_mut_slice::<i16>();
                top.run(x, values, scratch, &mut |at, place| positions[at] = i16::try_from(place).unwrap_or(0));
            } else {
                let positions = positions.as_mut_slice::<i32>();
                top.run(x, values, scratch, &mut |at, place| positions[at] = i32::try_from(place).unwrap_or(0));
            }
        }
        Ok(())
    });
    // As many u64 and u32, the latter in whole u64.
    Ok(kernel.with_scratch((len + len.div_ceil(2)).saturating_mul(size_of::<u64>())))
}

pub(super) fn plan_cumsum(cx: &NodeContext<'_>, op: &Cumsum) -> Result<Kernel> {
    let along = along_axis(cx)?;
    let how = [op.exclusive, op.reverse];
    let name = cx.scalar_name(cx.output()?.dtype);
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

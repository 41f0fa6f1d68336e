//! Comparisons, LOGICAL_AND, LOGICAL_OR, and SELECT by their results.

use bytemuck::Pod;
use litesmith_graph::{DType, Result};
use litesmith_kernels::broadcast::Broadcast;
use litesmith_kernels::comparison::{Comparison, QuantizedComparison, logical_and, logical_or};
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::select::Select;

use super::{NodeContext, quant_params, refused};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: Comparison) -> Result<Kernel> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    if a.dtype != b.dtype || cx.output()?.dtype != DType::Bool {
        return Err(cx.no_kernel());
    }
    let equality = matches!(op, Comparison::Equal | Comparison::NotEqual);
    match a.dtype {
        DType::F32 => plan_plain::<f32>(cx, op),
        DType::I32 => plan_plain::<i32>(cx, op),
        DType::I64 => plan_plain::<i64>(cx, op),
        DType::Bool if equality => plan_plain::<u8>(cx, op),
        DType::I8 => plan_quantized::<i8>(cx, op),
        DType::U8 => plan_quantized::<u8>(cx, op),
        // LiteRT looks at the scales of int16 only to tell equality, and leaves the result of NOT_EQUAL without scales unset.
        DType::I16 if equality && a.quantization.is_some() => plan_quantized::<i16>(cx, op),
        DType::I16 if op != Comparison::NotEqual => plan_plain::<i16>(cx, op),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_plain<T: Pod + PartialOrd + Send + Sync>(cx: &NodeContext<'_>, op: Comparison) -> Result<Kernel> {
    let plan = broadcast(cx)?;
    Ok(Kernel::new(cx.scalar_name(cx.input(0)?.dtype), move |context, mut io| {
        let (inputs, y) = io.split::<u8>();
        op.forward::<T>(context, &plan, inputs.get(0), inputs.get(1), y);
        Ok(())
    }))
}

fn plan_quantized<T: Quantized>(cx: &NodeContext<'_>, op: Comparison) -> Result<Kernel> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    let parameters = [quant_params(a)?, quant_params(b)?];
    let comparison = QuantizedComparison::<T>::new(op, [&a.shape, &b.shape], parameters).map_err(refused)?;
    Ok(Kernel::new(cx.scalar_name(a.dtype), move |context, mut io| {
        let (inputs, y) = io.split::<u8>();
        comparison.run(context, inputs.get(0), inputs.get(1), y);
        Ok(())
    }))
}

fn broadcast(cx: &NodeContext<'_>) -> Result<Broadcast> {
    Broadcast::new(&cx.input(0)?.shape, &cx.input(1)?.shape).map_err(refused)
}

/// LOGICAL_AND if `both`, else LOGICAL_OR.
pub(super) fn plan_logical(cx: &NodeContext<'_>, both: bool) -> Result<Kernel> {
    let types = [cx.input(0)?.dtype, cx.input(1)?.dtype, cx.output()?.dtype];
    if types != [DType::Bool; 3] {
        return Err(cx.no_kernel());
    }
    let plan = broadcast(cx)?;
    Ok(Kernel::new(cx.scalar_name(DType::Bool), move |context, mut io| {
        let (inputs, y) = io.split::<u8>();
        let op = if both { logical_and } else { logical_or };
        op(context, &plan, inputs.get(0), inputs.get(1), y);
        Ok(())
    }))
}

/// SELECT and SELECT_V2, which move elements as they are, whatever their scales.
pub(super) fn plan_select(cx: &NodeContext<'_>, by_rows: bool) -> Result<Kernel> {
    let (condition, x, y, output) = (cx.input(0)?, cx.input(1)?, cx.input(2)?, cx.output()?);
    if condition.dtype != DType::Bool || x.dtype != y.dtype || x.dtype != output.dtype {
        return Err(cx.no_kernel());
    }
    let mut shape = condition.shape.clone();
    if by_rows && shape.len() == 1 && x.shape.len() > 1 {
        shape.resize(x.shape.len(), 1);
    }
    let select = Select::new(&shape, &x.shape, &y.shape).map_err(refused)?;
    match x.dtype.bits() {
        8 => Ok(select_kernel::<u8>(cx, select)),
        16 => Ok(select_kernel::<u16>(cx, select)),
        32 => Ok(select_kernel::<u32>(cx, select)),
        64 => Ok(select_kernel::<u64>(cx, select)),
        _ => Err(cx.no_kernel()),
    }
}

fn select_kernel<T: Pod + Send + Sync>(cx: &NodeContext<'_>, select: Select) -> Kernel {
    Kernel::new(cx.copy_name(), move |context, mut io| {
        let (inputs, output) = io.split::<T>();
        select.run(context, inputs.get(0), inputs.get(1), inputs.get(2), output);
        Ok(())
    })
}

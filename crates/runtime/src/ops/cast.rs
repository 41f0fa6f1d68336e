//! CAST.

use half::{bf16, f16};
use litesmith_graph::{DType, Result};
use litesmith_kernels::cast::{Number, Truth, cast};
use litesmith_kernels::packed::Packed;

use super::NodeContext;
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (input, output) = (cx.input(0)?.dtype, cx.output()?.dtype);
    match input {
        DType::F32 if packed(output).is_some() => plan_pack(cx),
        DType::I4 | DType::U4 | DType::I2 => plan_unpack(cx),
        DType::F32 => plan_from::<f32>(cx),
        DType::F64 => plan_from::<f64>(cx),
        DType::F16 => plan_from::<f16>(cx),
        DType::BF16 => plan_from::<bf16>(cx),
        DType::I8 => plan_from::<i8>(cx),
        DType::U8 => plan_from::<u8>(cx),
        DType::I16 => plan_from::<i16>(cx),
        DType::U16 => plan_from::<u16>(cx),
        DType::I32 => plan_from::<i32>(cx),
        DType::U32 => plan_from::<u32>(cx),
        DType::I64 => plan_from::<i64>(cx),
        DType::Bool => plan_from::<Truth>(cx),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_from<A: Number>(cx: &NodeContext<'_>) -> Result<Kernel> {
    match cx.output()?.dtype {
        DType::F32 => kernel::<A, f32>(cx),
        DType::F64 => kernel::<A, f64>(cx),
        DType::F16 => kernel::<A, f16>(cx),
        DType::BF16 => kernel::<A, bf16>(cx),
        DType::I8 => kernel::<A, i8>(cx),
        DType::U8 => kernel::<A, u8>(cx),
        DType::I16 => kernel::<A, i16>(cx),
        DType::U16 => kernel::<A, u16>(cx),
        DType::I32 => kernel::<A, i32>(cx),
        DType::U32 => kernel::<A, u32>(cx),
        DType::I64 => kernel::<A, i64>(cx),
        DType::Bool => kernel::<A, Truth>(cx),
        _ => Err(cx.no_kernel()),
    }
}

fn kernel<A: Number, B: Number>(cx: &NodeContext<'_>) -> Result<Kernel> {
    Ok(Kernel::new(name(cx)?, |context, mut io| {
        let (inputs, y) = io.split::<B>();
        cast::<A, B>(context, inputs.get(0), y);
        Ok(())
    }))
}

/// `cast/float32_int8/avx2`.
fn name(cx: &NodeContext<'_>) -> Result<String> {
    Ok(format!("{}/{}_{}/{}", cx.node.op.snake_name(), cx.input(0)?.dtype, cx.output()?.dtype, cx.isa))
}

/// How elements of less than a byte are packed.
pub(super) fn packed(dtype: DType) -> Option<Packed> {
    match dtype {
        DType::I4 => Some(Packed { bits: 4, signed: true }),
        DType::U4 => Some(Packed { bits: 4, signed: false }),
        DType::I2 => Some(Packed { bits: 2, signed: true }),
        _ => None,
    }
}

/// Float to packed integers: cut to the range, then towards zero.
fn plan_pack(cx: &NodeContext<'_>) -> Result<Kernel> {
    let Some(packed) = packed(cx.output()?.dtype) else { return Err(cx.no_kernel()) };
    let (min, max) = packed.range();
    Ok(Kernel::new(name(cx)?, move |_, mut io| {
        let (inputs, y) = io.split::<u8>();
        let values = inputs.get::<f32>(0);
        packed.pack(values.iter().map(|&value| (value as i32).clamp(min, max)), y);
        Ok(())
    }))
}

/// Packed integers to float.
fn plan_unpack(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (Some(packed), DType::F32) = (packed(cx.input(0)?.dtype), cx.output()?.dtype) else {
        return Err(cx.no_kernel());
    };
    Ok(Kernel::new(name(cx)?, move |_, mut io| {
        let (inputs, y) = io.split::<f32>();
        let bytes = inputs.get::<u8>(0);
        y.iter_mut().enumerate().for_each(|(index, y)| *y = packed.get(bytes, index) as f32);
        Ok(())
    }))
}

//! CAST.

use half::{bf16, f16};
use litesmith_graph::{DType, Result};
use litesmith_kernels::Isa;
use litesmith_kernels::cast::{From, Number, Truth, cast};
use litesmith_kernels::fft::Complex64;
use litesmith_kernels::packed::Packed;

use super::{NodeContext, reshape};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (input, output) = (cx.input(0)?.dtype, cx.output()?.dtype);
    match input {
        DType::F32 if packed(output).is_some() => plan_pack(cx),
        DType::I4 | DType::U4 | DType::I2 => plan_unpack(cx),
        // Else it would come by way of one number, its real part.
        DType::Complex64 if output == DType::Complex64 => reshape::plan(cx),
        _ => match (input, output) {
            // A model spends time in these: pictures, weights, and what a comparison counts.
            (DType::I8, DType::F32) => kernel::<i8, f32>(cx),
            (DType::U8, DType::F32) => kernel::<u8, f32>(cx),
            (DType::I16, DType::F32) => kernel::<i16, f32>(cx),
            (DType::I32, DType::F32) => kernel::<i32, f32>(cx),
            (DType::F16, DType::F32) => kernel::<f16, f32>(cx),
            (DType::Bool, DType::F32) => kernel::<Truth, f32>(cx),
            (DType::F32, DType::I8) => kernel::<f32, i8>(cx),
            (DType::F32, DType::U8) => kernel::<f32, u8>(cx),
            (DType::F32, DType::I16) => kernel::<f32, i16>(cx),
            (DType::F32, DType::I32) => kernel::<f32, i32>(cx),
            (DType::F32, DType::F16) => kernel::<f32, f16>(cx),
            (DType::F32, DType::Bool) => kernel::<f32, Truth>(cx),
            _ => plan_detour(cx),
        },
    }
}

fn kernel<A: Number, B: Number>(cx: &NodeContext<'_>) -> Result<Kernel> {
    Ok(Kernel::new(name(cx, cx.isa.up_to_avx2())?, |context, mut io| {
        let (inputs, y) = io.split::<B>();
        cast::<A, B>(context, inputs.get(0), y);
        Ok(())
    }))
}

fn plan_detour(cx: &NodeContext<'_>) -> Result<Kernel> {
    let from = match cx.input(0)?.dtype {
        DType::F32 => From::of::<f32>(),
        DType::F64 => From::of::<f64>(),
        DType::F16 => From::of::<f16>(),
        DType::BF16 => From::of::<bf16>(),
        DType::I8 => From::of::<i8>(),
        DType::U8 => From::of::<u8>(),
        DType::I16 => From::of::<i16>(),
        DType::U16 => From::of::<u16>(),
        DType::I32 => From::of::<i32>(),
        DType::U32 => From::of::<u32>(),
        DType::I64 => From::of::<i64>(),
        DType::Bool => From::of::<Truth>(),
        DType::Complex64 => From::of::<Complex64>(),
        _ => return Err(cx.no_kernel()),
    };
    let detour = match cx.output()?.dtype {
        DType::F32 => from.to::<f32>(),
        DType::F64 => from.to::<f64>(),
        DType::F16 => from.to::<f16>(),
        DType::BF16 => from.to::<bf16>(),
        DType::I8 => from.to::<i8>(),
        DType::U8 => from.to::<u8>(),
        DType::I16 => from.to::<i16>(),
        DType::U16 => from.to::<u16>(),
        DType::I32 => from.to::<i32>(),
        DType::U32 => from.to::<u32>(),
        DType::I64 => from.to::<i64>(),
        DType::Bool => from.to::<Truth>(),
        DType::Complex64 => from.to::<Complex64>(),
        _ => return Err(cx.no_kernel()),
    };
    Ok(Kernel::new(name(cx, Isa::Scalar)?, move |context, mut io| {
        let (inputs, y) = io.split::<u8>();
        detour.run(context, inputs.get(0), y);
        Ok(())
    }))
}

/// `cast/float32_int8/avx2`.
fn name(cx: &NodeContext<'_>, isa: Isa) -> Result<String> {
    Ok(format!("{}/{}_{}/{isa}", cx.node.op.snake_name(), cx.input(0)?.dtype, cx.output()?.dtype))
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
    Ok(Kernel::new(name(cx, Isa::Scalar)?, move |_, mut io| {
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
    Ok(Kernel::new(name(cx, Isa::Scalar)?, move |_, mut io| {
        let (inputs, y) = io.split::<f32>();
        let bytes = inputs.get::<u8>(0);
        y.iter_mut().enumerate().for_each(|(index, y)| *y = packed.get(bytes, index) as f32);
        Ok(())
    }))
}

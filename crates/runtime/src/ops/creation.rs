//! FILL, ZEROS_LIKE, RANGE, RANK, BROADCAST_ARGS and BITCAST.

use bytemuck::Pod;
use litesmith_graph::{DType, Error, Result};

use super::{NodeContext, same_quantization};
use crate::kernel::Kernel;

pub(super) fn plan_fill(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (value, output) = (cx.input(1)?, cx.output()?);
    if value.dtype != output.dtype {
        return Err(cx.no_kernel());
    }
    same_quantization(value, output)?;
    match value.dtype.bits() {
        8 => Ok(fill_kernel::<u8>(cx)),
        16 => Ok(fill_kernel::<u16>(cx)),
        32 => Ok(fill_kernel::<u32>(cx)),
        64 => Ok(fill_kernel::<u64>(cx)),
        _ => Err(cx.no_kernel()),
    }
}

fn fill_kernel<T: Pod>(cx: &NodeContext<'_>) -> Kernel {
    Kernel::new(cx.copy_name(), |_, mut io| {
        let (inputs, y) = io.split::<T>();
        y.fill(inputs.get(1).first().copied().unwrap_or(T::zeroed()));
        Ok(())
    })
}

pub(super) fn plan_zeros_like(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (input, output) = (cx.input(0)?, cx.output()?);
    // Of a quantized tensor 0 is no zero.
    if input.dtype != output.dtype || output.quantization.is_some() {
        return Err(cx.no_kernel());
    }
    Ok(Kernel::new(cx.copy_name(), |_, mut io| {
        io.split::<u8>().1.fill(0);
        Ok(())
    }))
}

/// RANGE adds the step to the number before, as LiteRT does: of floats the error adds up.
pub(super) fn plan_range(cx: &NodeContext<'_>) -> Result<Kernel> {
    let types = [cx.input(0)?.dtype, cx.input(1)?.dtype, cx.input(2)?.dtype];
    let dtype = cx.output()?.dtype;
    if types.iter().any(|&input| input != dtype) {
        return Err(cx.no_kernel());
    }
    match dtype {
        DType::F32 => Ok(range_kernel::<f32>(cx, |a, b| a + b)),
        DType::I32 => Ok(range_kernel::<i32>(cx, i32::wrapping_add)),
        DType::I64 => Ok(range_kernel::<i64>(cx, i64::wrapping_add)),
        _ => Err(cx.no_kernel()),
    }
}

fn range_kernel<T: Pod>(cx: &NodeContext<'_>, add: fn(T, T) -> T) -> Kernel {
    Kernel::new(cx.copy_name(), move |_, mut io| {
        let (inputs, y) = io.split::<T>();
        let scalar = |index: usize| inputs.get::<T>(index).first().copied().unwrap_or(T::zeroed());
        let (mut value, step) = (scalar(0), scalar(2));
        for y in y {
            *y = value;
            value = add(value, step);
        }
        Ok(())
    })
}

pub(super) fn plan_rank(cx: &NodeContext<'_>) -> Result<Kernel> {
    if cx.output()?.dtype != DType::I32 {
        return Err(cx.no_kernel());
    }
    let rank = i32::try_from(cx.input(0)?.shape.len()).unwrap_or(i32::MAX);
    Ok(Kernel::new(cx.copy_name(), move |_, mut io| {
        io.split().1.fill(rank);
        Ok(())
    }))
}

pub(super) fn plan_broadcast_args(cx: &NodeContext<'_>) -> Result<Kernel> {
    let types = [cx.input(0)?.dtype, cx.input(1)?.dtype, cx.output()?.dtype];
    match types {
        [DType::I32, DType::I32, DType::I32] => Ok(broadcast_kernel::<i32>(cx)),
        [DType::I64, DType::I64, DType::I64] => Ok(broadcast_kernel::<i64>(cx)),
        _ => Err(cx.no_kernel()),
    }
}

fn broadcast_kernel<T: Pod + PartialEq + From<bool> + std::fmt::Debug>(cx: &NodeContext<'_>) -> Kernel {
    Kernel::new(cx.copy_name(), |_, mut io| {
        let (inputs, y) = io.split::<T>();
        let (a, b, one) = (inputs.get::<T>(0), inputs.get::<T>(1), T::from(true));
        // Counted from the last axis; missing ones are 1.
        let from_end = |shape: &[T], index: usize| shape.iter().rev().nth(index).copied().unwrap_or(one);
        for (index, y) in y.iter_mut().rev().enumerate() {
            *y = match (from_end(a, index), from_end(b, index)) {
                (a, b) if a == one || a == b => b,
                (a, b) if b == one => a,
                _ => return Err(Error::invalid("", format!("{a:?} and {b:?} do not broadcast"))),
            };
        }
        Ok(())
    })
}

pub(super) fn plan_bitcast(cx: &NodeContext<'_>) -> Result<Kernel> {
    if cx.input(0)?.byte_size()? != cx.output()?.byte_size()? {
        return Err(cx.no_kernel());
    }
    Ok(Kernel::new(cx.copy_name(), |_, mut io| {
        let (inputs, y) = io.split::<u8>();
        y.copy_from_slice(inputs.get(0));
        Ok(())
    }))
}

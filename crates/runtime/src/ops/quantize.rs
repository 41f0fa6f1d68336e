//! QUANTIZE: float to integers, or integers to integers of another scale or type.

use litesmith_graph::{DType, Result};
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::quantize::{Quantize, Requantize};

use super::{NodeContext, quant_params, refused};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Kernel> {
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::I8) => plan_float::<i8>(cx),
        (DType::F32, DType::U8) => plan_float::<u8>(cx),
        (DType::F32, DType::I16) => plan_float::<i16>(cx),
        (DType::I8, DType::I8) => plan_integer::<i8, i8>(cx),
        (DType::I8, DType::U8) => plan_integer::<i8, u8>(cx),
        (DType::I8, DType::I16) => plan_integer::<i8, i16>(cx),
        (DType::U8, DType::I8) => plan_integer::<u8, i8>(cx),
        (DType::U8, DType::U8) => plan_integer::<u8, u8>(cx),
        (DType::I16, DType::I8) => plan_integer::<i16, i8>(cx),
        (DType::I16, DType::I16) => plan_integer::<i16, i16>(cx),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_float<T: Quantized>(cx: &NodeContext<'_>) -> Result<Kernel> {
    let quantize = Quantize::<T>::new(quant_params::<T>(cx.output()?)?, cx.numerics()).map_err(refused)?;
    Ok(Kernel::new(cx.kernel_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split();
        quantize.run(context, inputs.get(0), y);
        Ok(())
    }))
}

fn plan_integer<A: Quantized, B: Quantized>(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (input, output) = (quant_params::<A>(cx.input(0)?)?, quant_params::<B>(cx.output()?)?);
    let requantize = Requantize::<A, B>::new(input, output, cx.numerics()).map_err(refused)?;
    Ok(Kernel::new(cx.kernel_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split();
        requantize.run(context, inputs.get(0), y);
        Ok(())
    }))
}

//! DEQUANTIZE.

use litesmith_graph::{DType, Result};
use litesmith_kernels::dequantize::{Dequantize, dequantize_f16};
use litesmith_kernels::numerics::Quantized;

use super::{NodeContext, quant_params, refused};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Kernel> {
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::F16, DType::F32) => Ok(Kernel::new(cx.kernel_name(DType::F16), |context, mut io| {
            let (inputs, y) = io.split();
            dequantize_f16(context, inputs.get(0), y);
            Ok(())
        })),
        (DType::I8, DType::F32) => plan_integer::<i8>(cx),
        (DType::U8, DType::F32) => plan_integer::<u8>(cx),
        (DType::I16, DType::F32) => plan_integer::<i16>(cx),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_integer<T: Quantized>(cx: &NodeContext<'_>) -> Result<Kernel> {
    let dequantize = Dequantize::<T>::new(quant_params::<T>(cx.input(0)?)?).map_err(refused)?;
    Ok(Kernel::new(cx.kernel_name(cx.input(0)?.dtype), move |context, mut io| {
        let (inputs, y) = io.split();
        dequantize.run(context, inputs.get(0), y);
        Ok(())
    }))
}

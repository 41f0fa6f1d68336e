//! LOG_SOFTMAX.

use litesmith_graph::{DType, Result};
use litesmith_kernels::log_softmax::{self, QuantizedLogSoftmax};
use litesmith_kernels::numerics::Quantized;

use super::{NodeContext, quant_params, refused};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Kernel> {
    let width = cx.input(0)?.shape.last().copied().unwrap_or(1);
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => Ok(Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
            let (inputs, y) = io.split::<f32>();
            log_softmax::forward(context, width, inputs.get(0), y);
            Ok(())
        })),
        (DType::I8, DType::I8) => plan_integer::<i8>(cx, width),
        (DType::U8, DType::U8) => plan_integer::<u8>(cx, width),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_integer<T: Quantized>(cx: &NodeContext<'_>, width: usize) -> Result<Kernel> {
    let (input, output) = (quant_params(cx.input(0)?)?, quant_params(cx.output()?)?);
    let softmax = QuantizedLogSoftmax::<T>::new(width, input, output, cx.numerics()).map_err(refused)?;
    Ok(Kernel::new(cx.kernel_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split::<T>();
        softmax.run(context, inputs.get(0), y);
        Ok(())
    }))
}

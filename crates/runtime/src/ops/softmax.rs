//! SOFTMAX.

use litesmith_graph::{DType, Result, ops::Softmax};
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::softmax::{float, quantized::QuantizedSoftmax};

use super::{NodeContext, quant_params, refused};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &Softmax) -> Result<Kernel> {
    let input = cx.input(0)?;
    let width = input.shape.last().copied().unwrap_or(1);
    let beta = op.beta;
    match (input.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => Ok(Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
            let (inputs, y) = io.split::<f32>();
            float::forward(context, width, beta, inputs.get(0), y);
            Ok(())
        })),
        (DType::I8, DType::I8) => plan_integer::<i8, i8>(cx, width, beta),
        (DType::U8, DType::U8) => plan_integer::<u8, u8>(cx, width, beta),
        (DType::I16, DType::I16) => plan_integer::<i16, i16>(cx, width, beta),
        (DType::I8, DType::I16) => plan_integer::<i8, i16>(cx, width, beta),
        (DType::U8, DType::I16) => plan_integer::<u8, i16>(cx, width, beta),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_integer<T: Quantized, O: Quantized>(cx: &NodeContext<'_>, width: usize, beta: f32) -> Result<Kernel> {
    let (input, output) = (quant_params(cx.input(0)?)?, quant_params(cx.output()?)?);
    let softmax = QuantizedSoftmax::<T, O>::new(width, beta, input, output, cx.numerics()).map_err(refused)?;
    Ok(Kernel::new(cx.avx2_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split::<O>();
        softmax.run(context, inputs.get::<T>(0), y);
        Ok(())
    }))
}

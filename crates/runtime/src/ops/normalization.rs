//! L2_NORMALIZATION and LOCAL_RESPONSE_NORMALIZATION.

use litesmith_graph::{DType, Error, Result, ops::LocalResponseNormalization};
use litesmith_kernels::normalization::{LocalResponse, l2_normalize, l2_normalize_quantized};
use litesmith_kernels::numerics::{QuantParams, Quantized};

use super::{NodeContext, quant_params};
use crate::kernel::Kernel;

pub(super) fn plan_l2(cx: &NodeContext<'_>) -> Result<Kernel> {
    let input = cx.input(0)?;
    let depth = input.shape.last().copied().unwrap_or(1);
    match (input.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => Ok(Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
            let (inputs, y) = io.split();
            l2_normalize(context, depth, inputs.get(0), y);
            Ok(())
        })),
        (DType::I8, DType::I8) => l2_integer::<i8>(cx, depth, 0),
        (DType::U8, DType::U8) => l2_integer::<u8>(cx, depth, 128),
        _ => Err(cx.no_kernel()),
    }
}

fn l2_integer<T: Quantized>(cx: &NodeContext<'_>, depth: usize, zero_point: i32) -> Result<Kernel> {
    let expected = QuantParams { scale: 1.0 / 128.0, zero_point };
    let output = quant_params(cx.output()?)?;
    if output != expected {
        return Err(Error::unsupported("", format!("an output of {output:?}, expected {expected:?}")));
    }
    let zero_point = quant_params(cx.input(0)?)?.zero_point;
    Ok(Kernel::new(cx.kernel_name(cx.output()?.dtype), move |_, mut io| {
        let (inputs, y) = io.split::<T>();
        l2_normalize_quantized(depth, zero_point, inputs.get(0), y);
        Ok(())
    }))
}

pub(super) fn plan_local_response(cx: &NodeContext<'_>, op: &LocalResponseNormalization) -> Result<Kernel> {
    let input = cx.input(0)?;
    if (input.dtype, cx.output()?.dtype) != (DType::F32, DType::F32) {
        return Err(cx.no_kernel());
    }
    let channels = input.shape.last().copied().unwrap_or(1);
    let &LocalResponseNormalization { radius, bias, alpha, beta } = op;
    let normalization = LocalResponse { radius, bias, alpha, beta };
    Ok(Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
        let (inputs, y) = io.split();
        normalization.forward(context, channels, inputs.get(0), y);
        Ok(())
    }))
}

//! DEQUANTIZE.

use litesmith_graph::{DType, Error, Quantization, Result};
use litesmith_kernels::dequantize::{Dequantize, DequantizeChannels, dequantize_channels, dequantize_f16};
use litesmith_kernels::numerics::{QuantParams, Quantized};

use super::cast::packed;
use super::{NodeContext, channels, quant_params, refused};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Kernel> {
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::I4 | DType::U4 | DType::I2, DType::F32) => plan_packed(cx),
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
    let input = cx.input(0)?;
    if let Some(quantization) = input.quantization.as_ref().filter(|quantization| quantization.scales.len() > 1) {
        return plan_channels::<T>(cx, quantization);
    }
    let dequantize = Dequantize::<T>::new(quant_params(cx.input(0)?)?).map_err(refused)?;
    Ok(Kernel::new(cx.kernel_name(cx.input(0)?.dtype), move |context, mut io| {
        let (inputs, y) = io.split();
        dequantize.run(context, inputs.get(0), y);
        Ok(())
    }))
}

fn plan_channels<T: Quantized>(cx: &NodeContext<'_>, quantization: &Quantization) -> Result<Kernel> {
    let input = cx.input(0)?;
    let Some((_, inner)) = input.shape.split_at_checked(quantization.axis + 1) else { return Err(cx.no_kernel()) };
    let pairs = quantization.scales.iter().zip(&quantization.zero_points);
    let params = pairs.map(|(&scale, &zero_point)| match i32::try_from(zero_point) {
        Ok(zero_point) => Ok(QuantParams { scale, zero_point }),
        Err(_) => Err(Error::malformed(format!("tensor \"{}\"", input.name), format!("zero point {zero_point}"))),
    });
    let inner = litesmith_graph::elements(inner)?;
    let dequantize = DequantizeChannels::<T>::new(params.collect::<Result<_>>()?, inner).map_err(refused)?;
    Ok(Kernel::new(cx.kernel_name(input.dtype), move |context, mut io| {
        let (inputs, y) = io.split();
        dequantize.run(context, inputs.get(0), y);
        Ok(())
    }))
}

fn plan_packed(cx: &NodeContext<'_>) -> Result<Kernel> {
    let Some(packed) = packed(cx.input(0)?.dtype) else { return Err(cx.no_kernel()) };
    let channels = channels(cx.input(0)?)?;
    Ok(Kernel::new(cx.kernel_name(cx.input(0)?.dtype), move |context, mut io| {
        let (inputs, y) = io.split();
        let bytes = inputs.get::<u8>(0);
        dequantize_channels(context, &channels, |index| packed.get(bytes, index), y);
        Ok(())
    }))
}

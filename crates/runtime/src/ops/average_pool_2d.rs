//! AVERAGE_POOL_2D.

use litesmith_graph::{DType, Result, ops::AveragePool2d};
use litesmith_kernels::average_pool_2d::{float, quantized};
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::pool_2d::Pool2dGeometry;

use super::{NodeContext, fused_activation, image_shape, quant_params, refused, same_quantization, window};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &AveragePool2d) -> Result<Kernel> {
    let [batch, height, width, channels] = image_shape(cx.input(0)?)?;
    let geometry = Pool2dGeometry {
        batch,
        height: window("AVERAGE_POOL_2D", op.padding, height, op.filter_height, op.stride_height, 1)?,
        width: window("AVERAGE_POOL_2D", op.padding, width, op.filter_width, op.stride_width, 1)?,
        channels,
    };
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => plan_float(cx, op, geometry),
        (DType::I8, DType::I8) => plan_integer::<i8>(cx, op, geometry),
        (DType::U8, DType::U8) => plan_integer::<u8>(cx, op, geometry),
        (DType::I16, DType::I16) => plan_integer::<i16>(cx, op, geometry),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_float(cx: &NodeContext<'_>, op: &AveragePool2d, geometry: Pool2dGeometry) -> Result<Kernel> {
    let pool = float::AveragePool2d::new(geometry, cx.isa).map_err(refused)?;
    let activation = fused_activation(op.activation)?;
    Ok(Kernel::new(cx.avx2_name(DType::F32), move |context, mut io| {
        let (inputs, y) = io.split::<f32>();
        pool.forward(context.pool, activation, inputs.get(0), y);
        Ok(())
    }))
}

fn plan_integer<T: Quantized>(cx: &NodeContext<'_>, op: &AveragePool2d, geometry: Pool2dGeometry) -> Result<Kernel> {
    same_quantization(cx.input(0)?, cx.output()?)?;
    let output = quant_params(cx.output()?)?;
    let activation = fused_activation(op.activation)?;
    let pool = quantized::QuantizedAveragePool2d::<T>::new(geometry, output, activation).map_err(refused)?;
    Ok(Kernel::new(cx.avx2_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split::<T>();
        pool.run(context, inputs.get(0), y);
        Ok(())
    }))
}

//! DEPTHWISE_CONV_2D.

use litesmith_graph::{DType, Result, ops::DepthwiseConv2d};
use litesmith_kernels::depthwise_conv_2d::hybrid::HybridDepthwiseConv2d;
use litesmith_kernels::depthwise_conv_2d::quantized::QuantizedDepthwiseConv2d;
use litesmith_kernels::depthwise_conv_2d::{DepthwiseConv2dGeometry, float};
use litesmith_kernels::numerics::Quantized;

use super::conv_2d::{hybrid_spec, integer_spec};
use super::{NodeContext, fused_activation, image_shape, refused, window};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &DepthwiseConv2d) -> Result<Kernel> {
    let geometry = geometry(cx, op)?;
    match (cx.input(0)?.dtype, cx.input(1)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32, DType::F32) => plan_float(cx, op, geometry),
        (DType::F32, DType::I8, DType::F32) => plan_hybrid(cx, op, geometry),
        (DType::I8, DType::I8, DType::I8) => plan_integer::<i8>(cx, op, geometry),
        (DType::U8, DType::U8, DType::U8) => plan_integer::<u8>(cx, op, geometry),
        (DType::I16, DType::I8, DType::I16) => plan_integer::<i16>(cx, op, geometry),
        _ => Err(cx.no_kernel()),
    }
}

fn geometry(cx: &NodeContext<'_>, op: &DepthwiseConv2d) -> Result<DepthwiseConv2dGeometry> {
    let [batch, height, width, in_channels] = image_shape(cx.input(0)?)?;
    let [_, kernel_height, kernel_width, out_channels] = image_shape(cx.input(1)?)?;
    let name = "DEPTHWISE_CONV_2D";
    Ok(DepthwiseConv2dGeometry {
        batch,
        height: window(name, op.padding, height, kernel_height, op.stride_height, op.dilation_height)?,
        width: window(name, op.padding, width, kernel_width, op.stride_width, op.dilation_width)?,
        in_channels,
        multiplier: out_channels / in_channels,
    })
}

fn plan_float(cx: &NodeContext<'_>, op: &DepthwiseConv2d, geometry: DepthwiseConv2dGeometry) -> Result<Kernel> {
    let conv = float::DepthwiseConv2d::new(geometry, cx.isa).map_err(refused)?;
    let weights = cx.constant::<f32>(1, "filter")?.to_vec();
    let bias = cx.optional_constant::<f32>(2, "bias")?.map(<[f32]>::to_vec);
    let activation = fused_activation(op.activation)?;
    Ok(Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
        let (inputs, y) = io.split();
        conv.forward(context.pool, &weights, bias.as_deref(), activation, inputs.get(0), y);
        Ok(())
    }))
}

fn plan_hybrid(cx: &NodeContext<'_>, op: &DepthwiseConv2d, geometry: DepthwiseConv2dGeometry) -> Result<Kernel> {
    let conv = HybridDepthwiseConv2d::new(geometry, &hybrid_spec(cx, op.activation, true)?).map_err(refused)?;
    let bytes = conv.scratch_bytes();
    let kernel = Kernel::new(cx.hybrid_name(), move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        conv.run(context, inputs.get(0), y, &mut scratch.as_mut_slice()[..bytes]);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes))
}

fn plan_integer<T: Quantized>(
    cx: &NodeContext<'_>,
    op: &DepthwiseConv2d,
    geometry: DepthwiseConv2dGeometry,
) -> Result<Kernel> {
    let conv = QuantizedDepthwiseConv2d::<T>::new(geometry, &integer_spec::<T>(cx, op.activation)?).map_err(refused)?;
    let bytes = conv.scratch_bytes();
    let kernel = Kernel::new(cx.kernel_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        conv.run(context, inputs.get(0), y, &mut scratch.as_mut_slice()[..bytes]);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes))
}

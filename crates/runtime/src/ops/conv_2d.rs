//! CONV_2D.

use litesmith_graph::{DType, Error, Op, Quantization, Result, ops::Activation, ops::Conv2d};
use litesmith_kernels::conv_2d::hybrid::HybridConv2d;
use litesmith_kernels::conv_2d::quantized::{Bias, QuantizedConv2d, QuantizedSpec, Weights};
use litesmith_kernels::conv_2d::{Conv2dGeometry, float};
use litesmith_kernels::hybrid::HybridSpec;
use litesmith_kernels::numerics::Quantized;

use super::{NodeContext, fused_activation, image_shape, quant_params, refused, window};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &Conv2d) -> Result<Kernel> {
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

fn geometry(cx: &NodeContext<'_>, op: &Conv2d) -> Result<Conv2dGeometry> {
    let [batch, height, width, in_channels] = image_shape(cx.input(0)?)?;
    let [out_channels, kernel_height, kernel_width, group_channels] = image_shape(cx.input(1)?)?;
    let name = "CONV_2D";
    Ok(Conv2dGeometry {
        batch,
        height: window(name, op.padding, height, kernel_height, op.stride_height, op.dilation_height)?,
        width: window(name, op.padding, width, kernel_width, op.stride_width, op.dilation_width)?,
        in_channels,
        out_channels,
        groups: in_channels / group_channels,
    })
}

fn plan_float(cx: &NodeContext<'_>, op: &Conv2d, geometry: Conv2dGeometry) -> Result<Kernel> {
    // First, as it bounds the sizes of the plan by those of the file.
    let filter = cx.constant::<f32>(1, "filter")?;
    let conv = float::Conv2d::new(geometry, cx.isa).map_err(refused)?;
    let mut packed = Vec::new();
    conv.pack(filter, &mut packed);
    let bias = cx.optional_constant::<f32>(2, "bias")?.map(<[f32]>::to_vec);
    let activation = fused_activation(op.activation)?;
    let scratch_len = conv.forward_scratch_len(cx.options.threads);
    let kernel = Kernel::new(conv.name(), move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        let scratch = &mut scratch.as_mut_slice()[..scratch_len];
        conv.forward(context.pool, &packed, bias.as_deref(), activation, inputs.get(0), y, scratch);
        Ok(())
    });
    Ok(kernel.with_scratch(scratch_len * size_of::<f32>()))
}

fn plan_integer<T: Quantized>(cx: &NodeContext<'_>, op: &Conv2d, geometry: Conv2dGeometry) -> Result<Kernel> {
    let conv = QuantizedConv2d::<T>::new(geometry, &integer_spec::<T>(cx, op.activation)?).map_err(refused)?;
    let bytes = conv.scratch_bytes();
    let kernel = Kernel::new(cx.kernel_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        conv.run(context, inputs.get(0), y, &mut scratch.as_mut_slice()[..bytes]);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes))
}

fn plan_hybrid(cx: &NodeContext<'_>, op: &Conv2d, geometry: Conv2dGeometry) -> Result<Kernel> {
    let conv = HybridConv2d::new(geometry, &hybrid_spec(cx, op.activation, true)?).map_err(refused)?;
    let bytes = conv.scratch_bytes();
    let kernel = Kernel::new(cx.hybrid_name(), move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        conv.run(context, inputs.get(0), y, &mut scratch.as_mut_slice()[..bytes]);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes))
}

/// Weights, bias and scales of a dynamic-range CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED: floats outside, int8 weights.
pub(super) fn hybrid_spec<'a>(
    cx: &NodeContext<'a>,
    activation: Activation,
    asymmetric_inputs: bool,
) -> Result<HybridSpec<'a>> {
    let quantization = weight_quantization(cx)?;
    if quantization.zero_points.iter().any(|&zero_point| zero_point != 0) {
        return Err(Error::unsupported("", "int8 weights with a zero point other than 0 and float activations"));
    }
    Ok(HybridSpec {
        weights: cx.constant(1, "weights")?,
        weight_scales: &quantization.scales,
        bias: cx.optional_constant(2, "bias")?,
        activation: fused_activation(activation)?,
        asymmetric_inputs,
        numerics: cx.numerics(),
    })
}

fn weight_quantization<'a>(cx: &NodeContext<'a>) -> Result<&'a Quantization> {
    let weights = cx.input(1)?;
    let Some(quantization) = &weights.quantization else {
        return Err(Error::malformed("", format!("weights \"{}\" have no scale", weights.name)));
    };
    let axis = if matches!(cx.node.op, Op::DepthwiseConv2d(_)) { 3 } else { 0 };
    if quantization.scales.len() > 1 && quantization.axis != axis {
        let got = quantization.axis;
        return Err(Error::malformed(
            "",
            format!("weights quantized along axis {got}, expected that of outputs, {axis}"),
        ));
    }
    Ok(quantization)
}

/// Weights, bias and quantization of an integer CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED.
pub(super) fn integer_spec<'a, T: Quantized>(
    cx: &NodeContext<'a>,
    activation: Activation,
) -> Result<QuantizedSpec<'a>> {
    let weights = cx.input(1)?;
    let quantization = weight_quantization(cx)?;
    let zero_point = quantization.zero_points.first().copied().unwrap_or(0);
    if quantization.zero_points.iter().any(|&other| other != zero_point) {
        return Err(Error::unsupported("", "weights with several zero points"));
    }
    Ok(QuantizedSpec {
        input: quant_params::<T>(cx.input(0)?)?,
        weights: match weights.dtype {
            DType::U8 => Weights::U8(cx.constant(1, "weights")?),
            _ => Weights::I8(cx.constant(1, "weights")?),
        },
        weight_scales: &quantization.scales,
        weight_zero_point: i32::try_from(zero_point).unwrap_or(i32::MAX),
        bias: match cx.optional(2).map(|bias| bias.dtype) {
            None => Bias::None,
            Some(DType::I32) => Bias::I32(cx.constant(2, "bias")?),
            Some(DType::I64) => Bias::I64(cx.constant(2, "bias")?),
            Some(_) => return Err(cx.no_kernel()),
        },
        output: quant_params::<T>(cx.output()?)?,
        activation: fused_activation(activation)?,
        numerics: cx.numerics(),
    })
}

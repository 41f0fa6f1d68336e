//! CONV_2D.

use litesmith_graph::{DType, Result, ops::Conv2d};
use litesmith_kernels::conv_2d::float;
use litesmith_kernels::conv_2d::quantized::{Bias, QuantizedConv2d, QuantizedSpec, Weights};
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::{Activation, Buffer, Context, conv_2d::Conv2dGeometry};

use super::{NodeContext, float_activation, image_shape, integer_activation, quant_params, refused, window};
use crate::kernel::{Io, Kernel};

pub(super) fn plan(cx: &NodeContext<'_>, op: &Conv2d) -> Result<Box<dyn Kernel>> {
    let geometry = geometry(cx, op)?;
    match (cx.input(0)?.dtype, cx.input(1)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32, DType::F32) => plan_float(cx, op, geometry),
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

struct FloatConv2d {
    conv: float::Conv2d,
    packed: Vec<f32>,
    bias: Option<Vec<f32>>,
    activation: Activation,
    scratch_len: usize,
}

fn plan_float(cx: &NodeContext<'_>, op: &Conv2d, geometry: Conv2dGeometry) -> Result<Box<dyn Kernel>> {
    let conv = float::Conv2d::new(geometry, cx.isa).map_err(refused)?;
    let mut packed = Vec::new();
    conv.pack(cx.constant::<f32>(1, "filter")?, &mut packed);
    Ok(Box::new(FloatConv2d {
        scratch_len: conv.forward_scratch_len(cx.options.threads),
        conv,
        packed,
        bias: cx.optional_constant(2, "bias")?.map(<[f32]>::to_vec),
        activation: float_activation(op.activation)?,
    }))
}

impl Kernel for FloatConv2d {
    fn run(&self, context: Context<'_>, mut io: Io<'_>) -> Result<()> {
        let (inputs, y, scratch) = io.split_scratch();
        let scratch = &mut scratch.as_mut_slice()[..self.scratch_len];
        let bias = self.bias.as_deref();
        self.conv.forward(context.pool, &self.packed, bias, self.activation, inputs.get(0), y, scratch);
        Ok(())
    }

    fn scratch_bytes(&self) -> usize {
        self.scratch_len * size_of::<f32>()
    }

    fn name(&self) -> String {
        self.conv.name().into()
    }
}

/// Weights, bias and quantization of an integer CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED.
pub(super) fn integer_spec<'a, T: Quantized>(
    cx: &NodeContext<'a>,
    activation: litesmith_graph::ops::Activation,
) -> Result<QuantizedSpec<'a>> {
    let weights = cx.input(1)?;
    let quantization = weights.quantization.as_ref().ok_or_else(|| {
        litesmith_graph::Error::malformed("", format!("weights \"{}\" have no scale", weights.name))
    })?;
    let zero_point = quantization.zero_points.first().copied().unwrap_or(0);
    if quantization.zero_points.iter().any(|&other| other != zero_point) {
        return Err(litesmith_graph::Error::unsupported("", "weights with several zero points"));
    }
    Ok(QuantizedSpec {
        input: quant_params::<T>(cx.input(0)?)?,
        weights: match weights.dtype {
            DType::U8 => Weights::U8(cx.constant(1, "weights")?),
            _ => Weights::I8(cx.constant(1, "weights")?),
        },
        weight_scales: &quantization.scales,
        weight_zero_point: i32::try_from(zero_point).unwrap_or(i32::MAX),
        bias: bias(cx)?,
        output: quant_params::<T>(cx.output()?)?,
        activation: integer_activation(activation)?,
        numerics: cx.numerics(),
    })
}

fn bias<'a>(cx: &NodeContext<'a>) -> Result<Bias<'a>> {
    match cx.optional(2).map(|bias| bias.dtype) {
        None => Ok(Bias::None),
        Some(DType::I32) => Ok(Bias::I32(cx.constant(2, "bias")?)),
        Some(DType::I64) => Ok(Bias::I64(cx.constant(2, "bias")?)),
        Some(_) => Err(cx.no_kernel()),
    }
}

struct IntegerConv2d<T> {
    conv: QuantizedConv2d<T>,
    name: String,
}

fn plan_integer<T: Quantized>(cx: &NodeContext<'_>, op: &Conv2d, geometry: Conv2dGeometry) -> Result<Box<dyn Kernel>> {
    let spec = integer_spec::<T>(cx, op.activation)?;
    let conv = QuantizedConv2d::<T>::new(geometry, &spec).map_err(refused)?;
    Ok(Box::new(IntegerConv2d { conv, name: cx.kernel_name(cx.output()?.dtype, &cx.isa.to_string()) }))
}

impl<T: Quantized> Kernel for IntegerConv2d<T> {
    fn run(&self, context: Context<'_>, mut io: Io<'_>) -> Result<()> {
        let (inputs, y, scratch) = io.split_scratch();
        self.conv.run(context, inputs.get(0), y, scratch_bytes(scratch, self.conv.scratch_bytes()));
        Ok(())
    }

    fn scratch_bytes(&self) -> usize {
        self.conv.scratch_bytes()
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// The first `len` bytes of the session's scratch.
pub(super) fn scratch_bytes(scratch: &mut Buffer, len: usize) -> &mut [u8] {
    &mut scratch.as_mut_slice()[..len]
}

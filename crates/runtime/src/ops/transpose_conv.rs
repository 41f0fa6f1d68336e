//! TRANSPOSE_CONV.

use litesmith_graph::{DType, Result, ops::Activation, ops::Padding, ops::TransposeConv};
use litesmith_kernels::conv_2d::quantized::QuantizedSpec;
use litesmith_kernels::hybrid::HybridSpec;
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::transpose_conv::hybrid::HybridTransposeConv;
use litesmith_kernels::transpose_conv::quantized::QuantizedTransposeConv;
use litesmith_kernels::transpose_conv::{TransposeConvGeometry, float};

use super::weights::{FloatBias, Operands, check_size, made, plan_hybrid, plan_integer};
use super::{NodeContext, fused_activation, image_shape, refused, window};
use crate::kernel::Kernel;

const OPERANDS: Operands = Operands { input: 2, weights: 1, bias: 3, axis: 0 };

pub(super) fn plan(cx: &NodeContext<'_>, op: &TransposeConv) -> Result<Kernel> {
    let geometry = geometry(cx, op)?;
    match (cx.input(2)?.dtype, cx.input(1)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32, DType::F32) => plan_float(cx, OPERANDS, op.activation, geometry),
        (DType::F32, DType::I8, DType::F32) => {
            let make = Box::new(move |spec: &HybridSpec<'_>| made(HybridTransposeConv::new(geometry, spec)));
            plan_hybrid(cx, OPERANDS, op.activation, true, make)
        }
        (DType::I8, DType::I8, DType::I8) => integer::<i8>(cx, op, geometry),
        (DType::U8, DType::U8, DType::U8) => integer::<u8>(cx, op, geometry),
        (DType::I16, DType::I8, DType::I16) => integer::<i16>(cx, op, geometry),
        _ => Err(cx.no_kernel()),
    }
}

fn geometry(cx: &NodeContext<'_>, op: &TransposeConv) -> Result<TransposeConvGeometry> {
    geometry_of(cx, OPERANDS, op.padding, [op.stride_height, op.stride_width])
}

/// The geometry from the shapes of input, weights and output.
fn geometry_of(
    cx: &NodeContext<'_>,
    operands: Operands,
    padding: Padding,
    [stride_height, stride_width]: [usize; 2],
) -> Result<TransposeConvGeometry> {
    let [batch, _, _, in_channels] = image_shape(cx.input(operands.input)?)?;
    let [out_channels, kernel_height, kernel_width, _] = image_shape(cx.input(operands.weights)?)?;
    let [_, height, width, _] = image_shape(cx.output()?)?;
    // The windows of the convolution that this op reverses, from its output to its input.
    let name = "TRANSPOSE_CONV";
    Ok(TransposeConvGeometry {
        batch,
        height: window(name, padding, height, kernel_height, stride_height, 1)?,
        width: window(name, padding, width, kernel_width, stride_width, 1)?,
        in_channels,
        out_channels,
    })
}

/// A float transposed convolution, of the builtin op or of a custom one.
pub(super) fn plan_float(
    cx: &NodeContext<'_>,
    operands: Operands,
    activation: Activation,
    geometry: TransposeConvGeometry,
) -> Result<Kernel> {
    check_size(cx, operands.weights)?;
    let (isa, threads) = (cx.isa, cx.options.threads);
    let weights = cx.input(operands.weights)?;
    let zeros;
    let constant = match &weights.data {
        Some(data) => data.elements()?,
        None => {
            zeros = vec![0.0; weights.elements()?];
            zeros.as_slice()
        }
    };
    let conv = float::TransposeConv::new(geometry, constant, isa, threads).map_err(refused)?;
    let bias = FloatBias::new(cx, operands.bias)?;
    let activation = fused_activation(activation)?;
    let scratch_len = conv.scratch_len();
    let computed = weights.data.is_none();
    let kernel = Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        let scratch = &mut scratch.as_mut_slice()[..scratch_len];
        let (x, bias) = (inputs.get(operands.input), bias.get(inputs));
        if computed {
            let weights = inputs.get(operands.weights);
            let conv = float::TransposeConv::new(geometry, weights, isa, threads).map_err(refused)?;
            conv.run(context, bias, activation, x, y, scratch);
        } else {
            conv.run(context, bias, activation, x, y, scratch);
        }
        Ok(())
    });
    Ok(kernel.with_scratch(scratch_len * size_of::<f32>()))
}

fn integer<T: Quantized>(cx: &NodeContext<'_>, op: &TransposeConv, geometry: TransposeConvGeometry) -> Result<Kernel> {
    let make = Box::new(move |spec: &QuantizedSpec<'_>| made(QuantizedTransposeConv::<T>::new(geometry, spec)));
    plan_integer(cx, OPERANDS, op.activation, make)
}

//! CONV_2D, FULLY_CONNECTED and pooling.

use crate::file::Case;
use crate::replay;
use litesmith_kernels::average_pool_2d::quantized::QuantizedAveragePool2d;
use litesmith_kernels::conv_2d::Conv2dGeometry;
use litesmith_kernels::conv_2d::quantized::{Bias, QuantizedConv2d, QuantizedSpec, Weights};
use litesmith_kernels::depthwise_conv_2d::DepthwiseConv2dGeometry;
use litesmith_kernels::depthwise_conv_2d::quantized::QuantizedDepthwiseConv2d;
use litesmith_kernels::fully_connected::FullyConnectedGeometry;
use litesmith_kernels::fully_connected::quantized::QuantizedFullyConnected;
use litesmith_kernels::max_pool_2d::quantized::QuantizedMaxPool2d;
use litesmith_kernels::pool_2d::Pool2dGeometry;
use litesmith_kernels::{Context, Numerics, Quantized, Unsupported};

/// Calls `run` with the spec of the case's weights and bias.
fn with_spec<R>(case: &Case<'_>, numerics: Numerics, run: impl Fn(&QuantizedSpec<'_>) -> R) -> R {
    let (narrow, wide, signed, unsigned): (Vec<i32>, Vec<i64>, Vec<i8>, Vec<u8>);
    let bias = match case.has("bias").then(|| case.dtype("bias")) {
        None => Bias::None,
        Some("i32") => {
            narrow = case.data("bias");
            Bias::I32(&narrow)
        }
        Some(_) => {
            wide = case.data("bias");
            Bias::I64(&wide)
        }
    };
    let weights = if case.dtype("weights") == "i8" {
        signed = case.data("weights");
        Weights::I8(&signed)
    } else {
        unsigned = case.data("weights");
        Weights::U8(&unsigned)
    };
    run(&QuantizedSpec {
        input: case.params("input"),
        weights,
        weight_scales: &case.scales("weights"),
        weight_zero_point: case.zero_point("weights"),
        bias,
        output: case.params("output"),
        activation: case.activation(),
        numerics,
        delegated: true,
    })
}

pub(crate) fn geometry(case: &Case<'_>) -> Conv2dGeometry {
    let (input, weights) = (case.shape("input"), case.shape("weights"));
    Conv2dGeometry {
        batch: input[0],
        height: case.window(1, weights[1]),
        width: case.window(2, weights[2]),
        in_channels: input[3],
        out_channels: weights[0],
        groups: input[3] / weights[3],
    }
}

fn conv<T: Quantized>(case: &Case<'_>, ctx: Context<'_>, numerics: Numerics) -> Result<Vec<T>, Unsupported> {
    let geometry = geometry(case);
    let plan = with_spec(case, numerics, |spec| QuantizedConv2d::<T>::new(geometry, spec))?;
    let mut output = vec![T::narrow(0); geometry.output_len()];
    plan.run(ctx, &case.data::<T>("input"), &mut output, &mut vec![0x55; plan.scratch_bytes()]);
    Ok(output)
}

pub(crate) fn depthwise_geometry(case: &Case<'_>) -> DepthwiseConv2dGeometry {
    let (input, weights) = (case.shape("input"), case.shape("weights"));
    DepthwiseConv2dGeometry {
        batch: input[0],
        height: case.window(1, weights[1]),
        width: case.window(2, weights[2]),
        in_channels: input[3],
        multiplier: case.attribute("multiplier").as_u64().expect("multiplier") as usize,
    }
}

fn depthwise<T: Quantized>(case: &Case<'_>, ctx: Context<'_>, numerics: Numerics) -> Result<Vec<T>, Unsupported> {
    let geometry = depthwise_geometry(case);
    let plan = with_spec(case, numerics, |spec| QuantizedDepthwiseConv2d::<T>::new(geometry, spec))?;
    let mut output = vec![T::narrow(0); geometry.output_len()];
    plan.run(ctx, &case.data::<T>("input"), &mut output, &mut vec![0x55; plan.scratch_bytes()]);
    Ok(output)
}

fn dense<T: Quantized>(case: &Case<'_>, ctx: Context<'_>, numerics: Numerics) -> Result<Vec<T>, Unsupported> {
    let (input, weights) = (case.shape("input"), case.shape("weights"));
    let geometry = FullyConnectedGeometry { batch: input[0], in_features: input[1], out_features: weights[0] };
    let plan = with_spec(case, numerics, |spec| QuantizedFullyConnected::<T>::new(geometry, spec))?;
    let mut output = vec![T::narrow(0); input[0] * weights[0]];
    plan.run(ctx, &case.data::<T>("input"), &mut output, &mut vec![0x55; plan.scratch_bytes()]);
    Ok(output)
}

fn pool_geometry(case: &Case<'_>) -> Pool2dGeometry {
    let (input, kernel) = (case.shape("input"), case.pair("kernel"));
    Pool2dGeometry {
        batch: input[0],
        height: case.window(1, kernel[0]),
        width: case.window(2, kernel[1]),
        channels: input[3],
    }
}

fn max_pool<T: Quantized>(case: &Case<'_>, ctx: Context<'_>, numerics: Numerics) -> Result<Vec<T>, Unsupported> {
    let geometry = pool_geometry(case);
    let plan = QuantizedMaxPool2d::<T>::new(geometry, case.params("output"), case.activation(), numerics)?;
    let mut output = vec![T::narrow(0); geometry.output_len()];
    plan.run(ctx, &case.data::<T>("input"), &mut output);
    Ok(output)
}

fn average_pool<T: Quantized>(case: &Case<'_>, ctx: Context<'_>, _: Numerics) -> Result<Vec<T>, Unsupported> {
    let geometry = pool_geometry(case);
    let plan = QuantizedAveragePool2d::<T>::new(geometry, case.params("output"), case.activation())?;
    let mut output = vec![T::narrow(0); geometry.output_len()];
    plan.run(ctx, &case.data::<T>("input"), &mut output);
    Ok(output)
}

/// One test for each element type.
macro_rules! for_each_type {
    ($($test:ident $op:literal $run:ident;)*) => {$(
        mod $test {
            use super::*;

            #[test]
            fn i8() {
                replay($op, |case| case.dtype("input") == "i8", $run::<i8>);
            }

            #[test]
            fn u8() {
                replay($op, |case| case.dtype("input") == "u8", $run::<u8>);
            }

            #[test]
            fn i16() {
                replay($op, |case| case.dtype("input") == "i16", $run::<i16>);
            }
        }
    )*};
}
for_each_type! {
    conv_2d "conv_2d" conv;
    depthwise_conv_2d "depthwise_conv_2d" depthwise;
    fully_connected "fully_connected" dense;
    max_pool_2d "max_pool_2d" max_pool;
    average_pool_2d "average_pool_2d" average_pool;
}

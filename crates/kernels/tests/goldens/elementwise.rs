//! SOFTMAX, QUANTIZE and DEQUANTIZE.

use crate::file::Case;
use crate::replay;
use litesmith_kernels::dequantize::{Dequantize, dequantize_f16};
use litesmith_kernels::quantize::{Quantize, Requantize};
use litesmith_kernels::softmax::quantized::QuantizedSoftmax;
use litesmith_kernels::{Context, Numerics, Quantized, Unsupported};

fn softmax<T: Quantized>(case: &Case<'_>, ctx: Context<'_>, numerics: Numerics) -> Result<Vec<T>, Unsupported> {
    let depth = case.shape("input")[1];
    let plan = QuantizedSoftmax::<T>::new(
        depth,
        case.float("beta_bits"),
        case.params("input"),
        case.params("output"),
        numerics,
    )?;
    let input = case.data::<T>("input");
    let mut output = vec![T::narrow(0); input.len()];
    plan.run(ctx, &input, &mut output);
    Ok(output)
}

#[test]
fn softmax_of_every_type() {
    replay("softmax", |case| case.dtype("input") == "i8", softmax::<i8>);
    replay("softmax", |case| case.dtype("input") == "u8", softmax::<u8>);
    replay("softmax", |case| case.dtype("input") == "i16", softmax::<i16>);
}

fn quantize<T: Quantized>(case: &Case<'_>, ctx: Context<'_>, numerics: Numerics) -> Result<Vec<T>, Unsupported> {
    let input = case.data::<f32>("input");
    let mut output = vec![T::narrow(0); input.len()];
    Quantize::<T>::new(case.params("output"), numerics)?.run(ctx, &input, &mut output);
    Ok(output)
}

fn requantize<A: Quantized, B: Quantized>(
    case: &Case<'_>,
    ctx: Context<'_>,
    numerics: Numerics,
) -> Result<Vec<B>, Unsupported> {
    let input = case.data::<A>("input");
    let mut output = vec![B::narrow(0); input.len()];
    Requantize::<A, B>::new(case.params("input"), case.params("output"), numerics)?.run(ctx, &input, &mut output);
    Ok(output)
}

#[test]
fn quantize_from_float() {
    let to = |dtype: &'static str| move |c: &Case<'_>| (c.dtype("input"), c.dtype("output")) == ("f32", dtype);
    replay("quantize", to("i8"), quantize::<i8>);
    replay("quantize", to("u8"), quantize::<u8>);
    replay("quantize", to("i16"), quantize::<i16>);
}

#[test]
fn requantize_between_types() {
    let between =
        |a: &'static str, b: &'static str| move |c: &Case<'_>| (c.dtype("input"), c.dtype("output")) == (a, b);
    replay("quantize", between("i8", "i8"), requantize::<i8, i8>);
    replay("quantize", between("u8", "u8"), requantize::<u8, u8>);
    replay("quantize", between("i8", "u8"), requantize::<i8, u8>);
    replay("quantize", between("u8", "i8"), requantize::<u8, i8>);
    replay("quantize", between("i16", "i8"), requantize::<i16, i8>);
    replay("quantize", between("i16", "i16"), requantize::<i16, i16>);
    replay("quantize", between("i8", "i16"), requantize::<i8, i16>);
    replay("quantize", between("u8", "i16"), requantize::<u8, i16>);
}

fn dequantize<T: Quantized>(case: &Case<'_>, ctx: Context<'_>, _: Numerics) -> Result<Vec<u32>, Unsupported> {
    let input = case.data::<T>("input");
    let mut output = vec![0.0; input.len()];
    Dequantize::<T>::new(case.params("input"))?.run(ctx, &input, &mut output);
    Ok(output.into_iter().map(f32::to_bits).collect())
}

#[test]
fn dequantize_of_every_type() {
    replay("dequantize", |case| case.dtype("input") == "i8", dequantize::<i8>);
    replay("dequantize", |case| case.dtype("input") == "u8", dequantize::<u8>);
    replay("dequantize", |case| case.dtype("input") == "i16", dequantize::<i16>);
    replay(
        "dequantize",
        |case| case.dtype("input") == "f16",
        |case, ctx, _| {
            let input = case.data::<half::f16>("input");
            let mut output = vec![0.0; input.len()];
            dequantize_f16(ctx, &input, &mut output);
            Ok(output.into_iter().map(f32::to_bits).collect())
        },
    );
}

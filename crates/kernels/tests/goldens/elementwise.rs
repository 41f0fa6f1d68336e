//! SOFTMAX, QUANTIZE, DEQUANTIZE, arithmetic, reductions, CONCATENATION, PAD and activations.

use crate::file::Case;
use crate::replay;
use litesmith_kernels::binary::Binary;
use litesmith_kernels::dequantize::{Dequantize, dequantize_f16};
use litesmith_kernels::movement::Pad;
use litesmith_kernels::quantize::{Quantize, Requantize};
use litesmith_kernels::quantized_activation::{QuantizedActivation, Unary};
use litesmith_kernels::quantized_binary::QuantizedBinary;
use litesmith_kernels::quantized_concatenation::QuantizedConcatenation;
use litesmith_kernels::quantized_reduce::{QuantizedExtremum, QuantizedMean};
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

/// Replays `op` for the three element types, told apart by the tensor `input`.
macro_rules! for_each_type {
    ($($test:ident $op:literal $input:literal $run:expr;)*) => {$(
        #[test]
        fn $test() {
            fn i8() -> impl Fn(&Case<'_>, Context<'_>, Numerics) -> Result<Vec<i8>, Unsupported> { $run }
            fn u8() -> impl Fn(&Case<'_>, Context<'_>, Numerics) -> Result<Vec<u8>, Unsupported> { $run }
            fn i16() -> impl Fn(&Case<'_>, Context<'_>, Numerics) -> Result<Vec<i16>, Unsupported> { $run }
            replay($op, |case| case.dtype($input) == "i8", i8());
            replay($op, |case| case.dtype($input) == "u8", u8());
            replay($op, |case| case.dtype($input) == "i16", i16());
        }
    )*};
}
for_each_type! {
    add "add" "a" |case, ctx, numerics| binary(Binary::Add, case, ctx, numerics);
    sub "sub" "a" |case, ctx, numerics| binary(Binary::Sub, case, ctx, numerics);
    mul "mul" "a" |case, ctx, numerics| binary(Binary::Mul, case, ctx, numerics);
    mean_over_axes "mean" "input" mean;
    reduce_max "reduce_max" "input" |case, ctx, _| extremum(case, ctx, true);
    reduce_min "reduce_min" "input" |case, ctx, _| extremum(case, ctx, false);
    concatenation "concatenation" "input_0" concatenate;
    pad "pad" "input" |case, ctx, _| {
        let paddings: Vec<(usize, usize)> =
            case.data::<i32>("paddings").chunks(2).map(|p| (p[0] as usize, p[1] as usize)).collect();
        let plan = Pad::new(&case.shape("input"), &paddings)?;
        let mut output = vec![Quantized::narrow(0); plan.lens()[1]];
        plan.forward(ctx.pool, &case.data("input"), Quantized::narrow(case.zero_point("output")), &mut output);
        Ok(output)
    };
    activation "activation" "input" activation_of;
}

fn extremum<T: Quantized>(case: &Case<'_>, ctx: Context<'_>, largest: bool) -> Result<Vec<T>, Unsupported> {
    let (input, output) = (case.params("input"), case.params("output"));
    let plan = QuantizedExtremum::<T>::new(&case.shape("input"), &axes(case), input, output, largest)?;
    let mut output = vec![T::narrow(0); plan.lens()[1]];
    plan.run(ctx, &case.data("input"), &mut output);
    Ok(output)
}

fn binary<T: Quantized>(
    op: Binary,
    case: &Case<'_>,
    ctx: Context<'_>,
    numerics: Numerics,
) -> Result<Vec<T>, Unsupported> {
    let inputs = [case.params("a"), case.params("b")];
    let shapes = [&case.shape("a")[..], &case.shape("b")[..]];
    let plan = QuantizedBinary::new(op, shapes, inputs, case.params("output"), case.activation(), numerics)?;
    let mut output = vec![T::narrow(0); plan.shape().iter().product()];
    plan.run(ctx, &case.data("a"), &case.data("b"), &mut output);
    Ok(output)
}

fn axes(case: &Case<'_>) -> Vec<usize> {
    case.data::<i32>("axes").into_iter().map(|axis| axis as usize).collect()
}

fn mean<T: Quantized>(case: &Case<'_>, ctx: Context<'_>, numerics: Numerics) -> Result<Vec<T>, Unsupported> {
    let (input, output) = (case.params("input"), case.params("output"));
    let plan = QuantizedMean::<T>::new(&case.shape("input"), &axes(case), input, output, numerics)?;
    let mut output = vec![T::narrow(0); plan.lens()[1]];
    plan.run(ctx, &case.data("input"), &mut output, &mut vec![0x55; plan.scratch_bytes()]);
    Ok(output)
}

fn concatenate<T: Quantized>(case: &Case<'_>, ctx: Context<'_>, _: Numerics) -> Result<Vec<T>, Unsupported> {
    let names: Vec<String> =
        (0..case.attribute("operands").as_u64().expect("operands")).map(|i| format!("input_{i}")).collect();
    let shapes: Vec<_> = names.iter().map(|name| case.shape(name)).collect();
    let inputs: Vec<_> = names.iter().map(|name| case.params(name)).collect();
    let axis = case.attribute("axis").as_u64().expect("axis") as usize;
    let plan = QuantizedConcatenation::<T>::new(&shapes, axis, &inputs, case.params("output"))?;
    let mut output = vec![T::narrow(0); plan.output_len()];
    for (index, name) in names.iter().enumerate() {
        plan.run(ctx, index, &case.data(name), &mut output);
    }
    Ok(output)
}

fn activation_of<T: Quantized>(case: &Case<'_>, ctx: Context<'_>, numerics: Numerics) -> Result<Vec<T>, Unsupported> {
    let function = match case.attribute("function").as_str().expect("function") {
        "relu" => Unary::Relu(case.activation()),
        "leaky_relu" => Unary::LeakyRelu { alpha: case.float("alpha_bits") },
        "hard_swish" => Unary::HardSwish,
        "logistic" => Unary::Logistic,
        "tanh" => Unary::Tanh,
        "gelu" => Unary::Gelu { approximate: case.attribute("approximate") == true },
        other => panic!("function {other}"),
    };
    let input = case.data::<T>("input");
    let mut output = vec![T::narrow(0); input.len()];
    let plan = QuantizedActivation::new(function, case.params("input"), case.params("output"), numerics)?;
    plan.run(ctx, &input, &mut output);
    Ok(output)
}

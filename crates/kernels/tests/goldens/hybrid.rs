//! Dynamic-range ops. Their float results are compared bit for bit too.

use crate::file::Case;
use crate::replay;
use litesmith_kernels::conv_2d::hybrid::HybridConv2d;
use litesmith_kernels::depthwise_conv_2d::hybrid::HybridDepthwiseConv2d;
use litesmith_kernels::fully_connected::FullyConnectedGeometry;
use litesmith_kernels::fully_connected::hybrid::HybridFullyConnected;
use litesmith_kernels::hybrid::HybridSpec;
use litesmith_kernels::{Context, Numerics, Unsupported};

fn with_spec<R>(case: &Case<'_>, numerics: Numerics, run: impl Fn(&HybridSpec<'_>) -> R) -> R {
    let bias = case.has("bias").then(|| case.data::<f32>("bias"));
    run(&HybridSpec {
        weights: &case.data("weights"),
        weight_scales: &case.scales("weights"),
        bias: bias.as_deref(),
        activation: case.activation(),
        asymmetric_inputs: case.attribute("asymmetric") == true,
        numerics,
        delegated: true,
    })
}

fn bits(values: Vec<f32>) -> Vec<u32> {
    values.into_iter().map(f32::to_bits).collect()
}

fn conv(case: &Case<'_>, ctx: Context<'_>, numerics: Numerics) -> Result<Vec<u32>, Unsupported> {
    let geometry = crate::convolution::geometry(case);
    let plan = with_spec(case, numerics, |spec| HybridConv2d::new(geometry, spec))?;
    let mut output = vec![0.0; geometry.output_len()];
    plan.run(ctx, &case.data("input"), &mut output, &mut vec![0x55; plan.scratch_bytes()]);
    Ok(bits(output))
}

#[test]
fn conv_2d() {
    replay("hybrid_conv_2d", |_| true, conv);
}

fn depthwise(case: &Case<'_>, ctx: Context<'_>, numerics: Numerics) -> Result<Vec<u32>, Unsupported> {
    let geometry = crate::convolution::depthwise_geometry(case);
    let plan = with_spec(case, numerics, |spec| HybridDepthwiseConv2d::new(geometry, spec))?;
    let mut output = vec![0.0; geometry.output_len()];
    plan.run(ctx, &case.data("input"), &mut output, &mut vec![0x55; plan.scratch_bytes()]);
    Ok(bits(output))
}

#[test]
fn depthwise_conv_2d() {
    replay("hybrid_depthwise_conv_2d", |_| true, depthwise);
}

fn dense(case: &Case<'_>, ctx: Context<'_>, numerics: Numerics) -> Result<Vec<u32>, Unsupported> {
    let (input, weights) = (case.shape("input"), case.shape("weights"));
    let geometry = FullyConnectedGeometry { batch: input[0], in_features: input[1], out_features: weights[0] };
    let plan = with_spec(case, numerics, |spec| HybridFullyConnected::new(geometry, spec))?;
    let mut output = vec![0.0; input[0] * weights[0]];
    plan.run(ctx, &case.data("input"), &mut output, &mut vec![0x55; plan.scratch_bytes()]);
    Ok(bits(output))
}

#[test]
fn fully_connected() {
    replay("hybrid_fully_connected", |_| true, dense);
}

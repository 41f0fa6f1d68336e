//! Dynamic-range ("hybrid") arithmetic: float activations are quantized when the op runs, one scale for each row of
//! FULLY_CONNECTED and for each image of a convolution; weights are int8, sums 32-bit, results float.

use crate::dispatch::multiversion;
use crate::integer_conv::{channel_scales, split};
use crate::numerics::Numerics;
use crate::{Activation, Context, Unsupported};

/// What a dynamic-range op computes, beside its geometry.
#[derive(Debug, Clone, Copy)]
pub struct HybridSpec<'a> {
    /// Weights as the file stores them, zero point 0.
    pub weights: &'a [i8],
    /// One scale, or one for each output channel.
    pub weight_scales: &'a [f32],
    /// Bias; `None` adds nothing.
    pub bias: Option<&'a [f32]>,
    /// Fused activation.
    pub activation: Activation,
    /// The `asymmetric_quantize_inputs` of FULLY_CONNECTED; only the reference looks at it.
    pub asymmetric_inputs: bool,
    /// Whose arithmetic.
    pub numerics: Numerics,
    /// Whether LiteRT's default resolver may hand the op to XNNPACK, which takes constant weights.
    pub delegated: bool,
}

impl HybridSpec<'_> {
    /// Whether LiteRT hands the op to XNNPACK.
    pub(crate) fn takes_xnnpack(&self) -> bool {
        self.delegated && self.numerics == Numerics::Litert
    }
}

/// How one row or image is quantized.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct RowParams {
    /// Multiplies the value before it is rounded.
    pub(crate) inverse: f32,
    /// Real units per step.
    pub(crate) scale: f32,
    pub(crate) zero_point: i32,
}

/// Which quantization of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowQuantizer {
    /// XNNPACK `quantization.h`, `xnn_f32_qd8_asymmetric_quantization_params`: all in f32, halves to even.
    Xnnpack,
    /// LiteRT `optimized/neon_tensor_utils.cc`, `NeonAsymmetricQuantizeFloats`, as `NEON_2_SSE.h` runs it.
    Asymmetric,
    /// LiteRT `optimized/neon_tensor_utils.cc`, `NeonSymmetricQuantizeFloats`.
    Symmetric,
}

multiversion! {
    /// Smallest and largest of `values` and 0.
    fn range_with_zero<>(values: &[f32]) -> (f32, f32) {
        const LANES: usize = 32;
        let (mut low, mut high) = ([0.0f32; LANES], [0.0f32; LANES]);
        let mut chunks = values.chunks_exact(LANES);
        for chunk in &mut chunks {
            for ((low, high), &value) in low.iter_mut().zip(&mut high).zip(chunk) {
                *low = if value < *low { value } else { *low };
                *high = if value > *high { value } else { *high };
            }
        }
        for &value in chunks.remainder() {
            low[0] = if value < low[0] { value } else { low[0] };
            high[0] = if value > high[0] { value } else { high[0] };
        }
        // Halving keeps the lanes in vectors; one after another they would take as long as the rest of a short row.
        let mut lanes = LANES / 2;
        while lanes > 0 {
            for i in 0..lanes {
                low[i] = if low[i + lanes] < low[i] { low[i + lanes] } else { low[i] };
                high[i] = if high[i + lanes] > high[i] { high[i + lanes] } else { high[i] };
            }
            lanes /= 2;
        }
        (low[0], high[0])
    }
}

multiversion! {
    /// `clamp(round(value * inverse) + zero_point)`, halves to even.
    fn quantize_even<>(params: RowParams, least: i32, values: &[f32], output: &mut [i8]) {
        for (out, &value) in output.iter_mut().zip(values) {
            let scaled = (value * params.inverse).clamp(-1024.0, 1024.0);
            *out = (crate::requantize::round_even_small(scaled) + params.zero_point).clamp(least, 127) as i8;
        }
    }
}

multiversion! {
    /// The same with halves away from zero: truncates after adding a half of the value's sign in f32.
    fn quantize_away<>(params: RowParams, least: i32, values: &[f32], output: &mut [i8]) {
        for (out, &value) in output.iter_mut().zip(values) {
            let scaled = (value * params.inverse).clamp(-1024.0, 1024.0);
            let rounded = (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i32;
            *out = (rounded + params.zero_point).clamp(least, 127) as i8;
        }
    }
}

impl RowQuantizer {
    pub(crate) fn params(self, ctx: Context<'_>, values: &[f32]) -> RowParams {
        let (low, high) = range_with_zero(ctx.isa, values);
        match self {
            Self::Xnnpack => {
                let inverse = if low == high { 1.0 } else { 255.0 / (high - low) };
                let (low, high) = (low * inverse, high * inverse);
                let zero_point = if (-128.0 + low) + (127.0 + high) > 0.0 { -128.0 - low } else { 127.0 - high };
                let zero_point = zero_point.clamp(-128.0, 127.0).round_ties_even() as i32;
                RowParams { inverse, scale: 1.0 / inverse, zero_point }
            }
            Self::Asymmetric => {
                if low == high {
                    return RowParams { inverse: 0.0, scale: 1.0, zero_point: 0 };
                }
                // The range is taken in f32, everything after it in f64.
                let step = f64::from(high - low) / 255.0;
                let (from_min, from_max) = (f64::from(low) / step, f64::from(high) / step);
                let zero_point =
                    if 128.0 + from_min.abs() < 127.0 + from_max.abs() { -128.0 - from_min } else { 127.0 - from_max };
                let zero_point = zero_point.clamp(-128.0, 127.0).round() as i32;
                let scale = step as f32;
                let inverse = if scale == 0.0 { 0.0 } else { (1.0 / f64::from(scale)) as f32 };
                RowParams { inverse, scale, zero_point }
            }
            Self::Symmetric => {
                let range = high.max(-low);
                if range == 0.0 {
                    return RowParams { inverse: 0.0, scale: 1.0, zero_point: 0 };
                }
                RowParams { inverse: 127.0 / range, scale: range / 127.0, zero_point: 0 }
            }
        }
    }

    /// Quantizes rows of `row` elements into `output` and fills `params`, one for each row.
    pub(crate) fn run(self, ctx: Context<'_>, row: usize, input: &[f32], output: &mut [i8], params: &mut [RowParams]) {
        if row == 0 || input.is_empty() {
            return;
        }
        split(ctx.pool, params, 1, |at, params| params[0] = self.params(ctx, &input[at * row..(at + 1) * row]));
        let params = &*params;
        split(ctx.pool, output, row, |at, output| {
            let values = &input[at * row..(at + 1) * row];
            match self {
                Self::Xnnpack => quantize_even(ctx.isa, params[at], -128, values, output),
                Self::Asymmetric => quantize_away(ctx.isa, params[at], -128, values, output),
                Self::Symmetric => quantize_away(ctx.isa, params[at], -127, values, output),
            }
        });
    }
}

/// What follows the sums.
#[derive(Debug, Clone)]
pub(crate) struct HybridStage {
    order: Order,
    scales: Vec<f32>,
    bias: Vec<f32>,
    low: f32,
    high: f32,
}

/// In which order sums, scales and bias meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// `fma(sum * row, weight, bias)` (XNNPACK `qd8-f32-qc8w-gemm`).
    FusedWeight,
    /// `sum * weight * row + bias` (LiteRT `reference/conv.h`, `HybridConvPerChannel`).
    WeightThenRow,
    /// `sum * row * weight + bias` (LiteRT `optimized/integer_ops/depthwise_conv_hybrid.h`, last channels).
    RowThenWeight,
    /// `sum * (weight * row) + bias` (LiteRT `optimized/sse_tensor_utils.cc` and the reference depthwise convolution).
    Product,
}

impl HybridStage {
    pub(crate) fn new(
        kernel: &'static str,
        spec: &HybridSpec<'_>,
        channels: usize,
        order: Order,
    ) -> Result<Self, Unsupported> {
        crate::numerics::check_activation(kernel, spec.activation)?;
        let bias = match spec.bias {
            None => vec![0.0; channels],
            Some(bias) if bias.len() == channels => bias.to_vec(),
            Some(bias) => {
                let reason = format!("bias has {} elements for {channels} output channels", bias.len());
                return Err(Unsupported::new(kernel, reason));
            }
        };
        let (low, high) = spec.activation.range();
        let scales = channel_scales(kernel, spec.weight_scales, channels)?;
        Ok(Self { order, scales, bias, low: low as f32, high: high as f32 })
    }

    pub(crate) fn store(&self, ctx: Context<'_>, row: f32, sums: &[i32], channel: usize, output: &mut [f32]) {
        let channels = channel..channel + output.len();
        let (scales, bias) = (&self.scales[channels.clone()], &self.bias[channels]);
        finish(ctx.isa, self.order, row, [self.low, self.high], sums, scales, bias, output);
    }

    /// With another order for these channels.
    pub(crate) fn store_as(
        &self,
        ctx: Context<'_>,
        order: Order,
        row: f32,
        sums: &[i32],
        channel: usize,
        output: &mut [f32],
    ) {
        let channels = channel..channel + output.len();
        let (scales, bias) = (&self.scales[channels.clone()], &self.bias[channels]);
        finish(ctx.isa, order, row, [self.low, self.high], sums, scales, bias, output);
    }
}

multiversion! {
    fn finish<>(
        order: Order,
        row: f32,
        bounds: [f32; 2],
        sums: &[i32],
        scales: &[f32],
        bias: &[f32],
        output: &mut [f32],
    ) {
        let [low, high] = bounds;
        let each = output.iter_mut().zip(sums).zip(scales.iter().zip(bias));
        match order {
            Order::FusedWeight => each.for_each(|((out, &sum), (&scale, &bias))| {
                *out = (sum as f32 * row).mul_add(scale, bias).max(low).min(high);
            }),
            Order::WeightThenRow => each.for_each(|((out, &sum), (&scale, &bias))| {
                *out = (sum as f32 * scale * row + bias).max(low).min(high);
            }),
            Order::RowThenWeight => each.for_each(|((out, &sum), (&scale, &bias))| {
                *out = (sum as f32 * row * scale + bias).max(low).min(high);
            }),
            Order::Product => each.for_each(|((out, &sum), (&scale, &bias))| {
                *out = (sum as f32 * (scale * row) + bias).max(low).min(high);
            }),
        }
    }
}

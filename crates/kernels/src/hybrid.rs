//! Dynamic-range ("hybrid") arithmetic: float activations are quantized when the op runs, one scale for each row of
//! FULLY_CONNECTED and for each image of a convolution; weights are int8, sums 32-bit, results float.

#[cfg(target_arch = "x86_64")]
mod x86_64;

use crate::byte_conv::SumBlock;
use crate::byte_gemm::COLUMNS_MAX;
use crate::integer_conv::channel_scales;
use crate::numerics::Numerics;
use crate::{Activation, Context, Unsupported};

/// Values that a task quantizes: some microseconds.
const TASK_VALUES: usize = 2 << 10;
/// Parts of a long row whose ranges are found apart.
const RANGES: usize = 16;

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

/// Calls the function of this name for the instruction set: those of x86-64 have one of their own.
macro_rules! on_isa {
    ($isa:expr, $name:ident($($arg:expr),*)) => {{
        assert!($isa.is_available(), "instruction set {} is not available on this CPU", $isa);
        match $isa {
            // SAFETY: the CPU has what `isa` needs, as was just asserted.
            #[cfg(target_arch = "x86_64")]
            crate::Isa::Avx512 | crate::Isa::Avx512Vnni | crate::Isa::AmxInt8 => unsafe { x86_64::avx512::$name($($arg),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            crate::Isa::Avx2 => unsafe { x86_64::avx2::$name($($arg),*) },
            _ => portable::$name($($arg),*),
        }
    }};
}

/// The law.
mod portable {
    use super::{COLUMNS_MAX, HybridStage, Order, RowParams, RowQuantizer, SumBlock};
    use crate::requantize::round_even_small;

    const LANES: usize = 16;

    fn smaller(a: f32, b: f32) -> f32 {
        if a < b { a } else { b }
    }

    fn larger(a: f32, b: f32) -> f32 {
        if a > b { a } else { b }
    }

    /// Smallest and largest of `values` and 0; NaN is neither.
    pub(super) fn range(values: &[f32]) -> (f32, f32) {
        let (mut low, mut high) = ([0.0; LANES], [0.0; LANES]);
        let mut chunks = values.chunks_exact(LANES);
        for chunk in &mut chunks {
            low.iter_mut().zip(chunk).for_each(|(low, &x)| *low = smaller(x, *low));
            high.iter_mut().zip(chunk).for_each(|(high, &x)| *high = larger(x, *high));
        }
        let rest = chunks.remainder().iter().copied();
        let least = low.into_iter().chain(rest.clone()).fold(0.0, |low, x| smaller(x, low));
        (least, high.into_iter().chain(rest).fold(0.0, |high, x| larger(x, high)))
    }

    /// `clamp(round(value * inverse) + zero_point)`; NaN becomes 127.
    pub(super) fn quantize(quantizer: RowQuantizer, params: RowParams, input: &[f32], output: &mut [i8]) {
        let RowParams { inverse, zero_point, .. } = params;
        let scaled = |x: f32| larger(smaller(x * inverse, 1024.0), -1024.0);
        // A half with the value's sign is added in f32, the rest cut off: halves away from zero.
        let away = |x: f32| (scaled(x) + 0.5f32.copysign(scaled(x))) as i32;
        let each = input.iter().zip(output);
        match quantizer {
            RowQuantizer::Xnnpack => {
                each.for_each(|(&x, out)| *out = (round_even_small(scaled(x)) + zero_point).clamp(-128, 127) as i8);
            }
            RowQuantizer::Asymmetric => {
                each.for_each(|(&x, out)| *out = (away(x) + zero_point).clamp(-128, 127) as i8);
            }
            RowQuantizer::Symmetric => {
                each.for_each(|(&x, out)| *out = (away(x) + zero_point).clamp(-127, 127) as i8);
            }
        }
    }

    /// Quantizes rows one after another, each still in the first cache when it is read again.
    pub(super) fn quantize_rows(
        quantizer: RowQuantizer,
        row: usize,
        input: &[f32],
        output: &mut [i8],
        params: &mut [RowParams],
    ) {
        for ((input, output), params) in input.chunks_exact(row).zip(output.chunks_exact_mut(row)).zip(params) {
            *params = quantizer.params(range(input));
            quantize(quantizer, *params, input, output);
        }
    }

    /// See [`HybridStage::store`].
    pub(super) fn finish(
        stage: &HybridStage,
        block: &SumBlock<'_>,
        pixels: usize,
        params: &[RowParams],
        output: &mut [f32],
        stride: usize,
    ) {
        let channels = block.channel..block.channel + block.columns;
        let (scales, bias) = (&stage.scales[channels.clone()], &stage.bias[channels]);
        for (at, (sums, output)) in block.sums.chunks_exact(COLUMNS_MAX).zip(output.chunks_mut(stride)).enumerate() {
            let RowParams { scale: row, zero_point, .. } = params[(block.pixel + at) / pixels];
            let each = output.iter_mut().zip(sums).zip(scales.iter().zip(bias).zip(block.column_sums));
            let each = each.map(|((out, &sum), ((&scale, &bias), &column_sum))| {
                (out, sum.wrapping_sub(zero_point.wrapping_mul(column_sum)) as f32, scale, bias)
            });
            match stage.order {
                Order::FusedWeight => each.for_each(|(out, sum, scale, bias)| {
                    *out = stage.bound((sum * row).mul_add(scale, bias));
                }),
                Order::WeightThenRow => each.for_each(|(out, sum, scale, bias)| {
                    *out = stage.bound(sum * scale * row + bias);
                }),
                Order::Product => each.for_each(|(out, sum, scale, bias)| {
                    *out = stage.bound(sum * (scale * row) + bias);
                }),
            }
        }
    }
}

impl RowQuantizer {
    /// For values from `low` to `high`.
    #[inline(always)]
    pub(crate) fn params(self, (low, high): (f32, f32)) -> RowParams {
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

    /// [`Self::run`] on this thread.
    #[inline(never)]
    pub(crate) fn rows(self, ctx: Context<'_>, row: usize, input: &[f32], output: &mut [i8], params: &mut [RowParams]) {
        on_isa!(ctx.isa, quantize_rows(self, row, input, output, params));
    }

    /// Quantizes rows of `row` elements into `output` and fills `params`, one for each row.
    pub(crate) fn run(self, ctx: Context<'_>, row: usize, input: &[f32], output: &mut [i8], params: &mut [RowParams]) {
        if row == 0 || input.is_empty() {
            return;
        }
        let threads = if input.len() < 2 * TASK_VALUES { 1 } else { ctx.pool.threads() };
        if threads == 1 {
            self.rows(ctx, row, input, output, params);
        } else if params.len() >= threads {
            let rows = ctx.pool.share(params.len(), row, TASK_VALUES);
            ctx.pool.zip_chunks_mut(output, rows * row, params, rows, |task, output, params| {
                let input = &input[task * rows * row..][..output.len()];
                self.rows(ctx, row, input, output, params);
            });
        } else {
            // Few long rows: each is split.
            for ((input, output), params) in input.chunks(row).zip(output.chunks_mut(row)).zip(params) {
                let mut ranges = [(0.0, 0.0); RANGES];
                let values = ctx.pool.share(row, 1, TASK_VALUES).max(row.div_ceil(RANGES));
                ctx.pool.chunks_mut(&mut ranges[..row.div_ceil(values)], 1, |task, range| {
                    let start = task * values;
                    range[0] = on_isa!(ctx.isa, range(&input[start..(start + values).min(row)]));
                });
                let wider = |a: (f32, f32), b: (f32, f32)| (a.0.min(b.0), a.1.max(b.1));
                *params = self.params(ranges.into_iter().fold((0.0, 0.0), wider));
                let params = *params;
                let chunk = ctx.pool.share(row, 1, TASK_VALUES);
                ctx.pool.chunks_mut(output, chunk, |task, output| {
                    let input = &input[task * chunk..][..output.len()];
                    on_isa!(ctx.isa, quantize(self, params, input, output));
                });
            }
        }
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
    /// `sum * (weight * row) + bias` (LiteRT `optimized/sse_tensor_utils.cc` and the reference depthwise convolution).
    Product,
}

impl HybridStage {
    /// `value` within the bounds of the activation; NaN becomes the lower one.
    #[inline(always)]
    pub(crate) fn bound(&self, value: f32) -> f32 {
        let value = if value > self.low { value } else { self.low };
        if value < self.high { value } else { self.high }
    }

    /// The scale of the weights of each channel.
    pub(crate) fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The bias of each channel.
    pub(crate) fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// The bounds of the activation.
    pub(crate) fn bounds(&self) -> [f32; 2] {
        [self.low, self.high]
    }

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

    /// Turns sums into results; those of row `i` begin at `i * stride` of `output`. Each `pixels` pixels have one of
    /// `params`.
    pub(crate) fn store(
        &self,
        ctx: Context<'_>,
        block: &SumBlock<'_>,
        pixels: usize,
        params: &[RowParams],
        output: &mut [f32],
        stride: usize,
    ) {
        on_isa!(ctx.isa, finish(self, block, pixels, params, output, stride));
    }
}

//! Dynamic-range FULLY_CONNECTED whose int4 weights have a scale for each block of a row: float in and out.

use half::bf16;

use super::FullyConnectedGeometry;
use crate::byte_conv::{ByteConv, SumBlock};
use crate::byte_gemm::{Activations, COLUMNS_MAX};
use crate::dispatch::multiversion;
use crate::hybrid::{RowParams, RowQuantizer};
use crate::integer_conv::{Bias, Weights, scratch_bytes, split, typed_scratch};
use crate::numerics::{Numerics, check_activation};
use crate::{Activation, Context, Unsupported};

const KERNEL: &str = "fully_connected";
/// XNNPACK takes multiples of this only.
const XNNPACK_BLOCK: usize = 32;
/// Smaller blocks would take far more memory than the weights.
const BLOCK_MIN: usize = 16;
/// Weights of which XNNPACK adds the scaled sum at once.
const SUMMED: usize = 16;
/// XNNPACK shifts int8 inputs up, so that they and their zero point are unsigned.
const UNSIGNED: i32 = 128;

/// What a FULLY_CONNECTED of blocks computes, beside its geometry.
#[derive(Debug, Clone, Copy)]
pub struct BlockwiseSpec<'a> {
    /// `out_features in_features` weights from -8 to 7, zero point 0.
    pub weights: &'a [i8],
    /// Elements of a row that share a scale; divides `in_features`.
    pub block_size: usize,
    /// `out_features`, `in_features / block_size`: a scale for each block, a float16 in LiteRT.
    pub scales: &'a [f32],
    /// Bias; `None` adds nothing.
    pub bias: Option<&'a [f32]>,
    /// Fused activation.
    pub activation: Activation,
    /// Whose arithmetic.
    pub numerics: Numerics,
    /// Whether LiteRT's default resolver may hand the op to XNNPACK.
    pub delegated: bool,
}

/// A planned FULLY_CONNECTED of blocks; each row of the input has its own scale and zero point.
///
/// Litert: XNNPACK's `qd8-f32-qb4w-gemm` as its AVX-512 VNNI kernel orders it, scales rounded to bfloat16: unsigned inputs, one
/// fused multiply-add for each block, begun with the zero point times the scaled sums of the weights. Reference, and blocks
/// that are no multiple of 32: LiteRT's builtin (`fully_connected.cc`, `EvalBlockwise4Bit`), which adds block by block
/// and takes the zero point off at the end. The builtin leaves the fused activation out; here it is applied.
#[derive(Debug, Clone)]
pub struct BlockwiseFullyConnected {
    geometry: FullyConnectedGeometry,
    block_size: usize,
    is_xnnpack: bool,
    /// The products of each block of the rows.
    products: Vec<ByteConv>,
    /// For each block, one of each channel.
    scales: Vec<f32>,
    /// The scaled sum of the weights of each channel.
    sums: Vec<f32>,
    bias: Vec<f32>,
    bounds: (f32, f32),
}

impl BlockwiseFullyConnected {
    /// Plans a layer.
    ///
    /// # Errors
    /// A bad geometry, or sizes or scales that do not fit it.
    pub fn new(geometry: FullyConnectedGeometry, spec: &BlockwiseSpec<'_>) -> Result<Self, Unsupported> {
        geometry.check()?;
        check_activation(KERNEL, spec.activation)?;
        let fail = |reason: String| Err(Unsupported::new(KERNEL, reason));
        let FullyConnectedGeometry { in_features, out_features, .. } = geometry;
        let block_size = spec.block_size;
        if block_size < BLOCK_MIN || in_features % block_size != 0 {
            return fail(format!("blocks of {block_size} in rows of {in_features}: at least {BLOCK_MIN}, a divisor"));
        }
        let blocks = in_features / block_size;
        if spec.weights.len() != in_features * out_features || spec.scales.len() != blocks * out_features {
            return fail(format!("{} weights and {} scales for {geometry:?}", spec.weights.len(), spec.scales.len()));
        }
        if let Some(scale) = spec.scales.iter().find(|scale| !(scale.is_finite() && **scale >= 0.0)) {
            return fail(format!("the scale {scale} of a block"));
        }
        if let Some(bias) = spec.bias.filter(|bias| bias.len() != out_features) {
            return fail(format!("bias has {} elements for {out_features} output channels", bias.len()));
        }
        let is_xnnpack =
            spec.numerics == Numerics::Litert && spec.delegated && block_size.is_multiple_of(XNNPACK_BLOCK);
        let scale = |channel: usize, block: usize| {
            let scale = spec.scales[channel * blocks + block];
            if is_xnnpack { bf16::from_f32(scale).to_f32() } else { scale }
        };
        let mut products = Vec::with_capacity(blocks);
        let mut scales = Vec::with_capacity(spec.scales.len());
        let block_geometry = FullyConnectedGeometry { in_features: block_size, ..geometry };
        let mut weights = Vec::with_capacity(block_size * out_features);
        for block in 0..blocks {
            weights.clear();
            for row in spec.weights.chunks_exact(in_features) {
                weights.extend_from_slice(&row[block * block_size..][..block_size]);
            }
            let weights = Weights::I8(&weights);
            let activations = Activations::of::<i8>(0);
            products.push(ByteConv::new(block_geometry.as_conv_2d(), weights, 0, Bias::None, activations, None)?);
            scales.extend((0..out_features).map(|channel| scale(channel, block)));
        }
        let at_once = if is_xnnpack { SUMMED } else { block_size };
        let sum_of = |channel: usize| {
            let row = &spec.weights[channel * in_features..][..in_features];
            let each = row.chunks(at_once).enumerate();
            each.fold(0.0_f32, |sum, (at, weights)| {
                let weights: i32 = weights.iter().map(|&weight| i32::from(weight)).sum();
                sum + weights as f32 * scale(channel, at * at_once / block_size)
            })
        };
        let (low, high) = spec.activation.range();
        Ok(Self {
            geometry,
            block_size,
            is_xnnpack,
            products,
            scales,
            sums: (0..out_features).map(sum_of).collect(),
            bias: spec.bias.map_or_else(|| vec![0.0; out_features], <[f32]>::to_vec),
            bounds: (low as f32, high as f32),
        })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        let FullyConnectedGeometry { batch, in_features, .. } = self.geometry;
        let product = self.products.first().map_or(0, ByteConv::scratch_len);
        scratch_bytes::<RowParams>(batch) + batch * (in_features + self.block_size) + product
    }

    /// Runs. `input` is `batch in_features`, `output` is `batch out_features`.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[f32], output: &mut [f32], scratch: &mut [u8]) {
        let FullyConnectedGeometry { batch, in_features, out_features } = self.geometry;
        assert_eq!([input.len(), output.len()], [batch * in_features, batch * out_features], "the planned shapes");
        if output.is_empty() {
            return;
        }
        let (params, scratch) = scratch.split_at_mut(scratch_bytes::<RowParams>(batch));
        let params = &mut typed_scratch::<RowParams>(params)[..batch];
        let (quantized, scratch) = scratch.split_at_mut(batch * in_features);
        let (gathered, scratch) = scratch.split_at_mut(batch * self.block_size);
        let quantized: &mut [i8] = bytemuck::cast_slice_mut(quantized);
        let gathered: &mut [i8] = bytemuck::cast_slice_mut(gathered);
        let quantizer = if self.is_xnnpack { RowQuantizer::Xnnpack } else { RowQuantizer::Asymmetric };
        quantizer.run(ctx, in_features, input, quantized, params);
        let params = &*params;
        split(ctx.pool, output, out_features, |row, y| {
            let zero_point = if self.is_xnnpack { params[row].zero_point + UNSIGNED } else { 0 };
            begin(ctx.isa, y, &self.sums, -(zero_point as f32));
        });
        for (block, product) in self.products.iter().enumerate() {
            let rows = quantized.chunks_exact(in_features).zip(gathered.chunks_exact_mut(self.block_size));
            rows.for_each(|(row, to)| to.copy_from_slice(&row[block * self.block_size..][..self.block_size]));
            let scales = &self.scales[block * out_features..][..out_features];
            let store = |sums: &SumBlock<'_>, output: &mut [f32], stride: usize| {
                let scales = &scales[sums.channel..][..sums.columns];
                for (row, y) in sums.sums.chunks_exact(COLUMNS_MAX).zip(output.chunks_mut(stride)) {
                    if self.is_xnnpack {
                        add_fused(ctx.isa, &mut y[..sums.columns], row, sums.column_sums, scales);
                    } else {
                        add(ctx.isa, &mut y[..sums.columns], row, scales);
                    }
                }
            };
            product.run_sums(ctx, gathered, output, scratch, |row| params[row].zero_point, store);
        }
        split(ctx.pool, output, out_features, |row, y| {
            let RowParams { scale, zero_point, .. } = params[row];
            if !self.is_xnnpack {
                subtract(ctx.isa, y, &self.sums, zero_point as f32);
            }
            finish(ctx.isa, y, &self.bias, scale, self.bounds);
        });
    }
}

multiversion! {
    to avx2;
    fn begin<>(y: &mut [f32], sums: &[f32], factor: f32) {
        y.iter_mut().zip(sums).for_each(|(y, &sum)| *y = sum * factor);
    }
}

multiversion! {
    to avx2;
    fn add_fused<>(y: &mut [f32], sums: &[i32], column_sums: &[i32], scales: &[f32]) {
        for (((y, &sum), &column_sum), &scale) in y.iter_mut().zip(sums).zip(column_sums).zip(scales) {
            let unsigned = sum.wrapping_add(column_sum.wrapping_mul(UNSIGNED));
            *y = (unsigned as f32).mul_add(scale, *y);
        }
    }
}

multiversion! {
    to avx2;
    fn add<>(y: &mut [f32], sums: &[i32], scales: &[f32]) {
        for ((y, &sum), &scale) in y.iter_mut().zip(sums).zip(scales) {
            *y += sum as f32 * scale;
        }
    }
}

multiversion! {
    to avx2;
    fn subtract<>(y: &mut [f32], sums: &[f32], zero_point: f32) {
        y.iter_mut().zip(sums).for_each(|(y, &sum)| *y -= zero_point * sum);
    }
}

multiversion! {
    to avx2;
    fn finish<>(y: &mut [f32], bias: &[f32], scale: f32, bounds: (f32, f32)) {
        for (y, &bias) in y.iter_mut().zip(bias) {
            let value = *y * scale + bias;
            // NaN becomes the lower bound.
            let value = if value > bounds.0 { value } else { bounds.0 };
            *y = if value < bounds.1 { value } else { bounds.1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Pool};

    const BATCH: usize = 3;
    const DEPTH: usize = 192;
    const UNITS: usize = 37;

    fn weights() -> Vec<i8> {
        (0..UNITS * DEPTH).map(|index| (index * 7 % 13 % 16) as i8 - 6).collect()
    }

    fn input() -> Vec<f32> {
        (0..BATCH * DEPTH).map(|index| (index as f32 * 0.37).sin() + 0.25).collect()
    }

    fn run(spec: &BlockwiseSpec<'_>, isa: Isa, threads: usize) -> Vec<f32> {
        let geometry = FullyConnectedGeometry { batch: BATCH, in_features: DEPTH, out_features: UNITS };
        let planned = BlockwiseFullyConnected::new(geometry, spec).unwrap();
        let mut output = vec![f32::NAN; BATCH * UNITS];
        let mut scratch = vec![0; planned.scratch_bytes()];
        let pool = Pool::new(threads);
        planned.run(Context { isa, pool: &pool }, &input(), &mut output, &mut scratch);
        output
    }

    /// Every block has its scale, whatever the arithmetic, the instruction set and the threads.
    #[test]
    fn each_block_has_its_scale() {
        let (weights, x) = (weights(), input());
        for block_size in [16, 32, 48, 64, 96, 192] {
            let blocks = DEPTH / block_size;
            let scales: Vec<_> = (0..UNITS * blocks).map(|index| 2.0_f32.powi(-((index * 5 % 7) as i32))).collect();
            let bias: Vec<_> = (0..UNITS).map(|index| index as f32 - 20.0).collect();
            for (numerics, delegated, activation) in [
                (Numerics::Litert, true, Activation::None),
                (Numerics::Litert, true, Activation::Relu),
                (Numerics::Litert, false, Activation::None),
                (Numerics::Reference, true, Activation::Relu6),
            ] {
                let spec = BlockwiseSpec {
                    weights: &weights,
                    block_size,
                    scales: &scales,
                    bias: Some(&bias),
                    activation,
                    numerics,
                    delegated,
                };
                let found = run(&spec, Isa::Scalar, 1);
                let (low, high) = activation.range();
                for (index, &y) in found.iter().enumerate() {
                    let (row, unit) = (index / UNITS, index % UNITS);
                    let (mut expected, mut magnitude) = (f64::from(bias[unit]), 0.0);
                    for at in 0..DEPTH {
                        let weight = f64::from(weights[unit * DEPTH + at]);
                        let weight = weight * f64::from(scales[unit * blocks + at / block_size]);
                        expected += weight * f64::from(x[row * DEPTH + at]);
                        magnitude += weight.abs();
                    }
                    // Inputs from -0.75 to 1.25 are rounded to steps of 2 / 255.
                    let expected = expected.clamp(low, high);
                    let allowed = magnitude * 1.01 / 255.0;
                    assert!((f64::from(y) - expected).abs() < allowed, "{spec:?} {index}: {y} for {expected}");
                }
                for isa in Isa::available() {
                    for threads in [1, 2] {
                        assert_eq!(run(&spec, isa, threads), found, "{isa} {block_size} {numerics:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let geometry = FullyConnectedGeometry { batch: 1, in_features: 64, out_features: 2 };
        let right = BlockwiseSpec {
            weights: &[1; 128],
            block_size: 32,
            scales: &[0.5; 4],
            bias: None,
            activation: Activation::None,
            numerics: Numerics::Litert,
            delegated: true,
        };
        assert!(BlockwiseFullyConnected::new(geometry, &right).is_ok());
        for wrong in [
            BlockwiseSpec { weights: &[1; 127], ..right },
            BlockwiseSpec { block_size: 0, ..right },
            BlockwiseSpec { block_size: 8, scales: &[0.5; 16], ..right },
            BlockwiseSpec { block_size: 48, ..right },
            BlockwiseSpec { scales: &[0.5; 3], ..right },
            BlockwiseSpec { scales: &[0.5, f32::NAN, 0.5, 0.5], ..right },
            BlockwiseSpec { scales: &[0.5, -0.5, 0.5, 0.5], ..right },
            BlockwiseSpec { bias: Some(&[0.0; 3]), ..right },
        ] {
            assert!(BlockwiseFullyConnected::new(geometry, &wrong).is_err(), "{wrong:?}");
        }
    }
}

//! Integer DEPTHWISE_CONV_2D: int8, uint8 and int16 activations with 8-bit weights.

use super::DepthwiseConv2dGeometry;
use super::bytes::ByteDepthwise;
use super::sums::DepthwiseSums;
use crate::Then;
use crate::byte_conv::ByteConv;
use crate::byte_gemm::Activations;
use crate::conv_2d::Conv2dGeometry;
use crate::conv_2d::quantized::{Bias, QuantizedSpec};
use crate::integer_conv::{Weights, channel_scales, scratch_bytes, typed_scratch};
use crate::numerics::{Numerics, Quantized, builtin_range, xnnpack_range};
use crate::requantize::{OutputStage, Rounding};
use crate::{Context, Unsupported};
use bytemuck::{cast_slice, cast_slice_mut};
use std::marker::PhantomData;

const KERNEL: &str = "depthwise_conv_2d";
/// Channels made of one that fill enough of a matrix product's columns.
const CONV_CHANNELS: usize = 4;

/// A planned integer DEPTHWISE_CONV_2D on activations of type `T` (`i8`, `u8` or `i16`).
///
/// Litert: 8-bit runs in XNNPACK ([`Rounding::Float`]), int4 or computed weights in the builtin
/// ([`Rounding::UpTwiceBy8`]). Reference, and int16: [`Rounding::Reference`]. LiteRT refuses an
/// int16 one without an int64 bias; here a 32-bit bias is widened.
#[derive(Debug, Clone)]
pub struct QuantizedDepthwiseConv2d<T> {
    geometry: DepthwiseConv2dGeometry,
    product: Product,
    stage: OutputStage,
    input_zero_point: i32,
    element: PhantomData<T>,
}

#[derive(Debug, Clone)]
enum Product {
    /// 8-bit activations.
    Bytes(Box<ByteDepthwise>),
    /// 8-bit activations of one channel, of which some are made: a convolution.
    Conv(Box<ByteConv>),
    /// 16-bit activations, with the bias.
    Words(DepthwiseSums, Vec<i64>),
}

impl<T: Quantized> QuantizedDepthwiseConv2d<T> {
    /// Plans a convolution: checks sizes and parameters, widens the weights, computes the multipliers.
    ///
    /// # Errors
    /// A bad geometry, sizes or quantization parameters that do not fit it, or a type combination LiteRT has not.
    pub fn new(geometry: DepthwiseConv2dGeometry, spec: &QuantizedSpec<'_>) -> Result<Self, Unsupported> {
        geometry.check()?;
        spec.check::<T>(KERNEL)?;
        let channels = geometry.out_channels();
        spec.bias.check(KERNEL, channels)?;
        let bias = match spec.bias {
            Bias::None => vec![0; channels],
            Bias::I32(bias) => bias.iter().copied().map(i64::from).collect(),
            Bias::I64(_) if T::BITS == 8 => {
                return Err(Unsupported::new(KERNEL, "an int64 bias with 8-bit activations"));
            }
            Bias::I64(bias) => bias.to_vec(),
        };
        let scales = channel_scales(KERNEL, spec.weight_scales, channels)?;
        let xnnpack = spec.takes_xnnpack::<T>();
        let rounding = if xnnpack {
            Rounding::Float(spec.float_scales(&scales))
        } else if spec.numerics == Numerics::Litert && T::BITS == 8 && T::MIN != 0 {
            Rounding::UpTwiceBy8(spec.fixed_scales(&scales, false))
        } else {
            Rounding::Reference(spec.fixed_scales(&scales, T::MIN == 0))
        };
        let range = if xnnpack { xnnpack_range::<T> } else { builtin_range::<T> };
        let (min, max) = range(spec.activation, spec.output);
        let stage = OutputStage { rounding, zero_point: spec.output.zero_point, min, max };
        let QuantizedSpec { weights, weight_zero_point, input, .. } = *spec;
        let narrow: Vec<i32> = bias.iter().map(|&bias| bias as i32).collect();
        let product = if T::BITS == 8 && geometry.in_channels == 1 && channels >= CONV_CHANNELS {
            let conv = one_channel::<T>(geometry, spec, &narrow, &stage)?;
            Product::Conv(Box::new(conv))
        } else if T::BITS == 8 {
            Product::Bytes(Box::new(ByteDepthwise::new(
                geometry,
                weights,
                weight_zero_point,
                &narrow,
                Activations::of::<T>(input.zero_point),
                Some(&stage),
            )?))
        } else {
            Product::Words(DepthwiseSums::new(geometry, weights, weight_zero_point)?, bias)
        };
        Ok(Self { geometry, product, stage, input_zero_point: input.zero_point, element: PhantomData })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        match &self.product {
            Product::Bytes(conv) => conv.scratch_len(),
            Product::Conv(conv) => conv.scratch_len(),
            Product::Words(sums, _) => scratch_bytes::<i16>(sums.scratch_len()),
        }
    }

    /// The geometry it was planned for.
    #[must_use]
    pub fn geometry(&self) -> &DepthwiseConv2dGeometry {
        &self.geometry
    }

    /// Runs. `input` and `output` are NHWC.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[T], output: &mut [T], scratch: &mut [u8]) {
        self.run_then(ctx, input, output, scratch, None);
    }

    /// Whether [`Self::run_then`] can do something then: outputs have 8 bits, and so have the operands of the product.
    #[must_use]
    pub fn takes_then(&self) -> bool {
        matches!(self.product, Product::Bytes(_) | Product::Conv(_))
    }

    /// The same, and then what becomes of each output byte.
    ///
    /// # Panics
    /// As [`Self::run`], or if there is something to do then and it [cannot](Self::takes_then).
    pub fn run_then(
        &self,
        ctx: Context<'_>,
        input: &[T],
        output: &mut [T],
        scratch: &mut [u8],
        then: Option<Then<'_>>,
    ) {
        const BLOCK: usize = 64;
        let (sums, bias) = match &self.product {
            Product::Bytes(conv) => {
                return conv.run(ctx, &self.stage, cast_slice(input), cast_slice_mut(output), scratch, then);
            }
            Product::Conv(conv) => {
                return conv.run(ctx, &self.stage, cast_slice(input), cast_slice_mut(output), scratch, then);
            }
            Product::Words(sums, bias) => (sums, bias),
        };
        assert!(then.is_none(), "something to do with bytes for other outputs");
        let store = |_: usize, channel: usize, sums: &[i32], out: &mut [T]| {
            let mut wide = [0i64; BLOCK];
            for ((wide, &sum), &bias) in wide.iter_mut().zip(sums).zip(&bias[channel..]) {
                *wide = bias.wrapping_add(sum.into());
            }
            self.stage.store_wide(ctx.isa, &wide[..sums.len()], channel, out);
        };
        sums.run(ctx, input, output, typed_scratch(scratch), |_| self.input_zero_point, store);
    }
}

/// The convolution that makes the output channels of the only input channel.
fn one_channel<T: Quantized>(
    geometry: DepthwiseConv2dGeometry,
    spec: &QuantizedSpec<'_>,
    bias: &[i32],
    stage: &OutputStage,
) -> Result<ByteConv, Unsupported> {
    let DepthwiseConv2dGeometry { batch, height, width, multiplier: out_channels, .. } = geometry;
    if spec.weights.len() != geometry.weights_len() {
        let reason = format!("{} weights, expected {} for {geometry:?}", spec.weights.len(), geometry.weights_len());
        return Err(Unsupported::new(KERNEL, reason));
    }
    let taps = height.kernel * width.kernel;
    // From `tap channel` to `channel tap`.
    let order = (0..out_channels * taps).map(|at| at % taps * out_channels + at / taps);
    let (signed, unsigned): (Vec<i8>, Vec<u8>);
    let weights = match spec.weights {
        Weights::I8(from) => {
            signed = order.map(|at| from[at]).collect();
            Weights::I8(&signed)
        }
        Weights::U8(from) => {
            unsigned = order.map(|at| from[at]).collect();
            Weights::U8(&unsigned)
        }
    };
    let geometry = Conv2dGeometry { batch, height, width, in_channels: 1, out_channels, groups: 1 };
    let activations = Activations::of::<T>(spec.input.zero_point);
    ByteConv::new(geometry, weights, spec.weight_zero_point, Bias::I32(bias), activations, Some(stage))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv_2d::Window;
    use crate::{Activation, Isa, Numerics, Pool, QuantParams};
    use proptest::prelude::*;

    fn window() -> impl Strategy<Value = Window> {
        (1usize..12, 1usize..6, 1usize..4, 1usize..3, any::<bool>()).prop_map(
            |(input, kernel, stride, dilation, same)| {
                let reach = (kernel - 1) * dilation + 1;
                let output = if same { input.div_ceil(stride) } else { input.saturating_sub(reach) / stride + 1 };
                let missing = ((output - 1) * stride + reach).saturating_sub(input);
                let pad_before = if same { missing / 2 } else { 0 };
                Window { input, output, kernel, stride, dilation, pad_before }
            },
        )
    }

    /// The law: loops over the taps that fall on the image, then the output stage.
    fn reference<T: Quantized>(
        geometry: &DepthwiseConv2dGeometry,
        spec: &QuantizedSpec<'_>,
        stage: &OutputStage,
        input: &[T],
    ) -> Vec<T> {
        let DepthwiseConv2dGeometry { batch, height, width, in_channels, multiplier } = *geometry;
        let channels = geometry.out_channels();
        let mut output = Vec::new();
        for at in 0..batch * height.output * width.output * channels {
            let (pixel, channel) = (at / channels, at % channels);
            let (x, row) = (pixel % width.output, pixel / width.output);
            let (y, image) = (row % height.output, row / height.output);
            let mut sum = match spec.bias {
                Bias::I32(bias) => i64::from(bias[channel]),
                Bias::I64(bias) => bias[channel],
                Bias::None => 0,
            };
            for tap_y in height.taps(y) {
                for tap_x in width.taps(x) {
                    let in_y = y * height.stride + tap_y * height.dilation - height.pad_before;
                    let in_x = x * width.stride + tap_x * width.dilation - width.pad_before;
                    let pixel = (image * height.input + in_y) * width.input + in_x;
                    let value = input[pixel * in_channels + channel / multiplier].widen() - spec.input.zero_point;
                    let weight = spec.weights.at((tap_y * width.kernel + tap_x) * channels + channel);
                    sum += i64::from(value * (weight - spec.weight_zero_point));
                }
            }
            let mut out = [T::narrow(0)];
            if T::BITS == 16 {
                stage.store_wide(Isa::Scalar, &[sum], channel, &mut out);
            } else {
                stage.store(Isa::Scalar, &[sum as i32], channel, &mut out);
            }
            output.extend(out);
        }
        output
    }

    fn check<T: Quantized>(geometry: DepthwiseConv2dGeometry, spec: &QuantizedSpec<'_>, input: &[T]) {
        let plan = QuantizedDepthwiseConv2d::<T>::new(geometry, spec).expect("a plan");
        let expected = reference(&geometry, spec, &plan.stage, input);
        let mut scratch = vec![0x7f; plan.scratch_bytes()];
        for isa in Isa::available() {
            for threads in [1, 3] {
                let mut got = vec![T::narrow(1); geometry.output_len()];
                let pool = Pool::new(threads);
                plan.run(Context { pool: &pool, isa }, input, &mut got, &mut scratch);
                assert_eq!(got, expected, "{isa}, {threads} threads, {geometry:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(80))]

        #[test]
        fn every_path_agrees_with_the_loops(
            batch in 1usize..3,
            height in window(),
            width in window(),
            in_channels in prop_oneof![1usize..10, 15usize..34, 60usize..140],
            multiplier in prop_oneof![4 => Just(1usize), 1 => 2usize..4],
            zero_points in (-128i32..128, -128i32..128, 0i32..256, prop_oneof![Just(0), -128i32..128]),
            least in prop_oneof![Just(i8::MIN), Just(-i8::MAX)],
            mut seed in any::<u64>(),
        ) {
            let mut byte = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 56) as i8
            };
            let geometry = DepthwiseConv2dGeometry { batch, height, width, in_channels, multiplier };
            let channels = geometry.out_channels();
            let weights: Vec<i8> = (0..geometry.weights_len()).map(|_| byte().max(least)).collect();
            let unsigned: Vec<u8> = weights.iter().map(|&weight| weight as u8 ^ 0x80).collect();
            let bias: Vec<i32> = (0..channels).map(|_| i32::from(byte()) * 50).collect();
            let wide_bias: Vec<i64> = bias.iter().map(|&b| i64::from(b) << 20).collect();
            let scales: Vec<f32> = (0..channels).map(|_| 0.01 + f32::from(byte().unsigned_abs()) / 1e4).collect();
            let input: Vec<i8> = (0..geometry.input_len()).map(|_| byte()).collect();
            let bytes: Vec<u8> = input.iter().map(|&x| x as u8).collect();
            let words: Vec<i16> = input.iter().map(|&x| i16::from(x) * 256).collect();
            for numerics in [Numerics::Litert, Numerics::Reference] {
                let spec = QuantizedSpec {
                    input: QuantParams { scale: 0.1, zero_point: zero_points.0 },
                    weights: Weights::I8(&weights),
                    weight_scales: &scales,
                    weight_zero_point: zero_points.3,
                    bias: Bias::I32(&bias),
                    output: QuantParams { scale: 0.37, zero_point: zero_points.1 },
                    activation: Activation::Relu6,
                    numerics,
                    delegated: true,
                };
                check::<i8>(geometry, &spec, &input);
                let small = QuantParams { scale: 1e-4, zero_point: 0 };
                check::<i16>(geometry, &QuantizedSpec { input: small, output: small, bias: Bias::I64(&wide_bias), ..spec }, &words);
                let spec = QuantizedSpec {
                    input: QuantParams { scale: 0.1, zero_point: zero_points.0 + 128 },
                    weights: Weights::U8(&unsigned),
                    weight_scales: &[0.02],
                    weight_zero_point: zero_points.2,
                    output: QuantParams { scale: 0.37, zero_point: zero_points.1 + 128 },
                    ..spec
                };
                check::<u8>(geometry, &spec, &bytes);
            }
        }
    }
}

//! Integer CONV_2D: int8, uint8 and int16 activations with 8-bit weights.

use super::Conv2dGeometry;
use crate::Then;
use crate::byte_conv::ByteConv;
use crate::byte_gemm::Activations;
use crate::integer_conv::{IntegerConv, Sums, channel_scales, scratch_bytes, typed_scratch};
use crate::numerics::{Numerics, QuantParams, Quantized, builtin_range, check_activation, xnnpack_range};
use crate::requantize::{FixedPoint, OutputStage, Rounding};
use crate::{Activation, Context, Isa, Unsupported};
use bytemuck::{cast_slice, cast_slice_mut};
use std::marker::PhantomData;

pub use crate::integer_conv::{Bias, Weights};

const KERNEL: &str = "conv_2d";

/// What an integer CONV_2D or FULLY_CONNECTED computes, beside its geometry.
#[derive(Debug, Clone, Copy)]
pub struct QuantizedSpec<'a> {
    /// Quantization of the input. For int16 the zero point is 0.
    pub input: QuantParams,
    /// Weights as the file stores them.
    pub weights: Weights<'a>,
    /// One scale, or one for each output channel.
    pub weight_scales: &'a [f32],
    /// Zero point of all weights, a number of their type.
    pub weight_zero_point: i32,
    /// Bias.
    pub bias: Bias<'a>,
    /// Quantization of the output. For int16 the zero point is 0.
    pub output: QuantParams,
    /// Fused activation.
    pub activation: Activation,
    /// Whose arithmetic.
    pub numerics: Numerics,
    /// Whether LiteRT's default resolver may hand the op to XNNPACK, which takes constant weights of 8 bits.
    pub delegated: bool,
}

impl QuantizedSpec<'_> {
    /// Checks what does not depend on the op.
    pub(crate) fn check<T: Quantized>(&self, kernel: &'static str) -> Result<(), Unsupported> {
        self.input.check_operand::<T>(kernel, "input")?;
        self.output.check::<T>(kernel, "output")?;
        check_activation(kernel, self.activation)?;
        if T::BITS == 16 && (self.input.zero_point, self.output.zero_point) != (0, 0) {
            return Err(Unsupported::new(kernel, "int16 activations with a zero point other than 0"));
        }
        match self.weights {
            Weights::I8(_) if T::MIN == 0 => Err(Unsupported::new(kernel, "uint8 activations with int8 weights")),
            Weights::U8(_) if T::MIN != 0 => Err(Unsupported::new(kernel, "uint8 weights with signed activations")),
            Weights::U8(_) if self.weight_scales.len() > 1 => {
                Err(Unsupported::new(kernel, "uint8 weights with a scale for each channel"))
            }
            _ => Ok(()),
        }
    }

    /// Whether LiteRT hands the op to XNNPACK.
    pub(crate) fn takes_xnnpack<T: Quantized>(&self) -> bool {
        let delegated = self.delegated && self.numerics == Numerics::Litert && self.input.scale > 0.0;
        delegated && T::BITS == 8 && !matches!(self.bias, Bias::I64(_))
    }

    /// XNNPACK's multipliers: `input * weight / output` in f32, in this order.
    pub(crate) fn float_scales(&self, scales: &[f32]) -> Vec<f32> {
        scales.iter().map(|scale| self.input.scale * scale / self.output.scale).collect()
    }

    /// The builtins' multipliers: `input * weight / output` in f64; where the kernel has one for all channels
    /// (`product_in_f32`), the product is rounded to f32 first.
    pub(crate) fn double_scales(&self, scales: &[f32], product_in_f32: bool) -> Vec<f64> {
        let output = f64::from(self.output.scale);
        let product = |scale: f32| {
            if product_in_f32 {
                f64::from(self.input.scale * scale)
            } else {
                f64::from(self.input.scale) * f64::from(scale)
            }
        };
        scales.iter().map(|&scale| product(scale) / output).collect()
    }

    /// The same as fixed-point numbers.
    pub(crate) fn fixed_scales(&self, scales: &[f32], product_in_f32: bool) -> Vec<FixedPoint> {
        self.double_scales(scales, product_in_f32).into_iter().map(FixedPoint::new).collect()
    }
}

/// A planned integer CONV_2D on activations of type `T` (`i8`, `u8` or `i16`).
///
/// Litert: 8-bit runs in XNNPACK ([`Rounding::Float`]); int16 with an int32 bias in the optimized builtin
/// ([`Rounding::UpTwice`]), or the reference kernel when grouped. Reference, and int16 with an int64 bias:
/// [`Rounding::Reference`]. LiteRT refuses a quantized convolution without a bias; here it is one of zeros.
#[derive(Debug, Clone)]
pub struct QuantizedConv2d<T> {
    body: Body<T>,
}

impl<T: Quantized> QuantizedConv2d<T> {
    /// Plans a convolution: checks sizes and parameters, packs the weights, computes the multipliers.
    ///
    /// # Errors
    /// A bad geometry, sizes or quantization parameters that do not fit it, or a type combination LiteRT has not.
    pub fn new(geometry: Conv2dGeometry, spec: &QuantizedSpec<'_>) -> Result<Self, Unsupported> {
        Self::with_rounding(geometry, spec, |scales| {
            if spec.takes_xnnpack::<T>() {
                Rounding::Float(spec.float_scales(scales))
            } else if spec.numerics == Numerics::Litert && geometry.groups == 1 {
                Rounding::UpTwice(spec.fixed_scales(scales, T::MIN == 0))
            } else {
                Rounding::Reference(spec.fixed_scales(scales, T::MIN == 0))
            }
        })
    }

    /// The same with the rounding that `rounding` makes from a weight scale for each channel.
    pub(crate) fn with_rounding(
        geometry: Conv2dGeometry,
        spec: &QuantizedSpec<'_>,
        rounding: impl Fn(&[f32]) -> Rounding,
    ) -> Result<Self, Unsupported> {
        geometry.check()?;
        spec.check::<T>(KERNEL)?;
        let rounding = rounding(&channel_scales(KERNEL, spec.weight_scales, geometry.out_channels)?);
        let (min, max) = if spec.takes_xnnpack::<T>() {
            xnnpack_range::<T>(spec.activation, spec.output)
        } else {
            builtin_range::<T>(spec.activation, spec.output)
        };
        let stage = OutputStage { rounding, zero_point: spec.output.zero_point, min, max };
        Ok(Self { body: Body::new(geometry, spec, stage)? })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        self.body.scratch_bytes()
    }

    /// Bytes of the packed weights.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        self.body.packed_bytes()
    }

    /// The geometry it was planned for.
    #[must_use]
    pub fn geometry(&self) -> &Conv2dGeometry {
        self.body.geometry()
    }

    /// Runs. `input` and `output` are NHWC.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[T], output: &mut [T], scratch: &mut [u8]) {
        self.body.run(ctx, input, output, scratch, None);
    }

    /// Whether [`Self::run_then`] can do something then: outputs have 8 bits, and so have the operands of the product.
    #[must_use]
    pub fn takes_then(&self) -> bool {
        self.body.takes_then()
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
        self.body.run(ctx, input, output, scratch, then);
    }
}

/// The body shared with FULLY_CONNECTED.
#[derive(Debug, Clone)]
pub(crate) struct Body<T> {
    product: Product,
    stage: OutputStage,
    input_zero_point: i32,
    element: PhantomData<T>,
}

#[derive(Debug, Clone)]
enum Product {
    /// 8-bit activations.
    Bytes(ByteConv),
    /// 16-bit activations.
    Words(IntegerConv),
}

impl<T: Quantized> Body<T> {
    /// Packs the weights for a checked `geometry`.
    pub(crate) fn new(
        geometry: Conv2dGeometry,
        spec: &QuantizedSpec<'_>,
        stage: OutputStage,
    ) -> Result<Self, Unsupported> {
        let QuantizedSpec { weights, weight_zero_point, bias, input, .. } = *spec;
        // 64-bit sums are the other's.
        let product = if T::BITS == 8 && !matches!(bias, Bias::I64(_)) {
            let activations = Activations::of::<T>(input.zero_point);
            let conv = ByteConv::new(geometry, weights, weight_zero_point, bias, activations, Some(&stage))?;
            Product::Bytes(conv)
        } else {
            Product::Words(IntegerConv::new(geometry, weights, weight_zero_point, bias)?)
        };
        Ok(Self { product, stage, input_zero_point: input.zero_point, element: PhantomData })
    }

    pub(crate) fn scratch_bytes(&self) -> usize {
        match &self.product {
            Product::Bytes(conv) => conv.scratch_len(),
            Product::Words(conv) => scratch_bytes::<i16>(conv.scratch_len()),
        }
    }

    pub(crate) fn takes_then(&self) -> bool {
        matches!(self.product, Product::Bytes(_))
    }

    pub(crate) fn packed_bytes(&self) -> usize {
        match &self.product {
            Product::Bytes(conv) => conv.packed_bytes(),
            Product::Words(conv) => conv.packed_bytes(),
        }
    }

    fn geometry(&self) -> &Conv2dGeometry {
        match &self.product {
            Product::Bytes(conv) => conv.geometry(),
            Product::Words(conv) => conv.geometry(),
        }
    }

    pub(crate) fn run(
        &self,
        ctx: Context<'_>,
        input: &[T],
        output: &mut [T],
        scratch: &mut [u8],
        then: Option<Then<'_>>,
    ) {
        let stage = &self.stage;
        match &self.product {
            Product::Bytes(conv) => conv.run(ctx, stage, cast_slice(input), cast_slice_mut(output), scratch, then),
            Product::Words(conv) => {
                assert!(then.is_none(), "something to do with bytes for other outputs");
                let store = |_: usize, channel: usize, sums: Sums<'_>, out: &mut [T]| match sums {
                    Sums::Narrow(sums) => stage.store(ctx.isa, sums, channel, out),
                    Sums::Wide(sums) => stage.store_wide(ctx.isa, sums, channel, out),
                    Sums::Fitting(sums) => stage.store_wide_32(ctx.isa, sums, channel, out),
                };
                conv.run(ctx, input, output, typed_scratch(scratch), &|_| self.input_zero_point, &store);
            }
        }
    }
}

/// The law: loops over a checked `geometry`, summing `(input - zero point) * (weight - zero point)` where a tap falls on
/// the image, then the output stage. Sums are 32-bit and wrap, or 64-bit for a 64-bit bias.
pub fn reference<T: Quantized>(
    geometry: &Conv2dGeometry,
    spec: &QuantizedSpec<'_>,
    stage: &OutputStage,
    input: &[T],
    output: &mut [T],
) {
    let Conv2dGeometry { batch, height, width, in_channels, out_channels, groups } = *geometry;
    let (depth, per_group) = (in_channels / groups, out_channels / groups);
    let mut outputs = output.iter_mut();
    for image in 0..batch {
        for y in 0..height.output {
            for x in 0..width.output {
                for channel in 0..out_channels {
                    let mut sum = 0i64;
                    for tap_y in height.taps(y) {
                        for tap_x in width.taps(x) {
                            let in_y = y * height.stride + tap_y * height.dilation - height.pad_before;
                            let in_x = x * width.stride + tap_x * width.dilation - width.pad_before;
                            let pixel = ((image * height.input + in_y) * width.input + in_x) * in_channels;
                            let filter = ((channel * height.kernel + tap_y) * width.kernel + tap_x) * depth;
                            for element in 0..depth {
                                let value = input[pixel + channel / per_group * depth + element].widen();
                                let weight = spec.weights.at(filter + element) - spec.weight_zero_point;
                                sum += i64::from((value - spec.input.zero_point) * weight);
                            }
                        }
                    }
                    let Some(out) = outputs.next() else { return };
                    let out = std::slice::from_mut(out);
                    match spec.bias {
                        Bias::I64(bias) => {
                            stage.store_wide(Isa::Scalar, &[sum.wrapping_add(bias[channel])], channel, out)
                        }
                        Bias::I32(bias) => {
                            stage.store(Isa::Scalar, &[(sum as i32).wrapping_add(bias[channel])], channel, out)
                        }
                        Bias::None => stage.store(Isa::Scalar, &[sum as i32], channel, out),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pool;
    use crate::conv_2d::Window;
    use proptest::prelude::*;

    fn window() -> impl Strategy<Value = Window> {
        (1usize..9, 1usize..4, 1usize..3, 1usize..3, any::<bool>()).prop_map(
            |(input, kernel, stride, dilation, same)| {
                let reach = (kernel - 1) * dilation + 1;
                let output = if same { input.div_ceil(stride) } else { input.saturating_sub(reach) / stride + 1 };
                let missing = ((output - 1) * stride + reach).saturating_sub(input);
                let pad_before = if same { missing / 2 } else { 0 };
                Window { input, output, kernel, stride, dilation, pad_before }
            },
        )
    }

    fn bytes(len: usize, seed: &mut u64) -> Vec<i8> {
        let mut next = || {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*seed >> 56) as i8
        };
        (0..len).map(|_| next()).collect()
    }

    /// Runs the plan on every instruction set and 1 and 3 threads and compares with the loops of the reference.
    fn check<T: Quantized>(geometry: Conv2dGeometry, spec: &QuantizedSpec<'_>, input: &[T]) {
        let plan = QuantizedConv2d::<T>::new(geometry, spec).expect("a plan");
        let mut expected = vec![T::narrow(0); geometry.output_len()];
        reference(&geometry, spec, &plan.body.stage, input, &mut expected);
        let mut scratch = vec![0x7f; plan.scratch_bytes()];
        for &isa in Isa::ALL.iter().filter(|isa| isa.is_available()) {
            for threads in [1, 3] {
                let mut got = vec![T::narrow(1); geometry.output_len()];
                let pool = Pool::new(threads);
                plan.run(Context { pool: &pool, isa }, input, &mut got, &mut scratch);
                assert_eq!(got, expected, "{isa:?}, {threads} threads, {geometry:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn every_path_agrees_with_the_loops(
            batch in 1usize..4,
            height in window(),
            width in window(),
            depth in 1usize..6,
            per_group in 1usize..40,
            groups in 1usize..3,
            zero_points in (-128i32..128, -128i32..128, 0i32..256, prop_oneof![Just(0), -128i32..128]),
            least in prop_oneof![Just(i8::MIN), Just(-i8::MAX)],
            mut seed in any::<u64>(),
        ) {
            let (in_channels, out_channels) = (depth * groups, per_group * groups);
            let geometry = Conv2dGeometry { batch, height, width, in_channels, out_channels, groups };
            let weights: Vec<i8> =
                bytes(geometry.weights_len(), &mut seed).into_iter().map(|weight| weight.max(least)).collect();
            let bias: Vec<i32> = bytes(out_channels, &mut seed).into_iter().map(|b| i32::from(b) * 50).collect();
            let wide_bias: Vec<i64> = bias.iter().map(|&b| i64::from(b) << 20).collect();
            let scales: Vec<f32> =
                bytes(out_channels, &mut seed).into_iter().map(|s| 0.01 + f32::from(s.unsigned_abs()) / 1e4).collect();
            for numerics in [Numerics::Litert, Numerics::Reference] {
                let mut spec = QuantizedSpec {
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
                let input = bytes(geometry.input_len(), &mut seed);
                check::<i8>(geometry, &spec, &input);
                let unsigned = |bytes: &[i8]| bytes.iter().map(|&byte| byte as u8).collect::<Vec<_>>();
                let unsigned_spec = QuantizedSpec {
                    input: QuantParams { scale: 0.1, zero_point: zero_points.0 + 128 },
                    weights: Weights::U8(&unsigned(&weights)),
                    weight_scales: &[0.02],
                    weight_zero_point: zero_points.2,
                    output: QuantParams { scale: 0.37, zero_point: zero_points.1 + 128 },
                    ..spec
                };
                check::<u8>(geometry, &unsigned_spec, &unsigned(&input));
                spec.input = QuantParams { scale: 1e-4, zero_point: 0 };
                spec.output = QuantParams { scale: 2e-3, zero_point: 0 };
                let wide: Vec<i16> =
                    bytes(geometry.input_len(), &mut seed).into_iter().map(|x| i16::from(x) * 256).collect();
                check::<i16>(geometry, &spec, &wide);
                spec.bias = Bias::I64(&wide_bias);
                check::<i16>(geometry, &spec, &wide);
            }
        }
    }

    /// Large enough for kernels that smaller products are not worth.
    #[test]
    fn large_products_agree_with_the_loops() {
        let same = |input: usize, kernel: usize, stride: usize, dilation: usize| {
            let (reach, output) = ((kernel - 1) * dilation + 1, input.div_ceil(stride));
            let pad_before = ((output - 1) * stride + reach).saturating_sub(input) / 2;
            Window { input, output, kernel, stride, dilation, pad_before }
        };
        let mut seed = 5;
        for (batch, size, kernel, stride, dilation, [in_channels, out_channels, groups]) in [
            (1, [10, 10], 3, 1, 1, [20, 24, 1]),
            (1, [29, 26], 3, 1, 1, [8, 17, 1]),
            (1, [14, 14], 1, 1, 1, [44, 40, 1]),
            (2, [14, 14], 1, 2, 1, [72, 50, 1]),
            (1, [15, 13], 1, 2, 1, [72, 80, 1]),
            (1, [12, 12], 5, 1, 2, [20, 24, 1]),
            (3, [12, 12], 3, 1, 1, [40, 48, 2]),
            (1, [7, 8], 1, 1, 1, [160, 33, 1]),
            (1, [3, 3], 1, 1, 1, [1024, 32, 1]),
            (1, [7, 7], 3, 1, 1, [132, 35, 1]),
            (9, [1, 1], 1, 1, 1, [612, 70, 1]),
        ] {
            let [height, width] = size.map(|size| same(size, kernel, stride, dilation));
            let geometry = Conv2dGeometry { batch, height, width, in_channels, out_channels, groups };
            let weights = bytes(geometry.weights_len(), &mut seed);
            let bias: Vec<i32> = bytes(out_channels, &mut seed).into_iter().map(|b| i32::from(b) * 50).collect();
            let scales: Vec<f32> =
                bytes(out_channels, &mut seed).into_iter().map(|s| 1e-4 + f32::from(s.unsigned_abs()) / 1e5).collect();
            let spec = QuantizedSpec {
                input: QuantParams { scale: 0.1, zero_point: -7 },
                weights: Weights::I8(&weights),
                weight_scales: &scales,
                weight_zero_point: 0,
                bias: Bias::I32(&bias),
                output: QuantParams { scale: 0.37, zero_point: 3 },
                activation: Activation::None,
                numerics: Numerics::Litert,
                delegated: true,
            };
            let input = bytes(geometry.input_len(), &mut seed);
            check::<i8>(geometry, &spec, &input);
            let unsigned = |bytes: &[i8]| bytes.iter().map(|&byte| byte as u8 ^ 0x80).collect::<Vec<_>>();
            let spec = QuantizedSpec {
                input: QuantParams { scale: 0.1, zero_point: 121 },
                weights: Weights::U8(&unsigned(&weights)),
                weight_scales: &[1e-4],
                weight_zero_point: 128,
                output: QuantParams { scale: 0.37, zero_point: 131 },
                ..spec
            };
            check::<u8>(geometry, &spec, &unsigned(&input));
        }
    }

    #[test]
    fn sizes_of_zero_run() {
        let one = Window { input: 3, output: 3, kernel: 1, stride: 1, dilation: 1, pad_before: 0 };
        let params = QuantParams { scale: 0.1, zero_point: 0 };
        for (batch, in_channels, out_channels) in [(1, 0, 2), (1, 2, 0), (0, 2, 2)] {
            let geometry = Conv2dGeometry { batch, height: one, width: one, in_channels, out_channels, groups: 1 };
            let weights = vec![1; geometry.weights_len()];
            let spec = QuantizedSpec {
                input: params,
                weights: Weights::I8(&weights),
                weight_scales: &[0.1],
                weight_zero_point: 0,
                bias: Bias::I64(&vec![40; out_channels]),
                output: params,
                activation: Activation::None,
                numerics: Numerics::Litert,
                delegated: true,
            };
            check::<i16>(geometry, &spec, &vec![1; geometry.input_len()]);
        }
    }

    #[test]
    fn a_plan_refuses_what_does_not_fit() {
        let one = Window { input: 4, output: 4, kernel: 1, stride: 1, dilation: 1, pad_before: 0 };
        let geometry = Conv2dGeometry { batch: 1, height: one, width: one, in_channels: 2, out_channels: 3, groups: 1 };
        let params = QuantParams { scale: 0.1, zero_point: 0 };
        let spec = QuantizedSpec {
            input: params,
            weights: Weights::I8(&[1; 6]),
            weight_scales: &[0.1],
            weight_zero_point: 0,
            bias: Bias::I32(&[0; 3]),
            output: params,
            activation: Activation::None,
            numerics: Numerics::Litert,
            delegated: true,
        };
        assert!(QuantizedConv2d::<i8>::new(geometry, &spec).is_ok());
        let refused = |spec: &QuantizedSpec<'_>| QuantizedConv2d::<i8>::new(geometry, spec).unwrap_err().reason;
        assert!(refused(&QuantizedSpec { weights: Weights::I8(&[1; 5]), ..spec }).contains("5 weights, expected 6"));
        assert!(refused(&QuantizedSpec { bias: Bias::I32(&[0; 2]), ..spec }).contains("bias has 2 elements"));
        assert!(refused(&QuantizedSpec { weight_scales: &[0.1; 2], ..spec }).contains("2 weight scales"));
        assert!(refused(&QuantizedSpec { weight_scales: &[f32::NAN], ..spec }).contains("weight scale"));
        let far = QuantParams { scale: 0.1, zero_point: 200 };
        assert!(refused(&QuantizedSpec { output: far, ..spec }).contains("zero point 200"));
        assert!(refused(&QuantizedSpec { weights: Weights::U8(&[1; 6]), ..spec }).contains("uint8 weights"));
    }
}

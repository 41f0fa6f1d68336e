//! Integer CONV_2D: int8, uint8 and int16 activations with 8-bit weights.

use super::Conv2dGeometry;
use crate::integer_conv::{IntegerConv, Sums, channel_scales, scratch_bytes, typed_scratch};
use crate::numerics::{Numerics, QuantParams, Quantized, builtin_range, check_activation, xnnpack_range};
use crate::requantize::{FixedPoint, OutputStage, Rounding};
use crate::{Activation, Context, Unsupported};
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
    /// Zero point of all weights; 0 unless they are `u8`.
    pub weight_zero_point: i32,
    /// Bias.
    pub bias: Bias<'a>,
    /// Quantization of the output. For int16 the zero point is 0.
    pub output: QuantParams,
    /// Fused activation.
    pub activation: Activation,
    /// Whose arithmetic.
    pub numerics: Numerics,
}

impl QuantizedSpec<'_> {
    /// Checks what does not depend on the op.
    pub(crate) fn check<T: Quantized>(&self, kernel: &'static str) -> Result<(), Unsupported> {
        self.input.check::<T>(kernel, "input")?;
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
        self.numerics == Numerics::Litert && T::BITS == 8 && !matches!(self.bias, Bias::I64(_))
    }

    /// XNNPACK's multipliers: `input * weight / output` in f32, in this order.
    pub(crate) fn float_scales(&self, scales: &[f32]) -> Vec<f32> {
        scales.iter().map(|scale| self.input.scale * scale / self.output.scale).collect()
    }

    /// The builtins' multipliers: `input * weight / output` in f64; for uint8 the product is rounded to f32 first.
    pub(crate) fn double_scales<T: Quantized>(&self, scales: &[f32]) -> Vec<f64> {
        let output = f64::from(self.output.scale);
        let product = |scale: f32| {
            if T::MIN == 0 {
                f64::from(self.input.scale * scale)
            } else {
                f64::from(self.input.scale) * f64::from(scale)
            }
        };
        scales.iter().map(|&scale| product(scale) / output).collect()
    }

    pub(crate) fn fixed_scales<T: Quantized>(&self, scales: &[f32]) -> Vec<FixedPoint> {
        self.double_scales::<T>(scales).into_iter().map(FixedPoint::new).collect()
    }
}

/// A planned integer CONV_2D on activations of type `T` (`i8`, `u8` or `i16`).
///
/// Litert: 8-bit runs in XNNPACK ([`Rounding::Float`]); int16 with an int32 bias in the optimized builtin
/// ([`Rounding::UpTwice`]), or the reference kernel when grouped. Reference, and int16 with an int64 bias:
/// [`Rounding::Reference`]. LiteRT refuses a quantized convolution without a bias; here it is one of zeros.
#[derive(Debug, Clone)]
pub struct QuantizedConv2d<T> {
    conv: IntegerConv,
    stage: OutputStage,
    input_zero_point: i32,
    element: PhantomData<T>,
}

impl<T: Quantized> QuantizedConv2d<T> {
    /// Plans a convolution: checks sizes and parameters, packs the weights, computes the multipliers.
    ///
    /// # Errors
    /// A bad geometry, sizes or quantization parameters that do not fit it, or a type combination LiteRT has not.
    pub fn new(geometry: Conv2dGeometry, spec: &QuantizedSpec<'_>) -> Result<Self, Unsupported> {
        geometry.check()?;
        spec.check::<T>(KERNEL)?;
        let conv = IntegerConv::new(geometry, spec.weights, spec.weight_zero_point, spec.bias)?;
        let scales = channel_scales(KERNEL, spec.weight_scales, geometry.out_channels)?;
        let xnnpack = spec.takes_xnnpack::<T>();
        let rounding = if xnnpack {
            Rounding::Float(spec.float_scales(&scales))
        } else if spec.numerics == Numerics::Litert && geometry.groups == 1 {
            Rounding::UpTwice(spec.fixed_scales::<T>(&scales))
        } else {
            Rounding::Reference(spec.fixed_scales::<T>(&scales))
        };
        let (min, max) = if xnnpack {
            xnnpack_range::<T>(spec.activation, spec.output)
        } else {
            builtin_range::<T>(spec.activation, spec.output)
        };
        let stage = OutputStage { rounding, zero_point: spec.output.zero_point, min, max };
        Ok(Self { conv, stage, input_zero_point: spec.input.zero_point, element: PhantomData })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        scratch_bytes::<i16>(self.conv.scratch_len())
    }

    /// Bytes of the packed weights.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        self.conv.packed_bytes()
    }

    /// The geometry it was planned for.
    #[must_use]
    pub fn geometry(&self) -> &Conv2dGeometry {
        self.conv.geometry()
    }

    /// Runs. `input` and `output` are NHWC.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[T], output: &mut [T], scratch: &mut [u8]) {
        run_stage(&self.conv, &self.stage, self.input_zero_point, ctx, input, output, scratch);
    }
}

/// The body shared with FULLY_CONNECTED.
pub(crate) fn run_stage<T: Quantized>(
    conv: &IntegerConv,
    stage: &OutputStage,
    zero_point: i32,
    ctx: Context<'_>,
    input: &[T],
    output: &mut [T],
    scratch: &mut [u8],
) {
    let store = |_: usize, channel: usize, sums: Sums<'_>, out: &mut [T]| match sums {
        Sums::Narrow(sums) => stage.store(sums, channel, out),
        Sums::Wide(sums) => stage.store_wide(sums, channel, out),
    };
    conv.run(ctx, input, output, typed_scratch(scratch), |_| zero_point, store);
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
                        Bias::I64(bias) => stage.store_wide(&[sum.wrapping_add(bias[channel])], channel, out),
                        Bias::I32(bias) => stage.store(&[(sum as i32).wrapping_add(bias[channel])], channel, out),
                        Bias::None => stage.store(&[sum as i32], channel, out),
                    }
                }
            }
        }
    }
}

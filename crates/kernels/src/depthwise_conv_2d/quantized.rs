//! Integer DEPTHWISE_CONV_2D: int8, uint8 and int16 activations with 8-bit weights.

use super::DepthwiseConv2dGeometry;
use super::sums::DepthwiseSums;
use crate::conv_2d::quantized::{Bias, QuantizedSpec};
use crate::integer_conv::{channel_scales, scratch_bytes, typed_scratch};
use crate::numerics::{Numerics, Quantized, builtin_range, xnnpack_range};
use crate::requantize::{OutputStage, Rounding};
use crate::{Context, Unsupported};
use std::marker::PhantomData;

const KERNEL: &str = "depthwise_conv_2d";

/// A planned integer DEPTHWISE_CONV_2D on activations of type `T` (`i8`, `u8` or `i16`).
///
/// Litert: 8-bit runs in XNNPACK ([`Rounding::Float`]), int4 or computed weights in the builtin
/// ([`Rounding::UpTwiceBy8`]). Reference, and int16: [`Rounding::Reference`]. LiteRT refuses an
/// int16 one without an int64 bias; here a 32-bit bias is widened.
#[derive(Debug, Clone)]
pub struct QuantizedDepthwiseConv2d<T> {
    sums: DepthwiseSums,
    stage: OutputStage,
    bias: Vec<i64>,
    input_zero_point: i32,
    element: PhantomData<T>,
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
        let sums = DepthwiseSums::new(geometry, spec.weights, spec.weight_zero_point)?;
        Ok(Self { sums, stage, bias, input_zero_point: spec.input.zero_point, element: PhantomData })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        scratch_bytes::<i16>(self.sums.scratch_len())
    }

    /// The geometry it was planned for.
    #[must_use]
    pub fn geometry(&self) -> &DepthwiseConv2dGeometry {
        self.sums.geometry()
    }

    /// Runs. `input` and `output` are NHWC.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[T], output: &mut [T], scratch: &mut [u8]) {
        const BLOCK: usize = 64;
        let store = |_: usize, channel: usize, sums: &[i32], out: &mut [T]| {
            let bias = &self.bias[channel..channel + sums.len()];
            if T::BITS == 16 {
                let mut wide = [0i64; BLOCK];
                for ((wide, &sum), &bias) in wide.iter_mut().zip(sums).zip(bias) {
                    *wide = bias.wrapping_add(sum.into());
                }
                self.stage.store_wide(&wide[..sums.len()], channel, out);
            } else {
                let mut biased = [0i32; BLOCK];
                for ((biased, &sum), &bias) in biased.iter_mut().zip(sums).zip(bias) {
                    *biased = sum.wrapping_add(bias as i32);
                }
                self.stage.store(ctx.isa, &biased[..sums.len()], channel, out);
            }
        };
        self.sums.run(ctx, input, output, typed_scratch(scratch), |_| self.input_zero_point, store);
    }
}

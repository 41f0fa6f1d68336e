//! Integer TRANSPOSE_CONV: int8, uint8 and int16 activations with 8-bit weights.

use super::{Phases, TransposeConvGeometry};
use crate::conv_2d::quantized::{Bias, QuantizedConv2d, QuantizedSpec, Weights};
use crate::integer_conv::{scratch_bytes, typed_scratch};
use crate::numerics::{Numerics, Quantized};
use crate::requantize::Rounding;
use crate::{Context, Unsupported};
use bytemuck::cast_slice;

/// A planned integer TRANSPOSE_CONV on activations of type `T` (`i8`, `u8` or `i16`).
///
/// Litert: 8-bit runs in XNNPACK ([`Rounding::Float`]); what is not delegated, and int16 with an int32 bias, in the optimized
/// builtin ([`Rounding::UpTwiceBy8`]). Reference, and int16 with an int64 bias or none: [`Rounding::Reference`].
#[derive(Debug, Clone)]
pub struct QuantizedTransposeConv<T> {
    phases: Phases<QuantizedConv2d<T>>,
    zero: T,
    conv_bytes: usize,
}

impl<T: Quantized> QuantizedTransposeConv<T> {
    /// Plans a transposed convolution: checks sizes and parameters, packs the weights, computes the multipliers.
    ///
    /// # Errors
    /// A bad geometry, sizes or quantization parameters that do not fit it, or a type combination LiteRT has not.
    pub fn new(geometry: TransposeConvGeometry, spec: &QuantizedSpec<'_>) -> Result<Self, Unsupported> {
        let zeros = vec![0; geometry.out_channels];
        // Without a bias LiteRT's int16 sums have 64 bits.
        let bias = match spec.bias {
            Bias::None if T::BITS == 16 => Bias::I64(&zeros),
            bias => bias,
        };
        let spec = QuantizedSpec { bias, ..*spec };
        let wide = matches!(bias, Bias::I64(_));
        let rounding = |scales: &[f32]| {
            if spec.takes_xnnpack::<T>() {
                Rounding::Float(spec.float_scales(scales))
            } else if spec.numerics == Numerics::Litert && !wide {
                Rounding::UpTwiceBy8(spec.fixed_scales(scales, T::MIN == 0))
            } else {
                Rounding::Reference(spec.fixed_scales(scales, T::MIN == 0))
            }
        };
        let (weights, zero, unsigned) = match spec.weights {
            Weights::I8(weights) => {
                (cast_slice(weights), i8::try_from(spec.weight_zero_point).unwrap_or(0).cast_unsigned(), false)
            }
            Weights::U8(weights) => (weights, u8::try_from(spec.weight_zero_point).unwrap_or(0), true),
        };
        let phases = Phases::new(geometry, weights, zero, |geometry, part| {
            let weights = if unsigned { Weights::U8(part) } else { Weights::I8(cast_slice(part)) };
            QuantizedConv2d::with_rounding(geometry, &QuantizedSpec { weights, ..spec }, rounding)
        })?;
        let conv_bytes = phases.all().map(QuantizedConv2d::scratch_bytes).max().unwrap_or(0);
        Ok(Self { phases, zero: T::narrow(spec.input.zero_point), conv_bytes })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        scratch_bytes::<T>(self.phases.part_len + self.phases.geometry.in_channels) + self.conv_bytes
    }

    /// Runs. `input` and `output` are NHWC.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[T], output: &mut [T], scratch: &mut [u8]) {
        let own = self.phases.part_len + self.phases.geometry.in_channels;
        let (part, scratch) = scratch.split_at_mut(scratch_bytes::<T>(own));
        let (part, pixel) = typed_scratch::<T>(part)[..own].split_at_mut(self.phases.part_len);
        pixel.fill(self.zero);
        self.phases.run(input, pixel, output, part, |conv, x, y| {
            conv.run(ctx, x, y, &mut scratch[..conv.scratch_bytes()]);
        });
    }
}

//! Integer FULLY_CONNECTED: int8, uint8 and int16 activations with 8-bit weights.

use super::FullyConnectedGeometry;
use crate::Then;
use crate::conv_2d::quantized::{Body, QuantizedSpec};
use crate::conv_2d::{Conv2dGeometry, Window};
use crate::integer_conv::{Bias, channel_scales};
use crate::numerics::{Numerics, Quantized, builtin_range, xnnpack_range};
use crate::requantize::{OutputStage, Rounding};
use crate::{Context, Unsupported};

const KERNEL: &str = "fully_connected";

impl FullyConnectedGeometry {
    /// The same product as a 1x1 convolution of 1x1 images.
    pub(crate) fn as_conv_2d(&self) -> Conv2dGeometry {
        let one = Window { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad_before: 0 };
        Conv2dGeometry {
            batch: self.batch,
            height: one,
            width: one,
            in_channels: self.in_features,
            out_channels: self.out_features,
            groups: 1,
        }
    }
}

/// A planned integer FULLY_CONNECTED on activations of type `T` (`i8`, `u8` or `i16`).
///
/// Litert: 8-bit runs in XNNPACK ([`Rounding::Float`]), with or without a bias; int16 with an int32 bias or none in the
/// optimized builtin ([`Rounding::UpTwice`]) unless weights have a zero point. Reference, and other int16:
/// [`Rounding::Double`].
#[derive(Debug, Clone)]
pub struct QuantizedFullyConnected<T> {
    body: Body<T>,
}

impl<T: Quantized> QuantizedFullyConnected<T> {
    /// Plans a layer: checks sizes and parameters, packs the weights (`out_features in_features`), computes the
    /// multipliers.
    ///
    /// # Errors
    /// A bad geometry, sizes or quantization parameters that do not fit it, or a type combination LiteRT has not.
    pub fn new(geometry: FullyConnectedGeometry, spec: &QuantizedSpec<'_>) -> Result<Self, Unsupported> {
        geometry.check()?;
        spec.check::<T>(KERNEL)?;
        let scales = channel_scales(KERNEL, spec.weight_scales, geometry.out_features)?;
        let xnnpack = spec.takes_xnnpack::<T>();
        // The optimized int16 builtin has no zero point of weights.
        let reference_only = T::BITS == 16 && spec.weight_zero_point != 0;
        let rounding = if xnnpack {
            Rounding::Float(spec.float_scales(&scales))
        } else if spec.numerics == Numerics::Litert && !matches!(spec.bias, Bias::I64(_)) && !reference_only {
            Rounding::UpTwice(spec.fixed_scales(&scales, spec.weight_scales.len() == 1))
        } else {
            Rounding::Double(spec.double_scales(&scales, false))
        };
        let (min, max) = if xnnpack {
            xnnpack_range::<T>(spec.activation, spec.output)
        } else {
            builtin_range::<T>(spec.activation, spec.output)
        };
        let stage = OutputStage { rounding, zero_point: spec.output.zero_point, min, max };
        Ok(Self { body: Body::new(geometry.as_conv_2d(), spec, stage)? })
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

    /// Runs. `input` is `batch in_features`, `output` is `batch out_features`.
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
    /// If there is something to do then and it [cannot](Self::takes_then).
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

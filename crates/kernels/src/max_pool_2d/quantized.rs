//! Integer MAX_POOL_2D. Values pass through; the scales of input and output are taken to be equal, as LiteRT does.

use crate::dispatch::multiversion;
use crate::numerics::{Numerics, QuantParams, Quantized, builtin_range, check_activation, xnnpack_range};
use crate::pool_2d::{Pool2dGeometry, Taps};
use crate::{Activation, Context, Unsupported};
use std::marker::PhantomData;

const KERNEL: &str = "max_pool_2d";

/// A planned integer MAX_POOL_2D on `i8`, `u8` or `i16`.
#[derive(Debug, Clone)]
pub struct QuantizedMaxPool2d<T> {
    geometry: Pool2dGeometry,
    min: i32,
    max: i32,
    element: PhantomData<T>,
}

impl<T: Quantized> QuantizedMaxPool2d<T> {
    /// Plans a pooling. `output` only places the bounds of the activation.
    ///
    /// Litert: 8-bit runs in XNNPACK unless a stride exceeds its window; the two compute the bounds differently.
    ///
    /// # Errors
    /// A bad geometry or quantization.
    pub fn new(
        geometry: Pool2dGeometry,
        output: QuantParams,
        activation: Activation,
        numerics: Numerics,
    ) -> Result<Self, Unsupported> {
        geometry.check(KERNEL)?;
        check_activation(KERNEL, activation)?;
        output.check::<T>(KERNEL, "output")?;
        let (height, width) = (geometry.height, geometry.width);
        let delegated = T::BITS == 8 && height.stride <= height.kernel && width.stride <= width.kernel;
        let (min, max) = if numerics == Numerics::Litert && delegated {
            xnnpack_range::<T>(activation, output)
        } else {
            builtin_range::<T>(activation, output)
        };
        Ok(Self { geometry, min, max, element: PhantomData })
    }

    /// Runs. `input` and `output` are NHWC.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[T], output: &mut [T]) {
        let Pool2dGeometry { height, width, channels, .. } = self.geometry;
        assert_eq!(input.len(), self.geometry.input_len(), "input elements");
        assert_eq!(output.len(), self.geometry.output_len(), "output elements");
        let bounds = (T::narrow(self.min), T::narrow(self.max));
        let image_len = height.input * width.input * channels;
        self.geometry.each_row(ctx.pool, output, |image, y, output| {
            pool_row(ctx.isa, &self.geometry, &input[image * image_len..][..image_len], y, bounds, output);
        });
    }
}

multiversion! {
    // A vector of AVX2 holds the 32 bytes that are done together.
    to avx2;
    /// Output row `y`.
    fn pool_row<T: Quantized>(geometry: &Pool2dGeometry, image: &[T], y: usize, bounds: (T, T), output: &mut [T]) {
        for (x, output) in output.chunks_exact_mut(geometry.channels).enumerate() {
            let taps = Taps::new(geometry, image, y, x);
            // No value on the image is below the smallest.
            let (least, clamp) = (T::narrow(T::MIN), |best: T| best.max(bounds.0).min(bounds.1));
            if !taps.for_channels_of_four(output, least, T::max, clamp) {
                taps.for_channels(output, least, T::max, clamp);
            }
        }
    }
}

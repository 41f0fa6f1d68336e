//! Integer AVERAGE_POOL_2D. LiteRT runs it in the builtin in both modes; the scales of input and output are equal.

use crate::dispatch::multiversion;
use crate::numerics::{QuantParams, Quantized, builtin_range, check_activation};
use crate::pool_2d::{Pool2dGeometry, Taps};
use crate::{Activation, Context, Unsupported};
use std::marker::PhantomData;

const KERNEL: &str = "average_pool_2d";

/// A planned integer AVERAGE_POOL_2D on `i8`, `u8` or `i16`; the same in both numerics.
#[derive(Debug, Clone)]
pub struct QuantizedAveragePool2d<T> {
    geometry: Pool2dGeometry,
    min: i32,
    max: i32,
    element: PhantomData<T>,
}

impl<T: Quantized> QuantizedAveragePool2d<T> {
    /// Plans a pooling. `output` only places the bounds of the activation.
    ///
    /// # Errors
    /// A bad geometry or quantization, or a window whose sum could overflow 32 bits.
    pub fn new(geometry: Pool2dGeometry, output: QuantParams, activation: Activation) -> Result<Self, Unsupported> {
        geometry.check(KERNEL)?;
        check_activation(KERNEL, activation)?;
        output.check::<T>(KERNEL, "output")?;
        let taps = geometry.height.kernel.saturating_mul(geometry.width.kernel);
        if taps > 1 << 15 {
            return Err(Unsupported::new(KERNEL, format!("a window of {taps} elements, at most 32768")));
        }
        let (min, max) = builtin_range::<T>(activation, output);
        Ok(Self { geometry, min, max, element: PhantomData })
    }

    /// Runs. `input` and `output` are NHWC. Sums the elements on the image and divides by their number, halves away
    /// from zero (LiteRT `reference/integer_ops/pooling.h`).
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[T], output: &mut [T]) {
        let Pool2dGeometry { height, width, channels, .. } = self.geometry;
        assert_eq!(input.len(), self.geometry.input_len(), "input elements");
        assert_eq!(output.len(), self.geometry.output_len(), "output elements");
        let image_len = height.input * width.input * channels;
        self.geometry.each_row(ctx.pool, output, |image, y, output| {
            let image = &input[image * image_len..][..image_len];
            pool_row(ctx.isa, &self.geometry, image, y, (self.min, self.max), output);
        });
    }
}

multiversion! {
    to avx2;
    /// Output row `y`.
    fn pool_row<T: Quantized>(geometry: &Pool2dGeometry, image: &[T], y: usize, bounds: (i32, i32), output: &mut [T]) {
        for (x, output) in output.chunks_exact_mut(geometry.channels).enumerate() {
            let taps = Taps::new(geometry, image, y, x);
            let count = taps.count() as i32;
            taps.for_channels(output, 0, |sum, x: T| sum + x.widen(), |sum| {
                let half = if sum > 0 { count / 2 } else { -(count / 2) };
                // In f64 the quotient of two such integers never rounds up to the next one.
                let quotient = (f64::from(sum + half) / f64::from(count)) as i32;
                T::narrow(quotient.clamp(bounds.0, bounds.1))
            });
        }
    }
}

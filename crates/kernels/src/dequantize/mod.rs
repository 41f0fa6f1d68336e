//! DEQUANTIZE: quantized or half-precision values to float.

use crate::integer_conv::split;
use crate::numerics::{QuantParams, Quantized};
use crate::{Context, Unsupported};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::marker::PhantomData;

const KERNEL: &str = "dequantize";
const CHUNK: usize = 16 << 10;

/// A planned DEQUANTIZE from `i8`, `u8` or `i16`.
#[derive(Debug, Clone)]
pub struct Dequantize<T> {
    input: QuantParams,
    element: PhantomData<T>,
}

impl<T: Quantized> Dequantize<T> {
    /// Plans it: `scale * (value - zero_point)`, rounded once to f32 in both numerics (the integer is exact in f32, and
    /// the f64 product of the reference is rounded to f32 at the end).
    ///
    /// # Errors
    /// A bad quantization.
    pub fn new(input: QuantParams) -> Result<Self, Unsupported> {
        input.check::<T>(KERNEL, "input")?;
        Ok(Self { input, element: PhantomData })
    }

    /// Runs.
    ///
    /// # Panics
    /// If the buffers differ in size.
    pub fn run(&self, ctx: Context<'_>, input: &[T], output: &mut [f32]) {
        assert_eq!(input.len(), output.len(), "input and output elements");
        let QuantParams { scale, zero_point } = self.input;
        split(ctx.pool, output, CHUNK, |task, output| {
            let input = &input[task * CHUNK..task * CHUNK + output.len()];
            for (out, value) in output.iter_mut().zip(input) {
                *out = (value.widen() - zero_point) as f32 * scale;
            }
        });
    }
}

/// Half precision to single precision, exact.
///
/// # Panics
/// If the buffers differ in size.
pub fn dequantize_f16(ctx: Context<'_>, input: &[f16], output: &mut [f32]) {
    assert_eq!(input.len(), output.len(), "input and output elements");
    split(ctx.pool, output, CHUNK, |task, output| {
        input[task * CHUNK..task * CHUNK + output.len()].convert_to_f32_slice(output);
    });
}

//! DEQUANTIZE: quantized or half-precision values to float.

use crate::integer_conv::{share_out, split};
use crate::numerics::{QuantParams, Quantized};
use crate::{Context, Unsupported};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::marker::PhantomData;

const KERNEL: &str = "dequantize";
/// Elements that are worth a thread.
const WORTH: usize = 4 << 10;

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
        share_out(ctx.pool, output, WORTH, &|first, output| {
            let input = &input[first..][..output.len()];
            for (out, value) in output.iter_mut().zip(input) {
                *out = (value.widen() - zero_point) as f32 * scale;
            }
        });
    }
}

/// A planned DEQUANTIZE of `i8` or `u8` with parameters for each index along an axis: constants that are stored so.
#[derive(Debug, Clone)]
pub struct DequantizeChannels<T> {
    params: Vec<QuantParams>,
    /// Elements from one index along the axis to the next.
    inner: usize,
    element: PhantomData<T>,
}

impl<T: Quantized> DequantizeChannels<T> {
    /// Plans it, as [`Dequantize::new`] does (LiteRT `reference/dequantize.h`, `PerChannelDequantize`). `inner` is the product
    /// of the sizes behind the axis.
    ///
    /// # Errors
    /// A bad quantization, or no parameters.
    pub fn new(params: Vec<QuantParams>, inner: usize) -> Result<Self, Unsupported> {
        if params.is_empty() || inner == 0 {
            return Err(Unsupported::new(KERNEL, format!("{} channels of {inner} elements", params.len())));
        }
        params.iter().try_for_each(|params| params.check::<T>(KERNEL, "input"))?;
        Ok(Self { params, inner, element: PhantomData })
    }

    /// Runs.
    ///
    /// # Panics
    /// If the buffers differ in size.
    pub fn run(&self, ctx: Context<'_>, input: &[T], output: &mut [f32]) {
        assert_eq!(input.len(), output.len(), "input and output elements");
        split(ctx.pool, output, self.inner, |row, output| {
            let QuantParams { scale, zero_point } = self.params[row % self.params.len()];
            for (out, value) in output.iter_mut().zip(&input[row * self.inner..]) {
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
    share_out(ctx.pool, output, WORTH, &|first, output| {
        input[first..][..output.len()].convert_to_f32_slice(output);
    });
}

/// Scales and zero points along one axis; one of each for all elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Channels {
    /// Real units per step.
    pub scales: Vec<f32>,
    /// What stands for 0, as many.
    pub zero_points: Vec<i32>,
    /// Elements from one channel to the next.
    pub stride: usize,
}

impl Channels {
    /// Scale and zero point of element `index`.
    #[inline]
    fn at(&self, index: usize) -> (f32, i32) {
        let channel = if self.scales.len() == 1 { 0 } else { index / self.stride % self.scales.len() };
        (self.scales[channel], self.zero_points[channel])
    }
}

/// `scale * (value - zero_point)` of each channel, rounded once; `value(index)` is an element of at most 16 bits.
///
/// # Panics
/// If there is no channel, or the stride is 0.
pub fn dequantize_channels(
    ctx: Context<'_>,
    channels: &Channels,
    value: impl Fn(usize) -> i32 + Sync,
    output: &mut [f32],
) {
    share_out(ctx.pool, output, WORTH, &|first, output| {
        for (index, out) in (first..).zip(output) {
            let (scale, zero_point) = channels.at(index);
            *out = scale * (value(index) - zero_point) as f32;
        }
    });
}

/// `round(value / scale) + zero_point` of each channel, halves away from 0, cut to `range` (LiteRT
/// `reference/quantize.h`, `PerChannelQuantize`): element `index` of the result.
#[must_use]
pub fn quantize_to_channel(channels: &Channels, index: usize, value: f32, (min, max): (i32, i32)) -> i32 {
    let (scale, zero_point) = channels.at(index);
    crate::quantize::truncate((value / scale).round()).wrapping_add(zero_point).clamp(min, max)
}

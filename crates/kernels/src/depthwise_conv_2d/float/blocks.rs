//! Blocks of channels that stay in registers over all taps. Each product is rounded: the same bytes on every instruction
//! set.

use crate::depthwise_conv_2d::DepthwiseConv2dGeometry;
use crate::dispatch::multiversion;
use crate::{Activation, Real};

/// Channels of the blocks for the bulk, and for what is left: a few vectors, and one.
const WIDE: usize = 32;
const NARROW: usize = 8;

/// The input channels that output channels `first..first + B` see.
#[inline(always)]
fn inputs<T: Real, const B: usize>(pixel: &[T], multiplier: usize, first: usize) -> [T; B] {
    let mut inputs = [T::ZERO; B];
    match (multiplier, pixel) {
        (1, _) => inputs.copy_from_slice(&pixel[first..first + B]),
        (_, &[only]) => inputs = [only; B],
        _ => inputs.iter_mut().enumerate().for_each(|(i, x)| *x = pixel[(first + i) / multiplier]),
    }
    inputs
}

#[inline(always)]
fn add_product<T: Real, const B: usize>(sums: &mut [T; B], a: &[T; B], b: &[T]) {
    let b = &b[..B];
    for i in 0..B {
        sums[i] += a[i] * b[i];
    }
}

/// Calls `visit::<B>(first channel)` for blocks that cover `channels`.
macro_rules! for_blocks {
    ($channels:expr, $visit:ident ( $($argument:expr),* )) => {{
        let mut first = 0;
        while first + WIDE <= $channels {
            $visit::<T, WIDE>(first, $($argument),*);
            first += WIDE;
        }
        while first + NARROW <= $channels {
            $visit::<T, NARROW>(first, $($argument),*);
            first += NARROW;
        }
        while first < $channels {
            $visit::<T, 1>(first, $($argument),*);
            first += 1;
        }
    }};
}

multiversion! {
    to avx2;
    /// One row of output pixels of one image.
    pub(super) fn forward_row<T: Real>(
        g: &DepthwiseConv2dGeometry,
        out_y: usize,
        w: &[T],
        bias: Option<&[T]>,
        activation: Activation,
        x: &[T],
        y: &mut [T],
    ) {
        for_blocks!(g.out_channels(), forward_block(g, out_y, w, bias, activation, x, y));
    }
}

#[inline(always)]
fn forward_block<T: Real, const B: usize>(
    first: usize,
    g: &DepthwiseConv2dGeometry,
    out_y: usize,
    w: &[T],
    bias: Option<&[T]>,
    activation: Activation,
    x: &[T],
    y: &mut [T],
) {
    let channels = g.out_channels();
    let mut start = [T::ZERO; B];
    if let Some(bias) = bias {
        start.copy_from_slice(&bias[first..first + B]);
    }
    let rows = g.height.taps(out_y);
    for out_x in 0..g.width.output {
        let mut sums = start;
        let columns = g.width.taps(out_x);
        for ky in rows.clone() {
            let in_row = (out_y * g.height.stride + ky * g.height.dilation - g.height.pad_before) * g.width.input;
            for kx in columns.clone() {
                let pixel = in_row + out_x * g.width.stride + kx * g.width.dilation - g.width.pad_before;
                let inputs = inputs::<T, B>(&x[pixel * g.in_channels..][..g.in_channels], g.multiplier, first);
                add_product(&mut sums, &inputs, &w[(ky * g.width.kernel + kx) * channels + first..]);
            }
        }
        let y = &mut y[out_x * channels + first..][..B];
        for i in 0..B {
            y[i] = activation.apply(sums[i]);
        }
    }
}

multiversion! {
    /// One image's gradient of the input; multiplier 1.
    pub(super) fn backward_input<T: Real>(g: &DepthwiseConv2dGeometry, w: &[T], dy: &[T], dx: &mut [T]) {
        for_blocks!(g.in_channels, backward_input_block(g, w, dy, dx));
    }
}

#[inline(always)]
fn backward_input_block<T: Real, const B: usize>(
    first: usize,
    g: &DepthwiseConv2dGeometry,
    w: &[T],
    dy: &[T],
    dx: &mut [T],
) {
    let channels = g.in_channels;
    for in_y in 0..g.height.input {
        for in_x in 0..g.width.input {
            let mut sums = [T::ZERO; B];
            for ky in 0..g.height.kernel {
                let Some(out_y) = g.height.output_at(in_y, ky) else { continue };
                for kx in 0..g.width.kernel {
                    let Some(out_x) = g.width.output_at(in_x, kx) else { continue };
                    let dy = &dy[(out_y * g.width.output + out_x) * channels + first..];
                    if let Some(dy) = dy.first_chunk::<B>() {
                        add_product(&mut sums, dy, &w[(ky * g.width.kernel + kx) * channels + first..]);
                    }
                }
            }
            dx[(in_y * g.width.input + in_x) * channels + first..][..B].copy_from_slice(&sums);
        }
    }
}

multiversion! {
    /// Adds one image's part of the gradient of the weights.
    pub(super) fn backward_weights<T: Real>(g: &DepthwiseConv2dGeometry, x: &[T], dy: &[T], dw: &mut [T]) {
        for_blocks!(g.out_channels(), backward_weights_block(g, x, dy, dw));
    }
}

#[inline(always)]
fn backward_weights_block<T: Real, const B: usize>(
    first: usize,
    g: &DepthwiseConv2dGeometry,
    x: &[T],
    dy: &[T],
    dw: &mut [T],
) {
    let channels = g.out_channels();
    for ky in 0..g.height.kernel {
        for kx in 0..g.width.kernel {
            let mut sums = [T::ZERO; B];
            let columns = g.width.outputs(kx);
            for out_y in g.height.outputs(ky) {
                let in_row = (out_y * g.height.stride + ky * g.height.dilation - g.height.pad_before) * g.width.input;
                for out_x in columns.clone() {
                    let pixel = in_row + out_x * g.width.stride + kx * g.width.dilation - g.width.pad_before;
                    let inputs = inputs::<T, B>(&x[pixel * g.in_channels..][..g.in_channels], g.multiplier, first);
                    add_product(&mut sums, &inputs, &dy[(out_y * g.width.output + out_x) * channels + first..]);
                }
            }
            let dw = &mut dw[(ky * g.width.kernel + kx) * channels + first..][..B];
            for i in 0..B {
                dw[i] += sums[i];
            }
        }
    }
}

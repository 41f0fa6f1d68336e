//! The law: seven loops, each product rounded, added in the order kernel row, kernel column, input channel.

use crate::conv_2d::Conv2dGeometry;
use crate::{Activation, Real};

/// Calls `visit(input pixel, output pixel, tap)` for each that meet in one image, per output pixel in tap order.
fn for_taps(g: &Conv2dGeometry, mut visit: impl FnMut(usize, usize, usize)) {
    for out_y in 0..g.height.output {
        for out_x in 0..g.width.output {
            for ky in g.height.taps(out_y) {
                let in_y = out_y * g.height.stride + ky * g.height.dilation - g.height.pad_before;
                for kx in g.width.taps(out_x) {
                    let in_x = out_x * g.width.stride + kx * g.width.dilation - g.width.pad_before;
                    let tap = ky * g.width.kernel + kx;
                    visit(in_y * g.width.input + in_x, out_y * g.width.output + out_x, tap);
                }
            }
        }
    }
}

/// One group's part of a pixel's channels.
fn part(channels: usize, groups: usize, group: usize) -> std::ops::Range<usize> {
    let len = channels / groups;
    group * len..(group + 1) * len
}

/// Forward pass of one image.
pub fn forward<T: Real>(g: &Conv2dGeometry, w: &[T], bias: Option<&[T]>, act: Activation, x: &[T], y: &mut [T]) {
    for y in y.chunks_exact_mut(g.out_channels) {
        match bias {
            Some(bias) => y.copy_from_slice(bias),
            None => y.fill(T::ZERO),
        }
    }
    let depth = g.in_channels / g.groups;
    let taps = g.height.kernel * g.width.kernel;
    for_taps(g, |from, to, tap| {
        for group in 0..g.groups {
            let x = &x[from * g.in_channels..][part(g.in_channels, g.groups, group)];
            for o in part(g.out_channels, g.groups, group) {
                let w = &w[(o * taps + tap) * depth..][..depth];
                let y = &mut y[to * g.out_channels + o];
                x.iter().zip(w).for_each(|(&x, &w)| *y += x * w);
            }
        }
    });
    y.iter_mut().for_each(|y| *y = act.apply(*y));
}

/// Gradient of the input of one image.
pub fn backward_input<T: Real>(g: &Conv2dGeometry, w: &[T], dy: &[T], dx: &mut [T]) {
    dx.fill(T::ZERO);
    let depth = g.in_channels / g.groups;
    let taps = g.height.kernel * g.width.kernel;
    for_taps(g, |from, to, tap| {
        for group in 0..g.groups {
            let dx = &mut dx[from * g.in_channels..][part(g.in_channels, g.groups, group)];
            for o in part(g.out_channels, g.groups, group) {
                let w = &w[(o * taps + tap) * depth..][..depth];
                let dy = dy[to * g.out_channels + o];
                dx.iter_mut().zip(w).for_each(|(dx, &w)| *dx += dy * w);
            }
        }
    });
}

/// Adds the gradient of the weights from one image.
pub fn backward_weights<T: Real>(g: &Conv2dGeometry, x: &[T], dy: &[T], dw: &mut [T]) {
    let depth = g.in_channels / g.groups;
    let taps = g.height.kernel * g.width.kernel;
    for_taps(g, |from, to, tap| {
        for group in 0..g.groups {
            let x = &x[from * g.in_channels..][part(g.in_channels, g.groups, group)];
            for o in part(g.out_channels, g.groups, group) {
                let dw = &mut dw[(o * taps + tap) * depth..][..depth];
                let dy = dy[to * g.out_channels + o];
                dw.iter_mut().zip(x).for_each(|(dw, &x)| *dw += dy * x);
            }
        }
    });
}

//! The law: each product rounded, added in the order kernel row, kernel column.

use crate::depthwise_conv_2d::DepthwiseConv2dGeometry;
use crate::{Activation, Real};

/// Calls `visit(input pixel, output pixel, tap)` for each that meet in one image, per output pixel in tap order.
fn for_taps(g: &DepthwiseConv2dGeometry, mut visit: impl FnMut(usize, usize, usize)) {
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

/// Forward pass of one image.
pub fn forward<T: Real>(
    g: &DepthwiseConv2dGeometry,
    w: &[T],
    bias: Option<&[T]>,
    act: Activation,
    x: &[T],
    y: &mut [T],
) {
    let out = g.out_channels();
    for y in y.chunks_exact_mut(out) {
        match bias {
            Some(bias) => y.copy_from_slice(bias),
            None => y.fill(T::ZERO),
        }
    }
    for_taps(g, |from, to, tap| {
        let x = &x[from * g.in_channels..][..g.in_channels];
        for (o, (y, &w)) in y[to * out..][..out].iter_mut().zip(&w[tap * out..][..out]).enumerate() {
            *y += x[o / g.multiplier] * w;
        }
    });
    y.iter_mut().for_each(|y| *y = act.apply(*y));
}

/// Gradient of the input of one image.
pub fn backward_input<T: Real>(g: &DepthwiseConv2dGeometry, w: &[T], dy: &[T], dx: &mut [T]) {
    let out = g.out_channels();
    dx.fill(T::ZERO);
    for_taps(g, |from, to, tap| {
        let dx = &mut dx[from * g.in_channels..][..g.in_channels];
        for (o, (&dy, &w)) in dy[to * out..][..out].iter().zip(&w[tap * out..][..out]).enumerate() {
            dx[o / g.multiplier] += dy * w;
        }
    });
}

/// Adds the gradient of the weights from one image.
pub fn backward_weights<T: Real>(g: &DepthwiseConv2dGeometry, x: &[T], dy: &[T], dw: &mut [T]) {
    let out = g.out_channels();
    for_taps(g, |from, to, tap| {
        let x = &x[from * g.in_channels..][..g.in_channels];
        for (o, (&dy, dw)) in dy[to * out..][..out].iter().zip(&mut dw[tap * out..][..out]).enumerate() {
            *dw += x[o / g.multiplier] * dy;
        }
    });
}

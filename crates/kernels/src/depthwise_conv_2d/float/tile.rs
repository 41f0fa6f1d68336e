//! The f32 depthwise convolution with multiplier 1 on vectors: a few pixels by two vectors of channels stay in registers over
//! all taps. Each result is one chain of multiply-adds in tap order, wherever the row is cut.

use crate::conv_2d::Window;
use crate::gemm;

/// A depthwise convolution of one image, or the gradient of its input as one (`flip`).
pub(super) struct Depthwise<'a> {
    pub(super) height: Window,
    pub(super) width: Window,
    pub(super) channels: usize,
    /// Filter `height width channels`; `flip` turns it by half a turn.
    pub(super) weights: &'a [f32],
    pub(super) flip: bool,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) clamp: (f32, f32),
    pub(super) x: &'a [f32],
}

impl Depthwise<'_> {
    /// Output positions of a row at which all taps fall on the input.
    #[inline(always)]
    fn interior(&self) -> std::ops::Range<usize> {
        let (first, last) = (self.width.outputs(0), self.width.outputs(self.width.kernel - 1));
        let end = first.end.min(last.end);
        first.start.max(last.start).min(end)..end
    }
}

macro_rules! depthwise {
    ($module:ident, $features:path, $vector:path, $pixels:literal) => {
        mod $module {
            use super::{Depthwise, Window};
            use crate::gemm::tile::$module::{load_row, store_row};
            use std::ops::Range;
            use $features as features;
            use $vector as vector;
            use vector::LANES;

            features! {
                pub(super) fn row(problem: &Depthwise, out_y: usize, y: &mut [f32]) {
                    let mut channel = 0;
                    while channel < problem.channels {
                        let valid = (2 * LANES).min(problem.channels - channel);
                        match (valid, valid.div_ceil(LANES)) {
                            (valid, 2) if valid == 2 * LANES => block::<2, true>(problem, out_y, channel, valid, y),
                            (valid, 2) => block::<2, false>(problem, out_y, channel, valid, y),
                            (LANES, _) => block::<1, true>(problem, out_y, channel, valid, y),
                            (valid, _) => block::<1, false>(problem, out_y, channel, valid, y),
                        }
                        channel += valid;
                    }
                }

                /// One block of channels of a row: border pixels one at a time, the others `$pixels` at a time.
                fn block<const VECTORS: usize, const FULL: bool>(
                    problem: &Depthwise, out_y: usize, channel: usize, valid: usize, y: &mut [f32],
                ) {
                    let interior = problem.interior();
                    let all = 0..problem.width.kernel;
                    let mut out_x = 0;
                    while out_x < problem.width.output {
                        if interior.contains(&out_x) && interior.end - out_x >= $pixels {
                            tile::<$pixels, VECTORS, FULL>(problem, out_y, out_x, all.clone(), channel, valid, y);
                            out_x += $pixels;
                        } else {
                            let taps = problem.width.taps(out_x);
                            tile::<1, VECTORS, FULL>(problem, out_y, out_x, taps, channel, valid, y);
                            out_x += 1;
                        }
                    }
                }

                #[inline]
                fn tile<const PIXELS: usize, const VECTORS: usize, const FULL: bool>(
                    problem: &Depthwise,
                    out_y: usize,
                    out_x: usize,
                    columns: Range<usize>,
                    channel: usize,
                    valid: usize,
                    y: &mut [f32],
                ) {
                    let Depthwise { height, width, channels, .. } = *problem;
                    let mut sums = [[vector::splat(0.0); VECTORS]; PIXELS];
                    if let Some(bias) = problem.bias {
                        sums = [load_row::<VECTORS, FULL>(&bias[channel..][..valid]); PIXELS];
                    }
                    let last = height.kernel * width.kernel - 1;
                    let step = width.stride * channels;
                    for ky in height.taps(out_y) {
                        let in_y = out_y * height.stride + ky * height.dilation - height.pad_before;
                        for kx in columns.clone() {
                            let in_x = out_x * width.stride + kx * width.dilation - width.pad_before;
                            let tap = ky * width.kernel + kx;
                            let tap = if problem.flip { last - tap } else { tap };
                            let w = load_row::<VECTORS, FULL>(&problem.weights[tap * channels + channel..][..valid]);
                            let from = (in_y * width.input + in_x) * channels + channel;
                            let x = &problem.x[from..][..(PIXELS - 1) * step + valid];
                            for p in 0..PIXELS {
                                let x = load_row::<VECTORS, FULL>(&x[p * step..][..valid]);
                                for v in 0..VECTORS {
                                    sums[p][v] = vector::multiply_add(x[v], w[v], sums[p][v]);
                                }
                            }
                        }
                    }
                    let (low, high) = (vector::splat(problem.clamp.0), vector::splat(problem.clamp.1));
                    for p in 0..PIXELS {
                        for v in 0..VECTORS {
                            sums[p][v] = vector::clamp(sums[p][v], low, high);
                        }
                        store_row::<VECTORS, FULL>(&mut y[(out_x + p) * channels + channel..][..valid], sums[p]);
                    }
                }

                /// Adds one image's gradient of the weights, `problem.x` being the input.
                pub(super) fn weights(problem: &Depthwise, dy: &[f32], dw: &mut [f32]) {
                    let mut channel = 0;
                    while channel < problem.channels {
                        let valid = (2 * LANES).min(problem.channels - channel);
                        match (valid, valid.div_ceil(LANES)) {
                            (valid, 2) if valid == 2 * LANES => weights_block::<2, true>(problem, channel, valid, dy, dw),
                            (valid, 2) => weights_block::<2, false>(problem, channel, valid, dy, dw),
                            (LANES, _) => weights_block::<1, true>(problem, channel, valid, dy, dw),
                            (valid, _) => weights_block::<1, false>(problem, channel, valid, dy, dw),
                        }
                        channel += valid;
                    }
                }

                fn weights_block<const VECTORS: usize, const FULL: bool>(
                    problem: &Depthwise, channel: usize, valid: usize, dy: &[f32], dw: &mut [f32],
                ) {
                    for ky in 0..problem.height.kernel {
                        match problem.width.kernel {
                            3 => weights_tile::<3, VECTORS, FULL>(problem, ky, 0, channel, valid, dy, dw),
                            5 => weights_tile::<5, VECTORS, FULL>(problem, ky, 0, channel, valid, dy, dw),
                            _ => {
                                for kx in 0..problem.width.kernel {
                                    weights_tile::<1, VECTORS, FULL>(problem, ky, kx, channel, valid, dy, dw);
                                }
                            }
                        }
                    }
                }

                /// `TAPS` adjacent taps of filter row `ky`, from `first` on, over all pixels.
                fn weights_tile<const TAPS: usize, const VECTORS: usize, const FULL: bool>(
                    problem: &Depthwise,
                    ky: usize,
                    first: usize,
                    channel: usize,
                    valid: usize,
                    dy: &[f32],
                    dw: &mut [f32],
                ) {
                    let Depthwise { height, width, channels, .. } = *problem;
                    let mut sums = [[vector::splat(0.0); VECTORS]; TAPS];
                    let interior = problem.interior();
                    for out_y in height.outputs(ky) {
                        let in_y = out_y * height.stride + ky * height.dilation - height.pad_before;
                        let x = &problem.x[in_y * width.input * channels..][..width.input * channels];
                        let dy = &dy[out_y * width.output * channels..][..width.output * channels];
                        for out_x in 0..width.output {
                            let dy = load_row::<VECTORS, FULL>(&dy[out_x * channels + channel..][..valid]);
                            let inside = TAPS == 1 || interior.contains(&out_x);
                            let taps = if inside && TAPS > 1 { 0..TAPS } else { taps_of(&width, out_x, first, TAPS) };
                            if inside && TAPS > 1 {
                                let at = out_x * width.stride - width.pad_before;
                                for t in 0..TAPS {
                                    let from = (at + t * width.dilation) * channels + channel;
                                    let x = load_row::<VECTORS, FULL>(&x[from..][..valid]);
                                    for v in 0..VECTORS {
                                        sums[t][v] = vector::multiply_add(x[v], dy[v], sums[t][v]);
                                    }
                                }
                            } else {
                                for t in 0..TAPS {
                                    if !taps.contains(&t) {
                                        continue;
                                    }
                                    let in_x = out_x * width.stride + (first + t) * width.dilation - width.pad_before;
                                    let x = load_row::<VECTORS, FULL>(&x[in_x * channels + channel..][..valid]);
                                    for v in 0..VECTORS {
                                        sums[t][v] = vector::multiply_add(x[v], dy[v], sums[t][v]);
                                    }
                                }
                            }
                        }
                    }
                    for t in 0..TAPS {
                        let dw = &mut dw[(ky * width.kernel + first + t) * channels + channel..][..valid];
                        let old = load_row::<VECTORS, FULL>(dw);
                        for v in 0..VECTORS {
                            sums[t][v] = vector::multiply_add(vector::splat(1.0), old[v], sums[t][v]);
                        }
                        store_row::<VECTORS, FULL>(dw, sums[t]);
                    }
                }

                /// Which of `count` taps from `first` on fall on the input, counted from `first`.
                #[inline]
                fn taps_of(width: &Window, out_x: usize, first: usize, count: usize) -> Range<usize> {
                    let taps = width.taps(out_x);
                    taps.start.saturating_sub(first)..taps.end.saturating_sub(first).min(count)
                }
            }
        }
    };
}

depthwise!(scalar, crate::gemm::tile::baseline, litesmith_simd::portable::f32x4, 2);
#[cfg(target_arch = "x86_64")]
depthwise!(avx2, litesmith_simd::avx2, litesmith_simd::x86_64::f32x8, 4);
#[cfg(target_arch = "x86_64")]
depthwise!(avx512, litesmith_simd::avx512, litesmith_simd::x86_64::f32x16, 4);
#[cfg(target_arch = "aarch64")]
depthwise!(neon, litesmith_simd::neon, litesmith_simd::aarch64::f32x4, 4);

gemm::on_isa! {
    /// One row of output pixels.
    pub(super) fn row(problem: &Depthwise, out_y: usize, y: &mut [f32]);
}
gemm::on_isa! {
    /// Adds one image's gradient of the weights, `problem.x` being the input.
    pub(super) fn weights(problem: &Depthwise, dy: &[f32], dw: &mut [f32]);
}

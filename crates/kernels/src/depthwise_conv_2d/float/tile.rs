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

    /// One row of the input.
    #[inline(always)]
    fn row(&self, y: usize) -> &[f32] {
        let len = self.width.input * self.channels;
        &self.x[y * len..][..len]
    }

    /// Channels that are done together: input rows of them stay in the first cache until all output rows that read them
    /// are done. Few would be read in pieces too small to prefetch, and larger steps share too little.
    #[inline(always)]
    fn block<const LANES: usize>(&self) -> usize {
        const CACHED: usize = 6 << 10;
        if self.height.stride > 1 {
            return usize::MAX / LANES * LANES;
        }
        let fit = CACHED / (self.height.kernel + self.height.stride).max(1) / self.width.input.max(1);
        (fit / LANES * LANES).max(4 * LANES)
    }
}

/// `[taps by step]` of the filters that have code of their own.
macro_rules! depthwise {
    ($module:ident, $features:path, $vector:path, $pixels:literal, [$($taps:literal by $step:literal)*]) => {
        mod $module {
            use super::{Depthwise, Window};
            use crate::gemm::tile::$module::{load_row, store_row};
            use std::ops::Range;
            use $features as features;
            use $vector as vector;
            use vector::LANES;

            features! {
                /// Rows of output pixels from `first_row` on, as many as `y` has.
                pub(super) fn rows(problem: &Depthwise, first_row: usize, y: &mut [f32]) {
                    let Depthwise { height, width, .. } = *problem;
                    let small = height.dilation == 1 && width.dilation == 1 && height.kernel == width.kernel;
                    match (small && height.stride == width.stride, width.kernel, width.stride) {
                        $((true, $taps, $step) => bands::<$taps, $step>(problem, first_row, y),)*
                        _ => bands::<0, 0>(problem, first_row, y),
                    }
                }

                /// `rows` for filters of `KERNEL` by `KERNEL` taps with step `STRIDE`, 0 for those known only at run time.
                fn bands<const KERNEL: usize, const STRIDE: usize>(problem: &Depthwise, first_row: usize, y: &mut [f32]) {
                    let Depthwise { width, channels, .. } = *problem;
                    let count = y.len() / (width.output * channels);
                    let interior = problem.interior();
                    let block = problem.block::<LANES>();
                    for first in (0..channels).step_by(block) {
                        let end = first + block.min(channels - first);
                        // Channels that are left go with some before them once more; fewer than a vector alone.
                        let whole = if channels < LANES { first..first } else { first..end };
                        let mut row = 0;
                        while row < count {
                            // With step 1, two output rows share most input rows that they read.
                            let two = STRIDE == 1 && row + 1 < count;
                            let y = &mut y[row * width.output * channels..];
                            let row_of = first_row + row;
                            for column in (0..width.output).step_by($pixels) {
                                let at = [row_of, column];
                                let inside = interior.start <= column && column + $pixels <= interior.end;
                                for channel in whole.clone().step_by(LANES) {
                                    let channel = channel.min(channels - LANES);
                                    match (two, inside) {
                                        (true, true) if STRIDE == 1 => {
                                            tile::<KERNEL, STRIDE, true, true, true>(problem, at, channel, LANES, y);
                                        }
                                        (true, false) if STRIDE == 1 => {
                                            tile::<KERNEL, STRIDE, true, false, true>(problem, at, channel, LANES, y);
                                        }
                                        (_, true) if STRIDE == 2 => {
                                            tile::<KERNEL, STRIDE, false, true, true>(problem, at, channel, LANES, y);
                                        }
                                        _ => tile::<KERNEL, STRIDE, false, false, true>(problem, at, channel, LANES, y),
                                    }
                                }
                                if whole.is_empty() {
                                    tile::<KERNEL, STRIDE, false, false, false>(problem, at, 0, channels, y);
                                    if two {
                                        let (at, y) = ([row_of + 1, column], &mut y[width.output * channels..]);
                                        tile::<KERNEL, STRIDE, false, false, false>(problem, at, 0, channels, y);
                                    }
                                }
                            }
                            row += 1 + usize::from(two);
                        }
                    }
                }

                /// A vector of channels of one row or `TWO` of `$pixels` output pixels, which read no padding at the sides if
                /// `INSIDE`.
                #[inline]
                fn tile<
                    const KERNEL: usize, const STRIDE: usize, const TWO: bool, const INSIDE: bool, const FULL: bool,
                >(
                    problem: &Depthwise,
                    [row, column]: [usize; 2],
                    channel: usize,
                    valid: usize,
                    y: &mut [f32],
                ) {
                    let Depthwise { height, width, channels, .. } = *problem;
                    let valid = if FULL { LANES } else { valid };
                    let mut start = vector::splat(0.0);
                    if let Some(bias) = problem.bias {
                        start = load_row::<1, FULL>(&bias[channel..][..valid])[0];
                    }
                    let mut a = [start; $pixels];
                    let mut b = [start; $pixels];
                    let stride = if STRIDE > 0 { STRIDE } else { height.stride };
                    let taps = height.taps(row);
                    // The input row of tap 0; less than 0 wraps around.
                    let top = (row * stride).wrapping_sub(height.pad_before);
                    let left = column * if STRIDE > 0 { STRIDE } else { width.stride };
                    let at = [left, channel, valid];
                    if TWO {
                        // Tap `t` of the first output row reads what tap `t - stride` of the second reads.
                        let below = height.taps(row + 1);
                        let both = (below.start + stride).clamp(taps.start, taps.end);
                        let x = |tap: usize| problem.row(top.wrapping_add(tap));
                        for tap in taps.start..both {
                            accumulate::<0, 1, KERNEL, STRIDE, INSIDE, FULL>(problem, x(tap), [tap], at, [&mut a]);
                        }
                        for tap in both..taps.end {
                            let taps = [tap, tap - stride];
                            accumulate::<1, 2, KERNEL, STRIDE, INSIDE, FULL>(problem, x(tap), taps, at, [&mut a, &mut b]);
                        }
                        for tap in taps.end.saturating_sub(stride).max(below.start)..below.end {
                            let x = x(tap + stride);
                            accumulate::<2, 1, KERNEL, STRIDE, INSIDE, FULL>(problem, x, [tap], at, [&mut b]);
                        }
                    } else {
                        for tap in taps {
                            let x = problem.row(top.wrapping_add(tap * height.dilation));
                            accumulate::<3, 1, KERNEL, STRIDE, INSIDE, FULL>(problem, x, [tap], at, [&mut a]);
                        }
                    }
                    let (low, high) = (vector::splat(problem.clamp.0), vector::splat(problem.clamp.1));
                    let row_len = width.output * channels;
                    for p in 0..$pixels {
                        if INSIDE || column + p < width.output {
                            let at = (column + p) * channels + channel;
                            store_row::<1, FULL>(&mut y[at..][..valid], [vector::clamp(a[p], low, high)]);
                            if TWO {
                                let at = at + row_len;
                                store_row::<1, FULL>(&mut y[at..][..valid], [vector::clamp(b[p], low, high)]);
                            }
                        }
                    }
                }

                /// Adds the products of input row `x` with one filter row for each of `ROWS` output rows. `CALL` numbers the calls: a
                /// function of its own for each is one that the compiler inlines, so that sums stay in registers.
                #[inline]
                fn accumulate<
                    const CALL: usize, const ROWS: usize, const KERNEL: usize, const STRIDE: usize, const INSIDE: bool,
                    const FULL: bool,
                >(
                    problem: &Depthwise,
                    x: &[f32],
                    taps: [usize; ROWS],
                    [left, channel, valid]: [usize; 3],
                    sums: [&mut [vector::Vector; $pixels]; ROWS],
                ) {
                    let Depthwise { width, channels, .. } = *problem;
                    let valid = if FULL { LANES } else { valid };
                    let kernel = if KERNEL > 0 { KERNEL } else { width.kernel };
                    let mut local = [[vector::splat(0.0); $pixels]; ROWS];
                    let mut filters = [&problem.weights[..0]; ROWS];
                    for row in 0..ROWS {
                        local[row] = *sums[row];
                        let tap = taps[row] * kernel;
                        let tap = if problem.flip { problem.weights.len() / channels - kernel - tap } else { tap };
                        filters[row] = &problem.weights[tap * channels + channel..][..(kernel - 1) * channels + valid];
                    }
                    let filter = |row: usize, column: usize| {
                        let at = if problem.flip { kernel - 1 - column } else { column } * channels;
                        // SAFETY: column < kernel, and `filters` reach to the end of the vector of the last one.
                        load_row::<1, FULL>(unsafe { filters[row].get_unchecked(at..at + valid) })[0]
                    };
                    // Input columns from the padding's start; less than 0 wraps around.
                    let from = left.wrapping_sub(width.pad_before);
                    let reach = if INSIDE { &x[from * channels + channel..][..(($pixels - 1) * STRIDE + kernel - 1) * channels + valid] } else { x };
                    let input = |column: usize| {
                        if INSIDE {
                            let at = column * channels;
                            // SAFETY: `reach` goes to the end of the vector of the last column.
                            return load_row::<1, FULL>(unsafe { reach.get_unchecked(at..at + valid) })[0];
                        }
                        let column = from.wrapping_add(column);
                        if column >= width.input {
                            return vector::splat(0.0);
                        }
                        let at = column * channels + channel;
                        // SAFETY: a row has `width.input` columns of `channels`, and `channel + valid <= channels`.
                        load_row::<1, FULL>(unsafe { x.get_unchecked(at..at + valid) })[0]
                    };
                    if KERNEL > 0 {
                        // The most columns a tile reads: of 5 taps with step 2.
                        let mut inputs = [vector::splat(0.0); 2 * $pixels + 3];
                        for column in 0..($pixels - 1) * STRIDE + KERNEL {
                            inputs[column] = input(column);
                        }
                        for column in 0..KERNEL {
                            for row in 0..ROWS {
                                let w = filter(row, column);
                                for p in 0..$pixels {
                                    local[row][p] = vector::multiply_add(inputs[p * STRIDE + column], w, local[row][p]);
                                }
                            }
                        }
                    } else {
                        for column in 0..kernel {
                            let w = filter(0, column);
                            for p in 0..$pixels {
                                let x = input(p * width.stride + column * width.dilation);
                                local[0][p] = vector::multiply_add(x, w, local[0][p]);
                            }
                        }
                    }
                    for row in 0..ROWS {
                        *sums[row] = local[row];
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

depthwise!(scalar, crate::gemm::tile::baseline, litesmith_simd::portable::f32x4, 4, []);
#[cfg(target_arch = "x86_64")]
depthwise!(avx2, litesmith_simd::avx2, litesmith_simd::x86_64::f32x8, 4, [3 by 1 3 by 2 5 by 1 5 by 2]);
#[cfg(target_arch = "x86_64")]
depthwise!(avx512, litesmith_simd::avx512, litesmith_simd::x86_64::f32x16, 4, [3 by 1 3 by 2 5 by 1 5 by 2]);
#[cfg(target_arch = "aarch64")]
depthwise!(neon, litesmith_simd::neon, litesmith_simd::aarch64::f32x4, 4, [3 by 1 3 by 2 5 by 1 5 by 2]);
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
depthwise!(simd128, litesmith_simd::simd128, litesmith_simd::wasm32::f32x4, 4, [3 by 1 3 by 2 5 by 1 5 by 2]);
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
depthwise!(relaxed_simd, litesmith_simd::relaxed_simd, litesmith_simd::wasm32::relaxed_f32x4, 4, [3 by 1 3 by 2 5 by 1 5 by 2]);

gemm::on_isa! {
    /// Rows of output pixels from `first_row` on, as many as `y` has.
    pub(super) fn rows(problem: &Depthwise, first_row: usize, y: &mut [f32]);
}
gemm::on_isa! {
    /// Adds one image's gradient of the weights, `problem.x` being the input.
    pub(super) fn weights(problem: &Depthwise, dy: &[f32], dw: &mut [f32]);
}

//! 3x3 stride-1 convolutions by Winograd's F(2x2, 3x3): 16 products per 4 results instead of 36 (Lavin and Gray, "Fast
//! Algorithms for Convolutional Neural Networks", 2016). The gradient of the weights is F(3x3, 2x2) on the same points.
//!
//! Errors: by the transforms' absolute row sums a result is at worst the sum of 64 rounded products per channel rather than 9, a
//! gradient of a weight of 36 per tile rather than 4. The points 0, 1, -1 need additions and halving only, which is why this
//! form was preferred to F(4x4, 3x3): that one has 2304.

use super::Conv2dGeometry;
use crate::dispatch::multiversion;
use crate::gemm::{self, Grid, Outer, Right, Rows};
use crate::{Isa, Pool};
use std::ops::Range;

/// Products of a tile.
const POSITIONS: usize = 16;
/// Elements of the transformed operand and products of a chunk of tiles: they stay in the second cache.
const CHUNK_ELEMENTS: usize = 96 * 1024;

/// Transformed filters from this many elements on do not stay there: each chunk reads them anew, so that few chunks are worth more than
/// what else leaves that cache. (ResNet-50's 14x14x256, one chunk instead of seven: 1.3 ms instead of 2.0 on a Xeon with 2 MiB.)
const LARGE_FILTERS: usize = 512 * 1024;
const LARGE_CHUNK_ELEMENTS: usize = 416 * 1024;

/// One direction: an operand image padded by `pad` before, to a result image.
#[derive(Debug, Clone)]
pub(super) struct Direction {
    isa: Isa,
    /// Height, width and channels.
    operand: [usize; 3],
    result: [usize; 3],
    pad: [usize; 2],
    /// Rows of tiles of one chunk.
    chunk_rows: usize,
}

/// Where a transform reads or writes a 4x4 or 2x2 tile of an image.
struct Tiles<'a> {
    shape: [usize; 3],
    pad: [usize; 2],
    /// Rows of tiles, and tiles of one.
    rows: Range<usize>,
    columns: usize,
    bias: Option<&'a [f32]>,
    clamp: (f32, f32),
}

/// Transformed filters of this many elements stay in the second cache.
const SMALL_FILTERS: usize = 128 * 1024;
/// Tiles of an image over which reading larger filters from memory, 16/9 of the plain ones, is spread.
const MANY_TILES: usize = 36;

/// Whether Winograd serves `g`: enough channels for its transforms to pay, and not bound by reading filters. The number
/// of images has no say, so that one image gives the same bytes alone and in a batch.
pub(super) fn serves(g: &Conv2dGeometry, isa: Isa) -> bool {
    let square = [&g.height, &g.width]
        .iter()
        .all(|w| (w.kernel, w.stride, w.dilation) == (3, 1, 1) && w.pad_before <= 2 && w.output >= 2);
    let tiles = g.height.output.div_ceil(2) * g.width.output.div_ceil(2);
    let filters = POSITIONS.saturating_mul(g.in_channels).saturating_mul(g.out_channels);
    let cheap = tiles >= MANY_TILES || filters <= SMALL_FILTERS;
    // With fewer, a product of 16 vectors is cheaper to form than to transform.
    let least = (2 * gemm::lanes(isa)).max(16);
    square && cheap && g.groups == 1 && g.in_channels.min(g.out_channels) >= least
}

impl Direction {
    pub(super) fn forward(g: &Conv2dGeometry, isa: Isa) -> Self {
        let operand = [g.height.input, g.width.input, g.in_channels];
        let result = [g.height.output, g.width.output, g.out_channels];
        Self::new(isa, operand, result, [g.height.pad_before, g.width.pad_before])
    }

    /// The gradient of the input: the output's gradient convolved with the turned filters.
    pub(super) fn backward(g: &Conv2dGeometry, isa: Isa) -> Self {
        let forward = Self::forward(g, isa);
        Self::new(isa, forward.result, forward.operand, forward.pad.map(|pad| 2 - pad))
    }

    fn new(isa: Isa, operand: [usize; 3], result: [usize; 3], pad: [usize; 2]) -> Self {
        let columns = result[1].div_ceil(2).max(1);
        let large = POSITIONS.saturating_mul(operand[2]).saturating_mul(result[2]) >= LARGE_FILTERS;
        let chunk = if large { LARGE_CHUNK_ELEMENTS } else { CHUNK_ELEMENTS };
        let tiles = chunk / (POSITIONS * (operand[2] + result[2]));
        let chunk_rows = (tiles / columns).clamp(1, result[0].div_ceil(2).max(1));
        Self { isa, operand, result, pad, chunk_rows }
    }

    fn rows(&self) -> usize {
        self.result[0].div_ceil(2)
    }

    fn columns(&self) -> usize {
        self.result[1].div_ceil(2)
    }

    /// Elements of scratch of one task.
    pub(super) fn scratch_len(&self) -> usize {
        POSITIONS * self.chunk_rows * self.columns() * (self.operand[2] + self.result[2])
    }

    pub(super) fn packed_len(&self) -> usize {
        POSITIONS * gemm::panels_len(gemm::lanes(self.isa), self.operand[2], self.result[2])
    }

    /// Transforms OHWI filters of this direction's channels.
    pub(super) fn pack(&self, weights: &[f32], packed: &mut Vec<f32>) {
        let (depth, columns) = (self.operand[2], self.result[2]);
        let (lanes, len) = self.start_packing(packed);
        let width = gemm::panel_width(lanes);
        for (n, filters) in weights.chunks_exact(9 * depth).enumerate() {
            let first = n / width * width;
            let stored = width.min(columns - first).next_multiple_of(lanes);
            transform_filters(self.isa, depth, false, filters, &mut |k, tile, valid| {
                for (position, values) in tile.iter().enumerate() {
                    let to = &mut packed[position * len + first * depth + k * stored + n - first..];
                    to.iter_mut().step_by(stored).zip(&values[..valid]).for_each(|(to, &value)| *to = value);
                }
            });
        }
    }

    /// Transforms the OHWI filters of the other direction, turned by half a turn.
    pub(super) fn pack_turned(&self, weights: &[f32], packed: &mut Vec<f32>) {
        let (depth, columns) = (self.operand[2], self.result[2]);
        let (lanes, len) = self.start_packing(packed);
        let width = gemm::panel_width(lanes);
        for (k, filters) in weights.chunks_exact(9 * columns).enumerate() {
            transform_filters(self.isa, columns, true, filters, &mut |n, tile, valid| {
                // A block of channels never crosses panels, whose widths are multiples of it.
                let first = n / width * width;
                let stored = width.min(columns - first).next_multiple_of(lanes);
                for (position, values) in tile.iter().enumerate() {
                    let to = &mut packed[position * len + first * depth + k * stored + n - first..];
                    to[..valid].copy_from_slice(&values[..valid]);
                }
            });
        }
    }

    fn start_packing(&self, packed: &mut Vec<f32>) -> (usize, usize) {
        let lanes = gemm::lanes(self.isa);
        packed.clear();
        packed.resize(self.packed_len(), 0.0);
        (lanes, gemm::panels_len(lanes, self.operand[2], self.result[2]))
    }

    /// All result images, split over the pool: whole images if there are enough, else rows of tiles.
    pub(super) fn run(
        &self,
        pool: &Pool,
        packed: &[f32],
        bias: Option<&[f32]>,
        clamp: (f32, f32),
        x: &[f32],
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        let x_len: usize = self.operand.iter().product();
        let y_len: usize = self.result.iter().product();
        let images = y.len() / y_len;
        if images >= pool.threads() {
            let per_task = images.div_ceil(pool.threads());
            pool.zip_chunks_mut(y, per_task * y_len, scratch, self.scratch_len(), |task, y, scratch| {
                let x = x[task * per_task * x_len..].chunks_exact(x_len);
                for (x, y) in x.zip(y.chunks_exact_mut(y_len)) {
                    self.run_rows(packed, bias, clamp, x, 0..self.rows(), y, scratch);
                }
            });
            return;
        }
        let per_task = self.rows().div_ceil(pool.threads());
        let row_len = 2 * self.result[1] * self.result[2];
        for (x, y) in x.chunks_exact(x_len).zip(y.chunks_exact_mut(y_len)) {
            pool.zip_chunks_mut(y, per_task * row_len, scratch, self.scratch_len(), |task, y, scratch| {
                let first = task * per_task;
                let rows = first..(first + per_task).min(self.rows());
                self.run_rows(packed, bias, clamp, x, rows, y, scratch);
            });
        }
    }

    /// Rows of tiles of one image; `y` starts at the first of them.
    fn run_rows(
        &self,
        packed: &[f32],
        bias: Option<&[f32]>,
        clamp: (f32, f32),
        x: &[f32],
        rows: Range<usize>,
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        let columns = self.columns();
        let (depth, outputs) = (self.operand[2], self.result[2]);
        let len = gemm::panels_len(gemm::lanes(self.isa), depth, outputs);
        for first in rows.clone().step_by(self.chunk_rows) {
            let chunk = first..(first + self.chunk_rows).min(rows.end);
            let tiles = chunk.len() * columns;
            let (operands, products) = scratch.split_at_mut(POSITIONS * tiles * depth);
            let products = &mut products[..POSITIONS * tiles * outputs];
            let from = Tiles { shape: self.operand, pad: self.pad, rows: chunk.clone(), columns, bias: None, clamp };
            transform_operand(self.isa, &from, x, operands);
            for position in 0..POSITIONS {
                let problem = Rows {
                    a: &operands[position * tiles * depth..][..tiles * depth],
                    a_grid: Grid::linear(depth),
                    segments: &[0],
                    segment_len: depth,
                    b: Right::Panels(&packed[position * len..][..len], depth),
                    depth_from: 0,
                    columns: 0..outputs,
                    bias: None,
                    accumulate: false,
                    clamp: (f32::NEG_INFINITY, f32::INFINITY),
                    width: usize::MAX,
                    pixels: 0..tiles,
                    c_grid: Grid::linear(outputs),
                };
                let product = &mut products[position * tiles * outputs..];
                gemm::rows_blocked(self.isa, gemm::rows_into, &problem, product);
            }
            let row_len = 2 * self.result[1] * outputs;
            let y = &mut y[(first - rows.start) * row_len..];
            let to = Tiles { shape: self.result, pad: [0; 2], rows: chunk, columns, bias, clamp };
            transform_result(self.isa, &to, products, y);
        }
    }

    /// Elements of scratch of [`Direction::weights`], of the forward direction.
    pub(super) fn weights_scratch_len(&self) -> usize {
        self.scratch_len() + POSITIONS * self.operand[2] * self.result[2]
    }

    /// Adds the gradient of the OHWI weights from all images.
    pub(super) fn weights(&self, x: &[f32], dy: &[f32], dw: &mut [f32], scratch: &mut [f32]) {
        let x_len: usize = self.operand.iter().product();
        let y_len: usize = self.result.iter().product();
        let columns = self.columns();
        let (inputs, outputs) = (self.operand[2], self.result[2]);
        let (sums, scratch) = scratch.split_at_mut(POSITIONS * inputs * outputs);
        sums.fill(0.0);
        let clamp = (f32::NEG_INFINITY, f32::INFINITY);
        for (x, dy) in x.chunks_exact(x_len).zip(dy.chunks_exact(y_len)) {
            for first in (0..self.rows()).step_by(self.chunk_rows) {
                let rows = first..(first + self.chunk_rows).min(self.rows());
                let tiles = rows.len() * columns;
                let (operands, gradients) = scratch.split_at_mut(POSITIONS * tiles * inputs);
                let gradients = &mut gradients[..POSITIONS * tiles * outputs];
                let from = Tiles { shape: self.operand, pad: self.pad, rows: rows.clone(), columns, bias: None, clamp };
                transform_operand(self.isa, &from, x, operands);
                let from = Tiles { shape: self.result, pad: [0; 2], rows, columns, bias: None, clamp };
                transform_gradient(self.isa, &from, dy, gradients);
                for position in 0..POSITIONS {
                    let problem = Outer {
                        a: &gradients[position * tiles * outputs..][..tiles * outputs],
                        b: &operands[position * tiles * inputs..][..tiles * inputs],
                        runs: 1,
                        run_len: tiles,
                        a_run_step: 0,
                        a_step: outputs,
                        b_run_step: 0,
                        b_step: inputs,
                        segments: &[0],
                        segment_len: outputs,
                        columns: inputs,
                        c_step: inputs,
                    };
                    gemm::outer(self.isa, &problem, &mut sums[position * inputs * outputs..][..inputs * outputs]);
                }
            }
        }
        transform_weights_gradient(self.isa, inputs, sums, dw);
    }
}

/// Channels of filters transformed at a time; divides the width of every panel.
const FILTERS: usize = 8;

/// G g of one line, G = [1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1].
#[inline(always)]
fn filter_line(g: [[f32; FILTERS]; 3]) -> [[f32; FILTERS]; 4] {
    let [a, b, c] = g;
    [
        a,
        std::array::from_fn(|i| 0.5 * (a[i] + c[i]) + 0.5 * b[i]),
        std::array::from_fn(|i| 0.5 * (a[i] + c[i]) - 0.5 * b[i]),
        c,
    ]
}

multiversion! {
    to avx2;
    /// Calls `put(first channel, G g G^T, valid channels)` for blocks of the channels of one filter, `tap channel`.
    fn transform_filters<F: FnMut(usize, &[[f32; FILTERS]; POSITIONS], usize)>(
        channels: usize, turned: bool, filter: &[f32], put: &mut F,
    ) {
        for channel in (0..channels).step_by(FILTERS) {
            let valid = FILTERS.min(channels - channel);
            let mut g = [[0.0; FILTERS]; 9];
            for (tap, g) in g.iter_mut().enumerate() {
                let tap = if turned { 8 - tap } else { tap };
                g[..valid].copy_from_slice(&filter[tap * channels + channel..][..valid]);
            }
            let columns: [_; 3] = [
                filter_line([g[0], g[3], g[6]]), filter_line([g[1], g[4], g[7]]), filter_line([g[2], g[5], g[8]]),
            ];
            let mut tile = [[0.0; FILTERS]; POSITIONS];
            for y in 0..4 {
                tile[4 * y..4 * y + 4].copy_from_slice(&filter_line([columns[0][y], columns[1][y], columns[2][y]]));
            }
            put(channel, &tile, valid);
        }
    }
}

macro_rules! transforms {
    ($module:ident, $features:path, $vector:path) => {
        mod $module {
            use super::{POSITIONS, Tiles};
            use vector::{LANES, Vector, add, sub};
            use $features as features;
            use $vector as vector;

            features! {
                /// `from` holds a vector, or less at the end of the channels.
                #[inline]
                fn load(from: &[f32]) -> Vector {
                    match from.first_chunk::<LANES>() {
                        Some(from) => vector::load(from),
                        None => vector::load_partial(from),
                    }
                }

                #[inline]
                fn store(to: &mut [f32], value: Vector) {
                    match to.first_chunk_mut::<LANES>() {
                        Some(to) => vector::store(to, value),
                        None => vector::store_partial(to, value),
                    }
                }

                /// B^T d of one line, B^T = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1].
                #[inline]
                fn operand_line(d: [Vector; 4]) -> [Vector; 4] {
                    [sub(d[0], d[2]), add(d[1], d[2]), sub(d[2], d[1]), sub(d[1], d[3])]
                }

                /// V[position][tile][channel] = B^T d B of 4x4 tiles two pixels apart, zero beyond the image.
                pub(super) fn transform_operand(tiles: &Tiles, x: &[f32], to: &mut [f32]) {
                    let [height, width, channels] = tiles.shape;
                    let step = tiles.rows.len() * tiles.columns * channels;
                    for (row, ty) in tiles.rows.clone().enumerate() {
                        for tx in 0..tiles.columns {
                            let tile = (row * tiles.columns + tx) * channels;
                            for channel in (0..channels).step_by(LANES) {
                                let valid = LANES.min(channels - channel);
                                let mut d = [[vector::splat(0.0); 4]; 4];
                                for i in 0..4 {
                                    let Some(y) = (2 * ty + i).checked_sub(tiles.pad[0]) else { continue };
                                    if y >= height {
                                        continue;
                                    }
                                    for j in 0..4 {
                                        let Some(x_at) = (2 * tx + j).checked_sub(tiles.pad[1]) else { continue };
                                        if x_at < width {
                                            let at = (y * width + x_at) * channels + channel;
                                            d[i][j] = load(&x[at..at + valid]);
                                        }
                                    }
                                }
                                for j in 0..4 {
                                    let column = operand_line([d[0][j], d[1][j], d[2][j], d[3][j]]);
                                    for i in 0..4 {
                                        d[i][j] = column[i];
                                    }
                                }
                                for i in 0..4 {
                                    let line = operand_line(d[i]);
                                    for j in 0..4 {
                                        let at = (4 * i + j) * step + tile + channel;
                                        store(&mut to[at..at + valid], line[j]);
                                    }
                                }
                            }
                        }
                    }
                }

                /// A^T m of one line, A^T = [1 1 1 0; 0 1 -1 -1].
                #[inline]
                fn result_line(m: [Vector; 4]) -> [Vector; 2] {
                    [add(add(m[0], m[1]), m[2]), sub(sub(m[1], m[2]), m[3])]
                }

                /// y = clamp(A^T m A + bias), 2x2 pixels per tile; `y` starts at the first row of tiles.
                pub(super) fn transform_result(tiles: &Tiles, m: &[f32], y: &mut [f32]) {
                    let [height, width, channels] = tiles.shape;
                    let step = tiles.rows.len() * tiles.columns * channels;
                    let (low, high) = (vector::splat(tiles.clamp.0), vector::splat(tiles.clamp.1));
                    for row in 0..tiles.rows.len() {
                        for tx in 0..tiles.columns {
                            let tile = (row * tiles.columns + tx) * channels;
                            for channel in (0..channels).step_by(LANES) {
                                let valid = LANES.min(channels - channel);
                                let bias = match tiles.bias {
                                    Some(bias) => load(&bias[channel..channel + valid]),
                                    None => vector::splat(0.0),
                                };
                                let mut lines = [[vector::splat(0.0); 2]; 4];
                                for i in 0..4 {
                                    let mut line = [vector::splat(0.0); 4];
                                    for j in 0..4 {
                                        let at = (4 * i + j) * step + tile + channel;
                                        line[j] = load(&m[at..at + valid]);
                                    }
                                    lines[i] = result_line(line);
                                }
                                for j in 0..2 {
                                    let column = result_line([lines[0][j], lines[1][j], lines[2][j], lines[3][j]]);
                                    for i in 0..2 {
                                        let inside = 2 * (tiles.rows.start + row) + i < height && 2 * tx + j < width;
                                        if inside {
                                            let at = ((2 * row + i) * width + 2 * tx + j) * channels + channel;
                                            let value = vector::clamp(add(column[i], bias), low, high);
                                            store(&mut y[at..at + valid], value);
                                        }
                                    }
                                }
                            }
                        }
                    }
                }

                /// G g of one line of two, G = [1 0; 1/2 1/2; 1/2 -1/2; 0 1].
                #[inline]
                fn gradient_line(g: [Vector; 2]) -> [Vector; 4] {
                    let half = vector::splat(0.5);
                    let zero = vector::splat(0.0);
                    let scale = |value| vector::multiply_add(half, value, zero);
                    [g[0], scale(add(g[0], g[1])), scale(sub(g[0], g[1])), g[1]]
                }

                /// U[position][tile][channel] = G g G^T of 2x2 tiles, zero beyond the image.
                pub(super) fn transform_gradient(tiles: &Tiles, dy: &[f32], to: &mut [f32]) {
                    let [height, width, channels] = tiles.shape;
                    let step = tiles.rows.len() * tiles.columns * channels;
                    for (row, ty) in tiles.rows.clone().enumerate() {
                        for tx in 0..tiles.columns {
                            let tile = (row * tiles.columns + tx) * channels;
                            for channel in (0..channels).step_by(LANES) {
                                let valid = LANES.min(channels - channel);
                                let mut columns = [[vector::splat(0.0); 4]; 2];
                                for j in 0..2 {
                                    let mut g = [vector::splat(0.0); 2];
                                    for i in 0..2 {
                                        if 2 * ty + i < height && 2 * tx + j < width {
                                            let at = ((2 * ty + i) * width + 2 * tx + j) * channels + channel;
                                            g[i] = load(&dy[at..at + valid]);
                                        }
                                    }
                                    columns[j] = gradient_line(g);
                                }
                                for i in 0..4 {
                                    let line = gradient_line([columns[0][i], columns[1][i]]);
                                    for j in 0..4 {
                                        let at = (4 * i + j) * step + tile + channel;
                                        store(&mut to[at..at + valid], line[j]);
                                    }
                                }
                            }
                        }
                    }
                }

                /// A^T m of one line, A^T = [1 1 1 0; 0 1 -1 0; 0 1 1 -1].
                #[inline]
                fn weights_line(m: [Vector; 4]) -> [Vector; 3] {
                    let middle = add(m[1], m[2]);
                    [add(m[0], middle), sub(m[1], m[2]), sub(middle, m[3])]
                }

                /// dw[output][tap][input] += A^T m A, m being [position][output][input].
                pub(super) fn transform_weights_gradient(inputs: usize, m: &[f32], dw: &mut [f32]) {
                    let step = m.len() / POSITIONS;
                    for (output, dw) in dw.chunks_exact_mut(9 * inputs).enumerate() {
                        for channel in (0..inputs).step_by(LANES) {
                            let valid = LANES.min(inputs - channel);
                            let mut lines = [[vector::splat(0.0); 3]; 4];
                            for i in 0..4 {
                                let mut line = [vector::splat(0.0); 4];
                                for j in 0..4 {
                                    let at = (4 * i + j) * step + output * inputs + channel;
                                    line[j] = load(&m[at..at + valid]);
                                }
                                lines[i] = weights_line(line);
                            }
                            for j in 0..3 {
                                let column = weights_line([lines[0][j], lines[1][j], lines[2][j], lines[3][j]]);
                                for i in 0..3 {
                                    let dw = &mut dw[(3 * i + j) * inputs + channel..][..valid];
                                    let sum = add(load(dw), column[i]);
                                    store(dw, sum);
                                }
                            }
                        }
                    }
                }
            }
        }
    };
}

transforms!(scalar, crate::gemm::tile::baseline, litesmith_simd::portable::f32x4);
#[cfg(target_arch = "x86_64")]
transforms!(avx2, litesmith_simd::avx2, litesmith_simd::x86_64::f32x8);
#[cfg(target_arch = "x86_64")]
transforms!(avx512, litesmith_simd::avx512, litesmith_simd::x86_64::f32x16);
#[cfg(target_arch = "aarch64")]
transforms!(neon, litesmith_simd::neon, litesmith_simd::aarch64::f32x4);
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
transforms!(simd128, litesmith_simd::simd128, litesmith_simd::wasm32::f32x4);
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
transforms!(relaxed_simd, litesmith_simd::relaxed_simd, litesmith_simd::wasm32::relaxed_f32x4);

gemm::on_isa! {
    fn transform_operand(tiles: &Tiles, x: &[f32], to: &mut [f32]);
}
gemm::on_isa! {
    fn transform_result(tiles: &Tiles, m: &[f32], y: &mut [f32]);
}
gemm::on_isa! {
    fn transform_gradient(tiles: &Tiles, dy: &[f32], to: &mut [f32]);
}
gemm::on_isa! {
    fn transform_weights_gradient(inputs: usize, m: &[f32], dw: &mut [f32]);
}

//! The f32 convolution on register tiles, per instruction set.

use super::lower::{self, Axis, Padding, Runs};
use super::winograd;
use crate::conv_2d::Conv2dGeometry;
use crate::gemm::{self, Grid, Outer, Right, Rows};
use crate::pool::{FINE, Worth, share_at_most};
use crate::{Activation, Isa, Pool};
use std::ops::Range;
use std::sync::OnceLock;

/// Elements of k per pass over the pixels: a panel's part stays in the first cache.
const DEPTH_BLOCK: usize = 512;

/// Multiplications that are worth a thread: about a microsecond.
const TASK_PRODUCTS: usize = 50_000;
/// Pixels that a task is not cut below: some tiles, of which each reads weights that the one before brought near.
const TASK_PIXELS: usize = 56;
/// Pixels that are few: a 7x7 image, with which mobile networks end.
const FEW_PIXELS: usize = 64;
/// Pixels of a thread that make a tile.
const FEWEST_PIXELS: usize = 12;
/// Elements of weights that stay in the second cache from one run to the next.
const CHEAP_WEIGHTS: usize = 64 * 1024;
/// Rows of an image that are many for a thread: one more or less is little.
const MANY_ROWS: usize = 8;
/// Elements of a band of a padded image: a quarter of a second cache.
const BAND: usize = 64 * 1024;

/// One set of output pixels with the same taps: the whole forward pass, or one phase of the gradient of the input.
#[derive(Debug, Clone)]
struct Pass {
    vertical: Axis,
    horizontal: Axis,
    runs: Runs,
    /// Where its panels start in the packed weights, and k of a panel.
    packed_from: usize,
    depth: usize,
    /// Whether runs are so short that operands are gathered from these offsets, one per k.
    gather: bool,
    offsets: Vec<usize>,
}

/// Runs shorter than this are gathered, if all together are short as well.
const SHORT_RUN: usize = 12;
const SHORT_DEPTH: usize = 160;
/// Runs that are worth a slice each.
const RUN: usize = 8;

/// A direction's lowered form: from an operand image, padded, to a result image.
#[derive(Debug, Clone)]
struct Lowered {
    passes: Vec<Pass>,
    padding: [Padding; 2],
    /// Whether the operand must be copied into a padded image.
    padded: bool,
    /// Height, width and channels.
    operand: [usize; 3],
    result: [usize; 3],
    groups: usize,
    packed_len: usize,
    lanes: usize,
}

/// What units of `pixels` are cut for.
fn worth(pixels: usize) -> Worth {
    Worth { thread: TASK_PRODUCTS, fine: FINE, least: TASK_PIXELS.div_ceil(pixels.max(1)) }
}

impl Lowered {
    fn new(
        lanes: usize,
        axes: [(Vec<Axis>, Padding); 2],
        kernel_width: usize,
        operand: [usize; 3],
        result: [usize; 3],
        groups: usize,
    ) -> Self {
        let [(vertical, rows), (horizontal, columns)] = axes;
        let padded =
            rows != (Padding { before: 0, size: operand[0] }) || columns != (Padding { before: 0, size: operand[1] });
        let depth = operand[2] / groups;
        let mut packed_len = 0;
        let mut passes = Vec::new();
        for vertical in &vertical {
            for horizontal in &horizontal {
                let runs = lower::runs(vertical, horizontal, kernel_width, columns.size, operand[2], depth);
                let depth = runs.taps.len() * depth;
                let (vertical, horizontal) = (vertical.clone(), horizontal.clone());
                let gather = runs.len < SHORT_RUN && depth <= SHORT_DEPTH;
                let offsets = runs.starts.iter().flat_map(|&start| start..start + runs.len);
                let offsets = if gather { offsets.collect() } else { Vec::new() };
                passes.push(Pass { vertical, horizontal, runs, packed_from: packed_len, depth, gather, offsets });
                packed_len += groups * gemm::panels_len(lanes, depth, result[2] / groups);
            }
        }
        Self { passes, padding: [rows, columns], padded, operand, result, groups, packed_len, lanes }
    }

    fn operand_len(&self) -> usize {
        self.operand.iter().product()
    }

    fn result_len(&self) -> usize {
        self.result.iter().product()
    }

    /// Elements of one padded image, 0 if operands are read where they are.
    fn padded_len(&self) -> usize {
        if self.padded { self.padding[0].size * self.padding[1].size * self.operand[2] } else { 0 }
    }

    /// Multiplications of a result pixel.
    fn pixel_products(&self) -> usize {
        let depth = self.passes.first().map_or(0, |pass| pass.depth);
        depth.saturating_mul(self.result[2] / self.groups.max(1))
    }

    /// Result rows of a task of the forward pass.
    fn rows_per_task(&self, threads: usize) -> usize {
        let [height, width, _] = self.result;
        let products = width.saturating_mul(self.pixel_products());
        let shared = share_at_most(threads, height, products, worth(width), usize::MAX);
        // The most that fit, by halving: a hostile image may have 2^31 rows.
        let (mut least, mut most) = (1, shared);
        while least < most {
            let middle = least + (most - least).div_ceil(2);
            if self.band_len(middle) <= BAND {
                least = middle;
            } else {
                most = middle - 1;
            }
        }
        least
    }

    /// Elements of the padded rows that `rows` result rows of the forward pass read; 0 if operands are read where they are.
    fn band_len(&self, rows: usize) -> usize {
        let Some(Axis { operand_step, taps, .. }) = self.passes.first().map(|pass| &pass.vertical) else { return 0 };
        let reach = taps.last().map_or(0, |tap| tap.1 + 1);
        let rows = rows.saturating_sub(1).saturating_mul(*operand_step).saturating_add(reach);
        if self.padded { rows.saturating_mul(self.padding[1].size).saturating_mul(self.operand[2]) } else { 0 }
    }

    /// Packs each group of each pass; `copy(tap, channel in group, group, columns, to)` writes a run of one row.
    fn pack(&self, packed: &mut Vec<f32>, mut copy: impl FnMut(usize, usize, usize, Range<usize>, &mut [f32])) {
        packed.resize(self.packed_len, 0.0);
        let depth = self.operand[2] / self.groups;
        let columns = self.result[2] / self.groups;
        for pass in &self.passes {
            let len = gemm::panels_len(self.lanes, pass.depth, columns);
            for group in 0..self.groups {
                let panels = &mut packed[pass.packed_from + group * len..][..len];
                gemm::pack_panels(self.lanes, pass.depth, columns, panels, |k, columns, to| {
                    copy(pass.runs.taps[k / depth], k % depth, group, columns, to);
                });
            }
        }
    }

    /// The operand image ready to be read: itself, or its copy in `padded`, whose border is zero.
    fn prepare<'a>(&self, image: &'a [f32], padded: &'a mut [f32]) -> &'a [f32] {
        if !self.padded {
            return image;
        }
        let [height, width, pixel] = self.operand;
        lower::copy_into(image, (height, width, pixel), padded, self.padding[0], self.padding[1]);
        padded
    }

    /// Result pixels `pixels` of one pass, in `result` that starts at result pixel `from`.
    fn multiply(
        &self,
        isa: Isa,
        pass: &Pass,
        operand: &[f32],
        packed: &[f32],
        bias: Option<&[f32]>,
        clamp: (f32, f32),
        pixels: Range<usize>,
        result: &mut [f32],
    ) {
        let columns = 0..self.result[2] / self.groups;
        self.multiply_columns(isa, pass, operand, packed, bias, clamp, pixels, columns, &mut gemm::Target::new(result));
    }

    /// Columns `all` of each group of them.
    fn multiply_columns(
        &self,
        isa: Isa,
        pass: &Pass,
        operand: &[f32],
        packed: &[f32],
        bias: Option<&[f32]>,
        clamp: (f32, f32),
        pixels: Range<usize>,
        all: Range<usize>,
        result: &mut gemm::Target<'_>,
    ) {
        let [_, result_width, result_pixel] = self.result;
        let (row, pixel) = (self.padding[1].size * self.operand[2], self.operand[2]);
        let (vertical, horizontal) = (&pass.vertical, &pass.horizontal);
        let a_grid = Grid { row_step: vertical.operand_step * row, pixel_step: horizontal.operand_step * pixel };
        let c_grid = Grid {
            row_step: vertical.result_step * result_width * result_pixel,
            pixel_step: horizontal.result_step * result_pixel,
        };
        let (depth, columns) = (self.operand[2] / self.groups, result_pixel / self.groups);
        let panels_len = gemm::panels_len(self.lanes, pass.depth, columns);
        let per_block = (DEPTH_BLOCK / pass.runs.len.max(1)).max(1);
        let blocks = pass.runs.starts.len().div_ceil(per_block).max(1);
        let width = if blocks == 1 { all.len() } else { gemm::panel_width(self.lanes) };
        for group in 0..self.groups {
            let panels = &packed[pass.packed_from + group * panels_len..][..panels_len];
            let mut result = result.skip(group * columns);
            let operand = &operand[group * depth..];
            let bias = bias.map(|bias| &bias[group * columns..][..columns]);
            let whole = Rows {
                a: operand,
                a_grid,
                segments: &pass.offsets,
                segment_len: 1,
                b: Right::Panels(panels, pass.depth),
                depth_from: 0,
                columns: all.clone(),
                bias,
                accumulate: false,
                clamp,
                width: horizontal.outputs,
                pixels: pixels.clone(),
                c_grid,
            };
            // Tiles that end in a part of a vector do better with runs, unless those are very short.
            let is_whole = columns.is_multiple_of(gemm::panel_width(self.lanes));
            if pass.gather && (is_whole || pass.runs.len < RUN) {
                gemm::rows_gather(isa, &whole, &mut result);
                continue;
            }
            for first in all.clone().step_by(width.max(1)) {
                for block in 0..blocks {
                    let starts = &pass.runs.starts;
                    let segments = &starts[block * per_block..((block + 1) * per_block).min(starts.len())];
                    let last = block + 1 == blocks;
                    let rows = Rows {
                        segments,
                        segment_len: pass.runs.len,
                        depth_from: block * per_block * pass.runs.len,
                        columns: first..(first + width).min(all.end),
                        accumulate: block > 0,
                        clamp: if last { clamp } else { (f32::NEG_INFINITY, f32::INFINITY) },
                        pixels: pixels.clone(),
                        ..whole
                    };
                    gemm::rows_into(isa, &rows, &mut result);
                }
            }
        }
    }
}

/// The planned f32 convolution.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    isa: Isa,
    forward: Lowered,
    /// Made when it is first asked for: inference never does, and a large stride makes it large.
    backward: OnceLock<Lowered>,
    geometry: Conv2dGeometry,
    taps: usize,
    /// Both directions by Winograd, where it pays.
    winograd: Option<[winograd::Direction; 2]>,
    /// 1x1, stride 1, no padding: all images are one row of pixels.
    pointwise: bool,
}

impl Plan {
    pub(super) fn new(g: &Conv2dGeometry, isa: Isa) -> Self {
        let lanes = gemm::lanes(isa);
        let forward = [&g.height, &g.width].map(|w| {
            let (axis, padding) = lower::forward_axis(w);
            (vec![axis], padding)
        });
        let input = [g.height.input, g.width.input, g.in_channels];
        let output = [g.height.output, g.width.output, g.out_channels];
        let forward = Lowered::new(lanes, forward, g.width.kernel, input, output, g.groups);
        let taps = g.height.kernel * g.width.kernel;
        let pointwise =
            taps == 1 && !forward.padded && [&g.height, &g.width].iter().all(|w| w.stride == 1 && w.input == w.output);
        let winograd = winograd::serves(g, isa)
            .then(|| [winograd::Direction::forward(g, isa), winograd::Direction::backward(g, isa)]);
        Self { isa, forward, backward: OnceLock::new(), geometry: *g, taps, winograd, pointwise }
    }

    fn backward(&self) -> &Lowered {
        self.backward.get_or_init(|| {
            let g = &self.geometry;
            let axes = [&g.height, &g.width].map(lower::backward_axes);
            let input = [g.height.input, g.width.input, g.in_channels];
            let output = [g.height.output, g.width.output, g.out_channels];
            Lowered::new(self.forward.lanes, axes, g.width.kernel, output, input, g.groups)
        })
    }

    pub(super) fn is_winograd(&self) -> bool {
        self.winograd.is_some()
    }

    pub(super) fn pack(&self, weights: &[f32], packed: &mut Vec<f32>) {
        let (taps, depth) = (self.taps, self.forward.operand[2] / self.forward.groups);
        if let Some([forward, _]) = &self.winograd {
            return forward.pack(weights, packed);
        }
        let columns = self.forward.result[2] / self.forward.groups;
        self.forward.pack(packed, |tap, channel, group, range, to| {
            let from = weights[((group * columns + range.start) * taps + tap) * depth + channel..].iter();
            to.iter_mut().zip(from.step_by(taps * depth)).for_each(|(to, &from)| *to = from);
        });
    }

    pub(super) fn pack_backward(&self, weights: &[f32], packed: &mut Vec<f32>) {
        let (taps, depth) = (self.taps, self.backward().result[2] / self.backward().groups);
        if let Some([_, backward]) = &self.winograd {
            return backward.pack_turned(weights, packed);
        }
        let outputs = self.backward().operand[2] / self.backward().groups;
        self.backward().pack(packed, |tap, output, group, range, to| {
            to.copy_from_slice(&weights[((group * outputs + output) * taps + tap) * depth + range.start..][..to.len()]);
        });
    }

    pub(super) fn forward_scratch_len(&self, threads: usize) -> usize {
        if let Some([forward, _]) = &self.winograd {
            return threads * forward.scratch_len();
        }
        // A batch is split by images, one image by rows; a pool may have fewer threads than were planned for.
        let bands = |threads| {
            if self.splits_columns(threads) {
                return self.forward.padded_len();
            }
            threads * self.forward.band_len(self.forward.rows_per_task(threads))
        };
        let bands = (1..=threads).map(bands).max().unwrap_or(0);
        if self.geometry.batch > 1 { bands.max(threads * self.forward.padded_len()) } else { bands }
    }

    pub(super) fn backward_input_scratch_len(&self, threads: usize) -> usize {
        threads
            * self
                .winograd
                .as_ref()
                .map_or_else(|| self.backward().padded_len(), |[_, backward]| backward.scratch_len())
    }

    /// The padded image, and sums.
    pub(super) fn backward_weights_scratch_len(&self) -> usize {
        if let Some([forward, _]) = &self.winograd {
            return forward.weights_scratch_len();
        }
        self.forward.padded_len() + self.weights_sums_len()
    }

    pub(super) fn forward(
        &self,
        pool: &Pool,
        packed: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        x: &[f32],
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        let lowered = &self.forward;
        let (low, high) = activation.range();
        let clamp = (low as f32, high as f32);
        if let Some([forward, _]) = &self.winograd {
            return forward.run(pool, packed, bias, clamp, x, y, scratch);
        }
        let pass = &lowered.passes[0];
        if self.pointwise {
            self.split_pixels(pool, pass, x, packed, bias, clamp, y);
            return;
        }
        let images = y.len() / lowered.result_len();
        let pixels = lowered.result[0] * lowered.result[1];
        if images >= pool.threads() && images > 1 {
            each_image(pool, lowered, x, y, scratch, |x, y| {
                lowered.multiply(self.isa, pass, x, packed, bias, clamp, 0..pixels, y);
            });
            return;
        }
        for (x, y) in x.chunks_exact(lowered.operand_len()).zip(y.chunks_exact_mut(lowered.result_len())) {
            if self.splits_columns(pool.threads()) {
                let padded = &mut scratch[..lowered.padded_len()];
                padded.fill(0.0);
                self.split_columns(pool, pass, lowered.prepare(x, padded), packed, bias, clamp, y);
            } else if lowered.padded {
                self.split_rows(pool, pass, x, packed, bias, clamp, y, scratch);
            } else {
                self.split_pixels(pool, pass, x, packed, bias, clamp, y);
            }
        }
    }

    /// The rows of one result image, split over the pool, each task with a band of the padded operand of its own.
    fn split_rows(
        &self,
        pool: &Pool,
        pass: &Pass,
        x: &[f32],
        packed: &[f32],
        bias: Option<&[f32]>,
        clamp: (f32, f32),
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        let lowered = &self.forward;
        let [_, width, pixel] = lowered.result;
        let [height_in, width_in, pixel_in] = lowered.operand;
        let rows = lowered.rows_per_task(pool.threads());
        let band_len = lowered.band_len(rows);
        pool.chunks_mut_with_scratch(y, rows * width * pixel, scratch, band_len, |index, y, band| {
            let rows_here = y.len() / (width * pixel);
            let band = &mut band[..lowered.band_len(rows_here)];
            let first = index * rows * pass.vertical.operand_step;
            lower::copy_rows(x, 0, (height_in, width_in, pixel_in), first, band, lowered.padding);
            lowered.multiply(self.isa, pass, band, packed, bias, clamp, 0..rows_here * width, y);
        });
    }

    /// Elements of scratch that [`Self::rows`] needs for `rows` rows.
    pub(super) fn rows_scratch_len(&self, rows: usize) -> usize {
        self.forward.band_len(rows)
    }

    /// Result rows `rows` of one image, on the caller's thread, not by Winograd: `x` holds the rows of the operand that they need.
    pub(super) fn rows(
        &self,
        packed: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        x: &[f32],
        rows: Range<usize>,
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        let lowered = &self.forward;
        let (low, high) = activation.range();
        let clamp = (low as f32, high as f32);
        let pass = &lowered.passes[0];
        let [_, width, _] = lowered.result;
        let operand = if lowered.padded {
            let [height, width, pixel] = lowered.operand;
            let band = &mut scratch[..lowered.band_len(rows.len())];
            let held = self.geometry.height.needs(rows.clone()).start;
            let first = rows.start * pass.vertical.operand_step;
            lower::copy_rows(x, held, (height, width, pixel), first, band, lowered.padding);
            band
        } else {
            x
        };
        lowered.multiply(self.isa, pass, operand, packed, bias, clamp, 0..rows.len() * width, y);
    }

    /// Whether the few pixels of an image are split by channels: each thread then reads a part of the weights only, and whole tiles.
    /// Where both are cheap, rows are better: threads that write to the same pixels take each other's cache lines.
    fn splits_columns(&self, threads: usize) -> bool {
        let Lowered { result: [height, width, pixel], groups, lanes, .. } = self.forward;
        let enough = 2 * gemm::panel_width(lanes) * threads;
        let is_few = height.saturating_mul(width) <= FEW_PIXELS;
        threads > 1 && groups == 1 && is_few && !self.splits_rows(threads) && pixel >= enough
    }

    pub(super) fn splits_rows(&self, threads: usize) -> bool {
        let Lowered { result: [height, width, _], packed_len, .. } = self.forward;
        packed_len <= CHEAP_WEIGHTS && height.saturating_mul(width) >= FEWEST_PIXELS.saturating_mul(threads)
    }

    /// The channels of one result image (pointwise: of all), split over the pool, of an operand that is ready to be read.
    fn split_columns(
        &self,
        pool: &Pool,
        pass: &Pass,
        operand: &[f32],
        packed: &[f32],
        bias: Option<&[f32]>,
        clamp: (f32, f32),
        y: &mut [f32],
    ) {
        let pixel = self.forward.result[2];
        let pixels = y.len() / pixel.max(1);
        let panel = gemm::panel_width(self.forward.lanes);
        let panels = pixel.div_ceil(panel);
        let per_task = pool.share(panels, pixels * pass.depth * panel, TASK_PRODUCTS);
        let target = gemm::Target::new(y);
        pool.run(panels.div_ceil(per_task), &|task: usize| {
            let columns = task * per_task * panel..((task + 1) * per_task * panel).min(pixel);
            // SAFETY: each task has columns of its own, and writes no other.
            let mut target = unsafe { target.share() };
            self.forward.multiply_columns(
                self.isa,
                pass,
                operand,
                packed,
                bias,
                clamp,
                0..pixels,
                columns,
                &mut target,
            );
        });
    }

    /// The pixels of one result image (pointwise: of all), split over the pool.
    fn split_pixels(
        &self,
        pool: &Pool,
        pass: &Pass,
        x: &[f32],
        packed: &[f32],
        bias: Option<&[f32]>,
        clamp: (f32, f32),
        y: &mut [f32],
    ) {
        let pixel = self.forward.result[2];
        let pixels = y.len() / pixel.max(1);
        if self.splits_columns(pool.threads()) && pixels <= FEW_PIXELS {
            self.split_columns(pool, pass, x, packed, bias, clamp, y);
            return;
        }
        // Whole rows where there are enough of them, as the ops before and after are split: a thread then reads what it wrote.
        let unit = if self.geometry.height.output >= MANY_ROWS { self.geometry.width.output } else { 1 };
        let products = self.forward.pixel_products().saturating_mul(unit);
        let per_task = share_at_most(pool.threads(), pixels / unit, products, worth(unit), usize::MAX) * unit;
        pool.chunks_mut(y, per_task * pixel, |index, y| {
            let first = index * per_task;
            let range = first..first + y.len() / pixel;
            self.forward.multiply(self.isa, pass, x, packed, bias, clamp, range, y);
        });
    }

    pub(super) fn backward_input(&self, pool: &Pool, packed: &[f32], dy: &[f32], dx: &mut [f32], scratch: &mut [f32]) {
        let lowered = self.backward();
        let clamp = (f32::NEG_INFINITY, f32::INFINITY);
        if let Some([_, backward]) = &self.winograd {
            return backward.run(pool, packed, None, clamp, dy, dx, scratch);
        }
        let [_, width, pixel] = lowered.result;
        each_image(pool, lowered, dy, dx, scratch, |dy, dx| {
            for pass in &lowered.passes {
                let from = (pass.vertical.first * width + pass.horizontal.first) * pixel;
                let pixels = 0..pass.vertical.outputs * pass.horizontal.outputs;
                lowered.multiply(self.isa, pass, dy, packed, None, clamp, pixels, &mut dx[from..]);
            }
        });
    }

    pub(super) fn backward_weights(&self, x: &[f32], dy: &[f32], dw: &mut [f32], scratch: &mut [f32]) {
        if let Some([forward, _]) = &self.winograd {
            return forward.weights(x, dy, dw, scratch);
        }
        let lowered = &self.forward;
        let pass = &lowered.passes[0];
        let [height, width, outputs] = lowered.result;
        let (depth, columns) = (lowered.operand[2] / lowered.groups, outputs / lowered.groups);
        let row = lowered.padding[1].size * lowered.operand[2];
        if self.pointwise && lowered.groups == 1 {
            // All images are one run of pixels.
            let problem = Outer {
                a: dy,
                b: x,
                runs: 1,
                run_len: dy.len() / outputs,
                a_run_step: 0,
                a_step: outputs,
                b_run_step: 0,
                b_step: depth,
                segments: &[0],
                segment_len: outputs,
                columns: depth,
                c_step: depth,
            };
            return gemm::outer(self.isa, &problem, dw);
        }
        let (padded, sums) = scratch.split_at_mut(lowered.padded_len());
        padded.fill(0.0);
        let sums = &mut sums[..self.weights_sums_len()];
        sums.fill(0.0);
        for (x, dy) in x.chunks_exact(lowered.operand_len()).zip(dy.chunks_exact(lowered.result_len())) {
            let x = lowered.prepare(x, padded);
            for group in 0..lowered.groups {
                let (x, dy) = (&x[group * depth..], &dy[group * columns..]);
                let x_steps = (pass.vertical.operand_step * row, pass.horizontal.operand_step * lowered.operand[2]);
                let dy_steps = (width * outputs, outputs);
                if pass.gather {
                    let problem = Outer {
                        a: x,
                        b: dy,
                        runs: height,
                        run_len: width,
                        a_run_step: x_steps.0,
                        a_step: x_steps.1,
                        b_run_step: dy_steps.0,
                        b_step: dy_steps.1,
                        segments: &pass.offsets,
                        segment_len: 1,
                        columns,
                        c_step: columns,
                    };
                    gemm::outer_gather(self.isa, &problem, &mut sums[group * pass.depth * columns..]);
                    continue;
                }
                let dw = &mut dw[group * columns * pass.depth..][..columns * pass.depth];
                for (run, &start) in pass.runs.starts.iter().enumerate() {
                    let problem = Outer {
                        a: dy,
                        b: &x[start..],
                        runs: height,
                        run_len: width,
                        a_run_step: dy_steps.0,
                        a_step: dy_steps.1,
                        b_run_step: x_steps.0,
                        b_step: x_steps.1,
                        segments: &[0],
                        segment_len: columns,
                        columns: pass.runs.len,
                        c_step: pass.depth,
                    };
                    gemm::outer(self.isa, &problem, &mut dw[run * pass.runs.len..]);
                }
            }
        }
        if pass.gather {
            for (dw, sums) in dw.chunks_exact_mut(pass.depth * columns).zip(sums.chunks_exact(pass.depth * columns)) {
                gemm::add_transposed(sums, columns, dw);
            }
        }
    }

    /// Elements of the sums of a gradient of the weights that has the filters innermost.
    fn weights_sums_len(&self) -> usize {
        let pass = &self.forward.passes[0];
        if pass.gather { pass.depth * self.forward.result[2] } else { 0 }
    }
}

/// Calls `run(prepared operand image, result image)` for each image, images split over the pool, each task with its own
/// padded image.
fn each_image(
    pool: &Pool,
    lowered: &Lowered,
    operand: &[f32],
    result: &mut [f32],
    scratch: &mut [f32],
    run: impl Fn(&[f32], &mut [f32]) + Sync,
) {
    let (operand_len, result_len, padded_len) = (lowered.operand_len(), lowered.result_len(), lowered.padded_len());
    let images = result.len() / result_len;
    let per_task = images.div_ceil(pool.threads());
    let chunks = (per_task * result_len, padded_len);
    pool.zip_chunks_mut(result, chunks.0, scratch, chunks.1, |task, result, padded| {
        padded.fill(0.0);
        let operand = operand[task * per_task * operand_len..].chunks_exact(operand_len);
        for (operand, result) in operand.zip(result.chunks_exact_mut(result_len)) {
            run(lowered.prepare(operand, padded), result);
        }
    });
}

//! The shared body of the 8-bit CONV_2D and FULLY_CONNECTED: where rows of the matrix product lie, and how its work is
//! split. A fully connected layer is a 1x1 convolution over 1x1 images.

use crate::byte_gemm::{
    Activations, COLUMNS_MAX, KR, NR, Output, Packed, ROWS_MAX, Requantize, SLACK, TILE_ROWS, Tiles, flips_one_row,
    reads_signed,
};
use crate::conv_2d::Conv2dGeometry;
use crate::integer_conv::{Bias, Weights};
use crate::padded_rows::{Bytes, Columns, PaddedRows, flip, flipped};
use crate::pool::{FINE, Worth, share_at_most};
use crate::requantize::OutputStage;
use crate::{Context, Isa, Then, Unsupported};
use bytemuck::Pod;

/// Rows of the matrix product that pass over a panel before the next one: panel and rows stay in the first cache.
const PIXELS: usize = ROWS_MAX;
/// Multiplications that are worth a thread, some hundred nanoseconds: less than it costs to call one, but not than to take
/// what the op before left in its cache away from it. Each task has a tile.
const WORTH: Worth = Worth { thread: 1 << 16, fine: 4 * FINE, least: TILE_ROWS };
/// Where there are many weights, which each task reads, it has most of a block of pixels.
const MANY_WEIGHTS: usize = 1 << 18;
const TASK_PIXELS: usize = 48;
/// Parts into which a product whose rows are pixels of the input may be split for more threads; each has scratch.
const PARTS_MAX: usize = 64;
/// Pixels and multiplications from which on tiles are worth setting up, which takes a tenth of a microsecond in each task.
const TILED_PIXELS: usize = 8;
const TILED_PRODUCTS: usize = 1 << 18;
/// Pixels of a line from which on tiles end with it: fewer rows than a tile can have are made up for by not being copied.
const TILED_LINE: usize = 12;

/// A convolution of bytes, planned.
#[derive(Debug, Clone)]
pub(crate) struct ByteConv {
    geometry: Conv2dGeometry,
    activations: Activations,
    /// One for each group of channels.
    weights: Vec<Packed>,
    /// For each group, where the output stage is the float one.
    requantize: Option<Vec<Requantize>>,
    /// Where the segments of a row begin, relative to its first tap; one list for all groups.
    segments: Vec<usize>,
    /// How the input is copied and padded; `None` where a row is a pixel of the input.
    padded: Option<PaddedRows>,
}

/// How a product whose rows are pixels of the input is split.
#[derive(Debug, Clone, Copy)]
struct Direct {
    /// Whether a task has channels of the only pixel, or pixels.
    by_columns: bool,
    /// Outputs of a task, in channels or pixels.
    per_task: usize,
    tasks: usize,
    /// Bytes that a task flips at a time, for kernels that read the other signedness.
    flipped_len: usize,
}

/// What pixels of so many products, one with each weight, are cut for.
fn worth(products: usize) -> Worth {
    if products < MANY_WEIGHTS { WORTH } else { Worth { least: TASK_PIXELS, ..WORTH } }
}

impl ByteConv {
    /// Plans `geometry`, which has been checked, for weights whose zero point is `weight_zero_point` and `activations`. Without a
    /// `stage`, [`Self::run_sums`] runs it.
    pub(crate) fn new(
        geometry: Conv2dGeometry,
        weights: Weights<'_>,
        weight_zero_point: i32,
        bias: Bias<'_>,
        activations: Activations,
        stage: Option<&OutputStage>,
    ) -> Result<Self, Unsupported> {
        const KERNEL: &str = "conv_2d";
        if weights.len() != geometry.weights_len() {
            let reason = format!("{} weights, expected {} for {geometry:?}", weights.len(), geometry.weights_len());
            return Err(Unsupported::new(KERNEL, reason));
        }
        bias.check(KERNEL, geometry.out_channels)?;
        let Conv2dGeometry { batch, height, width, in_channels, out_channels, groups } = geometry;
        let (depth, per_group) = (in_channels / groups, out_channels / groups);
        // Taps side by side in memory are one segment.
        let taps = if width.dilation == 1 && groups == 1 { width.kernel } else { 1 };
        let across = width.kernel / taps;
        let segment_len = taps * depth;
        let inside = |window: &crate::conv_2d::Window| window.pad_before == 0 && window.pad_after() == 0;
        let one_tap = height.kernel == 1 && width.kernel == 1;
        // Lines of the next image are as far from those of this one as those of one image from each other.
        let even = batch == 1 || height.stride * height.output == height.input;
        let direct = one_tap && even && inside(&height) && inside(&width) && segment_len % KR == 0;
        let products = out_channels * height.kernel * width.kernel * depth;
        let padded = (!direct).then(|| {
            let worth = worth(products);
            let worth = Worth { least: worth.least.div_ceil(width.output.max(1)), ..worth };
            PaddedRows::new(height, width, in_channels, Columns::InOrder, SLACK, products, worth)
        });
        let row_len = padded.as_ref().map_or(width.input * in_channels, PaddedRows::row_len);
        let mut segments = Vec::with_capacity(height.kernel * across);
        for y in 0..height.kernel {
            for x in 0..across {
                segments.push(y * height.dilation * row_len + x * width.dilation * in_channels);
            }
        }
        // Unsigned weights become signed bytes by subtracting 128, not their zero point, which would take nine bits.
        let weight_offset = match weights {
            Weights::I8(_) => -weight_zero_point,
            Weights::U8(_) => 128 - weight_zero_point,
        };
        let bias = bias.narrow(out_channels);
        let weights = (0..groups)
            .map(|group| {
                let at = |column: usize, segment: usize, element: usize| {
                    let row = (group * per_group + column) * segments.len() + segment;
                    weights.at_signed(row * segment_len + element)
                };
                let bias = &bias[group * per_group..(group + 1) * per_group];
                Packed::pack(per_group, segments.len(), segment_len, activations, weight_offset, bias, at)
            })
            .collect();
        let requantize = stage.and_then(|stage| Requantize::new(stage, per_group, !activations.signed));
        Ok(Self { geometry, activations, weights, requantize, segments, padded })
    }

    pub(crate) fn geometry(&self) -> &Conv2dGeometry {
        &self.geometry
    }

    /// Bytes of the packed weights.
    pub(crate) fn packed_bytes(&self) -> usize {
        self.weights.iter().map(Packed::bytes).sum()
    }

    /// Bytes of scratch that a run needs.
    pub(crate) fn scratch_len(&self) -> usize {
        match &self.padded {
            Some(padded) => padded.scratch_len(self.geometry.batch),
            None => PARTS_MAX.min(self.direct(PARTS_MAX).tasks) * self.direct(1).flipped_len,
        }
    }

    fn direct(&self, threads: usize) -> Direct {
        let Conv2dGeometry { batch, height, width, in_channels, out_channels, groups } = self.geometry;
        let (pixels, products) = (batch * height.output * width.output, in_channels / groups);
        let by_columns = pixels == 1 && groups == 1;
        let per_task = if by_columns {
            share_at_most(threads, out_channels, products, Worth { least: 1, ..WORTH }, usize::MAX)
                .next_multiple_of(COLUMNS_MAX)
        } else {
            let products = products.saturating_mul(out_channels);
            share_at_most(threads, pixels, products, worth(products), usize::MAX)
        };
        let outputs = if by_columns { out_channels } else { pixels };
        let flipped_len = if by_columns { in_channels } else { per_task.min(PIXELS) * in_channels };
        Direct { by_columns, per_task, tasks: outputs.div_ceil(per_task), flipped_len }
    }

    /// Whether the product is computed in tiles of [`Isa::AmxInt8`], which read activations as they are.
    fn is_tiled(&self, isa: Isa) -> bool {
        // The groups have weights of one shape.
        if isa != Isa::AmxInt8 || !self.weights.first().is_some_and(Packed::suits_tiles) {
            return false;
        }
        let Conv2dGeometry { batch, height, width, in_channels, out_channels, groups } = self.geometry;
        let pixels = batch * height.output * width.output;
        let products =
            pixels.saturating_mul(height.kernel * width.kernel * (in_channels / groups)).saturating_mul(out_channels);
        pixels >= TILED_PIXELS && products >= TILED_PRODUCTS
    }

    /// What turns the bytes of the input into those of the kernel.
    fn flip(&self, isa: Isa) -> u8 {
        if self.is_tiled(isa) { 0 } else { self.activations.flip(reads_signed(isa)) }
    }

    /// Whether pixels of the output leave out some of the input.
    fn is_strided(&self) -> bool {
        [self.geometry.height.stride, self.geometry.width.stride] != [1, 1]
    }

    /// Whether a run is one product of the input as it is with all weights: a dense layer of one row on one thread.
    fn is_one_call(&self, ctx: Context<'_>) -> bool {
        let Conv2dGeometry { batch, height, width, groups, .. } = self.geometry;
        let is_row = batch * height.output * width.output == 1 && groups == 1 && self.padded.is_none();
        let is_read = self.flip(ctx.isa) == 0 || flips_one_row(ctx.isa);
        is_row && is_read && ctx.pool.threads() == 1
    }

    /// Runs; `stage` is the one it was planned for, and `then` is applied to what it makes. `input` and `output` are NHWC.
    pub(crate) fn run(
        &self,
        ctx: Context<'_>,
        stage: &OutputStage,
        input: &[u8],
        output: &mut [u8],
        scratch: &mut [u8],
        then: Option<Then<'_>>,
    ) {
        if let (Some([requantize]), true) = (self.requantize.as_deref(), then.is_none() && self.is_one_call(ctx)) {
            assert_eq!(
                [input.len(), output.len()],
                [self.geometry.input_len(), self.geometry.output_len()],
                "elements"
            );
            let stride = output.len();
            let (panels, mut out) = (stride.div_ceil(NR), Output::Bytes { out: output, stride, requantize });
            self.weights[0].multiply(ctx.isa, None, self.activations, input, &[0], &self.segments, 0, panels, &mut out);
            return;
        }
        let store = |block: &SumBlock<'_>, out: &mut [u8], stride: usize| {
            stage.store_rows(ctx.isa, block.sums, COLUMNS_MAX, block.channel, block.columns, out, stride);
        };
        let run = Run { conv: self, ctx, requantize: self.requantize.as_deref(), store: &store, then };
        let zero = self.activations.zero_point;
        self.split(&run, input, output, scratch, &|_| zero);
    }

    /// Runs on int8 activations of which image `i` has the zero point `zero_point(i)`, planned as 0 and without bias.
    /// `store(block, out, stride)` turns sums into outputs, those of row `i` from `i * stride` of `out` on; the products of
    /// the zero point and the column sums are still to be subtracted.
    pub(crate) fn run_sums<O: Pod + Send>(
        &self,
        ctx: Context<'_>,
        input: &[i8],
        output: &mut [O],
        scratch: &mut [u8],
        zero_point: impl Fn(usize) -> i32 + Sync,
        store: impl Fn(&SumBlock<'_>, &mut [O], usize) + Sync,
    ) {
        let run = Run { conv: self, ctx, requantize: None, store: &store, then: None };
        self.split(&run, bytemuck::cast_slice(input), output, scratch, &zero_point);
    }

    /// Pixels that a task of [`Self::run_pixels`] should have for `threads`, and the most tasks that there are for any number of
    /// them; `None` where a row of the product is not a pixel of the input, or there is only one.
    pub(crate) fn pixels_per_task(&self, threads: usize) -> Option<(usize, usize)> {
        let is_rows = self.padded.is_none() && self.geometry.groups == 1 && !self.is_strided();
        let direct = self.direct(threads.min(PARTS_MAX / 4));
        (is_rows && !direct.by_columns).then(|| (direct.per_task, PARTS_MAX.min(self.direct(PARTS_MAX).tasks)))
    }

    /// [`Self::run_sums`] of some pixels on this thread, which may change `input` for the kernel.
    pub(crate) fn run_pixels<O: Pod>(
        &self,
        ctx: Context<'_>,
        input: &mut [u8],
        output: &mut [O],
        store: impl Fn(&SumBlock<'_>, &mut [O], usize) + Sync,
    ) {
        let run = Run { conv: self, ctx, requantize: None, store: &store, then: None };
        flip(ctx.isa, input, run.flip());
        let origins = Origins { width: usize::MAX, x_step: self.geometry.in_channels, y_step: 0 };
        run.pixels(input, output, 0, 0, &origins, &mut []);
    }

    fn split<O: Pod + Send>(
        &self,
        run: &Run<'_, O>,
        input: &[u8],
        output: &mut [O],
        scratch: &mut [u8],
        zero_point: &(dyn Fn(usize) -> i32 + Sync),
    ) {
        let ctx = run.ctx;
        let Conv2dGeometry { batch, height, width, in_channels, out_channels, .. } = self.geometry;
        assert!(ctx.isa.is_available(), "instruction set {} is not available on this CPU", ctx.isa);
        assert_eq!(input.len(), self.geometry.input_len(), "input elements");
        assert_eq!(output.len(), self.geometry.output_len(), "output elements");
        if output.is_empty() {
            return;
        }
        if let Some(padded) = &self.padded {
            let flip = self.flip(ctx.isa);
            let bytes = |image| Bytes { zero: zero_point(image) as u8, flip };
            let (x_step, y_step) = (width.stride * in_channels, height.stride * padded.row_len());
            let origins = Origins { width: width.output, x_step, y_step };
            let pixels = |first: usize, band: &[u8], output: &mut [O]| {
                run.pixels(band, output, first, 0, &origins, &mut []);
            };
            padded.run(ctx, batch, input, 1, &bytes, output, out_channels, scratch, &pixels);
            return;
        }
        let origins = if self.is_strided() {
            let y_step = height.stride * width.input * in_channels;
            Origins { width: width.output, x_step: width.stride * in_channels, y_step }
        } else {
            // Pixels one after another are one row.
            Origins { width: usize::MAX, x_step: in_channels, y_step: 0 }
        };
        let Direct { by_columns, per_task, flipped_len, .. } = self.direct(ctx.pool.threads().min(PARTS_MAX / 4));
        if by_columns {
            ctx.pool.chunks_mut_with_scratch(output, per_task, scratch, flipped_len, |task, output, scratch| {
                run.columns(input, output, task * per_task, scratch);
            });
            return;
        }
        ctx.pool.chunks_mut_with_scratch(
            output,
            per_task * out_channels,
            scratch,
            flipped_len,
            |task, output, scratch| {
                run.pixels(input, output, task * per_task, task * per_task, &origins, scratch);
            },
        );
    }
}

/// Where output pixels find their first tap.
struct Origins {
    /// Pixels of a row.
    width: usize,
    x_step: usize,
    y_step: usize,
}

impl Origins {
    /// Those of the pixels from `first` on.
    fn fill(&self, first: usize, origins: &mut [usize]) {
        let (mut row, mut x) = (first / self.width * self.y_step, first % self.width);
        for origin in origins {
            *origin = row + x * self.x_step;
            x += 1;
            if x == self.width {
                (x, row) = (0, row + self.y_step);
            }
        }
    }
}

/// Sums of some pixels and of neighbouring output channels.
pub(crate) struct SumBlock<'a> {
    /// The first pixel, counted over the whole batch.
    pub(crate) pixel: usize,
    /// The first channel.
    pub(crate) channel: usize,
    /// How many channels.
    pub(crate) columns: usize,
    /// A pixel has [`COLUMNS_MAX`].
    pub(crate) sums: &'a [i32],
    /// Of the weights of each channel.
    pub(crate) column_sums: &'a [i32],
}

/// What the tasks of a run share.
struct Run<'a, O> {
    conv: &'a ByteConv,
    ctx: Context<'a>,
    requantize: Option<&'a [Requantize]>,
    store: &'a (dyn Fn(&SumBlock<'_>, &mut [O], usize) + Sync),
    then: Option<Then<'a>>,
}

impl<O: Pod> Run<'_, O> {
    /// What is left to do on finished outputs, of which the first is number `first`, while they are in the first cache.
    fn finish(&self, first: usize, output: &mut [O]) {
        if let Some(then) = self.then {
            then.apply(self.ctx.isa, first, bytemuck::cast_slice_mut(output));
        }
    }

    /// As [`ByteConv::flip`]; bytes of a copy have it already.
    fn flip(&self) -> u8 {
        self.conv.flip(self.ctx.isa)
    }

    /// Output pixels from `pixel` on, as many as `output` holds; the first is number `first` of `origins`. With `scratch`,
    /// rows are pixels that are flipped there where that is needed.
    fn pixels(
        &self,
        input: &[u8],
        output: &mut [O],
        pixel: usize,
        first: usize,
        origins: &Origins,
        scratch: &mut [u8],
    ) {
        let Conv2dGeometry { in_channels, out_channels, groups, .. } = self.conv.geometry;
        let (depth, per_group) = (in_channels / groups, out_channels / groups);
        let mut sums_buffer;
        let sums: &mut [i32] = if self.requantize.is_some() {
            &mut []
        } else {
            sums_buffer = [0; PIXELS * COLUMNS_MAX];
            &mut sums_buffer
        };
        let pixels = output.len() / out_channels;
        let tiles = if self.conv.is_tiled(self.ctx.isa) {
            // Tiles of about the same number of pixels: of a line, if it has some, or an even number of tiles.
            let rows = if (TILED_LINE..pixels).contains(&origins.width) {
                origins.width.div_ceil(origins.width.div_ceil(TILE_ROWS))
            } else {
                pixels.div_ceil(2 * pixels.div_ceil(2 * TILE_ROWS).max(1))
            };
            self.conv.weights[0].tiles(self.ctx.isa, rows)
        } else {
            None
        };
        let size = match &tiles {
            Some(tiles) => PIXELS / tiles.rows() * tiles.rows(),
            // Blocks of about the same number of pixels: the last one would be slow if it had few.
            None => pixels.div_ceil(pixels.div_ceil(PIXELS).max(1)),
        };
        let flip = self.flip();
        for (block, output) in output.chunks_mut((size * out_channels).max(1)).enumerate() {
            let mut rows = [0; PIXELS];
            let rows = &mut rows[..output.len() / out_channels];
            origins.fill(first + block * size, rows);
            let mut input = input;
            if !scratch.is_empty() && flip != 0 {
                let len = if self.conv.is_strided() { in_channels } else { rows.len() * in_channels };
                for (row, to) in rows.iter().zip(scratch[..rows.len() * in_channels].chunks_exact_mut(len)) {
                    flipped(self.ctx.isa, &input[*row..][..len], 1, flip, to);
                }
                input = scratch;
                rows.iter_mut().enumerate().for_each(|(at, row)| *row = at * in_channels);
            }
            for group in 0..groups {
                let output = &mut output[group * per_group..];
                let mut activations = self.conv.activations;
                if tiles.is_none() {
                    activations = activations.read_by(reads_signed(self.ctx.isa));
                }
                self.multiply(
                    tiles.as_ref(),
                    input,
                    activations,
                    rows,
                    pixel + block * size,
                    group,
                    0,
                    per_group,
                    output,
                    out_channels,
                    sums,
                );
                rows.iter_mut().for_each(|row| *row += depth);
            }
            self.finish((pixel + block * size) * out_channels, output);
        }
    }

    /// The channels of the only pixel from `channel` on, as many as `output` holds.
    fn columns(&self, input: &[u8], output: &mut [O], channel: usize, scratch: &mut [u8]) {
        let (mut input, mut activations) = (&input[..self.conv.geometry.in_channels], self.conv.activations);
        if self.flip() != 0 && !flips_one_row(self.ctx.isa) {
            flipped(self.ctx.isa, input, 1, self.flip(), scratch);
            (input, activations) = (scratch, activations.read_by(reads_signed(self.ctx.isa)));
        }
        let mut sums = [0; COLUMNS_MAX];
        self.multiply(None, input, activations, &[0], 0, 0, channel, output.len(), output, output.len(), &mut sums);
        self.finish(channel, output);
    }

    /// Channels from `first` of a group on; row `i`, which is pixel `pixel + i`, begins at `i * stride` of `output`. `sums` has
    /// room for [`COLUMNS_MAX`] of each row where they do not become bytes at once.
    fn multiply(
        &self,
        tiles: Option<&Tiles>,
        input: &[u8],
        activations: Activations,
        rows: &[usize],
        pixel: usize,
        group: usize,
        first: usize,
        channels: usize,
        output: &mut [O],
        stride: usize,
        sums: &mut [i32],
    ) {
        let ByteConv { weights, segments, geometry, .. } = self.conv;
        let weights = &weights[group];
        let per_call = Packed::panels_per_call(rows.len(), self.requantize.is_none(), tiles.is_some());
        let last = (first + channels).div_ceil(NR);
        for panel in (first / NR..last).step_by(per_call.min(last).max(1)) {
            let panels = per_call.min(last - panel);
            let at = panel * NR - first;
            if let Some(requantize) = self.requantize {
                let out = bytemuck::cast_slice_mut(&mut output[at..]);
                let mut out = Output::Bytes { out, stride, requantize: &requantize[group] };
                weights.multiply(self.ctx.isa, tiles, activations, input, rows, segments, panel, panels, &mut out);
                continue;
            }
            let sums = &mut sums[..rows.len() * COLUMNS_MAX];
            weights.multiply(
                self.ctx.isa,
                tiles,
                activations,
                input,
                rows,
                segments,
                panel,
                panels,
                &mut Output::Sums(sums),
            );
            let columns = (channels - at).min(panels * NR);
            let channel = group * (geometry.out_channels / geometry.groups) + panel * NR;
            let column_sums = &weights.sums()[panel * NR..][..columns];
            let block = SumBlock { pixel, channel, columns, sums, column_sums };
            (self.store)(&block, &mut output[at..], stride);
        }
    }
}

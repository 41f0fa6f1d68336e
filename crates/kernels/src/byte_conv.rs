//! The shared body of the 8-bit CONV_2D and FULLY_CONNECTED: where rows of the matrix product lie, and how its work is
//! split. A fully connected layer is a 1x1 convolution over 1x1 images.

use crate::byte_gemm::{Activations, COLUMNS_MAX, NR, Output, Packed, ROWS_MAX, Requantize, SLACK};
use crate::byte_table::ByteTable;
use crate::conv_2d::Conv2dGeometry;
use crate::integer_conv::{Bias, Weights};
use crate::padded_rows::{Bytes, Columns, PaddedRows};
use crate::requantize::OutputStage;
use crate::{Context, Quantized, Unsupported};
use bytemuck::Pod;

/// Rows of the matrix product that pass over a panel before the next one: panel and rows stay in the first cache.
const PIXELS: usize = ROWS_MAX;
/// Multiplications of one task: some microseconds, many times what it costs to hand out a task.
const TASK_PRODUCTS: usize = 1 << 19;

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
    /// How the input is copied and padded; `None` where taps are read from the input itself.
    padded: Option<PaddedRows>,
}

impl ByteConv {
    /// Plans `geometry`, which has been checked, for weights whose zero point is `weight_zero_point` and activations of `T`
    /// (`i8` or `u8`) whose zero point is `zero_point`. Without a `stage`, [`Self::run_sums`] runs it.
    pub(crate) fn new<T: Quantized>(
        geometry: Conv2dGeometry,
        weights: Weights<'_>,
        weight_zero_point: i32,
        bias: Bias<'_>,
        zero_point: i32,
        stage: Option<&OutputStage>,
    ) -> Result<Self, Unsupported> {
        const KERNEL: &str = "conv_2d";
        if weights.len() != geometry.weights_len() {
            let reason = format!("{} weights, expected {} for {geometry:?}", weights.len(), geometry.weights_len());
            return Err(Unsupported::new(KERNEL, reason));
        }
        bias.check(KERNEL, geometry.out_channels)?;
        let Conv2dGeometry { height, width, in_channels, out_channels, groups, .. } = geometry;
        let (depth, per_group) = (in_channels / groups, out_channels / groups);
        // Taps side by side in memory are one segment.
        let taps = if width.dilation == 1 && groups == 1 { width.kernel } else { 1 };
        let across = width.kernel / taps;
        let segment_len = taps * depth;
        let inside = |window: &crate::conv_2d::Window| window.pad_before == 0 && window.pad_after() == 0;
        let direct = inside(&height) && inside(&width) && segment_len % crate::byte_gemm::KR == 0;
        let products = out_channels * height.kernel * width.kernel * depth;
        let padded = (!direct)
            .then(|| PaddedRows::new(height, width, in_channels, Columns::InOrder, SLACK, products, TASK_PRODUCTS));
        let row_len = padded.as_ref().map_or(width.input * in_channels, PaddedRows::row_len);
        let mut segments = Vec::with_capacity(height.kernel * across);
        for y in 0..height.kernel {
            for x in 0..across {
                segments.push(y * height.dilation * row_len + x * width.dilation * in_channels);
            }
        }
        // Unsigned weights become signed bytes by subtracting 128, not their zero point, which would take nine bits.
        let weight_offset = match weights {
            Weights::I8(_) => 0,
            Weights::U8(_) => 128 - weight_zero_point,
        };
        let activations = Activations { zero_point, signed: T::MIN < 0 };
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
        let requantize = stage.and_then(|stage| Requantize::new(stage, per_group, T::MIN == 0));
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
        self.padded.as_ref().map_or(0, |padded| padded.scratch_len(self.geometry.batch))
    }

    /// Runs; `stage` is the one it was planned for, and `then` is applied to what it makes. `input` and `output` are NHWC.
    pub(crate) fn run<T: Quantized>(
        &self,
        ctx: Context<'_>,
        stage: &OutputStage,
        input: &[T],
        output: &mut [T],
        scratch: &mut [u8],
        then: Option<&ByteTable>,
    ) {
        let store = |_: usize, channel: usize, sums: &mut [i32], _: &[i32], out: &mut [T]| {
            stage.store(ctx.isa, sums, channel, out);
        };
        let run = Run { conv: self, ctx, requantize: self.requantize.as_deref(), store, then };
        let zero = self.activations.zero_point;
        self.split(&run, bytemuck::cast_slice(input), output, scratch, |_| zero);
    }

    /// Runs on int8 activations of which image `i` has the zero point `zero_point(i)`, planned as 0 and without bias.
    /// `store(pixel, channel, sums, column sums, out)` turns sums of the channels from `channel` on into `out`; the
    /// products of the zero point and the column sums are still to be subtracted. Pixels count over the whole batch.
    pub(crate) fn run_sums<O: Pod + Send>(
        &self,
        ctx: Context<'_>,
        input: &[i8],
        output: &mut [O],
        scratch: &mut [u8],
        zero_point: impl Fn(usize) -> i32 + Sync,
        store: impl Fn(usize, usize, &mut [i32], &[i32], &mut [O]) + Sync,
    ) {
        let run = Run { conv: self, ctx, requantize: None, store, then: None };
        self.split(&run, bytemuck::cast_slice(input), output, scratch, zero_point);
    }

    fn split<O: Pod + Send, S: Fn(usize, usize, &mut [i32], &[i32], &mut [O]) + Sync>(
        &self,
        run: &Run<'_, S>,
        input: &[u8],
        output: &mut [O],
        scratch: &mut [u8],
        zero_point: impl Fn(usize) -> i32 + Sync,
    ) {
        let ctx = run.ctx;
        let Conv2dGeometry { batch, height, width, in_channels, out_channels, groups } = self.geometry;
        assert!(ctx.isa.is_available(), "instruction set {} is not available on this CPU", ctx.isa);
        assert_eq!(input.len(), self.geometry.input_len(), "input elements");
        assert_eq!(output.len(), self.geometry.output_len(), "output elements");
        if output.is_empty() {
            return;
        }
        if let Some(padded) = &self.padded {
            let bytes = |image| Bytes { zero: zero_point(image) as u8, flip: 0 };
            let origins = Origins {
                width: width.output,
                height: usize::MAX,
                x_step: width.stride * in_channels,
                y_step: height.stride * padded.row_len(),
                image_step: 0,
            };
            padded.run(ctx, batch, input, 1, bytes, output, out_channels, scratch, |first, band, output| {
                run.pixels(band, output, first, 0, &origins);
            });
            return;
        }
        let pixels = height.output * width.output;
        let flat = (height.stride, width.stride, height.kernel, width.kernel) == (1, 1, 1, 1);
        let row_len = width.input * in_channels;
        let origins = Origins {
            // Pixels one after another are one row.
            width: if flat { usize::MAX } else { width.output },
            height: height.output,
            x_step: width.stride * in_channels,
            y_step: height.stride * row_len,
            image_step: height.input * row_len,
        };
        let products = height.kernel * width.kernel * in_channels / groups;
        if batch * pixels == 1 && groups == 1 {
            let columns = (TASK_PRODUCTS / 8 / products.max(1)).next_multiple_of(COLUMNS_MAX);
            crate::integer_conv::split(ctx.pool, output, columns, |task, output| {
                run.columns(input, output, task * columns);
            });
            return;
        }
        let per_task = (TASK_PRODUCTS / (products * out_channels).max(1)).clamp(1, 4096);
        let per_task = if per_task < PIXELS { per_task.next_multiple_of(8) } else { per_task / PIXELS * PIXELS };
        crate::integer_conv::split(ctx.pool, output, per_task * out_channels, |task, output| {
            run.pixels(input, output, task * per_task, task * per_task, &origins);
        });
    }
}

/// Where output pixels find their first tap.
struct Origins {
    /// Pixels of a row, rows of an image.
    width: usize,
    height: usize,
    x_step: usize,
    y_step: usize,
    image_step: usize,
}

impl Origins {
    /// Those of the pixels from `first` on.
    fn fill(&self, first: usize, origins: &mut [usize]) {
        let (row, mut x) = (first / self.width, first % self.width);
        let (image, mut y) = (row / self.height, row % self.height);
        let mut image = image * self.image_step;
        let mut row = image + y * self.y_step;
        for origin in origins {
            *origin = row + x * self.x_step;
            x += 1;
            if x == self.width {
                (x, y, row) = (0, y + 1, row + self.y_step);
                if y == self.height {
                    (y, image) = (0, image + self.image_step);
                    row = image;
                }
            }
        }
    }
}

/// What the tasks of a run share.
struct Run<'a, S> {
    conv: &'a ByteConv,
    ctx: Context<'a>,
    requantize: Option<&'a [Requantize]>,
    store: S,
    then: Option<&'a ByteTable>,
}

impl<S> Run<'_, S> {
    /// What is left to do on finished outputs, while they are in the first cache.
    fn finish<O: Pod>(&self, output: &mut [O]) {
        if let Some(table) = self.then {
            table.apply(self.ctx.isa, bytemuck::cast_slice_mut(output));
        }
    }

    /// Output pixels from `pixel` on, as many as `output` holds; the first is number `first` of `origins`.
    fn pixels<O: Pod>(&self, input: &[u8], output: &mut [O], pixel: usize, first: usize, origins: &Origins)
    where
        S: Fn(usize, usize, &mut [i32], &[i32], &mut [O]),
    {
        let Conv2dGeometry { in_channels, out_channels, groups, .. } = self.conv.geometry;
        let (depth, per_group) = (in_channels / groups, out_channels / groups);
        for (block, output) in output.chunks_mut(PIXELS * out_channels).enumerate() {
            let mut rows = [0; PIXELS];
            let rows = &mut rows[..output.len() / out_channels];
            origins.fill(first + block * PIXELS, rows);
            for group in 0..groups {
                let output = &mut output[group * per_group..];
                self.multiply(input, rows, pixel + block * PIXELS, group, 0, per_group, output, out_channels);
                rows.iter_mut().for_each(|row| *row += depth);
            }
            self.finish(output);
        }
    }

    /// The channels of the only pixel from `channel` on, as many as `output` holds.
    fn columns<O: Pod>(&self, input: &[u8], output: &mut [O], channel: usize)
    where
        S: Fn(usize, usize, &mut [i32], &[i32], &mut [O]),
    {
        self.multiply(input, &[0], 0, 0, channel, output.len(), output, output.len());
        self.finish(output);
    }

    /// Channels from `first` of a group on; row `i`, which is pixel `pixel + i`, begins at `i * stride` of `output`.
    fn multiply<O: Pod>(
        &self,
        input: &[u8],
        rows: &[usize],
        pixel: usize,
        group: usize,
        first: usize,
        channels: usize,
        output: &mut [O],
        stride: usize,
    ) where
        S: Fn(usize, usize, &mut [i32], &[i32], &mut [O]),
    {
        let ByteConv { weights, segments, activations, geometry, .. } = self.conv;
        let weights = &weights[group];
        let per_call = Packed::panels_per_call(rows.len());
        let last = (first + channels).div_ceil(NR);
        for panel in (first / NR..last).step_by(per_call) {
            let panels = per_call.min(last - panel);
            let at = panel * NR - first;
            if let Some(requantize) = self.requantize {
                let out = bytemuck::cast_slice_mut(&mut output[at..]);
                let mut out = Output::Bytes { out, stride, requantize: &requantize[group] };
                weights.multiply(self.ctx.isa, *activations, input, rows, segments, panel, panels, &mut out);
                continue;
            }
            let mut sums = [0; PIXELS * COLUMNS_MAX];
            let sums = &mut sums[..rows.len() * COLUMNS_MAX];
            weights.multiply(self.ctx.isa, *activations, input, rows, segments, panel, panels, &mut Output::Sums(sums));
            let columns = (channels - at).min(panels * NR);
            let channel = group * (geometry.out_channels / geometry.groups) + panel * NR;
            let column_sums = &weights.sums()[panel * NR..][..columns];
            for (row, sums) in sums.chunks_exact_mut(COLUMNS_MAX).enumerate() {
                let out = &mut output[row * stride + at..][..columns];
                (self.store)(pixel + row, channel, &mut sums[..columns], column_sums, out);
            }
        }
    }
}

//! The shared body of the integer CONV_2D and FULLY_CONNECTED: widen, multiply, and hand the accumulators to an output
//! stage. A fully connected layer is a 1x1 convolution over 1x1 images.

use crate::conv_2d::{Conv2dGeometry, Window};
use crate::integer_gemm::{MR, NR, PackedWeights, SLACK};
use crate::numerics::Quantized;
use crate::{Context, Pool, Unsupported};
use bytemuck::{Pod, cast_slice_mut};
use std::ops::Range;

/// Widened images that are worked on at once fit in this many bytes, so that they stay in the cache between widening
/// and multiplying.
const GROUP_BYTES: usize = 512 << 10;
/// Output pixels of one task.
const PIXELS_PER_TASK: usize = 64;

/// 8-bit weights as the file stores them, `out_channels height width in_channels`.
#[derive(Debug, Clone, Copy)]
pub enum Weights<'a> {
    /// Signed, as for int8 and int16 activations and for dynamic range.
    I8(&'a [i8]),
    /// Unsigned, as for uint8 activations.
    U8(&'a [u8]),
}

impl Weights<'_> {
    /// Elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::I8(data) => data.len(),
            Self::U8(data) => data.len(),
        }
    }

    /// Whether there are no weights.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn at(&self, index: usize) -> i32 {
        match self {
            Self::I8(data) => data[index].into(),
            Self::U8(data) => data[index].into(),
        }
    }

    /// As a signed byte: signed weights as they are, unsigned ones less 128.
    pub(crate) fn at_signed(&self, index: usize) -> i8 {
        match self {
            Self::I8(data) => data[index],
            Self::U8(data) => (data[index] ^ 0x80) as i8,
        }
    }
}

/// The bias of an integer op, in units of input scale times weight scale.
#[derive(Debug, Clone, Copy)]
pub enum Bias<'a> {
    /// No bias tensor. LiteRT's default path treats this differently from a bias of zeros.
    None,
    /// 32-bit: sums are 32-bit too and wrap.
    I32(&'a [i32]),
    /// 64-bit (int16 activations): sums are 64-bit.
    I64(&'a [i64]),
}

impl Bias<'_> {
    /// Refuses a bias of another length.
    ///
    /// # Errors
    /// As said.
    pub(crate) fn check(&self, kernel: &'static str, channels: usize) -> Result<(), Unsupported> {
        let len = match self {
            Self::None => channels,
            Self::I32(bias) => bias.len(),
            Self::I64(bias) => bias.len(),
        };
        if len == channels {
            return Ok(());
        }
        Err(Unsupported::new(kernel, format!("bias has {len} elements for {channels} output channels")))
    }

    /// The bias as 32-bit start values.
    pub(crate) fn narrow(&self, channels: usize) -> Vec<i32> {
        match self {
            Self::I32(bias) => bias.to_vec(),
            _ => vec![0; channels],
        }
    }
}

/// One scale for each output channel: broadcasts a single one, refuses any other number and non-positive scales.
pub(crate) fn channel_scales(kernel: &'static str, scales: &[f32], channels: usize) -> Result<Vec<f32>, Unsupported> {
    // A channel whose scale is 0 is one of zeros.
    let is_good = |scale: f32| scale.is_finite() && (scale > 0.0 || (scale == 0.0 && scales.len() > 1));
    if let Some(bad) = scales.iter().find(|scale| !is_good(**scale)) {
        return Err(Unsupported::new(kernel, format!("weight scale {bad} is not above 0")));
    }
    match scales {
        [one] => Ok(vec![*one; channels]),
        _ if scales.len() == channels => Ok(scales.to_vec()),
        _ => Err(Unsupported::new(
            kernel,
            format!("{} weight scales for {channels} output channels, expected 1 or {channels}", scales.len()),
        )),
    }
}

/// The sum of the magnitudes of the weights of each output channel, zero point subtracted.
fn magnitudes(weights: Weights<'_>, zero_point: i32, channels: usize) -> impl Iterator<Item = u64> {
    let row = weights.len() / channels.max(1);
    (0..channels).map(move |channel| {
        (channel * row..(channel + 1) * row).map(|at| u64::from((weights.at(at) - zero_point).unsigned_abs())).sum()
    })
}

/// Images as the integer convolutions read them: widened to i16 and padded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Images {
    pub(crate) batch: usize,
    pub(crate) height: Window,
    pub(crate) width: Window,
    pub(crate) channels: usize,
}

impl Images {
    /// Elements of one widened image.
    pub(crate) fn image_len(&self) -> usize {
        padded(&self.height) * padded(&self.width) * self.channels
    }

    /// Images worked on at once.
    pub(crate) fn group(&self) -> usize {
        (GROUP_BYTES / (self.image_len() * 2).max(1)).clamp(1, self.batch.max(1))
    }

    /// i16 elements of scratch for the images worked on at once.
    pub(crate) fn scratch_len(&self) -> usize {
        self.group() * self.image_len() + SLACK
    }

    /// Where the first tap of output pixel `at` (counted from the first image of the group) is.
    pub(crate) fn origin(&self, at: usize) -> usize {
        let pixels = self.height.output * self.width.output;
        let (image, rest) = (at / pixels, at % pixels);
        let (y, x) = (rest / self.width.output, rest % self.width.output);
        let row = y * self.height.stride * padded(&self.width) + x * self.width.stride;
        image * self.image_len() + row * self.channels
    }

    /// Subtracts the zero point and writes the padding.
    pub(crate) fn widen<T: Quantized>(
        &self,
        pool: &Pool,
        input: &[T],
        wide: &mut [i16],
        zero_point: &(dyn Fn(usize) -> i32 + Sync),
    ) {
        let Self { height, width, channels: in_channels, .. } = *self;
        let (rows, row_len) = (padded(&height), padded(&width) * in_channels);
        let len = wide.len() - SLACK;
        wide[len..].fill(0);
        if row_len == 0 || rows == 0 {
            return;
        }
        let rows_per_task = (16_384 / row_len).clamp(1, rows.max(1));
        let task_rows = if len / row_len > rows { rows * rows_per_task.div_ceil(rows) } else { rows_per_task };
        let (left, used) = (width.pad_before * in_channels, width.input.min(padded(&width)) * in_channels);
        split(pool, &mut wide[..len], task_rows * row_len, |index, wide| {
            for (row, wide) in wide.chunks_exact_mut(row_len).enumerate() {
                let (image, y) = ((index * task_rows + row) / rows, (index * task_rows + row) % rows);
                if y < height.pad_before || y - height.pad_before >= height.input {
                    wide.fill(0);
                    continue;
                }
                let from = (image * height.input + y - height.pad_before) * width.input * in_channels;
                let zero_point = zero_point(image);
                let used = used.min(row_len - left);
                wide[..left].fill(0);
                wide[left + used..].fill(0);
                for (wide, value) in wide[left..].iter_mut().zip(&input[from..from + used]) {
                    *wide = (value.widen() - zero_point) as i16;
                }
            }
        });
    }
}

/// Sums of products of a convolution, planned.
#[derive(Debug, Clone)]
pub(crate) struct IntegerConv {
    geometry: Conv2dGeometry,
    /// One for each group of channels.
    weights: Vec<PackedWeights>,
    /// Where the segments of a row begin, relative to its first tap; one list for all groups.
    segments: Vec<usize>,
    bias: Vec<i32>,
    /// Of 64-bit sums.
    wide_bias: Option<Vec<i64>>,
    /// Whether no 64-bit sum leaves 32 bits; then `bias` is what `wide_bias` says.
    fits: bool,
}

impl IntegerConv {
    /// Plans `geometry`, which has been checked, for weights whose zero point is `weight_zero_point`.
    pub(crate) fn new(
        geometry: Conv2dGeometry,
        weights: Weights<'_>,
        weight_zero_point: i32,
        bias: Bias<'_>,
    ) -> Result<Self, Unsupported> {
        const KERNEL: &str = "conv_2d";
        if weights.len() != geometry.weights_len() {
            let reason = format!("{} weights, expected {} for {geometry:?}", weights.len(), geometry.weights_len());
            return Err(Unsupported::new(KERNEL, reason));
        }
        bias.check(KERNEL, geometry.out_channels)?;
        let Conv2dGeometry { height, width, in_channels, out_channels, groups, .. } = geometry;
        let depth = in_channels / groups;
        // Taps side by side in memory are one segment.
        let taps = if width.dilation == 1 && groups == 1 { width.kernel } else { 1 };
        let across = width.kernel / taps;
        let padded_width = padded(&width);
        let mut segments = Vec::with_capacity(height.kernel * across);
        for y in 0..height.kernel {
            for x in 0..across {
                segments.push((y * height.dilation * padded_width + x * width.dilation) * in_channels);
            }
        }
        let per_group = out_channels / groups;
        let raw = weights;
        let weights = (0..groups)
            .map(|group| {
                PackedWeights::pack(per_group, segments.len(), taps * depth, |column, segment, element| {
                    let row = (group * per_group + column) * segments.len() + segment;
                    (weights.at(row * taps * depth + element) - weight_zero_point) as i16
                })
            })
            .collect();
        let (mut narrow, mut wide_bias, mut fits) = (bias.narrow(out_channels), None, false);
        if let Bias::I64(bias) = bias {
            let magnitudes = magnitudes(raw, weight_zero_point, out_channels);
            fits = bias.iter().zip(magnitudes).all(|(&bias, magnitude)| {
                let largest = magnitude.saturating_mul(i16::MIN.unsigned_abs().into());
                bias.unsigned_abs().saturating_add(largest) <= i32::MAX as u64
            });
            if fits {
                narrow = bias.iter().map(|&bias| bias as i32).collect();
            }
            wide_bias = Some(bias.to_vec());
        }
        Ok(Self { geometry, weights, segments, bias: narrow, wide_bias, fits })
    }

    pub(crate) fn geometry(&self) -> &Conv2dGeometry {
        &self.geometry
    }

    fn images(&self) -> Images {
        let Conv2dGeometry { batch, height, width, in_channels, .. } = self.geometry;
        Images { batch, height, width, channels: in_channels }
    }

    /// Bytes of the packed weights.
    pub(crate) fn packed_bytes(&self) -> usize {
        self.weights.iter().map(PackedWeights::bytes).sum()
    }

    /// i16 elements of scratch that a run needs.
    pub(crate) fn scratch_len(&self) -> usize {
        self.images().scratch_len()
    }

    /// Computes all accumulators. `zero_point(image)` is subtracted from the input; `store(pixel, channel, sums, out)`
    /// turns the sums of the output channels from `channel` on into `out`; pixels count over the whole batch.
    pub(crate) fn run<T: Quantized, O: Pod>(
        &self,
        ctx: Context<'_>,
        input: &[T],
        output: &mut [O],
        scratch: &mut [i16],
        zero_point: &(dyn Fn(usize) -> i32 + Sync),
        store: &Store<'_, O>,
    ) {
        let layout = self.images();
        let Conv2dGeometry { height, width, in_channels, .. } = self.geometry;
        assert_eq!(input.len(), self.geometry.input_len(), "input elements");
        let image = height.input * width.input * in_channels;
        let widen = |images: Range<usize>, wide: &mut [i16]| {
            let input = &input[images.start * image..images.end * image];
            layout.widen(ctx.pool, input, wide, &|image| zero_point(images.start + image));
        };
        let store = |pixel: usize, channel: usize, sums: Sums<'_>, out: &mut [u8]| {
            store(pixel, channel, sums, cast_slice_mut(out));
        };
        self.run_bytes(ctx, &widen, cast_slice_mut(output), size_of::<O>(), scratch, &store);
    }

    /// The same for outputs of `size` bytes, where `widen(images, wide)` widens the input.
    fn run_bytes(
        &self,
        ctx: Context<'_>,
        widen: &dyn Fn(Range<usize>, &mut [i16]),
        output: &mut [u8],
        size: usize,
        scratch: &mut [i16],
        store: &Store<'_, u8>,
    ) {
        let Conv2dGeometry { batch, height, width, out_channels, .. } = self.geometry;
        assert!(ctx.isa.is_available(), "instruction set {} is not available on this CPU", ctx.isa);
        assert_eq!(output.len(), self.geometry.output_len() * size, "output elements");
        let layout = self.images();
        let (images, image_wide) = (layout.group(), layout.image_len());
        let pixels = height.output * width.output;
        if output.is_empty() {
            return;
        }
        for first in (0..batch).step_by(images) {
            let images = images.min(batch - first);
            let wide = &mut scratch[..images * image_wide + SLACK];
            widen(first..first + images, wide);
            let wide = &*wide;
            let (first_pixel, pixel_bytes) = (first * pixels, out_channels * size);
            let output = &mut output[first_pixel * pixel_bytes..(first_pixel + images * pixels) * pixel_bytes];
            if images * pixels == 1 {
                let task = NR * self.weights[0].panels().div_ceil(2 * ctx.pool.threads()).max(1);
                let task = if self.weights.len() == 1 { task } else { out_channels };
                split(ctx.pool, output, task * size, |index, out| {
                    self.multiply(ctx, wide, 0, first_pixel, index * task, out, size, store);
                });
            } else {
                split(ctx.pool, output, PIXELS_PER_TASK * pixel_bytes, |index, out| {
                    let pixel = index * PIXELS_PER_TASK;
                    self.multiply(ctx, wide, pixel, first_pixel, 0, out, size, store);
                });
            }
        }
    }

    /// Multiplies output pixels from `pixel` on, channels from `channel` on, as many as `out` holds.
    fn multiply(
        &self,
        ctx: Context<'_>,
        wide: &[i16],
        pixel: usize,
        first_pixel: usize,
        channel: usize,
        out: &mut [u8],
        size: usize,
        store: &Store<'_, u8>,
    ) {
        let Conv2dGeometry { in_channels, out_channels, groups, .. } = self.geometry;
        let (per_group, depth) = (out_channels / groups, in_channels / groups);
        let row_out = (out.len() / size).min(out_channels - channel);
        let pixels = out.len() / size / row_out;
        let images = self.images();
        let row_of = |at: usize| images.origin(at);
        for tile in (0..pixels).step_by(MR) {
            let used = MR.min(pixels - tile);
            let mut rows = [row_of(pixel + tile); MR];
            for (at, row) in rows.iter_mut().enumerate().take(used).skip(1) {
                *row = row_of(pixel + tile + at);
            }
            for (group, weights) in self.weights.iter().enumerate() {
                let rows = rows.map(|row| row + group * depth);
                for panel in channel / NR..weights.panels() {
                    let columns = weights.panel_columns(panel);
                    let (first, len) = (group * per_group + columns.start, columns.len());
                    if first - channel >= row_out {
                        break;
                    }
                    let place = |row: usize| {
                        let at = (tile + row) * row_out + first - channel;
                        at * size..(at + len) * size
                    };
                    if let (Some(bias), false) = (&self.wide_bias, self.fits) {
                        let mut sums = [[0i64; NR]; MR];
                        for sums in &mut sums[..used] {
                            sums[..len].copy_from_slice(&bias[first..first + len]);
                        }
                        weights.multiply_wide(ctx.isa, wide, &rows, used, &self.segments, panel, &mut sums);
                        for (row, sums) in sums.iter().enumerate().take(used) {
                            let pixel = first_pixel + pixel + tile + row;
                            store(pixel, first, Sums::Wide(&sums[..len]), &mut out[place(row)]);
                        }
                    } else {
                        let mut sums = [[0i32; NR]; MR];
                        for sums in &mut sums[..used] {
                            sums[..len].copy_from_slice(&self.bias[first..first + len]);
                        }
                        weights.multiply(ctx.isa, wide, &rows, used, &self.segments, panel, &mut sums);
                        for (row, sums) in sums.iter().enumerate().take(used) {
                            let pixel = first_pixel + pixel + tile + row;
                            let sums = &sums[..len];
                            let sums = if self.fits { Sums::Fitting(sums) } else { Sums::Narrow(sums) };
                            store(pixel, first, sums, &mut out[place(row)]);
                        }
                    }
                }
            }
        }
    }
}

/// What turns sums into outputs: given the pixel, the first channel, the sums and the outputs.
type Store<'a, O> = dyn Fn(usize, usize, Sums<'_>, &mut [O]) + Sync + 'a;

/// Accumulators of neighbouring output channels, bias included.
#[derive(Clone, Copy)]
pub(crate) enum Sums<'a> {
    /// 32-bit, wrapped.
    Narrow(&'a [i32]),
    /// 64-bit.
    Wide(&'a [i64]),
    /// 64-bit ones none of which leaves 32 bits.
    Fitting(&'a [i32]),
}

/// Positions of an axis with its padding.
pub(crate) fn padded(window: &Window) -> usize {
    window.pad_before + window.input + window.pad_after()
}

/// [`Pool::chunks_mut`], without its bookkeeping where one thread does everything.
pub(crate) fn split<T: Send>(pool: &Pool, data: &mut [T], chunk: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    if pool.threads() == 1 || data.len() <= chunk {
        data.chunks_mut(chunk.max(1)).enumerate().for_each(|(index, chunk)| task(index, chunk));
    } else {
        pool.chunks_mut(data, chunk.max(1), task);
    }
}

/// Calls `task(first element, part)` for parts of `data` whose ends are those of whole vectors; `worth` elements are worth a thread.
/// One body for each type, whatever the task.
pub(crate) fn share_out<T: Send>(pool: &Pool, data: &mut [T], worth: usize, task: &(dyn Fn(usize, &mut [T]) + Sync)) {
    let part = pool.share(data.len(), 1, worth).next_multiple_of(64);
    split(pool, data, part, |index, data| task(index * part, data));
}

/// The `T`s that an unaligned byte buffer holds.
pub(crate) fn typed_scratch<T: bytemuck::Pod>(scratch: &mut [u8]) -> &mut [T] {
    bytemuck::pod_align_to_mut::<u8, T>(scratch).1
}

/// Bytes of scratch from which [`typed_scratch`] takes `len` elements whatever the alignment.
pub(crate) fn scratch_bytes<T>(len: usize) -> usize {
    len * size_of::<T>() + align_of::<T>() - 1
}

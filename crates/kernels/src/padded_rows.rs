//! Images of bytes copied with their padding, a band of output rows at a time: what a task has copied is still in its
//! core's cache when it is read.

use crate::conv_2d::Window;
use crate::dispatch::multiversion;
use crate::pool::{Worth, share_at_most};
use crate::{Context, Isa};
use bytemuck::{Pod, cast_slice_mut};

/// Bytes of a band that stay in the first cache beside weights and output. One may have as many as the weights, a multiplication of
/// a pixel each, which each band reads again; up to a part of the second cache.
const BAND_BYTES: usize = 24 << 10;
const BAND_BYTES_MAX: usize = 96 << 10;

/// Threads that can share a band of one thread: what the bands of two have in common is copied twice.
const COMMON: usize = 8;

/// How a band is copied.
#[derive(Debug, Clone)]
pub(crate) struct PaddedRows {
    height: Window,
    width: Window,
    channels: usize,
    /// How the columns of a row are sorted.
    columns: Columns,
    /// Bytes that may be read past the last row.
    slack: usize,
    /// Multiplications of an output pixel.
    products: usize,
    /// What is worth cutting rows for.
    worth: Worth,
    /// Output rows of a band where one thread does all; divides their number, so that no band spans two images.
    rows: usize,
}

/// The columns of a copied row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Columns {
    /// As in the image.
    InOrder,
    /// Sorted by their remainder by the stride, so that a tap of neighbouring outputs reads neighbouring columns.
    ByPhase,
}

/// The bytes of a copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes {
    /// What padding holds.
    pub(crate) zero: u8,
    /// Xor-ed to every byte.
    pub(crate) flip: u8,
}

/// What is done with some rows: the number of the first output, the padded rows, the outputs.
type Task<'a, T> = dyn Fn(usize, &[u8], &mut [T]) + Sync + 'a;

impl PaddedRows {
    /// Plans bands for a window over images of `channels`, of which an output pixel costs `products` multiplications; rows
    /// are cut for what is `worth` it.
    pub(crate) fn new(
        height: Window,
        width: Window,
        channels: usize,
        columns: Columns,
        slack: usize,
        products: usize,
        worth: Worth,
    ) -> Self {
        let mut this = Self { height, width, channels, columns, slack, products, worth, rows: 1 };
        let most = products.clamp(BAND_BYTES, BAND_BYTES_MAX);
        let fits = |this: &Self, rows: usize| this.band_rows(rows).saturating_mul(this.row_len()) <= most;
        this.rows = (1..=height.output.min(most))
            .rev()
            .find(|&rows| height.output.is_multiple_of(rows) && fits(&this, rows))
            .unwrap_or(1);
        this
    }

    fn phases(&self) -> usize {
        match self.columns {
            Columns::InOrder => 1,
            Columns::ByPhase => self.width.stride,
        }
    }

    /// Bytes of the columns of one phase.
    fn phase_len(&self) -> usize {
        self.width.padded().div_ceil(self.phases()) * self.channels
    }

    /// Bytes of a padded row.
    pub(crate) fn row_len(&self) -> usize {
        self.phase_len() * self.phases()
    }

    /// Where padded column `x` begins in a row.
    pub(crate) fn column(&self, x: usize) -> usize {
        x % self.phases() * self.phase_len() + x / self.phases() * self.channels
    }

    /// Whether columns are sorted.
    pub(crate) fn is_by_phase(&self) -> bool {
        self.columns == Columns::ByPhase
    }

    /// Input rows that `rows` output rows read.
    fn band_rows(&self, rows: usize) -> usize {
        rows.saturating_sub(1) * self.height.stride + (self.height.kernel - 1) * self.height.dilation + 1
    }

    fn band_len(&self, rows: usize) -> usize {
        self.band_rows(rows).saturating_mul(self.row_len()).saturating_add(self.slack)
    }

    /// Bytes of scratch for `batch` images: for all bands of one thread, and for what more and smaller ones have in common.
    pub(crate) fn scratch_len(&self, batch: usize) -> usize {
        let bands = batch * (self.height.output / self.rows);
        bands.saturating_mul(self.band_len(self.rows)).saturating_add(COMMON * self.band_len(0))
    }

    /// Output rows of a band for this many threads, as far as there is scratch for each of them.
    fn rows_for(&self, threads: usize, batch: usize, scratch: usize) -> usize {
        let each = self.width.output.saturating_mul(self.products);
        let shared = share_at_most(threads, self.height.output, each, self.worth, self.rows);
        let is_whole = |rows: &usize| batch == 1 || self.height.output.is_multiple_of(*rows);
        let tasks = |rows: usize| batch * self.height.output.div_ceil(rows);
        let fits = |rows: &usize| tasks(*rows).min(threads).saturating_mul(self.band_len(*rows)) <= scratch;
        let rows = (1..=shared).rev().find(is_whole).unwrap_or(1);
        (rows..=self.rows).filter(is_whole).find(fits).unwrap_or(self.rows)
    }

    /// Calls `task(first pixel, band, output)` for every band with its part of `output`, whose pixels have `out_channels`. Pixels of
    /// `input` have `channels / repeat`; each is written `repeat` times. `bytes(image)` says how.
    pub(crate) fn run<T: Pod>(
        &self,
        ctx: Context<'_>,
        batch: usize,
        input: &[u8],
        repeat: usize,
        bytes: &(dyn Fn(usize) -> Bytes + Sync),
        output: &mut [T],
        out_channels: usize,
        scratch: &mut [u8],
        task: &Task<'_, T>,
    ) {
        let (pixel, output) = (out_channels * size_of::<T>(), cast_slice_mut(output));
        let task = |first: usize, band: &[u8], output: &mut [u8]| task(first, band, cast_slice_mut(output));
        self.run_bytes(ctx, batch, input, repeat, bytes, output, pixel, scratch, &task);
    }

    /// The same, where pixels of the output have `pixel` bytes.
    fn run_bytes(
        &self,
        ctx: Context<'_>,
        batch: usize,
        input: &[u8],
        repeat: usize,
        bytes: &(dyn Fn(usize) -> Bytes + Sync),
        output: &mut [u8],
        pixel: usize,
        scratch: &mut [u8],
        task: &Task<'_, u8>,
    ) {
        let rows = self.rows_for(ctx.pool.threads(), batch, scratch.len());
        let bands = self.height.output.div_ceil(rows);
        let part = rows * self.width.output * pixel;
        let image = self.height.input * self.width.input * self.channels / repeat;
        ctx.pool.chunks_mut_with_scratch(output, part, scratch, self.band_len(rows), |index, output, band| {
            let (at, first) = (index / bands, index % bands * rows);
            let band = &mut band[..self.band_len(rows.min(self.height.output - first))];
            self.copy(ctx.isa, &input[at * image..][..image], first, repeat, bytes(at), band);
            task(index * rows * self.width.output, band, output);
        });
    }

    /// Fills `band` for the output rows from `first` on.
    fn copy(&self, isa: Isa, image: &[u8], first: usize, repeat: usize, bytes: Bytes, band: &mut [u8]) {
        let Bytes { zero, flip } = bytes;
        let padding = zero ^ flip;
        let (row_len, channels) = (self.row_len(), self.channels / repeat);
        let from = self.width.input * channels;
        let (rows, slack) = band.split_at_mut(band.len() - self.slack);
        slack.fill(padding);
        if row_len == 0 {
            return;
        }
        for (at, row) in rows.chunks_exact_mut(row_len).enumerate() {
            let y = (first * self.height.stride + at).wrapping_sub(self.height.pad_before);
            if y >= self.height.input {
                row.fill(padding);
                continue;
            }
            let image = &image[y * from..][..from];
            if self.columns == Columns::InOrder {
                let (before, rest) = row.split_at_mut(self.width.pad_before * self.channels);
                let (inside, after) = rest.split_at_mut(self.width.input * self.channels);
                before.fill(padding);
                after.fill(padding);
                flipped(isa, image, repeat, flip, inside);
                continue;
            }
            for (phase, columns) in row.chunks_exact_mut(self.phase_len()).enumerate() {
                // The first column of the phase that is on the image, and how many are.
                let skip = self.width.pad_before.saturating_sub(phase).div_ceil(self.phases());
                let x = skip * self.phases() + phase - self.width.pad_before;
                let count = self.width.input.saturating_sub(x).div_ceil(self.phases());
                let (before, rest) = columns.split_at_mut(skip * self.channels);
                let (inside, after) = rest.split_at_mut(count * self.channels);
                before.fill(padding);
                after.fill(padding);
                let image = image.get(x * channels..).unwrap_or(&[]);
                every(isa, image, channels, self.phases(), repeat, flip, inside);
            }
        }
    }
}

multiversion! {
    /// Xors each of `bytes` with `flip`.
    pub(crate) fn flip<>(bytes: &mut [u8], flip: u8) {
        if flip != 0 {
            bytes.iter_mut().for_each(|byte| *byte ^= flip);
        }
    }
}

multiversion! {
    /// Copies `from`, each byte xor-ed with `flip` and written `repeat` times.
    pub(crate) fn flipped<>(from: &[u8], repeat: usize, flip: u8, to: &mut [u8]) {
        if repeat == 1 && flip == 0 {
            to.copy_from_slice(from);
        } else if repeat == 1 {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from ^ flip);
        } else {
            to.chunks_exact_mut(repeat).zip(from).for_each(|(to, from)| to.fill(from ^ flip));
        }
    }
}

multiversion! {
    to avx2;
    /// The same for one of `step` groups of `channels`.
    fn every<>(from: &[u8], channels: usize, step: usize, repeat: usize, flip: u8, to: &mut [u8]) {
        const LANES: usize = 16;
        for (from, to) in from.chunks(channels * step).zip(to.chunks_exact_mut(channels * repeat)) {
            let from = &from[..channels];
            if repeat != 1 {
                to.chunks_exact_mut(repeat).zip(from).for_each(|(to, from)| to.fill(from ^ flip));
                continue;
            }
            let (mut from, mut to) = (from.chunks_exact(LANES), to.chunks_exact_mut(LANES));
            for (from, to) in (&mut from).zip(&mut to) {
                for lane in 0..LANES {
                    to[lane] = from[lane] ^ flip;
                }
            }
            to.into_remainder().iter_mut().zip(from.remainder()).for_each(|(to, from)| *to = from ^ flip);
        }
    }
}

//! Depthwise convolutions of bytes: channels in the lanes, four taps at a time.
//!
//! Rows are copied (see [`PaddedRows`]) such that neighbouring outputs of a row read neighbouring bytes at every tap: a
//! row of outputs is one run of bytes, whatever the number of channels, and weights repeat along it. Bytes of four taps
//! are interleaved, so that a 32-bit lane sums the products of one channel; weights, biases and scales are stored in the
//! order in which interleaving leaves the channels.

use super::DepthwiseConv2dGeometry;
use crate::Then;
use crate::byte_gemm::{Activations, reads_signed};
use crate::byte_output::{ByteRange, float_scales};
use crate::dispatch::multiversion;
use crate::integer_conv::Weights;
use crate::padded_rows::{Bytes, Columns, PaddedRows};
use crate::pool::{FINE, Worth};
use crate::requantize::{LANES, OutputStage};
use crate::{Buffer, Context, Isa, Unsupported};

/// Channels of a block, the same for every instruction set so that a plan does not depend on it.
pub(super) const BLOCK: usize = 64;
/// Taps of a group.
pub(super) const TAPS: usize = 4;
/// Multiplications of one task, some microseconds.
const TASK_PRODUCTS: usize = 1 << 13;

/// Where interleaving leaves byte `channel` of a block: lane `b` of vector `q` holds the four from `16 b + 4 q` on.
fn slot(channel: usize) -> usize {
    let (b, q, rest) = (channel / 16, channel / 4 % 4, channel % 4);
    (q * 4 + b) * 4 + rest
}

/// The taps of a window, whole groups: by columns if that needs no more groups, as a column may serve again; else by rows.
fn tap_order(height: usize, width: usize) -> Vec<Option<(usize, usize)>> {
    let by_rows = (height * width).next_multiple_of(TAPS);
    let column = height.next_multiple_of(TAPS);
    if column * width == by_rows {
        (0..by_rows).map(|at| (at % column < height).then_some((at % column, at / column))).collect()
    } else {
        (0..by_rows).map(|at| (at < height * width).then_some((at / width, at % width))).collect()
    }
}

/// A depthwise convolution of bytes, planned.
#[derive(Debug, Clone)]
pub(crate) struct ByteDepthwise {
    geometry: DepthwiseConv2dGeometry,
    activations: Activations,
    padded: PaddedRows,
    /// Where taps are, relative to the first; groups are filled up with taps whose weights are 0.
    taps: Vec<usize>,
    /// For each group, its real taps as bytes of 1.
    ones: Vec<i32>,
    /// Whether a row of outputs is one run, or each pixel its own.
    flat: bool,
    /// Whether each group is a column of the window, and the next pixel reads the second and third again.
    reuse: bool,
    /// Blocks after which the weights repeat along a row.
    blocks: usize,
    /// `block group slot TAPS`, aligned, so that no vector of weights spans two cache lines.
    weights: Buffer,
    /// `block slot`: start values of the sums where activations are read as unsigned and as signed bytes.
    bias_unsigned: Vec<i32>,
    bias_signed: Vec<i32>,
    /// Where the output stage is the float one, scales by `block slot`.
    stage: Option<(Vec<f32>, ByteRange)>,
    /// `block slot`: the channel, and the sum of its weights.
    channels: Vec<usize>,
    sums: Vec<i32>,
    /// What is added to every weight: minus its zero point, and 128 more where unsigned ones became signed.
    weight_offset: i32,
    /// Whether a weight is -128, whose products the AVX2 and NEON kernels cannot sum in 16 bits.
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        expect(dead_code, reason = "other architectures have no kernels that need it")
    )]
    has_min: bool,
}

/// One row of outputs as runs of neighbouring ones, checked: `input` holds all taps of whole blocks.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) input: &'a [u8],
    pub(super) taps: &'a [usize],
    /// From the first tap of a run to that of the next.
    pub(super) step: usize,
    pub(super) blocks: usize,
    pub(super) weights: &'a [i8],
    pub(super) bias: &'a [i32],
    pub(super) weight_offset: i32,
    pub(super) ones: &'a [i32],
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        expect(dead_code, reason = "other architectures have no kernels that need it")
    )]
    pub(super) reuse: bool,
}

/// What becomes of the sums.
pub(super) enum Output<'a> {
    /// Rounded as [`Rounding::Float`].
    Bytes { out: &'a mut [u8], scales: &'a [f32], range: ByteRange },
    /// As they are, in the order of slots, whole blocks.
    Sums(&'a mut [i32]),
}

/// How sums of an image with a zero point of its own become floats: `clamp(sum * first * second + add)`, rounded after each
/// step. All but the bounds by slot.
#[derive(Clone, Copy)]
pub(super) struct Floats<'a> {
    pub(super) zero_point: i32,
    /// What [`ByteDepthwise::bias`] gave.
    pub(super) bias: &'a [i32],
    pub(super) first: &'a [f32],
    pub(super) second: &'a [f32],
    pub(super) add: &'a [f32],
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Floats<'_> {
    /// Finishes a block of sums whose first slot is `slot`.
    fn finish(&self, isa: Isa, slot: usize, sums: &[i32; BLOCK], results: &mut [f32; BLOCK]) {
        let slots = slot..slot + BLOCK;
        let factors = [&self.first[slots.clone()], &self.second[slots.clone()], &self.add[slots]];
        finish(isa, factors, [self.low, self.high], sums, results);
    }
}

multiversion! {
    fn finish<>(factors: [&[f32]; 3], bounds: [f32; 2], sums: &[i32; BLOCK], results: &mut [f32; BLOCK]) {
        let [first, second, add] = factors.map(|values| &values[..BLOCK]);
        for at in 0..BLOCK {
            let value = sums[at] as f32 * first[at] * second[at] + add[at];
            // NaN becomes the lower bound.
            let value = if value > bounds[0] { value } else { bounds[0] };
            results[at] = if value < bounds[1] { value } else { bounds[1] };
        }
    }
}

impl Output<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes { out, .. } => out.len(),
            Self::Sums(sums) => sums.len(),
        }
    }
}

impl ByteDepthwise {
    /// Plans `geometry`, which has been checked, for weights whose zero point is `weight_zero_point` and `activations`. Without a
    /// `stage`, [`Self::run_floats`] runs it.
    pub(super) fn new(
        geometry: DepthwiseConv2dGeometry,
        weights: Weights<'_>,
        weight_zero_point: i32,
        bias: &[i32],
        activations: Activations,
        stage: Option<&OutputStage>,
    ) -> Result<Self, Unsupported> {
        const KERNEL: &str = "depthwise_conv_2d";
        if weights.len() != geometry.weights_len() {
            let reason = format!("{} weights, expected {} for {geometry:?}", weights.len(), geometry.weights_len());
            return Err(Unsupported::new(KERNEL, reason));
        }
        let DepthwiseConv2dGeometry { height, width, .. } = geometry;
        let (channels, count) = (geometry.out_channels(), height.kernel * width.kernel);
        // Sorting columns costs less than leaving lanes empty.
        let columns = if width.stride > 1 && channels % BLOCK != 0 { Columns::ByPhase } else { Columns::InOrder };
        let products = channels.saturating_mul(count);
        let worth = Worth { thread: TASK_PRODUCTS, fine: 4 * FINE, least: 1 };
        let padded = PaddedRows::new(height, width, channels, columns, BLOCK, products, worth);
        let order = tap_order(height.kernel, width.kernel);
        let groups = order.len() / TAPS;
        let mut taps: Vec<usize> = Vec::with_capacity(order.len());
        let mut ones = vec![0; groups];
        for (at, tap) in order.iter().enumerate() {
            taps.push(match tap {
                Some((y, x)) => y * height.dilation * padded.row_len() + padded.column(x * width.dilation),
                None => taps[at - 1],
            });
            ones[at / TAPS] |= i32::from(tap.is_some()) << (8 * (at % TAPS));
        }
        // A column of taps may be used again for the next pixel, where pixels are runs of their own. That saves two
        // thirds of the interleaving, and is worth leaving a third of the lanes empty.
        let wasted = channels.next_multiple_of(BLOCK) - channels;
        let columns_of_taps = groups == 3 && width.kernel == 3;
        let reuse = columns_of_taps && (width.stride, width.dilation) == (1, 1) && wasted * 3 <= channels;
        let flat = !reuse && (columns == Columns::ByPhase || width.stride == 1);
        // Pixels after which blocks and channels fall together again, unless a row ends before.
        let most = if flat { width.output } else { 1 };
        let period = (1..=most).find(|pixels| (pixels * channels).is_multiple_of(BLOCK)).unwrap_or(most);
        let blocks = (period * channels).div_ceil(BLOCK);
        let weight_offset = match weights {
            Weights::I8(_) => -weight_zero_point,
            Weights::U8(_) => 128 - weight_zero_point,
        };
        let slots = blocks * BLOCK;
        let mut buffer = Buffer::new(slots * groups * TAPS);
        let packed = buffer.as_mut_slice::<i8>();
        let (mut bias_unsigned, mut bias_signed) = (vec![0; slots], vec![0; slots]);
        let (mut channel_of, mut sums) = (vec![0; slots], vec![0; slots]);
        let mut has_min = false;
        for at in 0..period * channels {
            let (channel, block, slot) = (at % channels, at / BLOCK, slot(at % BLOCK));
            let mut sum = weight_offset.wrapping_mul(count as i32);
            for (tap, place) in order.iter().enumerate() {
                let Some((y, x)) = place else { continue };
                let weight = weights.at_signed((y * width.kernel + x) * channels + channel);
                packed[((block * groups + tap / TAPS) * BLOCK + slot) * TAPS + tap % TAPS] = weight;
                sum = sum.wrapping_add(weight.into());
                has_min |= weight == i8::MIN;
            }
            let at = block * BLOCK + slot;
            bias_unsigned[at] = bias[channel].wrapping_sub(activations.zero(false).wrapping_mul(sum));
            bias_signed[at] = bias[channel].wrapping_sub(activations.zero(true).wrapping_mul(sum));
            (channel_of[at], sums[at]) = (channel, sum);
        }
        let stage = stage.and_then(|stage| {
            let scales = float_scales(stage)?;
            Some((
                channel_of.iter().map(|&channel| scales[channel]).collect(),
                ByteRange::new(stage, !activations.signed),
            ))
        });
        Ok(Self {
            geometry,
            activations,
            padded,
            taps,
            ones,
            flat,
            reuse,
            blocks,
            weights: buffer,
            bias_unsigned,
            bias_signed,
            stage,
            channels: channel_of,
            sums,
            weight_offset,
            has_min,
        })
    }

    pub(super) fn geometry(&self) -> &DepthwiseConv2dGeometry {
        &self.geometry
    }

    /// Bytes of scratch that a run needs.
    pub(super) fn scratch_len(&self) -> usize {
        self.padded.scratch_len(self.geometry.batch)
    }

    /// Runs; `stage` is the one it was planned for, and `then` is applied to what it makes. `input` and `output` are NHWC.
    pub(super) fn run(
        &self,
        ctx: Context<'_>,
        stage: &OutputStage,
        input: &[u8],
        output: &mut [u8],
        scratch: &mut [u8],
        then: Option<Then<'_>>,
    ) {
        let DepthwiseConv2dGeometry { batch, height, width, multiplier, .. } = self.geometry;
        assert!(ctx.isa.is_available(), "instruction set {} is not available on this CPU", ctx.isa);
        assert_eq!(input.len(), self.geometry.input_len(), "input elements");
        assert_eq!(output.len(), self.geometry.output_len(), "output elements");
        if output.is_empty() {
            return;
        }
        let channels = self.geometry.out_channels();
        let signed = reads_signed(ctx.isa);
        let flip = self.activations.flip(signed);
        let bytes = Bytes { zero: self.activations.zero_point as u8, flip };
        let run = |first: usize, band: &[u8], output: &mut [u8]| {
            for (y, output) in output.chunks_exact_mut(width.output * channels).enumerate() {
                self.line(ctx.isa, stage, &band[y * height.stride * self.padded.row_len()..], output);
                if let Some(then) = then {
                    then.apply(ctx.isa, (first + y * width.output) * channels, output);
                }
            }
        };
        self.padded.run(ctx, batch, input, multiplier, &|_| bytes, output, channels, scratch, &run);
    }

    /// Slots of all blocks: how long the arrays of [`Floats`] are.
    pub(super) fn slots(&self) -> usize {
        self.sums.len()
    }

    /// The channel of each slot.
    pub(super) fn channels(&self) -> &[usize] {
        &self.channels
    }

    /// Start values of the sums, by slot, where activations have another zero point than the planned 0.
    pub(super) fn bias(&self, isa: Isa, zero_point: i32, bias: &mut [i32]) {
        for ((bias, &planned), &sum) in bias.iter_mut().zip(self.planned_bias(isa)).zip(&self.sums) {
            *bias = planned.wrapping_sub(zero_point.wrapping_mul(sum));
        }
    }

    fn planned_bias(&self, isa: Isa) -> &[i32] {
        if reads_signed(isa) { &self.bias_signed } else { &self.bias_unsigned }
    }

    /// Runs on int8 activations, planned for the zero point 0 and without bias, of which image `i` is as `floats(i)` says.
    /// `input` and `output` are NHWC.
    pub(super) fn run_floats<'a>(
        &self,
        ctx: Context<'_>,
        input: &[i8],
        output: &mut [f32],
        scratch: &mut [u8],
        floats: impl Fn(usize) -> Floats<'a> + Sync,
    ) {
        let DepthwiseConv2dGeometry { batch, height, width, multiplier, .. } = self.geometry;
        assert!(ctx.isa.is_available(), "instruction set {} is not available on this CPU", ctx.isa);
        assert_eq!(input.len(), self.geometry.input_len(), "input elements");
        assert_eq!(output.len(), self.geometry.output_len(), "output elements");
        if output.is_empty() {
            return;
        }
        let channels = self.geometry.out_channels();
        let flip = self.activations.flip(reads_signed(ctx.isa));
        let bytes = |image| Bytes { zero: floats(image).zero_point as u8, flip };
        let pixels = height.output * width.output;
        let run = |pixel: usize, band: &[u8], output: &mut [f32]| {
            let floats = floats(pixel / pixels);
            for (y, output) in output.chunks_exact_mut(width.output * channels).enumerate() {
                let input = &band[y * height.stride * self.padded.row_len()..];
                let (row, run) = self.row(input, floats.bias, output.len());
                self.float_line(ctx.isa, &row, run, &floats, output);
            }
        };
        self.padded.run(ctx, batch, bytemuck::cast_slice(input), multiplier, &bytes, output, channels, scratch, &run);
    }

    fn float_line(&self, isa: Isa, row: &Row<'_>, run: usize, floats: &Floats<'_>, output: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if matches!(isa, Isa::Avx512Vnni | Isa::AmxInt8) {
            let Floats { bias, first, second, add, .. } = floats;
            assert!([bias.len(), first.len(), second.len(), add.len()] == [self.slots(); 4], "a value for every slot");
            // SAFETY: `run_floats` has asserted that the CPU has it; `row` has checked the bounds, and there are weights and
            // values for every slot.
            unsafe { super::bytes_x86_64::vnni_floats(row, run, floats, output) };
            return;
        }
        for (pixel, output) in output.chunks_exact_mut(run).enumerate() {
            for (block, output) in output.chunks_mut(BLOCK).enumerate() {
                let mut slots = [0; BLOCK];
                let row = Row { input: &row.input[pixel * row.step..], ..*row };
                self.multiply(isa, &row, BLOCK, block, &mut Output::Sums(&mut slots));
                let mut results = [0.0; BLOCK];
                floats.finish(isa, block % self.blocks * BLOCK, &slots, &mut results);
                for (at, group) in output.chunks_mut(4).enumerate() {
                    group.copy_from_slice(&results[slot(at * 4)..][..group.len()]);
                }
            }
        }
    }

    /// A row of `len` outputs whose first tap is at the start of `input`, and how long its runs are.
    fn row<'a>(&'a self, input: &'a [u8], bias: &'a [i32], len: usize) -> (Row<'a>, usize) {
        let (channels, width) = (self.geometry.out_channels(), self.geometry.width);
        let run = if self.flat { len } else { channels };
        let step = match (self.flat, self.padded.is_by_phase()) {
            (true, _) => 0,
            (false, true) => channels,
            (false, false) => self.padded.column(width.stride),
        };
        let reach = (len / run - 1) * step + self.taps.iter().max().unwrap_or(&0) + run.next_multiple_of(BLOCK);
        assert!(reach <= input.len(), "a row of the depthwise convolution reaches past the input");
        let row = Row {
            input,
            taps: &self.taps,
            step,
            blocks: self.blocks,
            weights: self.weights.as_slice(),
            bias,
            weight_offset: self.weight_offset,
            ones: &self.ones,
            reuse: self.reuse,
        };
        (row, run)
    }

    /// A row of output pixels, whose first tap is at the start of `input`.
    fn line(&self, isa: Isa, stage: &OutputStage, input: &[u8], output: &mut [u8]) {
        let channels = self.geometry.out_channels();
        let (row, run) = self.row(input, self.planned_bias(isa), output.len());
        if let Some((scales, range)) = &self.stage {
            self.multiply(isa, &row, run, 0, &mut Output::Bytes { out: output, scales, range: *range });
            return;
        }
        for (pixel, output) in output.chunks_exact_mut(run).enumerate() {
            for (block, output) in output.chunks_mut(BLOCK).enumerate() {
                let mut slots = [0; BLOCK];
                let row = Row { input: &input[pixel * row.step..], ..row };
                self.multiply(isa, &row, BLOCK, block, &mut Output::Sums(&mut slots));
                let mut sums = [0; BLOCK + LANES];
                sums.iter_mut().zip(0..BLOCK).for_each(|(sum, at)| *sum = slots[slot(at)]);
                let mut done = 0;
                while done < output.len() {
                    let channel = (block * BLOCK + done) % channels;
                    let end = output.len().min(done + channels - channel);
                    let (sums, columns) = (&sums[done..], end - done);
                    stage.store_rows(isa, sums, sums.len(), channel, columns, &mut output[done..end], columns);
                    done = end;
                }
            }
        }
    }

    /// The outputs of `row` as runs of `run`, each from block `first` on, as many as `output` holds.
    fn multiply(&self, isa: Isa, row: &Row<'_>, run: usize, first: usize, output: &mut Output<'_>) {
        match isa {
            // SAFETY: `run` has asserted that the CPU has it; `line` has checked the bounds, and the plan made weights,
            // biases and scales for every block.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::AmxInt8 => unsafe { super::bytes_x86_64::vnni(row, run, first, output) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 if !self.has_min => unsafe {
                super::bytes_x86_64::avx2(row, run, first, output);
            },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon if !self.has_min => unsafe {
                super::bytes_aarch64::neon_pairs::multiply(row, run, first, output);
            },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { super::bytes_aarch64::neon::multiply(row, run, first, output) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDotprod | Isa::NeonI8mm => unsafe {
                super::bytes_aarch64::dotprod::multiply(row, run, first, output);
            },
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128 => unsafe { super::bytes_wasm32::simd128(row, run, first, output) },
            // SAFETY: as above.
            #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
            Isa::RelaxedSimd => unsafe { super::bytes_wasm32::relaxed(row, run, first, output) },
            _ => row.scalar(run, first, output),
        }
    }
}

impl Row<'_> {
    pub(super) fn groups(&self) -> usize {
        self.taps.len() / TAPS
    }

    /// The law: one product after another, wrapping.
    fn scalar(&self, run: usize, first: usize, output: &mut Output<'_>) {
        for at in 0..output.len() {
            let position = first * BLOCK + at % run;
            let input = &self.input[at / run * self.step..];
            let (block, slot) = (position / BLOCK % self.blocks, slot(position % BLOCK));
            let mut sum = self.bias[block * BLOCK + slot];
            let mut total = 0;
            for (tap, offset) in self.taps.iter().enumerate() {
                let x = i32::from(input[offset + position] as i8);
                let group = block * self.groups() + tap / TAPS;
                let weight = self.weights[(group * BLOCK + slot) * TAPS + tap % TAPS];
                sum = sum.wrapping_add(x * i32::from(weight));
                total += x * (self.ones[tap / TAPS] >> (8 * (tap % TAPS)) & 1);
            }
            sum = sum.wrapping_add(total * self.weight_offset);
            match output {
                Output::Sums(sums) => sums[at / BLOCK * BLOCK + slot] = sum,
                Output::Bytes { out, scales, range } => out[at] = range.byte(sum, scales[block * BLOCK + slot]),
            }
        }
    }
}

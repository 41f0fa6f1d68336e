//! The matrix product under the 8-bit CONV_2D and FULLY_CONNECTED: bytes times bytes into i32, requantized in the tile.
//!
//! Rows are output pixels. They read their taps where they lie, as a few contiguous segments of the image; columns are
//! output channels, packed by 16 with four neighbouring elements of a segment side by side, which is what one 32-bit lane
//! of `vpdpbusd` multiplies. No instruction used here saturates on what it is given, and 32-bit sums wrap as LiteRT's do.
//!
//! Instruction sets differ in whether they read an activation `x` as signed or unsigned. With a zero point `z`, weights
//! `w` and their sum `s` over a column, `sum (x - z) w = sum (x + f) w - (f + z) s` for the flip `f` (0 or 128), so the
//! difference is only another bias.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm32;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub(crate) use litesmith_simd::amx::Tiles;

use crate::byte_output::{ByteRange, float_scales};
use crate::requantize::OutputStage;
use crate::{Buffer, Quantized};
use litesmith_simd::Isa;

/// Columns of a panel, the same for every instruction set so that a plan does not depend on it.
pub(crate) const NR: usize = 16;
/// Elements of a segment that one step multiplies.
pub(crate) const KR: usize = 4;
/// Panels that a call takes at most: with more rows than one [`PANELS_MANY`], and all of one row that becomes bytes.
const PANELS_ONE: usize = 4;
const PANELS_MANY: usize = 2;
/// Most rows of a call.
pub(crate) const ROWS_MAX: usize = 64;
/// Most columns that a call yields.
pub(crate) const COLUMNS_MAX: usize = PANELS_ONE * NR;
/// Bytes that a segment whose length is no multiple of [`KR`] reads past its end (and multiplies by 0).
pub(crate) const SLACK: usize = KR - 1;

/// Weights of 8 bits, `panel segment step column KR`, and what belongs to a column.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    /// Aligned, so that no vector of weights spans two cache lines.
    weights: Buffer,
    columns: usize,
    segment_len: usize,
    segments: usize,
    /// Start values of the sums where activations are read as unsigned and as signed bytes.
    bias_unsigned: Vec<i32>,
    bias_signed: Vec<i32>,
    /// Sums of the weights of each column.
    sums: Vec<i32>,
    /// What is added to every weight as it is packed: minus its zero point, and 128 more where unsigned ones became signed.
    weight_offset: i32,
    /// Whether a weight is -128, whose products the AVX2 and NEON kernels cannot sum in 16 bits.
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        expect(dead_code, reason = "other architectures have no kernels that need it")
    )]
    has_min: bool,
}

/// Rows and steps of a tile at most, and bytes of its weights: what one may read, and multiply by 0, past those of the last panel.
pub(crate) const TILE_ROWS: usize = 16;
const TILE_STEPS: usize = 16;
/// Steps of a segment from which on tiles are worth while.
const TILE_STEPS_WORTH: usize = 4;
const TILE_BYTES: usize = TILE_STEPS * NR * KR;

/// Other architectures have no registers of that kind.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Debug)]
pub(crate) enum Tiles {}

#[cfg(not(target_arch = "x86_64"))]
impl Tiles {
    pub(crate) fn rows(&self) -> usize {
        match *self {}
    }
}

/// Whether the kernels of an instruction set read activations as signed bytes. Tiles read either.
pub(crate) fn reads_signed(isa: Isa) -> bool {
    !matches!(isa, Isa::Avx512Vnni | Isa::AmxInt8 | Isa::RelaxedSimd)
}

/// Whether the kernel of an instruction set flips the activations of a single row itself, which costs it nothing: it waits for weights.
pub(crate) fn flips_one_row(isa: Isa) -> bool {
    matches!(isa, Isa::Avx512Vnni | Isa::AmxInt8)
}

/// Quantized activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Activations {
    pub(crate) zero_point: i32,
    pub(crate) signed: bool,
}

impl Activations {
    /// Elements of a type of 8 bits.
    pub(crate) fn of<T: Quantized>(zero_point: i32) -> Self {
        Self { zero_point, signed: T::MIN < 0 }
    }

    /// What turns a byte of the tensor into one of the kernel, xor-ed.
    pub(crate) fn flip(self, kernel_signed: bool) -> u8 {
        if self.signed == kernel_signed { 0 } else { 0x80 }
    }

    /// The same, flipped for a kernel.
    pub(crate) fn read_by(self, kernel_signed: bool) -> Self {
        Self { zero_point: self.zero(kernel_signed), signed: kernel_signed }
    }

    /// The zero point as the kernel reads it.
    pub(crate) fn zero(self, kernel_signed: bool) -> i32 {
        match (self.signed, kernel_signed) {
            (true, false) => self.zero_point + 128,
            (false, true) => self.zero_point - 128,
            _ => self.zero_point,
        }
    }
}

/// The end of a tile: `round(clamp(sum * scale)) + zero point`, or the sums as they are.
pub(crate) enum Output<'a> {
    /// Bytes; row `i` begins at `i * stride`.
    Bytes { out: &'a mut [u8], stride: usize, requantize: &'a Requantize },
    /// Sums; a row has [`COLUMNS_MAX`].
    Sums(&'a mut [i32]),
}

/// What [`Output::Bytes`] needs.
#[derive(Debug, Clone)]
pub(crate) struct Requantize {
    /// Padded to whole panels.
    scales: Vec<f32>,
    range: ByteRange,
}

impl Requantize {
    /// One for each group of `columns` output channels; `None` for another rounding than the float one.
    pub(crate) fn new(stage: &OutputStage, columns: usize, unsigned: bool) -> Option<Vec<Self>> {
        let one = |scales: &[f32]| {
            let mut scales = scales.to_vec();
            scales.resize(scales.len().next_multiple_of(NR), 0.0);
            Self { scales, range: ByteRange::new(stage, unsigned) }
        };
        Some(float_scales(stage)?.chunks(columns.max(1)).map(one).collect())
    }
}

impl Packed {
    /// Packs weights of `columns` columns, each `segments` runs of `segment_len` elements, of which `at(column, segment,
    /// element) + weight_offset` is one less its zero point. `bias` has a value for each column.
    pub(crate) fn pack(
        columns: usize,
        segments: usize,
        segment_len: usize,
        activations: Activations,
        weight_offset: i32,
        bias: &[i32],
        at: impl Fn(usize, usize, usize) -> i8,
    ) -> Self {
        let steps = segment_len.div_ceil(KR);
        let panels = columns.div_ceil(NR);
        let mut buffer = Buffer::new(panels * segments * steps * NR * KR + TILE_BYTES);
        let weights = buffer.as_mut_slice::<i8>();
        let (mut bias_unsigned, mut bias_signed) = (vec![0; panels * NR], vec![0; panels * NR]);
        let mut column_sums = vec![0; columns];
        let mut has_min = false;
        for column in 0..columns {
            let (panel, lane) = (column / NR, column % NR);
            let mut sum = weight_offset.wrapping_mul((segments * segment_len) as i32);
            for segment in 0..segments {
                for element in 0..segment_len {
                    let step = (panel * segments + segment) * steps + element / KR;
                    let weight = at(column, segment, element);
                    weights[(step * NR + lane) * KR + element % KR] = weight;
                    sum = sum.wrapping_add(weight.into());
                    has_min |= weight == i8::MIN;
                }
            }
            column_sums[column] = sum;
            bias_unsigned[column] = bias[column].wrapping_sub(activations.zero(false).wrapping_mul(sum));
            bias_signed[column] = bias[column].wrapping_sub(activations.zero(true).wrapping_mul(sum));
        }
        Self {
            weights: buffer,
            columns,
            segment_len,
            segments,
            bias_unsigned,
            bias_signed,
            sums: column_sums,
            weight_offset,
            has_min,
        }
    }

    /// Bytes of the packed weights.
    pub(crate) fn bytes(&self) -> usize {
        self.weights.len() - TILE_BYTES
    }

    /// The sum of the weights of each column: what a zero point is multiplied with.
    pub(crate) fn sums(&self) -> &[i32] {
        &self.sums
    }

    /// Panels that one call for `rows` rows takes, which become sums or bytes; `tiles` says whether in tiles.
    pub(crate) fn panels_per_call(rows: usize, sums: bool, tiles: bool) -> usize {
        match (rows == 1 || tiles, sums) {
            (true, false) => usize::MAX,
            (true, true) => PANELS_ONE,
            _ => PANELS_MANY,
        }
    }

    /// The tiles of this thread for products of these weights and about `rows` rows a tile, which then have to be given to
    /// [`Self::multiply`] until they are dropped; `None` where there are none, or vectors are as fast.
    pub(crate) fn tiles(&self, isa: Isa, rows: usize) -> Option<Tiles> {
        #[cfg(target_arch = "x86_64")]
        if isa == Isa::AmxInt8 && self.suits_tiles() {
            return Tiles::new(rows.clamp(1, TILE_ROWS), self.steps().div_ceil(self.steps().div_ceil(TILE_STEPS)));
        }
        let _ = (isa, rows);
        None
    }

    /// Whether tiles are faster than vectors: they cost as much for few elements as for many.
    pub(crate) fn suits_tiles(&self) -> bool {
        self.weight_offset == 0 && self.steps() >= TILE_STEPS_WORTH
    }

    fn steps(&self) -> usize {
        self.segment_len.div_ceil(KR)
    }

    fn panel_len(&self) -> usize {
        self.segments * self.steps() * NR * KR
    }

    /// The sum of the activations of a row.
    #[cfg(target_arch = "aarch64")]
    fn total(&self, input: &[u8], flip: u8, row: usize, segments: &[usize]) -> i32 {
        let segment = |segment: &usize| -> i32 {
            let bytes = &input[row + segment..][..self.segment_len];
            bytes.iter().map(|value| i32::from((value ^ flip) as i8)).sum()
        };
        segments.iter().map(segment).sum()
    }

    /// Multiplies rows by `panels` panels from `first` on. Segment `s` of row `i` is at `rows[i] + segments[s]` of
    /// `input`. What [`reads_signed`] not takes unsigned activations only: to flip them tile by tile, once for each panel,
    /// would cost up to a third of the speed.
    ///
    /// # Panics
    /// If there are more than [`ROWS_MAX`] rows, a row reaches past `input`, an output has no room, or activations are signed
    /// for a kernel of unsigned ones.
    pub(crate) fn multiply(
        &self,
        isa: Isa,
        tiles: Option<&Tiles>,
        activations: Activations,
        input: &[u8],
        rows: &[usize],
        segments: &[usize],
        first: usize,
        panels: usize,
        output: &mut Output<'_>,
    ) {
        if rows.is_empty() || panels == 0 {
            return;
        }
        assert!(rows.len() <= ROWS_MAX, "{} rows of a matrix product", rows.len());
        let sums = matches!(output, Output::Sums(_));
        assert!(segments.len() == self.segments && panels <= Self::panels_per_call(rows.len(), sums, tiles.is_some()));
        let (last_row, last_segment) = (rows.iter().max(), segments.iter().max());
        if let (Some(row), Some(segment)) = (last_row, last_segment) {
            assert!(
                row + segment + self.steps() * KR <= input.len(),
                "a row of the matrix product reaches past the input"
            );
        }
        let columns = (self.columns - first * NR).min(panels * NR);
        match output {
            Output::Bytes { out, stride, requantize } => {
                assert!((rows.len() - 1) * *stride + columns <= out.len() && self.columns <= requantize.scales.len());
            }
            Output::Sums(sums) => assert!(rows.len() * COLUMNS_MAX <= sums.len()),
        }
        // Tiles read activations as they are.
        let signed = if tiles.is_some() { activations.signed } else { reads_signed(isa) };
        let takes_signed = signed || (rows.len() == 1 && flips_one_row(isa));
        assert!(takes_signed || !activations.signed, "signed activations for a kernel of unsigned ones");
        let bias = if signed { &self.bias_signed } else { &self.bias_unsigned };
        #[cfg(target_arch = "aarch64")]
        let mut totals;
        let block = Block {
            input,
            rows,
            segments,
            segment_len: self.segment_len,
            weights: &self.weights.as_slice()
                [first * self.panel_len()..(first + panels) * self.panel_len() + TILE_BYTES],
            panel_len: self.panel_len(),
            bias: &bias[first * NR..(first + panels) * NR],
            weight_offset: self.weight_offset,
            flip: activations.flip(signed),
            first_column: first * NR,
            columns,
            #[cfg(target_arch = "aarch64")]
            totals: if self.weight_offset == 0 {
                &[]
            } else {
                totals = [0; ROWS_MAX];
                for (total, row) in totals.iter_mut().zip(rows) {
                    *total = self.total(input, activations.flip(signed), *row, segments);
                }
                &totals
            },
        };
        #[cfg(target_arch = "x86_64")]
        if let Some(tiles) = tiles {
            assert!(
                isa == Isa::AmxInt8 && self.weight_offset == 0 && tiles.steps() <= TILE_STEPS,
                "tiles for another product"
            );
            // SAFETY: there are tiles, so the CPU has AMX and what `isa` needs; the bounds have been checked above.
            unsafe { amx::multiply(&block, tiles, signed, output) };
            return;
        }
        match isa {
            // SAFETY: the caller has asserted that the CPU has it, and the bounds have been checked above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::AmxInt8 => unsafe { x86_64::vnni(&block, output) },
            // SAFETY: as above; AVX-512 without VNNI has no instruction for it that AVX2 has not.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 if !self.has_min => unsafe { x86_64::avx2(&block, output) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon if !self.has_min => unsafe { aarch64::neon_pairs(&block, output) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { aarch64::neon(&block, output) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDotprod => unsafe { aarch64::dotprod(&block, output) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::NeonI8mm => unsafe { aarch64::i8mm(&block, output) },
            // SAFETY: the bounds have been checked above.
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128 => unsafe { wasm32::simd128(&block, output) },
            // SAFETY: as above.
            #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
            Isa::RelaxedSimd => unsafe { wasm32::relaxed(&block, output) },
            _ => block.scalar(output),
        }
    }
}

/// Rows times some panels, checked.
struct Block<'a> {
    input: &'a [u8],
    rows: &'a [usize],
    segments: &'a [usize],
    segment_len: usize,
    weights: &'a [i8],
    panel_len: usize,
    bias: &'a [i32],
    weight_offset: i32,
    flip: u8,
    first_column: usize,
    /// Columns to store.
    columns: usize,
    /// Sums of the activations of each row, where `weight_offset` is not 0.
    #[cfg(target_arch = "aarch64")]
    totals: &'a [i32],
}

impl Block<'_> {
    /// Steps of a segment without an incomplete last one, and the elements of that.
    #[cfg(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")))]
    fn steps(&self) -> (usize, usize) {
        (self.segment_len / KR, self.segment_len % KR)
    }

    /// The law: one product after another, wrapping.
    fn scalar(&self, output: &mut Output<'_>) {
        let steps = self.segment_len.div_ceil(KR);
        for (index, &row) in self.rows.iter().enumerate() {
            for (panel, bias) in self.bias.chunks_exact(NR).enumerate() {
                let mut sums = [0i32; NR];
                sums.copy_from_slice(bias);
                let mut total = 0i32;
                let mut weights = self.weights[panel * self.panel_len..].chunks_exact(NR * KR);
                for &segment in self.segments {
                    let taps = &self.input[row + segment..][..steps * KR];
                    for value in &taps[..self.segment_len] {
                        total = total.wrapping_add(((value ^ self.flip) as i8).into());
                    }
                    for (step, weights) in taps.chunks_exact(KR).zip(&mut weights) {
                        let x: [i32; KR] = std::array::from_fn(|k| ((step[k] ^ self.flip) as i8).into());
                        for (sum, weight) in sums.iter_mut().zip(weights.chunks_exact(KR)) {
                            for (x, &weight) in x.iter().zip(weight) {
                                *sum = sum.wrapping_add(x * i32::from(weight));
                            }
                        }
                    }
                }
                let columns = self.columns.saturating_sub(panel * NR).min(NR);
                for sum in &mut sums {
                    *sum = sum.wrapping_add(total.wrapping_mul(self.weight_offset));
                }
                match output {
                    Output::Sums(out) => out[index * COLUMNS_MAX + panel * NR..][..NR].copy_from_slice(&sums),
                    Output::Bytes { out, stride, requantize } => {
                        let out = &mut out[index * *stride + panel * NR..][..columns];
                        let scales = &requantize.scales[self.first_column + panel * NR..];
                        for ((out, &sum), &scale) in out.iter_mut().zip(&sums).zip(scales) {
                            *out = requantize.range.byte(sum, scale);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::Quantized;
    use crate::requantize::Rounding;
    use proptest::prelude::*;

    fn noise(seed: &mut u64) -> u8 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 56) as u8
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn every_isa_agrees_with_exact_sums(
            rows in prop_oneof![1usize..20, 30usize..=ROWS_MAX],
            tile_rows in 1usize..=TILE_ROWS,
            columns in 1usize..100,
            segments in 1usize..4,
            segment_len in prop_oneof![1usize..20, 60usize..70, 120usize..150],
            zero_point in -128i32..128,
            signed in any::<bool>(),
            weight_zero_point in prop_oneof![Just(None), (0i32..256).prop_map(Some)],
            extreme in any::<bool>(),
            least in prop_oneof![Just(i8::MIN), Just(-i8::MAX)],
            mut seed in any::<u64>(),
        ) {
            let mut byte = || { let b = noise(&mut seed); if extreme { if b < 128 { 0 } else { 255 } } else { b } };
            let activations = Activations { signed, zero_point: if signed { zero_point } else { zero_point + 128 } };
            // Signed weights, or unsigned ones less 128.
            let weights: Vec<i8> = (0..columns * segments * segment_len).map(|_| ((byte() ^ 0x80) as i8).max(least)).collect();
            let offset = weight_zero_point.map_or(0, |zero| 128 - zero);
            let bias: Vec<i32> = (0..columns).map(|_| i32::from(byte()) * 1000).collect();
            let starts: Vec<usize> = (0..segments).map(|s| s * 31).collect();
            let input: Vec<u8> = (0..rows * 7 + segments * 31 + segment_len + SLACK).map(|_| byte()).collect();
            let origins: Vec<usize> = (0..rows).map(|row| row * 7 % 40).collect();
            let packed = Packed::pack(columns, segments, segment_len, activations, offset, &bias, |c, s, e| {
                weights[(c * segments + s) * segment_len + e]
            });
            let value = |x: u8| if signed { (x as i8).widen() } else { x.into() };
            let exact = |row: usize, column: usize| {
                let mut sum = i64::from(bias[column]);
                for (segment, start) in starts.iter().enumerate() {
                    for element in 0..segment_len {
                        let x = value(input[origins[row] + start + element]) - activations.zero_point;
                        let w = i32::from(weights[(column * segments + segment) * segment_len + element]) + offset;
                        sum += i64::from(x * w);
                    }
                }
                sum as i32
            };
            let scales: Vec<f32> = (0..columns).map(|c| 1e-4 * (c as f32 + 1.0)).collect();
            let (min, max) = if signed { (-100, 127) } else { (0, 240) };
            let stage = OutputStage { rounding: Rounding::Float(scales), zero_point: min + 30, min, max };
            let requantize = Requantize::new(&stage, columns, !signed).expect("float");
            for (isa, tiled) in Isa::available().flat_map(|isa| [(isa, false), (isa, true)]) {
                let tiles = if tiled { packed.tiles(isa, rows.min(tile_rows)) } else { None };
                if tiled && tiles.is_none() {
                    continue;
                }
                let tiles = tiles.as_ref();
                // As the kernel reads them.
                let as_it_is = tiled || (rows == 1 && flips_one_row(isa));
                let kernel_signed = if as_it_is { signed } else { reads_signed(isa) };
                let flip = activations.flip(kernel_signed);
                let input: Vec<u8> = input.iter().map(|x| x ^ flip).collect();
                let activations = activations.read_by(kernel_signed);
                for first in 0..columns.div_ceil(NR) {
                    let panels = Packed::panels_per_call(rows, true, tiled).min(columns.div_ceil(NR) - first);
                    let mut sums = vec![7; rows * COLUMNS_MAX];
                    packed.multiply(isa, tiles, activations, &input, &origins, &starts, first, panels, &mut Output::Sums(&mut sums));
                    let count = (columns - first * NR).min(panels * NR);
                    let panels = Packed::panels_per_call(rows, false, tiled).min(columns.div_ceil(NR) - first);
                    let written = (columns - first * NR).min(panels * NR);
                    let mut bytes = vec![77u8; rows * columns];
                    let mut output = Output::Bytes { out: &mut bytes[first * NR..], stride: columns, requantize: &requantize[0] };
                    packed.multiply(isa, tiles, activations, &input, &origins, &starts, first, panels, &mut output);
                    for row in 0..rows {
                        for column in 0..columns {
                            let got = bytes[row * columns + column];
                            if column < first * NR || column >= first * NR + written {
                                prop_assert_eq!(got, 77, "{} wrote beside", isa);
                                continue;
                            }
                            let sum = exact(row, column);
                            if column < first * NR + count {
                                let got = sums[row * COLUMNS_MAX + column - first * NR];
                                prop_assert_eq!(got, sum, "{} {} {}", isa, row, column);
                            }
                            let mut expected = [0i16];
                            stage.store(Isa::Scalar, &[sum], column, &mut expected);
                            prop_assert_eq!(got, expected[0] as u8, "{} {} {}", isa, row, column);
                        }
                    }
                }
            }
        }
    }
}

//! The integer matrix product under CONV_2D and FULLY_CONNECTED: i16 activations times i16 weights into i32.
//!
//! Activations are widened once (zero point subtracted, padding written as 0), so no im2col is needed: an output row
//! reads its taps as a few contiguous segments of the widened image. Weights are widened at plan time and packed so that
//! each step multiplies two neighbouring elements of a segment for all columns of a panel (`vpmaddwd`). No step
//! saturates; 32-bit sums wrap exactly as LiteRT's do.

use litesmith_simd::Isa;

/// Columns of a panel, the same for every instruction set so that a plan does not depend on it.
pub(crate) const NR: usize = 32;
/// Rows that the widest tile computes at once.
pub(crate) const MR: usize = 4;
/// Elements that a segment of odd length reads past its end (and multiplies by 0).
pub(crate) const SLACK: usize = 1;

/// Pairs that a 32-bit sum of i16 x i8 products can hold: each is at most `2 * 2^15 * 2^7`.
const PAIRS_EXACT: usize = 255;

/// The accumulators of a tile.
pub(crate) type Tile = [[i32; NR]; MR];

/// Weights widened to i16 and packed `panel, segment, pair, column, 2`.
#[derive(Debug, Clone)]
pub(crate) struct PackedWeights {
    data: Vec<i16>,
    /// Columns, without those that fill the last panel.
    columns: usize,
    segments: usize,
    /// Pairs of a segment.
    pairs: usize,
}

impl PackedWeights {
    /// Packs weights of `columns` columns, each `segments` runs of `segment_len` elements, of which `at(column, segment,
    /// element)` gives one with its zero point subtracted.
    pub(crate) fn pack(
        columns: usize,
        segments: usize,
        segment_len: usize,
        at: impl Fn(usize, usize, usize) -> i16,
    ) -> Self {
        let pairs = segment_len.div_ceil(2);
        let panels = columns.div_ceil(NR);
        let mut data = vec![0; panels * segments * pairs * NR * 2];
        for column in 0..columns {
            let (panel, lane) = (column / NR, column % NR);
            for segment in 0..segments {
                for element in 0..segment_len {
                    let step = (panel * segments + segment) * pairs + element / 2;
                    data[(step * NR + lane) * 2 + element % 2] = at(column, segment, element);
                }
            }
        }
        Self { data, columns, segments, pairs }
    }

    /// Bytes of the packed weights.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() * 2
    }

    pub(crate) fn panels(&self) -> usize {
        self.columns.div_ceil(NR)
    }

    /// The columns of `panel`.
    pub(crate) fn panel_columns(&self, panel: usize) -> std::ops::Range<usize> {
        panel * NR..((panel + 1) * NR).min(self.columns)
    }

    fn panel(&self, panel: usize) -> &[i16] {
        let len = self.segments * self.pairs * NR * 2;
        &self.data[panel * len..(panel + 1) * len]
    }

    /// Multiplies the rows that begin at `rows` (only the first `used` of them need to be right) by `panel` and adds the
    /// products to `tile`. Segment `s` of a row is at `rows[i] + segments[s]` of `input`.
    ///
    /// # Panics
    /// If a row reaches past `input`.
    pub(crate) fn multiply(
        &self,
        isa: Isa,
        input: &[i16],
        rows: &[usize; MR],
        used: usize,
        segments: &[usize],
        panel: usize,
        tile: &mut Tile,
    ) {
        let block = Block { segments, pairs: self.pairs, weights: self.panel(panel) };
        block.check(input, rows);
        block.run(isa, input, rows, used, tile);
    }

    /// [`Self::multiply`] with 64-bit sums, exact for i16 activations and weights of 8 bits.
    ///
    /// # Panics
    /// If a row reaches past `input`.
    pub(crate) fn multiply_wide(
        &self,
        isa: Isa,
        input: &[i16],
        rows: &[usize; MR],
        used: usize,
        segments: &[usize],
        panel: usize,
        tile: &mut [[i64; NR]; MR],
    ) {
        let whole = Block { segments, pairs: self.pairs, weights: self.panel(panel) };
        whole.check(input, rows);
        if self.pairs == 0 {
            return;
        }
        let mut flush = |block: &Block<'_>, rows: &[usize; MR]| {
            let mut part = [[0; NR]; MR];
            block.run(isa, input, rows, used, &mut part);
            for (sums, part) in tile.iter_mut().zip(&part).take(used) {
                for (sum, &part) in sums.iter_mut().zip(part) {
                    *sum += i64::from(part);
                }
            }
        };
        if self.pairs <= PAIRS_EXACT {
            let step = PAIRS_EXACT / self.pairs;
            for (segments, weights) in segments.chunks(step).zip(whole.weights.chunks(step * self.pairs * NR * 2)) {
                flush(&Block { segments, pairs: self.pairs, weights }, rows);
            }
            return;
        }
        for (&segment, weights) in segments.iter().zip(whole.weights.chunks(self.pairs * NR * 2)) {
            for (at, weights) in weights.chunks(PAIRS_EXACT * NR * 2).enumerate() {
                let pairs = weights.len() / (NR * 2);
                let segment = [segment + at * PAIRS_EXACT * 2];
                flush(&Block { segments: &segment, pairs, weights }, rows);
            }
        }
    }
}

/// Segments of one panel.
struct Block<'a> {
    segments: &'a [usize],
    pairs: usize,
    weights: &'a [i16],
}

impl Block<'_> {
    /// What makes the unchecked reads of the vector kernels sound.
    fn check(&self, input: &[i16], rows: &[usize; MR]) {
        let (last_row, last_segment) = (rows.iter().max(), self.segments.iter().max());
        if let (Some(row), Some(segment)) = (last_row, last_segment) {
            assert!(
                row + segment + self.pairs * 2 <= input.len(),
                "a row of the matrix product reaches past the input"
            );
        }
        assert_eq!(self.weights.len(), self.segments.len() * self.pairs * NR * 2);
    }

    fn run(&self, isa: Isa, input: &[i16], rows: &[usize; MR], used: usize, tile: &mut Tile) {
        match isa {
            // SAFETY: `IntegerConv::run` has asserted that the CPU has it; `check` has been called on these rows.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::AmxInt8 => unsafe {
                match used {
                    1 => x86_64::vnni::<1>(self, input, rows, tile),
                    2 => x86_64::vnni::<2>(self, input, rows, tile),
                    _ => x86_64::vnni::<MR>(self, input, rows, tile),
                }
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe {
                match used {
                    1 => x86_64::avx512::<1>(self, input, rows, tile),
                    2 => x86_64::avx512::<2>(self, input, rows, tile),
                    _ => x86_64::avx512::<MR>(self, input, rows, tile),
                }
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe {
                match used {
                    1 => x86_64::avx2::<1>(self, input, rows, tile),
                    2 => x86_64::avx2::<2>(self, input, rows, tile),
                    _ => x86_64::avx2::<MR>(self, input, rows, tile),
                }
            },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::NeonDotprod | Isa::NeonI8mm => unsafe {
                match used {
                    1 => aarch64::neon::<1>(self, input, rows, tile),
                    2 => aarch64::neon::<2>(self, input, rows, tile),
                    _ => aarch64::neon::<MR>(self, input, rows, tile),
                }
            },
            _ => self.scalar(input, rows, used, tile),
        }
    }

    /// The law: one product after another, wrapping.
    fn scalar(&self, input: &[i16], rows: &[usize; MR], used: usize, tile: &mut Tile) {
        for (sums, &row) in tile.iter_mut().zip(rows).take(used) {
            let mut weights = self.weights.chunks_exact(NR * 2);
            for &segment in self.segments {
                let taps = &input[row + segment..row + segment + self.pairs * 2];
                for (pair, weights) in taps.chunks_exact(2).zip(&mut weights) {
                    let (x0, x1) = (i32::from(pair[0]), i32::from(pair[1]));
                    for (sum, weight) in sums.iter_mut().zip(weights.chunks_exact(2)) {
                        let (w0, w1) = (i32::from(weight[0]), i32::from(weight[1]));
                        *sum = sum.wrapping_add((x0 * w0).wrapping_add(x1 * w1));
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use super::{Block, MR, NR, Tile};
    use std::arch::aarch64::*;

    /// 4 rows x 16 columns at a time: 16 accumulators, 4 activations and 2 weights of 32 registers; two passes over a panel.
    ///
    /// # Safety
    /// `block.check(input, rows)` passed.
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn neon<const M: usize>(block: &Block<'_>, input: &[i16], rows: &[usize; MR], tile: &mut Tile) {
        const LANES: usize = 4;
        const VECTORS: usize = NR / 2 / LANES;
        for first in [0, NR / 2] {
            let mut sums = [[vdupq_n_s32(0); VECTORS]; M];
            // SAFETY: `check` has counted `segments * pairs` steps of `NR * 2` weights.
            let mut weights = unsafe { block.weights.as_ptr().add(first * 2) };
            for &segment in block.segments {
                for step in 0..block.pairs {
                    let mut x = [vdup_n_s16(0); M];
                    for m in 0..M {
                        // SAFETY: a row's segment ends inside `input`.
                        let pair =
                            unsafe { input.as_ptr().add(rows[m] + segment + step * 2).cast::<i32>().read_unaligned() };
                        x[m] = vreinterpret_s16_s32(vdup_n_s32(pair));
                    }
                    for v in (0..VECTORS).step_by(2) {
                        // SAFETY: as above: the first and the second elements of 8 columns.
                        let int16x8x2_t(w0, w1) = unsafe { vld2q_s16(weights.add(v * LANES * 2)) };
                        for m in 0..M {
                            let low = vmlal_lane_s16::<0>(sums[m][v], vget_low_s16(w0), x[m]);
                            sums[m][v] = vmlal_lane_s16::<1>(low, vget_low_s16(w1), x[m]);
                            let high = vmlal_high_lane_s16::<0>(sums[m][v + 1], w0, x[m]);
                            sums[m][v + 1] = vmlal_high_lane_s16::<1>(high, w1, x[m]);
                        }
                    }
                    // At last this is past the end, and not read.
                    weights = weights.wrapping_add(NR * 2);
                }
            }
            for m in 0..M {
                for v in 0..VECTORS {
                    // SAFETY: `first + NR / 2 <= NR`.
                    unsafe {
                        let to = tile[m].as_mut_ptr().add(first + v * LANES);
                        vst1q_s32(to, vaddq_s32(vld1q_s32(to), sums[m][v]));
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::{Block, MR, NR, Tile};
    use std::arch::x86_64::*;

    /// Two neighbouring i16, as the i32 that `vpbroadcastd` reads.
    ///
    /// # Safety
    /// `input + at` and the next element must be readable.
    #[inline(always)]
    unsafe fn pair(input: *const i16, at: usize) -> i32 {
        // SAFETY: the caller's.
        unsafe { input.add(at).cast::<i32>().read_unaligned() }
    }

    /// 4 rows x 16 columns at a time: 8 accumulators, 2 weights and 1 broadcast of 16 registers; two passes over a panel.
    ///
    /// # Safety
    /// The CPU has AVX2 and `block.check(input, rows)` passed.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn avx2<const M: usize>(block: &Block<'_>, input: &[i16], rows: &[usize; MR], tile: &mut Tile) {
        const LANES: usize = 8;
        let base = input.as_ptr();
        for half in 0..2 {
            let first = half * NR / 2;
            let mut sums = [[_mm256_setzero_si256(); 2]; M];
            for (sums, row) in sums.iter_mut().zip(tile.iter()) {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: `first + 2 * LANES <= NR`.
                    *sum = unsafe { _mm256_loadu_si256(row.as_ptr().add(first + vector * LANES).cast()) };
                }
            }
            // SAFETY: `check` has counted `segments * pairs` steps of `NR * 2` weights.
            let mut weights = unsafe { block.weights.as_ptr().add(first * 2) };
            for &segment in block.segments {
                for step in 0..block.pairs {
                    // SAFETY: as above; a row's segment ends inside `input`.
                    unsafe {
                        let w0 = _mm256_loadu_si256(weights.cast());
                        let w1 = _mm256_loadu_si256(weights.add(LANES * 2).cast());
                        weights = weights.add(NR * 2);
                        for (sums, row) in sums.iter_mut().zip(rows) {
                            let x = _mm256_set1_epi32(pair(base, row + segment + step * 2));
                            sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(x, w0));
                            sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(x, w1));
                        }
                    }
                }
            }
            for (sums, row) in sums.iter().zip(tile.iter_mut()) {
                for (vector, &sum) in sums.iter().enumerate() {
                    // SAFETY: `first + 2 * LANES <= NR`.
                    unsafe { _mm256_storeu_si256(row.as_mut_ptr().add(first + vector * LANES).cast(), sum) };
                }
            }
        }
    }

    macro_rules! avx512_tile {
        ($name:ident, $features:literal, |$sum:ident, $x:ident, $w:ident| $step:expr) => {
            /// 4 rows x 32 columns: 8 accumulators, 2 weights and 1 broadcast of 32 registers.
            ///
            /// # Safety
            /// The CPU has the features and `block.check(input, rows)` passed.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name<const M: usize>(
                block: &Block<'_>,
                input: &[i16],
                rows: &[usize; MR],
                tile: &mut Tile,
            ) {
                const LANES: usize = 16;
                let base = input.as_ptr();
                let mut sums = [[_mm512_setzero_si512(); 2]; M];
                for (sums, row) in sums.iter_mut().zip(tile.iter()) {
                    for (vector, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: a row has `2 * LANES` sums.
                        *sum = unsafe { _mm512_loadu_si512(row.as_ptr().add(vector * LANES).cast()) };
                    }
                }
                let mut weights = block.weights.as_ptr();
                for &segment in block.segments {
                    for step in 0..block.pairs {
                        // SAFETY: `check` has counted the weights, and a row's segment ends inside `input`.
                        unsafe {
                            let w0 = _mm512_loadu_si512(weights.cast());
                            let w1 = _mm512_loadu_si512(weights.add(LANES * 2).cast());
                            weights = weights.add(NR * 2);
                            for (sums, row) in sums.iter_mut().zip(rows) {
                                let $x = _mm512_set1_epi32(pair(base, row + segment + step * 2));
                                let ($sum, $w) = (sums[0], w0);
                                sums[0] = $step;
                                let ($sum, $w) = (sums[1], w1);
                                sums[1] = $step;
                            }
                        }
                    }
                }
                for (sums, row) in sums.iter().zip(tile.iter_mut()) {
                    for (vector, &sum) in sums.iter().enumerate() {
                        // SAFETY: a row has `2 * LANES` sums.
                        unsafe { _mm512_storeu_si512(row.as_mut_ptr().add(vector * LANES).cast(), sum) };
                    }
                }
            }
        };
    }
    avx512_tile!(avx512, "avx512f,avx512bw", |sum, x, w| _mm512_add_epi32(sum, _mm512_madd_epi16(x, w)));
    avx512_tile!(vnni, "avx512f,avx512bw,avx512vnni", |sum, x, w| _mm512_dpwssd_epi32(sum, x, w));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: &mut u64) -> i16 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 48) as i16
    }

    #[test]
    fn every_isa_and_row_count_agrees_with_the_scalar_product() {
        let mut seed = 1;
        for (columns, segments, len) in [(1, 1, 1), (10, 3, 3), (33, 3, 96), (64, 9, 5), (32, 1, 1000)] {
            let weights: Vec<i16> = (0..columns * segments * len).map(|_| noise(&mut seed) >> 8).collect();
            let packed = PackedWeights::pack(columns, segments, len, |c, s, e| weights[(c * segments + s) * len + e]);
            let offsets: Vec<usize> = (0..segments).map(|s| s * 7).collect();
            let input: Vec<i16> = (0..40 + segments * 7 + len + 1).map(|_| noise(&mut seed)).collect();
            let rows = [0, 3, 40, 11];
            for used in 1..=MR {
                for panel in 0..packed.panels() {
                    let mut expected = [[5; NR]; MR];
                    let mut exact = [[0i64; NR]; MR];
                    for row in 0..used {
                        for column in packed.panel_columns(panel) {
                            for (segment, &offset) in offsets.iter().enumerate() {
                                for element in 0..len {
                                    let x = i32::from(input[rows[row] + offset + element]);
                                    let w = i32::from(weights[(column * segments + segment) * len + element]);
                                    let sum: &mut i32 = &mut expected[row][column % NR];
                                    *sum = sum.wrapping_add(x * w);
                                    exact[row][column % NR] += i64::from(x * w);
                                }
                            }
                        }
                    }
                    for &isa in Isa::ALL.iter().filter(|isa| isa.is_available()) {
                        let mut tile = [[5; NR]; MR];
                        packed.multiply(isa, &input, &rows, used, &offsets, panel, &mut tile);
                        assert_eq!(tile[..used], expected[..used], "{isa:?} {columns} {segments} {len} {used}");
                        let mut wide = [[0; NR]; MR];
                        packed.multiply_wide(isa, &input, &rows, used, &offsets, panel, &mut wide);
                        assert_eq!(wide[..used], exact[..used], "{isa:?} {columns} {segments} {len} {used} wide");
                    }
                }
            }
        }
    }

    #[test]
    fn the_largest_products_do_not_overflow_the_wide_sum() {
        let packed = PackedWeights::pack(1, 1, 2000, |_, _, _| -128);
        let input = vec![i16::MIN; 2000];
        for &isa in Isa::ALL.iter().filter(|isa| isa.is_available()) {
            let mut tile = [[0; NR]; MR];
            packed.multiply_wide(isa, &input, &[0; MR], 1, &[0], 0, &mut tile);
            assert_eq!(tile[0][0], 2000 << 22);
        }
    }
}

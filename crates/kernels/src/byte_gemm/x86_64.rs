//! The tiles of x86-64. All take a [`Block`] whose bounds [`super::Packed::multiply`] has checked.

use super::{Block, COLUMNS_MAX, KR, NR, Output, PANELS_ONE};
use crate::byte_output::x86_64;
use std::arch::x86_64::*;

/// The four bytes at `at`.
///
/// # Safety
/// They must be readable.
#[inline(always)]
unsafe fn four(at: *const u8) -> i32 {
    // SAFETY: the caller's.
    unsafe { at.cast::<i32>().read_unaligned() }
}

/// The first bytes of a step that are elements, as ones.
fn ones(elements: usize) -> i32 {
    0x0101_0101 & ((1i64 << (8 * elements)) - 1) as i32
}

/// Evaluates `$tile` for the rows of a block as even groups of at most `$most` as there can be: `$first` is the first row
/// of a group and the constant `$m` how many there are.
macro_rules! each_tile {
    ($block:ident, $most:literal [$($count:literal)*], |$first:ident, $m:ident| $tile:expr) => {{
        let rows = $block.rows.len();
        let size = rows.div_ceil(rows.div_ceil($most));
        for $first in (0..rows).step_by(size) {
            match size.min(rows - $first) {
                $($count => {
                    const $m: usize = $count;
                    // SAFETY: the caller's.
                    unsafe { $tile }
                })*
                _ => unreachable!("a tile of more than {} rows", $most),
            }
        }
    }};
}

/// Tiles of up to 8 rows and 2 panels: 16 sums, 8 row sums, 2 weights and 2 more of 32 registers; 16 independent sums
/// hide the latency of `vpdpbusd`. A single panel takes 16 rows, a single row 4 panels; with row sums 4 rows are enough.
///
/// # Safety
/// The CPU has AVX-512 and VNNI; the bounds of the block are checked.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn vnni(block: &Block<'_>, output: &mut Output<'_>) {
    let panels = block.bias.len() / NR;
    if block.rows.len() == 1 {
        for first in (0..panels).step_by(PANELS_ONE) {
            // SAFETY: the caller's.
            unsafe { vnni_row(block, first, PANELS_ONE.min(panels - first), output) };
        }
        return;
    }
    match (block.rows.len(), panels, block.weight_offset != 0) {
        (_, 1, false) => {
            each_tile!(block, 16 [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16], |first, M| {
                vnni_tile::<M, 1, 1, false>(block, first, 0, output)
            })
        }
        (_, _, false) => {
            each_tile!(block, 8 [1 2 3 4 5 6 7 8], |first, M| vnni_tile::<M, 2, 1, false>(block, first, 0, output))
        }
        (_, 1, true) => {
            each_tile!(block, 4 [1 2 3 4], |first, M| vnni_tile::<M, 1, 1, true>(block, first, 0, output))
        }
        (_, _, true) => {
            each_tile!(block, 4 [1 2 3 4], |first, M| vnni_tile::<M, 2, 1, true>(block, first, 0, output))
        }
    }
}

/// The only row of a block, and `panels` panels from `panel` on.
///
/// # Safety
/// As [`vnni`]; the block has these panels.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn vnni_row(block: &Block<'_>, panel: usize, panels: usize, output: &mut Output<'_>) {
    match (panels, block.weight_offset != 0) {
        // SAFETY: the caller's.
        (1, false) => unsafe { vnni_tile::<1, 1, 8, false>(block, 0, panel, output) },
        // SAFETY: as above.
        (2, false) => unsafe { vnni_tile::<1, 2, 4, false>(block, 0, panel, output) },
        // SAFETY: as above.
        (3, false) => unsafe { vnni_tile::<1, 3, 3, false>(block, 0, panel, output) },
        // SAFETY: as above.
        (_, false) => unsafe { vnni_tile::<1, 4, 2, false>(block, 0, panel, output) },
        // SAFETY: as above.
        (1, true) => unsafe { vnni_tile::<1, 1, 1, true>(block, 0, panel, output) },
        // SAFETY: as above.
        (2, true) => unsafe { vnni_tile::<1, 2, 1, true>(block, 0, panel, output) },
        // SAFETY: as above.
        (3, true) => unsafe { vnni_tile::<1, 3, 1, true>(block, 0, panel, output) },
        // SAFETY: as above.
        (_, true) => unsafe { vnni_tile::<1, 4, 1, true>(block, 0, panel, output) },
    }
}

/// `M` rows from `first` on, `N` panels from `panel` on, `U` independent sets of sums; `R` sums the activations of each row too.
///
/// # Safety
/// As [`vnni`]; the block has `panel + N` panels and `first + M` rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn vnni_tile<const M: usize, const N: usize, const U: usize, const R: bool>(
    block: &Block<'_>,
    first: usize,
    panel: usize,
    output: &mut Output<'_>,
) {
    let (steps, rest) = block.steps();
    let mut sums = [[[_mm512_setzero_si512(); N]; M]; U];
    for n in 0..N {
        // SAFETY: there are `N` panels of biases.
        let bias = unsafe { _mm512_loadu_si512(block.bias.as_ptr().add((panel + n) * NR).cast()) };
        sums[0].iter_mut().for_each(|sums| sums[n] = bias);
    }
    let mut totals = [_mm512_setzero_si512(); M];
    let flip = _mm512_set1_epi8(block.flip as i8);
    // SAFETY: the weights have those of each panel.
    let mut weights = unsafe { block.weights.as_ptr().add(panel * block.panel_len) };
    for &segment in block.segments {
        let mut at: [*const u8; M] = [block.input.as_ptr(); M];
        for (m, at) in at.iter_mut().enumerate() {
            // SAFETY: each segment of each row lies in the input.
            *at = unsafe { at.add(*block.rows.get_unchecked(first + m) + segment) };
        }
        let mut step = |set: &mut [[__m512i; N]; M], offset: usize, ones: __m512i| {
            let mut w = [_mm512_setzero_si512(); N];
            for (n, w) in w.iter_mut().enumerate() {
                // SAFETY: the weights have `steps` (and one for a rest) vectors a segment and panel.
                *w = unsafe { _mm512_loadu_si512(weights.add(n * block.panel_len).cast()) };
            }
            // SAFETY: as above; at most one past the end.
            weights = unsafe { weights.add(NR * KR) };
            for m in 0..M {
                // SAFETY: a segment has `steps * KR` bytes, and slack for a rest.
                let mut x = _mm512_set1_epi32(unsafe { four(at[m].add(offset)) });
                if M == 1 {
                    x = _mm512_xor_si512(x, flip);
                }
                for n in 0..N {
                    set[m][n] = _mm512_dpbusd_epi32(set[m][n], x, w[n]);
                }
                if R {
                    totals[m] = _mm512_dpbusd_epi32(totals[m], x, ones);
                }
            }
        };
        let all = _mm512_set1_epi8(1);
        let mut done = 0;
        while done + U <= steps {
            for (u, set) in sums.iter_mut().enumerate() {
                step(set, (done + u) * KR, all);
            }
            done += U;
        }
        while U > 1 && done < steps {
            step(&mut sums[0], done * KR, all);
            done += 1;
        }
        if rest != 0 {
            step(&mut sums[0], steps * KR, _mm512_set1_epi32(ones(rest)));
        }
    }
    let Some((sums, others)) = sums.split_first() else { return };
    let mut sums = *sums;
    for others in others {
        for m in 0..M {
            for n in 0..N {
                sums[m][n] = _mm512_add_epi32(sums[m][n], others[m][n]);
            }
        }
    }
    if R {
        let offset = _mm512_set1_epi32(block.weight_offset);
        for m in 0..M {
            let offset = _mm512_mullo_epi32(totals[m], offset);
            sums[m].iter_mut().for_each(|sum| *sum = _mm512_add_epi32(*sum, offset));
        }
    }
    match output {
        Output::Sums(out) => {
            for (m, sums) in sums.iter().enumerate() {
                for (n, &sums) in sums.iter().enumerate() {
                    // SAFETY: a row has `COLUMNS_MAX` sums, and `N * NR` are at most as many.
                    unsafe {
                        let out = out.as_mut_ptr().add((first + m) * COLUMNS_MAX + (panel + n) * NR);
                        _mm512_storeu_si512(out.cast(), sums);
                    }
                }
            }
        }
        Output::Bytes { out, stride, requantize } => {
            let (columns_left, out) = (block.columns.saturating_sub(panel * NR), &mut out[panel * NR..]);
            let range = x86_64::Wide::new(requantize.range);
            let mut scales = [_mm512_setzero_ps(); N];
            for (n, scales) in scales.iter_mut().enumerate() {
                // SAFETY: scales are padded to whole panels.
                *scales =
                    unsafe { _mm512_loadu_ps(requantize.scales.as_ptr().add(block.first_column + (panel + n) * NR)) };
            }
            // Four vectors of sums make one of bytes.
            for four in (0..M * N).step_by(4) {
                let vector = |i: usize| match four + i {
                    at if at < M * N => range.round(sums[at / N][at % N], scales[at % N]),
                    _ => _mm512_setzero_si512(),
                };
                let bytes = range.pack([0, 1, 2, 3].map(vector));
                // SAFETY: the output has these rows, and these columns of each.
                unsafe { store_four::<N>(out, *stride, first, four, M * N, columns_left, bytes) };
            }
        }
    }
}

/// Writes four vectors of bytes of a tile of `N` panels, whose rows begin with row `first` of the output and which has `count`
/// vectors: those from `four` on, row after row. `columns_left` are the columns of the output from the first panel on.
///
/// # Safety
/// The CPU has AVX-512; the output has these rows, and `columns_left` columns or those of the panels of each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn store_four<const N: usize>(
    out: &mut [u8],
    stride: usize,
    first: usize,
    four: usize,
    count: usize,
    columns_left: usize,
    bytes: __m512i,
) {
    if columns_left >= N * NR && four + 4 <= count && (N != 1 || stride == NR) {
        // SAFETY: all columns of these rows are the block's to write.
        unsafe {
            let out = out.as_mut_ptr().add((first + four / N) * stride + four % N * NR);
            if N == 4 || stride == N * NR {
                // One after another.
                _mm512_storeu_si512(out.cast(), bytes);
                return;
            }
            if N == 2 {
                _mm256_storeu_si256(out.cast(), _mm512_castsi512_si256(bytes));
                _mm256_storeu_si256(out.add(stride).cast(), _mm512_extracti64x4_epi64::<1>(bytes));
                return;
            }
        }
    }
    let parts = [
        _mm512_castsi512_si128(bytes),
        _mm512_extracti32x4_epi32::<1>(bytes),
        _mm512_extracti32x4_epi32::<2>(bytes),
        _mm512_extracti32x4_epi32::<3>(bytes),
    ];
    for (i, part) in parts.into_iter().enumerate() {
        let (m, n) = ((four + i) / N, (four + i) % N);
        let columns = columns_left.saturating_sub(n * NR).min(NR);
        if four + i >= count || columns == 0 {
            continue;
        }
        // SAFETY: only the columns of the row are written.
        unsafe {
            let out = out.as_mut_ptr().add((first + m) * stride + n * NR);
            if columns == NR {
                _mm_storeu_si128(out.cast(), part);
            } else {
                _mm_mask_storeu_epi8(out.cast(), ((1u32 << columns) - 1) as u16, part);
            }
        }
    }
}

/// Tiles of up to 4 rows and 1 panel: 8 sums, 2 weights, the activation, its magnitude and 2 temporaries of 16 registers.
///
/// `vpmaddubsw` wants one operand unsigned and saturates the sum of two products: with the magnitude of the activation (at
/// most 128) and the weight with the activation's sign (at most 127 in magnitude) that sum is at most 32,512, so it is exact.
///
/// # Safety
/// The CPU has AVX2; the bounds of the block are checked; no weight is -128.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn avx2(block: &Block<'_>, output: &mut Output<'_>) {
    for panel in 0..block.bias.len() / NR {
        if block.weight_offset == 0 {
            each_tile!(block, 4 [1 2 3 4], |first, M| avx2_tile::<M, false>(block, panel, first, output));
        } else {
            each_tile!(block, 4 [1 2 3 4], |first, M| avx2_tile::<M, true>(block, panel, first, output));
        }
    }
}

/// `M` rows from `first` on of one panel.
///
/// # Safety
/// As [`avx2`]; the block has that panel and `first + M` rows.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn avx2_tile<const M: usize, const R: bool>(
    block: &Block<'_>,
    panel: usize,
    first: usize,
    output: &mut Output<'_>,
) {
    const LANES: usize = 8;
    let (steps, rest) = block.steps();
    let flip = _mm256_set1_epi8(block.flip as i8);
    let pairs = _mm256_set1_epi16(1);
    let mut sums = [[_mm256_setzero_si256(); 2]; M];
    for n in 0..2 {
        // SAFETY: the panel has `NR` biases.
        let bias = unsafe { _mm256_loadu_si256(block.bias.as_ptr().add(panel * NR + n * LANES).cast()) };
        sums.iter_mut().for_each(|sums| sums[n] = bias);
    }
    let mut totals = [_mm256_setzero_si256(); M];
    // SAFETY: the block has the panel.
    let mut weights = unsafe { block.weights.as_ptr().add(panel * block.panel_len) };
    for &segment in block.segments {
        let mut at: [*const u8; M] = [block.input.as_ptr(); M];
        for (m, at) in at.iter_mut().enumerate() {
            // SAFETY: each segment of each row lies in the input.
            *at = unsafe { at.add(*block.rows.get_unchecked(first + m) + segment) };
        }
        let mut step = |offset: usize, ones: __m256i| {
            // SAFETY: the weights have `steps` (and one for a rest) times `NR * KR` bytes a segment and panel.
            let w = unsafe {
                let w = [0, LANES * KR].map(|n| _mm256_loadu_si256(weights.add(n).cast()));
                weights = weights.add(NR * KR);
                w
            };
            for m in 0..M {
                // SAFETY: a segment has `steps * KR` bytes, and slack for a rest.
                let x = _mm256_xor_si256(_mm256_set1_epi32(unsafe { four(at[m].add(offset)) }), flip);
                let magnitude = _mm256_abs_epi8(x);
                let dot = |w| _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(w, x)), pairs);
                for n in 0..2 {
                    sums[m][n] = _mm256_add_epi32(sums[m][n], dot(w[n]));
                }
                if R {
                    totals[m] = _mm256_add_epi32(totals[m], dot(ones));
                }
            }
        };
        for done in 0..steps {
            step(done * KR, _mm256_set1_epi8(1));
        }
        if rest != 0 {
            step(steps * KR, _mm256_set1_epi32(ones(rest)));
        }
    }
    if R {
        let offset = _mm256_set1_epi32(block.weight_offset);
        for m in 0..M {
            let offset = _mm256_mullo_epi32(totals[m], offset);
            sums[m].iter_mut().for_each(|sum| *sum = _mm256_add_epi32(*sum, offset));
        }
    }
    match output {
        Output::Sums(out) => {
            for (m, sums) in sums.iter().enumerate() {
                for (n, &sums) in sums.iter().enumerate() {
                    // SAFETY: a row has `COLUMNS_MAX` sums, and the panel is one of at most as many columns.
                    unsafe {
                        let out = out.as_mut_ptr().add((first + m) * COLUMNS_MAX + panel * NR + n * LANES);
                        _mm256_storeu_si256(out.cast(), sums);
                    }
                }
            }
        }
        Output::Bytes { out, stride, requantize } => {
            let range = x86_64::Narrow::new(requantize.range);
            let columns = block.columns.saturating_sub(panel * NR).min(NR);
            let mut scales = [_mm256_setzero_ps(); 2];
            for (n, scales) in scales.iter_mut().enumerate() {
                let at = block.first_column + panel * NR + n * LANES;
                // SAFETY: scales are padded to whole panels.
                *scales = unsafe { _mm256_loadu_ps(requantize.scales.as_ptr().add(at)) };
            }
            for (m, sums) in sums.iter().enumerate() {
                let bytes = range.pack_two([0, 1].map(|n| range.round(sums[n], scales[n])));
                // SAFETY: `columns` of the row are the block's to write, and no more are written.
                unsafe {
                    let out = out.as_mut_ptr().add((first + m) * *stride + panel * NR);
                    if columns == NR {
                        _mm_storeu_si128(out.cast(), bytes);
                    } else {
                        let mut whole = [0u8; NR];
                        _mm_storeu_si128(whole.as_mut_ptr().cast(), bytes);
                        out.copy_from_nonoverlapping(whole.as_ptr(), columns);
                    }
                }
            }
        }
    }
}

//! The tiles of WebAssembly. All take a [`Block`] whose bounds [`super::Packed::multiply`] has checked.
//!
//! Vectors hold four columns by four neighbouring elements, as the panel does.

use super::{Block, COLUMNS_MAX, KR, NR, Output};
use crate::byte_output::wasm32::Registers;
use std::arch::wasm32::*;

/// Columns of a vector.
const LANES: usize = 4;
/// Bytes of a step of a panel.
const STEP: usize = NR * KR;

/// Where each of `M` rows from `first` on begins in a segment.
///
/// # Safety
/// The block has those rows, and `segment` is one of its segments.
#[inline(always)]
unsafe fn starts<const M: usize>(block: &Block<'_>, first: usize, segment: usize) -> [*const u8; M] {
    // SAFETY: the caller's; each segment of each row lies in the input.
    std::array::from_fn(|m| unsafe { block.input.as_ptr().add(*block.rows.get_unchecked(first + m) + segment) })
}

litesmith_simd::simd128! {
    /// Stores the sums of one row, of `V` vectors of columns from `column` of the panel on.
    ///
    /// # Safety
    /// The block has the row and the columns, whose bounds are checked.
    #[inline]
    unsafe fn store<const V: usize>(
        block: &Block<'_>,
        (panel, column, row): (usize, usize, usize),
        sums: [v128; V],
        output: &mut Output<'_>,
    ) {
        let column = panel * NR + column;
        match output {
            Output::Sums(out) => {
                for (v, &sums) in sums.iter().enumerate() {
                    // SAFETY: a row has `COLUMNS_MAX` sums, and the block at most as many columns.
                    unsafe { v128_store(out.as_mut_ptr().add(row * COLUMNS_MAX + column + v * LANES).cast(), sums) };
                }
            }
            Output::Bytes { out, stride, requantize } => {
                let columns = block.columns.saturating_sub(column).min(V * LANES);
                if columns == 0 {
                    return;
                }
                let range = Registers::new(requantize.range);
                let mut rounded = [i32x4_splat(0); 4];
                for (v, rounded) in rounded.iter_mut().enumerate().take(V) {
                    let at = block.first_column + column + v * LANES;
                    // SAFETY: scales are padded to whole panels.
                    *rounded = range.round(sums[v], unsafe { v128_load(requantize.scales.as_ptr().add(at).cast()) });
                }
                let bytes = range.pack(rounded);
                // SAFETY: `columns` of the row are the block's to write, and no more are written.
                unsafe {
                    let out = out.as_mut_ptr().add(row * *stride + column);
                    match columns {
                        NR => v128_store(out.cast(), bytes),
                        8 => v128_store64_lane::<0>(bytes, out.cast()),
                        _ => {
                            let mut whole = [0u8; NR];
                            v128_store(whole.as_mut_ptr().cast(), bytes);
                            out.copy_from_nonoverlapping(whole.as_ptr(), columns);
                        }
                    }
                }
            }
        }
    }

    /// Two rows take half a panel at a time: 8 sums, 4 vectors of weights and 2 of activations of 16 registers. A single row
    /// takes a whole panel.
    ///
    /// # Safety
    /// The bounds of the block are checked.
    pub(super) unsafe fn simd128(block: &Block<'_>, output: &mut Output<'_>) {
        // SAFETY: the caller's.
        unsafe {
            if block.weight_offset == 0 { dot_16::<false>(block, output) } else { dot_16::<true>(block, output) }
        }
    }

    /// # Safety
    /// As [`simd128`].
    #[inline]
    unsafe fn dot_16<const R: bool>(block: &Block<'_>, output: &mut Output<'_>) {
        let rows = block.rows.len();
        for panel in 0..block.bias.len() / NR {
            for column in [0, NR / 2] {
                for first in (0..rows / 2 * 2).step_by(2) {
                    // SAFETY: the caller's.
                    unsafe { dot_16_tile::<2, 2, R>(block, panel, column, first, output) };
                }
            }
            if rows % 2 == 1 {
                // SAFETY: the caller's.
                unsafe { dot_16_tile::<1, 4, R>(block, panel, 0, rows - 1, output) };
            }
        }
    }

    /// `M` rows from `first` on, `V` vectors of columns from `column` on: products of 16-bit integers, summed in pairs. `R` sums
    /// the activations of each row too.
    ///
    /// # Safety
    /// As [`simd128`]; the block has those rows and columns.
    #[inline]
    unsafe fn dot_16_tile<const M: usize, const V: usize, const R: bool>(
        block: &Block<'_>,
        panel: usize,
        column: usize,
        first: usize,
        output: &mut Output<'_>,
    ) {
        let (steps, rest) = block.steps();
        let flip = u8x16_splat(block.flip);
        // Of each column the sum of even pairs of elements and that of odd ones.
        let mut sums = [[[i32x4_splat(0); 2]; V]; M];
        let mut totals = [i32x4_splat(0); M];
        // SAFETY: the block has the panel.
        let mut weights = unsafe { block.weights.as_ptr().add(panel * block.panel_len + column * KR) };
        for &segment in block.segments {
            // SAFETY: the caller's.
            let at: [*const u8; M] = unsafe { starts(block, first, segment) };
            let mut step = |offset: usize, ones: v128| {
                let mut w = [[i16x8_splat(0); 2]; V];
                for (half, w) in w.as_flattened_mut().iter_mut().enumerate() {
                    // SAFETY: the weights have `STEP` bytes for each step, and one for a rest.
                    *w = unsafe { i16x8_load_extend_i8x8(weights.add(half * 8)) };
                }
                weights = weights.wrapping_add(STEP);
                for m in 0..M {
                    // SAFETY: a segment has `steps * KR` bytes, and slack for a rest.
                    let x = v128_xor(unsafe { v128_load32_splat(at[m].add(offset).cast()) }, flip);
                    let x = i16x8_extend_low_i8x16(x);
                    for v in 0..V {
                        for half in 0..2 {
                            sums[m][v][half] = i32x4_add(sums[m][v][half], i32x4_dot_i16x8(x, w[v][half]));
                        }
                    }
                    if R {
                        totals[m] = i32x4_add(totals[m], i32x4_dot_i16x8(x, ones));
                    }
                }
            };
            for done in 0..steps {
                step(done * KR, i16x8_splat(1));
            }
            if rest != 0 {
                let one = |element: usize| i16::from(element < rest);
                let [a, b, c] = [one(0), one(1), one(2)];
                step(steps * KR, i16x8(a, b, c, 0, a, b, c, 0));
            }
        }
        for m in 0..M {
            let mut whole = [i32x4_splat(0); V];
            for (v, whole) in whole.iter_mut().enumerate() {
                let [low, high] = sums[m][v];
                let even = i32x4_shuffle::<0, 2, 4, 6>(low, high);
                let odd = i32x4_shuffle::<1, 3, 5, 7>(low, high);
                // SAFETY: the panel has `NR` biases.
                let bias = unsafe { v128_load(block.bias.as_ptr().add(panel * NR + column + v * LANES).cast()) };
                *whole = i32x4_add(bias, i32x4_add(even, odd));
                if R {
                    let total = i32x4_extract_lane::<0>(totals[m]).wrapping_add(i32x4_extract_lane::<1>(totals[m]));
                    *whole = i32x4_add(*whole, i32x4_splat(total.wrapping_mul(block.weight_offset)));
                }
            }
            // SAFETY: the caller's.
            unsafe { store(block, (panel, column, first + m), whole, output) };
        }
    }
}

#[cfg(target_feature = "relaxed-simd")]
litesmith_simd::relaxed_simd! {
    /// One row and a panel at a time: 8 sums in flight hide the latency, and weights come from the first cache.
    ///
    /// The dot product takes one operand of 7 bits without a sign; with the eighth, engines differ. So an unsigned activation `x`
    /// is `2 (x >> 1) + (x & 1)`, which takes two of them. The sum of two products is at most 2 * 127 * 128, so none saturates.
    ///
    /// # Safety
    /// The bounds of the block are checked.
    pub(super) unsafe fn relaxed(block: &Block<'_>, output: &mut Output<'_>) {
        for panel in 0..block.bias.len() / NR {
            for row in 0..block.rows.len() {
                // SAFETY: the caller's.
                unsafe {
                    if block.weight_offset == 0 {
                        relaxed_row::<false>(block, panel, row, output);
                    } else {
                        relaxed_row::<true>(block, panel, row, output);
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`relaxed`]; the block has the panel and the row.
    #[inline]
    unsafe fn relaxed_row<const R: bool>(block: &Block<'_>, panel: usize, row: usize, output: &mut Output<'_>) {
        const V: usize = NR / LANES;
        let (steps, rest) = block.steps();
        let flip = u8x16_splat(block.flip);
        let split = |x: v128| {
            let x = v128_xor(x, flip);
            (u8x16_shr(x, 1), v128_and(x, u8x16_splat(1)))
        };
        let (mut high, mut low) = ([i32x4_splat(0); V], [i32x4_splat(0); V]);
        let (mut total_high, mut total_low) = (i32x4_splat(0), i32x4_splat(0));
        // SAFETY: the block has the panel.
        let mut weights = unsafe { block.weights.as_ptr().add(panel * block.panel_len) };
        for &segment in block.segments {
            // SAFETY: the caller's.
            let [at]: [*const u8; 1] = unsafe { starts(block, row, segment) };
            let mut step = |x: v128, bit: v128, ones: v128| {
                for v in 0..V {
                    // SAFETY: the weights have `STEP` bytes for each step, and one for a rest.
                    let w = unsafe { v128_load(weights.add(v * LANES * KR).cast()) };
                    high[v] = i32x4_relaxed_dot_i8x16_i7x16_add(w, x, high[v]);
                    low[v] = i32x4_relaxed_dot_i8x16_i7x16_add(w, bit, low[v]);
                }
                weights = weights.wrapping_add(STEP);
                if R {
                    total_high = i32x4_relaxed_dot_i8x16_i7x16_add(ones, x, total_high);
                    total_low = i32x4_relaxed_dot_i8x16_i7x16_add(ones, bit, total_low);
                }
            };
            let all = u8x16_splat(1);
            for four in 0..steps / 4 {
                // SAFETY: a segment has `steps * KR` bytes.
                let (x, bit) = split(unsafe { v128_load(at.add(four * 4 * KR).cast()) });
                step(i32x4_shuffle::<0, 0, 0, 0>(x, x), i32x4_shuffle::<0, 0, 0, 0>(bit, bit), all);
                step(i32x4_shuffle::<1, 1, 1, 1>(x, x), i32x4_shuffle::<1, 1, 1, 1>(bit, bit), all);
                step(i32x4_shuffle::<2, 2, 2, 2>(x, x), i32x4_shuffle::<2, 2, 2, 2>(bit, bit), all);
                step(i32x4_shuffle::<3, 3, 3, 3>(x, x), i32x4_shuffle::<3, 3, 3, 3>(bit, bit), all);
            }
            for done in steps / 4 * 4..steps {
                // SAFETY: as above.
                let (x, bit) = split(unsafe { v128_load32_splat(at.add(done * KR).cast()) });
                step(x, bit, all);
            }
            if rest != 0 {
                // SAFETY: there is slack for a rest.
                let (x, bit) = split(unsafe { v128_load32_splat(at.add(steps * KR).cast()) });
                step(x, bit, i32x4_splat(0x0001_0101 & ((1 << (8 * rest)) - 1)));
            }
        }
        let mut sums = [i32x4_splat(0); V];
        for (v, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the panel has `NR` biases.
            let bias = unsafe { v128_load(block.bias.as_ptr().add(panel * NR + v * LANES).cast()) };
            *sums = i32x4_add(i32x4_add(bias, low[v]), i32x4_shl(high[v], 1));
            if R {
                let total = i32x4_add(total_low, i32x4_shl(total_high, 1));
                *sums = i32x4_add(*sums, i32x4_mul(total, i32x4_splat(block.weight_offset)));
            }
        }
        // SAFETY: the caller's.
        unsafe { store(block, (panel, 0, row), sums, output) };
    }
}

//! The depthwise kernels of WebAssembly. All take a [`Row`] whose bounds `ByteDepthwise::multiply` has checked.

use super::bytes::{BLOCK, Output, Row, TAPS};
use crate::byte_output::wasm32::Registers;
use std::arch::wasm32::*;

/// Channels that a vector of bytes holds: a quarter of a block.
const QUARTER: usize = 16;
/// Channels of a vector of sums.
const LANES: usize = 4;

/// Interleaves four vectors of bytes: `q[i]` holds bytes `4 i` to `4 i + 3` of each, side by side.
#[inline(always)]
fn interleave([a, b, c, d]: [v128; TAPS]) -> [v128; 4] {
    let low = |a, b| i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(a, b);
    let high = |a, b| i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(a, b);
    let low_16 = |a, b| i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b);
    let high_16 = |a, b| i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b);
    let (low_ab, high_ab, low_cd, high_cd) = (low(a, b), high(a, b), low(c, d), high(c, d));
    [low_16(low_ab, low_cd), high_16(low_ab, low_cd), low_16(high_ab, high_cd), high_16(high_ab, high_cd)]
}

/// Quarters of blocks one after another; `sums(input, block, slot)` are those of the channels whose first slot is `slot` of
/// the block, and whose first tap is at `input`.
///
/// # Safety
/// The bounds of the row are checked.
#[inline(always)]
unsafe fn quarters(
    row: &Row<'_>,
    run: usize,
    first: usize,
    output: &mut Output<'_>,
    sums: impl Fn(*const u8, usize, usize) -> [v128; 4],
) {
    let mut input = row.input.as_ptr();
    for done in (0..output.len()).step_by(run) {
        for at in (0..run).step_by(QUARTER) {
            let position = first * BLOCK + at;
            let (block, slot) = (position / BLOCK % row.blocks, position % BLOCK / QUARTER * LANES);
            // SAFETY: a row has all taps of whole blocks.
            let sums = sums(unsafe { input.add(position) }, block, slot);
            match output {
                Output::Sums(out) => {
                    for (q, sums) in sums.into_iter().enumerate() {
                        // SAFETY: `out` holds whole blocks.
                        unsafe {
                            let out = out.as_mut_ptr().add((done + at) / BLOCK * BLOCK + q * QUARTER + slot);
                            v128_store(out.cast(), sums);
                        }
                    }
                }
                Output::Bytes { out, scales, range } => {
                    let range = Registers::new(*range);
                    let mut rounded = sums;
                    for (q, sums) in rounded.iter_mut().enumerate() {
                        // SAFETY: the plan made scales for every block.
                        let scales =
                            unsafe { v128_load(scales.as_ptr().add(block * BLOCK + q * QUARTER + slot).cast()) };
                        *sums = range.round(*sums, scales);
                    }
                    let bytes = range.pack(rounded);
                    let left = run - at;
                    // SAFETY: only what is left of the run is written.
                    unsafe {
                        let out = out.as_mut_ptr().add(done + at);
                        if left >= QUARTER {
                            v128_store(out.cast(), bytes);
                        } else {
                            let mut whole = [0u8; QUARTER];
                            v128_store(whole.as_mut_ptr().cast(), bytes);
                            out.copy_from_nonoverlapping(whole.as_ptr(), left);
                        }
                    }
                }
            }
        }
        input = input.wrapping_add(row.step);
    }
}

/// The biases of a quarter.
///
/// # Safety
/// The plan made biases for the block.
#[inline(always)]
unsafe fn biases(row: &Row<'_>, block: usize, slot: usize) -> [v128; 4] {
    // SAFETY: the caller's.
    [0, 1, 2, 3].map(|q| unsafe { v128_load(row.bias.as_ptr().add(block * BLOCK + q * QUARTER + slot).cast()) })
}

/// The weights of a group for a quarter: those of its vector `q` are `q * QUARTER * TAPS` bytes on.
#[inline(always)]
fn weights(row: &Row<'_>, block: usize, group: usize, slot: usize) -> *const i8 {
    row.weights.as_ptr().wrapping_add(((block * row.groups() + group) * BLOCK + slot) * TAPS)
}

litesmith_simd::simd128! {
    /// # Safety
    /// The bounds of the row are checked.
    pub(super) unsafe fn simd128(row: &Row<'_>, run: usize, first: usize, output: &mut Output<'_>) {
        // SAFETY: the caller's.
        unsafe {
            if row.weight_offset == 0 {
                quarters(row, run, first, output, |input, block, slot| dot_16::<false>(row, input, block, slot));
            } else {
                quarters(row, run, first, output, |input, block, slot| dot_16::<true>(row, input, block, slot));
            }
        }
    }

    /// Products of 16-bit integers, summed in pairs of taps.
    ///
    /// # Safety
    /// As [`simd128`]; the taps lie in the input, and the plan has the block.
    #[inline]
    unsafe fn dot_16<const R: bool>(row: &Row<'_>, input: *const u8, block: usize, slot: usize) -> [v128; 4] {
        let mut sums = [[i32x4_splat(0); 2]; 4];
        let mut totals = sums;
        for (group, taps) in row.taps.as_chunks::<TAPS>().0.iter().enumerate() {
            // SAFETY: the caller's.
            let x = interleave(taps.map(|tap| unsafe { v128_load(input.add(tap).cast()) }));
            let weights = weights(row, block, group, slot);
            let ones = i16x8_extend_low_i8x16(i32x4_splat(row.ones[group]));
            for q in 0..4 {
                let x = [i16x8_extend_low_i8x16(x[q]), i16x8_extend_high_i8x16(x[q])];
                for half in 0..2 {
                    // SAFETY: the plan made weights for every block.
                    let w = unsafe { i16x8_load_extend_i8x8(weights.add(q * QUARTER * TAPS + half * 8)) };
                    sums[q][half] = i32x4_add(sums[q][half], i32x4_dot_i16x8(x[half], w));
                    if R {
                        totals[q][half] = i32x4_add(totals[q][half], i32x4_dot_i16x8(x[half], ones));
                    }
                }
            }
        }
        let pairs = |[low, high]: [v128; 2]| {
            i32x4_add(i32x4_shuffle::<0, 2, 4, 6>(low, high), i32x4_shuffle::<1, 3, 5, 7>(low, high))
        };
        // SAFETY: the caller's.
        let mut whole = unsafe { biases(row, block, slot) };
        for q in 0..4 {
            whole[q] = i32x4_add(whole[q], pairs(sums[q]));
            if R {
                whole[q] = i32x4_add(whole[q], i32x4_mul(pairs(totals[q]), i32x4_splat(row.weight_offset)));
            }
        }
        whole
    }
}

#[cfg(target_feature = "relaxed-simd")]
litesmith_simd::relaxed_simd! {
    /// # Safety
    /// The bounds of the row are checked.
    pub(super) unsafe fn relaxed(row: &Row<'_>, run: usize, first: usize, output: &mut Output<'_>) {
        // SAFETY: the caller's.
        unsafe {
            if row.weight_offset == 0 {
                quarters(row, run, first, output, |input, block, slot| dot_7::<false>(row, input, block, slot));
            } else {
                quarters(row, run, first, output, |input, block, slot| dot_7::<true>(row, input, block, slot));
            }
        }
    }

    /// Products of bytes, the activations' upper seven bits and the last one apart: see `byte_gemm` for why.
    ///
    /// # Safety
    /// As [`relaxed`]; the taps lie in the input, and the plan has the block.
    #[inline]
    unsafe fn dot_7<const R: bool>(row: &Row<'_>, input: *const u8, block: usize, slot: usize) -> [v128; 4] {
        let (mut high, mut low) = ([i32x4_splat(0); 4], [i32x4_splat(0); 4]);
        let (mut totals_high, mut totals_low) = (high, low);
        for (group, taps) in row.taps.as_chunks::<TAPS>().0.iter().enumerate() {
            // SAFETY: the caller's.
            let x = interleave(taps.map(|tap| unsafe { v128_load(input.add(tap).cast()) }));
            let weights = weights(row, block, group, slot);
            let ones = i32x4_splat(row.ones[group]);
            for q in 0..4 {
                let (bits, last) = (u8x16_shr(x[q], 1), v128_and(x[q], u8x16_splat(1)));
                // SAFETY: the plan made weights for every block.
                let w = unsafe { v128_load(weights.add(q * QUARTER * TAPS).cast()) };
                high[q] = i32x4_relaxed_dot_i8x16_i7x16_add(w, bits, high[q]);
                low[q] = i32x4_relaxed_dot_i8x16_i7x16_add(w, last, low[q]);
                if R {
                    totals_high[q] = i32x4_relaxed_dot_i8x16_i7x16_add(ones, bits, totals_high[q]);
                    totals_low[q] = i32x4_relaxed_dot_i8x16_i7x16_add(ones, last, totals_low[q]);
                }
            }
        }
        // SAFETY: the caller's.
        let mut whole = unsafe { biases(row, block, slot) };
        for q in 0..4 {
            whole[q] = i32x4_add(whole[q], i32x4_add(low[q], i32x4_shl(high[q], 1)));
            if R {
                let totals = i32x4_add(totals_low[q], i32x4_shl(totals_high[q], 1));
                whole[q] = i32x4_add(whole[q], i32x4_mul(totals, i32x4_splat(row.weight_offset)));
            }
        }
        whole
    }
}

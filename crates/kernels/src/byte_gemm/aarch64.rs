//! The tiles of AArch64. All take a [`Block`] whose bounds [`super::Packed::multiply`] has checked, and read activations
//! as signed bytes.

use super::{Block, COLUMNS_MAX, KR, NR, Output};
use crate::byte_output::aarch64::Registers;
use litesmith_simd::aarch64::bytes::{dot_lane, matrix_product};
use std::arch::aarch64::*;

/// Columns of a vector of sums.
const LANES: usize = 4;
/// Weights of a panel and step.
const STEP: usize = NR * KR;

/// The four bytes at `at`, in every lane.
///
/// # Safety
/// They must be readable.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn four(at: *const u8) -> int8x16_t {
    // SAFETY: the caller's.
    vreinterpretq_s8_u32(vdupq_n_u32(unsafe { at.cast::<u32>().read_unaligned() }))
}

/// Vector `vector` of the weights of a step.
///
/// # Safety
/// The step is one of the block's.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load(step: *const i8, vector: usize) -> int8x16_t {
    // SAFETY: a step has `NR / LANES` vectors.
    unsafe { vld1q_s8(step.add(vector * LANES * KR)) }
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

/// Products of 8 bits, summed in pairs in 16 bits.
///
/// # Safety
/// The bounds of the block are checked; no weight is -128.
#[target_feature(enable = "neon")]
pub(super) unsafe fn neon_pairs(block: &Block<'_>, output: &mut Output<'_>) {
    for panel in 0..block.bias.len() / NR {
        // SAFETY: the caller's; the block has the panel.
        unsafe { neon_pairs_panel(block, panel, output) }
    }
}

/// Products of 8 bits.
///
/// # Safety
/// The bounds of the block are checked.
#[target_feature(enable = "neon")]
pub(super) unsafe fn neon(block: &Block<'_>, output: &mut Output<'_>) {
    for panel in 0..block.bias.len() / NR {
        // SAFETY: the caller's; the block has the panel.
        unsafe { neon_panel(block, panel, output) }
    }
}

/// # Safety
/// The CPU has the dot product; the bounds of the block are checked.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn dotprod(block: &Block<'_>, output: &mut Output<'_>) {
    for panel in 0..block.bias.len() / NR {
        // SAFETY: the caller's; the block has the panel.
        unsafe {
            if block.flip == 0 {
                dotprod_panel::<false>(block, panel, output);
            } else {
                dotprod_panel::<true>(block, panel, output);
            }
        }
    }
}

/// # Safety
/// The CPU has the matrix product; the bounds of the block are checked.
#[target_feature(enable = "neon,dotprod,i8mm")]
pub(super) unsafe fn i8mm(block: &Block<'_>, output: &mut Output<'_>) {
    for panel in 0..block.bias.len() / NR {
        // SAFETY: the caller's; the block has the panel.
        unsafe {
            if block.flip == 0 {
                i8mm_panel::<false>(block, panel, output);
            } else {
                i8mm_panel::<true>(block, panel, output);
            }
        }
    }
}

/// # Safety
/// As [`neon_pairs`]; the block has the panel.
#[target_feature(enable = "neon")]
unsafe fn neon_pairs_panel(block: &Block<'_>, panel: usize, output: &mut Output<'_>) {
    if block.rows.len() == 1 {
        // SAFETY: the caller's.
        return unsafe { neon_tile::<1, 4, true>(block, panel, 0, 0, output) };
    }
    for half in [0, 2] {
        each_tile!(block, 4 [1 2 3 4], |first, M| neon_tile::<M, 2, true>(block, panel, half, first, output));
    }
}

/// # Safety
/// As [`neon`]; the block has the panel.
#[target_feature(enable = "neon")]
unsafe fn neon_panel(block: &Block<'_>, panel: usize, output: &mut Output<'_>) {
    for half in [0, 2] {
        each_tile!(block, 4 [1 2 3 4], |first, M| neon_tile::<M, 2, false>(block, panel, half, first, output));
    }
}

/// # Safety
/// As [`dotprod`]; the block has the panel.
#[target_feature(enable = "neon,dotprod")]
unsafe fn dotprod_panel<const FLIP: bool>(block: &Block<'_>, panel: usize, output: &mut Output<'_>) {
    if block.rows.len() <= 4 {
        each_tile!(block, 4 [1 2 3 4], |first, M| dotprod_tile::<M, 4, FLIP>(block, panel, 0, first, output));
        return;
    }
    for half in [0, 2] {
        each_tile!(block, 8 [1 2 3 4 5 6 7 8], |first, M| dotprod_tile::<M, 2, FLIP>(block, panel, half, first, output));
    }
}

/// # Safety
/// As [`i8mm`]; the block has the panel.
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn i8mm_panel<const FLIP: bool>(block: &Block<'_>, panel: usize, output: &mut Output<'_>) {
    if block.rows.len() <= 4 {
        each_tile!(block, 4 [1 2 3 4], |first, M| {
            i8mm_tile::<M, { M.div_ceil(2) }, 4, FLIP>(block, panel, 0, first, output);
        });
        return;
    }
    for half in [0, 2] {
        each_tile!(block, 8 [1 2 3 4 5 6 7 8], |first, M| {
            i8mm_tile::<M, { M.div_ceil(2) }, 2, FLIP>(block, panel, half, first, output);
        });
    }
}

/// `M` rows from `first` on of `V` vectors of a panel from `vector` on; 16 registers of sums for 4 rows and 2 vectors.
///
/// With `PAIRS` a lane of 16 bits holds two products, at most `2 * 128 * 127` as no weight is -128.
///
/// # Safety
/// As [`neon`], with `PAIRS` as [`neon_pairs`]; the block has these rows and vectors.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn neon_tile<const M: usize, const V: usize, const PAIRS: bool>(
    block: &Block<'_>,
    panel: usize,
    vector: usize,
    first: usize,
    output: &mut Output<'_>,
) {
    let steps = block.segment_len.div_ceil(KR);
    let flip = vdupq_n_s8(block.flip as i8);
    // The two halves of a column's elements apart.
    let mut sums = [[[vdupq_n_s32(0); 2]; V]; M];
    // SAFETY: the block has the panel.
    let mut weights = unsafe { block.weights.as_ptr().add(panel * block.panel_len) };
    for &segment in block.segments {
        let mut at: [*const u8; M] = [block.input.as_ptr(); M];
        for (m, at) in at.iter_mut().enumerate() {
            // SAFETY: each segment of each row lies in the input.
            *at = unsafe { at.add(*block.rows.get_unchecked(first + m) + segment) };
        }
        let mut step = 0;
        while PAIRS && step + 2 <= steps {
            // SAFETY: the weights have `steps` steps a segment and panel; a row has as many, with slack for a rest.
            unsafe {
                let mut w = [[vdupq_n_s8(0); 2]; V];
                for (v, w) in w.iter_mut().enumerate() {
                    *w = [load(weights, vector + v), load(weights.add(STEP), vector + v)];
                }
                weights = weights.add(2 * STEP);
                for m in 0..M {
                    let x =
                        [veorq_s8(four(at[m].add(step * KR)), flip), veorq_s8(four(at[m].add((step + 1) * KR)), flip)];
                    for v in 0..V {
                        let low = vmull_s8(vget_low_s8(w[v][0]), vget_low_s8(x[0]));
                        let low = vmlal_s8(low, vget_low_s8(w[v][1]), vget_low_s8(x[1]));
                        let high = vmlal_high_s8(vmull_high_s8(w[v][0], x[0]), w[v][1], x[1]);
                        sums[m][v] = [vpadalq_s16(sums[m][v][0], low), vpadalq_s16(sums[m][v][1], high)];
                    }
                }
            }
            step += 2;
        }
        while step < steps {
            // SAFETY: as above.
            unsafe {
                for m in 0..M {
                    let x = veorq_s8(four(at[m].add(step * KR)), flip);
                    for v in 0..V {
                        let w = load(weights, vector + v);
                        let low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
                        let high = vmull_high_s8(w, x);
                        sums[m][v] = [vpadalq_s16(sums[m][v][0], low), vpadalq_s16(sums[m][v][1], high)];
                    }
                }
                weights = weights.add(STEP);
            }
            step += 1;
        }
    }
    let mut rows = [[0; NR]; M];
    for m in 0..M {
        for v in 0..V {
            let [low, high] = sums[m][v];
            put(&mut rows[m], v, vpaddq_s32(low, high));
        }
    }
    // SAFETY: the caller's.
    unsafe { finish(block, panel, vector, V, first, &rows, output) }
}

/// `M` rows from `first` on of `V` vectors of a panel from `vector` on: 8 rows of 2 vectors are 16 registers of sums, which
/// hide the latency of two pipes, 8 of activations and 2 of weights.
///
/// # Safety
/// As [`dotprod`]; the block has these rows and vectors.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn dotprod_tile<const M: usize, const V: usize, const FLIP: bool>(
    block: &Block<'_>,
    panel: usize,
    vector: usize,
    first: usize,
    output: &mut Output<'_>,
) {
    /// Steps of a register of activations.
    const WIDE: usize = 4;
    let steps = block.segment_len.div_ceil(KR);
    let flip = vdupq_n_s8(block.flip as i8);
    let mut sums = [[vdupq_n_s32(0); V]; M];
    // SAFETY: the block has the panel.
    let mut weights = unsafe { block.weights.as_ptr().add(panel * block.panel_len) };
    for &segment in block.segments {
        let mut at: [*const u8; M] = [block.input.as_ptr(); M];
        for (m, at) in at.iter_mut().enumerate() {
            // SAFETY: each segment of each row lies in the input.
            *at = unsafe { at.add(*block.rows.get_unchecked(first + m) + segment) };
        }
        // The lane is part of the instruction.
        macro_rules! step {
            ($x:ident $lane:literal) => {
                for v in 0..V {
                    // SAFETY: the weights have `steps` steps a segment and panel.
                    let w = unsafe { load(weights, vector + v) };
                    for m in 0..M {
                        sums[m][v] = dot_lane::<$lane>(sums[m][v], w, $x[m]);
                    }
                }
                // SAFETY: as above; at most one past the end.
                weights = unsafe { weights.add(STEP) };
            };
        }
        let mut x = [vdupq_n_s8(0); M];
        let mut step = 0;
        while step + WIDE <= steps {
            for m in 0..M {
                // SAFETY: a row has `steps` steps, with slack for a rest.
                let wide = unsafe { vld1q_s8(at[m].add(step * KR).cast()) };
                x[m] = if FLIP { veorq_s8(wide, flip) } else { wide };
            }
            step!(x 0);
            step!(x 1);
            step!(x 2);
            step!(x 3);
            step += WIDE;
        }
        while step < steps {
            for m in 0..M {
                // SAFETY: as above.
                let one = unsafe { four(at[m].add(step * KR)) };
                x[m] = if FLIP { veorq_s8(one, flip) } else { one };
            }
            step!(x 0);
            step += 1;
        }
    }
    let mut rows = [[0; NR]; M];
    for m in 0..M {
        for v in 0..V {
            put(&mut rows[m], v, sums[m][v]);
        }
    }
    // SAFETY: the caller's.
    unsafe { finish(block, panel, vector, V, first, &rows, output) }
}

/// `M` rows from `first` on, as `P` pairs, of `V` vectors of a panel from `vector` on: 4 pairs of 2 vectors are 16 registers
/// of sums, 4 of activations and 4 of weights. Weights are packed for the dot product; one zip makes two columns of 8
/// elements of them.
///
/// # Safety
/// As [`i8mm`]; the block has these rows and vectors.
#[inline]
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn i8mm_tile<const M: usize, const P: usize, const V: usize, const FLIP: bool>(
    block: &Block<'_>,
    panel: usize,
    vector: usize,
    first: usize,
    output: &mut Output<'_>,
) {
    let steps = block.segment_len.div_ceil(KR);
    let flip = vdupq_n_u8(block.flip);
    // Of two rows and columns.
    let mut sums = [[[vdupq_n_s32(0); 2]; V]; P];
    // SAFETY: the block has the panel.
    let mut weights = unsafe { block.weights.as_ptr().add(panel * block.panel_len) };
    for &segment in block.segments {
        let mut at: [[*const u8; 2]; P] = [[block.input.as_ptr(); 2]; P];
        for (m, at) in at.as_flattened_mut().iter_mut().enumerate() {
            // SAFETY: each segment of each row lies in the input; the last row stands in for one that is not there.
            *at = unsafe { at.add(*block.rows.get_unchecked(first + m.min(M - 1)) + segment) };
        }
        // Both steps of a pair, or a last one beside zeros.
        macro_rules! pair {
            ($row:expr, $weights:expr) => {
                let mut x = [vdupq_n_s8(0); P];
                for p in 0..P {
                    // SAFETY: a row has `steps` steps, with slack for a rest.
                    let rows = unsafe { vcombine_u8($row(at[p][0]), $row(at[p][1])) };
                    x[p] = vreinterpretq_s8_u8(if FLIP { veorq_u8(rows, flip) } else { rows });
                }
                for v in 0..V {
                    // SAFETY: the weights have `steps` steps a segment and panel.
                    let (a, b) =
                        unsafe { (vreinterpretq_s32_s8(load(weights, vector + v)), vreinterpretq_s32_s8($weights(v))) };
                    let w = [vreinterpretq_s8_s32(vzip1q_s32(a, b)), vreinterpretq_s8_s32(vzip2q_s32(a, b))];
                    for p in 0..P {
                        sums[p][v][0] = matrix_product(sums[p][v][0], x[p], w[0]);
                        sums[p][v][1] = matrix_product(sums[p][v][1], x[p], w[1]);
                    }
                }
            };
        }
        let mut step = 0;
        while step + 2 <= steps {
            pair!(|at: *const u8| vld1_u8(at.add(step * KR)), |v| load(weights.add(STEP), vector + v));
            // SAFETY: as above; at most one past the end.
            weights = unsafe { weights.add(2 * STEP) };
            step += 2;
        }
        if step < steps {
            pair!(|at: *const u8| vget_low_u8(vreinterpretq_u8_s8(four(at.add(step * KR)))), |_| vdupq_n_s8(0));
            // SAFETY: as above.
            weights = unsafe { weights.add(STEP) };
        }
    }
    let mut rows = [[0; NR]; M];
    for m in 0..M {
        for v in 0..V {
            let [a, b] = sums[m / 2][v];
            let (a, b) = (vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b));
            let row = if m % 2 == 0 { vzip1q_s64(a, b) } else { vzip2q_s64(a, b) };
            put(&mut rows[m], v, vreinterpretq_s32_s64(row));
        }
    }
    // SAFETY: the caller's.
    unsafe { finish(block, panel, vector, V, first, &rows, output) }
}

/// Stores vector `v` of a row of sums.
#[inline]
#[target_feature(enable = "neon")]
fn put(row: &mut [i32; NR], v: usize, sums: int32x4_t) {
    if let Some(to) = row.as_chunks_mut::<LANES>().0.get_mut(v) {
        // SAFETY: `to` is a reference to as many sums as are written.
        unsafe { vst1q_s32(to.as_mut_ptr(), sums) };
    }
}

/// Adds what does not depend on the products to the sums of the rows from `first` on and of `vectors` vectors, 2 or 4, of a
/// panel from `vector` on, and stores them. Not part of the tiles: sums whose address is taken would not stay in registers
/// there, and one copy serves all.
///
/// # Safety
/// The bounds of the block are checked; it has these rows and vectors.
#[inline(never)]
#[target_feature(enable = "neon")]
unsafe fn finish(
    block: &Block<'_>,
    panel: usize,
    vector: usize,
    vectors: usize,
    first: usize,
    rows: &[[i32; NR]],
    output: &mut Output<'_>,
) {
    let column = panel * NR + vector * LANES;
    for from in (0..vectors).step_by(2) {
        let column = column + from * LANES;
        let columns = block.columns.saturating_sub(column).min(2 * LANES);
        // SAFETY: the panel has `NR` biases.
        let bias = [0, LANES].map(|at| unsafe { vld1q_s32(block.bias.as_ptr().add(column + at)) });
        let sums = |m: usize| {
            let offset = block.totals.get(first + m).map_or(0, |total| total.wrapping_mul(block.weight_offset));
            let offset = vdupq_n_s32(offset);
            // SAFETY: a row has `NR` sums, and `vectors` are at most as many.
            let sums = [0, 1].map(|v| unsafe { vld1q_s32(rows[m].as_ptr().add((from + v) * LANES)) });
            [vaddq_s32(vaddq_s32(sums[0], bias[0]), offset), vaddq_s32(vaddq_s32(sums[1], bias[1]), offset)]
        };
        match output {
            Output::Sums(out) => {
                for m in 0..rows.len() {
                    let sums = sums(m);
                    // SAFETY: a row has `COLUMNS_MAX` sums, and the panel is one of at most as many columns.
                    unsafe {
                        let out = out.as_mut_ptr().add((first + m) * COLUMNS_MAX + column);
                        vst1q_s32(out, sums[0]);
                        vst1q_s32(out.add(LANES), sums[1]);
                    }
                }
            }
            Output::Bytes { out, stride, requantize } => {
                let range = Registers::new(requantize.range);
                let scales = [0, LANES].map(|at| {
                    // SAFETY: scales are padded to whole panels.
                    unsafe { vld1q_f32(requantize.scales.as_ptr().add(block.first_column + column + at)) }
                });
                for m in 0..rows.len() {
                    let bytes = range.bytes(sums(m), scales);
                    // SAFETY: `columns` of the row are the block's to write, and no more are written.
                    unsafe {
                        let out = out.as_mut_ptr().add((first + m) * *stride + column);
                        if columns == 2 * LANES {
                            vst1_u8(out, bytes);
                        } else if columns > 0 {
                            let mut whole = [0u8; 2 * LANES];
                            vst1_u8(whole.as_mut_ptr(), bytes);
                            out.copy_from_nonoverlapping(whole.as_ptr(), columns);
                        }
                    }
                }
            }
        }
    }
}

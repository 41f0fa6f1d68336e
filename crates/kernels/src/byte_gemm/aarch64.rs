//! The tiles of AArch64. All take a [`Block`] whose bounds [`super::Packed::multiply`] has checked, and read activations
//! as signed bytes.

use super::{Block, COLUMNS_MAX, KR, NR, Output};
use crate::byte_output::aarch64::Registers;
use litesmith_simd::aarch64::bytes::{dot_lane, matrix_product};
use std::arch::aarch64::*;

/// Columns of a vector of sums.
const LANES: usize = 4;
/// Vectors of sums of a panel.
const VECTORS: usize = NR / LANES;
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
    // SAFETY: a step has `VECTORS` vectors.
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

/// Defines the entry of an instruction set, which chooses between tiles that flip the sign of activations and tiles that do
/// not.
macro_rules! entry {
    ($(#[$doc:meta])* $name:ident $features:literal $panel:ident) => {
        $(#[$doc])*
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name(block: &Block<'_>, output: &mut Output<'_>) {
            for panel in 0..block.bias.len() / NR {
                if block.flip == 0 {
                    // SAFETY: the caller's; the block has the panel.
                    unsafe { $panel::<false>(block, panel, output) }
                } else {
                    // SAFETY: as above.
                    unsafe { $panel::<true>(block, panel, output) }
                }
            }
        }
    };
}

entry! {
    /// Products of 8 bits, summed in pairs in 16 bits.
    ///
    /// # Safety
    /// The bounds of the block are checked; no weight is -128.
    neon_pairs "neon" neon_pairs_panel
}
entry! {
    /// Products of 8 bits.
    ///
    /// # Safety
    /// The bounds of the block are checked.
    neon "neon" neon_panel
}
entry! {
    /// # Safety
    /// The CPU has the dot product; the bounds of the block are checked.
    dotprod "neon,dotprod" dotprod_panel
}
entry! {
    /// # Safety
    /// The CPU has the matrix product; the bounds of the block are checked.
    i8mm "neon,dotprod,i8mm" i8mm_panel
}

/// # Safety
/// As [`neon_pairs`]; the block has the panel.
#[target_feature(enable = "neon")]
unsafe fn neon_pairs_panel<const FLIP: bool>(block: &Block<'_>, panel: usize, output: &mut Output<'_>) {
    if block.rows.len() == 1 {
        // SAFETY: the caller's.
        return unsafe { neon_tile::<1, 4, FLIP, true>(block, panel, 0, 0, output) };
    }
    for half in [0, 2] {
        each_tile!(block, 4 [1 2 3 4], |first, M| neon_tile::<M, 2, FLIP, true>(block, panel, half, first, output));
    }
}

/// # Safety
/// As [`neon`]; the block has the panel.
#[target_feature(enable = "neon")]
unsafe fn neon_panel<const FLIP: bool>(block: &Block<'_>, panel: usize, output: &mut Output<'_>) {
    for half in [0, 2] {
        each_tile!(block, 4 [1 2 3 4], |first, M| neon_tile::<M, 2, FLIP, false>(block, panel, half, first, output));
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
    each_tile!(block, 6 [1 2 3 4 5 6], |first, M| i8mm_tile::<M, { M.div_ceil(2) }, FLIP>(block, panel, first, output));
}

/// `M` rows from `first` on of `V` vectors of a panel from `vector` on; 16 registers of sums for 4 rows and 2 vectors.
///
/// With `PAIRS` a lane of 16 bits holds two products, at most `2 * 128 * 127` as no weight is -128.
///
/// # Safety
/// As [`neon`], with `PAIRS` as [`neon_pairs`]; the block has these rows and vectors.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn neon_tile<const M: usize, const V: usize, const FLIP: bool, const PAIRS: bool>(
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
                    let x = [four(at[m].add(step * KR)), four(at[m].add((step + 1) * KR))];
                    let x = if FLIP { x.map(|x| veorq_s8(x, flip)) } else { x };
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
                    let x = four(at[m].add(step * KR));
                    let x = if FLIP { veorq_s8(x, flip) } else { x };
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
    let sums = sums.map(|sums| sums.map(|[low, high]| vpaddq_s32(low, high)));
    // SAFETY: the caller's.
    unsafe { finish(block, panel, vector, first, &sums, output) }
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
    // SAFETY: the caller's.
    unsafe { finish(block, panel, vector, first, &sums, output) }
}

/// `M` rows from `first` on of a panel, as `P` pairs: 3 pairs are 24 registers of sums, 3 of activations and 4 of weights.
/// Weights are packed for the dot product; one zip makes two columns of 8 elements of them.
///
/// # Safety
/// As [`i8mm`]; the block has these rows.
#[inline]
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn i8mm_tile<const M: usize, const P: usize, const FLIP: bool>(
    block: &Block<'_>,
    panel: usize,
    first: usize,
    output: &mut Output<'_>,
) {
    let steps = block.segment_len.div_ceil(KR);
    let flip = vdup_n_u8(block.flip);
    // Of two rows and columns.
    let mut sums = [[[vdupq_n_s32(0); 2]; VECTORS]; P];
    // SAFETY: the block has the panel.
    let mut weights = unsafe { block.weights.as_ptr().add(panel * block.panel_len) };
    for &segment in block.segments {
        let mut at: [[*const u8; 2]; P] = [[block.input.as_ptr(); 2]; P];
        for (m, at) in at.as_flattened_mut().iter_mut().enumerate() {
            // SAFETY: each segment of each row lies in the input; the last row stands in for one that is not there.
            *at = unsafe { at.add(*block.rows.get_unchecked(first + m.min(M - 1)) + segment) };
        }
        let mut step = 0;
        while step < steps {
            let both = step + 2 <= steps;
            let mut x = [vdupq_n_s8(0); P];
            for (x, at) in x.iter_mut().zip(&at) {
                let rows = at.map(|at| {
                    // SAFETY: a row has `steps` steps, with slack for a rest.
                    let row = unsafe {
                        let at = at.add(step * KR);
                        if both { vld1_u8(at) } else { vcreate_u8(at.cast::<u32>().read_unaligned().into()) }
                    };
                    if FLIP { veor_u8(row, flip) } else { row }
                });
                *x = vreinterpretq_s8_u8(vcombine_u8(rows[0], rows[1]));
            }
            for v in 0..VECTORS {
                // SAFETY: the weights have `steps` steps a segment and panel.
                let w = unsafe {
                    let second = if both { load(weights.add(STEP), v) } else { vdupq_n_s8(0) };
                    [load(weights, v), second].map(|w| vreinterpretq_s32_s8(w))
                };
                let w = [vzip1q_s32(w[0], w[1]), vzip2q_s32(w[0], w[1])].map(|w| vreinterpretq_s8_s32(w));
                for p in 0..P {
                    for c in 0..2 {
                        sums[p][v][c] = matrix_product(sums[p][v][c], x[p], w[c]);
                    }
                }
            }
            // SAFETY: as above; at most one past the end.
            weights = unsafe { weights.add(if both { 2 * STEP } else { STEP }) };
            step += 2;
        }
    }
    let mut rows = [[vdupq_n_s32(0); VECTORS]; M];
    for (m, row) in rows.iter_mut().enumerate() {
        for (row, sums) in row.iter_mut().zip(&sums[m / 2]) {
            let [a, b] = sums.map(|sums| vreinterpretq_s64_s32(sums));
            *row = vreinterpretq_s32_s64(if m % 2 == 0 { vzip1q_s64(a, b) } else { vzip2q_s64(a, b) });
        }
    }
    // SAFETY: the caller's.
    unsafe { finish(block, panel, 0, first, &rows, output) }
}

/// Adds what does not depend on the products to the sums of `M` rows from `first` on and of `V` vectors, an even number, of a
/// panel from `vector` on, and stores them.
///
/// # Safety
/// The bounds of the block are checked; it has these rows and vectors.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn finish<const M: usize, const V: usize>(
    block: &Block<'_>,
    panel: usize,
    vector: usize,
    first: usize,
    sums: &[[int32x4_t; V]; M],
    output: &mut Output<'_>,
) {
    let column = panel * NR + vector * LANES;
    let mut bias = [vdupq_n_s32(0); V];
    for (v, bias) in bias.iter_mut().enumerate() {
        // SAFETY: the panel has `NR` biases.
        *bias = unsafe { vld1q_s32(block.bias.as_ptr().add(column + v * LANES)) };
    }
    let mut sums = *sums;
    for (m, sums) in sums.iter_mut().enumerate() {
        for (sum, bias) in sums.iter_mut().zip(bias) {
            *sum = vaddq_s32(*sum, bias);
        }
        if let Some(total) = block.totals.get(first + m) {
            let offset = vdupq_n_s32(total.wrapping_mul(block.weight_offset));
            sums.iter_mut().for_each(|sum| *sum = vaddq_s32(*sum, offset));
        }
    }
    match output {
        Output::Sums(out) => {
            for (m, sums) in sums.iter().enumerate() {
                for (v, &sums) in sums.iter().enumerate() {
                    // SAFETY: a row has `COLUMNS_MAX` sums, and the panel is one of at most as many columns.
                    unsafe {
                        vst1q_s32(out.as_mut_ptr().add((first + m) * COLUMNS_MAX + column + v * LANES), sums);
                    }
                }
            }
        }
        Output::Bytes { out, stride, requantize } => {
            let range = Registers::new(requantize.range);
            let mut scales = [vdupq_n_f32(0.0); V];
            for (v, scales) in scales.iter_mut().enumerate() {
                let at = block.first_column + column + v * LANES;
                // SAFETY: scales are padded to whole panels.
                *scales = unsafe { vld1q_f32(requantize.scales.as_ptr().add(at)) };
            }
            for (m, sums) in sums.iter().enumerate() {
                for v in (0..V).step_by(2) {
                    let bytes = range.bytes([sums[v], sums[v + 1]], [scales[v], scales[v + 1]]);
                    let column = column + v * LANES;
                    let columns = block.columns.saturating_sub(column).min(2 * LANES);
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

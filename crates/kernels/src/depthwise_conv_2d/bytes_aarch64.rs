//! The depthwise kernels of AArch64. All take a [`Row`] whose bounds `ByteDepthwise::multiply` has checked, and compute a
//! quarter of a block at a time: 16 channels, of which vector `q` of sums has the four from `4 q` on.
//!
//! Arrays of vectors are not mapped with closures here: `map` may be a call, and then they go through memory.

use super::bytes::{BLOCK, Output, Row, TAPS};
use crate::byte_output::{ByteRange, aarch64::Registers};
use std::arch::aarch64::*;

/// Channels computed at a time.
const QUARTER: usize = 16;
/// Slots from one vector of a quarter to the next.
const SLOTS: usize = BLOCK / 4;

/// Four taps of 16 channels, or their weights.
type Group = [int8x16_t; 4];
/// Sums of 16 channels.
type Sums = [int32x4_t; 4];

/// Four bytes of each of four channels side by side, from a vector of 16 channels for each tap.
#[inline]
#[target_feature(enable = "neon")]
fn interleave([a, b, c, d]: Group) -> Group {
    let (low_ab, high_ab) = (vreinterpretq_s16_s8(vzip1q_s8(a, b)), vreinterpretq_s16_s8(vzip2q_s8(a, b)));
    let (low_cd, high_cd) = (vreinterpretq_s16_s8(vzip1q_s8(c, d)), vreinterpretq_s16_s8(vzip2q_s8(c, d)));
    [
        vreinterpretq_s8_s16(vzip1q_s16(low_ab, low_cd)),
        vreinterpretq_s8_s16(vzip2q_s16(low_ab, low_cd)),
        vreinterpretq_s8_s16(vzip1q_s16(high_ab, high_cd)),
        vreinterpretq_s8_s16(vzip2q_s16(high_ab, high_cd)),
    ]
}

/// The inverse.
#[inline]
#[target_feature(enable = "neon")]
fn by_taps([a, b, c, d]: Group) -> Group {
    let [even_ab, odd_ab, even_cd, odd_cd] = [vuzp1q_s8(a, b), vuzp2q_s8(a, b), vuzp1q_s8(c, d), vuzp2q_s8(c, d)];
    [vuzp1q_s8(even_ab, even_cd), vuzp1q_s8(odd_ab, odd_cd), vuzp2q_s8(even_ab, even_cd), vuzp2q_s8(odd_ab, odd_cd)]
}

/// As they are.
#[inline]
#[target_feature(enable = "neon")]
fn same(group: Group) -> Group {
    group
}

/// Adds 16 products of 16 bits to their sums.
#[inline]
#[target_feature(enable = "neon")]
fn widen([a, b, c, d]: Sums, low: int16x8_t, high: int16x8_t) -> Sums {
    [vaddw_s16(a, vget_low_s16(low)), vaddw_high_s16(b, low), vaddw_s16(c, vget_low_s16(high)), vaddw_high_s16(d, high)]
}

/// Taps and weights by taps: two products in 16 bits, at most `2 * 128 * 127` as no weight is -128.
#[inline]
#[target_feature(enable = "neon")]
fn multiply_pairs(mut sums: Sums, x: Group, w: Group) -> Sums {
    for t in [0, 2] {
        let low = vmull_s8(vget_low_s8(x[t]), vget_low_s8(w[t]));
        let low = vmlal_s8(low, vget_low_s8(x[t + 1]), vget_low_s8(w[t + 1]));
        let high = vmlal_high_s8(vmull_high_s8(x[t], w[t]), x[t + 1], w[t + 1]);
        sums = widen(sums, low, high);
    }
    sums
}

/// The same for any weight.
#[inline]
#[target_feature(enable = "neon")]
fn multiply_each(mut sums: Sums, x: Group, w: Group) -> Sums {
    for t in 0..TAPS {
        let low = vmull_s8(vget_low_s8(x[t]), vget_low_s8(w[t]));
        sums = widen(sums, low, vmull_high_s8(x[t], w[t]));
    }
    sums
}

/// The sums of the taps that are ones.
#[inline]
#[target_feature(enable = "neon")]
fn add_taps(mut sums: Sums, x: Group, ones: i32) -> Sums {
    for (t, &x) in x.iter().enumerate() {
        if ones >> (8 * t) & 1 == 1 {
            sums = widen(sums, vmovl_s8(vget_low_s8(x)), vmovl_high_s8(x));
        }
    }
    sums
}

/// Taps and weights interleaved.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn multiply_dot([a, b, c, d]: Sums, x: Group, w: Group) -> Sums {
    use litesmith_simd::aarch64::bytes::dot;
    [dot(a, x[0], w[0]), dot(b, x[1], w[1]), dot(c, x[2], w[2]), dot(d, x[3], w[3])]
}

/// The sums of the taps that are ones.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_dot(sums: Sums, x: Group, ones: i32) -> Sums {
    multiply_dot(sums, x, [vreinterpretq_s8_s32(vdupq_n_s32(ones)); 4])
}

/// Stores the first `left` of 16 bytes.
///
/// # Safety
/// There are scales for a quarter of a block, and `left` bytes may be written.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store(sums: Sums, scales: *const f32, range: Registers, out: *mut u8, left: usize) {
    // SAFETY: the caller's.
    let (first, second) = unsafe {
        (
            [vld1q_f32(scales), vld1q_f32(scales.add(SLOTS))],
            [vld1q_f32(scales.add(2 * SLOTS)), vld1q_f32(scales.add(3 * SLOTS))],
        )
    };
    let bytes = vcombine_u8(range.bytes([sums[0], sums[1]], first), range.bytes([sums[2], sums[3]], second));
    if left >= QUARTER {
        // SAFETY: the caller's.
        unsafe { vst1q_u8(out, bytes) };
        return;
    }
    let mut whole = [0u8; QUARTER];
    // SAFETY: `whole` has 16 bytes.
    unsafe { vst1q_u8(whole.as_mut_ptr(), bytes) };
    // SAFETY: the caller's.
    unsafe { out.copy_from_nonoverlapping(whole.as_ptr(), left) };
}

/// Bytes of the output, and what makes them of sums.
struct Bytes<'a> {
    out: &'a mut [u8],
    run: usize,
    scales: &'a [f32],
    range: ByteRange,
}

/// Defines the kernels of an instruction set in a module: what becomes of taps and of weights as they are read, how groups
/// of them are multiplied, and how taps alone are summed.
macro_rules! kernels {
    ($(#[$doc:meta])* $module:ident $features:literal $taps:ident $weights:ident $multiply:ident $add:ident) => {
        $(#[$doc])*
        pub(super) mod $module {
            use super::*;

            /// The outputs of `row` as runs of `run`, each from block `first` on.
            ///
            /// # Safety
            /// The CPU has the features; the bounds of the row are checked.
            #[target_feature(enable = $features)]
            pub(in super::super) unsafe fn multiply(row: &Row<'_>, run: usize, first: usize, output: &mut Output<'_>) {
                // SAFETY: the caller's.
                unsafe {
                    match (output, row.weight_offset != 0) {
                        (Output::Sums(out), false) => blocks::<false>(row, run, first, out),
                        (Output::Sums(out), true) => blocks::<true>(row, run, first, out),
                        (Output::Bytes { out, scales, range }, offset) => {
                            let to = Bytes { out, run, scales, range: *range };
                            match (row.groups(), row.reuse, offset) {
                                (1, _, false) => few::<1>(row, to),
                                (2, _, false) => few::<2>(row, to),
                                (3, false, false) => few::<3>(row, to),
                                (3, true, false) => columns(row, to),
                                (_, _, false) => many::<false>(row, to),
                                (_, _, true) => many::<true>(row, to),
                            }
                        }
                    }
                }
            }

            /// Whole blocks of sums.
            ///
            /// # Safety
            /// As [`multiply`].
            #[target_feature(enable = $features)]
            unsafe fn blocks<const R: bool>(row: &Row<'_>, run: usize, first: usize, out: &mut [i32]) {
                let mut input = row.input.as_ptr();
                for out in out.chunks_mut(run) {
                    for at in (0..out.len()).step_by(QUARTER) {
                        let position = first * BLOCK + at;
                        let slot = at / BLOCK * BLOCK + at % BLOCK / 4;
                        // SAFETY: the caller's; `out` holds whole blocks.
                        unsafe {
                            let sums = sums::<R>(row, input.add(position), position % (row.blocks * BLOCK));
                            for (q, sums) in sums.into_iter().enumerate() {
                                vst1q_s32(out.as_mut_ptr().add(slot + q * SLOTS), sums);
                            }
                        }
                    }
                    input = input.wrapping_add(row.step);
                }
            }

            /// Windows of any size: weights are read again for every output.
            ///
            /// # Safety
            /// As [`multiply`].
            #[target_feature(enable = $features)]
            unsafe fn many<const R: bool>(row: &Row<'_>, to: Bytes<'_>) {
                let range = Registers::new(to.range);
                let mut input = row.input.as_ptr();
                for done in (0..to.out.len()).step_by(to.run) {
                    for at in (0..to.run).step_by(QUARTER) {
                        let position = at % (row.blocks * BLOCK);
                        // SAFETY: the caller's; only what is left of the run is written.
                        unsafe {
                            let sums = sums::<R>(row, input.add(at), position);
                            let scales = to.scales.as_ptr().add(slot(position));
                            store(sums, scales, range, to.out.as_mut_ptr().add(done + at), to.run - at);
                        }
                    }
                    input = input.wrapping_add(row.step);
                }
            }

            /// The sums of the 16 outputs whose first tap is at `input`, with the weights of those from `position` on.
            ///
            /// # Safety
            /// As [`multiply`].
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn sums<const R: bool>(row: &Row<'_>, input: *const u8, position: usize) -> Sums {
                // SAFETY: the plan made biases for every block.
                let mut sums = unsafe { bias(row, position) };
                let mut totals = [vdupq_n_s32(0); 4];
                for (group, taps) in row.taps.chunks_exact(TAPS).enumerate() {
                    // SAFETY: the caller's.
                    let x = unsafe { read(input, [taps[0], taps[1], taps[2], taps[3]]) };
                    // SAFETY: the plan made weights for every block.
                    sums = $multiply(sums, x, unsafe { weights(row, position, group) });
                    if R {
                        totals = $add(totals, x, row.ones[group]);
                    }
                }
                if R {
                    for (sum, total) in sums.iter_mut().zip(totals) {
                        *sum = vmlaq_n_s32(*sum, total, row.weight_offset);
                    }
                }
                sums
            }

            /// Windows of `G` groups, whose weights stay in registers: all outputs that have them, one after another.
            ///
            /// # Safety
            /// As [`multiply`]; the row has `G` groups.
            #[target_feature(enable = $features)]
            unsafe fn few<const G: usize>(row: &Row<'_>, to: Bytes<'_>) {
                let range = Registers::new(to.range);
                for position in (0..(row.blocks * BLOCK).min(to.run)).step_by(QUARTER) {
                    // SAFETY: the plan made weights and biases for every block.
                    let few = unsafe { Few::<G>::load(row, position) };
                    let mut input = row.input.as_ptr();
                    for done in (0..to.out.len()).step_by(to.run) {
                        for at in (position..to.run).step_by(row.blocks * BLOCK) {
                            // SAFETY: the run lies in the input; the caller's; only what is left of the run is written.
                            unsafe {
                                let mut groups = [[vdupq_n_s8(0); 4]; G];
                                for g in 0..G {
                                    groups[g] = read(input.add(at), few.taps[g]);
                                }
                                let scales = to.scales.as_ptr().add(slot(position));
                                let out = to.out.as_mut_ptr().add(done + at);
                                store(few.sums(groups), scales, range, out, to.run - at);
                            }
                        }
                        input = input.wrapping_add(row.step);
                    }
                }
            }

            /// Windows of three groups that are columns, pixel by pixel: only the last one is new to the next pixel.
            ///
            /// # Safety
            /// As [`multiply`]; the row has three groups, and runs begin one column apart.
            #[target_feature(enable = $features)]
            unsafe fn columns(row: &Row<'_>, to: Bytes<'_>) {
                let range = Registers::new(to.range);
                for position in (0..to.run).step_by(QUARTER) {
                    // SAFETY: the plan made weights and biases for every block; the caller's; only what is left of the run
                    // is written.
                    unsafe {
                        let few = Few::<3>::load(row, position);
                        let mut input = row.input.as_ptr().add(position);
                        // Named variables, as an array that is rotated would live in memory.
                        let (mut left, mut middle) = (read(input, few.taps[0]), read(input, few.taps[1]));
                        for done in (0..to.out.len()).step_by(to.run) {
                            let right = read(input, few.taps[2]);
                            let scales = to.scales.as_ptr().add(slot(position));
                            let out = to.out.as_mut_ptr().add(done + position);
                            store(few.sums([left, middle, right]), scales, range, out, to.run - position);
                            (left, middle) = (middle, right);
                            input = input.wrapping_add(row.step);
                        }
                    }
                }
            }

            /// What the outputs of a quarter of a block have in common.
            struct Few<const G: usize> {
                taps: [[usize; TAPS]; G],
                weights: [Group; G],
                bias: Sums,
            }

            impl<const G: usize> Few<G> {
                /// # Safety
                /// As [`multiply`]; the row has `G` groups.
                #[inline]
                #[target_feature(enable = $features)]
                unsafe fn load(row: &Row<'_>, position: usize) -> Self {
                    let mut taps = [[0; TAPS]; G];
                    taps.as_flattened_mut().copy_from_slice(row.taps);
                    let mut groups = [[vdupq_n_s8(0); 4]; G];
                    for (group, to) in groups.iter_mut().enumerate() {
                        // SAFETY: the plan made weights for every block.
                        *to = unsafe { weights(row, position, group) };
                    }
                    // SAFETY: the plan made biases for every block.
                    Self { taps, weights: groups, bias: unsafe { bias(row, position) } }
                }

                #[inline]
                #[target_feature(enable = $features)]
                fn sums(&self, groups: [Group; G]) -> Sums {
                    let mut sums = self.bias;
                    for g in 0..G {
                        sums = $multiply(sums, groups[g], self.weights[g]);
                    }
                    sums
                }
            }

            /// Reads the taps of a group.
            ///
            /// # Safety
            /// They lie in the input.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn read(input: *const u8, taps: [usize; TAPS]) -> Group {
                // SAFETY: the caller's.
                let group = unsafe {
                    [
                        vld1q_s8(input.add(taps[0]).cast()),
                        vld1q_s8(input.add(taps[1]).cast()),
                        vld1q_s8(input.add(taps[2]).cast()),
                        vld1q_s8(input.add(taps[3]).cast()),
                    ]
                };
                $taps(group)
            }

            /// Reads the weights of a group, of the 16 channels from `position` on.
            ///
            /// # Safety
            /// The row has this group and position.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn weights(row: &Row<'_>, position: usize, group: usize) -> Group {
                let (block, lane) = (position / BLOCK, position % BLOCK / 4);
                let at = ((block * row.groups() + group) * BLOCK + lane) * TAPS;
                // SAFETY: the caller's.
                let group = unsafe {
                    let from = row.weights.as_ptr().add(at);
                    [
                        vld1q_s8(from),
                        vld1q_s8(from.add(SLOTS * TAPS)),
                        vld1q_s8(from.add(2 * SLOTS * TAPS)),
                        vld1q_s8(from.add(3 * SLOTS * TAPS)),
                    ]
                };
                $weights(group)
            }
        }
    };
}

/// Where the first of the 16 channels from `position` on is stored; the others follow in four vectors, [`SLOTS`] apart.
fn slot(position: usize) -> usize {
    position / BLOCK * BLOCK + position % BLOCK / 4
}

/// # Safety
/// The row has this position.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn bias(row: &Row<'_>, position: usize) -> Sums {
    // SAFETY: the caller's.
    unsafe {
        let from = row.bias.as_ptr().add(slot(position));
        [vld1q_s32(from), vld1q_s32(from.add(SLOTS)), vld1q_s32(from.add(2 * SLOTS)), vld1q_s32(from.add(3 * SLOTS))]
    }
}

kernels! {
    /// Products of 8 bits, summed in pairs: no weight is -128.
    neon_pairs "neon" same by_taps multiply_pairs add_taps
}
kernels! {
    /// Products of 8 bits.
    neon "neon" same by_taps multiply_each add_taps
}
kernels! {
    /// Dot products of four taps.
    dotprod "neon,dotprod" interleave same multiply_dot add_dot
}

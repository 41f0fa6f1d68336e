//! The product in tiles of AMX: 16 rows by 16 columns of sums, to which one instruction adds the products of 64 elements.
//!
//! A panel of weights as it is packed is what the instruction wants of its right operand. Rows are its left operand where they
//! lie, if they are equally far apart; what is not, or has fewer elements or rows than a tile, is copied first.

use super::x86_64::store_four;
use super::{Block, COLUMNS_MAX, KR, NR, Output};
use crate::byte_output::x86_64::Wide;
use litesmith_simd::amx::{ROW_BYTES, ROWS, Tiles};
use litesmith_simd::{tile_load, tile_multiply, tile_store};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// Rows of the left operand, copied.
#[repr(C, align(64))]
struct Copied([[u8; ROW_BYTES]; ROWS]);

/// Sums of two tiles of rows and two of columns, one after another.
#[repr(C, align(64))]
struct Sums([[i32; TILE]; 4]);

const TILE: usize = ROWS * NR;

/// Bytes of a panel up to which a pair stays in the first cache. Of longer ones what is multiplied next is asked for.
const LONG_PANEL: usize = 16 << 10;

/// Asks for the lines of a tile of weights to be brought into the first cache.
#[inline(always)]
fn ask_for(weights: *const i8) {
    for row in 0..ROWS {
        // SAFETY: SSE is part of the architecture, and a prefetch of any address is allowed: it reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(weights.wrapping_add(row * ROW_BYTES).cast()) };
    }
}

/// Rows of a tile.
struct Group<'a> {
    rows: &'a [usize],
    /// Of them in the block.
    first: usize,
    /// How far apart they are, where they are equally far.
    apart: Option<usize>,
}

impl<'a> Group<'a> {
    /// The `index`-th group of `size` rows; the last one begins early enough to be complete, if there are as many.
    fn new(rows: &'a [usize], size: usize, index: usize) -> Self {
        let first = (index * size).min(rows.len().saturating_sub(size));
        let rows = &rows[first..(first + size).min(rows.len())];
        let apart = match rows {
            [a, b, ..] => b.wrapping_sub(*a),
            _ => 0,
        };
        let even = rows.len() == size && rows.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == apart);
        Self { rows, first, apart: even.then_some(apart) }
    }

    /// Where a tile of the left operand begins, and how far apart its rows are: `len` elements from `offset` on.
    ///
    /// # Safety
    /// All rows have these elements; the CPU has AVX-512.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn operand(
        &self,
        block: &Block<'_>,
        offset: usize,
        len: usize,
        is_whole: bool,
        copied: &mut MaybeUninit<Copied>,
    ) -> (*const u8, usize) {
        if let (Some(apart), true) = (self.apart, is_whole) {
            // SAFETY: the caller's.
            return (unsafe { block.input.as_ptr().add(self.rows[0] + offset) }, apart);
        }
        let mask = u64::MAX >> (ROW_BYTES - len);
        let copied = copied.as_mut_ptr().cast::<u8>();
        for (at, row) in self.rows.iter().enumerate() {
            // SAFETY: the caller's; no other bytes are read, and a whole row of at most 16 is written.
            unsafe {
                let values = _mm512_maskz_loadu_epi8(mask, block.input.as_ptr().add(row + offset).cast());
                _mm512_store_si512(copied.add(at * ROW_BYTES).cast(), values);
            }
        }
        (copied, ROW_BYTES)
    }
}

/// What is done of a block: two groups of rows, of which the second may be missing, and two panels, likewise.
struct Quarter<'a> {
    groups: &'a [Group<'a>],
    panel: usize,
    /// Whether there is a panel after that one.
    two_panels: bool,
}

/// All rows of a block times its panels, two groups of rows and two panels at a time.
///
/// # Safety
/// The CPU has AVX-512 with VNNI; the bounds of the block are checked, and its weights have a tile more than its panels.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn multiply(block: &Block<'_>, tiles: &Tiles, signed: bool, output: &mut Output<'_>) {
    let panels = block.bias.len() / NR;
    let count = block.rows.len().div_ceil(tiles.rows());
    let mut sums = MaybeUninit::<Sums>::uninit();
    for pair in (0..count).step_by(2) {
        let groups = [pair, pair + 1].map(|index| Group::new(block.rows, tiles.rows(), index.min(count - 1)));
        let groups = &groups[..(count - pair).min(2)];
        for panel in (0..panels).step_by(2) {
            let quarter = Quarter { groups, panel, two_panels: panel + 1 < panels };
            // SAFETY: the caller's; there are tiles, and what is written of the sums is read.
            unsafe {
                quarter.multiply(block, tiles, signed);
                quarter.keep(sums.as_mut_ptr().cast());
                quarter.store(block, sums.as_ptr().cast(), output);
            }
        }
    }
}

impl Quarter<'_> {
    /// Multiplies, which leaves the sums in tiles 0 to 3.
    ///
    /// # Safety
    /// As [`multiply`]; the block has these groups and panels.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn multiply(&self, block: &Block<'_>, tiles: &Tiles, signed: bool) {
        let mut copied = [const { MaybeUninit::<Copied>::uninit() }; 2];
        let [left, right] = &mut copied;
        let Some(first) = self.groups.first() else { return };
        let second = self.groups.get(1);
        let (steps, all) = (tiles.steps(), block.segment_len.div_ceil(KR));
        // SAFETY: the block has these panels and their biases; a tile whose rows are 0 bytes apart has the same row again and again.
        let mut weights = unsafe {
            let bias = block.bias.as_ptr().add(self.panel * NR);
            tile_load!(0, bias, 0usize);
            tile_load!(1, bias, 0usize);
            if self.two_panels {
                tile_load!(2, bias.add(NR), 0usize);
                tile_load!(3, bias.add(NR), 0usize);
            }
            block.weights.as_ptr().add(self.panel * block.panel_len)
        };
        let is_long = block.panel_len > LONG_PANEL;
        for &segment in block.segments {
            for step in (0..all).step_by(steps) {
                let is_whole = step + steps <= all;
                let len = steps.min(all - step) * KR;
                let offset = segment + step * KR;
                // SAFETY: each segment of each row lies in the input, and that of each panel in the weights; what an incomplete
                // tile reads of the weights behind them is multiplied by 0.
                unsafe {
                    if is_long {
                        ask_for(weights.wrapping_add(len * NR));
                        ask_for(weights.wrapping_add(block.panel_len + len * NR));
                    }
                    let (from, apart) = first.operand(block, offset, len, is_whole, left);
                    tile_load!(4, from, apart);
                    tile_load!(6, weights, ROW_BYTES);
                    if signed {
                        tile_multiply!("ss", 0, 4, 6)
                    } else {
                        tile_multiply!("us", 0, 4, 6)
                    }
                    if let Some(second) = second {
                        let (from, apart) = second.operand(block, offset, len, is_whole, right);
                        tile_load!(5, from, apart);
                        if signed { tile_multiply!("ss", 1, 5, 6) } else { tile_multiply!("us", 1, 5, 6) }
                    }
                    if self.two_panels {
                        tile_load!(7, weights.add(block.panel_len), ROW_BYTES);
                        if signed {
                            tile_multiply!("ss", 2, 4, 7)
                        } else {
                            tile_multiply!("us", 2, 4, 7)
                        }
                        if second.is_some() {
                            if signed { tile_multiply!("ss", 3, 5, 7) } else { tile_multiply!("us", 3, 5, 7) }
                        }
                    }
                    weights = weights.add(len * NR);
                }
            }
        }
    }

    /// Copies the sums out of the tiles.
    ///
    /// # Safety
    /// There are tiles, and room for four of them.
    #[inline(always)]
    unsafe fn keep(&self, sums: *mut i32) {
        // SAFETY: the caller's.
        unsafe {
            tile_store!(0, sums, ROW_BYTES);
            tile_store!(1, sums.add(TILE), ROW_BYTES);
            if self.two_panels {
                tile_store!(2, sums.add(2 * TILE), ROW_BYTES);
                tile_store!(3, sums.add(3 * TILE), ROW_BYTES);
            }
        }
    }

    /// Writes the sums, as they are or as bytes.
    ///
    /// # Safety
    /// As [`multiply`]; the block has these groups and panels, and the sums are what [`Self::keep`] has left.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn store(&self, block: &Block<'_>, sums: *const i32, output: &mut Output<'_>) {
        let panels = 1 + usize::from(self.two_panels);
        for (m, group) in self.groups.iter().enumerate() {
            let rows = group.rows.len();
            let vector = |row: usize, n: usize| {
                // SAFETY: all rows of the group have been written, in the tiles of all panels.
                unsafe { _mm512_load_si512(sums.add((2 * n.min(panels - 1) + m) * TILE + row * NR).cast()) }
            };
            match output {
                Output::Sums(out) => {
                    for row in 0..rows {
                        for n in 0..panels {
                            // SAFETY: a row has `COLUMNS_MAX` sums, and the panels of a block are at most as many columns.
                            unsafe {
                                let out =
                                    out.as_mut_ptr().add((group.first + row) * COLUMNS_MAX + (self.panel + n) * NR);
                                _mm512_storeu_si512(out.cast(), vector(row, n));
                            }
                        }
                    }
                }
                Output::Bytes { out, stride, requantize } => {
                    let columns_left = block.columns.saturating_sub(self.panel * NR);
                    let out = &mut out[self.panel * NR..];
                    let range = Wide::new(requantize.range);
                    // SAFETY: scales are padded to whole panels.
                    let scales = unsafe {
                        let scales = requantize.scales.as_ptr().add(block.first_column + self.panel * NR);
                        [_mm512_loadu_ps(scales), _mm512_loadu_ps(scales.add((panels - 1) * NR))]
                    };
                    for row in (0..rows).step_by(2) {
                        let next = (row + 1).min(rows - 1);
                        let [a, b] = [vector(row, 0), vector(row, 1)];
                        let [c, d] = [vector(next, 0), vector(next, 1)];
                        let bytes = range.pack([
                            range.round(a, scales[0]),
                            range.round(b, scales[1]),
                            range.round(c, scales[0]),
                            range.round(d, scales[1]),
                        ]);
                        // SAFETY: the output has these rows, and these columns of each.
                        unsafe { store_four::<2>(out, *stride, group.first, 2 * row, 2 * rows, columns_left, bytes) };
                    }
                }
            }
        }
    }
}

//! The depthwise kernels of x86-64. All take a [`Row`] whose bounds `ByteDepthwise::multiply` has checked.

use super::bytes::{BLOCK, Floats, Output, Row, TAPS};
use crate::byte_output::{ByteRange, x86_64};
use std::arch::x86_64::*;

/// Interleaves four vectors of bytes: lane by lane, `q[i]` holds bytes `4 i` to `4 i + 3` of each, side by side.
macro_rules! interleave {
    ($taps:expr, $low_8:ident $high_8:ident $low_16:ident $high_16:ident) => {{
        let [a, b, c, d] = $taps;
        let (low_ab, high_ab, low_cd, high_cd) = ($low_8(a, b), $high_8(a, b), $low_8(c, d), $high_8(c, d));
        [$low_16(low_ab, low_cd), $high_16(low_ab, low_cd), $low_16(high_ab, high_cd), $high_16(high_ab, high_cd)]
    }};
}

/// # Safety
/// The CPU has AVX-512 and VNNI; the bounds of the row are checked.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn vnni(row: &Row<'_>, run: usize, first: usize, output: &mut Output<'_>) {
    // SAFETY: the caller's.
    unsafe {
        match (output, row.weight_offset != 0) {
            (Output::Sums(out), false) => vnni_block::<false>(row, first, out),
            (Output::Sums(out), true) => vnni_block::<true>(row, first, out),
            (Output::Bytes { out, scales, range }, offset) => {
                let to = Bytes { out, run, scales: scales.as_ptr(), range: x86_64::Wide::new(*range) };
                match (row.groups(), row.reuse, offset) {
                    (1, _, false) => vnni_few::<1, false, _>(row, to),
                    (2, _, false) => vnni_few::<2, false, _>(row, to),
                    (3, false, false) => vnni_few::<3, false, _>(row, to),
                    (3, true, false) => vnni_columns::<false, _>(row, to),
                    (3, false, true) => vnni_few::<3, true, _>(row, to),
                    (3, true, true) => vnni_columns::<true, _>(row, to),
                    (_, _, false) => vnni_many::<false, _>(row, to),
                    (_, _, true) => vnni_many::<true, _>(row, to),
                }
            }
        }
    }
}

/// The same for floats; weights are signed.
///
/// # Safety
/// The CPU has AVX-512 and VNNI; the bounds of the row are checked, and `floats` has values for every slot.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn vnni_floats(row: &Row<'_>, run: usize, floats: &Floats<'_>, out: &mut [f32]) {
    let to = Reals { out, run, floats: *floats };
    // SAFETY: the caller's.
    unsafe {
        match (row.groups(), row.reuse) {
            (3, true) => vnni_columns::<false, _>(row, to),
            (3, false) => vnni_few::<3, false, _>(row, to),
            _ => vnni_many::<false, _>(row, to),
        }
    }
}

/// Where results go.
trait Store {
    /// Outputs, and how many of them are one run.
    fn lens(&self) -> [usize; 2];

    /// Stores the block of outputs at `done + at`, of which the run has `run - at` more, with the scales of `block`.
    ///
    /// # Safety
    /// As [`vnni`]; the outputs are among those of [`Self::lens`].
    unsafe fn store(&mut self, sums: [__m512i; 4], block: usize, done: usize, at: usize);
}

/// Floats.
struct Reals<'a> {
    out: &'a mut [f32],
    run: usize,
    floats: Floats<'a>,
}

impl Store for Reals<'_> {
    fn lens(&self) -> [usize; 2] {
        [self.out.len(), self.run]
    }

    #[inline(always)]
    unsafe fn store(&mut self, sums: [__m512i; 4], block: usize, done: usize, at: usize) {
        // SAFETY: the caller's.
        unsafe { self.store_block(sums, block, done, at) }
    }
}

impl Reals<'_> {
    /// # Safety
    /// As [`Store::store`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store_block(&mut self, sums: [__m512i; 4], block: usize, done: usize, at: usize) {
        let Floats { first, second, add, low, high, .. } = self.floats;
        let (low, high) = (_mm512_set1_ps(low), _mm512_set1_ps(high));
        let mut q = [_mm512_setzero_ps(); 4];
        for (i, (q, sums)) in q.iter_mut().zip(sums).enumerate() {
            // SAFETY: there are values for every slot.
            let values = |values: &[f32]| unsafe { _mm512_loadu_ps(values.as_ptr().add(block * BLOCK + i * 16)) };
            let scaled = _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), values(first)), values(second));
            // Of a NaN and a number, `vmaxps` takes the second operand.
            *q = _mm512_min_ps(_mm512_max_ps(_mm512_add_ps(scaled, values(add)), low), high);
        }
        // Lane `b` of vector `i` holds the four outputs from `16 b + 4 i` on.
        let [a, b, c, d] = q;
        let (low_ab, low_cd) = (_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0x44>(c, d));
        let (high_ab, high_cd) = (_mm512_shuffle_f32x4::<0xee>(a, b), _mm512_shuffle_f32x4::<0xee>(c, d));
        let vectors = [
            _mm512_shuffle_f32x4::<0x88>(low_ab, low_cd),
            _mm512_shuffle_f32x4::<0xdd>(low_ab, low_cd),
            _mm512_shuffle_f32x4::<0x88>(high_ab, high_cd),
            _mm512_shuffle_f32x4::<0xdd>(high_ab, high_cd),
        ];
        let left = self.run - at;
        for (i, vector) in vectors.into_iter().enumerate() {
            let left = left.saturating_sub(i * 16).min(16);
            // SAFETY: only what is left of the run is written.
            unsafe {
                let out = self.out.as_mut_ptr().wrapping_add(done + at + i * 16);
                _mm512_mask_storeu_ps(out, ((1u32 << left) - 1) as u16, vector);
            }
        }
    }
}

/// Bytes.
struct Bytes<'a> {
    out: &'a mut [u8],
    run: usize,
    scales: *const f32,
    range: x86_64::Wide,
}

impl Store for Bytes<'_> {
    fn lens(&self) -> [usize; 2] {
        [self.out.len(), self.run]
    }

    #[inline(always)]
    unsafe fn store(&mut self, sums: [__m512i; 4], block: usize, done: usize, at: usize) {
        // SAFETY: the caller's.
        unsafe { self.store_block(sums, block, done, at) }
    }
}

impl Bytes<'_> {
    /// # Safety
    /// As [`Store::store`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store_block(&mut self, mut sums: [__m512i; 4], block: usize, done: usize, at: usize) {
        for (q, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the plan made scales for every block.
            let scales = unsafe { _mm512_loadu_ps(self.scales.add(block * BLOCK + q * 16)) };
            *sums = self.range.round(*sums, scales);
        }
        let bytes = self.range.pack_lanes(sums);
        let left = self.run - at;
        // SAFETY: only what is left of the run is written.
        unsafe {
            let out = self.out.as_mut_ptr().add(done + at);
            if left >= BLOCK {
                _mm512_storeu_si512(out.cast(), bytes);
            } else {
                _mm512_mask_storeu_epi8(out.cast(), (1u64 << left) - 1, bytes);
            }
        }
    }
}

/// One block of sums.
///
/// # Safety
/// As [`vnni`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn vnni_block<const R: bool>(row: &Row<'_>, first: usize, out: &mut [i32]) {
    // SAFETY: the caller's.
    let sums = unsafe { vnni_sums::<R>(row, row.input.as_ptr().add(first * BLOCK), first % row.blocks) };
    for (sums, out) in sums.into_iter().zip(out.chunks_exact_mut(16)) {
        // SAFETY: `out` is 16 sums.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) };
    }
}

/// Windows of any size: weights are read again for every block.
///
/// # Safety
/// As [`vnni`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn vnni_many<const R: bool, S: Store>(row: &Row<'_>, mut to: S) {
    let [len, run] = to.lens();
    let mut input = row.input.as_ptr();
    for done in (0..len).step_by(run) {
        for at in (0..run).step_by(BLOCK) {
            let block = at / BLOCK % row.blocks;
            // SAFETY: the caller's.
            unsafe {
                let sums = vnni_sums::<R>(row, input.add(at), block);
                to.store(sums, block, done, at);
            }
        }
        input = input.wrapping_add(row.step);
    }
}

/// Four interleaved taps, `q` by `q`.
type Group = [__m512i; 4];

/// Windows of `G` groups, whose weights stay in registers: block by block, all outputs that have its weights.
///
/// # Safety
/// As [`vnni`]; the row has `G` groups.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn vnni_few<const G: usize, const R: bool, S: Store>(row: &Row<'_>, mut to: S) {
    let [len, run] = to.lens();
    for block in 0..row.blocks.min(run.div_ceil(BLOCK)) {
        // SAFETY: the plan made weights and biases for every block.
        let few = unsafe { Few::<G>::load::<0, R, S>(row, block) };
        let mut input = row.input.as_ptr();
        for done in (0..len).step_by(run) {
            for at in (block * BLOCK..run).step_by(row.blocks * BLOCK) {
                // SAFETY: the run lies in the input; the caller's.
                unsafe {
                    let input = input.add(at);
                    let sums = few.sums::<R>(std::array::from_fn(|group| few.read(input, group)));
                    to.store(sums, block, done, at);
                }
            }
            input = input.wrapping_add(row.step);
        }
    }
}

/// Windows of three groups that are columns, pixel by pixel: only the last one is new to the next pixel.
///
/// # Safety
/// As [`vnni`]; the row has three groups, and runs begin one column apart.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn vnni_columns<const R: bool, S: Store>(row: &Row<'_>, mut to: S) {
    let [len, run] = to.lens();
    for block in 0..row.blocks {
        // SAFETY: the plan made weights and biases for every block; the caller's.
        unsafe {
            let few = Few::<3>::load::<1, R, S>(row, block);
            let mut input = row.input.as_ptr().add(block * BLOCK);
            // Named variables, as an array that is rotated would live in memory.
            let (mut left, mut middle) = (few.read(input, 0), few.read(input, 1));
            for done in (0..len).step_by(run) {
                let right = few.read(input, 2);
                to.store(few.sums::<R>([left, middle, right]), block, done, block * BLOCK);
                (left, middle) = (middle, right);
                input = input.wrapping_add(row.step);
            }
        }
    }
}

/// What the outputs of a block have in common.
struct Few<const G: usize> {
    taps: [[usize; TAPS]; G],
    weights: [Group; G],
    bias: *const i32,
    ones: [i32; G],
    weight_offset: i32,
}

impl<const G: usize> Few<G> {
    /// `CALL` numbers the calls, and the rest is what their functions differ in: a function of its own for each is one that the compiler
    /// inlines, so that weights stay in registers.
    ///
    /// # Safety
    /// As [`vnni`]; the row has `G` groups.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    #[expect(clippy::extra_unused_type_parameters, reason = "each has a function of its own")]
    unsafe fn load<const CALL: usize, const R: bool, S>(row: &Row<'_>, block: usize) -> Self {
        let mut taps = [[0; TAPS]; G];
        taps.as_flattened_mut().copy_from_slice(row.taps);
        let mut ones = [0; G];
        ones.copy_from_slice(row.ones);
        let mut weights = [[_mm512_setzero_si512(); 4]; G];
        for (at, weights) in weights.as_flattened_mut().iter_mut().enumerate() {
            // SAFETY: the plan made weights for every block.
            *weights = unsafe { _mm512_loadu_si512(row.weights.as_ptr().add((block * G * 4 + at) * BLOCK).cast()) };
        }
        let bias = row.bias.as_ptr().wrapping_add(block * BLOCK);
        Self { taps, weights, bias, ones, weight_offset: row.weight_offset }
    }

    /// Reads the taps of a group.
    ///
    /// # Safety
    /// As [`vnni`]; they lie in the input.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn read(&self, input: *const u8, group: usize) -> Group {
        // SAFETY: the caller's.
        let taps = self.taps[group].map(|tap| unsafe { _mm512_loadu_si512(input.add(tap).cast()) });
        interleave!(
            taps,
            _mm512_unpacklo_epi8 _mm512_unpackhi_epi8 _mm512_unpacklo_epi16 _mm512_unpackhi_epi16
        )
    }

    /// # Safety
    /// As [`vnni`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn sums<const R: bool>(&self, groups: [Group; G]) -> Group {
        let mut sums = [_mm512_setzero_si512(); 4];
        for (q, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the plan made biases for every block.
            *sum = unsafe { _mm512_loadu_si512(self.bias.add(q * 16).cast()) };
            for (group, weights) in groups.iter().zip(&self.weights) {
                *sum = _mm512_dpbusd_epi32(*sum, group[q], weights[q]);
            }
            if R {
                let mut totals = _mm512_setzero_si512();
                for (group, ones) in groups.iter().zip(self.ones) {
                    totals = _mm512_dpbusd_epi32(totals, group[q], _mm512_set1_epi32(ones));
                }
                let offset = _mm512_set1_epi32(self.weight_offset);
                *sum = _mm512_add_epi32(*sum, _mm512_mullo_epi32(totals, offset));
            }
        }
        sums
    }
}

/// The sums of the block of outputs whose first tap is at `input`, with the weights of `block`.
///
/// # Safety
/// As [`vnni`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn vnni_sums<const R: bool>(row: &Row<'_>, input: *const u8, block: usize) -> [__m512i; 4] {
    let mut sums = [_mm512_setzero_si512(); 4];
    let mut totals = sums;
    for (q, sum) in sums.iter_mut().enumerate() {
        // SAFETY: the plan made biases for every block.
        *sum = unsafe { _mm512_loadu_si512(row.bias.as_ptr().add(block * BLOCK + q * 16).cast()) };
    }
    // SAFETY: the plan made weights for every block.
    let mut weights = unsafe { row.weights.as_ptr().add(block * row.groups() * BLOCK * TAPS) };
    for (group, taps) in row.taps.chunks_exact(TAPS).enumerate() {
        // SAFETY: as above.
        let taps = [0, 1, 2, 3].map(|i| unsafe { _mm512_loadu_si512(input.add(taps[i]).cast()) });
        let q = interleave!(
            taps,
            _mm512_unpacklo_epi8 _mm512_unpackhi_epi8 _mm512_unpacklo_epi16 _mm512_unpackhi_epi16
        );
        for i in 0..4 {
            // SAFETY: as above.
            let w = unsafe { _mm512_loadu_si512(weights.add(i * BLOCK).cast()) };
            sums[i] = _mm512_dpbusd_epi32(sums[i], q[i], w);
            if R {
                totals[i] = _mm512_dpbusd_epi32(totals[i], q[i], _mm512_set1_epi32(row.ones[group]));
            }
        }
        // SAFETY: at most one past the end.
        weights = unsafe { weights.add(BLOCK * TAPS) };
    }
    if R {
        let offset = _mm512_set1_epi32(row.weight_offset);
        for i in 0..4 {
            sums[i] = _mm512_add_epi32(sums[i], _mm512_mullo_epi32(totals[i], offset));
        }
    }
    sums
}

/// # Safety
/// The CPU has AVX2; the bounds of the row are checked; no weight is -128.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn avx2(row: &Row<'_>, run: usize, first: usize, output: &mut Output<'_>) {
    if row.weight_offset == 0 {
        // SAFETY: the caller's.
        unsafe { avx2_blocks::<false>(row, run, first, output) }
    } else {
        // SAFETY: the caller's.
        unsafe { avx2_blocks::<true>(row, run, first, output) }
    }
}

/// Half a block at a time.
///
/// # Safety
/// As [`avx2`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn avx2_blocks<const R: bool>(row: &Row<'_>, run: usize, first: usize, output: &mut Output<'_>) {
    const HALF: usize = BLOCK / 2;
    let mut input = row.input.as_ptr();
    let mut done = 0;
    while done < output.len() {
        for at in (0..run).step_by(HALF) {
            let position = first * BLOCK + at;
            let (block, half) = (position / BLOCK % row.blocks, position % BLOCK / HALF);
            // SAFETY: the caller's.
            let sums = unsafe { avx2_sums::<R>(row, input.add(position), block, half) };
            // Slots of half a block begin here, and are 16 apart.
            let slot = half * 8;
            match output {
                Output::Sums(out) => {
                    for (q, sums) in sums.into_iter().enumerate() {
                        // SAFETY: `out` holds whole blocks.
                        unsafe {
                            let out = out.as_mut_ptr().add((done + at) / BLOCK * BLOCK + q * 16 + slot);
                            _mm256_storeu_si256(out.cast(), sums);
                        }
                    }
                }
                Output::Bytes { out, scales, range } => {
                    // SAFETY: the plan made scales for every block; only what is left of the run is written.
                    unsafe {
                        let scales = scales.as_ptr().add(block * BLOCK + slot);
                        avx2_store(sums, scales, *range, out.as_mut_ptr().add(done + at), (run - at).min(HALF));
                    }
                }
            }
        }
        done += run;
        input = input.wrapping_add(row.step);
    }
}

/// Stores the first `left` of 32 bytes.
///
/// # Safety
/// The CPU has AVX2; there are scales for half a block, and `left` bytes may be written.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn avx2_store(sums: [__m256i; 4], scales: *const f32, range: ByteRange, out: *mut u8, left: usize) {
    let range = x86_64::Narrow::new(range);
    let mut rounded = sums;
    for (q, sums) in rounded.iter_mut().enumerate() {
        // SAFETY: the caller's.
        *sums = range.round(*sums, unsafe { _mm256_loadu_ps(scales.add(q * 16)) });
    }
    let bytes = range.pack_lanes(rounded);
    if left == BLOCK / 2 {
        // SAFETY: the caller's.
        unsafe { _mm256_storeu_si256(out.cast(), bytes) };
        return;
    }
    let mut whole = [0u8; BLOCK / 2];
    // SAFETY: `whole` has 32 bytes.
    unsafe { _mm256_storeu_si256(whole.as_mut_ptr().cast(), bytes) };
    // SAFETY: the caller's.
    unsafe { out.copy_from_nonoverlapping(whole.as_ptr(), left) };
}

/// The sums of half the block of outputs whose first tap is at `input`. See `byte_gemm` for why no product saturates.
///
/// # Safety
/// As [`avx2`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn avx2_sums<const R: bool>(row: &Row<'_>, input: *const u8, block: usize, half: usize) -> [__m256i; 4] {
    let pairs = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_si256(); 4];
    let mut totals = sums;
    for (q, sum) in sums.iter_mut().enumerate() {
        // SAFETY: the plan made biases for every block.
        *sum = unsafe { _mm256_loadu_si256(row.bias.as_ptr().add(block * BLOCK + q * 16 + half * 8).cast()) };
    }
    // SAFETY: the plan made weights for every block.
    let mut weights = unsafe { row.weights.as_ptr().add(block * row.groups() * BLOCK * TAPS + half * 8 * TAPS) };
    for (group, taps) in row.taps.chunks_exact(TAPS).enumerate() {
        // SAFETY: as above.
        let taps = [0, 1, 2, 3].map(|i| unsafe { _mm256_loadu_si256(input.add(taps[i]).cast()) });
        let q = interleave!(
            taps,
            _mm256_unpacklo_epi8 _mm256_unpackhi_epi8 _mm256_unpacklo_epi16 _mm256_unpackhi_epi16
        );
        for i in 0..4 {
            // SAFETY: as above.
            let w = unsafe { _mm256_loadu_si256(weights.add(i * BLOCK).cast()) };
            let magnitude = _mm256_abs_epi8(q[i]);
            let dot = |w| _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(w, q[i])), pairs);
            sums[i] = _mm256_add_epi32(sums[i], dot(w));
            if R {
                totals[i] = _mm256_add_epi32(totals[i], dot(_mm256_set1_epi32(row.ones[group])));
            }
        }
        // SAFETY: at most one past the end.
        weights = unsafe { weights.add(BLOCK * TAPS) };
    }
    if R {
        let offset = _mm256_set1_epi32(row.weight_offset);
        for i in 0..4 {
            sums[i] = _mm256_add_epi32(sums[i], _mm256_mullo_epi32(totals[i], offset));
        }
    }
    sums
}

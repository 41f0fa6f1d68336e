//! Sums of two bytes in fixed point, which is what ADD and SUB of 8 bits are.

use crate::Isa;

/// `((bias + a * multipliers[0] + b * multipliers[1]) >> shift) + zero_point`, between `min` and `max`, for bytes `a` and `b`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByteSum {
    /// With the half that rounds.
    pub(crate) bias: i32,
    /// Of 22 bits and a sign.
    pub(crate) multipliers: [i32; 2],
    pub(crate) shift: u32,
    pub(crate) zero_point: i32,
    pub(crate) min: i32,
    pub(crate) max: i32,
    /// Whether the bytes are `i8`, not `u8`.
    pub(crate) signed: bool,
}

/// Bytes that stay in the first cache.
const CHUNK: usize = 1024;

impl ByteSum {
    #[inline(always)]
    pub(crate) fn apply(self, a: i32, b: i32) -> i32 {
        let [a_multiplier, b_multiplier] = self.multipliers;
        let sum = self.bias.wrapping_add(a.wrapping_mul(a_multiplier)).wrapping_add(b.wrapping_mul(b_multiplier));
        ((sum >> self.shift) + self.zero_point).clamp(self.min, self.max)
    }

    /// The sum of each pair.
    ///
    /// # Panics
    /// If `a` or `b` is shorter than `y`.
    pub(crate) fn run(self, isa: Isa, a: &[u8], b: &[u8], y: &mut [u8]) {
        let a = &a[..y.len()];
        #[cfg(target_arch = "x86_64")]
        if isa != Isa::Scalar {
            // SAFETY: all have the bytes of `y`.
            return unsafe { self.vectors(isa, a.as_ptr(), &b[..y.len()], y.as_mut_ptr()) };
        }
        for ((a, b), y) in a.chunks(CHUNK).zip(b[..a.len()].chunks(CHUNK)).zip(y.chunks_mut(CHUNK)) {
            y.copy_from_slice(a);
            self.over(isa, 0, b, y);
        }
    }

    /// The same, where `y` holds operand `index`.
    ///
    /// # Panics
    /// If `other` is shorter than `y`.
    pub(crate) fn over(mut self, isa: Isa, index: usize, other: &[u8], y: &mut [u8]) {
        if index == 1 {
            self.multipliers.reverse();
        }
        #[cfg(target_arch = "x86_64")]
        if isa != Isa::Scalar {
            let (other, y) = (&other[..y.len()], y.as_mut_ptr());
            // SAFETY: both have the bytes of `other`; what is read and written comes from one pointer.
            return unsafe { self.vectors(isa, y, other, y) };
        }
        let _ = isa;
        let (bias, flip) = self.unsigned();
        let (sum, other) = (Self { bias, ..self }, &other[..y.len()]);
        for (y, &other) in y.iter_mut().zip(other) {
            *y = sum.apply((*y ^ flip).into(), (other ^ flip).into()) as u8;
        }
    }

    /// The bias for operands that are unsigned, and what makes bytes those.
    #[inline]
    fn unsigned(self) -> (i32, u8) {
        let flip: u8 = if self.signed { 128 } else { 0 };
        let [a, b] = self.multipliers;
        (self.bias.wrapping_sub(a.wrapping_add(b).wrapping_mul(flip.into())), flip)
    }

    /// # Safety
    /// There are as many bytes from `a` and from `y` on as there are of `b`. Those two may be the same pointer.
    #[cfg(target_arch = "x86_64")]
    unsafe fn vectors(self, isa: Isa, a: *const u8, b: &[u8], y: *mut u8) {
        crate::dispatch::require(isa);
        let sums = x86_64::Sums::new(self);
        // SAFETY: the caller's; the CPU has what `isa` needs, as was just asserted, which is at least AVX2.
        unsafe {
            match isa {
                Isa::Avx2 => x86_64::avx2(&sums, a, b, y),
                _ => x86_64::avx512(&sums, a, b, y),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::ByteSum;
    use std::arch::x86_64::*;

    /// Bits of the lower part of a multiplier.
    const LOW: u32 = 11;

    /// A sum of unsigned bytes, the multipliers in two parts of 16 bits: `vpmaddwd` multiplies and adds two pairs of those at the
    /// cost of one step, where a product of 32 bits takes two. The result is signed, as values are narrowed with saturation.
    pub(super) struct Sums {
        bias: i32,
        /// Both multipliers' lower and upper parts.
        low: i32,
        high: i32,
        shift: u32,
        zero_point: i16,
        min: i8,
        max: i8,
        /// What makes operands unsigned and the result signed, or the other way.
        flip: [u8; 2],
    }

    impl Sums {
        pub(super) fn new(sum: ByteSum) -> Self {
            let [a, b] = sum.multipliers;
            let pair = |a: i32, b: i32| (a & 0xffff) | (b << 16);
            let mask = (1 << LOW) - 1;
            let (bias, flip) = sum.unsigned();
            let result = if sum.signed { 0 } else { 128 };
            Self {
                bias,
                low: pair(a & mask, b & mask),
                high: pair(a >> LOW, b >> LOW),
                shift: sum.shift,
                zero_point: (sum.zero_point - result) as i16,
                min: (sum.min - result) as i8,
                max: (sum.max - result) as i8,
                flip: [flip, result as u8],
            }
        }
    }

    macro_rules! kernel {
        (
            $name:ident $vector:ident $bytes:literal, $features:path, $load:ident $store:ident $splat_8:ident $splat_16:ident $splat_32:ident
            $zero:ident $xor:ident $low_8:ident $high_8:ident $low_16:ident $high_16:ident $multiply:ident $add:ident $left:ident
            $right:ident $pack_32:ident $pack_16:ident $add_16:ident $min:ident $max:ident
        ) => {
            $features! {
                /// # Safety
                /// As [`ByteSum::vectors`].
                pub(super) unsafe fn $name(sums: &Sums, a: *const u8, b: &[u8], y: *mut u8) {
                    let (bias, low, high) = ($splat_32(sums.bias), $splat_32(sums.low), $splat_32(sums.high));
                    let (zero_point, shift) = ($splat_16(sums.zero_point), _mm_cvtsi32_si128(sums.shift as i32));
                    let (min, max) = ($splat_8(sums.min), $splat_8(sums.max));
                    let [flip_operands, flip_result] = sums.flip.map(|flip| $splat_8(flip as i8));
                    let narrow = |a, b| {
                        let sum = |pairs| {
                            let high = $left::<{ LOW as _ }>($multiply(pairs, high));
                            $right($add($add(bias, $multiply(pairs, low)), high), shift)
                        };
                        $add_16($pack_32(sum($low_16(a, b)), sum($high_16(a, b))), zero_point)
                    };
                    let block = |a: $vector, b: $vector| {
                        let (a, b, zero) = ($xor(a, flip_operands), $xor(b, flip_operands), $zero());
                        let first = narrow($low_8(a, zero), $low_8(b, zero));
                        let last = narrow($high_8(a, zero), $high_8(b, zero));
                        $xor($max($min($pack_16(first, last), max), min), flip_result)
                    };
                    let whole = b.len() / $bytes * $bytes;
                    for at in (0..whole).step_by($bytes) {
                        // SAFETY: each of the three has a whole vector there.
                        unsafe {
                            let (a, b) = ($load(a.add(at).cast()), $load(b.as_ptr().add(at).cast()));
                            $store(y.add(at).cast(), block(a, b));
                        }
                    }
                    let len = b.len() - whole;
                    if len > 0 {
                        let [mut operand, mut other] = [[0_u8; $bytes]; 2];
                        other[..len].copy_from_slice(&b[whole..]);
                        // SAFETY: `a` and `y` have `len` more bytes, of which the arrays are none.
                        unsafe {
                            operand.as_mut_ptr().copy_from_nonoverlapping(a.add(whole), len);
                            let (a, b) = ($load(operand.as_ptr().cast()), $load(other.as_ptr().cast()));
                            $store(operand.as_mut_ptr().cast(), block(a, b));
                            y.add(whole).copy_from_nonoverlapping(operand.as_ptr(), len);
                        }
                    }
                }
            }
        };
    }

    kernel!(
        avx2 __m256i 32, litesmith_simd::avx2, _mm256_loadu_si256 _mm256_storeu_si256 _mm256_set1_epi8 _mm256_set1_epi16
        _mm256_set1_epi32 _mm256_setzero_si256 _mm256_xor_si256 _mm256_unpacklo_epi8 _mm256_unpackhi_epi8
        _mm256_unpacklo_epi16 _mm256_unpackhi_epi16 _mm256_madd_epi16 _mm256_add_epi32 _mm256_slli_epi32 _mm256_sra_epi32
        _mm256_packs_epi32 _mm256_packs_epi16 _mm256_adds_epi16 _mm256_min_epi8 _mm256_max_epi8
    );
    kernel!(
        avx512 __m512i 64, litesmith_simd::avx512, _mm512_loadu_si512 _mm512_storeu_si512 _mm512_set1_epi8 _mm512_set1_epi16
        _mm512_set1_epi32 _mm512_setzero_si512 _mm512_xor_si512 _mm512_unpacklo_epi8 _mm512_unpackhi_epi8
        _mm512_unpacklo_epi16 _mm512_unpackhi_epi16 _mm512_madd_epi16 _mm512_add_epi32 _mm512_slli_epi32 _mm512_sra_epi32
        _mm512_packs_epi32 _mm512_packs_epi16 _mm512_adds_epi16 _mm512_min_epi8 _mm512_max_epi8
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All pairs of bytes, in lengths that end within a vector.
    #[test]
    fn every_isa_gives_the_sum_of_each_pair() {
        let bytes: Vec<u8> = (0..=255).collect();
        let extremes = [1 << 21, (1 << 21) - 1, 1 << 20, 1_234_567, 2048, 2047, 1024, 1, 0].map(|m| [m, 1_500_000]);
        let multipliers = extremes.into_iter().flat_map(|[a, b]| [[a, b], [a, -b], [b, -a], [-a, a]]);
        for (at, multipliers) in multipliers.enumerate() {
            for (signed, shift, zero_point, min, max) in
                [(true, 20, -7, -128, 127), (true, 13, 127, -20, 100), (false, 21, 200, 0, 255), (false, 12, 3, 3, 90)]
            {
                let bias = (1 << (shift - 1)) - 37 * multipliers[0] + 11 * multipliers[1];
                let sum = ByteSum { bias, multipliers, shift, zero_point, min, max, signed };
                let value = |byte: u8| if signed { i32::from(byte as i8) } else { byte.into() };
                for a in [0, 1, 127, 128, 200, 255, at as u8 * 7] {
                    let a = vec![a; 256 - at];
                    let want: Vec<u8> =
                        a.iter().zip(&bytes).map(|(&a, &b)| sum.apply(value(a), value(b)) as u8).collect();
                    for isa in Isa::available() {
                        let mut y = vec![0; a.len()];
                        sum.run(isa, &a, &bytes[..a.len()], &mut y);
                        assert!(y == want, "{sum:?} on {isa}");
                        for (index, other) in [(0, &bytes[..a.len()]), (1, &a)] {
                            y.copy_from_slice(if index == 0 { &a } else { &bytes[..a.len()] });
                            sum.over(isa, index, other, &mut y);
                            assert!(y == want, "{sum:?} over operand {index} on {isa}");
                        }
                    }
                }
            }
        }
    }
}

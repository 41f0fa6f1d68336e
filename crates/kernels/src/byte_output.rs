//! The end of the 8-bit convolutions: `round(clamp(sum * scale)) + zero point` as a byte ([`Rounding::Float`]).

use crate::requantize::{OutputStage, Rounding, round_even_small};

/// The values of the output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ByteRange {
    /// Bounds, less the zero point.
    low: f32,
    high: f32,
    zero_point: i32,
    /// Whether the bytes are unsigned.
    unsigned: bool,
}

impl ByteRange {
    pub(crate) fn new(stage: &OutputStage, unsigned: bool) -> Self {
        let OutputStage { zero_point, min, max, .. } = *stage;
        Self { low: (min - zero_point) as f32, high: (max - zero_point) as f32, zero_point, unsigned }
    }

    /// What bytes of the output are less, while they are signed.
    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        all(target_arch = "wasm32", target_feature = "simd128")
    ))]
    fn shift(self) -> i32 {
        if self.unsigned { 128 } else { 0 }
    }

    /// The lower bound as a signed byte.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn min(self) -> i8 {
        (self.low as i32 + self.zero_point - self.shift()) as i8
    }

    /// The law.
    pub(crate) fn byte(self, sum: i32, scale: f32) -> u8 {
        let scaled = (sum as f32 * scale).max(self.low).min(self.high);
        (round_even_small(scaled) + self.zero_point) as u8
    }
}

/// The scales of the output channels where the rounding is the float one.
pub(crate) fn float_scales(stage: &OutputStage) -> Option<&[f32]> {
    match &stage.rounding {
        Rounding::Float(scales) => Some(scales),
        _ => None,
    }
}

/// A [`ByteRange`] in registers. Bytes are packed as signed ones, which saturates on both sides; unsigned ones are 128
/// less until then. The lower bound is applied to bytes, where it costs a quarter; the upper one to floats, as those
/// beyond 32 bits would turn negative.
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86_64 {
    use super::ByteRange;
    use std::arch::x86_64::*;

    macro_rules! registers {
        (
            $(#[$doc:meta])*
            $name:ident $features:literal $floats:ident $integers:ident,
            $set_ps:ident $set_16:ident $set_8:ident $to_ps:ident $to_i32:ident $mul:ident $min_ps:ident
            $pack_32:ident $pack_16:ident $add:ident $max:ident $xor:ident
        ) => {
            $(#[$doc])*
            #[derive(Clone, Copy)]
            pub(crate) struct $name {
                high: $floats,
                zero_point: $integers,
                min: $integers,
                flip: $integers,
            }

            impl $name {
                #[inline]
                #[target_feature(enable = $features)]
                pub(crate) fn new(range: ByteRange) -> Self {
                    Self {
                        high: $set_ps(range.high),
                        zero_point: $set_16((range.zero_point - range.shift()) as i16),
                        min: $set_8(range.min()),
                        flip: $set_8(range.shift() as u8 as i8),
                    }
                }

                /// Scaled, bounded above and rounded.
                #[inline]
                #[target_feature(enable = $features)]
                pub(crate) fn round(self, sums: $integers, scales: $floats) -> $integers {
                    $to_i32($min_ps($mul($to_ps(sums), scales), self.high))
                }

                /// The bytes of four vectors: each 128-bit lane holds four of each.
                #[inline]
                #[target_feature(enable = $features)]
                pub(crate) fn pack_lanes(self, [a, b, c, d]: [$integers; 4]) -> $integers {
                    let ab = $add($pack_32(a, b), self.zero_point);
                    let cd = $add($pack_32(c, d), self.zero_point);
                    $xor($max($pack_16(ab, cd), self.min), self.flip)
                }
            }
        };
    }
    registers! {
        /// AVX-512.
        Wide "avx512f,avx512bw,avx512vl" __m512 __m512i,
        _mm512_set1_ps _mm512_set1_epi16 _mm512_set1_epi8 _mm512_cvtepi32_ps _mm512_cvtps_epi32 _mm512_mul_ps
        _mm512_min_ps _mm512_packs_epi32 _mm512_packs_epi16 _mm512_adds_epi16 _mm512_max_epi8 _mm512_xor_si512
    }
    registers! {
        /// AVX2.
        Narrow "avx2" __m256 __m256i,
        _mm256_set1_ps _mm256_set1_epi16 _mm256_set1_epi8 _mm256_cvtepi32_ps _mm256_cvtps_epi32 _mm256_mul_ps
        _mm256_min_ps _mm256_packs_epi32 _mm256_packs_epi16 _mm256_adds_epi16 _mm256_max_epi8 _mm256_xor_si256
    }

    impl Wide {
        /// The bytes of four vectors, one after another.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
        pub(crate) fn pack(self, four: [__m512i; 4]) -> __m512i {
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_permutexvar_epi32(order, self.pack_lanes(four))
        }
    }

    impl Narrow {
        /// The bytes of two vectors, one after another.
        #[inline]
        #[target_feature(enable = "avx2")]
        pub(crate) fn pack_two(self, [a, b]: [__m256i; 2]) -> __m128i {
            let bytes = self.pack_lanes([a, b, a, b]);
            let order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
            _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order))
        }
    }
}

/// A [`ByteRange`] in registers of NEON, used as on x86-64.
#[cfg(target_arch = "aarch64")]
pub(crate) mod aarch64 {
    use super::ByteRange;
    use std::arch::aarch64::*;

    #[derive(Clone, Copy)]
    pub(crate) struct Registers {
        high: float32x4_t,
        zero_point: int16x8_t,
        min: int8x8_t,
        flip: int8x8_t,
    }

    impl Registers {
        #[inline]
        #[target_feature(enable = "neon")]
        pub(crate) fn new(range: ByteRange) -> Self {
            Self {
                high: vdupq_n_f32(range.high),
                zero_point: vdupq_n_s16((range.zero_point - range.shift()) as i16),
                min: vdup_n_s8(range.min()),
                flip: vdup_n_s8(range.shift() as u8 as i8),
            }
        }

        /// Scaled, bounded above and rounded.
        #[inline]
        #[target_feature(enable = "neon")]
        fn round(self, sums: int32x4_t, scales: float32x4_t) -> int32x4_t {
            vcvtnq_s32_f32(vminq_f32(vmulq_f32(vcvtq_f32_s32(sums), scales), self.high))
        }

        /// The bytes of two vectors.
        #[inline]
        #[target_feature(enable = "neon")]
        pub(crate) fn bytes(self, sums: [int32x4_t; 2], scales: [float32x4_t; 2]) -> uint8x8_t {
            let low = vqmovn_s32(self.round(sums[0], scales[0]));
            let words = vqmovn_high_s32(low, self.round(sums[1], scales[1]));
            let bytes = vqmovn_s16(vqaddq_s16(words, self.zero_point));
            vreinterpret_u8_s8(veor_s8(vmax_s8(bytes, self.min), self.flip))
        }
    }
}

/// A [`ByteRange`] in registers of WebAssembly. Bytes are packed as signed ones; unsigned ones are 128 less until then.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) mod wasm32 {
    use super::ByteRange;
    use std::arch::wasm32::*;

    /// Added to a small float it leaves the integer nearest to it, even where two are, in the lowest bits.
    const SHIFT: f32 = 12_582_912.0;

    #[derive(Clone, Copy)]
    pub(crate) struct Registers {
        low: v128,
        high: v128,
        /// The bits of [`SHIFT`] less the zero point.
        offset: v128,
        flip: v128,
    }

    impl Registers {
        #[inline]
        #[target_feature(enable = "simd128")]
        pub(crate) fn new(range: ByteRange) -> Self {
            let shift = range.shift();
            Self {
                low: f32x4_splat(range.low),
                high: f32x4_splat(range.high),
                offset: i32x4_splat(SHIFT.to_bits() as i32 - (range.zero_point - shift)),
                flip: u8x16_splat(shift as u8),
            }
        }

        /// Scaled, bounded and rounded: the bytes, one in each 32-bit lane.
        #[inline]
        #[target_feature(enable = "simd128")]
        pub(crate) fn round(self, sums: v128, scales: v128) -> v128 {
            let scaled = f32x4_mul(f32x4_convert_i32x4(sums), scales);
            // Of a NaN and a number the first takes the bound, as the law does.
            let bounded = f32x4_pmin(f32x4_pmax(self.low, scaled), self.high);
            i32x4_sub(f32x4_add(bounded, f32x4_splat(SHIFT)), self.offset)
        }

        /// The bytes of four vectors, one after another.
        #[inline]
        #[target_feature(enable = "simd128")]
        pub(crate) fn pack(self, [a, b, c, d]: [v128; 4]) -> v128 {
            v128_xor(i8x16_narrow_i16x8(i16x8_narrow_i32x4(a, b), i16x8_narrow_i32x4(c, d)), self.flip)
        }
    }
}

//! Work that runs at the CPU's arithmetic limit, to measure that limit against which kernels are judged. The caller reads
//! the clock.

use crate::Isa;

macro_rules! peak {
    ($module:ident, $features:path, $vector:path, $chains:literal) => {
        mod $module {
            use $features as features;
            use $vector as vector;

            features! {
                pub(super) fn run(rounds: u64) -> (u64, f32) {
                    let (a, b) = (vector::splat(std::hint::black_box(0.5)), vector::splat(std::hint::black_box(1.0)));
                    // Chains that start alike would be merged into one.
                    let starts = std::hint::black_box([0.25f32; $chains]);
                    let mut sums = [vector::splat(0.0); $chains];
                    for i in 0..$chains {
                        sums[i] = vector::splat(starts[i]);
                    }
                    for _ in 0..rounds {
                        for i in 0..$chains {
                            sums[i] = vector::multiply_add(a, sums[i], b);
                        }
                    }
                    let mut out = [0.0; vector::LANES];
                    let mut total = 0.0;
                    for sum in sums {
                        vector::store(&mut out, sum);
                        total += out[0];
                    }
                    (rounds * $chains * vector::LANES as u64, total)
                }
            }
        }
    };
}

peak!(scalar, crate::gemm::tile::baseline, litesmith_simd::portable::f32x4, 12);
#[cfg(target_arch = "x86_64")]
peak!(avx2, litesmith_simd::avx2, litesmith_simd::x86_64::f32x8, 12);
#[cfg(target_arch = "x86_64")]
peak!(avx512, litesmith_simd::avx512, litesmith_simd::x86_64::f32x16, 24);
#[cfg(target_arch = "aarch64")]
peak!(neon, litesmith_simd::neon, litesmith_simd::aarch64::f32x4, 24);
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
peak!(simd128, litesmith_simd::simd128, litesmith_simd::wasm32::f32x4, 12);
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
peak!(relaxed_simd, litesmith_simd::relaxed_simd, litesmith_simd::wasm32::relaxed_f32x4, 12);

/// Runs `rounds` of independent f32 multiply-adds in registers on one thread. Returns how many (a vector counts as its
/// lanes), and a value that depends on all of them, so that none can be left out.
///
/// # Panics
/// If this CPU lacks `isa`.
#[must_use]
pub fn multiply_adds(isa: Isa, rounds: u64) -> (u64, f32) {
    #[cfg(target_arch = "x86_64")]
    {
        assert!(isa.is_available(), "instruction set {isa} is not available on this CPU");
        match isa {
            Isa::Avx2 => {
                // SAFETY: the CPU has what `isa` needs, as was just asserted.
                return unsafe { avx2::run(rounds) };
            }
            Isa::Avx512 | Isa::Avx512Vnni | Isa::AmxInt8 => {
                // SAFETY: the CPU has what `isa` needs, as was just asserted.
                return unsafe { avx512::run(rounds) };
            }
            _ => {}
        }
    }
    #[cfg(target_arch = "aarch64")]
    if isa != Isa::Scalar {
        // SAFETY: all of AArch64 have NEON.
        return unsafe { neon::run(rounds) };
    }
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    if isa == Isa::RelaxedSimd {
        return relaxed_simd::run(rounds);
    }
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    if isa == Isa::Simd128 {
        return simd128::run(rounds);
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = isa;
    scalar::run(rounds)
}

#[cfg(target_arch = "x86_64")]
mod bytes {
    use std::arch::x86_64::{
        _mm256_add_epi32, _mm256_cvtsi256_si32, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8,
        _mm256_set1_epi16, _mm256_set1_epi32, _mm512_add_epi32, _mm512_cvtsi512_si32, _mm512_dpbusd_epi32,
        _mm512_madd_epi16, _mm512_maddubs_epi16, _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_epi32,
    };
    use std::hint::black_box;

    const CHAINS: usize = 12;

    // The sums are operands of their own products, as otherwise those would be computed once.
    litesmith_simd::avx2! {
        pub(super) fn avx2(rounds: u64) -> (u64, i32) {
            let (b, ones) = (_mm256_set1_epi8(black_box(1)), _mm256_set1_epi16(black_box(1)));
            let starts = black_box([1; CHAINS]);
            let mut sums = starts.map(|start| _mm256_set1_epi32(start));
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_maddubs_epi16(*sum, b), ones));
                }
            }
            let total = sums.iter().fold(0_i32, |total, &sum| total.wrapping_add(_mm256_cvtsi256_si32(sum)));
            (rounds * CHAINS as u64 * 32, total)
        }
    }

    litesmith_simd::avx512! {
        pub(super) fn avx512(rounds: u64) -> (u64, i32) {
            let (b, ones) = (_mm512_set1_epi8(black_box(1)), _mm512_set1_epi16(black_box(1)));
            let starts = black_box([1; CHAINS]);
            let mut sums = starts.map(|start| _mm512_set1_epi32(start));
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = _mm512_add_epi32(*sum, _mm512_madd_epi16(_mm512_maddubs_epi16(*sum, b), ones));
                }
            }
            let total = sums.iter().fold(0_i32, |total, &sum| total.wrapping_add(_mm512_cvtsi512_si32(sum)));
            (rounds * CHAINS as u64 * 64, total)
        }
    }

    /// Four products of 16 rows, 16 columns and 64 elements a round.
    pub(super) fn amx(rounds: u64) -> (u64, i32) {
        let Some(_tiles) = litesmith_simd::amx::Tiles::new(16, 16) else { return (0, 0) };
        let ones = black_box([1_u8; 64]);
        let mut sums = [0_i32; 16 * 16];
        // SAFETY: there are tiles; a tile whose rows are 0 bytes apart reads the same line for each, and there is room for one.
        unsafe {
            litesmith_simd::tile_load!(4, ones.as_ptr(), 0usize);
            litesmith_simd::tile_load!(6, ones.as_ptr(), 0usize);
            litesmith_simd::tile_load!(0, ones.as_ptr(), 0usize);
            litesmith_simd::tile_load!(1, ones.as_ptr(), 0usize);
            litesmith_simd::tile_load!(2, ones.as_ptr(), 0usize);
            litesmith_simd::tile_load!(3, ones.as_ptr(), 0usize);
            for _ in 0..rounds {
                litesmith_simd::tile_multiply!("us", 0, 4, 6);
                litesmith_simd::tile_multiply!("us", 1, 4, 6);
                litesmith_simd::tile_multiply!("us", 2, 4, 6);
                litesmith_simd::tile_multiply!("us", 3, 4, 6);
            }
            litesmith_simd::tile_store!(0, sums.as_mut_ptr(), 64usize);
        }
        (rounds * 4 * 16 * 16 * 64, sums[0])
    }

    litesmith_simd::avx512_vnni! {
        pub(super) fn avx512_vnni(rounds: u64) -> (u64, i32) {
            let b = _mm512_set1_epi8(black_box(1));
            let starts = black_box([1; CHAINS]);
            let mut sums = starts.map(|start| _mm512_set1_epi32(start));
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = _mm512_dpbusd_epi32(*sum, *sum, b);
                }
            }
            let total = sums.iter().fold(0_i32, |total, &sum| total.wrapping_add(_mm512_cvtsi512_si32(sum)));
            (rounds * CHAINS as u64 * 64, total)
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod bytes {
    use litesmith_simd::aarch64::bytes::{dot, matrix_product};
    use std::arch::aarch64::*;
    use std::hint::black_box;

    const CHAINS: usize = 16;

    /// The sums are operands of their own products, as otherwise those would be computed once.
    macro_rules! peak {
        ($name:ident $features:ident $products:literal |$sum:ident, $b:ident| $step:expr) => {
            litesmith_simd::$features! {
                pub(super) fn $name(rounds: u64) -> (u64, i32) {
                    let $b = vdupq_n_s8(black_box(1));
                    let starts = black_box([1; CHAINS]);
                    let mut sums = [vdupq_n_s32(0); CHAINS];
                    for i in 0..CHAINS {
                        sums[i] = vdupq_n_s32(starts[i]);
                    }
                    for _ in 0..rounds {
                        for sum in &mut sums {
                            let $sum = *sum;
                            *sum = $step;
                        }
                    }
                    let mut total = 0_i32;
                    for sum in sums {
                        total = total.wrapping_add(vgetq_lane_s32::<0>(sum));
                    }
                    (rounds * CHAINS as u64 * $products, total)
                }
            }
        };
    }
    peak!(neon neon 16 |sum, b| {
        let low = vmull_s8(vget_low_s8(vreinterpretq_s8_s32(sum)), vget_low_s8(b));
        vpadalq_s16(sum, vmlal_high_s8(low, vreinterpretq_s8_s32(sum), b))
    });
    peak!(neon_dotprod neon_dotprod 16 |sum, b| dot(sum, vreinterpretq_s8_s32(sum), b));
    peak!(neon_i8mm neon_i8mm 32 |sum, b| matrix_product(sum, vreinterpretq_s8_s32(sum), b));
}

/// Runs `rounds` of independent multiply-adds of bytes, summed in 32 bits, in registers on one thread: with the instructions
/// that do most of them, whether or not an exact kernel can use those. Returns how many, and a value that depends on all.
///
/// # Panics
/// If this CPU lacks `isa`.
#[must_use]
pub fn byte_multiply_adds(isa: Isa, rounds: u64) -> (u64, i32) {
    #[cfg(target_arch = "x86_64")]
    {
        assert!(isa.is_available(), "instruction set {isa} is not available on this CPU");
        match isa {
            Isa::Avx2 => {
                // SAFETY: the CPU has what `isa` needs, as was just asserted.
                return unsafe { bytes::avx2(rounds) };
            }
            Isa::Avx512 => {
                // SAFETY: the CPU has what `isa` needs, as was just asserted.
                return unsafe { bytes::avx512(rounds) };
            }
            Isa::Avx512Vnni => {
                // SAFETY: the CPU has what `isa` needs, as was just asserted.
                return unsafe { bytes::avx512_vnni(rounds) };
            }
            Isa::AmxInt8 => return bytes::amx(rounds),
            _ => {}
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        assert!(isa.is_available(), "instruction set {isa} is not available on this CPU");
        match isa {
            Isa::Neon => {
                // SAFETY: all of AArch64 have NEON.
                return unsafe { bytes::neon(rounds) };
            }
            Isa::NeonDotprod => {
                // SAFETY: the CPU has what `isa` needs, as was just asserted.
                return unsafe { bytes::neon_dotprod(rounds) };
            }
            Isa::NeonI8mm => {
                // SAFETY: as above.
                return unsafe { bytes::neon_i8mm(rounds) };
            }
            _ => {}
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = isa;
    // What the compiler makes of the plain loop.
    const LANES: usize = 64;
    let (a, mut b) = (std::hint::black_box([3_i8; LANES]), std::hint::black_box([5_i8; LANES]));
    let mut sums = [0_i32; LANES];
    for _ in 0..rounds / 8 {
        b = std::hint::black_box(b);
        for ((sum, a), b) in sums.iter_mut().zip(&a).zip(&b) {
            *sum = sum.wrapping_add(i32::from(i16::from(*a) * i16::from(*b)));
        }
    }
    (rounds / 8 * LANES as u64, sums.iter().fold(0, |total, sum| total.wrapping_add(*sum)))
}

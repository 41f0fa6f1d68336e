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
            Isa::Avx512 | Isa::Avx512Vnni => {
                // SAFETY: the CPU has what `isa` needs, as was just asserted.
                return unsafe { avx512::run(rounds) };
            }
            _ => {}
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = isa;
    scalar::run(rounds)
}

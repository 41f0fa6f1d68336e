//! Vectors of `f32` for AVX2 and AVX-512: loads and stores that take references to arrays or slices, so that they cannot
//! be wrong, and the arithmetic under names that both share.

macro_rules! f32_vector {
    (
        $(#[$doc:meta])*
        $module:ident $lanes:literal $vector:ident $features:ident,
        $load:ident $store:ident $splat:ident $fma:ident $add:ident $sub:ident $min:ident $max:ident,
        $length:ident => $load_partial:expr, $store_partial:expr
    ) => {
        $(#[$doc])*
        pub mod $module {
            #[doc(no_inline)]
            pub use std::arch::x86_64::$vector as Vector;
            use std::arch::x86_64::*;

            /// Lanes of a vector.
            pub const LANES: usize = $lanes;

            $features! {
                /// Loads a vector.
                ///
                /// # Safety
                /// The CPU must have the features of the module's instruction set.
                #[inline]
                #[must_use]
                pub fn load(from: &[f32; LANES]) -> Vector {
                    // SAFETY: `from` is a reference to as many floats as are read; unaligned loads are allowed.
                    unsafe { $load(from.as_ptr()) }
                }

                /// Stores a vector.
                ///
                /// # Safety
                /// The CPU must have the features of the module's instruction set.
                #[inline]
                pub fn store(to: &mut [f32; LANES], vector: Vector) {
                    // SAFETY: `to` is a reference to as many floats as are written; unaligned stores are allowed.
                    unsafe { $store(to.as_mut_ptr(), vector) }
                }

                /// Loads up to a vector; the lanes beyond `from` are 0.
                ///
                /// # Safety
                /// The CPU must have the features of the module's instruction set.
                #[inline]
                #[must_use]
                pub fn load_partial(from: &[f32]) -> Vector {
                    let $length = from.len().min(LANES);
                    // SAFETY: the mask lets only the first `from.len()` floats be read.
                    unsafe { $load_partial(from.as_ptr()) }
                }

                /// Stores as many lanes as `to` has room for.
                ///
                /// # Safety
                /// The CPU must have the features of the module's instruction set.
                #[inline]
                pub fn store_partial(to: &mut [f32], vector: Vector) {
                    let $length = to.len().min(LANES);
                    // SAFETY: the mask lets only the first `to.len()` floats be written.
                    unsafe { $store_partial(to.as_mut_ptr(), vector) }
                }

                /// `value` in each lane.
                ///
                /// # Safety
                /// The CPU must have the features of the module's instruction set.
                #[inline]
                #[must_use]
                pub fn splat(value: f32) -> Vector {
                    $splat(value)
                }

                /// `a b + c`, rounded once.
                ///
                /// # Safety
                /// The CPU must have the features of the module's instruction set.
                #[inline]
                #[must_use]
                pub fn multiply_add(a: Vector, b: Vector, c: Vector) -> Vector {
                    $fma(a, b, c)
                }

                /// `a + b`.
                ///
                /// # Safety
                /// The CPU must have the features of the module's instruction set.
                #[inline]
                #[must_use]
                pub fn add(a: Vector, b: Vector) -> Vector {
                    $add(a, b)
                }

                /// `a - b`.
                ///
                /// # Safety
                /// The CPU must have the features of the module's instruction set.
                #[inline]
                #[must_use]
                pub fn sub(a: Vector, b: Vector) -> Vector {
                    $sub(a, b)
                }

                /// `x` clamped to `[low, high]`; NaN stays NaN.
                ///
                /// # Safety
                /// The CPU must have the features of the module's instruction set.
                #[inline]
                #[must_use]
                pub fn clamp(x: Vector, low: Vector, high: Vector) -> Vector {
                    // Of a NaN and a number these take the second operand.
                    $min(high, $max(low, x))
                }
            }
        }
    };
}

/// Lane `i` of a window at `8 - n` is all ones for `i < n`.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

avx2! {
    /// Ones in the first `length` lanes, at most 8.
    #[inline]
    fn mask(length: usize) -> std::arch::x86_64::__m256i {
        let window: &[i32; 8] = MASKS[8 - length..].first_chunk().unwrap_or(&[0; 8]);
        // SAFETY: `window` is a reference to as many integers as are read; unaligned loads are allowed.
        unsafe { std::arch::x86_64::_mm256_loadu_si256(window.as_ptr().cast()) }
    }
}

f32_vector! {
    /// Eight lanes.
    f32x8 8 __m256 avx2,
    _mm256_loadu_ps _mm256_storeu_ps _mm256_set1_ps _mm256_fmadd_ps _mm256_add_ps _mm256_sub_ps
    _mm256_min_ps _mm256_max_ps,
    length => |from| _mm256_maskload_ps(from, super::mask(length)),
    |to, vector| _mm256_maskstore_ps(to, super::mask(length), vector)
}
f32_vector! {
    /// Sixteen lanes.
    f32x16 16 __m512 avx512,
    _mm512_loadu_ps _mm512_storeu_ps _mm512_set1_ps _mm512_fmadd_ps _mm512_add_ps _mm512_sub_ps
    _mm512_min_ps _mm512_max_ps,
    length => |from| _mm512_maskz_loadu_ps(((1u32 << length) - 1) as u16, from),
    |to, vector| _mm512_mask_storeu_ps(to, ((1u32 << length) - 1) as u16, vector)
}

#[cfg(test)]
mod tests {
    use crate::Isa;

    avx512! {
        fn round_trip_16(from: &[f32], to: &mut [f32]) {
            super::f32x16::store_partial(to, super::f32x16::load_partial(from));
        }
    }
    avx2! {
        fn round_trip_8(from: &[f32], to: &mut [f32]) {
            super::f32x8::store_partial(to, super::f32x8::load_partial(from));
        }
    }

    #[test]
    fn partial_loads_and_stores_keep_to_their_slice() {
        let from: Vec<f32> = (1..=20).map(|i| i as f32).collect();
        for (isa, lanes) in [(Isa::Avx2, 8), (Isa::Avx512, 16)] {
            if !isa.is_available() {
                continue;
            }
            for read in 0..=20 {
                for written in 0..=20 {
                    let mut to = [-1.0; 20];
                    // SAFETY: the CPU has the features, as was just asked.
                    unsafe {
                        if isa == Isa::Avx2 {
                            round_trip_8(&from[..read], &mut to[..written]);
                        } else {
                            round_trip_16(&from[..read], &mut to[..written]);
                        }
                    }
                    for (i, &got) in to.iter().enumerate() {
                        let loaded = if i < read.min(lanes) { from[i] } else { 0.0 };
                        assert_eq!(got, if i < written.min(lanes) { loaded } else { -1.0 });
                    }
                }
            }
        }
    }
}

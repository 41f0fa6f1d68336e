//! Vectors of `f32` for AVX2 and AVX-512: loads and stores that take references to arrays, so that they cannot be wrong.

macro_rules! f32_vector {
    ($(#[$doc:meta])* $module:ident $lanes:literal $vector:ident $features:ident, $load:ident $store:ident) => {
        $(#[$doc])*
        pub mod $module {
            #[doc(no_inline)]
            pub use std::arch::x86_64::$vector as Vector;
            use std::arch::x86_64::{$load, $store};

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
            }
        }
    };
}

f32_vector! {
    /// Eight lanes.
    f32x8 8 __m256 avx2, _mm256_loadu_ps _mm256_storeu_ps
}
f32_vector! {
    /// Sixteen lanes.
    f32x16 16 __m512 avx512, _mm512_loadu_ps _mm512_storeu_ps
}

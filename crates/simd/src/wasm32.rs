//! Vectors of `f32` for WebAssembly, under the names of [`crate::portable`]. An engine checks a module before it runs, so
//! nothing here can be called where the instructions are missing.

macro_rules! f32_vector {
    ($(#[$doc:meta])* $module:ident $features:ident, $(#[$how:meta])* |$a:ident, $b:ident, $c:ident| $multiply_add:expr) => {
        $(#[$doc])*
        pub mod $module {
            #[doc(no_inline)]
            pub use std::arch::wasm32::v128 as Vector;
            use std::arch::wasm32::*;

            /// Lanes of a vector.
            pub const LANES: usize = 4;

            $features! {
                /// Loads a vector.
                #[inline]
                #[must_use]
                pub fn load(from: &[f32; LANES]) -> Vector {
                    // SAFETY: `from` is a reference to as many floats as are read; unaligned loads are allowed.
                    unsafe { v128_load(from.as_ptr().cast()) }
                }

                /// Stores a vector.
                #[inline]
                pub fn store(to: &mut [f32; LANES], vector: Vector) {
                    // SAFETY: `to` is a reference to as many floats as are written; unaligned stores are allowed.
                    unsafe { v128_store(to.as_mut_ptr().cast(), vector) }
                }

                /// Loads up to a vector; the lanes beyond `from` are 0.
                #[inline]
                #[must_use]
                pub fn load_partial(from: &[f32]) -> Vector {
                    let mut lanes = [0.0; LANES];
                    lanes.iter_mut().zip(from).for_each(|(lane, &value)| *lane = value);
                    load(&lanes)
                }

                /// Stores as many lanes as `to` has room for.
                #[inline]
                pub fn store_partial(to: &mut [f32], vector: Vector) {
                    let mut lanes = [0.0; LANES];
                    store(&mut lanes, vector);
                    to.iter_mut().zip(lanes).for_each(|(to, lane)| *to = lane);
                }

                /// `value` in each lane.
                #[inline]
                #[must_use]
                pub fn splat(value: f32) -> Vector {
                    f32x4_splat(value)
                }

                $(#[$how])*
                #[inline]
                #[must_use]
                pub fn multiply_add($a: Vector, $b: Vector, $c: Vector) -> Vector {
                    $multiply_add
                }

                /// `a + b`.
                #[inline]
                #[must_use]
                pub fn add(a: Vector, b: Vector) -> Vector {
                    f32x4_add(a, b)
                }

                /// `a - b`.
                #[inline]
                #[must_use]
                pub fn sub(a: Vector, b: Vector) -> Vector {
                    f32x4_sub(a, b)
                }

                /// `x` clamped to `[low, high]`; NaN stays NaN.
                #[inline]
                #[must_use]
                pub fn clamp(x: Vector, low: Vector, high: Vector) -> Vector {
                    // Of a NaN and a number these take the first operand.
                    f32x4_pmin(f32x4_pmax(x, low), high)
                }
            }
        }
    };
}

f32_vector! {
    /// Four lanes.
    f32x4 simd128,
    /// `a b + c`, the product rounded first.
    |a, b, c| f32x4_add(f32x4_mul(a, b), c)
}
#[cfg(target_feature = "relaxed-simd")]
f32_vector! {
    /// Four lanes, with the relaxed instructions.
    relaxed_f32x4 relaxed_simd,
    /// `a b + c`, rounded once or twice, as the engine does it: the same everywhere on one machine.
    |a, b, c| f32x4_relaxed_madd(a, b, c)
}

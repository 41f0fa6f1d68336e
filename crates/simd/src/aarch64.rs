//! Vectors of `f32` and products of bytes for NEON: loads and stores that take references to arrays or slices, so that they cannot be wrong, and
//! the arithmetic under the names of the other architectures.

/// Four lanes.
pub mod f32x4 {
    #[doc(no_inline)]
    pub use std::arch::aarch64::float32x4_t as Vector;
    use std::arch::aarch64::*;

    /// Lanes of a vector.
    pub const LANES: usize = 4;

    neon! {
        /// Loads a vector.
        ///
        /// # Safety
        /// The CPU must have NEON.
        #[inline]
        #[must_use]
        pub fn load(from: &[f32; LANES]) -> Vector {
            // SAFETY: `from` is a reference to as many floats as are read; unaligned loads are allowed.
            unsafe { vld1q_f32(from.as_ptr()) }
        }

        /// Stores a vector.
        ///
        /// # Safety
        /// The CPU must have NEON.
        #[inline]
        pub fn store(to: &mut [f32; LANES], vector: Vector) {
            // SAFETY: `to` is a reference to as many floats as are written; unaligned stores are allowed.
            unsafe { vst1q_f32(to.as_mut_ptr(), vector) }
        }

        /// Loads up to a vector; the lanes beyond `from` are 0.
        ///
        /// # Safety
        /// The CPU must have NEON.
        #[inline]
        #[must_use]
        pub fn load_partial(from: &[f32]) -> Vector {
            let mut whole = [0.0; LANES];
            match *from {
                [] => {}
                [a] => whole[0] = a,
                [a, b] => whole[..2].copy_from_slice(&[a, b]),
                [a, b, c] => whole[..3].copy_from_slice(&[a, b, c]),
                [a, b, c, d, ..] => whole = [a, b, c, d],
            }
            load(&whole)
        }

        /// Stores as many lanes as `to` has room for.
        ///
        /// # Safety
        /// The CPU must have NEON.
        #[inline]
        pub fn store_partial(to: &mut [f32], vector: Vector) {
            let mut whole = [0.0; LANES];
            store(&mut whole, vector);
            to.iter_mut().zip(whole).for_each(|(to, lane)| *to = lane);
        }

        /// `value` in each lane.
        ///
        /// # Safety
        /// The CPU must have NEON.
        #[inline]
        #[must_use]
        pub fn splat(value: f32) -> Vector {
            vdupq_n_f32(value)
        }

        /// `a b + c`, rounded once.
        ///
        /// # Safety
        /// The CPU must have NEON.
        #[inline]
        #[must_use]
        pub fn multiply_add(a: Vector, b: Vector, c: Vector) -> Vector {
            vfmaq_f32(c, a, b)
        }

        /// `a + b`.
        ///
        /// # Safety
        /// The CPU must have NEON.
        #[inline]
        #[must_use]
        pub fn add(a: Vector, b: Vector) -> Vector {
            vaddq_f32(a, b)
        }

        /// `a - b`.
        ///
        /// # Safety
        /// The CPU must have NEON.
        #[inline]
        #[must_use]
        pub fn sub(a: Vector, b: Vector) -> Vector {
            vsubq_f32(a, b)
        }

        /// `x` clamped to `[low, high]`; NaN stays NaN.
        ///
        /// # Safety
        /// The CPU must have NEON.
        #[inline]
        #[must_use]
        pub fn clamp(x: Vector, low: Vector, high: Vector) -> Vector {
            // Of a NaN and a number these are the NaN.
            vminq_f32(high, vmaxq_f32(low, x))
        }
    }
}

/// Products of bytes, which `std` does not offer on stable Rust.
pub mod bytes {
    use std::arch::aarch64::{int8x16_t, int32x4_t};
    use std::arch::asm;

    neon_dotprod! {
        /// `sums[i] + x[4 i] y[4 i] + .. + x[4 i + 3] y[4 i + 3]`, wrapping.
        ///
        /// # Safety
        /// The CPU must have the dot product.
        #[inline]
        #[must_use]
        pub fn dot(mut sums: int32x4_t, x: int8x16_t, y: int8x16_t) -> int32x4_t {
            // SAFETY: the CPU has the instruction, as the caller of a function with this feature has to see to; it changes
            // nothing but the register of `sums`.
            unsafe {
                asm!(
                    "sdot {sums:v}.4s, {x:v}.16b, {y:v}.16b",
                    sums = inout(vreg) sums, x = in(vreg) x, y = in(vreg) y,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            sums
        }

        /// [`dot`] of `x` with four bytes of `y`, those from `4 LANE` on, for all `i`.
        ///
        /// # Safety
        /// The CPU must have the dot product.
        #[inline]
        #[must_use]
        pub fn dot_lane<const LANE: usize>(mut sums: int32x4_t, x: int8x16_t, y: int8x16_t) -> int32x4_t {
            // SAFETY: as for `dot`; a lane that does not exist does not assemble.
            unsafe {
                asm!(
                    "sdot {sums:v}.4s, {x:v}.16b, {y:v}.4b[{lane}]",
                    sums = inout(vreg) sums, x = in(vreg) x, y = in(vreg) y, lane = const LANE,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            sums
        }
    }

    neon_i8mm! {
        /// Adds the product of a matrix and a transposed one, each two rows of 8 bytes: `sums[2 i + j]` is that of row `i` of
        /// `x` and row `j` of `y`, wrapping.
        ///
        /// # Safety
        /// The CPU must have the matrix product.
        #[inline]
        #[must_use]
        pub fn matrix_product(mut sums: int32x4_t, x: int8x16_t, y: int8x16_t) -> int32x4_t {
            // SAFETY: as for `dot`.
            unsafe {
                asm!(
                    "smmla {sums:v}.4s, {x:v}.16b, {y:v}.16b",
                    sums = inout(vreg) sums, x = in(vreg) x, y = in(vreg) y,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            sums
        }
    }
}

#[cfg(test)]
mod tests {
    use super::f32x4::{LANES, clamp, load_partial, splat, store_partial};

    neon! {
        fn round_trip(from: &[f32], to: &mut [f32]) {
            store_partial(to, load_partial(from));
        }

        fn clamped(from: &[f32], to: &mut [f32]) {
            store_partial(to, clamp(load_partial(from), splat(-1.0), splat(6.0)));
        }
    }

    #[test]
    fn partial_loads_and_stores_keep_to_their_slice() {
        let from: Vec<f32> = (1..=6).map(|i| i as f32).collect();
        for read in 0..=6 {
            for written in 0..=6 {
                let mut to = [-1.0; 6];
                // SAFETY: AArch64 has NEON.
                unsafe { round_trip(&from[..read], &mut to[..written]) };
                for (i, &got) in to.iter().enumerate() {
                    let loaded = if i < read.min(LANES) { from[i] } else { 0.0 };
                    assert_eq!(got, if i < written.min(LANES) { loaded } else { -1.0 });
                }
            }
        }
    }

    #[test]
    fn a_clamped_nan_stays() {
        let mut out = [0.0; 4];
        // SAFETY: AArch64 has NEON.
        unsafe { clamped(&[f32::NAN, -2.0, 0.5, 9.0], &mut out) };
        assert!(out[0].is_nan() && out[1..] == [-1.0, 0.5, 6.0]);
    }
}

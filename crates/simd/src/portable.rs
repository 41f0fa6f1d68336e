//! The same vectors in plain Rust, for the baseline of any target.

/// Four lanes, which is a register of SSE2, NEON and WebAssembly.
pub mod f32x4 {
    /// Lanes of a vector.
    pub const LANES: usize = 4;

    /// A vector.
    pub type Vector = [f32; LANES];

    /// Loads a vector.
    #[inline(always)]
    #[must_use]
    pub fn load(from: &[f32; LANES]) -> Vector {
        *from
    }

    /// Stores a vector.
    #[inline(always)]
    pub fn store(to: &mut [f32; LANES], vector: Vector) {
        *to = vector;
    }

    /// Loads up to a vector; the lanes beyond `from` are 0.
    #[inline(always)]
    #[must_use]
    pub fn load_partial(from: &[f32]) -> Vector {
        let mut vector = [0.0; LANES];
        vector.iter_mut().zip(from).for_each(|(lane, &value)| *lane = value);
        vector
    }

    /// Stores as many lanes as `to` has room for.
    #[inline(always)]
    pub fn store_partial(to: &mut [f32], vector: Vector) {
        to.iter_mut().zip(vector).for_each(|(to, lane)| *to = lane);
    }

    /// `value` in each lane.
    #[inline(always)]
    #[must_use]
    pub fn splat(value: f32) -> Vector {
        [value; LANES]
    }

    /// `a b + c`, the product rounded first: without an instruction for it, rounding once is a slow library call.
    #[inline(always)]
    #[must_use]
    pub fn multiply_add(a: Vector, b: Vector, c: Vector) -> Vector {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    /// `a + b`.
    #[inline(always)]
    #[must_use]
    pub fn add(a: Vector, b: Vector) -> Vector {
        std::array::from_fn(|i| a[i] + b[i])
    }

    /// `a - b`.
    #[inline(always)]
    #[must_use]
    pub fn sub(a: Vector, b: Vector) -> Vector {
        std::array::from_fn(|i| a[i] - b[i])
    }

    /// `x` clamped to `[low, high]`; NaN stays NaN.
    #[inline(always)]
    #[must_use]
    pub fn clamp(x: Vector, low: Vector, high: Vector) -> Vector {
        std::array::from_fn(|i| {
            let x = if x[i] < low[i] { low[i] } else { x[i] };
            if x > high[i] { high[i] } else { x }
        })
    }
}

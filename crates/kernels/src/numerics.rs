//! What integer kernels share: which of LiteRT's arithmetics to reproduce, quantization parameters, element types.

use crate::{Activation, Unsupported};

/// Whose integer arithmetic to reproduce byte for byte. It changes nothing for float tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Numerics {
    /// LiteRT 2.3.0 with its default resolver (XNNPACK where it takes the op, else the optimized builtins), x86-64.
    #[default]
    Litert,
    /// LiteRT 2.3.0 with the reference kernels (`BUILTIN_REF`).
    Reference,
}

impl std::fmt::Display for Numerics {
    /// As users write it: `litert`, `reference`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Litert => "litert",
            Self::Reference => "reference",
        })
    }
}

/// Affine quantization of a whole tensor: `real = scale * (quantized - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantParams {
    /// Real units per quantized step, above 0.
    pub scale: f32,
    /// The quantized value that stands for real 0.
    pub zero_point: i32,
}

impl QuantParams {
    /// As [`QuantParams::check`], for an operand of a product or sum, which may have the scale 0 of a tensor of zeros.
    ///
    /// # Errors
    /// As [`QuantParams::check`].
    pub fn check_operand<T: Quantized>(&self, kernel: &'static str, tensor: &str) -> Result<(), Unsupported> {
        if self.scale == 0.0 {
            Self { scale: 1.0, ..*self }.check::<T>(kernel, tensor)
        } else {
            self.check::<T>(kernel, tensor)
        }
    }

    /// Refuses a scale that is not a positive finite number and a zero point outside the element type.
    ///
    /// # Errors
    /// As said, naming `tensor`.
    pub fn check<T: Quantized>(&self, kernel: &'static str, tensor: &str) -> Result<(), Unsupported> {
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            return Err(Unsupported::new(kernel, format!("{tensor} scale {} is not above 0", self.scale)));
        }
        if !(T::MIN..=T::MAX).contains(&self.zero_point) {
            let reason = format!("{tensor} zero point {} is outside {}..={}", self.zero_point, T::MIN, T::MAX);
            return Err(Unsupported::new(kernel, reason));
        }
        Ok(())
    }
}

/// The bounds of `activation` in quantized units as the builtin kernels compute them: `zero_point + round(bound / scale)`
/// with halves away from zero, cut to the type (LiteRT `kernels/kernel_util.cc`, `CalculateActivationRangeQuantized`).
pub(crate) fn builtin_range<T: Quantized>(activation: Activation, output: QuantParams) -> (i32, i32) {
    clamped_range((T::MIN, T::MAX), activation.range(), output)
}

/// The bounds `low` and `high` in quantized units of a type from `least` to `most`, as [`builtin_range`].
pub(crate) fn clamped_range((least, most): (i32, i32), (low, high): (f64, f64), output: QuantParams) -> (i32, i32) {
    let quantize =
        |bound: f64| i64::from(output.zero_point).saturating_add((bound as f32 / output.scale).round() as i64);
    let min = if low.is_finite() { quantize(low).max(least.into()) as i32 } else { least };
    let max = if high.is_finite() { quantize(high).min(most.into()) as i32 } else { most };
    (min, max)
}

/// The bounds of `activation` in quantized units as XNNPACK computes them: `bound / scale + zero_point` in f32, cut to the
/// type, then rounded with halves to even (XNNPACK `requantization.h`, `xnn_qs8_quantize`).
pub(crate) fn xnnpack_range<T: Quantized>(activation: Activation, output: QuantParams) -> (i32, i32) {
    let quantize = |bound: f64| {
        let at = bound as f32 / output.scale + output.zero_point as f32;
        at.max(T::MIN as f32).min(T::MAX as f32).round_ties_even() as i32
    };
    let (low, high) = activation.range();
    (quantize(low), quantize(high))
}

/// Refuses a fused activation that is not a clamp.
pub(crate) fn check_activation(kernel: &'static str, activation: Activation) -> Result<(), Unsupported> {
    match activation {
        Activation::Tanh => Err(Unsupported::new(kernel, "a fused tanh on quantized values")),
        Activation::None | Activation::Relu | Activation::ReluN1To1 | Activation::Relu6 => Ok(()),
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for i8 {}
    impl Sealed for u8 {}
    impl Sealed for i16 {}
}

/// An element of a quantized activation tensor: `i8`, `u8` or `i16`.
pub trait Quantized: sealed::Sealed + bytemuck::Pod + Ord + Send + Sync + std::fmt::Debug {
    /// Smallest value.
    const MIN: i32;
    /// Largest value.
    const MAX: i32;
    /// Bits of the type.
    const BITS: u32;

    /// The value.
    fn widen(self) -> i32;

    /// The low bits of `value`, which must be in range.
    fn narrow(value: i32) -> Self;
}

macro_rules! quantized {
    ($($type:ident)*) => {$(
        impl Quantized for $type {
            const MIN: i32 = $type::MIN as i32;
            const MAX: i32 = $type::MAX as i32;
            const BITS: u32 = $type::BITS;

            #[inline]
            fn widen(self) -> i32 {
                i32::from(self)
            }

            #[inline]
            fn narrow(value: i32) -> Self {
                value as Self
            }
        }
    )*};
}
quantized!(i8 u8 i16);

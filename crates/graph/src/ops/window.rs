//! What convolutions and pools share: padding, fused activation, and the geometry of a sliding window.

use crate::{Error, Result};

/// How a window meets the border.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Padding {
    /// Zeros around the input, so that the output has `ceil(input / stride)` positions; an odd one goes after.
    Same,
    /// No zeros: only windows that lie inside.
    Valid,
}

/// Activation that an op applies to its result (`ActivationFunctionType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, -1), 1)`.
    ReluN1To1,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `tanh(x)`.
    Tanh,
    /// 1 where the sign bit is set.
    SignBit,
}

impl Activation {
    /// Number in the TensorFlow Lite schema.
    #[must_use]
    pub fn code(self) -> i8 {
        self as i8
    }

    /// The activation with this number in the TensorFlow Lite schema.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        [Self::None, Self::Relu, Self::ReluN1To1, Self::Relu6, Self::Tanh, Self::SignBit]
            .into_iter()
            .find(|activation| activation.code() == code)
    }

    /// The bounds that the activation clamps to; `None` for those that do more than clamp.
    #[must_use]
    pub fn clamp(self) -> Option<(f32, f32)> {
        match self {
            Self::None => Some((f32::NEG_INFINITY, f32::INFINITY)),
            Self::Relu => Some((0.0, f32::INFINITY)),
            Self::ReluN1To1 => Some((-1.0, 1.0)),
            Self::Relu6 => Some((0.0, 6.0)),
            Self::Tanh | Self::SignBit => None,
        }
    }
}

/// A window along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Output positions.
    pub output: usize,
    /// Padding before the first input.
    pub pad_before: usize,
}

/// Output positions and padding of a window along one axis (`ComputePaddingHeightWidth` and `ComputeOutSize` of
/// LiteRT's `kernels/padding.h`).
///
/// # Errors
/// [`Error::Malformed`] when stride, dilation or kernel is 0, when sizes overflow, or when the window does not fit.
pub fn window(
    op: &str,
    padding: Padding,
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
) -> Result<WindowSize> {
    if kernel == 0 || stride == 0 || dilation == 0 {
        return Err(Error::malformed(
            op,
            format!("got kernel {kernel}, stride {stride}, dilation {dilation}, expected each at least 1"),
        ));
    }
    let overflow = || Error::limit(op, format!("kernel {kernel} with dilation {dilation} is too large"));
    let extent = (kernel - 1).checked_mul(dilation).and_then(|reach| reach.checked_add(1)).ok_or_else(overflow)?;
    match padding {
        Padding::Same => {
            let output = input.div_ceil(stride);
            let needed = output.saturating_sub(1).checked_mul(stride).and_then(|last| last.checked_add(extent));
            let total = needed.ok_or_else(overflow)?.saturating_sub(input);
            Ok(WindowSize { output, pad_before: total / 2 })
        }
        Padding::Valid if input < extent => Err(Error::malformed(
            op,
            format!("a window of {extent} does not fit an input of {input} with padding VALID"),
        )),
        Padding::Valid => Ok(WindowSize { output: (input - extent) / stride + 1, pad_before: 0 }),
    }
}

//! DEPTHWISE_CONV_2D: geometry shared by the float and the integer kernels. Filters are `1 height width channels`.

mod bytes;
#[cfg(target_arch = "aarch64")]
mod bytes_aarch64;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod bytes_wasm32;
#[cfg(target_arch = "x86_64")]
mod bytes_x86_64;
pub mod float;
pub mod hybrid;
pub mod quantized;
mod sums;

use crate::Unsupported;
use crate::conv_2d::{PADDED_COPIES, Window};

/// Geometry of a DEPTHWISE_CONV_2D. Output channel `c * multiplier + m` sees input channel `c` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DepthwiseConv2dGeometry {
    /// Images.
    pub batch: usize,
    /// Vertical axis.
    pub height: Window,
    /// Horizontal axis.
    pub width: Window,
    /// Channels of the input.
    pub in_channels: usize,
    /// Output channels per input channel.
    pub multiplier: usize,
}

impl DepthwiseConv2dGeometry {
    /// Channels of the output.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.in_channels * self.multiplier
    }

    /// Elements of the input.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.batch * self.height.input * self.width.input * self.in_channels
    }

    /// Elements of the output.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.batch * self.height.output * self.width.output * self.out_channels()
    }

    /// Elements of the filter.
    #[must_use]
    pub fn weights_len(&self) -> usize {
        self.height.kernel * self.width.kernel * self.out_channels()
    }

    /// Refuses a geometry that no kernel can run.
    ///
    /// # Errors
    /// A window with a zero stride, kernel or dilation, a zero multiplier, or a size that overflows.
    pub fn check(&self) -> Result<(), Unsupported> {
        const KERNEL: &str = "depthwise_conv_2d";
        self.height.check(KERNEL, "height")?;
        self.width.check(KERNEL, "width")?;
        if self.multiplier == 0 {
            return Err(Unsupported::new(KERNEL, "channel multiplier 0"));
        }
        let out_channels = self.in_channels.checked_mul(self.multiplier);
        let wide = |h: usize, w: usize, c: usize| self.batch.checked_mul(h)?.checked_mul(w)?.checked_mul(c);
        out_channels
            .and_then(|c| {
                wide(self.height.output, self.width.output, c)?;
                let padded = wide(self.height.padded(), self.width.padded(), self.in_channels.max(1))?;
                padded.checked_mul(PADDED_COPIES)?;
                wide(self.height.input, self.width.input, c)?;
                self.height.kernel.checked_mul(self.width.kernel)?.checked_mul(c)
            })
            .map(drop)
            .ok_or_else(|| Unsupported::new(KERNEL, format!("sizes overflow: {self:?}")))
    }
}

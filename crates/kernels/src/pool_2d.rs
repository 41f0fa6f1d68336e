//! Geometry shared by MAX_POOL_2D and AVERAGE_POOL_2D, float and integer.

use crate::Unsupported;
use crate::conv_2d::Window;

/// Geometry of a 2-D pooling. Padding never counts: a window sees the valid elements only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool2dGeometry {
    /// Images.
    pub batch: usize,
    /// Vertical axis.
    pub height: Window,
    /// Horizontal axis.
    pub width: Window,
    /// Channels of input and output.
    pub channels: usize,
}

impl Pool2dGeometry {
    /// Elements of the input.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.batch * self.height.input * self.width.input * self.channels
    }

    /// Elements of the output.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.batch * self.height.output * self.width.output * self.channels
    }

    /// Refuses a geometry that no kernel can run.
    ///
    /// # Errors
    /// A window with a zero stride or kernel, a dilation other than 1, a window that sees padding only, or a size that
    /// overflows.
    pub fn check(&self, kernel: &'static str) -> Result<(), Unsupported> {
        for (axis, window) in [("height", &self.height), ("width", &self.width)] {
            window.check(kernel, axis)?;
            if window.dilation != 1 {
                return Err(Unsupported::new(kernel, format!("{axis} dilation {}, pooling has 1", window.dilation)));
            }
            for at in [0, window.output.saturating_sub(1)] {
                if window.output > 0 && window.taps(at).is_empty() {
                    let reason = format!("{axis} window of output {at} sees no input: {window:?}");
                    return Err(Unsupported::new(kernel, reason));
                }
            }
        }
        let len = |h: &usize, w: &usize| self.batch.checked_mul(*h)?.checked_mul(*w)?.checked_mul(self.channels);
        len(&self.height.input, &self.width.input)
            .and(len(&self.height.output, &self.width.output))
            .map(drop)
            .ok_or_else(|| Unsupported::new(kernel, format!("sizes overflow: {self:?}")))
    }

    /// Elements of one image of input and output; `None` if there is nothing to do.
    pub(crate) fn image_lens(&self, x: usize, y: usize) -> Option<[usize; 2]> {
        crate::image_lens([
            (x, self.height.input * self.width.input * self.channels),
            (y, self.height.output * self.width.output * self.channels),
        ])
    }

    /// Calls `visit(input pixel)` for each valid element of a window, in row order.
    #[inline(always)]
    pub(crate) fn for_window(&self, out_y: usize, out_x: usize, mut visit: impl FnMut(usize)) {
        let columns = self.width.taps(out_x);
        for ky in self.height.taps(out_y) {
            let row = (out_y * self.height.stride + ky - self.height.pad_before) * self.width.input;
            for kx in columns.clone() {
                visit(row + out_x * self.width.stride + kx - self.width.pad_before);
            }
        }
    }

    /// The input pixel at which a tap of an output falls; it must be on the image.
    #[inline(always)]
    pub(crate) fn tap(&self, out_y: usize, out_x: usize, tap_y: usize, tap_x: usize) -> usize {
        let y = out_y * self.height.stride + tap_y - self.height.pad_before;
        y * self.width.input + out_x * self.width.stride + tap_x - self.width.pad_before
    }

    /// Valid elements of a window.
    #[inline(always)]
    pub(crate) fn window_len(&self, out_y: usize, out_x: usize) -> usize {
        self.height.taps(out_y).len() * self.width.taps(out_x).len()
    }
}

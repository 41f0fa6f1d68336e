//! CONV_2D: geometry shared by the float and the integer kernels.

pub mod float;
pub mod hybrid;
pub mod quantized;

use crate::Unsupported;

/// The size and step of a 2-D window (convolution, depthwise convolution or pooling) over one spatial axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Input positions along the axis.
    pub input: usize,
    /// Output positions along the axis.
    pub output: usize,
    /// Taps of the filter or pooling window.
    pub kernel: usize,
    /// Input positions between two outputs.
    pub stride: usize,
    /// Input positions between two taps.
    pub dilation: usize,
    /// Positions of padding before the first input; what is needed after the last follows from the rest.
    pub pad_before: usize,
}

/// Scratch holds padded images, one a thread, of elements of up to 8 bytes: its size in bytes must not overflow either.
pub(crate) const PADDED_COPIES: usize = 1 << 16;

/// Geometry of a CONV_2D. `in_channels` is that of the input; a filter sees `in_channels / groups`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dGeometry {
    /// Images.
    pub batch: usize,
    /// Vertical axis.
    pub height: Window,
    /// Horizontal axis.
    pub width: Window,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Groups; 1 for an ordinary convolution.
    pub groups: usize,
}

impl Window {
    /// The taps of output position `output` that fall on the input rather than on padding.
    #[must_use]
    pub fn taps(&self, output: usize) -> std::ops::Range<usize> {
        let start = output * self.stride;
        let first = self.pad_before.saturating_sub(start);
        let end = (self.input + self.pad_before).saturating_sub(start);
        // Dividing by 1 would take longer than the rest.
        let steps = |distance: usize| if self.dilation == 1 { distance } else { distance.div_ceil(self.dilation) };
        let end = steps(end).min(self.kernel);
        steps(first).min(end)..end
    }

    /// The output positions at which `tap` falls on the input rather than on padding.
    #[must_use]
    pub fn outputs(&self, tap: usize) -> std::ops::Range<usize> {
        let at = tap * self.dilation;
        let first = self.pad_before.saturating_sub(at).div_ceil(self.stride);
        let end = (self.input + self.pad_before).saturating_sub(at).div_ceil(self.stride).min(self.output);
        first.min(end)..end
    }

    /// The input positions that output positions `outputs`, at least one, read: from the first to the last.
    #[must_use]
    pub fn needs(&self, outputs: std::ops::Range<usize>) -> std::ops::Range<usize> {
        let start = (outputs.start * self.stride).saturating_sub(self.pad_before).min(self.input);
        let reach = outputs.end.saturating_sub(1) * self.stride + (self.kernel - 1) * self.dilation + 1;
        start..reach.saturating_sub(self.pad_before).clamp(start, self.input)
    }

    /// The output position whose `tap` falls on input position `input`.
    #[must_use]
    pub fn output_at(&self, input: usize, tap: usize) -> Option<usize> {
        let at = (input + self.pad_before).checked_sub(tap * self.dilation)?;
        (at.is_multiple_of(self.stride) && at / self.stride < self.output).then_some(at / self.stride)
    }

    /// Whether windows cover the input without gap, overlap or padding.
    pub(crate) fn is_tiling(&self) -> bool {
        let exact = self.kernel == self.stride && self.dilation == 1 && self.pad_before == 0;
        exact && self.output * self.stride == self.input
    }

    /// Padding after the last input that the last output needs; 0 if the input reaches further.
    #[must_use]
    pub fn pad_after(&self) -> usize {
        let reach = self.output.saturating_sub(1) * self.stride + (self.kernel - 1) * self.dilation + 1;
        reach.saturating_sub(self.input + self.pad_before)
    }

    /// Input positions with the padding before and after; of a checked window, it cannot overflow.
    pub(crate) fn padded(&self) -> usize {
        self.pad_before + self.input + self.pad_after()
    }

    /// Refuses what no kernel can run.
    ///
    /// # Errors
    /// A zero stride, kernel or dilation, or positions that overflow.
    pub fn check(&self, kernel: &'static str, axis: &str) -> Result<(), Unsupported> {
        if self.stride == 0 || self.kernel == 0 || self.dilation == 0 {
            return Err(Unsupported::new(kernel, format!("{axis} window with a zero size or step: {self:?}")));
        }
        let reach = || {
            let last = self.output.saturating_sub(1).checked_mul(self.stride)?;
            let reach = last.checked_add((self.kernel - 1).checked_mul(self.dilation)?)?.checked_add(1)?;
            self.input.checked_add(self.pad_before)?.checked_add(reach)
        };
        reach().map(drop).ok_or_else(|| Unsupported::new(kernel, format!("{axis} positions overflow: {self:?}")))
    }
}

impl Conv2dGeometry {
    /// Elements of the input.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.batch * self.height.input * self.width.input * self.in_channels
    }

    /// Elements of the output.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.batch * self.height.output * self.width.output * self.out_channels
    }

    /// Elements of the filters.
    #[must_use]
    pub fn weights_len(&self) -> usize {
        self.out_channels * self.height.kernel * self.width.kernel * (self.in_channels / self.groups)
    }

    /// Refuses a geometry that no kernel can run.
    ///
    /// # Errors
    /// A window with a zero stride, kernel or dilation, groups that do not divide the channels, or a size that overflows.
    pub fn check(&self) -> Result<(), Unsupported> {
        const KERNEL: &str = "conv_2d";
        self.height.check(KERNEL, "height")?;
        self.width.check(KERNEL, "width")?;
        let Self { in_channels, out_channels, groups, batch, .. } = *self;
        if groups == 0 || in_channels % groups != 0 || out_channels % groups != 0 {
            let reason =
                format!("{groups} groups do not divide {in_channels} input and {out_channels} output channels");
            return Err(Unsupported::new(KERNEL, reason));
        }
        let (h, w) = (&self.height, &self.width);
        let product = |sizes: &[usize]| sizes.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
        product(&[PADDED_COPIES, batch.max(1), h.padded(), w.padded(), in_channels.max(1)])
            .and(product(&[batch, h.input, w.input, in_channels]))
            .and(product(&[batch, h.output, w.output, out_channels]))
            .and(product(&[out_channels, h.kernel, w.kernel, in_channels]))
            .map(drop)
            .ok_or_else(|| Unsupported::new(KERNEL, format!("sizes overflow: {self:?}")))
    }
}

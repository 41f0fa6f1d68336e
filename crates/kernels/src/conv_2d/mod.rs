//! CONV_2D: geometry shared by the float and the integer kernels.

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

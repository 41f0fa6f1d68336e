//! A convolution as products over runs of a zero-padded image: where runs start, in which order taps are packed.

use crate::conv_2d::Window;

/// One spatial axis: a set of output positions, and per tap the padded position it reads for the first of them.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// Positions, their first in the result, and the step between two in the result.
    pub(super) outputs: usize,
    pub(super) first: usize,
    pub(super) result_step: usize,
    /// The step between two in the padded operand.
    pub(super) operand_step: usize,
    /// (tap of the filter, position in the padded operand), by ascending position.
    pub(super) taps: Vec<(usize, usize)>,
}

/// Zeros around an image: `before` and the padded size, per axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Padding {
    pub(super) before: usize,
    pub(super) size: usize,
}

/// The forward pass along one axis.
pub(super) fn forward_axis(w: &Window) -> (Axis, Padding) {
    let reach = w.output.saturating_sub(1) * w.stride + (w.kernel - 1) * w.dilation + 1;
    let axis = Axis {
        outputs: w.output,
        first: 0,
        result_step: 1,
        operand_step: w.stride,
        taps: (0..w.kernel).map(|tap| (tap, tap * w.dilation)).collect(),
    };
    (axis, Padding { before: w.pad_before, size: reach.max(if w.pad_before == 0 { w.input } else { reach }) })
}

/// The gradient of the input along one axis: `stride` sets of input positions, each a stride-1 convolution of the
/// output's gradient with the taps that reach it.
pub(super) fn backward_axes(w: &Window) -> (Vec<Axis>, Padding) {
    // Input i = phase + stride t is read by output t + (phase + pad - tap dilation) / stride, where that is whole.
    let shift = |phase: usize, tap: usize| {
        let at = (phase + w.pad_before) as isize - (tap * w.dilation) as isize;
        (at % w.stride as isize == 0).then(|| at / w.stride as isize)
    };
    let phases = 0..w.stride.min(w.input);
    let shifts: Vec<Vec<(usize, isize)>> =
        phases.map(|phase| (0..w.kernel).rev().filter_map(|tap| Some((tap, shift(phase, tap)?))).collect()).collect();
    let all = || shifts.iter().flatten().map(|&(_, shift)| shift);
    let before = all().min().map_or(0, |least| (-least).max(0)) as usize;
    let outputs = |phase: usize| (w.input - phase).div_ceil(w.stride);
    let reach = shifts.iter().enumerate().flat_map(|(phase, taps)| {
        taps.iter().map(move |&(_, shift)| (outputs(phase) as isize + shift + before as isize) as usize)
    });
    let size = reach.max().unwrap_or(0).max(if before == 0 { w.output } else { 0 });
    let axes = shifts
        .iter()
        .enumerate()
        .map(|(phase, taps)| Axis {
            outputs: outputs(phase),
            first: phase,
            result_step: w.stride,
            operand_step: 1,
            taps: taps.iter().map(|&(tap, shift)| (tap, (shift + before as isize) as usize)).collect(),
        })
        .collect();
    (axes, Padding { before, size })
}

/// Runs of contiguous operand elements of one output pixel, and the taps in the order the runs cover them.
#[derive(Debug, Clone)]
pub(super) struct Runs {
    /// Offset of each run from the pixel's start.
    pub(super) starts: Vec<usize>,
    /// Elements of each run: a whole number of taps' channels.
    pub(super) len: usize,
    /// Filter taps (row major) in order.
    pub(super) taps: Vec<usize>,
}

/// The runs of a window over a padded image of `padded_width` pixels of `pixel` elements, `depth` of which a tap reads.
pub(super) fn runs(
    vertical: &Axis,
    horizontal: &Axis,
    kernel_width: usize,
    padded_width: usize,
    pixel: usize,
    depth: usize,
) -> Runs {
    let columns = &horizontal.taps;
    let adjacent = columns.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1);
    let merge = if adjacent && pixel == depth { columns.len().max(1) } else { 1 };
    let mut starts = Vec::new();
    let mut taps = Vec::new();
    for &(ky, y) in &vertical.taps {
        for (i, &(kx, x)) in columns.iter().enumerate() {
            if i % merge == 0 {
                starts.push((y * padded_width + x) * pixel);
            }
            taps.push(ky * kernel_width + kx);
        }
    }
    Runs { starts, len: merge * depth, taps }
}

/// Rows of a padded image from `first` on, borders included, as many as fit `band`. `image` holds rows of the image from `held` on,
/// those at least that are copied.
pub(super) fn copy_rows(
    image: &[f32],
    held: usize,
    (height, width, pixel): (usize, usize, usize),
    first: usize,
    band: &mut [f32],
    [vertical, horizontal]: [Padding; 2],
) {
    let left = horizontal.before.min(horizontal.size) * pixel;
    let inner = width.min(horizontal.size.saturating_sub(horizontal.before)) * pixel;
    for (row, to) in band.chunks_exact_mut(horizontal.size * pixel).enumerate() {
        match (first + row).checked_sub(vertical.before).filter(|&row| row < height) {
            Some(row) => {
                to[..left].fill(0.0);
                to[left..left + inner].copy_from_slice(&image[(row - held) * width * pixel..][..inner]);
                to[left + inner..].fill(0.0);
            }
            None => to.fill(0.0),
        }
    }
}

/// Copies an image of `height` rows of `width` pixels of `pixel` elements into the middle of a padded one, clipping what
/// lies beyond it. The border is not touched.
pub(super) fn copy_into(
    image: &[f32],
    (height, width, pixel): (usize, usize, usize),
    padded: &mut [f32],
    vertical: Padding,
    horizontal: Padding,
) {
    let rows = height.min(vertical.size.saturating_sub(vertical.before));
    let columns = width.min(horizontal.size.saturating_sub(horizontal.before));
    if columns == 0 {
        // Windows that end before the image: where it would lie is beyond the padded one.
        return;
    }
    for row in 0..rows {
        let at = ((row + vertical.before) * horizontal.size + horizontal.before) * pixel;
        let len = columns * pixel;
        padded[at..at + len].copy_from_slice(&image[row * width * pixel..][..len]);
    }
}

//! Geometry shared by MAX_POOL_2D and AVERAGE_POOL_2D, float and integer.

use crate::conv_2d::Window;
use crate::{Pool, Unsupported};

/// Elements of windows that are worth a thread.
const WORTH: usize = 4096;

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

    /// Calls `task(image, row, y)` for each row of output pixels, split over the pool at the rows where the ops around it are split.
    pub(crate) fn each_row<T: Send>(&self, pool: &Pool, y: &mut [T], task: impl Fn(usize, usize, &mut [T]) + Sync) {
        let row_len = self.width.output * self.channels;
        if y.is_empty() {
            return;
        }
        let each = row_len.saturating_mul(self.height.kernel).saturating_mul(self.width.kernel);
        let rows = pool.share(y.len() / row_len, each, WORTH);
        pool.chunks_mut(y, rows * row_len, |index, y| {
            for (at, y) in y.chunks_exact_mut(row_len).enumerate() {
                let row = index * rows + at;
                task(row / self.height.output, row % self.height.output, y);
            }
        });
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

/// The elements of a window that are on the image.
#[derive(Clone, Copy)]
pub(crate) struct Taps<'a, T> {
    /// From the first one on.
    image: &'a [T],
    rows: usize,
    columns: usize,
    row_len: usize,
    channels: usize,
}

impl<'a, T: Copy> Taps<'a, T> {
    /// Those of an output pixel.
    #[inline(always)]
    pub(crate) fn new(g: &Pool2dGeometry, image: &'a [T], out_y: usize, out_x: usize) -> Self {
        let (rows, columns) = (g.height.taps(out_y), g.width.taps(out_x));
        let first = g.tap(out_y, out_x, rows.start, columns.start) * g.channels;
        Self {
            image: &image[first..],
            rows: rows.len(),
            columns: columns.len(),
            row_len: g.width.input * g.channels,
            channels: g.channels,
        }
    }

    /// How many for each channel.
    #[inline(always)]
    pub(crate) fn count(&self) -> usize {
        self.rows * self.columns
    }

    /// [`Self::for_channels`] of windows that most models have, without loops over few taps; says whether it is one.
    #[inline(always)]
    pub(crate) fn for_channels_of_four<A: Copy, Y>(
        &self,
        y: &mut [Y],
        start: A,
        f: impl Fn(A, T) -> A,
        finish: impl Fn(A) -> Y,
    ) -> bool {
        if (self.rows, self.columns) != (2, 2) {
            return false;
        }
        let [a, b, c, d] = [0, self.channels, self.row_len, self.row_len + self.channels].map(|at| &self.image[at..]);
        for ((((y, &a), &b), &c), &d) in y.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *y = finish(f(f(f(f(start, a), b), c), d));
        }
        true
    }

    /// `finish` of the elements of each channel, folded with `f` in row order.
    #[inline(always)]
    pub(crate) fn for_channels<A: Copy, Y>(
        &self,
        y: &mut [Y],
        start: A,
        f: impl Fn(A, T) -> A,
        finish: impl Fn(A) -> Y,
    ) {
        let mut done = self.blocks::<A, Y, 32>(0, y, start, &f, &finish);
        while y.len() >= 8 && done < y.len() {
            // Fewer than eight that are left, with some before them once more.
            done = self.blocks::<A, Y, 8>(done.min(y.len() - 8), y, start, &f, &finish);
        }
        self.blocks::<A, Y, 1>(done, y, start, &f, &finish);
    }

    /// The same for `N` channels at a time from `first` on, whose states stay in registers; returns the first that is left.
    #[inline(always)]
    fn blocks<A: Copy, Y, const N: usize>(
        &self,
        first: usize,
        y: &mut [Y],
        start: A,
        f: &impl Fn(A, T) -> A,
        finish: &impl Fn(A) -> Y,
    ) -> usize {
        let mut channel = first;
        for y in y[first..].chunks_exact_mut(N) {
            let mut states = [start; N];
            for row in 0..self.rows {
                let pixels = &self.image[row * self.row_len + channel..];
                for column in 0..self.columns {
                    let Some(x) = pixels[column * self.channels..].first_chunk::<N>() else { break };
                    for (state, &x) in states.iter_mut().zip(x) {
                        *state = f(*state, x);
                    }
                }
            }
            for (y, state) in y.iter_mut().zip(states) {
                *y = finish(state);
            }
            channel += N;
        }
        channel
    }
}

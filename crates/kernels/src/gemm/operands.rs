//! What the tiles of [`super::tile`] are given: where operands and results lie, and weights packed into panels.

use std::marker::PhantomData;
use std::ops::Range;

/// Where pixel `p` of rows of some width starts: `(p / width) * row_step + (p % width) * pixel_step`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) row_step: usize,
    pub(crate) pixel_step: usize,
}

impl Grid {
    /// Rows of a matrix, `step` elements apart.
    pub(crate) fn linear(step: usize) -> Self {
        Self { row_step: 0, pixel_step: step }
    }

    #[inline(always)]
    pub(super) fn start(&self, (row, column): (usize, usize)) -> usize {
        row * self.row_step + column * self.pixel_step
    }
}

/// c[p][n] = clamp(start + sum over k of a[p][k] b[k][n]), k running over all elements of all segments in order.
#[derive(Clone)]
pub(crate) struct Rows<'a> {
    /// The left operand.
    pub(crate) a: &'a [f32],
    /// Where each pixel's operands start in `a`.
    pub(crate) a_grid: Grid,
    /// Offsets of each pixel's runs from its start.
    pub(crate) segments: &'a [usize],
    /// Elements of one run.
    pub(crate) segment_len: usize,
    pub(crate) b: Right<'a>,
    /// The first k of `b` that this call uses.
    pub(crate) depth_from: usize,
    /// Columns of `b` and `c`.
    pub(crate) columns: Range<usize>,
    /// What results start from: `bias[n]`, 0 without, or what `c` holds if `accumulate`.
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) accumulate: bool,
    pub(crate) clamp: (f32, f32),
    /// Pixels of one row of the grids.
    pub(crate) width: usize,
    /// Pixels to do; pixel `pixels.start + i` is in `c` where the grid has it, less where `pixels.start` is.
    pub(crate) pixels: Range<usize>,
    pub(crate) c_grid: Grid,
}

/// Where results go: elements of a slice, of which several threads may have different columns.
pub(crate) struct Target<'a> {
    start: *mut f32,
    pub(super) len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: a target is the only one to use its elements, as a slice is; who shares one ensures that.
unsafe impl Send for Target<'_> {}
// SAFETY: through a shared reference only `share` can be reached.
unsafe impl Sync for Target<'_> {}

impl<'a> Target<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The same elements once more.
    ///
    /// # Safety
    /// No element may be used through both while both live.
    pub(crate) unsafe fn share(&self) -> Target<'a> {
        Self { start: self.start, len: self.len, slice: PhantomData }
    }

    /// The elements from `first` on.
    pub(crate) fn skip(&mut self, first: usize) -> Target<'_> {
        assert!(first <= self.len, "element {first} of {}", self.len);
        // SAFETY: it is within the slice, or one past its end.
        Target { start: unsafe { self.start.add(first) }, len: self.len - first, slice: PhantomData }
    }

    /// `len` elements from `first` on.
    ///
    /// # Safety
    /// They must be within the slice.
    #[inline(always)]
    pub(super) unsafe fn row(&mut self, first: usize, len: usize) -> &mut [f32] {
        debug_assert!(first + len <= self.len);
        // SAFETY: as the caller ensures, and nobody else uses these elements.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), len) }
    }
}

/// The right operand.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    /// From [`pack_panels`], with k of a whole panel.
    Panels(&'a [f32], usize),
    /// A matrix as it is, and the elements from one k to the next.
    Matrix(&'a [f32], usize),
}

/// c[m][n] += sum over runs r and pixels p of a[r][p][m] b[r][p][n], for m in each segment.
pub(crate) struct Outer<'a> {
    pub(crate) a: &'a [f32],
    pub(crate) b: &'a [f32],
    /// Runs of pixels, and pixels of one.
    pub(crate) runs: usize,
    pub(crate) run_len: usize,
    /// Steps from run to run and from pixel to pixel.
    pub(crate) a_run_step: usize,
    pub(crate) a_step: usize,
    pub(crate) b_run_step: usize,
    pub(crate) b_step: usize,
    /// Offsets into `a` of the runs of m, and the length of one.
    pub(crate) segments: &'a [usize],
    pub(crate) segment_len: usize,
    pub(crate) columns: usize,
    /// Elements from one m to the next in `c`.
    pub(crate) c_step: usize,
}

/// Elements of packed weights that are read again for every few pixels: they stay in the second cache.
const FEW_WEIGHTS: usize = 64 << 10;

impl Rows<'_> {
    /// Whether to go through all panels for each tile of pixels rather than through all pixels for each panel. Then results are
    /// written in the order of memory, which counts where there are few products for each.
    #[inline(always)]
    pub(super) fn keeps_all_panels(&self) -> bool {
        self.segments.len() * self.segment_len * self.columns.len() <= FEW_WEIGHTS
    }

    /// Whether the operands of neighbouring pixels lie a multiple of 4 KiB apart: then a first cache of 8 ways keeps those of 8 pixels.
    #[inline(always)]
    pub(super) fn crowds_cache(&self) -> bool {
        self.a_grid.pixel_step > 0 && self.a_grid.pixel_step.is_multiple_of(1024)
    }

    /// The packed weights that the call after this one reads, if this one goes through one panel: while the first pixels are done,
    /// they come from memory. As much as this call reads itself.
    #[inline(always)]
    pub(super) fn after(&self, columns: Range<usize>, lanes: usize) -> &[f32] {
        let width = panel_width(lanes);
        let Right::Panels(panels, depth) = self.b else { return &[] };
        if columns.len() != width || !columns.start.is_multiple_of(width) {
            return &[];
        }
        let part = self.segments.len() * self.segment_len * width;
        let from = columns.start * depth + self.depth_from * width + part;
        panels.get(from..).map_or(&[], |after| &after[..part.min(after.len())])
    }

    #[inline(always)]
    pub(super) fn position(&self, pixel: usize) -> (usize, usize) {
        (pixel / self.width, pixel % self.width)
    }

    /// Where the operands and results of `HEIGHT` pixels start, whose first is at `at`, which becomes the one behind.
    #[inline(always)]
    pub(super) fn starts<const HEIGHT: usize>(&self, at: &mut (usize, usize), origin: usize) -> [[usize; HEIGHT]; 2] {
        let (mut a_at, mut c_at) = ([0; HEIGHT], [0; HEIGHT]);
        let starts = |at| [self.a_grid.start(at), self.c_grid.start(at) - origin];
        let mut start = starts(*at);
        for (a_at, c_at) in a_at.iter_mut().zip(&mut c_at) {
            [*a_at, *c_at] = start;
            at.1 += 1;
            start = [start[0] + self.a_grid.pixel_step, start[1] + self.c_grid.pixel_step];
            if at.1 == self.width {
                *at = (at.0 + 1, 0);
                start = starts(*at);
            }
        }
        [a_at, c_at]
    }
}

/// Columns of a panel for `lanes` lanes: two vectors.
pub(crate) const fn panel_width(lanes: usize) -> usize {
    2 * lanes
}

/// Elements of `columns` packed columns of `depth`.
pub(crate) fn panels_len(lanes: usize, depth: usize, columns: usize) -> usize {
    columns.next_multiple_of(lanes) * depth
}

/// Packs a matrix into panels of two vectors' columns (the last may be one), k by k, zero-padded.
/// `copy(k, columns, to)` writes a part of row k.
pub(crate) fn pack_panels(
    lanes: usize,
    depth: usize,
    columns: usize,
    packed: &mut [f32],
    mut copy: impl FnMut(usize, Range<usize>, &mut [f32]),
) {
    let mut rest = packed;
    let mut first = 0;
    while first < columns {
        let valid = panel_width(lanes).min(columns - first);
        let width = valid.next_multiple_of(lanes);
        let (panel, next) = rest.split_at_mut(width * depth);
        for (k, row) in panel.chunks_exact_mut(width).enumerate() {
            row[valid..].fill(0.0);
            copy(k, first..first + valid, &mut row[..valid]);
        }
        rest = next;
        first += valid;
    }
}

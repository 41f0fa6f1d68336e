//! Min-max calibration: nothing that was seen is clipped.

use super::{Calibrator, Grid, Range};

/// The range of every value that was seen: TensorFlow Lite's default (Krishnamoorthi, "Quantizing deep convolutional networks for
/// efficient inference: A whitepaper", 2018). One outlier widens it.
#[derive(Debug, Clone, Copy, Default)]
pub struct MinMax {
    range: Option<Range>,
}

impl Calibrator for MinMax {
    fn observe(&mut self, values: &[f32]) {
        if let Some(range) = Range::of(values) {
            self.range = Some(self.range.map_or(range, |seen| seen.union(range)));
        }
    }

    fn range(&self, _: Grid) -> Option<Range> {
        self.range
    }
}

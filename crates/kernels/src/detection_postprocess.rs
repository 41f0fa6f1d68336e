//! `TFLite_Detection_PostProcess`: box encodings and class scores of an SSD to detections (LiteRT
//! `kernels/detection_postprocess.cc`).

use crate::heap::partial_sort;
use crate::non_max_suppression::overlap_sorted;
use crate::{QuantParams, Unsupported};

const KERNEL: &str = "detection_postprocess";

/// What the op does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionSpec {
    /// Boxes.
    pub boxes: usize,
    /// Elements of one encoding; the first four are `y x h w`.
    pub encoding: usize,
    /// Scores of one box: the classes, maybe with one of the background before them.
    pub scores: usize,
    /// Classes.
    pub classes: usize,
    /// Most boxes that are detected.
    pub max_detections: usize,
    /// Classes given for each box, by the fast suppression.
    pub classes_per_detection: usize,
    /// Most boxes of one class, by the regular suppression.
    pub detections_per_class: usize,
    /// Whether boxes are suppressed for each class, instead of by their best class only.
    pub regular: bool,
    /// Least score.
    pub score_threshold: f32,
    /// Intersection over union above which the box of lower score is suppressed.
    pub overlap_threshold: f32,
    /// Divisors of the encodings: `y x h w`.
    pub scales: [f32; 4],
}

/// Elements of a float or a quantized tensor.
#[derive(Debug, Clone, Copy)]
pub enum Reals<'a> {
    /// Float.
    F32(&'a [f32]),
    /// Unsigned.
    U8(&'a [u8], QuantParams),
    /// Signed.
    I8(&'a [i8], QuantParams),
}

impl Reals<'_> {
    fn get(&self, index: usize) -> f32 {
        let real = |x: f32, params: &QuantParams| (x - params.zero_point as f32) * params.scale;
        match self {
            Self::F32(data) => data[index],
            Self::U8(data, params) => real(data[index].into(), params),
            Self::I8(data, params) => real(data[index].into(), params),
        }
    }
}

/// A planned op.
#[derive(Debug, Clone)]
pub struct DetectionPostprocess {
    spec: DetectionSpec,
}

/// Parts of the scratch memory.
struct Work<'a> {
    /// Corners of each box, the lower one first.
    corners: &'a mut [[f32; 4]],
    /// One score for each box.
    scores: &'a mut [f32],
    /// The classes of one box, best first.
    classes: &'a mut [u32],
    /// Boxes of enough score, best first.
    kept: &'a mut [u32],
    /// Those of them that are detected.
    selected: &'a mut [u32],
    /// Box, class, and the bits of the score; best first.
    merged: &'a mut [[u32; 3]],
}

/// Marks a box that is suppressed.
const SUPPRESSED: u32 = u32::MAX;

impl DetectionPostprocess {
    /// Plans the op.
    ///
    /// # Errors
    /// Numbers of classes and detections that make no sense, an overlap threshold outside `(0, 1]`, sizes that overflow.
    pub fn new(spec: DetectionSpec) -> Result<Self, Unsupported> {
        let refuse = |reason: String| Err(Unsupported::new(KERNEL, reason));
        let DetectionSpec { boxes, encoding, scores, classes, max_detections, .. } = spec;
        if encoding < 4 {
            return refuse(format!("encodings of {encoding} elements, expected at least 4"));
        }
        if classes == 0 || scores < classes || scores - classes > 1 {
            return refuse(format!("{scores} scores for each box and {classes} classes, expected as many or one more"));
        }
        if max_detections == 0 || spec.classes_per_detection == 0 || (spec.regular && spec.detections_per_class == 0) {
            return refuse("a number of detections of 0".into());
        }
        if !(spec.overlap_threshold > 0.0 && spec.overlap_threshold <= 1.0) {
            return refuse(format!("an overlap threshold of {}, expected above 0 to 1", spec.overlap_threshold));
        }
        let products = [(boxes, scores), (boxes, encoding), (max_detections, spec.classes_per_detection)];
        let most = u32::MAX as usize / 16;
        if products.iter().any(|&(a, b)| a.checked_mul(b).is_none_or(|product| product > most)) {
            return refuse(format!("sizes overflow: {spec:?}"));
        }
        Ok(Self { spec })
    }

    fn selected_most(&self) -> usize {
        let DetectionSpec { boxes, max_detections, detections_per_class, regular, .. } = self.spec;
        boxes.min(if regular { detections_per_class.min(max_detections) } else { max_detections })
    }

    /// Elements of 4 bytes of scratch that [`Self::run`] needs.
    #[must_use]
    pub fn scratch_words(&self) -> usize {
        let DetectionSpec { boxes, classes, .. } = self.spec;
        6 * boxes + classes + self.selected_most() + 3 * self.merged_len()
    }

    fn merged_len(&self) -> usize {
        if self.spec.regular { self.spec.max_detections + self.selected_most() } else { 0 }
    }

    /// Detects. `outputs` are corners `y x y x`, classes, scores, and the number of detections; what is not detected is 0.
    ///
    /// # Errors
    /// When a box has a negative size.
    ///
    /// # Panics
    /// If a buffer is too small.
    pub fn run(
        &self,
        encodings: Reals<'_>,
        predictions: Reals<'_>,
        anchors: Reals<'_>,
        outputs: [&mut [f32]; 4],
        scratch: &mut [u32],
    ) -> Result<(), Unsupported> {
        let DetectionSpec { boxes, classes, .. } = self.spec;
        let (corners, scratch) = scratch.split_at_mut(4 * boxes);
        let (scores, scratch) = scratch.split_at_mut(boxes);
        let (classes, scratch) = scratch.split_at_mut(classes);
        let (kept, scratch) = scratch.split_at_mut(boxes);
        let (selected, merged) = scratch.split_at_mut(self.selected_most());
        let mut work = Work {
            corners: bytemuck::cast_slice_mut(corners),
            scores: bytemuck::cast_slice_mut(scores),
            classes,
            kept,
            selected,
            merged: bytemuck::cast_slice_mut(&mut merged[..3 * self.merged_len()]),
        };
        self.decode(encodings, anchors, work.corners)?;
        let [detected, detected_classes, detected_scores, count] = outputs;
        detected.fill(0.0);
        detected_classes.fill(0.0);
        detected_scores.fill(0.0);
        let mut put = |at: usize, corners: [f32; 4], class: u32, score: f32| {
            detected[4 * at..4 * at + 4].copy_from_slice(&corners);
            detected_classes[at] = class as f32;
            detected_scores[at] = score;
        };
        let found = match self.spec.regular {
            true => self.regular(predictions, &mut work, &mut put),
            false => self.fast(predictions, &mut work, &mut put),
        };
        count[0] = found as f32;
        Ok(())
    }

    fn decode(&self, encodings: Reals<'_>, anchors: Reals<'_>, corners: &mut [[f32; 4]]) -> Result<(), Unsupported> {
        let scales = self.spec.scales.map(f64::from);
        for (index, corners) in corners.iter_mut().enumerate() {
            let [y, x, height, width] =
                [0, 1, 2, 3].map(|at| f64::from(encodings.get(index * self.spec.encoding + at)));
            let anchor = [0, 1, 2, 3].map(|at| f64::from(anchors.get(index * 4 + at)));
            let center_y = (y / scales[0] * anchor[2] + anchor[0]) as f32;
            let center_x = (x / scales[1] * anchor[3] + anchor[1]) as f32;
            let half_height = (0.5 * libm::exp(height / scales[2]) * anchor[2]) as f32;
            let half_width = (0.5 * libm::exp(width / scales[3]) * anchor[3]) as f32;
            *corners = [center_y - half_height, center_x - half_width, center_y + half_height, center_x + half_width];
            if corners[0] > corners[2] || corners[1] > corners[3] {
                return Err(Unsupported::new(
                    KERNEL,
                    format!("box {index} has the corners {corners:?}, a negative size"),
                ));
            }
        }
        Ok(())
    }

    /// The score of class `class` of box `index`.
    fn score(&self, predictions: &Reals<'_>, index: usize, class: usize) -> f32 {
        predictions.get(index * self.spec.scores + self.spec.scores - self.spec.classes + class)
    }

    /// The best `count` classes of a box, in order.
    fn best_classes(&self, predictions: &Reals<'_>, index: usize, count: usize, classes: &mut [u32]) {
        let score = |class: u32| self.score(predictions, index, class as usize);
        if count == 1 {
            let better = |best: u32, class: u32| if score(class) > score(best) { class } else { best };
            classes[0] = (1..self.spec.classes as u32).fold(0, better);
            return;
        }
        classes.iter_mut().enumerate().for_each(|(class, at)| *at = class as u32);
        partial_sort(classes, count, &|&a, &b| score(a) > score(b));
    }

    /// Selects at most `most` boxes by the scores of `work`; their number.
    fn suppress(&self, work: &mut Work<'_>, most: usize) -> usize {
        let mut kept = 0;
        for (index, &score) in work.scores.iter().enumerate() {
            if score >= self.spec.score_threshold {
                work.kept[kept] = index as u32;
                kept += 1;
            }
        }
        let (scores, kept) = (&*work.scores, &mut work.kept[..kept]);
        // Equal scores stay in their order.
        let count = kept.len();
        partial_sort(kept, count, &|&a, &b| {
            let (score, other) = (scores[a as usize], scores[b as usize]);
            score > other || (score == other && a < b)
        });
        let most = most.min(kept.len());
        let mut count = 0;
        for at in 0..kept.len() {
            if count == most {
                break;
            }
            let index = kept[at];
            if index == SUPPRESSED {
                continue;
            }
            work.selected[count] = index;
            count += 1;
            for other in &mut kept[at + 1..] {
                if *other != SUPPRESSED
                    && overlap_sorted(&work.corners[index as usize], &work.corners[*other as usize])
                        > self.spec.overlap_threshold
                {
                    *other = SUPPRESSED;
                }
            }
        }
        count
    }

    fn fast(
        &self,
        predictions: Reals<'_>,
        work: &mut Work<'_>,
        put: &mut impl FnMut(usize, [f32; 4], u32, f32),
    ) -> usize {
        let per_box = self.spec.classes_per_detection.min(self.spec.classes);
        for index in 0..self.spec.boxes {
            self.best_classes(&predictions, index, per_box, work.classes);
            work.scores[index] = self.score(&predictions, index, work.classes[0] as usize);
        }
        let count = self.suppress(work, self.selected_most());
        for at in 0..count {
            let index = work.selected[at] as usize;
            self.best_classes(&predictions, index, per_box, work.classes);
            for (column, &class) in work.classes[..per_box].iter().enumerate() {
                let score = self.score(&predictions, index, class as usize);
                put(at * self.spec.classes_per_detection + column, work.corners[index], class, score);
            }
        }
        count
    }

    fn regular(
        &self,
        predictions: Reals<'_>,
        work: &mut Work<'_>,
        put: &mut impl FnMut(usize, [f32; 4], u32, f32),
    ) -> usize {
        let mut len = 0;
        for class in 0..self.spec.classes {
            for index in 0..self.spec.boxes {
                work.scores[index] = self.score(&predictions, index, class);
            }
            let count = self.suppress(work, self.selected_most());
            let old = len;
            for (at, &index) in work.selected[..count].iter().enumerate() {
                work.merged[old + at] = [index, class as u32, work.scores[index as usize].to_bits()];
            }
            // A stable merge of two sorted lists.
            for at in old..old + count {
                let new = work.merged[at];
                let mut to = at;
                while to > 0 && f32::from_bits(work.merged[to - 1][2]) < f32::from_bits(new[2]) {
                    work.merged[to] = work.merged[to - 1];
                    to -= 1;
                }
                work.merged[to] = new;
            }
            len = (old + count).min(self.spec.max_detections);
        }
        for (at, &[index, class, score]) in work.merged[..len].iter().enumerate() {
            put(at, work.corners[index as usize], class, f32::from_bits(score));
        }
        len
    }
}

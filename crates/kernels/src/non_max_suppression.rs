//! NON_MAX_SUPPRESSION_V4 and V5: the boxes of highest score that do not overlap (LiteRT `reference/non_max_suppression.h`); V5
//! may lower the scores of those that do instead (N. Bodla et al., "Soft-NMS", 2017).

use bytemuck::{Pod, Zeroable};

use crate::heap::{pop_to_last, push_last};

/// A box that may be selected.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Candidate {
    index: u32,
    score: f32,
    /// How many of the selected boxes it has been compared with.
    compared: u32,
}

/// When a box is selected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SelectionThresholds {
    /// Intersection over union from which a box is suppressed.
    pub overlap: f32,
    /// Score that a box must exceed.
    pub score: f32,
    /// Standard deviation of the Gaussian that lowers the scores of overlapping boxes; 0 for none.
    pub sigma: f32,
}

/// Bytes of scratch for `boxes` boxes.
#[must_use]
pub fn scratch_bytes(boxes: usize) -> usize {
    boxes.saturating_mul(size_of::<Candidate>())
}

/// Selects boxes, best first, and gives their number. `boxes` are two opposite corners each, `y x y x`; `selected` is filled up
/// with 0, and so is `selected_scores`, where asked for.
///
/// # Panics
/// If `scratch` is smaller than [`scratch_bytes`] or not aligned to 4, or `boxes` does not hold 4 elements for each score.
pub fn select(
    boxes: &[f32],
    scores: &[f32],
    thresholds: SelectionThresholds,
    selected: &mut [i32],
    mut selected_scores: Option<&mut [f32]>,
    scratch: &mut [u8],
) -> usize {
    let boxes: &[[f32; 4]] = bytemuck::cast_slice(boxes);
    let heap: &mut [Candidate] = bytemuck::cast_slice_mut(&mut scratch[..scratch_bytes(scores.len())]);
    let less = |a: &Candidate, b: &Candidate| a.score < b.score;
    let mut len = 0;
    for (index, &score) in scores.iter().enumerate().filter(|(_, score)| **score > thresholds.score) {
        heap[len] = Candidate { index: index as u32, score, compared: 0 };
        len += 1;
        push_last(&mut heap[..len], &less);
    }
    let most = len.min(selected.len());
    selected.fill(0);
    if let Some(scores) = &mut selected_scores {
        scores.fill(0.0);
    }
    let scale = if thresholds.sigma > 0.0 { (-0.5 / f64::from(thresholds.sigma)) as f32 } else { 0.0 };
    let mut count = 0;
    while count < most && len > 0 {
        pop_to_last(&mut heap[..len], &less);
        len -= 1;
        let mut next = heap[len];
        let original = next.score;
        let mut suppressed = false;
        for &other in selected[next.compared as usize..count].iter().rev() {
            let overlap = overlap(&boxes[next.index as usize], &boxes[other as usize]);
            if overlap >= thresholds.overlap {
                suppressed = true;
                break;
            }
            if thresholds.sigma > 0.0 {
                next.score *= f64::from(scale * overlap * overlap).exp() as f32;
            }
            if next.score <= thresholds.score {
                break;
            }
        }
        next.compared = count as u32;
        if suppressed {
            continue;
        }
        if next.score == original {
            selected[count] = next.index as i32;
            if let Some(scores) = &mut selected_scores {
                scores[count] = next.score;
            }
            count += 1;
        }
        if next.score > thresholds.score {
            heap[len] = next;
            len += 1;
            push_last(&mut heap[..len], &less);
        }
    }
    count
}

/// Intersection over union of boxes given by any two opposite corners.
fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let sorted = |c: &[f32; 4]| [c[0].min(c[2]), c[1].min(c[3]), c[0].max(c[2]), c[1].max(c[3])];
    overlap_sorted(&sorted(a), &sorted(b))
}

/// The same for boxes whose first corner is the lower one; 0 where a box has no area.
pub(crate) fn overlap_sorted(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let area = |c: &[f32; 4]| (c[2] - c[0]) * (c[3] - c[1]);
    let (area_a, area_b) = (area(a), area(b));
    if area_a <= 0.0 || area_b <= 0.0 {
        return 0.0;
    }
    let height = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let width = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let intersection = height * width;
    intersection / (area_a + area_b - intersection)
}

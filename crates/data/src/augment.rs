//! Random changes to training images, the same for the same seed, epoch and sample whatever the threads do.

use litesmith_graph::{Error, Result};

use crate::image::ImageShape;
use crate::rng::Rng;

/// What lies beyond the border of an image that is moved, turned or cropped.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// This pixel value (0 is black).
    Constant(f32),
    /// The nearest pixel of the border.
    Edge,
}

/// Random changes to a training image. Every field's default leaves the image as it is.
///
/// Applied to pixels at the network's size, before normalisation, in this order: shift, rotation, scale, shear, flips,
/// crop and elastic distortion as one bilinear warp about the centre; brightness; contrast; cutout; mixup.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Moves by up to this share of the height and of the width, each way. 0 to 1.
    pub shift: f32,
    /// Turns by up to this angle, each way. 0 to 180.
    pub rotate_degrees: f32,
    /// Enlarges or shrinks by a factor in `1 - scale ..= 1 + scale`. 0 to 0.9.
    pub scale: f32,
    /// Slants the columns by up to this angle, each way. 0 to 60.
    pub shear_degrees: f32,
    /// Mirrors left and right, one time in two.
    pub flip_horizontal: bool,
    /// Mirrors top and bottom, one time in two.
    pub flip_vertical: bool,
    /// Pads by this many pixels on each side and cuts the image's size out again at a random place of whole pixels.
    pub crop_padding_px: u32,
    /// Bends the image: points four to a side, or as many to the shorter one, are each moved by up to this share of it, and the
    /// pixels between them smoothly (cubic B-splines). Elastic distortion as in Simard et al. 2003 ("Best practices for
    /// convolutional neural networks applied to visual document analysis"), whose strength for digits is about 0.17. 0 to 1.
    pub elastic: f32,
    /// Adds up to this share of white, each way. 0 to 1.
    pub brightness: f32,
    /// Stretches about the image's mean by a factor in `1 - contrast ..= 1 + contrast`. 0 to 1.
    pub contrast: f32,
    /// Covers a square with sides of this share of the shorter side, its centre anywhere in the image. 0 to 1.
    pub cutout: f32,
    /// Mixes each image and its target with those of another sample, `weight` and `1 - weight`, the weight from
    /// Beta(alpha, alpha). 0 does not. Targets become dense.
    pub mixup_alpha: f32,
    /// What lies beyond the border, and what covers a cutout (black for [`Fill::Edge`]).
    pub fill: Fill,
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            shift: 0.0,
            rotate_degrees: 0.0,
            scale: 0.0,
            shear_degrees: 0.0,
            flip_horizontal: false,
            flip_vertical: false,
            crop_padding_px: 0,
            elastic: 0.0,
            brightness: 0.0,
            contrast: 0.0,
            cutout: 0.0,
            mixup_alpha: 0.0,
            fill: Fill::Constant(0.0),
        }
    }
}

impl Augment {
    /// Names of the presets, as [`Self::preset`] takes them.
    pub const PRESETS: [&str; 3] = ["none", "digits", "objects"];

    /// `none`; `digits`: a small shift (8 %), rotation (10 degrees), scale (10 %) and shear (5 degrees), no flips;
    /// `objects`: horizontal flips and crops from 4 pixels of padding, as is usual for CIFAR-10.
    ///
    /// # Errors
    /// `Invalid` for another name.
    pub fn preset(name: &str) -> Result<Self> {
        match name {
            "none" => Ok(Self::default()),
            "digits" => {
                Ok(Self { shift: 0.08, rotate_degrees: 10.0, scale: 0.1, shear_degrees: 5.0, ..Self::default() })
            }
            "objects" => Ok(Self { flip_horizontal: true, crop_padding_px: 4, ..Self::default() }),
            _ => Err(Error::invalid("augmentation", format!("got preset {name:?}"))
                .with_hint(format!("the presets are: {}", Self::PRESETS.join(", ")))),
        }
    }

    /// Checks that the numbers make sense.
    ///
    /// # Errors
    /// `Invalid` for a number outside the range its field gives.
    pub fn check(&self) -> Result<()> {
        let ranges = [
            ("shift", self.shift, 1.0),
            ("rotate_degrees", self.rotate_degrees, 180.0),
            ("scale", self.scale, 0.9),
            ("shear_degrees", self.shear_degrees, 60.0),
            ("crop_padding_px", self.crop_padding_px as f32, 65_536.0),
            ("elastic", self.elastic, 1.0),
            ("brightness", self.brightness, 1.0),
            ("contrast", self.contrast, 1.0),
            ("cutout", self.cutout, 1.0),
            ("mixup_alpha", self.mixup_alpha, 100.0),
        ];
        for (name, value, max) in ranges {
            if !(0.0..=max).contains(&value) {
                return Err(Error::invalid(
                    format!("augmentation {name}"),
                    format!("got {value}, expected 0 to {max}"),
                ));
            }
        }
        match self.fill {
            Fill::Constant(value) if !value.is_finite() => {
                Err(Error::invalid("augmentation fill", format!("got {value}, expected a finite number")))
            }
            _ => Ok(()),
        }
    }

    /// Leaves every image as it is.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self { fill: self.fill, ..Self::default() }
    }

    /// Targets become dense.
    #[must_use]
    pub fn is_mixup(&self) -> bool {
        self.mixup_alpha > 0.0
    }

    fn has_warp(&self) -> bool {
        self.shift > 0.0
            || self.rotate_degrees > 0.0
            || self.scale > 0.0
            || self.shear_degrees > 0.0
            || self.flip_horizontal
            || self.flip_vertical
            || self.crop_padding_px > 0
            || self.elastic > 0.0
    }

    /// Draws the warp of one sample. The numbers are drawn in the order of the fields, and only for those in use.
    fn draw_warp(&self, shape: ImageShape, rng: &mut Rng) -> Affine {
        let (height, width) = (shape.height as f32, shape.width as f32);
        let (mut down, mut right) = (0.0, 0.0);
        if self.shift > 0.0 {
            down = rng.symmetric_f32(self.shift) * height;
            right = rng.symmetric_f32(self.shift) * width;
        }
        let angle = if self.rotate_degrees > 0.0 { rng.symmetric_f32(self.rotate_degrees).to_radians() } else { 0.0 };
        let factor = if self.scale > 0.0 { 1.0 + rng.symmetric_f32(self.scale) } else { 1.0 };
        let slant =
            if self.shear_degrees > 0.0 { rng.symmetric_f32(self.shear_degrees).to_radians().tan() } else { 0.0 };
        let mut coin = |wanted: bool| if wanted && rng.next_u64() >> 63 == 1 { -1.0 } else { 1.0 };
        let (mirror_x, mirror_y) = (coin(self.flip_horizontal), coin(self.flip_vertical));
        if self.crop_padding_px > 0 {
            let places = 2 * u64::from(self.crop_padding_px) + 1;
            let mut step = || rng.below(places) as f32 - self.crop_padding_px as f32;
            down += step();
            right += step();
        }
        // Forward, about the centre: mirror, slant, scale, turn, move. The warp needs where each output pixel comes from.
        let (sin, cos) = angle.sin_cos();
        let xx = factor * cos * mirror_x;
        let xy = factor * (cos * slant - sin) * mirror_y;
        let yx = factor * sin * mirror_x;
        let yy = factor * (sin * slant + cos) * mirror_y;
        Affine::inverse_about_centre(shape, [xx, xy, yx, yy], right, down)
    }

    /// Changes `pixels` (HWC of `shape`, not yet normalised) for one sample, whose stream is `rng`. `white` is full
    /// brightness. `scratch` is reused from call to call.
    ///
    /// # Errors
    /// `Invalid` when there are not as many pixels as the shape has elements.
    pub fn apply(
        &self,
        pixels: &mut [f32],
        shape: ImageShape,
        white: f32,
        rng: &mut Rng,
        scratch: &mut Vec<f32>,
    ) -> Result<()> {
        if shape.elements() != Some(pixels.len()) || pixels.is_empty() {
            return Err(Error::invalid("augmentation", format!("got {} values for shape {shape}", pixels.len())));
        }
        if self.has_warp() {
            let affine = self.draw_warp(shape, rng);
            let bend = (self.elastic > 0.0).then(|| Bend::draw(self.elastic, shape, rng));
            warp(pixels, shape, &affine, bend.as_ref(), self.fill, scratch);
        }
        if self.brightness > 0.0 {
            shift_brightness(pixels, rng.symmetric_f32(self.brightness) * white, white);
        }
        if self.contrast > 0.0 {
            stretch_contrast(pixels, 1.0 + rng.symmetric_f32(self.contrast), white);
        }
        if self.cutout > 0.0 {
            let centre = (rng.below(shape.height as u64) as usize, rng.below(shape.width as u64) as usize);
            let side = (self.cutout * shape.height.min(shape.width) as f32).round() as usize;
            let value = match self.fill {
                Fill::Constant(value) => value,
                Fill::Edge => 0.0,
            };
            cut_out(pixels, shape, centre, side, value);
        }
        Ok(())
    }
}

/// Where an output pixel comes from: input `x = xx * column + xy * row + x0`, likewise `y`, in pixel indices.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Affine {
    xx: f32,
    /// Input columns by output row.
    xy: f32,
    /// Input column of output pixel (0, 0).
    x0: f32,
    /// Input rows by output column.
    yx: f32,
    /// Input rows by output row.
    yy: f32,
    /// Input row of output pixel (0, 0).
    y0: f32,
}

impl Affine {
    /// The inverse of: `forward` (`[xx, xy, yx, yy]`, not singular) about the centre of `shape`, then a move by `right`
    /// and `down` pixels.
    fn inverse_about_centre(shape: ImageShape, forward: [f32; 4], right: f32, down: f32) -> Self {
        let [a, b, c, d] = forward;
        let determinant = a * d - b * c;
        let (xx, xy, yx, yy) = (d / determinant, -b / determinant, -c / determinant, a / determinant);
        let (cx, cy) = ((shape.width as f32 - 1.0) * 0.5, (shape.height as f32 - 1.0) * 0.5);
        let (dx, dy) = (cx + right, cy + down);
        Self { xx, xy, x0: cx - xx * dx - xy * dy, yx, yy, y0: cy - yx * dx - yy * dy }
    }
}

/// Cells of the grid of points that a [`Bend`] moves, along each side.
const CELLS: usize = 4;
/// Points along each side: a pixel is moved by four of them.
const POINTS: usize = CELLS + 3;

/// How far the source of each pixel is moved, right and down, in pixels: a uniform cubic B-spline over a coarse grid.
#[derive(Debug, Clone)]
struct Bend {
    right: [[f32; POINTS]; POINTS],
    down: [[f32; POINTS]; POINTS],
}

impl Bend {
    fn draw(share: f32, shape: ImageShape, rng: &mut Rng) -> Self {
        let reach = share * shape.height.min(shape.width) as f32;
        let mut draw = || std::array::from_fn(|_| std::array::from_fn(|_| rng.symmetric_f32(reach)));
        Self { right: draw(), down: draw() }
    }

    /// The cell of pixel `at` of `length`, and the weights of the four points around it, which sum to 1.
    fn weights(at: usize, length: usize) -> (usize, [f32; 4]) {
        let position = at as f32 * CELLS as f32 / length as f32;
        let cell = (position as usize).min(CELLS - 1);
        let t = position - cell as f32;
        let (s, t2) = (1.0 - t, t * t);
        let near = |t: f32, t2: f32| (3.0 * t2 * t - 6.0 * t2 + 4.0) / 6.0;
        (cell, [s * s * s / 6.0, near(t, t2), near(s, s * s), t2 * t / 6.0])
    }

    /// Moves of the pixels of `row`, into `right` and `down`.
    fn row(&self, row: usize, shape: ImageShape, right: &mut [f32], down: &mut [f32]) {
        let (first, weights) = Self::weights(row, shape.height);
        for (points, moves) in [(&self.right, right), (&self.down, down)] {
            let line: [f32; POINTS] =
                std::array::from_fn(|x| (0..4).map(|k| weights[k] * points[first + k][x]).sum::<f32>());
            for (column, moved) in moves.iter_mut().enumerate().take(shape.width) {
                let (first, weights) = Self::weights(column, shape.width);
                *moved = (0..4).map(|k| weights[k] * line[first + k]).sum();
            }
        }
    }
}

/// Warps HWC `pixels` in place, bilinearly; what lies beyond the border is `fill`. `scratch` is reused.
///
/// The image is first copied into a frame one pixel wide (two at the far sides), so that the four neighbours of any
/// clamped position exist and the inner loop has no branches.
fn warp(
    pixels: &mut [f32],
    shape: ImageShape,
    affine: &Affine,
    bend: Option<&Bend>,
    fill: Fill,
    scratch: &mut Vec<f32>,
) {
    let ImageShape { height, width, channels } = shape;
    let stride = (width + 3) * channels;
    let background = match fill {
        Fill::Constant(value) => value,
        Fill::Edge => 0.0,
    };
    scratch.clear();
    scratch.resize((height + 3) * stride, background);
    // How far the pixels of a row are moved besides, filled up to whole blocks.
    let moves = width.next_multiple_of(LANES);
    scratch.resize((height + 3) * stride + 2 * moves, 0.0);
    let (frame, moves) = scratch.split_at_mut((height + 3) * stride);
    let (right, down) = moves.split_at_mut(width.next_multiple_of(LANES));
    let row_len = width * channels;
    for (framed, row) in frame.chunks_exact_mut(stride).skip(1).zip(pixels.chunks_exact(row_len)) {
        framed[channels..channels + row_len].copy_from_slice(row);
    }
    // With Edge a position is clamped to the image itself; with a constant it may reach the frame, but no further.
    let beyond = match fill {
        Fill::Edge => 0.0,
        Fill::Constant(_) => 1.0,
    };
    let limits = Limits { low: 1.0 - beyond, high_x: width as f32 + beyond, high_y: height as f32 + beyond };
    for (row, out_row) in pixels.chunks_exact_mut(row_len).enumerate() {
        if let Some(bend) = bend {
            bend.row(row, shape, right, down);
        }
        let start = (affine.xy * row as f32 + affine.x0 + 1.0, affine.yy * row as f32 + affine.y0 + 1.0);
        let moved = (&*right, &*down);
        // Grey and colour get loops of their own, whose channels the compiler unrolls.
        match channels {
            1 => warp_row(frame, stride, 1, affine, start, moved, limits, out_row),
            3 => warp_row(frame, stride, 3, affine, start, moved, limits, out_row),
            _ => warp_row(frame, stride, channels, affine, start, moved, limits, out_row),
        }
    }
}

/// Smallest and largest positions in the frame.
#[derive(Debug, Clone, Copy)]
struct Limits {
    low: f32,
    high_x: f32,
    high_y: f32,
}

/// Output pixels whose positions are computed together: without a branch or a call, so that the compiler vectorises it.
const LANES: usize = 16;

/// 2^23, from which on floats are whole numbers: adding it rounds, and leaves the number in the low bits.
const WHOLE: f32 = 8_388_608.0;

/// The whole number below `x`, 0 <= x < 2^22, as a float. `f32::floor` is a call where SSE 4.1 is not assumed.
#[inline(always)]
fn floor(x: f32) -> f32 {
    let rounded = (x + WHOLE) - WHOLE;
    if rounded > x { rounded - 1.0 } else { rounded }
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "what one row of a warp needs, inlined into one function")]
fn warp_row(
    frame: &[f32],
    stride: usize,
    channels: usize,
    affine: &Affine,
    start: (f32, f32),
    moved: (&[f32], &[f32]),
    limits: Limits,
    out_row: &mut [f32],
) {
    let index = |whole: f32| (whole + WHOLE).to_bits() - WHOLE.to_bits();
    let (mut lefts, mut tops, mut fxs, mut fys) = ([0u32; LANES], [0u32; LANES], [0f32; LANES], [0f32; LANES]);
    let moves = moved.0.chunks_exact(LANES).zip(moved.1.chunks_exact(LANES));
    for ((block, outs), (right, down)) in out_row.chunks_mut(LANES * channels).enumerate().zip(moves) {
        for lane in 0..LANES {
            let column = (block * LANES + lane) as u32 as f32;
            // `max` and `min` rather than `clamp`, which panics on limits that are not in order.
            let x = (affine.xx * column + start.0 + right[lane]).max(limits.low).min(limits.high_x);
            let y = (affine.yx * column + start.1 + down[lane]).max(limits.low).min(limits.high_y);
            let (left, top) = (floor(x), floor(y));
            (fxs[lane], fys[lane]) = (x - left, y - top);
            (lefts[lane], tops[lane]) = (index(left), index(top));
        }
        for (lane, out) in outs.chunks_exact_mut(channels).enumerate() {
            let (fx, fy) = (fxs[lane], fys[lane]);
            let at = tops[lane] as usize * stride + lefts[lane] as usize * channels;
            let upper = &frame[at..at + 2 * channels];
            let lower = &frame[at + stride..at + stride + 2 * channels];
            for channel in 0..channels {
                let above = upper[channel] + fx * (upper[channel + channels] - upper[channel]);
                let below = lower[channel] + fx * (lower[channel + channels] - lower[channel]);
                out[channel] = above + fy * (below - above);
            }
        }
    }
}

fn shift_brightness(pixels: &mut [f32], by: f32, white: f32) {
    for pixel in pixels {
        *pixel = (*pixel + by).clamp(0.0, white);
    }
}

fn stretch_contrast(pixels: &mut [f32], factor: f32, white: f32) {
    let mean = pixels.iter().sum::<f32>() / pixels.len() as f32;
    for pixel in pixels {
        *pixel = (mean + (*pixel - mean) * factor).clamp(0.0, white);
    }
}

/// Covers the square of `side` pixels whose middle is `centre` (row, column), as far as it lies in the image.
fn cut_out(pixels: &mut [f32], shape: ImageShape, centre: (usize, usize), side: usize, value: f32) {
    let span = |middle: usize, length: usize| {
        (middle.saturating_sub(side / 2).min(length), (middle + side - side / 2).min(length))
    };
    let ((top, bottom), (left, right)) = (span(centre.0, shape.height), span(centre.1, shape.width));
    for row in pixels.chunks_exact_mut(shape.width * shape.channels).take(bottom).skip(top) {
        row[left * shape.channels..right * shape.channels].fill(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Purpose;

    fn rng(index: u64) -> Rng {
        Rng::new(3, Purpose::Augment, &[0, index])
    }

    fn ramp(shape: ImageShape) -> Vec<f32> {
        (0..shape.elements().unwrap()).map(|i| i as f32).collect()
    }

    fn warped(shape: ImageShape, forward: [f32; 4], right: f32, down: f32, fill: Fill) -> Vec<f32> {
        let mut pixels = ramp(shape);
        let affine = Affine::inverse_about_centre(shape, forward, right, down);
        warp(&mut pixels, shape, &affine, None, fill, &mut Vec::new());
        pixels
    }

    const KEEP: [f32; 4] = [1.0, 0.0, 0.0, 1.0];

    #[test]
    fn the_identity_warp_changes_nothing() {
        let shape = ImageShape::new(5, 7, 3);
        assert_eq!(warped(shape, KEEP, 0.0, 0.0, Fill::Constant(9.0)), ramp(shape));
        assert_eq!(warped(shape, KEEP, 0.0, 0.0, Fill::Edge), ramp(shape));
    }

    #[test]
    fn moves_and_mirrors_go_the_way_their_names_say() {
        let shape = ImageShape::new(2, 3, 1);
        assert_eq!(warped(shape, KEEP, 1.0, 0.0, Fill::Constant(9.0)), [9.0, 0.0, 1.0, 9.0, 3.0, 4.0]);
        assert_eq!(warped(shape, KEEP, 0.0, 1.0, Fill::Constant(9.0)), [9.0, 9.0, 9.0, 0.0, 1.0, 2.0]);
        assert_eq!(warped(shape, KEEP, -1.0, 0.0, Fill::Edge), [1.0, 2.0, 2.0, 4.0, 5.0, 5.0]);
        assert_eq!(warped(shape, [-1.0, 0.0, 0.0, 1.0], 0.0, 0.0, Fill::Edge), [2.0, 1.0, 0.0, 5.0, 4.0, 3.0]);
        assert_eq!(warped(shape, [1.0, 0.0, 0.0, -1.0], 0.0, 0.0, Fill::Edge), [3.0, 4.0, 5.0, 0.0, 1.0, 2.0]);
        assert_eq!(warped(shape, KEEP, 0.5, 0.0, Fill::Constant(0.0)), [0.0, 0.5, 1.5, 1.5, 3.5, 4.5]);
        assert_eq!(warped(shape, KEEP, 1e9, -1e9, Fill::Constant(9.0)), [9.0; 6]);
    }

    #[test]
    fn a_quarter_turn_is_clockwise_and_exact() {
        let shape = ImageShape::new(3, 3, 1);
        // Rows grow downward, so the rotation by +90 degrees takes the right-hand column to the bottom row.
        let got = warped(shape, [0.0, -1.0, 1.0, 0.0], 0.0, 0.0, Fill::Edge);
        assert_eq!(got, [6.0, 3.0, 0.0, 7.0, 4.0, 1.0, 8.0, 5.0, 2.0]);
    }

    #[test]
    fn a_bend_of_equal_moves_is_a_shift_and_others_are_smooth() {
        let shape = ImageShape::new(12, 20, 1);
        // The weights of the points sum to 1, so that moving all points moves every pixel as far.
        let even = Bend { right: [[2.0; POINTS]; POINTS], down: [[-1.0; POINTS]; POINTS] };
        let mut pixels = ramp(shape);
        let keep = Affine::inverse_about_centre(shape, KEEP, 0.0, 0.0);
        warp(&mut pixels, shape, &keep, Some(&even), Fill::Edge, &mut Vec::new());
        let shifted = warped(shape, KEEP, -2.0, 1.0, Fill::Edge);
        assert!(pixels.iter().zip(&shifted).all(|(a, b)| (a - b).abs() < 1e-3), "{pixels:?}");
        // Neighbours move nearly alike, pixels far apart do not.
        let bend = Bend::draw(0.17, shape, &mut rng(5));
        let (mut right, mut down) = ([0.0; 20], [0.0; 20]);
        bend.row(6, shape, &mut right, &mut down);
        let steps = |moves: &[f32]| moves.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        let range = |moves: &[f32]| {
            moves.iter().copied().fold(f32::MIN, f32::max) - moves.iter().copied().fold(f32::MAX, f32::min)
        };
        assert!(steps(&right) < 0.5 && range(&right) > 0.5, "{right:?}");
        assert!(steps(&down) < 0.5 && range(&down) > 0.5, "{down:?}");
        // As strong as Simard's: 1.4 pixels, root mean square, on images of 28 pixels.
        let digit = ImageShape::new(28, 28, 1);
        let mut squares = 0.0;
        for index in 0..200 {
            let (mut right, mut down) = ([0.0; 28], [0.0; 28]);
            Bend::draw(0.17, digit, &mut rng(index)).row(13, digit, &mut right, &mut down);
            squares += right.iter().chain(&down).map(|moved| moved * moved).sum::<f32>() / 56.0;
        }
        let rms = (squares / 200.0).sqrt();
        assert!((1.2..1.6).contains(&rms), "{rms}");
    }

    #[test]
    fn the_same_stream_gives_the_same_image_and_another_gives_another() {
        let shape = ImageShape::new(28, 28, 1);
        let augment = Augment { elastic: 0.1, contrast: 0.2, cutout: 0.3, ..Augment::preset("digits").unwrap() };
        let run = |index| {
            let mut pixels = ramp(shape);
            augment.apply(&mut pixels, shape, 255.0, &mut rng(index), &mut Vec::new()).unwrap();
            pixels
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn each_change_stays_within_its_limits() {
        let shape = ImageShape::new(9, 9, 1);
        let crop = Augment { crop_padding_px: 2, fill: Fill::Constant(-1.0), ..Augment::default() };
        let mut offsets = std::collections::BTreeSet::new();
        for index in 0..200 {
            let mut pixels = ramp(shape);
            crop.apply(&mut pixels, shape, 255.0, &mut rng(index), &mut Vec::new()).unwrap();
            let moved = pixels[40] as i32 - 40;
            offsets.insert(moved);
            assert!(pixels.iter().all(|v| v.fract() == 0.0), "a crop moves by whole pixels");
        }
        let expected = (-2..=2).flat_map(|y| (-2..=2).map(move |x| 9 * y + x)).collect();
        assert_eq!(offsets, expected);

        let bright = Augment { brightness: 0.5, contrast: 0.5, ..Augment::default() };
        for index in 0..50 {
            let mut pixels = ramp(shape);
            bright.apply(&mut pixels, shape, 80.0, &mut rng(index), &mut Vec::new()).unwrap();
            assert!(pixels.iter().all(|v| (0.0..=80.0).contains(v)));
        }

        let cut = Augment { cutout: 0.34, fill: Fill::Constant(-1.0), ..Augment::default() };
        for index in 0..50 {
            let mut pixels = vec![1.0; 81];
            cut.apply(&mut pixels, shape, 1.0, &mut rng(index), &mut Vec::new()).unwrap();
            let covered = pixels.iter().filter(|&&v| v == -1.0).count();
            assert!((4..=9).contains(&covered), "{covered} pixels of a square of 3 covered");
        }
    }

    #[test]
    fn numbers_out_of_range_and_unknown_names_are_refused() {
        assert!(Augment::preset("digitz").unwrap_err().hint().unwrap().contains("digits"));
        for name in Augment::PRESETS {
            Augment::preset(name).unwrap().check().unwrap();
        }
        for bad in [
            Augment { scale: 1.0, ..Augment::default() },
            Augment { shift: f32::NAN, ..Augment::default() },
            Augment { brightness: -0.1, ..Augment::default() },
            Augment { fill: Fill::Constant(f32::INFINITY), ..Augment::default() },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        assert!(Augment::preset("none").unwrap().is_none());
        assert!(!Augment::preset("digits").unwrap().is_none());
    }

    #[test]
    fn every_extreme_stays_in_bounds() {
        let augment = Augment {
            shift: 1.0,
            rotate_degrees: 180.0,
            scale: 0.9,
            shear_degrees: 60.0,
            flip_horizontal: true,
            flip_vertical: true,
            crop_padding_px: 60_000,
            elastic: 1.0,
            cutout: 1.0,
            ..Augment::default()
        };
        let mut scratch = Vec::new();
        for shape in [ImageShape::new(1, 1, 1), ImageShape::new(1, 9, 4), ImageShape::new(6, 2, 3)] {
            for fill in [Fill::Edge, Fill::Constant(0.0)] {
                for index in 0..300 {
                    let mut pixels = ramp(shape);
                    let augment = Augment { fill, ..augment.clone() };
                    augment.apply(&mut pixels, shape, 255.0, &mut rng(index), &mut scratch).unwrap();
                    let largest = shape.elements().unwrap() as f32;
                    assert!(pixels.iter().all(|v| (0.0..=largest).contains(v)));
                }
            }
        }
    }
}

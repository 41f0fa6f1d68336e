//! RFFT2D, and the parts of complex numbers.
//!
//! The transform is radix 2, decimation in time (J. W. Cooley, J. W. Tukey, "An Algorithm for the Machine Calculation of Complex
//! Fourier Series", 1965), of two neighbouring real numbers as one complex number (R. N. Bracewell, "The Fourier Transform and Its
//! Applications", chapter 11), in float64 and rounded to float32 once for each axis. Eight lines are transformed beside each other,
//! one in each lane.

use crate::cast::{Number, sealed};
use crate::dispatch::multiversion;
use crate::elementwise::map;
use crate::{Context, Unsupported};
use bytemuck::{Pod, Zeroable};
use std::f64::consts::TAU;
use std::sync::OnceLock;

const KERNEL: &str = "rfft2d";
const LANES: usize = 8;
/// Points whose stages run one after the other while they are in the first cache.
const NEAR: usize = 128;
/// The longest transform is of two to this power.
const BITS_MAX: usize = 20;

/// A complex number of two float32, as tensors hold it.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Complex64 {
    /// The real part.
    pub re: f32,
    /// The imaginary part.
    pub im: f32,
}

impl Complex64 {
    /// The distance from zero.
    #[must_use]
    pub fn abs(self) -> f32 {
        // Squares of float32 neither overflow nor vanish in float64.
        let (re, im) = (f64::from(self.re), f64::from(self.im));
        (re * re + im * im).sqrt() as f32
    }
}

impl sealed::Sealed for Complex64 {}

/// Cast to other numbers it is its real part, and they become one.
impl Number for Complex64 {
    const IS_FLOAT: bool = true;
    #[inline(always)]
    fn integer(self) -> i64 {
        self.re.integer()
    }
    #[inline(always)]
    fn float(self) -> f64 {
        self.re.float()
    }
    #[inline(always)]
    fn from_integer(value: i64) -> Self {
        Self { re: f32::from_integer(value), im: 0.0 }
    }
    #[inline(always)]
    fn from_float(value: f64) -> Self {
        Self { re: f32::from_float(value), im: 0.0 }
    }
}

/// y = a number that is made of each complex one.
///
/// # Panics
/// If the lengths differ.
pub fn part_of(ctx: Context, x: &[Complex64], y: &mut [f32], part: fn(Complex64) -> f32) {
    map(ctx, x, y, part);
}

/// The same point of eight lines.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Point {
    re: [f64; LANES],
    im: [f64; LANES],
}

/// A planned RFFT2D.
#[derive(Debug, Clone)]
pub struct Rfft2d {
    /// Of each image, its rows and columns as they are in the input.
    input: [usize; 2],
    /// Rows and columns of the transform.
    lengths: [usize; 2],
    rows: &'static Fft,
    /// Of the pairs of a row.
    pairs: &'static Fft,
    /// With its turns a row of pairs becomes that of real numbers.
    columns: &'static Fft,
}

impl Rfft2d {
    /// Plans transforms of images of `input` rows and columns, cut or filled with zeros to `lengths`.
    ///
    /// # Errors
    /// A length that is no power of two, or more than 1,048,576.
    pub fn new(input: [usize; 2], lengths: [usize; 2]) -> Result<Self, Unsupported> {
        let [rows, columns] = lengths;
        let [rows, pairs, columns] = [rows, columns.div_ceil(2), columns].map(Fft::of);
        let planned = rows.zip(pairs).zip(columns);
        let Some(((rows, pairs), columns)) = planned else {
            let reason = format!("lengths {lengths:?}, expected powers of two up to {}", 1_usize << BITS_MAX);
            return Err(Unsupported::new(KERNEL, reason));
        };
        Ok(Self { input, lengths, rows, pairs, columns })
    }

    /// Complex numbers of a row of the result.
    fn frequencies(&self) -> usize {
        self.lengths[1] / 2 + 1
    }

    fn points(&self) -> usize {
        self.rows.len().max(self.pairs.len())
    }

    /// [`Point`]s of scratch that `threads` threads need.
    #[must_use]
    pub fn scratch_len(&self, threads: usize) -> usize {
        self.points().saturating_mul(threads)
    }

    /// y = the transform of each image of x.
    ///
    /// # Panics
    /// If the lengths are not those of as many images, or the scratch is too short.
    pub fn run(&self, ctx: Context, x: &[f32], y: &mut [Complex64], scratch: &mut [Point]) {
        let (width, points) = (self.frequencies(), self.points());
        let [rows, _] = self.lengths;
        ctx.pool.chunks_mut_with_scratch(y, LANES * width, scratch, points, |task, y, scratch| {
            let first = task * LANES;
            let line = |lane: usize| {
                let (image, row) = ((first + lane) / rows, (first + lane) % rows);
                let [height, columns] = self.input;
                let kept = if row < height { columns.min(self.lengths[1]) } else { 0 };
                &x[if kept == 0 { 0 } else { (image * height + row) * columns }..][..kept]
            };
            self.transform_rows(ctx, line, y, scratch);
        });
        if rows > 1 {
            ctx.pool.chunks_mut_with_scratch(y, rows * width, scratch, points, |_, image, scratch| {
                self.transform_columns(ctx, image, scratch);
            });
        }
    }

    /// Up to [`LANES`] rows.
    fn transform_rows<'x>(
        &self,
        ctx: Context,
        line: impl Fn(usize) -> &'x [f32],
        y: &mut [Complex64],
        points: &mut [Point],
    ) {
        let width = self.frequencies();
        if self.lengths[1] == 1 {
            y.iter_mut()
                .enumerate()
                .for_each(|(lane, y)| *y = Complex64 { re: line(lane).first().copied().unwrap_or(0.0), im: 0.0 });
            return;
        }
        let points = &mut points[..self.pairs.len()];
        points.fill(Point::zeroed());
        for lane in 0..y.len() / width {
            for (pair, &to) in line(lane).chunks(2).zip(&self.pairs.order) {
                let point = &mut points[to as usize];
                point.re[lane] = f64::from(pair[0]);
                point.im[lane] = f64::from(pair.get(1).copied().unwrap_or(0.0));
            }
        }
        self.pairs.run(ctx, points);
        // The last is half a turn.
        for (k, turn) in self.columns.turns.iter().chain(&[[-1.0, 0.0]]).enumerate() {
            // The transforms of the numbers at even and at odd places.
            let (near, far) = (&points[k % points.len()], &points[(points.len() - k) % points.len()]);
            for (lane, y) in y.chunks_exact_mut(width).enumerate() {
                let even = [(near.re[lane] + far.re[lane]) / 2.0, (near.im[lane] - far.im[lane]) / 2.0];
                let odd = [(near.im[lane] + far.im[lane]) / 2.0, (far.re[lane] - near.re[lane]) / 2.0];
                y[k] = Complex64 {
                    re: (even[0] + turn[0] * odd[0] - turn[1] * odd[1]) as f32,
                    im: (even[1] + turn[0] * odd[1] + turn[1] * odd[0]) as f32,
                };
            }
        }
    }

    /// The columns of an image whose rows are transformed.
    fn transform_columns(&self, ctx: Context, image: &mut [Complex64], points: &mut [Point]) {
        let width = self.frequencies();
        let points = &mut points[..self.rows.len()];
        for first in (0..width).step_by(LANES) {
            let lanes = LANES.min(width - first);
            points.fill(Point::zeroed());
            for (row, &to) in image.chunks_exact(width).zip(&self.rows.order) {
                let point = &mut points[to as usize];
                for (lane, x) in row[first..][..lanes].iter().enumerate() {
                    (point.re[lane], point.im[lane]) = (f64::from(x.re), f64::from(x.im));
                }
            }
            self.rows.run(ctx, points);
            for (row, point) in image.chunks_exact_mut(width).zip(&*points) {
                for (lane, y) in row[first..][..lanes].iter_mut().enumerate() {
                    *y = Complex64 { re: point.re[lane] as f32, im: point.im[lane] as f32 };
                }
            }
        }
    }
}

/// A complex transform of a power of two.
#[derive(Debug)]
struct Fft {
    /// Where each point has to stand: its place with its bits from the last to the first.
    order: Box<[u32]>,
    /// `e^(-2 pi i k / length)` for the `k` below half the length.
    turns: Box<[[f64; 2]]>,
}

impl Fft {
    /// That of `length`; `None` if it is no power of two or too long. There is one for all plans: a model of many short ops must not
    /// hold many long tables.
    fn of(length: usize) -> Option<&'static Self> {
        static KNOWN: [OnceLock<Fft>; BITS_MAX + 1] = [const { OnceLock::new() }; BITS_MAX + 1];
        let bits = length.is_power_of_two().then(|| length.trailing_zeros() as usize)?;
        Some(KNOWN.get(bits)?.get_or_init(|| Self::new(length)))
    }

    fn new(length: usize) -> Self {
        let bits = length.trailing_zeros();
        let place = |at: usize| (at as u32).reverse_bits().checked_shr(u32::BITS - bits).unwrap_or(0);
        let angle = |k: usize| -TAU * k as f64 / length as f64;
        Self {
            order: (0..length).map(place).collect(),
            turns: (0..length / 2).map(|k| [angle(k).cos(), angle(k).sin()]).collect(),
        }
    }

    fn len(&self) -> usize {
        self.order.len()
    }

    /// Transforms points that stand in [`Fft::order`]; the result stands in its own.
    fn run(&self, ctx: Context, points: &mut [Point]) {
        let near = points.len().min(NEAR);
        points.chunks_exact_mut(near).for_each(|points| stages(ctx.isa, points, &self.turns, 1));
        stages(ctx.isa, points, &self.turns, near);
    }
}

multiversion! {
    to avx2;
    /// The stages that join transforms of `first` points and more until one of all is made.
    fn stages<>(points: &mut [Point], turns: &[[f64; 2]], first: usize) {
        let mut half = first;
        while half < points.len() {
            // Of the turns of the longest stage each that this one needs.
            let step = turns.len() / half;
            for block in points.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                for ((a, b), turn) in low.iter_mut().zip(high).zip(turns.iter().step_by(step)) {
                    let [cos, sin] = *turn;
                    for lane in 0..LANES {
                        let re = b.re[lane] * cos - b.im[lane] * sin;
                        let im = b.re[lane] * sin + b.im[lane] * cos;
                        (b.re[lane], b.im[lane]) = (a.re[lane] - re, a.im[lane] - im);
                        (a.re[lane], a.im[lane]) = (a.re[lane] + re, a.im[lane] + im);
                    }
                }
            }
            half *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Pool};

    /// The definition.
    fn slow(x: &[f32], [height, width]: [usize; 2], [rows, columns]: [usize; 2]) -> Vec<[f64; 2]> {
        let mut y = Vec::new();
        for p in 0..rows {
            for q in 0..=columns / 2 {
                let mut sum = [0.0; 2];
                for i in 0..height.min(rows) {
                    for j in 0..width.min(columns) {
                        let angle =
                            -TAU * ((p * i % rows) as f64 / rows as f64 + (q * j % columns) as f64 / columns as f64);
                        let x = f64::from(x[i * width + j]);
                        sum = [sum[0] + x * angle.cos(), sum[1] + x * angle.sin()];
                    }
                }
                y.push(sum);
            }
        }
        y
    }

    #[test]
    fn transforms_are_those_of_the_definition() {
        let cases = [
            ([1, 64], [1, 64], 11),
            ([1, 1024], [1, 1024], 3),
            ([1, 5], [1, 8], 1),
            ([3, 20], [4, 16], 2),
            ([9, 2], [8, 4], 2),
            ([2, 3], [2, 1], 9),
            ([1, 3], [1, 2], 1),
            ([16, 40], [32, 32], 1),
        ];
        for ([height, width], lengths, images) in cases {
            let x: Vec<f32> =
                (0..images * height * width).map(|i| ((i * 7919 % 1013) as f32 - 506.0) / 253.0).collect();
            for threads in [1, 2] {
                for isa in Isa::available() {
                    let pool = Pool::new(threads);
                    let fft = Rfft2d::new([height, width], lengths).unwrap();
                    let size = lengths[0] * (lengths[1] / 2 + 1);
                    let mut y = vec![Complex64 { re: f32::NAN, im: f32::NAN }; images * size];
                    let mut scratch = vec![Point::zeroed(); fft.scratch_len(threads)];
                    fft.run(Context { pool: &pool, isa }, &x, &mut y, &mut scratch);
                    for (image, y) in y.chunks(size).enumerate() {
                        let x = &x[image * height * width..][..height * width];
                        let sum: f32 = x.iter().map(|x| x.abs()).sum();
                        for (y, expected) in y.iter().zip(slow(x, [height, width], lengths)) {
                            let far = (f64::from(y.re) - expected[0]).abs().max((f64::from(y.im) - expected[1]).abs());
                            assert!(far <= f64::from(sum * f32::EPSILON), "{lengths:?} {isa}: {y:?} {expected:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn other_lengths_are_refused() {
        assert!(Rfft2d::new([1, 12], [1, 12]).is_err());
        assert!(Rfft2d::new([1, 12], [0, 8]).is_err());
        assert!(Rfft2d::new([1, 12], [1, 1 << 21]).is_err());
        assert!(Rfft2d::new([1, 12], [1 << 40, 8]).is_err());
    }

    #[test]
    fn the_largest_numbers_have_a_distance() {
        assert_eq!(Complex64 { re: 3e38, im: 0.0 }.abs(), 3e38);
        assert_eq!(Complex64 { re: -3e-45, im: 4e-45 }.abs(), 5e-45);
    }
}

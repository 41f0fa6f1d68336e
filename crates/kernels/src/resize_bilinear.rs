//! RESIZE_BILINEAR: each pixel of the result is a mean of four pixels of the input, weighted by nearness.

use crate::dispatch::multiversion;
use crate::numerics::{Numerics, Quantized};
use crate::{Context, Real, Unsupported};

/// How pixels of the input and of the result lie on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// Their first corners.
    Origin,
    /// The centers of the corner pixels.
    Corners,
    /// The edges of the images.
    Centers,
}

/// What one row or column of the result is a mean of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tap<W> {
    /// The row or column of the input before the place.
    pub low: usize,
    /// The one after it.
    pub high: usize,
    /// How far the place is from `low` to `high`.
    pub weight: W,
}

/// The step from one pixel of the result to the next, in pixels of the input.
fn step(input: usize, output: usize, alignment: Alignment) -> f32 {
    match alignment {
        Alignment::Corners if output > 1 => (input - 1) as f32 / (output - 1) as f32,
        _ => input as f32 / output as f32,
    }
}

/// Places in f32 as XNNPACK computes them (`indirection.c`), or as LiteRT's own kernels do (`reference/resize_bilinear.h`): the
/// latter let a place stand before the first pixel, whose two neighbours are then the same.
#[must_use]
pub fn taps(input: usize, output: usize, alignment: Alignment, numerics: Numerics) -> Vec<Tap<f32>> {
    let step = step(input, output, alignment);
    let last = input.saturating_sub(1);
    let tap = |index: usize| {
        let index = index as f32;
        if numerics == Numerics::Litert {
            let place = match alignment {
                Alignment::Centers => (index * step + (0.5 * step - 0.5)).clamp(0.0, last as f32),
                _ => index * step,
            };
            let low = (place as usize).min(last);
            return Tap { low, high: (low + 1).min(last), weight: place - low as f32 };
        }
        let place = match alignment {
            Alignment::Centers => (index + 0.5) * step - 0.5,
            _ => index * step,
        };
        let low = (place.floor().max(0.0) as usize).min(last);
        Tap { low, high: (place.ceil().max(0.0) as usize).min(last), weight: place - low as f32 }
    };
    (0..output).map(tap).collect()
}

/// Places with 10 fractional bits, as LiteRT's `ResizeBilinearInteger` computes them.
fn taps_in_fixed_point(input: usize, output: usize, alignment: Alignment) -> Vec<Tap<i32>> {
    let round =
        |numerator: usize, denominator: usize| (1024 * numerator as i64 + denominator as i64 / 2) / denominator as i64;
    let step = match alignment {
        Alignment::Corners if output > 1 => round(input - 1, output - 1),
        _ => round(input, output),
    };
    let last = input.saturating_sub(1);
    let tap = |index: usize| {
        let place = match alignment {
            Alignment::Centers => index as i64 * step + step / 2 - 512,
            _ => index as i64 * step,
        };
        let low = usize::try_from(place / 1024).unwrap_or(0).min(last);
        let high = usize::try_from((place + 1023) / 1024).unwrap_or(0).min(last);
        Tap { low, high, weight: i32::try_from(place - 1024 * low as i64).unwrap_or(i32::MAX) }
    };
    (0..output).map(tap).collect()
}

/// The sizes of a resize; none of them is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResizeGeometry {
    /// Images.
    pub batch: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the result.
    pub output: [usize; 2],
    /// Channels.
    pub channels: usize,
}

/// The taps of a resize.
#[derive(Debug, Clone, PartialEq)]
struct Grid<W> {
    geometry: ResizeGeometry,
    rows: Vec<Tap<W>>,
    columns: Vec<Tap<W>>,
}

/// Elements of the result that are worth a task of their own.
const TASK: usize = 1 << 13;

impl<W: Copy + Send + Sync> Grid<W> {
    fn new(geometry: ResizeGeometry, taps: impl Fn(usize, usize) -> Vec<Tap<W>>) -> Result<Self, Unsupported> {
        const KERNEL: &str = "resize_bilinear";
        let ResizeGeometry { batch, input, output, channels } = geometry;
        if [batch, input[0], input[1], output[0], output[1], channels].contains(&0) {
            return Err(Unsupported::new(KERNEL, format!("{geometry:?}: a size of 0")));
        }
        crate::shape::len(KERNEL, &[batch, input[0], input[1], channels])?;
        crate::shape::len(KERNEL, &[batch, output[0], output[1], channels])?;
        Ok(Self { geometry, rows: taps(input[0], output[0]), columns: taps(input[1], output[1]) })
    }

    /// Calls `mean` with top left, top right, bottom left and bottom right, and the weights along the row and the column.
    fn run<T, F>(&self, context: Context<'_>, x: &[T], y: &mut [T], mean: F)
    where
        T: Copy + Send + Sync,
        F: Fn([T; 4], W, W) -> T + Sync,
    {
        let ResizeGeometry { batch, input: [height, width], channels, .. } = self.geometry;
        let (row_in, row_out) = (width * channels, self.columns.len() * channels);
        assert_eq!(x.len(), batch * height * row_in, "the input has the planned shape");
        assert_eq!(y.len(), batch * self.rows.len() * row_out, "the result has the planned shape");
        let rows = batch * self.rows.len();
        let chunk = if context.pool.threads() == 1 { rows } else { TASK.div_ceil(row_out).min(rows) };
        context.pool.chunks_mut(y, chunk * row_out, |task, y| {
            for (row, y) in (task * chunk..).zip(y.chunks_exact_mut(row_out)) {
                let (image, tap) = (row / self.rows.len(), &self.rows[row % self.rows.len()]);
                let input = |row: usize| &x[(image * height + row) * row_in..][..row_in];
                let rows = [input(tap.low), input(tap.high)];
                resize_row(context.isa, rows, &self.columns, tap.weight, channels, y, &mean);
            }
        });
    }
}

multiversion! {
    to avx2;
    fn resize_row<T: Copy, W: Copy, F: Fn([T; 4], W, W) -> T>(
        rows: [&[T]; 2],
        columns: &[Tap<W>],
        down: W,
        channels: usize,
        y: &mut [T],
        mean: &F,
    ) {
        let [top, bottom] = rows;
        for (tap, y) in columns.iter().zip(y.chunks_exact_mut(channels)) {
            let (left, right) = (tap.low * channels, tap.high * channels);
            let corners = top[left..][..channels]
                .iter()
                .zip(&top[right..][..channels])
                .zip(bottom[left..][..channels].iter().zip(&bottom[right..][..channels]));
            for (y, ((&a, &b), (&c, &d))) in y.iter_mut().zip(corners) {
                *y = mean([a, b, c, d], tap.weight, down);
            }
        }
    }
}

/// The sum of four products, from left to right as LiteRT adds them.
#[inline(always)]
fn sum<T: Real>([a, b, c, d]: [T; 4], right: T, down: T) -> T {
    let (left, up) = (T::ONE - right, T::ONE - down);
    a * up * left + c * down * left + b * up * right + d * down * right
}

/// A planned RESIZE_BILINEAR of float32, NHWC.
#[derive(Debug, Clone, PartialEq)]
pub struct ResizeBilinear {
    grid: Grid<f32>,
    numerics: Numerics,
}

impl ResizeBilinear {
    /// Plans it. `numerics` says how places between pixels are rounded, and in which order the means are taken: those of
    /// LiteRT's own kernels weigh a pixel at the edge by 1 + w and itself again by -w.
    ///
    /// # Errors
    /// A size of 0, or sizes whose product overflows.
    pub fn new(geometry: ResizeGeometry, alignment: Alignment, numerics: Numerics) -> Result<Self, Unsupported> {
        let grid = Grid::new(geometry, |input, output| taps(input, output, alignment, numerics))?;
        Ok(Self { grid, numerics })
    }

    /// y = x in another size.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn forward<T: Real>(&self, context: Context<'_>, x: &[T], y: &mut [T]) {
        let weight = |weight: f32| T::from_f64(weight.into());
        match self.numerics {
            Numerics::Litert => self.grid.run(context, x, y, |[a, b, c, d]: [T; 4], right: f32, down: f32| {
                let (top, bottom) = (a + (b - a) * weight(right), c + (d - c) * weight(right));
                top + (bottom - top) * weight(down)
            }),
            Numerics::Reference => self
                .grid
                .run(context, x, y, |corners: [T; 4], right: f32, down: f32| sum(corners, weight(right), weight(down))),
        }
    }

    /// Gradient of the input: each element of `dy` goes back to its four pixels.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn backward<T: Real>(&self, dy: &[T], dx: &mut [T]) {
        let ResizeGeometry { batch, input: [height, width], output: [rows, columns], channels } = self.grid.geometry;
        assert_eq!(dx.len(), batch * height * width * channels, "the input has the planned shape");
        assert_eq!(dy.len(), batch * rows * columns * channels, "the result has the planned shape");
        dx.fill(T::ZERO);
        let mut dy = dy.chunks_exact(channels);
        for image in dx.chunks_exact_mut(height * width * channels) {
            for row in &self.grid.rows {
                for (column, dy) in self.grid.columns.iter().zip(dy.by_ref()) {
                    let (right, down) = (T::from_f64(column.weight.into()), T::from_f64(row.weight.into()));
                    for (y, along) in [(row.low, T::ONE - down), (row.high, down)] {
                        for (x, across) in [(column.low, T::ONE - right), (column.high, right)] {
                            let dx = &mut image[(y * width + x) * channels..][..channels];
                            dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy * (along * across));
                        }
                    }
                }
            }
        }
    }
}

/// A planned RESIZE_BILINEAR of quantized values, NHWC. Input and result are quantized alike.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedResizeBilinear(Arithmetic);

#[derive(Debug, Clone, PartialEq)]
enum Arithmetic {
    /// Weights of 11 bits, ties up: XNNPACK `s8-ibilinear`.
    ElevenBits(Grid<i32>),
    /// Weights of 10 bits, ties away from 0: LiteRT `ResizeBilinearInteger`.
    TenBits(Grid<i32>),
    /// A sum in f32, a half added, cut: LiteRT `ResizeBilinear` of uint8; or, where the flag says so, with weights that are
    /// multiplied with each other first: `optimized/resize_bilinear.h`, `ResizeBilinearGenericSmallChannel`.
    Float(Grid<f32>, bool),
}

impl QuantizedResizeBilinear {
    /// Plans it for elements of type `T`.
    ///
    /// # Errors
    /// A size of 0, or sizes whose product overflows.
    pub fn new<T: Quantized>(
        geometry: ResizeGeometry,
        alignment: Alignment,
        numerics: Numerics,
    ) -> Result<Self, Unsupported> {
        Self::plan(T::BITS == 8, T::MIN == 0, geometry, alignment, numerics)
    }

    /// One for all element types: what is planned once needs no code for each.
    #[inline(never)]
    fn plan(
        is_byte: bool,
        is_unsigned: bool,
        geometry: ResizeGeometry,
        alignment: Alignment,
        numerics: Numerics,
    ) -> Result<Self, Unsupported> {
        Ok(Self(if is_byte && numerics == Numerics::Litert {
            Arithmetic::ElevenBits(Grid::new(geometry, |input, output| {
                let round = |tap: Tap<f32>| Tap {
                    low: tap.low,
                    high: tap.high,
                    weight: (tap.weight * 2048.0).round_ties_even() as i32,
                };
                taps(input, output, alignment, numerics).into_iter().map(round).collect()
            })?)
        } else if is_unsigned {
            Arithmetic::Float(Grid::new(geometry, |input, output| taps(input, output, alignment, numerics))?, false)
        } else {
            Arithmetic::TenBits(Grid::new(geometry, |input, output| taps_in_fixed_point(input, output, alignment))?)
        }))
    }

    /// Plans what LiteRT's optimized builtin does, which runs where XNNPACK does not.
    ///
    /// # Errors
    /// Those of [`QuantizedResizeBilinear::new`].
    pub fn builtin<T: Quantized>(geometry: ResizeGeometry, alignment: Alignment) -> Result<Self, Unsupported> {
        let mut planned = Self::new::<T>(geometry, alignment, Numerics::Reference)?;
        if let Arithmetic::Float(_, weights_first) = &mut planned.0 {
            *weights_first = true;
        }
        Ok(planned)
    }

    /// y = x in another size.
    ///
    /// # Panics
    /// If a length is not the planned one.
    pub fn run<T: Quantized>(&self, context: Context<'_>, x: &[T], y: &mut [T]) {
        match &self.0 {
            Arithmetic::ElevenBits(grid) if T::BITS == 8 => {
                grid.run(context, x, y, |corners: [T; 4], right: i32, down: i32| {
                    let [a, b, c, d] = corners.map(T::widen);
                    let (top, bottom) = ((a << 11) + (b - a) * right, (c << 11) + (d - c) * right);
                    T::narrow(((top << 11) + (bottom - top) * down + (1 << 21)) >> 22)
                })
            }
            Arithmetic::TenBits(grid) if T::MIN < 0 => {
                grid.run(context, x, y, |corners: [T; 4], right: i32, down: i32| {
                    let [a, b, c, d] = corners.map(|value| i64::from(value.widen()));
                    let (right, down) = (i64::from(right), i64::from(down));
                    let (left, up) = (1024 - right, 1024 - down);
                    let sum = a * up * left + c * down * left + b * up * right + d * down * right;
                    let half = if sum > 0 { 1 << 19 } else { -(1 << 19) };
                    T::narrow(((sum + half) / (1 << 20)) as i32)
                })
            }
            Arithmetic::Float(grid, weights_first) if T::MIN == 0 => {
                grid.run(context, x, y, |corners: [T; 4], right: f32, down: f32| {
                    let corners @ [a, b, c, d] = corners.map(|value| value.widen() as f32);
                    let (left, up) = (1.0 - right, 1.0 - down);
                    let sum = if *weights_first {
                        a * (up * left) + b * (up * right) + c * (down * left) + d * (down * right)
                    } else {
                        sum(corners, right, down)
                    };
                    T::narrow((sum + 0.5) as i32)
                })
            }
            other => panic!("{other:?} was planned for another type"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Pool};

    #[test]
    fn an_image_of_its_own_size_stays_as_it_is_on_any_number_of_threads() {
        let geometry = ResizeGeometry { batch: 2, input: [50, 40], output: [50, 40], channels: 3 };
        let x: Vec<u8> = (0..2 * 50 * 40 * 3).map(|at| (at * 31 % 256) as u8).collect();
        for alignment in [Alignment::Origin, Alignment::Corners, Alignment::Centers] {
            for numerics in [Numerics::Litert, Numerics::Reference] {
                for isa in Isa::available() {
                    for threads in [1, 3] {
                        let pool = Pool::new(threads);
                        let plan = QuantizedResizeBilinear::new::<u8>(geometry, alignment, numerics).unwrap();
                        let mut y = vec![0; x.len()];
                        plan.run(Context { pool: &pool, isa }, &x, &mut y);
                        assert_eq!(x, y, "{alignment:?} {numerics:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_size_of_zero_is_refused() {
        let geometry = ResizeGeometry { batch: 1, input: [0, 4], output: [5, 4], channels: 3 };
        assert!(ResizeBilinear::new(geometry, Alignment::Origin, Numerics::Litert).is_err());
    }
}

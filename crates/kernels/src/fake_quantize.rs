//! FAKE_QUANTIZE: values rounded to the points of an int8 grid and still held as reals, so that a float graph computes
//! what the integer one will (Jacob et al., "Quantization and Training of Neural Networks for Efficient
//! Integer-Arithmetic-Only Inference", 2018). Backward, the straight-through estimator, and the gradient of the scale of
//! learned step size quantization (Esser et al., "Learned Step Size Quantization", 2020).

use crate::dispatch::multiversion;
use crate::elementwise::{map, zip};
use crate::{Context, Isa, Real};

/// How a value half way between two steps is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ties {
    /// To the even distance from the zero point, as XNNPACK ends sums of products. Where sums come from many products, ties hardly
    /// occur, and float32 does not hold them.
    #[default]
    Even,
    /// Away from the integer 0, as AVERAGE_POOL_2D divides.
    AwayFromZero,
    /// Up, as RESIZE_BILINEAR shifts.
    Up,
}

/// An int8 grid: `scale * (step - zero_point)` for steps from -128 to 127.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Int8Grid {
    /// Real units for each step, above 0.
    pub scale: f32,
    /// The step that stands for real 0.
    pub zero_point: i32,
}

/// The ends of a grid in steps from 0, and what leads there.
struct Ends<T> {
    inverse: T,
    scale: T,
    low: T,
    high: T,
}

impl Int8Grid {
    fn ends<T: Real>(self) -> Ends<T> {
        Ends {
            inverse: T::from_f64(f64::from(1.0 / self.scale)),
            scale: T::from_f64(f64::from(self.scale)),
            low: T::from_f64(f64::from(-128 - self.zero_point)),
            high: T::from_f64(f64::from(127 - self.zero_point)),
        }
    }

    /// `y` is `x` on the grid.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn forward<T: Real>(self, ctx: Context, ties: Ties, x: &[T], y: &mut [T]) {
        let Ends { inverse, scale, low, high } = self.ends::<T>();
        match ties {
            Ties::Even => map(ctx, x, y, move |x: T| clamp(x * inverse, low, high).round_ties_even() * scale),
            Ties::AwayFromZero | Ties::Up => {
                let zero_point = T::from_f64(f64::from(self.zero_point));
                let (half, two) = (T::from_f64(0.5), T::from_f64(2.0));
                map(ctx, x, y, move |x: T| {
                    let step = x * inverse + zero_point;
                    // Means of a few steps meet halves often, but for the rounding of the reals that stand for them.
                    let near = (step * two).round_ties_even() * half;
                    let step = if (step - near).abs() < T::from_f64(1e-3) { near } else { step };
                    let up = (step + half).floor();
                    let rounded = if ties == Ties::Up || step > T::ZERO { up } else { (step - half).ceil() };
                    clamp(rounded - zero_point, low, high) * scale
                });
            }
        }
    }

    /// The straight-through gradient: `dy` where `x` is within the grid, 0 where it was cut off.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn backward<T: Real>(self, ctx: Context, x: &[T], dy: &[T], dx: &mut [T]) {
        let Ends { inverse, low, high, .. } = self.ends::<T>();
        zip(ctx, x, dy, dx, move |x: T, dy: T| {
            let step = x * inverse;
            if step >= low && step <= high { dy } else { T::ZERO }
        });
    }

    /// The derivative by the scale (Esser et al., equation 3): the sum of `dy` times `round(v) - v` with `v = x / scale`
    /// within the grid, and times its end where `x` was cut off.
    ///
    /// # Panics
    /// If the lengths differ.
    #[must_use]
    pub fn scale_gradient<T: Real>(self, isa: Isa, x: &[T], dy: &[T]) -> T {
        assert_eq!(x.len(), dy.len(), "operand and gradient have one shape");
        let Ends { inverse, low, high, .. } = self.ends::<T>();
        scale_gradient(isa, x, dy, inverse, low, high)
    }
}

#[inline(always)]
fn clamp<T: Real>(x: T, low: T, high: T) -> T {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// Sums that are added at the end: as many as keep vectors busy. Part of the rounding.
const LANES: usize = 16;

multiversion! {
    fn scale_gradient<T: Real>(x: &[T], dy: &[T], inverse: T, low: T, high: T) -> T {
        let slope = |x: T| {
            let v = x * inverse;
            let inside = v.round_ties_even() - v;
            let below = if v < low { low } else { inside };
            if v > high { high } else { below }
        };
        let mut sums = [T::ZERO; LANES];
        let ((x, x_rest), (dy, dy_rest)) = (x.as_chunks::<LANES>(), dy.as_chunks::<LANES>());
        for (x, dy) in x.iter().zip(dy) {
            for lane in 0..LANES {
                sums[lane] += slope(x[lane]) * dy[lane];
            }
        }
        for (lane, (&x, &dy)) in x_rest.iter().zip(dy_rest).enumerate() {
            sums[lane] += slope(x) * dy;
        }
        sums.into_iter().sum()
    }
}

/// The smallest and the largest of `x`; infinity and its negative when there is none.
#[must_use]
pub fn range<T: Real>(isa: Isa, x: &[T]) -> (T, T) {
    range_lanes(isa, x)
}

multiversion! {
    fn range_lanes<T: Real>(x: &[T]) -> (T, T) {
        let mut low = [T::INFINITY; LANES];
        let mut high = [-T::INFINITY; LANES];
        let (chunks, rest) = x.as_chunks::<LANES>();
        for x in chunks {
            for lane in 0..LANES {
                low[lane] = x[lane].smaller(low[lane]);
                high[lane] = x[lane].larger(high[lane]);
            }
        }
        for (lane, &x) in rest.iter().enumerate() {
            low[lane] = x.smaller(low[lane]);
            high[lane] = x.larger(high[lane]);
        }
        let low = low.into_iter().fold(T::INFINITY, T::smaller);
        (low, high.into_iter().fold(-T::INFINITY, T::larger))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pool;

    fn isas() -> impl Iterator<Item = Isa> {
        Isa::available()
    }

    #[test]
    fn values_go_to_the_nearest_step_and_stop_at_the_ends() {
        let grid = Int8Grid { scale: 0.5, zero_point: -100 };
        let x = [0.0_f32, 0.2, 0.25, 0.75, 0.26, -13.9, -20.0, 113.5, 113.6, 500.0];
        let pool = Pool::serial();
        for isa in isas() {
            let ctx = Context { pool: &pool, isa };
            let mut y = [0.0; 10];
            grid.forward(ctx, Ties::Even, &x, &mut y);
            assert_eq!(y, [0.0, 0.0, 0.0, 1.0, 0.5, -14.0, -14.0, 113.5, 113.5, 113.5]);
            let mut dx = [0.0; 10];
            grid.backward(ctx, &x, &[1.0; 10], &mut dx);
            assert_eq!(dx, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
            assert_eq!(range(isa, &x), (-20.0, 500.0));
            // Within the grid round(v) - v, outside its ends: -28 and 227.
            let each = x.map(|x| {
                let v = x / 0.5;
                if v < -28.0 {
                    -28.0
                } else if v > 227.0 {
                    227.0
                } else {
                    v.round_ties_even() - v
                }
            });
            let sum: f32 = each.iter().sum();
            assert!((grid.scale_gradient(isa, &x, &[1.0; 10]) - sum).abs() < 1e-4);
        }
    }

    #[test]
    fn ties_are_those_of_the_kernel() {
        // Steps 0.5, -0.5, 1.5, -1.5 of the integers themselves, the zero point being 3; then the same in thirds.
        let pool = Pool::serial();
        let ctx = Context { pool: &pool, isa: Isa::Scalar };
        for scale in [1.0_f32, 1.0 / 3.0] {
            let grid = Int8Grid { scale, zero_point: 3 };
            let x = [0.5_f32, -0.5, 1.5, -1.5, 1.3].map(|step| (step - 3.0) * scale);
            let rounded = |ties| {
                let mut y = [0.0; 5];
                grid.forward(ctx, ties, &x, &mut y);
                y.map(|y| (y / scale).round() + 3.0)
            };
            assert_eq!(rounded(Ties::AwayFromZero), [1.0, -1.0, 2.0, -2.0, 1.0]);
            assert_eq!(rounded(Ties::Up), [1.0, 0.0, 2.0, -1.0, 1.0]);
        }
    }
}

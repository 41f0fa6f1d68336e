//! Float kernels.

use crate::dispatch::multiversion;
use crate::reduce::{max_of, sum_of};
use crate::{Context, Real};

/// y = e^(beta x) / sum of e^(beta x) over each row of `width` elements. Within about `width + 8` ulp of the exact value
/// in `f32`.
///
/// # Panics
/// If the lengths differ or are no whole number of rows.
pub fn forward<T: Real>(ctx: Context, width: usize, beta: f32, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "operand and result have one shape");
    let Some(chunk) = rows_per_task(ctx, width, x.len()) else { return };
    let beta = T::from_f64(f64::from(beta));
    ctx.pool.chunks_mut(y, chunk, |index, y| {
        let x = &x[index * chunk..][..y.len()];
        forward_rows(ctx.isa, width, beta, x, y);
    });
}

/// Gradient of the operand: dx = beta y (dy - sum of y dy).
///
/// # Panics
/// If the lengths differ or are no whole number of rows.
pub fn backward<T: Real>(ctx: Context, width: usize, beta: f32, y: &[T], dy: &[T], dx: &mut [T]) {
    assert!(y.len() == dx.len() && dy.len() == dx.len(), "result and gradients have one shape");
    let Some(chunk) = rows_per_task(ctx, width, y.len()) else { return };
    let beta = T::from_f64(f64::from(beta));
    ctx.pool.chunks_mut(dx, chunk, |index, dx| {
        let at = index * chunk..index * chunk + dx.len();
        backward_rows(ctx.isa, width, beta, &y[at.clone()], &dy[at], dx);
    });
}

/// Elements per task, a whole number of rows; `None` if there is nothing to do.
fn rows_per_task(ctx: Context, width: usize, len: usize) -> Option<usize> {
    if len == 0 {
        return None;
    }
    assert_eq!(len % width, 0, "rows of {width} in {len} elements");
    Some(ctx.pool.share(len / width, width, 1024) * width)
}

multiversion! {
    fn forward_rows<T: Real>(width: usize, beta: T, x: &[T], y: &mut [T]) {
        for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            let max = if beta < T::ZERO { x.iter().fold(T::INFINITY, |min, &x| x.smaller(min)) } else { max_of(x) };
            for (y, &x) in y.iter_mut().zip(x) {
                *y = ((x - max) * beta).exp();
            }
            let scale = T::ONE / sum_of(y);
            for y in y {
                *y *= scale;
            }
        }
    }
}

multiversion! {
    fn backward_rows<T: Real>(width: usize, beta: T, y: &[T], dy: &[T], dx: &mut [T]) {
        for ((y, dy), dx) in y.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width)) {
            for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = y * dy;
            }
            let dot = sum_of(dx);
            for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = beta * y * (dy - dot);
            }
        }
    }
}

//! Float kernels of AVERAGE_POOL_2D, forward and backward.

use crate::dispatch::multiversion;
use crate::pool_2d::{Pool2dGeometry, Taps};
use crate::{Activation, Isa, Pool, Real, Unsupported};

/// A planned AVERAGE_POOL_2D on NHWC tensors.
///
/// The plan fixes everything but the number of images: each call takes any whole number of them.
#[derive(Debug, Clone)]
pub struct AveragePool2d {
    geometry: Pool2dGeometry,
    isa: Isa,
}

impl AveragePool2d {
    /// Plans `geometry` on `isa`.
    ///
    /// # Errors
    /// What [`Pool2dGeometry::check`] refuses.
    pub fn new(geometry: Pool2dGeometry, isa: Isa) -> Result<Self, Unsupported> {
        geometry.check("average_pool_2d")?;
        Ok(Self { geometry, isa })
    }

    /// The planned geometry.
    #[must_use]
    pub fn geometry(&self) -> &Pool2dGeometry {
        &self.geometry
    }

    /// y = activation(the mean of the valid elements of each window).
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn forward<T: Real>(&self, pool: &Pool, activation: Activation, x: &[T], y: &mut [T]) {
        let g = &self.geometry;
        let Some([x_len, _]) = g.image_lens(x.len(), y.len()) else { return };
        g.each_row(pool, y, |image, out_y, y| {
            forward_row(self.isa, g, activation, out_y, &x[image * x_len..][..x_len], y);
        });
    }

    /// y = activation(the square root of the mean of the squares of the valid elements of each window): L2_POOL_2D.
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn forward_l2(&self, pool: &Pool, activation: Activation, x: &[f32], y: &mut [f32]) {
        let g = &self.geometry;
        let Some([x_len, _]) = g.image_lens(x.len(), y.len()) else { return };
        g.each_row(pool, y, |image, out_y, y| {
            forward_l2_row(self.isa, g, activation, out_y, &x[image * x_len..][..x_len], y);
        });
    }

    /// dx from dy. Overwrites `dx`.
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn backward<T: Real>(&self, pool: &Pool, dy: &[T], dx: &mut [T]) {
        let g = &self.geometry;
        let Some([x_len, y_len]) = g.image_lens(dx.len(), dy.len()) else { return };
        pool.chunks_mut(dx, x_len, |image, dx| {
            backward_image(self.isa, g, &dy[image * y_len..][..y_len], dx);
        });
    }
}

multiversion! {
    to avx2;
    fn forward_row<T: Real>(g: &Pool2dGeometry, activation: Activation, out_y: usize, x: &[T], y: &mut [T]) {
        for (out_x, y) in y.chunks_exact_mut(g.channels).enumerate() {
            let taps = Taps::new(g, x, out_y, out_x);
            let scale = T::ONE / T::from_f64(taps.count() as f64);
            taps.for_channels(y, T::ZERO, |sum, x| sum + x, |sum| sum * scale);
        }
        if activation != Activation::None {
            y.iter_mut().for_each(|y| *y = activation.apply(*y));
        }
    }
}

multiversion! {
    to avx2;
    fn forward_l2_row<>(g: &Pool2dGeometry, activation: Activation, out_y: usize, x: &[f32], y: &mut [f32]) {
        let channels = g.channels;
        for (out_x, y) in y.chunks_exact_mut(channels).enumerate() {
            y.fill(0.0);
            g.for_window(out_y, out_x, |pixel| {
                for (y, &x) in y.iter_mut().zip(&x[pixel * channels..][..channels]) {
                    *y += x * x;
                }
            });
            let count = g.window_len(out_y, out_x) as f32;
            for y in y {
                *y = activation.apply((*y / count).sqrt());
            }
        }
    }
}

multiversion! {
    fn backward_image<T: Real>(g: &Pool2dGeometry, dy: &[T], dx: &mut [T]) {
        let channels = g.channels;
        dx.fill(T::ZERO);
        for (at, dy) in dy.chunks_exact(channels).enumerate() {
            let (out_y, out_x) = (at / g.width.output, at % g.width.output);
            let scale = T::ONE / T::from_f64(g.window_len(out_y, out_x) as f64);
            g.for_window(out_y, out_x, |pixel| {
                for (dx, &dy) in dx[pixel * channels..][..channels].iter_mut().zip(dy) {
                    *dx += dy * scale;
                }
            });
        }
    }
}

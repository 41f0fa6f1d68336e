//! Float kernels of MAX_POOL_2D, forward and backward.

use crate::dispatch::multiversion;
use crate::pool_2d::Pool2dGeometry;
use crate::{Activation, Isa, Pool, Real, Unsupported};

/// A planned MAX_POOL_2D on NHWC tensors.
///
/// The plan fixes everything but the number of images: each call takes any whole number of them.
#[derive(Debug, Clone)]
pub struct MaxPool2d {
    geometry: Pool2dGeometry,
    isa: Isa,
}

impl MaxPool2d {
    /// Plans `geometry` on `isa`.
    ///
    /// # Errors
    /// What [`Pool2dGeometry::check`] refuses.
    pub fn new(geometry: Pool2dGeometry, isa: Isa) -> Result<Self, Unsupported> {
        geometry.check("max_pool_2d")?;
        Ok(Self { geometry, isa })
    }

    /// The planned geometry.
    #[must_use]
    pub fn geometry(&self) -> &Pool2dGeometry {
        &self.geometry
    }

    /// y = activation(the largest of each window).
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn forward<T: Real>(&self, pool: &Pool, activation: Activation, x: &[T], y: &mut [T]) {
        let g = &self.geometry;
        let Some([x_len, _]) = g.image_lens(x.len(), y.len()) else { return };
        // One task is one row of output pixels of one image.
        pool.chunks_mut(y, g.width.output * g.channels, |row, y| {
            let (image, out_y) = (row / g.height.output, row % g.height.output);
            forward_row(self.isa, g, activation, out_y, &x[image * x_len..][..x_len], y);
        });
    }

    /// dx from x, y and dy, where `y` is what [`MaxPool2d::forward`] gave without activation. Overwrites `dx`. The first of
    /// equal elements of a window, in row order, takes its gradient.
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn backward<T: Real>(&self, pool: &Pool, x: &[T], y: &[T], dy: &[T], dx: &mut [T]) {
        let g = &self.geometry;
        assert!(x.len() == dx.len() && y.len() == dy.len(), "tensors and their gradients have one shape");
        let Some([x_len, y_len]) = g.image_lens(x.len(), y.len()) else { return };
        pool.chunks_mut(dx, x_len, |image, dx| {
            let (x_at, y_at) = (image * x_len, image * y_len);
            backward_image(self.isa, g, &x[x_at..][..x_len], &y[y_at..][..y_len], &dy[y_at..][..y_len], dx);
        });
    }
}

multiversion! {
    fn forward_row<T: Real>(g: &Pool2dGeometry, activation: Activation, out_y: usize, x: &[T], y: &mut [T]) {
        let channels = g.channels;
        for (out_x, y) in y.chunks_exact_mut(channels).enumerate() {
            let mut first = true;
            g.for_window(out_y, out_x, |pixel| {
                let x = &x[pixel * channels..][..channels];
                if first {
                    y.copy_from_slice(x);
                } else {
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = x.larger(*y);
                    }
                }
                first = false;
            });
        }
        if activation != Activation::None {
            for y in y {
                *y = activation.apply(*y);
            }
        }
    }
}

multiversion! {
    fn backward_image<T: Real>(g: &Pool2dGeometry, x: &[T], y: &[T], dy: &[T], dx: &mut [T]) {
        let channels = g.channels;
        dx.fill(T::ZERO);
        let outputs = y.chunks_exact(channels).zip(dy.chunks_exact(channels));
        for (at, (y, dy)) in outputs.enumerate() {
            let (out_y, out_x) = (at / g.width.output, at % g.width.output);
            for c in 0..channels {
                let mut taken = false;
                g.for_window(out_y, out_x, |pixel| {
                    if !taken && x[pixel * channels + c] == y[c] {
                        dx[pixel * channels + c] += dy[c];
                        taken = true;
                    }
                });
            }
        }
    }
}

//! Float kernels of MAX_POOL_2D, forward and backward.

use crate::dispatch::multiversion;
use crate::pool_2d::{Pool2dGeometry, Taps};
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
        g.each_row(pool, y, |image, out_y, y| {
            forward_row(self.isa, g, activation, out_y, &x[image * x_len..][..x_len], y);
        });
    }

    /// dx from x, y and dy, where `y` is what [`MaxPool2d::forward`] gave without activation. Overwrites `dx`. The first of
    /// equal elements of a window, in row order, takes its gradient.
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn backward<T: Real>(&self, pool: &Pool, x: &[T], y: &[T], dy: &[T], dx: &mut [T]) {
        self.backward_through(pool, Activation::None, x, y, dy, dx);
    }

    /// [`MaxPool2d::backward`] and in the same pass back through the clamping `activation` that made x: the element that
    /// takes a gradient equals y, so y tells whether it was clamped.
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn backward_through<T: Real>(
        &self,
        pool: &Pool,
        activation: Activation,
        x: &[T],
        y: &[T],
        dy: &[T],
        dx: &mut [T],
    ) {
        let g = &self.geometry;
        assert!(x.len() == dx.len() && y.len() == dy.len(), "tensors and their gradients have one shape");
        let Some([x_len, y_len]) = g.image_lens(x.len(), y.len()) else { return };
        pool.chunks_mut(dx, x_len, |image, dx| {
            let (x_at, y_at) = (image * x_len, image * y_len);
            backward_image(self.isa, g, activation, &x[x_at..][..x_len], &y[y_at..][..y_len], &dy[y_at..][..y_len], dx);
        });
    }
}

multiversion! {
    to avx2;
    fn forward_row<T: Real>(g: &Pool2dGeometry, activation: Activation, out_y: usize, x: &[T], y: &mut [T]) {
        for (out_x, y) in y.chunks_exact_mut(g.channels).enumerate() {
            let taps = Taps::new(g, x, out_y, out_x);
            if !taps.for_channels_of_four(y, -T::INFINITY, |largest, x| x.larger(largest), |largest| largest) {
                taps.for_channels(y, -T::INFINITY, |largest, x| x.larger(largest), |largest| largest);
            }
        }
        if activation != Activation::None {
            for y in y {
                *y = activation.apply(*y);
            }
        }
    }
}

/// Channels at a time, whose pending gradients stay in registers.
const BLOCK: usize = 32;

multiversion! {
    fn backward_image<T: Real>(
        g: &Pool2dGeometry, activation: Activation, x: &[T], y: &[T], dy: &[T], dx: &mut [T],
    ) {
        // Windows that do not overlap write each element once; those that also cover everything leave nothing to clear.
        let apart = g.height.stride >= g.height.kernel && g.width.stride >= g.width.kernel;
        if !(apart && g.height.is_tiling() && g.width.is_tiling()) {
            dx.fill(T::ZERO);
        }
        let channels = g.channels;
        let outputs = y.chunks_exact(channels).zip(dy.chunks_exact(channels));
        let mut at = (0, 0);
        for (y, dy) in outputs {
            let (y_blocks, y_rest) = y.as_chunks::<BLOCK>();
            let (dy_blocks, dy_rest) = dy.as_chunks::<BLOCK>();
            for (block, (y, dy)) in y_blocks.iter().zip(dy_blocks).enumerate() {
                let mut pending = *dy;
                mask(activation, y, &mut pending);
                g.for_window(at.0, at.1, |pixel| {
                    let from = pixel * channels + block * BLOCK;
                    let (x, dx) = (&x[from..from + BLOCK], &mut dx[from..from + BLOCK]);
                    if let (Some(x), Some(dx)) = (x.first_chunk::<BLOCK>(), dx.first_chunk_mut::<BLOCK>()) {
                        take(apart, x, y, &mut pending, dx);
                    }
                });
            }
            let first = y_blocks.len() * BLOCK;
            let mut pending = [T::ZERO; BLOCK];
            let pending = &mut pending[..dy_rest.len()];
            pending.copy_from_slice(dy_rest);
            mask(activation, y_rest, pending);
            g.for_window(at.0, at.1, |pixel| {
                let from = pixel * channels + first;
                take(apart, &x[from..from + y_rest.len()], y_rest, pending, &mut dx[from..from + y_rest.len()]);
            });
            at = if at.1 + 1 == g.width.output { (at.0 + 1, 0) } else { (at.0, at.1 + 1) };
        }
    }
}

/// Clears the gradients of what `activation` clamped.
#[inline(always)]
fn mask<T: Real>(activation: Activation, y: &[T], dy: &mut [T]) {
    let (low, high) = activation.range();
    let (low, high) = (T::from_f64(low), T::from_f64(high));
    for (dy, &y) in dy.iter_mut().zip(y) {
        *dy = match activation {
            Activation::None => *dy,
            Activation::Tanh => *dy * (T::ONE - y * y),
            Activation::Relu | Activation::ReluN1To1 | Activation::Relu6 => {
                let inside = (y > low) & (y < high) | ((y > low) & (activation == Activation::Relu));
                if inside { *dy } else { T::ZERO }
            }
        };
    }
}

/// Gives the pending gradients to the elements that equal the maximum.
#[inline(always)]
fn take<T: Real>(assign: bool, x: &[T], y: &[T], pending: &mut [T], dx: &mut [T]) {
    let lanes = x.iter().zip(y).zip(pending).zip(dx);
    if assign {
        for (((&x, &y), pending), dx) in lanes {
            *dx = if x == y { *pending } else { T::ZERO };
            *pending = if x == y { T::ZERO } else { *pending };
        }
    } else {
        for (((&x, &y), pending), dx) in lanes {
            *dx += if x == y { *pending } else { T::ZERO };
            *pending = if x == y { T::ZERO } else { *pending };
        }
    }
}

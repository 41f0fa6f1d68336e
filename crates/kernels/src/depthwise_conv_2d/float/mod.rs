//! Float kernels of DEPTHWISE_CONV_2D, forward and backward.

pub mod reference;

use crate::depthwise_conv_2d::DepthwiseConv2dGeometry;
use crate::{Activation, Isa, Pool, Real, Unsupported, reduce};

/// A planned DEPTHWISE_CONV_2D on NHWC tensors with filters `1 height width out_channels`. Weights need no packing.
///
/// The plan fixes everything but the number of images: each call takes any whole number of them.
#[derive(Debug, Clone)]
pub struct DepthwiseConv2d {
    geometry: DepthwiseConv2dGeometry,
    isa: Isa,
}

impl DepthwiseConv2d {
    /// Plans `geometry` on `isa`.
    ///
    /// # Errors
    /// What [`DepthwiseConv2dGeometry::check`] refuses.
    pub fn new(geometry: DepthwiseConv2dGeometry, isa: Isa) -> Result<Self, Unsupported> {
        geometry.check()?;
        Ok(Self { geometry, isa })
    }

    /// The planned geometry.
    #[must_use]
    pub fn geometry(&self) -> &DepthwiseConv2dGeometry {
        &self.geometry
    }

    /// y = activation(x * weights + bias).
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn forward<T: Real>(
        &self,
        pool: &Pool,
        weights: &[T],
        bias: Option<&[T]>,
        activation: Activation,
        x: &[T],
        y: &mut [T],
    ) {
        let g = &self.geometry;
        assert_eq!(weights.len(), g.weights_len(), "weights have the planned shape");
        let Some([x_len, y_len]) = self.image_lens(x.len(), y.len()) else { return };
        pool.chunks_mut(y, y_len, |image, y| {
            reference::forward(g, weights, bias, activation, &x[image * x_len..][..x_len], y);
        });
    }

    /// dx from dy. Overwrites `dx`.
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn backward_input<T: Real>(&self, pool: &Pool, weights: &[T], dy: &[T], dx: &mut [T]) {
        let g = &self.geometry;
        assert_eq!(weights.len(), g.weights_len(), "weights have the planned shape");
        let Some([x_len, y_len]) = self.image_lens(dx.len(), dy.len()) else { return };
        pool.chunks_mut(dx, x_len, |image, dx| {
            reference::backward_input(g, weights, &dy[image * y_len..][..y_len], dx);
        });
    }

    /// Adds the gradient of the weights to `dw`, image by image in order, on the caller's thread.
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn backward_weights<T: Real>(&self, x: &[T], dy: &[T], dw: &mut [T]) {
        let g = &self.geometry;
        assert_eq!(dw.len(), g.weights_len(), "gradient of the weights has the planned shape");
        let Some([x_len, y_len]) = self.image_lens(x.len(), dy.len()) else { return };
        for (x, dy) in x.chunks_exact(x_len).zip(dy.chunks_exact(y_len)) {
            reference::backward_weights(g, x, dy, dw);
        }
    }

    /// Adds the gradient of the bias to `db`, pixel by pixel in order.
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn backward_bias<T: Real>(&self, dy: &[T], db: &mut [T]) {
        assert_eq!(db.len(), self.geometry.out_channels(), "one bias per output channel");
        reduce::add_columns(self.isa, dy, db);
    }

    /// Elements of one image of input and output; `None` if there is nothing to do.
    fn image_lens(&self, x: usize, y: usize) -> Option<[usize; 2]> {
        let g = &self.geometry;
        crate::image_lens([
            (x, g.height.input * g.width.input * g.in_channels),
            (y, g.height.output * g.width.output * g.out_channels()),
        ])
    }
}

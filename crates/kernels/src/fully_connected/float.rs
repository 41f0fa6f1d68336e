//! Float kernels of FULLY_CONNECTED, forward and backward.

use crate::fully_connected::FullyConnectedGeometry;
use crate::{Activation, Isa, Pool, Real, Unsupported, reduce};

/// The law: each product rounded, added in the order of the input features.
pub mod reference {
    use crate::{Activation, Real};

    /// One row of the forward pass; weights `out in`.
    pub fn forward<T: Real>(w: &[T], bias: Option<&[T]>, act: Activation, x: &[T], y: &mut [T]) {
        for (o, y) in y.iter_mut().enumerate() {
            let start = bias.map_or(T::ZERO, |bias| bias[o]);
            let w = &w[o * x.len()..][..x.len()];
            *y = act.apply(x.iter().zip(w).fold(start, |sum, (&x, &w)| sum + x * w));
        }
    }

    /// One row of the gradient of the input.
    pub fn backward_input<T: Real>(w: &[T], dy: &[T], dx: &mut [T]) {
        let len = dx.len();
        dx.fill(T::ZERO);
        for (o, &dy) in dy.iter().enumerate() {
            dx.iter_mut().zip(&w[o * len..][..len]).for_each(|(dx, &w)| *dx += dy * w);
        }
    }

    /// Adds one row's part of the gradient of the weights.
    pub fn backward_weights<T: Real>(x: &[T], dy: &[T], dw: &mut [T]) {
        for (o, &dy) in dy.iter().enumerate() {
            dw[o * x.len()..][..x.len()].iter_mut().zip(x).for_each(|(dw, &x)| *dw += dy * x);
        }
    }
}

/// A planned FULLY_CONNECTED with weights `out_features in_features`.
///
/// The plan fixes everything but the number of rows: each call takes any whole number of them.
#[derive(Debug, Clone)]
pub struct FullyConnected {
    geometry: FullyConnectedGeometry,
    isa: Isa,
}

impl FullyConnected {
    /// Plans `geometry` on `isa`.
    ///
    /// # Errors
    /// What [`FullyConnectedGeometry::check`] refuses.
    pub fn new(geometry: FullyConnectedGeometry, isa: Isa) -> Result<Self, Unsupported> {
        geometry.check()?;
        Ok(Self { geometry, isa })
    }

    /// The planned geometry.
    #[must_use]
    pub fn geometry(&self) -> &FullyConnectedGeometry {
        &self.geometry
    }

    /// Reorders `weights` for [`FullyConnected::forward`], reusing the storage of `packed`.
    ///
    /// # Panics
    /// If `weights` has not the planned length.
    pub fn pack<T: Real>(&self, weights: &[T], packed: &mut Vec<T>) {
        assert_eq!(weights.len(), self.weights_len(), "weights have the planned shape");
        packed.clear();
        packed.extend_from_slice(weights);
    }

    /// y = activation(x weights^T + bias), with weights from [`FullyConnected::pack`] of the same plan and type.
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn forward<T: Real>(
        &self,
        pool: &Pool,
        packed: &[T],
        bias: Option<&[T]>,
        activation: Activation,
        x: &[T],
        y: &mut [T],
    ) {
        let Some([x_len, y_len]) = self.row_lens(x.len(), y.len()) else { return };
        pool.chunks_mut(y, y_len, |row, y| {
            reference::forward(packed, bias, activation, &x[row * x_len..][..x_len], y);
        });
    }

    /// dx from dy and the unpacked weights. Overwrites `dx`.
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn backward_input<T: Real>(&self, pool: &Pool, weights: &[T], dy: &[T], dx: &mut [T]) {
        assert_eq!(weights.len(), self.weights_len(), "weights have the planned shape");
        let Some([x_len, y_len]) = self.row_lens(dx.len(), dy.len()) else { return };
        pool.chunks_mut(dx, x_len, |row, dx| {
            reference::backward_input(weights, &dy[row * y_len..][..y_len], dx);
        });
    }

    /// Adds the gradient of the weights to `dw`, row by row in order, on the caller's thread.
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn backward_weights<T: Real>(&self, x: &[T], dy: &[T], dw: &mut [T]) {
        assert_eq!(dw.len(), self.weights_len(), "gradient of the weights has the planned shape");
        let Some([x_len, y_len]) = self.row_lens(x.len(), dy.len()) else { return };
        for (x, dy) in x.chunks_exact(x_len).zip(dy.chunks_exact(y_len)) {
            reference::backward_weights(x, dy, dw);
        }
    }

    /// Adds the gradient of the bias to `db`, row by row in order.
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn backward_bias<T: Real>(&self, dy: &[T], db: &mut [T]) {
        assert_eq!(db.len(), self.geometry.out_features, "one bias per output");
        reduce::add_columns(self.isa, dy, db);
    }

    fn weights_len(&self) -> usize {
        self.geometry.in_features * self.geometry.out_features
    }

    fn row_lens(&self, x: usize, y: usize) -> Option<[usize; 2]> {
        crate::image_lens([(x, self.geometry.in_features), (y, self.geometry.out_features)])
    }
}

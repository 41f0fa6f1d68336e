//! Float kernels of FULLY_CONNECTED, forward and backward.

use crate::fully_connected::FullyConnectedGeometry;
use crate::gemm::{self, Grid, Outer, Right, Rows};
use crate::{Activation, Context, Isa, Pool, Real, Unsupported, reduce};

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
        let FullyConnectedGeometry { in_features: depth, out_features: columns, .. } = self.geometry;
        match (T::as_f32(weights), T::as_f32_vec(packed)) {
            (Some(weights), Some(packed)) => {
                let lanes = gemm::lanes(self.isa);
                packed.resize(gemm::panels_len(lanes, depth, columns), 0.0);
                gemm::pack_panels(lanes, depth, columns, packed, |k, range, to| {
                    let from = weights[range.start * depth + k..].iter().step_by(depth);
                    to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
                });
            }
            _ => weights.clone_into(packed),
        }
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
        let Some([x_len, y_len]) = self.row_lens(x.len(), y.len()) else {
            // Rows of no input features: only the bias.
            y.chunks_exact_mut(self.geometry.out_features.max(1)).for_each(|y| {
                reference::forward(packed, bias, activation, &[], y);
            });
            return;
        };
        if let (Some(packed), Some(x)) = (T::as_f32(packed), T::as_f32(x))
            && let Some(y) = T::as_f32_mut(y)
        {
            self.forward_f32(pool, packed, bias.and_then(T::as_f32), activation, x, y);
            if activation == Activation::Tanh {
                activation.apply_in_place(Context { pool, isa: self.isa }, y);
            }
            return;
        }
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
        let Some([x_len, y_len]) = self.row_lens(dx.len(), dy.len()) else {
            dx.fill(T::ZERO);
            return;
        };
        if let (Some(weights), Some(dy)) = (T::as_f32(weights), T::as_f32(dy))
            && let Some(dx) = T::as_f32_mut(dx)
        {
            self.backward_input_f32(pool, weights, dy, dx);
            return;
        }
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
        if let (Some(x), Some(dy)) = (T::as_f32(x), T::as_f32(dy))
            && let Some(dw) = T::as_f32_mut(dw)
        {
            self.backward_weights_f32(x, dy, dw);
            return;
        }
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

    /// Rows split over the pool; of a single row its outputs.
    fn forward_f32(
        &self,
        pool: &Pool,
        packed: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        x: &[f32],
        y: &mut [f32],
    ) {
        let FullyConnectedGeometry { in_features: depth, out_features: columns, .. } = self.geometry;
        let (low, high) = activation.range();
        let problem = Rows {
            a: x,
            a_grid: Grid::linear(depth),
            segments: &[0],
            segment_len: depth,
            b: Right::Panels(packed, depth),
            depth_from: 0,
            columns: 0..columns,
            bias,
            accumulate: false,
            clamp: (low as f32, high as f32),
            width: usize::MAX,
            pixels: 0..1,
            c_grid: Grid::linear(columns),
        };
        let rows = x.len() / depth;
        if rows == 1 {
            let width = gemm::panel_width(gemm::lanes(self.isa));
            let per_task = columns.div_ceil(pool.threads()).next_multiple_of(width);
            pool.chunks_mut(y, per_task, |task, y| {
                let first = task * per_task;
                let b = Right::Panels(&packed[first * depth..], depth);
                let bias = bias.map(|bias| &bias[first..]);
                gemm::rows(self.isa, &Rows { b, bias, columns: 0..y.len(), ..problem.clone() }, y);
            });
            return;
        }
        let per_task = rows.div_ceil(pool.threads());
        pool.chunks_mut(y, per_task * columns, |task, y| {
            let a = &x[task * per_task * depth..];
            let problem = Rows { a, pixels: 0..y.len() / columns, ..problem.clone() };
            gemm::rows_blocked(self.isa, gemm::rows_into, &problem, y);
        });
    }

    fn backward_input_f32(&self, pool: &Pool, weights: &[f32], dy: &[f32], dx: &mut [f32]) {
        let FullyConnectedGeometry { in_features: columns, out_features: depth, .. } = self.geometry;
        let per_task = (dx.len() / columns).div_ceil(pool.threads());
        pool.chunks_mut(dx, per_task * columns, |task, dx| {
            let problem = Rows {
                a: &dy[task * per_task * depth..],
                a_grid: Grid::linear(depth),
                segments: &[0],
                segment_len: depth,
                b: Right::Matrix(weights, columns),
                depth_from: 0,
                columns: 0..columns,
                bias: None,
                accumulate: false,
                clamp: (f32::NEG_INFINITY, f32::INFINITY),
                width: usize::MAX,
                pixels: 0..dx.len() / columns,
                c_grid: Grid::linear(columns),
            };
            gemm::rows_blocked(self.isa, gemm::rows_of_matrix, &problem, dx);
        });
    }

    fn backward_weights_f32(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        let FullyConnectedGeometry { in_features, out_features, .. } = self.geometry;
        let problem = Outer {
            a: dy,
            b: x,
            runs: 1,
            run_len: x.len() / in_features,
            a_run_step: 0,
            a_step: out_features,
            b_run_step: 0,
            b_step: in_features,
            segments: &[0],
            segment_len: out_features,
            columns: in_features,
            c_step: in_features,
        };
        gemm::outer(self.isa, &problem, dw);
    }

    fn weights_len(&self) -> usize {
        self.geometry.in_features * self.geometry.out_features
    }

    fn row_lens(&self, x: usize, y: usize) -> Option<[usize; 2]> {
        crate::image_lens([(x, self.geometry.in_features), (y, self.geometry.out_features)])
    }
}

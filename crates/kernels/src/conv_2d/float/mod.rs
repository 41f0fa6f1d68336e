//! Float kernels of CONV_2D, forward and backward.

mod f32;
mod lower;
pub mod reference;
mod winograd;

use std::ops::Range;

use crate::conv_2d::Conv2dGeometry;
use crate::{Activation, Context, Isa, Pool, Real, Unsupported, gemm, reduce};

/// A planned CONV_2D on NHWC tensors with OHWI filters.
///
/// The plan fixes everything but the number of images: each call takes any whole number of them.
#[derive(Debug, Clone)]
pub struct Conv2d {
    geometry: Conv2dGeometry,
    isa: Isa,
    f32: f32::Plan,
}

impl Conv2d {
    /// Plans `geometry` on `isa`.
    ///
    /// # Errors
    /// What [`Conv2dGeometry::check`] refuses.
    pub fn new(geometry: Conv2dGeometry, isa: Isa) -> Result<Self, Unsupported> {
        geometry.check()?;
        Ok(Self { geometry, isa, f32: f32::Plan::new(&geometry, isa) })
    }

    /// The planned geometry.
    #[must_use]
    pub fn geometry(&self) -> &Conv2dGeometry {
        &self.geometry
    }

    /// The kernel of the forward pass, such as `conv_2d/f32/avx512/14x32/winograd-2x2`.
    #[must_use]
    pub fn name(&self) -> String {
        let algorithm = if self.f32.is_winograd() { "/winograd-2x2" } else { "" };
        format!("conv_2d/f32/{}{algorithm}", gemm::tile_name(self.isa))
    }

    /// Reorders OHWI `weights` for [`Conv2d::forward`], reusing the storage of `packed`.
    ///
    /// # Panics
    /// If `weights` has not the planned length.
    pub fn pack<T: Real>(&self, weights: &[T], packed: &mut Vec<T>) {
        assert_eq!(weights.len(), self.geometry.weights_len(), "weights have the planned shape");
        match (T::as_f32(weights), T::as_f32_vec(packed)) {
            (Some(weights), Some(packed)) => self.f32.pack(weights, packed),
            _ => weights.clone_into(packed),
        }
    }

    /// Reorders OHWI `weights` for [`Conv2d::backward_input`], reusing the storage of `packed`.
    ///
    /// # Panics
    /// If `weights` has not the planned length.
    pub fn pack_backward<T: Real>(&self, weights: &[T], packed: &mut Vec<T>) {
        assert_eq!(weights.len(), self.geometry.weights_len(), "weights have the planned shape");
        match (T::as_f32(weights), T::as_f32_vec(packed)) {
            (Some(weights), Some(packed)) => self.f32.pack_backward(weights, packed),
            _ => weights.clone_into(packed),
        }
    }

    /// Elements of scratch [`Conv2d::forward`] needs with a pool of `threads`.
    #[must_use]
    pub fn forward_scratch_len(&self, threads: usize) -> usize {
        self.f32.forward_scratch_len(threads)
    }

    /// Elements of scratch [`Conv2d::backward_input`] needs with a pool of `threads`.
    #[must_use]
    pub fn backward_input_scratch_len(&self, threads: usize) -> usize {
        self.f32.backward_input_scratch_len(threads)
    }

    /// Elements of scratch [`Conv2d::backward_weights`] needs; it runs on one thread.
    #[must_use]
    pub fn backward_weights_scratch_len(&self) -> usize {
        self.f32.backward_weights_scratch_len()
    }

    /// y = activation(x * weights + bias), with weights from [`Conv2d::pack`] of the same plan and type.
    ///
    /// # Panics
    /// If a length is not as planned, or `scratch` is shorter than [`Conv2d::forward_scratch_len`].
    pub fn forward<T: Real>(
        &self,
        pool: &Pool,
        packed: &[T],
        bias: Option<&[T]>,
        activation: Activation,
        x: &[T],
        y: &mut [T],
        scratch: &mut [T],
    ) {
        let g = &self.geometry;
        let Some([x_len, y_len]) = self.image_lens(x.len(), y.len()) else { return };
        if let (Some(packed), Some(x), Some(scratch)) = (T::as_f32(packed), T::as_f32(x), T::as_f32_mut(scratch))
            && let Some(y) = T::as_f32_mut(y)
        {
            self.f32.forward(pool, packed, bias.and_then(T::as_f32), activation, x, y, scratch);
            if activation == Activation::Tanh {
                activation.apply_in_place(Context { pool, isa: self.isa }, y);
            }
            return;
        }
        pool.chunks_mut(y, y_len, |image, y| {
            reference::forward(g, packed, bias, activation, &x[image * x_len..][..x_len], y);
        });
    }

    /// Whether [`Conv2d::forward_rows`] does what [`Conv2d::forward`] does with `activation`: not where whole images are transformed.
    #[must_use]
    pub fn has_rows(&self, activation: Activation) -> bool {
        !self.f32.is_winograd() && activation != Activation::Tanh
    }

    /// Whether threads that compute rows of one image each read all weights at little cost, and have whole tiles.
    #[must_use]
    pub fn splits_rows(&self, threads: usize) -> bool {
        self.f32.splits_rows(threads)
    }

    /// Elements of scratch [`Conv2d::forward_rows`] needs for `rows` rows.
    #[must_use]
    pub fn rows_scratch_len(&self, rows: usize) -> usize {
        self.f32.rows_scratch_len(rows)
    }

    /// Output rows `rows` of one image, as [`Conv2d::forward`] computes them, on the caller's thread. `x` holds the input rows that
    /// they read ([`Window::needs`](super::Window::needs)).
    ///
    /// # Panics
    /// If a length is not as planned, or `scratch` is shorter than [`Conv2d::rows_scratch_len`].
    pub fn forward_rows(
        &self,
        packed: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        x: &[f32],
        rows: Range<usize>,
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        debug_assert!(self.has_rows(activation), "a plan with rows");
        self.f32.rows(packed, bias, activation, x, rows, y, scratch);
    }

    /// dx from dy, with weights from [`Conv2d::pack_backward`] of the same plan and type. Overwrites `dx`.
    ///
    /// # Panics
    /// If a length is not as planned, or `scratch` is shorter than [`Conv2d::backward_input_scratch_len`].
    pub fn backward_input<T: Real>(&self, pool: &Pool, packed: &[T], dy: &[T], dx: &mut [T], scratch: &mut [T]) {
        let g = &self.geometry;
        let Some([x_len, y_len]) = self.image_lens(dx.len(), dy.len()) else {
            dx.fill(T::ZERO);
            return;
        };
        if let (Some(packed), Some(dy), Some(scratch)) = (T::as_f32(packed), T::as_f32(dy), T::as_f32_mut(scratch))
            && let Some(dx) = T::as_f32_mut(dx)
        {
            self.f32.backward_input(pool, packed, dy, dx, scratch);
            return;
        }
        pool.chunks_mut(dx, x_len, |image, dx| {
            reference::backward_input(g, packed, &dy[image * y_len..][..y_len], dx);
        });
    }

    /// Adds the gradient of the OHWI weights to `dw`, image by image in order, on the caller's thread.
    ///
    /// # Panics
    /// If a length is not as planned, or `scratch` is shorter than [`Conv2d::backward_weights_scratch_len`].
    pub fn backward_weights<T: Real>(&self, x: &[T], dy: &[T], dw: &mut [T], scratch: &mut [T]) {
        let g = &self.geometry;
        assert_eq!(dw.len(), g.weights_len(), "gradient of the weights has the planned shape");
        let Some([x_len, y_len]) = self.image_lens(x.len(), dy.len()) else { return };
        if let (Some(x), Some(dy), Some(scratch)) = (T::as_f32(x), T::as_f32(dy), T::as_f32_mut(scratch))
            && let Some(dw) = T::as_f32_mut(dw)
        {
            self.f32.backward_weights(x, dy, dw, scratch);
            return;
        }
        for (x, dy) in x.chunks_exact(x_len).zip(dy.chunks_exact(y_len)) {
            reference::backward_weights(g, x, dy, dw);
        }
    }

    /// Adds the gradient of the bias to `db`, pixel by pixel in order.
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn backward_bias<T: Real>(&self, dy: &[T], db: &mut [T]) {
        assert_eq!(db.len(), self.geometry.out_channels, "one bias per output channel");
        reduce::add_columns(self.isa, dy, db);
    }

    /// Elements of one image of input and output; `None` if there is nothing to do.
    fn image_lens(&self, x: usize, y: usize) -> Option<[usize; 2]> {
        let g = &self.geometry;
        crate::image_lens([
            (x, g.height.input * g.width.input * g.in_channels),
            (y, g.height.output * g.width.output * g.out_channels),
        ])
    }
}

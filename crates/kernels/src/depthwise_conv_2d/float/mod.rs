//! Float kernels of DEPTHWISE_CONV_2D, forward and backward.

mod blocks;
pub mod reference;
mod tile;

use std::ops::Range;

use crate::conv_2d::Window;
use crate::depthwise_conv_2d::DepthwiseConv2dGeometry;
use crate::{Activation, Context, Isa, Pool, Real, Unsupported, reduce};
use tile::Depthwise;

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
        let Some([x_len, _]) = self.image_lens(x.len(), y.len()) else { return };
        // One task is one row of output pixels of one image.
        let row_len = g.width.output * g.out_channels();
        if let (1, Some(weights), Some(x)) = (g.multiplier, T::as_f32(weights), T::as_f32(x))
            && let Some(y) = T::as_f32_mut(y)
        {
            let (low, high) = activation.range();
            let (bias, clamp) = (bias.and_then(T::as_f32), (low as f32, high as f32));
            each_rows(pool, y, g.height.output, row_len, |image, first_row, y| {
                let problem = self.tile(weights, &x[image * x_len..][..x_len]);
                tile::rows(self.isa, &Depthwise { bias, clamp, ..problem }, first_row, y);
            });
            if activation == Activation::Tanh {
                activation.apply_in_place(Context { pool, isa: self.isa }, y);
            }
            return;
        }
        pool.chunks_mut(y, row_len, |row, y| {
            let (image, out_y) = (row / g.height.output, row % g.height.output);
            let x = &x[image * x_len..][..x_len];
            blocks::forward_row(self.isa, g, out_y, weights, bias, activation, x, y);
        });
    }

    /// Whether [`DepthwiseConv2d::forward_rows`] does what [`DepthwiseConv2d::forward`] does with `activation`.
    #[must_use]
    pub fn has_rows(&self, activation: Activation) -> bool {
        let Window { input, output, stride, pad_before, .. } = self.geometry.height;
        let starts_inside = output.saturating_sub(1) * stride < input + pad_before;
        self.geometry.multiplier == 1 && activation != Activation::Tanh && starts_inside
    }

    /// Output rows `rows` of one image, as [`DepthwiseConv2d::forward`] computes them, on the caller's thread, with multiplier 1. `x`
    /// holds the input rows that they read ([`Window::needs`]).
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn forward_rows(
        &self,
        weights: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        x: &[f32],
        rows: Range<usize>,
        y: &mut [f32],
    ) {
        debug_assert!(self.has_rows(activation), "a plan with rows");
        let whole = self.geometry.height;
        let held = whole.needs(rows.clone());
        // The rows as an image of their own, with as much padding as the first of them meets.
        let pad_before = whole.pad_before + held.start - rows.start * whole.stride;
        let height = Window { input: held.len(), output: rows.len(), pad_before, ..whole };
        let (low, high) = activation.range();
        let clamp = (low as f32, high as f32);
        tile::rows(self.isa, &Depthwise { height, bias, clamp, ..self.tile(weights, x) }, 0, y);
    }

    /// dx from dy. Overwrites `dx`.
    ///
    /// # Panics
    /// If a length is not as planned.
    pub fn backward_input<T: Real>(&self, pool: &Pool, weights: &[T], dy: &[T], dx: &mut [T]) {
        let g = &self.geometry;
        assert_eq!(weights.len(), g.weights_len(), "weights have the planned shape");
        let Some([x_len, y_len]) = self.image_lens(dx.len(), dy.len()) else {
            dx.fill(T::ZERO);
            return;
        };
        if let (Some([height, width]), Some(weights), Some(dy)) = (self.turned(), T::as_f32(weights), T::as_f32(dy))
            && let Some(dx) = T::as_f32_mut(dx)
        {
            each_rows(pool, dx, height.output, width.output * g.in_channels, |image, first_row, dx| {
                let problem = self.tile(weights, &dy[image * y_len..][..y_len]);
                tile::rows(self.isa, &Depthwise { height, width, flip: true, ..problem }, first_row, dx);
            });
            return;
        }
        pool.chunks_mut(dx, x_len, |image, dx| {
            let dy = &dy[image * y_len..][..y_len];
            if g.multiplier == 1 {
                blocks::backward_input(self.isa, g, weights, dy, dx);
            } else {
                reference::backward_input(g, weights, dy, dx);
            }
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
        if let (1, Some(x), Some(dy)) = (g.multiplier, T::as_f32(x), T::as_f32(dy))
            && let Some(dw) = T::as_f32_mut(dw)
        {
            for (x, dy) in x.chunks_exact(x_len).zip(dy.chunks_exact(y_len)) {
                tile::weights(self.isa, &self.tile(&[], x), dy, dw);
            }
            return;
        }
        for (x, dy) in x.chunks_exact(x_len).zip(dy.chunks_exact(y_len)) {
            blocks::backward_weights(self.isa, g, x, dy, dw);
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

    /// The vector kernel's problem for one image.
    fn tile<'a>(&self, weights: &'a [f32], x: &'a [f32]) -> Depthwise<'a> {
        let DepthwiseConv2dGeometry { height, width, in_channels: channels, .. } = self.geometry;
        let clamp = (f32::NEG_INFINITY, f32::INFINITY);
        Depthwise { height, width, channels, weights, flip: false, bias: None, clamp, x }
    }

    /// The windows of the gradient of the input as a convolution of the output's gradient: for stride 1 and multiplier 1.
    fn turned(&self) -> Option<[Window; 2]> {
        let g = &self.geometry;
        let turn = |w: Window| {
            let pad_before = ((w.kernel - 1) * w.dilation).checked_sub(w.pad_before)?;
            (w.stride == 1).then_some(Window { input: w.output, output: w.input, pad_before, ..w })
        };
        if g.multiplier == 1 { Some([turn(g.height)?, turn(g.width)?]) } else { None }
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

/// Elements of the result that are worth a thread: about a microsecond.
const TASK_ELEMENTS: usize = 2048;

/// Calls `task(image, first row, rows)` for bands of rows of images of `height` rows.
fn each_rows(
    pool: &Pool,
    y: &mut [f32],
    height: usize,
    row_len: usize,
    task: impl Fn(usize, usize, &mut [f32]) + Sync,
) {
    let rows = pool.share(height, row_len, TASK_ELEMENTS);
    if height.is_multiple_of(rows) {
        let bands = height / rows;
        pool.chunks_mut(y, rows * row_len, |index, y| task(index / bands, index % bands * rows, y));
        return;
    }
    for (image, y) in y.chunks_exact_mut(height * row_len).enumerate() {
        pool.chunks_mut(y, rows * row_len, |index, y| task(image, index * rows, y));
    }
}

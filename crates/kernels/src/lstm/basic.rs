//! The basic LSTM on uint8 activations with int16 cells (LiteRT `kernels/internal/reference/lstm_cell.h`, the same for both
//! resolvers, whose matrix product rounds as ruy does): activations are -1 to 127/128, the sums of the gates Q3.12, the cells Q4.11.

use super::expect_len;
use crate::fixed_point::{logistic, product, saturating_shift_left, tanh};
use crate::requantize::{FixedPoint, rounding_shift_right};
use crate::{Context, Unsupported};

const KERNEL: &str = "lstm";
/// The zero point of every activation, whatever the tensors say.
const ZERO_POINT: i32 = 128;
/// Products that a thread is worth calling for.
const TASK_PRODUCTS: usize = 1 << 14;

/// One basic integer layer.
#[derive(Debug, Clone, Copy)]
pub struct BasicLstmSpec<'a> {
    /// Elements of an input row.
    pub inputs: usize,
    /// Memory cells, which are the elements of an output row.
    pub cells: usize,
    /// `4 cells` by `inputs cells`: gates in the order input, new value, forget, output.
    pub weights: &'a [u8],
    /// Of the weights.
    pub weights_zero_point: i32,
    /// One for each row of the weights.
    pub bias: &'a [i32],
    /// Of the bias: real units of a step of the sums.
    pub bias_scale: f32,
    /// Of the cells, which must be 2^-11.
    pub cell_scale: f32,
}

/// A planned basic integer layer.
#[derive(Debug, Clone)]
pub struct BasicLstm {
    inputs: usize,
    cells: usize,
    /// Less their zero point.
    weights: Vec<i16>,
    bias: Vec<i32>,
    scale: FixedPoint,
}

impl BasicLstm {
    /// Plans a layer.
    ///
    /// # Errors
    /// Sizes that do not fit one another, and other scales of the cells than LiteRT has an implementation for.
    pub fn new(spec: &BasicLstmSpec<'_>) -> Result<Self, Unsupported> {
        let BasicLstmSpec { inputs, cells, .. } = *spec;
        if spec.cell_scale != 2f32.powi(-11) {
            let reason = format!("a cell scale of {}, expected 2^-11", spec.cell_scale);
            return Err(Unsupported::new(KERNEL, reason));
        }
        let real = 4096.0 * f64::from(spec.bias_scale);
        if !(real > 0.0 && real.is_finite()) {
            return Err(Unsupported::new(KERNEL, format!("a bias scale of {}", spec.bias_scale)));
        }
        let rows = cells.saturating_mul(4);
        expect_len(KERNEL, "the bias", spec.bias.len(), rows)?;
        let columns = inputs.saturating_add(cells);
        expect_len(KERNEL, "the weight matrix", spec.weights.len(), rows.saturating_mul(columns))?;
        let weights = spec.weights.iter().map(|&weight| (i32::from(weight) - spec.weights_zero_point) as i16);
        let (weights, bias) = (weights.collect(), spec.bias.to_vec());
        Ok(Self { inputs, cells, weights, bias, scale: FixedPoint::new(real) })
    }

    /// Bytes of the packed weights.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        size_of_val(self.weights.as_slice())
    }

    /// Elements of the sums of `batch` rows.
    #[must_use]
    pub fn sums_len(&self, batch: usize) -> usize {
        4 * self.cells * batch
    }

    /// One step. `input` has rows of `inputs` elements; the states have rows of `cells`, are read and then changed. `sums` takes
    /// [`Self::sums_len`] elements: what the gates are computed from, in the order of the weights.
    ///
    /// # Panics
    /// If a buffer is too small.
    pub fn run(&self, ctx: Context<'_>, input: &[u8], hidden: &mut [u8], cell: &mut [i16], sums: &mut [i16]) {
        let Self { inputs, cells, .. } = *self;
        if cells == 0 {
            return;
        }
        let rows = ctx.pool.share(sums.len(), inputs + cells, TASK_PRODUCTS);
        let before = &*hidden;
        ctx.pool.chunks_mut(sums, rows, |task, sums| {
            for (index, sum) in (task * rows..).zip(sums) {
                let (sample, row) = (index / (4 * cells), index % (4 * cells));
                let (of_input, of_output) = self.weights[row * (inputs + cells)..][..inputs + cells].split_at(inputs);
                let parts = [(&input[sample * inputs..], of_input), (&before[sample * cells..], of_output)];
                let total = parts.into_iter().fold(self.bias[row], |total, (values, weights)| {
                    let products = values.iter().zip(weights);
                    products.fold(total, |total, (&value, &weight)| {
                        total.wrapping_add((i32::from(value) - ZERO_POINT) * i32::from(weight))
                    })
                });
                *sum = saturate(self.scale.round_up_twice(total));
            }
        });
        let states = hidden.chunks_exact_mut(cells).zip(cell.chunks_exact_mut(cells));
        for (sums, (hidden, cell)) in sums.chunks_exact(4 * cells).zip(states) {
            for (index, (hidden, cell)) in hidden.iter_mut().zip(cell).enumerate() {
                let sum = |gate: usize| i32::from(sums[gate * cells + index]);
                let (input, new) = (logistic::<16>(sum(0), 3), tanh::<16>(sum(1), 3));
                let (forget, output) = (logistic::<16>(sum(2), 3), logistic::<16>(sum(3), 3));
                let taken = rounding_shift_right(product::<16>(input, new), 4);
                *cell = saturate(taken + product::<16>(forget, i32::from(*cell)));
                let activated = tanh::<16>(saturating_shift_left::<16>(i32::from(*cell), 1), 3);
                let given = rounding_shift_right(product::<16>(output, activated), 8);
                *hidden = (ZERO_POINT + given.clamp(i8::MIN.into(), i8::MAX.into())) as u8;
            }
        }
    }
}

fn saturate(x: i32) -> i16 {
    x.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

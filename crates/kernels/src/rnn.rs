//! Plain recurrent layers: `h = activation(weights x + recurrent weights h + bias)` for each step (LiteRT
//! `internal/kernel_utils.cc`, `RnnBatchStep`).

use crate::integer_conv::{scratch_bytes, typed_scratch};
use crate::recurrent::{Product, RecurrentWeights, SequenceGeometry, activate};
use crate::{Activation, Context, Isa, Unsupported};

const KERNEL: &str = "rnn";

/// Sizes of a plain recurrent layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RnnGeometry {
    /// Sequences; the state is `batch units`.
    pub sequence: SequenceGeometry,
    /// Elements of an input row.
    pub inputs: usize,
    /// Elements of an output row.
    pub units: usize,
}

/// A plain recurrent layer with float activations.
#[derive(Debug, Clone, Copy)]
pub struct RnnSpec<'a> {
    /// `units inputs`.
    pub input: RecurrentWeights<'a>,
    /// `units units`.
    pub recurrent: RecurrentWeights<'a>,
    /// One for each unit.
    pub bias: &'a [f32],
    /// Of the sum.
    pub activation: Activation,
    /// Whether rows are quantized with a zero point where the weights are integers.
    pub asymmetric_inputs: bool,
}

/// A planned layer.
#[derive(Debug, Clone)]
pub struct Rnn {
    geometry: RnnGeometry,
    ahead: usize,
    input: Product,
    recurrent: Product,
    activation: Activation,
}

impl Rnn {
    /// Plans a layer.
    ///
    /// # Errors
    /// Sizes that do not fit one another.
    pub fn new(geometry: RnnGeometry, spec: &RnnSpec<'_>, isa: Isa) -> Result<Self, Unsupported> {
        let RnnGeometry { sequence, inputs, units } = geometry;
        let rows = sequence.rows()?;
        let overflows = [(rows, inputs), (rows, units), (units, 4)].iter().any(|&(a, b)| a.checked_mul(b).is_none());
        if overflows || units == 0 || spec.bias.len() != units {
            let reason = format!("a bias of {} elements for {geometry:?}", spec.bias.len());
            return Err(Unsupported::new(KERNEL, reason));
        }
        let (together, ahead) = (sequence.together(), sequence.ahead(units * 4));
        let asymmetric = spec.asymmetric_inputs;
        let bias = Some(spec.bias.to_vec());
        let input = Product::new(isa, KERNEL, [ahead * together, inputs, units], &[spec.input], bias, asymmetric)?;
        let recurrent = Product::new(isa, KERNEL, [together, units, units], &[spec.recurrent], None, asymmetric)?;
        Ok(Self { geometry, ahead, input, recurrent, activation: spec.activation })
    }

    fn product_bytes(&self) -> usize {
        self.input.scratch_bytes().max(self.recurrent.scratch_bytes())
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        let row = self.geometry.sequence.together() * self.geometry.units;
        scratch_bytes::<f32>((self.ahead + 1) * row) + self.product_bytes()
    }

    /// Bytes of the packed weights.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        self.input.packed_bytes() + self.recurrent.packed_bytes()
    }

    /// Runs all steps: `input` has rows of `inputs` elements, `output` rows of `units` that begin every `stride`. The state is read and then changed.
    ///
    /// # Panics
    /// If a buffer is too small.
    pub fn run(
        &self,
        ctx: Context<'_>,
        input: &[f32],
        output: &mut [f32],
        stride: usize,
        state: &mut [f32],
        scratch: &mut [u8],
    ) {
        let RnnGeometry { sequence, inputs, units } = self.geometry;
        let together = sequence.together();
        let (bytes, scratch) = scratch.split_at_mut(self.product_bytes());
        let row = together * units;
        let (products, sums) = typed_scratch::<f32>(scratch).split_at_mut(self.ahead * row);
        let sums = &mut sums[..row];
        for group in 0..sequence.groups() {
            let state = &mut state[group * row..][..row];
            for first in sequence.chunks(group, self.ahead) {
                let rows = &input[first * inputs..][..self.ahead * together * inputs];
                self.input.run(ctx, rows, products, bytes);
                for step in sequence.steps_of(self.ahead) {
                    self.recurrent.run(ctx, state, sums, bytes);
                    let products = &products[step * row..][..row];
                    state.iter_mut().zip(products).zip(&*sums).for_each(|((h, x), r)| *h = x + r);
                    activate(ctx.isa, self.activation, state);
                    let output = &mut output[(first + step * together) * stride..];
                    for (output, state) in output.chunks_mut(stride).zip(state.chunks_exact(units)) {
                        output[..units].copy_from_slice(state);
                    }
                }
            }
        }
    }
}

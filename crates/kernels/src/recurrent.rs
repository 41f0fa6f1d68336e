//! What recurrent layers share: how rows of a sequence are laid out, and products with float or dynamic-range weights.

use crate::dispatch::multiversion;
use crate::fully_connected::FullyConnectedGeometry;
use crate::fully_connected::float::FullyConnected;
use crate::fully_connected::hybrid::HybridFullyConnected;
use crate::hybrid::HybridSpec;
use crate::{Activation, Context, Isa, Numerics, Unsupported};

/// Bytes of the products of input and weights that are computed at once, before the steps that need them.
const AHEAD_BYTES: usize = 1 << 20;

/// Sequences and the order of their elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceGeometry {
    /// Sequences.
    pub batch: usize,
    /// Elements of each.
    pub steps: usize,
    /// Whether rows are `steps batch` instead of `batch steps`.
    pub time_major: bool,
    /// Whether the last element comes first.
    pub backward: bool,
}

impl SequenceGeometry {
    /// Sequences whose rows lie side by side at each step, so that they are stepped together.
    pub(crate) fn together(&self) -> usize {
        if self.time_major { self.batch } else { self.batch.min(1) }
    }

    /// How often [`Self::together`] sequences must be stepped through.
    pub(crate) fn groups(&self) -> usize {
        if self.time_major { 1 } else { self.batch }
    }

    pub(crate) fn rows(&self) -> Result<usize, Unsupported> {
        self.batch
            .checked_mul(self.steps)
            .ok_or_else(|| Unsupported::new("sequence", format!("sizes overflow: {self:?}")))
    }

    /// Steps whose input products are computed at once, when one row of them has `row_bytes`: divides the steps.
    pub(crate) fn ahead(&self, row_bytes: usize) -> usize {
        let most = AHEAD_BYTES / row_bytes.saturating_mul(self.together()).max(1);
        let most = most.clamp(1, self.steps.max(1));
        (1..=most).rev().find(|&ahead| self.steps.is_multiple_of(ahead)).unwrap_or(1)
    }

    /// The first row of each chunk of `ahead` steps of group `group`, in the order of the steps.
    pub(crate) fn chunks(&self, group: usize, ahead: usize) -> impl Iterator<Item = usize> + use<> {
        let Self { steps, backward, .. } = *self;
        let (together, first) = (self.together(), group * steps * self.together());
        let chunks = steps / ahead.max(1);
        (0..chunks).map(move |at| first + if backward { chunks - 1 - at } else { at } * ahead * together)
    }

    /// The steps of a chunk in their order, counted from its first row.
    pub(crate) fn steps_of(&self, ahead: usize) -> impl Iterator<Item = usize> + use<> {
        let backward = self.backward;
        (0..ahead).map(move |at| if backward { ahead - 1 - at } else { at })
    }
}

/// Weights of a recurrent layer with float activations.
#[derive(Debug, Clone, Copy)]
pub enum RecurrentWeights<'a> {
    /// Float.
    F32(&'a [f32]),
    /// Dynamic range, zero point 0.
    I8 {
        /// The elements.
        data: &'a [i8],
        /// Their scale.
        scale: f32,
    },
}

impl RecurrentWeights<'_> {
    /// Elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::I8 { data, .. } => data.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As floats.
    pub(crate) fn dequantized(&self) -> Vec<f32> {
        match *self {
            Self::F32(data) => data.to_vec(),
            Self::I8 { data, scale } => data.iter().map(|&weight| scale * f32::from(weight)).collect(),
        }
    }
}

/// A product of rows with weights, planned.
#[derive(Debug, Clone)]
pub(crate) enum Product {
    Float {
        dense: FullyConnected,
        packed: Vec<f32>,
        bias: Option<Vec<f32>>,
    },
    Hybrid(Box<HybridFullyConnected>),
    /// A diagonal matrix for each part.
    Diagonal {
        diagonals: Vec<f32>,
        features: usize,
    },
}

impl Product {
    /// The weights of `parts`, each `out in` with the same sizes, one below the other; `rows` rows at once.
    pub(crate) fn new(
        isa: Isa,
        kernel: &'static str,
        [rows, inputs, outputs]: [usize; 3],
        parts: &[RecurrentWeights<'_>],
        bias: Option<Vec<f32>>,
        asymmetric_inputs: bool,
    ) -> Result<Self, Unsupported> {
        let out_features = outputs.saturating_mul(parts.len());
        let geometry = FullyConnectedGeometry { batch: rows, in_features: inputs, out_features };
        geometry.check()?;
        if let Some(part) = parts.iter().find(|part| Some(part.len()) != inputs.checked_mul(outputs)) {
            let reason = format!("{} weights, expected {outputs} by {inputs}", part.len());
            return Err(Unsupported::new(kernel, reason));
        }
        let floats: Vec<f32> = parts
            .iter()
            .filter_map(|part| if let RecurrentWeights::F32(data) = part { Some(*data) } else { None })
            .flatten()
            .copied()
            .collect();
        if floats.len() == inputs * out_features {
            let dense = FullyConnected::new(geometry, isa)?;
            let mut packed = Vec::new();
            dense.pack(&floats, &mut packed);
            return Ok(Self::Float { dense, packed, bias });
        }
        let (mut weights, mut scales) = (Vec::new(), Vec::new());
        for part in parts {
            let &RecurrentWeights::I8 { data, scale } = part else {
                return Err(Unsupported::new(kernel, "weights of different types"));
            };
            weights.extend_from_slice(data);
            scales.extend(std::iter::repeat_n(scale, outputs));
        }
        let spec = HybridSpec {
            weights: &weights,
            weight_scales: &scales,
            bias: bias.as_deref(),
            activation: Activation::None,
            asymmetric_inputs,
            // Recurrent layers run in the builtins in both modes.
            numerics: Numerics::Reference,
            delegated: false,
        };
        Ok(Self::Hybrid(Box::new(HybridFullyConnected::new(geometry, &spec)?)))
    }

    pub(crate) fn scratch_bytes(&self) -> usize {
        match self {
            Self::Hybrid(dense) => dense.scratch_bytes(),
            Self::Float { .. } | Self::Diagonal { .. } => 0,
        }
    }

    pub(crate) fn packed_bytes(&self) -> usize {
        match self {
            Self::Float { packed, .. } => packed.len() * 4,
            Self::Hybrid(dense) => dense.packed_bytes(),
            Self::Diagonal { diagonals, .. } => diagonals.len() * 4,
        }
    }

    pub(crate) fn run(&self, ctx: Context<'_>, x: &[f32], y: &mut [f32], scratch: &mut [u8]) {
        match self {
            Self::Float { dense, packed, bias } => {
                dense.forward(ctx.pool, packed, bias.as_deref(), Activation::None, x, y);
            }
            Self::Hybrid(dense) => dense.run(ctx, x, y, &mut scratch[..dense.scratch_bytes()]),
            Self::Diagonal { diagonals, features } => {
                let rows = y.chunks_exact_mut(diagonals.len().max(1)).zip(x.chunks_exact((*features).max(1)));
                for (y, x) in rows {
                    for (y, diagonal) in y.chunks_exact_mut(x.len()).zip(diagonals.chunks_exact(x.len())) {
                        y.iter_mut().zip(x).zip(diagonal).for_each(|((y, x), d)| *y = x * d);
                    }
                }
            }
        }
    }
}

multiversion! {
    /// `values = f(values)`.
    pub(crate) fn apply<F: Fn(f32) -> f32>(values: &mut [f32], f: &F) {
        for value in values {
            *value = f(*value);
        }
    }
}

/// The activation of every value.
pub(crate) fn activate(isa: Isa, activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::None => {}
        Activation::Tanh => apply(isa, values, &crate::math::tanh),
        Activation::Relu => apply(isa, values, &|x| Activation::Relu.apply(x)),
        Activation::ReluN1To1 => apply(isa, values, &|x| Activation::ReluN1To1.apply(x)),
        Activation::Relu6 => apply(isa, values, &|x| Activation::Relu6.apply(x)),
    }
}

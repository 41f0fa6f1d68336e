//! SVDF: a dense layer whose filters are split into one over features and one over time (P. Nakkiran et al., "Compressing Deep
//! Neural Networks using a Rank-Constrained Topology", 2015; LiteRT `reference/svdf.h`).
//!
//! The state holds the last `memory` products of each filter with the input; it is shifted by one and the newest product goes
//! last. The output is the sum over the rank of the products of state and time weights.

use crate::fully_connected::FullyConnectedGeometry;
use crate::integer_conv::{Bias, IntegerConv, Sums, Weights, scratch_bytes, typed_scratch};
use crate::numerics::{QuantParams, Quantized};
use crate::recurrent::{Product, RecurrentWeights, activate};
use crate::requantize::FixedPoint;
use crate::{Activation, Context, Isa, Unsupported};

const KERNEL: &str = "svdf";

/// Sizes of an SVDF layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SvdfGeometry {
    /// Rows of input and output.
    pub batch: usize,
    /// Elements of an input row.
    pub inputs: usize,
    /// Filters: units times rank.
    pub filters: usize,
    /// Filters that are added for one unit.
    pub rank: usize,
    /// Steps that a filter remembers.
    pub memory: usize,
}

impl SvdfGeometry {
    /// Elements of an output row.
    #[must_use]
    pub fn units(&self) -> usize {
        self.filters / self.rank.max(1)
    }

    fn check(&self, time: usize, bias: Option<usize>) -> Result<(), Unsupported> {
        let Self { batch, filters, rank, memory, .. } = *self;
        let state = batch.checked_mul(filters).and_then(|len| len.checked_mul(memory));
        if rank == 0 || memory == 0 || filters == 0 || !filters.is_multiple_of(rank) || state.is_none() {
            return Err(Unsupported::new(KERNEL, format!("sizes that do not fit: {self:?}")));
        }
        if Some(time) != filters.checked_mul(memory) || bias.is_some_and(|bias| bias != self.units()) {
            let reason = format!("{time} time weights and a bias of {bias:?} elements for {self:?}");
            return Err(Unsupported::new(KERNEL, reason));
        }
        Ok(())
    }
}

/// Makes room for the newest element of each filter.
fn shift<T: Copy>(state: &mut [T]) {
    if !state.is_empty() {
        state.copy_within(1.., 0);
    }
}

/// A planned layer with float activations.
#[derive(Debug, Clone)]
pub struct Svdf {
    geometry: SvdfGeometry,
    features: Product,
    time: Vec<f32>,
    bias: Option<Vec<f32>>,
    activation: Activation,
}

impl Svdf {
    /// Plans a layer: `features` is `filters inputs`, `time` is `filters memory`.
    ///
    /// # Errors
    /// Sizes that do not fit one another.
    pub fn new(
        geometry: SvdfGeometry,
        features: RecurrentWeights<'_>,
        time: RecurrentWeights<'_>,
        bias: Option<&[f32]>,
        activation: Activation,
        asymmetric_inputs: bool,
        isa: Isa,
    ) -> Result<Self, Unsupported> {
        geometry.check(time.len(), bias.map(<[f32]>::len))?;
        let SvdfGeometry { batch, inputs, filters, .. } = geometry;
        let features = Product::new(isa, KERNEL, [batch, inputs, filters], &[features], None, asymmetric_inputs)?;
        Ok(Self { geometry, features, time: time.dequantized(), bias: bias.map(<[f32]>::to_vec), activation })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        scratch_bytes::<f32>(self.geometry.batch * self.geometry.filters) + self.features.scratch_bytes()
    }

    /// Bytes of the packed weights.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        self.features.packed_bytes() + self.time.len() * 4
    }

    /// Runs one step. The state, `batch filters memory`, is read and then changed.
    ///
    /// # Panics
    /// If a buffer is too small.
    pub fn run(&self, ctx: Context<'_>, input: &[f32], output: &mut [f32], state: &mut [f32], scratch: &mut [u8]) {
        let SvdfGeometry { batch, filters, rank, memory, .. } = self.geometry;
        let (bytes, scratch) = scratch.split_at_mut(self.features.scratch_bytes());
        let products = &mut typed_scratch::<f32>(scratch)[..batch * filters];
        self.features.run(ctx, input, products, bytes);
        let state = &mut state[..batch * filters * memory];
        shift(state);
        for ((product, state), time) in
            products.iter_mut().zip(state.chunks_exact_mut(memory)).zip(self.time.chunks_exact(memory).cycle())
        {
            state[memory - 1] = *product;
            *product = state.iter().zip(time).map(|(x, w)| x * w).sum();
        }
        let units = self.geometry.units();
        for (index, (output, products)) in output.iter_mut().zip(products.chunks_exact(rank)).enumerate() {
            let bias = self.bias.as_ref().map_or(0.0, |bias| bias[index % units]);
            *output = products.iter().fold(bias, |sum, product| sum + product);
        }
        activate(ctx.isa, self.activation, output);
    }
}

/// An integer layer.
#[derive(Debug, Clone, Copy)]
pub struct QuantizedSvdfSpec<'a> {
    /// Of the int8 input.
    pub input: QuantParams,
    /// Of the int8 output.
    pub output: QuantParams,
    /// Scale of the state.
    pub state_scale: f32,
    /// `filters inputs`.
    pub features: &'a [i8],
    /// Scale of `features`.
    pub features_scale: f32,
    /// Scale of the time weights.
    pub time_scale: f32,
    /// One for each unit.
    pub bias: Option<&'a [i32]>,
}

/// A planned integer layer with state and time weights of type `S` (`i16`, or `i8` as LiteRT Micro has it too).
#[derive(Debug, Clone)]
pub struct QuantizedSvdf<S> {
    geometry: SvdfGeometry,
    features: IntegerConv,
    features_scale: FixedPoint,
    input_zero_point: i32,
    time: Vec<S>,
    bias: Option<Vec<i32>>,
    output_scale: FixedPoint,
    output_zero_point: i32,
}

impl<S: Quantized> QuantizedSvdf<S> {
    /// Plans a layer; `time` is `filters memory`.
    ///
    /// # Errors
    /// Sizes or scales that do not fit.
    pub fn new(geometry: SvdfGeometry, spec: &QuantizedSvdfSpec<'_>, time: &[S]) -> Result<Self, Unsupported> {
        geometry.check(time.len(), spec.bias.map(<[i32]>::len))?;
        spec.input.check::<i8>(KERNEL, "input")?;
        spec.output.check::<i8>(KERNEL, "output")?;
        let SvdfGeometry { batch, inputs, filters, .. } = geometry;
        let dense = FullyConnectedGeometry { batch, in_features: inputs, out_features: filters };
        dense.check()?;
        let reals = [
            spec.features_scale * spec.input.scale / spec.state_scale,
            spec.state_scale * spec.time_scale / spec.output.scale,
        ];
        if let Some(real) = reals.iter().find(|real| !(**real > 0.0 && real.is_finite())) {
            return Err(Unsupported::new(KERNEL, format!("the scales give the multiplier {real}")));
        }
        let [features_scale, output_scale] = reals.map(|real| FixedPoint::new(real.into()));
        Ok(Self {
            geometry,
            features: IntegerConv::new(dense.as_conv_2d(), Weights::I8(spec.features), 0, Bias::None)?,
            features_scale,
            input_zero_point: spec.input.zero_point,
            time: time.to_vec(),
            bias: spec.bias.map(<[i32]>::to_vec),
            output_scale,
            output_zero_point: spec.output.zero_point,
        })
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        scratch_bytes::<i32>(self.geometry.batch * self.geometry.filters)
            + scratch_bytes::<i16>(self.features.scratch_len())
    }

    /// Bytes of the packed weights.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        self.features.packed_bytes() + size_of_val(self.time.as_slice())
    }

    /// Runs one step. The state, `batch filters memory`, is read and then changed.
    ///
    /// # Panics
    /// If a buffer is too small.
    pub fn run(&self, ctx: Context<'_>, input: &[i8], output: &mut [i8], state: &mut [S], scratch: &mut [u8]) {
        let SvdfGeometry { batch, filters, rank, memory, .. } = self.geometry;
        let (wide, scratch) = scratch.split_at_mut(scratch_bytes::<i16>(self.features.scratch_len()));
        let products = &mut typed_scratch::<i32>(scratch)[..batch * filters];
        let store = |_: usize, _: usize, sums: Sums<'_>, out: &mut [i32]| {
            if let Sums::Narrow(sums) = sums {
                for (out, &sum) in out.iter_mut().zip(sums) {
                    *out = self.features_scale.round_twice(sum).clamp(S::MIN, S::MAX);
                }
            }
        };
        self.features.run(ctx, input, products, typed_scratch(wide), &|_| self.input_zero_point, &store);
        let state = &mut state[..batch * filters * memory];
        shift(state);
        for ((product, state), time) in
            products.iter_mut().zip(state.chunks_exact_mut(memory)).zip(self.time.chunks_exact(memory).cycle())
        {
            state[memory - 1] = S::narrow(*product);
            let terms = state.iter().zip(time).map(|(x, w)| x.widen().wrapping_mul(w.widen()));
            *product = terms.fold(0, i32::wrapping_add);
        }
        let units = self.geometry.units();
        for (index, (output, products)) in output.iter_mut().zip(products.chunks_exact(rank)).enumerate() {
            let bias = self.bias.as_ref().map_or(0, |bias| bias[index % units]);
            let sum = products.iter().fold(bias, |sum, &product| sum.wrapping_add(product));
            let value = self.output_scale.round_twice(sum).wrapping_add(self.output_zero_point);
            *output = value.clamp(i8::MIN.into(), i8::MAX.into()) as i8;
        }
    }
}

//! LSTM on float activations, with float or dynamic-range weights (LiteRT `kernels/lstm_eval.cc`, `EvalFloat`, `EvalHybrid`).

use super::{CELL, FORGET, Gates, INPUT, LstmGeometry, OUTPUT, expect_len};
use crate::dispatch::multiversion;
use crate::integer_conv::{scratch_bytes, typed_scratch};
use crate::math::logistic;
use crate::recurrent::{Product, RecurrentWeights, activate, apply};
use crate::{Activation, Context, Isa, Unsupported};

const KERNEL: &str = "lstm";

/// One gate of a layer with float activations.
#[derive(Debug, Clone, Copy)]
pub struct LstmGate<'a> {
    /// `cells inputs`.
    pub input: RecurrentWeights<'a>,
    /// `cells outputs`; or, for every gate, the `cells` elements of a diagonal matrix.
    pub recurrent: RecurrentWeights<'a>,
    /// One for each cell; not for the cell's new value.
    pub peephole: Option<RecurrentWeights<'a>>,
    /// Coefficients of the layer normalization, one for each cell; for all gates or none.
    pub norm: Option<&'a [f32]>,
    /// One for each cell.
    pub bias: &'a [f32],
}

/// A layer with float activations.
#[derive(Debug, Clone, Copy)]
pub struct LstmSpec<'a> {
    /// Weights of the gates.
    pub gates: Gates<LstmGate<'a>>,
    /// Whether the recurrent weights are diagonals.
    pub diagonal: bool,
    /// `outputs cells`.
    pub projection: Option<RecurrentWeights<'a>>,
    /// One for each output.
    pub projection_bias: Option<&'a [f32]>,
    /// Of the cell's new value and of the cells before the output gate; TANH in nearly all networks.
    pub activation: Activation,
    /// Largest magnitude of a cell; 0 for no limit.
    pub cell_clip: f32,
    /// Largest magnitude of a projected output; 0 for no limit.
    pub projection_clip: f32,
    /// Whether rows are quantized with a zero point where the weights are integers.
    pub asymmetric_inputs: bool,
}

/// A planned layer with float activations.
#[derive(Debug, Clone)]
pub struct Lstm {
    geometry: LstmGeometry,
    /// Steps whose input products are computed at once.
    ahead: usize,
    gates: usize,
    input: Product,
    recurrent: Product,
    projection: Option<Product>,
    /// In packed order.
    peepholes: Vec<Option<Vec<f32>>>,
    norms: Option<Vec<Norm>>,
    activation: Activation,
    cell_clip: f32,
    projection_clip: f32,
}

/// Layer normalization of one gate.
#[derive(Debug, Clone)]
struct Norm {
    coefficients: Vec<f32>,
    bias: Vec<f32>,
}

impl Lstm {
    /// Plans a layer.
    ///
    /// # Errors
    /// Sizes that do not fit one another.
    pub fn new(geometry: LstmGeometry, spec: &LstmSpec<'_>, isa: Isa) -> Result<Self, Unsupported> {
        geometry.check(KERNEL, spec.projection.is_some())?;
        let LstmGeometry { sequence, inputs, cells, outputs } = geometry;
        let gates: Vec<_> = spec.gates.packed().collect();
        let (together, count) = (sequence.together(), gates.len());
        let ahead = sequence.ahead(count * cells * 4);
        for gate in &gates {
            expect_len(KERNEL, "the bias of a gate", gate.bias.len(), cells)?;
        }
        let normed = gates.iter().all(|gate| gate.norm.is_some());
        if !normed && gates.iter().any(|gate| gate.norm.is_some()) {
            return Err(Unsupported::new(KERNEL, "layer normalization of some gates only"));
        }
        let bias = |gate: &&LstmGate<'_>| gate.bias.to_vec();
        let input_bias = (!normed).then(|| gates.iter().flat_map(bias).collect());
        let parts: Vec<_> = gates.iter().map(|gate| gate.input).collect();
        let asymmetric = spec.asymmetric_inputs;
        let input = Product::new(isa, KERNEL, [ahead * together, inputs, cells], &parts, input_bias, asymmetric)?;
        let parts: Vec<_> = gates.iter().map(|gate| gate.recurrent).collect();
        let recurrent = if spec.diagonal {
            expect_len(KERNEL, "an output row with recurrent diagonals", outputs, cells)?;
            for part in &parts {
                expect_len(KERNEL, "a recurrent diagonal", part.len(), cells)?;
            }
            let diagonals = parts.iter().flat_map(RecurrentWeights::dequantized).collect();
            Product::Diagonal { diagonals, features: outputs }
        } else {
            Product::new(isa, KERNEL, [together, outputs, cells], &parts, None, asymmetric)?
        };
        let projection = match spec.projection {
            Some(weights) => {
                let bias = spec.projection_bias.map(<[f32]>::to_vec);
                if let Some(bias) = &bias {
                    expect_len(KERNEL, "the bias of the projection", bias.len(), outputs)?;
                }
                Some(Product::new(isa, KERNEL, [together, cells, outputs], &[weights], bias, asymmetric)?)
            }
            None => None,
        };
        let mut peepholes = Vec::with_capacity(count);
        let mut norms = Vec::new();
        for gate in &gates {
            if let Some(peephole) = &gate.peephole {
                expect_len(KERNEL, "a peephole", peephole.len(), cells)?;
            }
            peepholes.push(gate.peephole.map(|weights| weights.dequantized()));
            if let Some(norm) = gate.norm {
                expect_len(KERNEL, "a layer normalization", norm.len(), cells)?;
                norms.push(Norm { coefficients: norm.to_vec(), bias: gate.bias.to_vec() });
            }
        }
        Ok(Self {
            geometry,
            ahead,
            gates: count,
            input,
            recurrent,
            projection,
            peepholes,
            norms: normed.then_some(norms),
            activation: spec.activation,
            cell_clip: spec.cell_clip,
            projection_clip: spec.projection_clip,
        })
    }

    /// f32 elements of scratch: input products, recurrent products, and what the projection reads.
    fn scratch_floats(&self) -> [usize; 3] {
        let (together, cells) = (self.geometry.sequence.together(), self.geometry.cells);
        let row = self.gates * cells;
        [self.ahead * together * row, together * row, together * cells]
    }

    fn product_bytes(&self) -> usize {
        let products = [Some(&self.input), Some(&self.recurrent), self.projection.as_ref()];
        products.into_iter().flatten().map(Product::scratch_bytes).max().unwrap_or(0)
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        scratch_bytes::<f32>(self.scratch_floats().iter().sum()) + self.product_bytes()
    }

    /// Bytes of the packed weights.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        let products = [Some(&self.input), Some(&self.recurrent), self.projection.as_ref()];
        products.into_iter().flatten().map(Product::packed_bytes).sum()
    }

    /// Runs all steps. Rows of `input` have `inputs` elements; output row `r` begins at `r * stride` of `output`. The states
    /// are `batch outputs` and `batch cells`, read and then changed.
    ///
    /// # Panics
    /// If a buffer is too small.
    pub fn run(
        &self,
        ctx: Context<'_>,
        input: &[f32],
        output: &mut [f32],
        stride: usize,
        states: [&mut [f32]; 2],
        scratch: &mut [u8],
    ) {
        let LstmGeometry { sequence, inputs, cells, outputs } = self.geometry;
        let [hidden, cell] = states;
        let together = sequence.together();
        let (bytes, scratch) = scratch.split_at_mut(self.product_bytes());
        let floats = typed_scratch::<f32>(scratch);
        let [products, sums, _] = self.scratch_floats();
        let (products, floats) = floats.split_at_mut(products);
        let (sums, plain) = floats.split_at_mut(sums);
        let row = self.gates * cells;
        for group in 0..sequence.groups() {
            let hidden = &mut hidden[group * together * outputs..][..together * outputs];
            let cell = &mut cell[group * together * cells..][..together * cells];
            for first in sequence.chunks(group, self.ahead) {
                let rows = self.ahead * together;
                self.input.run(ctx, &input[first * inputs..][..rows * inputs], products, bytes);
                for step in sequence.steps_of(self.ahead) {
                    let products = &products[step * together * row..][..together * row];
                    self.step(ctx, products, hidden, cell, sums, &mut plain[..together * cells], bytes);
                    for (index, hidden) in hidden.chunks_exact(outputs.max(1)).enumerate() {
                        output[(first + step * together + index) * stride..][..outputs].copy_from_slice(hidden);
                    }
                }
            }
        }
    }

    fn step(
        &self,
        ctx: Context<'_>,
        products: &[f32],
        hidden: &mut [f32],
        cell: &mut [f32],
        sums: &mut [f32],
        plain: &mut [f32],
        bytes: &mut [u8],
    ) {
        let (cells, isa) = (self.geometry.cells, ctx.isa);
        self.recurrent.run(ctx, hidden, sums, bytes);
        add(isa, products, sums);
        let rows = sums.chunks_exact_mut((self.gates * cells).max(1));
        for ((sums, cell), plain) in rows.zip(cell.chunks_exact_mut(cells)).zip(plain.chunks_exact_mut(cells)) {
            let (forget, rest) = sums.split_at_mut(cells);
            let (new, rest) = rest.split_at_mut(cells);
            let (output, input) = rest.split_at_mut(cells);
            self.gate(isa, FORGET, cell, forget);
            self.normalize(isa, CELL, new);
            activate(isa, self.activation, new);
            if input.is_empty() {
                update_coupled(isa, forget, new, cell);
            } else {
                self.gate(isa, INPUT, cell, input);
                update(isa, forget, input, new, cell);
            }
            clip(isa, self.cell_clip, cell);
            self.gate(isa, OUTPUT, cell, output);
            plain.copy_from_slice(cell);
            activate(isa, self.activation, plain);
            multiply(isa, output, plain);
        }
        match &self.projection {
            Some(projection) => {
                projection.run(ctx, plain, hidden, bytes);
                clip(isa, self.projection_clip, hidden);
            }
            None => hidden.copy_from_slice(plain),
        }
    }

    fn gate(&self, isa: Isa, gate: usize, cell: &[f32], sums: &mut [f32]) {
        if let Some(Some(peephole)) = self.peepholes.get(gate) {
            multiply_add(isa, peephole, cell, sums);
        }
        self.normalize(isa, gate, sums);
        apply(isa, sums, &logistic);
    }

    fn normalize(&self, isa: Isa, gate: usize, sums: &mut [f32]) {
        if let Some(norm) = self.norms.as_ref().and_then(|norms| norms.get(gate)) {
            normalize(isa, &norm.coefficients, &norm.bias, sums);
        }
    }
}

fn clip(isa: Isa, limit: f32, values: &mut [f32]) {
    if limit > 0.0 {
        apply(isa, values, &move |x: f32| x.min(limit).max(-limit));
    }
}

multiversion! {
    fn add<>(x: &[f32], sums: &mut [f32]) {
        sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
    }
}

multiversion! {
    fn multiply<>(x: &[f32], products: &mut [f32]) {
        products.iter_mut().zip(x).for_each(|(product, x)| *product *= x);
    }
}

multiversion! {
    fn multiply_add<>(x: &[f32], y: &[f32], sums: &mut [f32]) {
        sums.iter_mut().zip(x).zip(y).for_each(|((sum, x), y)| *sum += x * y);
    }
}

multiversion! {
    fn update<>(forget: &[f32], input: &[f32], new: &[f32], cell: &mut [f32]) {
        for ((cell, forget), (input, new)) in cell.iter_mut().zip(forget).zip(input.iter().zip(new)) {
            *cell = *cell * forget + new * input;
        }
    }
}

multiversion! {
    fn update_coupled<>(forget: &[f32], new: &[f32], cell: &mut [f32]) {
        for ((cell, forget), new) in cell.iter_mut().zip(forget).zip(new) {
            *cell = *cell * forget + new * (1.0 - forget);
        }
    }
}

multiversion! {
    /// Mean 0 and variance 1, times the coefficients, plus the bias.
    fn normalize<>(coefficients: &[f32], bias: &[f32], values: &mut [f32]) {
        let count = values.len() as f32;
        let mean = values.iter().sum::<f32>() / count;
        let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / count;
        let inverse = 1.0 / (variance + 1e-8).sqrt();
        for ((value, coefficient), bias) in values.iter_mut().zip(coefficients).zip(bias) {
            *value = (*value - mean) * inverse * coefficient + bias;
        }
    }
}

//! LSTM on int8 activations with int16 cells (LiteRT `kernels/lstm_eval.cc`, `EvalInteger8x8_16`; both modes run it).

use super::{CELL, FORGET, Gates, INPUT, LstmGeometry, OUTPUT, expect_len};
use crate::fixed_point;
use crate::fully_connected::FullyConnectedGeometry;
use crate::integer_conv::{Bias, IntegerConv, Sums, Weights, scratch_bytes, typed_scratch};
use crate::numerics::QuantParams;
use crate::requantize::{FixedPoint, OutputStage, Rounding, rounding_shift_right};
use crate::{Context, Unsupported};

const KERNEL: &str = "lstm";

/// Elements whose scale is that of the whole tensor, zero point 0.
#[derive(Debug, Clone, Copy)]
pub struct Scaled<'a, T> {
    /// The elements.
    pub data: &'a [T],
    /// Real units per step.
    pub scale: f32,
}

/// One gate of an integer layer.
#[derive(Debug, Clone, Copy)]
pub struct QuantizedGate<'a> {
    /// `cells inputs`.
    pub input: Scaled<'a, i8>,
    /// `cells outputs`.
    pub recurrent: Scaled<'a, i8>,
    /// One for each cell; not for the cell's new value.
    pub peephole: Option<Scaled<'a, i16>>,
    /// Coefficients of the layer normalization, one for each cell, and the scale of what is normalized.
    pub norm: Option<(Scaled<'a, i16>, f32)>,
    /// One for each cell.
    pub bias: &'a [i32],
}

/// The projection of an integer layer.
#[derive(Debug, Clone, Copy)]
pub struct QuantizedProjection<'a> {
    /// `outputs cells`.
    pub weights: Scaled<'a, i8>,
    /// One for each output.
    pub bias: Option<&'a [i32]>,
}

/// An integer layer.
#[derive(Debug, Clone, Copy)]
pub struct QuantizedLstmSpec<'a> {
    /// Of the input.
    pub input: QuantParams,
    /// Of the output, and of the output of the step before.
    pub output: QuantParams,
    /// Of the output gate times the activated cells.
    pub hidden: QuantParams,
    /// The scale of the cells is 2 to this power.
    pub cell_exponent: i32,
    /// Weights of the gates.
    pub gates: Gates<QuantizedGate<'a>>,
    /// Of the output.
    pub projection: Option<QuantizedProjection<'a>>,
    /// Largest magnitude of a cell; 0 for no limit.
    pub cell_clip: f32,
    /// Largest magnitude of a projected output; 0 for no limit.
    pub projection_clip: f32,
}

/// A planned integer layer.
#[derive(Debug, Clone)]
pub struct QuantizedLstm {
    geometry: LstmGeometry,
    ahead: usize,
    gates: usize,
    input: IntegerConv,
    input_stage: OutputStage,
    input_zero_point: i32,
    recurrent: IntegerConv,
    /// One for each column of the recurrent products.
    recurrent_scales: Vec<FixedPoint>,
    output_zero_point: i32,
    /// In packed order.
    peepholes: Vec<Option<Peephole>>,
    norms: Option<Vec<Norm>>,
    cell_exponent: i32,
    cell_clip: i16,
    hidden_scale: FixedPoint,
    hidden_zero_point: i32,
    projection: Option<(IntegerConv, OutputStage)>,
    projection_clip: i8,
}

#[derive(Debug, Clone)]
struct Peephole {
    weights: Vec<i16>,
    scale: FixedPoint,
}

#[derive(Debug, Clone)]
struct Norm {
    coefficients: Vec<i16>,
    bias: Vec<i32>,
    scale: FixedPoint,
    least_variance: i32,
}

impl QuantizedLstm {
    /// Plans a layer.
    ///
    /// # Errors
    /// Sizes that do not fit one another, scales that are not above 0, a cell scale outside `2^-15` to `2^-9`, and what LiteRT
    /// computes from memory outside its tensors: peepholes with a projection to more outputs than cells.
    pub fn new(geometry: LstmGeometry, spec: &QuantizedLstmSpec<'_>) -> Result<Self, Unsupported> {
        geometry.check(KERNEL, spec.projection.is_some())?;
        let LstmGeometry { sequence, inputs, cells, outputs } = geometry;
        for (params, tensor) in [(spec.input, "input"), (spec.output, "output"), (spec.hidden, "hidden")] {
            params.check::<i8>(KERNEL, tensor)?;
        }
        if !(-15..=-9).contains(&spec.cell_exponent) {
            let reason = format!("a cell scale of 2^{}, expected 2^-15 to 2^-9", spec.cell_exponent);
            return Err(Unsupported::new(KERNEL, reason));
        }
        let gates: Vec<_> = spec.gates.packed().collect();
        let (together, count) = (sequence.together(), gates.len());
        let ahead = sequence.ahead(count * cells * 2);
        let normed = gates.iter().all(|gate| gate.norm.is_some());
        if !normed && gates.iter().any(|gate| gate.norm.is_some()) {
            return Err(Unsupported::new(KERNEL, "layer normalization of some gates only"));
        }
        let (mut weights, mut scales) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        let (mut peepholes, mut norms, mut bias) = (Vec::new(), Vec::new(), Vec::new());
        for gate in &gates {
            expect_len(KERNEL, "the bias of a gate", gate.bias.len(), cells)?;
            let columns = [inputs, outputs];
            for ((part, columns), weights) in [gate.input, gate.recurrent].iter().zip(columns).zip(&mut weights) {
                expect_len(KERNEL, "a weight matrix", part.data.len(), cells.saturating_mul(columns))?;
                weights.extend_from_slice(part.data);
            }
            // Without normalization the gates are Q3.12.
            let scale = gate.norm.map_or(2f32.powi(-12), |(_, scale)| scale);
            let products = [gate.input.scale * spec.input.scale, gate.recurrent.scale * spec.output.scale];
            for (product, scales) in products.iter().zip(&mut scales) {
                let scaled = multiplier("a gate", product / scale)?;
                scales.extend(std::iter::repeat_n(scaled, cells));
            }
            if !normed {
                bias.extend_from_slice(gate.bias);
            }
            if let Some((norm, _)) = gate.norm {
                expect_len(KERNEL, "a layer normalization", norm.data.len(), cells)?;
                norms.push(Norm {
                    coefficients: norm.data.to_vec(),
                    bias: gate.bias.to_vec(),
                    scale: multiplier("a layer normalization", norm.scale)?,
                    least_variance: ((10_000.0 * norm.scale) as i32).max(1),
                });
            }
            peepholes.push(match gate.peephole {
                Some(peephole) => {
                    expect_len(KERNEL, "a peephole", peephole.data.len(), cells)?;
                    if outputs > cells {
                        return Err(Unsupported::new(
                            KERNEL,
                            format!("peepholes with {outputs} outputs of {cells} cells"),
                        ));
                    }
                    let real = 2f64.powi(spec.cell_exponent) * f64::from(peephole.scale) / f64::from(scale);
                    Some(Peephole { weights: peephole.data.to_vec(), scale: multiplier("a peephole", real as f32)? })
                }
                None => None,
            });
        }
        let product = |rows: usize, in_features: usize, out_features: usize, weights: &[i8], bias: Bias<'_>| {
            let geometry = FullyConnectedGeometry { batch: rows, in_features, out_features };
            geometry.check()?;
            IntegerConv::new(geometry.as_conv_2d(), Weights::I8(weights), 0, bias)
        };
        let [input_weights, recurrent_weights] = weights;
        let [input_scales, recurrent_scales] = scales;
        let input_bias = if normed { Bias::None } else { Bias::I32(&bias) };
        let input = product(ahead * together, inputs, count * cells, &input_weights, input_bias)?;
        let recurrent = product(together, outputs, count * cells, &recurrent_weights, Bias::None)?;
        let input_stage = OutputStage {
            rounding: Rounding::Reference(input_scales),
            zero_point: 0,
            min: i16::MIN.into(),
            max: i16::MAX.into(),
        };
        let projection = match &spec.projection {
            Some(projection) => {
                expect_len(KERNEL, "the projection", projection.weights.data.len(), cells.saturating_mul(outputs))?;
                let bias = projection.bias.map_or(Bias::None, Bias::I32);
                let conv = product(together, cells, outputs, projection.weights.data, bias)?;
                let real = projection.weights.scale * spec.hidden.scale / spec.output.scale;
                let stage = OutputStage {
                    rounding: Rounding::Reference(vec![multiplier("the projection", real)?; outputs]),
                    zero_point: spec.output.zero_point,
                    min: i8::MIN.into(),
                    max: i8::MAX.into(),
                };
                Some((conv, stage))
            }
            None => None,
        };
        let hidden_scale = 2f64.powi(-15) / f64::from(spec.hidden.scale) * 2f64.powi(-15);
        let cell_scale = 2f32.powi(spec.cell_exponent);
        let cell_clip = (spec.cell_clip / cell_scale).clamp(-32768.0, 32767.0) as i16;
        Ok(Self {
            geometry,
            ahead,
            gates: count,
            input,
            input_stage,
            input_zero_point: spec.input.zero_point,
            recurrent,
            recurrent_scales,
            output_zero_point: spec.output.zero_point,
            peepholes,
            norms: normed.then_some(norms),
            cell_exponent: spec.cell_exponent,
            cell_clip: if spec.cell_clip > 0.0 { cell_clip } else { 0 },
            hidden_scale: multiplier("the hidden values", hidden_scale as f32)?,
            hidden_zero_point: spec.hidden.zero_point,
            projection,
            projection_clip: match spec.projection_clip > 0.0 {
                true => (spec.projection_clip / spec.output.scale).clamp(-128.0, 127.0) as i8,
                false => 0,
            },
        })
    }

    fn lens(&self) -> [usize; 5] {
        let (together, cells) = (self.geometry.sequence.together(), self.geometry.cells);
        let row = self.gates * cells;
        let convs = [Some(&self.input), Some(&self.recurrent), self.projection.as_ref().map(|(conv, _)| conv)];
        let wide = convs.into_iter().flatten().map(IntegerConv::scratch_len).max().unwrap_or(0);
        [self.ahead * together * row, together * row, together * row, together * cells, wide]
    }

    /// Bytes of scratch that [`Self::run`] needs, whatever the alignment.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        let [products, sums, gates, plain, wide] = self.lens();
        scratch_bytes::<i32>(sums) + scratch_bytes::<i16>(products + gates + wide) + plain
    }

    /// Bytes of the packed weights.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        let projection = self.projection.as_ref().map_or(0, |(conv, _)| conv.packed_bytes());
        self.input.packed_bytes() + self.recurrent.packed_bytes() + projection
    }

    /// Runs all steps. `input` has rows of `inputs` elements, `output` of `outputs`. The states are `batch outputs` and `batch
    /// cells`, read and then changed.
    ///
    /// # Panics
    /// If a buffer is too small.
    pub fn run(
        &self,
        ctx: Context<'_>,
        input: &[i8],
        output: &mut [i8],
        hidden: &mut [i8],
        cell: &mut [i16],
        scratch: &mut [u8],
    ) {
        let LstmGeometry { sequence, inputs, cells, outputs } = self.geometry;
        let together = sequence.together();
        let [products, sums, gates, plain, wide] = self.lens();
        let (plain, scratch) = scratch.split_at_mut(plain);
        let (narrow, scratch) = scratch.split_at_mut(scratch_bytes::<i16>(products + gates + wide));
        let narrow = typed_scratch::<i16>(narrow);
        let (products, narrow) = narrow.split_at_mut(products);
        let (gates, wide) = narrow.split_at_mut(gates);
        let mut work = Work {
            sums: &mut typed_scratch::<i32>(scratch)[..sums],
            gates,
            plain: bytemuck::cast_slice_mut(plain),
            wide,
        };
        let row = self.gates * cells;
        for group in 0..sequence.groups() {
            let hidden = &mut hidden[group * together * outputs..][..together * outputs];
            let cell = &mut cell[group * together * cells..][..together * cells];
            for first in sequence.chunks(group, self.ahead) {
                let rows = self.ahead * together;
                let store = |_: usize, channel: usize, sums: Sums<'_>, out: &mut [i16]| {
                    if let Sums::Narrow(sums) = sums {
                        self.input_stage.store(ctx.isa, sums, channel, out);
                    }
                };
                let input = &input[first * inputs..][..rows * inputs];
                self.input.run(ctx, input, products, work.wide, &|_| self.input_zero_point, &store);
                for step in sequence.steps_of(self.ahead) {
                    let products = &products[step * together * row..][..together * row];
                    self.step(ctx, products, hidden, cell, &mut work);
                    let at = (first + step * together) * outputs;
                    output[at..at + hidden.len()].copy_from_slice(hidden);
                }
            }
        }
    }

    fn step(&self, ctx: Context<'_>, products: &[i16], hidden: &mut [i8], cell: &mut [i16], work: &mut Work<'_>) {
        let cells = self.geometry.cells;
        let store = |_: usize, channel: usize, sums: Sums<'_>, out: &mut [i32]| {
            if let Sums::Narrow(sums) = sums {
                let scales = &self.recurrent_scales[channel..];
                for ((out, &sum), scale) in out.iter_mut().zip(sums).zip(scales) {
                    *out = scale.round_twice(sum);
                }
            }
        };
        self.recurrent.run(ctx, hidden, work.sums, work.wide, &|_| self.output_zero_point, &store);
        // Gates of all rows one after the other, as the peepholes run over rows.
        let (row, together) = (self.gates * cells, self.geometry.sequence.together());
        let gate_len = together * cells;
        for (gate, values) in work.gates.chunks_exact_mut(gate_len).enumerate() {
            for (index, values) in values.chunks_exact_mut(cells).enumerate() {
                let at = index * row + gate * cells;
                let (products, sums) = (&products[at..at + cells], &work.sums[at..at + cells]);
                for ((value, &product), &sum) in values.iter_mut().zip(products).zip(sums) {
                    *value = saturate(sum.wrapping_add(product.into()));
                }
            }
        }
        let (forget, rest) = work.gates.split_at_mut(gate_len);
        let (new, rest) = rest.split_at_mut(gate_len);
        let (output, input) = rest.split_at_mut(gate_len);
        self.gate(FORGET, cell, forget);
        self.normalize(CELL, new);
        new.iter_mut().for_each(|x| *x = fixed_point::tanh::<16>((*x).into(), 3) as i16);
        let shift = (30 + self.cell_exponent) as u32;
        if input.is_empty() {
            for ((cell, &forget), &new) in cell.iter_mut().zip(&*forget).zip(&*new) {
                let kept = shifted_product(forget, *cell, 15);
                *cell = saturate(i32::from(kept) + i32::from(shifted_product(i16::MAX - forget, new, shift)));
            }
        } else {
            self.gate(INPUT, cell, input);
            for ((cell, &forget), (&input, &new)) in cell.iter_mut().zip(&*forget).zip(input.iter().zip(&*new)) {
                let kept = shifted_product(forget, *cell, 15);
                *cell = saturate(i32::from(kept) + i32::from(shifted_product(input, new, shift)));
            }
        }
        if self.cell_clip > 0 {
            cell.iter_mut().for_each(|cell| *cell = (*cell).clamp(-self.cell_clip, self.cell_clip));
        }
        self.gate(OUTPUT, cell, output);
        self.output(ctx, output, cell, hidden, work.plain, work.wide);
    }

    fn output(
        &self,
        ctx: Context<'_>,
        gate: &[i16],
        cell: &[i16],
        hidden: &mut [i8],
        plain: &mut [i8],
        wide: &mut [i16],
    ) {
        let bits = (15 + self.cell_exponent) as u32;
        // LiteRT's projection takes the zero point with the other sign, here and in the bias.
        let zero_point = if self.projection.is_some() { -self.hidden_zero_point } else { self.hidden_zero_point };
        for ((plain, &gate), &cell) in plain.iter_mut().zip(gate).zip(cell) {
            let product = i32::from(gate) * fixed_point::tanh::<16>(cell.into(), bits);
            let value = self.hidden_scale.round_twice(product).wrapping_add(zero_point);
            *plain = value.clamp(i8::MIN.into(), i8::MAX.into()) as i8;
        }
        let Some((conv, stage)) = &self.projection else {
            hidden.copy_from_slice(plain);
            return;
        };
        let store = |_: usize, channel: usize, sums: Sums<'_>, out: &mut [i8]| {
            if let Sums::Narrow(sums) = sums {
                stage.store(ctx.isa, sums, channel, out);
            }
        };
        conv.run(ctx, plain, hidden, wide, &|_| zero_point, &store);
        if self.projection_clip > 0 {
            hidden.iter_mut().for_each(|x| *x = (*x).clamp(-self.projection_clip, self.projection_clip));
        }
    }

    /// A gate with a logistic function.
    fn gate(&self, gate: usize, cell: &[i16], values: &mut [i16]) {
        if let Some(Some(peephole)) = self.peepholes.get(gate) {
            // LiteRT steps by outputs, not by cells: with a projection to fewer, the last cells have no peephole, and those of
            // later rows are shifted.
            let outputs = self.geometry.outputs;
            for (values, cell) in
                values.chunks_exact_mut(outputs).zip(cell.chunks_exact(outputs)).take(self.geometry.sequence.together())
            {
                peephole.add(&cell[..outputs], values);
            }
        }
        self.normalize(gate, values);
        values.iter_mut().for_each(|x| *x = fixed_point::logistic::<16>((*x).into(), 3) as i16);
    }

    fn normalize(&self, gate: usize, values: &mut [i16]) {
        if let Some(norm) = self.norms.as_ref().and_then(|norms| norms.get(gate)) {
            values.chunks_exact_mut(self.geometry.cells).for_each(|row| norm.apply(row));
        }
    }
}

struct Work<'a> {
    sums: &'a mut [i32],
    gates: &'a mut [i16],
    plain: &'a mut [i8],
    wide: &'a mut [i16],
}

impl Peephole {
    /// Blocks of 16 round as vector instructions do, the rest as plain ones (LiteRT `optimized/neon_tensor_utils.cc`,
    /// `NeonVectorBatchVectorCwiseProductAccumulate`, by `NEON_2_SSE.h`).
    fn add(&self, cell: &[i16], values: &mut [i16]) {
        let blocks = values.len() / 16 * 16;
        for (index, ((value, &weight), &cell)) in values.iter_mut().zip(&self.weights).zip(cell).enumerate() {
            let product = i32::from(weight) * i32::from(cell);
            let scaled =
                if index < blocks { self.scale.round_up_twice(product) } else { self.scale.round_twice(product) };
            *value = saturate(scaled.wrapping_add((*value).into()));
        }
    }
}

impl Norm {
    /// LiteRT `reference/portable_tensor_utils.cc`, `PortableApplyLayerNorm`: mean and variance with 10 fraction bits.
    fn apply(&self, values: &mut [i16]) {
        let count = values.len() as i64;
        let sum: i64 = values.iter().map(|&x| i64::from(x)).sum();
        let squares: i64 = values.iter().map(|&x| i64::from(x) * i64::from(x)).sum();
        let mean = (sum * 1024 / count) as i32;
        let variance = squares * ((1 << 20) / count) - i64::from(mean) * i64::from(mean);
        let variance = (variance / (1 << 20)) as i32;
        let inverse = fixed_point::inverse_square_root(if variance < 1 { self.least_variance } else { variance });
        let scale = FixedPoint { shift: self.scale.shift + 12, ..self.scale };
        for ((value, &coefficient), &bias) in values.iter_mut().zip(&self.coefficients).zip(&self.bias) {
            let centered = 1024 * i32::from(*value) - mean;
            let scaled = inverse.round_twice(centered);
            let weighted = i64::from(scaled.wrapping_mul(coefficient.into()).wrapping_add(bias));
            let half = if weighted > 0 { 512 } else { -512 };
            let rounded = ((weighted + half) / 1024) as i32;
            *value = saturate(scale.round_twice(rounded));
        }
    }
}

fn saturate(x: i32) -> i16 {
    x.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// `a * b / 2^shift`, halves away from zero.
fn shifted_product(a: i16, b: i16, shift: u32) -> i16 {
    rounding_shift_right(i32::from(a) * i32::from(b), shift) as i16
}

fn multiplier(what: &str, real: f32) -> Result<FixedPoint, Unsupported> {
    if real > 0.0 && real.is_finite() {
        return Ok(FixedPoint::new(real.into()));
    }
    Err(Unsupported::new(KERNEL, format!("the scales of {what} give the multiplier {real}")))
}

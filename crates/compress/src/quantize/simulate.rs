//! Simulated quantization: a float graph gets fake quantization wherever [`quantize`](super::quantize()) would hold
//! integers, so that training sees what the integer model computes (Jacob et al., "Quantization and Training of Neural
//! Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018). Which tensors share parameters, which ops stay float
//! and what the kernels prescribe is decided by the same code. Afterwards the ranges and scales are read out of the graph,
//! and nothing is calibrated again: what is exported is what was simulated.

use std::collections::BTreeMap;

use litesmith_graph::ops::{FakeQuantize, FakeQuantizeWeights, QuantizationRule as Rule, Ties};
use litesmith_graph::{DType, Data, Error, Graph, Node, Op, Result, Tensor, TensorId};
use litesmith_kernels::grid::{
    Channels, int8_parameters, raise_scales_for_bias, scale_of_step, stretched_range, weight_scales,
};

use super::full_integer::{BothGroups, Role, is_activation};
use super::groups::Groups;
use super::{Decision, Granularity, QuantizeOptions, Scheme, full_integer, params, supported_choices};
use crate::{Range, Ranges};

/// How scales come about while training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Simulation {
    /// From the largest weights of the moment, and for activations from a moving average of the smallest and largest value
    /// of each batch, of which each update keeps `momentum` (Jacob et al., 2018).
    StraightThrough {
        /// In `0.0..1.0`.
        momentum: f32,
    },
    /// They learn with the weights (Esser et al., "Learned Step Size Quantization", 2020). Zero points keep the value that
    /// calibration gave.
    LearnedStep,
}

/// `graph` with fake quantization where `options` would quantize it, starting from the calibrated `ranges` of its tensors.
/// Dropout may still be in it. What it is trained to be, [`simulated`] reads back.
///
/// # Errors
/// Those of [`decide`](super::decide); [`Error::Unsupported`] for another scheme than int8.
pub fn simulate(graph: &Graph, options: &QuantizeOptions, simulation: Simulation, ranges: &Ranges) -> Result<Graph> {
    if options.scheme != Scheme::Int8 || options.rules.iter().any(|rule| rule.scheme == Some(Scheme::Int16x8)) {
        return Err(Error::unsupported("simulate", "only int8 activations can be simulated")
            .with_hint("quantize to other types after training"));
    }
    let bare = without_dropout(graph);
    super::check_options(&bare, options)?;
    super::check_float(&bare)?;
    let (choices, _) = supported_choices(&bare, options)?;
    let ranges = ranges.clone().settled();
    let roles = full_integer::roles(&bare, &choices);
    let groups = full_integer::groups(&bare, options, &ranges, &roles, &mut Decision::default())?;
    let stored = full_integer::stored(&bare, options, &roles);
    let mut result = graph.clone();
    result.nodes.clear();
    let mut builder = Builder {
        graph,
        simulation,
        groups: &groups,
        stored: &stored,
        result,
        held: (0..graph.tensors.len()).map(TensorId).collect(),
        points: BTreeMap::new(),
        operands: BTreeMap::new(),
    };
    for &input in graph.inputs.iter().filter(|id| is_activation(graph, **id)) {
        if stored[input.0].is_some() {
            // What the samples span is known; it neither moves nor learns.
            builder.hold(input, FakeQuantize { momentum: None, ties: Ties::Even })?;
        }
    }
    let mut bare_index = 0;
    for (index, node) in graph.nodes.iter().enumerate() {
        if let Op::Dropout(_) = node.op {
            let inputs = node.inputs.iter().map(|id| id.map(|id| builder.held[id.0])).collect();
            builder.result.nodes.push(Node { inputs, ..node.clone() });
            // The groups know only what dropout reads.
            continue;
        }
        let is_last = graph.outputs.iter().any(|id| node.outputs.contains(id));
        builder
            .node(node, &bare.nodes[bare_index], &roles[bare_index], &choices[bare_index], is_last)
            .map_err(|error| error.at(graph.place(index)))?;
        bare_index += 1;
    }
    builder.result.outputs = graph.outputs.iter().map(|id| builder.held[id.0]).collect();
    builder.result.check()?;
    Ok(builder.result)
}

/// The graph behind a simulation, and the parameters that were simulated, for [`quantize`](super::quantize()) with the
/// same options.
///
/// # Errors
/// [`Error::Malformed`] for fake quantization without constants.
pub fn simulated(graph: &Graph) -> Result<(Graph, Ranges)> {
    let mut result = graph.clone();
    result.nodes.clear();
    let mut ranges = Ranges::default().settled();
    let mut real: Vec<TensorId> = (0..graph.tensors.len()).map(TensorId).collect();
    for (index, node) in graph.nodes.iter().enumerate() {
        let first = || node.inputs.first().copied().flatten();
        let constant = |input: usize| match node.inputs.get(input).copied().flatten() {
            Some(id) => params::finite_elements(graph.tensor(id)).map(Some),
            None => Ok(None),
        };
        let at = |error: Error| error.at(graph.place(index));
        match (&node.op, first(), node.outputs.first()) {
            (Op::FakeQuantize(_), Some(input), Some(&output)) => {
                let input = real[input.0];
                real[output.0] = input;
                let range = range_of(constant(1).map_err(at)?, constant(2).map_err(at)?).map_err(at)?;
                if ranges.get(input).is_none() {
                    ranges.insert(input, range);
                }
                // What is joined is read in the parameters of the result.
                for reader in graph.consumers(output) {
                    let reader = &graph.nodes[reader];
                    if let (Rule::Join, Some(&joined)) = (reader.op.quantization().rule, reader.outputs.first()) {
                        ranges.insert(joined, range);
                    }
                }
            }
            (Op::FakeQuantizeWeights(op), Some(weights), _) => {
                for (&output, &input) in node.outputs.iter().zip(&node.inputs) {
                    real[output.0] = input.unwrap_or(output);
                }
                if !op.operand {
                    let values = constant(0).map_err(at)?.unwrap_or_default();
                    let input = match constant(2).map_err(at)? {
                        Some(range) => Some(range_of(Some(range), constant(3).map_err(at)?).map_err(at)?),
                        None => None,
                    };
                    let (bias, steps) = (constant(1).map_err(at)?, constant(4).map_err(at)?);
                    let channels = Channels::new(&graph.tensor(weights).shape, op.axis);
                    let mut scales = match steps {
                        Some(steps) => steps.iter().map(|&step| scale_of_step(step.into())).collect(),
                        None => weight_scales(values, channels, op.limit()),
                    };
                    if let (Some(bias), Some(input)) = (bias, input) {
                        raise_scales_for_bias(&mut scales, bias, int8_parameters(input.min, input.max).0);
                    }
                    ranges.insert_scales(weights, scales);
                }
            }
            _ => {
                let inputs = node.inputs.iter().map(|id| id.map(|id| real[id.0])).collect();
                result.nodes.push(Node { inputs, ..node.clone() });
            }
        }
    }
    result.outputs = graph.outputs.iter().map(|id| real[id.0]).collect();
    // Tensors keep their numbers, to which the ranges belong.
    result.check()?;
    Ok((result, ranges))
}

/// The range that a fake quantization has come to.
fn range_of(range: Option<&[f32]>, step: Option<&[f32]>) -> Result<Range> {
    let Some(&[min, max]) = range else {
        return Err(Error::malformed("range", "got none of two elements"));
    };
    let step = step.and_then(|step| step.first()).copied().unwrap_or(0.0);
    let (min, max) = stretched_range(min, max, step.into());
    Ok(Range::new(min, max))
}

/// `graph` as it is outside training: what dropout gives is what it reads. Tensors keep their numbers.
fn without_dropout(graph: &Graph) -> Graph {
    let mut bare = graph.clone();
    for index in 0..bare.nodes.len() {
        let node = &bare.nodes[index];
        if let (Op::Dropout(_), Some(&Some(input)), Some(&output)) =
            (&node.op, node.inputs.first(), node.outputs.first())
        {
            bare.replace_uses(output, input);
        }
    }
    bare.nodes.retain(|node| !matches!(node.op, Op::Dropout(_)));
    bare
}

/// The graph with fake quantization under construction. Its tensors are those of the float graph, and more.
struct Builder<'a> {
    graph: &'a Graph,
    simulation: Simulation,
    groups: &'a BothGroups<'a>,
    stored: &'a [Option<DType>],
    result: Graph,
    /// Where the value of each tensor of the float graph is found, quantized where it is.
    held: Vec<TensorId>,
    /// Range and step of each group.
    points: BTreeMap<usize, (TensorId, Option<TensorId>)>,
    /// What constant operands are once quantized.
    operands: BTreeMap<TensorId, TensorId>,
}

impl Builder<'_> {
    fn groups(&self) -> &Groups<'_> {
        self.groups.of(DType::I8)
    }

    /// Whether the parameters of the group of `id` are given: prescribed, or those of what the caller gives.
    fn is_given(&self, id: TensorId) -> bool {
        let group = self.groups().number(id);
        let of_input = |input: &TensorId| self.groups().number(*input) == group;
        self.groups().fixed(id).is_some() || self.graph.inputs.iter().any(of_input)
    }

    fn constant(&mut self, name: String, values: &[f32]) -> TensorId {
        self.result.add_tensor(Tensor::constant(name, DType::F32, [values.len()], Data::from_slice(values)))
    }

    /// Range and step of the group of `id`.
    fn point(&mut self, id: TensorId) -> Result<(TensorId, Option<TensorId>)> {
        let group = self.groups().number(id);
        if let Some(&point) = group.and_then(|group| self.points.get(&group)) {
            return Ok(point);
        }
        let parameters = self.groups().parameters(id)?;
        let range = match (self.groups().fixed(id), self.groups().range(id)) {
            (None, Some(range)) => range,
            _ => self.groups().expressible(parameters),
        };
        let name = self.graph.tensor(id).name.clone();
        let learns = self.simulation == Simulation::LearnedStep && !self.is_given(id);
        let range = self.constant(format!("{name}/range"), &[range.min, range.max]);
        let step = learns.then(|| self.constant(format!("{name}/step"), &[0.0]));
        if let Some(group) = group {
            self.points.insert(group, (range, step));
        }
        Ok((range, step))
    }

    /// `value` with the parameters of the group of `id`.
    fn quantize(&mut self, value: TensorId, id: TensorId, op: FakeQuantize) -> Result<TensorId> {
        let (range, step) = self.point(id)?;
        let name = format!("{}/quantized", self.graph.tensor(id).name);
        let tensor = self.result.tensor(value).clone();
        let output = self.result.add_tensor(Tensor { name, ..tensor });
        let inputs = vec![Some(value), Some(range), step];
        self.result.nodes.push(Node { op: op.into(), inputs, outputs: vec![output] });
        Ok(output)
    }

    /// From here on, `id` is held quantized.
    fn hold(&mut self, id: TensorId, op: FakeQuantize) -> Result<()> {
        self.held[id.0] = self.quantize(self.held[id.0], id, op)?;
        Ok(())
    }

    /// Fake quantization that moves the range of `id`, where it is one that moves.
    fn observing(&self, id: TensorId) -> FakeQuantize {
        let momentum = match self.simulation {
            Simulation::StraightThrough { momentum } if !self.is_given(id) => Some(momentum),
            _ => None,
        };
        FakeQuantize { momentum, ties: Ties::Even }
    }

    fn node(&mut self, node: &Node, bare: &Node, role: &Role, choice: &super::Choice, is_last: bool) -> Result<()> {
        let mut inputs: Vec<_> = node.inputs.iter().map(|id| id.map(|id| self.held[id.0])).collect();
        let rule = node.op.quantization().rule;
        let is_integer = role.dtype() == Some(DType::I8);
        let mut joins_constant = false;
        if is_integer {
            let like = match (rule, bare.outputs.first()) {
                (Rule::Join | Rule::SameScale, Some(&output)) => Some(output),
                _ => None,
            };
            for (input, id) in bare.inputs.iter().enumerate() {
                let Some(id) = *id else { continue };
                let tensor = self.graph.tensor(id);
                if tensor.dtype != DType::F32 || (matches!(rule, Rule::Weights { .. }) && input > 0) {
                    continue;
                }
                if tensor.data.is_some() {
                    joins_constant |= like.is_some();
                    if like.is_none() {
                        inputs[input] = Some(self.operand(id));
                    }
                } else if let Some(value) = inputs[input] {
                    let like = like.unwrap_or(id);
                    let groups = self.groups();
                    let agrees = groups.number(like) == groups.number(id)
                        || (groups.fixed(like).is_some() && groups.fixed(like) == groups.fixed(id));
                    if self.stored[id.0] != Some(DType::I8) || !agrees {
                        inputs[input] = Some(self.quantize(value, like, self.observing(like))?);
                    }
                }
            }
            if let Rule::Weights { axis } = rule {
                self.weights(bare, &mut inputs, axis, choice)?;
            }
        }
        self.result.nodes.push(Node { inputs, ..node.clone() });
        if !is_integer {
            return Ok(());
        }
        let rounds = match (rule, &node.op) {
            // The loss contains it, and reads what it reads.
            (Rule::Fixed { .. }, Op::Softmax(_) | Op::Logistic(_)) if is_last => return Ok(()),
            (Rule::SameScale, Op::AveragePool2d(_)) => Some(Ties::AwayFromZero),
            (Rule::SameScale, Op::ResizeBilinear(_)) => Some(Ties::Up),
            (Rule::Join, _) if joins_constant => Some(Ties::Even),
            (Rule::SameScale | Rule::Join, _) => return Ok(()),
            _ => None,
        };
        for &output in &node.outputs {
            let op = match rounds {
                Some(ties) => FakeQuantize { momentum: None, ties },
                None => self.observing(output),
            };
            self.hold(output, op)?;
        }
        Ok(())
    }

    /// A constant operand, with parameters of its own range.
    fn operand(&mut self, id: TensorId) -> TensorId {
        if let Some(&known) = self.operands.get(&id) {
            return known;
        }
        let tensor = self.graph.tensor(id);
        let output = Tensor { name: format!("{}/quantized", tensor.name), data: None, ..tensor.clone() };
        let output = self.result.add_tensor(output);
        let op = FakeQuantizeWeights { bits: 8, axis: None, operand: true };
        self.result.nodes.push(Node { op: op.into(), inputs: vec![Some(id)], outputs: vec![output] });
        self.operands.insert(id, output);
        output
    }

    /// Weights and bias of a node.
    fn weights(
        &mut self,
        bare: &Node,
        inputs: &mut [Option<TensorId>],
        axis: usize,
        choice: &super::Choice,
    ) -> Result<()> {
        let (Some(&Some(input)), Some(&Some(weights))) = (bare.inputs.first(), bare.inputs.get(1)) else {
            return Err(Error::malformed("inputs", "got no input or weights"));
        };
        let tensor = self.graph.tensor(weights);
        let values = params::finite_elements(tensor)?;
        let axis = (choice.granularity == Granularity::PerChannel).then_some(axis);
        let bits = match choice.weights {
            super::WeightBits::Int8 => 8,
            super::WeightBits::Int4 => 4,
        };
        let op = FakeQuantizeWeights { bits, axis, operand: false };
        let steps = match self.simulation {
            Simulation::StraightThrough { .. } => None,
            Simulation::LearnedStep => {
                let steps = first_steps(values, Channels::new(&tensor.shape, axis), op.limit());
                Some(self.constant(format!("{}/steps", tensor.name), &steps))
            }
        };
        let bias = bare.inputs.get(2).copied().flatten();
        let (range, step) = self.point(input)?;
        let mut quantized = Vec::new();
        for id in std::iter::once(weights).chain(bias) {
            let tensor = self.graph.tensor(id);
            let output = Tensor { name: format!("{}/quantized", tensor.name), data: None, ..tensor.clone() };
            quantized.push(self.result.add_tensor(output));
        }
        for (slot, &output) in inputs.iter_mut().skip(1).zip(&quantized) {
            *slot = Some(output);
        }
        let inputs = vec![Some(weights), bias, Some(range), step, steps];
        self.result.nodes.push(Node { op: op.into(), inputs, outputs: quantized });
        Ok(())
    }
}

/// Logarithms of the first scales (Esser et al., section 2.1): twice the mean magnitude over the root of the largest step, but
/// no more than what the largest weight needs.
fn first_steps(values: &[f32], channels: Channels, limit: f32) -> Vec<f32> {
    let largest = weight_scales(values, channels, limit);
    let mut sums = vec![(0.0_f64, 0_u32); channels.count()];
    for (index, value) in values.iter().enumerate() {
        let (sum, count) = &mut sums[channels.of(index)];
        *sum += f64::from(value.abs());
        *count += 1;
    }
    let first = |(&largest, (sum, count)): (&f32, (f64, u32))| {
        let scale = 2.0 * sum / f64::from(count.max(1)) / f64::from(limit).sqrt();
        let scale = if scale > 0.0 { scale.min(largest.into()) } else { largest.into() };
        #[expect(clippy::cast_possible_truncation, reason = "rounding to float32 is meant")]
        let step = scale.ln() as f32;
        step
    };
    largest.iter().zip(sums).map(first).collect()
}

//! Full integer quantization: integer weights, int8 or int16 activations, bias in the scale of the products. Each op may be of
//! either activation type, or compute with floats.
//!
//! Jacob, Kligys, Chen, Zhu, Tang, Howard, Adam and Kalenichenko, "Quantization and Training of Neural Networks for Efficient
//! Integer-Arithmetic-Only Inference", CVPR 2018, with a scale for each channel of the weights (Krishnamoorthi, "Quantizing deep
//! convolutional networks for efficient inference: A whitepaper", 2018). Which tensor has which parameters is said by "TensorFlow Lite
//! 8-bit quantization specification"; int16 activations have no paper, but TensorFlow Lite's 16x8 mode ("Post-training integer
//! quantization with int16 activations" of its guide).

use litesmith_graph::{DType, Error, Graph, Quantization, Result, TensorId, ops::QuantizationRule as Rule};
use litesmith_kernels::grid::raise_scales_for_bias;

use super::{
    Decision, IoType, KeptFloat, QuantizeOptions, Scheme, TensorReport, constant_weights,
    groups::{Groups, Parameters, parameters_of},
    normalization, params,
    rules::Choice,
    weights,
};
use crate::complete::missing_bias;
use crate::{Edit, Form, Range, Ranges};

/// How a node computes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Role {
    /// In integers, with activations of this type.
    Integer(DType),
    /// In float32, for a reason; as it was asked for, without.
    Float(Option<String>),
    /// It does not look at real-valued elements: shapes and indices.
    Passive,
}

impl Role {
    pub(super) fn dtype(&self) -> Option<DType> {
        match self {
            Self::Integer(dtype) => Some(*dtype),
            Self::Float(_) | Self::Passive => None,
        }
    }
}

/// The groups of int8 tensors, and of int16 tensors. A tensor that ops of both types use is in both.
pub(super) struct BothGroups<'a> {
    int8: Groups<'a>,
    int16: Groups<'a>,
}

impl<'a> BothGroups<'a> {
    pub(super) fn of(&self, dtype: DType) -> &Groups<'a> {
        if dtype == DType::I16 { &self.int16 } else { &self.int8 }
    }

    fn of_mut(&mut self, dtype: DType) -> &mut Groups<'a> {
        if dtype == DType::I16 { &mut self.int16 } else { &mut self.int8 }
    }
}

/// Which nodes compute with integers.
pub(super) fn integer_nodes(graph: &Graph, choices: &[Choice]) -> Vec<bool> {
    roles(graph, choices).iter().map(|role| role.dtype().is_some()).collect()
}

/// Decides the integer form of every tensor, and tells which nodes compute with integers.
pub(super) fn decide(
    graph: &Graph,
    options: &QuantizeOptions,
    choices: &[Choice],
    ranges: &Ranges,
    decision: &mut Decision,
) -> Result<Vec<bool>> {
    let roles = roles(graph, choices);
    for (node, role) in roles.iter().enumerate() {
        if let Role::Float(Some(reason)) = role {
            decision.report.kept_float.push(KeptFloat { node, op: graph.place(node), reason: reason.clone() });
        }
    }
    let groups = groups(graph, options, ranges, &roles, decision)?;

    let stored = stored(graph, options, &roles);
    for (index, dtype) in stored.iter().enumerate() {
        let (id, Some(dtype)) = (TensorId(index), *dtype) else { continue };
        let groups = groups.of(dtype);
        let form = groups.form(id)?;
        let (scale, zero_point) = groups.parameters(id)?;
        let name = graph.tensor(id).name.clone();
        let range = groups.range(id);
        if range.is_some_and(|range| range.min == 0.0 && range.max == 0.0) {
            decision.report.warnings.push(format!("\"{name}\" was always 0 during calibration"));
        }
        decision.report.tensors.push(TensorReport { name, dtype, scales: vec![scale], zero_point, range });
        decision.edits.push(Edit::Store { tensor: id, form });
    }
    for (index, role) in roles.iter().enumerate() {
        match role {
            Role::Integer(dtype) => {
                let groups = groups.of(*dtype);
                let node = NodeEdits {
                    graph,
                    index,
                    dtype: *dtype,
                    options,
                    choice: &choices[index],
                    groups,
                    stored: &stored,
                };
                node.integer(decision).map_err(|error| error.at(graph.place(index)))?;
            }
            Role::Float(_) => {
                // A float node reads floats.
                for (input, id) in graph.nodes[index].inputs.iter().enumerate() {
                    if id.is_some_and(|id| stored[id.0].is_some()) {
                        decision.edits.push(Edit::Read { node: index, input, form: Form::F32 });
                    }
                }
            }
            Role::Passive => {}
        }
    }
    borders(graph, options, &groups, decision)?;
    Ok(roles.iter().map(|role| role.dtype().is_some()).collect())
}

/// Which activations share parameters.
pub(super) fn groups<'a>(
    graph: &'a Graph,
    options: &QuantizeOptions,
    ranges: &'a Ranges,
    roles: &[Role],
    decision: &mut Decision,
) -> Result<BothGroups<'a>> {
    let mut groups =
        BothGroups { int8: Groups::new(graph, ranges, DType::I8), int16: Groups::new(graph, ranges, DType::I16) };
    fix_inputs(graph, options, &mut groups, decision)?;
    for (index, role) in roles.iter().enumerate() {
        if let Some(dtype) = role.dtype() {
            groups.of_mut(dtype).add_node(index).map_err(|error| error.at(graph.place(index)))?;
        }
    }
    if let Some(dtype) = integer_type(options.output_type) {
        let outputs = graph.outputs.iter().filter(|id| is_activation(graph, **id));
        outputs.for_each(|&id| groups.of_mut(dtype).add(id));
    }
    Ok(groups)
}

/// The type of integers that activations have behind an input or output of type `io`.
fn integer_type(io: IoType) -> Option<DType> {
    match io {
        IoType::Float32 => None,
        IoType::Int8 | IoType::Uint8 => Some(DType::I8),
        IoType::Int16 => Some(DType::I16),
    }
}

pub(super) fn is_activation(graph: &Graph, id: TensorId) -> bool {
    let tensor = graph.tensor(id);
    tensor.dtype == DType::F32 && tensor.data.is_none()
}

/// How the node that computes a tensor computes.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    /// No node, or one that does not look at real-valued elements.
    None,
    Integer(DType),
    /// In float32, as it was asked for.
    Asked,
    /// In float32, for lack of an integer form.
    Lacking,
}

impl Origin {
    fn is_float(self) -> bool {
        matches!(self, Self::Asked | Self::Lacking)
    }
}

/// How each node computes, decided in the order of the nodes: what follows a float op may better stay float, too, and what
/// only moves elements best has the type of what it moves.
pub(super) fn roles(graph: &Graph, choices: &[Choice]) -> Vec<Role> {
    let mut origins = vec![Origin::None; graph.tensors.len()];
    let mut roles = Vec::with_capacity(graph.nodes.len());
    for (index, (node, choice)) in graph.nodes.iter().zip(choices).enumerate() {
        let floats = || node.inputs.iter().flatten().filter(|id| graph.tensor(**id).dtype == DType::F32);
        let quantization = node.op.quantization();
        let is_passive = quantization.rule == Rule::Shape
            || !node.outputs.iter().chain(node.inputs.iter().flatten()).any(|id| graph.tensor(*id).dtype == DType::F32);
        if is_passive {
            roles.push(Role::Passive);
            continue;
        }
        let input = node.inputs.get(node.op.typed_by()).copied().flatten();
        let mut dtype = match choice.scheme {
            Scheme::Int8 => DType::I8,
            Scheme::Int16x8 => DType::I16,
            Scheme::Float32 | Scheme::Float16 | Scheme::DynamicRange | Scheme::WeightOnly => {
                node.outputs.iter().for_each(|id| origins[id.0] = Origin::Asked);
                roles.push(Role::Float(None));
                continue;
            }
        };
        if quantization.rule == Rule::SameScale
            && !choice.explicit
            && let Some(Origin::Integer(read)) = input.map(|id| origins[id.0])
            && (read == DType::I8 || quantization.has_int16)
        {
            dtype = read;
        }
        let is_behind_float = || floats().all(|&id| origins[id.0].is_float() || graph.tensor(id).data.is_some());
        let reason = if dtype == DType::I16 && quantization.rule != Rule::Float && !quantization.has_int16 {
            Some("LiteRT has no int16 kernel for it".into())
        } else if let Some(activation) = node.op.fused_activation().filter(|activation| activation.clamp().is_none()) {
            Some(format!("its fused activation {activation:?} has no integer form"))
        } else if let Some(id) = input.filter(|&id| graph.tensor(id).dtype != DType::F32) {
            Some(format!("its input is {}", graph.tensor(id).dtype))
        } else {
            match quantization.rule {
                Rule::Weights { .. } => weights_reason(graph, index),
                Rule::Float => Some("it has no integer form".into()),
                Rule::SameScale if !input.is_some_and(|id| is_activation(graph, id)) => {
                    Some("its input is constant".into())
                }
                Rule::SameScale | Rule::Join if is_behind_float() => {
                    if !choice.explicit && floats().all(|&id| origins[id.0] != Origin::Lacking) {
                        node.outputs.iter().for_each(|id| origins[id.0] = Origin::Asked);
                        roles.push(Role::Float(None));
                        continue;
                    }
                    Some("what it reads stays float32".into())
                }
                _ => None,
            }
        };
        let origin = if reason.is_some() { Origin::Lacking } else { Origin::Integer(dtype) };
        node.outputs.iter().for_each(|id| origins[id.0] = origin);
        roles.push(match reason {
            Some(reason) => Role::Float(Some(reason)),
            None => Role::Integer(dtype),
        });
    }
    roles
}

fn weights_reason(graph: &Graph, index: usize) -> Option<String> {
    if constant_weights(graph, index).is_none() {
        return Some("its weights are not a float32 constant".into());
    }
    let bias = graph.nodes[index].inputs.get(2).copied().flatten().map(|id| graph.tensor(id));
    let is_constant = bias.is_none_or(|bias| bias.dtype == DType::F32 && bias.data.is_some());
    (!is_constant).then(|| "its bias is not a float32 constant".into())
}

/// Normalizations of integer inputs prescribe parameters.
fn fix_inputs(
    graph: &Graph,
    options: &QuantizeOptions,
    groups: &mut BothGroups<'_>,
    decision: &mut Decision,
) -> Result<()> {
    let Some(dtype) = integer_type(options.input_type) else { return Ok(()) };
    let groups = groups.of_mut(dtype);
    let inputs = graph.inputs.iter().enumerate().filter(|&(_, &id)| is_activation(graph, id));
    for (index, &id) in inputs {
        groups.add(id);
        let Some(Some(normalization)) = options.normalization.get(index) else { continue };
        let name = &graph.tensor(id).name;
        let parameters = normalization::input_parameters(name, normalization, options.input_type.dtype())?;
        groups.fix(id, parameters);
        if let Some(seen) = groups.range(id) {
            let given = groups.expressible(parameters);
            decision.report.warnings.extend(coverage_warning(name, seen, given, parameters, dtype));
        }
    }
    Ok(())
}

/// What to say when the calibrated range and the one that a normalization prescribes do not fit each other.
fn coverage_warning(name: &str, seen: Range, given: Range, (scale, _): Parameters, dtype: DType) -> Option<String> {
    let slack = scale / 2.0;
    if seen.min < given.min - slack || seen.max > given.max + slack {
        return Some(format!(
            "input \"{name}\": mean and std express {} to {}, but calibration saw {} to {}; what is outside is clipped",
            given.min, given.max, seen.min, seen.max
        ));
    }
    let (calibrated, _) = parameters_of(seen, dtype);
    (calibrated < scale / 2.0).then(|| {
        format!(
            "input \"{name}\": mean and std express {} to {}, but calibration saw only {} to {}; are the samples \
             normalized in the same way?",
            given.min, given.max, seen.min, seen.max
        )
    })
}

/// Which tensors are held as integers, and of which type: those that integer ops compute, and inputs that they read. An input
/// that the caller gives as floats is held so where ops of several kinds read it, and each converts it for itself.
pub(super) fn stored(graph: &Graph, options: &QuantizeOptions, roles: &[Role]) -> Vec<Option<DType>> {
    let mut stored = vec![None; graph.tensors.len()];
    for &id in graph.inputs.iter().filter(|id| is_activation(graph, **id)) {
        let readers = graph.nodes.iter().zip(roles).filter(|(node, _)| node.inputs.contains(&Some(id)));
        let mut types: Vec<_> =
            readers.filter(|(_, role)| **role != Role::Passive).map(|(_, role)| role.dtype()).collect();
        types.dedup();
        stored[id.0] = match (integer_type(options.input_type), types.as_slice()) {
            (Some(dtype), types) if types.iter().any(Option::is_some) => Some(dtype),
            (None, [Some(dtype)]) => Some(*dtype),
            _ => None,
        };
    }
    for (node, role) in graph.nodes.iter().zip(roles) {
        if let Some(dtype) = role.dtype() {
            node.outputs.iter().for_each(|id| stored[id.0] = Some(dtype));
        }
    }
    stored
}

/// The edits around one node that computes with integers.
struct NodeEdits<'a> {
    graph: &'a Graph,
    index: usize,
    dtype: DType,
    options: &'a QuantizeOptions,
    choice: &'a Choice,
    groups: &'a Groups<'a>,
    stored: &'a [Option<DType>],
}

impl NodeEdits<'_> {
    fn integer(&self, decision: &mut Decision) -> Result<()> {
        let graph = self.graph;
        let node = &graph.nodes[self.index];
        let rule = node.op.quantization().rule;
        let is_weighted = matches!(rule, Rule::Weights { .. });
        for (input, id) in node.inputs.iter().enumerate() {
            let Some(id) = *id else { continue };
            let tensor = graph.tensor(id);
            if tensor.dtype != DType::F32 || (is_weighted && input > 0) {
                continue;
            }
            // What an op joins or moves has the parameters of its output.
            let like = match (rule, node.outputs.first()) {
                (Rule::Join | Rule::SameScale, Some(&output)) => Some(output),
                _ => None,
            };
            if tensor.data.is_some() {
                let values = params::finite_elements(tensor)?;
                let parameters = match (like, Range::of(values)) {
                    (Some(output), _) => self.groups.parameters(output)?,
                    (None, range) => parameters_of(range.unwrap_or(Range::new(0.0, 0.0)), self.dtype),
                };
                let constant = params::constant_operand(tensor, values, self.dtype, parameters);
                decision.constant(self.index, input, constant);
            } else {
                let form = self.groups.form(like.unwrap_or(id))?;
                if self.stored[id.0] != Some(self.dtype) || form != self.groups.form(id)? {
                    decision.edits.push(Edit::Read { node: self.index, input, form });
                }
            }
        }
        if is_weighted { self.weights(decision) } else { Ok(()) }
    }

    fn weights(&self, decision: &mut Decision) -> Result<()> {
        let graph = self.graph;
        let node = &graph.nodes[self.index];
        let Some(Some(input)) = node.inputs.first().copied() else {
            return Err(Error::malformed("inputs", "got no input"));
        };
        let (input_scale, _) = self.groups.parameters(input)?;
        let zeros = missing_bias(graph, self.index);
        let bias = node.inputs.get(2).copied().flatten().map(|id| graph.tensor(id)).or(zeros.as_ref());
        let bias_values = bias.map(params::finite_elements).transpose()?;
        let prescribed = node.inputs.get(1).copied().flatten().and_then(|weights| self.groups.scales(weights));
        let fit_bias = |scales: &mut Vec<f32>| {
            if let Some(prescribed) = prescribed.filter(|prescribed| prescribed.len() == scales.len()) {
                scales.copy_from_slice(prescribed);
            }
            if let (DType::I8, Some(values)) = (self.dtype, bias_values) {
                raise_scales_for_bias(scales, values, input_scale);
            }
        };
        let (constant, scales) = weights::encode(graph, self.index, self.choice, &self.options.rounded, fit_bias)?;
        let bias = bias.zip(bias_values).map(|(bias, values)| {
            let dtype = if self.dtype == DType::I8 { DType::I32 } else { DType::I64 };
            params::integer_bias(bias, values, dtype, input_scale, &scales)
        });
        decision.constant(self.index, 1, constant);
        if let Some(bias) = bias {
            decision.constant(self.index, 2, bias);
        }
        Ok(())
    }
}

/// What the caller gives and gets.
fn borders(graph: &Graph, options: &QuantizeOptions, groups: &BothGroups<'_>, decision: &mut Decision) -> Result<()> {
    let form = |id: TensorId, io: IoType| -> Result<Form> {
        let Some(dtype) = integer_type(io) else { return Ok(Form::F32) };
        let groups = groups.of(dtype);
        let mut form = groups.form(id)?;
        if io == IoType::Uint8 {
            let (scale, zero_point) = groups.parameters(id)?;
            form = Form { dtype: DType::U8, quantization: Some(Quantization::per_tensor(scale, zero_point + 128)) };
        }
        Ok(form)
    };
    for (index, &id) in graph.inputs.iter().enumerate() {
        if is_activation(graph, id) {
            decision.edits.push(Edit::Input { index, form: form(id, options.input_type)? });
        }
    }
    for (index, &id) in graph.outputs.iter().enumerate() {
        if is_activation(graph, id) {
            decision.edits.push(Edit::Output { index, form: form(id, options.output_type)? });
        }
    }
    Ok(())
}

//! Full integer quantization: int8 weights, int8 or int16 activations, bias in the scale of the products.

use litesmith_graph::{DType, Error, Graph, Quantization, Result, Tensor, TensorId, ops::QuantizationRule as Rule};

use super::{
    Decision, IoType, KeptFloat, QuantizeOptions, Scheme, TensorReport, constant_weights,
    groups::{Groups, Parameters, parameters_of},
    missing_bias, normalization, params, scale_axis,
};
use crate::{Edit, Form, Range, Ranges};

/// How a node computes.
#[derive(Debug, Clone, PartialEq)]
enum Role {
    /// In integers.
    Integer,
    /// In float32, for a reason.
    Float(String),
    /// It does not look at real-valued elements: shapes and indices.
    Passive,
}

/// Decides the integer form of every tensor.
pub(super) fn decide(graph: &Graph, options: &QuantizeOptions, ranges: &Ranges) -> Result<Decision> {
    let dtype = if options.scheme == Scheme::Int16x8 { DType::I16 } else { DType::I8 };
    let roles = roles(graph, dtype);
    let mut decision = Decision::default();
    for (node, role) in roles.iter().enumerate() {
        if let Role::Float(reason) = role {
            decision.report.kept_float.push(KeptFloat { node, op: graph.place(node), reason: reason.clone() });
        }
    }
    let mut groups = Groups::new(graph, ranges, dtype);
    fix_inputs(graph, options, dtype, &mut groups, &mut decision)?;
    for index in (0..roles.len()).filter(|&index| roles[index] == Role::Integer) {
        groups.add_node(index).map_err(|error| error.at(graph.place(index)))?;
    }
    if options.output_type != IoType::Float32 {
        let outputs = graph.outputs.iter().filter(|id| is_activation(graph, **id));
        outputs.for_each(|&id| groups.add(id));
    }

    let stored = stored(graph, &roles);
    for id in (0..stored.len()).map(TensorId).filter(|id| stored[id.0]) {
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
        let mut node = NodeEdits { graph, index, dtype, options, groups: &groups, stored: &stored };
        match role {
            Role::Integer => node.integer(&mut decision).map_err(|error| error.at(graph.place(index)))?,
            Role::Float(_) => node.float(&mut decision),
            Role::Passive => {}
        }
    }
    borders(graph, options, &groups, &mut decision)?;
    Ok(decision)
}

fn is_activation(graph: &Graph, id: TensorId) -> bool {
    let tensor = graph.tensor(id);
    tensor.dtype == DType::F32 && tensor.data.is_none()
}

/// How each node computes, decided in the order of the nodes: what follows a float op may better stay float, too.
fn roles(graph: &Graph, dtype: DType) -> Vec<Role> {
    let mut float = vec![false; graph.tensors.len()];
    let mut roles = Vec::with_capacity(graph.nodes.len());
    for (index, node) in graph.nodes.iter().enumerate() {
        let floats = || node.inputs.iter().flatten().filter(|id| graph.tensor(**id).dtype == DType::F32);
        let quantization = node.op.quantization();
        let is_passive = quantization.rule == Rule::Shape
            || !node.outputs.iter().chain(node.inputs.iter().flatten()).any(|id| graph.tensor(*id).dtype == DType::F32);
        let input = node.inputs.get(node.op.typed_by()).copied().flatten();
        let reason = if is_passive {
            roles.push(Role::Passive);
            continue;
        } else if dtype == DType::I16 && quantization.rule != Rule::Float && !quantization.has_int16 {
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
                Rule::SameScale | Rule::Join if floats().all(|&id| float[id.0] || graph.tensor(id).data.is_some()) => {
                    Some("what it reads stays float32".into())
                }
                _ => None,
            }
        };
        let role = reason.map_or(Role::Integer, Role::Float);
        node.outputs.iter().for_each(|id| float[id.0] = role != Role::Integer);
        roles.push(role);
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
    dtype: DType,
    groups: &mut Groups<'_>,
    decision: &mut Decision,
) -> Result<()> {
    if options.input_type == IoType::Float32 {
        return Ok(());
    }
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

/// Which tensors are held as integers: those that integer ops compute, and inputs that they read.
fn stored(graph: &Graph, roles: &[Role]) -> Vec<bool> {
    let mut stored = vec![false; graph.tensors.len()];
    for (node, _) in graph.nodes.iter().zip(roles).filter(|(_, role)| **role == Role::Integer) {
        node.outputs.iter().for_each(|id| stored[id.0] = true);
        let inputs = node.inputs.iter().flatten().filter(|id| graph.inputs.contains(id) && is_activation(graph, **id));
        inputs.for_each(|id| stored[id.0] = true);
    }
    stored
}

/// The edits around one node.
struct NodeEdits<'a> {
    graph: &'a Graph,
    index: usize,
    dtype: DType,
    options: &'a QuantizeOptions,
    groups: &'a Groups<'a>,
    stored: &'a [bool],
}

impl NodeEdits<'_> {
    /// A float node reads floats.
    fn float(&mut self, decision: &mut Decision) {
        for (input, id) in self.graph.nodes[self.index].inputs.iter().enumerate() {
            if id.is_some_and(|id| self.stored[id.0]) {
                decision.edits.push(Edit::Read { node: self.index, input, form: Form::F32 });
            }
        }
    }

    fn integer(&mut self, decision: &mut Decision) -> Result<()> {
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
                self.constant(input, constant, decision);
            } else {
                let form = self.groups.form(like.unwrap_or(id))?;
                if !self.stored[id.0] || form != self.groups.form(id)? {
                    decision.edits.push(Edit::Read { node: self.index, input, form });
                }
            }
        }
        if is_weighted { self.weights(decision) } else { Ok(()) }
    }

    fn weights(&mut self, decision: &mut Decision) -> Result<()> {
        let graph = self.graph;
        let node = &graph.nodes[self.index];
        let (Some((weights, axis)), Some(Some(input))) =
            (constant_weights(graph, self.index), node.inputs.first().copied())
        else {
            return Err(Error::malformed("inputs", "got no input or weights"));
        };
        let (input_scale, _) = self.groups.parameters(input)?;
        let axis = scale_axis(&node.op, axis, self.options);
        let weights = graph.tensor(weights);
        let values = params::finite_elements(weights)?;
        let mut scales = params::weight_scales(values, params::Channels::new(&weights.shape, axis), 127.0);

        let zeros = missing_bias(graph, self.index);
        let bias = node.inputs.get(2).copied().flatten().map(|id| graph.tensor(id)).or(zeros.as_ref());
        let bias_values = bias.map(params::finite_elements).transpose()?;
        if self.dtype == DType::I8
            && let Some(values) = bias_values
        {
            params::raise_scales_for_bias(&mut scales, values, input_scale);
        }
        let bias = bias.zip(bias_values).map(|(bias, values)| {
            let dtype = if self.dtype == DType::I8 { DType::I32 } else { DType::I64 };
            params::integer_bias(bias, values, dtype, input_scale, &scales)
        });
        self.constant(1, params::int8_weights(weights, values, scales, axis), decision);
        if let Some(bias) = bias {
            self.constant(2, bias, decision);
        }
        Ok(())
    }

    fn constant(&self, input: usize, constant: Tensor, decision: &mut Decision) {
        let report = TensorReport::of_constant(&constant);
        // Shared weights are told once.
        if !decision.report.tensors.contains(&report) {
            decision.report.tensors.push(report);
        }
        decision.edits.push(Edit::Constant { node: self.index, input, constant });
    }
}

/// What the caller gives and gets.
fn borders(graph: &Graph, options: &QuantizeOptions, groups: &Groups<'_>, decision: &mut Decision) -> Result<()> {
    let form = |id: TensorId, io: IoType| -> Result<Form> {
        let mut form = match io {
            IoType::Float32 => return Ok(Form::F32),
            IoType::Int8 | IoType::Uint8 | IoType::Int16 => groups.form(id)?,
        };
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

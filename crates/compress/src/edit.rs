//! Edits: what an algorithm decided to change in a graph, and carrying it out.

use litesmith_graph::{
    DType, Error, Graph, Node, Op, Quantization, Result, Tensor, TensorId,
    ops::{Dequantize, Quantize},
};

/// How a tensor's elements are stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// Element type.
    pub dtype: DType,
    /// Scale and zero point of integers.
    pub quantization: Option<Quantization>,
}

impl Form {
    /// Float32.
    pub const F32: Self = Self { dtype: DType::F32, quantization: None };

    /// Integers with one scale and zero point.
    #[must_use]
    pub fn integer(dtype: DType, scale: f32, zero_point: i64) -> Self {
        Self { dtype, quantization: Some(Quantization::per_tensor(scale, zero_point)) }
    }

    fn of(tensor: &Tensor) -> Self {
        Self { dtype: tensor.dtype, quantization: tensor.quantization.clone() }
    }
}

/// One change of a graph. Nodes and tensors are numbered as in the graph that was decided upon; edits do not depend on
/// their order, but a later edit of the same thing wins.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// The computed tensor, or graph input, is held in this form.
    Store {
        /// The tensor.
        tensor: TensorId,
        /// Its new form.
        form: Form,
    },
    /// The node reads an input in this form; where the tensor is held in another, a QUANTIZE or DEQUANTIZE is put before.
    Read {
        /// Index of the node.
        node: usize,
        /// Index among its inputs.
        input: usize,
        /// The form that it reads.
        form: Form,
    },
    /// The node reads this constant instead of what it read; an input that was left out is added.
    Constant {
        /// Index of the node.
        node: usize,
        /// Index among its inputs.
        input: usize,
        /// The constant.
        constant: Tensor,
    },
    /// The node gets this op with these attributes.
    Op {
        /// Index of the node.
        node: usize,
        /// The op.
        op: Op,
    },
    /// The caller gives graph input `index` in this form.
    Input {
        /// Index among the graph's inputs.
        index: usize,
        /// The form that the caller gives.
        form: Form,
    },
    /// The caller gets graph output `index` in this form.
    Output {
        /// Index among the graph's outputs.
        index: usize,
        /// The form that the caller gets.
        form: Form,
    },
}

/// A copy of `graph` with `edits` carried out. Conversions between forms appear once for each tensor and form; graph
/// inputs and outputs keep their names; constants and nodes that nothing reads any more go.
///
/// # Errors
/// [`Error::Invalid`] when an edit names a node, tensor, input or output that the graph does not have, or asks for a
/// conversion that no op does; [`Error::Malformed`] when the graph or the result is not valid ([`Graph::check`]).
pub fn apply(graph: &Graph, edits: &[Edit]) -> Result<Graph> {
    graph.check()?;
    let plan = Plan::new(graph, edits)?;
    let mut builder = Builder {
        graph,
        result: Graph::new(graph.name.clone()),
        stored: vec![None; graph.tensors.len()],
        constants: Vec::new(),
        conversions: Vec::new(),
    };
    for (index, &id) in graph.inputs.iter().enumerate() {
        builder.input(id, &plan.inputs[index], &plan.stored[id.0])?;
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        builder.node(index, node, &plan).map_err(|error| error.at(graph.place(index)))?;
    }
    for (index, &id) in graph.outputs.iter().enumerate() {
        builder.output(id, &plan.outputs[index])?;
    }
    let mut result = builder.result;
    result.remove_dead();
    result.check()?;
    Ok(result)
}

/// `graph` with other constants and attributes: edits of the kinds [`Edit::Constant`] and [`Edit::Op`]. Nodes and tensors keep
/// their numbers, so that more can be decided about the result, and what was calibrated still belongs to it.
///
/// # Errors
/// [`Error::Invalid`] for other edits, and for nodes that the graph does not have.
pub fn amend(graph: &Graph, edits: &[Edit]) -> Result<Graph> {
    let mut result = graph.clone();
    for edit in edits {
        let (Edit::Constant { node, .. } | Edit::Op { node, .. }) = edit else {
            return Err(Error::invalid("edit", format!("{edit:?} changes more than constants and attributes")));
        };
        if *node >= graph.nodes.len() {
            return Err(Error::invalid("edit", format!("the graph \"{}\" has no node {node}", graph.name)));
        }
        match edit {
            Edit::Constant { node, input, constant } => {
                let id = result.add_tensor(constant.clone());
                let inputs = &mut result.nodes[*node].inputs;
                if inputs.len() <= *input {
                    inputs.resize(input + 1, None);
                }
                inputs[*input] = Some(id);
            }
            Edit::Op { node, op } => result.nodes[*node].op = op.clone(),
            _ => {}
        }
    }
    Ok(result)
}

/// Edits, sorted by what they belong to.
struct Plan<'a> {
    stored: Vec<Form>,
    reads: Vec<Vec<(usize, &'a Form)>>,
    constants: Vec<Vec<(usize, &'a Tensor)>>,
    ops: Vec<&'a Op>,
    inputs: Vec<Form>,
    outputs: Vec<Form>,
}

impl<'a> Plan<'a> {
    fn new(graph: &'a Graph, edits: &'a [Edit]) -> Result<Self> {
        let border = |ids: &[TensorId]| ids.iter().map(|&id| Form::of(graph.tensor(id))).collect();
        let mut plan = Self {
            stored: graph.tensors.iter().map(Form::of).collect(),
            reads: vec![Vec::new(); graph.nodes.len()],
            constants: vec![Vec::new(); graph.nodes.len()],
            ops: graph.nodes.iter().map(|node| &node.op).collect(),
            inputs: border(&graph.inputs),
            outputs: border(&graph.outputs),
        };
        for edit in edits {
            let known = match edit {
                Edit::Store { tensor, form } => set(&mut plan.stored, tensor.0, form.clone()),
                Edit::Read { node, input, form } => push(&mut plan.reads, *node, (*input, form)),
                Edit::Constant { node, input, constant } => push(&mut plan.constants, *node, (*input, constant)),
                Edit::Op { node, op } => set(&mut plan.ops, *node, op),
                Edit::Input { index, form } => set(&mut plan.inputs, *index, form.clone()),
                Edit::Output { index, form } => set(&mut plan.outputs, *index, form.clone()),
            };
            if !known {
                return Err(Error::invalid("edit", format!("the graph \"{}\" has no place for {edit:?}", graph.name)));
            }
        }
        Ok(plan)
    }
}

fn set<T>(slots: &mut [T], index: usize, value: T) -> bool {
    slots.get_mut(index).map(|slot| *slot = value).is_some()
}

fn push<T>(slots: &mut [Vec<T>], index: usize, value: T) -> bool {
    slots.get_mut(index).map(|slot| slot.push(value)).is_some()
}

struct Builder<'a> {
    graph: &'a Graph,
    result: Graph,
    /// Where each tensor of the old graph is held.
    stored: Vec<Option<TensorId>>,
    /// Constants that edits brought in: what they replace, what they are, and where they are held.
    constants: Vec<(Option<TensorId>, Tensor, TensorId)>,
    /// What was converted, into which form, and where the result is held.
    conversions: Vec<(TensorId, Form, TensorId)>,
}

impl Builder<'_> {
    /// A tensor of the new graph that is like `id` of the old, in another form.
    fn like(&self, id: TensorId, form: &Form) -> Tensor {
        let old = self.graph.tensor(id);
        let changed = *form != Form::of(old);
        Tensor {
            dtype: form.dtype,
            quantization: form.quantization.clone(),
            // A graph input or output keeps its name for the caller's side.
            name: match changed && (self.graph.inputs.contains(&id) || self.graph.outputs.contains(&id)) {
                true => format!("{}_{}", old.name, form.dtype),
                false => old.name.clone(),
            },
            ..old.clone()
        }
    }

    fn input(&mut self, id: TensorId, given: &Form, stored: &Form) -> Result<()> {
        let name = self.graph.tensor(id).name.clone();
        let input = self.result.add_input(Tensor { name, ..self.like(id, given) });
        self.stored[id.0] = Some(self.convert(input, stored)?);
        Ok(())
    }

    fn output(&mut self, id: TensorId, wanted: &Form) -> Result<()> {
        let held = self.held(id);
        let output = self.convert(held, wanted)?;
        if !self.result.inputs.contains(&output) {
            self.result.tensor_mut(output).name = self.graph.tensor(id).name.clone();
        }
        self.result.outputs.push(output);
        Ok(())
    }

    fn node(&mut self, index: usize, node: &Node, plan: &Plan<'_>) -> Result<()> {
        let mut inputs: Vec<_> = node.inputs.iter().map(|id| id.map(|id| self.held(id))).collect();
        for &(input, constant) in &plan.constants[index] {
            if inputs.len() <= input {
                inputs.resize(input + 1, None);
            }
            let replaced = node.inputs.get(input).copied().flatten();
            inputs[input] = Some(self.constant(replaced, constant));
        }
        for &(input, form) in &plan.reads[index] {
            let Some(Some(id)) = inputs.get(input).copied() else {
                return Err(Error::invalid("edit", format!("there is no input {input} to read as {}", form.dtype)));
            };
            inputs[input] = Some(self.convert(id, form)?);
        }
        let mut outputs = Vec::with_capacity(node.outputs.len());
        for &id in &node.outputs {
            let output = self.result.add_tensor(self.like(id, &plan.stored[id.0]));
            self.stored[id.0] = Some(output);
            outputs.push(output);
        }
        self.result.nodes.push(Node { op: plan.ops[index].clone(), inputs, outputs });
        Ok(())
    }

    /// Where tensor `id` of the old graph is held; constants are copied when first read.
    fn held(&mut self, id: TensorId) -> TensorId {
        match self.stored[id.0] {
            Some(held) => held,
            None => {
                let held = self.result.add_tensor(self.graph.tensor(id).clone());
                self.stored[id.0] = Some(held);
                held
            }
        }
    }

    /// The same constant in place of the same tensor stays shared.
    fn constant(&mut self, replaced: Option<TensorId>, constant: &Tensor) -> TensorId {
        let known = self.constants.iter().find(|(old, tensor, _)| *old == replaced && tensor == constant);
        if let Some(&(_, _, held)) = known {
            return held;
        }
        let held = self.result.add_tensor(constant.clone());
        self.constants.push((replaced, constant.clone(), held));
        held
    }

    fn convert(&mut self, id: TensorId, form: &Form) -> Result<TensorId> {
        let from = self.result.tensor(id).clone();
        if Form::of(&from) == *form {
            return Ok(id);
        }
        if let Some(&(_, _, held)) = self.conversions.iter().find(|(source, to, _)| *source == id && to == form) {
            return Ok(held);
        }
        let is_integer = |form: &Form| form.quantization.is_some() && form.dtype.integer_range().is_some();
        let op: Op = match form.dtype {
            DType::F32 if from.dtype == DType::F16 || is_integer(&Form::of(&from)) => Dequantize.into(),
            _ if is_integer(form) && (from.dtype == DType::F32 || is_integer(&Form::of(&from))) => Quantize.into(),
            _ => {
                return Err(Error::invalid(
                    format!("tensor \"{}\"", from.name),
                    format!("no op converts {} to {}", from.dtype, form.dtype),
                ));
            }
        };
        let converted = self.result.add_tensor(Tensor {
            name: format!("{}_{}", from.name, form.dtype),
            dtype: form.dtype,
            quantization: form.quantization.clone(),
            data: None,
            ..from
        });
        self.result.nodes.push(Node { op, inputs: vec![Some(id)], outputs: vec![converted] });
        self.conversions.push((id, form.clone(), converted));
        Ok(converted)
    }
}

#[cfg(test)]
mod tests {
    use litesmith_graph::{
        Data,
        ops::{FullyConnected, Relu},
    };

    use super::*;

    fn small() -> Graph {
        let mut graph = Graph::new("main");
        let x = graph.add_input(Tensor::new("x", DType::F32, [1, 2]));
        let w = graph.add_tensor(Tensor::constant("w", DType::F32, [2, 2], Data::from_slice(&[1.0_f32; 4])));
        let y = graph.add_node(FullyConnected::default(), &[Some(x), Some(w)], "y").unwrap();
        let z = graph.add_node(Relu, &[Some(y)], "z").unwrap();
        graph.outputs = vec![z];
        graph
    }

    fn ops(graph: &Graph) -> Vec<&'static str> {
        graph.nodes.iter().map(|node| node.op.name()).collect()
    }

    #[test]
    fn no_edits_change_nothing() {
        let result = apply(&small(), &[]).unwrap();
        assert_eq!(ops(&result), ["FULLY_CONNECTED", "RELU"]);
        assert_eq!(result.tensors.len(), 4);
    }

    #[test]
    fn conversions_stand_between_forms_and_are_shared() {
        let mut graph = small();
        let y = graph.nodes[0].outputs[0];
        let other = graph.add_node(Relu, &[Some(y)], "other").unwrap();
        graph.outputs.push(other);
        let int8 = Form::integer(DType::I8, 0.5, 3);
        let edits = [
            Edit::Store { tensor: y, form: int8.clone() },
            Edit::Store { tensor: graph.inputs[0], form: int8.clone() },
            Edit::Read { node: 1, input: 0, form: Form::F32 },
            Edit::Read { node: 2, input: 0, form: Form::F32 },
            Edit::Input { index: 0, form: Form::integer(DType::U8, 0.5, 131) },
        ];
        let result = apply(&graph, &edits).unwrap();
        assert_eq!(ops(&result), ["QUANTIZE", "FULLY_CONNECTED", "DEQUANTIZE", "RELU", "RELU"]);
        let input = result.tensor(result.inputs[0]);
        assert_eq!((input.name.as_str(), input.dtype), ("x", DType::U8));
        assert_eq!(result.tensor(result.nodes[1].inputs[0].unwrap()).name, "x_int8");
    }

    #[test]
    fn an_added_input_and_a_form_of_it() {
        let bias = Tensor::constant("b", DType::F16, [2], Data::from_slice(&[0_u16, 0]));
        let edits = [
            Edit::Constant { node: 0, input: 2, constant: bias },
            Edit::Read { node: 0, input: 2, form: Form::F32 },
            Edit::Output { index: 0, form: Form::integer(DType::I8, 1.0, 0) },
        ];
        let result = apply(&small(), &edits).unwrap();
        assert_eq!(ops(&result), ["DEQUANTIZE", "FULLY_CONNECTED", "RELU", "QUANTIZE"]);
        assert_eq!(result.tensor(result.outputs[0]).name, "z");
    }

    #[test]
    fn amending_keeps_all_numbers() {
        let graph = small();
        let bias = Tensor::constant("b", DType::F32, [2], Data::from_slice(&[1.0_f32, 2.0]));
        let op = FullyConnected { keep_num_dims: true, ..FullyConnected::default() };
        let edits = [Edit::Constant { node: 0, input: 2, constant: bias }, Edit::Op { node: 0, op: op.clone().into() }];
        let result = amend(&graph, &edits).unwrap();
        assert_eq!(result.tensors[..4], graph.tensors);
        assert_eq!((result.nodes[0].inputs.len(), &result.nodes[0].op), (3, &op.into()));
        let error = |edit| amend(&graph, &[edit]).unwrap_err().to_string();
        assert!(error(Edit::Read { node: 0, input: 0, form: Form::F32 }).contains("more than constants"));
        assert!(error(Edit::Op { node: 7, op: Relu.into() }).contains("no node 7"));
    }

    #[test]
    fn edits_that_do_not_fit_are_errors() {
        let graph = small();
        let nowhere = Edit::Op { node: 9, op: Relu.into() };
        assert!(apply(&graph, &[nowhere]).unwrap_err().to_string().contains("no place"));
        let missing = Edit::Read { node: 1, input: 4, form: Form::F32 };
        assert!(
            apply(&graph, &[missing]).unwrap_err().to_string().contains("op 1 RELU \"z\": edit: there is no input 4")
        );
        let half = Form { dtype: DType::F16, quantization: None };
        let impossible = Edit::Read { node: 1, input: 0, form: half };
        assert!(apply(&graph, &[impossible]).unwrap_err().to_string().contains("no op converts float32 to float16"));
    }
}

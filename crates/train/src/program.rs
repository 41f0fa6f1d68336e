//! What is known about training a graph before the first step: which tensors hold samples, which constants learn, where
//! each gradient lives and who writes it first, and the order of the work.

use std::collections::HashMap;
use std::ops::Range;

use litesmith_graph::ops::{Inputs, Parameter, Slice, StridedSlice, resolve_axis};
use litesmith_graph::{DType, Data, Error, Graph, Node, Op, Result, Tensor, TensorId, elements};
use litesmith_kernels::{Activation, Real};

use crate::float_weights::check_float_weights;
use crate::ops::{Operand, QuantizedWeights, Wanted, is_view};
use crate::variables::role;

/// A trainable or moving variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    /// Its tensor in the graph that was given.
    pub(crate) tensor: TensorId,
    pub(crate) shape: Vec<usize>,
    /// Its elements in the flat vector of its kind.
    pub(crate) range: Range<usize>,
}

/// A node as the executor sees it.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) node: usize,
    pub(crate) operands: Vec<Operand>,
    /// The value that it computes.
    pub(crate) output: usize,
    pub(crate) wanted: Vec<Wanted>,
    /// Number among the batch normalizations, for one.
    pub(crate) normalization: Option<usize>,
    /// Applied to the result in place: the activation that alone reads a batch normalization.
    pub(crate) activation: Activation,
    /// Number among the observed ranges, when the first input moves one.
    pub(crate) observed: Option<usize>,
}

/// A range that follows the values of a tensor, or of several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Observed {
    /// Its first of two elements among the moving variables.
    pub(crate) start: usize,
    /// Share that each update keeps.
    pub(crate) momentum: f32,
}

/// One piece of work of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Forward(usize),
    /// Measures the input of a batch normalization.
    Measure(usize),
    Loss,
    /// A shard's part of the gradients of a batch normalization's gamma and beta.
    BackwardStatistics(usize),
    Backward(usize),
}

/// What all shards' parts are combined for, when all have finished a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Mean and variance of a step's input.
    Statistics(usize),
    /// Gradients of gamma and beta of a step.
    Gradients(usize),
}

/// Work that every shard does by itself, and what is combined after it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Phase {
    pub(crate) tasks: Vec<Task>,
    pub(crate) sync: Option<Sync>,
}

/// Everything about training a graph that does not change from step to step.
#[derive(Debug, Clone)]
pub(crate) struct Program<T> {
    pub(crate) graph: Graph,
    pub(crate) steps: Vec<Step>,
    /// Elements for one sample of each value; the graph's inputs come first.
    pub(crate) sizes: Vec<usize>,
    pub(crate) value_names: Vec<String>,
    pub(crate) inputs: usize,
    pub(crate) constants: Vec<Vec<T>>,
    pub(crate) trainable: Vec<Variable>,
    pub(crate) moving: Vec<Variable>,
    /// Channels of each batch normalization.
    pub(crate) normalizations: Vec<usize>,
    /// Ranges that follow what fake quantization reads.
    pub(crate) observed: Vec<Observed>,
    /// Variables that are read quantized.
    pub(crate) quantized: Vec<QuantizedWeights>,
    /// The value that the loss reads: the graph's first output.
    pub(crate) output: usize,
    /// Values that a teacher gives hints about: the graph's other outputs.
    pub(crate) hints: Vec<usize>,
    pub(crate) buffer_of: Vec<Option<usize>>,
    /// Elements for one sample of each gradient buffer.
    pub(crate) buffer_sizes: Vec<usize>,
    /// Elements of the largest gradient that is added to another: for one sample, and for a variable.
    pub(crate) spare_sample: usize,
    pub(crate) spare_variable: usize,
    pub(crate) training: Vec<Phase>,
}

impl<T: Real> Program<T> {
    /// Analyses `graph`, whose first output the loss reads; others are compared with a teacher's. With `input_gradients` the gradients of the graph's inputs are
    /// computed and kept as well.
    ///
    /// # Errors
    /// Those of [`check_float_weights`]; [`Error::Unsupported`] for what cannot be trained: tensors of samples that are not float32 or do not grow with the
    /// batch, no variables.
    pub(crate) fn new(graph: &Graph, input_gradients: bool) -> Result<Self> {
        let mut graph = graph.clone();
        graph.check()?;
        check_float_weights(&graph)?;
        fix_reshapes(&mut graph);
        separate_parts(&mut graph)?;
        let sizes_of = sample_sizes(&graph)?;
        let mut program = Self {
            steps: Vec::new(),
            sizes: Vec::new(),
            value_names: Vec::new(),
            inputs: graph.inputs.len(),
            constants: Vec::new(),
            trainable: Vec::new(),
            moving: Vec::new(),
            normalizations: Vec::new(),
            observed: Vec::new(),
            quantized: Vec::new(),
            output: 0,
            hints: Vec::new(),
            buffer_of: Vec::new(),
            buffer_sizes: Vec::new(),
            spare_sample: 0,
            spare_variable: 0,
            training: Vec::new(),
            graph: Graph::default(),
        };
        let mut operands: HashMap<TensorId, Operand> = HashMap::new();
        for &input in &graph.inputs {
            operands.insert(input, Operand::Value(program.add_value(&graph, input, &sizes_of)?));
        }
        let live = live_nodes(&graph);
        for (index, node) in graph.nodes.iter().enumerate().filter(|(index, _)| live[*index]) {
            let place = || graph.place(index);
            let mut inputs = Vec::with_capacity(node.inputs.len());
            for (position, id) in node.inputs.iter().enumerate() {
                let operand = match id {
                    None => Operand::None,
                    Some(id) => match operands.get(id) {
                        Some(operand) => *operand,
                        None => {
                            let operand = program.add_constant(&graph, &node.op, position, *id);
                            let operand = operand.map_err(|error| error.at(place()))?;
                            if operand != Operand::None {
                                operands.insert(*id, operand);
                            }
                            operand
                        }
                    },
                };
                inputs.push(operand);
            }
            if let Op::FakeQuantizeWeights(op) = node.op {
                program.add_quantized(&graph, node, op, &inputs).map_err(|error| error.at(place()))?;
                // Who reads the results reads the variables, as they are once quantized.
                for (&result, &operand) in node.outputs.iter().zip(&inputs) {
                    operands.insert(result, operand);
                }
                continue;
            }
            let &[result] = node.outputs.as_slice() else {
                return Err(Error::unsupported(place(), "an op with several outputs"));
            };
            if let (Some(activation), Some(&Operand::Value(value))) = (clamping(&node.op), inputs.first())
                && let Some(id) = node.inputs.first().copied().flatten()
                && read_once(&graph, &live, id)
                && let Some(step) = program.steps.iter_mut().find(|step| step.output == value)
                && step.normalization.is_some()
                && step.activation == Activation::None
            {
                step.activation = activation;
                operands.insert(result, Operand::Value(value));
                continue;
            }
            if is_view(&node.op) {
                operands.insert(result, inputs.first().copied().unwrap_or(Operand::None));
                continue;
            }
            let value = program.add_value(&graph, result, &sizes_of).map_err(|error| error.at(place()))?;
            operands.insert(result, Operand::Value(value));
            let normalization = matches!(node.op, Op::BatchNormalization(_)).then(|| {
                program.normalizations.push(graph.tensor(result).shape.last().copied().unwrap_or(1));
                program.normalizations.len() - 1
            });
            let observed = match node.op {
                Op::FakeQuantize(op) => program.observe(op.momentum, inputs.get(1)),
                _ => None,
            };
            program.steps.push(Step {
                node: index,
                wanted: vec![Wanted::No; inputs.len()],
                operands: inputs,
                output: value,
                normalization,
                activation: Activation::None,
                observed,
            });
        }
        for (number, output) in graph.outputs.iter().enumerate() {
            match operands.get(output) {
                // The graph's inputs stay where the caller has them.
                Some(&Operand::Value(value)) if number > 0 && value < program.inputs => {
                    let place = format!("\"{}\"", graph.tensor(*output).name);
                    return Err(Error::unsupported(place, "it is the input: nothing before it learns"));
                }
                Some(&Operand::Value(value)) if number > 0 => program.hints.push(value),
                Some(&Operand::Value(value)) => program.output = value,
                _ => return Err(Error::unsupported("training", "the output does not depend on the input")),
            }
        }
        program.graph = graph;
        program.place_gradients(input_gradients);
        program.order_work();
        Ok(program)
    }

    fn add_value(&mut self, graph: &Graph, id: TensorId, sizes: &[Option<usize>]) -> Result<usize> {
        let tensor = graph.tensor(id);
        if tensor.dtype != DType::F32 {
            return Err(Error::unsupported(
                format!("\"{}\"", tensor.name),
                format!("only float32 can be trained through, not {}", tensor.dtype),
            )
            .with_hint("train the float model and quantize it afterwards"));
        }
        let size = sizes[id.0].ok_or_else(|| {
            Error::unsupported(
                format!("\"{}\"", tensor.name),
                format!("shape {:?} does not begin with the batch", tensor.shape),
            )
        })?;
        self.sizes.push(size);
        self.value_names.push(tensor.name.clone());
        Ok(self.sizes.len() - 1)
    }

    fn add_quantized(
        &mut self,
        graph: &Graph,
        node: &Node,
        op: litesmith_graph::ops::FakeQuantizeWeights,
        operands: &[Operand],
    ) -> Result<()> {
        let shape = node.inputs.first().copied().flatten().map_or(&[][..], |id| &graph.tensor(id).shape);
        let quantized = QuantizedWeights::new(op, shape, operands)
            .ok_or_else(|| Error::unsupported("", "the weights are computed, expected a float32 constant"))?;
        if self.quantized.iter().any(|other| other.shares(&quantized)) {
            return Err(Error::unsupported(
                "",
                "weights or a bias that several ops read cannot be quantized for each of them",
            )
            .with_hint("give each op weights of its own, or quantize after training"));
        }
        self.quantized.push(quantized);
        Ok(())
    }

    /// The number of the range that an operand is, if it is one that moves.
    fn observe(&mut self, momentum: Option<f32>, range: Option<&Operand>) -> Option<usize> {
        let (Some(momentum), Some(&Operand::Moving { start, .. })) = (momentum, range) else { return None };
        let known = self.observed.iter().position(|observed| observed.start == start);
        Some(known.unwrap_or_else(|| {
            self.observed.push(Observed { start, momentum });
            self.observed.len() - 1
        }))
    }

    /// The operand of a constant; [`Operand::None`] for what only planning reads (integers).
    fn add_constant(&mut self, graph: &Graph, op: &Op, position: usize, id: TensorId) -> Result<Operand> {
        let tensor = graph.tensor(id);
        let Some(data) = tensor.data.as_ref().filter(|_| tensor.dtype == DType::F32) else {
            return Ok(Operand::None);
        };
        let len = tensor.elements()?;
        let (kind, is_trainable) = match role(op, position, tensor) {
            Parameter::Trainable => (&mut self.trainable, true),
            Parameter::Moving => (&mut self.moving, false),
            Parameter::Constant => {
                self.constants.push(data.elements::<f32>()?.iter().map(|&x| T::from_f64(f64::from(x))).collect());
                return Ok(Operand::Constant(self.constants.len() - 1));
            }
        };
        let start = kind.last().map_or(0, |last| last.range.end);
        kind.push(Variable {
            name: tensor.name.clone(),
            tensor: id,
            shape: tensor.shape.clone(),
            range: start..start + len,
        });
        Ok(if is_trainable { Operand::Trainable { start, len } } else { Operand::Moving { start, len } })
    }

    /// The present elements of trainable and moving variables, flat.
    pub(crate) fn initial_variables(&self) -> Result<(Vec<T>, Vec<T>)> {
        let flat = |variables: &[Variable]| -> Result<Vec<T>> {
            let mut flat = Vec::new();
            for variable in variables {
                if let Some(data) = &self.graph.tensor(variable.tensor).data {
                    flat.extend(data.elements::<f32>()?.iter().map(|&x| T::from_f64(f64::from(x))));
                }
            }
            Ok(flat)
        };
        Ok((flat(&self.trainable)?, flat(&self.moving)?))
    }

    /// Finds which gradients are wanted, and gives each a buffer that it shares with others that live at other times.
    fn place_gradients(&mut self, input_gradients: bool) {
        let mut depends = vec![false; self.sizes.len()];
        depends[..self.inputs].fill(input_gradients);
        let learns = |operand: &Operand, depends: &[bool]| match operand {
            Operand::Trainable { .. } => true,
            Operand::Value(value) => depends[*value],
            Operand::None | Operand::Moving { .. } | Operand::Constant(_) => false,
        };
        for step in &self.steps {
            depends[step.output] = step.operands.iter().any(|operand| learns(operand, &depends));
        }
        self.buffer_of = vec![None; self.sizes.len()];
        let mut free: Vec<usize> = Vec::new();
        for &value in std::iter::once(&self.output).chain(&self.hints) {
            if depends[value] && self.buffer_of[value].is_none() {
                self.buffer_of[value] = Some(self.buffer_sizes.len());
                self.buffer_sizes.push(self.sizes[value]);
            }
        }
        for step in self.steps.iter_mut().rev() {
            let Some(own) = self.buffer_of[step.output] else { continue };
            for (operand, wanted) in step.operands.iter().zip(&mut step.wanted) {
                match *operand {
                    Operand::Trainable { len, .. } => {
                        *wanted = Wanted::More;
                        self.spare_variable = self.spare_variable.max(len);
                    }
                    Operand::Value(value) if depends[value] => {
                        *wanted = Wanted::More;
                        self.spare_sample = self.spare_sample.max(self.sizes[value]);
                        if self.buffer_of[value].is_none() {
                            *wanted = Wanted::First;
                            let size = self.sizes[value];
                            // The free buffer whose size is nearest; one that is too small grows.
                            let nearest =
                                (0..free.len()).min_by_key(|&index| self.buffer_sizes[free[index]].abs_diff(size));
                            let buffer = match nearest {
                                Some(index) => free.swap_remove(index),
                                None => {
                                    self.buffer_sizes.push(0);
                                    self.buffer_sizes.len() - 1
                                }
                            };
                            self.buffer_sizes[buffer] = self.buffer_sizes[buffer].max(size);
                            self.buffer_of[value] = Some(buffer);
                        }
                    }
                    Operand::Value(_) | Operand::None | Operand::Moving { .. } | Operand::Constant(_) => {}
                }
            }
            free.push(own);
        }
    }

    /// Cuts the work into phases at the batch normalizations, where all shards must meet.
    fn order_work(&mut self) {
        let mut phases = vec![Phase::default()];
        let mut push = |task: Task, sync: Option<Sync>| {
            if let Some(phase) = phases.last_mut() {
                phase.tasks.push(task);
                phase.sync = sync;
            }
            if sync.is_some() {
                phases.push(Phase::default());
            }
        };
        for (index, step) in self.steps.iter().enumerate() {
            if step.normalization.is_some() {
                push(Task::Measure(index), Some(Sync::Statistics(index)));
            }
            push(Task::Forward(index), None);
        }
        push(Task::Loss, None);
        for (index, step) in self.steps.iter().enumerate().rev() {
            if self.buffer_of[step.output].is_none() {
                continue;
            }
            if step.normalization.is_some() {
                push(Task::BackwardStatistics(index), Some(Sync::Gradients(index)));
            }
            push(Task::Backward(index), None);
        }
        self.training = phases;
    }

    /// The graph with shapes for `samples` samples.
    pub(crate) fn graph_for(&self, samples: usize) -> Result<Graph> {
        with_batch(&self.graph, samples)
    }

    /// `op 3 CONV_2D "name"`: a step in messages.
    pub(crate) fn place(&self, step: usize) -> String {
        self.graph.place(self.steps[step].node)
    }
}

/// The activation that only clamps and so can take its gradient from its result, if `op` is one.
fn clamping(op: &Op) -> Option<Activation> {
    match op {
        Op::Relu(_) => Some(Activation::Relu),
        Op::Relu6(_) => Some(Activation::Relu6),
        Op::ReluN1To1(_) => Some(Activation::ReluN1To1),
        _ => None,
    }
}

/// Whether one input of one live node reads `id`, and the graph does not give it out.
fn read_once(graph: &Graph, live: &[bool], id: TensorId) -> bool {
    let nodes = graph.nodes.iter().zip(live).filter(|(_, live)| **live);
    let reads = nodes.flat_map(|(node, _)| &node.inputs).filter(|input| **input == Some(id)).count();
    reads == 1 && !graph.outputs.contains(&id)
}

/// Which nodes the output needs. Tensors keep their numbers, so nothing is removed.
fn live_nodes(graph: &Graph) -> Vec<bool> {
    let mut needed = vec![false; graph.tensors.len()];
    graph.outputs.iter().for_each(|id| needed[id.0] = true);
    let mut live = vec![false; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        live[index] = node.outputs.iter().any(|id| needed[id.0]);
        if live[index] {
            node.inputs.iter().flatten().for_each(|id| needed[id.0] = true);
        }
    }
    live
}

fn with_batch(graph: &Graph, batch: usize) -> Result<Graph> {
    let mut graph = graph.clone();
    for input in graph.inputs.clone() {
        if let Some(first) = graph.tensor_mut(input).shape.first_mut() {
            *first = batch;
        }
    }
    graph.infer_shapes()?;
    Ok(graph)
}

/// Elements for one sample of each tensor that grows with the batch along its first axis.
fn sample_sizes(graph: &Graph) -> Result<Vec<Option<usize>>> {
    let (one, two) = (with_batch(graph, 1)?, with_batch(graph, 2)?);
    let sizes = one.tensors.iter().zip(&two.tensors).map(|(one, two)| -> Result<Option<usize>> {
        let grows = match (one.shape.split_first(), two.shape.split_first()) {
            (Some((first, rest)), Some((doubled, same))) => first.checked_mul(2) == Some(*doubled) && rest == same,
            _ => false,
        };
        Ok(if grows { Some(elements(&one.shape)?) } else { None })
    });
    sizes.collect()
}

/// Replaces each SPLIT, SPLIT_V and UNPACK by an op of one output for each of its parts.
fn separate_parts(graph: &mut Graph) -> Result<()> {
    for node in std::mem::take(&mut graph.nodes) {
        let unpack = match node.op {
            Op::Unpack(op) => Some(i64::from(op.axis)),
            Op::Split(_) | Op::SplitV(_) => None,
            _ => {
                graph.nodes.push(node);
                continue;
            }
        };
        let inputs = Inputs::new(&node.op, graph.node_tensors(&node.inputs));
        let axis_input = if let Op::SplitV(_) = node.op { 2 } else { 0 };
        let axis = match unpack {
            Some(axis) => axis,
            None => inputs.integers(axis_input, "axis")?.first().copied().unwrap_or(0),
        };
        let value = node.inputs.get(node.op.typed_by()).copied().flatten();
        let rank = value.map_or(0, |id| graph.tensor(id).shape.len());
        let axis = resolve_axis(node.op.name(), axis, rank)?;
        let mut first = 0;
        for (index, &output) in node.outputs.iter().enumerate() {
            let on_axis =
                |x: i32, others: i32| (0..rank).map(move |at| if at == axis { x } else { others }).collect::<Vec<_>>();
            let index = i32::try_from(index).unwrap_or(i32::MAX);
            let (op, lists): (Op, Vec<Vec<i32>>) = if unpack.is_some() {
                let bit = 1 << axis;
                let op =
                    StridedSlice { begin_mask: !bit, end_mask: !bit, shrink_axis_mask: bit, ..StridedSlice::default() };
                (op.into(), vec![on_axis(index, 0), on_axis(index + 1, 0), vec![1; rank]])
            } else {
                let size =
                    graph.tensor(output).shape.get(axis).map_or(0, |&size| i32::try_from(size).unwrap_or(i32::MAX));
                let begin = first;
                first += size;
                (Slice.into(), vec![on_axis(begin, 0), on_axis(size, -1)])
            };
            let constant = |list: Vec<i32>| {
                let tensor = Tensor::constant("part", DType::I32, [list.len()], Data::from_slice(&list));
                Some(graph.add_tensor(tensor))
            };
            let inputs = std::iter::once(value).chain(lists.into_iter().map(constant)).collect();
            graph.nodes.push(Node { op, inputs, outputs: vec![output] });
        }
    }
    Ok(())
}

/// Gives each RESHAPE whose shape is computed, as converters write it for a batch that may change, the constant shape
/// that it has for any batch.
pub(crate) fn fix_reshapes(graph: &mut Graph) {
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let Op::Reshape(_) = node.op else { continue };
        let Some(shape) = node.inputs.get(1).copied().flatten() else { continue };
        let output = node.outputs.first().map(|&id| graph.tensor(id).shape.clone()).unwrap_or_default();
        if graph.tensor(shape).data.is_some() || output.first() != Some(&1) {
            continue;
        }
        let sizes = output.iter().skip(1).map(|&size| i32::try_from(size).unwrap_or(i32::MAX));
        let new_shape: Vec<_> = std::iter::once(-1).chain(sizes).collect();
        let node = &mut graph.nodes[index];
        node.inputs.truncate(1);
        node.op = litesmith_graph::ops::Reshape { new_shape: Some(new_shape) }.into();
    }
}

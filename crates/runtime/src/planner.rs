//! From a part of a graph to steps: shapes inferred, constants folded, views aliased, kernels planned.

use std::collections::BTreeMap;

use litesmith_graph::ops::Inputs;
use litesmith_graph::{Data, Error, Graph, Node, Op, Result, Tensor, TensorId};
use litesmith_kernels::Buffer;

use crate::SessionOptions;
use crate::control::{self, Control, PlannedCall};
use crate::env::{Env, Reservation, Value, over_limit};
use crate::fuse::fuse;
use crate::kernel::{self, Io, Kernel, Place};
use crate::ops::{NodeContext, custom, plan_node};
use crate::place::place;
use crate::runner::{Runner, State, Watch};

/// One op, ready to run.
pub(crate) struct Step {
    pub(crate) node: usize,
    pub(crate) kernel: Kernel,
    pub(crate) inputs: Vec<Place>,
    /// Slots of the outputs, and of the states that the op changes.
    pub(crate) output_slots: Vec<usize>,
    pub(crate) output_bytes: Vec<usize>,
    /// What has its value once the step ran: its outputs, and the views of them that follow.
    pub(crate) computed: Vec<TensorId>,
}

/// A stage of a graph, ready to run.
pub(crate) struct Plan {
    /// The graph's tensors with the shapes of this plan, folded constants filled in.
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) steps: Vec<Step>,
    pub(crate) places: Vec<Place>,
    /// The tensor whose memory each tensor shares: itself, or what it is a view of.
    pub(crate) root: Vec<TensorId>,
    pub(crate) slot_bytes: Vec<usize>,
    pub(crate) scratch_bytes: usize,
    pub(crate) outputs_max: usize,
    /// Tensors that earlier stages give.
    pub(crate) given: Vec<TensorId>,
    /// Values of earlier stages that this plan took for constants.
    pub(crate) assumed: Vec<(TensorId, Data)>,
    /// Whether ops were fused, so that not every tensor gets its value.
    pub(crate) fused: bool,
    /// Whether planning ran something with effects, so that every run must plan anew.
    pub(crate) has_run: bool,
    /// Where the stage ends, when it is not the last.
    pub(crate) next: Option<Pause>,
    /// Weights, tables and constants that the plan holds.
    pub(crate) packed: Vec<Reservation>,
}

/// The end of a stage.
pub(crate) struct Pause {
    /// The node that cannot be planned before values are known.
    pub(crate) node: usize,
}

/// A step whose memory is not placed yet.
pub(crate) struct Planned {
    pub(crate) node: usize,
    pub(crate) kernel: Kernel,
    pub(crate) inputs: Vec<Option<TensorId>>,
    pub(crate) outputs: Vec<TensorId>,
    /// States that the kernel changes, as outputs behind its own.
    pub(crate) states: Vec<TensorId>,
    pub(crate) computed: Vec<TensorId>,
}

/// What is planned.
pub(crate) struct PlanInput<'a> {
    pub(crate) subgraph: usize,
    /// The graph, its tensors as the stages before left them.
    pub(crate) graph: &'a mut Graph,
    /// Whether this is the first stage, which holds the graph's inputs.
    pub(crate) first: bool,
    /// The first node of the stage.
    pub(crate) from: usize,
    pub(crate) states: &'a [State],
    pub(crate) handles: &'a mut [Option<usize>],
    /// Values of earlier stages, while running.
    pub(crate) values: Option<&'a dyn Fn(TensorId) -> Option<Data>>,
}

/// What became of a node.
enum Outcome {
    /// It is a step, or nothing.
    Done,
    /// These values must be known first.
    Needs(Vec<TensorId>),
    /// No kernel takes it, and what follows cannot be planned without its value.
    Refused,
}

struct Planner<'a, 'e, 's> {
    input: PlanInput<'a>,
    env: &'e mut Env<'s>,
    planned: Vec<Planned>,
    /// The tensor whose memory a tensor shares: itself, or what it is a view of.
    root: Vec<TensorId>,
    /// The step that computes a tensor's root.
    step_of: Vec<Option<usize>>,
    assumed: Vec<(TensorId, Data)>,
    packed: Vec<Reservation>,
    has_run: bool,
    /// Multiply-accumulates of the nodes that ran while planning.
    folded: u64,
    /// Nodes that no kernel takes.
    refused: Vec<(usize, Error)>,
}

/// Multiply-accumulates that planning spends on nodes whose inputs are constants, all together: what takes longer is computed in each
/// run, so that planning a hostile file takes no longer than running it.
const FOLDED_MACS: u64 = 1 << 30;

/// Multiply-accumulates of a node, or comparisons of a pool.
fn work(graph: &Graph, index: usize) -> u64 {
    let node = &graph.nodes[index];
    let elements: usize =
        node.outputs.iter().map(|&id| graph.tensor(id).elements().unwrap_or(usize::MAX)).max().unwrap_or(0);
    let window = match &node.op {
        Op::MaxPool2d(op) => op.filter_height.saturating_mul(op.filter_width),
        Op::AveragePool2d(op) => op.filter_height.saturating_mul(op.filter_width),
        _ => 0,
    };
    graph.cost(index).macs.max(elements.saturating_mul(window) as u64)
}

pub(crate) fn plan(input: PlanInput<'_>, env: &mut Env<'_>) -> Result<Plan> {
    let tensors = input.graph.tensors.len();
    let mut planner = Planner {
        input,
        env,
        planned: Vec::new(),
        root: (0..tensors).map(TensorId).collect(),
        step_of: vec![None; tensors],
        assumed: Vec::new(),
        packed: Vec::new(),
        has_run: false,
        folded: 0,
        refused: Vec::new(),
    };
    let next = planner.plan_nodes()?;
    planner.combine()?;
    let Planner { input, env, mut planned, root, assumed, packed, has_run, .. } = planner;
    let next_node = next.as_ref().map(|pause| pause.node);
    let fused = env.fuses && fuse(&input, &mut planned, &root, next_node, env.options.threads);
    let placed = place(&input, planned, &root, next_node, env.options)?;
    Ok(Plan { tensors: input.graph.tensors.clone(), root, assumed, packed, fused, has_run, next, ..placed })
}

impl Planner<'_, '_, '_> {
    fn locate(&self, index: usize, error: Error) -> Error {
        match self.env.subgraphs.get(self.input.subgraph) {
            Some(subgraph) => subgraph.locate(index, error),
            None => self.input.graph.locate(index, error),
        }
    }

    /// Plans nodes up to the first whose values are not known.
    fn plan_nodes(&mut self) -> Result<Option<Pause>> {
        for index in self.input.from..self.input.graph.nodes.len() {
            let node = self.input.graph.nodes[index].clone();
            loop {
                let needed = match self.plan_one(index, &node) {
                    Ok(Outcome::Done) => break,
                    Ok(Outcome::Refused) => return Ok(None),
                    Ok(Outcome::Needs(ids)) => ids,
                    Err(error) => {
                        let id = error.needed_input().and_then(|input| node.inputs.get(input).copied().flatten());
                        match id.filter(|&id| self.input.graph.tensor(id).data.is_none()) {
                            Some(id) if self.can_wait(index, id) => vec![id],
                            _ => return Err(self.locate(index, error)),
                        }
                    }
                };
                if !self.assume(&needed).map_err(|error| self.locate(index, error))? {
                    return Ok(Some(Pause { node: index }));
                }
            }
        }
        Ok(None)
    }

    /// One error for all nodes that no kernel takes: each op and reason once, with how often and where first.
    fn combine(&mut self) -> Result<()> {
        const HINT: &str =
            "docs/OPERATORS.md lists the ops and element types that run; `litesmith inspect` shows the model";
        let mut refused = std::mem::take(&mut self.refused);
        if refused.len() <= 1 {
            let Some((index, error)) = refused.pop() else { return Ok(()) };
            let error = self.locate(index, error);
            return Err(if error.hint().is_some() { error } else { error.with_hint(HINT) });
        }
        let graph = &*self.input.graph;
        let mut reasons: BTreeMap<(&str, String), (usize, usize)> = BTreeMap::new();
        for (index, error) in &refused {
            let key = (graph.nodes[*index].op.name(), error.to_string());
            reasons.entry(key).or_insert((*index, 0)).1 += 1;
        }
        let list: Vec<_> = reasons
            .iter()
            .map(|((op, reason), (first, count))| format!("{op} ({count}x, first {}): {reason}", graph.place(*first)))
            .collect();
        let message = format!("{} ops cannot be planned: {}", refused.len(), list.join("; "));
        Err(Error::unsupported("", message).with_hint(HINT))
    }

    /// Whether the value of `id` will be known in a later stage.
    fn can_wait(&self, index: usize, id: TensorId) -> bool {
        // Within a run the values of earlier stages are there: what is not will never be.
        let is_resource = self.input.graph.tensor(id).dtype.bits() == 0;
        !is_resource && (self.input.values.is_none() || index > self.input.from || self.value(id).is_some())
    }

    /// The value that an earlier stage computed.
    fn value(&self, id: TensorId) -> Option<Data> {
        let root = self.root[id.0];
        if self.step_of[root.0].is_some() {
            return None;
        }
        self.input.values.and_then(|values| values(id).or_else(|| values(root)))
    }

    /// Takes values for constants; false when one is not known yet.
    fn assume(&mut self, ids: &[TensorId]) -> Result<bool> {
        let values: Option<Vec<_>> = ids.iter().map(|&id| self.value(id).map(|data| (id, data))).collect();
        let Some(values) = values else { return Ok(false) };
        if self.input.values.is_none() {
            return Ok(false);
        }
        for (id, data) in values {
            self.packed.push(self.env.charge(data.len())?);
            self.input.graph.tensor_mut(id).data = Some(data.clone());
            self.assumed.push((id, data));
        }
        Ok(true)
    }

    fn plan_one(&mut self, index: usize, node: &Node) -> Result<Outcome> {
        match &node.op {
            Op::VarHandle(op) => {
                let variable = self.env.variables.find(&op.container, &op.shared_name);
                for &id in &node.outputs {
                    self.input.handles[id.0] = Some(variable);
                }
                Ok(Outcome::Done)
            }
            Op::ReadVariable(_) => self.plan_read(index, node),
            Op::AssignVariable(_) => self.plan_assign(index, node),
            Op::CallOnce(op) => {
                if self.env.variables.initialized.insert(op.init_graph) {
                    Runner::new(self.env, op.init_graph, Some(&[]))?.run(self.env, &mut Watch::Nothing)?;
                }
                Ok(Outcome::Done)
            }
            Op::If(_) | Op::While(_) => self.plan_call(index, node),
            _ => self.plan_kernel(index, node),
        }
    }

    fn handle(&self, node: &Node) -> Result<usize> {
        let id = node.inputs.first().copied().flatten();
        let handle = id.and_then(|id| self.input.handles.get(id.0).copied().flatten());
        handle.ok_or_else(|| Error::malformed("", "its first input does not come from a VAR_HANDLE"))
    }

    fn plan_read(&mut self, index: usize, node: &Node) -> Result<Outcome> {
        let variable = self.handle(node)?;
        let &[output] = node.outputs.as_slice() else {
            return Err(Error::malformed("", format!("got {} outputs, expected 1", node.outputs.len())));
        };
        let known = self.env.variables.get(variable).and_then(|variable| variable.form.clone());
        let tensor = self.input.graph.tensor_mut(output);
        if let Some((dtype, shape)) = known {
            if dtype != tensor.dtype {
                return Err(Error::malformed("", format!("the variable is {dtype}, the output {}", tensor.dtype)));
            }
            tensor.shape = shape;
        }
        let control = Box::new(Control::Read { variable, shape: tensor.shape.clone() });
        self.push(index, node, Kernel::control("read_variable".into(), control), Vec::new());
        Ok(Outcome::Done)
    }

    fn plan_assign(&mut self, index: usize, node: &Node) -> Result<Outcome> {
        infer(self.input.graph, node, self.env.options)?;
        let variable = self.handle(node)?;
        let Some(&Some(value)) = node.inputs.get(1) else {
            return Err(Error::malformed("", "it has no value"));
        };
        let tensor = self.input.graph.tensor(value);
        let known = self.env.variables.get(variable).and_then(|variable| variable.form.as_ref());
        if let Some((dtype, _)) = known.filter(|(dtype, _)| *dtype != tensor.dtype) {
            return Err(Error::malformed("", format!("the variable is {dtype}, its value {}", tensor.dtype)));
        }
        let (form, bytes) = ((tensor.dtype, tensor.shape.clone()), tensor.byte_size()?);
        let shape = tensor.shape.clone();
        let allowed = self.env.options.arena_bytes_max;
        self.env.variables.plan_assignment(variable, form, bytes, self.env.arena, allowed)?;
        let kernel = Kernel::control("assign_variable".into(), Box::new(Control::Assign { variable, shape }));
        self.push(index, node, kernel, Vec::new());
        Ok(Outcome::Done)
    }

    fn plan_call(&mut self, index: usize, node: &Node) -> Result<Outcome> {
        let graph = &*self.input.graph;
        let given = node.inputs.iter().flatten().count() == node.inputs.len();
        if !given {
            return Err(Error::malformed("", "an input is left out"));
        }
        let ids: Vec<_> = node.inputs.iter().flatten().copied().collect();
        let inputs: Vec<_> = ids.iter().map(|id| (graph.tensor(*id), self.input.handles[id.0])).collect();
        let outputs: Vec<_> = node.outputs.iter().map(|&id| graph.tensor(id)).collect();
        let called = node.op.subgraphs();
        let has_effects =
            called.iter().any(|&called| self.env.subgraphs.get(called).is_some_and(|called| called.has_effects));
        let unknown: Vec<_> = ids
            .iter()
            .copied()
            .filter(|id| graph.tensor(*id).data.is_none() && self.input.handles[id.0].is_none())
            .collect();
        let planned = match (&node.op, inputs.split_first()) {
            (Op::If(op), Some(((condition, _), inputs))) => {
                control::plan_if(self.env, *op, condition, inputs, &outputs)?
            }
            (Op::While(op), _) => control::plan_while(self.env, *op, &inputs, &outputs)?,
            _ => return Err(Error::malformed("", "it has no condition")),
        };
        match planned {
            PlannedCall::Static { control, shapes, handles } => {
                for ((&id, shape), handle) in node.outputs.iter().zip(shapes).zip(handles) {
                    self.input.graph.tensor_mut(id).shape = shape;
                    self.input.handles[id.0] = handle;
                }
                let kernel = Kernel::control(format!("{}/subgraphs", node.op.snake_name()), control);
                if unknown.is_empty() && !has_effects && !node.outputs.is_empty() {
                    self.fold(node, kernel)?;
                } else {
                    self.push(index, node, kernel, Vec::new());
                }
                Ok(Outcome::Done)
            }
            // Only a run can tell the shapes: it takes place when everything before has run, and what follows is planned for
            // what it gave.
            PlannedCall::Dynamic if !unknown.is_empty() => Ok(Outcome::Needs(unknown)),
            PlannedCall::Dynamic if has_effects && (self.input.values.is_none() || !self.planned.is_empty()) => {
                Ok(Outcome::Needs(ids))
            }
            PlannedCall::Dynamic => {
                let values = match (&node.op, inputs.split_first()) {
                    (Op::If(op), Some(((condition, _), inputs))) => {
                        control::run_if(self.env, *op, condition, inputs, &outputs)?
                    }
                    (Op::While(op), _) => control::run_while(self.env, *op, &inputs, &outputs)?,
                    _ => Vec::new(),
                };
                self.has_run |= has_effects;
                for (&id, Value { shape, data }) in node.outputs.iter().zip(values) {
                    self.packed.push(self.env.charge(data.len())?);
                    let tensor = self.input.graph.tensor_mut(id);
                    tensor.shape = shape;
                    tensor.data = Some(data);
                }
                Ok(Outcome::Done)
            }
        }
    }

    fn plan_kernel(&mut self, index: usize, node: &Node) -> Result<Outcome> {
        let options = self.env.options;
        let graph = &mut *self.input.graph;
        let shapes = infer(graph, node, options)?;
        if shapes.len() != node.outputs.len() {
            let got = node.outputs.len();
            return Err(Error::malformed("", format!("got {got} outputs, expected {}", shapes.len())));
        }
        for (&id, shape) in node.outputs.iter().zip(shapes) {
            graph.tensor_mut(id).shape = shape;
        }
        let graph = &*self.input.graph;
        let constant = node.inputs.iter().flatten().all(|&id| graph.tensor(id).data.is_some());
        if is_view(&node.op) && !constant {
            return self.plan_view(node);
        }
        // The constants that the node may pack for itself.
        let inputs = node.inputs.iter().flatten().filter_map(|&id| graph.tensor(id).data.as_ref());
        self.packed.push(self.env.charge(inputs.map(Data::len).fold(0, usize::saturating_add))?);
        let states = self.states(node)?;
        let kernel = if node.outputs.iter().all(|&id| graph.tensor(id).shape.contains(&0)) {
            // Nothing is computed; loops over the other sizes, which may be any, must not run.
            Kernel::new(format!("{}/empty", node.op.snake_name()), |_, _| Ok(()))
        } else {
            let unfolded = self.env.subgraphs.get(self.input.subgraph).map(|subgraph| &subgraph.graph);
            match plan_node(&NodeContext { graph, node, options, isa: self.env.context.isa, unfolded }) {
                Ok(kernel) => kernel,
                // One error tells of every such node; those whose shapes follow from a missing value are not reached.
                Err(error) if matches!(error, Error::Unsupported(_)) && error.needed_input().is_none() => {
                    self.refused.push((index, error));
                    let folds = constant || matches!(node.op, Op::Shape(_) | Op::Rank(_));
                    return Ok(if folds { Outcome::Refused } else { Outcome::Done });
                }
                Err(error) => return Err(error),
            }
        };
        self.packed.push(self.env.charge(kernel.plan_bytes)?);
        let work = self.folded.saturating_add(work(self.input.graph, index));
        let folds = constant && states.is_empty() && work <= FOLDED_MACS;
        if folds || matches!(node.op, Op::Shape(_) | Op::Rank(_)) {
            self.folded = work;
            self.fold(node, kernel)?;
        } else {
            self.push(index, node, kernel, states);
        }
        Ok(Outcome::Done)
    }

    fn plan_view(&mut self, node: &Node) -> Result<Outcome> {
        if let (Some(&Some(input)), Some(&output)) = (node.inputs.first(), node.outputs.first()) {
            let (from, to) = (self.input.graph.tensor(input), self.input.graph.tensor(output));
            if from.dtype != to.dtype {
                return Err(Error::malformed("", format!("turns {from} into {to}: the types differ")));
            }
            self.root[output.0] = self.root[input.0];
            if let Some(step) = self.step_of[self.root[input.0].0] {
                self.planned[step].computed.push(output);
            }
        }
        Ok(Outcome::Done)
    }

    /// The states that a node changes: variable tensors among its inputs. Its kernel finds them, with their present value, behind
    /// its own outputs, and not among its inputs.
    fn states(&self, node: &Node) -> Result<Vec<TensorId>> {
        let mut states = Vec::new();
        for &index in node.op.state_inputs() {
            let Some(&Some(id)) = node.inputs.get(index) else { continue };
            let is_state = self.input.states.iter().any(|state| state.tensor == id);
            let uses = node.inputs.iter().flatten().filter(|&&other| other == id).count();
            if !is_state || uses != 1 {
                let name = &self.input.graph.tensor(id).name;
                return Err(Error::malformed("", format!("input {index} \"{name}\" is no variable of its own")));
            }
            states.push(id);
        }
        Ok(states)
    }

    fn push(&mut self, index: usize, node: &Node, kernel: Kernel, states: Vec<TensorId>) {
        node.outputs.iter().for_each(|id| self.step_of[id.0] = Some(self.planned.len()));
        // Variables are no values.
        let is_value = |id: &&TensorId| self.input.graph.tensor(**id).dtype.bits() != 0;
        let outputs: Vec<_> = node.outputs.iter().filter(is_value).copied().collect();
        let (inputs, computed) = (node.inputs.clone(), outputs.clone());
        self.planned.push(Planned { node: index, kernel, inputs, computed, outputs, states });
    }

    /// Runs a node whose inputs are known and stores its outputs as constants.
    fn fold(&mut self, node: &Node, mut kernel: Kernel) -> Result<()> {
        let graph = &mut *self.input.graph;
        let bytes = node.outputs.iter().map(|&id| graph.tensor(id).byte_size()).collect::<Result<Vec<_>>>()?;
        for &bytes in &bytes {
            self.packed.push(self.env.charge(bytes)?);
        }
        check_memory(&[kernel.scratch_bytes], self.env.options)?;
        let places: Vec<_> = node
            .inputs
            .iter()
            .map(|id| id.and_then(|id| graph.tensor(id).data.clone()).map_or(Place::Nowhere, Place::Constant))
            .collect();
        let mut buffers: Vec<_> = bytes.iter().map(|&bytes| Buffer::new(bytes)).collect();
        let mut scratch = Buffer::new(kernel.scratch_bytes);
        kernel.run(
            self.env,
            Io {
                inputs: kernel::Inputs { places: &places, slots: &[] },
                outputs: &mut buffers,
                output_bytes: &bytes,
                scratch: &mut scratch,
                then: None,
            },
        )?;
        for (&id, buffer) in node.outputs.iter().zip(&buffers) {
            graph.tensor_mut(id).data = Some(Data::from_bytes(buffer.as_slice()));
        }
        Ok(())
    }
}

/// The shapes of a node's outputs.
fn infer(graph: &Graph, node: &Node, options: &SessionOptions) -> Result<Vec<Vec<usize>>> {
    match &node.op {
        Op::Custom(op) => custom::infer(graph, node, op, options),
        // Shape inference would be content with the attribute, which a shape that is computed overrules.
        Op::Reshape(_) => {
            let inputs = Inputs::new(&node.op, graph.node_tensors(&node.inputs));
            if inputs.optional(1).is_some_and(|shape| shape.shape.len() == 1) {
                inputs.data(1, "shape")?;
            }
            node.op.infer_shapes(&graph.node_tensors(&node.inputs))
        }
        op => op.infer_shapes(&graph.node_tensors(&node.inputs)),
    }
}

/// Ops that only give the same elements another shape.
fn is_view(op: &Op) -> bool {
    matches!(op, Op::Reshape(_) | Op::Squeeze(_) | Op::ExpandDims(_) | Op::Dropout(_))
}

pub(crate) fn check_memory(bytes: &[usize], options: &SessionOptions) -> Result<()> {
    let total = bytes.iter().fold(0_usize, |sum, &bytes| sum.saturating_add(bytes));
    if total <= options.arena_bytes_max { Ok(()) } else { Err(over_limit(total, options.arena_bytes_max)) }
}

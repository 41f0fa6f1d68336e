//! From a graph to steps: shapes inferred, constants folded, views aliased, kernels planned, memory placed.

use std::collections::BTreeMap;

use litesmith_graph::{Data, Error, Graph, Node, Op, Result, Tensor, TensorId};
use litesmith_kernels::{Buffer, Context};

use crate::SessionOptions;
use crate::kernel::{Inputs, Io, Kernel, Place};
use crate::ops::{NodeContext, custom, plan_node};

/// One op, ready to run.
pub(crate) struct Step {
    pub(crate) node: usize,
    pub(crate) kernel: Kernel,
    pub(crate) inputs: Vec<Place>,
    pub(crate) output_slots: Vec<usize>,
    pub(crate) output_bytes: Vec<usize>,
    /// What has its value once the step ran: its outputs, and the views of them that follow.
    pub(crate) computed: Vec<TensorId>,
}

/// A graph, ready to run.
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
}

/// A step whose memory is not placed yet.
struct Planned {
    node: usize,
    kernel: Kernel,
    outputs: Vec<TensorId>,
    computed: Vec<TensorId>,
}

pub(crate) fn plan(graph: &Graph, options: &SessionOptions, context: Context<'_>) -> Result<Plan> {
    let mut graph = graph.clone();
    let mut planned: Vec<Planned> = Vec::with_capacity(graph.nodes.len());
    // The tensor whose memory a tensor shares: itself, or what it is a view of.
    let mut root: Vec<TensorId> = (0..graph.tensors.len()).map(TensorId).collect();
    // The step that computes a tensor's root.
    let mut step_of: Vec<Option<usize>> = vec![None; graph.tensors.len()];
    let mut memory = PlanMemory::new(&graph, options);
    let mut refused = Vec::new();
    for index in 0..graph.nodes.len() {
        let node = graph.nodes[index].clone();
        let place = graph.place(index);
        let shapes = infer(&graph, &node, options).map_err(|error| graph.locate(index, error))?;
        if shapes.len() != node.outputs.len() {
            let got = node.outputs.len();
            return Err(Error::malformed(place, format!("got {got} outputs, expected {}", shapes.len())));
        }
        for (&id, shape) in node.outputs.iter().zip(shapes) {
            graph.tensor_mut(id).shape = shape;
        }
        check_values(&graph, &node).map_err(|error| error.at(&place))?;
        let constant = node.inputs.iter().flatten().all(|&id| graph.tensor(id).data.is_some());
        if is_view(&node.op) && !constant {
            if let (Some(&Some(input)), Some(&output)) = (node.inputs.first(), node.outputs.first()) {
                let (from, to) = (graph.tensor(input), graph.tensor(output));
                if from.dtype != to.dtype {
                    return Err(Error::malformed(place, format!("turns {from} into {to}: the types differ")));
                }
                root[output.0] = root[input.0];
                if let Some(step) = step_of[root[input.0].0] {
                    planned[step].computed.push(output);
                }
            }
            continue;
        }
        memory.charge_constants(&graph, &node).map_err(|error| error.at(&place))?;
        let kernel = if node.outputs.iter().all(|&id| graph.tensor(id).shape.contains(&0)) {
            // Nothing is computed; loops over the other sizes, which may be any, must not run.
            Kernel::new(format!("{}/empty", node.op.snake_name()), |_, _| Ok(()))
        } else {
            match plan_node(&NodeContext { graph: &graph, node: &node, options, isa: context.isa }) {
                Ok(kernel) => kernel,
                // One error tells of every such node; those whose shapes follow from a missing value are not reached.
                Err(error) if matches!(error, Error::Unsupported(_)) => {
                    refused.push((index, error));
                    if constant || matches!(node.op, Op::Shape(_)) {
                        break;
                    }
                    continue;
                }
                Err(error) => return Err(graph.locate(index, error)),
            }
        };
        memory.charge(kernel.plan_bytes).map_err(|error| error.at(&place))?;
        if constant || matches!(node.op, Op::Shape(_)) {
            memory.charge_folded(&graph, &node).map_err(|error| error.at(&place))?;
            check_memory(&[kernel.scratch_bytes], options).map_err(|error| error.at(&place))?;
            fold(&mut graph, &node, &kernel, context).map_err(|error| error.at(&place))?;
        } else {
            node.outputs.iter().for_each(|id| step_of[id.0] = Some(planned.len()));
            planned.push(Planned { node: index, kernel, outputs: node.outputs.clone(), computed: node.outputs });
        }
    }
    combine(&graph, refused)?;
    place(graph, planned, root, options)
}

/// One error for all nodes that no kernel takes: each op and reason once, with how often and where first.
fn combine(graph: &Graph, mut refused: Vec<(usize, Error)>) -> Result<()> {
    const HINT: &str =
        "docs/OPERATORS.md lists the ops and element types that run; `litesmith inspect` shows the model";
    if refused.len() <= 1 {
        let Some((index, error)) = refused.pop() else { return Ok(()) };
        let error = graph.locate(index, error);
        return Err(if error.hint().is_some() { error } else { error.with_hint(HINT) });
    }
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

/// The shapes of a node's outputs.
fn infer(graph: &Graph, node: &Node, options: &SessionOptions) -> Result<Vec<Vec<usize>>> {
    match &node.op {
        Op::Custom(op) => custom::infer(graph, node, op, options),
        op => op.infer_shapes(&graph.node_tensors(&node.inputs)),
    }
}

/// Refuses inputs that have no value when the node runs: variables, whose state is not kept.
fn check_values(graph: &Graph, node: &Node) -> Result<()> {
    for &id in node.inputs.iter().flatten() {
        let tensor = graph.tensor(id);
        if tensor.is_variable && tensor.data.is_none() {
            return Err(Error::unsupported("", format!("it reads the variable \"{}\"", tensor.name)));
        }
    }
    Ok(())
}

/// What planning may allocate beside the arena. Nodes may name one constant many times and fold it into larger ones, by
/// which a small file could ask for any amount of memory.
struct PlanMemory {
    left: usize,
    allowed: usize,
}

impl PlanMemory {
    fn new(graph: &Graph, options: &SessionOptions) -> Self {
        let stored: usize = graph.tensors.iter().filter_map(|tensor| tensor.data.as_ref()).map(Data::len).sum();
        // 8 times: float16 unpacked and then packed takes 4.
        let allowed = stored.saturating_mul(8).saturating_add(options.arena_bytes_max).saturating_add(64 << 20);
        Self { left: allowed, allowed }
    }

    fn charge(&mut self, bytes: usize) -> Result<()> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let message = format!("weights and tables need more than the {} bytes that are allowed", self.allowed);
                Err(Error::limit("", message))
            }
        }
    }

    /// The constants that a node may pack for itself.
    fn charge_constants(&mut self, graph: &Graph, node: &Node) -> Result<()> {
        let inputs = node.inputs.iter().flatten().filter_map(|&id| graph.tensor(id).data.as_ref());
        self.charge(inputs.map(Data::len).fold(0, usize::saturating_add))
    }

    /// The constants that a node folds into.
    fn charge_folded(&mut self, graph: &Graph, node: &Node) -> Result<()> {
        node.outputs.iter().try_for_each(|&id| self.charge(graph.tensor(id).byte_size()?))
    }
}

/// Ops that only give the same elements another shape.
fn is_view(op: &Op) -> bool {
    matches!(op, Op::Reshape(_) | Op::Squeeze(_) | Op::ExpandDims(_) | Op::Dropout(_))
}

/// Runs a node whose inputs are known and stores its outputs as constants.
fn fold(graph: &mut Graph, node: &Node, kernel: &Kernel, context: Context<'_>) -> Result<()> {
    let places: Vec<_> = node
        .inputs
        .iter()
        .map(|id| id.and_then(|id| graph.tensor(id).data.clone()).map_or(Place::Nowhere, Place::Constant))
        .collect();
    let bytes = node.outputs.iter().map(|&id| graph.tensor(id).byte_size()).collect::<Result<Vec<_>>>()?;
    let mut buffers: Vec<_> = bytes.iter().map(|&bytes| Buffer::new(bytes)).collect();
    let mut scratch = Buffer::new(kernel.scratch_bytes);
    kernel.run(
        context,
        Io {
            inputs: Inputs { places: &places, slots: &[] },
            outputs: &mut buffers,
            output_bytes: &bytes,
            scratch: &mut scratch,
        },
    )?;
    for (&id, buffer) in node.outputs.iter().zip(&buffers) {
        graph.tensor_mut(id).data = Some(Data::from_bytes(buffer.as_slice()));
    }
    Ok(())
}

fn check_memory(bytes: &[usize], options: &SessionOptions) -> Result<()> {
    let total = bytes.iter().fold(0_usize, |sum, &bytes| sum.saturating_add(bytes));
    if total <= options.arena_bytes_max {
        return Ok(());
    }
    Err(Error::limit("activations", format!("they need {total} bytes, allowed are {}", options.arena_bytes_max))
        .with_hint("run a smaller batch, or raise the limit"))
}

/// Gives each tensor a slot of the arena. Tensors whose lifetimes do not meet share one: greedy by order of execution,
/// the free slot that fits best.
fn place(graph: Graph, planned: Vec<Planned>, root: Vec<TensorId>, options: &SessionOptions) -> Result<Plan> {
    let tensors = graph.tensors.len();
    let forever = planned.len();
    let mut last_use = vec![None; tensors];
    let mut touch = |id: TensorId, step: usize| last_use[root[id.0].0] = last_use[root[id.0].0].max(Some(step));
    for (step, planned) in planned.iter().enumerate() {
        graph.nodes[planned.node].inputs.iter().flatten().chain(&planned.outputs).for_each(|&id| touch(id, step));
    }
    // Inputs keep their value between runs, outputs until the next.
    graph.inputs.iter().chain(&graph.outputs).for_each(|&id| touch(id, forever));

    let mut slot_bytes: Vec<usize> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut slot_of = vec![None; tensors];
    let mut assign = |id: TensorId, free: &mut Vec<usize>| -> Result<usize> {
        let bytes = graph.tensor(id).byte_size()?;
        // A slot that is large enough with least to spare; else the largest, to grow least.
        let best = (0..free.len()).min_by_key(|&at| {
            let size = slot_bytes[free[at]];
            if size >= bytes { (0, size - bytes) } else { (1, bytes - size) }
        });
        let slot = match best {
            Some(at) => free.swap_remove(at),
            None => {
                slot_bytes.push(0);
                slot_bytes.len() - 1
            }
        };
        slot_bytes[slot] = slot_bytes[slot].max(bytes);
        Ok(slot)
    };
    for &id in &graph.inputs {
        if graph.tensor(id).data.is_none() && slot_of[id.0].is_none() {
            slot_of[id.0] = Some(assign(id, &mut Vec::new())?);
        }
    }
    let mut dying: Vec<Vec<usize>> = vec![Vec::new(); planned.len()];
    for (id, step) in last_use.iter().enumerate() {
        if let Some(ids) = step.and_then(|step| dying.get_mut(step)) {
            ids.push(id);
        }
    }
    for (planned, dying) in planned.iter().zip(dying) {
        for &id in &planned.outputs {
            slot_of[id.0] = Some(assign(id, &mut free)?);
        }
        free.extend(dying.into_iter().filter_map(|id| slot_of[id]));
    }
    let scratch_bytes = planned.iter().map(|planned| planned.kernel.scratch_bytes).max().unwrap_or(0);
    slot_bytes.push(scratch_bytes);
    check_memory(&slot_bytes, options)?;
    slot_bytes.pop();
    let place_of = |id: TensorId| -> Result<Place> {
        let tensor = graph.tensor(id);
        if let Some(data) = &tensor.data {
            return Ok(Place::Constant(data.clone()));
        }
        let root = root[id.0];
        match (&graph.tensor(root).data, slot_of[root.0]) {
            (Some(data), _) => Ok(Place::Constant(data.clone())),
            (None, Some(slot)) => Ok(Place::Slot { slot, bytes: tensor.byte_size()? }),
            (None, None) => Ok(Place::Nowhere),
        }
    };
    let places = (0..tensors).map(|id| place_of(TensorId(id))).collect::<Result<Vec<_>>>()?;
    if let Some(id) = graph.outputs.iter().find(|id| matches!(places[id.0], Place::Nowhere)) {
        let message = format!("\"{}\" is a variable that nothing computes", graph.tensor(*id).name);
        return Err(Error::unsupported("graph outputs", message));
    }
    let mut steps = Vec::with_capacity(planned.len());
    for planned in planned {
        let inputs = graph.nodes[planned.node].inputs.iter();
        steps.push(Step {
            node: planned.node,
            kernel: planned.kernel,
            inputs: inputs.map(|id| id.map_or(Place::Nowhere, |id| places[id.0].clone())).collect(),
            output_slots: planned.outputs.iter().filter_map(|id| slot_of[id.0]).collect(),
            output_bytes: planned.outputs.iter().map(|&id| graph.tensor(id).byte_size()).collect::<Result<_>>()?,
            computed: planned.computed,
        });
    }
    Ok(Plan {
        scratch_bytes,
        outputs_max: steps.iter().map(|step| step.output_slots.len()).max().unwrap_or(0),
        tensors: graph.tensors,
        steps,
        places,
        root,
        slot_bytes,
    })
}

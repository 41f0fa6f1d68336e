//! What a plan made of each node.

use std::collections::BTreeSet;

use litesmith_graph::{DType, TensorId};
use litesmith_kernels::Isa;

use crate::env::Subgraph;
use crate::kernel::Place;
use crate::runner::Runner;

/// One node, as `litesmith run --explain` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Index of the node in [`Session::graph`](crate::Session::graph).
    pub node: usize,
    /// Its op, as `CONV_2D`.
    pub op: &'static str,
    /// Name of its first output.
    pub name: String,
    /// `op 3 CONV_2D "name"`.
    pub place: String,
    /// Type and shape of its first output in this plan, as `float32[1,28,28,32]`.
    pub output: String,
    /// What runs for it.
    pub fate: Fate,
    /// The subgraphs that it runs: the branches of an IF, condition and body of a WHILE.
    pub subgraphs: Vec<SubgraphInfo>,
}

/// A subgraph that an op runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubgraphInfo {
    /// Its name.
    pub name: String,
    /// What runs for its nodes.
    pub nodes: Vec<NodeInfo>,
}

/// What runs for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// A kernel.
    Kernel {
        /// Op, element types, instruction set, as `conv_2d/f32/avx2`.
        name: String,
        /// The slot of the arena of each output.
        slots: Vec<usize>,
        /// Memory that it works in while it runs.
        scratch_bytes: usize,
        /// Tables that it holds beside the model's constants.
        table_bytes: usize,
        /// Nodes before it whose work it does along.
        along: Vec<usize>,
    },
    /// Nothing: its output is the memory of its input under another shape.
    View {
        /// Name of the tensor whose memory it is.
        of: String,
    },
    /// Nothing: all its inputs are constants, or it names a variable or initialises one, which planning did.
    Folded,
    /// Nothing of its own: the kernel of another node does its work along.
    Fused,
    /// It is planned while running: its shape, or that of an op before it, depends on values.
    Later,
}

impl NodeInfo {
    /// Whether a plain kernel runs although `isa` has vector instructions.
    #[must_use]
    pub fn is_slow(&self, isa: Isa) -> bool {
        match &self.fate {
            Fate::Kernel { name, .. } => {
                isa != Isa::Scalar && name.split(['/', '+']).any(|part| matches!(part, "scalar" | "reference"))
            }
            Fate::View { .. } | Fate::Folded | Fate::Fused | Fate::Later => false,
        }
    }
}

/// What a session holds in memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUse {
    /// Activations.
    pub arena_bytes: usize,
    /// Memory that ops work in while they run; one piece for all.
    pub scratch_bytes: usize,
    /// Constants of the model, those folded while planning included, shared ones once.
    pub weight_bytes: usize,
    /// Tables that kernels hold beside the model's constants.
    pub table_bytes: usize,
}

pub(crate) fn explain(all: &[Subgraph], runner: &Runner) -> Vec<NodeInfo> {
    let graph = runner.graph();
    let Some(subgraph) = all.get(runner.subgraph()) else { return Vec::new() };
    let mut step_of = vec![None; graph.nodes.len()];
    for step in runner.plans().flat_map(|plan| &plan.steps) {
        if let Some(of) = step_of.get_mut(step.node) {
            *of = Some(step);
        }
    }
    let planned = runner.pause().unwrap_or(graph.nodes.len());
    let view_of = |id: TensorId| runner.plans().map(|plan| plan.root[id.0]).find(|&root| root != id);
    let fate = |index: usize, first: Option<TensorId>| {
        if index >= planned {
            return Fate::Later;
        }
        if let Some(step) = step_of[index] {
            return Fate::Kernel {
                name: step.kernel.name.clone(),
                slots: step.output_slots.clone(),
                scratch_bytes: step.kernel.scratch_bytes,
                table_bytes: step.kernel.plan_bytes,
                along: step.kernel.along.clone(),
            };
        }
        match (first, first.and_then(view_of)) {
            (Some(id), _) if runner.tensor(id).data.is_some() => Fate::Folded,
            (_, Some(root)) => Fate::View { of: runner.tensor(root).name.clone() },
            (Some(id), None) if graph.tensor(id).dtype == DType::Resource => Fate::Folded,
            (None, _) => Fate::Folded,
            _ => Fate::Fused,
        }
    };
    let nodes = graph.nodes.iter().enumerate();
    nodes
        .map(|(index, node)| {
            let first = node.outputs.first().copied();
            NodeInfo {
                node: index,
                op: node.op.name(),
                name: first.map_or_else(String::new, |id| graph.tensor(id).name.clone()),
                place: subgraph.place(index),
                output: first.map_or_else(String::new, |id| shape(runner.tensor(id))),
                fate: fate(index, first),
                subgraphs: step_of[index].map_or_else(Vec::new, |step| {
                    let callees = step.kernel.callees().into_iter();
                    callees
                        .map(|runner| SubgraphInfo { name: runner.graph().name.clone(), nodes: explain(all, runner) })
                        .collect()
                }),
            }
        })
        .collect()
}

/// The shape of this plan, where a tensor's own words would have -1.
fn shape(tensor: &litesmith_graph::Tensor) -> String {
    let sizes: Vec<_> = tensor.shape.iter().map(ToString::to_string).collect();
    format!("{}[{}]", tensor.dtype, sizes.join(","))
}

pub(crate) fn memory(runner: &Runner) -> MemoryUse {
    let mut memory = MemoryUse::default();
    add_memory(runner, &mut BTreeSet::new(), &mut memory);
    memory
}

fn add_memory(runner: &Runner, seen: &mut BTreeSet<*const u8>, memory: &mut MemoryUse) {
    for plan in runner.plans() {
        let constants = plan.tensors.iter().filter_map(|tensor| tensor.data.as_ref());
        let in_views = plan.places.iter().filter_map(|place| match place {
            Place::Constant(data) => Some(data),
            Place::Slot { .. } | Place::Output | Place::Nowhere => None,
        });
        let unshared = constants.chain(in_views).filter(|data| seen.insert(data.bytes().as_ptr()));
        memory.weight_bytes += unshared.map(litesmith_graph::Data::len).sum::<usize>();
        memory.arena_bytes += plan.slot_bytes.iter().sum::<usize>();
        memory.scratch_bytes += plan.scratch_bytes;
        memory.table_bytes += plan.steps.iter().map(|step| step.kernel.plan_bytes).sum::<usize>();
        plan.steps.iter().flat_map(|step| step.kernel.callees()).for_each(|runner| add_memory(runner, seen, memory));
    }
}

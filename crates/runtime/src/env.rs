//! What the subgraphs of a session share: the model, limits, memory counted, variables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use litesmith_graph::{DType, Data, Error, Graph, Op, Result};
use litesmith_kernels::{Buffer, Context};

use crate::SessionOptions;
use crate::inline;

/// A subgraph as it is planned: composites replaced by what they stand for.
pub(crate) struct Subgraph {
    pub(crate) graph: Graph,
    /// For each node, the node of the file that it comes from.
    pub(crate) origin: Vec<usize>,
    /// Tensors of the file; those that follow come from composites.
    pub(crate) tensors: usize,
    /// Whether a run does more than compute outputs, so that none may be left out or added.
    pub(crate) has_effects: bool,
}

impl Subgraph {
    /// All subgraphs of a model.
    pub(crate) fn all(graphs: &[Graph], options: &SessionOptions) -> Result<Vec<Self>> {
        let mut all = Vec::with_capacity(graphs.len());
        for (index, graph) in graphs.iter().enumerate() {
            let (expanded, origin) = inline::expand(graphs, index, options)?;
            all.push(Self { graph: expanded, origin, tensors: graph.tensors.len(), has_effects: false });
        }
        // What calls something with effects has effects itself.
        let mut callers: Vec<Vec<usize>> = vec![Vec::new(); all.len()];
        for (index, subgraph) in all.iter().enumerate() {
            for called in subgraph.graph.nodes.iter().flat_map(|node| node.op.subgraphs()) {
                callers.get_mut(called).into_iter().for_each(|callers| callers.push(index));
            }
        }
        let mut found: Vec<_> = (0..all.len()).filter(|&index| all[index].acts()).collect();
        while let Some(index) = found.pop() {
            if !std::mem::replace(&mut all[index].has_effects, true) {
                found.append(&mut callers[index]);
            }
        }
        Ok(all)
    }

    /// Whether its own ops do more than compute outputs from inputs.
    fn acts(&self) -> bool {
        let variable = |id: usize| self.graph.tensors.get(id).is_some_and(|tensor| tensor.is_variable);
        self.graph.nodes.iter().any(|node| match &node.op {
            // What is read may change from one run to the next.
            Op::ReadVariable(_) | Op::AssignVariable(_) | Op::CallOnce(_) | Op::Custom(_) => true,
            _ => node.inputs.iter().flatten().any(|id| variable(id.0)),
        })
    }

    /// Node `index` in messages, by its number in the file.
    pub(crate) fn place(&self, index: usize) -> String {
        let own = self.graph.place(index);
        match self.origin.get(index) {
            Some(&origin) if origin != index => {
                let rest = own.splitn(3, ' ').nth(2).unwrap_or_default();
                format!("op {origin} {rest}")
            }
            _ => own,
        }
    }

    /// Puts node `index` before the place of an error about it; an op's bare name as place is said once.
    pub(crate) fn locate(&self, index: usize, mut error: Error) -> Error {
        if self.graph.nodes.get(index).is_some_and(|node| node.op.name() == error.report().place) {
            error = error.without_place();
        }
        error.at(self.place(index))
    }
}

/// Bytes that a session holds, counted across all its plans.
#[derive(Default)]
pub(crate) struct Memory {
    bytes: AtomicUsize,
}

impl Memory {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts `bytes` more, unless that makes more than `allowed`; then says how many it would have been.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize, allowed: usize) -> Result<Reservation, usize> {
        let total = self.bytes().saturating_add(bytes);
        if total > allowed {
            return Err(total);
        }
        self.bytes.store(total, Ordering::Relaxed);
        Ok(Reservation { memory: Some(self.clone()), bytes })
    }
}

/// Counted bytes, given back when dropped.
#[derive(Default)]
pub(crate) struct Reservation {
    memory: Option<Arc<Memory>>,
    bytes: usize,
}

impl Reservation {
    /// Gives the bytes back, but knows how many there were.
    pub(crate) fn suspend(&mut self) {
        if let Some(memory) = &self.memory {
            memory.bytes.store(memory.bytes().saturating_sub(self.bytes), Ordering::Relaxed);
        }
    }

    /// Counts them again, whatever the limit.
    pub(crate) fn resume(&mut self) {
        if let Some(memory) = &self.memory {
            memory.bytes.store(memory.bytes().saturating_add(self.bytes), Ordering::Relaxed);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.suspend();
    }
}

/// A variable that VAR_HANDLE names.
#[derive(Default)]
pub(crate) struct Variable {
    name: String,
    /// Type and shape of the value that it has, or that a planned assignment will give it.
    pub(crate) form: Option<(DType, Vec<usize>)>,
    /// The shape of the value; `None` before the first assignment.
    shape: Option<Vec<usize>>,
    /// Whether it has a value.
    assigned: bool,
    value: Buffer,
    reservation: Reservation,
}

/// The variables of a session.
#[derive(Default)]
pub(crate) struct Variables {
    by_name: BTreeMap<(String, String), usize>,
    all: Vec<Variable>,
    /// Subgraphs that CALL_ONCE has run.
    pub(crate) initialized: BTreeSet<usize>,
    /// How often a variable got another shape than it had.
    pub(crate) reshaped: u64,
}

impl Variables {
    /// The number of a variable, new or known.
    pub(crate) fn find(&mut self, container: &str, name: &str) -> usize {
        let key = (container.to_owned(), name.to_owned());
        *self.by_name.entry(key).or_insert_with(|| {
            self.all.push(Variable { name: name.to_owned(), ..Variable::default() });
            self.all.len() - 1
        })
    }

    pub(crate) fn get(&self, variable: usize) -> Option<&Variable> {
        self.all.get(variable)
    }

    /// Notes that a planned node assigns a value of this form, and counts the memory for it.
    pub(crate) fn plan_assignment(
        &mut self,
        variable: usize,
        form: (DType, Vec<usize>),
        bytes: usize,
        memory: &Arc<Memory>,
        allowed: usize,
    ) -> Result<()> {
        let Some(variable) = self.all.get_mut(variable) else { return Ok(()) };
        if bytes > variable.reservation.bytes {
            variable.reservation = Reservation::default();
            variable.reservation = memory.reserve(bytes, allowed).map_err(|total| over_limit(total, allowed))?;
        }
        variable.form = Some(form);
        Ok(())
    }

    pub(crate) fn read(&self, variable: usize, shape: &[usize], to: &mut [u8]) -> Result<()> {
        let Some(variable) = self.all.get(variable) else { return Ok(()) };
        let place = || format!("variable \"{}\"", variable.name);
        match variable.shape.as_ref().filter(|_| variable.assigned) {
            None => Err(Error::invalid(place(), "it is read before anything is assigned to it")),
            Some(found) if found != shape || variable.value.len() < to.len() => {
                Err(Error::unsupported(place(), format!("its shape became {found:?}, the plan is for {shape:?}")))
            }
            Some(_) => {
                to.copy_from_slice(&variable.value.as_slice::<u8>()[..to.len()]);
                Ok(())
            }
        }
    }

    pub(crate) fn assign(&mut self, variable: usize, shape: &[usize], from: &[u8]) {
        let Some(variable) = self.all.get_mut(variable) else { return };
        if variable.value.len() != from.len() {
            variable.value.resize(from.len());
        }
        variable.value.as_mut_slice::<u8>().copy_from_slice(from);
        variable.assigned = true;
        if variable.shape.as_deref() != Some(shape) {
            self.reshaped += u64::from(variable.shape.is_some());
            variable.shape = Some(shape.to_vec());
        }
    }

    /// Makes the next plan begin with the shapes that the values have.
    pub(crate) fn plan_for_values(&mut self) {
        for variable in &mut self.all {
            if let (Some((_, planned)), Some(shape)) = (&mut variable.form, &variable.shape) {
                planned.clone_from(shape);
            }
        }
    }

    /// Forgets every value.
    pub(crate) fn clear(&mut self) {
        self.all.iter_mut().for_each(|variable| variable.assigned = false);
    }
}

/// The error for activations that need too much.
pub(crate) fn over_limit(total: usize, allowed: usize) -> Error {
    Error::limit("activations", format!("they need {total} bytes, allowed are {allowed}"))
        .with_hint("run a smaller batch, or raise the limit: --memory-limit, SessionOptions::arena_bytes_max")
}

/// What planning and running need beside the graph.
pub(crate) struct Env<'a> {
    pub(crate) subgraphs: &'a [Subgraph],
    pub(crate) options: &'a SessionOptions,
    pub(crate) context: Context<'a>,
    pub(crate) variables: &'a mut Variables,
    /// Activations and scratch of every plan.
    pub(crate) arena: &'a Arc<Memory>,
    /// Packed weights, tables and folded constants of every plan.
    pub(crate) packed: &'a Arc<Memory>,
    pub(crate) packed_max: usize,
    /// Nodes that may still be planned.
    pub(crate) nodes_left: u64,
    /// Iterations that loops may still make.
    pub(crate) iterations_left: u64,
    /// Subgraphs that stand in one another here.
    pub(crate) depth: usize,
    /// Whether ops may be fused, so that not every tensor gets its value.
    pub(crate) fuses: bool,
}

impl Env<'_> {
    /// Goes one subgraph deeper; whoever does lowers `depth` again.
    pub(crate) fn enter(&mut self) -> Result<()> {
        if self.depth >= self.options.limits.call_depth {
            return Err(Error::limit("", format!("subgraphs call one another {} deep", self.depth))
                .with_hint("raise the limit: --limit call-depth=N, SessionLimits::call_depth"));
        }
        self.depth += 1;
        Ok(())
    }

    /// Counts constants, tables or packed weights.
    pub(crate) fn charge(&self, bytes: usize) -> Result<Reservation> {
        self.packed.reserve(bytes, self.packed_max).map_err(|_| {
            let allowed = self.packed_max;
            Error::limit("", format!("weights and tables need more than the {allowed} bytes that are allowed"))
        })
    }

    /// Takes `nodes` from the ops and tensors that may still be planned.
    pub(crate) fn count_nodes(&mut self, nodes: usize) -> Result<()> {
        match self.nodes_left.checked_sub(nodes as u64) {
            Some(left) => {
                self.nodes_left = left;
                Ok(())
            }
            None => {
                let most = self.options.limits.planned_nodes;
                Err(Error::limit("", format!("subgraphs that call one another have more than {most} ops and tensors"))
                    .with_hint("raise the limit: --limit planned-nodes=N, SessionLimits::planned_nodes"))
            }
        }
    }

    /// Counts one iteration of a loop.
    pub(crate) fn count_iteration(&mut self) -> Result<()> {
        match self.iterations_left.checked_sub(1) {
            Some(left) => {
                self.iterations_left = left;
                Ok(())
            }
            None => {
                let most = self.options.limits.loop_iterations;
                Err(Error::limit("", format!("loops made more than {most} iterations in one run"))
                    .with_hint("raise the limit: --limit loop-iterations=N, SessionLimits::loop_iterations"))
            }
        }
    }
}

/// A value that a stage or a call is given.
#[derive(Clone)]
pub(crate) struct Value {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Data,
}

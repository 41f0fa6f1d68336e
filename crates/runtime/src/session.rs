//! A planned model, ready to run.

use std::sync::Arc;

use bytemuck::Pod;
use litesmith_graph::{DType, Error, Graph, Model, Result, Signature, Tensor, TensorId};
use litesmith_kernels::{Context, Isa, Numerics, Pool};

use crate::custom::CustomOps;
use crate::env::{Env, Memory, Subgraph, Variables};
use crate::explain::{self, MemoryUse, NodeInfo};
use crate::pace::Pace;
use crate::runner::{Input, Runner, Watch};

/// How a session runs.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Threads that share the work of each op, the caller's included; 0 means 1. Runs of less than a millisecond try now and then
    /// whether one thread is faster, and use what is. The result never depends on it.
    pub threads: usize,
    /// Whose integer arithmetic to follow.
    pub numerics: Numerics,
    /// Instruction set; the best of this CPU when `None`.
    pub isa: Option<Isa>,
    /// Limit on the memory for activations and variables, in bytes.
    pub arena_bytes_max: usize,
    /// Other limits that a model from elsewhere may run into.
    pub limits: SessionLimits,
    /// Custom ops of the user's own, beside those built in.
    pub custom_ops: CustomOps,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            numerics: Numerics::Litert,
            isa: None,
            // Where addresses have 32 bits, as in WebAssembly, half of them.
            arena_bytes_max: usize::try_from(4_u64 << 30).unwrap_or(1 << 31),
            limits: SessionLimits::default(),
            custom_ops: CustomOps::new(),
        }
    }
}

/// What a model may demand of the machine beside memory. What a file may hold is limited when it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLimits {
    /// How deep subgraphs may call one another.
    pub call_depth: usize,
    /// Ops and tensors that may be planned at a time, those of called subgraphs counted for each caller.
    pub planned_nodes: u64,
    /// How often in a row a shape may depend on values that ops with such shapes computed.
    pub stages: usize,
    /// Iterations of all loops in one run.
    pub loop_iterations: u64,
}

/// 16 deep, 4,000,000 ops and tensors, 1,000 stages, 10,000,000 iterations.
impl Default for SessionLimits {
    fn default() -> Self {
        Self { call_depth: 16, planned_nodes: 4_000_000, stages: 1_000, loop_iterations: 10_000_000 }
    }
}

/// A model planned for the shapes of its inputs: weights packed, kernels chosen, memory placed.
///
/// ```
/// use litesmith_graph::{DType, Graph, Model, Tensor, ops::Relu};
/// use litesmith_runtime::{Session, SessionOptions};
///
/// let mut graph = Graph::new("main");
/// let x = graph.add_input(Tensor::new("x", DType::F32, [1, 3]));
/// let y = graph.add_node(Relu, &[Some(x)], "y")?;
/// graph.outputs = vec![y];
///
/// let mut session = Session::new(&Model::from_graph(graph), SessionOptions::default())?;
/// session.input_mut::<f32>(0)?.copy_from_slice(&[-1.0, 0.5, 2.0]);
/// session.run()?;
/// assert_eq!(session.output::<f32>(0)?, [0.0, 0.5, 2.0]);
/// # Ok::<(), litesmith_graph::Error>(())
/// ```
pub struct Session {
    subgraphs: Vec<Subgraph>,
    signatures: Vec<Signature>,
    options: SessionOptions,
    isa: Isa,
    pool: Pool,
    arena: Arc<Memory>,
    packed: Arc<Memory>,
    packed_max: usize,
    variables: Variables,
    /// Entry points that were planned.
    entries: Vec<Entry>,
    current: usize,
    /// Whether plans may fuse ops: until a run is observed.
    fuses: bool,
}

/// A planned entry point: the main graph, or a signature.
struct Entry {
    /// Name of the signature; `None` for the main graph.
    key: Option<String>,
    runner: Runner,
    /// [`Variables::reshaped`] of the plan.
    reshaped: u64,
    pace: Pace,
    /// Names that the signature gives to inputs and outputs.
    names: [Vec<(String, TensorId)>; 2],
}

impl Session {
    /// Plans the main graph of `model` for the input shapes it declares (batch 1 where the batch may change).
    ///
    /// # Errors
    /// [`Error::Malformed`] when the graph is broken, [`Error::Unsupported`] when an op has no kernel for its types,
    /// [`Error::Limit`] when it needs more memory than allowed, [`Error::Invalid`] when this CPU lacks the instruction
    /// set asked for.
    pub fn new(model: &Model, options: SessionOptions) -> Result<Self> {
        model.check()?;
        let mut session = Self::unplanned(&model.graphs, model.signatures.clone(), options)?;
        session.open(None)?;
        Ok(session)
    }

    /// Plans the graph that the signature `key` enters, as [`Session::new`] does the main graph.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such signature, else those of [`Session::new`].
    pub fn for_signature(model: &Model, key: &str, options: SessionOptions) -> Result<Self> {
        model.check()?;
        let mut session = Self::unplanned(&model.graphs, model.signatures.clone(), options)?;
        session.open(Some(key))?;
        Ok(session)
    }

    /// Plans `graph`, as [`Session::new`] does.
    ///
    /// # Errors
    /// Those of [`Session::new`].
    pub fn from_graph(graph: Graph, options: SessionOptions) -> Result<Self> {
        graph.check()?;
        let mut session = Self::unplanned(&[graph], Vec::new(), options)?;
        session.open(None)?;
        Ok(session)
    }

    fn unplanned(graphs: &[Graph], signatures: Vec<Signature>, options: SessionOptions) -> Result<Self> {
        let isa = options.isa.unwrap_or_else(Isa::detect);
        if !isa.is_available() {
            return Err(Error::invalid("isa", format!("this CPU does not have {isa}"))
                .with_hint(format!("the best it has is {}", Isa::detect())));
        }
        let subgraphs = Subgraph::all(graphs, &options)?;
        let constants = graphs.iter().flat_map(|graph| &graph.tensors).filter_map(|tensor| tensor.data.as_ref());
        let stored = constants.map(litesmith_graph::Data::len).fold(0, usize::saturating_add);
        // 8 times: float16 unpacked and then packed takes 4. Nodes may name one constant many times and fold it into larger
        // ones, by which a small file could ask for any amount of memory.
        let packed_max = stored.saturating_mul(8).saturating_add(options.arena_bytes_max).saturating_add(64 << 20);
        Ok(Self {
            subgraphs,
            signatures,
            pool: Pool::new(options.threads),
            isa,
            options: SessionOptions { threads: options.threads.max(1), ..options },
            arena: Arc::default(),
            packed: Arc::default(),
            packed_max,
            variables: Variables::default(),
            entries: Vec::new(),
            current: 0,
            fuses: true,
        })
    }

    /// The shared part of the session, and its entry points.
    fn env(&mut self) -> (Env<'_>, &mut Vec<Entry>) {
        let env = Env {
            subgraphs: &self.subgraphs,
            options: &self.options,
            context: Context { pool: &self.pool, isa: self.isa },
            variables: &mut self.variables,
            arena: &self.arena,
            packed: &self.packed,
            packed_max: self.packed_max,
            nodes_left: self.options.limits.planned_nodes,
            iterations_left: self.options.limits.loop_iterations,
            depth: 0,
            fuses: self.fuses,
        };
        (env, &mut self.entries)
    }

    /// Plans an entry point and enters it.
    fn open(&mut self, key: Option<&str>) -> Result<()> {
        let (graph, names) = match key {
            None => {
                let main = self.signatures.iter().find(|signature| signature.graph == 0);
                (0, main.map_or_else(Default::default, |main| [main.inputs.clone(), main.outputs.clone()]))
            }
            Some(key) => {
                let Some(signature) = self.signatures.iter().find(|signature| signature.key == key) else {
                    let known: Vec<_> = self.signatures.iter().map(|signature| signature.key.as_str()).collect();
                    return Err(Error::invalid("signature", format!("the model has no signature \"{key}\""))
                        .with_hint(match known.as_slice() {
                            [] => "it has none".to_owned(),
                            known => format!("it has {}", known.join(", ")),
                        }));
                };
                (signature.graph, [signature.inputs.clone(), signature.outputs.clone()])
            }
        };
        let (mut env, entries) = self.env();
        let mut runner = Runner::new(&mut env, graph, None)?;
        runner.allocate();
        let reshaped = env.variables.reshaped;
        let pace = Pace::new(env.context.pool.threads());
        entries.push(Entry { key: key.map(str::to_owned), runner, reshaped, pace, names });
        self.current = self.entries.len() - 1;
        Ok(())
    }

    /// Enters another signature, planned at the first time. Variables (VAR_HANDLE) are shared between signatures.
    ///
    /// # Errors
    /// Those of [`Session::for_signature`]; the session then stays where it was.
    pub fn select_signature(&mut self, key: &str) -> Result<()> {
        match self.entries.iter().position(|entry| entry.key.as_deref() == Some(key)) {
            Some(known) => {
                self.current = known;
                Ok(())
            }
            None => self.open(Some(key)),
        }
    }

    /// Names of the model's signatures.
    pub fn signatures(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|signature| signature.key.as_str())
    }

    fn runner(&self) -> &Runner {
        &self.entries[self.current].runner
    }

    fn runner_mut(&mut self) -> &mut Runner {
        &mut self.entries[self.current].runner
    }

    /// Plans anew for another shape of input `index`: its batch, or any size that the model declares as -1. What the
    /// inputs and states held is lost. On an error the session stays as it was.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such input or the rank differs (an input declared without sizes may have any),
    /// else those of [`Session::new`].
    pub fn resize_input(&mut self, index: usize, shape: &[usize]) -> Result<()> {
        self.resize_inputs(&[(index, shape)])
    }

    /// Plans anew for other shapes of several inputs at once, as [`Session::resize_input`] does for one.
    ///
    /// # Errors
    /// Those of [`Session::resize_input`].
    pub fn resize_inputs(&mut self, shapes: &[(usize, &[usize])]) -> Result<()> {
        let mut inputs = self.runner().inputs();
        let mut changed = Vec::new();
        for &(index, shape) in shapes {
            self.input_id(index)?;
            let old = &inputs[index].shape;
            if old == shape {
                continue;
            }
            // Files have no other way to say that the rank is open.
            let declared = self.input_tensor(index)?.signature.as_ref().map_or(old.len(), Vec::len);
            if old.len() != shape.len() && declared != 0 {
                return Err(Error::invalid(
                    format!("input {index}"),
                    format!("got shape {shape:?}, expected rank {} as {old:?}", old.len()),
                ));
            }
            inputs[index].shape = shape.to_vec();
            changed.push(format!("input {index} to {shape:?}"));
        }
        if changed.is_empty() {
            return Ok(());
        }
        self.plan_anew(&inputs).map_err(|error| error.at(format!("resizing {}", changed.join(", "))))
    }

    /// Plans for `batch` in the first size of every input.
    ///
    /// # Errors
    /// Those of [`Session::resize_input`].
    pub fn resize_batch(&mut self, batch: usize) -> Result<()> {
        let mut inputs = self.runner().inputs();
        let mut changed = false;
        for first in inputs.iter_mut().filter_map(|input| input.shape.first_mut()) {
            changed |= std::mem::replace(first, batch) != batch;
        }
        if !changed {
            return Ok(());
        }
        self.plan_anew(&inputs).map_err(|error| error.at(format!("resizing to batch {batch}")))
    }

    fn plan_anew(&mut self, inputs: &[Input]) -> Result<()> {
        self.replace_plan(inputs, false)
    }

    /// Plans anew where a variable has another shape than the plan reads.
    fn follow_variables(&mut self) -> Result<()> {
        if self.entries.get(self.current).is_none_or(|entry| entry.reshaped == self.variables.reshaped) {
            return Ok(());
        }
        let inputs = self.runner().inputs();
        self.replace_plan(&inputs, true)
    }

    fn replace_plan(&mut self, inputs: &[Input], keep_values: bool) -> Result<()> {
        let current = self.current;
        self.variables.plan_for_values();
        let (mut env, entries) = self.env();
        let Some(entry) = entries.get_mut(current) else { return Ok(()) };
        // The new plan takes the place of the old: their memory does not count together.
        entry.runner.suspend();
        match Runner::new(&mut env, entry.runner.subgraph(), Some(inputs)) {
            Ok(runner) => {
                entry.runner.resume();
                let mut before = std::mem::replace(&mut entry.runner, runner);
                entry.runner.allocate();
                entry.reshaped = env.variables.reshaped;
                entry.pace = Pace::new(env.context.pool.threads());
                if keep_values {
                    entry.runner.take_values(&mut before);
                }
                Ok(())
            }
            Err(error) => {
                entry.runner.resume();
                Err(error)
            }
        }
    }

    /// Gives states (variable tensors) and variables (VAR_HANDLE) their first value, as in a new session.
    ///
    /// # Errors
    /// Those of [`Session::run`], from the subgraphs that initialise variables.
    pub fn reset_variables(&mut self) -> Result<()> {
        let initialized: Vec<_> = self.variables.initialized.iter().copied().collect();
        self.variables.clear();
        let (mut env, entries) = self.env();
        entries.iter_mut().for_each(|entry| entry.runner.reset());
        for graph in initialized {
            let mut runner = Runner::new(&mut env, graph, Some(&[]))?;
            runner.allocate();
            runner.run(&mut env, &mut Watch::Nothing)?;
        }
        Ok(())
    }

    fn input_id(&self, index: usize) -> Result<TensorId> {
        let inputs = &self.runner().graph().inputs;
        inputs
            .get(index)
            .copied()
            .ok_or_else(|| Error::invalid(format!("input {index}"), format!("the model has {} inputs", inputs.len())))
    }

    fn output_id(&self, index: usize) -> Result<TensorId> {
        let outputs = &self.runner().graph().outputs;
        outputs.get(index).copied().ok_or_else(|| {
            Error::invalid(format!("output {index}"), format!("the model has {} outputs", outputs.len()))
        })
    }

    /// How many inputs there are.
    #[must_use]
    pub fn input_count(&self) -> usize {
        self.runner().graph().inputs.len()
    }

    /// How many outputs there are.
    #[must_use]
    pub fn output_count(&self) -> usize {
        self.runner().graph().outputs.len()
    }

    /// The input called `name`, by the signature or by its tensor.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is none.
    pub fn input_index(&self, name: &str) -> Result<usize> {
        self.find(0, "input", name)
    }

    /// The output called `name`, by the signature or by its tensor.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is none.
    pub fn output_index(&self, name: &str) -> Result<usize> {
        self.find(1, "output", name)
    }

    fn find(&self, side: usize, what: &str, name: &str) -> Result<usize> {
        let (graph, names) = (self.runner().graph(), &self.entries[self.current].names[side]);
        let ids = if side == 0 { &graph.inputs } else { &graph.outputs };
        let named = names.iter().find(|(known, _)| known == name).map(|&(_, id)| id);
        let by_signature = named.and_then(|named| ids.iter().position(|&id| id == named));
        by_signature.or_else(|| ids.iter().position(|&id| graph.tensor(id).name == name)).ok_or_else(|| {
            let known: Vec<_> = match names.is_empty() {
                false => names.iter().map(|(name, _)| name.as_str()).collect(),
                true => ids.iter().map(|&id| graph.tensor(id).name.as_str()).collect(),
            };
            Error::invalid(format!("{what} \"{name}\""), "the model has none of that name")
                .with_hint(format!("it has {}", known.join(", ")))
        })
    }

    /// Input `index`: name, type, present shape, quantization.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such input.
    pub fn input_tensor(&self, index: usize) -> Result<&Tensor> {
        Ok(self.runner().tensor(self.input_id(index)?))
    }

    /// Output `index`: name, type, shape, quantization. The shape is that of the last plan; where it depends on values, of the
    /// last run.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such output.
    pub fn output_tensor(&self, index: usize) -> Result<&Tensor> {
        Ok(self.runner().tensor(self.output_id(index)?))
    }

    /// The elements of input `index`, to fill before a run.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such input or `T` has not the size of its elements.
    pub fn input_mut<T: Pod>(&mut self, index: usize) -> Result<&mut [T]> {
        check_element::<T>("input", index, self.input_tensor(index)?.dtype)?;
        let unaligned = |_| Error::invalid(format!("input {index}"), "its elements cannot be viewed as this type");
        bytemuck::try_cast_slice_mut(self.input_bytes_mut(index)?).map_err(unaligned)
    }

    /// The elements of output `index` of the last run.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such output or `T` has not the size of its elements.
    pub fn output<T: Pod>(&self, index: usize) -> Result<&[T]> {
        check_element::<T>("output", index, self.output_tensor(index)?.dtype)?;
        let unaligned = |_| Error::invalid(format!("output {index}"), "its elements cannot be viewed as this type");
        bytemuck::try_cast_slice(self.output_bytes(index)?).map_err(unaligned)
    }

    /// The bytes of input `index`, whatever its type: elements in native byte order, int4 packed two to a byte.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such input.
    pub fn input_bytes_mut(&mut self, index: usize) -> Result<&mut [u8]> {
        self.input_id(index)?;
        let bytes = self.runner_mut().input_mut(index);
        bytes.ok_or_else(|| Error::invalid(format!("input {index}"), "it is a constant of the model"))
    }

    /// The bytes of output `index` of the last run, laid out as [`Session::input_bytes_mut`] has them. None before the first
    /// run where the shape depends on values.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such output.
    pub fn output_bytes(&self, index: usize) -> Result<&[u8]> {
        self.output_id(index)?;
        Ok(self.runner().output(index))
    }

    /// Runs the graph on what the inputs hold.
    ///
    /// # Errors
    /// Only on data that no plan can foresee, with the op as place. Where shapes depend on values, that includes the errors of
    /// planning.
    pub fn run(&mut self) -> Result<()> {
        self.follow_variables()?;
        let current = self.current;
        let (mut env, entries) = self.env();
        let Some(entry) = entries.get_mut(current) else { return Ok(()) };
        let pool = env.context.pool;
        entry.pace.run(pool, |pool| {
            env.context.pool = pool;
            entry.runner.run(&mut env, &mut Watch::Nothing)
        })
    }

    /// Runs the graph and shows each computed tensor to `observe` as soon as it is there: its id, its description, and
    /// its bytes. The graph's inputs come first. Tensors inside called subgraphs are not shown, nor are handles of variables. From the first such run on,
    /// ops are not fused, as every tensor then has a value of its own: the results are the same, later.
    ///
    /// # Errors
    /// Those of [`Session::run`], and of planning.
    pub fn run_observed(&mut self, observe: &mut dyn FnMut(TensorId, &Tensor, &[u8])) -> Result<()> {
        self.follow_variables()?;
        self.fuses = false;
        if self.runner().is_fused() {
            let inputs = self.runner().inputs();
            self.replace_plan(&inputs, true)?;
        }
        let runner = self.runner();
        for &id in runner.graph().inputs.iter().filter(|&&id| runner.tensor(id).dtype.bits() > 0) {
            observe(id, runner.tensor(id), runner.value(id));
        }
        let current = self.current;
        let (mut env, entries) = self.env();
        entries.get_mut(current).map_or(Ok(()), |entry| entry.runner.run(&mut env, &mut Watch::Values(observe)))
    }

    /// Runs the graph and calls `after` with the index of each node whose kernel just ran: a profiler reads its clock there.
    ///
    /// # Errors
    /// Those of [`Session::run`].
    pub fn run_stepwise(&mut self, after: &mut dyn FnMut(usize)) -> Result<()> {
        self.follow_variables()?;
        let current = self.current;
        let (mut env, entries) = self.env();
        let Some(entry) = entries.get_mut(current) else { return Ok(()) };
        env.context.pool = entry.pace.pool(env.context.pool);
        entry.runner.run(&mut env, &mut Watch::Nodes(after))
    }

    /// What the plan made of each node, in the order of the graph. Where shapes depend on values, as the last run had it.
    #[must_use]
    pub fn explain(&self) -> Vec<NodeInfo> {
        explain::explain(&self.subgraphs, self.runner())
    }

    /// What the session holds in memory for its entry point and the subgraphs that it calls.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        explain::memory(self.runner())
    }

    /// The instruction set that the kernels were chosen for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The graph as it is planned: with the input shapes of now, composites replaced by the ops that they stand for.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        self.runner().graph()
    }

    /// A tensor of the graph with the shape of this plan.
    ///
    /// # Panics
    /// When `id` is not of the graph.
    #[must_use]
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        self.runner().tensor(id)
    }

    /// Bytes of memory for activations, variables and scratch.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.arena.bytes()
    }
}

fn check_element<T>(what: &str, index: usize, dtype: DType) -> Result<()> {
    if dtype.bits() == size_of::<T>() * 8 {
        return Ok(());
    }
    Err(Error::invalid(
        format!("{what} {index}"),
        format!("its elements are {dtype}, not {} of {} bytes", std::any::type_name::<T>(), size_of::<T>()),
    ))
}

#[cfg(test)]
mod tests {
    use litesmith_graph::ops::Neg;

    use super::*;

    #[test]
    fn short_runs_try_whether_one_thread_is_faster() {
        let mut graph = Graph::new("main");
        let x = graph.add_input(Tensor::new("x", DType::F32, [1, 8]));
        let y = graph.add_node(Neg, &[Some(x)], "y").unwrap();
        graph.outputs = vec![y];
        let model = Model::from_graph(graph);
        for (threads, tries) in [(1, false), (2, true)] {
            let mut session = Session::new(&model, SessionOptions { threads, ..SessionOptions::default() }).unwrap();
            (0..100).for_each(|_| session.run().unwrap());
            let more_than_one = session.pool.threads() > 1;
            assert_eq!(session.entries[0].pace.has_tried(), tries && more_than_one, "{threads} threads");
        }
    }
}

//! A planned graph, ready to run.

use bytemuck::Pod;
use litesmith_graph::{DType, Error, Graph, Model, Result, Tensor, TensorId};
use litesmith_kernels::{Buffer, Context, Isa, Numerics, Pool};

use crate::custom::CustomOps;
use crate::explain::{self, MemoryUse, NodeInfo};
use crate::kernel::{Inputs, Io, Place};
use crate::planner::{Plan, plan};

/// How a session runs.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Threads that share the work of each op, the caller's included; at least 1. The result never depends on it.
    pub threads: usize,
    /// Whose integer arithmetic to follow.
    pub numerics: Numerics,
    /// Instruction set; the best of this CPU when `None`.
    pub isa: Option<Isa>,
    /// Limit on the memory for activations, in bytes.
    pub arena_bytes_max: usize,
    /// Custom ops of the user's own, beside those built in.
    pub custom_ops: CustomOps,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            numerics: Numerics::Litert,
            isa: None,
            arena_bytes_max: 4 << 30,
            custom_ops: CustomOps::new(),
        }
    }
}

/// A graph planned for fixed input shapes: weights packed, kernels chosen, memory placed.
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
    graph: Graph,
    options: SessionOptions,
    isa: Isa,
    pool: Pool,
    plan: Plan,
    slots: Vec<Buffer>,
    scratch: Buffer,
    // Output buffers of the op that runs, taken out of `slots` so that its inputs can be borrowed beside them.
    taken: Vec<Buffer>,
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
        Self::from_graph(model.main()?.clone(), options)
    }

    /// Plans `graph`, as [`Session::new`] does.
    ///
    /// # Errors
    /// Those of [`Session::new`].
    pub fn from_graph(graph: Graph, options: SessionOptions) -> Result<Self> {
        graph.check()?;
        let isa = options.isa.unwrap_or_else(Isa::detect);
        if !isa.is_available() {
            return Err(Error::invalid("isa", format!("this CPU does not have {isa}"))
                .with_hint(format!("the best it has is {}", Isa::detect())));
        }
        let pool = Pool::new(options.threads);
        let plan = plan(&graph, &options, Context { pool: &pool, isa })?;
        let mut session =
            Self { graph, options, isa, pool, plan, slots: Vec::new(), scratch: Buffer::default(), taken: Vec::new() };
        session.allocate();
        Ok(session)
    }

    fn allocate(&mut self) {
        self.slots.resize_with(self.plan.slot_bytes.len(), Buffer::default);
        for (slot, &bytes) in self.slots.iter_mut().zip(&self.plan.slot_bytes) {
            slot.resize(bytes);
        }
        self.scratch.resize(self.plan.scratch_bytes);
        self.taken.resize_with(self.plan.outputs_max, Buffer::default);
    }

    /// Plans anew for another shape of input `index`: its batch, or any size that the model declares as -1. What the
    /// inputs held is lost. On an error the session stays as it was.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such input or the rank differs, else those of [`Session::new`].
    pub fn resize_input(&mut self, index: usize, shape: &[usize]) -> Result<()> {
        let id = self.input_id(index)?;
        let old = &self.graph.tensor(id).shape;
        if old == shape {
            return Ok(());
        }
        if old.len() != shape.len() {
            return Err(Error::invalid(
                format!("input {index}"),
                format!("got shape {shape:?}, expected rank {} as {old:?}", old.len()),
            ));
        }
        let mut graph = self.graph.clone();
        graph.tensor_mut(id).shape = shape.to_vec();
        self.plan = plan(&graph, &self.options, Context { pool: &self.pool, isa: self.isa })
            .map_err(|error| error.at(format!("resizing input {index} to {shape:?}")))?;
        self.graph = graph;
        self.allocate();
        Ok(())
    }

    /// Plans for `batch` in the first size of every input.
    ///
    /// # Errors
    /// Those of [`Session::resize_input`].
    pub fn resize_batch(&mut self, batch: usize) -> Result<()> {
        let mut graph = self.graph.clone();
        for id in self.graph.inputs.clone() {
            if let Some(first) = graph.tensor_mut(id).shape.first_mut() {
                *first = batch;
            }
        }
        if graph == self.graph {
            return Ok(());
        }
        self.plan = plan(&graph, &self.options, Context { pool: &self.pool, isa: self.isa })
            .map_err(|error| error.at(format!("resizing to batch {batch}")))?;
        self.graph = graph;
        self.allocate();
        Ok(())
    }

    fn input_id(&self, index: usize) -> Result<TensorId> {
        self.graph.inputs.get(index).copied().ok_or_else(|| {
            Error::invalid(format!("input {index}"), format!("the model has {} inputs", self.graph.inputs.len()))
        })
    }

    fn output_id(&self, index: usize) -> Result<TensorId> {
        self.graph.outputs.get(index).copied().ok_or_else(|| {
            Error::invalid(format!("output {index}"), format!("the model has {} outputs", self.graph.outputs.len()))
        })
    }

    /// How many inputs there are.
    #[must_use]
    pub fn input_count(&self) -> usize {
        self.graph.inputs.len()
    }

    /// How many outputs there are.
    #[must_use]
    pub fn output_count(&self) -> usize {
        self.graph.outputs.len()
    }

    /// Input `index`: name, type, present shape, quantization.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such input.
    pub fn input_tensor(&self, index: usize) -> Result<&Tensor> {
        Ok(self.graph.tensor(self.input_id(index)?))
    }

    /// Output `index`: name, type, shape, quantization. The shape is that of the last plan.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such output.
    pub fn output_tensor(&self, index: usize) -> Result<&Tensor> {
        Ok(&self.plan.tensors[self.output_id(index)?.0])
    }

    /// The elements of input `index`, to fill before a run.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such input or `T` has not the size of its elements.
    pub fn input_mut<T: Pod>(&mut self, index: usize) -> Result<&mut [T]> {
        let id = self.input_id(index)?;
        check_element::<T>("input", index, self.graph.tensor(id).dtype)?;
        match self.plan.places[id.0] {
            Place::Slot { slot, bytes } => Ok(&mut self.slots[slot].as_mut_slice()[..bytes / size_of::<T>()]),
            _ => Err(Error::invalid(format!("input {index}"), "it is a constant of the model")),
        }
    }

    /// The elements of output `index` of the last run.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such output or `T` has not the size of its elements.
    pub fn output<T: Pod>(&self, index: usize) -> Result<&[T]> {
        let id = self.output_id(index)?;
        check_element::<T>("output", index, self.plan.tensors[id.0].dtype)?;
        Ok(self.value(id))
    }

    /// The bytes of input `index`, whatever its type: elements in native byte order, int4 packed two to a byte.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such input.
    pub fn input_bytes_mut(&mut self, index: usize) -> Result<&mut [u8]> {
        let id = self.input_id(index)?;
        match self.plan.places[id.0] {
            Place::Slot { slot, bytes } => Ok(&mut self.slots[slot].as_mut_slice()[..bytes]),
            _ => Err(Error::invalid(format!("input {index}"), "it is a constant of the model")),
        }
    }

    /// The bytes of output `index` of the last run, laid out as [`Session::input_bytes_mut`] has them.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such output.
    pub fn output_bytes(&self, index: usize) -> Result<&[u8]> {
        Ok(self.value(self.output_id(index)?))
    }

    fn value<T: Pod>(&self, id: TensorId) -> &[T] {
        Inputs { places: std::slice::from_ref(&self.plan.places[id.0]), slots: &self.slots }.get(0)
    }

    /// Runs the graph on what the inputs hold.
    ///
    /// # Errors
    /// Only on data that no plan can foresee, with the op as place.
    pub fn run(&mut self) -> Result<()> {
        for index in 0..self.plan.steps.len() {
            self.run_step(index)?;
        }
        Ok(())
    }

    /// Runs the graph and shows each computed tensor to `observe` as soon as it is there: its id, its description, and
    /// its bytes. The graph's inputs come first.
    ///
    /// # Errors
    /// Those of [`Session::run`].
    pub fn run_observed(&mut self, observe: &mut dyn FnMut(TensorId, &Tensor, &[u8])) -> Result<()> {
        for &id in &self.graph.inputs {
            observe(id, &self.plan.tensors[id.0], self.value(id));
        }
        for index in 0..self.plan.steps.len() {
            self.run_step(index)?;
            for &id in &self.plan.steps[index].computed {
                observe(id, &self.plan.tensors[id.0], self.value(id));
            }
        }
        Ok(())
    }

    /// Runs the graph and calls `after` with the index of each node whose kernel just ran: a profiler reads its clock there.
    ///
    /// # Errors
    /// Those of [`Session::run`].
    pub fn run_stepwise(&mut self, after: &mut dyn FnMut(usize)) -> Result<()> {
        for index in 0..self.plan.steps.len() {
            self.run_step(index)?;
            after(self.plan.steps[index].node);
        }
        Ok(())
    }

    fn run_step(&mut self, index: usize) -> Result<()> {
        let step = &self.plan.steps[index];
        for (taken, &slot) in self.taken.iter_mut().zip(&step.output_slots) {
            *taken = std::mem::take(&mut self.slots[slot]);
        }
        let io = Io {
            inputs: Inputs { places: &step.inputs, slots: &self.slots },
            outputs: &mut self.taken[..step.output_slots.len()],
            output_bytes: &step.output_bytes,
            scratch: &mut self.scratch,
        };
        let result = step.kernel.run(Context { pool: &self.pool, isa: self.isa }, io);
        for (taken, &slot) in self.taken.iter_mut().zip(&step.output_slots) {
            self.slots[slot] = std::mem::take(taken);
        }
        result.map_err(|error| error.at(self.graph.place(step.node)))
    }

    /// What the plan made of each node, in the order of the graph.
    #[must_use]
    pub fn explain(&self) -> Vec<NodeInfo> {
        explain::explain(&self.graph, &self.plan)
    }

    /// What the session holds in memory.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        explain::memory(&self.plan)
    }

    /// The instruction set that the kernels were chosen for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The graph as it is planned: with the input shapes of now.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// A tensor of the graph with the shape of this plan.
    ///
    /// # Panics
    /// When `id` is not of the graph.
    #[must_use]
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.plan.tensors[id.0]
    }

    /// Bytes of memory for activations and scratch.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.plan.slot_bytes.iter().sum::<usize>() + self.plan.scratch_bytes
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

//! One subgraph, planned and run in stages.
//!
//! A graph whose shapes are all known is one stage. Where a shape depends on computed elements, a stage ends: the stage runs,
//! the elements are read, and the next stage is planned as if they were constants. It is kept as long as they stay the same.

use litesmith_graph::{DType, Data, Error, Graph, Result, Tensor, TensorId};
use litesmith_kernels::Buffer;

use crate::env::{Env, Reservation};
use crate::kernel::{Inputs, Io, Place};
use crate::planner::{Plan, PlanInput, plan};

/// Who looks on while a graph runs.
pub(crate) enum Watch<'a> {
    /// Nobody.
    Nothing,
    /// Sees every computed tensor.
    Values(&'a mut dyn FnMut(TensorId, &Tensor, &[u8])),
    /// Hears of every node whose kernel ran.
    Nodes(&'a mut dyn FnMut(usize)),
}

/// What a subgraph is given for one of its inputs.
#[derive(Clone)]
pub(crate) struct Input {
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    /// The variable that it stands for, when it is a resource.
    pub(crate) handle: Option<usize>,
}

/// A tensor that keeps its value between runs.
pub(crate) struct State {
    pub(crate) tensor: TensorId,
    pub(crate) bytes: usize,
    initial: Option<Data>,
    /// Every byte of it, where there is no initial value: int8 zero points stand for 0, as in LiteRT.
    fill: u8,
}

struct Stage {
    plan: Plan,
    slots: Vec<Buffer>,
    scratch: Buffer,
    // Output buffers of the op that runs, taken out of `slots` so that its inputs can be borrowed beside them.
    taken: Vec<Buffer>,
    arena: Reservation,
}

impl Stage {
    fn value(&self, id: TensorId) -> &[u8] {
        match self.plan.places.get(id.0) {
            Some(place) => Inputs { places: std::slice::from_ref(place), slots: &self.slots }.get(0),
            None => &[],
        }
    }

    /// Whether the tensor has its value here.
    fn has(&self, id: TensorId) -> bool {
        !matches!(self.plan.places.get(id.0), None | Some(Place::Nowhere))
    }

    fn allocate(&mut self) {
        self.slots.resize_with(self.plan.slot_bytes.len(), Buffer::default);
        for (slot, &bytes) in self.slots.iter_mut().zip(&self.plan.slot_bytes) {
            slot.resize(bytes);
        }
        self.scratch.resize(self.plan.scratch_bytes);
        self.taken.resize_with(self.plan.outputs_max, Buffer::default);
    }

    fn run_step(&mut self, env: &mut Env<'_>, index: usize) -> Result<()> {
        let step = &mut self.plan.steps[index];
        for (taken, &slot) in self.taken.iter_mut().zip(&step.output_slots) {
            std::mem::swap(taken, &mut self.slots[slot]);
        }
        let io = Io {
            inputs: Inputs { places: &step.inputs, slots: &self.slots },
            outputs: &mut self.taken[..step.output_slots.len()],
            output_bytes: &step.output_bytes,
            scratch: &mut self.scratch,
            then: None,
        };
        let result = step.kernel.run(env, io);
        for (taken, &slot) in self.taken.iter_mut().zip(&step.output_slots) {
            std::mem::swap(taken, &mut self.slots[slot]);
        }
        result
    }
}

/// A subgraph, ready to run.
pub(crate) struct Runner {
    subgraph: usize,
    /// The subgraph with the shapes of the inputs.
    graph: Graph,
    states: Vec<State>,
    /// The stage that holds the states.
    states_at: usize,
    /// For each tensor, the variable that it stands for.
    handles: Vec<Option<usize>>,
    stages: Vec<Stage>,
}

impl Runner {
    /// Plans subgraph `index`, for `inputs` when given, else for those that it declares.
    pub(crate) fn new(env: &mut Env<'_>, index: usize, inputs: Option<&[Input]>) -> Result<Self> {
        env.enter()?;
        let runner = Self::plan_all(env, index, inputs);
        env.depth -= 1;
        if env.depth > 0 { runner.map_err(|error| error.at(format!("subgraph {index}"))) } else { runner }
    }

    fn plan_all(env: &mut Env<'_>, index: usize, inputs: Option<&[Input]>) -> Result<Self> {
        let Some(subgraph) = env.subgraphs.get(index) else {
            return Err(Error::malformed("", format!("there is no subgraph {index}")));
        };
        env.count_nodes(subgraph.graph.nodes.len() + subgraph.graph.tensors.len() + 1)?;
        let mut graph = subgraph.graph.clone();
        let mut handles = vec![None; graph.tensors.len()];
        if let Some(inputs) = inputs {
            give(&mut graph, &mut handles, inputs)?;
        }
        for id in graph.inputs.iter().filter(|id| handles[id.0].is_none()) {
            graph.tensor(*id).byte_size()?;
        }
        let mut states = Vec::new();
        for id in (0..graph.tensors.len()).map(TensorId) {
            if graph.tensor(id).is_variable && !graph.inputs.contains(&id) {
                let tensor = graph.tensor_mut(id);
                let zero_point = tensor.quantization.as_ref().and_then(|quantization| quantization.zero_points.first());
                let fill = match (tensor.dtype, zero_point) {
                    (DType::I8, Some(&zero_point)) => zero_point as u8,
                    _ => 0,
                };
                states.push(State { tensor: id, initial: tensor.data.take(), bytes: tensor.byte_size()?, fill });
            }
        }
        let mut runner = Self { subgraph: index, graph, states, states_at: 0, handles, stages: Vec::new() };
        runner.add_stage(env, false)?;
        if env.depth > 1 {
            runner.allocate();
        }
        Ok(runner)
    }

    /// Gives the first stage its memory, and states their first value.
    pub(crate) fn allocate(&mut self) {
        if let Some(stage) = self.stages.first_mut() {
            stage.allocate();
        }
        self.reset();
    }

    /// Plans the next stage. Values of earlier ones can be read while running only.
    fn add_stage(&mut self, env: &mut Env<'_>, running: bool) -> Result<()> {
        if self.stages.len() >= env.options.limits.stages {
            let most = env.options.limits.stages;
            return Err(Error::limit("", format!("shapes depend on values more than {most} times in a row"))
                .with_hint("raise the limit: --limit stages=N, SessionLimits::stages"));
        }
        let from = match self.stages.last() {
            Some(last) => {
                self.graph.tensors.clone_from(&last.plan.tensors);
                last.plan.next.as_ref().map_or(self.graph.nodes.len(), |pause| pause.node)
            }
            None => 0,
        };
        let (stages, states, states_at) = (&self.stages, &self.states, self.states_at);
        let read = |id: TensorId| find(stages, states, states_at, id).map(|stage| Data::from_bytes(stage.value(id)));
        let input = PlanInput {
            subgraph: self.subgraph,
            graph: &mut self.graph,
            first: self.stages.is_empty(),
            from,
            states: &self.states,
            handles: &mut self.handles,
            values: running.then_some(&read),
        };
        // Each stage has its own list of the graph's tensors.
        let list = input.graph.tensors.len().saturating_mul(size_of::<Tensor>() + size_of::<Place>());
        let list = env.charge(list)?;
        let mut plan = plan(input, env)?;
        plan.packed.push(list);
        let bytes = plan.slot_bytes.iter().fold(plan.scratch_bytes, |sum, &bytes| sum.saturating_add(bytes));
        let allowed = env.options.arena_bytes_max;
        let arena = env.arena.reserve(bytes, allowed).map_err(|total| crate::env::over_limit(total, allowed))?;
        if plan.next.is_none() {
            let missing = |id: &&TensorId| {
                let place = plan.places.get(id.0);
                let here = !matches!(place, None | Some(Place::Nowhere));
                let is_resource = self.graph.tensor(**id).dtype.bits() == 0;
                !here && !is_resource && !self.stages.iter().any(|stage| stage.has(**id))
            };
            if let Some(id) = self.graph.outputs.iter().find(missing) {
                let message = format!("nothing computes \"{}\"", self.graph.tensor(*id).name);
                return Err(Error::malformed("graph outputs", message));
            }
        }
        let mut stage = Stage { plan, slots: Vec::new(), scratch: Buffer::default(), taken: Vec::new(), arena };
        if running {
            stage.allocate();
        }
        self.stages.push(stage);
        Ok(())
    }

    /// Sets states to their first value.
    pub(crate) fn reset(&mut self) {
        self.move_states(0);
        if let Some(first) = self.stages.first_mut() {
            for (state, slot) in self.states.iter().zip(&mut first.slots) {
                let bytes = &mut slot.as_mut_slice::<u8>()[..state.bytes];
                match &state.initial {
                    Some(data) => bytes.copy_from_slice(data.bytes()),
                    None => bytes.fill(state.fill),
                }
            }
        }
        for stage in &mut self.stages {
            for step in &mut stage.plan.steps {
                step.kernel.runners().into_iter().for_each(Self::reset);
            }
        }
    }

    /// Whether a plan fused ops, so that not every tensor gets its value.
    pub(crate) fn is_fused(&self) -> bool {
        self.plans().any(|plan| plan.fused)
    }

    /// Takes the inputs and the states of a runner of the same subgraph and shapes.
    pub(crate) fn take_values(&mut self, from: &mut Self) {
        self.set_inputs(|index| from.input(index));
        from.move_states(0);
        let (Some(to), Some(source)) = (self.stages.first_mut(), from.stages.first_mut()) else { return };
        for (to, source) in to.slots.iter_mut().zip(&mut source.slots).take(self.states.len()) {
            std::mem::swap(to, source);
        }
        // By node, as one of the two may be fused.
        let mut sources = source.plan.steps.iter_mut();
        for to in &mut to.plan.steps {
            let to_runners = to.kernel.runners();
            if to_runners.is_empty() {
                continue;
            }
            let Some(source) = sources.by_ref().find(|source| source.node == to.node) else { return };
            to_runners.into_iter().zip(source.kernel.runners()).for_each(|(to, source)| to.take_values(source));
        }
    }

    /// Moves the states to the stage that runs.
    fn move_states(&mut self, to: usize) {
        let from = std::mem::replace(&mut self.states_at, to);
        if from == to || self.states.is_empty() {
            return;
        }
        let count = self.states.len();
        let [first, second] = match self.stages.get_disjoint_mut([from, to]) {
            Ok(stages) => stages,
            Err(_) => return,
        };
        for (first, second) in first.slots.iter_mut().zip(&mut second.slots).take(count) {
            std::mem::swap(first, second);
        }
    }

    /// Runs every stage, planning those that depend on values that changed.
    pub(crate) fn run(&mut self, env: &mut Env<'_>, watch: &mut Watch<'_>) -> Result<()> {
        env.enter()?;
        let done = self.run_stages(env, watch);
        env.depth -= 1;
        done
    }

    fn run_stages(&mut self, env: &mut Env<'_>, watch: &mut Watch<'_>) -> Result<()> {
        let shown = env.subgraphs.get(self.subgraph).map_or(0, |subgraph| subgraph.tensors);
        let mut at = 0;
        loop {
            self.move_states(at);
            let (before, rest) = self.stages.split_at_mut(at);
            let Some(stage) = rest.first_mut() else { return Ok(()) };
            for &id in &stage.plan.given {
                if let (Some(from), Some(&Place::Slot { slot, bytes })) =
                    (before.iter().find(|stage| stage.has(id)), stage.plan.places.get(id.0))
                {
                    stage.slots[slot].as_mut_slice::<u8>()[..bytes].copy_from_slice(from.value(id));
                }
            }
            for index in 0..stage.plan.steps.len() {
                let node = stage.plan.steps[index].node;
                stage.run_step(env, index).map_err(|error| match env.subgraphs.get(self.subgraph) {
                    Some(subgraph) => error.at(subgraph.place(node)),
                    None => error,
                })?;
                match watch {
                    Watch::Nothing => {}
                    Watch::Nodes(after) => after(node),
                    Watch::Values(observe) => {
                        for &id in stage.plan.steps[index].computed.iter().filter(|id| id.0 < shown) {
                            let tensor = &stage.plan.tensors[id.0];
                            if tensor.dtype.bits() > 0 {
                                observe(id, tensor, stage.value(id));
                            }
                        }
                    }
                }
            }
            if stage.plan.next.is_none() {
                return Ok(());
            }
            at += 1;
            if !self.holds(at) {
                self.truncate(at);
                self.add_stage(env, true)?;
            }
        }
    }

    /// Whether stage `at` is there and the values that it took for constants are the present ones.
    fn holds(&self, at: usize) -> bool {
        let Some((stage, before)) = self.stages.get(..=at).and_then(<[Stage]>::split_last) else { return false };
        let same = |(id, data): &(TensorId, Data)| {
            let stage = find(before, &self.states, self.states_at, *id);
            stage.is_some_and(|stage| stage.value(*id) == data.bytes())
        };
        !stage.plan.has_run && stage.plan.assumed.iter().all(same)
    }

    fn truncate(&mut self, stages: usize) {
        if self.states_at >= stages {
            self.move_states(0);
        }
        self.stages.truncate(stages);
    }

    /// Fills the inputs. Those that are variables have no bytes.
    pub(crate) fn set_inputs<'a>(&mut self, bytes: impl Fn(usize) -> &'a [u8]) {
        let Some(stage) = self.stages.first_mut() else { return };
        for (index, id) in self.graph.inputs.iter().enumerate() {
            if let Some(&Place::Slot { slot, bytes: size }) = stage.plan.places.get(id.0) {
                let to = &mut stage.slots[slot].as_mut_slice::<u8>()[..size];
                to.iter_mut().zip(bytes(index)).for_each(|(to, &from)| *to = from);
            }
        }
    }

    /// The bytes of input `index`.
    pub(crate) fn input(&self, index: usize) -> &[u8] {
        match (self.graph.inputs.get(index), self.stages.first()) {
            (Some(&id), Some(stage)) => stage.value(id),
            _ => &[],
        }
    }

    /// The bytes of input `index`, to fill; `None` when it is a constant.
    pub(crate) fn input_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        let id = self.graph.inputs.get(index)?;
        let stage = self.stages.first_mut()?;
        match stage.plan.places.get(id.0) {
            Some(&Place::Slot { slot, bytes }) => stage.slots[slot].as_mut_slice::<u8>().get_mut(..bytes),
            _ => None,
        }
    }

    /// The bytes of output `index`.
    pub(crate) fn output(&self, index: usize) -> &[u8] {
        let Some(&id) = self.graph.outputs.get(index) else { return &[] };
        self.value(id)
    }

    /// The bytes of a tensor that is kept.
    pub(crate) fn value(&self, id: TensorId) -> &[u8] {
        find(&self.stages, &self.states, self.states_at, id).map_or(&[], |stage| stage.value(id))
    }

    /// A tensor with the shape of the last plan, or the last run where shapes depend on values.
    pub(crate) fn tensor(&self, id: TensorId) -> &Tensor {
        match self.stages.last() {
            Some(stage) => &stage.plan.tensors[id.0],
            None => self.graph.tensor(id),
        }
    }

    pub(crate) fn subgraph(&self) -> usize {
        self.subgraph
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(crate) fn output_shape(&self, index: usize) -> Vec<usize> {
        self.graph.outputs.get(index).map_or_else(Vec::new, |&id| self.tensor(id).shape.clone())
    }

    /// The shapes of the outputs, unless they depend on values.
    pub(crate) fn output_shapes(&self) -> Option<Vec<Vec<usize>>> {
        let planned = self.stages.last().is_some_and(|stage| stage.plan.next.is_none());
        planned.then(|| (0..self.graph.outputs.len()).map(|index| self.output_shape(index)).collect())
    }

    /// The variables that the outputs stand for.
    pub(crate) fn output_handles(&self) -> Vec<Option<usize>> {
        self.graph.outputs.iter().map(|id| self.handles[id.0]).collect()
    }

    /// The declared forms of the inputs, to change some and plan anew.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let form = |id: &TensorId| {
            let tensor = self.tensor(*id);
            Input { dtype: tensor.dtype, shape: tensor.shape.clone(), handle: self.handles[id.0] }
        };
        self.graph.inputs.iter().map(form).collect()
    }

    /// The plan of each stage.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.stages.iter().map(|stage| &stage.plan)
    }

    /// The node before which the last stage ends because a shape depends on values.
    pub(crate) fn pause(&self) -> Option<usize> {
        self.stages.last().and_then(|stage| stage.plan.next.as_ref()).map(|pause| pause.node)
    }

    /// Stops counting the memory of this runner, which another is about to replace.
    pub(crate) fn suspend(&mut self) {
        for stage in &mut self.stages {
            stage.arena.suspend();
            stage.plan.packed.iter_mut().for_each(Reservation::suspend);
            for step in &mut stage.plan.steps {
                step.kernel.runners().into_iter().for_each(Self::suspend);
            }
        }
    }

    /// Counts it again.
    pub(crate) fn resume(&mut self) {
        for stage in &mut self.stages {
            stage.arena.resume();
            stage.plan.packed.iter_mut().for_each(Reservation::resume);
            for step in &mut stage.plan.steps {
                step.kernel.runners().into_iter().for_each(Self::resume);
            }
        }
    }
}

/// The stage that has the value of a tensor: that which computes it, and for a state the one that ran last.
fn find<'a>(stages: &'a [Stage], states: &[State], states_at: usize, id: TensorId) -> Option<&'a Stage> {
    match states.iter().any(|state| state.tensor == id) {
        true => stages.get(states_at),
        false => stages.iter().find(|stage| stage.has(id)),
    }
}

/// Gives the inputs of a graph the shapes of what is passed.
fn give(graph: &mut Graph, handles: &mut [Option<usize>], inputs: &[Input]) -> Result<()> {
    if inputs.len() != graph.inputs.len() {
        return Err(Error::malformed("", format!("got {} inputs, it has {}", inputs.len(), graph.inputs.len())));
    }
    for (index, (input, id)) in inputs.iter().zip(graph.inputs.clone()).enumerate() {
        let tensor = graph.tensor_mut(id);
        if tensor.dtype != input.dtype {
            return Err(Error::malformed(
                format!("input {index}"),
                format!("got {}, expected {}", input.dtype, tensor.dtype),
            ));
        }
        tensor.signature.take_if(|signature| signature.len() != input.shape.len());
        tensor.shape.clone_from(&input.shape);
        if let Some(handle) = handles.get_mut(id.0) {
            *handle = input.handle;
        }
    }
    Ok(())
}

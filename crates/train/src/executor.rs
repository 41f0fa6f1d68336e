//! Runs a program: the batch is cut into shards of a fixed size, each shard runs on one thread, and what the shards
//! computed is combined in their order. So the result does not depend on the number of threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use litesmith_graph::{Error, Graph, Result};
use litesmith_kernels::{Activation, Context, Isa, Pool, Real};

use crate::distill;
use crate::loss::{Objective, Sums, Targets};
use crate::ops::{
    BatchNormalization, BatchStatistics, Call, Gradients, Inputs, Operand, PlanNode, Prepared, ShardStatistics,
    TrainOp, plan,
};
use crate::program::{Phase, Program, Sync, Task};
use crate::random::Stream;

/// Samples in a shard. Part of the arithmetic: another size sums gradients in another order.
pub(crate) const SHARD: usize = 16;

/// Plans, buffers and threads for training or evaluating one graph.
pub(crate) struct Executor<T> {
    pub(crate) program: Program<T>,
    isa: Isa,
    /// Ops planned for shards of some numbers of samples: the whole ones, and what is left of a batch.
    plans: Vec<(usize, Ops<T>)>,
    prepared: Vec<Prepared<T>>,
    /// The trainable variables as ops read them, when some are quantized: made by [`Executor::prepare`].
    effective: Vec<T>,
    statistics: Vec<BatchStatistics<T>>,
    workspaces: Vec<Mutex<Workspace<T>>>,
    shards: Vec<Mutex<ShardResult<T>>>,
    evaluation: Phase,
    serial: Pool,
}

/// The planned op of each step.
type Ops<T> = Vec<Box<dyn TrainOp<T>>>;

/// What one shard computes in; shards that need not all be alive at the same time share one.
struct Workspace<T> {
    values: Vec<Vec<T>>,
    gradients: Vec<Vec<T>>,
    scratch: Vec<T>,
    spare: Vec<T>,
    statistics: Vec<ShardStatistics<T>>,
}

/// What one shard gives.
struct ShardResult<T> {
    /// Gradients of the trainable variables, flat.
    gradient: Vec<T>,
    sums: Sums,
    /// Smallest and largest value for each observed range.
    ranges: Vec<(T, T)>,
}

/// A batch: the caller's tensors in the order of the graph's inputs, and what they should give.
#[derive(Clone, Copy)]
pub(crate) struct BatchView<'a, T> {
    pub(crate) given: &'a [&'a [T]],
    pub(crate) samples: usize,
    pub(crate) targets: Targets<'a>,
    /// What a teacher gives for each output of the graph; nothing without a teacher.
    pub(crate) taught: &'a [Vec<f32>],
}

impl<T: Real> Executor<T> {
    /// Plans `graph` for shards of [`SHARD`] samples.
    ///
    /// # Errors
    /// Those of [`Program::new`] and of planning each op, with its place.
    pub(crate) fn new(graph: &Graph, isa: Isa, input_gradients: bool) -> Result<Self> {
        let program = Program::new(graph, input_gradients)?;
        let mut evaluation = Phase::default();
        evaluation.tasks.extend((0..program.steps.len()).map(Task::Forward));
        evaluation.tasks.push(Task::Loss);
        let empty = Prepared { forward: Vec::new(), backward: Vec::new() };
        let mut executor = Self {
            prepared: vec![empty; program.steps.len()],
            statistics: program.normalizations.iter().map(|&channels| BatchStatistics::new(channels)).collect(),
            program,
            isa,
            effective: Vec::new(),
            plans: Vec::new(),
            workspaces: Vec::new(),
            shards: Vec::new(),
            evaluation,
            serial: Pool::serial(),
        };
        executor.plan_for(SHARD)?;
        Ok(executor)
    }

    /// Elements of the output for one sample.
    pub(crate) fn output_len(&self) -> usize {
        self.program.sizes[self.program.output]
    }

    fn plan_for(&mut self, samples: usize) -> Result<()> {
        if self.plans.iter().any(|(planned, _)| *planned == samples) {
            return Ok(());
        }
        let graph = self.program.graph_for(samples)?;
        let ops = self.program.steps.iter().enumerate().map(|(index, step)| {
            let node = PlanNode { graph: &graph, node: &graph.nodes[step.node], isa: self.isa };
            plan(node).map_err(|error| error.at(self.program.place(index)))
        });
        let ops = ops.collect::<Result<_>>()?;
        self.plans.push((samples, ops));
        Ok(())
    }

    /// Makes room for a batch of `samples`: all of it is allocated here, once.
    fn reserve(&mut self, samples: usize, threads: usize) -> Result<()> {
        let shards = samples.div_ceil(SHARD);
        for size in [SHARD, samples % SHARD] {
            if size != 0 {
                self.plan_for(size)?;
            }
        }
        let program = &self.program;
        // Between the phases of batch normalization every shard must keep what it has.
        let alive = if program.normalizations.is_empty() { threads.min(shards) } else { shards };
        let scratch_len = self.plans.iter().flat_map(|(_, ops)| ops).map(|op| op.scratch_len()).max().unwrap_or(0);
        while self.workspaces.len() < alive {
            let zeros = |len: usize| vec![T::ZERO; len];
            let values = program.sizes.iter().enumerate();
            self.workspaces.push(Mutex::new(Workspace {
                // The graph's inputs stay where the caller has them.
                values: values.map(|(v, size)| zeros(if v < program.inputs { 0 } else { size * SHARD })).collect(),
                gradients: program.buffer_sizes.iter().map(|size| zeros(size * SHARD)).collect(),
                scratch: zeros(scratch_len),
                spare: zeros((program.spare_sample * SHARD).max(program.spare_variable)),
                statistics: program.normalizations.iter().map(|&channels| ShardStatistics::new(channels)).collect(),
            }));
        }
        let len = program.trainable.last().map_or(0, |last| last.range.end);
        while self.shards.len() < shards {
            self.shards.push(Mutex::new(ShardResult {
                gradient: vec![T::ZERO; len],
                sums: Sums::default(),
                ranges: vec![nothing_seen(); program.observed.len()],
            }));
        }
        for workspace in &mut self.workspaces {
            let workspace = workspace.get_mut().unwrap_or_else(PoisonError::into_inner);
            if workspace.scratch.len() < scratch_len {
                workspace.scratch.resize(scratch_len, T::ZERO);
            }
        }
        Ok(())
    }

    /// Quantizes what is read quantized, and brings weights into the order in which kernels read them. To be called after
    /// each change of the variables.
    pub(crate) fn prepare(&mut self, pool: &Pool, trainable: &[T], moving: &[T]) {
        let Self { program, plans, prepared, effective, .. } = self;
        let Some((_, ops)) = plans.first() else { return };
        let mut trainable = trainable;
        if !program.quantized.is_empty() {
            effective.clear();
            effective.extend_from_slice(trainable);
            for quantized in &program.quantized {
                quantized.apply(trainable, moving, effective);
            }
            trainable = effective;
        }
        pool.chunks_mut(prepared, 1, |index, prepared| {
            let inputs = Inputs {
                operands: &program.steps[index].operands,
                given: &[],
                samples: 0..0,
                sizes: &program.sizes,
                values: &[],
                trainable,
                moving,
                constants: &program.constants,
            };
            if let Some(prepared) = prepared.first_mut() {
                ops[index].prepare(&inputs, prepared);
            }
        });
    }

    /// Forward and backward pass of a batch in training mode. The gradients of the mean loss stay in the shards, to be
    /// summed by [`Executor::gradient`].
    ///
    /// # Errors
    /// Those of planning for a number of samples that has not been seen before.
    pub(crate) fn train(
        &mut self,
        pool: &Pool,
        trainable: &[T],
        moving: &mut [T],
        batch: BatchView<'_, T>,
        objective: &Objective,
        random: Stream,
    ) -> Result<Sums> {
        self.reserve(batch.samples, pool.threads())?;
        self.check(batch, objective)?;
        let phases = std::mem::take(&mut self.program.training);
        let effective = std::mem::take(&mut self.effective);
        let read = if self.program.quantized.is_empty() { trainable } else { &effective };
        for (number, phase) in phases.iter().enumerate() {
            let run = Run { trainable: read, moving, batch, objective, random: Some(random), first: number == 0 };
            self.run_phase(pool, phase, &run, None);
            if let Some(sync) = phase.sync {
                self.synchronise(sync, moving, batch.samples.div_ceil(SHARD));
            }
        }
        self.program.training = phases;
        self.effective = effective;
        let shards = batch.samples.div_ceil(SHARD);
        self.move_ranges(moving, shards);
        self.finish_gradients(trainable, shards);
        Ok(self.sums(batch.samples))
    }

    /// Forward pass of a batch outside training: moving averages, no dropout. Into `outputs`, if given, what the loss
    /// reads.
    ///
    /// # Errors
    /// Those of planning for a number of samples that has not been seen before.
    pub(crate) fn evaluate(
        &mut self,
        pool: &Pool,
        trainable: &[T],
        moving: &[T],
        batch: BatchView<'_, T>,
        objective: &Objective,
        outputs: Option<&Mutex<Vec<T>>>,
    ) -> Result<Sums> {
        self.reserve(batch.samples, pool.threads())?;
        self.check(batch, objective)?;
        let phase = std::mem::take(&mut self.evaluation);
        let read = if self.program.quantized.is_empty() { trainable } else { &self.effective };
        let run = Run { trainable: read, moving, batch, objective, random: None, first: true };
        self.run_phase(pool, &phase, &run, outputs);
        self.evaluation = phase;
        Ok(self.sums(batch.samples))
    }

    fn check(&self, batch: BatchView<'_, T>, objective: &Objective) -> Result<()> {
        for (index, given) in batch.given.iter().enumerate() {
            let expected = self.program.sizes[index] * batch.samples;
            if given.len() != expected {
                return Err(Error::invalid(
                    format!("batch of {}", batch.samples),
                    format!("got {} elements for input {index}, expected {expected}", given.len()),
                ));
            }
        }
        let outputs = self.output_len();
        let (got, expected) = match batch.targets {
            Targets::Classes(classes) => (classes.len(), batch.samples),
            Targets::Dense(values) => (values.len(), batch.samples * outputs),
        };
        if batch.given.len() != self.program.inputs || got != expected {
            return Err(Error::invalid(
                format!("batch of {}", batch.samples),
                format!(
                    "got {} inputs and {got} targets, expected {} and {expected}",
                    batch.given.len(),
                    self.program.inputs
                ),
            )
            .with_hint("do the data's classes match the network's outputs?"));
        }
        let values = std::iter::once(self.program.output).chain(self.program.hints.iter().copied());
        for (number, (taught, value)) in batch.taught.iter().zip(values).enumerate() {
            let expected = batch.samples * self.program.sizes[value];
            // Scores that are not compared may be of other classes.
            if taught.len() != expected && (number > 0 || objective.softened.is_some()) {
                return Err(Error::invalid(
                    format!("teacher, output {number}"),
                    format!("got {} elements for {} samples, expected {expected}", taught.len(), batch.samples),
                ));
            }
        }
        if let (Targets::Classes(classes), true) = (batch.targets, outputs > 1)
            && let Some(class) = classes.iter().find(|class| **class as usize >= outputs)
        {
            return Err(Error::invalid("labels", format!("got class {class}, the network has {outputs} outputs")));
        }
        Ok(())
    }

    fn run_phase(&self, pool: &Pool, phase: &Phase, run: &Run<'_, T>, outputs: Option<&Mutex<Vec<T>>>) {
        let shards = run.batch.samples.div_ceil(SHARD);
        if !self.program.normalizations.is_empty() {
            pool.run(shards, &|shard| {
                let mut workspace = lock(&self.workspaces[shard]);
                self.run_shard(phase, run, shard, &mut workspace, outputs);
            });
            return;
        }
        let next = AtomicUsize::new(0);
        pool.run(pool.threads().min(shards), &|worker| {
            let mut workspace = lock(&self.workspaces[worker]);
            loop {
                let shard = next.fetch_add(1, Ordering::Relaxed);
                if shard >= shards {
                    break;
                }
                self.run_shard(phase, run, shard, &mut workspace, outputs);
            }
        });
    }

    fn run_shard(
        &self,
        phase: &Phase,
        run: &Run<'_, T>,
        shard: usize,
        workspace: &mut Workspace<T>,
        outputs: Option<&Mutex<Vec<T>>>,
    ) {
        let samples = shard * SHARD..((shard + 1) * SHARD).min(run.batch.samples);
        let Some((_, ops)) = self.plans.iter().find(|(planned, _)| *planned == samples.len()) else { return };
        let mut result = lock(&self.shards[shard]);
        if run.first {
            result.sums = Sums::default();
            if run.random.is_some() {
                result.gradient.fill(T::ZERO);
                result.ranges.fill(nothing_seen());
            }
        }
        let mut worker = ShardRun { executor: self, run, ops, samples, workspace, result: &mut result };
        for &task in &phase.tasks {
            match task {
                Task::Forward(step) => worker.forward(step),
                Task::Measure(step) => worker.measure(step),
                Task::Loss => worker.loss(outputs),
                Task::BackwardStatistics(step) => worker.backward_statistics(step),
                Task::Backward(step) => worker.backward(step),
            }
        }
    }

    fn synchronise(&mut self, sync: Sync, moving: &mut [T], shards: usize) {
        let (Sync::Statistics(step) | Sync::Gradients(step)) = sync;
        let Self { program, statistics, workspaces, .. } = self;
        let step = &program.steps[step];
        let Some(number) = step.normalization else { return };
        let shards = &workspaces[..shards];
        match sync {
            Sync::Statistics(_) => {
                let litesmith_graph::Op::BatchNormalization(op) = program.graph.nodes[step.node].op else { return };
                let op = BatchNormalization::new(op, program.normalizations[number]);
                op.start(&mut statistics[number]);
                for workspace in shards {
                    op.combine(&lock(workspace).statistics[number], &mut statistics[number]);
                }
                let (Some(&Operand::Moving { start: mean, len }), Some(&Operand::Moving { start: variance, .. })) =
                    (step.operands.get(3), step.operands.get(4))
                else {
                    return;
                };
                let mean = mean..mean + len;
                let variance = variance..variance + len;
                // Two variables never overlap, so one of them ends before the other begins.
                let (low, high) = moving.split_at_mut(mean.start.max(variance.start));
                let (mean, variance) = if mean.start < variance.start {
                    (&mut low[mean], &mut high[..len])
                } else {
                    (&mut high[..len], &mut low[variance])
                };
                op.finish(&mut statistics[number], mean, variance);
            }
            Sync::Gradients(_) => {
                statistics[number].dgamma.fill(T::ZERO);
                statistics[number].dbeta.fill(T::ZERO);
                for workspace in shards {
                    BatchNormalization::combine_backward(&lock(workspace).statistics[number], &mut statistics[number]);
                }
            }
        }
    }

    /// Moves each observed range towards what the batch held. Smallest and largest do not depend on the order of the
    /// shards.
    fn move_ranges(&mut self, moving: &mut [T], shards: usize) {
        for (number, observed) in self.program.observed.iter().enumerate() {
            let mut seen = nothing_seen();
            for shard in self.shards.iter_mut().take(shards) {
                let (low, high) = shard.get_mut().unwrap_or_else(PoisonError::into_inner).ranges[number];
                seen = (low.smaller(seen.0), high.larger(seen.1));
            }
            if seen.0 > seen.1 {
                continue;
            }
            let keep = T::from_f64(f64::from(observed.momentum));
            for (end, seen) in moving[observed.start..].iter_mut().zip([seen.0, seen.1]) {
                *end = *end * keep + seen * (T::ONE - keep);
            }
        }
    }

    /// Makes the gradients of quantized weights those of the weights and their steps. They then stand in the first shard.
    fn finish_gradients(&mut self, trainable: &[T], shards: usize) {
        for quantized in &self.program.quantized {
            let Some(range) = quantized.learned() else { continue };
            let mut own = vec![T::ZERO; range.len()];
            for shard in self.shards.iter_mut().take(shards) {
                let shard = shard.get_mut().unwrap_or_else(PoisonError::into_inner);
                litesmith_kernels::movement::accumulate(&shard.gradient[range.clone()], &mut own);
                shard.gradient[range.clone()].fill(T::ZERO);
            }
            if let Some(first) = self.shards.first_mut() {
                let first = first.get_mut().unwrap_or_else(PoisonError::into_inner);
                quantized.backward(trainable, &mut own, &mut first.gradient);
                first.gradient[range].copy_from_slice(&own);
            }
        }
    }

    fn sums(&mut self, samples: usize) -> Sums {
        let mut sums = Sums::default();
        for shard in self.shards.iter_mut().take(samples.div_ceil(SHARD)) {
            sums.add(shard.get_mut().unwrap_or_else(PoisonError::into_inner).sums);
        }
        sums
    }

    /// Into `sum`, elements `start..` of the gradients of the trainable variables, summed over the shards of the last
    /// batch of `samples` in their order.
    pub(crate) fn gradient(&self, samples: usize, start: usize, sum: &mut [T]) {
        let range = start..start + sum.len();
        for (index, shard) in self.shards.iter().take(samples.div_ceil(SHARD)).enumerate() {
            let shard = lock(shard);
            if index == 0 {
                sum.copy_from_slice(&shard.gradient[range.clone()]);
            } else {
                litesmith_kernels::movement::accumulate(&shard.gradient[range.clone()], sum);
            }
        }
    }

    /// The gradient of the graph's input `input` for each sample of the last batch. Planned with input gradients; more
    /// than one shard only for graphs that keep all of them.
    #[cfg(test)]
    pub(crate) fn input_gradient(&self, input: usize, samples: usize) -> Vec<T> {
        let buffer = self.program.buffer_of[input].expect("planned with input gradients");
        let size = self.program.sizes[input];
        let part = |shard: usize| lock(&self.workspaces[shard]).gradients[buffer].clone();
        let mut gradient: Vec<T> = (0..samples.div_ceil(SHARD)).flat_map(part).collect();
        gradient.truncate(samples * size);
        gradient
    }

    /// The first tensor that is not finite: a variable, a gradient, or what a forward pass of `batch` computes.
    pub(crate) fn first_not_finite(&self, trainable: &[T], batch: BatchView<'_, T>) -> String {
        let bad = |values: &[T]| values.iter().any(|value| !value.to_f64().is_finite());
        for variable in &self.program.trainable {
            if bad(&trainable[variable.range.clone()]) {
                return format!("weights \"{}\"", variable.name);
            }
        }
        if batch.given.iter().any(|given| bad(given)) {
            return "the input".into();
        }
        let shards = batch.samples.div_ceil(SHARD);
        // Only the last shard of each workspace is still there, which is enough for a hint.
        for (value, name) in self.program.value_names.iter().enumerate().skip(self.program.inputs) {
            if self.workspaces.iter().any(|workspace| bad(&lock(workspace).values[value])) {
                return format!("activations \"{name}\"");
            }
        }
        for variable in &self.program.trainable {
            if self.shards.iter().take(shards).any(|shard| bad(&lock(shard).gradient[variable.range.clone()])) {
                return format!("gradient of \"{}\"", variable.name);
            }
        }
        "the loss".into()
    }
}

/// What all shards of a phase share.
struct Run<'a, T> {
    trainable: &'a [T],
    moving: &'a [T],
    batch: BatchView<'a, T>,
    objective: &'a Objective,
    /// `None` outside training.
    random: Option<Stream>,
    /// Whether this is the first phase of the batch.
    first: bool,
}

/// One shard at work.
struct ShardRun<'a, T> {
    executor: &'a Executor<T>,
    run: &'a Run<'a, T>,
    ops: &'a [Box<dyn TrainOp<T>>],
    samples: std::ops::Range<usize>,
    workspace: &'a mut Workspace<T>,
    result: &'a mut ShardResult<T>,
}

impl<T: Real> ShardRun<'_, T> {
    fn call<'b>(
        executor: &'b Executor<T>,
        run: &'b Run<'_, T>,
        samples: std::ops::Range<usize>,
        step: usize,
        values: &'b [Vec<T>],
    ) -> Call<'b, T> {
        let program = &executor.program;
        Call {
            inputs: Inputs {
                operands: &program.steps[step].operands,
                given: run.batch.given,
                samples,
                sizes: &program.sizes,
                values,
                trainable: run.trainable,
                moving: run.moving,
                constants: &program.constants,
            },
            prepared: &executor.prepared[step],
            context: Context { pool: &executor.serial, isa: executor.isa },
            random: run.random,
        }
    }

    fn forward(&mut self, step: usize) {
        let Step { output, normalization, activation } = self.step(step);
        self.observe(step);
        let len = self.executor.program.sizes[output] * self.samples.len();
        // Taken out while the op writes it, since the op reads the others.
        let mut y = std::mem::take(&mut self.workspace.values[output]);
        let call = Self::call(self.executor, self.run, self.samples.clone(), step, &self.workspace.values);
        match normalization {
            Some(number) if self.run.random.is_some() => {
                BatchNormalization::forward_batch(&call, &self.executor.statistics[number], &mut y[..len]);
            }
            _ => self.ops[step].forward(&call, &mut y[..len], &mut self.workspace.scratch),
        }
        activation.apply_in_place(call.context, &mut y[..len]);
        self.workspace.values[output] = y;
    }

    /// In training, takes in what a step with an observed range reads.
    fn observe(&mut self, step: usize) {
        let (Some(number), Some(_)) = (self.executor.program.steps[step].observed, self.run.random) else { return };
        let call = Self::call(self.executor, self.run, self.samples.clone(), step, &self.workspace.values);
        let (low, high) = litesmith_kernels::fake_quantize::range(self.executor.isa, call.inputs.get(0));
        let seen = &mut self.result.ranges[number];
        *seen = (low.smaller(seen.0), high.larger(seen.1));
    }

    fn measure(&mut self, step: usize) {
        let Some(number) = self.step(step).normalization else { return };
        let Workspace { values, statistics, .. } = &mut *self.workspace;
        let call = Self::call(self.executor, self.run, self.samples.clone(), step, values);
        BatchNormalization::measure(self.executor.isa, call.inputs.get(0), &mut statistics[number]);
    }

    fn loss(&mut self, outputs: Option<&Mutex<Vec<T>>>) {
        let program = &self.executor.program;
        let (value, width) = (program.output, program.sizes[program.output]);
        let len = width * self.samples.len();
        let Workspace { values, gradients, .. } = &mut *self.workspace;
        let logits = &values[value][..len];
        let batch = &self.run.batch;
        let targets = match batch.targets {
            Targets::Classes(classes) => Targets::Classes(&classes[self.samples.clone()]),
            Targets::Dense(dense) => Targets::Dense(&dense[self.samples.start * width..self.samples.end * width]),
        };
        let gradient = match (self.run.random, program.buffer_of[value]) {
            (Some(_), Some(buffer)) => Some(&mut gradients[buffer][..len]),
            _ => None,
        };
        let of_shard = |output: usize, width: usize| match batch.taught.get(output) {
            Some(taught) => &taught[self.samples.start * width..self.samples.end * width],
            None => &[],
        };
        let objective = self.run.objective;
        let teacher = if objective.softened.is_some() { of_shard(0, width) } else { &[] };
        let scale = 1.0 / batch.samples as f64;
        let mut sums = objective.evaluate(logits, width, targets, teacher, scale, gradient);
        for (number, (&hint, weight)) in program.hints.iter().zip(&objective.hints).enumerate() {
            let width = program.sizes[hint];
            let len = width * self.samples.len();
            let gradient = match (self.run.random, program.buffer_of[hint]) {
                (Some(_), Some(buffer)) => Some(&mut gradients[buffer][..len]),
                _ => None,
            };
            // The first that reads a value writes its gradient.
            let add = hint == value || program.hints[..number].contains(&hint);
            let each = weight / width.max(1) as f64;
            sums.loss += distill::hint(&values[hint][..len], of_shard(number + 1, width), each, scale, gradient, add);
        }
        self.result.sums = sums;
        if let Some(outputs) = outputs {
            lock(outputs)[self.samples.start * width..self.samples.end * width].copy_from_slice(logits);
        }
    }

    fn backward_statistics(&mut self, step: usize) {
        let program = &self.executor.program;
        let Step { output, normalization: Some(number), activation } = self.step(step) else { return };
        let Some(buffer) = program.buffer_of[output] else { return };
        let len = program.sizes[output] * self.samples.len();
        let Workspace { values, gradients, statistics, .. } = &mut *self.workspace;
        let call = Self::call(self.executor, self.run, self.samples.clone(), step, values);
        let batch = &self.executor.statistics[number];
        let dy = &mut gradients[buffer][..len];
        activation.backward_in_place(call.context, &values[output][..len], dy);
        BatchNormalization::backward_statistics(&call, batch, dy, &mut statistics[number]);
    }

    fn backward(&mut self, step: usize) {
        let program = &self.executor.program;
        let Step { output, normalization, .. } = self.step(step);
        let Some(buffer) = program.buffer_of[output] else { return };
        let len = program.sizes[output] * self.samples.len();
        let Workspace { values, gradients, scratch, spare, statistics } = &mut *self.workspace;
        let mut dy = std::mem::take(&mut gradients[buffer]);
        let call = Self::call(self.executor, self.run, self.samples.clone(), step, values);
        let mut sinks = Gradients {
            operands: &program.steps[step].operands,
            wanted: &program.steps[step].wanted,
            samples: self.samples.len(),
            sizes: &program.sizes,
            buffer_of: &program.buffer_of,
            buffers: gradients,
            trainable: &mut self.result.gradient,
            spare,
        };
        match normalization {
            Some(number) => {
                let batch = &self.executor.statistics[number];
                BatchNormalization::backward_batch(&call, batch, &statistics[number], &dy[..len], &mut sinks);
            }
            None => self.ops[step].backward(&call, &values[output][..len], &mut dy[..len], &mut sinks, scratch),
        }
        gradients[buffer] = dy;
    }

    fn step(&self, step: usize) -> Step {
        let step = &self.executor.program.steps[step];
        Step { output: step.output, normalization: step.normalization, activation: step.activation }
    }
}

/// The parts of a step that are copied out, so that nothing stays borrowed.
#[derive(Clone, Copy)]
struct Step {
    output: usize,
    normalization: Option<usize>,
    activation: Activation,
}

/// A range that anything widens.
fn nothing_seen<T: Real>() -> (T, T) {
    (T::INFINITY, -T::INFINITY)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

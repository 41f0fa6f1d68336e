//! The loop: batches, updates, validation, checkpoints.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use litesmith_data::{Batch, Loader, LoaderConfig, Preprocess, Split};
use litesmith_graph::{Data, Error, Graph, Op, Result};
use litesmith_kernels::{Isa, Pool};

use crate::checkpoint::{self, CheckpointHeader, Groups, Loaded};
use crate::config::{ClassWeights, Monitor};
use crate::distill::{Lessons, Softened, Teacher};
use crate::executor::{BatchView, Executor};
use crate::loss::{Objective, Sums, Targets};
use crate::optimizer::{OptimizerState, Update};
use crate::preserve::Preserved;
use crate::random::Stream;
use crate::report::{BatchGradients, Ended, EpochRecord, Evaluation, StepRecord, TrainObserver, TrainReport, Weights};
use crate::{TrainConfig, export};

/// What training runs on and writes to.
#[derive(Debug, Clone, Default)]
pub struct TrainOptions {
    /// Threads; 0 for as many as the machine has. The result does not depend on it.
    pub threads: usize,
    /// Instruction set; the best of this CPU when not given. The result depends on it.
    pub isa: Option<Isa>,
    /// Where a checkpoint is kept, after each epoch and when training is cancelled.
    pub checkpoint: Option<PathBuf>,
    /// Updates between two checkpoints within an epoch; 0 for none.
    pub checkpoint_every: u64,
    /// When set, training stops after the update at hand.
    pub cancel: Option<Arc<AtomicBool>>,
    /// What to write into the checkpoint about the network, to build it again.
    pub source: String,
    /// The epochs of a run with another graph that this one goes on from: its own are numbered after them.
    pub earlier: Vec<EpochRecord>,
    /// The teachers that [`TrainConfig::distill`] learns from.
    pub teachers: Vec<Arc<Mutex<dyn Teacher>>>,
}

/// What to train on.
#[derive(Debug, Clone)]
pub struct TrainData {
    /// Samples to learn from.
    pub train: Split,
    /// Samples to choose the best epoch by.
    pub validation: Option<Split>,
    /// How images are brought to the network's input.
    pub preprocess: Preprocess,
}

/// A network in training.
pub struct Trainer {
    /// As given, with its last softmax or sigmoid.
    graph: Graph,
    config: TrainConfig,
    options: TrainOptions,
    pool: Pool,
    executor: Executor<f32>,
    lessons: Lessons,
    preserved: Preserved,
    trainable: Vec<f32>,
    moving: Vec<f32>,
    optimizer: OptimizerState<f32>,
    header: CheckpointHeader,
    /// Weights and moving averages of the best epoch.
    best: Option<(Vec<f32>, Vec<f32>)>,
    /// Whether this run wrote its checkpoint, or began from one.
    has_checkpoint: bool,
}

impl std::fmt::Debug for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer").field("config", &self.config).field("header", &self.header).finish_non_exhaustive()
    }
}

impl Trainer {
    /// Plans training `graph`: one of [`Architecture::graph`](crate::arch::Architecture::graph), or any float graph, of
    /// which the constants that convolutions, fully connected ops, additions and multiplications read learn. It must
    /// have one input, `[batch, ..]`, and one output.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a configuration that makes no sense, [`Error::Unsupported`] for an op that cannot be
    /// trained through.
    pub fn new(graph: &Graph, config: TrainConfig, options: TrainOptions) -> Result<Self> {
        config.check()?;
        if graph.inputs.len() != 1 {
            return Err(Error::unsupported("training", format!("{} inputs, expected one", graph.inputs.len())));
        }
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            threads => threads,
        };
        let is_fake = |op: &Op| matches!(op, Op::FakeQuantize(_) | Op::FakeQuantizeWeights(_));
        if config.qat.is_some() && !graph.nodes.iter().any(|node| is_fake(&node.op)) {
            return Err(Error::invalid("qat", "the graph has no fake quantization")
                .with_hint("litesmith_compress::simulate puts it in; litesmith::train_model does all of it"));
        }
        let isa = options.isa.unwrap_or_else(Isa::detect);
        if graph.outputs.len() != 1 {
            let outputs = graph.outputs.len();
            return Err(Error::unsupported("training", format!("the graph has {outputs} outputs, expected one")));
        }
        let lessons = Lessons::new(config.distill.as_ref(), options.teachers.clone())?;
        let preserved = if config.preserve { Preserved::of(graph)? } else { Preserved::default() };
        let mut stripped = config.loss.strip(graph);
        if let Some(distill) = &config.distill {
            lessons.attach(&mut stripped, distill, config.seed)?;
        }
        let executor = Executor::new(&stripped, isa, false)?;
        let (trainable, moving) = executor.program.initial_variables()?;
        let frozen = |name: &str| config.frozen.iter().any(|prefix| name.starts_with(prefix.as_str()));
        for prefix in &config.frozen {
            if !executor.program.trainable.iter().any(|variable| variable.name.starts_with(prefix.as_str())) {
                return Err(Error::invalid("frozen", format!("no variable's name begins with \"{prefix}\"")));
            }
        }
        if executor.program.trainable.iter().all(|variable| frozen(&variable.name)) {
            return Err(Error::invalid("training", "the graph has nothing that learns"));
        }
        let optimizer = OptimizerState::new(
            config.optimizer,
            &executor.program.trainable,
            &trainable,
            config.ema_momentum.is_some(),
            |variable| frozen(&variable.name),
        );
        let header = CheckpointHeader {
            version: 1,
            config: config.clone(),
            source: options.source.clone(),
            data: String::new(),
            samples: 0,
            epochs_done: 0,
            steps_done: 0,
            updates: 0,
            before: (options.earlier.len(), options.earlier.last().map_or(0, |epoch| epoch.updates)),
            history: options.earlier.clone(),
            epochs_without_improvement: 0,
            finished: false,
            best: None,
            sums: (0, 0, 0),
        };
        Ok(Self {
            graph: graph.clone(),
            config,
            options,
            pool: Pool::new(threads),
            executor,
            lessons,
            preserved,
            trainable,
            moving,
            optimizer,
            header,
            best: None,
            has_checkpoint: false,
        })
    }

    /// As [`Trainer::new`], then takes up training where the checkpoint at `path` left it. The configuration must be that
    /// of the checkpoint, except that there may be more epochs.
    ///
    /// # Errors
    /// Those of [`Trainer::new`]; [`Error::Invalid`] when configuration or network differ from the checkpoint's,
    /// [`Error::Malformed`] and [`Error::Io`] when it cannot be read.
    pub fn resume(graph: &Graph, config: TrainConfig, options: TrainOptions, path: &Path) -> Result<Self> {
        let at = |error: Error| error.at(path.display());
        let loaded = Loaded::load(path)?;
        let stored = &loaded.header;
        if (TrainConfig { epochs: stored.config.epochs, ..config.clone() }) != stored.config {
            return Err(at(Error::invalid("config", "it is not the configuration that the checkpoint was made with")
                .with_hint("resume with the same options; only the number of epochs may grow")));
        }
        let mut trainer = Self::new(graph, config, options)?;
        let program = &trainer.executor.program;
        trainer.trainable = loaded.group("weights", &program.trainable).map_err(at)?;
        trainer.moving = loaded.group("moving", &program.moving).map_err(at)?;
        let mut slots = Vec::new();
        for slot in trainer.config.optimizer.slots() {
            slots.push(loaded.group(&format!("optimizer/{slot}"), &program.trainable).map_err(at)?);
        }
        let ema = match trainer.config.ema_momentum {
            Some(_) => loaded.group("ema", &program.trainable).map_err(at)?,
            None => Vec::new(),
        };
        trainer.optimizer.restore(&slots, &ema);
        trainer.optimizer.updates = stored.updates;
        if stored.best.is_some() {
            let best = loaded.group("best", &program.trainable).map_err(at)?;
            trainer.best = Some((best, loaded.group("best_moving", &program.moving).map_err(at)?));
        }
        let (source, config) = (trainer.header.source, trainer.header.config);
        let finished = stored.finished && stored.epochs_done >= config.epochs;
        trainer.header = CheckpointHeader { config, finished, ..stored.clone() };
        if !source.is_empty() {
            trainer.header.source = source;
        }
        trainer.has_checkpoint = trainer.options.checkpoint.as_deref() == Some(path);
        Ok(trainer)
    }

    /// Trains to the end, or until cancelled or stopped early.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the data do not fit the network, and when the loss is no longer finite, saying where; those
    /// of reading samples and of writing checkpoints.
    pub fn train(&mut self, data: &TrainData, observer: &mut dyn TrainObserver) -> Result<TrainReport> {
        self.lessons.check(&data.preprocess)?;
        let loader = self.training_loader(data)?;
        let validation = match &data.validation {
            Some(split) => {
                let batch = LoaderConfig::evaluation(self.config.batch);
                Some(Loader::new(split.clone(), data.preprocess.clone(), batch)?)
            }
            None => None,
        };
        let objective = self.objective(&data.train)?;
        if self.header.data.is_empty() {
            self.header.data = data.train.name().into();
            self.header.samples = data.train.len();
        }
        if (self.header.data.as_str(), self.header.samples) != (data.train.name(), data.train.len()) {
            return Err(Error::invalid(
                "data",
                format!(
                    "got {} samples of {}, the checkpoint was made with {} of {}",
                    data.train.len(),
                    data.train.name(),
                    self.header.samples,
                    self.header.data
                ),
            ));
        }
        let mut cancelled = false;
        while !cancelled && self.header.epochs_done < self.config.epochs && !self.header.finished {
            let whole = self.epoch(&loader, &objective, observer)?;
            cancelled = self.is_cancelled();
            if whole {
                self.end_epoch(validation.as_ref(), &objective, observer)?;
                let patience = self.config.early_stopping.map_or(usize::MAX, |stopping| stopping.patience);
                self.header.finished =
                    self.header.epochs_without_improvement >= patience || self.header.epochs_done >= self.config.epochs;
            }
            self.save_checkpoint()?;
        }
        let ended = match self.header.finished {
            true if self.header.epochs_done >= self.config.epochs => Ended::Finished,
            true => Ended::EarlyStopping,
            false => Ended::Cancelled,
        };
        let last = (self.header.epochs_done > 0).then_some(self.header.before.0 + self.header.epochs_done);
        let best_epoch = match (&self.best, self.header.best) {
            (Some(_), Some((epoch, _))) if self.config.restore_best => Some(epoch),
            _ => last,
        };
        let updates = self.header.before.1 + self.header.updates;
        Ok(TrainReport { history: self.header.history.clone(), best_epoch, ended, updates })
    }

    /// Loss and accuracy of the samples of a split, with the weights that [`Trainer::trained_graph`] gives.
    ///
    /// # Errors
    /// Those of reading samples; [`Error::Invalid`] when they do not fit the network.
    pub fn evaluate(&mut self, split: &Split, preprocess: &Preprocess) -> Result<Evaluation> {
        self.lessons.check(preprocess)?;
        let loader = Loader::new(split.clone(), preprocess.clone(), LoaderConfig::evaluation(self.config.batch))?;
        let objective = self.objective(split)?;
        let (trainable, moving) = self.chosen();
        evaluate(&mut self.executor, &mut self.lessons, &self.pool, &trainable, &moving, &loader, &objective)
    }

    /// Calls `visit` with the weights and their gradients for each of the first `batches` batches of training; nothing
    /// learns.
    ///
    /// # Errors
    /// Those of reading samples; [`Error::Invalid`] when they do not fit the network.
    pub fn gradients(
        &mut self,
        data: &TrainData,
        batches: usize,
        visit: &mut dyn FnMut(&BatchGradients<'_>),
    ) -> Result<()> {
        self.lessons.check(&data.preprocess)?;
        let loader = self.training_loader(data)?;
        let objective = self.objective(&data.train)?;
        let mut moving = self.moving.clone();
        let mut gradients = vec![0.0; self.trainable.len()];
        let mut batch = Batch::default();
        let mut loaded = loader.epoch(0, 0);
        for number in 0..batches {
            if loaded.next_into(&mut batch)?.is_none() {
                break;
            }
            let targets =
                if batch.targets.is_empty() { Targets::Classes(&batch.labels) } else { Targets::Dense(&batch.targets) };
            let given = [batch.images.as_slice()];
            let taught = self.lessons.of(&batch.images)?;
            let view = BatchView { given: &given, samples: batch.len(), targets, taught };
            let random = Stream::new(self.config.seed, "dropout").for_number(number as u64);
            self.executor.prepare(&self.pool, &self.trainable, &moving);
            self.executor.train(&self.pool, &self.trainable, &mut moving, view, &objective, random)?;
            self.executor.gradient(batch.len(), 0, &mut gradients);
            let variables = &self.executor.program.trainable;
            visit(&BatchGradients { variables, values: &self.trainable, gradients: &gradients });
        }
        Ok(())
    }

    /// The graph as given, with the present weights: those of the best epoch when one was chosen, averaged ones when an
    /// average is kept. Still with what only training needs; see [`Trainer::exported_graph`].
    #[must_use]
    pub fn trained_graph(&self) -> Graph {
        let (trainable, moving) = self.chosen();
        let program = &self.executor.program;
        let mut graph = self.graph.clone();
        for (variables, values) in [(&program.trainable, &trainable), (&program.moving, &moving)] {
            // What only hints need is not the caller's.
            for variable in variables.iter().filter(|variable| variable.tensor.0 < self.graph.tensors.len()) {
                let data = Data::from_slice(&values[variable.range.clone()]);
                graph.tensor_mut(variable.tensor).data = Some(data);
            }
        }
        graph
    }

    /// The graph that a `.tflite` file holds: [`Trainer::trained_graph`] after [`export::export`].
    ///
    /// # Errors
    /// Those of [`export::export`].
    pub fn exported_graph(&self) -> Result<Graph> {
        export::export(&self.trained_graph())
    }

    /// How it is trained.
    #[must_use]
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Where training stands.
    #[must_use]
    pub fn header(&self) -> &CheckpointHeader {
        &self.header
    }

    /// Threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    fn training_loader(&self, data: &TrainData) -> Result<Loader> {
        let config = LoaderConfig {
            drop_last: self.config.drop_last,
            augment: self.config.augment.clone(),
            threads: self.config.loader_threads,
            ..LoaderConfig::training(self.config.batch, self.config.seed)
        };
        Loader::new(data.train.clone(), data.preprocess.clone(), config)
    }

    fn objective(&self, split: &Split) -> Result<Objective> {
        let class_weights = match &self.config.class_weights {
            ClassWeights::Equal => Vec::new(),
            ClassWeights::List(weights) => weights.clone(),
            ClassWeights::Balanced => {
                let counts = split.class_counts();
                let present = counts.iter().filter(|count| **count > 0).count();
                let even = split.len() as f64 / present.max(1) as f64;
                counts.iter().map(|&count| if count == 0 { 0.0 } else { even / count as f64 }).collect()
            }
        };
        let distill = self.config.distill.as_ref();
        let objective = Objective {
            loss: self.config.loss,
            label_smoothing: self.config.label_smoothing,
            class_weights,
            softened: distill.filter(|distill| distill.alpha > 0.0).map(Softened::from),
            hints: distill.map_or_else(Vec::new, |distill| distill.hints.iter().map(|hint| hint.weight).collect()),
        };
        objective.check(self.executor.output_len())?;
        Ok(objective)
    }

    /// Goes through the rest of an epoch; `false` when cancelled before its end.
    fn epoch(&mut self, loader: &Loader, objective: &Objective, observer: &mut dyn TrainObserver) -> Result<bool> {
        let epoch = self.header.before.0 + self.header.epochs_done;
        let steps_per_epoch = loader.steps_per_epoch();
        let mut batches = loader.epoch(epoch as u64, self.header.steps_done);
        let mut batch = Batch::default();
        let mut sums = self.header.sums();
        while let Some(step) = batches.next_into(&mut batch)? {
            let record = self.step(&batch, objective, epoch, step, steps_per_epoch, &mut sums)?;
            let variables = &self.executor.program.trainable;
            observer.after_update(&mut Weights { variables, values: &mut self.trainable });
            self.preserved.hold_all(&mut Weights { variables, values: &mut self.trainable });
            self.header.steps_done = step + 1;
            self.header.updates += 1;
            self.header.set_sums(sums);
            observer.on_step(&record);
            if self.is_cancelled() {
                return Ok(step + 1 == steps_per_epoch);
            }
            let every = self.options.checkpoint_every;
            if every > 0 && self.header.updates.is_multiple_of(every) {
                self.save_checkpoint()?;
            }
        }
        Ok(true)
    }

    fn is_cancelled(&self) -> bool {
        self.options.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed))
    }

    fn step(
        &mut self,
        batch: &Batch,
        objective: &Objective,
        epoch: usize,
        step: usize,
        steps_per_epoch: usize,
        sums: &mut Sums,
    ) -> Result<StepRecord> {
        let samples = batch.len();
        let update = self.update(steps_per_epoch);
        let targets =
            if batch.targets.is_empty() { Targets::Classes(&batch.labels) } else { Targets::Dense(&batch.targets) };
        let given = [batch.images.as_slice()];
        let taught = self.lessons.of(&batch.images)?;
        let view = BatchView { given: &given, samples, targets, taught };
        let random = Stream::new(self.config.seed, "dropout").for_number(self.header.updates);
        self.executor.prepare(&self.pool, &self.trainable, &self.moving);
        let here = self.executor.train(&self.pool, &self.trainable, &mut self.moving, view, objective, random)?;
        let executor = &self.executor;
        let norm = self.optimizer.gather(&self.pool, &|start, chunk| executor.gradient(samples, start, chunk));
        let loss = here.loss / samples.max(1) as f64;
        if !loss.is_finite() || !norm.is_finite() {
            let what = if loss.is_finite() { "a gradient".into() } else { format!("the loss ({loss})") };
            let first = self.executor.first_not_finite(&self.trainable, view);
            let error = Error::invalid(
                format!("epoch {} step {}", epoch + 1, step + 1),
                format!("{what} is not finite; the first that is not: {first}"),
            );
            let kept = match &self.options.checkpoint {
                Some(path) if self.has_checkpoint => format!("the last good weights are in {}", path.display()),
                Some(_) => "it is before the first checkpoint, so no weights were kept".into(),
                None => "without a checkpoint, no weights were kept".into(),
            };
            return Err(error.with_hint(format!("{kept}; lower the learning rate or clip gradients")));
        }
        self.optimizer.apply(&self.pool, &mut self.trainable, &update, norm);
        sums.add(here);
        Ok(StepRecord {
            epoch: epoch + 1,
            step: step + 1,
            steps_per_epoch,
            samples,
            loss,
            accuracy: here.correct as f64 / samples.max(1) as f64,
            learning_rate: update.learning_rate,
            gradient_norm: norm,
        })
    }

    /// The numbers of the next update.
    fn update(&self, steps_per_epoch: usize) -> Update {
        let config = &self.config;
        let per_epoch = steps_per_epoch as u64;
        let total = per_epoch * config.epochs as u64;
        let warm_up = (config.warm_up_epochs * steps_per_epoch as f64).round() as u64;
        let factor = config.schedule.factor(self.header.updates, per_epoch, total, warm_up);
        let rate = config.learning_rate.unwrap_or_else(|| config.optimizer.default_learning_rate());
        Update {
            learning_rate: rate * factor,
            weight_decay: config.weight_decay.unwrap_or_else(|| config.optimizer.default_weight_decay()),
            clip_norm: config.clip_norm,
            clip_value: config.clip_value,
            ema: config.ema_momentum,
        }
    }

    fn end_epoch(
        &mut self,
        validation: Option<&Loader>,
        objective: &Objective,
        observer: &mut dyn TrainObserver,
    ) -> Result<()> {
        let training = evaluation(self.header.sums());
        let steps = self.header.steps_done;
        let mut last = self.update(steps);
        // The rate of the update that was made last, not of the next.
        if let Some(updates) = self.header.updates.checked_sub(1) {
            let next = std::mem::replace(&mut self.header.updates, updates);
            last = self.update(steps);
            self.header.updates = next;
        }
        let validation = match validation {
            Some(loader) => {
                let weights = self.averaged();
                let moving = std::mem::take(&mut self.moving);
                let (executor, lessons) = (&mut self.executor, &mut self.lessons);
                let result = evaluate(executor, lessons, &self.pool, &weights, &moving, loader, objective);
                self.moving = moving;
                Some(result?)
            }
            None => None,
        };
        self.header.epochs_done += 1;
        self.header.steps_done = 0;
        self.header.set_sums(Sums::default());
        let is_best = match validation {
            Some(now) => self.is_better(now),
            None => false,
        };
        let epoch = self.header.before.0 + self.header.epochs_done;
        if let (Some(now), true) = (validation, is_best) {
            self.header.best = Some((epoch, now));
            self.best = Some((self.averaged(), self.moving.clone()));
        }
        self.header.epochs_without_improvement =
            if is_best || validation.is_none() { 0 } else { self.header.epochs_without_improvement + 1 };
        let record = EpochRecord {
            epoch,
            updates: self.header.before.1 + self.header.updates,
            training,
            validation,
            learning_rate: last.learning_rate,
            is_best,
        };
        self.header.history.push(record);
        observer.on_epoch(&record);
        Ok(())
    }

    fn is_better(&self, now: Evaluation) -> bool {
        let Some((_, best)) = self.header.best else { return true };
        let delta = self.config.early_stopping.map_or(0.0, |stopping| stopping.min_delta);
        match self.config.monitor {
            Monitor::Loss => now.loss < best.loss - delta,
            Monitor::Accuracy if now.accuracy == best.accuracy => delta == 0.0 && now.loss < best.loss,
            Monitor::Accuracy => now.accuracy > best.accuracy + delta,
        }
    }

    /// The averaged weights when an average is kept, otherwise the weights.
    fn averaged(&self) -> Vec<f32> {
        if self.config.ema_momentum.is_none() {
            return self.trainable.clone();
        }
        let mut values = self.optimizer.ema();
        // Equal weights are averaged alike, but for what has been pruned since, and for rounding.
        self.preserved.hold_all(&mut Weights { variables: &self.executor.program.trainable, values: &mut values });
        values
    }

    fn chosen(&self) -> (Vec<f32>, Vec<f32>) {
        match &self.best {
            Some(best) if self.config.restore_best => best.clone(),
            _ => (self.averaged(), self.moving.clone()),
        }
    }

    fn save_checkpoint(&mut self) -> Result<()> {
        let Some(path) = &self.options.checkpoint else { return Ok(()) };
        let program = &self.executor.program;
        let (trainable, moving) = (program.trainable.as_slice(), program.moving.as_slice());
        let mut groups: Groups<'_> =
            vec![("weights".into(), trainable, self.trainable.clone()), ("moving".into(), moving, self.moving.clone())];
        for (slot, flat) in self.optimizer.slots() {
            groups.push((format!("optimizer/{slot}"), trainable, flat));
        }
        if self.config.ema_momentum.is_some() {
            groups.push(("ema".into(), trainable, self.optimizer.ema()));
        }
        if let Some((best, best_moving)) = &self.best {
            groups.push(("best".into(), trainable, best.clone()));
            groups.push(("best_moving".into(), moving, best_moving.clone()));
        }
        checkpoint::save(path, &self.header, &groups)?;
        self.has_checkpoint = true;
        Ok(())
    }
}

fn evaluation(sums: Sums) -> Evaluation {
    let samples = sums.samples.max(1) as f64;
    Evaluation { loss: sums.loss / samples, accuracy: sums.correct as f64 / samples, samples: sums.samples }
}

fn evaluate(
    executor: &mut Executor<f32>,
    lessons: &mut Lessons,
    pool: &Pool,
    trainable: &[f32],
    moving: &[f32],
    loader: &Loader,
    objective: &Objective,
) -> Result<Evaluation> {
    executor.prepare(pool, trainable, moving);
    let mut sums = Sums::default();
    let mut batch = Batch::default();
    let mut batches = loader.epoch(0, 0);
    while batches.next_into(&mut batch)?.is_some() {
        let targets =
            if batch.targets.is_empty() { Targets::Classes(&batch.labels) } else { Targets::Dense(&batch.targets) };
        let given = [batch.images.as_slice()];
        let taught = lessons.of(&batch.images)?;
        let view = BatchView { given: &given, samples: batch.len(), targets, taught };
        sums.add(executor.evaluate(pool, trainable, moving, view, objective, None)?);
    }
    Ok(evaluation(sums))
}

//! Batches for training and evaluation, in an order that depends on seed and epoch alone.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use litesmith_graph::{Error, Result};

use crate::augment::Augment;
use crate::dataset::{Sample, Split, Target};
use crate::image::ImageShape;
use crate::preprocess::{Preprocess, pixels_into};
use crate::rng::{Purpose, Rng};

/// How a [`Loader`] makes batches of a split.
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderConfig {
    /// Samples in a batch, at least 1.
    pub batch: usize,
    /// Decides order and augmentation.
    pub seed: u64,
    /// A new order for each epoch; otherwise the order of the split.
    pub shuffle: bool,
    /// Leaves out the last batch of an epoch when it is smaller than the others.
    pub drop_last: bool,
    /// Random changes to each image.
    pub augment: Augment,
    /// Batches that [`Loader::epoch`] has threads make ahead; 0 makes them on the caller's thread when asked for.
    pub prefetch: usize,
    /// Threads that make them, 1 to 256; more than one pays where decoding is slow (image files).
    pub threads: usize,
}

impl LoaderConfig {
    /// For training: shuffled, not augmented, two batches ahead on one thread, last batch kept.
    #[must_use]
    pub fn training(batch: usize, seed: u64) -> Self {
        Self { batch, seed, shuffle: true, drop_last: false, augment: Augment::default(), prefetch: 2, threads: 1 }
    }

    /// For evaluation: every sample once, in the order of the split.
    #[must_use]
    pub fn evaluation(batch: usize) -> Self {
        Self { shuffle: false, ..Self::training(batch, 0) }
    }
}

/// A batch, whose buffers are filled again and again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// `[len, height, width, channels]`, normalised.
    pub images: Vec<f32>,
    /// The class of each sample; for dense targets the class with the largest share.
    pub labels: Vec<u32>,
    /// `[len, classes]` where targets are dense ([`Loader::is_dense`]), otherwise empty.
    pub targets: Vec<f32>,
    /// The index of each sample in the split.
    pub indices: Vec<u32>,
}

impl Batch {
    /// Samples in the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// No samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Makes batches. `fill` makes any batch of any epoch; `epoch` goes through one in order, with threads working ahead.
///
/// A batch depends on split, configuration, epoch and step alone. A run resumed at an epoch and a step sees the batches
/// that an uninterrupted one sees.
#[derive(Debug, Clone)]
pub struct Loader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    split: Split,
    preprocess: Preprocess,
    config: LoaderConfig,
    sample_elements: usize,
    /// The order last asked for, with its epoch: a permutation takes longer than a batch.
    order: Mutex<Option<(u64, Arc<[u32]>)>>,
}

/// Buffers of one thread.
#[derive(Debug, Default)]
struct Scratch {
    sample: Sample,
    warp: Vec<f32>,
    partner: Vec<f32>,
}

impl Loader {
    /// A loader of `split`, its images brought to the network's input by `preprocess`.
    ///
    /// # Errors
    /// `Invalid` for an empty split, a batch of 0, 0 or more than 256 threads, or numbers that make no sense in
    /// `preprocess` or the augmentation; `Limit` when a batch does not fit the address space.
    pub fn new(split: Split, preprocess: Preprocess, config: LoaderConfig) -> Result<Self> {
        preprocess.check()?;
        config.augment.check()?;
        let bad = |message: String| Err(Error::invalid(split.name(), message));
        if split.is_empty() {
            return bad("has no samples".into());
        }
        if config.batch == 0 {
            return bad("got batch size 0, expected at least 1".into());
        }
        if config.threads == 0 || config.threads > 256 {
            return bad(format!("got {} loader threads, expected 1 to 256", config.threads));
        }
        if config.drop_last && split.len() < config.batch {
            return bad(format!(
                "{} samples make no batch of {} and the last is to be dropped",
                split.len(),
                config.batch
            ));
        }
        let shape = preprocess.shape();
        let sample_elements = shape
            .elements()
            .filter(|elements| elements.checked_mul(config.batch).is_some_and(|n| n <= isize::MAX as usize / 4))
            .ok_or_else(|| {
                Error::limit("batch", format!("{} images of {shape} do not fit into memory", config.batch))
            })?;
        Ok(Self { inner: Arc::new(Inner { split, preprocess, config, sample_elements, order: Mutex::new(None) }) })
    }

    /// The samples.
    #[must_use]
    pub fn split(&self) -> &Split {
        &self.inner.split
    }

    /// How images are brought to the network's input.
    #[must_use]
    pub fn preprocess(&self) -> &Preprocess {
        &self.inner.preprocess
    }

    /// How batches are made.
    #[must_use]
    pub fn config(&self) -> &LoaderConfig {
        &self.inner.config
    }

    /// Height, width and channels of each image in a batch.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        self.inner.preprocess.shape()
    }

    /// Batches in an epoch.
    #[must_use]
    pub fn steps_per_epoch(&self) -> usize {
        let (samples, batch) = (self.inner.split.len(), self.inner.config.batch);
        if self.inner.config.drop_last { samples / batch } else { samples.div_ceil(batch) }
    }

    /// Batches carry dense targets: those of the split are, or mixup makes them so.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        self.inner.is_dense()
    }

    /// Fills `batch` with step `step` of `epoch`, on the caller's thread.
    ///
    /// # Errors
    /// `Invalid` beyond the last step; those of reading a sample.
    pub fn fill(&self, epoch: u64, step: usize, batch: &mut Batch) -> Result<()> {
        self.inner.fill(&self.inner.order(epoch), epoch, step, batch, &mut Scratch::default())
    }

    /// Goes through `epoch` from `first_step` (0 for all of it) to its end.
    #[must_use]
    pub fn epoch(&self, epoch: u64, first_step: usize) -> Epoch {
        let steps = self.steps_per_epoch();
        let config = &self.inner.config;
        let order = self.inner.order(epoch);
        let mut workers = Vec::new();
        if config.prefetch > 0 {
            let threads = config.threads.min(steps.saturating_sub(first_step)).max(1);
            for first in (first_step..steps).take(threads) {
                let capacity = config.prefetch.div_ceil(threads);
                workers.push(Worker::start(&self.inner, &order, epoch, (first..steps).step_by(threads), capacity));
            }
        }
        Epoch {
            inner: self.inner.clone(),
            order,
            epoch,
            next: first_step,
            first_step,
            steps,
            workers,
            scratch: Scratch::default(),
        }
    }
}

impl Inner {
    fn is_dense(&self) -> bool {
        self.split.is_dense() || self.config.augment.is_mixup()
    }

    fn order(&self, epoch: u64) -> Arc<[u32]> {
        let mut cached = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        // Without shuffling all epochs have one order.
        let epoch = if self.config.shuffle { epoch } else { 0 };
        if let Some((of, order)) = cached.as_ref().filter(|(of, _)| *of == epoch) {
            debug_assert_eq!(*of, epoch);
            return order.clone();
        }
        let order: Arc<[u32]> = if self.config.shuffle {
            self.split.shuffled_order(self.config.seed, epoch).into()
        } else {
            (0..self.split.len() as u32).collect()
        };
        *cached = Some((epoch, order.clone()));
        order
    }

    fn fill(&self, order: &[u32], epoch: u64, step: usize, batch: &mut Batch, scratch: &mut Scratch) -> Result<()> {
        let from = step.saturating_mul(self.config.batch);
        let to = from.saturating_add(self.config.batch).min(order.len());
        let indices = order
            .get(from..to)
            .filter(|indices| !indices.is_empty() && (!self.config.drop_last || indices.len() == self.config.batch));
        let Some(indices) = indices else {
            return Err(Error::invalid(self.split.name(), format!("got step {step}, beyond the epoch's last")));
        };
        let classes = self.split.classes().len();
        let dense = self.is_dense();
        batch.indices.clear();
        batch.indices.extend_from_slice(indices);
        batch.labels.clear();
        batch.targets.clear();
        batch.targets.resize(if dense { indices.len() * classes } else { 0 }, 0.0);
        // Every image is written whole, so what an earlier batch left in the buffer need not be cleared.
        batch.images.resize(indices.len() * self.sample_elements, 0.0);
        let mut no_targets: [f32; 0] = [];
        for (i, (&index, image)) in indices.iter().zip(batch.images.chunks_exact_mut(self.sample_elements)).enumerate()
        {
            let target = if dense { &mut batch.targets[i * classes..(i + 1) * classes] } else { &mut no_targets[..] };
            let label = self.make(index, epoch, image, target, scratch)?;
            batch.labels.push(label);
        }
        Ok(())
    }

    /// One sample, augmented, mixed and normalised; gives its class.
    fn make(
        &self,
        index: u32,
        epoch: u64,
        image: &mut [f32],
        target: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<u32> {
        let augment = &self.config.augment;
        let label = self.read(index, epoch, image, target, 1.0, scratch)?;
        if !augment.is_mixup() {
            self.preprocess.normalise(image);
            return Ok(label);
        }
        let mut rng = Rng::new(self.config.seed, Purpose::Mixup, &[epoch, u64::from(index)]);
        let partner = rng.below(self.split.len() as u64) as u32;
        let weight = rng.beta_symmetric(f64::from(augment.mixup_alpha)) as f32;
        let mut other = std::mem::take(&mut scratch.partner);
        other.resize(image.len(), 0.0);
        target.iter_mut().for_each(|t| *t *= weight);
        let other_label = self.read(partner, epoch, &mut other, target, 1.0 - weight, scratch)?;
        for (a, b) in image.iter_mut().zip(&other) {
            *a = *a * weight + *b * (1.0 - weight);
        }
        scratch.partner = other;
        self.preprocess.normalise(image);
        Ok(if weight >= 0.5 { label } else { other_label })
    }

    /// One sample, augmented but not normalised; adds `share` of its target to `target` unless that is empty.
    fn read(
        &self,
        index: u32,
        epoch: u64,
        image: &mut [f32],
        target: &mut [f32],
        share: f32,
        scratch: &mut Scratch,
    ) -> Result<u32> {
        let place = |e: Error| e.at(format!("{} sample {index}", self.split.name()));
        self.split.read_into(index as usize, &mut scratch.sample)?;
        let Sample { image: decoded, target: wanted } = &scratch.sample;
        pixels_into(decoded, &self.preprocess, image).map_err(place)?;
        if !self.config.augment.is_none() {
            let mut rng = Rng::new(self.config.seed, Purpose::Augment, &[epoch, u64::from(index)]);
            let white = decoded.pixels().white();
            self.config.augment.apply(image, self.preprocess.shape(), white, &mut rng, &mut scratch.warp)?;
        }
        if !target.is_empty() {
            match wanted {
                Target::Class(class) => {
                    let entry = target.get_mut(*class as usize);
                    *entry.ok_or_else(|| {
                        Error::invalid("label", format!("got class {class} of {}", self.split.classes().len()))
                            .at(self.split.name())
                    })? += share;
                }
                Target::Dense(values) => target.iter_mut().zip(values).for_each(|(t, v)| *t += share * v),
            }
        }
        Ok(wanted.class())
    }
}

/// One thread, and the two bounded queues to it: filled batches come back, used ones go to be filled again.
#[derive(Debug)]
struct Worker {
    filled: Receiver<Result<Batch>>,
    used: SyncSender<Batch>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(
        inner: &Arc<Inner>,
        order: &Arc<[u32]>,
        epoch: u64,
        steps: impl Iterator<Item = usize> + Send + 'static,
        capacity: usize,
    ) -> Self {
        let (send_filled, filled) = sync_channel(capacity);
        let (used, take_used) = sync_channel::<Batch>(capacity + 1);
        let (inner, order) = (inner.clone(), order.clone());
        let work = move || {
            let mut scratch = Scratch::default();
            for step in steps {
                let mut batch = take_used.try_recv().unwrap_or_default();
                let result = inner.fill(&order, epoch, step, &mut batch, &mut scratch).map(|()| batch);
                let failed = result.is_err();
                // Nobody listening means the epoch was given up.
                if send_filled.send(result).is_err() || failed {
                    return;
                }
            }
        };
        // A system that gives no thread leaves the work to the caller's: the queue is then empty and closed.
        let thread = std::thread::Builder::new().name("litesmith-loader".into()).spawn(work).ok();
        Self { filled, used, thread }
    }
}

/// The batches of one epoch in order. Dropping it stops its threads.
#[derive(Debug)]
pub struct Epoch {
    inner: Arc<Inner>,
    order: Arc<[u32]>,
    epoch: u64,
    next: usize,
    first_step: usize,
    steps: usize,
    workers: Vec<Worker>,
    scratch: Scratch,
}

impl Epoch {
    /// Puts the next batch into `batch` and gives its step, or `None` after the last. The buffers that were in `batch`
    /// are used for a later one.
    ///
    /// # Errors
    /// Those of reading a sample; the epoch is over then.
    pub fn next_into(&mut self, batch: &mut Batch) -> Result<Option<usize>> {
        if self.next >= self.steps {
            return Ok(None);
        }
        let step = self.next;
        self.next += 1;
        let result = self.make(step, batch);
        if result.is_err() {
            self.next = self.steps;
        }
        result.map(|()| Some(step))
    }

    fn make(&mut self, step: usize, batch: &mut Batch) -> Result<()> {
        let worker = (step - self.first_step).checked_rem(self.workers.len()).and_then(|i| self.workers.get(i));
        match worker.and_then(|worker| Some((worker, worker.filled.recv().ok()?))) {
            Some((worker, filled)) => {
                let used = std::mem::replace(batch, filled?);
                // A full queue has buffers enough.
                let _ = worker.used.try_send(used);
                Ok(())
            }
            None => self.inner.fill(&self.order, self.epoch, step, batch, &mut self.scratch),
        }
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        for Worker { filled, used, thread } in self.workers.drain(..) {
            // Closing the queues first lets a thread that waits for room see that nobody listens.
            drop((filled, used));
            if let Some(thread) = thread {
                // A panic there was already seen: its queue closed early.
                let _ = thread.join();
            }
        }
    }
}

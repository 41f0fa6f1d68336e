//! Data sets, their splits, and samples.

use std::sync::Arc;

use litesmith_graph::{Error, Result};

use crate::image::{Image, ImageShape};
use crate::preprocess::Preprocess;
use crate::rng::{Purpose, Rng};

/// What a sample should be recognised as.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The index of one class.
    Class(u32),
    /// One number for each class (soft labels), as long as the split has classes.
    Dense(Vec<f32>),
}

impl Target {
    /// The class, or for dense targets the first of the largest entries.
    #[must_use]
    pub fn class(&self) -> u32 {
        match self {
            Self::Class(class) => *class,
            Self::Dense(values) => {
                let mut best = 0;
                for (i, value) in values.iter().enumerate() {
                    if *value > values[best] {
                        best = i;
                    }
                }
                best as u32
            }
        }
    }
}

/// An image and its target.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The decoded image.
    pub image: Image,
    /// What it should be recognised as.
    pub target: Target,
}

impl Default for Sample {
    /// No pixels and class 0, to be filled by [`Source::read_into`].
    fn default() -> Self {
        Self { image: Image::default(), target: Target::Class(0) }
    }
}

/// Samples by index, read when asked for; several threads read at once.
///
/// Implement it for a format of your own and make a [`Split`] of it.
pub trait Source: Send + Sync + std::fmt::Debug {
    /// How many samples there are.
    fn len(&self) -> usize;

    /// There are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of every image, or `None` where they may differ (image files).
    fn shape(&self) -> Option<ImageShape>;

    /// Images are bytes (255 is white), not floats (taken as they are).
    fn is_bytes(&self) -> bool;

    /// Targets are dense.
    fn is_dense(&self) -> bool {
        false
    }

    /// The class of sample `index`, without decoding its image; 0 beyond the end.
    fn label(&self, index: usize) -> u32;

    /// Reads sample `index` into `sample`, whose buffers are reused.
    ///
    /// # Errors
    /// `Invalid` beyond the end; `Io`, `Malformed` and so on, naming file and row, when the sample cannot be read.
    fn read_into(&self, index: usize, sample: &mut Sample) -> Result<()>;
}

/// Some samples of a data set, in an order: training, validation or test samples. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Split {
    name: Arc<str>,
    source: Arc<dyn Source>,
    classes: Arc<[String]>,
    /// Which samples of the source, or all of them in order.
    indices: Option<Arc<[u32]>>,
}

impl Split {
    /// All samples of `source`. `name` is for messages (a file or folder); `classes` are the names by class index.
    ///
    /// # Errors
    /// `Limit` above 2^32 - 1 samples.
    pub fn new(name: impl Into<Arc<str>>, source: Arc<dyn Source>, classes: Arc<[String]>) -> Result<Self> {
        let name = name.into();
        if u32::try_from(source.len()).is_err() {
            return Err(Error::limit(
                name,
                format!("got {} samples, at most {} can be told apart", source.len(), u32::MAX),
            ));
        }
        Ok(Self { name, source, classes, indices: None })
    }

    /// Where the samples come from, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indices.as_ref().map_or_else(|| self.source.len(), |indices| indices.len())
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the classes, by class index.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The shape of every image, or `None` where they may differ (image files): see [`Self::first_shape`].
    #[must_use]
    pub fn shape(&self) -> Option<ImageShape> {
        self.source.shape()
    }

    /// [`Self::shape`], or else the shape of the first image.
    ///
    /// # Errors
    /// `Invalid` for an empty split; those of [`Self::get`].
    pub fn first_shape(&self) -> Result<ImageShape> {
        match self.shape() {
            Some(shape) => Ok(shape),
            None => Ok(self.get(0)?.image.shape()),
        }
    }

    /// Images are bytes (0 to 255), not floats.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        self.source.is_bytes()
    }

    /// Targets are dense, one number for each class.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        self.source.is_dense()
    }

    /// Maps images of [`Self::first_shape`] to numbers in [0, 1]: bytes are divided by 255, floats taken as they are.
    ///
    /// # Errors
    /// Those of [`Self::first_shape`].
    pub fn default_preprocess(&self) -> Result<Preprocess> {
        let shape = self.first_shape()?;
        Ok(if self.is_bytes() { Preprocess::unit(shape) } else { Preprocess::identity(shape) })
    }

    fn source_index(&self, index: usize) -> Result<usize> {
        let found = match &self.indices {
            None => (index < self.source.len()).then_some(index),
            Some(indices) => indices.get(index).map(|&i| i as usize),
        };
        found.ok_or_else(|| Error::invalid(&self.name, format!("got sample index {index}, there are {}", self.len())))
    }

    /// Reads sample `index`.
    ///
    /// # Errors
    /// `Invalid` beyond the end; `Io`, `Malformed` and so on, naming file and row, when the sample cannot be read.
    pub fn get(&self, index: usize) -> Result<Sample> {
        let mut sample = Sample::default();
        self.read_into(index, &mut sample)?;
        Ok(sample)
    }

    /// As [`Self::get`], reusing the buffers of `sample`.
    ///
    /// # Errors
    /// Those of [`Self::get`].
    pub fn read_into(&self, index: usize, sample: &mut Sample) -> Result<()> {
        self.source.read_into(self.source_index(index)?, sample)
    }

    /// The class of sample `index` without decoding its image, or `None` beyond the end.
    #[must_use]
    pub fn label(&self, index: usize) -> Option<u32> {
        Some(self.source.label(self.source_index(index).ok()?))
    }

    /// The classes of all samples, in order.
    pub fn labels(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len()).filter_map(|index| self.label(index))
    }

    /// How many samples each class has, by class index.
    #[must_use]
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for label in self.labels() {
            if let Some(count) = counts.get_mut(label as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// The samples at `indices` of this split, in that order; an index may come more than once.
    ///
    /// # Errors
    /// `Invalid` for an index beyond the end.
    pub fn subset(&self, indices: &[usize]) -> Result<Self> {
        let mapped: Result<Vec<u32>> = indices.iter().map(|&i| Ok(self.source_index(i)? as u32)).collect();
        Ok(Self { indices: Some(mapped?.into()), ..self.clone() })
    }

    /// The first `count` samples, or all if there are fewer.
    #[must_use]
    pub fn take(&self, count: usize) -> Self {
        self.range(0, count.min(self.len()))
    }

    fn range(&self, from: usize, to: usize) -> Self {
        let mapped = (from..to).filter_map(|i| Some(self.source_index(i).ok()? as u32)).collect();
        Self { indices: Some(mapped), ..self.clone() }
    }

    /// `count` samples spread over the classes as the split is, for calibration: a stratified random choice by `seed`,
    /// in the order of this split. All samples if there are no more than `count`.
    #[must_use]
    pub fn sample_stratified(&self, count: usize, seed: u64) -> Self {
        let chosen = self.choose_stratified(count.min(self.len()), seed);
        let mapped = (0..self.len()).filter(|&i| chosen[i]).filter_map(|i| Some(self.source_index(i).ok()? as u32));
        Self { indices: Some(mapped.collect()), ..self.clone() }
    }

    /// Splits off validation samples: `(training, validation)`, each in the order of this split.
    ///
    /// # Errors
    /// `Invalid` when the fraction is not between 0 and 1, or when either part would be empty.
    pub fn split_validation(&self, how: ValidationSplit) -> Result<(Self, Self)> {
        let count = match how {
            ValidationSplit::Last(count) => count,
            ValidationSplit::Fraction { fraction, .. } => {
                if !(fraction > 0.0 && fraction < 1.0) {
                    return Err(Error::invalid(
                        "validation split",
                        format!("got fraction {fraction}, expected 0 < f < 1"),
                    ));
                }
                (fraction * self.len() as f64).round() as usize
            }
        };
        if count == 0 || count >= self.len() {
            return Err(Error::invalid(
                "validation split",
                format!("{count} of {} samples for validation leaves nothing on one side", self.len()),
            )
            .with_hint("choose another size, or give the data set a validation folder of its own"));
        }
        let chosen = match how {
            ValidationSplit::Last(_) => (0..self.len()).map(|i| i >= self.len() - count).collect(),
            ValidationSplit::Fraction { seed, .. } => self.choose_stratified(count, seed),
        };
        let part = |validation: bool| {
            let mapped = (0..self.len())
                .filter(|&i| chosen[i] == validation)
                .filter_map(|i| Some(self.source_index(i).ok()? as u32));
            Self { indices: Some(mapped.collect()), ..self.clone() }
        };
        Ok((part(false), part(true)))
    }

    /// Marks `count` samples, from each class its share; the rounding goes to the classes with the largest remainders,
    /// and among equals to the lower class index.
    fn choose_stratified(&self, count: usize, seed: u64) -> Vec<bool> {
        let mut by_class: Vec<Vec<usize>> = vec![Vec::new(); self.classes.len().max(1)];
        for (index, label) in self.labels().enumerate() {
            let last = by_class.len() - 1;
            by_class[(label as usize).min(last)].push(index);
        }
        let total = self.len().max(1) as u128;
        let share = |members: usize| members as u128 * count as u128;
        let mut quotas: Vec<usize> = by_class.iter().map(|m| (share(m.len()) / total) as usize).collect();
        let mut by_remainder: Vec<usize> = (0..by_class.len()).collect();
        by_remainder.sort_by_key(|&class| std::cmp::Reverse(share(by_class[class].len()) % total));
        let missing = count - quotas.iter().sum::<usize>();
        for &class in by_remainder.iter().take(missing) {
            quotas[class] += 1;
        }
        let mut chosen = vec![false; self.len()];
        for (class, members) in by_class.iter_mut().enumerate() {
            Rng::new(seed, Purpose::Split, &[class as u64]).shuffle(members);
            for &index in members.iter().take(quotas[class]) {
                chosen[index] = true;
            }
        }
        chosen
    }

    /// The order of the samples in `epoch`: a permutation of `0..len`, the same for the same seed and epoch whatever
    /// the number of threads.
    #[must_use]
    pub fn shuffled_order(&self, seed: u64, epoch: u64) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        Rng::new(seed, Purpose::Shuffle, &[epoch]).shuffle(&mut order);
        order
    }

    /// Reads every sample and returns the split without those that cannot be read, and the list of these.
    #[must_use]
    pub fn without_bad(&self) -> (Self, Vec<SkippedSample>) {
        let mut sample = Sample::default();
        let mut skipped = Vec::new();
        let mut good = Vec::new();
        for index in 0..self.len() {
            match (self.source_index(index), self.read_into(index, &mut sample)) {
                (Ok(source_index), Ok(())) => good.push(source_index as u32),
                (_, Err(error)) | (Err(error), _) => {
                    skipped.push(SkippedSample { split: self.name.to_string(), error })
                }
            }
        }
        if skipped.is_empty() {
            return (self.clone(), skipped);
        }
        (Self { indices: Some(good.into()), ..self.clone() }, skipped)
    }
}

/// Which samples validate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValidationSplit {
    /// The last samples, as many.
    Last(usize),
    /// A share of each class, chosen at random.
    Fraction {
        /// Share of the samples, between 0 and 1.
        fraction: f64,
        /// Decides which.
        seed: u64,
    },
}

/// A sample left out because it cannot be read, which [`OpenOptions::skip_bad`](crate::OpenOptions::skip_bad) asked for.
#[derive(Debug)]
pub struct SkippedSample {
    /// Name of the split.
    pub split: String,
    /// Why, and which: the place names file and row.
    pub error: Error,
}

/// Which part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitKind {
    /// What the model learns from.
    Train,
    /// What choices (checkpoint, epoch, seed) look at.
    Validation,
    /// What the final number is measured on.
    Test,
}

impl std::fmt::Display for SplitKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

/// A data set: the splits it comes with, and what was left out of them.
#[derive(Debug)]
pub struct Dataset {
    /// The spec it was opened by.
    pub name: String,
    /// Training samples.
    pub train: Option<Split>,
    /// Validation samples, where the data set has its own.
    pub validation: Option<Split>,
    /// Test samples.
    pub test: Option<Split>,
    /// Samples left out because they cannot be read; empty unless that was asked for.
    pub skipped: Vec<SkippedSample>,
}

impl Dataset {
    pub(crate) fn empty(name: &str) -> Self {
        Self { name: name.into(), train: None, validation: None, test: None, skipped: Vec::new() }
    }

    /// The split of that kind, or `None` if the data set does not come with it.
    #[must_use]
    pub fn split(&self, kind: SplitKind) -> Option<&Split> {
        match kind {
            SplitKind::Train => self.train.as_ref(),
            SplitKind::Validation => self.validation.as_ref(),
            SplitKind::Test => self.test.as_ref(),
        }
    }

    pub(crate) fn split_mut(&mut self, kind: SplitKind) -> &mut Option<Split> {
        match kind {
            SplitKind::Train => &mut self.train,
            SplitKind::Validation => &mut self.validation,
            SplitKind::Test => &mut self.test,
        }
    }

    /// The split of that kind.
    ///
    /// # Errors
    /// `Invalid` when the data set does not come with it, naming those it has.
    pub fn require(&self, kind: SplitKind) -> Result<&Split> {
        self.split(kind).ok_or_else(|| {
            let have: Vec<String> =
                SplitKind::ALL.into_iter().filter(|&k| self.split(k).is_some()).map(|k| k.to_string()).collect();
            Error::invalid(&self.name, format!("has no {kind} samples, only: {}", have.join(", ")))
        })
    }

    /// What to evaluate on: the test split; or, where there is none, the only other one there is.
    ///
    /// # Errors
    /// `Invalid` when there is no test split and not exactly one other.
    pub fn evaluation(&self) -> Result<(SplitKind, &Split)> {
        if let Some(test) = &self.test {
            return Ok((SplitKind::Test, test));
        }
        match (&self.train, &self.validation) {
            (Some(split), None) => Ok((SplitKind::Train, split)),
            (None, Some(split)) => Ok((SplitKind::Validation, split)),
            _ => self.require(SplitKind::Test).map(|split| (SplitKind::Test, split)),
        }
    }

    /// Names of the classes, by class index; the same for all splits.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        SplitKind::ALL.into_iter().find_map(|kind| self.split(kind)).map_or(&[], Split::classes)
    }
}

impl SplitKind {
    /// Train, validation, test.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];
}

//! How long work tells how far it is. The library calls, faces draw.

/// What is being done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Training epoch `epoch` of `epochs`, counted from 1; progress counts images.
    Train {
        /// This epoch.
        epoch: u32,
        /// All epochs.
        epochs: u32,
    },
    /// Gathering activation ranges; progress counts images.
    Calibrate,
    /// Learning how weights are rounded; progress counts layers.
    Round,
    /// Correcting biases for what rounded weights shift; progress counts layers.
    Correct,
    /// Running a model on a data set; progress counts images.
    Evaluate,
}

/// Gets told of progress. Stages follow each other, each started and finished.
pub trait Progress {
    /// A stage of `total` units begins.
    fn start(&mut self, stage: Stage, total: u64);
    /// `done` units of it are done.
    fn advance(&mut self, done: u64);
    /// Something worth a line, as the loss and accuracy of an epoch.
    fn note(&mut self, message: &str);
    /// The stage is over.
    fn finish(&mut self);
}

/// Progress that nobody looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&mut self, _: Stage, _: u64) {}
    fn advance(&mut self, _: u64) {}
    fn note(&mut self, _: &str) {}
    fn finish(&mut self) {}
}

//! Training after a change, to win back what it cost.

use litesmith_graph::{Graph, Result};
use litesmith_train::{Ended, TrainConfig, TrainData, TrainObserver, TrainOptions, Trainer};

/// What to fine-tune with.
#[derive(Debug, Clone)]
pub struct FineTune<'a> {
    /// How to train; `epochs` are all there are, over all steps.
    pub config: TrainConfig,
    /// Threads, cancellation. Checkpoints are not kept.
    pub options: TrainOptions,
    /// Samples.
    pub data: &'a TrainData,
}

impl FineTune<'_> {
    /// Updates that one epoch makes.
    #[must_use]
    pub fn steps_per_epoch(&self) -> u64 {
        let (samples, batch) = (self.data.train.len(), self.config.batch.max(1));
        (if self.config.drop_last { samples / batch } else { samples.div_ceil(batch) }) as u64
    }

    /// The graph after some epochs, with the same nodes and tensors.
    pub(crate) fn run(&self, graph: &Graph, epochs: usize, observer: &mut dyn TrainObserver) -> Result<(Graph, Ended)> {
        let config = TrainConfig { epochs, ..self.config.clone() };
        let options = TrainOptions { checkpoint: None, checkpoint_every: 0, ..self.options.clone() };
        let mut trainer = Trainer::new(graph, config, options)?;
        let report = trainer.train(self.data, observer)?;
        Ok((trainer.trained_graph(), report.ended))
    }
}

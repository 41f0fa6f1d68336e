//! Trains a Litesmith graph: architectures, reverse-mode differentiation, losses, optimisers, the loop, checkpoints.
//!
//! ```
//! use litesmith_data::{OpenOptions, SplitKind, ValidationSplit, open};
//! use litesmith_train::{Silent, TrainConfig, TrainData, TrainOptions, Trainer, zoo};
//!
//! # fn main() -> litesmith_graph::Result<()> {
//! # let options = OpenOptions::default();
//! # if open("mnist", &options).is_err() { return Ok(()) }
//! let mnist = open("mnist", &options)?;
//! let some = mnist.require(SplitKind::Train)?.take(600);
//! let (train, validation) = some.split_validation(ValidationSplit::Last(100))?;
//! let preprocess = train.default_preprocess()?;
//! let data = TrainData { train, validation: Some(validation), preprocess };
//!
//! let graph = zoo::architecture("lenet-5")?.graph(1)?;
//! let config = TrainConfig { epochs: 1, batch: 50, ..TrainConfig::default() };
//! let mut trainer = Trainer::new(&graph, config, TrainOptions::default())?;
//! let report = trainer.train(&data, &mut Silent)?;
//! assert_eq!(report.best_epoch, Some(1));
//! let exported = trainer.exported_graph()?;
//! # assert!(exported.nodes.iter().all(|node| !node.op.is_training_only()));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod arch;
mod checkpoint;
mod config;
mod distill;
mod executor;
pub mod export;
mod float_weights;
#[cfg(test)]
mod gradient_tests;
mod initializer;
mod loss;
mod ops;
mod optimizer;
mod preserve;
mod program;
mod random;
mod report;
mod schedule;
mod summary;
mod trainer;
mod variables;
pub mod zoo;

pub use checkpoint::CheckpointHeader;
pub use config::{ClassWeights, EarlyStopping, Monitor, Qat, QatGranularity, QatMethod, QatWeights, TrainConfig};
pub use distill::{Distill, Hint, Teacher};
pub use float_weights::check_float_weights;
pub use initializer::Initializer;
pub use loss::Loss;
pub use optimizer::Optimizer;
pub use preserve::{Preserved, PreservedLayer, SharedValues};
pub use report::{
    BatchGradients, Ended, EpochRecord, Evaluation, JsonLines, Silent, StepRecord, TrainObserver, TrainReport, Weights,
};
pub use schedule::Schedule;
pub use summary::{Summary, SummaryRow};
pub use trainer::{TrainData, TrainOptions, Trainer};

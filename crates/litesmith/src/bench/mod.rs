//! Benchmarks of Litesmith itself, for records beside those of other tools.

mod inference;
mod peak;
mod training;

pub use inference::{BenchModel, InferenceBench, InferenceReport, InferenceTimes, OpTimes, inference};
pub use peak::{Peak, machine_peak};
pub use training::{TrainBench, TrainTimes, train};

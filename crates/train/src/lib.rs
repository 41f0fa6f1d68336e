//! Trains a Litesmith graph: architectures, reverse-mode differentiation, losses, optimisers, the loop, checkpoints.
#![forbid(unsafe_code)]

pub mod arch;
mod executor;
pub mod export;
#[cfg(test)]
mod gradient_tests;
mod initializer;
mod loss;
mod ops;
mod program;
mod random;
mod summary;
mod variables;
pub mod zoo;

pub use initializer::Initializer;
pub use loss::Loss;
pub use summary::{Summary, SummaryRow};

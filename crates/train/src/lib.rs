//! Trains a Litesmith graph: architectures, reverse-mode differentiation, losses, optimisers, the loop, checkpoints.
#![forbid(unsafe_code)]

pub mod arch;
pub mod export;
mod initializer;
mod random;
mod summary;
mod variables;
pub mod zoo;

pub use initializer::Initializer;
pub use summary::{Summary, SummaryRow};

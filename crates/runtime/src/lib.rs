//! Plans and runs a graph on the CPU: [`Session`].
#![forbid(unsafe_code)]

mod control;
mod custom;
mod env;
mod exactness;
mod explain;
mod fuse;
mod inline;
mod kernel;
mod ops;
mod pace;
mod place;
mod planner;
mod rows;
mod runner;
mod session;

pub use custom::{CustomInputs, CustomIo, CustomKernel, CustomNode, CustomOp, CustomOps, CustomOutputs};
pub use exactness::{Exactness, exactness};
pub use explain::{Fate, MemoryUse, NodeInfo, SubgraphInfo};
pub use litesmith_kernels::{Isa, Numerics};
pub use ops::custom::is_builtin_custom;
pub use session::{Session, SessionLimits, SessionOptions};

//! Plans and runs a graph on the CPU: [`Session`].
#![forbid(unsafe_code)]

mod custom;
mod exactness;
mod explain;
mod kernel;
mod ops;
mod planner;
mod session;

pub use custom::{CustomInputs, CustomIo, CustomKernel, CustomNode, CustomOp, CustomOps, CustomOutputs};
pub use exactness::{Exactness, exactness};
pub use explain::{Fate, MemoryUse, NodeInfo};
pub use litesmith_kernels::{Isa, Numerics};
pub use session::{Session, SessionOptions};

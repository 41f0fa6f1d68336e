//! Plans and runs a graph on the CPU: [`Session`].
#![forbid(unsafe_code)]

mod custom;
mod exactness;
mod kernel;
mod ops;
mod planner;
mod session;

pub use custom::{CustomInputs, CustomIo, CustomKernel, CustomNode, CustomOp, CustomOps, CustomOutputs};
pub use exactness::{Exactness, exactness};
pub use litesmith_kernels::{Isa, Numerics};
pub use session::{Session, SessionOptions, StepInfo};

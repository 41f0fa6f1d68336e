//! The arithmetic of Litesmith: one module per op, each with a plain scalar reference and the kernels that must agree
//! with it. Kernels know no graph and no file format: they take geometry structs, quantization parameters and slices.
//!
//! Shapes are spelled `batch height width channels` (NHWC), filters `out_channels height width in_channels` as in TFLite.

pub mod average_pool_2d;
pub mod conv_2d;
pub mod depthwise_conv_2d;
pub mod error;
pub mod fully_connected;
pub mod max_pool_2d;
pub mod pool;
pub mod pool_2d;

pub use error::Unsupported;
pub use litesmith_simd::Isa;
pub use pool::Pool;

/// What every kernel call runs on: the threads to split over and the instruction set chosen once per session.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Threads that share the work of one call. Splitting never changes a result: sums are never split.
    pub pool: &'a Pool,
    /// Instruction set to use; must be available on this CPU (see [`Isa::is_available`]).
    pub isa: Isa,
}

//! The arithmetic of Litesmith: one module per op, each with a plain scalar reference and the kernels that must agree
//! with it. Kernels know no graph and no file format: they take geometry structs, quantization parameters and slices.
//!
//! Shapes are spelled `batch height width channels` (NHWC), filters `out_channels height width in_channels` as in TFLite.

pub mod activation;
pub mod average_pool_2d;
pub mod batch_matmul;
pub mod batch_norm;
pub mod binary;
pub mod broadcast;
mod buffer;
mod byte_conv;
mod byte_gemm;
mod byte_output;
mod byte_sum;
pub mod byte_table;
pub mod cast;
pub mod comparison;
pub mod conv_2d;
pub mod depthwise_conv_2d;
pub mod dequantize;
pub mod detection_postprocess;
mod dispatch;
pub mod elementwise;
pub mod error;
pub mod fake_quantize;
pub mod fft;
mod fixed_point;
pub mod fold;
pub mod fully_connected;
mod gemm;
pub mod grid;
mod heap;
pub mod hybrid;
pub mod in_place;
pub mod indexing;
pub mod integer;
mod integer_conv;
mod integer_gemm;
pub mod log_softmax;
mod lookup;
pub mod lstm;
pub mod math;
pub mod max_pool_2d;
pub mod movement;
pub mod non_max_suppression;
pub mod normalization;
pub mod numerics;
pub mod packed;
mod padded_rows;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod pages;
pub mod peak;
pub mod pool;
pub mod pool_2d;
pub mod power;
pub mod prelu;
pub mod quantize;
pub mod quantized_activation;
pub mod quantized_binary;
pub mod quantized_concatenation;
pub mod quantized_reduce;
pub mod real;
pub mod rearrange;
pub mod recurrent;
pub mod reduce;
pub mod requantize;
pub mod resize_bilinear;
pub mod rnn;
pub mod select;
pub mod selection;
pub mod shape;
pub mod softmax;
pub mod svdf;
mod then;
pub mod transpose_conv;

pub use activation::Activation;
pub use buffer::Buffer;
pub use error::Unsupported;
pub use litesmith_simd::{Isa, UnknownIsa};
pub use numerics::{Numerics, QuantParams, Quantized};
pub use pool::{Band, Pool};
pub use real::Real;
pub use then::Then;

/// What every kernel call runs on: the threads to split over and the instruction set chosen once per session.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Threads that share the work of one call. Splitting never changes a result: sums are split the same for any number.
    pub pool: &'a Pool,
    /// Instruction set to use; must be available on this CPU (see [`Isa::is_available`]).
    pub isa: Isa,
}

/// Elements of one image of each tensor from (elements given, elements of one image); `None` if any is empty.
///
/// # Panics
/// If the tensors hold no whole number of images, or different numbers of them.
fn image_lens<const N: usize>(tensors: [(usize, usize); N]) -> Option<[usize; N]> {
    if tensors.iter().any(|&(_, image)| image == 0) {
        return None;
    }
    let images = tensors[0].0 / tensors[0].1;
    for (len, image) in tensors {
        assert_eq!(len, images * image, "each tensor holds {images} images");
    }
    (images > 0).then(|| tensors.map(|(_, image)| image))
}

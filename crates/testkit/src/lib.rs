//! Check functions that Litesmith's own tests share.
#![forbid(unsafe_code)]

mod quantization_spec;

pub use quantization_spec::check_quantization_spec;

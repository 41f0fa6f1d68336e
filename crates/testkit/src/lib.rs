//! Check functions that Litesmith's own tests share.
#![forbid(unsafe_code)]

mod damage;
mod files;
mod quantization_spec;
mod random;
mod random_graph;

pub use damage::damage;
pub use files::files_below;
pub use quantization_spec::check_quantization_spec;
pub use random::Random;
pub use random_graph::random_graph;

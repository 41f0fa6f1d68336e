//! Litesmith's one intermediate representation, in TensorFlow Lite's own vocabulary.
#![forbid(unsafe_code)]

mod error;

pub use error::{Error, Report, Result};

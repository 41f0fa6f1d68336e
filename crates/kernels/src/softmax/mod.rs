//! SOFTMAX over the last axis.

pub mod float;
pub mod quantized;

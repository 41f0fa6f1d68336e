//! PADV2.

use litesmith_graph::ops::Padv2;
use litesmith_graph::{DType, Result};

use super::{Format, Options, OptionsBuilder, Tensors, without_options};

without_options! {
    Padv2 ["1.9.0", "1.14.0", "2.4.0", "2.6.0", "2.20.0", "2.23.0"] |dtype, rank| match (dtype, rank) {
        (Some(DType::Bool), _) => 5,
        (_, 5..) => 4,
        (Some(DType::I16), _) => 3,
        (Some(DType::I8), _) => 2,
        _ => 1,
    };
}

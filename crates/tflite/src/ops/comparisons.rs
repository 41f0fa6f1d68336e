//! Ops that give or take truth values.

use litesmith_graph::ops::{
    Equal, Greater, GreaterEqual, Less, LessEqual, LogicalAnd, LogicalOr, NotEqual, Select, SelectV2,
};
use litesmith_graph::{DType, Result};

use super::arithmetic::{empty_options, int8_version};
use super::{Format, Options, OptionsBuilder, Tensors};

empty_options! {
    Equal 53 ["1.14.0", "1.14.0", "2.3.0", "2.13.0", "2.21.0"] |node| equal_version(node, 5);
    NotEqual 54 ["1.14.0", "1.14.0", "2.3.0", "2.21.0"] |node| equal_version(node, 4);
    Less 41 ["1.14.0", "1.14.0", "2.13.0"] Tensors::version_by_first_input;
    LessEqual 46 ["1.14.0", "1.14.0"] int8_version;
    Greater 44 ["1.14.0", "1.14.0"] int8_version;
    GreaterEqual 45 ["1.14.0", "1.14.0", "2.13.0"] Tensors::version_by_first_input;
    LogicalAnd 62 ["1.11.0"] |_| 1;
    LogicalOr 60 ["1.11.0"] |_| 1;
    Select 47 ["1.14.0", "1.14.0", "2.12.0", "2.12.0"] select_version;
    SelectV2 98 ["2.2.0", "2.12.0"] |_| 1;
}

fn equal_version(node: &Tensors<'_>, int16: usize) -> usize {
    match node.input_dtype(0) {
        Some(DType::I16) => int16,
        Some(DType::String) => 3,
        Some(DType::I8) => 2,
        _ => 1,
    }
}

fn select_version(node: &Tensors<'_>) -> usize {
    if (0..3).any(|index| node.input_shape(index).len() == 5) { 3 } else { 1 }
}

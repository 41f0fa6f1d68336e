//! Functions of one operand.

use litesmith_graph::ops::{Abs, Ceil, Cos, Exp, Floor, Log, LogicalNot, Neg, Round, Rsqrt, Sign, Sin, Sqrt, Square};
use litesmith_graph::{DType, Result};

use super::arithmetic::{empty_options, small_version};
use super::{Format, Options, OptionsBuilder, Tensors};

empty_options! {
    Abs 78 ["1.13.0", "2.4.0", "2.5.0", "2.6.0", "2.12.0"] abs_version;
    Ceil 0 ["1.14.0"] |_| 1;
    Cos 84 ["1.14.0", "2.23.0"] f16_version;
    Exp 33 ["1.7.0", "2.12.0"] small_version;
    Floor 0 ["1.9.0"] |_| 1;
    Log 0 ["1.14.0", "2.15.0"] small_version;
    LogicalNot 63 ["1.11.0"] |_| 1;
    Neg 42 ["1.9.0"] |_| 1;
    Round 0 ["1.14.0"] |_| 1;
    Rsqrt 0 ["1.10.0", "2.5.0", "2.15.0"] Tensors::version_by_first_input;
    Sign 123 ["2.11.0", "2.12.0"] sign_version;
    Sin 0 ["1.9.0", "2.23.0"] f16_version;
    Sqrt 0 ["1.10.0", "2.21.0"] small_version;
    Square 66 ["1.12.0"] |_| 1;
}

fn abs_version(node: &Tensors<'_>) -> usize {
    match node.input_dtype(0) {
        Some(DType::I32) => 5,
        Some(DType::I16) if node.input(0).is_some_and(|tensor| tensor.quantization.is_none()) => 4,
        Some(DType::I16) => 3,
        Some(DType::I8 | DType::U8) => 2,
        _ => 1,
    }
}

fn sign_version(node: &Tensors<'_>) -> usize {
    if node.input_dtype(0) == Some(DType::I32) { 2 } else { 1 }
}

fn f16_version(node: &Tensors<'_>) -> usize {
    if node.input_dtype(0) == Some(DType::F16) { 2 } else { 1 }
}

//! MEAN.

use litesmith_graph::{DType, Result};
use litesmith_kernels::reduce::Reduction;

use super::{NodeContext, reduce};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Box<dyn Kernel>> {
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => reduce::plan_float(cx, Reduction::Mean),
        _ => Err(cx.no_kernel()),
    }
}

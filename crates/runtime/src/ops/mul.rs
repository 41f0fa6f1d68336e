//! MUL.

use litesmith_graph::{Result, ops::Mul};
use litesmith_kernels::binary::Binary;

use super::{NodeContext, binary};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &Mul) -> Result<Box<dyn Kernel>> {
    binary::plan(cx, Binary::Mul, op.activation)
}

//! SUB.

use litesmith_graph::{Result, ops::Sub};
use litesmith_kernels::binary::Binary;

use super::{NodeContext, binary};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &Sub) -> Result<Box<dyn Kernel>> {
    binary::plan(cx, Binary::Sub, op.activation)
}

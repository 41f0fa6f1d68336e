//! ADD.

use litesmith_graph::{Result, ops::Add};
use litesmith_kernels::binary::Binary;

use super::{NodeContext, binary};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &Add) -> Result<Box<dyn Kernel>> {
    binary::plan(cx, Binary::Add, op.activation)
}

//! PACK: a concatenation of inputs that each have one more axis of size 1.

use litesmith_graph::{Result, ops::Pack, ops::resolve_axis};

use super::{NodeContext, concatenation, same_quantization};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &Pack) -> Result<Kernel> {
    let output = cx.output()?;
    let axis = resolve_axis("PACK", i64::from(op.axis), output.shape.len())?;
    let mut shape = cx.input(0)?.shape.clone();
    shape.insert(axis, 1);
    for index in 0..cx.node.inputs.len() {
        let input = cx.input(index)?;
        if input.dtype != output.dtype {
            return Err(cx.no_kernel());
        }
        same_quantization(input, output)?;
    }
    concatenation::plan_copy(cx, &vec![shape.as_slice(); cx.node.inputs.len()], axis, output.dtype)
}

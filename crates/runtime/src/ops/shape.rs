//! SHAPE: known when a plan is made, so the planner folds it.

use litesmith_graph::{DType, Result, ops::Shape};

use super::NodeContext;
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &Shape) -> Result<Kernel> {
    let sizes = cx.input(0)?.shape.clone();
    let wide = match (op.out_type, cx.output()?.dtype) {
        (DType::I32, DType::I32) => false,
        (DType::I64, DType::I64) => true,
        _ => return Err(cx.no_kernel()),
    };
    Ok(Kernel::new(cx.copy_name(), move |_, mut io| {
        if wide {
            let sizes = sizes.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX));
            io.split().1.iter_mut().zip(sizes).for_each(|(y, size)| *y = size);
        } else {
            let sizes = sizes.iter().map(|&size| i32::try_from(size).unwrap_or(i32::MAX));
            io.split().1.iter_mut().zip(sizes).for_each(|(y, size)| *y = size);
        }
        Ok(())
    }))
}

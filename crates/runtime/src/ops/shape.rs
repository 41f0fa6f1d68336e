//! SHAPE: known when a plan is made, so the planner folds it.

use litesmith_graph::{DType, Result, ops::Shape};
use litesmith_kernels::Context;

use super::NodeContext;
use crate::kernel::{Io, Kernel};

pub(super) fn plan(cx: &NodeContext<'_>, op: &Shape) -> Result<Box<dyn Kernel>> {
    let sizes = cx.input(0)?.shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
    match (op.out_type, cx.output()?.dtype) {
        (DType::I32, DType::I32) => Ok(Box::new(Sizes { sizes, wide: false })),
        (DType::I64, DType::I64) => Ok(Box::new(Sizes { sizes, wide: true })),
        _ => Err(cx.no_kernel()),
    }
}

struct Sizes {
    sizes: Vec<i64>,
    wide: bool,
}

impl Kernel for Sizes {
    fn run(&self, _: Context<'_>, mut io: Io<'_>) -> Result<()> {
        if self.wide {
            io.split::<i64>().1.copy_from_slice(&self.sizes);
        } else {
            let sizes = self.sizes.iter().map(|&size| i32::try_from(size).unwrap_or(i32::MAX));
            io.split::<i32>().1.iter_mut().zip(sizes).for_each(|(y, size)| *y = size);
        }
        Ok(())
    }

    fn name(&self) -> String {
        "shape".into()
    }
}

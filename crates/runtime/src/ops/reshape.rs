//! RESHAPE, SQUEEZE, EXPAND_DIMS and DROPOUT of a constant: a copy. Of a computed tensor they are views, which the planner
//! resolves without a kernel.

use litesmith_graph::Result;
use litesmith_kernels::Context;

use super::NodeContext;
use crate::kernel::{Io, Kernel};

pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Box<dyn Kernel>> {
    if cx.input(0)?.dtype != cx.output()?.dtype {
        return Err(cx.no_kernel());
    }
    Ok(Box::new(Copy))
}

struct Copy;

impl Kernel for Copy {
    fn run(&self, _: Context<'_>, mut io: Io<'_>) -> Result<()> {
        let (inputs, y) = io.split::<u8>();
        y.copy_from_slice(inputs.get(0));
        Ok(())
    }

    fn name(&self) -> String {
        "reshape/copy".into()
    }
}

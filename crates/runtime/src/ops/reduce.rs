//! What MEAN and REDUCE_MAX share.

use litesmith_graph::{DType, Result, ops::resolve_axes};
use litesmith_kernels::Context;
use litesmith_kernels::reduce::{Reduce, Reduction};

use super::{NodeContext, refused};
use crate::kernel::{Io, Kernel};

/// The axes to reduce over, ascending.
pub(super) fn axes(cx: &NodeContext<'_>) -> Result<Vec<usize>> {
    resolve_axes(cx.node.op.name(), &cx.integers(1, "axes")?, cx.input(0)?.shape.len())
}

pub(super) fn plan_float(cx: &NodeContext<'_>, reduction: Reduction) -> Result<Box<dyn Kernel>> {
    Ok(Box::new(FloatReduce {
        reduce: Reduce::new(&cx.input(0)?.shape, &axes(cx)?).map_err(refused)?,
        reduction,
        name: cx.kernel_name(DType::F32, &cx.isa.to_string()),
    }))
}

struct FloatReduce {
    reduce: Reduce,
    reduction: Reduction,
    name: String,
}

impl Kernel for FloatReduce {
    fn run(&self, context: Context<'_>, mut io: Io<'_>) -> Result<()> {
        let (inputs, y) = io.split::<f32>();
        self.reduce.forward(context, self.reduction, inputs.get(0), y);
        Ok(())
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

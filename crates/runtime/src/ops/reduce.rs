//! MEAN and REDUCE_MAX.

use litesmith_graph::{DType, Result, ops::resolve_axes};
use litesmith_kernels::reduce::{Reduce, Reduction};

use super::{NodeContext, refused};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, reduction: Reduction) -> Result<Kernel> {
    let input = cx.input(0)?;
    let axes = resolve_axes(cx.node.op.name(), &cx.integers(1, "axes")?, input.shape.len())?;
    match (input.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => {
            let reduce = Reduce::new(&input.shape, &axes).map_err(refused)?;
            Ok(Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
                let (inputs, y) = io.split::<f32>();
                reduce.forward(context, reduction, inputs.get(0), y);
                Ok(())
            }))
        }
        _ => Err(cx.no_kernel()),
    }
}

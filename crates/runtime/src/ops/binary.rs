//! ADD, SUB and MUL.

use litesmith_graph::{DType, Result, ops::Activation};
use litesmith_kernels::binary::Binary;
use litesmith_kernels::broadcast::Broadcast;

use super::{NodeContext, fused_activation, refused};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: Binary, activation: Activation) -> Result<Kernel> {
    let (a, b, y) = (cx.input(0)?, cx.input(1)?, cx.output()?);
    match (a.dtype, b.dtype, y.dtype) {
        (DType::F32, DType::F32, DType::F32) => {
            let plan = Broadcast::new(&a.shape, &b.shape).map_err(refused)?;
            let activation = fused_activation(activation)?;
            Ok(Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
                let (inputs, y) = io.split::<f32>();
                op.forward(context, &plan, activation, inputs.get(0), inputs.get(1), y);
                Ok(())
            }))
        }
        _ => Err(cx.no_kernel()),
    }
}

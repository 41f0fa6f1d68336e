//! Element-wise activations: RELU, RELU6, RELU_N1_TO_1, LOGISTIC, TANH, LEAKY_RELU, ELU, HARD_SWISH, GELU.

use litesmith_graph::{DType, Result};
use litesmith_kernels::elementwise::Unary;

use super::NodeContext;
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, unary: Unary) -> Result<Kernel> {
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => Ok(Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
            let (inputs, y) = io.split::<f32>();
            unary.forward(context, inputs.get(0), y);
            Ok(())
        })),
        _ => Err(cx.no_kernel()),
    }
}

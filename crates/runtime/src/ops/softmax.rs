//! SOFTMAX.

use litesmith_graph::{DType, Result, ops::Softmax};
use litesmith_kernels::{Context, softmax};

use super::NodeContext;
use crate::kernel::{Io, Kernel};

pub(super) fn plan(cx: &NodeContext<'_>, op: &Softmax) -> Result<Box<dyn Kernel>> {
    let input = cx.input(0)?;
    let width = input.shape.last().copied().unwrap_or(1);
    match (input.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => Ok(Box::new(FloatSoftmax {
            width,
            beta: op.beta,
            name: cx.kernel_name(DType::F32, &cx.isa.to_string()),
        })),
        _ => Err(cx.no_kernel()),
    }
}

struct FloatSoftmax {
    width: usize,
    beta: f32,
    name: String,
}

impl Kernel for FloatSoftmax {
    fn run(&self, context: Context<'_>, mut io: Io<'_>) -> Result<()> {
        let (inputs, y) = io.split::<f32>();
        softmax::float::forward(context, self.width, self.beta, inputs.get(0), y);
        Ok(())
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

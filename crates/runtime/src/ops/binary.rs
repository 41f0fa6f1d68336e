//! What ADD, SUB and MUL share.

use litesmith_graph::{DType, Result, ops::Activation as GraphActivation};
use litesmith_kernels::binary::Binary;
use litesmith_kernels::broadcast::Broadcast;
use litesmith_kernels::{Activation, Context};

use super::{NodeContext, float_activation, refused};
use crate::kernel::{Io, Kernel};

pub(super) fn plan(cx: &NodeContext<'_>, op: Binary, activation: GraphActivation) -> Result<Box<dyn Kernel>> {
    let (a, b, y) = (cx.input(0)?, cx.input(1)?, cx.output()?);
    match (a.dtype, b.dtype, y.dtype) {
        (DType::F32, DType::F32, DType::F32) => Ok(Box::new(FloatBinary {
            op,
            plan: Broadcast::new(&a.shape, &b.shape).map_err(refused)?,
            activation: float_activation(activation)?,
            name: cx.kernel_name(DType::F32, &cx.isa.to_string()),
        })),
        _ => Err(cx.no_kernel()),
    }
}

struct FloatBinary {
    op: Binary,
    plan: Broadcast,
    activation: Activation,
    name: String,
}

impl Kernel for FloatBinary {
    fn run(&self, context: Context<'_>, mut io: Io<'_>) -> Result<()> {
        let (inputs, y) = io.split::<f32>();
        self.op.forward(context, &self.plan, self.activation, inputs.get(0), inputs.get(1), y);
        Ok(())
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

//! Element-wise activations: RELU, RELU6, RELU_N1_TO_1, LOGISTIC, TANH, LEAKY_RELU, ELU, HARD_SWISH, GELU.

use litesmith_graph::{DType, Op, Result};
use litesmith_kernels::Context;
use litesmith_kernels::elementwise::Unary;

use super::NodeContext;
use crate::kernel::{Io, Kernel};

pub(super) fn plan(cx: &NodeContext<'_>, op: &Op) -> Result<Box<dyn Kernel>> {
    let Some(unary) = unary(op) else { return Err(cx.no_kernel()) };
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => {
            Ok(Box::new(FloatUnary { unary, name: cx.kernel_name(DType::F32, &cx.isa.to_string()) }))
        }
        _ => Err(cx.no_kernel()),
    }
}

fn unary(op: &Op) -> Option<Unary> {
    Some(match op {
        Op::Relu(_) => Unary::Relu,
        Op::Relu6(_) => Unary::Relu6,
        Op::ReluN1To1(_) => Unary::ReluN1To1,
        Op::LeakyRelu(op) => Unary::LeakyRelu { alpha: op.alpha },
        Op::HardSwish(_) => Unary::HardSwish,
        Op::Logistic(_) => Unary::Logistic,
        Op::Tanh(_) => Unary::Tanh,
        Op::Gelu(op) => Unary::Gelu { approximate: op.approximate },
        Op::Elu(_) => Unary::Elu,
        _ => return None,
    })
}

struct FloatUnary {
    unary: Unary,
    name: String,
}

impl Kernel for FloatUnary {
    fn run(&self, context: Context<'_>, mut io: Io<'_>) -> Result<()> {
        let (inputs, y) = io.split::<f32>();
        self.unary.forward(context, inputs.get(0), y);
        Ok(())
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

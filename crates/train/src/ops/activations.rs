//! Functions of one operand, element by element.

use litesmith_graph::{Error, Op, Result};
use litesmith_kernels::Real;
use litesmith_kernels::elementwise::Unary;

use super::{Call, Gradients, TrainOp};

#[derive(Debug)]
struct UnaryOp(Unary);

pub(super) fn plan<T: Real>(op: &Op) -> Result<Box<dyn TrainOp<T>>> {
    let unary = match op {
        Op::Relu(_) => Unary::Relu,
        Op::Relu6(_) => Unary::Relu6,
        Op::ReluN1To1(_) => Unary::ReluN1To1,
        Op::LeakyRelu(op) => Unary::LeakyRelu { alpha: op.alpha },
        Op::HardSwish(_) => Unary::HardSwish,
        Op::Logistic(_) => Unary::Logistic,
        Op::Tanh(_) => Unary::Tanh,
        Op::Gelu(op) => Unary::Gelu { approximate: op.approximate },
        Op::Elu(_) => Unary::Elu,
        Op::Relu0To1(_) => Unary::Relu0To1,
        Op::Abs(_) => Unary::Abs,
        Op::Neg(_) => Unary::Neg,
        Op::Exp(_) => Unary::Exp,
        Op::Log(_) => Unary::Log,
        Op::Sqrt(_) => Unary::Sqrt,
        Op::Rsqrt(_) => Unary::Rsqrt,
        Op::Square(_) => Unary::Square,
        Op::Sin(_) => Unary::Sin,
        Op::Cos(_) => Unary::Cos,
        other => return Err(Error::unsupported("", format!("{} is no function with a gradient", other.name()))),
    };
    Ok(Box::new(UnaryOp(unary)))
}

impl<T: Real> TrainOp<T> for UnaryOp {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        self.0.forward(call.context, call.inputs.get(0), y);
    }

    fn backward(&self, call: &Call<'_, T>, y: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        gradients.write(0, |dx| self.0.backward(call.context, call.inputs.get(0), y, dy, dx));
    }
}

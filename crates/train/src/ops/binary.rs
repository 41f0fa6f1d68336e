//! ADD, SUB, MUL, DIV, MAXIMUM, MINIMUM and SQUARED_DIFFERENCE with broadcasting: what was broadcast gets the sum of the gradients of its copies.

use litesmith_graph::ops::Activation as FusedActivation;
use litesmith_graph::{Error, Op, Result};
use litesmith_kernels::binary::Binary;
use litesmith_kernels::broadcast::Broadcast;
use litesmith_kernels::{Activation, Real};

use super::{Call, Gradients, PlanNode, TrainOp, fused, unsupported};

#[derive(Debug)]
struct BinaryOp {
    op: Binary,
    shapes: Broadcast,
    activation: Activation,
}

pub(super) fn plan<T: Real>(node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    let (op, activation) = match &node.node.op {
        Op::Add(op) => (Binary::Add, op.activation),
        Op::Sub(op) => (Binary::Sub, op.activation),
        Op::Mul(op) => (Binary::Mul, op.activation),
        Op::Div(op) => (Binary::Div, op.activation),
        Op::Maximum(_) => (Binary::Maximum, FusedActivation::None),
        Op::Minimum(_) => (Binary::Minimum, FusedActivation::None),
        Op::SquaredDifference(_) => (Binary::SquaredDifference, FusedActivation::None),
        other => return Err(Error::unsupported("", format!("{} is no op of two operands", other.name()))),
    };
    let shapes = Broadcast::new(node.shape(0), node.shape(1)).map_err(unsupported)?;
    Ok(Box::new(BinaryOp { op, shapes, activation: fused(activation)? }))
}

impl<T: Real> TrainOp<T> for BinaryOp {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        let (a, b) = (call.inputs.get(0), call.inputs.get(1));
        self.op.forward(call.context, &self.shapes, self.activation, a, b, y);
    }

    fn backward(&self, call: &Call<'_, T>, y: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        self.activation.backward_in_place(call.context, y, dy);
        let (a, b) = (call.inputs.get(0), call.inputs.get(1));
        gradients.write(0, |da| self.op.backward_a(call.context, &self.shapes, a, b, dy, da));
        gradients.write(1, |db| self.op.backward_b(call.context, &self.shapes, a, b, dy, db));
    }
}

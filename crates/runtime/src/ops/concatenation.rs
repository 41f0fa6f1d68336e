//! CONCATENATION.

use litesmith_graph::{DType, Error, Result, ops::Concatenation, ops::resolve_axis};
use litesmith_kernels::{Context, movement};

use super::{NodeContext, refused};
use crate::kernel::{Io, Kernel};

pub(super) fn plan(cx: &NodeContext<'_>, op: &Concatenation) -> Result<Box<dyn Kernel>> {
    let output = cx.output()?;
    let axis = resolve_axis("CONCATENATION", i64::from(op.axis), output.shape.len())?;
    if op.activation != litesmith_graph::ops::Activation::None {
        return Err(Error::unsupported("", format!("the fused activation {:?}", op.activation)));
    }
    let inputs = (0..cx.node.inputs.len()).map(|index| cx.input(index)).collect::<Result<Vec<_>>>()?;
    if inputs.iter().any(|input| input.dtype != output.dtype) {
        return Err(cx.no_kernel());
    }
    if inputs.iter().any(|input| input.quantization != output.quantization) {
        return Err(Error::unsupported("", "inputs and output of different scales"));
    }
    let shapes: Vec<_> = inputs.iter().map(|input| input.shape.as_slice()).collect();
    plan_copy(cx, &shapes, axis, output.dtype)
}

/// Plans joining operands of these shapes along `axis`, whatever their elements are.
pub(super) fn plan_copy(
    cx: &NodeContext<'_>,
    shapes: &[&[usize]],
    axis: usize,
    dtype: DType,
) -> Result<Box<dyn Kernel>> {
    if dtype.bits() % 8 != 0 || dtype.bits() == 0 {
        return Err(cx.no_kernel());
    }
    // An axis more, of the bytes of an element: then one kernel serves every type.
    let element = dtype.bits() / 8;
    let shapes: Vec<_> = shapes.iter().map(|shape| [*shape, &[element]].concat()).collect();
    Ok(Box::new(Join {
        join: movement::Concatenation::new(&shapes, axis).map_err(refused)?,
        inputs: shapes.len(),
        name: format!("{}/copy", cx.node.op.snake_name()),
    }))
}

struct Join {
    join: movement::Concatenation,
    inputs: usize,
    name: String,
}

impl Kernel for Join {
    fn run(&self, _: Context<'_>, mut io: Io<'_>) -> Result<()> {
        let (inputs, y) = io.split::<u8>();
        for index in 0..self.inputs {
            self.join.forward(index, inputs.get(index), y);
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

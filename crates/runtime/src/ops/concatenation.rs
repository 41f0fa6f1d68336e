//! CONCATENATION.

use litesmith_graph::{DType, Error, Result, ops::Activation, ops::Concatenation, ops::resolve_axis};
use litesmith_kernels::movement;
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::quantized_concatenation::QuantizedConcatenation;

use super::{NodeContext, quant_params, refused, same_quantization};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &Concatenation) -> Result<Kernel> {
    let output = cx.output()?;
    let axis = resolve_axis("CONCATENATION", i64::from(op.axis), output.shape.len())?;
    if op.activation != Activation::None {
        return Err(Error::unsupported("", format!("the fused activation {:?}", op.activation)));
    }
    let inputs = (0..cx.node.inputs.len()).map(|index| cx.input(index)).collect::<Result<Vec<_>>>()?;
    for input in &inputs {
        if input.dtype != output.dtype {
            return Err(cx.no_kernel());
        }
    }
    let shapes: Vec<_> = inputs.iter().map(|input| input.shape.as_slice()).collect();
    // Only uint8 operands may have scales of their own.
    if output.dtype == DType::U8 && inputs.iter().any(|input| input.quantization != output.quantization) {
        return plan_integer::<u8>(cx, &shapes, axis);
    }
    inputs.iter().try_for_each(|input| same_quantization(input, output))?;
    plan_copy(cx, &shapes, axis, output.dtype)
}

fn plan_integer<T: Quantized>(cx: &NodeContext<'_>, shapes: &[&[usize]], axis: usize) -> Result<Kernel> {
    let operands = shapes.len();
    let inputs = (0..operands).map(|index| quant_params(cx.input(index)?)).collect::<Result<Vec<_>>>()?;
    let output = quant_params(cx.output()?)?;
    let join = QuantizedConcatenation::<T>::new(shapes, axis, &inputs, output).map_err(refused)?;
    Ok(Kernel::new(cx.kernel_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split::<T>();
        for index in 0..operands {
            join.run(context, index, inputs.get(index), y);
        }
        Ok(())
    }))
}

/// Plans joining operands of these shapes along `axis`, whatever their elements are.
pub(super) fn plan_copy(cx: &NodeContext<'_>, shapes: &[&[usize]], axis: usize, dtype: DType) -> Result<Kernel> {
    if dtype.bits() == 0 || !dtype.bits().is_multiple_of(8) {
        return Err(cx.no_kernel());
    }
    // An axis more, of the bytes of an element: then one kernel serves every type.
    let element = dtype.bits() / 8;
    let shapes: Vec<_> = shapes.iter().map(|shape| [*shape, &[element]].concat()).collect();
    let join = movement::Concatenation::new(&shapes, axis).map_err(refused)?;
    let operands = shapes.len();
    Ok(Kernel::new(cx.copy_name(), move |_, mut io| {
        let (inputs, y) = io.split::<u8>();
        for index in 0..operands {
            join.forward(index, inputs.get(index), y);
        }
        Ok(())
    }))
}

//! ADD, SUB and MUL.

use litesmith_graph::{DType, Result, ops::Activation};
use litesmith_kernels::binary::Binary;
use litesmith_kernels::broadcast::Broadcast;
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::quantized_binary::QuantizedBinary;

use super::{NodeContext, fused_activation, quant_params, refused};
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
        (DType::I8, DType::I8, DType::I8) => plan_integer::<i8>(cx, op, activation),
        (DType::U8, DType::U8, DType::U8) => plan_integer::<u8>(cx, op, activation),
        (DType::I16, DType::I16, DType::I16) => plan_integer::<i16>(cx, op, activation),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_integer<T: Quantized>(cx: &NodeContext<'_>, op: Binary, activation: Activation) -> Result<Kernel> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    let inputs = [quant_params::<T>(a)?, quant_params::<T>(b)?];
    let output = quant_params::<T>(cx.output()?)?;
    let activation = fused_activation(activation)?;
    let shapes = [a.shape.as_slice(), b.shape.as_slice()];
    let binary = QuantizedBinary::<T>::new(op, shapes, inputs, output, activation, cx.numerics()).map_err(refused)?;
    Ok(Kernel::new(cx.kernel_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split::<T>();
        binary.run(context, inputs.get(0), inputs.get(1), y);
        Ok(())
    }))
}

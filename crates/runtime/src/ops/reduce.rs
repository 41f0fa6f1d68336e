//! MEAN, REDUCE_MAX and REDUCE_MIN.

use litesmith_graph::{DType, Result, ops::resolve_axes};
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::quantized_reduce::{QuantizedExtremum, QuantizedMean};
use litesmith_kernels::reduce::{Reduce, Reduction};

use super::{NodeContext, quant_params, refused};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, reduction: Reduction) -> Result<Kernel> {
    let input = cx.input(0)?;
    let axes = resolve_axes(cx.node.op.name(), &cx.integers(1, "axes")?, input.shape.len())?;
    match (input.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => {
            let reduce = Reduce::new(&input.shape, &axes).map_err(refused)?;
            Ok(Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
                let (inputs, y) = io.split::<f32>();
                reduce.forward(context, reduction, inputs.get(0), y);
                Ok(())
            }))
        }
        (DType::I8, DType::I8) => plan_integer::<i8>(cx, reduction, &axes),
        (DType::U8, DType::U8) => plan_integer::<u8>(cx, reduction, &axes),
        (DType::I16, DType::I16) => plan_integer::<i16>(cx, reduction, &axes),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_integer<T: Quantized>(cx: &NodeContext<'_>, reduction: Reduction, axes: &[usize]) -> Result<Kernel> {
    let shape = &cx.input(0)?.shape;
    let (input, output) = (quant_params::<T>(cx.input(0)?)?, quant_params::<T>(cx.output()?)?);
    let name = cx.kernel_name(cx.output()?.dtype);
    match reduction {
        Reduction::Mean => {
            let mean = QuantizedMean::<T>::new(shape, axes, input, output, cx.numerics()).map_err(refused)?;
            let bytes = mean.scratch_bytes();
            let kernel = Kernel::new(name, move |context, mut io| {
                let (inputs, y, scratch) = io.split_scratch();
                mean.run(context, inputs.get(0), y, &mut scratch.as_mut_slice()[..bytes]);
                Ok(())
            });
            Ok(kernel.with_scratch(bytes))
        }
        Reduction::Max | Reduction::Min => {
            let largest = reduction == Reduction::Max;
            let extremum = QuantizedExtremum::<T>::new(shape, axes, input, output, largest).map_err(refused)?;
            Ok(Kernel::new(name, move |context, mut io| {
                let (inputs, y) = io.split();
                extremum.run(context, inputs.get(0), y);
                Ok(())
            }))
        }
        _ => Err(cx.no_kernel()),
    }
}

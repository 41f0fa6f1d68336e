//! PRELU. With int16 activations alpha is int8.

use litesmith_graph::{DType, Result};
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::prelu::{self, QuantizedPrelu};

use super::{NodeContext, quant_params, refused};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (input, alpha) = (cx.input(0)?, cx.input(1)?);
    match (input.dtype, alpha.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32, DType::F32) => {
            let plan = prelu::plan(&input.shape, &alpha.shape).map_err(refused)?;
            Ok(Kernel::new(cx.avx2_name(DType::F32), move |context, mut io| {
                let (inputs, y) = io.split::<f32>();
                prelu::forward(context, &plan, inputs.get(0), inputs.get(1), y);
                Ok(())
            }))
        }
        (DType::I8, DType::I8, DType::I8) => plan_integer::<i8, i8>(cx),
        (DType::U8, DType::U8, DType::U8) => plan_integer::<u8, u8>(cx),
        (DType::I16, DType::I8, DType::I16) => plan_integer::<i16, i8>(cx),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_integer<T: Quantized, A: Quantized>(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (input, alpha, output) = (cx.input(0)?, cx.input(1)?, cx.output()?);
    let shapes = [input.shape.as_slice(), alpha.shape.as_slice()];
    let (input, alpha) = (quant_params(input)?, quant_params(alpha)?);
    let prelu = QuantizedPrelu::<T, A>::new(shapes, input, alpha, quant_params(output)?).map_err(refused)?;
    Ok(Kernel::new(cx.avx2_name(output.dtype), move |context, mut io| {
        let (inputs, y) = io.split::<T>();
        prelu.run(context, inputs.get(0), inputs.get(1), y);
        Ok(())
    }))
}

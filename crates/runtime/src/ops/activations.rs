//! Element-wise activations: RELU, RELU6, RELU_N1_TO_1, LOGISTIC, TANH, LEAKY_RELU, ELU, HARD_SWISH, GELU.

use litesmith_graph::{DType, Result};
use litesmith_kernels::Activation;
use litesmith_kernels::elementwise::Unary;
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::quantized_activation::{self, QuantizedActivation};

use super::{NodeContext, quant_params, refused};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, unary: Unary) -> Result<Kernel> {
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => Ok(Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
            let (inputs, y) = io.split::<f32>();
            unary.forward(context, inputs.get(0), y);
            Ok(())
        })),
        (DType::I8, DType::I8) => plan_integer::<i8>(cx, unary),
        (DType::U8, DType::U8) => plan_integer::<u8>(cx, unary),
        (DType::I16, DType::I16) => plan_integer::<i16>(cx, unary),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_integer<T: Quantized>(cx: &NodeContext<'_>, unary: Unary) -> Result<Kernel> {
    let function = match unary {
        Unary::Relu => quantized_activation::Unary::Relu(Activation::Relu),
        Unary::ReluN1To1 => quantized_activation::Unary::Relu(Activation::ReluN1To1),
        Unary::Relu6 => quantized_activation::Unary::Relu(Activation::Relu6),
        Unary::LeakyRelu { alpha } => quantized_activation::Unary::LeakyRelu { alpha },
        Unary::HardSwish => quantized_activation::Unary::HardSwish,
        Unary::Logistic => quantized_activation::Unary::Logistic,
        Unary::Tanh => quantized_activation::Unary::Tanh,
        Unary::Gelu { approximate } => quantized_activation::Unary::Gelu { approximate },
        Unary::Elu | Unary::Exp | Unary::Sqrt | Unary::Rsqrt => return Err(cx.no_kernel()),
    };
    let (input, output) = (quant_params::<T>(cx.input(0)?)?, quant_params::<T>(cx.output()?)?);
    let table = QuantizedActivation::<T>::new(function, input, output, cx.numerics()).map_err(refused)?;
    let kernel = Kernel::new(cx.kernel_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split::<T>();
        table.run(context, inputs.get(0), y);
        Ok(())
    });
    Ok(kernel.with_tables(size_of::<T>() << T::BITS))
}

//! Functions of one operand, element by element: activations, ABS, EXP, SIN and so on.

use std::ops::Range;
use std::sync::Arc;

use litesmith_graph::{DType, Error, Result};
use litesmith_kernels::comparison::logical_not;
use litesmith_kernels::conv_2d::Window;
use litesmith_kernels::elementwise::Unary;
use litesmith_kernels::in_place::in_place;
use litesmith_kernels::integer::{Integer, IntegerUnary};
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::quantized_activation::{self, QuantizedActivation};
use litesmith_kernels::{Activation, Context};

use super::{NodeContext, quant_params, refused};
use crate::kernel::{Inputs, Kernel, Part};
use crate::rows::{Rows, Span};

pub(super) fn plan(cx: &NodeContext<'_>, unary: Unary) -> Result<Kernel> {
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => {
            let part = UnaryRows::new(cx, unary)?.map_or(Part::None, |rows| Part::Rows(Arc::new(rows)));
            let activation = match unary {
                Unary::Relu => Some(Activation::Relu),
                Unary::Relu6 => Some(Activation::Relu6),
                Unary::ReluN1To1 => Some(Activation::ReluN1To1),
                _ => None,
            };
            let kernel = Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
                let (inputs, y) = io.split::<f32>();
                if let (true, Some(activation)) = (inputs.is_output(0), activation) {
                    activation.apply_in_place(context, y);
                } else if inputs.is_output(0) {
                    in_place(context, y, |context, _, x, y| unary.forward(context, x, y));
                } else {
                    unary.forward(context, inputs.get(0), y);
                }
                Ok(())
            });
            Ok(kernel.overwriting(&[0]).with_part(part).being(activation))
        }
        (DType::I8, DType::I8) => plan_quantized::<i8>(cx, unary),
        (DType::U8, DType::U8) => plan_quantized::<u8>(cx, unary),
        (DType::I16, DType::I16) => plan_quantized::<i16>(cx, unary),
        _ => Err(cx.no_kernel()),
    }
}

struct UnaryRows {
    unary: Unary,
    span: Span,
}

impl UnaryRows {
    fn new(cx: &NodeContext<'_>, unary: Unary) -> Result<Option<Self>> {
        let &[1, rows, width, channels] = cx.input(0)?.shape.as_slice() else { return Ok(None) };
        let height = Window { input: rows, output: rows, kernel: 1, stride: 1, dilation: 1, pad_before: 0 };
        Ok(Some(Self { unary, span: Span { height, row_len: [width * channels; 2] } }))
    }
}

impl Rows for UnaryRows {
    fn span(&self) -> Span {
        self.span
    }

    fn run(
        &self,
        context: Context<'_>,
        _: Inputs<'_>,
        x: &[f32],
        _: Range<usize>,
        y: &mut [f32],
        _scratch: &mut [f32],
    ) {
        self.unary.forward(context, x, y);
    }
}

/// ABS, NEG and SIGN, whose integers may be plain. NEG takes quantized ones as they are, as LiteRT does.
pub(super) fn plan_signed(cx: &NodeContext<'_>, op: IntegerUnary) -> Result<Kernel> {
    let (input, output) = (cx.input(0)?, cx.output()?);
    match (op, input.dtype) {
        _ if input.dtype != output.dtype => Err(cx.no_kernel()),
        (_, DType::I32) => plan_integer::<i32>(cx, op),
        (IntegerUnary::Neg, DType::I64) => plan_integer::<i64>(cx, op),
        (IntegerUnary::Neg, DType::I8) => plan_integer::<i8>(cx, op),
        (IntegerUnary::Neg, DType::I16) => plan_integer::<i16>(cx, op),
        (IntegerUnary::Abs, DType::I16) if input.quantization.is_none() => plan_integer::<i16>(cx, op),
        (IntegerUnary::Abs, _) => plan(cx, Unary::Abs),
        (IntegerUnary::Neg, DType::F32) => plan(cx, Unary::Neg),
        (IntegerUnary::Sign, DType::F32) => plan(cx, Unary::Sign),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_integer<T: Integer>(cx: &NodeContext<'_>, op: IntegerUnary) -> Result<Kernel> {
    Ok(Kernel::new(cx.avx2_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split::<T>();
        op.forward(context, inputs.get(0), y);
        Ok(())
    }))
}

pub(super) fn plan_logical_not(cx: &NodeContext<'_>) -> Result<Kernel> {
    if (cx.input(0)?.dtype, cx.output()?.dtype) != (DType::Bool, DType::Bool) {
        return Err(cx.no_kernel());
    }
    Ok(Kernel::new(cx.avx2_name(DType::Bool), |context, mut io| {
        let (inputs, y) = io.split::<u8>();
        logical_not(context, inputs.get(0), y);
        Ok(())
    }))
}

fn plan_quantized<T: Quantized>(cx: &NodeContext<'_>, unary: Unary) -> Result<Kernel> {
    let function = match unary {
        Unary::Relu => quantized_activation::Unary::Relu(Activation::Relu),
        Unary::ReluN1To1 => quantized_activation::Unary::Relu(Activation::ReluN1To1),
        Unary::Relu6 => quantized_activation::Unary::Relu(Activation::Relu6),
        Unary::LeakyRelu { alpha } => quantized_activation::Unary::LeakyRelu { alpha },
        Unary::HardSwish => quantized_activation::Unary::HardSwish,
        Unary::Logistic => quantized_activation::Unary::Logistic,
        Unary::Tanh => quantized_activation::Unary::Tanh,
        Unary::Gelu { approximate } => quantized_activation::Unary::Gelu { approximate },
        Unary::Relu0To1 => quantized_activation::Unary::Relu0To1,
        Unary::Elu => quantized_activation::Unary::Elu,
        Unary::Abs => quantized_activation::Unary::Abs,
        Unary::Exp => quantized_activation::Unary::Exp,
        Unary::Log => quantized_activation::Unary::Log,
        Unary::Sqrt => quantized_activation::Unary::Sqrt,
        Unary::Rsqrt => quantized_activation::Unary::Rsqrt,
        Unary::Neg
        | Unary::Square
        | Unary::Sin
        | Unary::Cos
        | Unary::Floor
        | Unary::Ceil
        | Unary::Round
        | Unary::Sign => return Err(cx.no_kernel()),
    };
    let (input, output) = (quant_params(cx.input(0)?)?, quant_params(cx.output()?)?);
    let table = QuantizedActivation::<T>::new(function, input, output, cx.numerics()).map_err(refused)?;
    if let Some(table) = table.byte_table() {
        return Ok(Kernel::look_up(cx.kernel_name(cx.output()?.dtype), table.clone()));
    }
    let kernel = Kernel::new(cx.kernel_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split::<T>();
        if let Some(at) = table.outside(inputs.get(0)) {
            return Err(Error::invalid("", format!("element {at} of the input is negative, under a square root")));
        }
        table.run(context, inputs.get(0), y);
        Ok(())
    });
    Ok(kernel.with_tables(size_of::<T>() << T::BITS))
}

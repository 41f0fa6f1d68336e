//! ADD, SUB, MUL, DIV, MAXIMUM, MINIMUM, SQUARED_DIFFERENCE.

use bytemuck::Pod;
use litesmith_graph::{DType, Error, Result, Tensor, ops::Activation};
use litesmith_kernels::Context;
use litesmith_kernels::binary::{Binary, add_n};
use litesmith_kernels::broadcast::Broadcast;
use litesmith_kernels::in_place::{CHUNK, in_place};
use litesmith_kernels::integer::Integer;
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::quantized_binary::{QuantizedBinary, square};

use super::{NodeContext, fused_activation, operand_params, quant_params, refused};
use crate::kernel::{FusedActivation, Inputs, Kernel, Part};

pub(super) fn plan(cx: &NodeContext<'_>, op: Binary, activation: Activation) -> Result<Kernel> {
    let (a, b, y) = (cx.input(0)?, cx.input(1)?, cx.output()?);
    if a.dtype != b.dtype || a.dtype != y.dtype {
        return Err(cx.no_kernel());
    }
    // Of quantized operands the larger and the smaller are taken as they are, whatever their scales, as LiteRT does.
    let selects = matches!(op, Binary::Maximum | Binary::Minimum);
    match a.dtype {
        DType::F32 => {
            let plan = Broadcast::new(&a.shape, &b.shape).map_err(refused)?;
            let fused = FusedActivation::new(fused_activation(activation)?);
            let overwrites = if op.overwrites() { overwritten(&a.shape, &b.shape) } else { &[] };
            let applied = fused.clone();
            let kernel = Kernel::new(cx.avx2_name(DType::F32), move |context, mut io| {
                let (inputs, y) = io.split::<f32>();
                let activation = applied.get();
                match [0, 1].into_iter().find(|&index| inputs.is_output(index)) {
                    Some(index) => op.forward_over(context, activation, index, inputs.get(1 - index), y),
                    None => op.forward(context, &plan, activation, inputs.get(0), inputs.get(1), y),
                }
                Ok(())
            });
            Ok(kernel.overwriting(overwrites).with_fused(&fused))
        }
        DType::I8 if selects => plan_integer::<i8>(cx, op, activation),
        DType::U8 if selects => plan_integer::<u8>(cx, op, activation),
        DType::I16 if selects => plan_integer::<i16>(cx, op, activation),
        DType::I16 if matches!(op, Binary::Add | Binary::Mul) && a.quantization.is_none() => {
            plan_integer::<i16>(cx, op, activation)
        }
        DType::I8 => plan_quantized::<i8>(cx, op, activation),
        DType::U8 => plan_quantized::<u8>(cx, op, activation),
        DType::I16 => plan_quantized::<i16>(cx, op, activation),
        DType::I32 => plan_integer::<i32>(cx, op, activation),
        DType::U32 if op == Binary::Mul => plan_integer::<u32>(cx, op, activation),
        DType::I64 if !matches!(op, Binary::Div | Binary::SquaredDifference) => plan_integer::<i64>(cx, op, activation),
        _ => Err(cx.no_kernel()),
    }
}

/// The operands that have the result's shape where the other one has it too, or is repeated along leading axes.
fn overwritten(a: &[usize], b: &[usize]) -> &'static [usize] {
    let fills = |other: &[usize], whole: &[usize]| {
        let inner = other.iter().position(|&size| size != 1).map_or(&[][..], |first| &other[first..]);
        other.len() <= whole.len() && whole.ends_with(inner)
    };
    match (a == b, fills(b, a), fills(a, b)) {
        (true, ..) => &[0, 1],
        (_, true, _) => &[0],
        (.., true) => &[1],
        _ => &[],
    }
}

/// Plans for the pieces of operands of one shape, of which one is replaced by the result; none for others.
struct Pieces<P>(Option<[P; 2]>);

impl<P> Pieces<P> {
    /// `plan` makes one for two operands of a shape.
    fn new(a: &Tensor, b: &Tensor, plan: impl Fn(&[usize]) -> Result<P>) -> Result<Self> {
        let is_computed = |tensor: &Tensor| tensor.data.is_none();
        if a.shape != b.shape || !(is_computed(a) || is_computed(b)) {
            return Ok(Self(None));
        }
        let rest = a.shape.iter().product::<usize>() % CHUNK;
        Ok(Self(Some([plan(&[CHUNK])?, plan(&[rest])?])))
    }

    fn overwrites(&self) -> &'static [usize] {
        if self.0.is_some() { &[0, 1] } else { &[] }
    }

    /// Runs `op` on pieces where `y` holds an operand; says whether it does.
    fn run<T: Pod + Send + Sync>(
        &self,
        context: Context<'_>,
        inputs: Inputs<'_>,
        y: &mut [T],
        op: impl Fn(Context<'_>, &P, &[T], &[T], &mut [T]) + Sync,
    ) -> bool
    where
        P: Sync,
    {
        let Some([whole, rest]) = &self.0 else { return false };
        let plan = |len| if len == CHUNK { whole } else { rest };
        let other = |index: usize, start: usize, len: usize| &inputs.get::<T>(index)[start..start + len];
        if inputs.is_output(0) {
            in_place(context, y, |context, start, x, y| op(context, plan(x.len()), x, other(1, start, x.len()), y));
        } else if inputs.is_output(1) {
            in_place(context, y, |context, start, x, y| op(context, plan(x.len()), other(0, start, x.len()), x, y));
        } else {
            return false;
        }
        true
    }
}

/// ADD and SUB; `pot_scale_int16` is their attribute.
pub(super) fn plan_sum(
    cx: &NodeContext<'_>,
    op: Binary,
    activation: Activation,
    pot_scale_int16: bool,
) -> Result<Kernel> {
    let (a, b, y) = (cx.input(0)?, cx.input(1)?, cx.output()?);
    if !pot_scale_int16 || [a, b, y].iter().any(|tensor| tensor.dtype != DType::I16 || tensor.quantization.is_none()) {
        return plan(cx, op, activation);
    }
    let params = [quant_params(a)?, quant_params(b)?, quant_params(y)?];
    let shapes = [a.shape.as_slice(), b.shape.as_slice()];
    match QuantizedBinary::shifted(op, shapes, params, fused_activation(activation)?).map_err(refused)? {
        Some(sum) => Ok(Kernel::new(cx.avx2_name(DType::I16), move |context, mut io| {
            let (inputs, y) = io.split::<i16>();
            sum.run(context, inputs.get(0), inputs.get(1), y);
            Ok(())
        })),
        None => plan(cx, op, activation),
    }
}

/// ADD_N: LiteRT has float32 and int32.
pub(super) fn plan_add_n(cx: &NodeContext<'_>) -> Result<Kernel> {
    let dtype = cx.output()?.dtype;
    let operands = cx.node.inputs.len();
    for index in 0..operands {
        if cx.input(index)?.dtype != dtype {
            return Err(cx.no_kernel());
        }
    }
    match dtype {
        DType::F32 => Ok(Kernel::new(cx.scalar_name(dtype), move |_, mut io| {
            let (inputs, y) = io.split::<f32>();
            add_n(y, (0..operands).map(|index| inputs.get(index)), |a, b| a + b);
            Ok(())
        })),
        DType::I32 => Ok(Kernel::new(cx.scalar_name(dtype), move |_, mut io| {
            let (inputs, y) = io.split::<i32>();
            add_n(y, (0..operands).map(|index| inputs.get(index)), i32::wrapping_add);
            Ok(())
        })),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_integer<T: Integer>(cx: &NodeContext<'_>, op: Binary, activation: Activation) -> Result<Kernel> {
    let activation = clamp(activation)?;
    let plan = Broadcast::new(&cx.input(0)?.shape, &cx.input(1)?.shape).map_err(refused)?;
    Ok(Kernel::new(cx.scalar_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split::<T>();
        if op == Binary::Div {
            check_divisors(inputs.get(1), T::ZERO)?;
        }
        op.forward_integer(context, &plan, activation, inputs.get(0), inputs.get(1), y);
        Ok(())
    }))
}

/// The fused activation of integers: a clamp.
fn clamp(activation: Activation) -> Result<litesmith_kernels::Activation> {
    match fused_activation(activation)? {
        litesmith_kernels::Activation::Tanh => Err(Error::unsupported("", "a fused tanh on integers")),
        activation => Ok(activation),
    }
}

/// Fails where the divisor is zero.
pub(super) fn check_divisors<T: PartialEq>(divisors: &[T], zero: T) -> Result<()> {
    match divisors.iter().position(|divisor| *divisor == zero) {
        None => Ok(()),
        Some(at) => Err(Error::invalid("", format!("element {at} of the divisor is zero"))),
    }
}

fn plan_quantized<T: Quantized>(cx: &NodeContext<'_>, op: Binary, activation: Activation) -> Result<Kernel> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    let inputs = [operand_params(a)?, operand_params(b)?];
    let output = quant_params(cx.output()?)?;
    let activation = fused_activation(activation)?;
    let shapes = [a.shape.as_slice(), b.shape.as_slice()];
    if op == Binary::Mul
        && T::BITS == 8
        && cx.node.inputs[0] == cx.node.inputs[1]
        && let Some(table) = square(T::MIN < 0, inputs[0], output, activation, cx.numerics())
    {
        return Ok(Kernel::look_up(cx.kernel_name(cx.output()?.dtype), table));
    }
    let binary = QuantizedBinary::<T>::new(op, shapes, inputs, output, activation, cx.numerics()).map_err(refused)?;
    let pieces = Pieces::new(a, b, |shape| {
        QuantizedBinary::<T>::new(op, [shape, shape], inputs, output, activation, cx.numerics()).map_err(refused)
    })?;
    // Divisors are looked at before.
    let overwrites = if op == Binary::Div { &[] } else { pieces.overwrites() };
    let zero = T::narrow(inputs[1].zero_point);
    // A divisor may be 0, which only a run can tell.
    let part = binary.bytes().filter(|_| op != Binary::Div).map_or(Part::None, Part::Pair);
    let dtype = cx.output()?.dtype;
    let name = if dtype == DType::I16 { cx.avx2_name(dtype) } else { cx.kernel_name(dtype) };
    let kernel = Kernel::new(name, move |context, mut io| {
        let (inputs, y) = io.split::<T>();
        if op == Binary::Div {
            check_divisors(inputs.get(1), zero)?;
        }
        let done = pieces.run(context, inputs, y, |context, binary, a, b, y| binary.run(context, a, b, y));
        if !done {
            binary.run(context, inputs.get(0), inputs.get(1), y);
        }
        Ok(())
    });
    Ok(kernel.with_part(part).overwriting(overwrites))
}

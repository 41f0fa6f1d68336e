//! MEAN, SUM, REDUCE_MAX, REDUCE_MIN, REDUCE_PROD, REDUCE_ANY and REDUCE_ALL.

use bytemuck::Pod;
use litesmith_graph::{DType, Op, Result, ops::resolve_axes};
use litesmith_kernels::fold::{Fold, QuantizedProduct};
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::quantized_reduce::{QuantizedExtremum, QuantizedMean};
use litesmith_kernels::reduce::{Reduce, Reduction};

use super::{NodeContext, quant_params, refused};
use crate::kernel::Kernel;

/// The axes and the shape that they belong to.
struct Axes<'a> {
    shape: &'a [usize],
    axes: Vec<usize>,
}

impl<'a> Axes<'a> {
    fn new(cx: &NodeContext<'a>) -> Result<Self> {
        let shape = &cx.input(0)?.shape;
        let axes = resolve_axes(cx.node.op.name(), &cx.integers(1, "axes")?, shape.len())?;
        Ok(Self { shape, axes })
    }

    fn fold(&self) -> Result<Fold> {
        Fold::new(self.shape, &self.axes).map_err(refused)
    }
}

pub(super) fn plan(cx: &NodeContext<'_>, reduction: Reduction) -> Result<Kernel> {
    let axes = Axes::new(cx)?;
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => {
            let reduce = Reduce::new(axes.shape, &axes.axes).map_err(refused)?;
            let scratch_len = reduce.scratch_len();
            let kernel = Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
                let (inputs, y, scratch) = io.split_scratch::<f32>();
                reduce.forward_shared(context, reduction, inputs.get(0), y, &mut scratch.as_mut_slice()[..scratch_len]);
                Ok(())
            });
            Ok(kernel.with_scratch(scratch_len.saturating_mul(size_of::<f32>())))
        }
        (DType::I8, DType::I8) => plan_quantized::<i8>(cx, reduction, &axes),
        (DType::U8, DType::U8) => plan_quantized::<u8>(cx, reduction, &axes),
        (DType::I16, DType::I16) => plan_quantized::<i16>(cx, reduction, &axes),
        (DType::I32, DType::I32) => plan_integer::<i32>(cx, reduction, axes.fold()?, |sum| sum as i32),
        (DType::I64, DType::I64) => plan_integer::<i64>(cx, reduction, axes.fold()?, |sum| sum),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_quantized<T: Quantized>(cx: &NodeContext<'_>, reduction: Reduction, axes: &Axes<'_>) -> Result<Kernel> {
    let (shape, numerics) = (axes.shape, cx.numerics());
    let (input, output) = (quant_params(cx.input(0)?)?, quant_params(cx.output()?)?);
    let name = cx.kernel_name(cx.output()?.dtype);
    let sum = match reduction {
        Reduction::Mean => QuantizedMean::<T>::new(shape, &axes.axes, input, output, numerics),
        Reduction::Sum => QuantizedMean::<T>::sum(shape, &axes.axes, input, output, numerics),
        Reduction::Max | Reduction::Min => {
            let largest = reduction == Reduction::Max;
            let extremum = QuantizedExtremum::<T>::new(shape, &axes.axes, input, output, largest).map_err(refused)?;
            return Ok(Kernel::new(name, move |context, mut io| {
                let (inputs, y) = io.split();
                extremum.run(context, inputs.get(0), y);
                Ok(())
            }));
        }
    };
    let sum = sum.map_err(refused)?;
    let bytes = sum.scratch_bytes();
    let kernel = Kernel::new(name, move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        sum.run(context, inputs.get(0), y, &mut scratch.as_mut_slice()[..bytes]);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes))
}

/// Plain integers. A mean is the 64-bit sum divided towards 0.
fn plan_integer<T: Pod + Ord + Send + Into<i64>>(
    cx: &NodeContext<'_>,
    reduction: Reduction,
    fold: Fold,
    narrow: fn(i64) -> T,
) -> Result<Kernel> {
    let [_, len] = fold.lens();
    let count = match reduction {
        Reduction::Mean => i64::try_from(fold.count().max(1)).unwrap_or(i64::MAX),
        _ => 1,
    };
    let (first, step): (i64, fn(i64, i64) -> i64) = match reduction {
        Reduction::Sum | Reduction::Mean => (0, i64::wrapping_add),
        // Of nothing they are the ends of the type.
        Reduction::Max => (if size_of::<T>() == 4 { i32::MIN.into() } else { i64::MIN }, i64::max),
        Reduction::Min => (if size_of::<T>() == 4 { i32::MAX.into() } else { i64::MAX }, i64::min),
    };
    let kernel = Kernel::new(cx.kernel_name(cx.output()?.dtype), move |_, mut io| {
        let (inputs, y, scratch) = io.split_scratch::<T>();
        let results = &mut scratch.as_mut_slice::<i64>()[..len];
        fold.run(inputs.get::<T>(0), results, first, |result, x: T| step(result, x.into()));
        y.iter_mut().zip(&*results).for_each(|(y, &result)| *y = narrow(result.wrapping_div(count)));
        Ok(())
    });
    Ok(kernel.with_scratch(len.saturating_mul(size_of::<i64>())))
}

pub(super) fn plan_product(cx: &NodeContext<'_>) -> Result<Kernel> {
    let axes = Axes::new(cx)?;
    let name = cx.kernel_name(cx.output()?.dtype);
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => folded(name, axes.fold()?, 1.0_f32, |product, x| product * x),
        (DType::I32, DType::I32) => folded(name, axes.fold()?, 1_i32, i32::wrapping_mul),
        (DType::I64, DType::I64) => folded(name, axes.fold()?, 1_i64, i64::wrapping_mul),
        (DType::I8, DType::I8) => quantized_product::<i8>(cx, &axes),
        (DType::I16, DType::I16) => quantized_product::<i16>(cx, &axes),
        _ => Err(cx.no_kernel()),
    }
}

fn quantized_product<T: Quantized>(cx: &NodeContext<'_>, axes: &Axes<'_>) -> Result<Kernel> {
    let (input, output) = (quant_params(cx.input(0)?)?, quant_params(cx.output()?)?);
    let product = QuantizedProduct::<T>::new(axes.shape, &axes.axes, input, output).map_err(refused)?;
    let bytes = product.scratch_bytes();
    let kernel = Kernel::new(cx.kernel_name(cx.output()?.dtype), move |_, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        product.run(inputs.get(0), y, &mut scratch.as_mut_slice()[..bytes]);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes))
}

fn folded<T: Pod + Send>(name: String, fold: Fold, first: T, step: fn(T, T) -> T) -> Result<Kernel> {
    Ok(Kernel::new(name, move |_, mut io| {
        let (inputs, y) = io.split::<T>();
        fold.run(inputs.get::<T>(0), y, first, step);
        Ok(())
    }))
}

/// REDUCE_ANY and REDUCE_ALL. Booleans are bytes of 0 and 1.
pub(super) fn plan_truth(cx: &NodeContext<'_>) -> Result<Kernel> {
    if (cx.input(0)?.dtype, cx.output()?.dtype) != (DType::Bool, DType::Bool) {
        return Err(cx.no_kernel());
    }
    let fold = Axes::new(cx)?.fold()?;
    let name = cx.kernel_name(DType::Bool);
    if matches!(cx.node.op, Op::ReduceAny(_)) {
        folded(name, fold, 0_u8, |any, x| any | u8::from(x != 0))
    } else {
        folded(name, fold, 1_u8, |all, x| all & u8::from(x != 0))
    }
}

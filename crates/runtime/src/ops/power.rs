//! POW, ATAN2, FLOOR_DIV, FLOOR_MOD: float, and integers, which are taken as they are, quantized or not.

use bytemuck::Pod;
use litesmith_graph::{DType, Error, Result};
use litesmith_kernels::broadcast::Broadcast;
use litesmith_kernels::integer::{self, Integer};
use litesmith_kernels::{Context, power};

use super::binary::check_divisors;
use super::{NodeContext, refused};
use crate::kernel::Kernel;

type Function<T> = fn(Context<'_>, &Broadcast, &[T], &[T], &mut [T]);

/// The element type of both operands and the result.
fn dtype(cx: &NodeContext<'_>) -> Result<DType> {
    let (a, b, y) = (cx.input(0)?.dtype, cx.input(1)?.dtype, cx.output()?.dtype);
    if a == b && a == y { Ok(a) } else { Err(cx.no_kernel()) }
}

/// A kernel that checks the second operand, then computes.
fn kernel<T: Pod>(
    cx: &NodeContext<'_>,
    function: Function<T>,
    check: impl Fn(&[T]) -> Result<()> + Send + 'static,
) -> Result<Kernel> {
    let plan = Broadcast::new(&cx.input(0)?.shape, &cx.input(1)?.shape).map_err(refused)?;
    Ok(Kernel::new(cx.scalar_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split::<T>();
        check(inputs.get(1))?;
        function(context, &plan, inputs.get(0), inputs.get(1), y);
        Ok(())
    }))
}

pub(super) fn plan_pow(cx: &NodeContext<'_>) -> Result<Kernel> {
    match dtype(cx)? {
        DType::F32 => kernel(cx, power::pow, |_| Ok(())),
        DType::I32 => kernel(cx, integer::pow, |exponents| match exponents.iter().position(|&b| b < 0) {
            None => Ok(()),
            Some(at) => Err(Error::invalid("", format!("element {at} of the integer exponent is negative"))),
        }),
        _ => Err(cx.no_kernel()),
    }
}

pub(super) fn plan_atan2(cx: &NodeContext<'_>) -> Result<Kernel> {
    match dtype(cx)? {
        DType::F32 => kernel(cx, power::atan2, |_| Ok(())),
        _ => Err(cx.no_kernel()),
    }
}

pub(super) fn plan_floor_div(cx: &NodeContext<'_>) -> Result<Kernel> {
    match dtype(cx)? {
        DType::F32 => kernel(cx, power::floor_div, |divisors| check_divisors(divisors, 0.0)),
        DType::I8 => kernel(cx, integer::floor_div::<i8>, not_zero),
        DType::I16 => kernel(cx, integer::floor_div::<i16>, not_zero),
        DType::I32 => kernel(cx, integer::floor_div::<i32>, not_zero),
        _ => Err(cx.no_kernel()),
    }
}

pub(super) fn plan_floor_mod(cx: &NodeContext<'_>) -> Result<Kernel> {
    match dtype(cx)? {
        DType::F32 => kernel(cx, power::floor_mod, |_| Ok(())),
        DType::I8 => kernel(cx, integer::floor_mod::<i8>, not_zero),
        DType::I16 => kernel(cx, integer::floor_mod::<i16>, not_zero),
        DType::I32 => kernel(cx, integer::floor_mod::<i32>, not_zero),
        DType::I64 => kernel(cx, integer::floor_mod::<i64>, not_zero),
        _ => Err(cx.no_kernel()),
    }
}

fn not_zero<T: Integer>(divisors: &[T]) -> Result<()> {
    check_divisors(divisors, T::ZERO)
}

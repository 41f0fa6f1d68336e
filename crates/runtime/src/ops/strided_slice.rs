//! STRIDED_SLICE.

use bytemuck::Pod;
use litesmith_graph::{Error, Result, ops::StridedSlice};
use litesmith_kernels::strided_slice::{View, copy};

use super::{NodeContext, same_quantization};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &StridedSlice) -> Result<Kernel> {
    let (input, output) = (cx.input(0)?, cx.output()?);
    if input.dtype != output.dtype {
        return Err(cx.no_kernel());
    }
    same_quantization(input, output)?;
    match input.dtype.bits() {
        8 => plan_typed::<u8>(cx, op),
        16 => plan_typed::<u16>(cx, op),
        32 => plan_typed::<u32>(cx, op),
        64 => plan_typed::<u64>(cx, op),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_typed<T: Pod>(cx: &NodeContext<'_>, op: &StridedSlice) -> Result<Kernel> {
    let (input, output) = (cx.input(0)?, cx.output()?);
    let (begin, end, strides) = (cx.integers(1, "begin")?, cx.integers(2, "end")?, cx.integers(3, "strides")?);
    let axes = op.resolve(&input.shape, &begin, &end, &strides)?;
    let counts: Vec<_> = axes.iter().map(|axis| axis.count).collect();
    let mut from = View::dense(&input.shape);
    for (index, axis) in axes.iter().enumerate() {
        from = from.offset(index, usize::try_from(axis.begin).unwrap_or(0));
        from.strides[index] = from.strides[index].saturating_mul(isize::try_from(axis.stride).unwrap_or(isize::MAX));
    }
    let to = View::dense(&counts);
    if !from.fits(&counts, input.elements()?) || !to.fits(&counts, output.elements()?) {
        return Err(Error::malformed("", format!("the slice reaches outside {:?}", input.shape)));
    }
    Ok(Kernel::new(cx.copy_name(), move |_, mut io| {
        let (inputs, y) = io.split::<T>();
        copy(&counts, &from, inputs.get(0), &to, y);
        Ok(())
    }))
}

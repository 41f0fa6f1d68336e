//! STRIDED_SLICE.

use bytemuck::Pod;
use litesmith_graph::{Error, Result, ops::StridedSlice};
use litesmith_kernels::Context;
use litesmith_kernels::strided_slice::{View, copy};

use super::NodeContext;
use crate::kernel::{Io, Kernel};

pub(super) fn plan(cx: &NodeContext<'_>, op: &StridedSlice) -> Result<Box<dyn Kernel>> {
    let (input, output) = (cx.input(0)?, cx.output()?);
    if input.dtype != output.dtype {
        return Err(cx.no_kernel());
    }
    let axes = op.resolve(
        &input.shape,
        &cx.integers(1, "begin")?,
        &cx.integers(2, "end")?,
        &cx.integers(3, "strides")?,
    )?;
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
    let slice = Slice { counts, from, to };
    match input.dtype.bits() {
        8 => Ok(Box::new(Typed::<u8>(slice, std::marker::PhantomData))),
        16 => Ok(Box::new(Typed::<u16>(slice, std::marker::PhantomData))),
        32 => Ok(Box::new(Typed::<u32>(slice, std::marker::PhantomData))),
        64 => Ok(Box::new(Typed::<u64>(slice, std::marker::PhantomData))),
        _ => Err(cx.no_kernel()),
    }
}

struct Slice {
    counts: Vec<usize>,
    from: View,
    to: View,
}

struct Typed<T>(Slice, std::marker::PhantomData<T>);

impl<T: Pod + Send> Kernel for Typed<T> {
    fn run(&self, _: Context<'_>, mut io: Io<'_>) -> Result<()> {
        let (inputs, y) = io.split::<T>();
        copy(&self.0.counts, &self.0.from, inputs.get(0), &self.0.to, y);
        Ok(())
    }

    fn name(&self) -> String {
        "strided_slice/copy".into()
    }
}

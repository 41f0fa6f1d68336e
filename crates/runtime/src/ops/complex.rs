//! RFFT2D, REAL, IMAG, COMPLEX_ABS.

use litesmith_graph::ops::{Inputs, Rfft2d as Rfft2dOp};
use litesmith_graph::{DType, Result};
pub(super) use litesmith_kernels::fft::Complex64;
use litesmith_kernels::fft::{Point, Rfft2d, part_of};

use super::{NodeContext, refused};
use crate::kernel::Kernel;

pub(super) fn plan_rfft2d(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (input, output) = (cx.input(0)?, cx.output()?);
    let (&[.., rows, columns], (DType::F32, DType::Complex64)) = (&input.shape[..], (input.dtype, output.dtype)) else {
        return Err(cx.no_kernel());
    };
    let lengths = Rfft2dOp::lengths(&Inputs::new(&cx.node.op, cx.graph.node_tensors(&cx.node.inputs)))?;
    let fft = Rfft2d::new([rows, columns], lengths).map_err(refused)?;
    let points = fft.scratch_len(cx.options.threads);
    let kernel = Kernel::new(cx.avx2_name(DType::F32), move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch::<Complex64>();
        fft.run(context, inputs.get(0), y, &mut scratch.as_mut_slice::<Point>()[..points]);
        Ok(())
    });
    Ok(kernel.with_scratch(points.saturating_mul(size_of::<Point>())))
}

/// REAL, IMAG or COMPLEX_ABS.
pub(super) fn plan_part(cx: &NodeContext<'_>, part: fn(Complex64) -> f32) -> Result<Kernel> {
    let (DType::Complex64, DType::F32) = (cx.input(0)?.dtype, cx.output()?.dtype) else {
        return Err(cx.no_kernel());
    };
    Ok(Kernel::new(cx.scalar_name(DType::F32), move |context, mut io| {
        let (inputs, y) = io.split();
        part_of(context, inputs.get(0), y, part);
        Ok(())
    }))
}

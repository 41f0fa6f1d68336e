//! BATCH_MATMUL.

use litesmith_graph::{DType, Quantization, Result, ops::Activation, ops::BatchMatmul};
use litesmith_kernels::batch_matmul::hybrid::HybridBatchMatmul;
use litesmith_kernels::batch_matmul::quantized::{IntegerBatchMatmul, QuantizedBatchMatmul};
use litesmith_kernels::batch_matmul::{BatchMatmulGeometry, float};
use litesmith_kernels::hybrid::HybridSpec;
use litesmith_kernels::numerics::{QuantParams, Quantized};

use super::weights::{Operands, made, plan_hybrid};
use super::{NodeContext, quant_params, refused};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &BatchMatmul) -> Result<Kernel> {
    let geometry = geometry(cx, op)?;
    match (cx.input(0)?.dtype, cx.input(1)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32, DType::F32) => plan_float(cx, geometry),
        (DType::F32, DType::I8, DType::F32) => hybrid(cx, op, geometry),
        (DType::I8, DType::I8, DType::I8) => integer::<i8, i8>(cx, op, geometry),
        (DType::I16, DType::I16, DType::I16) => integer::<i16, i16>(cx, op, geometry),
        (DType::I16, DType::I8, DType::I16) => integer::<i16, i8>(cx, op, geometry),
        (DType::I8, DType::I8, DType::I32) => plain(cx, geometry),
        _ => Err(cx.no_kernel()),
    }
}

fn geometry(cx: &NodeContext<'_>, op: &BatchMatmul) -> Result<BatchMatmulGeometry> {
    let (left, right) = (&cx.input(0)?.shape, &cx.input(1)?.shape);
    let sizes = op.sizes(left, right)?;
    let rank = sizes.batch.len();
    let batch = |shape: &[usize]| {
        let outer = &shape[..shape.len() - 2];
        let mut batch = vec![1; rank - outer.len()];
        batch.extend_from_slice(outer);
        batch
    };
    Ok(BatchMatmulGeometry {
        left_batch: batch(left),
        right_batch: batch(right),
        m: sizes.m,
        k: sizes.k,
        n: sizes.n,
        left_transposed: op.adj_x,
        right_transposed: op.adj_y,
    })
}

fn plan_float(cx: &NodeContext<'_>, geometry: BatchMatmulGeometry) -> Result<Kernel> {
    let right = cx.input(1)?.data.as_ref().map(|data| data.elements()).transpose()?;
    let product = float::BatchMatmul::new(geometry, right, cx.isa).map_err(refused)?;
    let len = product.scratch_len();
    let kernel = Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        product.run(context, inputs.get(0), inputs.get(1), y, &mut scratch.as_mut_slice()[..len]);
        Ok(())
    });
    Ok(kernel.with_scratch(len * size_of::<f32>()))
}

fn hybrid(cx: &NodeContext<'_>, op: &BatchMatmul, geometry: BatchMatmulGeometry) -> Result<Kernel> {
    let right = cx.input(1)?;
    // Input 2 does not exist: no bias. Scales belong to the columns of the right matrices.
    let axis = right.shape.len() - if op.adj_y { 2 } else { 1 };
    let operands = Operands { input: 0, weights: 1, bias: 2, axis };
    let asymmetric = op.asymmetric_quantize_inputs;
    let make = Box::new(move |spec: &HybridSpec<'_>| made(HybridBatchMatmul::new(geometry.clone(), spec)));
    plan_hybrid(cx, operands, Activation::None, asymmetric, make)
}

fn integer<A: Quantized, B: Quantized>(
    cx: &NodeContext<'_>,
    op: &BatchMatmul,
    geometry: BatchMatmulGeometry,
) -> Result<Kernel> {
    let left = quant_params(cx.input(0)?)?;
    let right = right_params(cx, op)?;
    let output = quant_params(cx.output()?)?;
    let product = QuantizedBatchMatmul::<A, B>::new(geometry, left, &right, output, cx.numerics()).map_err(refused)?;
    let bytes = product.scratch_bytes();
    let kernel = Kernel::new(cx.kernel_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        product.run(context, inputs.get(0), inputs.get(1), y, &mut scratch.as_mut_slice()[..bytes]);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes))
}

/// The quantization of the right operand: one, or one for each of its columns.
fn right_params(cx: &NodeContext<'_>, op: &BatchMatmul) -> Result<Vec<QuantParams>> {
    let right = cx.input(1)?;
    let columns = right.shape.len() - if op.adj_y { 2 } else { 1 };
    match &right.quantization {
        Some(Quantization { scales, zero_points, axis, block_size: None })
            if scales.len() > 1 && *axis == columns && zero_points.iter().all(|&point| point == 0) =>
        {
            let one = |&scale: &f32| QuantParams { scale, zero_point: 0 };
            Ok(scales.iter().map(one).collect())
        }
        _ => Ok(vec![quant_params(right)?]),
    }
}

fn plain(cx: &NodeContext<'_>, geometry: BatchMatmulGeometry) -> Result<Kernel> {
    let product = IntegerBatchMatmul::new(geometry).map_err(refused)?;
    let bytes = product.scratch_bytes();
    let kernel = Kernel::new(cx.kernel_name(DType::I32), move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        product.run(context, inputs.get(0), inputs.get(1), y, &mut scratch.as_mut_slice()[..bytes]);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes))
}

//! FULLY_CONNECTED.

use litesmith_graph::{DType, Error, Result, ops::FullyConnected};
use litesmith_kernels::fully_connected::hybrid::HybridFullyConnected;
use litesmith_kernels::fully_connected::quantized::QuantizedFullyConnected;
use litesmith_kernels::fully_connected::{FullyConnectedGeometry, float};
use litesmith_kernels::numerics::Quantized;

use super::conv_2d::{hybrid_spec, integer_spec};
use super::{NodeContext, fused_activation, refused};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &FullyConnected) -> Result<Kernel> {
    let geometry = geometry(cx)?;
    match (cx.input(0)?.dtype, cx.input(1)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32, DType::F32) => plan_float(cx, op, geometry),
        (DType::F32, DType::I8, DType::F32) => plan_hybrid(cx, op, geometry),
        (DType::I8, DType::I8, DType::I8) => plan_integer::<i8>(cx, op, geometry),
        (DType::U8, DType::U8, DType::U8) => plan_integer::<u8>(cx, op, geometry),
        (DType::I16, DType::I8, DType::I16) => plan_integer::<i16>(cx, op, geometry),
        _ => Err(cx.no_kernel()),
    }
}

fn geometry(cx: &NodeContext<'_>) -> Result<FullyConnectedGeometry> {
    let [out_features, in_features] = cx.input(1)?.shape[..] else {
        return Err(Error::malformed("", format!("weights of shape {:?}, expected rank 2", cx.input(1)?.shape)));
    };
    Ok(FullyConnectedGeometry { batch: cx.input(0)?.elements()? / in_features.max(1), in_features, out_features })
}

fn plan_float(cx: &NodeContext<'_>, op: &FullyConnected, geometry: FullyConnectedGeometry) -> Result<Kernel> {
    // First, as it bounds the sizes of the plan by those of the file.
    let weights = cx.constant::<f32>(1, "weights")?;
    let dense = float::FullyConnected::new(geometry, cx.isa).map_err(refused)?;
    let mut packed = Vec::new();
    dense.pack(weights, &mut packed);
    let bias = cx.optional_constant::<f32>(2, "bias")?.map(<[f32]>::to_vec);
    let activation = fused_activation(op.activation)?;
    Ok(Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
        let (inputs, y) = io.split();
        dense.forward(context.pool, &packed, bias.as_deref(), activation, inputs.get(0), y);
        Ok(())
    }))
}

fn plan_integer<T: Quantized>(
    cx: &NodeContext<'_>,
    op: &FullyConnected,
    geometry: FullyConnectedGeometry,
) -> Result<Kernel> {
    let spec = integer_spec::<T>(cx, op.activation)?;
    let dense = QuantizedFullyConnected::<T>::new(geometry, &spec).map_err(refused)?;
    let bytes = dense.scratch_bytes();
    let kernel = Kernel::new(cx.kernel_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        dense.run(context, inputs.get(0), y, &mut scratch.as_mut_slice()[..bytes]);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes))
}

fn plan_hybrid(cx: &NodeContext<'_>, op: &FullyConnected, geometry: FullyConnectedGeometry) -> Result<Kernel> {
    let spec = hybrid_spec(cx, op.activation, op.asymmetric_quantize_inputs)?;
    let dense = HybridFullyConnected::new(geometry, &spec).map_err(refused)?;
    let bytes = dense.scratch_bytes();
    let kernel = Kernel::new(cx.hybrid_name(), move |context, mut io| {
        let (inputs, y, scratch) = io.split_scratch();
        dense.run(context, inputs.get(0), y, &mut scratch.as_mut_slice()[..bytes]);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes))
}

//! FULLY_CONNECTED.

use litesmith_graph::{DType, Error, Result, ops::FullyConnected};
use litesmith_kernels::conv_2d::quantized::QuantizedSpec;
use litesmith_kernels::fully_connected::blockwise::{BlockwiseFullyConnected, BlockwiseSpec};
use litesmith_kernels::fully_connected::hybrid::HybridFullyConnected;
use litesmith_kernels::fully_connected::quantized::QuantizedFullyConnected;
use litesmith_kernels::fully_connected::wide::WideFullyConnected;
use litesmith_kernels::fully_connected::{FullyConnectedGeometry, float};
use litesmith_kernels::hybrid::HybridSpec;
use litesmith_kernels::numerics::Quantized;

use super::weights::{self, FloatBias, FloatWeights, Operands, check_size, made, plan_hybrid, plan_integer, plan_wide};
use super::{NodeContext, fused_activation, refused};
use crate::kernel::{FusedActivation, Kernel};

pub(super) fn plan(cx: &NodeContext<'_>, op: &FullyConnected) -> Result<Kernel> {
    let geometry = geometry(cx)?;
    match (cx.input(0)?.dtype, cx.input(1)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32, DType::F32) => plan_float(cx, op, geometry),
        (DType::F32, DType::I4, DType::F32) if weights::block_size(cx, 1)?.is_some() => {
            plan_blockwise(cx, op, geometry)
        }
        (DType::F32, DType::I8 | DType::U8 | DType::I4 | DType::I2, DType::F32) => {
            let make = Box::new(move |spec: &HybridSpec<'_>| made(HybridFullyConnected::new(geometry, spec)));
            plan_hybrid(cx, Operands::of(&cx.node.op), op.activation, op.asymmetric_quantize_inputs, make)
        }
        (DType::I8, DType::I8 | DType::I4 | DType::I2, DType::I8) => integer::<i8>(cx, op, geometry),
        (DType::U8, DType::U8, DType::U8) => integer::<u8>(cx, op, geometry),
        (DType::I16, DType::I8 | DType::I4 | DType::I2, DType::I16) => integer::<i16>(cx, op, geometry),
        (DType::I16, DType::I16, DType::I16) => {
            let make = move |input, scales: &[f32], output, activation| {
                WideFullyConnected::new(geometry, input, scales, output, activation)
            };
            plan_wide(cx, Operands::of(&cx.node.op), op.activation, make)
        }
        _ => Err(cx.no_kernel()),
    }
}

fn integer<T: Quantized>(
    cx: &NodeContext<'_>,
    op: &FullyConnected,
    geometry: FullyConnectedGeometry,
) -> Result<Kernel> {
    let make = Box::new(move |spec: &QuantizedSpec<'_>| made(QuantizedFullyConnected::<T>::new(geometry, spec)));
    plan_integer(cx, Operands::of(&cx.node.op), op.activation, make)
}

fn plan_blockwise(cx: &NodeContext<'_>, op: &FullyConnected, geometry: FullyConnectedGeometry) -> Result<Kernel> {
    let make = move |spec: &BlockwiseSpec<'_>| made(BlockwiseFullyConnected::new(geometry, spec));
    weights::plan_blockwise(cx, Operands::of(&cx.node.op), op.activation, make)
}

fn geometry(cx: &NodeContext<'_>) -> Result<FullyConnectedGeometry> {
    let [out_features, in_features] = cx.input(1)?.shape[..] else {
        return Err(Error::malformed("", format!("weights of shape {:?}, expected rank 2", cx.input(1)?.shape)));
    };
    Ok(FullyConnectedGeometry { batch: cx.input(0)?.elements()? / in_features.max(1), in_features, out_features })
}

fn plan_float(cx: &NodeContext<'_>, op: &FullyConnected, geometry: FullyConnectedGeometry) -> Result<Kernel> {
    // First, as it bounds the sizes of the plan.
    check_size(cx, 1)?;
    let dense = float::FullyConnected::new(geometry, cx.isa).map_err(refused)?;
    let weights = FloatWeights::new(cx, 1, |weights, packed| dense.pack(weights, packed))?;
    let bias = FloatBias::new(cx, 2)?;
    let fused = FusedActivation::new(fused_activation(op.activation)?);
    let applied = fused.clone();
    let kernel = Kernel::new(cx.kernel_name(DType::F32), move |context, mut io| {
        let (inputs, y) = io.split();
        let pack = |weights: &[f32], packed: &mut Vec<f32>| dense.pack(weights, packed);
        weights.with(inputs, pack, |packed| {
            dense.forward(context.pool, packed, bias.get(inputs), applied.get(), inputs.get(0), y);
        });
        Ok(())
    });
    Ok(kernel.with_fused(&fused))
}

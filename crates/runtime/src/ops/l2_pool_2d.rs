//! L2_POOL_2D.

use litesmith_graph::{DType, Result, ops::L2Pool2d};
use litesmith_kernels::average_pool_2d::float::AveragePool2d;
use litesmith_kernels::pool_2d::Pool2dGeometry;

use super::{NodeContext, fused_activation, image_shape, refused, window};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &L2Pool2d) -> Result<Kernel> {
    if (cx.input(0)?.dtype, cx.output()?.dtype) != (DType::F32, DType::F32) {
        return Err(cx.no_kernel());
    }
    let [batch, height, width, channels] = image_shape(cx.input(0)?)?;
    let geometry = Pool2dGeometry {
        batch,
        height: window("L2_POOL_2D", op.padding, height, op.filter_height, op.stride_height, 1)?,
        width: window("L2_POOL_2D", op.padding, width, op.filter_width, op.stride_width, 1)?,
        channels,
    };
    let pool = AveragePool2d::new(geometry, cx.isa).map_err(refused)?;
    let activation = fused_activation(op.activation)?;
    Ok(Kernel::new(cx.avx2_name(DType::F32), move |context, mut io| {
        let (inputs, y) = io.split::<f32>();
        pool.forward_l2(context.pool, activation, inputs.get(0), y);
        Ok(())
    }))
}

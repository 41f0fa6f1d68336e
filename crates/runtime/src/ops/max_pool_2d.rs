//! MAX_POOL_2D.

use litesmith_graph::{DType, Result, ops::MaxPool2d};
use litesmith_kernels::max_pool_2d::float;
use litesmith_kernels::{Activation, Context, pool_2d::Pool2dGeometry};

use super::{NodeContext, float_activation, image_shape, refused, window};
use crate::kernel::{Io, Kernel};

pub(super) fn plan(cx: &NodeContext<'_>, op: &MaxPool2d) -> Result<Box<dyn Kernel>> {
    let [batch, height, width, channels] = image_shape(cx.input(0)?)?;
    let geometry = Pool2dGeometry {
        batch,
        height: window("MAX_POOL_2D", op.padding, height, op.filter_height, op.stride_height, 1)?,
        width: window("MAX_POOL_2D", op.padding, width, op.filter_width, op.stride_width, 1)?,
        channels,
    };
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32) => Ok(Box::new(FloatPool {
            pool: float::MaxPool2d::new(geometry, cx.isa).map_err(refused)?,
            activation: float_activation(op.activation)?,
            name: cx.kernel_name(DType::F32, &cx.isa.to_string()),
        })),
        _ => Err(cx.no_kernel()),
    }
}

struct FloatPool {
    pool: float::MaxPool2d,
    activation: Activation,
    name: String,
}

impl Kernel for FloatPool {
    fn run(&self, context: Context<'_>, mut io: Io<'_>) -> Result<()> {
        let (inputs, y) = io.split::<f32>();
        self.pool.forward(context.pool, self.activation, inputs.get(0), y);
        Ok(())
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

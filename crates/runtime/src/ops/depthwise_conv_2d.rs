//! DEPTHWISE_CONV_2D.

use litesmith_graph::{DType, Result, ops::DepthwiseConv2d};
use litesmith_kernels::depthwise_conv_2d::{DepthwiseConv2dGeometry, float};
use litesmith_kernels::{Activation, Context};

use super::{NodeContext, float_activation, image_shape, refused, window};
use crate::kernel::{Io, Kernel};

pub(super) fn plan(cx: &NodeContext<'_>, op: &DepthwiseConv2d) -> Result<Box<dyn Kernel>> {
    let geometry = geometry(cx, op)?;
    match (cx.input(0)?.dtype, cx.input(1)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32, DType::F32) => Ok(Box::new(FloatDepthwiseConv2d {
            conv: float::DepthwiseConv2d::new(geometry, cx.isa).map_err(refused)?,
            weights: cx.constant::<f32>(1, "filter")?.to_vec(),
            bias: cx.optional_constant(2, "bias")?.map(<[f32]>::to_vec),
            activation: float_activation(op.activation)?,
            name: cx.kernel_name(DType::F32, &cx.isa.to_string()),
        })),
        _ => Err(cx.no_kernel()),
    }
}

fn geometry(cx: &NodeContext<'_>, op: &DepthwiseConv2d) -> Result<DepthwiseConv2dGeometry> {
    let [batch, height, width, in_channels] = image_shape(cx.input(0)?)?;
    let [_, kernel_height, kernel_width, out_channels] = image_shape(cx.input(1)?)?;
    let name = "DEPTHWISE_CONV_2D";
    Ok(DepthwiseConv2dGeometry {
        batch,
        height: window(name, op.padding, height, kernel_height, op.stride_height, op.dilation_height)?,
        width: window(name, op.padding, width, kernel_width, op.stride_width, op.dilation_width)?,
        in_channels,
        multiplier: out_channels / in_channels,
    })
}

struct FloatDepthwiseConv2d {
    conv: float::DepthwiseConv2d,
    weights: Vec<f32>,
    bias: Option<Vec<f32>>,
    activation: Activation,
    name: String,
}

impl Kernel for FloatDepthwiseConv2d {
    fn run(&self, context: Context<'_>, mut io: Io<'_>) -> Result<()> {
        let (inputs, y) = io.split();
        let bias = self.bias.as_deref();
        self.conv.forward(context.pool, &self.weights, bias, self.activation, inputs.get(0), y);
        Ok(())
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

//! CONV_2D.

use std::ops::Range;
use std::sync::Arc;

use litesmith_graph::{DType, Result, ops::Conv2d};
use litesmith_kernels::Context;
use litesmith_kernels::conv_2d::hybrid::HybridConv2d;
use litesmith_kernels::conv_2d::quantized::{QuantizedConv2d, QuantizedSpec};
use litesmith_kernels::conv_2d::{Conv2dGeometry, float};
use litesmith_kernels::hybrid::HybridSpec;
use litesmith_kernels::numerics::Quantized;

use super::weights::{FloatBias, FloatWeights, Operands, check_size, made, plan_hybrid, plan_integer};
use super::{NodeContext, fused_activation, image_shape, refused, window};
use crate::kernel::{FusedActivation, Inputs, Kernel, Part};
use crate::rows::{Rows, Span};

pub(super) fn plan(cx: &NodeContext<'_>, op: &Conv2d) -> Result<Kernel> {
    let geometry = geometry(cx, op)?;
    match (cx.input(0)?.dtype, cx.input(1)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32, DType::F32) => plan_float(cx, op, geometry),
        (DType::F32, DType::I8 | DType::U8 | DType::I4, DType::F32) => {
            let make = Box::new(move |spec: &HybridSpec<'_>| made(HybridConv2d::new(geometry, spec)));
            plan_hybrid(cx, Operands::of(&cx.node.op), op.activation, true, make)
        }
        (DType::I8, DType::I8 | DType::I4, DType::I8) => integer::<i8>(cx, op, geometry),
        (DType::U8, DType::U8, DType::U8) => integer::<u8>(cx, op, geometry),
        (DType::I16, DType::I8 | DType::I4, DType::I16) => integer::<i16>(cx, op, geometry),
        _ => Err(cx.no_kernel()),
    }
}

fn integer<T: Quantized>(cx: &NodeContext<'_>, op: &Conv2d, geometry: Conv2dGeometry) -> Result<Kernel> {
    let make = Box::new(move |spec: &QuantizedSpec<'_>| made(QuantizedConv2d::<T>::new(geometry, spec)));
    plan_integer(cx, Operands::of(&cx.node.op), op.activation, make)
}

fn geometry(cx: &NodeContext<'_>, op: &Conv2d) -> Result<Conv2dGeometry> {
    let [batch, height, width, in_channels] = image_shape(cx.input(0)?)?;
    let [out_channels, kernel_height, kernel_width, group_channels] = image_shape(cx.input(1)?)?;
    let name = "CONV_2D";
    Ok(Conv2dGeometry {
        batch,
        height: window(name, op.padding, height, kernel_height, op.stride_height, op.dilation_height)?,
        width: window(name, op.padding, width, kernel_width, op.stride_width, op.dilation_width)?,
        in_channels,
        out_channels,
        groups: in_channels.checked_div(group_channels).unwrap_or(1),
    })
}

fn plan_float(cx: &NodeContext<'_>, op: &Conv2d, geometry: Conv2dGeometry) -> Result<Kernel> {
    // First, as it bounds the sizes of the plan.
    check_size(cx, 1)?;
    let conv = float::Conv2d::new(geometry, cx.isa).map_err(refused)?;
    let weights = FloatWeights::new(cx, 1, |weights, packed| conv.pack(weights, packed))?;
    let (bias, fused) = (FloatBias::new(cx, 2)?, FusedActivation::new(fused_activation(op.activation)?));
    let (name, scratch_len) = (conv.name(), conv.forward_scratch_len(cx.options.threads));
    let conv = Arc::new(FloatConv { conv, weights, bias, fused: fused.clone() });
    let part = conv.has_rows().then(|| Part::Rows(Arc::clone(&conv) as Arc<dyn Rows>));
    let kernel = Kernel::new(name, move |context, mut io| {
        let FloatConv { conv, weights, bias, fused } = &*conv;
        let (inputs, y, scratch) = io.split_scratch();
        let scratch = &mut scratch.as_mut_slice()[..scratch_len];
        let pack = |weights: &[f32], packed: &mut Vec<f32>| conv.pack(weights, packed);
        weights.with(inputs, pack, |packed| {
            conv.forward(context.pool, packed, bias.get(inputs), fused.get(), inputs.get(0), y, scratch);
        });
        Ok(())
    });
    Ok(kernel.with_scratch(scratch_len * size_of::<f32>()).with_part(part.unwrap_or(Part::None)).with_fused(&fused))
}

struct FloatConv {
    conv: float::Conv2d,
    weights: FloatWeights,
    bias: FloatBias,
    fused: FusedActivation,
}

impl FloatConv {
    fn has_rows(&self) -> bool {
        self.conv.geometry().batch == 1 && self.weights.constant().is_some() && self.conv.has_rows(self.fused.get())
    }
}

impl Rows for FloatConv {
    fn span(&self) -> Span {
        let g = self.conv.geometry();
        Span { height: g.height, row_len: [g.width.input * g.in_channels, g.width.output * g.out_channels] }
    }

    fn is_light(&self) -> bool {
        false
    }

    fn splits_rows(&self, threads: usize) -> bool {
        self.conv.splits_rows(threads)
    }

    fn scratch_len(&self, rows: usize) -> usize {
        self.conv.rows_scratch_len(rows)
    }

    fn run(
        &self,
        _: Context<'_>,
        inputs: Inputs<'_>,
        x: &[f32],
        rows: Range<usize>,
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        let weights = self.weights.constant().unwrap_or_default();
        self.conv.forward_rows(weights, self.bias.get(inputs), self.fused.get(), x, rows, y, scratch);
    }
}

//! FULLY_CONNECTED.

use litesmith_graph::{DType, Error, Result, ops::FullyConnected};
use litesmith_kernels::fully_connected::quantized::QuantizedFullyConnected;
use litesmith_kernels::fully_connected::{FullyConnectedGeometry, float};
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::{Activation, Context};

use super::conv_2d::{integer_spec, scratch_bytes};
use super::{NodeContext, float_activation, refused};
use crate::kernel::{Io, Kernel};

pub(super) fn plan(cx: &NodeContext<'_>, op: &FullyConnected) -> Result<Box<dyn Kernel>> {
    let geometry = geometry(cx)?;
    match (cx.input(0)?.dtype, cx.input(1)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::F32, DType::F32) => plan_float(cx, op, geometry),
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

struct FloatFullyConnected {
    dense: float::FullyConnected,
    packed: Vec<f32>,
    bias: Option<Vec<f32>>,
    activation: Activation,
    name: String,
}

fn plan_float(
    cx: &NodeContext<'_>,
    op: &FullyConnected,
    geometry: FullyConnectedGeometry,
) -> Result<Box<dyn Kernel>> {
    let dense = float::FullyConnected::new(geometry, cx.isa).map_err(refused)?;
    let mut packed = Vec::new();
    dense.pack(cx.constant::<f32>(1, "weights")?, &mut packed);
    Ok(Box::new(FloatFullyConnected {
        dense,
        packed,
        bias: cx.optional_constant(2, "bias")?.map(<[f32]>::to_vec),
        activation: float_activation(op.activation)?,
        name: cx.kernel_name(DType::F32, &cx.isa.to_string()),
    }))
}

impl Kernel for FloatFullyConnected {
    fn run(&self, context: Context<'_>, mut io: Io<'_>) -> Result<()> {
        let (inputs, y) = io.split();
        let bias = self.bias.as_deref();
        self.dense.forward(context.pool, &self.packed, bias, self.activation, inputs.get(0), y);
        Ok(())
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

struct IntegerFullyConnected<T> {
    dense: QuantizedFullyConnected<T>,
    name: String,
}

fn plan_integer<T: Quantized>(
    cx: &NodeContext<'_>,
    op: &FullyConnected,
    geometry: FullyConnectedGeometry,
) -> Result<Box<dyn Kernel>> {
    let spec = integer_spec::<T>(cx, op.activation)?;
    let dense = QuantizedFullyConnected::<T>::new(geometry, &spec).map_err(refused)?;
    Ok(Box::new(IntegerFullyConnected { dense, name: cx.kernel_name(cx.output()?.dtype, &cx.isa.to_string()) }))
}

impl<T: Quantized> Kernel for IntegerFullyConnected<T> {
    fn run(&self, context: Context<'_>, mut io: Io<'_>) -> Result<()> {
        let (inputs, y, scratch) = io.split_scratch();
        self.dense.run(context, inputs.get(0), y, scratch_bytes(scratch, self.dense.scratch_bytes()));
        Ok(())
    }

    fn scratch_bytes(&self) -> usize {
        self.dense.scratch_bytes()
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

//! SVDF.

use litesmith_graph::ops::{Activation, Svdf as SvdfOp};
use litesmith_graph::{DType, Error, Result};
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::svdf::{QuantizedSvdf, QuantizedSvdfSpec, Svdf, SvdfGeometry};

use super::lstm::{float_weights, optional, scaled};
use super::{Element, NodeContext, fused_activation, quant_params, refused};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &SvdfOp) -> Result<Kernel> {
    let (&[batch, inputs], &[filters, memory]) = (&cx.input(0)?.shape[..], &cx.input(2)?.shape[..]) else {
        return Err(cx.no_kernel());
    };
    let geometry = SvdfGeometry { batch, inputs, filters, rank: op.rank, memory };
    let dtypes = [cx.input(0)?, cx.input(1)?, cx.input(2)?, cx.input(4)?, cx.output()?].map(|tensor| tensor.dtype);
    match dtypes {
        [DType::F32, _, _, DType::F32, DType::F32] => plan_float(cx, op, geometry),
        [DType::I8, DType::I8, DType::I16, DType::I16, DType::I8] => plan_quantized::<i16>(cx, op, geometry),
        [DType::I8, DType::I8, DType::I8, DType::I8, DType::I8] => plan_quantized::<i8>(cx, op, geometry),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_float(cx: &NodeContext<'_>, op: &SvdfOp, geometry: SvdfGeometry) -> Result<Kernel> {
    let (features, time) = (float_weights(cx, 1, "feature weights")?, float_weights(cx, 2, "time weights")?);
    let (bias, activation) = (optional(cx, 3, "bias")?, fused_activation(op.activation)?);
    let svdf = Svdf::new(geometry, features, time, bias, activation, op.asymmetric_quantize_inputs, cx.isa);
    let svdf = svdf.map_err(refused)?;
    let (bytes, tables) = (svdf.scratch_bytes(), svdf.packed_bytes());
    let name = if cx.input(1)?.dtype != DType::F32 { cx.hybrid_name() } else { cx.kernel_name(DType::F32) };
    let elements = geometry.batch * geometry.units();
    let kernel = Kernel::new(name, move |context, mut io| {
        let (inputs, [output, state], scratch) = io.split_states()?;
        let (output, scratch) = (&mut output.as_mut_slice()[..elements], &mut scratch.as_mut_slice()[..bytes]);
        svdf.run(context, inputs.get(0), output, state.as_mut_slice(), scratch);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes).with_tables(tables))
}

fn plan_quantized<S: Quantized + Element>(cx: &NodeContext<'_>, op: &SvdfOp, geometry: SvdfGeometry) -> Result<Kernel> {
    // LiteRT asserts it, and takes the limits of int8 for those of RELU.
    if op.activation != Activation::Relu {
        return Err(Error::unsupported(
            "",
            format!("the activation {:?} of an int8 SVDF, expected RELU", op.activation),
        ));
    }
    let features = scaled::<i8>(cx, 1, "feature weights")?;
    let time = scaled::<S>(cx, 2, "time weights")?;
    // Its zero point is not used, in LiteRT neither: old converters wrote one, and the state is sums that begin at 0.
    let state = quant_params(cx.input(4)?)?;
    let spec = QuantizedSvdfSpec {
        input: quant_params(cx.input(0)?)?,
        output: quant_params(cx.output()?)?,
        state_scale: state.scale,
        features: features.data,
        features_scale: features.scale,
        time_scale: time.scale,
        bias: optional(cx, 3, "bias")?,
    };
    let svdf = QuantizedSvdf::<S>::new(geometry, &spec, time.data).map_err(refused)?;
    let (bytes, tables) = (svdf.scratch_bytes(), svdf.packed_bytes());
    let elements = geometry.batch * geometry.units();
    let kernel = Kernel::new(cx.kernel_name(DType::I8), move |context, mut io| {
        let (inputs, [output, state], scratch) = io.split_states()?;
        let (output, scratch) = (&mut output.as_mut_slice()[..elements], &mut scratch.as_mut_slice()[..bytes]);
        svdf.run(context, inputs.get(0), output, state.as_mut_slice(), scratch);
        Ok(())
    });
    Ok(kernel.with_scratch(bytes).with_tables(tables))
}

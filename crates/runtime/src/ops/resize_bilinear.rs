//! RESIZE_BILINEAR.

use litesmith_graph::{DType, Result, ops};
use litesmith_kernels::Numerics;
use litesmith_kernels::numerics::Quantized;
use litesmith_kernels::resize_bilinear::{Alignment, QuantizedResizeBilinear, ResizeBilinear, ResizeGeometry};

use super::{NodeContext, image_shape, refused, same_quantization};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>, op: &ops::ResizeBilinear) -> Result<Kernel> {
    let (input, output) = (cx.input(0)?, cx.output()?);
    let [batch, height, width, channels] = image_shape(input)?;
    let [_, rows, columns, _] = image_shape(output)?;
    let geometry = ResizeGeometry { batch, input: [height, width], output: [rows, columns], channels };
    let alignment = match (op.align_corners, op.half_pixel_centers) {
        (true, _) => Alignment::Corners,
        (_, true) => Alignment::Centers,
        _ => Alignment::Origin,
    };
    same_quantization(input, output)?;
    match (input.dtype, output.dtype) {
        (DType::F32, DType::F32) => {
            // Where a pixel lies is rounded as by XNNPACK, which takes only a size that is a constant, or as by LiteRT's own kernels:
            // by more than the sum of four products is.
            let places = if cx.is_file_constant(1) { cx.numerics() } else { Numerics::Reference };
            let resize = ResizeBilinear::new(geometry, alignment, places).map_err(refused)?;
            Ok(Kernel::new(cx.avx2_name(DType::F32), move |context, mut io| {
                let (inputs, y) = io.split::<f32>();
                resize.forward(context, inputs.get(0), y);
                Ok(())
            }))
        }
        (DType::I8, DType::I8) => plan_integer::<i8>(cx, geometry, alignment),
        (DType::U8, DType::U8) => plan_integer::<u8>(cx, geometry, alignment),
        (DType::I16, DType::I16) => plan_integer::<i16>(cx, geometry, alignment),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_integer<T: Quantized>(cx: &NodeContext<'_>, geometry: ResizeGeometry, alignment: Alignment) -> Result<Kernel> {
    // XNNPACK takes only a size that is a constant.
    let resize = match cx.numerics() {
        Numerics::Litert if !cx.is_file_constant(1) => QuantizedResizeBilinear::builtin::<T>(geometry, alignment),
        numerics => QuantizedResizeBilinear::new::<T>(geometry, alignment, numerics),
    };
    let resize = resize.map_err(refused)?;
    Ok(Kernel::new(cx.avx2_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split::<T>();
        resize.run(context, inputs.get(0), y);
        Ok(())
    }))
}

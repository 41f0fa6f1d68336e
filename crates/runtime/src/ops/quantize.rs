//! QUANTIZE: float to integers, or integers to integers of another scale or type.

use litesmith_graph::{DType, Error, Result};
use litesmith_kernels::byte_table::ByteTable;
use litesmith_kernels::dequantize::quantize_to_channel;
use litesmith_kernels::numerics::{QuantParams, Quantized};
use litesmith_kernels::quantize::{Quantize, Requantize, WideRequantize};
use litesmith_kernels::{Context, Isa, Pool};

use super::cast::packed;
use super::{NodeContext, channels, quant_params, refused};
use crate::kernel::Kernel;

pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Kernel> {
    let per_channel = cx.output()?.quantization.as_ref().is_some_and(|quantization| quantization.scales.len() > 1);
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::F32, DType::I8) if per_channel => plan_channels::<i8>(cx),
        (DType::F32, DType::U8) if per_channel => plan_channels::<u8>(cx),
        (DType::F32, DType::I16) if per_channel => plan_channels::<i16>(cx),
        (DType::F32, DType::I4 | DType::U4) if !per_channel => plan_packed(cx),
        (DType::I32, DType::I8) => plan_narrow::<i8>(cx),
        (DType::I32, DType::I16) => plan_narrow::<i16>(cx),
        (DType::I16, DType::I32) => {
            let requantize = wide(cx)?;
            Ok(Kernel::new(cx.avx2_name(DType::I32), move |context, mut io| {
                let (inputs, y) = io.split();
                requantize.widen(context, inputs.get(0), y);
                Ok(())
            }))
        }
        (DType::U8, DType::I16) => plan_integer::<u8, i16>(cx),
        (DType::F32, DType::I8) => plan_float::<i8>(cx),
        (DType::F32, DType::U8) => plan_float::<u8>(cx),
        (DType::F32, DType::I16) => plan_float::<i16>(cx),
        (DType::I8, DType::I8) => plan_bytes::<i8, i8>(cx),
        (DType::I8, DType::U8) => plan_bytes::<i8, u8>(cx),
        (DType::I8, DType::I16) => plan_integer::<i8, i16>(cx),
        (DType::U8, DType::I8) => plan_bytes::<u8, i8>(cx),
        (DType::U8, DType::U8) => plan_bytes::<u8, u8>(cx),
        (DType::I16, DType::I8) => plan_integer::<i16, i8>(cx),
        (DType::I16, DType::I16) => plan_integer::<i16, i16>(cx),
        _ => Err(cx.no_kernel()),
    }
}

fn plan_float<T: Quantized>(cx: &NodeContext<'_>) -> Result<Kernel> {
    let quantize = Quantize::<T>::new(quant_params(cx.output()?)?, cx.numerics()).map_err(refused)?;
    Ok(Kernel::new(cx.kernel_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split();
        quantize.run(context, inputs.get(0), y);
        Ok(())
    }))
}

fn plan_integer<A: Quantized, B: Quantized>(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (input, output) = (quant_params(cx.input(0)?)?, quant_params(cx.output()?)?);
    let requantize = Requantize::<A, B>::new(input, output, cx.numerics()).map_err(refused)?;
    Ok(Kernel::new(cx.kernel_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split();
        requantize.run(context, inputs.get(0), y);
        Ok(())
    }))
}

/// From bytes to bytes it is a table.
fn plan_bytes<A: Quantized, B: Quantized>(cx: &NodeContext<'_>) -> Result<Kernel> {
    let (input, output) = (quant_params(cx.input(0)?)?, quant_params(cx.output()?)?);
    let requantize = Requantize::<A, B>::new(input, output, cx.numerics()).map_err(refused)?;
    let context = Context { pool: &Pool::serial(), isa: Isa::Scalar };
    plan_table(cx, &|x, y| {
        requantize.run(context, bytemuck::cast_slice::<u8, A>(x), bytemuck::cast_slice_mut::<u8, B>(y))
    })
}

/// The kernel that does what `function` does to bytes, or two: the last elements, fewer than 16, may be rounded otherwise than the rest.
fn plan_table(cx: &NodeContext<'_>, function: &dyn Fn(&[u8], &mut [u8])) -> Result<Kernel> {
    let every: [u8; 256] = std::array::from_fn(|x| x as u8);
    let entries = |together: usize| {
        let mut entries = [0; 256];
        every.chunks(together).zip(entries.chunks_mut(together)).for_each(|(x, y)| function(x, y));
        entries
    };
    let (whole, last) = (entries(256), entries(1));
    let name = cx.kernel_name(cx.output()?.dtype);
    let [table, end] = [whole, last].map(|entries| ByteTable::new(|x| entries[usize::from(x)]));
    if whole == last || cx.output()?.elements()? % 16 == 0 {
        return Ok(Kernel::look_up(name, table));
    }
    let bytes = table.bytes() + end.bytes();
    let kernel = Kernel::new(name, move |context, mut io| {
        let (inputs, y) = io.split::<u8>();
        let (x, y) = (inputs.get::<u8>(0).split_at(y.len() / 16 * 16), y.split_at_mut(y.len() / 16 * 16));
        table.run(context, x.0, y.0);
        end.run(context, x.1, y.1);
        Ok(())
    });
    Ok(kernel.with_tables(bytes))
}

fn plan_channels<T: Quantized>(cx: &NodeContext<'_>) -> Result<Kernel> {
    let channels = channels(cx.output()?)?;
    Ok(Kernel::new(cx.kernel_name(cx.output()?.dtype), move |_, mut io| {
        let (inputs, y) = io.split::<T>();
        for (index, (y, &x)) in y.iter_mut().zip(inputs.get::<f32>(0)).enumerate() {
            *y = T::narrow(quantize_to_channel(&channels, index, x, (T::MIN, T::MAX)));
        }
        Ok(())
    }))
}

fn plan_packed(cx: &NodeContext<'_>) -> Result<Kernel> {
    let Some(packed) = packed(cx.output()?.dtype) else { return Err(cx.no_kernel()) };
    let channels = channels(cx.output()?)?;
    Ok(Kernel::new(cx.kernel_name(cx.output()?.dtype), move |_, mut io| {
        let (inputs, y) = io.split::<u8>();
        let values = inputs.get::<f32>(0).iter().enumerate();
        packed.pack(values.map(|(index, &x)| quantize_to_channel(&channels, index, x, packed.range())), y);
        Ok(())
    }))
}

/// The conversion of an int32 tensor, whose zero point may be any.
fn wide(cx: &NodeContext<'_>) -> Result<WideRequantize> {
    let parameters = |tensor| -> Result<QuantParams> {
        let found = channels(tensor)?;
        match (found.scales.as_slice(), found.zero_points.as_slice()) {
            (&[scale], &[zero_point]) => Ok(QuantParams { scale, zero_point }),
            _ => Err(Error::unsupported("", "a conversion of integers with several scales")),
        }
    };
    WideRequantize::new(parameters(cx.input(0)?)?, parameters(cx.output()?)?).map_err(refused)
}

fn plan_narrow<T: Quantized>(cx: &NodeContext<'_>) -> Result<Kernel> {
    let requantize = wide(cx)?;
    Ok(Kernel::new(cx.avx2_name(cx.output()?.dtype), move |context, mut io| {
        let (inputs, y) = io.split::<T>();
        requantize.narrow(context, inputs.get(0), y);
        Ok(())
    }))
}

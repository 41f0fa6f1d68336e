//! PAD.

use bytemuck::Pod;
use litesmith_graph::{DType, Error, Result};
use litesmith_kernels::{Context, movement};

use super::{NodeContext, refused};
use crate::kernel::{Io, Kernel};

pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Box<dyn Kernel>> {
    let (input, output) = (cx.input(0)?, cx.output()?);
    if input.dtype != output.dtype {
        return Err(cx.no_kernel());
    }
    if input.quantization != output.quantization {
        return Err(Error::unsupported("", "input and output of different scales"));
    }
    let size = |size: i64| usize::try_from(size).map_err(|_| Error::malformed("", format!("padding {size}")));
    let paddings = cx.integers(1, "paddings")?;
    let paddings =
        paddings.chunks_exact(2).map(|pair| Ok((size(pair[0])?, size(pair[1])?))).collect::<Result<Vec<_>>>()?;
    let pad = movement::Pad::new(&input.shape, &paddings).map_err(refused)?;
    // Zero, as the type writes it.
    let zero_point = output.quantization.as_ref().and_then(|q| q.zero_points.first().copied()).unwrap_or(0);
    let name = cx.kernel_name(input.dtype, "copy");
    match input.dtype {
        DType::F32 => Ok(Box::new(Pad { pad, value: 0.0_f32, name })),
        DType::I8 => Ok(Box::new(Pad { pad, value: zero_point as i8, name })),
        DType::U8 => Ok(Box::new(Pad { pad, value: zero_point as u8, name })),
        DType::I16 => Ok(Box::new(Pad { pad, value: zero_point as i16, name })),
        DType::I32 => Ok(Box::new(Pad { pad, value: 0_i32, name })),
        DType::I64 => Ok(Box::new(Pad { pad, value: 0_i64, name })),
        _ => Err(cx.no_kernel()),
    }
}

struct Pad<T> {
    pad: movement::Pad,
    value: T,
    name: String,
}

impl<T: Pod + Send> Kernel for Pad<T> {
    fn run(&self, _: Context<'_>, mut io: Io<'_>) -> Result<()> {
        let (inputs, y) = io.split();
        self.pad.forward(inputs.get(0), self.value, y);
        Ok(())
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

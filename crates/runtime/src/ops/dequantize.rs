//! DEQUANTIZE.

use half::f16;
use litesmith_graph::{DType, Result};
use litesmith_kernels::Context;

use super::NodeContext;
use crate::kernel::{Io, Kernel};

pub(super) fn plan(cx: &NodeContext<'_>) -> Result<Box<dyn Kernel>> {
    match (cx.input(0)?.dtype, cx.output()?.dtype) {
        (DType::F16, DType::F32) => Ok(Box::new(FromF16)),
        _ => Err(cx.no_kernel()),
    }
}

struct FromF16;

impl Kernel for FromF16 {
    fn run(&self, _: Context<'_>, mut io: Io<'_>) -> Result<()> {
        let (inputs, y) = io.split::<f32>();
        y.iter_mut().zip(inputs.get::<f16>(0)).for_each(|(y, x)| *y = x.to_f32());
        Ok(())
    }

    fn name(&self) -> String {
        "dequantize/f16".into()
    }
}

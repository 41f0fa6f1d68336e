//! Convolution2DTransposeBias, MediaPipe's transposed convolution: input, filter `[out_channels, kernel_height,
//! kernel_width, in_channels]`, bias. The size of the output follows from the others (MediaPipe
//! `util/tflite/operations/transpose_conv_bias.cc`).

use litesmith_graph::ops::{Activation, Custom, Inputs};
use litesmith_graph::{DType, Error, Result};
use litesmith_kernels::conv_2d::Window;
use litesmith_kernels::transpose_conv::TransposeConvGeometry;

use super::super::transpose_conv::plan_float;
use super::super::weights::Operands;
use super::super::{NodeContext, image_shape};
use crate::kernel::Kernel;

const OPERANDS: Operands = Operands { input: 0, weights: 1, bias: 2, axis: 0 };

/// Padding and strides, as the first words of TensorFlow Lite's `TfLiteTransposeConvParams`.
struct Options {
    is_same: bool,
    stride_height: usize,
    stride_width: usize,
}

impl Options {
    fn read(op: &Custom) -> Result<Self> {
        let misfit =
            || Error::malformed("", format!("options of {} bytes that are not padding and strides", op.options.len()));
        let words = op.options.bytes().as_chunks::<4>().0;
        let &[padding, width, height, ..] = words else { return Err(misfit()) };
        let stride = |word: [u8; 4]| usize::try_from(i32::from_le_bytes(word)).ok().filter(|&stride| stride > 0);
        let (Some(stride_width), Some(stride_height)) = (stride(width), stride(height)) else { return Err(misfit()) };
        match i32::from_le_bytes(padding) {
            1 => Ok(Self { is_same: true, stride_height, stride_width }),
            2 => Ok(Self { is_same: false, stride_height, stride_width }),
            other => Err(Error::malformed("", format!("got padding {other}, expected 1 (SAME) or 2 (VALID)"))),
        }
    }

    /// The window of the convolution that is reversed: its input is this op's output.
    fn window(&self, input: usize, kernel: usize, stride: usize) -> Result<Window> {
        let steps = input.saturating_sub(1);
        let cut = if self.is_same { kernel.saturating_sub(steps % stride + 1) } else { 0 };
        let size = steps.checked_mul(stride).and_then(|reach| reach.checked_add(kernel - cut));
        let size = size.ok_or_else(|| Error::limit("", format!("an input of {input} with stride {stride}")))?;
        Ok(Window { input: size, output: input, kernel, stride, dilation: 1, pad_before: cut / 2 })
    }

    fn geometry(&self, input: [usize; 4], filter: [usize; 4]) -> Result<TransposeConvGeometry> {
        let [batch, height, width, in_channels] = input;
        let [out_channels, kernel_height, kernel_width, filter_channels] = filter;
        if in_channels != filter_channels || input.contains(&0) || filter.contains(&0) {
            return Err(Error::malformed("", format!("an input of shape {input:?} and a filter of shape {filter:?}")));
        }
        Ok(TransposeConvGeometry {
            batch,
            height: self.window(height, kernel_height, self.stride_height)?,
            width: self.window(width, kernel_width, self.stride_width)?,
            in_channels,
            out_channels,
        })
    }
}

pub(super) fn infer(op: &Custom, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
    inputs.expect_count(3..=3)?;
    let filter = inputs.shape(1, "filter")?;
    let geometry = Options::read(op)?.geometry(inputs.shape(0, "input")?, filter)?;
    let [bias] = inputs.shape(2, "bias")?;
    if bias != geometry.out_channels {
        return Err(inputs.malformed(format!("a bias of {bias} for {} channels", geometry.out_channels)));
    }
    Ok(vec![vec![geometry.batch, geometry.height.input, geometry.width.input, geometry.out_channels]])
}

pub(super) fn plan(cx: &NodeContext<'_>, op: &Custom) -> Result<Kernel> {
    let types = [cx.input(0)?.dtype, cx.input(1)?.dtype, cx.output()?.dtype];
    if types != [DType::F32; 3] {
        return Err(cx.no_kernel());
    }
    let geometry = Options::read(op)?.geometry(image_shape(cx.input(0)?)?, image_shape(cx.input(1)?)?)?;
    let mut kernel = plan_float(cx, OPERANDS, Activation::None, geometry)?;
    kernel.name = format!("custom/Convolution2DTransposeBias/f32/{}", cx.isa);
    Ok(kernel)
}

//! RESIZE_BILINEAR; each gradient goes back to its four pixels.

use litesmith_graph::{Error, Result, ops};
use litesmith_kernels::Real;
use litesmith_kernels::numerics::Numerics;
use litesmith_kernels::resize_bilinear::{Alignment, ResizeBilinear, ResizeGeometry};

use super::{Call, Gradients, PlanNode, TrainOp, unsupported};

#[derive(Debug)]
struct Resize(ResizeBilinear);

pub(super) fn plan<T: Real>(op: ops::ResizeBilinear, node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    let size = node.integers(1, "size")?;
    let size = size.iter().map(|&size| usize::try_from(size)).collect::<Result<Vec<_>, _>>();
    let (&[batch, height, width, channels], Ok(&[rows, columns])) = (node.shape(0), size.as_deref()) else {
        return Err(Error::malformed("", "got no image or no size"));
    };
    let geometry = ResizeGeometry { batch, input: [height, width], output: [rows, columns], channels };
    let alignment = match (op.align_corners, op.half_pixel_centers) {
        (true, _) => Alignment::Corners,
        (_, true) => Alignment::Centers,
        _ => Alignment::Origin,
    };
    let resize = ResizeBilinear::new(geometry, alignment, Numerics::Litert).map_err(unsupported)?;
    Ok(Box::new(Resize(resize)))
}

impl<T: Real> TrainOp<T> for Resize {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        self.0.forward(call.context, call.inputs.get(0), y);
    }

    fn backward(&self, _: &Call<'_, T>, _: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        gradients.write(0, |dx| self.0.backward(dy, dx));
    }
}

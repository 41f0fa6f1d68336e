//! PAD with zeros: the gradient loses its border.

use litesmith_graph::{Error, Result};
use litesmith_kernels::Real;
use litesmith_kernels::movement::Pad;

use super::{Call, Gradients, PlanNode, TrainOp, unsupported};

#[derive(Debug)]
struct PadOp {
    kernel: Pad,
}

pub(super) fn plan<T: Real>(node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    let paddings = node.integers(1, "paddings")?;
    let size = |value: i64| {
        usize::try_from(value).map_err(|_| Error::malformed("", format!("got padding {value}, expected 0 or more")))
    };
    let paddings =
        paddings.chunks_exact(2).map(|pair| Ok((size(pair[0])?, size(pair[1])?))).collect::<Result<Vec<_>>>()?;
    if paddings.first().is_some_and(|batch| *batch != (0, 0)) {
        return Err(Error::unsupported("", "padding the batch adds samples"));
    }
    Ok(Box::new(PadOp { kernel: Pad::new(node.shape(0), &paddings).map_err(unsupported)? }))
}

impl<T: Real> TrainOp<T> for PadOp {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        self.kernel.forward(call.pool(), call.inputs.get(0), T::ZERO, y);
    }

    fn backward(&self, _: &Call<'_, T>, _: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        gradients.write(0, |dx| self.kernel.backward(dy, dx));
    }
}

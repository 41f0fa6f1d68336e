//! FAKE_QUANTIZE of activations. The range is that of the last updates; what a batch holds moves it afterwards, so that
//! shards need not wait for each other.

use litesmith_graph::{Result, ops};
use litesmith_kernels::Real;
use litesmith_kernels::fake_quantize::{Int8Grid, Ties};
use litesmith_kernels::grid::{int8_parameters, stretched_range};

use super::{Call, Gradients, PlanNode, TrainOp};

#[derive(Debug)]
struct FakeQuantizeOp {
    ties: Ties,
    sample_len: usize,
}

pub(super) fn plan<T: Real>(op: ops::FakeQuantize, node: PlanNode<'_>) -> Result<Box<dyn TrainOp<T>>> {
    let ties = match op.ties {
        ops::Ties::Even => Ties::Even,
        ops::Ties::AwayFromZero => Ties::AwayFromZero,
        ops::Ties::Up => Ties::Up,
    };
    let shape = node.output_shape();
    let sample_len = shape.iter().product::<usize>() / shape.first().copied().unwrap_or(1).max(1);
    Ok(Box::new(FakeQuantizeOp { ties, sample_len }))
}

/// The grid of a range, both ends of which are multiplied by e to the power of the step, if there is one.
pub(crate) fn grid<T: Real>(range: &[T], step: Option<&[T]>) -> Int8Grid {
    let end = |index: usize| range.get(index).map_or(0.0, |end| end.to_f64()) as f32;
    let step = step.and_then(|step| step.first()).map_or(0.0, |step| step.to_f64());
    let (min, max) = stretched_range(end(0), end(1), step);
    let (scale, zero_point) = int8_parameters(min, max);
    Int8Grid { scale, zero_point }
}

/// What the gradient of a step is multiplied by, given that of its scale: the factor of Esser et al., section 2.2, and
/// one over the scale. The step being the logarithm of the scale, gradient descent then moves the scale by what it
/// would move if it were learned itself, and optimisers whose steps do not depend on the size of gradients move it by a
/// share of itself.
pub(crate) fn step_factor(elements: usize, limit: f64, scale: f32) -> f64 {
    1.0 / ((elements.max(1) as f64 * limit).sqrt() * f64::from(scale))
}

impl<T: Real> TrainOp<T> for FakeQuantizeOp {
    fn forward(&self, call: &Call<'_, T>, y: &mut [T], _: &mut [T]) {
        let inputs = &call.inputs;
        grid(inputs.get(1), inputs.optional(2)).forward(call.context, self.ties, inputs.get(0), y);
    }

    fn backward(&self, call: &Call<'_, T>, _: &[T], dy: &mut [T], gradients: &mut Gradients<'_, T>, _: &mut [T]) {
        let inputs = &call.inputs;
        let grid = grid(inputs.get(1), inputs.optional(2));
        gradients.add(2, |dstep| {
            let factor = step_factor(self.sample_len, 127.0, grid.scale);
            let gradient = grid.scale_gradient(call.context.isa, inputs.get(0), dy);
            dstep.iter_mut().for_each(|dstep| *dstep += gradient * T::from_f64(factor));
        });
        gradients.write(0, |dx| grid.backward(call.context, inputs.get(0), dy, dx));
    }
}

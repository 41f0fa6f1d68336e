//! FAKE_QUANTIZE_WEIGHTS: not an op of samples. What other ops read in place of the weights is computed once for each
//! update, and the gradient of what they read becomes that of the weights once all shards are summed.

use std::ops::Range;

use litesmith_graph::ops;
use litesmith_kernels::Real;
use litesmith_kernels::grid::{
    Channels, bias_scales, int8_parameters, quantize_asymmetric, quantize_symmetric, raise_scales_for_bias,
    scale_of_step, weight_scales,
};

use super::Operand;
use super::fake_quantize::{grid, step_factor};

/// Constants that are quantized before they are read.
#[derive(Debug, Clone)]
pub(crate) struct QuantizedWeights {
    op: ops::FakeQuantizeWeights,
    channels: Channels,
    weights: Range<usize>,
    bias: Option<Range<usize>>,
    /// Range and step of the activations that the weights meet.
    range: Option<Range<usize>>,
    input_step: Option<Range<usize>>,
    steps: Option<Range<usize>>,
}

impl QuantizedWeights {
    /// From the node's operands, which are all variables.
    pub(crate) fn new(op: ops::FakeQuantizeWeights, shape: &[usize], operands: &[Operand]) -> Option<Self> {
        let variable = |index: usize| match operands.get(index) {
            Some(&(Operand::Trainable { start, len } | Operand::Moving { start, len })) => Some(start..start + len),
            _ => None,
        };
        Some(Self {
            op,
            channels: Channels::new(shape, op.axis),
            weights: variable(0)?,
            bias: variable(1),
            range: variable(2),
            input_step: variable(3),
            steps: variable(4),
        })
    }

    /// Puts weights and bias, taken from `trainable`, on their grids in `effective`, which is otherwise equal to it.
    pub(crate) fn apply<T: Real>(&self, trainable: &[T], moving: &[T], effective: &mut [T]) {
        let weights = floats(&trainable[self.weights.clone()]);
        if self.op.operand {
            let (min, max) =
                weights.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), &w| (min.min(w), max.max(w)));
            let (scale, zero_point) = int8_parameters(min, max);
            let steps = quantize_asymmetric(&weights, (scale, zero_point.into()), -128.0, 127.0);
            for (effective, step) in effective[self.weights.clone()].iter_mut().zip(steps) {
                *effective = T::from_f64((step - f64::from(zero_point)) * f64::from(scale));
            }
            return;
        }
        let bias = self.bias.clone().map(|bias| floats(&trainable[bias]));
        let input_scale = self
            .range
            .clone()
            .map(|range| grid(&moving[range], self.input_step.clone().map(|step| &trainable[step])).scale);
        let scales = self.scales(&weights, bias.as_deref(), input_scale, trainable);
        let put = |effective: &mut [T], values: &[f32], channels: Channels, scales: &[f32], limit: f64| {
            let steps = quantize_symmetric(values, channels, scales, limit);
            for (index, (effective, step)) in effective.iter_mut().zip(steps).enumerate() {
                *effective = T::from_f64(step * f64::from(scales[channels.of(index)]));
            }
        };
        put(&mut effective[self.weights.clone()], &weights, self.channels, &scales, self.op.limit().into());
        if let (Some(range), Some(bias), Some(input_scale)) = (self.bias.clone(), bias, input_scale) {
            let scales = bias_scales(input_scale, &scales);
            let channels = Channels::of_vector(scales.len());
            put(&mut effective[range], &bias, channels, &scales, f64::from(i32::MAX));
        }
    }

    fn scales<T: Real>(
        &self,
        weights: &[f32],
        bias: Option<&[f32]>,
        input_scale: Option<f32>,
        trainable: &[T],
    ) -> Vec<f32> {
        let mut scales = match self.steps.clone() {
            Some(steps) => trainable[steps].iter().map(|step| scale_of_step(step.to_f64())).collect(),
            None => weight_scales(weights, self.channels, self.op.limit()),
        };
        if let (Some(bias), Some(input_scale)) = (bias, input_scale) {
            raise_scales_for_bias(&mut scales, bias, input_scale);
        }
        scales
    }

    /// Whether both quantize the same variable.
    pub(crate) fn shares(&self, other: &Self) -> bool {
        let variables = |of: &Self| [Some(of.weights.start), of.bias.as_ref().map(|bias| bias.start)];
        variables(self).iter().flatten().any(|start| variables(other).contains(&Some(*start)))
    }

    /// Where the gradient must be changed: the weights' elements, when there are steps.
    pub(crate) fn learned(&self) -> Option<Range<usize>> {
        self.steps.as_ref().map(|_| self.weights.clone())
    }

    /// From the gradient of the quantized weights, summed over the batch, that of the weights, in place (0 where they are
    /// cut off); and that of the steps, added to `gradient` of all trainable variables.
    pub(crate) fn backward<T: Real>(&self, trainable: &[T], own: &mut [T], gradient: &mut [T]) {
        let Some(range) = self.steps.clone() else { return };
        let scales: Vec<f32> = trainable[range.clone()].iter().map(|step| scale_of_step(step.to_f64())).collect();
        let limit = f64::from(self.op.limit());
        let mut sums = vec![0.0_f64; scales.len()];
        let weights = &trainable[self.weights.clone()];
        for (index, (&weight, own)) in weights.iter().zip(own.iter_mut()).enumerate() {
            let channel = self.channels.of(index);
            let value = weight.to_f64() / f64::from(scales[channel]);
            let slope = if value.abs() >= limit { limit.copysign(value) } else { value.round() - value };
            sums[channel] += slope * own.to_f64();
            if value.abs() > limit {
                *own = T::ZERO;
            }
        }
        let elements = weights.len() / scales.len().max(1);
        for ((gradient, sum), &scale) in gradient[range].iter_mut().zip(sums).zip(&scales) {
            *gradient += T::from_f64(sum * step_factor(elements, limit, scale));
        }
    }
}

fn floats<T: Real>(values: &[T]) -> Vec<f32> {
    values.iter().map(|value| value.to_f64() as f32).collect()
}

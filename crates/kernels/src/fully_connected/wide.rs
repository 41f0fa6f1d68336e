//! FULLY_CONNECTED of int16 activations and int16 weights: 64-bit sums (LiteRT `kernels/fully_connected.cc`,
//! `FullyConnectedInt16FilterInt16Impl`, the same in both modes).

use super::FullyConnectedGeometry;
use crate::batch_matmul::quantized::dot_wide;
use crate::integer_conv::{Bias, channel_scales, split};
use crate::numerics::{QuantParams, builtin_range, check_activation};
use crate::requantize::{FixedPoint, OutputStage, Rounding};
use crate::{Activation, Context, Unsupported};

const KERNEL: &str = "fully_connected";

/// A planned FULLY_CONNECTED of int16 by int16; weights and bias are given to each run.
#[derive(Debug, Clone)]
pub struct WideFullyConnected {
    geometry: FullyConnectedGeometry,
    stage: OutputStage,
}

impl WideFullyConnected {
    /// Plans a layer whose weights have one scale, or one for each output channel.
    ///
    /// # Errors
    /// A bad geometry, or quantization parameters that LiteRT refuses.
    pub fn new(
        geometry: FullyConnectedGeometry,
        input: QuantParams,
        weight_scales: &[f32],
        output: QuantParams,
        activation: Activation,
    ) -> Result<Self, Unsupported> {
        geometry.check()?;
        check_activation(KERNEL, activation)?;
        input.check::<i16>(KERNEL, "input")?;
        output.check::<i16>(KERNEL, "output")?;
        if (input.zero_point, output.zero_point) != (0, 0) {
            return Err(Unsupported::new(KERNEL, "int16 with a zero point other than 0"));
        }
        let one = weight_scales.len() == 1;
        let scales = channel_scales(KERNEL, weight_scales, geometry.out_features)?;
        let fixed = |&scale: &f32| {
            // One multiplier for all channels has its product rounded to f32.
            let product = if one { f64::from(input.scale * scale) } else { f64::from(input.scale) * f64::from(scale) };
            FixedPoint::new(product / f64::from(output.scale))
        };
        let rounding = Rounding::Reference(scales.iter().map(fixed).collect());
        let (min, max) = builtin_range::<i16>(activation, output);
        Ok(Self { geometry, stage: OutputStage { rounding, zero_point: 0, min, max } })
    }

    /// Refuses a bias of another number of elements than there are output channels.
    ///
    /// # Errors
    /// The two numbers.
    pub fn check_bias(&self, elements: Option<usize>) -> Result<(), Unsupported> {
        match elements {
            Some(got) if got != self.geometry.out_features => Err(Unsupported::new(
                KERNEL,
                format!("a bias of {got} elements for {} channels", self.geometry.out_features),
            )),
            _ => Ok(()),
        }
    }

    /// Runs. `input` is `batch in_features`, `weights` are `out_features in_features`, `output` is `batch out_features`.
    ///
    /// # Panics
    /// If a buffer has another size than planned.
    pub fn run(&self, ctx: Context<'_>, input: &[i16], weights: &[i16], bias: Bias<'_>, output: &mut [i16]) {
        /// Output channels summed before they are scaled.
        const BLOCK: usize = 32;
        let FullyConnectedGeometry { batch, in_features, out_features } = self.geometry;
        assert_eq!(
            [input.len(), weights.len(), output.len()],
            [batch * in_features, out_features * in_features, batch * out_features],
            "the planned shapes"
        );
        split(ctx.pool, output, out_features, |row, y| {
            let x = &input[row * in_features..][..in_features];
            for (block, y) in y.chunks_mut(BLOCK).enumerate() {
                let first = block * BLOCK;
                let mut sums = [0_i64; BLOCK];
                let sums = &mut sums[..y.len()];
                dot_wide(ctx.isa, x, &weights[first * in_features..][..y.len() * in_features], sums);
                for (at, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.wrapping_add(match bias {
                        Bias::None => 0,
                        Bias::I32(bias) => bias[first + at].into(),
                        Bias::I64(bias) => bias[first + at],
                    });
                }
                self.stage.store_wide(ctx.isa, sums, first, y);
            }
        });
    }
}

//! Element-wise activations: the output has the shape of the input.

use super::{Inputs, OpSpec};
use crate::Result;

macro_rules! activations {
    ($($name:ident $doc:literal;)*) => {
        $(#[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name;

        impl OpSpec for $name {
            fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
                same_shape(inputs)
            }
        })*
    };
}

activations! {
    Relu "RELU: `max(x, 0)`.";
    Relu6 "RELU6: `min(max(x, 0), 6)`.";
    ReluN1To1 "RELU_N1_TO_1: `min(max(x, -1), 1)`.";
    Relu0To1 "RELU_0_TO_1: `min(max(x, 0), 1)`.";
    Logistic "LOGISTIC: `1 / (1 + exp(-x))`.";
    Tanh "TANH: `tanh(x)`.";
    HardSwish "HARD_SWISH: `x * min(max(x + 3, 0), 6) / 6`.";
    Elu "ELU: `x` where positive, `exp(x) - 1` elsewhere.";
}

/// Attributes of LEAKY_RELU: `x` where positive, `alpha * x` elsewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeakyRelu {
    /// Slope where `x` is negative.
    pub alpha: f32,
}

impl OpSpec for LeakyRelu {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        same_shape(inputs)
    }
}

/// Attributes of GELU: `x * Phi(x)` with the standard normal distribution function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gelu {
    /// Whether `Phi` is approximated with `tanh` (Hendrycks and Gimpel, 2016, section 2).
    pub approximate: bool,
}

impl OpSpec for Gelu {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        same_shape(inputs)
    }
}

pub(super) fn same_shape(inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
    inputs.expect_count(1..=1)?;
    Ok(vec![inputs.get(0, "input")?.shape.clone()])
}

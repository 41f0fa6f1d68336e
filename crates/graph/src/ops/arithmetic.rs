//! Ops of two operands with NumPy broadcasting, beside ADD, SUB and MUL.

use super::add::infer_binary;
use super::{Activation, Inputs, OpSpec, Parameter};
use crate::Result;

macro_rules! binary_ops {
    ($($name:ident $schema:literal $doc:literal;)*) => {
        $(#[doc = concat!($schema, $doc)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name;

        impl OpSpec for $name {
            fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
                infer_binary($schema, inputs)
            }
        })*
    };
}

binary_ops! {
    Maximum "MAXIMUM" ": the larger of two elements.";
    Minimum "MINIMUM" ": the smaller of two elements.";
    SquaredDifference "SQUARED_DIFFERENCE" ": `(a - b)^2`.";
    Atan2 "ATAN2" ": the angle of the point of height `a` and width `b`, from -pi to pi.";
    Pow "POW" ": `a` to the power of `b`.";
    FloorDiv "FLOOR_DIV" ": `a / b`, down to the next integer.";
    FloorMod "FLOOR_MOD" ": `a - b * floor(a / b)`, which has the sign of `b`.";
}

/// ADD_N: the sum of one or more tensors of one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddN;

impl OpSpec for AddN {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        let shape = &inputs.get(0, "first operand")?.shape;
        for index in 1..inputs.len() {
            let other = &inputs.get(index, "operand")?.shape;
            if other != shape {
                return Err(inputs.malformed(format!("operand {index} has shape {other:?}, the first {shape:?}")));
            }
        }
        Ok(vec![shape.clone()])
    }
}

/// Attributes of DIV: `a / b`, of integers towards zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Div {
    /// Applied to the result.
    pub activation: Activation,
}

impl OpSpec for Div {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        infer_binary("DIV", inputs)
    }

    fn fused_activation(&mut self) -> Option<&mut Activation> {
        Some(&mut self.activation)
    }
}

/// PRELU: `x` where it is not negative, elsewhere `alpha * x` with the second input as alpha, which broadcasts to `x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prelu;

impl OpSpec for Prelu {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        let shapes = infer_binary("PRELU", inputs)?;
        let (input, alpha) = (inputs.get(0, "input")?, inputs.get(1, "alpha")?);
        if shapes.first() != Some(&input.shape) {
            let message = format!("alpha of shape {:?} does not broadcast to {:?}", alpha.shape, input.shape);
            return Err(inputs.malformed(message));
        }
        Ok(shapes)
    }

    fn parameter(&self, index: usize) -> Parameter {
        if index == 0 { Parameter::Constant } else { Parameter::Trainable }
    }
}

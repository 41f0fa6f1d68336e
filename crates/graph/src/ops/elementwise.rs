//! Functions of one operand, element by element: the output has the shape of the input.

use super::activations::same_shape;
use super::{Inputs, OpSpec};
use crate::Result;

macro_rules! unary_ops {
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

unary_ops! {
    Abs "ABS: `|x|`.";
    Ceil "CEIL: the smallest integer that is not below `x`.";
    Cos "COS: the cosine of `x` radians.";
    Exp "EXP: e to the power of `x`.";
    Floor "FLOOR: the largest integer that is not above `x`.";
    Log "LOG: the natural logarithm.";
    LogicalNot "LOGICAL_NOT: whether `x` is false.";
    Neg "NEG: `-x`.";
    Round "ROUND: the nearest integer, halves to even.";
    Rsqrt "RSQRT: `1 / sqrt(x)`.";
    Sign "SIGN: -1, 0 or 1.";
    Sin "SIN: the sine of `x` radians.";
    Sqrt "SQRT: the square root.";
    Square "SQUARE: `x * x`.";
}

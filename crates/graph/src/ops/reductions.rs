//! Ops along axes: sums, products, truth of several elements, positions of the largest and smallest, running sums.

use super::mean::infer_reduce;
use super::{Inputs, OpSpec, resolve_axis};
use crate::{DType, Error, Result};

macro_rules! reductions {
    ($($type:ident $name:literal $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $type {
            /// Whether reduced axes stay with size 1.
            pub keep_dims: bool,
        }

        impl OpSpec for $type {
            fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
                infer_reduce($name, inputs, self.keep_dims)
            }
        }
    )*};
}

reductions! {
    Sum "SUM" "Attributes of SUM; the axes are the second input.";
    ReduceProd "REDUCE_PROD" "Attributes of REDUCE_PROD, a product; the axes are the second input.";
    ReduceAny "REDUCE_ANY" "Attributes of REDUCE_ANY, whether one is true; the axes are the second input.";
    ReduceAll "REDUCE_ALL" "Attributes of REDUCE_ALL, whether all are true; the axes are the second input.";
}

/// The axis of an op that takes it as a tensor of one element.
fn one_axis(inputs: &Inputs<'_>, rank: usize, name: &str) -> Result<usize> {
    match inputs.integers(1, "axis")?[..] {
        [axis] => resolve_axis(name, axis, rank),
        ref axes => Err(inputs.malformed(format!("got {} axes, expected one", axes.len()))),
    }
}

macro_rules! positions {
    ($($type:ident $name:literal $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $type {
            /// Type of the positions: int32 or int64.
            pub output_type: DType,
        }

        impl Default for $type {
            fn default() -> Self {
                Self { output_type: DType::I32 }
            }
        }

        impl OpSpec for $type {
            fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
                inputs.expect_count(2..=2)?;
                let mut shape = inputs.get(0, "input")?.shape.clone();
                let axis = one_axis(inputs, shape.len(), $name)?;
                if shape.remove(axis) == 0 {
                    return Err(inputs.malformed(format!("axis {axis} has no elements")));
                }
                Ok(vec![shape])
            }

            fn output_dtype(&self, _: DType) -> DType {
                self.output_type
            }
        }
    )*};
}

positions! {
    ArgMax "ARG_MAX" "Attributes of ARG_MAX, the position of the largest (the first of equals); the axis is the second input.";
    ArgMin "ARG_MIN" "Attributes of ARG_MIN, the position of the smallest (the first of equals); the axis is the second input.";
}

/// Attributes of TOPK_V2: the `k` largest along the last axis, and their positions; `k` is the second input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopkV2;

impl OpSpec for TopkV2 {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=2)?;
        let mut shape = inputs.get(0, "input")?.shape.clone();
        let stated = inputs.integers(1, "k")?;
        let k = match stated[..] {
            [k] => usize::try_from(k).ok(),
            _ => None,
        };
        match (shape.last_mut(), k) {
            (Some(last), Some(k)) if k <= *last => *last = k,
            _ => return Err(inputs.malformed(format!("the {stated:?} largest of a shape {shape:?}"))),
        }
        Ok(vec![shape.clone(), shape])
    }
}

/// Attributes of CUMSUM; the axis is the second input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cumsum {
    /// Whether an element is left out of its own sum.
    pub exclusive: bool,
    /// Whether sums run from the end.
    pub reverse: bool,
}

impl OpSpec for Cumsum {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=2)?;
        let shape = inputs.get(0, "input")?.shape.clone();
        one_axis(inputs, shape.len(), "CUMSUM")?;
        Ok(vec![shape])
    }
}

/// Attributes of L2_NORMALIZATION: the input divided by the length of each vector along the last axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct L2Normalization;

impl OpSpec for L2Normalization {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(1..=1)?;
        Ok(vec![inputs.get(0, "input")?.shape.clone()])
    }
}

/// Attributes of LOCAL_RESPONSE_NORMALIZATION: `x * (bias + alpha * sum of the squares of the channels at most radius
/// away) ^ -beta`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalResponseNormalization {
    /// Channels on either side that count.
    pub radius: usize,
    /// Added to the sum.
    pub bias: f32,
    /// Multiplies the sum.
    pub alpha: f32,
    /// The power.
    pub beta: f32,
}

impl OpSpec for LocalResponseNormalization {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(1..=1)?;
        let input = inputs.get(0, "input")?;
        if input.shape.is_empty() {
            return Err(Error::malformed("LOCAL_RESPONSE_NORMALIZATION", "a scalar has no channels"));
        }
        Ok(vec![input.shape.clone()])
    }
}

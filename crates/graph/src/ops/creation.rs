//! Ops whose result follows from shapes and a few numbers: FILL, ZEROS_LIKE, RANGE, RANK, BROADCAST_ARGS; and BITCAST, which
//! reads the same bytes as another type.

use super::indexing::sizes;
use super::{Inputs, OpSpec};
use crate::{DType, Error, Result};

/// FILL: the value in input 1 all over the shape in input 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fill;

impl OpSpec for Fill {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=2)?;
        inputs.shape::<0>(1, "value")?;
        Ok(vec![sizes(inputs, &inputs.integers(0, "shape")?)?])
    }

    fn typed_by(&self) -> usize {
        1
    }
}

/// ZEROS_LIKE: zeros of the shape and type of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ZerosLike;

impl OpSpec for ZerosLike {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(1..=1)?;
        Ok(vec![inputs.get(0, "input")?.shape.clone()])
    }
}

/// RANGE: numbers from input 0 up to input 1, which is left out, by steps of input 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range;

impl OpSpec for Range {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(3..=3)?;
        let names = ["start", "limit", "delta"];
        for (index, name) in names.into_iter().enumerate() {
            inputs.shape::<0>(index, name)?;
        }
        let refused = |start: &dyn std::fmt::Display, limit: &dyn std::fmt::Display, delta: &dyn std::fmt::Display| {
            inputs.malformed(format!("got a range from {start} to {limit} by {delta}"))
        };
        let count = if inputs.get(0, "start")?.dtype == DType::F32 {
            let number = |index: usize| -> Result<f32> {
                let found = inputs.data(index, names[index])?.elements::<f32>()?.first().copied();
                found.ok_or_else(|| inputs.malformed(format!("{} is empty", names[index])))
            };
            let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
            let runs = (start >= limit && delta < 0.0) || (start <= limit && delta > 0.0);
            let count = ((limit - start) / delta).abs().ceil();
            if !runs || !count.is_finite() {
                return Err(refused(&start, &limit, &delta));
            }
            count as usize
        } else {
            let number = |index: usize| -> Result<i128> {
                let found = inputs.integers(index, names[index])?.first().copied();
                found.map(i128::from).ok_or_else(|| inputs.malformed(format!("{} is empty", names[index])))
            };
            let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
            if !((start >= limit && delta < 0) || (start <= limit && delta > 0)) {
                return Err(refused(&start, &limit, &delta));
            }
            let count = (limit - start).unsigned_abs().div_ceil(delta.unsigned_abs());
            usize::try_from(count).map_err(|_| Error::limit("RANGE", format!("{count} numbers")))?
        };
        Ok(vec![vec![count]])
    }
}

/// RANK: how many axes the input has, as an int32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rank;

impl OpSpec for Rank {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(1..=1)?;
        inputs.get(0, "input")?;
        Ok(vec![Vec::new()])
    }

    fn output_dtype(&self, _: DType) -> DType {
        DType::I32
    }
}

/// BROADCAST_ARGS: the shape that two shapes broadcast to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BroadcastArgs;

impl OpSpec for BroadcastArgs {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=2)?;
        let ([a], [b]) = (inputs.shape::<1>(0, "first shape")?, inputs.shape::<1>(1, "second shape")?);
        Ok(vec![vec![a.max(b)]])
    }
}

/// Attributes of BITCAST: the bytes of the input as elements of another type. Larger elements are taken apart along a new
/// last axis, smaller ones put together along the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bitcast {
    /// The other type. A file says it by the type of the output.
    pub dtype: DType,
}

impl OpSpec for Bitcast {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(1..=1)?;
        let input = inputs.get(0, "input")?;
        let (from, to) = (input.dtype.bits(), self.dtype.bits());
        let mut shape = input.shape.clone();
        let refused = || inputs.malformed(format!("{} of {:?} as {}", input.dtype, input.shape, self.dtype));
        if from < 8 || to < 8 {
            return Err(refused());
        }
        if from > to {
            shape.push(from / to);
        } else if from < to && shape.pop() != Some(to / from) {
            return Err(refused());
        }
        Ok(vec![shape])
    }

    fn output_dtype(&self, _: DType) -> DType {
        self.dtype
    }
}

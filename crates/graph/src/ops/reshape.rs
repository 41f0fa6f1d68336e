//! RESHAPE.

use super::{Inputs, OpSpec};
use crate::{Result, elements};

/// Attributes of RESHAPE. The second input, when given, says the shape; else `new_shape` does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reshape {
    /// The new shape, with at most one -1 for what is left over; used when there is no second input.
    pub new_shape: Option<Vec<i32>>,
}

impl OpSpec for Reshape {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(1..=2)?;
        let total = elements(&inputs.get(0, "input")?.shape)?;
        let wanted = match (inputs.optional(1), &self.new_shape) {
            // Old converters write the shape both ways; LiteRT reads the attribute when the input is not a vector.
            (Some(shape), Some(new_shape)) if shape.shape.len() != 1 || shape.data.is_none() => {
                new_shape.iter().map(|&size| i64::from(size)).collect()
            }
            (Some(_), _) => inputs.integers(1, "shape")?,
            (None, Some(new_shape)) => new_shape.iter().map(|&size| i64::from(size)).collect(),
            (None, None) => return Err(inputs.malformed("no shape is given")),
        };
        let known = wanted
            .iter()
            .filter(|&&size| size != -1)
            .try_fold(1_usize, |product, &size| usize::try_from(size).ok().and_then(|size| product.checked_mul(size)));
        let Some(known) = known else {
            return Err(inputs.malformed(format!("{wanted:?} is not a shape")));
        };
        let unknown = wanted.iter().filter(|&&size| size == -1).count();
        let fits = match unknown {
            0 => known == total,
            1 => known != 0 && total % known == 0,
            _ => false,
        };
        if !fits {
            return Err(inputs.malformed(format!("{total} elements do not fit the shape {wanted:?}")));
        }
        let sizes = wanted.iter().map(|&size| usize::try_from(size).unwrap_or_else(|_| total / known));
        Ok(vec![sizes.collect()])
    }
}

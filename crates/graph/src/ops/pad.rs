//! PAD with zeros (for quantized tensors, with the zero point).

use super::{Inputs, OpSpec};
use crate::{Error, Result};

/// PAD has no attributes: the second input is `[rank, 2]`, elements before and after for each axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pad;

impl OpSpec for Pad {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=2)?;
        Ok(vec![padded(inputs)?])
    }
}

/// The shape of input 0 padded as input 1 says.
pub(super) fn padded(inputs: &Inputs<'_>) -> Result<Vec<usize>> {
    let shape = &inputs.get(0, "input")?.shape;
    let paddings = inputs.integers(1, "paddings")?;
    if paddings.len() != shape.len() * 2 {
        return Err(inputs.malformed(format!(
            "got {} paddings for a tensor of rank {}, expected two for each axis",
            paddings.len(),
            shape.len()
        )));
    }
    let sizes = shape.iter().zip(paddings.chunks_exact(2)).map(|(&size, pair)| {
        let (before, after) = (usize::try_from(pair[0]), usize::try_from(pair[1]));
        let (Ok(before), Ok(after)) = (before, after) else {
            return Err(inputs.malformed(format!("got a negative padding {pair:?}")));
        };
        size.checked_add(before)
            .and_then(|size| size.checked_add(after))
            .ok_or_else(|| Error::limit("PAD", "the result is too large"))
    });
    sizes.collect()
}

//! PADV2: PAD with any value.

use super::{Inputs, OpSpec, pad};
use crate::Result;

/// PADV2 has no attributes: paddings as for PAD are input 1, the value input 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padv2;

impl OpSpec for Padv2 {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(3..=3)?;
        let value = inputs.get(2, "value")?;
        if value.elements()? != 1 {
            return Err(inputs.malformed(format!("the value has shape {:?}, expected one element", value.shape)));
        }
        Ok(vec![pad::padded(inputs)?])
    }
}

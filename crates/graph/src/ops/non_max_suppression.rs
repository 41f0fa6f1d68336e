//! NON_MAX_SUPPRESSION_V4 and V5: boxes `count 4`, scores `count`, then scalars: the most boxes that are selected, thresholds of
//! overlap and score, in V5 sigma. Outputs: indices, in V5 scores, and how many there are; what is not selected is 0.

use super::{Inputs, OpSpec};
use crate::{DType, Result};

/// NON_MAX_SUPPRESSION_V4: the boxes of highest score that do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NonMaxSuppressionV4;

/// NON_MAX_SUPPRESSION_V5: the same; a sigma above 0 lowers the scores of boxes that overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NonMaxSuppressionV5;

/// Checks the inputs; gives the most boxes that are selected.
fn check(inputs: &Inputs<'_>, scalars: &[&str]) -> Result<usize> {
    inputs.expect_count(2 + scalars.len()..=2 + scalars.len())?;
    let ([boxes, corners], [scores]) = (inputs.shape(0, "boxes")?, inputs.shape(1, "scores")?);
    if corners != 4 || scores != boxes {
        return Err(inputs.malformed(format!("boxes {boxes}x{corners} and {scores} scores")));
    }
    for (index, name) in scalars.iter().enumerate() {
        let tensor = inputs.get(2 + index, name)?;
        if tensor.elements()? != 1 {
            return Err(inputs.malformed(format!("the {name} has shape {:?}, expected one element", tensor.shape)));
        }
    }
    match inputs.integers(2, "most outputs")?.first().and_then(|&most| usize::try_from(most).ok()) {
        Some(most) => Ok(most),
        None => Err(inputs.malformed("the number of outputs is negative")),
    }
}

impl OpSpec for NonMaxSuppressionV4 {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        let most = check(inputs, &["number of outputs", "overlap threshold", "score threshold"])?;
        Ok(vec![vec![most], Vec::new()])
    }

    fn output_dtype(&self, _: DType) -> DType {
        DType::I32
    }
}

impl OpSpec for NonMaxSuppressionV5 {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        let most = check(inputs, &["number of outputs", "overlap threshold", "score threshold", "sigma"])?;
        Ok(vec![vec![most], vec![most], Vec::new()])
    }

    fn output_dtype(&self, _: DType) -> DType {
        DType::I32
    }
}

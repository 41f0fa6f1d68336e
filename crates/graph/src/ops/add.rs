//! ADD with NumPy broadcasting.

use super::{Activation, Inputs, OpSpec, Parameter};
use crate::{Error, Result};

/// Attributes of ADD.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Add {
    /// Applied to the result.
    pub activation: Activation,
    /// Whether quantized int16 operands whose scales are all powers of two are added without multipliers: the one whose scale
    /// is not the result's is shifted.
    pub pot_scale_int16: bool,
}

impl OpSpec for Add {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        infer_binary("ADD", inputs)
    }

    fn fused_activation(&mut self) -> Option<&mut Activation> {
        Some(&mut self.activation)
    }

    fn parameter(&self, _: usize) -> Parameter {
        Parameter::Trainable
    }
}

pub(super) fn infer_binary(op: &str, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
    inputs.expect_count(2..=2)?;
    let (a, b) = (inputs.get(0, "first operand")?, inputs.get(1, "second operand")?);
    Ok(vec![broadcast_shapes(op, &a.shape, &b.shape)?])
}

/// The shape that two shapes broadcast to, by NumPy's rule.
///
/// # Errors
/// [`Error::Malformed`] when two sizes differ and neither is 1.
pub fn broadcast_shapes(op: &str, a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |index| shape[index]);
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (x, y) if x == y || y == 1 => Ok(x),
            (1, y) => Ok(y),
            _ => Err(Error::malformed(op, format!("shapes {a:?} and {b:?} do not broadcast"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::broadcast_shapes;

    #[test]
    fn broadcasting_follows_numpy() {
        assert_eq!(broadcast_shapes("ADD", &[2, 1, 4], &[3, 1]).unwrap(), [2, 3, 4]);
        assert_eq!(broadcast_shapes("ADD", &[], &[5]).unwrap(), [5]);
        assert_eq!(broadcast_shapes("ADD", &[0, 3], &[1, 3]).unwrap(), [0, 3]);
        assert!(broadcast_shapes("ADD", &[2, 3], &[2, 4]).is_err());
    }
}

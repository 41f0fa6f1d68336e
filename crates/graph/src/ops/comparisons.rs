//! Ops that give or take truth values.

use super::add::{broadcast_shapes, infer_binary};
use super::{Inputs, OpSpec};
use crate::{DType, Result};

macro_rules! comparisons {
    ($($name:ident $schema:literal $doc:literal;)*) => {
        $(#[doc = concat!($schema, ": whether ", $doc, ", with NumPy broadcasting.")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name;

        impl OpSpec for $name {
            fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
                infer_binary($schema, inputs)
            }

            fn output_dtype(&self, _: DType) -> DType {
                DType::Bool
            }
        })*
    };
}

comparisons! {
    Equal "EQUAL" "`a == b`";
    NotEqual "NOT_EQUAL" "`a != b`";
    Less "LESS" "`a < b`";
    LessEqual "LESS_EQUAL" "`a <= b`";
    Greater "GREATER" "`a > b`";
    GreaterEqual "GREATER_EQUAL" "`a >= b`";
    LogicalAnd "LOGICAL_AND" "both are true";
    LogicalOr "LOGICAL_OR" "at least one is true";
}

/// SELECT: the elements of input 1 where input 0, the condition, is true, else those of input 2. Inputs 1 and 2 have one shape;
/// the condition has that too, or is a scalar, or has one element for each index along the first axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Select;

/// SELECT_V2: as [`Select`], the three inputs broadcast as NumPy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SelectV2;

impl OpSpec for Select {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        let [condition, x, y] = operands(inputs)?;
        let one_element = [condition, x, y].iter().all(|shape| shape.iter().all(|&size| size == 1));
        if one_element {
            return SelectV2.infer(inputs);
        }
        if x != y {
            return Err(inputs.malformed(format!("selects from shapes {x:?} and {y:?}, expected one")));
        }
        let rows = condition.len() == 1 && x.first() == condition.first();
        if condition != x && !condition.is_empty() && !rows {
            return Err(inputs.malformed(format!("a condition of shape {condition:?} for elements of shape {x:?}")));
        }
        Ok(vec![x.to_vec()])
    }
}

impl OpSpec for SelectV2 {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        let [condition, x, y] = operands(inputs)?;
        let values = broadcast_shapes("SELECT_V2", x, y)?;
        Ok(vec![broadcast_shapes("SELECT_V2", condition, &values)?])
    }
}

fn operands<'a>(inputs: &Inputs<'a>) -> Result<[&'a [usize]; 3]> {
    inputs.expect_count(3..=3)?;
    let shape = |index, name| inputs.get(index, name).map(|tensor| tensor.shape.as_slice());
    Ok([shape(0, "condition")?, shape(1, "elements where true")?, shape(2, "elements where false")?])
}

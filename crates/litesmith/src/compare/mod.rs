//! Two models, or one model run in two ways: what differs in structure, and tensor by tensor in values.

mod numeric;
mod structure;

pub use numeric::{NumericDiff, Side, TensorDiff, compare_numerically};
pub use structure::{Difference, structure_differences};

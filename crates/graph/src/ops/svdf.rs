//! SVDF: input `batch features`, feature weights `filters features`, time weights `filters memory`, bias `units` (optional),
//! and the state `batch (filters memory)`, a variable.

use super::{Activation, Inputs, OpSpec, product};
use crate::Result;

/// Attributes of SVDF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Svdf {
    /// Filters that are added for one unit.
    pub rank: usize,
    /// Of the sum.
    pub activation: Activation,
    /// Whether a float input is quantized with a zero point when the weights are integers (dynamic range).
    pub asymmetric_quantize_inputs: bool,
}

impl OpSpec for Svdf {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(5..=5)?;
        let [batch, features] = inputs.shape(0, "input")?;
        let [filters, columns] = inputs.shape(1, "feature weights")?;
        let [rows, memory] = inputs.shape(2, "time weights")?;
        let state: [usize; 2] = inputs.shape(4, "state")?;
        if self.rank == 0 || filters % self.rank != 0 {
            return Err(inputs.malformed(format!("rank {} of {filters} filters", self.rank)));
        }
        let units = filters / self.rank;
        let bias = inputs.optional(3).map_or(Ok(units), |bias| bias.elements())?;
        if columns != features
            || rows != filters
            || bias != units
            || Some(state[1]) != filters.checked_mul(memory)
            || state[0] != batch
        {
            return Err(inputs.malformed(format!(
                "feature weights {filters}x{columns}, time weights {rows}x{memory}, a bias of {bias} and a state {state:?} do \
                 not fit {batch} rows of {features}"
            )));
        }
        Ok(vec![vec![batch, units]])
    }

    fn macs(&self, inputs: &Inputs<'_>, output: &[usize]) -> u64 {
        let each = (1..=2).filter_map(|index| inputs.optional(index)).map(|weights| product(&weights.shape));
        (output.first().copied().unwrap_or(0) as u64).saturating_mul(each.fold(0, u64::saturating_add))
    }
}

//! What each layer computes, holds and costs.

use serde::Serialize;

/// A row for each layer of an architecture.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// The rows, in order.
    pub rows: Vec<SummaryRow>,
}

/// What one layer computes, holds and costs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SummaryRow {
    /// Name of the layer.
    pub name: String,
    /// Keras's name of the layer.
    pub layer: String,
    /// Names of what it reads.
    pub inputs: Vec<String>,
    /// Sizes of the output; -1 for the batch.
    pub output_shape: Vec<i64>,
    /// Weights that the optimiser changes.
    pub parameters_trainable: usize,
    /// Moving means and variances of batch normalization.
    pub parameters_fixed: usize,
    /// Multiply-accumulates for one sample.
    pub macs: u64,
}

impl Summary {
    /// Weights that the optimiser changes.
    #[must_use]
    pub fn parameters_trainable(&self) -> usize {
        self.rows.iter().map(|row| row.parameters_trainable).sum()
    }

    /// Moving means and variances of batch normalization.
    #[must_use]
    pub fn parameters_fixed(&self) -> usize {
        self.rows.iter().map(|row| row.parameters_fixed).sum()
    }

    /// All parameters, as Keras counts them.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.parameters_trainable() + self.parameters_fixed()
    }

    /// Multiply-accumulates for one sample.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.rows.iter().map(|row| row.macs).sum()
    }
}

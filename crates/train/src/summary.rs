//! What each layer or op computes, holds and costs.

use std::collections::HashSet;

use litesmith_graph::{Graph, Result};
use serde::Serialize;

use crate::variables::role;
use litesmith_graph::ops::Parameter;

/// A row for each layer of an architecture, or for each op of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// The rows, in order.
    pub rows: Vec<SummaryRow>,
}

/// What one layer or op computes, holds and costs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SummaryRow {
    /// Name of the layer, or of the op's output.
    pub name: String,
    /// Keras's name of the layer, or TensorFlow Lite's of the op.
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

    /// A row for each op of `graph`, which may come from anywhere. Weights that several ops read count once; those of
    /// quantized graphs, which no optimiser can change, are not counted here (see [`Graph::parameters`]).
    ///
    /// # Errors
    /// [`litesmith_graph::Error::Limit`] when the size of a tensor overflows.
    pub fn of_graph(graph: &Graph) -> Result<Self> {
        let mut counted = HashSet::new();
        let mut rows = Vec::with_capacity(graph.nodes.len());
        for (index, node) in graph.nodes.iter().enumerate() {
            let output = node.outputs.first().map(|&id| graph.tensor(id));
            let mut row = SummaryRow {
                name: output.map_or(String::new(), |tensor| tensor.name.clone()),
                layer: node.op.name().into(),
                output_shape: output.map_or(Vec::new(), litesmith_graph::Tensor::shape_signature),
                macs: graph.cost(index).macs,
                ..SummaryRow::default()
            };
            for (input, id) in node.inputs.iter().enumerate() {
                let Some(id) = *id else { continue };
                let tensor = graph.tensor(id);
                if tensor.data.is_none() {
                    row.inputs.push(tensor.name.clone());
                    continue;
                }
                let role = role(&node.op, input, tensor);
                if role != Parameter::Constant && counted.insert(id) {
                    match role {
                        Parameter::Trainable => row.parameters_trainable += tensor.elements()?,
                        Parameter::Moving | Parameter::Constant => row.parameters_fixed += tensor.elements()?,
                    }
                }
            }
            rows.push(row);
        }
        Ok(Self { rows })
    }
}

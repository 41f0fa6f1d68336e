//! Ops that run other subgraphs: IF, WHILE, CALL_ONCE, STABLEHLO_COMPOSITE. Their outputs are those of the subgraphs, so
//! that only who has the whole model can infer shapes.

use super::{Inputs, OpSpec};
use crate::{Data, Error, Result};

/// Attributes of IF: runs one of two subgraphs on inputs 1 and on; input 0, one truth value, says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct If {
    /// Index of the subgraph that runs when the condition holds.
    pub then_graph: usize,
    /// Index of the subgraph that runs when it does not.
    pub else_graph: usize,
}

/// Attributes of WHILE: as long as the first subgraph gives true for the values, the second gives the next values. The first
/// values are the inputs, the last ones the outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct While {
    /// Index of the subgraph that says whether to go on.
    pub condition_graph: usize,
    /// Index of the subgraph that makes new values of the old.
    pub body_graph: usize,
}

/// Attributes of CALL_ONCE: runs a subgraph without inputs and outputs once in the life of a session, to initialise variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallOnce {
    /// Index of the subgraph.
    pub init_graph: usize,
}

/// Attributes of STABLEHLO_COMPOSITE: an op that the file explains by a subgraph of simpler ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StablehloComposite {
    /// Name, as `odml.scaled_dot_product_attention`.
    pub name: String,
    /// Index of the subgraph that computes the same.
    pub decomposition_graph: usize,
    /// Attributes of the op that the subgraph stands for, a FlexBuffer.
    pub attributes: Data,
    /// Version of the op that the subgraph stands for.
    pub version: i32,
}

fn infer(op: &str) -> Result<Vec<Vec<usize>>> {
    Err(Error::unsupported(op, "its shapes are those of other subgraphs"))
}

impl OpSpec for If {
    fn infer(&self, _: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        infer("IF")
    }
}

impl OpSpec for While {
    fn infer(&self, _: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        infer("WHILE")
    }
}

impl OpSpec for CallOnce {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(0..=0)?;
        Ok(Vec::new())
    }
}

impl OpSpec for StablehloComposite {
    fn infer(&self, _: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        infer("STABLEHLO_COMPOSITE")
    }
}

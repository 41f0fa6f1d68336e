//! LSTM layers (S. Hochreiter and J. Schmidhuber, 1997; with peepholes F. A. Gers et al., 2002; with projection H. Sak et al.,
//! 2014; with layer normalization J. L. Ba et al., 2016).
//!
//! For each step, `i`, `f`, `o` logistic functions and `g` the activation of `weights x + recurrent weights h + peephole c +
//! bias`, of which any but `g` may have a peephole:
//!
//! ```text
//! c = clip(f c + i g)          coupled gates (CIFG) take 1 - f for i
//! h = o activation(c)          with a projection: clip(projection h + bias)
//! ```
//!
//! With layer normalization the sum without bias is shifted and scaled to mean 0 and variance 1 over the cells, then
//! multiplied by the coefficients, then the bias is added.

pub mod basic;
pub mod float;
pub mod quantized;

use crate::Unsupported;
use crate::recurrent::SequenceGeometry;

/// Sizes of an LSTM layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LstmGeometry {
    /// Sequences; states are `batch cells` and `batch outputs`.
    pub sequence: SequenceGeometry,
    /// Elements of an input row.
    pub inputs: usize,
    /// Memory cells.
    pub cells: usize,
    /// Elements of an output row: the cells, unless there is a projection.
    pub outputs: usize,
}

/// The gates of a layer: where each stands in packed weights. The input gate comes last, as coupled gates have none.
#[derive(Debug, Clone, Copy)]
pub struct Gates<T> {
    /// Of the input gate; `None` for coupled gates.
    pub input: Option<T>,
    /// Of the forget gate.
    pub forget: T,
    /// Of the cell's new value.
    pub cell: T,
    /// Of the output gate.
    pub output: T,
}

const FORGET: usize = 0;
const CELL: usize = 1;
const OUTPUT: usize = 2;
const INPUT: usize = 3;

impl<T> Gates<T> {
    /// In the order of packed weights.
    fn packed(&self) -> impl Iterator<Item = &T> {
        [&self.forget, &self.cell, &self.output].into_iter().chain(&self.input)
    }
}

impl LstmGeometry {
    /// Refuses sizes that overflow, and outputs that are not the cells without a projection.
    fn check(&self, kernel: &'static str, projection: bool) -> Result<(), Unsupported> {
        let Self { sequence, inputs, cells, outputs } = *self;
        let rows = sequence.rows()?;
        let products = [(rows, inputs), (rows, outputs), (rows, 4 * cells.min(usize::MAX / 4)), (cells, 4)];
        if products.iter().any(|&(a, b)| a.checked_mul(b).and_then(|len| len.checked_mul(8)).is_none()) {
            return Err(Unsupported::new(kernel, format!("sizes overflow: {self:?}")));
        }
        if cells == 0 || outputs == 0 {
            return Err(Unsupported::new(kernel, format!("{cells} cells and {outputs} outputs")));
        }
        if !projection && cells != outputs {
            let reason = format!("{cells} cells and {outputs} outputs without a projection");
            return Err(Unsupported::new(kernel, reason));
        }
        Ok(())
    }
}

/// Refuses `len` elements of `what` where `expected` are needed.
fn expect_len(kernel: &'static str, what: &str, len: usize, expected: usize) -> Result<(), Unsupported> {
    if len == expected {
        return Ok(());
    }
    Err(Unsupported::new(kernel, format!("{what} has {len} elements, expected {expected}")))
}

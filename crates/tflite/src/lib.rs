//! Reads and writes TensorFlow Lite's `.tflite` files: bytes to [`Model`] and back.
//!
//! ```
//! use litesmith_graph::{DType, Graph, Model, Tensor, ops::Relu};
//! use litesmith_tflite::{Limits, WriteOptions};
//!
//! let mut graph = Graph::new("main");
//! let x = graph.add_input(Tensor::new("x", DType::F32, [1, 8]));
//! let y = graph.add_node(Relu, &[Some(x)], "y")?;
//! graph.outputs = vec![y];
//! let model = Model::from_graph(graph);
//!
//! let bytes = litesmith_tflite::write(&model, &WriteOptions::default())?;
//! let loaded = litesmith_tflite::read(&bytes, &Limits::default())?;
//! assert_eq!(loaded.model, model);
//! assert!(loaded.warnings.is_empty());
//! # Ok::<(), litesmith_graph::Error>(())
//! ```
#![forbid(unsafe_code)]

mod blockwise;
mod builtin_operators;
mod flatbuffer;
#[cfg(test)]
mod handmade;
mod inspect;
mod metadata;
mod ops;
mod packed;
mod read;
mod schema;
mod sparsify;
mod sparsity;
mod write;

use litesmith_graph::{Error, Model, Result};

pub use inspect::{
    Attribute, AttributeValue, InspectedBlocks, InspectedGraph, InspectedOp, InspectedQuantization, InspectedTensor,
    Inspection, OperatorCode, inspect,
};
pub use packed::Packed;
pub use read::read;
pub use write::{Strip, WriteOptions, write};

/// The highest version of the operator with this number that [`read`] takes; `None` for one that has no versions of its own
/// or that is not implemented.
#[must_use]
pub fn op_versions(code: i32) -> Option<usize> {
    ops::versions(code).map(<[_]>::len)
}

/// What a file may demand of the machine that reads it. The tables of a file nest to a fixed depth, so that there is
/// no limit for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub file_bytes: usize,
    /// Subgraphs.
    pub subgraphs: usize,
    /// Tensors of all subgraphs together.
    pub tensors: usize,
    /// Nodes of all subgraphs together.
    pub nodes: usize,
    /// Bytes that everything read from the file may add up to, as a multiple of its size. Equal vectors may be stored
    /// once and named many times, by which a hostile file could ask for any amount of memory.
    pub expansion: usize,
    /// Bytes that sparse constants may take all together when they are made dense.
    pub sparse_bytes: usize,
    /// Bytes of one associated file (a list of labels), unpacked.
    pub associated_file_bytes: usize,
}

impl Limits {
    fn check_file(&self, bytes: &[u8]) -> Result<()> {
        if bytes.len() <= self.file_bytes {
            return Ok(());
        }
        let message = format!("the file has {} bytes, the limit is {}", bytes.len(), self.file_bytes);
        Err(Error::limit("", message).with_hint("raise the limit: --limit file-bytes=N, Limits::file_bytes"))
    }

    /// Bytes that may be read from a file of `file_bytes`; small files get a fixed amount on top.
    fn budget(&self, file_bytes: usize) -> usize {
        file_bytes.saturating_mul(self.expansion).saturating_add(1 << 16)
    }
}

/// 2 GiB of file, 1,000 subgraphs, 1,000,000 tensors and nodes, 16 times the size of the file, 256 MiB for sparse constants,
/// 16 MiB for an associated file.
impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 1 << 31,
            subgraphs: 1_000,
            tensors: 1_000_000,
            nodes: 1_000_000,
            expansion: 16,
            sparse_bytes: 1 << 28,
            associated_file_bytes: 1 << 24,
        }
    }
}

/// A model, and what is odd about the file but does no harm.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The model.
    pub model: Model,
    /// Sentences for people, one for each oddity: a quantized dimension that makes no sense, say.
    pub warnings: Vec<String>,
    /// Names of what the file's metadata has and that of a model does not: a file written from it is without.
    pub not_kept: Vec<String>,
    /// Whether any constant was stored sparse: in the model all are dense, and [`WriteOptions::sparse`] stores them so again.
    pub is_sparse: bool,
}

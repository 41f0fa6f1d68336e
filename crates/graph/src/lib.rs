//! Litesmith's one intermediate representation, in TensorFlow Lite's own vocabulary: importers make a [`Graph`], the
//! trainer differentiates it, compression edits it, the runtime plans it, the writer stores it.
//!
//! ```
//! use litesmith_graph::{DType, Graph, Tensor, ops::Relu};
//!
//! let mut graph = Graph::new("main");
//! let x = graph.add_input(Tensor::new("x", DType::F32, [1, 8]));
//! let y = graph.add_node(Relu, &[Some(x)], "y")?;
//! graph.outputs = vec![y];
//! graph.check()?;
//! assert_eq!(graph.tensor(y).to_string(), "float32[1,8]");
//! # Ok::<(), litesmith_graph::Error>(())
//! ```
#![forbid(unsafe_code)]

mod data;
mod dtype;
mod error;
mod flexbuffer;
mod graph;
mod model;
pub mod ops;
mod tensor;

pub use data::Data;
pub use dtype::DType;
pub use error::{Error, Report, Result};
pub use flexbuffer::{FlexMap, FlexValue};
pub use graph::{Graph, Node};
pub use model::{ColorSpace, Metadata, Model, Normalization, Signature, TensorMetadata};
pub use ops::{Cost, OP_TABLE, Op};
pub use tensor::{Quantization, Tensor, TensorId, elements};

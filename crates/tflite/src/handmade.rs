//! Files made table by table, for tests of what no writer writes.

use crate::flatbuffer::{Builder, Fields, Offset};
use crate::schema::{self, model, subgraph};

/// The file of one subgraph without ops: these tensors, and the vector of buffers.
pub(crate) fn file_of(mut builder: Builder, tensors: &[Offset], buffers: Offset) -> Vec<u8> {
    let tensors = builder.offsets(tensors);
    let mut fields = Fields::default();
    fields.offset(subgraph::TENSORS, tensors);
    let graph = builder.table(fields);
    let graphs = builder.offsets(&[graph]);
    let mut fields = Fields::default();
    fields.scalar(model::VERSION, schema::VERSION, 0).offset(model::SUBGRAPHS, graphs).offset(model::BUFFERS, buffers);
    let root = builder.table(fields);
    builder.finish(root, schema::IDENTIFIER).unwrap()
}

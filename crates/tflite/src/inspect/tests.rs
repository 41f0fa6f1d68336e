use super::*;
use crate::flatbuffer::{Builder, Fields};
use crate::schema::operator_code;

/// A file of one op with `code`, whose options are those of a GATHER, between two tensors of a type of the future.
fn unknown_op(code: i32) -> Vec<u8> {
    let mut builder = Builder::default();
    let mut fields = Fields::default();
    fields.scalar(operator_code::BUILTIN_CODE, code, 0).scalar(operator_code::VERSION, 9_i32, 1);
    let operator_code = builder.table(fields);
    let codes = builder.offsets(&[operator_code]);
    let shape = builder.scalars(&[2_i32, 3]);
    let mut fields = Fields::default();
    fields.offset(tensor::SHAPE, shape).scalar(tensor::TYPE, 99_i8, 0);
    let value = builder.table(fields);
    let tensors = builder.offsets(&[value, value]);
    let mut fields = Fields::default();
    fields.scalar(0, -1_i32, 0);
    let options = builder.table(fields);
    let (reads, writes) = (builder.scalars(&[0_i32, -1]), builder.scalars(&[1_i32]));
    let mut fields = Fields::default();
    fields
        .offset(operator::INPUTS, reads)
        .offset(operator::OUTPUTS, writes)
        .scalar(operator::OPTIONS_TYPE, 23_u8, 0)
        .offset(operator::OPTIONS, options);
    let op = builder.table(fields);
    let ops = builder.offsets(&[op]);
    let mut fields = Fields::default();
    fields.offset(subgraph::TENSORS, tensors).offset(subgraph::OPERATORS, ops);
    let graph = builder.table(fields);
    let graphs = builder.offsets(&[graph]);
    let mut fields = Fields::default();
    fields
        .scalar(schema::model::VERSION, schema::VERSION, 0)
        .offset(schema::model::OPERATOR_CODES, codes)
        .offset(schema::model::SUBGRAPHS, graphs);
    let root = builder.table(fields);
    builder.finish(root, schema::IDENTIFIER).unwrap()
}

#[test]
fn ops_and_types_that_are_not_implemented_are_shown() {
    let found = inspect(&unknown_op(500), &Limits::default()).unwrap();
    let code = &found.operator_codes[0];
    assert_eq!((code.name.as_str(), code.version), ("operator code 500", 9));
    assert!(code.refusal.is_some());
    let graph = &found.subgraphs[0];
    assert_eq!((graph.tensors[0].dtype.as_str(), graph.tensors[0].shape.as_slice()), ("type 99", &[2, 3][..]));
    let op = &graph.ops[0];
    assert_eq!((op.inputs.as_slice(), op.outputs.as_slice(), op.macs), (&[Some(0), None][..], &[1][..], None));
    let attributes: Vec<_> = op.attributes.iter().map(|a| format!("{}={}", a.name, a.value)).collect();
    assert_eq!(attributes, ["axis=-1", "batch_dims=0"]);
}

#[test]
fn a_damaged_file_is_an_error() {
    let whole = unknown_op(36);
    for len in 0..whole.len() {
        // Any answer but a panic.
        let _ = inspect(&whole[..len], &Limits::default());
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        let _ = inspect(&damaged, &Limits::default());
    }
}

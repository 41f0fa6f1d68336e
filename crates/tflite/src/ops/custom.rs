//! CUSTOM: name and version stand with the operator code, options with the operator, as bytes.

use litesmith_graph::ops::Custom;
use litesmith_graph::{Data, Error, Result};

use super::Written;
use crate::flatbuffer::{Builder, Table};
use crate::schema::{operator, operator_code};

/// The custom op `name` of `table`.
pub(crate) fn read(table: &Table<'_>, name: &str, version: i32) -> Result<Custom> {
    let format = table.scalar(operator::CUSTOM_OPTIONS_FORMAT, 0_i8)?;
    if format != 0 {
        return Err(Error::unsupported("", format!("custom options of format {format}")));
    }
    let mut options = table.bytes(operator::CUSTOM_OPTIONS)?.unwrap_or_default();
    // Files over 2 GB keep long options behind the tables, as they do buffers.
    let offset = table.scalar(operator::LARGE_CUSTOM_OPTIONS_OFFSET, 0_u64)?;
    let size = table.scalar(operator::LARGE_CUSTOM_OPTIONS_SIZE, 0_u64)?;
    if offset > 1 && size > 0 {
        options = table.distant_region(offset, size)?;
    }
    Ok(Custom { name: name.to_owned(), version, options: Data::from_bytes(options) })
}

pub(super) fn write(op: &Custom, builder: &mut Builder) -> Written {
    let options = (!op.options.is_empty()).then(|| builder.data(op.options.bytes(), 1));
    Written {
        code: operator_code::CUSTOM,
        version: op.version,
        since: "1.5.0",
        options: None,
        custom: Some((op.name.clone(), options)),
    }
}

//! Attributes by name, from the table of what every operator's options hold.

use std::fmt;

use litesmith_graph::{FlexValue, Result};

use super::options::{ENUMS, OPTIONS, OPTIONS_2};
use crate::flatbuffer::{Scalar, Table};
use crate::schema::operator;

/// Elements of a list, and bytes of custom options, that are shown.
const SHOWN: usize = 64;

/// An attribute of an op.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    /// Its name in the schema, or in the op's own options.
    pub name: String,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeValue {
    /// A truth value.
    Bool(bool),
    /// A number without fraction.
    Int(i64),
    /// A single-precision number.
    Float(f32),
    /// A double-precision number.
    Double(f64),
    /// A name: of an enumeration's value, or any text.
    Text(String),
    /// Several.
    List(Vec<AttributeValue>),
    /// Bytes without a known form: how many, and the first of them.
    Bytes(usize, Vec<u8>),
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Bytes(len, _) => write!(f, "{len} bytes"),
        }
    }
}

/// The attributes of an operator.
pub(super) fn of(table: &Table<'_>, is_custom: bool) -> Result<Vec<Attribute>> {
    let mut found = Vec::new();
    for (rows, tag, options) in [
        (OPTIONS, operator::OPTIONS_TYPE, operator::OPTIONS),
        (OPTIONS_2, operator::OPTIONS_2_TYPE, operator::OPTIONS_2),
    ] {
        let tag = usize::from(table.scalar(tag, 0_u8)?);
        let Some(options) = table.table(options)?.filter(|_| tag > 0) else { continue };
        match rows.get(tag - 1) {
            Some((_, fields)) => read(&options, fields, &mut found)?,
            None => found.push(named("options", AttributeValue::Text(format!("of kind {tag}, not known")))),
        }
    }
    if is_custom {
        custom(table, &mut found)?;
    }
    Ok(found)
}

fn named(name: impl Into<String>, value: AttributeValue) -> Attribute {
    Attribute { name: name.into(), value }
}

/// Reads the fields that `spec` lists from an options table.
fn read(options: &Table<'_>, spec: &str, found: &mut Vec<Attribute>) -> Result<()> {
    for (at, field) in spec.split_ascii_whitespace().enumerate() {
        let (name, kind) = field.split_once(':').unwrap_or((field, "int"));
        let (kind, default) = kind.split_once('=').unwrap_or((kind, "0"));
        let default: i32 = default.parse().unwrap_or(0);
        if name.starts_with('-') {
            continue;
        }
        let value = match kind {
            "bool" => AttributeValue::Bool(options.scalar(at, default != 0)?),
            "int" => AttributeValue::Int(options.scalar(at, default)?.into()),
            "uint" => AttributeValue::Int(options.scalar(at, 0_u32)?.into()),
            "long" => AttributeValue::Int(options.scalar(at, 0_i64)?),
            "float" => AttributeValue::Float(options.scalar(at, 0_f32)?),
            "string" => AttributeValue::Text(options.string(at)?),
            "[int]" => list(options, at, |value: i32| AttributeValue::Int(value.into()))?,
            "[uint]" => list(options, at, |value: u32| AttributeValue::Int(value.into()))?,
            "[long]" => list(options, at, AttributeValue::Int)?,
            "[float]" => list(options, at, AttributeValue::Float)?,
            "[bool]" => list(options, at, AttributeValue::Bool)?,
            "[ubyte]" => flexible(options.bytes(at)?.unwrap_or_default()),
            name => AttributeValue::Text(enumerated(options, at, name, default)?),
        };
        found.push(named(name, value));
    }
    Ok(())
}

fn list<T: Scalar>(options: &Table<'_>, at: usize, to: impl Fn(T) -> AttributeValue) -> Result<AttributeValue> {
    Ok(AttributeValue::List(options.scalars::<T>(at)?.unwrap_or_default().into_iter().map(to).collect()))
}

/// The name of an enumeration's value; its number when that is of the future.
fn enumerated(options: &Table<'_>, at: usize, kind: &str, default: i32) -> Result<String> {
    let row = ENUMS.iter().find(|(name, _, _)| *name == kind);
    let value = match row {
        Some((_, 4, _)) => options.scalar(at, default)?,
        _ => i32::from(options.scalar(at, i8::try_from(default).unwrap_or(0))?),
    };
    let name = row.and_then(|(_, _, names)| names.get(usize::try_from(value).ok()?));
    Ok(name.map_or_else(|| value.to_string(), |name| (*name).to_owned()))
}

/// The options of a custom op: by name where they are a FlexBuffer, as for most.
fn custom(table: &Table<'_>, found: &mut Vec<Attribute>) -> Result<()> {
    let mut bytes = table.bytes(operator::CUSTOM_OPTIONS)?.unwrap_or_default();
    let (offset, size) = (
        table.scalar(operator::LARGE_CUSTOM_OPTIONS_OFFSET, 0_u64)?,
        table.scalar(operator::LARGE_CUSTOM_OPTIONS_SIZE, 0_u64)?,
    );
    if offset > 1 && size > 0 {
        bytes = table.distant_region(offset, size)?;
    }
    if bytes.is_empty() {
        return Ok(());
    }
    match FlexValue::read(bytes) {
        Ok(FlexValue::Map(map)) => found.extend(map.iter().map(|(name, value)| named(name, flex(value)))),
        _ => found.push(named("custom_options", raw(bytes))),
    }
    Ok(())
}

fn raw(bytes: &[u8]) -> AttributeValue {
    AttributeValue::Bytes(bytes.len(), bytes.iter().copied().take(SHOWN).collect())
}

fn flexible(bytes: &[u8]) -> AttributeValue {
    if bytes.is_empty() {
        return AttributeValue::List(Vec::new());
    }
    FlexValue::read(bytes).map_or_else(|_| raw(bytes), |value| flex(&value))
}

fn flex(value: &FlexValue) -> AttributeValue {
    match value {
        FlexValue::Null => AttributeValue::Text("null".into()),
        FlexValue::Int(value) => AttributeValue::Int(*value),
        FlexValue::UInt(value) => {
            i64::try_from(*value).map_or_else(|_| AttributeValue::Text(value.to_string()), AttributeValue::Int)
        }
        FlexValue::Float(value) => AttributeValue::Double(*value),
        FlexValue::Bool(value) => AttributeValue::Bool(*value),
        FlexValue::String(text) => AttributeValue::Text(text.clone()),
        FlexValue::Blob(bytes) => raw(bytes),
        FlexValue::Vector(values) => AttributeValue::List(values.iter().map(flex).collect()),
        FlexValue::Map(map) => {
            let entry = |(name, value)| AttributeValue::Text(format!("{name}: {}", flex(value)));
            AttributeValue::List(map.iter().map(entry).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_table_has_a_type_that_is_known() {
        const SIMPLE: [&str; 12] = [
            "bool", "int", "uint", "long", "float", "string", "[int]", "[uint]", "[long]", "[float]", "[bool]",
            "[ubyte]",
        ];
        for (table, fields) in OPTIONS.iter().chain(OPTIONS_2) {
            for field in fields.split_ascii_whitespace() {
                let (name, kind) = field.split_once(':').unwrap();
                let kind = kind.split_once('=').map_or(kind, |(kind, default)| {
                    default.parse::<i32>().unwrap();
                    kind
                });
                assert!(!name.is_empty(), "{table}");
                assert!(SIMPLE.contains(&kind) || ENUMS.iter().any(|(name, _, _)| *name == kind), "{table}: {field}");
            }
        }
        assert_eq!((OPTIONS[0].0, OPTIONS[7].0, OPTIONS.len()), ("Conv2DOptions", "FullyConnectedOptions", 126));
    }

    #[test]
    fn values_read_as_people_write_them() {
        let list = AttributeValue::List(vec![AttributeValue::Int(1), AttributeValue::Float(0.1)]);
        assert_eq!(list.to_string(), "[1, 0.1]");
        assert_eq!(raw(&[7; 100]).to_string(), "100 bytes");
    }
}

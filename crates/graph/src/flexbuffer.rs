//! FlexBuffers, the schemaless form in which files keep the options of custom ops (<https://flatbuffers.dev/internals>,
//! "FlexBuffers"): read only, every position checked, with a budget for vectors that overlap.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// How deep maps and vectors may stand in one another.
const DEPTH_MAX: usize = 16;

/// A value of a FlexBuffer.
#[derive(Debug, Clone, PartialEq)]
pub enum FlexValue {
    /// Nothing.
    Null,
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    UInt(u64),
    /// A floating-point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Text; bytes that are not UTF-8 are replaced.
    String(String),
    /// Bytes.
    Blob(Vec<u8>),
    /// Values in order.
    Vector(Vec<FlexValue>),
    /// Values by name.
    Map(FlexMap),
}

impl FlexValue {
    /// Reads a FlexBuffer.
    ///
    /// # Errors
    /// [`Error::Malformed`] when a position lies outside, [`Error::Limit`] when values overlap or nest beyond reason.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        // The last byte is the width of the root, the one before it its type.
        let [.., kind, width] = *bytes else {
            return Err(malformed(format!("got {} bytes, expected at least 3", bytes.len())));
        };
        let width = usize::from(width);
        let at = bytes.len().checked_sub(2 + width).filter(|_| is_width(width));
        let at = at.ok_or_else(|| malformed(format!("got a root of {width} bytes in {} bytes", bytes.len())))?;
        Reader { bytes, left: bytes.len().saturating_mul(4).saturating_add(64) }.value(at, width, kind, 0)
    }
}

/// Values by name: what the options of custom ops are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FlexMap {
    entries: BTreeMap<String, FlexValue>,
}

impl FlexMap {
    /// Reads a FlexBuffer whose root is a map; no bytes at all are an empty map.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the root is something else, else those of [`FlexValue::read`].
    pub fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        match FlexValue::read(bytes)? {
            FlexValue::Map(map) => Ok(map),
            _ => Err(malformed("the root is no map")),
        }
    }

    /// The value called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&FlexValue> {
        self.entries.get(name)
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &FlexValue)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The integer called `name`; a truth value counts as 0 or 1.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is of another type or does not fit.
    pub fn int(&self, name: &str) -> Result<Option<i64>> {
        match self.get(name) {
            None | Some(FlexValue::Null) => Ok(None),
            Some(&FlexValue::Int(value)) => Ok(Some(value)),
            Some(&FlexValue::Bool(value)) => Ok(Some(i64::from(value))),
            Some(&FlexValue::UInt(value)) => {
                i64::try_from(value).map(Some).map_err(|_| wrong(name, "an integer", &FlexValue::UInt(value)))
            }
            Some(other) => Err(wrong(name, "an integer", other)),
        }
    }

    /// The number called `name`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is of another type.
    pub fn float(&self, name: &str) -> Result<Option<f64>> {
        match self.get(name) {
            Some(&FlexValue::Float(value)) => Ok(Some(value)),
            Some(FlexValue::String(_) | FlexValue::Blob(_) | FlexValue::Vector(_) | FlexValue::Map(_)) => {
                Err(wrong(name, "a number", &self.entries[name]))
            }
            _ => Ok(self.int(name)?.map(|value| value as f64)),
        }
    }

    /// The truth value called `name`; an integer counts as whether it is not 0.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is of another type.
    pub fn bool(&self, name: &str) -> Result<Option<bool>> {
        Ok(self.int(name)?.map(|value| value != 0))
    }

    /// The text called `name`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is of another type.
    pub fn string(&self, name: &str) -> Result<Option<&str>> {
        match self.get(name) {
            None | Some(FlexValue::Null) => Ok(None),
            Some(FlexValue::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "text", other)),
        }
    }
}

fn malformed(message: impl std::fmt::Display) -> Error {
    Error::malformed("FlexBuffer", message)
}

fn wrong(name: &str, expected: &str, got: &FlexValue) -> Error {
    let kind = match got {
        FlexValue::Null => "nothing",
        FlexValue::Int(_) | FlexValue::UInt(_) => "an integer out of range",
        FlexValue::Float(_) => "a fraction",
        FlexValue::Bool(_) => "a truth value",
        FlexValue::String(_) => "text",
        FlexValue::Blob(_) => "bytes",
        FlexValue::Vector(_) => "a vector",
        FlexValue::Map(_) => "a map",
    };
    malformed(format!("option \"{name}\" is {kind}, expected {expected}"))
}

fn is_width(width: usize) -> bool {
    matches!(width, 1 | 2 | 4 | 8)
}

mod kind {
    pub(super) const NULL: u8 = 0;
    pub(super) const INT: u8 = 1;
    pub(super) const UINT: u8 = 2;
    pub(super) const FLOAT: u8 = 3;
    pub(super) const KEY: u8 = 4;
    pub(super) const STRING: u8 = 5;
    pub(super) const INDIRECT_INT: u8 = 6;
    pub(super) const INDIRECT_FLOAT: u8 = 8;
    pub(super) const MAP: u8 = 9;
    pub(super) const VECTOR: u8 = 10;
    /// Vectors of elements of one type, which is that many less.
    pub(super) const VECTOR_INT: u8 = 11;
    pub(super) const VECTOR_KEY: u8 = 14;
    /// Pairs, triples and quadruples of numbers, without a stored count.
    pub(super) const VECTOR_INT_2: u8 = 16;
    pub(super) const VECTOR_FLOAT_4: u8 = 24;
    pub(super) const BLOB: u8 = 25;
    pub(super) const BOOL: u8 = 26;
    pub(super) const VECTOR_BOOL: u8 = 36;
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// Elements that may still be read.
    left: usize,
}

impl Reader<'_> {
    fn slice(&self, at: usize, size: usize) -> Result<&[u8]> {
        at.checked_add(size)
            .and_then(|end| self.bytes.get(at..end))
            .ok_or_else(|| malformed(format!("expected {size} bytes at {at}, there are {}", self.bytes.len())))
    }

    fn unsigned(&self, at: usize, width: usize) -> Result<u64> {
        let mut word = [0_u8; 8];
        self.slice(at, width)?.iter().zip(&mut word).for_each(|(&from, to)| *to = from);
        Ok(u64::from_le_bytes(word))
    }

    fn signed(&self, at: usize, width: usize) -> Result<i64> {
        let unused = 64 - 8 * width.clamp(1, 8);
        Ok((self.unsigned(at, width)?.cast_signed() << unused) >> unused)
    }

    fn float(&self, at: usize, width: usize) -> Result<f64> {
        let bits = self.unsigned(at, width)?;
        match width {
            4 => Ok(f64::from(f32::from_bits(u32::try_from(bits).unwrap_or(0)))),
            8 => Ok(f64::from_bits(bits)),
            _ => Err(malformed(format!("got a fraction of {width} bytes at {at}"))),
        }
    }

    /// The position that the offset stored at `at` points back to.
    fn follow(&self, at: usize, width: usize) -> Result<usize> {
        let back = usize::try_from(self.unsigned(at, width)?).ok();
        back.and_then(|back| at.checked_sub(back))
            .ok_or_else(|| malformed(format!("the offset at {at} leaves the buffer")))
    }

    /// The count stored before a vector.
    fn count(&mut self, at: usize, width: usize) -> Result<usize> {
        let before = at.checked_sub(width).ok_or_else(|| malformed(format!("a vector at {at} has no count")))?;
        let count = usize::try_from(self.unsigned(before, width)?).unwrap_or(usize::MAX);
        match self.left.checked_sub(count).filter(|_| count <= self.bytes.len()) {
            Some(left) => {
                self.left = left;
                Ok(count)
            }
            None => Err(Error::limit("FlexBuffer", format!("{count} elements at {at} are more than it can hold"))),
        }
    }

    fn key(&self, at: usize) -> Result<String> {
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        match rest.iter().position(|&byte| byte == 0) {
            Some(end) => Ok(String::from_utf8_lossy(&rest[..end]).into_owned()),
            None => Err(malformed(format!("the key at {at} has no end"))),
        }
    }

    /// The value stored at `at` in `width` bytes; `packed` is its type and, for what is stored elsewhere, the width there.
    fn value(&mut self, at: usize, width: usize, packed: u8, depth: usize) -> Result<FlexValue> {
        if depth > DEPTH_MAX {
            return Err(Error::limit("FlexBuffer", format!("values nest deeper than {DEPTH_MAX}")));
        }
        let (kind, inner) = (packed >> 2, 1_usize << (packed & 3));
        match kind {
            kind::NULL => return Ok(FlexValue::Null),
            kind::INT => return Ok(FlexValue::Int(self.signed(at, width)?)),
            kind::UINT => return Ok(FlexValue::UInt(self.unsigned(at, width)?)),
            kind::FLOAT => return Ok(FlexValue::Float(self.float(at, width)?)),
            kind::BOOL => return Ok(FlexValue::Bool(self.unsigned(at, width)? != 0)),
            _ => {}
        }
        let at = self.follow(at, width)?;
        match kind {
            kind::KEY => Ok(FlexValue::String(self.key(at)?)),
            kind::STRING | kind::BLOB => {
                let count = self.count(at, inner)?;
                let bytes = self.slice(at, count)?;
                Ok(match kind {
                    kind::STRING => FlexValue::String(String::from_utf8_lossy(bytes).into_owned()),
                    _ => FlexValue::Blob(bytes.to_vec()),
                })
            }
            kind::INDIRECT_INT..=kind::INDIRECT_FLOAT => self.number(at, inner, kind - kind::INDIRECT_INT + kind::INT),
            kind::MAP | kind::VECTOR => {
                let count = self.count(at, inner)?;
                let types_at = at.saturating_add(count.saturating_mul(inner));
                let mut values = Vec::with_capacity(count);
                for index in 0..count {
                    let [packed] = *self.slice(types_at + index, 1)? else { continue };
                    values.push(self.value(at + index * inner, inner, packed, depth + 1)?);
                }
                if kind == kind::VECTOR {
                    return Ok(FlexValue::Vector(values));
                }
                let keys = self.keys(at, inner, count)?;
                Ok(FlexValue::Map(FlexMap { entries: keys.into_iter().zip(values).collect() }))
            }
            kind::VECTOR_INT..=kind::VECTOR_KEY | kind::VECTOR_BOOL => {
                let count = self.count(at, inner)?;
                let element = if kind == kind::VECTOR_BOOL { kind::BOOL } else { kind - kind::VECTOR_INT + kind::INT };
                self.numbers(at, inner, count, element)
            }
            kind::VECTOR_INT_2..=kind::VECTOR_FLOAT_4 => {
                let from = kind - kind::VECTOR_INT_2;
                self.numbers(at, inner, usize::from(from / 3) + 2, from % 3 + kind::INT)
            }
            _ => Err(malformed(format!("got a value of type {kind}"))),
        }
    }

    fn number(&self, at: usize, width: usize, kind: u8) -> Result<FlexValue> {
        match kind {
            kind::INT => Ok(FlexValue::Int(self.signed(at, width)?)),
            kind::UINT => Ok(FlexValue::UInt(self.unsigned(at, width)?)),
            kind::FLOAT => Ok(FlexValue::Float(self.float(at, width)?)),
            kind::BOOL => Ok(FlexValue::Bool(self.unsigned(at, width)? != 0)),
            _ => Ok(FlexValue::String(self.key(self.follow(at, width)?)?)),
        }
    }

    fn numbers(&self, at: usize, width: usize, count: usize, kind: u8) -> Result<FlexValue> {
        let number = |index| self.number(at.saturating_add(width * index), width, kind);
        (0..count).map(number).collect::<Result<_>>().map(FlexValue::Vector)
    }

    /// The keys of the map whose values begin at `at`.
    fn keys(&mut self, at: usize, width: usize, count: usize) -> Result<Vec<String>> {
        let header = at.checked_sub(3 * width).ok_or_else(|| malformed(format!("a map at {at} has no keys")))?;
        let keys = self.follow(header, width)?;
        let key_width = usize::try_from(self.unsigned(header + width, width)?).unwrap_or(0);
        if !is_width(key_width) {
            return Err(malformed(format!("got keys of {key_width} bytes")));
        }
        let key = |index| self.key(self.follow(keys.saturating_add(index * key_width), key_width)?);
        (0..count).map(key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"max": 300, "name": "nms", "scale": 0.5, "sizes": [1, 2, 3], "use": true}` as the Python package `flatbuffers` writes it.
    const MAP: &[u8] = include_bytes!("flexbuffer_map.bin");

    #[test]
    fn a_map_reads_back() {
        let map = FlexMap::read(MAP).unwrap();
        assert_eq!(map.int("max").unwrap(), Some(300));
        assert_eq!(map.string("name").unwrap(), Some("nms"));
        assert_eq!(map.float("scale").unwrap(), Some(0.5));
        assert_eq!(map.bool("use").unwrap(), Some(true));
        assert_eq!(map.float("max").unwrap(), Some(300.0));
        assert_eq!(map.get("sizes"), Some(&FlexValue::Vector([1, 2, 3].map(FlexValue::Int).to_vec())));
        assert_eq!(map.int("absent").unwrap(), None);
        assert!(map.int("name").unwrap_err().to_string().contains("\"name\" is text, expected an integer"));
        assert_eq!(map.iter().count(), 5);
        assert_eq!(FlexMap::read(&[]).unwrap(), FlexMap::default());
    }

    #[test]
    fn damage_is_an_error_or_another_value() {
        for at in 0..MAP.len() {
            for value in [0, 1, 0x24, 0x28, 0x7f, 0xff] {
                let mut bytes = MAP.to_vec();
                bytes[at] = value;
                let _ = FlexValue::read(&bytes);
            }
            let _ = FlexValue::read(&MAP[..at]);
            let _ = FlexValue::read(&MAP[at..]);
        }
    }

    #[test]
    fn a_vector_in_itself_is_refused() {
        // One element, whose offset points to the vector itself.
        let bytes = [1, 0, kind::VECTOR << 2, 2, kind::VECTOR << 2, 1];
        assert!(matches!(FlexValue::read(&bytes), Err(Error::Limit(_))));
    }
}

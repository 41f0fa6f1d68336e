//! Building a file from its end to its beginning, so that every offset points to what already stands.

use std::collections::HashMap;

use litesmith_graph::{Error, Result};

use super::Scalar;
use super::compact::Compact;
use super::vtables::{Slot, TableFields};

/// Something already written: the distance of its first byte from the end of the file, or the number of an object that is
/// still to be laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset(usize);

/// Largest file that the format's signed 32-bit offsets reach.
const MAX_BYTES: usize = i32::MAX as usize;

/// Writes tables, vectors and strings. Equal strings, vectors of numbers and vtables are stored once.
#[derive(Default)]
pub(crate) struct Builder {
    /// The file, last byte first: what is appended stands before everything that is already there.
    reversed: Vec<u8>,
    /// Largest alignment of anything written, which the size of the file must be a multiple of.
    alignment: usize,
    vectors: HashMap<Vec<u8>, Offset>,
    vtables: HashMap<Vec<u8>, Offset>,
    /// Objects to be laid out at the end in as few bytes as possible, instead of all of the above.
    compact: Option<Compact>,
}

impl Builder {
    /// A builder that lays the file out in as few bytes as possible.
    pub(crate) fn compact() -> Self {
        Self { compact: Some(Compact::default()), ..Self::default() }
    }

    /// Whether every byte counts.
    pub(crate) fn is_compact(&self) -> bool {
        self.compact.is_some()
    }

    /// Puts zeros so that, after `size` more bytes, the position is a multiple of `alignment`.
    fn align(&mut self, size: usize, alignment: usize) {
        self.alignment = self.alignment.max(alignment);
        let end = self.reversed.len() + size;
        self.reversed.resize(self.reversed.len() + end.next_multiple_of(alignment) - end, 0);
    }

    fn prepend(&mut self, bytes: &[u8]) -> Offset {
        self.reversed.extend(bytes.iter().rev());
        Offset(self.reversed.len())
    }

    /// The value of an offset field that will stand `field` bytes before the end.
    fn relative(field: usize, target: Offset) -> u32 {
        // Sizes beyond 32 bits are refused by `finish`, so that no file with a cut-off offset leaves the builder.
        u32::try_from(field - target.0).unwrap_or(u32::MAX)
    }

    fn counted(&mut self, count: usize, content: &[u8], alignment: usize) -> Offset {
        if let Some(compact) = &mut self.compact {
            return Offset(compact.vector(count, content, alignment));
        }
        self.align(content.len(), alignment.max(4));
        self.prepend(content);
        self.prepend(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes())
    }

    fn shared(&mut self, kind: u8, count: usize, content: &[u8], alignment: usize) -> Offset {
        let mut key = Vec::with_capacity(content.len() + 1);
        key.push(kind);
        key.extend_from_slice(content);
        if let Some(&offset) = self.vectors.get(&key) {
            return offset;
        }
        let offset = self.counted(count, content, alignment);
        self.vectors.insert(key, offset);
        offset
    }

    pub(crate) fn string(&mut self, text: &str) -> Offset {
        let mut content = text.as_bytes().to_vec();
        content.push(0);
        // The count leaves the final zero out.
        self.shared(0, text.len(), &content, 1)
    }

    /// `None` for an empty string, which readers take for a missing one.
    pub(crate) fn optional_string(&mut self, text: &str) -> Option<Offset> {
        (!text.is_empty()).then(|| self.string(text))
    }

    pub(crate) fn scalars<T: Scalar>(&mut self, elements: &[T]) -> Offset {
        let mut content = Vec::with_capacity(elements.len() * T::SIZE);
        elements.iter().for_each(|&element| element.encode(&mut content));
        self.shared(u8::try_from(T::SIZE).unwrap_or(0), elements.len(), &content, T::SIZE)
    }

    /// A `[ubyte]` vector whose first byte is aligned to 16 in the file, as tensor data is; in a compact file to the
    /// `element_bytes`, of which it consists.
    pub(crate) fn data(&mut self, bytes: &[u8], element_bytes: usize) -> Offset {
        let alignment = if self.is_compact() { element_bytes } else { 16 };
        self.counted(bytes.len(), bytes, alignment)
    }

    pub(crate) fn offsets(&mut self, targets: &[Offset]) -> Offset {
        if let Some(compact) = &mut self.compact {
            return Offset(compact.offsets(targets.iter().map(|target| target.0).collect()));
        }
        let size = 4 * targets.len();
        self.align(size, 4);
        let first = self.reversed.len() + size;
        let mut content = Vec::with_capacity(size);
        for (index, &target) in targets.iter().enumerate() {
            content.extend_from_slice(&Self::relative(first - 4 * index, target).to_le_bytes());
        }
        self.prepend(&content);
        self.prepend(&u32::try_from(targets.len()).unwrap_or(u32::MAX).to_le_bytes())
    }

    /// A table of `fields`. Wide fields come first, so that little is lost to alignment.
    pub(crate) fn table(&mut self, fields: Fields) -> Offset {
        if let Some(compact) = &mut self.compact {
            let slot = |field: Field| match field.value {
                Value::Scalar(bytes) => (field.number, Slot::Scalar(bytes)),
                Value::Offset(target) => (field.number, Slot::Offset(target.0)),
            };
            let stored = fields.stored.into_iter().map(slot).collect();
            return Offset(compact.table(TableFields { stored, defaults: fields.defaults }));
        }
        let mut fields = fields.stored;
        fields.sort_by_key(|field| (std::cmp::Reverse(field.value.size()), field.number));
        let alignment = fields.first().map_or(4, |field| field.value.size().max(4));
        let mut size = 4_usize;
        let mut places = Vec::with_capacity(fields.len());
        for field in &fields {
            size = size.next_multiple_of(field.value.size());
            places.push(size);
            size += field.value.size();
        }
        self.align(size, alignment);
        let start = self.reversed.len() + size;

        let last = fields.iter().map(|field| field.number + 1).max().unwrap_or(0);
        let mut vtable = vec![0_u8; 4 + 2 * last];
        let put = |vtable: &mut Vec<u8>, at: usize, value: usize| {
            let value = u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes();
            vtable.iter_mut().skip(at).zip(value).for_each(|(slot, byte)| *slot = byte);
        };
        let vtable_size = vtable.len();
        put(&mut vtable, 0, vtable_size);
        put(&mut vtable, 2, size);
        for (field, &place) in fields.iter().zip(&places) {
            put(&mut vtable, 4 + 2 * field.number, place);
        }
        let known = self.vtables.get(&vtable).copied();
        let vtable_at = known.map_or(start + vtable.len(), |offset| offset.0);
        let back = i64::try_from(vtable_at).unwrap_or(i64::MAX) - i64::try_from(start).unwrap_or(i64::MAX);

        let mut content = i32::try_from(back).unwrap_or(i32::MAX).to_le_bytes().to_vec();
        for (field, &place) in fields.iter().zip(&places) {
            content.resize(place, 0);
            match &field.value {
                Value::Scalar(bytes) => content.extend_from_slice(bytes),
                Value::Offset(target) => {
                    content.extend_from_slice(&Self::relative(start - place, *target).to_le_bytes());
                }
            }
        }
        let table = self.prepend(&content);
        if known.is_none() {
            let offset = self.prepend(&vtable);
            self.vtables.insert(vtable, offset);
        }
        table
    }

    /// The file with `root` as its root table.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when it is larger than 32-bit offsets reach.
    pub(crate) fn finish(mut self, root: Offset, identifier: [u8; 4]) -> Result<Vec<u8>> {
        let bytes = if let Some(compact) = &self.compact {
            compact.finish(root.0, identifier)?
        } else {
            let alignment = self.alignment.max(4);
            self.align(8, alignment);
            self.prepend(&identifier);
            let at = self.reversed.len() + 4;
            self.prepend(&Self::relative(at, root).to_le_bytes());
            self.reversed.reverse();
            self.reversed
        };
        if bytes.len() > MAX_BYTES {
            return Err(Error::unsupported(
                "",
                format!("the model takes {} bytes, a .tflite file at most {MAX_BYTES}", bytes.len()),
            ));
        }
        Ok(bytes)
    }
}

enum Value {
    Scalar(Vec<u8>),
    Offset(Offset),
}

impl Value {
    fn size(&self) -> usize {
        match self {
            Self::Scalar(bytes) => bytes.len(),
            Self::Offset(_) => 4,
        }
    }
}

struct Field {
    number: usize,
    value: Value,
}

/// The fields of a table to be written; those equal to their default are left out.
#[derive(Default)]
pub(crate) struct Fields {
    stored: Vec<Field>,
    /// Numbers and values of those left out.
    defaults: Vec<(usize, Vec<u8>)>,
}

impl Fields {
    /// Whether nothing is to be stored.
    pub(crate) fn is_default(&self) -> bool {
        self.stored.is_empty()
    }

    pub(crate) fn scalar<T: Scalar>(&mut self, number: usize, value: T, default: T) -> &mut Self {
        let mut bytes = Vec::with_capacity(T::SIZE);
        value.encode(&mut bytes);
        if value == default {
            self.defaults.push((number, bytes));
        } else {
            self.stored.push(Field { number, value: Value::Scalar(bytes) });
        }
        self
    }

    pub(crate) fn offset(&mut self, number: usize, target: impl Into<Option<Offset>>) -> &mut Self {
        if let Some(target) = target.into() {
            self.stored.push(Field { number, value: Value::Offset(target) });
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::File;
    use super::*;

    #[test]
    fn what_is_built_reads_back_aligned_and_shared() {
        read_back(Builder::default(), 16);
        read_back(Builder::compact(), 4);
    }

    fn read_back(mut builder: Builder, alignment: usize) {
        let data = builder.data(&[7; 5], 1);
        let numbers = builder.scalars(&[1_i64, -2]);
        assert_eq!(builder.scalars(&[1_i64, -2]), numbers);
        let name = builder.string("name");
        let mut inner = Fields::default();
        inner.scalar(0, 3_i8, 0).scalar(2, 1.5_f32, 0.0).scalar(3, 0_i32, 0);
        let inner = builder.table(inner);
        let children = builder.offsets(&[inner, inner]);
        let mut root = Fields::default();
        root.offset(0, data).offset(1, numbers).offset(2, name).offset(4, children).scalar(5, u64::MAX, 0);
        let root = builder.table(root);
        let bytes = builder.finish(root, *b"TEST").unwrap();

        let file = File::new(&bytes, 1000);
        let root = file.root(*b"TEST").unwrap();
        let data = root.bytes(0).unwrap().unwrap();
        assert_eq!(data, [7; 5]);
        assert_eq!((data.as_ptr() as usize - bytes.as_ptr() as usize) % alignment, 0);
        assert_eq!(root.scalars::<i64>(1).unwrap().unwrap(), [1, -2]);
        assert_eq!(root.string(2).unwrap(), "name");
        assert_eq!(root.string(3).unwrap(), "");
        assert_eq!(root.scalar(5, 0_u64).unwrap(), u64::MAX);
        assert_eq!(root.scalar(9, 4_u64).unwrap(), 4);
        let children = root.tables(4).unwrap();
        assert_eq!(children.len(), 2);
        assert_eq!(children[1].scalar(0, 0_i8).unwrap(), 3);
        assert_eq!(children[1].scalar(2, 0.0_f32).unwrap(), 1.5);
        assert!(!children[1].has(3).unwrap());
        assert_eq!(root.unknown_field(5).unwrap(), Some(5));
        assert!(File::new(&bytes, 1000).root(*b"TFL3").is_err());
    }

    #[test]
    fn tables_named_over_and_over_run_out_of_budget() {
        let mut builder = Builder::default();
        let leaf = builder.table(Fields::default());
        let many = builder.offsets(&[leaf; 1000]);
        let mut root = Fields::default();
        root.offset(0, many);
        let root = builder.table(root);
        let bytes = builder.finish(root, *b"TEST").unwrap();
        assert_eq!(File::new(&bytes, 30_000).root(*b"TEST").unwrap().tables(0).unwrap().len(), 1000);
        let file = File::new(&bytes, 10_000);
        let error = file.root(*b"TEST").unwrap().tables(0).err().unwrap();
        assert!(matches!(error, Error::Limit(_)), "{error}");
    }
}

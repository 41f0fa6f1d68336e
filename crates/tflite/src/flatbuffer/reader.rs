//! Reading tables: nothing is trusted, each access checks the bytes that it touches.

use std::cell::Cell;

use litesmith_graph::{Error, Result};

use super::Scalar;

/// Bytes charged for opening a table, so that a vector which names one table many times runs out of budget.
const TABLE_COST: usize = 16;

/// A file, and how many bytes may still be read from it. Overlapping tables and vectors are charged each time, which
/// bounds time and memory by the budget instead of by what a hostile file claims.
pub(crate) struct File<'a> {
    bytes: &'a [u8],
    budget: Cell<usize>,
}

impl<'a> File<'a> {
    pub(crate) fn new(bytes: &'a [u8], budget: usize) -> Self {
        Self { bytes, budget: Cell::new(budget) }
    }

    /// The root table of a file with the four-byte `identifier`.
    pub(crate) fn root(&'a self, identifier: [u8; 4]) -> Result<Table<'a>> {
        match self.bytes.get(4..8) {
            Some(found) if found == identifier => {}
            Some(found) => {
                return Err(Error::malformed(
                    "byte 4",
                    format!(
                        "got the identifier \"{}\", expected \"{}\"",
                        found.escape_ascii(),
                        identifier.escape_ascii()
                    ),
                )
                .with_hint("it is a file of another format, or a damaged one"));
            }
            None => {
                let message = format!("got {} bytes, expected at least 8", self.bytes.len());
                return Err(Error::malformed("", message).with_hint("the file is empty or cut off: get it again"));
            }
        }
        self.table(self.follow(0)?)
    }

    /// `size` bytes anywhere in the file, charged to the budget.
    pub(crate) fn region(&self, offset: usize, size: usize) -> Result<&'a [u8]> {
        self.charge(offset, size)?;
        let end = offset.checked_add(size);
        end.and_then(|end| self.bytes.get(offset..end)).ok_or_else(|| outside(offset, size, self.bytes.len()))
    }

    fn charge(&self, at: usize, size: usize) -> Result<()> {
        match self.budget.get().checked_sub(size) {
            Some(left) => {
                self.budget.set(left);
                Ok(())
            }
            None => Err(Error::limit(
                format!("byte {at}"),
                "tables and vectors overlap so often that reading them all would exceed the limit",
            )
            .with_hint("raise the limit if the file is trusted: --limit expansion=N, Limits::expansion")),
        }
    }

    fn scalar<T: Scalar>(&self, at: usize) -> Result<T> {
        self.bytes.get(at..).and_then(T::decode).ok_or_else(|| outside(at, T::SIZE, self.bytes.len()))
    }

    /// The position that the offset stored at `at` points to.
    fn follow(&self, at: usize) -> Result<usize> {
        let offset: u32 = self.scalar(at)?;
        let target = usize::try_from(offset).ok().and_then(|offset| at.checked_add(offset));
        match target {
            Some(target) if offset != 0 && target < self.bytes.len() => Ok(target),
            _ => Err(Error::malformed(
                format!("byte {at}"),
                format!("the offset {offset} points outside the file of {} bytes", self.bytes.len()),
            )),
        }
    }

    fn table(&'a self, at: usize) -> Result<Table<'a>> {
        self.charge(at, TABLE_COST)?;
        let back: i32 = self.scalar(at)?;
        let vtable = i64::try_from(at).ok().map(|at| at - i64::from(back));
        let Some(vtable) = vtable.and_then(|vtable| usize::try_from(vtable).ok()) else {
            return Err(Error::malformed(format!("byte {at}"), format!("the vtable offset {back} leaves the file")));
        };
        let size: u16 = self.scalar(vtable)?;
        let size = usize::from(size);
        if size < 4 || size % 2 != 0 || self.bytes.len() - vtable < size {
            return Err(Error::malformed(format!("byte {vtable}"), format!("a vtable of {size} bytes")));
        }
        Ok(Table { file: self, at, vtable, fields: (size - 4) / 2 })
    }

    /// Where the elements of the vector at `at` begin, and how many there are.
    fn vector(&self, at: usize, element_size: usize) -> Result<(usize, usize)> {
        let count: u32 = self.scalar(at)?;
        let start = at + 4;
        let size = usize::try_from(count).ok().and_then(|count| count.checked_mul(element_size));
        match size {
            Some(size) if size <= self.bytes.len() - start => {
                self.charge(at, size)?;
                Ok((start, size / element_size))
            }
            _ => Err(Error::malformed(
                format!("byte {at}"),
                format!("a vector of {count} elements does not fit the file of {} bytes", self.bytes.len()),
            )),
        }
    }
}

fn outside(at: usize, size: usize, len: usize) -> Error {
    Error::malformed(format!("byte {at}"), format!("expected {size} bytes here, but the file has {len}"))
        .with_hint("the file may be truncated: compare its size with the original")
}

/// A table, whose fields are addressed by their number in the schema.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    file: &'a File<'a>,
    at: usize,
    vtable: usize,
    fields: usize,
}

impl<'a> Table<'a> {
    /// Where a field is stored; `None` when it has its default.
    fn field(&self, field: usize) -> Result<Option<usize>> {
        if field >= self.fields {
            return Ok(None);
        }
        let offset: u16 = self.file.scalar(self.vtable + 4 + 2 * field)?;
        Ok((offset != 0).then(|| self.at + usize::from(offset)))
    }

    /// Charges `bytes` that are made from this table to the budget of the file.
    pub(crate) fn charge(&self, bytes: usize) -> Result<()> {
        self.file.charge(self.at, bytes)
    }

    /// Whether the field is stored.
    pub(crate) fn has(&self, field: usize) -> Result<bool> {
        Ok(self.field(field)?.is_some())
    }

    /// The first stored field whose number is `known` or more.
    pub(crate) fn unknown_field(&self, known: usize) -> Result<Option<usize>> {
        for field in known..self.fields {
            if self.has(field)? {
                return Ok(Some(field));
            }
        }
        Ok(None)
    }

    pub(crate) fn scalar<T: Scalar>(&self, field: usize, default: T) -> Result<T> {
        self.field(field)?.map_or(Ok(default), |at| self.file.scalar(at))
    }

    pub(crate) fn table(&self, field: usize) -> Result<Option<Table<'a>>> {
        self.field(field)?.map(|at| self.file.table(self.file.follow(at)?)).transpose()
    }

    pub(crate) fn tables(&self, field: usize) -> Result<Vec<Table<'a>>> {
        let Some(at) = self.field(field)? else {
            return Ok(Vec::new());
        };
        let (start, count) = self.file.vector(self.file.follow(at)?, 4)?;
        (0..count).map(|index| self.file.table(self.file.follow(start + 4 * index)?)).collect()
    }

    /// How many elements a vector has, without reading them.
    pub(crate) fn count(&self, field: usize) -> Result<usize> {
        let Some(at) = self.field(field)? else {
            return Ok(0);
        };
        let count: u32 = self.file.scalar(self.file.follow(at)?)?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// The bytes of a `[ubyte]` vector; `None` when it is not stored.
    pub(crate) fn bytes(&self, field: usize) -> Result<Option<&'a [u8]>> {
        let Some(at) = self.field(field)? else {
            return Ok(None);
        };
        let (start, count) = self.file.vector(self.file.follow(at)?, 1)?;
        Ok(self.file.bytes.get(start..start + count))
    }

    /// The elements of a vector of numbers; `None` when it is not stored.
    pub(crate) fn scalars<T: Scalar>(&self, field: usize) -> Result<Option<Vec<T>>> {
        let Some(at) = self.field(field)? else {
            return Ok(None);
        };
        let (start, count) = self.file.vector(self.file.follow(at)?, T::SIZE)?;
        (0..count).map(|index| self.file.scalar(start + T::SIZE * index)).collect::<Result<_>>().map(Some)
    }

    /// A string, empty when it is not stored. Bytes that are not UTF-8 become replacement characters: names are only
    /// shown.
    pub(crate) fn string(&self, field: usize) -> Result<String> {
        Ok(self.bytes(field)?.map_or_else(String::new, |bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    /// A part of the file outside the tables, at a stored 64-bit offset.
    pub(crate) fn distant_region(&self, offset: u64, size: u64) -> Result<&'a [u8]> {
        match (usize::try_from(offset), usize::try_from(size)) {
            (Ok(offset), Ok(size)) => self.file.region(offset, size),
            _ => Err(Error::malformed("", format!("{size} bytes at {offset} leave the file"))),
        }
    }
}

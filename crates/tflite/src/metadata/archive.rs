//! The ZIP archive behind the model. Its offsets count from the start of the whole file, as when a ZIP tool appends to
//! an existing file, so that any unpacker opens the `.tflite` itself.
//!
//! The layout is written and parsed here because a reader for hostile files must give up after one look at the end of
//! the file, where general ones try every signature that they find in the weights.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;
use litesmith_graph::{Error, Result};

/// Record before each file, in the directory, and at the end of an archive: signature and bytes of the fixed part.
const LOCAL: ([u8; 4], usize) = (*b"PK\x03\x04", 30);
const DIRECTORY: ([u8; 4], usize) = (*b"PK\x01\x02", 46);
const END: ([u8; 4], usize) = (*b"PK\x05\x06", 22);

/// The longest comment that may follow the record at the end.
const LONGEST_COMMENT: usize = 65_535;
/// Ways to store a file.
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Version 2.0 of the format; in the directory, made on Unix, so that the permissions below count.
const VERSION: u16 = 20;
const MADE_BY: u16 = 3 << 8 | VERSION;
/// A regular file that everybody may read.
const PERMISSIONS: u32 = 0o100_644 << 16;
/// The first of January 1980, the earliest date that the format knows.
const DATE: u16 = 1 << 5 | 1;

/// The directory of the archive at the end of a file.
pub(super) struct Archive<'a> {
    file: &'a [u8],
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    method: u16,
    is_encrypted: bool,
    crc: u32,
    packed: usize,
    size: usize,
    /// Where its local record stands in the file.
    at: usize,
}

/// Name and unpacked bytes of every file packed behind the model.
pub(crate) fn associated_files(file: &[u8]) -> Vec<(String, usize)> {
    let entries = Archive::open(file).map(|archive| archive.entries).unwrap_or_default();
    entries.into_iter().map(|(name, entry)| (name, entry.size)).collect()
}

impl<'a> Archive<'a> {
    /// The archive at the end of `file`; `None` when there is none.
    pub(super) fn open(file: &'a [u8]) -> Option<Self> {
        // Weights may contain the signature by chance: only one counts that a comment of the stated length follows up
        // to the end of the file.
        let first = file.len().saturating_sub(END.1 + LONGEST_COMMENT);
        let is_end = |&at: &usize| {
            file[at..].starts_with(&END.0)
                && number(file, at + 20, 2).is_some_and(|comment| at + END.1 + comment == file.len())
        };
        let end = (first..=file.len().checked_sub(END.1)?).rev().find(is_end)?;
        let (size, offset) = (number(file, end + 12, 4)?, number(file, end + 16, 4)?);
        let start = end.checked_sub(size)?;
        // Tools that do not know of the model before the archive count from where the archive begins.
        let base = start.checked_sub(offset)?;
        let mut entries = BTreeMap::new();
        let mut at = start;
        while at < end {
            let record = file.get(at..at + DIRECTORY.1)?;
            if !record.starts_with(&DIRECTORY.0) {
                return None;
            }
            let [name, extra, comment] = [28, 30, 32].map(|field| number(record, field, 2).unwrap_or(0));
            let text = file.get(at + DIRECTORY.1..at + DIRECTORY.1 + name)?;
            let entry = Entry {
                method: u16::try_from(number(record, 10, 2)?).ok()?,
                is_encrypted: record[8] & 1 != 0,
                crc: u32::try_from(number(record, 16, 4)?).ok()?,
                packed: number(record, 20, 4)?,
                size: number(record, 24, 4)?,
                at: base.checked_add(number(record, 42, 4)?)?,
            };
            entries.insert(String::from_utf8_lossy(text).into_owned(), entry);
            at += DIRECTORY.1 + name + extra + comment;
        }
        Some(Self { file, entries })
    }

    /// Names of the packed files, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Unpacks one file of at most `limit` bytes.
    pub(super) fn unpack(&self, name: &str, limit: usize) -> Result<Vec<u8>> {
        let malformed = |message: &str| Error::malformed(format!("associated file \"{name}\""), message);
        let Some(entry) = self.entries.get(name) else {
            return Err(malformed("it is named, but not packed behind the model"));
        };
        if entry.is_encrypted {
            return Err(malformed("it is encrypted"));
        }
        if entry.size > limit {
            return Err(Error::limit(
                format!("associated file \"{name}\""),
                format!("it has {} bytes, the limit is {limit}", entry.size),
            )
            .with_hint("raise the limit: --limit associated-file-bytes=N, Limits::associated_file_bytes"));
        }
        let packed = self.packed(entry).ok_or_else(|| malformed("its place in the archive is outside the file"))?;
        let mut bytes = Vec::new();
        match entry.method {
            STORED => bytes.extend_from_slice(packed),
            DEFLATED => {
                // One byte more than stated shows that the statement is wrong.
                let at_most = u64::try_from(entry.size).unwrap_or(u64::MAX).saturating_add(1);
                DeflateDecoder::new(packed)
                    .take(at_most)
                    .read_to_end(&mut bytes)
                    .map_err(|error| malformed(&error.to_string()))?;
            }
            method => {
                return Err(malformed(&format!("compression method {method}, expected 0 (stored) or 8 (deflate)")));
            }
        }
        if bytes.len() != entry.size || crc(&bytes) != entry.crc {
            return Err(malformed("its bytes do not match their checksum"));
        }
        Ok(bytes)
    }

    fn packed(&self, entry: &Entry) -> Option<&'a [u8]> {
        let record = self.file.get(entry.at..entry.at.checked_add(LOCAL.1)?)?;
        if !record.starts_with(&LOCAL.0) {
            return None;
        }
        let start = entry.at + LOCAL.1 + number(record, 26, 2)? + number(record, 28, 2)?;
        self.file.get(start..start.checked_add(entry.packed)?)
    }
}

/// A little-endian number of `size` bytes.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    bytes.iter().rev().try_fold(0_usize, |number, &byte| number.checked_mul(256)?.checked_add(usize::from(byte)))
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Appends `files` (name and content) to a model, uncompressed and without a date, so that the result depends on
/// nothing else.
///
/// # Errors
/// [`Error::Invalid`] when the file becomes larger than ZIP holds.
pub(crate) fn append(mut model: Vec<u8>, files: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    if files.is_empty() {
        return Ok(model);
    }
    let fit = |value: usize| {
        u32::try_from(value)
            .map_err(|_| Error::invalid("associated files", "the file is larger than 4 GB, beyond what ZIP holds"))
    };
    let mut directory = Vec::new();
    for (name, content) in files {
        let at = fit(model.len())?;
        let mut shared = Vec::new();
        for field in [VERSION, 0, STORED, 0, DATE] {
            shared.extend_from_slice(&field.to_le_bytes());
        }
        for field in [crc(content), fit(content.len())?, fit(content.len())?] {
            shared.extend_from_slice(&field.to_le_bytes());
        }
        let length = u16::try_from(name.len()).map_err(|_| Error::invalid(name, "the name is too long for ZIP"))?;
        shared.extend_from_slice(&length.to_le_bytes());
        shared.extend_from_slice(&[0; 2]);

        model.extend_from_slice(&LOCAL.0);
        model.extend_from_slice(&shared);
        model.extend_from_slice(name.as_bytes());
        model.extend_from_slice(content);

        directory.extend_from_slice(&DIRECTORY.0);
        directory.extend_from_slice(&MADE_BY.to_le_bytes());
        directory.extend_from_slice(&shared);
        // No comment, disk 0, no internal attributes.
        directory.extend_from_slice(&[0; 6]);
        directory.extend_from_slice(&PERMISSIONS.to_le_bytes());
        directory.extend_from_slice(&at.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let at = fit(model.len())?;
    let size = fit(directory.len())?;
    let count = u16::try_from(files.len()).map_err(|_| Error::invalid("associated files", "too many for ZIP"))?;
    model.append(&mut directory);
    model.extend_from_slice(&END.0);
    model.extend_from_slice(&[0; 4]);
    for field in [count, count] {
        model.extend_from_slice(&field.to_le_bytes());
    }
    for field in [size, at] {
        model.extend_from_slice(&field.to_le_bytes());
    }
    model.extend_from_slice(&[0; 2]);
    Ok(model)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    fn two_files() -> Vec<u8> {
        let files = [("a.txt".to_owned(), b"first\n".to_vec()), ("b.txt".to_owned(), vec![b'x'; 1000])];
        append(b"PK\x05\x06 is what these weights begin with".to_vec(), &files).unwrap()
    }

    /// The same archive with the last file deflated, and its size stated as `size`.
    fn deflated(size: u32) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&[b'x'; 1000]).unwrap();
        let packed = encoder.finish().unwrap();
        let mut bytes = two_files();
        let at = bytes.windows(1000).position(|window| window == [b'x'; 1000]).unwrap();
        bytes.splice(at..at + 1000, packed.iter().copied());
        let end = bytes.len() - END.1;
        let start = bytes.windows(4).position(|window| window == DIRECTORY.0).unwrap();
        bytes[end + 16..end + 20].copy_from_slice(&u32::try_from(start).unwrap().to_le_bytes());
        let second = end - DIRECTORY.1 - 5;
        bytes[second + 10] = 8;
        bytes[second + 20..second + 24].copy_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
        bytes[second + 24..second + 28].copy_from_slice(&size.to_le_bytes());
        bytes
    }

    #[test]
    fn what_is_packed_unpacks() {
        let bytes = two_files();
        let archive = Archive::open(&bytes).unwrap();
        assert_eq!(archive.names().collect::<Vec<_>>(), ["a.txt", "b.txt"]);
        assert_eq!(archive.unpack("a.txt", 6).unwrap(), b"first\n");
        assert!(matches!(archive.unpack("a.txt", 5), Err(Error::Limit(_))));
        assert!(archive.unpack("c.txt", 5).unwrap_err().to_string().contains("not packed"));
        let bytes = deflated(1000);
        assert_eq!(Archive::open(&bytes).unwrap().unpack("b.txt", 1000).unwrap(), [b'x'; 1000]);
    }

    #[test]
    fn archives_that_lie_are_refused() {
        for size in [0, 999, 1001] {
            let bytes = deflated(size);
            let error = Archive::open(&bytes).unwrap().unpack("b.txt", 2000).unwrap_err().to_string();
            assert!(error.contains("checksum"), "{error}");
        }
        let good = two_files();
        let without = &good[..good.len() - 1];
        assert!(Archive::open(without).is_none());
        assert!(Archive::open(b"").is_none());
        let first = good.windows(4).position(|window| window == LOCAL.0).unwrap();
        for at in first..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 0x55;
            if let Some(archive) = Archive::open(&bytes) {
                for name in ["a.txt", "b.txt"] {
                    let _ = archive.unpack(name, 4096);
                }
            }
        }
    }
}

//! The ZIP archive behind the model. Its offsets count from the start of the whole file, as when a ZIP tool appends to
//! an existing file, so that any unpacker opens the `.tflite` itself.

use std::io::{Cursor, Read, Seek, SeekFrom, Write};

use litesmith_graph::{Error, Result};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

/// Signature of the record that ends a ZIP archive.
const END_OF_ARCHIVE: [u8; 4] = *b"PK\x05\x06";
/// Bytes of that record without its comment, and the longest comment.
const END_SIZE: usize = 22;
const LONGEST_COMMENT: usize = 65_535;

/// The archive at the end of `file`; `None` when there is none.
pub(super) fn open(file: &[u8]) -> Option<ZipArchive<Cursor<&[u8]>>> {
    // Weights may contain the signature by chance: only one that a comment of the stated length follows up to the end
    // of the file counts.
    let start = file.len().saturating_sub(END_SIZE + LONGEST_COMMENT);
    let tail = file.get(start..)?;
    let is_end = |window: &[u8]| window.starts_with(&END_OF_ARCHIVE);
    let fits = |at: usize| {
        let length = tail.get(at + 20..at + 22)?;
        let comment = usize::from(u16::from_le_bytes(length.try_into().ok()?));
        (at + END_SIZE + comment == tail.len()).then_some(())
    };
    tail.windows(END_SIZE).enumerate().rev().find(|(at, window)| is_end(window) && fits(*at).is_some())?;
    ZipArchive::new(Cursor::new(file)).ok()
}

/// Unpacks one file of at most `limit` bytes.
pub(super) fn unpack(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str, limit: usize) -> Result<Vec<u8>> {
    let place = || format!("associated file \"{name}\"");
    let malformed = |error: zip::result::ZipError| Error::malformed(place(), error);
    let entry = archive.by_name(name).map_err(malformed)?;
    let mut bytes = Vec::new();
    let at_most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    entry.take(at_most).read_to_end(&mut bytes).map_err(|error| Error::malformed(place(), error))?;
    if bytes.len() > limit {
        return Err(Error::limit(place(), format!("it has more than {limit} bytes"))
            .with_hint("raise Limits::associated_file_bytes"));
    }
    Ok(bytes)
}

/// Appends `files` (name and content) to a model, uncompressed and without a date, so that the result depends on
/// nothing else.
///
/// # Errors
/// [`Error::Invalid`] when a name or size is beyond what ZIP holds.
pub(crate) fn append(model: Vec<u8>, files: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    if files.is_empty() {
        return Ok(model);
    }
    let failed = |name: &str, error: &dyn std::fmt::Display| {
        Error::invalid(format!("associated file \"{name}\""), format!("cannot be packed: {error}"))
    };
    let mut cursor = Cursor::new(model);
    cursor.seek(SeekFrom::End(0)).map_err(|error| failed("", &error))?;
    let mut archive = ZipWriter::new(cursor);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default());
    for (name, content) in files {
        archive.start_file(name.as_str(), options).map_err(|error| failed(name, &error))?;
        archive.write_all(content).map_err(|error| failed(name, &error))?;
    }
    let cursor = archive.finish().map_err(|error| failed("", &error))?;
    Ok(cursor.into_inner())
}

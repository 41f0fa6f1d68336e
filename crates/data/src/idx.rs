//! IDX files, plain or gzipped: the format of MNIST.
//!
//! Two zero bytes, a byte for the type of the numbers, a byte for the number of dimensions, each dimension as a
//! big-endian `u32`, then the numbers, big-endian, the last dimension fastest.

use std::io::Read;
use std::path::Path;

use litesmith_graph::{Error, Result};

use crate::arrays::{Element, Rows, Storage, Table};
use crate::files::{self, SharedFile};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Deflate cannot do better than 258 bytes for two bits.
pub(crate) const DEFLATE_RATIO_MAX: u64 = 1032;
/// The longest header: 255 dimensions.
const HEADER_BYTES_MAX: usize = 4 + 4 * 255;

/// What the start of an IDX file says.
#[derive(Debug, Clone, PartialEq)]
struct Header {
    element: Element,
    dims: Vec<usize>,
    /// Header and numbers.
    total_bytes: u64,
}

impl Header {
    fn bytes(&self) -> usize {
        4 + 4 * self.dims.len()
    }

    /// Reads the header from the start of a file of which `start` are the first bytes.
    fn read(start: &[u8]) -> Result<Self> {
        let short =
            |what: &str| Error::malformed(format!("byte {}", start.len()), format!("the file ends in its {what}"));
        let Some(&[zero, zero2, code, rank]) = start.first_chunk::<4>() else {
            return Err(short("4-byte magic number"));
        };
        if (zero, zero2) != (0, 0) {
            return Err(Error::malformed("byte 0", format!("got magic bytes {zero:02x} {zero2:02x}, expected 00 00"))
                .with_hint("this is no IDX file; MNIST's are, plain or as .gz"));
        }
        let element = match code {
            0x08 => Element::U8,
            0x09 => Element::I8,
            0x0b => Element::I16,
            0x0c => Element::I32,
            0x0d => Element::F32,
            0x0e => Element::F64,
            _ => {
                let expected = "08 (u8), 09 (i8), 0b (i16), 0c (i32), 0d (f32) or 0e (f64)";
                return Err(Error::malformed("byte 2", format!("got element type {code:02x}, expected {expected}")));
            }
        };
        let sizes = start.get(4..4 + 4 * usize::from(rank)).ok_or_else(|| short("list of dimensions"))?;
        let dims: Vec<usize> = sizes.as_chunks::<4>().0.iter().map(|c| u32::from_be_bytes(*c) as usize).collect();
        if dims.is_empty() {
            return Err(Error::malformed("byte 3", "got 0 dimensions, expected at least 1"));
        }
        let total = dims.iter().try_fold(element.bytes() as u64, |n, &d| n.checked_mul(d as u64));
        let total = total.and_then(|n| n.checked_add(4 + sizes.len() as u64)).filter(|&n| n <= isize::MAX as u64);
        match total {
            Some(total_bytes) => Ok(Self { element, dims, total_bytes }),
            None => Err(Error::malformed("byte 4", format!("got dimensions {dims:?}, more than any file holds"))),
        }
    }
}

/// An IDX file: a gzipped one is decompressed into memory, a plain one stays on disk and is read row by row.
pub(crate) fn open_idx(path: &Path, memory_bytes_max: u64) -> Result<Table> {
    let place = path.display();
    let file = files::open(path)?;
    let size = files::size_of(&file, path)?;
    let mut start = Vec::new();
    (&file).take(HEADER_BYTES_MAX as u64).read_to_end(&mut start).map_err(|e| Error::io(place.to_string(), e))?;
    if start.starts_with(&GZIP_MAGIC) {
        drop(file);
        let compressed = files::read_bounded(path, memory_bytes_max)?;
        return read_gzipped(&compressed, memory_bytes_max)
            .and_then(|c| table_in_memory(path, c))
            .map_err(|e| e.at(place));
    }
    let header = Header::read(&start).map_err(|e| e.at(place.to_string()))?;
    check_size(&header, size).map_err(|e| e.at(place))?;
    table(path, &header, Storage::File(SharedFile::new(file)))
}

/// An IDX file of which the (decompressed) bytes are in memory.
pub(crate) fn table_in_memory(path: &Path, content: Vec<u8>) -> Result<Table> {
    let header = Header::read(&content)?;
    check_size(&header, content.len() as u64)?;
    table(path, &header, Storage::Memory(content))
}

fn table(path: &Path, header: &Header, storage: Storage) -> Result<Table> {
    let (count, row_dims) = match header.dims.split_first() {
        // One number in a row: labels.
        Some((&count, [])) => (count, vec![1]),
        Some((&count, row)) => (count, row.to_vec()),
        None => return Err(Error::malformed(path.display(), "got no dimensions")),
    };
    let rows = Rows {
        place: path.display().to_string(),
        storage,
        start: header.bytes() as u64,
        element: header.element,
        big_endian: true,
        count,
        // The product of all dimensions was checked, but not where one of them is 0.
        row_elements: row_dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(0),
    };
    Ok(Table { rows, row_dims })
}

fn check_size(header: &Header, size: u64) -> Result<()> {
    let expected = header.total_bytes;
    if size == expected {
        return Ok(());
    }
    let what = if size < expected { "the file is cut off" } else { "bytes follow the last number" };
    let place = format!("byte {}", size.min(expected));
    Err(Error::malformed(
        place,
        format!("{what}: got {size} bytes, expected {expected} for dimensions {:?}", header.dims),
    )
    .with_hint("fetch or write the file again"))
}

/// Decompresses a gzipped IDX file. No more memory is taken than its header declares, and none for a header that
/// declares more than so many compressed bytes can hold.
pub(crate) fn read_gzipped(compressed: &[u8], memory_bytes_max: u64) -> Result<Vec<u8>> {
    let mut decoder = flate2::bufread::MultiGzDecoder::new(compressed);
    let mut content = Vec::new();
    let offset = |decoder: &flate2::bufread::MultiGzDecoder<&[u8]>| compressed.len() - decoder.get_ref().len();
    let broken = |e: &std::io::Error, at: usize, got: usize, expected: Option<u64>| {
        let expected = expected.map_or(String::new(), |n| format!(" of {n}"));
        let what = match e.kind() {
            std::io::ErrorKind::UnexpectedEof => "the gzip stream is cut off".to_string(),
            _ => format!("the gzip stream is broken ({e})"),
        };
        Error::malformed(format!("compressed byte {at}"), format!("{what} after {got} decompressed bytes{expected}"))
            .with_hint("fetch or write the file again; `gzip -t` checks it")
    };
    // Byte by byte, because a read that fails says nothing of what came before it.
    let mut byte = [0];
    let mut wanted = 4;
    while content.len() < wanted {
        match decoder.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => content.extend_from_slice(&byte),
            Err(e) => return Err(broken(&e, offset(&decoder), content.len(), None)),
        }
        if let [_, _, _, rank] = content[..] {
            wanted += 4 * usize::from(rank);
        }
    }
    let header = Header::read(&content)?;
    let expected = header.total_bytes;
    if expected > (compressed.len() as u64).saturating_mul(DEFLATE_RATIO_MAX) {
        return Err(Error::malformed(
            "decompressed byte 4",
            format!(
                "got dimensions {:?}, {expected} bytes, more than {} compressed bytes can hold",
                header.dims,
                compressed.len()
            ),
        ));
    }
    if expected > memory_bytes_max {
        return Err(Error::limit("", format!("decompresses to {expected} bytes, the limit is {memory_bytes_max}"))
            .with_hint("decompress it with gunzip: a plain file is read from disk as needed"));
    }
    let room = usize::try_from(expected).ok().filter(|&n| content.try_reserve_exact(n - content.len().min(n)).is_ok());
    let Some(total) = room else {
        return Err(Error::limit("", format!("no memory for {expected} bytes")).with_hint("decompress it with gunzip"));
    };
    let mut filled = content.len();
    content.resize(total.max(filled), 0);
    while let Some(rest) = content.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match decoder.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) => return Err(broken(&e, offset(&decoder), filled, Some(expected))),
        }
    }
    content.truncate(filled);
    // The stream's checksum is only looked at where it ends.
    match decoder.read(&mut byte) {
        Ok(0) => Ok(content),
        Ok(_) => Err(Error::malformed(
            format!("decompressed byte {filled}"),
            format!("bytes follow the last number: expected {expected} for dimensions {:?}", header.dims),
        )),
        Err(e) => Err(broken(&e, offset(&decoder), filled, Some(expected))),
    }
}

/// Whether these are the first bytes of a gzip stream.
pub(crate) fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&GZIP_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(code: u8, dims: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0, 0, code, dims.len() as u8];
        bytes.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
        bytes
    }

    #[test]
    fn a_header_that_overflows_is_an_error_and_not_a_size() {
        for dims in [&[u32::MAX, u32::MAX, u32::MAX][..], &[u32::MAX; 255], &[u32::MAX, 1 << 31, 2]] {
            assert!(matches!(Header::read(&header(0x08, dims)), Err(Error::Malformed(_))), "{dims:?}");
        }
        assert_eq!(Header::read(&header(0x0e, &[3, 5])).unwrap().total_bytes, 12 + 8 * 15);
        assert!(Header::read(&header(0x0a, &[3])).unwrap_err().to_string().contains("element type 0a"));
        assert!(Header::read(&header(0x08, &[])).is_err());
    }

    #[test]
    fn a_hostile_gzip_header_is_refused_before_memory_is_taken() {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&header(0x08, &[u32::MAX, 1 << 20])).unwrap();
        let compressed = encoder.finish().unwrap();
        let error = read_gzipped(&compressed, u64::MAX).unwrap_err();
        assert!(error.to_string().contains("compressed bytes can hold"), "{error}");
    }
}

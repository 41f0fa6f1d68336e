//! NumPy's `.npy` arrays and `.npz` archives of them.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use litesmith_graph::{DType, Error, Result};

use crate::arrays::{ArrayPart, Element, Rows, Storage, Table, dataset_of_arrays};
use crate::dataset::{Dataset, SplitKind};
use crate::files::{self, SharedFile};
use crate::image::{Image, ImageShape, Pixels};
use crate::open::OpenOptions;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// NumPy itself reads no longer headers without being told to.
const HEADER_BYTES_MAX: usize = 10_000;
/// Magic, version, the length of the header text (2 or 4 bytes), and that text.
const START_BYTES_MAX: usize = 12 + HEADER_BYTES_MAX;

#[derive(Debug, Clone, PartialEq)]
struct Header {
    element: Element,
    big_endian: bool,
    shape: Vec<usize>,
    bytes: usize,
    /// Header and numbers.
    total_bytes: u64,
}

impl Header {
    /// Reads the header from the start of a file of which `start` are the first bytes.
    fn read(start: &[u8]) -> Result<Self> {
        let short = || Error::malformed(format!("byte {}", start.len()), "the file ends in its npy header");
        let prefix = start.first_chunk::<8>().ok_or_else(short)?;
        if !prefix.starts_with(MAGIC) {
            return Err(Error::malformed(
                "byte 0",
                format!("got {:02x?}, expected the npy magic {MAGIC:02x?}", &prefix[..6]),
            ));
        }
        let [.., major, minor] = *prefix;
        let (text_from, text_len) = match major {
            1 => (10, start.get(8..10).and_then(|b| b.first_chunk()).map(|b| usize::from(u16::from_le_bytes(*b)))),
            2 | 3 => (12, start.get(8..12).and_then(|b| b.first_chunk()).map(|b| u32::from_le_bytes(*b) as usize)),
            _ => return Err(Error::unsupported("byte 6", format!("got npy version {major}.{minor}, expected 1 to 3"))),
        };
        let text_len = text_len.ok_or_else(short)?;
        if text_len > HEADER_BYTES_MAX {
            return Err(Error::limit(
                "byte 8",
                format!("got a header of {text_len} bytes, the limit is {HEADER_BYTES_MAX}"),
            ));
        }
        let text = start.get(text_from..text_from + text_len).ok_or_else(short)?;
        let place = format!("npy header at byte {text_from}");
        let text = std::str::from_utf8(text).map_err(|e| Error::malformed(&place, format!("is no text: {e}")))?;
        let dict = Dict::parse(text).map_err(|message| Error::malformed(&place, message))?;
        let (element, big_endian) = element(&dict.descr).map_err(|e| e.at(&place))?;
        if dict.fortran_order && dict.shape.len() > 1 {
            return Err(Error::unsupported(&place, "got an array in Fortran order, expected C order")
                .with_hint("save numpy.ascontiguousarray(x) instead"));
        }
        let bytes = text_from + text_len;
        let total = dict.shape.iter().try_fold(element.bytes() as u64, |n, &d| n.checked_mul(d as u64));
        let total = total.and_then(|n| n.checked_add(bytes as u64)).filter(|&n| n <= isize::MAX as u64);
        let Some(total_bytes) = total else {
            return Err(Error::malformed(&place, format!("got shape {:?}, more than any file holds", dict.shape)));
        };
        Ok(Self { element, big_endian, shape: dict.shape, bytes, total_bytes })
    }

    fn check_size(&self, size: u64) -> Result<()> {
        if size == self.total_bytes {
            return Ok(());
        }
        let what = if size < self.total_bytes { "the array is cut off" } else { "bytes follow the array" };
        Err(Error::malformed(
            format!("byte {}", size.min(self.total_bytes)),
            format!("{what}: got {size} bytes, expected {} for shape {:?}", self.total_bytes, self.shape),
        ))
    }

    fn table(self, place: String, storage: Storage) -> Result<Table> {
        let Some((&count, row)) = self.shape.split_first() else {
            return Err(Error::malformed(
                place,
                "got an array without dimensions, expected the first to count samples",
            ));
        };
        let row_dims = if row.is_empty() { vec![1] } else { row.to_vec() };
        let row_elements = row_dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(0);
        let (element, big_endian, start) = (self.element, self.big_endian, self.bytes as u64);
        Ok(Table { rows: Rows { place, storage, start, element, big_endian, count, row_elements }, row_dims })
    }
}

fn element(descr: &str) -> Result<(Element, bool)> {
    let mut chars = descr.chars();
    let order = chars.next().unwrap_or(' ');
    let element = match chars.as_str() {
        "b1" => Element::Bool,
        "u1" => Element::U8,
        "i1" => Element::I8,
        "u2" => Element::U16,
        "i2" => Element::I16,
        "u4" => Element::U32,
        "i4" => Element::I32,
        "u8" => Element::U64,
        "i8" => Element::I64,
        "f2" => Element::F16,
        "f4" => Element::F32,
        "f8" => Element::F64,
        _ => {
            return Err(Error::unsupported(
                "",
                format!("got dtype {descr:?}, expected bool, uint8 to uint64, int8 to int64, or float16 to float64"),
            )
            .with_hint("save x.astype('uint8') or x.astype('float32') instead"));
        }
    };
    match order {
        '<' | '|' => Ok((element, false)),
        '>' => Ok((element, true)),
        // `=` is the order of whoever wrote it, which the file does not say.
        _ => Err(Error::malformed("", format!("got byte order {order:?} in dtype {descr:?}, expected <, > or |"))),
    }
}

/// The Python dictionary of the header.
#[derive(Debug, PartialEq)]
struct Dict {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Dict {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut rest = text.trim().strip_prefix('{').ok_or("got a header without {")?;
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                if !after.trim().is_empty() {
                    return Err(format!("got {after:?} after the header's }}"));
                }
                break;
            }
            let (key, after) = quoted(rest)?;
            rest = after.trim_start().strip_prefix(':').ok_or_else(|| format!("got no : after {key:?}"))?.trim_start();
            match key {
                "descr" => {
                    let (value, after) = quoted(rest)
                        .map_err(|_| "got a structured or unreadable dtype, expected one number type".to_string())?;
                    (descr, rest) = (Some(value.to_string()), after);
                }
                "fortran_order" => {
                    let word_end = rest.find([',', '}', ' ']).unwrap_or(rest.len());
                    let (word, after) = rest.split_at(word_end);
                    let value = match word {
                        "True" => true,
                        "False" => false,
                        _ => return Err(format!("got fortran_order {word:?}, expected True or False")),
                    };
                    (fortran_order, rest) = (Some(value), after);
                }
                "shape" => {
                    let inner = rest.strip_prefix('(').ok_or("got a shape without (")?;
                    let (list, after) = inner.split_once(')').ok_or("got a shape without )")?;
                    let dims = list.split(',').map(str::trim).filter(|d| !d.is_empty());
                    let dims: std::result::Result<Vec<usize>, String> = dims
                        .map(|d| d.parse().map_err(|_| format!("got dimension {d:?}, expected a number")))
                        .collect();
                    (shape, rest) = (Some(dims?), after);
                }
                _ => return Err(format!("got key {key:?}, expected descr, fortran_order or shape")),
            }
            rest = rest.trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        Ok(Self {
            descr: descr.ok_or("got no descr")?,
            fortran_order: fortran_order.ok_or("got no fortran_order")?,
            shape: shape.ok_or("got no shape")?,
        })
    }
}

/// A quoted string at the start of `text`, and what follows it.
fn quoted(text: &str) -> std::result::Result<(&str, &str), String> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let found = quote.and_then(|quote| text.get(1..)?.split_once(quote));
    found.ok_or_else(|| format!("got {:?}, expected a quoted string", text.chars().take(20).collect::<String>()))
}

/// An array of a `.npy` file.
#[derive(Debug, Clone, PartialEq)]
pub struct NpyArray {
    /// Its dimensions, the last fastest; empty for a single number.
    pub shape: Vec<usize>,
    /// The type of its numbers in the file.
    pub dtype: DType,
    /// Its numbers: `uint8` as bytes, every other type as floats.
    pub values: Pixels,
}

impl NpyArray {
    /// The images it holds: `[height, width]`, `[height, width, channels]` (1, 3 or 4 channels),
    /// `[images, height, width]` or `[images, height, width, channels]`.
    ///
    /// # Errors
    /// `Invalid` for another number of dimensions or no elements.
    pub fn images(&self) -> Result<Vec<Image>> {
        let shape = match *self.shape {
            [height, width] => ImageShape::new(height, width, 1),
            [height, width, channels @ (1 | 3 | 4)] => ImageShape::new(height, width, channels),
            [_, height, width] => ImageShape::new(height, width, 1),
            [_, height, width, channels] => ImageShape::new(height, width, channels),
            _ => {
                return Err(Error::invalid("array", format!("got shape {:?}, expected 2 to 4 dimensions", self.shape)));
            }
        };
        let Some(elements) = shape.elements().filter(|&n| n > 0 && !self.values.is_empty()) else {
            return Err(Error::invalid("array", format!("got shape {:?}, without elements", self.shape)));
        };
        match &self.values {
            Pixels::U8(v) => v.chunks(elements).map(|c| Image::new(shape, Pixels::U8(c.to_vec()))).collect(),
            Pixels::F32(v) => v.chunks(elements).map(|c| Image::new(shape, Pixels::F32(c.to_vec()))).collect(),
        }
    }
}

/// An array as its elements are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawArray {
    /// Its dimensions, the last fastest; empty for a single number.
    pub shape: Vec<usize>,
    /// The type of its elements.
    pub dtype: DType,
    /// Its elements, little-endian.
    pub bytes: Vec<u8>,
}

impl RawArray {
    /// Reads an array from the bytes of a `.npy` file, as [`read_npy`] does, every bit kept.
    ///
    /// # Errors
    /// Those of [`read_npy`].
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let header = Header::read(bytes)?;
        header.check_size(bytes.len() as u64)?;
        let mut data = bytes.get(header.bytes..).unwrap_or_default().to_vec();
        if header.big_endian {
            data.chunks_exact_mut(header.element.bytes()).for_each(<[u8]>::reverse);
        }
        Ok(Self { shape: header.shape, dtype: header.element.dtype(), bytes: data })
    }

    /// Loads a `.npy` file of at most 4 GiB.
    ///
    /// # Errors
    /// Those of [`load_npy`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = files::read_bounded(path, OpenOptions::default().memory_bytes_max)?;
        Self::read(&bytes).map_err(|e| e.at(path.display()))
    }

    /// The elements of an array of `float32` or `float64` as `float32`; `None` for other types.
    #[must_use]
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let element = match self.dtype {
            DType::F32 => Element::F32,
            DType::F64 => Element::F64,
            _ => return None,
        };
        let mut values = Vec::with_capacity(self.bytes.len() / element.bytes());
        element.decode(false, &self.bytes, |number| values.push(number as f32));
        Some(values)
    }
}

/// Reads an array from the bytes of a `.npy` file: `bool`, `uint8` to `uint64`, `int8` to `int64`, or `float16` to `float64`,
/// either byte order, C order.
///
/// # Errors
/// `Malformed` when the header or the length is wrong; `Unsupported` for other types and for Fortran order.
pub fn read_npy(bytes: &[u8]) -> Result<NpyArray> {
    let header = Header::read(bytes)?;
    header.check_size(bytes.len() as u64)?;
    let data = bytes.get(header.bytes..).unwrap_or_default();
    let values = if header.element == Element::U8 {
        Pixels::U8(data.to_vec())
    } else {
        let mut values = Vec::with_capacity(data.len() / header.element.bytes());
        header.element.decode(header.big_endian, data, |number| values.push(number as f32));
        Pixels::F32(values)
    };
    Ok(NpyArray { shape: header.shape, dtype: header.element.dtype(), values })
}

/// Writes an array as the bytes of a `.npy` file (version 1.0, little-endian, C order). `data` are the numbers as `dtype`
/// stores them.
///
/// # Errors
/// `Unsupported` for a type that NumPy has no name for here; `Invalid` when `data` has not the length of `shape`.
pub fn write_npy(dtype: DType, shape: &[usize], data: &[u8]) -> Result<Vec<u8>> {
    let descr = match dtype {
        DType::U8 => "|u1",
        DType::I8 => "|i1",
        DType::Bool => "|b1",
        DType::U16 => "<u2",
        DType::I16 => "<i2",
        DType::U32 => "<u4",
        DType::I32 => "<i4",
        DType::U64 => "<u8",
        DType::I64 => "<i8",
        DType::F16 => "<f2",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        other => return Err(Error::unsupported("npy", format!("elements of type {other}"))),
    };
    if dtype.bytes(litesmith_graph::elements(shape)?) != Some(data.len()) {
        return Err(Error::invalid("npy", format!("got {} bytes for {dtype} of shape {shape:?}", data.len())));
    }
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}", sizes.trim_end());
    // Spaces and a line end, so that the numbers start at a multiple of 64 bytes.
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let header_len = u16::try_from(header.len())
        .map_err(|_| Error::invalid("npy", format!("a shape of {} dimensions", shape.len())))?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend(header_len.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    Ok(bytes)
}

/// Loads a `.npy` file of at most 4 GiB; see [`read_npy`].
///
/// # Errors
/// `Io` when it cannot be read; those of [`read_npy`], with the path.
pub fn load_npy(path: impl AsRef<Path>) -> Result<NpyArray> {
    let path = path.as_ref();
    let bytes = files::read_bounded(path, OpenOptions::default().memory_bytes_max)?;
    read_npy(&bytes).map_err(|e| e.at(path.display()))
}

/// A `.npy` file, which stays on disk and is read row by row.
fn open_npy(path: &Path) -> Result<Table> {
    let place = path.display().to_string();
    let file = files::open(path)?;
    let size = files::size_of(&file, path)?;
    let mut start = Vec::new();
    (&file).take(START_BYTES_MAX as u64).read_to_end(&mut start).map_err(|e| Error::io(&place, e))?;
    let header = Header::read(&start).map_err(|e| e.at(&place))?;
    header.check_size(size).map_err(|e| e.at(&place))?;
    header.table(place, Storage::File(SharedFile::new(file)))
}

/// Opens `X,Y` or `X,Y,X_TEST,Y_TEST`.
pub(crate) fn open_npy_files(spec: &str, rest: &str, options: &OpenOptions) -> Result<Dataset> {
    let paths: Vec<&Path> = rest.split(',').map(Path::new).collect();
    if paths.len() != 2 && paths.len() != 4 {
        return Err(Error::invalid("data", format!("got {} paths in {spec:?}, expected 2 or 4", paths.len()))
            .with_hint("give npy:X.npy,Y.npy or npy:X.npy,Y.npy,X_TEST.npy,Y_TEST.npy"));
    }
    let mut parts = Vec::new();
    for (pair, kind) in paths.chunks_exact(2).zip([SplitKind::Train, SplitKind::Test]) {
        let [x, y] = pair else { continue };
        let images = options.wants(kind).then(|| open_npy(x)).transpose()?;
        parts.push((kind, ArrayPart { images, labels: open_npy(y)? }));
    }
    dataset_of_arrays(spec, parts, None, options)
}

/// The names that archives give to images and labels of each split: Keras' `mnist.npz`, MedMNIST, and a single pair.
const NPZ_NAMES: [(SplitKind, [&str; 2]); 7] = [
    (SplitKind::Train, ["x_train", "y_train"]),
    (SplitKind::Train, ["train_images", "train_labels"]),
    (SplitKind::Train, ["x", "y"]),
    (SplitKind::Validation, ["x_val", "y_val"]),
    (SplitKind::Validation, ["val_images", "val_labels"]),
    (SplitKind::Test, ["x_test", "y_test"]),
    (SplitKind::Test, ["test_images", "test_labels"]),
];

type Archive = zip::ZipArchive<BufReader<File>>;

/// Opens an archive with arrays of the [`NPZ_NAMES`].
pub(crate) fn open_npz(spec: &str, path: &Path, options: &OpenOptions) -> Result<Dataset> {
    let place = path.display();
    let broken =
        |e: zip::result::ZipError| Error::malformed(place.to_string(), format!("is no readable zip archive: {e}"));
    let mut archive = Archive::new(BufReader::new(files::open(path)?)).map_err(broken)?;
    let names: Vec<String> = archive.file_names().map(String::from).collect();
    let find = |name: &str| names.iter().find(|have| have.strip_suffix(".npy").unwrap_or(have) == name);
    let mut parts: Vec<(SplitKind, ArrayPart)> = Vec::new();
    for (kind, [x, y]) in NPZ_NAMES {
        let (images, labels) = match (find(x), find(y)) {
            (Some(images), Some(labels)) => (images, labels),
            (None, None) => continue,
            (Some(_), None) => return Err(Error::malformed(place, format!("has {x}, but no {y}"))),
            (None, Some(_)) => return Err(Error::malformed(place, format!("has {y}, but no {x}"))),
        };
        if parts.iter().any(|(have, _)| *have == kind) {
            return Err(Error::malformed(place, format!("has two {kind} splits, one of them {x} and {y}")));
        }
        let mut entry =
            |name: &str| read_entry(&mut archive, name, options).map_err(|e| e.at(format!("{place}: {name}")));
        let images = options.wants(kind).then(|| entry(images)).transpose()?;
        let labels = entry(labels)?;
        parts.push((kind, ArrayPart { images, labels }));
    }
    if parts.is_empty() {
        let have = names.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(Error::malformed(place, format!("has no arrays x_train and y_train, only: {have}"))
            .with_hint("numpy.savez(file, x_train=.., y_train=.., x_test=.., y_test=..) writes what is expected"));
    }
    for (_, part) in &mut parts {
        for table in part.images.iter_mut().chain([&mut part.labels]) {
            table.rows.place = format!("{place}: {}", table.rows.place);
        }
    }
    dataset_of_arrays(spec, parts, None, options)
}

/// Decompresses one array into memory: as much as its header declares, and only if its compressed bytes can hold that.
fn read_entry(archive: &mut Archive, name: &str, options: &OpenOptions) -> Result<Table> {
    let mut entry = archive.by_name(name).map_err(|e| Error::malformed("", format!("cannot be read: {e}")))?;
    let broken =
        |e: std::io::Error, at: usize| Error::malformed(format!("byte {at}"), format!("does not decompress: {e}"));
    let mut content = Vec::new();
    let start = (&mut entry).take(START_BYTES_MAX as u64).read_to_end(&mut content);
    start.map_err(|e| broken(e, content.len()))?;
    let header = Header::read(&content)?;
    let (expected, compressed) = (header.total_bytes, entry.compressed_size());
    if expected > compressed.saturating_mul(crate::idx::DEFLATE_RATIO_MAX) {
        let message =
            format!("got shape {:?}, {expected} bytes, more than {compressed} compressed bytes can hold", header.shape);
        return Err(Error::malformed("", message));
    }
    let room = usize::try_from(expected).ok().filter(|_| expected <= options.memory_bytes_max);
    if room.is_none_or(|n| content.try_reserve_exact(n.saturating_sub(content.len())).is_err()) {
        return Err(Error::limit(
            "",
            format!("decompresses to {expected} bytes, the limit is {}", options.memory_bytes_max),
        )
        .with_hint("save the arrays as .npy files, which are read from disk as needed: npy:X.npy,Y.npy"));
    }
    // One byte more than declared shows bytes that follow; reading to the end checks the archive's sum.
    let rest = expected.saturating_sub(content.len() as u64).saturating_add(1);
    (&mut entry).take(rest).read_to_end(&mut content).map_err(|e| broken(e, content.len()))?;
    header.check_size(content.len() as u64)?;
    header.table(name.to_string(), Storage::Memory(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_arrays_keep_every_bit() {
        let bytes = write_npy(DType::I64, &[2], &little_endian(&[i64::MAX, -3])).unwrap();
        let raw = RawArray::read(&bytes).unwrap();
        assert_eq!((raw.dtype, raw.bytes.as_slice()), (DType::I64, little_endian(&[i64::MAX, -3]).as_slice()));
        let big: Vec<u8> = bytes.iter().map(|&byte| if byte == b'<' { b'>' } else { byte }).collect();
        assert_eq!(RawArray::read(&big).unwrap().bytes[..8], i64::MAX.to_be_bytes());
        for (dtype, data, real) in [
            (DType::Bool, vec![1_u8, 0], vec![1.0, 0.0]),
            (DType::U16, little_endian(&[65_535_u16, 1]), vec![65_535.0, 1.0]),
            (DType::F16, little_endian(&[0x3c00_u16, 0xc100]), vec![1.0, -2.5]),
            (DType::F16, little_endian(&[0x0001_u16, 0x7bff]), vec![2.0_f32.powi(-24), 65_504.0]),
        ] {
            let bytes = write_npy(dtype, &[2], &data).unwrap();
            assert_eq!(RawArray::read(&bytes).unwrap().bytes, data);
            assert_eq!(read_npy(&bytes).unwrap().values, Pixels::F32(real));
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = write_npy(DType::I16, &[2, 3], &little_endian(&[1_i16, -2, 300, 4, 5, -32768])).unwrap();
        assert_eq!(bytes.len() % 64, 12, "the numbers start at a multiple of 64");
        let array = read_npy(&bytes).unwrap();
        assert_eq!((array.shape.as_slice(), array.dtype), ([2, 3].as_slice(), DType::I16));
        assert_eq!(array.values, Pixels::F32(vec![1.0, -2.0, 300.0, 4.0, 5.0, -32768.0]));
        for shape in [&[][..], &[6], &[0, 4]] {
            let len = shape.iter().product::<usize>();
            let array = read_npy(&write_npy(DType::U8, shape, &vec![7; len]).unwrap()).unwrap();
            assert_eq!(array.shape, shape);
        }
        assert!(write_npy(DType::F32, &[2], &[0; 7]).is_err());
    }

    fn little_endian(numbers: &[impl bytemuck::NoUninit]) -> Vec<u8> {
        // Every machine that runs the tests is little-endian.
        bytemuck::cast_slice(numbers).to_vec()
    }

    #[test]
    fn headers_as_numpy_writes_them_are_read() {
        let dict = Dict::parse("{'descr': '<f4', 'fortran_order': False, 'shape': (60000, 28, 28), }      \n").unwrap();
        assert_eq!(dict, Dict { descr: "<f4".into(), fortran_order: false, shape: vec![60_000, 28, 28] });
        assert_eq!(Dict::parse("{'descr': '|u1', 'fortran_order': True, 'shape': (5,), }").unwrap().shape, [5]);
        assert_eq!(Dict::parse("{'shape': (), 'fortran_order': False, 'descr': '>i8'}").unwrap().shape, []);
        for bad in [
            "",
            "{",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x",
            "{'descr': '<f4', 'extra': 1, 'fortran_order': False, 'shape': (1,)}",
        ] {
            assert!(Dict::parse(bad).is_err(), "{bad}");
        }
    }
}

//! Rows of numbers in memory or in a file, as IDX, npy and npz have them, and samples made of them.

use std::sync::Arc;

use litesmith_graph::{DType, Error, Result};

use crate::dataset::{Dataset, Sample, SkippedSample, Source, Split, SplitKind, Target};
use crate::files::SharedFile;
use crate::image::{ImageShape, Pixels};
use crate::open::OpenOptions;

/// No data set has more classes: a label far out of line is then an error and not a list of a billion names.
pub(crate) const CLASSES_MAX: usize = 1 << 16;

/// Bytes read at once where all rows are looked at.
const BLOCK_BYTES: usize = 1 << 16;

/// Type of the numbers in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
}

impl Element {
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::Bool => DType::Bool,
            Self::U8 => DType::U8,
            Self::I8 => DType::I8,
            Self::U16 => DType::U16,
            Self::I16 => DType::I16,
            Self::U32 => DType::U32,
            Self::I32 => DType::I32,
            Self::U64 => DType::U64,
            Self::I64 => DType::I64,
            Self::F16 => DType::F16,
            Self::F32 => DType::F32,
            Self::F64 => DType::F64,
        }
    }

    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Calls `each` with the numbers that `bytes` hold.
    pub(crate) fn decode(self, big_endian: bool, bytes: &[u8], mut each: impl FnMut(f64)) {
        macro_rules! numbers {
            ($type:ty) => {
                for chunk in bytes.as_chunks::<{ size_of::<$type>() }>().0 {
                    let number =
                        if big_endian { <$type>::from_be_bytes(*chunk) } else { <$type>::from_le_bytes(*chunk) };
                    each(number as f64);
                }
            };
        }
        match self {
            Self::Bool => bytes.iter().for_each(|&byte| each(f64::from(u8::from(byte != 0)))),
            Self::U8 => numbers!(u8),
            Self::I8 => numbers!(i8),
            Self::U16 => numbers!(u16),
            Self::I16 => numbers!(i16),
            Self::U32 => numbers!(u32),
            Self::I32 => numbers!(i32),
            Self::U64 => numbers!(u64),
            Self::I64 => numbers!(i64),
            Self::F16 => {
                for chunk in bytes.as_chunks::<2>().0 {
                    each(half(if big_endian { u16::from_be_bytes(*chunk) } else { u16::from_le_bytes(*chunk) }));
                }
            }
            Self::F32 => numbers!(f32),
            Self::F64 => numbers!(f64),
        }
    }
}

/// The number that the bits of an IEEE 754 binary16 stand for.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2.0_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (fraction + 1024.0) * 2.0_f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

#[derive(Debug)]
pub(crate) enum Storage {
    Memory(Vec<u8>),
    File(SharedFile),
}

/// `count` rows of `row_elements` numbers, one after the other from byte `start` of the storage. Whoever makes one has
/// checked that the storage holds them all.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) place: String,
    pub(crate) storage: Storage,
    pub(crate) start: u64,
    pub(crate) element: Element,
    pub(crate) big_endian: bool,
    pub(crate) count: usize,
    pub(crate) row_elements: usize,
}

impl Rows {
    fn row_bytes(&self) -> usize {
        self.row_elements * self.element.bytes()
    }

    fn offset(&self, row: usize) -> u64 {
        self.start + row as u64 * self.row_bytes() as u64
    }

    /// Replaces `bytes` by those of `count` rows from `row` on.
    fn read_rows(&self, row: usize, count: usize, bytes: &mut Vec<u8>) -> Result<()> {
        if row.checked_add(count).is_none_or(|end| end > self.count) {
            return Err(Error::invalid(&self.place, format!("got row {row}, there are {}", self.count)));
        }
        let (offset, length) = (self.offset(row), count * self.row_bytes());
        bytes.clear();
        match &self.storage {
            Storage::Memory(all) => {
                let found = usize::try_from(offset).ok().and_then(|at| all.get(at..at.checked_add(length)?));
                let found = found.ok_or_else(|| {
                    Error::malformed(format!("{} row {row}, byte {offset}", self.place), "the data ends before it")
                })?;
                bytes.extend_from_slice(found);
            }
            Storage::File(file) => {
                bytes.resize(length, 0);
                let place = || format!("{} row {row}, byte {offset}", self.place);
                file.read_exact_at(bytes, offset).map_err(|e| Error::io(place(), e))?;
            }
        }
        Ok(())
    }

    /// Calls `each` with row, position in the row, and number, for every number.
    pub(crate) fn for_each(&self, mut each: impl FnMut(usize, usize, f64) -> Result<()>) -> Result<()> {
        // Labels are a few bytes each: reading them one by one would be a system call for each.
        let block = (BLOCK_BYTES / self.row_bytes().max(1)).max(1);
        let mut bytes = Vec::new();
        for first in (0..self.count).step_by(block) {
            self.read_rows(first, block.min(self.count - first), &mut bytes)?;
            let (mut row, mut column, mut result) = (first, 0, Ok(()));
            self.element.decode(self.big_endian, &bytes, |number| {
                if result.is_ok() {
                    result = each(row, column, number);
                }
                column += 1;
                if column == self.row_elements {
                    (row, column) = (row + 1, 0);
                }
            });
            result?;
        }
        Ok(())
    }

    /// Replaces `pixels` by a row: bytes as they are, everything else as floats, which must be finite.
    fn read_pixels(&self, row: usize, pixels: &mut Pixels) -> Result<()> {
        if self.element == Element::U8 {
            return self.read_rows(row, 1, pixels.bytes_mut());
        }
        let mut bytes = Vec::new();
        self.read_rows(row, 1, &mut bytes)?;
        let values = pixels.floats_mut();
        values.clear();
        self.element.decode(self.big_endian, &bytes, |number| values.push(number as f32));
        match values.iter().position(|v| !v.is_finite()) {
            None => Ok(()),
            Some(i) => {
                let place =
                    format!("{} row {row}, byte {}", self.place, self.offset(row) + (i * self.element.bytes()) as u64);
                Err(Error::malformed(place, format!("got pixel value {}, expected a finite number", values[i])))
            }
        }
    }
}

/// The targets of all samples.
#[derive(Debug)]
pub(crate) enum Labels {
    Class(Vec<u32>),
    /// `[samples, classes]`, and the class of each sample.
    Dense {
        values: Vec<f32>,
        classes: usize,
    },
}

impl Labels {
    /// Class indices, one in a row, each below `classes` (or below [`CLASSES_MAX`] where that is not known yet). Rows
    /// that hold anything else are an error, or listed in `skipped` if that is given.
    pub(crate) fn read_classes(
        rows: &Rows,
        classes: Option<usize>,
        skipped: &mut Option<Vec<(usize, Error)>>,
    ) -> Result<Self> {
        let limit = classes.unwrap_or(CLASSES_MAX);
        let mut labels = Vec::new();
        rows.for_each(|row, _, number| {
            let class = number as u32;
            if f64::from(class) != number || class as usize >= limit {
                let place = format!("{} row {row}, byte {}", rows.place, rows.offset(row));
                let expected = match classes {
                    Some(n) => format!("a class from 0 to {}", n.saturating_sub(1)),
                    None => format!("a class index below {CLASSES_MAX}"),
                };
                let error = Error::malformed(place, format!("got label {number}, expected {expected}"));
                match skipped {
                    Some(skipped) => skipped.push((row, error)),
                    None => return Err(error.with_hint("correct the file, or leave such samples out with skip-bad")),
                }
            }
            labels.push(class);
            Ok(())
        })?;
        Ok(Self::Class(labels))
    }

    /// One number for each class, in rows of as many.
    pub(crate) fn read_dense(rows: &Rows) -> Result<Self> {
        let mut values = Vec::new();
        rows.for_each(|row, column, number| {
            if !number.is_finite() {
                let place = format!("{} row {row}, column {column}", rows.place);
                return Err(Error::malformed(place, format!("got {number}, expected a finite number")));
            }
            values.push(number as f32);
            Ok(())
        })?;
        Ok(Self::Dense { values, classes: rows.row_elements })
    }

    /// One more than the largest class.
    pub(crate) fn class_count(&self) -> usize {
        match self {
            Self::Class(labels) => labels.iter().max().map_or(0, |&max| max as usize + 1),
            Self::Dense { classes, .. } => *classes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Class(labels) => labels.len(),
            Self::Dense { values, classes } => values.len() / (*classes).max(1),
        }
    }

    fn target(&self, index: usize) -> Target {
        match self {
            Self::Class(labels) => Target::Class(labels.get(index).copied().unwrap_or(0)),
            Self::Dense { values, classes } => {
                Target::Dense(values.chunks_exact((*classes).max(1)).nth(index).unwrap_or_default().to_vec())
            }
        }
    }
}

/// Samples whose images are rows of numbers.
#[derive(Debug)]
pub(crate) struct ArraySource {
    pub(crate) images: Rows,
    pub(crate) shape: ImageShape,
    pub(crate) labels: Labels,
}

impl Source for ArraySource {
    fn len(&self) -> usize {
        self.images.count
    }

    fn shape(&self) -> Option<ImageShape> {
        Some(self.shape)
    }

    fn is_bytes(&self) -> bool {
        self.images.element == Element::U8
    }

    fn is_dense(&self) -> bool {
        matches!(self.labels, Labels::Dense { .. })
    }

    fn label(&self, index: usize) -> u32 {
        match &self.labels {
            Labels::Class(labels) => labels.get(index).copied().unwrap_or(0),
            Labels::Dense { .. } => self.labels.target(index).class(),
        }
    }

    fn read_into(&self, index: usize, sample: &mut Sample) -> Result<()> {
        sample.image.refill(self.shape, |pixels| self.images.read_pixels(index, pixels))?;
        sample.target = self.labels.target(index);
        Ok(())
    }
}

/// The image shape of rows of `dims` numbers: `[height, width]`, `[height, width, channels]`, or a flat number of
/// pixels that is a square, or three squares for colour.
pub(crate) fn image_shape(place: &str, dims: &[usize]) -> Result<ImageShape> {
    let square = |n: usize| Some(n.isqrt()).filter(|side| side * side == n && n > 0);
    let shape = match *dims {
        [height, width] => Some(ImageShape::new(height, width, 1)),
        [height, width, channels] => Some(ImageShape::new(height, width, channels)),
        // No number is both a square and three squares: the ratio of two squares is never 3.
        [n] => square(n).map(|side| ImageShape::new(side, side, 1)).or_else(|| {
            n.is_multiple_of(3).then(|| square(n / 3)).flatten().map(|side| ImageShape::new(side, side, 3))
        }),
        _ => None,
    };
    match shape.filter(|shape| shape.elements().is_some_and(|n| n > 0)) {
        Some(shape) => Ok(shape),
        None => Err(Error::malformed(
            place,
            format!(
                "got samples of shape {dims:?}, expected [height, width], [height, width, channels] or square pixels"
            ),
        )),
    }
}

/// Class names "0", "1" and so on.
pub(crate) fn numbered_classes(count: usize) -> Vec<String> {
    (0..count).map(|i| i.to_string()).collect()
}

/// Images and labels of one split as files hold them; no images where that split is not wanted.
pub(crate) struct ArrayPart {
    pub(crate) images: Option<Table>,
    pub(crate) labels: Table,
}

/// Rows with the shape of one of them.
pub(crate) struct Table {
    pub(crate) rows: Rows,
    pub(crate) row_dims: Vec<usize>,
}

/// Makes a data set of arrays. Class names come from the options, then from `known_classes`, and are otherwise the
/// numbers up to the largest label of the first part, which is the training split where there is one.
pub(crate) fn dataset_of_arrays(
    name: &str,
    parts: Vec<(SplitKind, ArrayPart)>,
    known_classes: Option<Vec<String>>,
    options: &OpenOptions,
) -> Result<Dataset> {
    let mut classes: Option<Arc<[String]>> = options.classes.clone().or(known_classes).map(Into::into);
    let mut dataset = Dataset::empty(name);
    for (kind, ArrayPart { images, labels }) in parts {
        let place = labels.rows.place.clone();
        if labels.rows.row_elements == 0 {
            return Err(Error::malformed(place, format!("got labels of shape {:?}, without numbers", labels.row_dims)));
        }
        let mut bad_labels = options.skip_bad.then(Vec::new);
        let labels = match labels.row_dims.iter().product::<usize>() {
            1 => Labels::read_classes(&labels.rows, classes.as_ref().map(|c| c.len()), &mut bad_labels)?,
            _ => Labels::read_dense(&labels.rows)?,
        };
        let count = labels.class_count();
        let names = classes.get_or_insert_with(|| numbered_classes(count).into()).clone();
        if let (Labels::Dense { .. }, true) = (&labels, count != names.len()) {
            return Err(Error::malformed(
                place,
                format!("got targets of {count} numbers, expected {}, one for each class", names.len()),
            ));
        }
        let Some(images) = images else { continue };
        if images.rows.count != labels.len() {
            return Err(Error::malformed(
                &images.rows.place,
                format!("got {} images, but {} labels in {place}", images.rows.count, labels.len()),
            )
            .with_hint("take both files from the same source"));
        }
        let shape = match options.shape {
            None => image_shape(&images.rows.place, &images.row_dims)?,
            Some(shape) if shape.elements() == Some(images.rows.row_elements) && shape.elements() != Some(0) => shape,
            Some(shape) => {
                return Err(Error::invalid(
                    &images.rows.place,
                    format!("got samples of {} numbers, expected shape {shape}", images.rows.row_elements),
                ));
            }
        };
        let split_name = images.rows.place.clone();
        let source = ArraySource { images: images.rows, shape, labels };
        let mut split = Split::new(split_name.as_str(), Arc::new(source), names)?;
        if let Some(bad) = bad_labels.filter(|bad| !bad.is_empty()) {
            let mut rows = bad.iter().map(|(row, _)| *row).peekable();
            let good: Vec<usize> = (0..split.len()).filter(|&i| rows.next_if_eq(&i).is_none()).collect();
            split = split.subset(&good)?;
            dataset
                .skipped
                .extend(bad.into_iter().map(|(_, error)| SkippedSample { split: split_name.clone(), error }));
        }
        *dataset.split_mut(kind) = Some(split);
    }
    Ok(dataset)
}

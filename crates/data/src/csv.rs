//! CSV files: a label and pixels in each row, or a path and a label.
//!
//! A file is read through once to check it; of each row its place and its label are kept, and its pixels are read again
//! when asked for, so that files larger than memory can be used.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use litesmith_graph::{Error, Result};

use crate::arrays::{CLASSES_MAX, image_shape, numbered_classes};
use crate::dataset::{Dataset, Sample, SkippedSample, Source, Split, SplitKind, Target};
use crate::files::{self, SharedFile};
use crate::folder::ImageFileSource;
use crate::image::ImageShape;
use crate::open::OpenOptions;

/// The longest row: a 1024x1024 colour image takes 12 MiB.
const ROW_BYTES_MAX: usize = 16 << 20;
const LABEL_NAMES: [&str; 5] = ["label", "class", "target", "category", "y"];
const PATH_NAMES: [&str; 6] = ["path", "file", "filename", "file_name", "image", "image_path"];

/// The fields of one row, and the buffers to read them.
#[derive(Debug, Default)]
struct Fields {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Fields {
    /// Splits a line without its end.
    fn parse(&mut self, line: &[u8], delimiter: u8) -> std::result::Result<(), String> {
        let mut reader = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        // Fields never take more room than the line, and there is at most one more than bytes.
        self.text.resize(line.len() + 1, 0);
        self.ends.resize(line.len() + 2, 0);
        let (mut read, mut written, mut count) = (0, 0, 0);
        loop {
            let input = line.get(read..).unwrap_or_default();
            let (text, ends) = (self.text.get_mut(written..), self.ends.get_mut(count..));
            let (result, took, wrote, ended) =
                reader.read_record(input, text.unwrap_or_default(), ends.unwrap_or_default());
            (read, written, count) = (read + took, written + wrote, count + ended);
            match result {
                // The second time the input is empty, which says that the row is over.
                csv_core::ReadRecordResult::InputEmpty => {}
                csv_core::ReadRecordResult::Record | csv_core::ReadRecordResult::End => break,
                _ => return Err("has more fields than fit".into()),
            }
        }
        self.ends.truncate(count);
        self.text.truncate(written);
        Ok(())
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn bytes(&self, field: usize) -> Option<&[u8]> {
        let end = *self.ends.get(field)?;
        let start = field.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.text.get(start..end)
    }

    fn get(&self, field: usize) -> Option<&str> {
        std::str::from_utf8(self.bytes(field)?).ok().map(str::trim)
    }
}

/// What the first rows of a file say about it.
#[derive(Debug, Clone, PartialEq)]
struct Layout {
    delimiter: u8,
    columns: usize,
    label: usize,
    /// The column of the paths, in a list of image files.
    path: Option<usize>,
    header: bool,
}

impl Layout {
    fn detect(place: &str, first: &[u8], second: Option<&[u8]>) -> Result<Self> {
        let delimiter = [b',', b'\t', b';'].into_iter().find(|d| first.contains(d)).unwrap_or(b',');
        let parse = |line: &[u8]| {
            let mut fields = Fields::default();
            fields.parse(line, delimiter).map(|()| fields).map_err(|m| Error::malformed(place, m))
        };
        let fields = parse(first)?;
        let columns = fields.len();
        if columns < 2 {
            return Err(Error::malformed(
                format!("{place} line 1"),
                "got 1 column, expected a label and pixels, or a path and a label",
            ));
        }
        let named = |names: &[&str]| {
            (0..columns).find(|&i| fields.get(i).is_some_and(|f| names.iter().any(|n| f.eq_ignore_ascii_case(n))))
        };
        let (label, path) = (named(&LABEL_NAMES), named(&PATH_NAMES));
        if let (Some(label), Some(path)) = (label, path) {
            return Ok(Self { delimiter, columns, label, path: Some(path), header: true });
        }
        let is_number = |fields: &Fields, i: usize| fields.get(i).is_some_and(|f| f.parse::<f32>().is_ok());
        // A list of files without a header: the first field is no number, and it does not become one below either.
        if columns == 2 && !is_number(&fields, 0) && path.is_none() && label.is_none() {
            let below = second.map(parse).transpose()?;
            if below.is_none_or(|below| !is_number(&below, 0)) {
                return Ok(Self { delimiter, columns, label: 1, path: Some(0), header: false });
            }
        }
        let label_column = label.unwrap_or(0);
        // A row of data with one bad number is not a header: that would drop it without a word.
        let header = label.is_some() || (0..columns).all(|i| i == label_column || !is_number(&fields, i));
        Ok(Self { delimiter, columns, label: label_column, path: None, header })
    }
}

/// Where a row lies.
#[derive(Debug, Clone, Copy)]
struct Row {
    offset: u64,
    bytes: u32,
    line: u32,
    /// Index of the label's text in [`Scan::labels`].
    label: u32,
}

/// What one reading through a file finds.
struct Scan {
    layout: Layout,
    rows: Vec<Row>,
    /// The labels' texts, each once.
    labels: Vec<String>,
    /// Paths of the rows, in a list of files.
    paths: Vec<PathBuf>,
    /// Every pixel is a whole number from 0 to 255.
    is_bytes: bool,
    bad: Vec<Error>,
}

/// The lines of a file, each of bounded length.
struct Lines<R> {
    reader: R,
    offset: u64,
    number: u32,
}

impl<R: BufRead> Lines<R> {
    /// Replaces `line` by the next one without its end; gives its offset and number.
    fn next(&mut self, place: &str, line: &mut Vec<u8>) -> Result<Option<(u64, u32)>> {
        line.clear();
        let taken = (&mut self.reader).take(ROW_BYTES_MAX as u64 + 1).read_until(b'\n', line);
        let taken = taken.map_err(|e| Error::io(place, e))?;
        let (offset, number) = (self.offset, self.number.saturating_add(1));
        if taken == 0 {
            return Ok(None);
        }
        if line.len() > ROW_BYTES_MAX {
            return Err(Error::limit(
                format!("{place} line {number}"),
                format!("is longer than {ROW_BYTES_MAX} bytes"),
            ));
        }
        (self.offset, self.number) = (offset + taken as u64, number);
        while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
            line.pop();
        }
        Ok(Some((offset, number)))
    }
}

fn scan(path: &Path, skip_bad: bool) -> Result<Scan> {
    let place = path.display().to_string();
    let mut lines = Lines { reader: BufReader::with_capacity(1 << 16, files::open(path)?), offset: 0, number: 0 };
    let (mut line, mut second) = (Vec::new(), Vec::new());
    let first_at = lines.next(&place, &mut line)?;
    // Excel begins UTF-8 files with a mark.
    let mark = if line.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    line.drain(..mark);
    let Some((first_offset, first_number)) = first_at.filter(|_| !line.is_empty()) else {
        return Err(Error::malformed(format!("{place} line 1"), "is empty, expected a header or a sample"));
    };
    let mut next_at = lines.next(&place, &mut second)?;
    let layout = Layout::detect(&place, &line, next_at.map(|_| second.as_slice()))?;
    let header = layout.header;
    let folder = path.parent().unwrap_or(Path::new(""));
    let (labels, paths, bad) = (Vec::new(), Vec::new(), Vec::new());
    let mut scan = Scan { layout, rows: Vec::new(), labels, paths, is_bytes: true, bad };
    let (mut ids, mut fields) = (HashMap::new(), Fields::default());
    let mut add = |offset: u64, number: u32, line: &[u8]| {
        if line.is_empty() {
            return Ok(());
        }
        match scan.add(offset, number, line, folder, &mut ids, &mut fields) {
            Ok(()) => Ok(()),
            Err(error) => {
                let error = error.at(format!("{place} line {number}"));
                if !skip_bad || matches!(error, Error::Limit(_)) {
                    return Err(error.with_hint("correct the file, or leave such rows out with skip-bad"));
                }
                scan.bad.push(error);
                Ok(())
            }
        }
    };
    if !header {
        add(first_offset + mark as u64, first_number, &line)?;
    }
    while let Some((offset, number)) = next_at {
        add(offset, number, &second)?;
        next_at = lines.next(&place, &mut second)?;
    }
    Ok(scan)
}

impl Scan {
    fn add(
        &mut self,
        offset: u64,
        line_number: u32,
        line: &[u8],
        folder: &Path,
        ids: &mut HashMap<String, u32>,
        fields: &mut Fields,
    ) -> Result<()> {
        let malformed = |message: String| Error::malformed("", message);
        fields.parse(line, self.layout.delimiter).map_err(malformed)?;
        if fields.len() != self.layout.columns {
            return Err(malformed(format!("got {} columns, expected {}", fields.len(), self.layout.columns)));
        }
        let text = fields.get(self.layout.label).ok_or_else(|| malformed("the label is not UTF-8".into()))?;
        if text.is_empty() {
            return Err(malformed(format!("column {}: the label is empty", self.layout.label + 1)));
        }
        if let Some(column) = self.layout.path {
            let path = fields.get(column).ok_or_else(|| malformed("the path is not UTF-8".into()))?;
            let path = folder.join(path);
            if !path.is_file() {
                return Err(Error::invalid(path.display(), "no such file"));
            }
            self.paths.push(path);
        } else {
            let mut is_bytes = true;
            pixels(fields, &self.layout, |value| is_bytes &= value.fract() == 0.0 && (0.0..=255.0).contains(&value))?;
            self.is_bytes &= is_bytes;
        }
        let label = match ids.get(text) {
            Some(&id) => id,
            None => {
                if self.labels.len() == CLASSES_MAX {
                    return Err(Error::limit("", format!("got more than {CLASSES_MAX} different labels"))
                        .with_hint("is the label in the first column, or in one named \"label\"?"));
                }
                let id = self.labels.len() as u32;
                ids.insert(text.to_string(), id);
                self.labels.push(text.to_string());
                id
            }
        };
        self.rows.push(Row { offset, bytes: line.len() as u32, line: line_number, label });
        Ok(())
    }

    /// The class of each label, where it has one, and the names of the classes: `known`, or else the numbers up to the
    /// largest if all labels are numbers, or else the labels in alphabetical order.
    fn classes(&self, known: Option<&[String]>) -> (Vec<Option<u32>>, Vec<String>) {
        let number = |label: &String| label.parse::<u32>().ok().filter(|&n| (n as usize) < CLASSES_MAX);
        if let Some(known) = known {
            let find = |label: &String| {
                let by_name = known.iter().position(|name| name == label).map(|i| i as u32);
                by_name.or_else(|| number(label).filter(|&n| (n as usize) < known.len()))
            };
            return (self.labels.iter().map(find).collect(), known.to_vec());
        }
        // "3.0" and "-1" are numbers too, but no classes: they must not turn the other labels into names.
        if self.labels.iter().all(|label| label.parse::<f64>().is_ok()) {
            let numbers: Vec<Option<u32>> = self.labels.iter().map(number).collect();
            let count = numbers.iter().flatten().max().map_or(0, |&max| max as usize + 1);
            return (numbers, numbered_classes(count));
        }
        let mut names = self.labels.clone();
        names.sort_unstable();
        (self.labels.iter().map(|label| names.binary_search(label).ok().map(|i| i as u32)).collect(), names)
    }
}

/// Calls `each` with the pixels of a row, which must be finite numbers.
fn pixels(fields: &Fields, layout: &Layout, mut each: impl FnMut(f32)) -> Result<()> {
    for column in (0..layout.columns).filter(|&column| column != layout.label) {
        // Nearly all pixels are up to three digits, for which the general parser is slow.
        if let Some(digits @ ([_] | [_, _] | [_, _, _])) = fields.bytes(column)
            && digits.iter().all(u8::is_ascii_digit)
        {
            each(digits.iter().fold(0u16, |n, digit| n * 10 + u16::from(digit - b'0')).into());
            continue;
        }
        let text = fields.get(column).unwrap_or_default();
        match text.parse::<f32>() {
            Ok(value) if value.is_finite() => each(value),
            _ => {
                let text: String = text.chars().take(40).collect();
                return Err(Error::malformed(
                    format!("column {}", column + 1),
                    format!("got {text:?}, expected a finite number"),
                ));
            }
        }
    }
    Ok(())
}

/// Rows of pixels, read again from the file when asked for.
#[derive(Debug)]
struct CsvSource {
    place: String,
    file: SharedFile,
    layout: Layout,
    /// The rows, and the class of each in place of its label's index.
    rows: Vec<Row>,
    shape: ImageShape,
    is_bytes: bool,
}

impl Source for CsvSource {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn shape(&self) -> Option<ImageShape> {
        Some(self.shape)
    }

    fn is_bytes(&self) -> bool {
        self.is_bytes
    }

    fn label(&self, index: usize) -> u32 {
        self.rows.get(index).map_or(0, |row| row.label)
    }

    fn read_into(&self, index: usize, sample: &mut Sample) -> Result<()> {
        let row = self.rows.get(index).ok_or_else(|| Error::invalid(&self.place, format!("got index {index}")))?;
        let place = || format!("{} line {}", self.place, row.line);
        let mut line = vec![0; row.bytes as usize];
        self.file.read_exact_at(&mut line, row.offset).map_err(|e| Error::io(place(), e))?;
        let mut fields = Fields::default();
        fields.parse(&line, self.layout.delimiter).map_err(|m| Error::malformed(place(), m))?;
        sample.target = Target::Class(row.label);
        sample.image.refill(self.shape, |buffer| {
            if self.is_bytes {
                let bytes = buffer.bytes_mut();
                bytes.clear();
                pixels(&fields, &self.layout, |value| bytes.push(value as u8))
            } else {
                let floats = buffer.floats_mut();
                floats.clear();
                pixels(&fields, &self.layout, |value| floats.push(value))
            }
            .map_err(|e| e.at(place()).with_hint("the file was changed while in use"))
        })
    }
}

/// Opens `FILE` or `TRAIN,TEST`.
pub(crate) fn open_csv(spec: &str, rest: &str, options: &OpenOptions) -> Result<Dataset> {
    let paths: Vec<&Path> = rest.split(',').map(Path::new).collect();
    if paths.len() > 2 {
        return Err(Error::invalid("data", format!("got {} paths in {spec:?}, expected 1 or 2", paths.len()))
            .with_hint("give csv:FILE or csv:TRAIN_FILE,TEST_FILE"));
    }
    let mut classes: Option<Arc<[String]>> = options.classes.clone().map(Into::into);
    let mut dataset = Dataset::empty(spec);
    for (path, kind) in paths.into_iter().zip([SplitKind::Train, SplitKind::Test]) {
        // The training file may be needed for the names of the classes alone.
        if !options.wants(kind) && classes.is_some() {
            continue;
        }
        let mut scan = scan(path, options.skip_bad)?;
        let (class_of, names) = scan.classes(classes.as_deref());
        let names = classes.get_or_insert_with(|| names.into()).clone();
        if !options.wants(kind) {
            continue;
        }
        let place = path.display().to_string();
        let mut bad = std::mem::take(&mut scan.bad);
        let mut keep = Vec::with_capacity(scan.rows.len());
        for row in &mut scan.rows {
            let id = row.label as usize;
            let class = class_of.get(id).copied().flatten();
            if class.is_none() {
                let label = scan.labels.get(id).map_or("", String::as_str);
                let have = names.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
                let error = Error::malformed(
                    format!("{place} line {}", row.line),
                    format!("got label {label:?}, expected one of {} classes: {have}", names.len()),
                );
                if !options.skip_bad {
                    return Err(error.with_hint("correct the file, or leave such rows out with skip-bad"));
                }
                bad.push(error);
            }
            row.label = class.unwrap_or(0);
            keep.push(class.is_some());
        }
        dataset.skipped.extend(bad.into_iter().map(|error| SkippedSample { split: place.clone(), error }));
        let mut kept = keep.iter();
        let Scan { layout, mut rows, paths, is_bytes, .. } = scan;
        let source: Arc<dyn Source> = if layout.path.is_some() {
            let files = paths.into_iter().zip(&rows).zip(keep).filter(|(_, keep)| *keep);
            Arc::new(ImageFileSource { files: files.map(|((path, row), _)| (path, row.label)).collect() })
        } else {
            rows.retain(|_| kept.next().copied().unwrap_or(false));
            let count = layout.columns - 1;
            let shape = match options.shape {
                None => image_shape(&place, &[count])?,
                Some(shape) if shape.elements() == Some(count) => shape,
                Some(shape) => {
                    return Err(Error::invalid(&place, format!("got {count} pixels in a row, expected shape {shape}")));
                }
            };
            let file = SharedFile::new(files::open(path)?);
            Arc::new(CsvSource { place: place.clone(), file, layout, rows, shape, is_bytes })
        };
        *dataset.split_mut(kind) = Some(Split::new(place, source, names)?);
    }
    Ok(dataset)
}

//! From a metadata buffer, and the files behind the model, to [`Metadata`].

use std::collections::BTreeSet;

use litesmith_graph::{ColorSpace, Metadata, Normalization, Result, TensorMetadata};

use super::archive::Archive;
use super::schema::{associated_file, content, model, process_unit, stats, subgraph, tensor, union};
use crate::Limits;
use crate::flatbuffer::{File, Table};

/// Reads the metadata buffer of `file`. What [`Metadata`] has no place for is named besides.
///
/// # Errors
/// [`Error::Malformed`](litesmith_graph::Error::Malformed) when the buffer is damaged.
pub(crate) fn read(
    buffer: &[u8],
    file: &[u8],
    limits: &Limits,
    warnings: &mut Vec<String>,
) -> Result<(Metadata, Vec<String>)> {
    let tables = File::new(buffer, limits.budget(buffer.len()));
    let root = tables.root(super::IDENTIFIER)?;
    let mut reader = Reader {
        archive: Archive::open(file),
        bytes_left: limits.associated_file_bytes,
        used: BTreeSet::new(),
        dropped: BTreeSet::new(),
        warnings,
    };
    let mut metadata = Metadata {
        name: root.string(model::NAME)?,
        description: root.string(model::DESCRIPTION)?,
        version: root.string(model::VERSION)?,
        author: root.string(model::AUTHOR)?,
        license: root.string(model::LICENSE)?,
        ..Metadata::default()
    };
    for (index, table) in root.tables(model::SUBGRAPHS)?.iter().enumerate() {
        if index > 0 {
            reader.dropped.insert("metadata of further subgraphs".into());
            break;
        }
        metadata.inputs = reader.tensors(table, subgraph::INPUTS)?;
        metadata.outputs = reader.tensors(table, subgraph::OUTPUTS)?;
        for (field, name) in subgraph::OTHERS {
            if table.has(field)? {
                reader.dropped.insert(name.into());
            }
        }
    }
    Ok((metadata, reader.finish()))
}

struct Reader<'a> {
    archive: Option<Archive<'a>>,
    /// Bytes that label files may still take.
    bytes_left: usize,
    /// Associated files that were read.
    used: BTreeSet<String>,
    /// What writing the model again would lose.
    dropped: BTreeSet<String>,
    warnings: &'a mut Vec<String>,
}

impl Reader<'_> {
    /// The entries of one side; none when nothing is known about any tensor.
    fn tensors(&mut self, table: &Table<'_>, field: usize) -> Result<Vec<TensorMetadata>> {
        let entries = table.tables(field)?.iter().map(|table| self.tensor(table)).collect::<Result<Vec<_>>>()?;
        let is_known = entries.iter().any(|entry| *entry != TensorMetadata::default());
        Ok(if is_known { entries } else { Vec::new() })
    }

    fn tensor(&mut self, table: &Table<'_>) -> Result<TensorMetadata> {
        let mut entry = TensorMetadata {
            name: table.string(tensor::NAME)?,
            description: table.string(tensor::DESCRIPTION)?,
            ..TensorMetadata::default()
        };
        if let Some(content) = table.table(tensor::CONTENT)? {
            entry.color_space = self.color_space(&content)?;
        }
        for unit in table.tables(tensor::PROCESS_UNITS)? {
            let kind = unit.scalar(union::KIND, 0_u8)?;
            match unit.table(union::VALUE)? {
                Some(options) if kind == process_unit::NORMALIZATION && entry.normalization.is_none() => {
                    entry.normalization = Some(Normalization {
                        mean: options.scalars(process_unit::MEAN)?.unwrap_or_default(),
                        std: options.scalars(process_unit::STD)?.unwrap_or_default(),
                    });
                }
                _ => self.drop_kind(kind, &process_unit::OTHERS, "process unit"),
            }
        }
        if let Some(range) = table.table(tensor::STATS)? {
            entry.max = range.scalars(stats::MAX)?.unwrap_or_default();
            entry.min = range.scalars(stats::MIN)?.unwrap_or_default();
        }
        for file in table.tables(tensor::ASSOCIATED_FILES)? {
            let name = file.string(associated_file::NAME)?;
            let kind = file.scalar(associated_file::KIND, 0_i8)?;
            // Labels in other languages are files of their own; the one without a locale is the rule.
            let is_first = entry.labels.is_empty() && file.string(associated_file::LOCALE)?.is_empty();
            if kind == associated_file::TENSOR_AXIS_LABELS && is_first {
                entry.labels = self.labels(&name);
            }
        }
        Ok(entry)
    }

    fn color_space(&mut self, content: &Table<'_>) -> Result<Option<ColorSpace>> {
        let kind = content.scalar(union::KIND, 0_u8)?;
        match content.table(union::VALUE)? {
            Some(image) if kind == content::IMAGE => Ok(match image.scalar(content::COLOR_SPACE, 0_i8)? {
                1 => Some(ColorSpace::Rgb),
                2 => Some(ColorSpace::Grayscale),
                _ => None,
            }),
            Some(_) if kind != content::FEATURE => {
                self.drop_kind(kind, &content::OTHERS, "content");
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn drop_kind(&mut self, kind: u8, names: &[(u8, &str)], what: &str) {
        let name = names.iter().find(|(known, _)| *known == kind);
        self.dropped.insert(name.map_or_else(|| format!("{what} of kind {kind}"), |(_, name)| (*name).to_owned()));
    }

    /// The lines of an associated file; none, with a warning, when it cannot be read.
    fn labels(&mut self, name: &str) -> Vec<String> {
        let Some(archive) = &self.archive else {
            self.warnings.push(format!("metadata: the file \"{name}\" is named, but none is packed"));
            return Vec::new();
        };
        let bytes = match archive.unpack(name, self.bytes_left) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.warnings.push(format!("metadata: {error}"));
                return Vec::new();
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let labels: Vec<_> = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned()).collect();
        // Each label costs its place in the list as well, which for empty lines is all of it.
        let cost = bytes.len().saturating_add(labels.len().saturating_mul(size_of::<String>()));
        match self.bytes_left.checked_sub(cost) {
            Some(left) => self.bytes_left = left,
            None => {
                self.warnings.push(format!("metadata: \"{name}\" exceeds Limits::associated_file_bytes"));
                return Vec::new();
            }
        }
        self.used.insert(name.to_owned());
        if text.is_empty() { Vec::new() } else { labels }
    }

    fn finish(mut self) -> Vec<String> {
        if let Some(archive) = &self.archive {
            let unused = archive.names().filter(|name| !self.used.contains(*name));
            self.dropped.extend(unused.map(|name| format!("file \"{name}\"")));
        }
        self.dropped.into_iter().collect()
    }
}

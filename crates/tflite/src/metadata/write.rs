//! From [`Metadata`] to a metadata buffer and the files that belong to it.

use litesmith_graph::{ColorSpace, Error, Graph, Metadata, Model, Result, TensorMetadata};

use super::schema::{associated_file, content, model, process_unit, stats, subgraph, tensor, union};
use crate::flatbuffer::{Builder, Fields, Offset};

/// The oldest metadata parser that knows every field written here.
const MIN_PARSER_VERSION: &str = "1.0.0";

/// A metadata buffer, and the associated files that it names.
pub(crate) struct Packed {
    pub(crate) flatbuffer: Vec<u8>,
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

/// Packs the metadata of a model; `None` when there is none.
///
/// # Errors
/// [`Error::Invalid`] when the number of entries is not that of the main graph's inputs or outputs, or a label has a
/// line break.
pub(crate) fn write(model: &Model) -> Result<Option<Packed>> {
    let metadata = &model.metadata;
    if *metadata == Metadata::default() {
        return Ok(None);
    }
    let mut writer = Writer { builder: Builder::default(), files: Vec::new() };
    let graph = model.main()?;
    let [inputs, outputs] = [("input", &metadata.inputs, &graph.inputs), ("output", &metadata.outputs, &graph.outputs)]
        .map(|(kind, entries, ids)| writer.tensors(kind, entries, ids.len(), graph));
    let (inputs, outputs) = (inputs?, outputs?);
    let builder = &mut writer.builder;
    let mut fields = Fields::default();
    fields.offset(subgraph::INPUTS, inputs).offset(subgraph::OUTPUTS, outputs);
    let subgraph = builder.table(fields);
    let mut fields = Fields::default();
    fields
        .offset(model::NAME, builder.optional_string(&metadata.name))
        .offset(model::DESCRIPTION, builder.optional_string(&metadata.description))
        .offset(model::VERSION, builder.optional_string(&metadata.version))
        .offset(model::SUBGRAPHS, builder.offsets(&[subgraph]))
        .offset(model::AUTHOR, builder.optional_string(&metadata.author))
        .offset(model::LICENSE, builder.optional_string(&metadata.license))
        .offset(model::MIN_PARSER_VERSION, builder.string(MIN_PARSER_VERSION));
    let root = builder.table(fields);
    let flatbuffer = writer.builder.finish(root, super::IDENTIFIER)?;
    Ok(Some(Packed { flatbuffer, files: writer.files }))
}

struct Writer {
    builder: Builder,
    files: Vec<(String, Vec<u8>)>,
}

impl Writer {
    /// An entry for each tensor, as the standard tools require, even where nothing is known about it.
    fn tensors(&mut self, kind: &str, entries: &[TensorMetadata], count: usize, graph: &Graph) -> Result<Offset> {
        if !entries.is_empty() && entries.len() != count {
            return Err(Error::invalid(
                "metadata",
                format!("got {} {kind} entries, but graph \"{}\" has {count} {kind}s", entries.len(), graph.name),
            ));
        }
        let unknown = vec![TensorMetadata::default(); count];
        let entries = if entries.is_empty() { &unknown } else { entries };
        let tables = entries
            .iter()
            .enumerate()
            .map(|(index, entry)| self.tensor(entry).map_err(|error| error.at(format!("metadata of {kind} {index}"))));
        let tables = tables.collect::<Result<Vec<_>>>()?;
        Ok(self.builder.offsets(&tables))
    }

    fn tensor(&mut self, entry: &TensorMetadata) -> Result<Offset> {
        let labels = self.labels(&entry.labels)?;
        let builder = &mut self.builder;
        let content = union_table(builder, |builder| match entry.color_space {
            Some(space) => {
                let mut fields = Fields::default();
                fields.scalar(content::COLOR_SPACE, color_code(space), 0);
                (content::IMAGE, builder.table(fields))
            }
            None => (content::FEATURE, builder.table(Fields::default())),
        });
        let mut fields = Fields::default();
        fields
            .offset(tensor::NAME, builder.optional_string(&entry.name))
            .offset(tensor::DESCRIPTION, builder.optional_string(&entry.description))
            .offset(tensor::CONTENT, content);
        if let Some(normalization) = &entry.normalization {
            let unit = union_table(builder, |builder| {
                let mut fields = Fields::default();
                fields
                    .offset(process_unit::MEAN, builder.scalars(&normalization.mean))
                    .offset(process_unit::STD, builder.scalars(&normalization.std));
                (process_unit::NORMALIZATION, builder.table(fields))
            });
            fields.offset(tensor::PROCESS_UNITS, builder.offsets(&[unit]));
        }
        if !entry.min.is_empty() || !entry.max.is_empty() {
            let mut range = Fields::default();
            range.offset(stats::MAX, builder.scalars(&entry.max)).offset(stats::MIN, builder.scalars(&entry.min));
            fields.offset(tensor::STATS, builder.table(range));
        }
        if let Some(labels) = labels {
            fields.offset(tensor::ASSOCIATED_FILES, builder.offsets(&[labels]));
        }
        Ok(builder.table(fields))
    }

    /// Packs labels as a file, one a line; the same labels again name the same file.
    fn labels(&mut self, labels: &[String]) -> Result<Option<Offset>> {
        if labels.is_empty() {
            return Ok(None);
        }
        if let Some(label) = labels.iter().find(|label| label.contains(['\n', '\r'])) {
            return Err(Error::invalid("labels", format!("the label {label:?} contains a line break")));
        }
        let mut content = labels.join("\n").into_bytes();
        content.push(b'\n');
        let known = self.files.iter().find(|(_, known)| *known == content).map(|(name, _)| name.clone());
        let name = known.unwrap_or_else(|| {
            let name = match self.files.len() {
                0 => "labels.txt".to_owned(),
                count => format!("labels_{count}.txt"),
            };
            self.files.push((name.clone(), content));
            name
        });
        let builder = &mut self.builder;
        let mut fields = Fields::default();
        fields
            .offset(associated_file::NAME, builder.string(&name))
            .offset(associated_file::DESCRIPTION, builder.string("Names of the classes."))
            .scalar(associated_file::KIND, associated_file::TENSOR_AXIS_LABELS, 0);
        Ok(Some(builder.table(fields)))
    }
}

fn union_table(builder: &mut Builder, member: impl FnOnce(&mut Builder) -> (u8, Offset)) -> Offset {
    let (kind, value) = member(builder);
    let mut fields = Fields::default();
    fields.scalar(union::KIND, kind, 0).offset(union::VALUE, value);
    builder.table(fields)
}

fn color_code(space: ColorSpace) -> i8 {
    match space {
        ColorSpace::Rgb => 1,
        ColorSpace::Grayscale => 2,
    }
}

//! Names of classes.

use std::path::Path;

use litesmith_graph::{Error, Model, Result, TensorMetadata};

use crate::files;

/// Packs the lines of a file as the names of the first output's classes.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Malformed`] for what is no text, [`Error::Invalid`] when there are not as
/// many lines as classes.
pub fn add_labels(model: &mut Model, path: &Path) -> Result<()> {
    let bytes = files::load(path, 1 << 24)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::malformed(path.display(), format!("it is no UTF-8 text: {error}")))?;
    let labels: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    let graph = model.main()?;
    let output = graph
        .outputs
        .first()
        .map(|&id| graph.tensor(id))
        .ok_or_else(|| Error::malformed("model", "it has no output"))?;
    let classes = output.shape.last().copied().unwrap_or(0);
    if labels.len() != classes {
        return Err(Error::invalid(
            path.display(),
            format!("got {} lines, the model's output has {classes} classes", labels.len()),
        ));
    }
    let name = output.name.clone();
    if model.metadata.outputs.is_empty() {
        model.metadata.outputs.push(TensorMetadata { name, ..TensorMetadata::default() });
    }
    if let Some(metadata) = model.metadata.outputs.first_mut() {
        metadata.labels = labels;
    }
    Ok(())
}

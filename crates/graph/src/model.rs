//! A model: graphs, signatures and what people need to know to use it.

use crate::{Data, Error, Graph, Result, TensorId};

/// What a `.tflite` file holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Model {
    /// Graphs; the first is the one that runs.
    pub graphs: Vec<Graph>,
    /// Named entry points.
    pub signatures: Vec<Signature>,
    /// Description in the file's header.
    pub description: String,
    /// What the inputs and outputs mean.
    pub metadata: Metadata,
    /// Metadata entries that are kept as they are: name and bytes.
    pub extra_metadata: Vec<(String, Data)>,
}

/// A named entry point (`SignatureDef`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Name, as `serving_default`.
    pub key: String,
    /// Index of its graph.
    pub graph: usize,
    /// Names of inputs.
    pub inputs: Vec<(String, TensorId)>,
    /// Names of outputs.
    pub outputs: Vec<(String, TensorId)>,
}

/// What inputs and outputs mean (TensorFlow Lite Metadata, `ModelMetadata`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata {
    /// Name of the model.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Version of the model.
    pub version: String,
    /// Author.
    pub author: String,
    /// Licence.
    pub license: String,
    /// An entry for each input of the main graph, or none.
    pub inputs: Vec<TensorMetadata>,
    /// An entry for each output of the main graph, or none.
    pub outputs: Vec<TensorMetadata>,
}

/// What one input or output means (`TensorMetadata`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TensorMetadata {
    /// Name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// How raw values become what the model expects: `(x - mean) / std`.
    pub normalization: Option<Normalization>,
    /// Colours, for an image.
    pub color_space: Option<ColorSpace>,
    /// Smallest values, one or one for each channel.
    pub min: Vec<f32>,
    /// Largest values, one or one for each channel.
    pub max: Vec<f32>,
    /// Names of the classes along the last axis, packed as an associated file.
    pub labels: Vec<String>,
}

/// `normalized = (raw - mean) / std`, raw being 0 to 255 for images (`NormalizationOptions`).
#[derive(Debug, Clone, PartialEq)]
pub struct Normalization {
    /// Subtracted: one value, or one for each channel.
    pub mean: Vec<f32>,
    /// Divided by: one value, or one for each channel.
    pub std: Vec<f32>,
}

/// Colours of an image (`ColorSpaceType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorSpace {
    /// Red, green, blue.
    Rgb,
    /// One grey channel.
    Grayscale,
}

impl Model {
    /// A model of one graph, with the signature `serving_default` that names its inputs and outputs.
    #[must_use]
    pub fn from_graph(graph: Graph) -> Self {
        let named = |ids: &[TensorId]| ids.iter().map(|&id| (graph.tensor(id).name.clone(), id)).collect();
        let signature = Signature {
            key: "serving_default".into(),
            graph: 0,
            inputs: named(&graph.inputs),
            outputs: named(&graph.outputs),
        };
        Self { graphs: vec![graph], signatures: vec![signature], ..Self::default() }
    }

    /// The graph that runs.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the model has none.
    pub fn main(&self) -> Result<&Graph> {
        self.graphs.first().ok_or_else(|| Error::malformed("model", "it has no graph"))
    }

    /// The graph that runs, to change.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the model has none.
    pub fn main_mut(&mut self) -> Result<&mut Graph> {
        self.graphs.first_mut().ok_or_else(|| Error::malformed("model", "it has no graph"))
    }

    /// Points the first signature's entries at the main graph's present inputs and outputs, by position. To be called
    /// after an edit that renumbers tensors.
    pub fn refresh_signature(&mut self) {
        let (Some(graph), Some(signature)) = (self.graphs.first(), self.signatures.first_mut()) else {
            return;
        };
        for (entries, ids) in [(&mut signature.inputs, &graph.inputs), (&mut signature.outputs, &graph.outputs)] {
            for (entry, &id) in entries.iter_mut().zip(ids) {
                entry.1 = id;
            }
        }
    }

    /// Checks every graph ([`Graph::check`]) and that signatures name tensors that exist.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the place.
    pub fn check(&self) -> Result<()> {
        for (index, graph) in self.graphs.iter().enumerate() {
            let located = |error: Error| if index == 0 { error } else { error.at(format!("subgraph {index}")) };
            graph.check().map_err(located)?;
            for (position, node) in graph.nodes.iter().enumerate() {
                if let Some(called) = node.op.subgraphs().into_iter().find(|&called| called >= self.graphs.len()) {
                    let message = format!("runs subgraph {called} of {}", self.graphs.len());
                    return Err(located(Error::malformed(graph.place(position), message)));
                }
            }
        }
        for signature in &self.signatures {
            let place = || format!("signature \"{}\"", signature.key);
            let Some(graph) = self.graphs.get(signature.graph) else {
                return Err(Error::malformed(
                    place(),
                    format!("subgraph {} of {}", signature.graph, self.graphs.len()),
                ));
            };
            for (name, id) in signature.inputs.iter().chain(&signature.outputs) {
                if id.0 >= graph.tensors.len() {
                    return Err(Error::malformed(
                        place(),
                        format!("\"{name}\" is tensor {}, of {}", id.0, graph.tensors.len()),
                    ));
                }
            }
        }
        Ok(())
    }
}

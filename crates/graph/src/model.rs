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

    /// The graph of a model that has only this one.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the model has no graph, [`Error::Unsupported`] when it has several.
    pub fn only_graph(&self) -> Result<&Graph> {
        let graph = self.main()?;
        match self.graphs.len() {
            1 => Ok(graph),
            count => Err(Error::unsupported("model", format!("it has {count} graphs, expected one"))),
        }
    }

    /// Puts `graph`, which was made from the graph `index`, in its place. Entries of signatures follow their input or output
    /// by position, since an edit may number tensors anew.
    ///
    /// # Errors
    /// [`Error::Malformed`] when there is no graph `index`, [`Error::Unsupported`] for a signature that names a tensor which
    /// is no input or output, or is none any more; the model is then as it was.
    pub fn replace_graph(&mut self, index: usize, graph: Graph) -> Result<()> {
        let count = self.graphs.len();
        let old = self
            .graphs
            .get_mut(index)
            .ok_or_else(|| Error::malformed("model", format!("got graph {index}, it has {count}")))?;
        let mut signatures = self.signatures.clone();
        for signature in signatures.iter_mut().filter(|signature| signature.graph == index) {
            let sides = [
                (&mut signature.inputs, &old.inputs, &graph.inputs),
                (&mut signature.outputs, &old.outputs, &graph.outputs),
            ];
            for (entries, before, after) in sides {
                for (name, id) in entries {
                    let position = before.iter().position(|before| before == id);
                    *id = position.and_then(|position| after.get(position)).copied().ok_or_else(|| {
                        Error::unsupported(
                            format!("signature \"{}\"", signature.key),
                            format!("\"{name}\" is tensor {}, which is no input or output of the graph", id.0),
                        )
                    })?;
                }
            }
        }
        *old = graph;
        self.signatures = signatures;
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Relu;
    use crate::{DType, Tensor};

    /// Two inputs, each through a RELU, and `unused` tensors before them.
    fn graph(unused: usize) -> Graph {
        let mut graph = Graph::new("main");
        for index in 0..unused {
            graph.add_tensor(Tensor::new(format!("unused {index}"), DType::F32, [1]));
        }
        let [a, b] = ["a", "b"].map(|name| graph.add_input(Tensor::new(name, DType::F32, [1, 3])));
        graph.outputs = [(a, "c"), (b, "d")].map(|(id, name)| graph.add_node(Relu, &[Some(id)], name).unwrap()).into();
        graph
    }

    /// Names that the entries of a signature point at.
    fn named(model: &Model, signature: usize) -> Vec<(&str, &str)> {
        let Signature { graph, inputs, outputs, .. } = &model.signatures[signature];
        let of = |id: &TensorId| model.graphs[*graph].tensor(*id).name.as_str();
        inputs.iter().chain(outputs).map(|(name, id)| (name.as_str(), of(id))).collect()
    }

    #[test]
    fn signatures_follow_a_graph_whose_tensors_have_other_numbers() {
        let mut model = Model::from_graph(graph(2));
        // Entries in another order than the graph's inputs, and a second entry point into another graph.
        model.signatures[0].inputs.reverse();
        model.graphs.push(graph(0));
        model.signatures.push(Signature { key: "other".into(), graph: 1, ..model.signatures[0].clone() });
        let (inputs, outputs) = (model.graphs[1].inputs.clone(), model.graphs[1].outputs.clone());
        model.signatures[1].inputs = vec![("x".into(), inputs[0])];
        model.signatures[1].outputs = vec![("y".into(), outputs[1])];
        let (first, second) = ([("b", "b"), ("a", "a"), ("c", "c"), ("d", "d")], [("x", "a"), ("y", "d")]);
        assert_eq!((named(&model, 0), named(&model, 1)), (first.to_vec(), second.to_vec()));

        model.replace_graph(0, graph(5)).unwrap();
        assert_eq!((named(&model, 0), named(&model, 1)), (first.to_vec(), second.to_vec()));
        model.replace_graph(1, graph(1)).unwrap();
        assert_eq!((named(&model, 0), named(&model, 1)), (first.to_vec(), second.to_vec()));
        model.check().unwrap();

        assert!(model.only_graph().unwrap_err().to_string().contains("2 graphs"));
        assert!(model.replace_graph(2, graph(0)).unwrap_err().to_string().contains("graph 2"));
    }

    #[test]
    fn a_signature_that_cannot_follow_is_refused() {
        let mut model = Model::from_graph(graph(2));
        let mut fewer = graph(0);
        fewer.outputs.pop();
        let before = model.clone();
        let error = model.replace_graph(0, fewer).unwrap_err().to_string();
        assert!(error.contains("signature \"serving_default\"") && error.contains("\"d\""), "{error}");
        assert_eq!(model, before);
        model.signatures[0].outputs[0].1 = TensorId(0);
        assert!(model.replace_graph(0, graph(0)).unwrap_err().to_string().contains("\"c\" is tensor 0"));
    }
}

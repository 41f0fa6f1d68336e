//! A graph: tensors, and nodes in an order in which they can run.

use crate::{Cost, DType, Error, Op, Result, Tensor, TensorId};

/// An op applied to tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The op and its attributes.
    pub op: Op,
    /// Inputs; `None` where an optional one is left out.
    pub inputs: Vec<Option<TensorId>>,
    /// Outputs.
    pub outputs: Vec<TensorId>,
}

/// Tensors and the nodes that compute them (a subgraph of a TensorFlow Lite file).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    /// Name; `main` for the one that runs.
    pub name: String,
    /// Tensors, addressed by [`TensorId`].
    pub tensors: Vec<Tensor>,
    /// Nodes, each after those whose outputs it reads.
    pub nodes: Vec<Node>,
    /// Tensors that the caller gives.
    pub inputs: Vec<TensorId>,
    /// Tensors that the caller gets.
    pub outputs: Vec<TensorId>,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The tensor `id`.
    ///
    /// # Panics
    /// When `id` is not of this graph; ids from a checked graph ([`Graph::check`]) always are.
    #[must_use]
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0]
    }

    /// The tensor `id`, to change.
    ///
    /// # Panics
    /// When `id` is not of this graph.
    pub fn tensor_mut(&mut self, id: TensorId) -> &mut Tensor {
        &mut self.tensors[id.0]
    }

    /// Adds a tensor.
    pub fn add_tensor(&mut self, tensor: Tensor) -> TensorId {
        self.tensors.push(tensor);
        TensorId(self.tensors.len() - 1)
    }

    /// Adds a tensor that the caller gives.
    pub fn add_input(&mut self, tensor: Tensor) -> TensorId {
        let id = self.add_tensor(tensor);
        self.inputs.push(id);
        id
    }

    /// Adds a node at the end, and the tensor that it computes, called `name`; shape and element type are inferred.
    ///
    /// # Errors
    /// Those of [`Op::infer_shapes`], with the name as place.
    pub fn add_node(&mut self, op: impl Into<Op>, inputs: &[Option<TensorId>], name: &str) -> Result<TensorId> {
        let op = op.into();
        let tensors = self.node_tensors(inputs);
        let typed_by = tensors.get(op.typed_by()).copied().flatten().map_or(DType::F32, |tensor| tensor.dtype);
        let mut shapes = op.infer_shapes(&tensors).map_err(|error| error.at(format!("\"{name}\"")))?;
        let shape = shapes.swap_remove(0);
        let output = self.add_tensor(Tensor::new(name, op.output_dtype(typed_by), shape));
        self.nodes.push(Node { op, inputs: inputs.to_vec(), outputs: vec![output] });
        Ok(output)
    }

    /// The tensors behind a node's input list.
    ///
    /// # Panics
    /// When an id is not of this graph.
    #[must_use]
    pub fn node_tensors(&self, inputs: &[Option<TensorId>]) -> Vec<Option<&Tensor>> {
        inputs.iter().map(|id| id.map(|id| self.tensor(id))).collect()
    }

    /// Infers every computed shape anew from the shapes of the inputs; quantization, types and names stay.
    ///
    /// # Errors
    /// Those of [`Op::infer_shapes`], with the node as place.
    pub fn infer_shapes(&mut self) -> Result<()> {
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let shapes =
                node.op.infer_shapes(&self.node_tensors(&node.inputs)).map_err(|error| error.at(self.place(index)))?;
            if shapes.len() != node.outputs.len() {
                return Err(Error::malformed(
                    self.place(index),
                    format!("got {} outputs, expected {}", node.outputs.len(), shapes.len()),
                ));
            }
            for (output, shape) in node.outputs.clone().into_iter().zip(shapes) {
                self.tensor_mut(output).shape = shape;
            }
        }
        Ok(())
    }

    /// Infers the shapes of computed tensors that have none, as in a file that leaves out what follows from the inputs; what cannot be
    /// inferred stays without.
    pub fn infer_missing_shapes(&mut self) {
        for node in self.nodes.clone() {
            self.infer_missing_shapes_of(&node);
        }
    }

    /// The same of what `node` computes.
    ///
    /// # Panics
    /// When an id is not of this graph.
    pub fn infer_missing_shapes_of(&mut self, node: &Node) {
        let missing = |tensor: &Tensor| tensor.shape.is_empty() && tensor.data.is_none();
        if !node.outputs.iter().any(|&id| missing(self.tensor(id))) {
            return;
        }
        let shapes = node.op.infer_shapes(&self.node_tensors(&node.inputs)).unwrap_or_default();
        for (&id, shape) in node.outputs.iter().zip(shapes) {
            if missing(self.tensor(id)) {
                self.tensor_mut(id).shape = shape;
            }
        }
    }

    /// Declares the first axis of every input as changing between runs, and marks with -1 what follows from it in the
    /// computed tensors.
    ///
    /// # Errors
    /// Those of [`Graph::infer_shapes`]: a graph whose shapes fix the batch (a RESHAPE to a fixed shape, say) fails.
    pub fn make_batch_dynamic(&mut self) -> Result<()> {
        // Two batches that are unlikely to meet in a size of the model; what differs between them follows the batch.
        let with_batch = |batch: usize| -> Result<Self> {
            let mut graph = self.clone();
            for &input in &self.inputs {
                if let Some(first) = graph.tensor_mut(input).shape.first_mut() {
                    *first = batch;
                }
            }
            graph.infer_shapes()?;
            Ok(graph)
        };
        let (one, other) = (with_batch(1)?, with_batch(3)?);
        *self = one;
        for (tensor, other) in self.tensors.iter_mut().zip(&other.tensors) {
            let sizes = tensor.shape.iter().zip(&other.shape);
            let signature: Vec<_> =
                sizes.map(|(&a, &b)| if a == b { i32::try_from(a).unwrap_or(i32::MAX) } else { -1 }).collect();
            tensor.signature = signature.contains(&-1).then_some(signature);
        }
        Ok(())
    }

    /// The node that computes `id`, if one does.
    #[must_use]
    pub fn producer(&self, id: TensorId) -> Option<usize> {
        self.nodes.iter().position(|node| node.outputs.contains(&id))
    }

    /// The nodes that read `id`, in order.
    #[must_use]
    pub fn consumers(&self, id: TensorId) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&index| self.nodes[index].inputs.contains(&Some(id))).collect()
    }

    /// Makes every reader of `old`, the graph's outputs included, read `new` instead.
    pub fn replace_uses(&mut self, old: TensorId, new: TensorId) {
        let inputs = self.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut().flatten());
        inputs.chain(self.outputs.iter_mut()).filter(|id| **id == old).for_each(|id| *id = new);
    }

    /// Drops nodes whose results nobody reads, and tensors that nothing refers to; ids change.
    pub fn remove_dead(&mut self) {
        let mut live = vec![false; self.tensors.len()];
        let outputs = self.outputs.iter();
        outputs.for_each(|id| live[id.0] = true);
        let mut keep = vec![false; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().rev() {
            keep[index] = node.op.has_effects() || node.outputs.iter().any(|id| live[id.0]);
            if keep[index] {
                let read = node.inputs.iter().flatten().chain(node.op.intermediates());
                read.chain(&node.outputs).for_each(|id| live[id.0] = true);
            }
        }
        let mut keep = keep.into_iter();
        self.nodes.retain(|_| keep.next().unwrap_or(true));
        self.inputs.iter().for_each(|id| live[id.0] = true);

        let mut renumbered = Vec::with_capacity(live.len());
        let mut next = 0;
        for &live in &live {
            renumbered.push(TensorId(next));
            next += usize::from(live);
        }
        let mut live = live.into_iter();
        self.tensors.retain(|_| live.next().unwrap_or(true));
        let nodes = self.nodes.iter_mut();
        let ids = nodes.flat_map(|node| {
            let intermediates = node.op.intermediates_mut().into_iter().flatten();
            node.inputs.iter_mut().flatten().chain(node.outputs.iter_mut()).chain(intermediates)
        });
        ids.chain(&mut self.inputs).chain(&mut self.outputs).for_each(|id| *id = renumbered[id.0]);
    }

    /// Checks what every user of a graph relies on: ids within range; each node after those it reads; no tensor
    /// computed twice, or computed though constant or an input; constants as long as their shape; quantization valid.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the place of the first violation.
    pub fn check(&self) -> Result<()> {
        for (index, tensor) in self.tensors.iter().enumerate() {
            let place = || format!("tensor {index} \"{}\"", tensor.name);
            if let Some(data) = &tensor.data
                && tensor.dtype.bits() != 0
            {
                let expected = tensor.byte_size().map_err(|error| error.at(place()))?;
                if data.len() != expected {
                    return Err(Error::malformed(
                        place(),
                        format!("got {} bytes of data, expected {expected} for {tensor}", data.len()),
                    ));
                }
            }
            if let Some(signature) = &tensor.signature
                && signature.len() != tensor.shape.len()
            {
                return Err(Error::malformed(
                    place(),
                    format!("shape {:?} but shape signature {signature:?}", tensor.shape),
                ));
            }
            if let Some(quantization) = &tensor.quantization {
                quantization.check(&tensor.shape).map_err(|error| error.at(place()))?;
            }
        }
        let mut known: Vec<_> = self.tensors.iter().map(|tensor| tensor.data.is_some() || tensor.is_variable).collect();
        let valid = |id: &TensorId| id.0 < self.tensors.len();
        let out_of_range = |place: String, id: &TensorId| {
            Err(Error::malformed(place, format!("tensor {} of {}", id.0, self.tensors.len())))
        };
        for id in &self.inputs {
            if !valid(id) {
                return out_of_range("graph inputs".into(), id);
            }
            known[id.0] = true;
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let ids = node.inputs.iter().flatten().chain(&node.outputs).chain(node.op.intermediates());
            if let Some(id) = ids.into_iter().find(|id| !valid(id)) {
                return out_of_range(self.place(index), id);
            }
            if let Some(id) = node.inputs.iter().flatten().find(|id| !known[id.0]) {
                let name = &self.tensor(*id).name;
                let message = format!("reads tensor {} \"{name}\" before anything computes it", id.0);
                let error = Error::malformed(self.place(index), message);
                // Compilers for accelerators give their op tensors as scratch memory.
                return Err(match &node.op {
                    Op::Custom(op) => error.with_hint(format!(
                        "the custom op \"{}\" may be of a compiler for another device: take the file from before it",
                        op.name
                    )),
                    _ => error,
                });
            }
            for id in &node.outputs {
                if std::mem::replace(&mut known[id.0], true) {
                    return Err(Error::malformed(
                        self.place(index),
                        format!("computes tensor {} \"{}\", which already has a value", id.0, self.tensor(*id).name),
                    ));
                }
            }
        }
        match self.outputs.iter().find(|id| !valid(id) || !known[id.0]) {
            Some(id) if !valid(id) => out_of_range("graph outputs".into(), id),
            Some(id) => Err(Error::malformed("graph outputs", format!("nothing computes tensor {}", id.0))),
            None => Ok(()),
        }
    }

    /// What one run of node `index` costs.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn cost(&self, index: usize) -> Cost {
        let node = &self.nodes[index];
        let outputs: Vec<_> = node.outputs.iter().map(|&id| self.tensor(id)).collect();
        node.op.cost(&self.node_tensors(&node.inputs), &outputs)
    }

    /// Elements of all constants of a float or quantized type: what Keras counts as parameters.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let is_parameter = |tensor: &&Tensor| {
            tensor.data.is_some()
                && (matches!(tensor.dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
                    || tensor.quantization.is_some())
        };
        self.tensors.iter().filter(is_parameter).map(|tensor| tensor.elements().unwrap_or(0)).sum()
    }

    /// Puts node `index` before the place of an error about it; an op's bare name as place is said once.
    #[must_use]
    pub fn locate(&self, index: usize, mut error: Error) -> Error {
        if self.nodes.get(index).is_some_and(|node| node.op.name() == error.report().place) {
            error = error.without_place();
        }
        error.at(self.place(index))
    }

    /// `op 3 CONV_2D "name"`: node `index` in messages.
    #[must_use]
    pub fn place(&self, index: usize) -> String {
        let Some(node) = self.nodes.get(index) else {
            return format!("op {index}");
        };
        let name = node.outputs.first().and_then(|id| self.tensors.get(id.0)).map_or("", |tensor| &tensor.name);
        format!("op {index} {} \"{name}\"", node.op.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Data;
    use crate::ops::{Conv2d, FullyConnected, Padding, Relu, Reshape};

    fn small() -> Graph {
        let mut graph = Graph::new("main");
        let x = graph.add_input(Tensor::new("x", DType::F32, [1, 4, 4, 1]));
        let w = graph.add_tensor(Tensor::constant("w", DType::F32, [2, 3, 3, 1], Data::from_slice(&[0.5_f32; 18])));
        let conv = graph
            .add_node(Conv2d { padding: Padding::Same, ..Conv2d::default() }, &[Some(x), Some(w), None], "conv")
            .unwrap();
        let shape = graph.add_tensor(Tensor::constant("s", DType::I32, [2], Data::from_slice(&[-1_i32, 32])));
        let flat = graph.add_node(Reshape::default(), &[Some(conv), Some(shape)], "flat").unwrap();
        let v = graph.add_tensor(Tensor::constant("v", DType::F32, [3, 32], Data::from_slice(&[0.1_f32; 96])));
        let y = graph.add_node(FullyConnected::default(), &[Some(flat), Some(v), None], "y").unwrap();
        graph.outputs = vec![y];
        graph
    }

    #[test]
    fn shapes_follow_the_batch() {
        let mut graph = small();
        graph.check().unwrap();
        assert_eq!(graph.parameters(), 18 + 96);
        assert_eq!(graph.cost(0).macs, 4 * 4 * 2 * 9);
        graph.make_batch_dynamic().unwrap();
        assert_eq!(graph.tensor(graph.outputs[0]).to_string(), "float32[-1,3]");
        assert_eq!(graph.tensor(graph.inputs[0]).to_string(), "float32[-1,4,4,1]");
        assert_eq!(graph.tensor(TensorId(1)).signature, None);
        graph.check().unwrap();
    }

    #[test]
    fn dead_nodes_and_tensors_go() {
        let mut graph = small();
        let x = graph.inputs[0];
        graph.add_node(Relu, &[Some(x)], "unused").unwrap();
        let before = small();
        graph.remove_dead();
        assert_eq!(graph, before);
    }

    #[test]
    fn check_finds_each_kind_of_damage() {
        type Damage = fn(&mut Graph);
        let damage: [(&str, Damage); 7] = [
            ("before anything computes it", |graph| graph.nodes.swap(0, 1)),
            ("the custom op \"ethos-u\" may be of a compiler", |graph| {
                let options = crate::Data::from_bytes(&[]);
                graph.nodes[1].op = crate::ops::Custom { name: "ethos-u".into(), version: 1, options }.into();
                graph.nodes.swap(0, 1);
            }),
            ("tensor 99", |graph| graph.nodes[0].inputs[0] = Some(TensorId(99))),
            ("already has a value", |graph| graph.nodes[1].outputs = graph.nodes[0].outputs.clone()),
            ("bytes of data", |graph| graph.tensors[1].shape[0] = 3),
            ("nothing computes", |graph| {
                graph.nodes.pop();
            }),
            ("that is not negative", |graph| {
                graph.tensors[0].quantization = Some(crate::Quantization::per_tensor(-0.5, 0));
            }),
        ];
        for (expected, damage) in damage {
            let mut graph = small();
            damage(&mut graph);
            let error = graph.check().unwrap_err();
            let text = format!("{error} {}", error.hint().unwrap_or_default());
            assert!(text.contains(expected), "{text}");
        }
    }
}

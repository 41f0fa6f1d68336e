//! Which tensor of one graph is which of another: of a quantized graph and its float graph, or of any two that compute the same.

use std::collections::BTreeMap;

use litesmith_graph::{DType, Graph, Node, Op, Tensor, TensorId};

use crate::Selector;

/// A computed tensor, as far as its counterpart is found by it.
#[derive(Debug, Clone, Copy)]
pub struct Computed<'a> {
    /// Name of the op that computes it.
    pub op: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its shape.
    pub shape: &'a [usize],
    /// Which output of the model it is.
    pub output: Option<usize>,
}

/// Pairs of indices, ascending on the first side: outputs of the same position, tensors of the same name, and of the rest those
/// that an op of the same kind computes in the same shape, in order. All pairs have the same number of elements.
#[must_use]
pub fn match_computed(a: &[Computed<'_>], b: &[Computed<'_>]) -> Vec<(usize, usize)> {
    let mut partner = vec![None; a.len()];
    let mut taken = vec![false; b.len()];
    let elements = |value: &Computed<'_>| litesmith_graph::elements(value.shape).ok();
    let fits = |i: usize, j: usize| elements(&a[i]) == elements(&b[j]);
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    b.iter().enumerate().for_each(|(j, value)| by_name.entry(value.name).or_default().push(j));
    // Outputs first: what a model gives is the same thing under any name.
    for i in 0..a.len() {
        let same_output = a[i].output.and_then(|output| b.iter().position(|value| value.output == Some(output)));
        let named = by_name.get(a[i].name).into_iter().flatten().copied();
        let mut candidates = same_output.into_iter().chain(named);
        if let Some(j) = candidates.find(|&j| !taken[j] && fits(i, j)) {
            partner[i] = Some(j);
            taken[j] = true;
        }
    }
    let mut next = 0;
    for i in 0..a.len() {
        if let Some(j) = partner[i] {
            next = next.max(j + 1);
            continue;
        }
        let same = |j: &usize| !taken[*j] && a[i].op == b[*j].op && a[i].shape == b[*j].shape;
        // Not beyond the partner of a later tensor, whose order it would break.
        let end = partner[i..].iter().flatten().min().copied().unwrap_or(b.len());
        if let Some(j) = (next..end.max(next)).find(same) {
            partner[i] = Some(j);
            taken[j] = true;
            next = j + 1;
        }
    }
    partner.into_iter().enumerate().filter_map(|(i, j)| Some((i, j?))).collect()
}

/// A layer of a quantized graph, and what it is in the float graph.
#[derive(Debug, Clone)]
pub struct LayerPair {
    /// The op of the quantized graph; `None` for a graph input that the caller gives as integers.
    pub quantized_node: Option<usize>,
    /// The op of the float graph that it stands for; of a conversion, the first op that reads what it gives.
    pub float_node: Option<usize>,
    /// What it computes, in the float and in the quantized graph.
    pub outputs: Vec<(TensorId, TensorId)>,
    /// How to tell the error that it adds from the errors that it is given.
    pub own: Own,
    /// Weights: in the float and in the quantized graph.
    pub weights: Option<(TensorId, TensorId)>,
}

/// How to tell the error that an op adds itself.
#[derive(Debug, Clone)]
pub enum Own {
    /// The float op, alone in a graph, computes without it what the op computes, given these tensors of the quantized graph as
    /// real numbers, one for each graph input.
    Op(Box<Graph>, Vec<TensorId>),
    /// It converts this tensor of the quantized graph: without error it would not change its values.
    Conversion(TensorId),
    /// What the caller gives is rounded: all of its error is its own.
    Input,
    /// There is nothing to compare it with, for this reason.
    Unknown(String),
}

/// Two graphs, layer by layer.
#[derive(Debug, Clone)]
pub struct Pairing {
    /// Layers in the order in which the quantized graph computes them.
    pub layers: Vec<LayerPair>,
    /// Ops of the quantized graph without a counterpart; conversions between types are not counted.
    pub unmatched_quantized: usize,
    /// Ops of the float graph without a counterpart.
    pub unmatched_float: usize,
}

/// Pairs the layers of a quantized graph with those of its float graph, by [`match_computed`], where the name of a tensor may
/// end in its type: `X_int8` belongs to `X`. Both graphs need their shapes.
#[must_use]
pub fn pair_layers(float: &Graph, quantized: &Graph) -> Pairing {
    let (a, b) = (computing_nodes(float), computing_nodes(quantized));
    let known: std::collections::BTreeSet<&str> = float.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let base = |name: &'_ str| -> String {
        let stripped = [DType::I8, DType::U8, DType::I16, DType::F32]
            .iter()
            .find_map(|dtype| name.strip_suffix(&format!("_{dtype}")))
            .filter(|stripped| known.contains(stripped) && !known.contains(name));
        stripped.unwrap_or(name).to_owned()
    };
    let names: Vec<_> = b.iter().map(|&node| base(&output_of(quantized, node).name)).collect();
    let computed = |graph: &'_ Graph, node: usize| -> (&'static str, Option<usize>) {
        let id = graph.nodes[node].outputs[0];
        (graph.nodes[node].op.name(), graph.outputs.iter().position(|&output| origin(graph, output) == id))
    };
    let left: Vec<_> = a
        .iter()
        .map(|&node| {
            let (op, output) = computed(float, node);
            let tensor = output_of(float, node);
            Computed { op, name: &tensor.name, shape: &tensor.shape, output }
        })
        .collect();
    let right: Vec<_> = b
        .iter()
        .zip(&names)
        .map(|(&node, name)| {
            let (op, output) = computed(quantized, node);
            Computed { op, name, shape: &output_of(quantized, node).shape, output }
        })
        .collect();
    let matched = match_computed(&left, &right);
    let float_of: BTreeMap<usize, usize> = matched.iter().map(|&(i, j)| (b[j], a[i])).collect();

    let mut layers = Vec::new();
    // What each tensor of the quantized graph is in the float graph.
    let mut same: BTreeMap<TensorId, TensorId> = BTreeMap::new();
    for (&float_input, &input) in float.inputs.iter().zip(&quantized.inputs) {
        same.insert(input, float_input);
        if is_on_grid(quantized.tensor(input)) {
            layers.push(LayerPair {
                quantized_node: None,
                float_node: None,
                outputs: vec![(float_input, input)],
                own: Own::Input,
                weights: None,
            });
        }
    }
    for (index, node) in quantized.nodes.iter().enumerate() {
        if let (Op::Quantize(_), Some(&Some(input)), Some(&output)) =
            (&node.op, node.inputs.first(), node.outputs.first())
            && let Some(&counterpart) = same.get(&origin(quantized, input))
        {
            layers.push(LayerPair {
                quantized_node: Some(index),
                float_node: None,
                outputs: vec![(counterpart, output)],
                own: Own::Conversion(input),
                weights: None,
            });
            continue;
        }
        let Some(&float_node) = float_of.get(&index) else { continue };
        let outputs: Vec<_> =
            float.nodes[float_node].outputs.iter().copied().zip(node.outputs.iter().copied()).collect();
        same.extend(outputs.iter().map(|&(float, quantized)| (quantized, float)));
        layers.push(LayerPair {
            quantized_node: Some(index),
            float_node: Some(float_node),
            outputs,
            own: match alone(float, float_node, quantized, index) {
                Ok((graph, reads)) => Own::Op(Box::new(graph), reads),
                Err(reason) => Own::Unknown(reason),
            },
            weights: weights(float, &float.nodes[float_node], quantized, node),
        });
    }
    for index in 0..layers.len() {
        if layers[index].float_node.is_none()
            && let Some(&(_, given)) = layers[index].outputs.first()
        {
            let reads = |layer: &&LayerPair| {
                let node = layer.quantized_node.map(|node| &quantized.nodes[node]);
                node.is_some_and(|node| {
                    node.inputs.iter().flatten().any(|&id| origin(quantized, id) == origin(quantized, given))
                })
            };
            layers[index].float_node = layers.iter().filter(reads).find_map(|layer| layer.float_node);
        }
    }
    Pairing { layers, unmatched_quantized: b.len() - matched.len(), unmatched_float: a.len() - matched.len() }
}

/// What selects op `node` of `graph` and no other: its name, or its index where the name says too little or too much.
#[must_use]
pub fn selector_of(graph: &Graph, node: usize) -> Selector {
    let name = &output_of(graph, node).name;
    let same = (0..graph.nodes.len()).filter(|&other| output_of(graph, other).name == *name).count();
    let is_plain =
        !name.is_empty() && !name.contains(['*', '?', '=']) && !name.starts_with("op:") && !name.starts_with("node:");
    if is_plain && same == 1 { Selector::Name(name.clone()) } else { Selector::Node(node) }
}

/// Whether the tensor holds integers on one grid.
fn is_on_grid(tensor: &Tensor) -> bool {
    let is_integer = matches!(tensor.dtype, DType::I4 | DType::I8 | DType::U8 | DType::I16);
    is_integer && tensor.quantization.as_ref().is_some_and(|quantization| quantization.as_per_tensor().is_some())
}

fn output_of(graph: &Graph, node: usize) -> &Tensor {
    graph.tensor(graph.nodes[node].outputs[0])
}

/// Ops that compute numbers: not conversions between types, not what has no output.
fn computing_nodes(graph: &Graph) -> Vec<usize> {
    let is_conversion = |op: &Op| matches!(op, Op::Quantize(_) | Op::Dequantize(_));
    let computes = |node: &&usize| !graph.nodes[**node].outputs.is_empty() && !is_conversion(&graph.nodes[**node].op);
    (0..graph.nodes.len()).collect::<Vec<_>>().iter().filter(computes).copied().collect()
}

/// What was converted to become this tensor.
fn origin(graph: &Graph, mut id: TensorId) -> TensorId {
    // Nodes read only what earlier ones compute, so this ends.
    while let Some(node) = graph.producer(id).map(|node| &graph.nodes[node])
        && matches!(node.op, Op::Quantize(_) | Op::Dequantize(_))
        && let Some(&Some(input)) = node.inputs.first()
    {
        id = input;
    }
    id
}

/// Whether the tensor is a constant, be it stored in another form.
fn is_constant(graph: &Graph, id: TensorId) -> bool {
    constant_source(graph, id).is_some()
}

/// The stored constant behind a tensor, through the ops that unpack one.
fn constant_source(graph: &Graph, id: TensorId) -> Option<TensorId> {
    // A plan may hold what was unpacked as a constant, too: what is stored lies before it.
    let unpacked =
        graph.producer(id).map(|node| &graph.nodes[node]).filter(|node| matches!(node.op, Op::Dequantize(_)));
    match unpacked.and_then(|node| node.inputs.first().copied().flatten()) {
        Some(input) => constant_source(graph, input),
        None => graph.tensor(id).data.is_some().then_some(id),
    }
}

/// A graph of the float op alone, and which tensors of the quantized graph it is to read.
fn alone(float: &Graph, index: usize, quantized: &Graph, other: usize) -> Result<(Graph, Vec<TensorId>), String> {
    let (node, twin) = (&float.nodes[index], &quantized.nodes[other]);
    if node.op.name() != twin.op.name() {
        return Err(format!("the float op is {}", node.op.name()));
    }
    if node.op.fused_activation() != twin.op.fused_activation() {
        return Err("its activation is fused in one model only".into());
    }
    let has_state = node.inputs.iter().flatten().any(|id| float.tensor(*id).is_variable);
    if has_state || node.op.has_effects() || !node.op.subgraphs().is_empty() || !node.op.intermediates().is_empty() {
        return Err("it keeps a state or runs other graphs".into());
    }
    let mut graph = Graph::new("main");
    let mut reads = Vec::new();
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for (position, id) in node.inputs.iter().enumerate() {
        let Some(id) = *id else {
            inputs.push(None);
            continue;
        };
        if is_constant(float, id) {
            inputs.push(Some(copy_constant(float, id, &mut graph)));
            continue;
        }
        let given = twin.inputs.get(position).copied().flatten().filter(|&given| !is_constant(quantized, given));
        let Some(given) = given else {
            return Err(format!("it reads no computed input {position}, which the float op does"));
        };
        let wanted = float.tensor(id);
        if wanted.elements().ok() != quantized.tensor(given).elements().ok() {
            return Err(format!("its input {position} has another size than that of the float op"));
        }
        inputs.push(Some(graph.add_input(plain(wanted))));
        reads.push(given);
    }
    let outputs: Vec<_> = node.outputs.iter().map(|&id| graph.add_tensor(plain(float.tensor(id)))).collect();
    graph.outputs.clone_from(&outputs);
    graph.nodes.push(Node { op: node.op.clone(), inputs, outputs });
    graph.check().map_err(|error| error.to_string())?;
    Ok((graph, reads))
}

/// The tensor as one that is computed, in its present shape.
fn plain(tensor: &Tensor) -> Tensor {
    Tensor { signature: None, data: None, is_variable: false, ..tensor.clone() }
}

fn copy_constant(from: &Graph, id: TensorId, to: &mut Graph) -> TensorId {
    let copy = to.add_tensor(from.tensor(id).clone());
    if from.tensor(id).data.is_none()
        && let Some(node) = from.producer(id).map(|node| &from.nodes[node])
    {
        let inputs = node.inputs.iter().map(|input| input.map(|input| copy_constant(from, input, to))).collect();
        to.nodes.push(Node { op: node.op.clone(), inputs, outputs: vec![copy] });
    }
    copy
}

/// The first float constant of an op that is stored with fewer bits in its quantized twin, biases left out.
fn weights(float: &Graph, node: &Node, quantized: &Graph, twin: &Node) -> Option<(TensorId, TensorId)> {
    node.inputs.iter().zip(&twin.inputs).find_map(|(id, other)| {
        let (id, other) = (constant_source(float, (*id)?)?, constant_source(quantized, (*other)?)?);
        let (tensor, stored) = (float.tensor(id), quantized.tensor(other));
        let is_narrow = matches!(stored.dtype, DType::I4 | DType::I8 | DType::U8 | DType::I16 | DType::F16);
        (tensor.dtype == DType::F32 && is_narrow && tensor.shape == stored.shape).then_some((id, other))
    })
}

#[cfg(test)]
mod tests {
    use litesmith_graph::{
        Data, Quantization,
        ops::{FullyConnected, Relu, Softmax},
    };

    use super::*;
    use crate::{QuantizeOptions, Range, Ranges, Scheme, quantize};

    fn value<'a>(op: &'a str, name: &'a str, shape: &'a [usize]) -> Computed<'a> {
        Computed { op, name, shape, output: None }
    }

    #[test]
    fn names_match_first_and_order_next() {
        let a = [value("CONV_2D", "x", &[1]), value("ADD", "sum", &[2]), value("CONV_2D", "y", &[1])];
        let b = [value("CONV_2D", "p", &[1]), value("ADD", "sum", &[2]), value("CONV_2D", "q", &[1])];
        assert_eq!(match_computed(&a, &b), [(0, 0), (1, 1), (2, 2)]);
        let b = [value("MUL", "p", &[1]), value("CONV_2D", "q", &[1])];
        assert_eq!(match_computed(&a, &b), [(0, 1)]);
    }

    fn float() -> Graph {
        let mut graph = Graph::new("main");
        let x = graph.add_input(Tensor::new("x", DType::F32, [1, 2]));
        let w =
            graph.add_tensor(Tensor::constant("w", DType::F32, [2, 2], Data::from_slice(&[1.0_f32, 0.5, -1.0, 0.2])));
        let b = graph.add_tensor(Tensor::constant("b", DType::F32, [2], Data::from_slice(&[0.5_f32, -0.5])));
        let y = graph.add_node(FullyConnected::default(), &[Some(x), Some(w), Some(b)], "dense").unwrap();
        let z = graph.add_node(Relu, &[Some(y)], "relu").unwrap();
        let p = graph.add_node(Softmax { beta: 1.0 }, &[Some(z)], "scores").unwrap();
        graph.outputs = vec![p];
        graph
    }

    fn quantized(float: &Graph) -> Graph {
        let mut ranges = Ranges::default();
        (0..float.tensors.len()).for_each(|id| ranges.insert(TensorId(id), Range::new(-1.0, 2.0)));
        let model = litesmith_graph::Model::from_graph(float.clone());
        quantize(&model, &QuantizeOptions::new(Scheme::Int8), Some(&ranges)).unwrap().0.graphs.remove(0)
    }

    #[test]
    fn each_layer_of_a_quantized_graph_finds_its_float_op() {
        let (float, quantized) = (float(), quantized(&float()));
        let pairing = pair_layers(&float, &quantized);
        assert_eq!((pairing.unmatched_quantized, pairing.unmatched_float), (0, 0));
        let names: Vec<_> = pairing
            .layers
            .iter()
            .map(|layer| {
                (float.tensor(layer.outputs[0].0).name.as_str(), quantized.tensor(layer.outputs[0].1).name.as_str())
            })
            .collect();
        assert_eq!(names, [("x", "x_int8"), ("dense", "dense"), ("relu", "relu"), ("scores", "scores_int8")]);
        let nodes: Vec<_> = pairing.layers.iter().map(|layer| layer.float_node).collect();
        assert_eq!(nodes, [Some(0), Some(0), Some(1), Some(2)]);
        assert!(matches!(pairing.layers[0].own, Own::Conversion(id) if quantized.tensor(id).name == "x"));
        let Own::Op(graph, reads) = &pairing.layers[1].own else { panic!("{:?}", pairing.layers[1].own) };
        assert_eq!((graph.inputs.len(), graph.nodes.len(), graph.nodes[0].inputs.len()), (1, 1, 3));
        assert_eq!(quantized.tensor(reads[0]).name, "x_int8");
        let (w, q) = pairing.layers[1].weights.unwrap();
        assert_eq!((float.tensor(w).name.as_str(), quantized.tensor(q).dtype), ("w", DType::I8));
        assert!(pairing.layers[2].weights.is_none());
    }

    #[test]
    fn what_cannot_be_compared_says_why() {
        let float = float();
        let mut other = quantized(&float);
        let dense = other.nodes.iter().position(|node| node.op.name() == "FULLY_CONNECTED").unwrap();
        *other.nodes[dense].op.fused_activation_mut().unwrap() = litesmith_graph::ops::Activation::Relu;
        let pairing = pair_layers(&float, &other);
        assert!(matches!(&pairing.layers[1].own, Own::Unknown(why) if why.contains("activation")));
        // An input that is given as integers is a layer of its own.
        let mut graph = Graph::new("main");
        let x = Tensor::new("x", DType::I8, [1, 2]).with_quantization(Quantization::per_tensor(0.1, 0));
        let x = graph.add_input(x);
        graph.outputs = vec![x];
        let pairing = pair_layers(&float, &graph);
        assert!(matches!(pairing.layers[0].own, Own::Input));
        assert_eq!((pairing.layers.len(), pairing.unmatched_float), (1, 3));
    }

    #[test]
    fn selectors_select_one_op() {
        let mut graph = float();
        assert_eq!(selector_of(&graph, 0), Selector::Name("dense".into()));
        let dense = graph.nodes[0].outputs[0];
        for name in ["", "a*b", "op:x", "a=b", "relu"] {
            graph.tensor_mut(dense).name = name.into();
            assert_eq!(selector_of(&graph, 0), Selector::Node(0), "{name}");
        }
    }
}

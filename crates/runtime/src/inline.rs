//! STABLEHLO_COMPOSITE replaced by the ops that it stands for.

use std::collections::BTreeMap;

use litesmith_graph::ops::StablehloComposite;
use litesmith_graph::{Error, Graph, Node, Op, Result, Tensor, TensorId};

use crate::SessionOptions;

/// Subgraph `index` without composites, and the node of it that each node comes from.
pub(crate) fn expand(graphs: &[Graph], index: usize, options: &SessionOptions) -> Result<(Graph, Vec<usize>)> {
    let Some(graph) = graphs.get(index) else {
        return Err(Error::malformed("model", format!("subgraph {index} of {}", graphs.len())));
    };
    let is_composite = |node: &Node| matches!(node.op, Op::StablehloComposite(_));
    if !graph.nodes.iter().any(is_composite) {
        return Ok((graph.clone(), (0..graph.nodes.len()).collect()));
    }
    let (result, left) = (graph.clone(), options.limits.planned_nodes);
    let mut expansion = Expansion { graphs, options, result, origin: Vec::new(), aliases: BTreeMap::new(), left };
    expansion.result.nodes.clear();
    for (origin, node) in graph.nodes.iter().enumerate() {
        expansion.add(node.clone(), origin, 0).map_err(|error| error.at(graph.place(origin)))?;
    }
    let outputs = expansion.result.outputs.iter().map(|&id| expansion.resolve(id)).collect();
    let Expansion { mut result, origin, .. } = expansion;
    result.outputs = outputs;
    result.check()?;
    Ok((result, origin))
}

struct Expansion<'a> {
    graphs: &'a [Graph],
    options: &'a SessionOptions,
    result: Graph,
    origin: Vec<usize>,
    /// Outputs of composites that are one of their inputs, or a constant, as it is.
    aliases: BTreeMap<TensorId, TensorId>,
    /// Composites, nodes and tensors that may still be added.
    left: u64,
}

impl Expansion<'_> {
    /// The tensor that has the value of `id`.
    fn resolve(&self, mut id: TensorId) -> TensorId {
        while let Some(&other) = self.aliases.get(&id) {
            id = other;
        }
        id
    }

    fn count(&mut self, count: usize) -> Result<()> {
        match self.left.checked_sub(count as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let most = self.options.limits.planned_nodes;
                Err(Error::limit("", format!("composites make more than {most} ops and tensors"))
                    .with_hint("raise the limit: --limit planned-nodes=N, SessionLimits::planned_nodes"))
            }
        }
    }

    fn add(&mut self, mut node: Node, origin: usize, depth: usize) -> Result<()> {
        for id in node.inputs.iter_mut().flatten() {
            *id = self.resolve(*id);
        }
        let Op::StablehloComposite(op) = &node.op else {
            self.result.nodes.push(node);
            self.origin.push(origin);
            return Ok(());
        };
        if depth >= self.options.limits.call_depth {
            return Err(Error::limit("", format!("composites stand in one another {depth} deep"))
                .with_hint("raise the limit: --limit call-depth=N, SessionLimits::call_depth"));
        }
        self.splice(op, &node, origin, depth)
    }

    fn splice(&mut self, op: &StablehloComposite, node: &Node, origin: usize, depth: usize) -> Result<()> {
        let Some(body) = self.graphs.get(op.decomposition_graph) else {
            let (index, count) = (op.decomposition_graph, self.graphs.len());
            return Err(Error::malformed("", format!("runs subgraph {index} of {count}")));
        };
        let inputs: Vec<_> = node.inputs.iter().flatten().copied().collect();
        if inputs.len() != node.inputs.len()
            || inputs.len() != body.inputs.len()
            || node.outputs.len() != body.outputs.len()
        {
            return Err(Error::malformed(
                "",
                format!(
                    "has {} inputs and {} outputs, \"{}\" has {} and {}",
                    inputs.len(),
                    node.outputs.len(),
                    body.name,
                    body.inputs.len(),
                    body.outputs.len()
                ),
            ));
        }
        self.count(1 + body.tensors.len() + body.nodes.len())?;
        let mut ids: Vec<Option<TensorId>> = vec![None; body.tensors.len()];
        for (&inner, &outer) in body.inputs.iter().zip(&inputs) {
            same_form(&self.result, outer, body.tensor(inner))?;
            ids[inner.0] = Some(outer);
        }
        let mut computed = vec![false; body.tensors.len()];
        body.nodes.iter().flat_map(|node| &node.outputs).for_each(|id| computed[id.0] = true);
        for (&inner, &outer) in body.outputs.iter().zip(&node.outputs) {
            same_form(&self.result, outer, body.tensor(inner))?;
            if computed[inner.0] && ids[inner.0].is_none() {
                ids[inner.0] = Some(outer);
            }
        }
        for (id, tensor) in ids.iter_mut().zip(&body.tensors) {
            if id.is_none() {
                *id = Some(self.result.add_tensor(tensor.clone()));
            }
        }
        let new_id = |id: TensorId| ids[id.0].unwrap_or(id);
        for (&inner, &outer) in body.outputs.iter().zip(&node.outputs) {
            if new_id(inner) != outer {
                self.aliases.insert(outer, new_id(inner));
            }
        }
        for inner in &body.nodes {
            let mut op = inner.op.clone();
            op.intermediates_mut().into_iter().flatten().for_each(|id| *id = new_id(*id));
            let node = Node {
                op,
                inputs: inner.inputs.iter().map(|id| id.map(new_id)).collect(),
                outputs: inner.outputs.iter().map(|&id| new_id(id)).collect(),
            };
            self.add(node, origin, depth + 1)?;
        }
        Ok(())
    }
}

fn same_form(graph: &Graph, outer: TensorId, inner: &Tensor) -> Result<()> {
    let outer = graph.tensor(outer);
    if outer.dtype == inner.dtype && outer.quantization == inner.quantization {
        return Ok(());
    }
    Err(Error::malformed(
        "",
        format!("\"{}\" is {outer}, \"{}\" of the subgraph {inner}, or quantized otherwise", outer.name, inner.name),
    ))
}

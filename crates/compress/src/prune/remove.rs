//! Takes channels out of a graph, or sets them to zero in place.

use litesmith_graph::{DType, Data, Error, Graph, Op, Result, Tensor, TensorId, ops};

use super::channels::{Channels, Role};

impl Channels {
    /// The graph without the units of which `removed` says so: every filter, bias, constant and shape that holds one of
    /// their channels gets smaller. It computes what the graph does when their channels are zero wherever a layer reads
    /// them ([`Channels::zeroed`]), up to rounding.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is not one entry for each unit, a unit is locked, or a layer would lose all channels.
    pub fn removed(&self, graph: &Graph, removed: &[bool]) -> Result<Graph> {
        self.check(removed)?;
        let mut result = graph.clone();
        for (id, labels) in self.places() {
            let kept: Vec<usize> = self
                .units_along(labels)
                .enumerate()
                .filter(|(_, unit)| !removed[*unit])
                .map(|(index, _)| index)
                .collect();
            let tensor = result.tensor_mut(id);
            if kept.is_empty() {
                return Err(Error::invalid(
                    format!("tensor \"{}\"", tensor.name),
                    "all of its channels would be removed",
                )
                .with_hint("keep at least one channel of every layer"));
            }
            if kept.len() < tensor.shape[labels.axis] {
                take(tensor, labels.axis, &kept)?;
            }
        }
        restate_shapes(graph, &mut result);
        result.remove_dead();
        let mut inferred = result.clone();
        inferred.infer_shapes()?;
        let same = |(ours, theirs): (&Tensor, &Tensor)| ours.shape == theirs.shape;
        match result.tensors.iter().zip(&inferred.tensors).find(|pair| !same(*pair)) {
            Some((ours, theirs)) => Err(Error::unsupported(
                format!("tensor \"{}\"", ours.name),
                format!("its shape would be {:?}, its channels say {:?}", theirs.shape, ours.shape),
            )),
            None => result.check().map(|()| result),
        }
    }

    /// The graph in its old shape with the weights set to zero that make or read a channel of the units of which `removed`
    /// says so, and biases and constants along them.
    ///
    /// # Errors
    /// Those of [`Channels::removed`] about `removed`.
    pub fn zeroed(&self, graph: &Graph, removed: &[bool]) -> Result<Graph> {
        self.check(removed)?;
        let mut result = graph.clone();
        for (id, labels) in self.places() {
            let tensor = result.tensor_mut(id);
            let Some(data) = tensor.data.as_ref().filter(|_| tensor.dtype == DType::F32) else { continue };
            let mut values = data.elements::<f32>()?.to_vec();
            let units: Vec<_> = self.units_along(labels).collect();
            for_each_index(&tensor.shape, labels.axis, |index, range| {
                if removed[units[index]] {
                    values[range].fill(0.0);
                }
            });
            tensor.data = Some(Data::from_slice(&values));
        }
        Ok(result)
    }

    fn check(&self, removed: &[bool]) -> Result<()> {
        if removed.len() != self.units().len() {
            return Err(Error::invalid(
                "prune",
                format!("got {} entries, expected {}", removed.len(), self.units().len()),
            ));
        }
        let locked = self.units().iter().zip(removed).find_map(|(unit, &gone)| unit.locked.as_ref().filter(|_| gone));
        match locked {
            Some(why) => Err(Error::invalid("prune", format!("a channel that must stay would be removed ({why})"))),
            None => Ok(()),
        }
    }

    /// Sums `of(tensor, range)` over the weights with this role, for each unit of their axis.
    pub(crate) fn for_each_slice(
        &self,
        graph: &Graph,
        role: Role,
        mut visit: impl FnMut(TensorId, usize, std::ops::Range<usize>),
    ) {
        for (id, labels) in self.places().filter(|(_, labels)| labels.role == role) {
            let units: Vec<_> = self.units_along(labels).collect();
            for_each_index(&graph.tensor(id).shape, labels.axis, |index, range| visit(id, units[index], range));
        }
    }
}

/// Calls `visit` with each run of elements that have the same index along `axis`.
fn for_each_index(shape: &[usize], axis: usize, mut visit: impl FnMut(usize, std::ops::Range<usize>)) {
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    for row in 0..outer {
        for index in 0..shape[axis] {
            let start = (row * shape[axis] + index) * inner;
            visit(index, start..start + inner);
        }
    }
}

/// Keeps the `kept` indices along `axis`.
fn take(tensor: &mut Tensor, axis: usize, kept: &[usize]) -> Result<()> {
    if let Some(data) = &tensor.data {
        let values = data.elements::<f32>()?;
        let mut keep = vec![false; tensor.shape[axis]];
        kept.iter().for_each(|&index| keep[index] = true);
        let mut left = Vec::with_capacity(values.len());
        for_each_index(&tensor.shape, axis, |index, range| {
            if keep[index] {
                left.extend_from_slice(&values[range]);
            }
        });
        tensor.data = Some(Data::from_slice(&left));
    }
    tensor.shape[axis] = kept.len();
    if let Some(size) = tensor.signature.as_mut().and_then(|signature| signature.get_mut(axis))
        && *size != -1
    {
        *size = i32::try_from(kept.len()).unwrap_or(i32::MAX);
    }
    Ok(())
}

/// Gives RESHAPE its new shape, and tells SQUEEZE which axes it has always dropped, now that others may have size 1 too.
fn restate_shapes(old: &Graph, graph: &mut Graph) {
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let (Some(x), Some(&y)) = (node.inputs.first().copied().flatten(), node.outputs.first()) else { continue };
        if old.tensor(y).shape == graph.tensor(y).shape && old.tensor(x).shape == graph.tensor(x).shape {
            continue;
        }
        match &node.op {
            Op::Reshape(_) => {
                let tensor = graph.tensor(y);
                let varies = |axis: usize| tensor.signature.as_ref().is_some_and(|sizes| sizes.get(axis) == Some(&-1));
                let first = varies(0) || (old.tensor(x).shape.first() == tensor.shape.first() && tensor.shape[0] == 1);
                let size = |(axis, &size): (usize, &usize)| match axis {
                    0 if first => -1,
                    _ => i32::try_from(size).unwrap_or(i32::MAX),
                };
                let shape: Vec<i32> = tensor.shape.iter().enumerate().map(size).collect();
                let name = format!("{}/shape", tensor.name);
                let constant = Tensor::constant(name, DType::I32, [shape.len()], Data::from_slice(&shape));
                let id = graph.add_tensor(constant);
                let node = &mut graph.nodes[index];
                node.inputs = vec![Some(x), Some(id)];
                node.op = ops::Reshape { new_shape: Some(shape) }.into();
            }
            Op::Squeeze(op) if op.squeeze_dims.is_empty() => {
                let ones = old.tensor(x).shape.iter().enumerate().filter(|(_, size)| **size == 1);
                let squeeze_dims = ones.map(|(axis, _)| i32::try_from(axis).unwrap_or(i32::MAX)).collect();
                graph.nodes[index].op = ops::Squeeze { squeeze_dims }.into();
            }
            _ => {}
        }
    }
}

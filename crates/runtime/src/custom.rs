//! Custom ops of the user's own.

use std::collections::BTreeMap;
use std::fmt;
use std::slice;
use std::sync::Arc;

use bytemuck::Pod;
use litesmith_graph::ops::Custom;
use litesmith_graph::{Graph, Node, Result, Tensor};
use litesmith_kernels::Buffer;

use crate::kernel::{Inputs, Io};

/// What a custom op computes: to be implemented by who made the op, and registered in
/// [`SessionOptions::custom_ops`](crate::SessionOptions::custom_ops).
///
/// ```
/// use litesmith_graph::{DType, Data, Error, Graph, Model, Node, Result, Tensor, ops::Custom};
/// use litesmith_runtime::{CustomKernel, CustomNode, CustomOp, CustomOps, Session, SessionOptions};
///
/// /// `y = power(x, exponent)`, the exponent an option.
/// struct Power;
///
/// impl CustomOp for Power {
///     fn infer_shapes(&self, node: &CustomNode<'_>) -> Result<Vec<Vec<usize>>> {
///         Ok(vec![node.input(0)?.shape.clone()])
///     }
///
///     fn plan(&self, node: &CustomNode<'_>) -> Result<CustomKernel> {
///         if node.input(0)?.dtype != DType::F32 {
///             return Err(Error::unsupported("Power", format!("{} elements", node.input(0)?.dtype)));
///         }
///         let exponent = node.op.options_map()?.float("exponent")?.unwrap_or(2.0) as f32;
///         Ok(Box::new(move |io| {
///             let (inputs, mut outputs) = io.split();
///             for (y, x) in outputs.take::<f32>().iter_mut().zip(inputs.get::<f32>(0)) {
///                 *y = x.powf(exponent);
///             }
///             Ok(())
///         }))
///     }
/// }
///
/// let mut graph = Graph::new("main");
/// let x = graph.add_input(Tensor::new("x", DType::F32, [3]));
/// let y = graph.add_tensor(Tensor::new("y", DType::F32, [3]));
/// let op = Custom { name: "Power".into(), version: 1, options: Data::from_bytes(&[]) };
/// graph.nodes.push(Node { op: op.into(), inputs: vec![Some(x)], outputs: vec![y] });
/// graph.outputs = vec![y];
///
/// let custom_ops = CustomOps::new().with("Power", Power);
/// let options = SessionOptions { custom_ops, ..SessionOptions::default() };
/// let mut session = Session::new(&Model::from_graph(graph), options)?;
/// session.input_mut::<f32>(0)?.copy_from_slice(&[1.0, 2.0, 3.0]);
/// session.run()?;
/// assert_eq!(session.output::<f32>(0)?, [1.0, 4.0, 9.0]);
/// # Ok::<(), Error>(())
/// ```
pub trait CustomOp: Send + Sync {
    /// Shapes of the outputs, one for each.
    ///
    /// # Errors
    /// Whatever the op finds wrong. One that asks for an input ([`Error::with_needed_input`]) is asked again when the
    /// elements of that input are known.
    ///
    /// [`Error::with_needed_input`]: litesmith_graph::Error::with_needed_input
    fn infer_shapes(&self, node: &CustomNode<'_>) -> Result<Vec<Vec<usize>>>;

    /// Plans a node whose outputs have the shapes inferred: checks types, prepares what every run needs.
    ///
    /// # Errors
    /// Whatever the op finds wrong.
    fn plan(&self, node: &CustomNode<'_>) -> Result<CustomKernel>;
}

/// One run of a planned custom op. Outputs hold anything before.
pub type CustomKernel = Box<dyn Fn(&mut CustomIo<'_>) -> Result<()> + Send>;

/// The custom ops of the user's own, by name. Those built in can be replaced.
#[derive(Clone, Default)]
pub struct CustomOps {
    ops: BTreeMap<String, Arc<dyn CustomOp>>,
}

impl CustomOps {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same and one more, called `name` in files.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, op: impl CustomOp + 'static) -> Self {
        self.ops.insert(name.into(), Arc::new(op));
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<&dyn CustomOp> {
        self.ops.get(name).map(AsRef::as_ref)
    }
}

impl fmt::Debug for CustomOps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.ops.keys()).finish()
    }
}

/// A node of a custom op, about to be planned.
pub struct CustomNode<'a> {
    /// Name, version and options.
    pub op: &'a Custom,
    /// Inputs; `None` where an optional one is left out. Constants have their elements.
    pub inputs: Vec<Option<&'a Tensor>>,
    /// Outputs: types and quantization as the file says; shapes as inferred, once they are.
    pub outputs: Vec<&'a Tensor>,
}

impl<'a> CustomNode<'a> {
    pub(crate) fn new(graph: &'a Graph, node: &'a Node, op: &'a Custom) -> Self {
        let outputs = node.outputs.iter().map(|&id| graph.tensor(id)).collect();
        Self { op, inputs: graph.node_tensors(&node.inputs), outputs }
    }

    /// Input `index`.
    ///
    /// # Errors
    /// [`Error::Malformed`](litesmith_graph::Error::Malformed) when it is left out.
    pub fn input(&self, index: usize) -> Result<&'a Tensor> {
        let given = self.inputs.get(index).copied().flatten();
        given.ok_or_else(|| litesmith_graph::Error::malformed(&self.op.name, format!("input {index} is missing")))
    }
}

/// Inputs and outputs of one run of a custom op.
pub struct CustomIo<'a> {
    inputs: Inputs<'a>,
    outputs: &'a mut [Buffer],
    output_bytes: &'a [usize],
}

impl<'a> From<Io<'a>> for CustomIo<'a> {
    fn from(io: Io<'a>) -> Self {
        Self { inputs: io.inputs, outputs: io.outputs, output_bytes: io.output_bytes }
    }
}

impl CustomIo<'_> {
    /// What is read, and what is written.
    pub fn split(&mut self) -> (CustomInputs<'_>, CustomOutputs<'_>) {
        let outputs = CustomOutputs { buffers: self.outputs.iter_mut(), bytes: self.output_bytes.iter() };
        (CustomInputs(self.inputs), outputs)
    }
}

/// Inputs of one run of a custom op.
#[derive(Clone, Copy)]
pub struct CustomInputs<'a>(Inputs<'a>);

impl<'a> CustomInputs<'a> {
    /// The elements of input `index`; none where it is left out. `T` must have the size of its element type.
    #[must_use]
    pub fn get<T: Pod>(&self, index: usize) -> &'a [T] {
        self.0.get(index)
    }
}

/// Outputs of one run of a custom op, to be taken in order.
pub struct CustomOutputs<'a> {
    buffers: slice::IterMut<'a, Buffer>,
    bytes: slice::Iter<'a, usize>,
}

impl<'a> CustomOutputs<'a> {
    /// The elements of the next output; none after the last. `T` must have the size of its element type.
    pub fn take<T: Pod>(&mut self) -> &'a mut [T] {
        match (self.buffers.next(), self.bytes.next()) {
            (Some(buffer), Some(bytes)) => &mut buffer.as_mut_slice::<T>()[..bytes / size_of::<T>()],
            _ => &mut [],
        }
    }
}

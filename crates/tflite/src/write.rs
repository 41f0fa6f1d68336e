//! From a [`Model`] to bytes.

use std::collections::{BTreeMap, HashMap};

use litesmith_graph::{DType, Error, Graph, Model, Node, Op, Quantization, Result, Signature, Tensor, TensorId};

use crate::flatbuffer::{Builder, Fields, Offset};
use crate::ops::{self, Tensors};
use crate::schema::{self, buffer, operator, operator_code, quantization, signature_def, subgraph, tensor, tensor_map};
use crate::sparsify::{Sparse, sparse_constants};
use crate::{blockwise, metadata};

/// How a file is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// What is left out, for a smaller file.
    pub strip: Strip,
    /// Whether weights of layers that are mostly zero are stored sparse, with a DENSIFY in front of the layer, where the
    /// file gets smaller by it. Reading makes them dense again.
    pub sparse: bool,
}

/// What a file does without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strip {
    /// Nothing.
    #[default]
    Nothing,
    /// The names of tensors that are neither inputs nor outputs.
    Names,
    /// Everything that running it does not need: all names, the description, signatures and metadata, labels and
    /// normalization included, and that the size of a batch may change. What remains takes as few bytes as the format allows: equal tables and vectors stand once,
    /// fields whose values agree share their bytes, and data is aligned to its elements instead of to 16 bytes.
    Everything,
    /// As [`Strip::Everything`], and what LiteRT finds out itself when it plans: the shapes of tensors between ops, and the
    /// scales of biases. Only where that changes no result: around convolutions with int4 weights, which its XNNPACK
    /// delegate does not take, and ops that give the same results in every kernel. TensorFlow Lite for Microcontrollers
    /// does not run such files.
    Derivable,
}

impl Strip {
    /// Whether only what running the model needs is kept.
    fn is_bare(self) -> bool {
        matches!(self, Self::Everything | Self::Derivable)
    }
}

/// Writes a `.tflite` file. The same model always gives the same bytes: op versions follow from types, equal constants
/// are stored once, and data is aligned to 16 bytes. What nothing reads is written too, and a convolution without a bias stays
/// one, though LiteRT runs none: a trained or edited model is to be completed before, as `litesmith::save_model` does.
///
/// # Errors
/// [`Error::Malformed`] when the model fails [`Model::check`], [`Error::Invalid`] for ops that exist only while
/// training and for what the format cannot express, [`Error::Unsupported`] beyond 2 GiB.
pub fn write(model: &Model, options: &WriteOptions) -> Result<Vec<u8>> {
    model.check()?;
    let model = &*blockwise::with_scales(model)?;
    if options.sparse {
        let sparse: Vec<_> = model.graphs.iter().map(sparse_constants).collect();
        if sparse.iter().any(|constants| !constants.is_empty()) {
            let (sparse, dense) = (smallest(model, options.strip, &sparse)?, smallest(model, options.strip, &[])?);
            return Ok(if sparse.len() < dense.len() { sparse } else { dense });
        }
    }
    smallest(model, options.strip, &[])
}

/// The constants of each graph that are stored sparse, by the index of their tensor; graphs without any may be left out.
type SparseConstants = [BTreeMap<usize, Sparse>];

fn smallest(model: &Model, strip: Strip, sparse: &SparseConstants) -> Result<Vec<u8>> {
    // What makes most files smaller makes some larger, so that the smallest is taken. A place among the op codes that an
    // op's other numbers share saves four bytes for each such op, and costs as much for each empty place before it; and a
    // tensor without its shape may no longer be equal to another.
    let variants: &[(Strip, Codes)] = match strip {
        Strip::Derivable => &[
            (Strip::Derivable, Codes::AsUsed),
            (Strip::Derivable, Codes::AsOptions),
            (Strip::Everything, Codes::AsUsed),
            (Strip::Everything, Codes::AsOptions),
        ],
        Strip::Everything => &[(Strip::Everything, Codes::AsUsed), (Strip::Everything, Codes::AsOptions)],
        strip => return write_as(model, strip, Codes::AsUsed, sparse),
    };
    let mut smallest: Option<Vec<u8>> = None;
    for &(strip, codes) in variants {
        let bytes = write_as(model, strip, codes, sparse)?;
        if smallest.as_ref().is_none_or(|smallest| bytes.len() < smallest.len()) {
            smallest = Some(bytes);
        }
    }
    Ok(smallest.unwrap_or_default())
}

/// In which order a file lists its op codes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Codes {
    /// As the ops come.
    #[default]
    AsUsed,
    /// At the number of the op's options, where that is free and small, so that both numbers of an operator are the same.
    AsOptions,
}

/// Largest number of options that decides the place of an op code.
const OPTIONS_PLACE_MAX: usize = 8;

fn write_as(model: &Model, strip: Strip, codes: Codes, sparse: &SparseConstants) -> Result<Vec<u8>> {
    let is_bare = strip.is_bare();
    let mut writer = Writer { order: codes, ..Writer::default() };
    if is_bare {
        writer.builder = Builder::compact();
    }
    // Data first: what is written first stands last, so that the tables lie together at the start of the file.
    let associated = if is_bare { None } else { metadata::write(model)? };
    let mut entries = Vec::new();
    let metadata = associated.as_ref().map(|packed| (schema::metadata::TFLITE_METADATA, packed.flatbuffer.as_slice()));
    let extra = model.extra_metadata.iter().map(|(name, data)| (name.as_str(), data.bytes()));
    for (name, bytes) in extra.chain(metadata).filter(|_| !is_bare) {
        entries.push((name, writer.add_buffer(bytes, 1)));
    }
    let none = BTreeMap::new();
    let mut known = HashMap::new();
    let sparse = |index: usize| sparse.get(index).unwrap_or(&none);
    let graphs = model.graphs.iter().enumerate();
    let graphs = graphs.map(|(index, graph)| writer.constants(graph, sparse(index), &mut known)).collect::<Vec<_>>();

    let mut subgraphs = Vec::with_capacity(model.graphs.len());
    for (index, (graph, buffers)) in model.graphs.iter().zip(&graphs).enumerate() {
        let table = writer.graph(graph, buffers, sparse(index), strip);
        subgraphs.push(table.map_err(|error| if index == 0 { error } else { error.at(format!("subgraph {index}")) })?);
    }
    if !is_bare {
        let mut runtime = [0_u8; 16];
        runtime.iter_mut().zip(writer.since.bytes()).for_each(|(slot, byte)| *slot = byte);
        entries.push((schema::metadata::MIN_RUNTIME_VERSION, writer.add_buffer(&runtime, 1)));
    }
    let flatbuffer = writer.finish(model, &subgraphs, &entries)?;
    match associated {
        Some(packed) => metadata::append(flatbuffer, &packed.files),
        None => Ok(flatbuffer),
    }
}

#[derive(Default)]
struct Writer {
    builder: Builder,
    buffers: Vec<Offset>,
    /// Number, version, and the name of a custom op. `None` is a place that no op has.
    codes: Vec<Option<(i32, i32, String)>>,
    order: Codes,
    /// Release of the oldest runtime that knows every version used so far.
    since: &'static str,
}

impl Writer {
    /// Stores a buffer and returns its index. Buffer 0 is the empty one.
    fn add_buffer(&mut self, bytes: &[u8], element_bytes: usize) -> u32 {
        if self.buffers.is_empty() {
            let empty = self.builder.table(Fields::default());
            self.buffers.push(empty);
        }
        if bytes.is_empty() {
            return 0;
        }
        let data = self.builder.data(bytes, element_bytes);
        let mut fields = Fields::default();
        fields.offset(buffer::DATA, data);
        let table = self.builder.table(fields);
        self.buffers.push(table);
        u32::try_from(self.buffers.len() - 1).unwrap_or(u32::MAX)
    }

    /// Stores the constants of a graph, unless equal ones are `known`, and returns the buffer of each tensor.
    fn constants<'a>(
        &mut self,
        graph: &'a Graph,
        sparse: &'a BTreeMap<usize, Sparse>,
        known: &mut HashMap<(&'a [u8], usize), u32>,
    ) -> Vec<u32> {
        let data = graph.tensors.iter().enumerate().map(|(index, tensor)| {
            let dense = || tensor.data.as_ref().map_or(&[][..], |data| data.bytes());
            let bytes = sparse.get(&index).map_or_else(dense, |sparse| sparse.values.as_slice());
            (bytes, tensor.dtype.bits().div_ceil(8))
        });
        data.map(|(bytes, size)| *known.entry((bytes, size)).or_insert_with(|| self.add_buffer(bytes, size))).collect()
    }

    fn graph(
        &mut self,
        graph: &Graph,
        buffers: &[u32],
        sparse: &BTreeMap<usize, Sparse>,
        strip: Strip,
    ) -> Result<Offset> {
        let mut operators = Vec::with_capacity(graph.nodes.len());
        // Sparse tensors stand after the others; DENSIFY makes of each the one that is read.
        for (place, &index) in sparse.keys().enumerate() {
            operators.push(self.densify(TensorId(graph.tensors.len() + place), TensorId(index)));
        }
        for (index, node) in graph.nodes.iter().enumerate() {
            operators.push(self.node(graph, node).map_err(|error| error.at(graph.place(index)))?);
        }
        let derivable = match strip {
            Strip::Derivable => Derivable::of(graph),
            _ => Derivable::nothing(graph),
        };
        let mut tensors = Vec::with_capacity(graph.tensors.len());
        for (index, (tensor, &buffer)) in graph.tensors.iter().zip(buffers).enumerate() {
            let id = TensorId(index);
            let is_named = match strip {
                Strip::Nothing => true,
                Strip::Names => graph.inputs.contains(&id) || graph.outputs.contains(&id),
                Strip::Everything | Strip::Derivable => false,
            };
            // Which sizes vary follows from the inputs; that of a batch may be changed wherever it is.
            let has_signature = !strip.is_bare() || (graph.inputs.contains(&id) && !varies_in_batch_only(tensor));
            let kept = Kept {
                name: is_named,
                signature: has_signature,
                shape: !derivable.shapes[index],
                quantization: !derivable.quantizations[index],
            };
            let buffer = if sparse.contains_key(&index) { 0 } else { buffer };
            let table = self.tensor(graph, tensor, buffer, kept, None);
            tensors.push(table.map_err(|error| error.at(format!("tensor {index} \"{}\"", tensor.name)))?);
        }
        for (&index, constant) in sparse {
            let tensor = &graph.tensors[index];
            let kept = Kept { name: strip == Strip::Nothing, signature: false, shape: true, quantization: true };
            let table = self.tensor(graph, tensor, buffers[index], kept, Some(constant));
            tensors.push(table.map_err(|error| error.at(format!("tensor {index} \"{}\"", tensor.name)))?);
        }
        let ids = |ids: &[TensorId]| ids.iter().map(|id| stored(*id)).collect::<Vec<_>>();
        let builder = &mut self.builder;
        let mut fields = Fields::default();
        fields
            .offset(subgraph::TENSORS, builder.offsets(&tensors))
            .offset(subgraph::INPUTS, builder.scalars(&ids(&graph.inputs)))
            .offset(subgraph::OUTPUTS, builder.scalars(&ids(&graph.outputs)))
            .offset(subgraph::OPERATORS, builder.offsets(&operators))
            .offset(subgraph::NAME, builder.optional_string(if builder.is_compact() { "" } else { &graph.name }));
        Ok(builder.table(fields))
    }

    fn densify(&mut self, from: TensorId, to: TensorId) -> Offset {
        const SINCE: &str = "2.2.0";
        if release(SINCE) > release(self.since) {
            self.since = SINCE;
        }
        let index = self.code((operator_code::DENSIFY, 1, String::new()), None);
        let mut fields = Fields::default();
        fields
            .scalar(operator::OPCODE_INDEX, u32::try_from(index).unwrap_or(u32::MAX), 0)
            .offset(operator::INPUTS, self.builder.scalars(&[stored(from)]))
            .offset(operator::OUTPUTS, self.builder.scalars(&[stored(to)]));
        self.builder.table(fields)
    }

    fn node(&mut self, graph: &Graph, node: &Node) -> Result<Offset> {
        let written = ops::write(&node.op, &Tensors::new(graph, node), &mut self.builder)?;
        if release(written.since) > release(self.since) {
            self.since = written.since;
        }
        let (name, custom_options) = written.custom.unwrap_or_default();
        let index = self.code((written.code, written.version, name), written.options.map(|(tag, _)| tag));
        let inputs: Vec<_> = stored_inputs(node).iter().map(|id| id.map_or(-1, stored)).collect();
        let outputs: Vec<_> = node.outputs.iter().map(|id| stored(*id)).collect();
        let mut fields = Fields::default();
        fields
            .scalar(operator::OPCODE_INDEX, u32::try_from(index).unwrap_or(u32::MAX), 0)
            .offset(operator::INPUTS, self.builder.scalars(&inputs))
            .offset(operator::OUTPUTS, self.builder.scalars(&outputs));
        fields.offset(operator::CUSTOM_OPTIONS, custom_options);
        if !node.op.intermediates().is_empty() {
            let intermediates: Vec<_> = node.op.intermediates().iter().map(|id| stored(*id)).collect();
            fields.offset(operator::INTERMEDIATES, self.builder.scalars(&intermediates));
        }
        match written.options {
            Some((tag, options)) if ops::has_options_2(written.code) => {
                fields.scalar(operator::OPTIONS_2_TYPE, tag, 0).offset(operator::OPTIONS_2, options);
            }
            Some((tag, options)) => {
                fields.scalar(operator::OPTIONS_TYPE, tag, 0).offset(operator::OPTIONS, options);
            }
            None => {}
        }
        Ok(self.builder.table(fields))
    }

    /// The place of an op code, whose options have the number `tag`.
    fn code(&mut self, code: (i32, i32, String), tag: Option<u8>) -> usize {
        let code = Some(code);
        if let Some(index) = self.codes.iter().position(|known| *known == code) {
            return index;
        }
        let place = tag.map(usize::from).filter(|&place| {
            let is_free = self.codes.get(place).is_none_or(Option::is_none);
            self.order == Codes::AsOptions && place <= OPTIONS_PLACE_MAX && is_free
        });
        let free = self.codes.iter().position(Option::is_none).unwrap_or(self.codes.len());
        let index = place.unwrap_or(free);
        self.codes.resize(self.codes.len().max(index + 1), None);
        self.codes[index] = code;
        index
    }

    fn tensor(
        &mut self,
        graph: &Graph,
        tensor: &Tensor,
        buffer: u32,
        kept: Kept,
        sparse: Option<&Sparse>,
    ) -> Result<Offset> {
        let size = |&size: &usize| {
            i32::try_from(size)
                .map_err(|_| Error::invalid("", format!("size {size} in {:?} does not fit 32 bits", tensor.shape)))
        };
        let shape = tensor.shape.iter().map(size).collect::<Result<Vec<_>>>()?;
        let builder = &mut self.builder;
        let mut fields = Fields::default();
        if kept.shape {
            fields.offset(tensor::SHAPE, builder.scalars(&shape));
        }
        fields
            .scalar(tensor::TYPE, tensor.dtype.code(), 0)
            .scalar(tensor::BUFFER, buffer, 0)
            .scalar(tensor::IS_VARIABLE, tensor.is_variable, false)
            // A scalar and a tensor of unknown rank look alike otherwise.
            .scalar(tensor::HAS_RANK, tensor.shape.is_empty(), false);
        if kept.name {
            fields.offset(tensor::NAME, builder.optional_string(&tensor.name));
        }
        if let Some(signature) = tensor.signature.as_ref().filter(|_| kept.signature) {
            fields.offset(tensor::SHAPE_SIGNATURE, builder.scalars(signature));
        }
        if let Some(quantization) = tensor.quantization.as_ref().filter(|_| kept.quantization) {
            let table = self.quantization(graph, quantization)?;
            fields.offset(tensor::QUANTIZATION, table);
        }
        if let Some(sparse) = sparse {
            fields.offset(tensor::SPARSITY, sparse.write(&mut self.builder));
        }
        Ok(self.builder.table(fields))
    }

    fn quantization(&mut self, graph: &Graph, quantization: &Quantization) -> Result<Offset> {
        if let Some(block_size) = quantization.block_size {
            return blockwise::write(&mut self.builder, graph, quantization, block_size);
        }
        let axis = i32::try_from(quantization.axis)
            .map_err(|_| Error::invalid("", format!("quantized axis {}", quantization.axis)))?;
        let builder = &mut self.builder;
        let mut fields = Fields::default();
        fields
            .offset(quantization::SCALE, builder.scalars(&quantization.scales))
            .offset(quantization::ZERO_POINT, builder.scalars(&quantization.zero_points))
            .scalar(quantization::QUANTIZED_DIMENSION, axis, 0);
        Ok(builder.table(fields))
    }

    fn signature(&mut self, signature: &Signature) -> Offset {
        let [inputs, outputs] = [&signature.inputs, &signature.outputs].map(|entries| {
            let entries: Vec<_> = entries
                .iter()
                .map(|(name, id)| {
                    let mut fields = Fields::default();
                    fields.offset(tensor_map::NAME, self.builder.string(name)).scalar(
                        tensor_map::TENSOR_INDEX,
                        u32::try_from(id.0).unwrap_or(u32::MAX),
                        0,
                    );
                    self.builder.table(fields)
                })
                .collect();
            self.builder.offsets(&entries)
        });
        let mut fields = Fields::default();
        fields
            .offset(signature_def::INPUTS, inputs)
            .offset(signature_def::OUTPUTS, outputs)
            .offset(signature_def::KEY, self.builder.string(&signature.key))
            .scalar(signature_def::SUBGRAPH_INDEX, u32::try_from(signature.graph).unwrap_or(u32::MAX), 0);
        self.builder.table(fields)
    }

    fn finish(mut self, model: &Model, subgraphs: &[Offset], entries: &[(&str, u32)]) -> Result<Vec<u8>> {
        let entries: Vec<_> = entries
            .iter()
            .map(|(name, buffer)| {
                let mut fields = Fields::default();
                fields.offset(schema::metadata::NAME, self.builder.string(name)).scalar(
                    schema::metadata::BUFFER,
                    *buffer,
                    0,
                );
                self.builder.table(fields)
            })
            .collect();
        let is_bare = self.builder.is_compact();
        let signatures = model.signatures.iter().filter(|_| !is_bare);
        let signatures: Vec<_> = signatures.map(|signature| self.signature(signature)).collect();
        // A place that no op has repeats one that an op has.
        let any = self.codes.iter().flatten().next().cloned();
        let codes: Vec<_> = self
            .codes
            .iter()
            .filter_map(|code| code.as_ref().or(any.as_ref()))
            .map(|(code, version, name)| {
                let (code, version) = (*code, *version);
                let mut fields = Fields::default();
                fields.offset(operator_code::CUSTOM_CODE, self.builder.optional_string(name));
                let old = i8::try_from(code).unwrap_or(operator_code::PLACEHOLDER);
                fields.scalar(operator_code::DEPRECATED_BUILTIN_CODE, old, 0).scalar(
                    operator_code::VERSION,
                    version,
                    1,
                );
                // Readers take the larger of the two numbers.
                if !self.builder.is_compact() || old == operator_code::PLACEHOLDER {
                    fields.scalar(operator_code::BUILTIN_CODE, code, 0);
                }
                self.builder.table(fields)
            })
            .collect();
        let builder = &mut self.builder;
        let mut fields = Fields::default();
        fields
            .scalar(schema::model::VERSION, schema::VERSION, 0)
            .offset(schema::model::OPERATOR_CODES, builder.offsets(&codes))
            .offset(schema::model::SUBGRAPHS, builder.offsets(subgraphs))
            .offset(schema::model::DESCRIPTION, builder.optional_string(if is_bare { "" } else { &model.description }))
            .offset(schema::model::BUFFERS, builder.offsets(&self.buffers));
        if !entries.is_empty() {
            fields.offset(schema::model::METADATA, builder.offsets(&entries));
        }
        if !signatures.is_empty() {
            fields.offset(schema::model::SIGNATURE_DEFS, builder.offsets(&signatures));
        }
        let root = builder.table(fields);
        self.builder.finish(root, schema::IDENTIFIER)
    }
}

/// What of a tensor is written.
#[derive(Clone, Copy)]
struct Kept {
    name: bool,
    signature: bool,
    shape: bool,
    quantization: bool,
}

/// The tensors whose shape, and whose quantization, LiteRT can do without.
struct Derivable {
    shapes: Vec<bool>,
    quantizations: Vec<bool>,
}

impl Derivable {
    fn nothing(graph: &Graph) -> Self {
        Self { shapes: vec![false; graph.tensors.len()], quantizations: vec![false; graph.tensors.len()] }
    }

    fn of(graph: &Graph) -> Self {
        let is_builtin = |node: &Node| {
            let weights = node.inputs.get(1).copied().flatten();
            matches!(node.op, Op::Conv2d(_) | Op::DepthwiseConv2d(_))
                && weights.is_some_and(|id| graph.tensor(id).dtype == DType::I4)
        };
        let is_exact = |node: &Node| matches!(node.op, Op::MaxPool2d(_) | Op::AveragePool2d(_) | Op::Mean(_));
        let mut found = Self::nothing(graph);
        for index in 0..graph.tensors.len() {
            let id = TensorId(index);
            let tensor = graph.tensor(id);
            if graph.inputs.contains(&id) || graph.outputs.contains(&id) {
                continue;
            }
            let mut around =
                graph.nodes.iter().filter(|node| node.outputs.contains(&id) || node.inputs.contains(&Some(id)));
            if tensor.data.is_none() && !tensor.is_variable && tensor.dtype == DType::I8 {
                found.shapes[index] = around.all(|node| is_builtin(node) || is_exact(node));
            } else if tensor.data.is_some() && tensor.dtype == DType::I32 {
                found.quantizations[index] =
                    around.all(|node| is_builtin(node) && node.inputs.get(2) == Some(&Some(id)));
            }
        }
        found
    }
}

fn varies_in_batch_only(tensor: &Tensor) -> bool {
    tensor.signature.as_ref().is_some_and(|signature| !signature.iter().skip(1).any(|&size| size == -1))
}

fn stored(id: TensorId) -> i32 {
    i32::try_from(id.0).unwrap_or(i32::MAX)
}

/// The inputs as LiteRT expects them: its convolutions take a missing bias by the number of inputs only.
fn stored_inputs(node: &Node) -> &[Option<TensorId>] {
    match (&node.op, node.inputs.as_slice()) {
        (Op::Conv2d(_) | Op::DepthwiseConv2d(_), [rest @ .., None]) => rest,
        (_, inputs) => inputs,
    }
}

/// The numbers of a release, to compare by.
fn release(version: &str) -> Vec<u32> {
    version.split('.').filter_map(|part| part.parse().ok()).collect()
}

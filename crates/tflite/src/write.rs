//! From a [`Model`] to bytes.

use std::collections::HashMap;

use litesmith_graph::{Error, Graph, Model, Node, Op, Quantization, Result, Signature, Tensor, TensorId};

use crate::flatbuffer::{Builder, Fields, Offset};
use crate::metadata;
use crate::ops::{self, Tensors};
use crate::schema::{self, buffer, operator, operator_code, quantization, signature_def, subgraph, tensor, tensor_map};

/// How a file is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whether tensors that are neither inputs nor outputs lose their names, for a smaller file.
    pub strip_names: bool,
}

/// Writes a `.tflite` file. The same model always gives the same bytes: op versions follow from types, equal constants
/// are stored once, and data is aligned to 16 bytes.
///
/// # Errors
/// [`Error::Malformed`] when the model fails [`Model::check`], [`Error::Invalid`] for ops that exist only while
/// training and for what the format cannot express, [`Error::Unsupported`] beyond 2 GiB.
pub fn write(model: &Model, options: &WriteOptions) -> Result<Vec<u8>> {
    model.check()?;
    let mut writer = Writer::default();
    // Data first: what is written first stands last, so that the tables lie together at the start of the file.
    let associated = metadata::write(model)?;
    let mut entries = Vec::new();
    let metadata = associated.as_ref().map(|packed| (schema::metadata::TFLITE_METADATA, packed.flatbuffer.as_slice()));
    let extra = model.extra_metadata.iter().map(|(name, data)| (name.as_str(), data.bytes()));
    for (name, bytes) in extra.chain(metadata) {
        entries.push((name, writer.add_buffer(bytes)));
    }
    let mut known = HashMap::new();
    let graphs = model.graphs.iter().map(|graph| writer.constants(graph, &mut known)).collect::<Vec<_>>();

    let mut subgraphs = Vec::with_capacity(model.graphs.len());
    for (index, (graph, buffers)) in model.graphs.iter().zip(&graphs).enumerate() {
        let table = writer.graph(graph, buffers, options);
        subgraphs.push(table.map_err(|error| if index == 0 { error } else { error.at(format!("subgraph {index}")) })?);
    }
    let mut runtime = [0_u8; 16];
    runtime.iter_mut().zip(writer.since.bytes()).for_each(|(slot, byte)| *slot = byte);
    entries.push((schema::metadata::MIN_RUNTIME_VERSION, writer.add_buffer(&runtime)));
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
    /// Number, version, and the name of a custom op.
    codes: Vec<(i32, i32, String)>,
    /// Release of the oldest runtime that knows every version used so far.
    since: &'static str,
}

impl Writer {
    /// Stores a buffer and returns its index. Buffer 0 is the empty one.
    fn add_buffer(&mut self, bytes: &[u8]) -> u32 {
        if self.buffers.is_empty() {
            let empty = self.builder.table(Fields::default());
            self.buffers.push(empty);
        }
        if bytes.is_empty() {
            return 0;
        }
        let data = self.builder.data(bytes);
        let mut fields = Fields::default();
        fields.offset(buffer::DATA, data);
        let table = self.builder.table(fields);
        self.buffers.push(table);
        u32::try_from(self.buffers.len() - 1).unwrap_or(u32::MAX)
    }

    /// Stores the constants of a graph, unless equal ones are `known`, and returns the buffer of each tensor.
    fn constants<'a>(&mut self, graph: &'a Graph, known: &mut HashMap<&'a [u8], u32>) -> Vec<u32> {
        let data = graph.tensors.iter().map(|tensor| tensor.data.as_ref().map_or(&[][..], |data| data.bytes()));
        data.map(|bytes| *known.entry(bytes).or_insert_with(|| self.add_buffer(bytes))).collect()
    }

    fn graph(&mut self, graph: &Graph, buffers: &[u32], options: &WriteOptions) -> Result<Offset> {
        let mut operators = Vec::with_capacity(graph.nodes.len());
        for (index, node) in graph.nodes.iter().enumerate() {
            operators.push(self.node(graph, node).map_err(|error| error.at(graph.place(index)))?);
        }
        let mut tensors = Vec::with_capacity(graph.tensors.len());
        for (index, (tensor, &buffer)) in graph.tensors.iter().zip(buffers).enumerate() {
            let id = TensorId(index);
            let is_named = !options.strip_names || graph.inputs.contains(&id) || graph.outputs.contains(&id);
            let table = self.tensor(tensor, buffer, is_named);
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
            .offset(subgraph::NAME, builder.optional_string(&graph.name));
        Ok(builder.table(fields))
    }

    fn node(&mut self, graph: &Graph, node: &Node) -> Result<Offset> {
        let written = ops::write(&node.op, &Tensors::new(graph, node), &mut self.builder)?;
        if release(written.since) > release(self.since) {
            self.since = written.since;
        }
        let (name, custom_options) = written.custom.unwrap_or_default();
        let code = (written.code, written.version, name);
        let index = self.codes.iter().position(|known| *known == code).unwrap_or_else(|| {
            self.codes.push(code);
            self.codes.len() - 1
        });
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

    fn tensor(&mut self, tensor: &Tensor, buffer: u32, is_named: bool) -> Result<Offset> {
        let size = |&size: &usize| {
            i32::try_from(size)
                .map_err(|_| Error::invalid("", format!("size {size} in {:?} does not fit 32 bits", tensor.shape)))
        };
        let shape = tensor.shape.iter().map(size).collect::<Result<Vec<_>>>()?;
        let builder = &mut self.builder;
        let mut fields = Fields::default();
        fields
            .offset(tensor::SHAPE, builder.scalars(&shape))
            .scalar(tensor::TYPE, tensor.dtype.code(), 0)
            .scalar(tensor::BUFFER, buffer, 0)
            .scalar(tensor::IS_VARIABLE, tensor.is_variable, false)
            // A scalar and a tensor of unknown rank look alike otherwise.
            .scalar(tensor::HAS_RANK, tensor.shape.is_empty(), false);
        if is_named {
            fields.offset(tensor::NAME, builder.optional_string(&tensor.name));
        }
        if let Some(signature) = &tensor.signature {
            fields.offset(tensor::SHAPE_SIGNATURE, builder.scalars(signature));
        }
        if let Some(quantization) = &tensor.quantization {
            let table = self.quantization(quantization)?;
            fields.offset(tensor::QUANTIZATION, table);
        }
        Ok(self.builder.table(fields))
    }

    fn quantization(&mut self, quantization: &Quantization) -> Result<Offset> {
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
        let signatures: Vec<_> = model.signatures.iter().map(|signature| self.signature(signature)).collect();
        let codes: Vec<_> = self
            .codes
            .iter()
            .map(|(code, version, name)| {
                let (code, version) = (*code, *version);
                let mut fields = Fields::default();
                fields.offset(operator_code::CUSTOM_CODE, self.builder.optional_string(name));
                fields
                    .scalar(
                        operator_code::DEPRECATED_BUILTIN_CODE,
                        i8::try_from(code).unwrap_or(operator_code::PLACEHOLDER),
                        0,
                    )
                    .scalar(operator_code::VERSION, version, 1)
                    .scalar(operator_code::BUILTIN_CODE, code, 0);
                self.builder.table(fields)
            })
            .collect();
        let builder = &mut self.builder;
        let mut fields = Fields::default();
        fields
            .scalar(schema::model::VERSION, schema::VERSION, 0)
            .offset(schema::model::OPERATOR_CODES, builder.offsets(&codes))
            .offset(schema::model::SUBGRAPHS, builder.offsets(subgraphs))
            .offset(schema::model::DESCRIPTION, builder.optional_string(&model.description))
            .offset(schema::model::BUFFERS, builder.offsets(&self.buffers))
            .offset(schema::model::METADATA, builder.offsets(&entries));
        if !signatures.is_empty() {
            fields.offset(schema::model::SIGNATURE_DEFS, builder.offsets(&signatures));
        }
        let root = builder.table(fields);
        self.builder.finish(root, schema::IDENTIFIER)
    }
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

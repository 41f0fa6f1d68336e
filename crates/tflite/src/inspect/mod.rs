//! What a `.tflite` file holds, whether or not Litesmith can run it: every op is shown with its attributes, also those that
//! are not implemented, and nothing is planned.

mod attributes;
mod options;

use litesmith_graph::{DType, Data, Error, Graph, Metadata, Result, Signature, Tensor, TensorId};

pub use attributes::{Attribute, AttributeValue};

use crate::Limits;
use crate::flatbuffer::{File, Scalar, Table};
use crate::packed::Packed;
use crate::read::{OpCode, check_counts, index, read_node, read_signature};
use crate::schema::{self, blockwise, buffer, operator, quantization, subgraph, tensor};

/// Constants of at most this many elements are shown with their values.
const SHOWN_ELEMENTS: usize = 16;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// Bytes of the file.
    pub file_bytes: usize,
    /// Bytes of the file when packed.
    pub packed: Packed,
    /// Version of the schema; 3 for every file of the last years.
    pub schema_version: u32,
    /// Description in the file's header: most converters write their own name.
    pub description: String,
    /// Oldest TensorFlow Lite runtime that knows every op version, as the file claims.
    pub min_runtime_version: Option<String>,
    /// Operators that the file names, used or not.
    pub operator_codes: Vec<OperatorCode>,
    /// Subgraphs; the first is the one that runs.
    pub subgraphs: Vec<InspectedGraph>,
    /// Named entry points.
    pub signatures: Vec<Signature>,
    /// What inputs and outputs mean, as far as [`Metadata`] has a place for it.
    pub metadata: Metadata,
    /// Every metadata entry: name and bytes.
    pub metadata_entries: Vec<(String, usize)>,
    /// Files packed behind the model: name and bytes, unpacked.
    pub associated_files: Vec<(String, usize)>,
    /// Bytes of each buffer.
    pub buffer_bytes: Vec<usize>,
    /// What is odd about the file.
    pub warnings: Vec<String>,
}

/// An operator that a file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorCode {
    /// Its number in the schema; 32 for custom operators.
    pub code: i32,
    /// Its name in the schema, as `CONV_2D`; that of a custom operator; `operator code 210` for a number of the future.
    pub name: String,
    /// Whether it is a custom operator.
    pub is_custom: bool,
    /// The version that the file asks for.
    pub version: i32,
    /// Why [`read`](crate::read) refuses it; `None` when it does not.
    pub refusal: Option<String>,
}

/// A subgraph.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectedGraph {
    /// Name.
    pub name: String,
    /// Tensors that the caller gives, as indices of `tensors`.
    pub inputs: Vec<usize>,
    /// Tensors that the caller gets.
    pub outputs: Vec<usize>,
    /// Tensors.
    pub tensors: Vec<InspectedTensor>,
    /// Ops, in the order in which they run.
    pub ops: Vec<InspectedOp>,
}

/// A tensor as it stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectedTensor {
    /// Name.
    pub name: String,
    /// Name of the element type, as `float32`; `type 40` for a number of the future.
    pub dtype: String,
    /// Sizes.
    pub shape: Vec<i32>,
    /// Whether the file leaves the sizes out, as one that was stripped: they then follow from those of the inputs.
    pub is_inferred: bool,
    /// Sizes with -1 for those that may change; `None` when the file does not say.
    pub signature: Option<Vec<i32>>,
    /// Index of its buffer; 0 for none.
    pub buffer: usize,
    /// Bytes of its constant; 0 when it is computed.
    pub constant_bytes: usize,
    /// The elements of a small constant of numbers.
    pub values: Option<Vec<f64>>,
    /// Quantization.
    pub quantization: Option<InspectedQuantization>,
    /// Whether it keeps its value from one run to the next.
    pub is_variable: bool,
    /// Whether its constant is stored sparsely.
    pub is_sparse: bool,
}

/// Quantization as it stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectedQuantization {
    /// Scales: one, or one for each index along `axis`.
    pub scales: Vec<f32>,
    /// Zero points.
    pub zero_points: Vec<i64>,
    /// Smallest values that the converter saw; most leave it empty.
    pub min: Vec<f32>,
    /// Largest values that the converter saw.
    pub max: Vec<f32>,
    /// Axis that several scales belong to.
    pub axis: i32,
    /// Kind beyond affine: `custom`, `blockwise`, `multi-axis`.
    pub details: Option<String>,
    /// Where the scales of blockwise quantization stand.
    pub blocks: Option<InspectedBlocks>,
}

/// `BlockwiseQuantization` as it stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InspectedBlocks {
    /// Elements of a row that share a scale.
    pub size: i32,
    /// Index of the tensor that holds the scales.
    pub scales: i32,
    /// Index of the tensor that holds the zero points; -1 for none.
    pub zero_points: i32,
}

/// An op as it stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectedOp {
    /// Index of its [`OperatorCode`].
    pub code: usize,
    /// Inputs, as indices of the subgraph's tensors; `None` where an optional one is left out.
    pub inputs: Vec<Option<usize>>,
    /// Outputs.
    pub outputs: Vec<usize>,
    /// Tensors that it keeps between its steps.
    pub intermediates: Vec<usize>,
    /// Attributes, those left at their default included.
    pub attributes: Vec<Attribute>,
    /// Multiply-accumulates of one run; `None` where the op is not implemented.
    pub macs: Option<u64>,
}

impl InspectedTensor {
    /// Sizes with -1 for those that may change.
    #[must_use]
    pub fn shape_signature(&self) -> &[i32] {
        self.signature.as_deref().filter(|signature| signature.len() == self.shape.len()).unwrap_or(&self.shape)
    }
}

/// Looks into a `.tflite` file. It need not be one that Litesmith can run: ops, versions and types that are not implemented
/// are shown as well.
///
/// # Errors
/// [`Error::Malformed`] for a damaged file, [`Error::Limit`] when one of `limits` is exceeded.
pub fn inspect(bytes: &[u8], limits: &Limits) -> Result<Inspection> {
    limits.check_file(bytes)?;
    let file = File::new(bytes, limits.budget(bytes.len()));
    let root = file.root(schema::IDENTIFIER)?;
    let codes = root.tables(schema::model::OPERATOR_CODES)?.iter().map(OpCode::read).collect::<Result<Vec<_>>>()?;
    let subgraphs = root.tables(schema::model::SUBGRAPHS)?;
    check_counts(&subgraphs, limits)?;
    let buffers = root.tables(schema::model::BUFFERS)?.iter().map(buffer_of).collect::<Result<Vec<_>>>()?;
    let mut found = Inspection {
        file_bytes: bytes.len(),
        packed: Packed::of(bytes),
        schema_version: root.scalar(schema::model::VERSION, 0_u32)?,
        description: root.string(schema::model::DESCRIPTION)?,
        min_runtime_version: None,
        operator_codes: codes.iter().map(OpCode::inspected).collect(),
        subgraphs: Vec::with_capacity(subgraphs.len()),
        signatures: root.tables(schema::model::SIGNATURE_DEFS)?.iter().map(read_signature).collect::<Result<_>>()?,
        metadata: Metadata::default(),
        metadata_entries: Vec::new(),
        associated_files: crate::metadata::associated_files(bytes),
        buffer_bytes: buffers.iter().map(|bytes| bytes.len()).collect(),
        warnings: Vec::new(),
    };
    if found.schema_version != schema::VERSION {
        found.warnings.push(format!("schema version {}, expected {}", found.schema_version, schema::VERSION));
    }
    for (at, table) in subgraphs.iter().enumerate() {
        found.subgraphs.push(graph(table, &codes, &buffers).map_err(|error| error.at(format!("subgraph {at}")))?);
    }
    check_signatures(&found)?;
    for entry in root.tables(schema::model::METADATA)? {
        let name = entry.string(schema::metadata::NAME)?;
        let at = index(entry.scalar(schema::metadata::BUFFER, 0_u32)?);
        let Some(data) = buffers.get(at).copied().or((at == 0).then_some(&[][..])) else {
            let message = format!("buffer {at} of {}", buffers.len());
            return Err(Error::malformed(format!("metadata \"{name}\""), message));
        };
        match name.as_str() {
            schema::metadata::MIN_RUNTIME_VERSION => {
                let text = String::from_utf8_lossy(data).trim_end_matches('\0').to_owned();
                found.min_runtime_version = Some(text).filter(|text| !text.is_empty());
            }
            schema::metadata::TFLITE_METADATA => {
                match crate::metadata::read(data, bytes, limits, &mut found.warnings) {
                    Ok((metadata, not_kept)) => {
                        found.metadata = metadata;
                        if !not_kept.is_empty() {
                            let message =
                                format!("metadata that a file written anew does not have: {}", not_kept.join(", "));
                            found.warnings.push(message);
                        }
                    }
                    Err(error) => found.warnings.push(format!("metadata ignored: {error}")),
                }
            }
            _ => {}
        }
        found.metadata_entries.push((name, data.len()));
    }
    Ok(found)
}

fn check_signatures(found: &Inspection) -> Result<()> {
    for signature in &found.signatures {
        let Some(graph) = found.subgraphs.get(signature.graph) else {
            let message = format!("subgraph {} of {}", signature.graph, found.subgraphs.len());
            return Err(Error::malformed(format!("signature \"{}\"", signature.key), message));
        };
        for (name, id) in signature.inputs.iter().chain(&signature.outputs) {
            if id.0 >= graph.tensors.len() {
                let message = format!("\"{name}\" is tensor {} of {}", id.0, graph.tensors.len());
                return Err(Error::malformed(format!("signature \"{}\"", signature.key), message));
            }
        }
    }
    Ok(())
}

impl OpCode {
    fn inspected(&self) -> OperatorCode {
        let is_custom = self.code == schema::operator_code::CUSTOM;
        OperatorCode {
            code: self.code,
            name: if is_custom { self.custom.clone() } else { self.name() },
            is_custom,
            version: self.version,
            refusal: self.refusal(),
        }
    }
}

fn buffer_of<'a>(table: &Table<'a>) -> Result<&'a [u8]> {
    if let Some(bytes) = table.bytes(buffer::DATA)? {
        return Ok(bytes);
    }
    match (table.scalar(buffer::OFFSET, 0_u64)?, table.scalar(buffer::SIZE, 0_u64)?) {
        (0 | 1, _) | (_, 0) => Ok(&[]),
        (offset, size) => table.distant_region(offset, size),
    }
}

fn graph(table: &Table<'_>, codes: &[OpCode], buffers: &[&[u8]]) -> Result<InspectedGraph> {
    let mut shadow = Graph::new("");
    let mut tensors = Vec::new();
    for (at, table) in table.tables(subgraph::TENSORS)?.iter().enumerate() {
        let (tensor, shown) = tensor_of(table, buffers).map_err(|error| error.at(format!("tensor {at}")))?;
        tensors.push(tensor);
        shadow.tensors.push(shown);
    }
    let count = tensors.len();
    let mut ops = Vec::new();
    for (at, table) in table.tables(subgraph::OPERATORS)?.iter().enumerate() {
        ops.push(op_of(table, codes, &mut shadow).map_err(|error| error.at(format!("op {at}")))?);
    }
    for (tensor, shown) in tensors.iter_mut().zip(&shadow.tensors) {
        if tensor.shape.is_empty() && !shown.shape.is_empty() {
            tensor.shape = shown.shape.iter().map(|&size| i32::try_from(size).unwrap_or(i32::MAX)).collect();
            tensor.is_inferred = true;
        }
    }
    Ok(InspectedGraph {
        name: table.string(subgraph::NAME)?,
        inputs: required(table, subgraph::INPUTS, count)?,
        outputs: required(table, subgraph::OUTPUTS, count)?,
        tensors,
        ops,
    })
}

/// The tensor, and what of it the cost of an op depends on.
fn tensor_of(table: &Table<'_>, buffers: &[&[u8]]) -> Result<(InspectedTensor, Tensor)> {
    let code = table.scalar(tensor::TYPE, 0_i8)?;
    let dtype = DType::from_code(code);
    let shape = table.scalars::<i32>(tensor::SHAPE)?.unwrap_or_default();
    let at = index(table.scalar(tensor::BUFFER, 0_u32)?);
    let data = buffers.get(at).copied().or((at == 0).then_some(&[][..]));
    let data = data.ok_or_else(|| Error::malformed("", format!("buffer {at} of {}", buffers.len())))?;
    let mut shadow = Tensor::new("", dtype.unwrap_or(DType::F32), Vec::new());
    shadow.shape = shape.iter().map(|&size| usize::try_from(size).unwrap_or(1)).collect();
    // Constants of integers decide shapes; those are small.
    if data.len() <= SHOWN_ELEMENTS * 8 && !data.is_empty() {
        shadow.data = Some(Data::from_bytes(data));
    }
    let found = InspectedTensor {
        name: table.string(tensor::NAME)?,
        dtype: dtype.map_or_else(|| format!("type {code}"), |dtype| dtype.name().to_owned()),
        signature: table.scalars::<i32>(tensor::SHAPE_SIGNATURE)?.filter(|signature| !signature.is_empty()),
        buffer: at,
        constant_bytes: data.len(),
        values: dtype.and_then(|dtype| values(dtype, data)),
        quantization: table.table(tensor::QUANTIZATION)?.map(|table| quantization_of(&table)).transpose()?.flatten(),
        is_variable: table.scalar(tensor::IS_VARIABLE, false)?,
        is_sparse: table.has(tensor::SPARSITY)?,
        shape,
        is_inferred: false,
    };
    Ok((found, shadow))
}

/// The elements of a small constant.
fn values(dtype: DType, data: &[u8]) -> Option<Vec<f64>> {
    fn all<T: Scalar>(data: &[u8], to: impl Fn(T) -> f64) -> Option<Vec<f64>> {
        data.chunks(T::SIZE).map(|bytes| T::decode(bytes).map(&to)).collect()
    }
    if data.is_empty() || dtype.bits() == 0 || data.len() > SHOWN_ELEMENTS * dtype.bits() / 8 {
        return None;
    }
    match dtype {
        DType::F32 => all::<f32>(data, f64::from),
        DType::I32 => all::<i32>(data, f64::from),
        DType::U32 => all::<u32>(data, f64::from),
        // Those beyond 53 bits are no sizes, and are rounded.
        DType::I64 => all::<i64>(data, |value| value as f64),
        DType::I8 => all::<i8>(data, f64::from),
        DType::U8 | DType::Bool => all::<u8>(data, f64::from),
        _ => None,
    }
}

fn quantization_of(table: &Table<'_>) -> Result<Option<InspectedQuantization>> {
    let details = match table.scalar(quantization::DETAILS_TYPE, 0_u8)? {
        0 => None,
        1 => Some("custom".to_owned()),
        2 => Some("blockwise".to_owned()),
        3 => Some("multi-axis".to_owned()),
        kind => Some(format!("kind {kind}")),
    };
    let floats = |field| Ok::<_, Error>(table.scalars::<f32>(field)?.unwrap_or_default());
    let found = InspectedQuantization {
        scales: floats(quantization::SCALE)?,
        zero_points: table.scalars::<i64>(quantization::ZERO_POINT)?.unwrap_or_default(),
        min: floats(quantization::MIN)?,
        max: floats(quantization::MAX)?,
        axis: table.scalar(quantization::QUANTIZED_DIMENSION, 0_i32)?,
        details,
        blocks: blocks_of(table)?,
    };
    let says_nothing =
        found.scales.is_empty() && found.min.is_empty() && found.max.is_empty() && found.details.is_none();
    Ok((!says_nothing).then_some(found))
}

fn blocks_of(table: &Table<'_>) -> Result<Option<InspectedBlocks>> {
    if table.scalar(quantization::DETAILS_TYPE, 0_u8)? != quantization::BLOCKWISE {
        return Ok(None);
    }
    let Some(details) = table.table(quantization::DETAILS)? else { return Ok(None) };
    let field = |number| details.scalar(number, 0_i32);
    let (size, scales) = (field(blockwise::BLOCK_SIZE)?, field(blockwise::SCALES)?);
    Ok(Some(InspectedBlocks { size, scales, zero_points: field(blockwise::ZERO_POINTS)? }))
}

fn op_of(table: &Table<'_>, codes: &[OpCode], shadow: &mut Graph) -> Result<InspectedOp> {
    let count = shadow.tensors.len();
    let at = index(table.scalar(operator::OPCODE_INDEX, 0_u32)?);
    let code = codes.get(at);
    let code = code.ok_or_else(|| Error::malformed("", format!("operator code {at} of {}", codes.len())))?;
    let outputs = required(table, operator::OUTPUTS, count)?;
    // A cost needs the op itself; one that is not implemented, or whose attributes are refused, has none.
    let node = read_node(table, Some(code), shadow).ok().filter(|_| code.refusal().is_none());
    let macs = node.map(|node| {
        // A shape that the file leaves out is empty, as that of a scalar.
        shadow.infer_missing_shapes_of(&node);
        let results: Vec<_> = outputs.iter().map(|&id| shadow.tensor(TensorId(id))).collect();
        node.op.cost(&shadow.node_tensors(&node.inputs), &results).macs
    });
    Ok(InspectedOp {
        code: at,
        inputs: optional(table, operator::INPUTS, count)?,
        intermediates: optional(table, operator::INTERMEDIATES, count)?.into_iter().flatten().collect(),
        attributes: attributes::of(table, code.code == schema::operator_code::CUSTOM)?,
        outputs,
        macs,
    })
}

fn optional(table: &Table<'_>, field: usize, count: usize) -> Result<Vec<Option<usize>>> {
    let ids = table.scalars::<i32>(field)?.unwrap_or_default();
    let id = |id: i32| match usize::try_from(id) {
        Ok(id) if id < count => Ok(Some(id)),
        Err(_) => Ok(None),
        Ok(id) => Err(Error::malformed("", format!("tensor {id} of {count}"))),
    };
    ids.into_iter().map(id).collect()
}

fn required(table: &Table<'_>, field: usize, count: usize) -> Result<Vec<usize>> {
    let ids = optional(table, field, count)?.into_iter();
    ids.map(|id| id.ok_or_else(|| Error::malformed("", "tensor -1: none may be left out"))).collect()
}

#[cfg(test)]
mod tests;

//! From bytes to a [`Model`].

use std::collections::BTreeMap;

use litesmith_graph::{DType, Data, Error, Graph, Model, Node, Quantization, Result, Signature, Tensor, TensorId};

use crate::builtin_operators::NAMES;
use crate::flatbuffer::{File, Table};
use crate::ops::{self, Tensors};
use crate::schema::{self, buffer, operator, operator_code, quantization, signature_def, subgraph, tensor, tensor_map};
use crate::{Limits, Loaded, blockwise, metadata, sparsity};

/// Reads a `.tflite` file.
///
/// Every offset, count and index is checked when it is followed, so that damaged and hostile files give errors. The
/// graphs that come back are checked ([`Model::check`]); that shapes fit the ops is left to whoever plans them.
///
/// # Errors
/// [`Error::Malformed`] for a damaged file, [`Error::Unsupported`] for what is not implemented (one error lists every
/// such op), [`Error::Limit`] when one of `limits` is exceeded.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Loaded> {
    limits.check_file(bytes)?;
    let file = File::new(bytes, limits.budget(bytes.len()));
    let root = file.root(schema::IDENTIFIER)?;
    let version = root.scalar(schema::model::VERSION, 0_u32)?;
    if version != schema::VERSION {
        return Err(Error::unsupported("", format!("schema version {version}, expected {}", schema::VERSION)));
    }
    let codes = root.tables(schema::model::OPERATOR_CODES)?.iter().map(OpCode::read).collect::<Result<Vec<_>>>()?;
    let subgraphs = root.tables(schema::model::SUBGRAPHS)?;
    check_counts(&subgraphs, limits)?;
    let operators = subgraphs.iter().map(|table| table.tables(subgraph::OPERATORS)).collect::<Result<Vec<_>>>()?;
    check_operators(&operators, &codes)?;

    let mut buffers = Buffers::new(root.tables(schema::model::BUFFERS)?, limits);
    let (mut warnings, mut not_kept) = (Vec::new(), Vec::new());
    let mut graphs = Vec::with_capacity(subgraphs.len());
    for (index, (table, operators)) in subgraphs.iter().zip(&operators).enumerate() {
        let graph = read_graph(table, operators, &codes, &mut buffers, &mut warnings);
        graphs.push(graph.map_err(|error| if index == 0 { error } else { error.at(format!("subgraph {index}")) })?);
    }
    let signatures = root.tables(schema::model::SIGNATURE_DEFS)?;
    let mut model = Model {
        graphs,
        signatures: signatures.iter().map(read_signature).collect::<Result<_>>()?,
        description: root.string(schema::model::DESCRIPTION)?,
        ..Model::default()
    };
    for entry in root.tables(schema::model::METADATA)? {
        let name = entry.string(schema::metadata::NAME)?;
        let buffer = index(entry.scalar(schema::metadata::BUFFER, 0_u32)?);
        let data = buffers.get(buffer).map_err(|error| error.at(format!("metadata \"{name}\"")))?;
        match name.as_str() {
            // Written anew from the op versions.
            schema::metadata::MIN_RUNTIME_VERSION => {}
            schema::metadata::TFLITE_METADATA => {
                let data = data.unwrap_or_else(|| Data::from_bytes(&[]));
                match metadata::read(data.bytes(), bytes, limits, &mut warnings) {
                    Ok(read) => (model.metadata, not_kept) = read,
                    // It describes the model to people; the model runs without.
                    Err(error) => warnings.push(format!("metadata ignored: {error}")),
                }
            }
            _ => model.extra_metadata.push((name, data.unwrap_or_else(|| Data::from_bytes(&[])))),
        }
    }
    model.check()?;
    Ok(Loaded { model, warnings, not_kept, is_sparse: buffers.sparse_left < limits.sparse_bytes })
}

pub(crate) fn index(stored: u32) -> usize {
    usize::try_from(stored).unwrap_or(usize::MAX)
}

/// Checks the counts against the limits before anything is built from them.
pub(crate) fn check_counts(subgraphs: &[Table<'_>], limits: &Limits) -> Result<()> {
    let (mut tensors, mut nodes) = (0_usize, 0_usize);
    for table in subgraphs {
        tensors = tensors.saturating_add(table.count(subgraph::TENSORS)?);
        nodes = nodes.saturating_add(table.count(subgraph::OPERATORS)?);
    }
    let counts = [
        ("subgraphs", subgraphs.len(), limits.subgraphs),
        ("tensors", tensors, limits.tensors),
        ("nodes", nodes, limits.nodes),
    ];
    match counts.iter().find(|(_, count, limit)| count > limit) {
        Some((name, count, limit)) => {
            Err(Error::limit("", format!("the file has {count} {name}, the limit is {limit}"))
                .with_hint(format!("raise the limit: --limit {name}=N, Limits::{name}")))
        }
        None => Ok(()),
    }
}

pub(crate) struct OpCode {
    pub(crate) code: i32,
    pub(crate) version: i32,
    pub(crate) custom: String,
}

impl OpCode {
    pub(crate) fn read(table: &Table<'_>) -> Result<Self> {
        // Old files have the one-byte field only; new ones both, the byte cut off at 127.
        let old = i32::from(table.scalar(operator_code::DEPRECATED_BUILTIN_CODE, 0_i8)?);
        let new = table.scalar(operator_code::BUILTIN_CODE, 0_i32)?;
        Ok(Self {
            code: new.max(old),
            version: table.scalar(operator_code::VERSION, 1_i32)?,
            custom: table.string(operator_code::CUSTOM_CODE)?,
        })
    }

    pub(crate) fn name(&self) -> String {
        match usize::try_from(self.code).ok().and_then(|index| NAMES.get(index)) {
            Some(_) if self.code == operator_code::CUSTOM => format!("custom op \"{}\"", self.custom),
            Some(name) => (*name).to_owned(),
            None => format!("operator code {}", self.code),
        }
    }

    /// Why the op cannot be read; `None` when it can.
    pub(crate) fn refusal(&self) -> Option<String> {
        // Whether a custom op can run is known to who plans the model: its user may have registered it.
        if self.code == operator_code::CUSTOM || self.code == operator_code::DENSIFY {
            return None;
        }
        let Some(versions) = ops::versions(self.code) else {
            return Some(self.name());
        };
        let known = usize::try_from(self.version).is_ok_and(|version| (1..=versions.len()).contains(&version));
        (!known).then(|| format!("{} of version {} (known: 1 to {})", self.name(), self.version, versions.len()))
    }
}

/// Refuses the file when it uses an op that we do not implement, naming every one.
fn check_operators(operators: &[Vec<Table<'_>>], codes: &[OpCode]) -> Result<()> {
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let refusals: Vec<_> = codes.iter().map(OpCode::refusal).collect();
    for (graph, operators) in operators.iter().enumerate() {
        for (position, table) in operators.iter().enumerate() {
            let code = table.scalar(operator::OPCODE_INDEX, 0_u32)?;
            let Some(refusal) = refusals.get(index(code)) else {
                return Err(Error::malformed(
                    format!("subgraph {graph}: op {position}"),
                    format!("operator code {code} of {}", codes.len()),
                ));
            };
            if let Some(refusal) = refusal {
                *refused.entry(refusal.clone()).or_default() += 1;
            }
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = refused.iter().map(|(name, count)| format!("{name} ({count}x)")).collect();
    Err(Error::unsupported("", format!("ops that are not implemented: {}", list.join(", "))))
}

/// The buffers of a file, each copied once however many tensors share it.
struct Buffers<'a> {
    tables: Vec<Table<'a>>,
    copies: Vec<Option<Option<Data>>>,
    /// Bytes that sparse constants may still take.
    sparse_left: usize,
}

impl<'a> Buffers<'a> {
    fn new(tables: Vec<Table<'a>>, limits: &Limits) -> Self {
        let copies = vec![None; tables.len()];
        Self { tables, copies, sparse_left: limits.sparse_bytes }
    }

    /// The bytes of a buffer; `None` when it holds none.
    fn get(&mut self, index: usize) -> Result<Option<Data>> {
        let count = self.tables.len();
        let (Some(table), Some(copy)) = (self.tables.get(index), self.copies.get_mut(index)) else {
            // Buffer 0 stands for no data, and a file without buffers has none either.
            return match index {
                0 => Ok(None),
                _ => Err(Error::malformed("", format!("buffer {index} of {count}"))),
            };
        };
        if let Some(copy) = copy {
            return Ok(copy.clone());
        }
        let data = Self::read(table)?;
        *copy = Some(data.clone());
        Ok(data)
    }

    fn read(table: &Table<'_>) -> Result<Option<Data>> {
        if let Some(bytes) = table.bytes(buffer::DATA)? {
            return Ok((!bytes.is_empty()).then(|| Data::from_bytes(bytes)));
        }
        // Files over 2 GB keep data behind the tables. The offsets 0 and 1 mean that there is none.
        let offset = table.scalar(buffer::OFFSET, 0_u64)?;
        let size = table.scalar(buffer::SIZE, 0_u64)?;
        if offset <= 1 || size == 0 {
            return Ok(None);
        }
        table.distant_region(offset, size).map(|bytes| Some(Data::from_bytes(bytes)))
    }
}

fn read_graph(
    table: &Table<'_>,
    operators: &[Table<'_>],
    codes: &[OpCode],
    buffers: &mut Buffers<'_>,
    warnings: &mut Vec<String>,
) -> Result<Graph> {
    let mut graph = Graph::new(table.string(subgraph::NAME)?);
    let mut odd_axes = Vec::new();
    let tables = table.tables(subgraph::TENSORS)?;
    for (index, table) in tables.iter().enumerate() {
        let name = table.string(tensor::NAME)?;
        let place = format!("tensor {index} \"{name}\"");
        let tensor = read_tensor(table, name, &place, buffers, &mut odd_axes).map_err(|error| error.at(&place))?;
        graph.tensors.push(tensor);
    }
    for (index, table) in tables.iter().enumerate() {
        let place = |error: Error| error.at(format!("tensor {index} \"{}\"", graph.tensors[index].name));
        if let Some(quantization) = blockwise::read(table, index, &graph).map_err(place)? {
            graph.tensors[index].quantization = Some(quantization);
        }
    }
    if let Some(first) = odd_axes.first() {
        let others = odd_axes.len() - 1;
        let others = if others == 0 { String::new() } else { format!(" (and {others} more such tensors)") };
        warnings.push(format!("{first}, taken as 0{others}"));
    }
    let count = graph.tensors.len();
    graph.inputs = required(table, subgraph::INPUTS, count).map_err(|error| error.at("graph inputs"))?;
    graph.outputs = required(table, subgraph::OUTPUTS, count).map_err(|error| error.at("graph outputs"))?;
    for (index, table) in operators.iter().enumerate() {
        let code = table.scalar(operator::OPCODE_INDEX, 0_u32)?;
        let code = codes.get(self::index(code));
        let place = || format!("op {index} {}", code.map_or_else(String::new, OpCode::name));
        if code.is_some_and(|code| code.code == operator_code::DENSIFY) {
            densify(&mut graph, table).map_err(|error| error.at(place()))?;
            continue;
        }
        let node = read_node(table, code, &graph).map_err(|error| error.at(place()))?;
        graph.nodes.push(node);
    }
    fill_empty_constants(&mut graph);
    Ok(graph)
}

pub(crate) fn read_node(table: &Table<'_>, code: Option<&OpCode>, graph: &Graph) -> Result<Node> {
    let count = graph.tensors.len();
    let inputs = optional(table, operator::INPUTS, count).map_err(|error| error.at("inputs"))?;
    let outputs = required(table, operator::OUTPUTS, count).map_err(|error| error.at("outputs"))?;
    let number = code.map_or(-1, |code| code.code);
    let mut op = match code {
        Some(code) if number == operator_code::CUSTOM => ops::custom::read(table, &code.custom, code.version)?.into(),
        _ => {
            let (tag, options) = match ops::has_options_2(number) {
                true => (operator::OPTIONS_2_TYPE, operator::OPTIONS_2),
                false => (operator::OPTIONS_TYPE, operator::OPTIONS),
            };
            let (tag, options) = (table.scalar(tag, 0_u8)?, table.table(options)?);
            ops::read(number, tag, options, &Tensors::of(graph, &inputs, &outputs))?
        }
    };
    if let Some(intermediates) = op.intermediates_mut() {
        *intermediates = required(table, operator::INTERMEDIATES, count).map_err(|error| error.at("intermediates"))?;
    }
    Ok(Node { op, inputs, outputs })
}

/// DENSIFY: its output is the constant that its sparse input has become.
fn densify(graph: &mut Graph, table: &Table<'_>) -> Result<()> {
    let count = graph.tensors.len();
    let (inputs, outputs) = (required(table, operator::INPUTS, count)?, required(table, operator::OUTPUTS, count)?);
    let (&[input], &[output]) = (inputs.as_slice(), outputs.as_slice()) else {
        return Err(Error::malformed("", format!("got {} inputs and {} outputs", inputs.len(), outputs.len())));
    };
    let (from, to) = (graph.tensor(input), graph.tensor(output));
    if from.data.is_none() || to.data.is_some() || (from.dtype, &from.shape) != (to.dtype, &to.shape) {
        return Err(Error::malformed("", format!("makes {to} of {from}, expected a sparse constant of that form")));
    }
    graph.tensor_mut(output).data = graph.tensor(input).data.clone();
    Ok(())
}

/// Tensors without elements have no bytes that would mark them as constants: those that a node reads and nothing
/// computes are.
fn fill_empty_constants(graph: &mut Graph) {
    let mut computed = vec![false; graph.tensors.len()];
    let mut read = computed.clone();
    let mark = |marks: &mut Vec<bool>, id: &TensorId| {
        if let Some(mark) = marks.get_mut(id.0) {
            *mark = true;
        }
    };
    graph.inputs.iter().for_each(|id| mark(&mut computed, id));
    for node in &graph.nodes {
        node.outputs.iter().for_each(|id| mark(&mut computed, id));
        node.inputs.iter().flatten().for_each(|id| mark(&mut read, id));
    }
    for ((tensor, computed), read) in graph.tensors.iter_mut().zip(computed).zip(read) {
        let empty = tensor.data.is_none() && tensor.shape.contains(&0) && tensor.dtype.bits() != 0;
        if empty && read && !computed && !tensor.is_variable {
            tensor.data = Some(Data::from_bytes(&[]));
        }
    }
}

/// A vector of tensor indices; -1 stands for an input that is left out.
fn optional(table: &Table<'_>, field: usize, count: usize) -> Result<Vec<Option<TensorId>>> {
    let ids = table.scalars::<i32>(field)?.unwrap_or_default();
    ids.into_iter()
        .map(|id| match usize::try_from(id) {
            Ok(index) if index < count => Ok(Some(TensorId(index))),
            Err(_) if id == -1 => Ok(None),
            _ => Err(Error::malformed("", format!("tensor {id} of {count}"))),
        })
        .collect()
}

fn required(table: &Table<'_>, field: usize, count: usize) -> Result<Vec<TensorId>> {
    let ids = optional(table, field, count)?;
    ids.into_iter().map(|id| id.ok_or_else(|| Error::malformed("", "tensor -1: none may be left out"))).collect()
}

fn read_tensor(
    table: &Table<'_>,
    name: String,
    place: &str,
    buffers: &mut Buffers<'_>,
    odd_axes: &mut Vec<String>,
) -> Result<Tensor> {
    let code = table.scalar(tensor::TYPE, 0_i8)?;
    let dtype = DType::from_code(code).ok_or_else(|| Error::unsupported("", format!("element type {code}")))?;
    let shape = table.scalars::<i32>(tensor::SHAPE)?.unwrap_or_default();
    let shape = shape
        .iter()
        .map(|&size| usize::try_from(size).map_err(|_| Error::malformed("", format!("got size {size} in {shape:?}"))))
        .collect::<Result<Vec<_>>>()?;
    let signature = table.scalars::<i32>(tensor::SHAPE_SIGNATURE)?.filter(|signature| !signature.is_empty());
    if let Some(signature) = &signature
        && let Some(size) = signature.iter().find(|&&size| size < -1)
    {
        return Err(Error::malformed("", format!("got size {size} in the shape signature {signature:?}")));
    }
    for (field, what, hint) in [
        (
            tensor::VARIANT_TENSORS,
            "variant_tensors: a list of tensors, which only TensorFlow's own ops compute with",
            "convert the model with TFLITE_BUILTINS only, without SELECT_TF_OPS",
        ),
        (
            tensor::EXTERNAL_BUFFER,
            "external_buffer: constants in another file",
            "convert the model with its weights inside; buffers behind the flatbuffer are read",
        ),
    ] {
        if table.has(field)? {
            return Err(Error::unsupported("", what).with_hint(hint));
        }
    }
    let quantization = match table.table(tensor::QUANTIZATION)? {
        Some(table) => read_quantization(&table, shape.len(), place, odd_axes)?,
        None => None,
    };
    let mut data = buffers.get(index(table.scalar(tensor::BUFFER, 0_u32)?))?;
    if let Some(table) = table.table(tensor::SPARSITY)? {
        if dtype.bits() < 8 {
            return Err(Error::unsupported("sparsity", format!("{dtype} elements")));
        }
        let values = data.as_ref().map_or(&[][..], Data::bytes);
        let dense = sparsity::densify(&table, &shape, dtype.bits() / 8, values, buffers.sparse_left)?;
        buffers.sparse_left -= dense.len();
        data = Some(Data::from_bytes(&dense));
    }
    Ok(Tensor {
        name,
        dtype,
        shape,
        signature,
        quantization,
        data,
        is_variable: table.scalar(tensor::IS_VARIABLE, false)?,
    })
}

fn read_quantization(
    table: &Table<'_>,
    rank: usize,
    place: &str,
    odd_axes: &mut Vec<String>,
) -> Result<Option<Quantization>> {
    match table.scalar(quantization::DETAILS_TYPE, 0_u8)? {
        0 => {}
        1 => return Err(Error::unsupported("", "custom quantization")),
        // Refers to other tensors, which are read after this one.
        quantization::BLOCKWISE => return Ok(None),
        3 => return Err(Error::unsupported("", "multi-axis quantization")),
        kind => return Err(Error::unsupported("", format!("quantization details of kind {kind}"))),
    }
    let scales = table.scalars::<f32>(quantization::SCALE)?.unwrap_or_default();
    // Converters write the range that they saw, without a scale, for float tensors; it means nothing to a runtime.
    if scales.is_empty() {
        return Ok(None);
    }
    let mut zero_points = table.scalars::<i64>(quantization::ZERO_POINT)?.unwrap_or_default();
    if zero_points.is_empty() {
        zero_points = vec![0; scales.len()];
    }
    let stored = table.scalar(quantization::QUANTIZED_DIMENSION, 0_i32)?;
    let axis = match usize::try_from(stored) {
        Ok(axis) if axis < rank.max(1) => axis,
        // Old converters give a bias the axis of its filter.
        _ if rank <= 1 || scales.len() == 1 => {
            odd_axes.push(format!("{place}: quantized_dimension {stored} of a tensor of rank {rank}"));
            0
        }
        _ => {
            return Err(Error::malformed(
                "quantization",
                format!("got quantized_dimension {stored} of a tensor of rank {rank}"),
            ));
        }
    };
    Ok(Some(Quantization { scales, zero_points, axis, block_size: None }))
}

pub(crate) fn read_signature(table: &Table<'_>) -> Result<Signature> {
    let names = |field: usize| -> Result<Vec<(String, TensorId)>> {
        let entries = table.tables(field)?;
        let entry = |table: &Table<'_>| {
            let tensor = table.scalar(tensor_map::TENSOR_INDEX, 0_u32)?;
            Ok((table.string(tensor_map::NAME)?, TensorId(index(tensor))))
        };
        entries.iter().map(entry).collect()
    };
    Ok(Signature {
        key: table.string(signature_def::KEY)?,
        graph: index(table.scalar(signature_def::SUBGRAPH_INDEX, 0_u32)?),
        inputs: names(signature_def::INPUTS)?,
        outputs: names(signature_def::OUTPUTS)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flatbuffer::{Builder, Fields};
    use crate::handmade::file_of;

    /// A file with one constant `uint8[4]` whose bytes stand behind the tables, at `offset`.
    fn with_external_data(offset: u64, size: u64, quantized_dimension: i32) -> Vec<u8> {
        let mut builder = Builder::default();
        let empty = builder.table(Fields::default());
        let mut fields = Fields::default();
        fields.scalar(buffer::OFFSET, offset, 0).scalar(buffer::SIZE, size, 0);
        let external = builder.table(fields);
        let buffers = builder.offsets(&[empty, external]);
        let scale = builder.scalars(&[0.5_f32]);
        let mut fields = Fields::default();
        fields.offset(quantization::SCALE, scale).scalar(quantization::QUANTIZED_DIMENSION, quantized_dimension, 0);
        let quantized = builder.table(fields);
        let shape = builder.scalars(&[4_i32]);
        let mut fields = Fields::default();
        fields
            .offset(tensor::SHAPE, shape)
            .scalar(tensor::TYPE, DType::U8.code(), 0)
            .scalar(tensor::BUFFER, 1_u32, 0)
            .offset(tensor::QUANTIZATION, quantized);
        let constant = builder.table(fields);
        file_of(builder, &[constant], buffers)
    }

    #[test]
    fn data_behind_the_tables_is_found_and_bounded() {
        let len = with_external_data(1000, 4, 0).len();
        let at = u64::try_from(len).unwrap();
        let mut bytes = with_external_data(at, 4, 0);
        assert_eq!(bytes.len(), len);
        bytes.extend_from_slice(&[1, 2, 3, 4]);
        let loaded = read(&bytes, &Limits::default()).unwrap();
        let constant = &loaded.model.graphs[0].tensors[0];
        assert_eq!(constant.data.as_ref().unwrap().bytes(), [1, 2, 3, 4]);
        // Zero points may be left out.
        assert_eq!(constant.quantization, Some(Quantization::per_tensor(0.5, 0)));
        for (offset, size) in [(at + 1, 4), (at, u64::MAX), (u64::MAX, 4)] {
            let mut bytes = with_external_data(offset, size, 0);
            bytes.extend_from_slice(&[1, 2, 3, 4]);
            assert!(read(&bytes, &Limits::default()).is_err(), "{offset} {size}");
        }
        let bytes = with_external_data(1, 4, 0);
        assert_eq!(read(&bytes, &Limits::default()).unwrap().model.graphs[0].tensors[0].data, None);
    }

    #[test]
    fn an_axis_that_makes_no_sense_is_a_warning_where_it_does_no_harm() {
        let loaded = read(&with_external_data(1, 4, 3), &Limits::default()).unwrap();
        assert_eq!(loaded.model.graphs[0].tensors[0].quantization, Some(Quantization::per_tensor(0.5, 0)));
        assert!(loaded.warnings[0].contains("quantized_dimension 3"), "{:?}", loaded.warnings);
    }
}

//! `BlockwiseQuantization`: scales that stand in a tensor of their own, one for each block of neighbouring elements.
//!
//! In a [`Graph`] the scales are part of the quantization; the tensor that holds them in the file stays where it was read,
//! without a reader, and is found again when the graph is written.

use std::borrow::Cow;

use half::f16;
use litesmith_graph::{DType, Data, Error, Graph, Model, Quantization, Result, Tensor};

use crate::flatbuffer::{Builder, Fields, Offset, Table};
use crate::schema::{blockwise, quantization, tensor};

/// The hint where a file asks for what LiteRT does not compute, or computes wrongly.
const HINT: &str = "LiteRT 2.3 runs int4 weights with float16 scales, one for each block of a row, without zero points";

/// The blockwise quantization of tensor `id`, whose table is `table`; `None` where it has another or none. All tensors of
/// `graph` have been read.
pub(crate) fn read(table: &Table<'_>, id: usize, graph: &Graph) -> Result<Option<Quantization>> {
    let Some(parameters) = table.table(tensor::QUANTIZATION)? else { return Ok(None) };
    if parameters.scalar(quantization::DETAILS_TYPE, 0_u8)? != quantization::BLOCKWISE {
        return Ok(None);
    }
    let Some(details) = parameters.table(quantization::DETAILS)? else {
        return Err(Error::malformed("quantization", "blockwise, but without scales"));
    };
    let target = &graph.tensors[id];
    if target.dtype != DType::I4 {
        let message = format!("blockwise quantization of {} elements", target.dtype);
        return Err(Error::unsupported("quantization", message).with_hint(HINT));
    }
    let axis = parameters.scalar(quantization::QUANTIZED_DIMENSION, 0_i32)?;
    if usize::try_from(axis).ok().is_none_or(|axis| axis >= target.shape.len()) {
        let message = format!("got quantized_dimension {axis} of a tensor of rank {}", target.shape.len());
        return Err(Error::malformed("quantization", message));
    }
    let stored = details.scalar(blockwise::BLOCK_SIZE, 0_i32)?;
    let block_size = usize::try_from(stored).ok().filter(|&size| size > 0);
    let block_size = block_size.ok_or_else(|| Error::malformed("quantization", format!("got block size {stored}")))?;
    let scales = details.scalar(blockwise::SCALES, 0_i32)?;
    let scales = read_scales(&details, referred(graph, scales, "scales")?)?;
    let read = Quantization::blockwise(scales, block_size);
    read.check(&target.shape)?;
    check_zero_points(graph, details.scalar(blockwise::ZERO_POINTS, 0_i32)?, read.scales.len())?;
    Ok(Some(read))
}

fn referred<'a>(graph: &'a Graph, index: i32, what: &str) -> Result<&'a Tensor> {
    let tensor = usize::try_from(index).ok().and_then(|index| graph.tensors.get(index));
    tensor.ok_or_else(|| {
        let count = graph.tensors.len();
        Error::malformed("quantization", format!("{what} are tensor {index} of {count}"))
    })
}

fn read_scales(details: &Table<'_>, tensor: &Tensor) -> Result<Vec<f32>> {
    let place = || format!("quantization: scales \"{}\"", tensor.name);
    let (DType::F16, Some(data)) = (tensor.dtype, &tensor.data) else {
        let got = if tensor.data.is_some() { "a constant" } else { "computed" };
        let message = format!("got {tensor}, {got}, expected a constant of float16");
        return Err(Error::unsupported(place(), message).with_hint(HINT));
    };
    let (count, halves) = (tensor.elements()?, data.bytes().as_chunks::<2>().0);
    if data.len() != tensor.byte_size()? {
        return Err(Error::malformed(place(), format!("got {} bytes for {count} elements", data.len())));
    }
    // Many tensors may name the same scales: each keeps a copy, and zero points beside it.
    details.charge(halves.len().saturating_mul(size_of::<f32>() + size_of::<i64>()))?;
    Ok(halves.iter().map(|&half| f16::from_le_bytes(half).to_f32()).collect())
}

/// LiteRT reads no zero points. Converters leave the field at its default, which is tensor 0, or name a constant of zeros.
fn check_zero_points(graph: &Graph, index: i32, count: usize) -> Result<()> {
    if index == -1 {
        return Ok(());
    }
    let tensor = referred(graph, index, "zero points")?;
    let is_integer = matches!(tensor.dtype, DType::I4 | DType::I8 | DType::I16 | DType::I32 | DType::I64);
    let is_default = index == 0 && !(is_integer && tensor.elements()? == count);
    let zeros =
        tensor.data.as_ref().filter(|_| is_integer).is_some_and(|data| data.bytes().iter().all(|&byte| byte == 0));
    if is_default || zeros {
        return Ok(());
    }
    let message = format!("zero points {tensor} \"{}\", expected none or zeros", tensor.name);
    Err(Error::unsupported("quantization", message).with_hint(HINT))
}

/// The scales as they are stored.
fn halves(scales: &[f32]) -> Vec<u8> {
    scales.iter().flat_map(|&scale| f16::from_f32(scale).to_le_bytes()).collect()
}

/// The tensor of `graph` that holds the scales of `quantization`.
fn scales_of(graph: &Graph, quantization: &Quantization) -> Option<usize> {
    let bytes = halves(&quantization.scales);
    graph
        .tensors
        .iter()
        .position(|tensor| tensor.dtype == DType::F16 && tensor.data.as_ref().is_some_and(|data| data.bytes() == bytes))
}

/// `model`, in which the scales of blocks stand in tensors; those that have none yet come last.
pub(crate) fn with_scales(model: &Model) -> Result<Cow<'_, Model>> {
    let mut model = Cow::Borrowed(model);
    for index in 0..model.graphs.len() {
        for id in 0..model.graphs[index].tensors.len() {
            let graph = &model.graphs[index];
            let target = &graph.tensors[id];
            let found = target.quantization.as_ref().and_then(|found| found.block_size.map(|size| (found, size)));
            let Some((quantization, block_size)) = found else { continue };
            check_writable(target, quantization)
                .map_err(|error| error.at(format!("tensor {id} \"{}\"", target.name)))?;
            if scales_of(graph, quantization).is_some() {
                continue;
            }
            let mut shape = target.shape.clone();
            if let Some(last) = shape.last_mut() {
                *last /= block_size;
            }
            let data = Data::from_bytes(&halves(&quantization.scales));
            let scales = Tensor::constant(format!("{}_scales", target.name), DType::F16, shape, data);
            model.to_mut().graphs[index].tensors.push(scales);
        }
    }
    Ok(model)
}

fn check_writable(target: &Tensor, quantization: &Quantization) -> Result<()> {
    if target.dtype != DType::I4 || quantization.zero_points.iter().any(|&zero_point| zero_point != 0) {
        let message = format!("blockwise quantization of {} elements with zero points other than 0", target.dtype);
        let message = if target.dtype == DType::I4 { message } else { format!("blockwise quantization of {target}") };
        return Err(Error::invalid("quantization", message).with_hint(HINT));
    }
    match quantization.scales.iter().find(|&&scale| f16::from_f32(scale).to_f32() != scale) {
        None => Ok(()),
        Some(scale) => Err(Error::invalid("quantization", format!("the scale {scale} of a block is not a float16"))
            .with_hint("the scales of blocks are stored as float16: round them before weights become integers")),
    }
}

/// The quantization table of a tensor of `graph` whose scales stand in a tensor already.
pub(crate) fn write(
    builder: &mut Builder,
    graph: &Graph,
    quantization: &Quantization,
    block_size: usize,
) -> Result<Offset> {
    let scales = scales_of(graph, quantization).and_then(|index| i32::try_from(index).ok());
    let block_size = i32::try_from(block_size).ok();
    let (Some(scales), Some(block_size)) = (scales, block_size) else {
        return Err(Error::invalid("quantization", "blocks whose scales or size do not fit 32 bits"));
    };
    let mut details = Fields::default();
    details.scalar(blockwise::SCALES, scales, 0).scalar(blockwise::ZERO_POINTS, -1_i32, 0).scalar(
        blockwise::BLOCK_SIZE,
        block_size,
        0,
    );
    let details = builder.table(details);
    let mut fields = Fields::default();
    fields.scalar(quantization::DETAILS_TYPE, quantization::BLOCKWISE, 0).offset(quantization::DETAILS, details);
    Ok(builder.table(fields))
}

#[cfg(test)]
mod tests {
    use litesmith_graph::ops::FullyConnected;

    use super::*;
    use crate::handmade::file_of;
    use crate::schema::buffer;
    use crate::{Limits, Strip, WriteOptions, inspect};

    /// What a file says of an int4 tensor of rows of 96, and of the scales.
    #[derive(Clone, Copy)]
    struct Said {
        weights: DType,
        rows: i32,
        scales_dtype: DType,
        scales_count: i32,
        scales_bytes: usize,
        block_size: i32,
        scales: i32,
        zero_points: i32,
        axis: i32,
        details: bool,
        /// How many tensors say so.
        tensors: usize,
    }

    const RIGHT: Said = Said {
        weights: DType::I4,
        rows: 2,
        scales_dtype: DType::F16,
        scales_count: 6,
        scales_bytes: 12,
        block_size: 32,
        scales: 0,
        zero_points: -1,
        axis: 0,
        details: true,
        tensors: 1,
    };

    /// Tensor 0 holds the scales, 1 zeros and 2 ones of int32, the rest weights.
    fn file(said: Said) -> Vec<u8> {
        let mut builder = Builder::default();
        let empty = builder.table(Fields::default());
        let mut buffers = vec![empty];
        let scales: Vec<u8> = f16::from_f32(0.5).to_le_bytes().repeat(said.scales_bytes.div_ceil(2));
        let ones = 1_i32.to_le_bytes().repeat(6);
        let weights = vec![0x21; usize::try_from(said.rows).unwrap() * 96 * said.weights.bits() / 8];
        for bytes in [&scales[..said.scales_bytes], &[0; 24], &ones, &weights] {
            let data = builder.data(bytes, 1);
            let mut fields = Fields::default();
            fields.offset(buffer::DATA, data);
            buffers.push(builder.table(fields));
        }
        let buffers = builder.offsets(&buffers);
        let mut details = Fields::default();
        details.scalar(blockwise::SCALES, said.scales, 0).scalar(blockwise::ZERO_POINTS, said.zero_points, 0).scalar(
            blockwise::BLOCK_SIZE,
            said.block_size,
            0,
        );
        let details = builder.table(details);
        let mut fields = Fields::default();
        fields.scalar(quantization::DETAILS_TYPE, quantization::BLOCKWISE, 0);
        fields.scalar(quantization::QUANTIZED_DIMENSION, said.axis, 0);
        if said.details {
            fields.offset(quantization::DETAILS, details);
        }
        let quantized = builder.table(fields);
        let mut tensors = Vec::new();
        let given = [(said.scales_dtype, vec![said.scales_count]), (DType::I32, vec![6]), (DType::I32, vec![6])];
        for (index, (dtype, shape)) in given.into_iter().enumerate() {
            let shape = builder.scalars(&shape);
            let mut fields = Fields::default();
            let buffer = u32::try_from(index + 1).unwrap();
            fields.offset(tensor::SHAPE, shape).scalar(tensor::TYPE, dtype.code(), 0).scalar(tensor::BUFFER, buffer, 0);
            tensors.push(builder.table(fields));
        }
        let shape = builder.scalars(&[said.rows, 96]);
        let mut fields = Fields::default();
        fields
            .offset(tensor::SHAPE, shape)
            .scalar(tensor::TYPE, said.weights.code(), 0)
            .scalar(tensor::BUFFER, 4_u32, 0)
            .offset(tensor::QUANTIZATION, quantized);
        let weights = builder.table(fields);
        tensors.extend(std::iter::repeat_n(weights, said.tensors));
        file_of(builder, &tensors, buffers)
    }

    #[test]
    fn blocks_are_read() {
        // The default of the zero points is tensor 0; a constant of zeros changes nothing.
        for (zero_points, axis) in [(-1, 0), (0, 1), (1, 0)] {
            let read = crate::read(&file(Said { zero_points, axis, ..RIGHT }), &Limits::default()).unwrap().model;
            let found = read.graphs[0].tensors[3].quantization.as_ref().unwrap();
            assert_eq!(found, &Quantization::blockwise(vec![0.5; 6], 32));
        }
        let found = inspect(&file(RIGHT), &Limits::default()).unwrap();
        let blocks = found.subgraphs[0].tensors[3].quantization.as_ref().unwrap().blocks.unwrap();
        assert_eq!((blocks.size, blocks.scales, blocks.zero_points), (32, 0, -1));
    }

    #[test]
    fn blocks_that_make_no_sense_are_refused() {
        for (said, expected) in [
            (Said { block_size: 0, ..RIGHT }, "got block size 0"),
            (Said { block_size: -32, ..RIGHT }, "got block size -32"),
            (Said { block_size: 40, ..RIGHT }, "do not divide"),
            (Said { block_size: i32::MAX, ..RIGHT }, "do not divide"),
            (Said { block_size: 96, ..RIGHT }, "6 scales for 2 blocks"),
            (Said { scales: -1, ..RIGHT }, "scales are tensor -1 of 4"),
            (Said { scales: 4, ..RIGHT }, "scales are tensor 4 of 4"),
            (Said { scales: i32::MIN, ..RIGHT }, "scales are tensor"),
            (Said { scales: 3, ..RIGHT }, "expected a constant of float16"),
            (Said { scales_dtype: DType::F32, ..RIGHT }, "expected a constant of float16"),
            (Said { scales_bytes: 0, ..RIGHT }, "computed, expected a constant"),
            (Said { scales_bytes: 11, ..RIGHT }, "got 11 bytes for 6 elements"),
            (Said { scales_bytes: 14, ..RIGHT }, "got 14 bytes for 6 elements"),
            (Said { scales_count: 5, ..RIGHT }, "got 12 bytes for 5 elements"),
            (Said { scales_count: 5, scales_bytes: 10, ..RIGHT }, "5 scales for 6 blocks"),
            (Said { scales_count: i32::MAX, ..RIGHT }, "elements"),
            (Said { zero_points: 2, ..RIGHT }, "expected none or zeros"),
            (Said { zero_points: 4, ..RIGHT }, "zero points are tensor 4 of 4"),
            (Said { axis: 2, ..RIGHT }, "quantized_dimension 2"),
            (Said { axis: -1, ..RIGHT }, "quantized_dimension -1"),
            (Said { details: false, ..RIGHT }, "without scales"),
            (Said { weights: DType::I8, ..RIGHT }, "blockwise quantization of int8 elements"),
        ] {
            let error = crate::read(&file(said), &Limits::default()).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn scales_that_many_tensors_name_run_out_of_budget() {
        let said = Said { rows: 2000, scales_count: 6000, scales_bytes: 12_000, tensors: 30, ..RIGHT };
        let bytes = file(said);
        let error = crate::read(&bytes, &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::Limit(_)), "{error}");
        crate::read(&file(Said { tensors: 1, ..said }), &Limits::default()).unwrap();
        crate::read(&bytes, &Limits { expansion: 32, ..Limits::default() }).unwrap();
    }

    fn dense(scales: Vec<f32>, dtype: DType, block_size: usize) -> Model {
        let mut graph = Graph::new("main");
        let x = graph.add_input(Tensor::new("x", DType::F32, [1, 64]));
        let data = Data::from_bytes(&vec![0x21; 3 * 64 * dtype.bits() / 8]);
        let weights = Tensor::constant("w", dtype, [3, 64], data);
        let weights = graph.add_tensor(weights.with_quantization(Quantization::blockwise(scales, block_size)));
        let y = graph.add_node(FullyConnected::default(), &[Some(x), Some(weights), None], "y").unwrap();
        graph.outputs = vec![y];
        Model::from_graph(graph)
    }

    #[test]
    fn blocks_are_written_and_read_back() {
        let scales: Vec<f32> = (1..7).map(|index| index as f32 / 64.0).collect();
        let model = dense(scales.clone(), DType::I4, 32);
        for strip in [Strip::Nothing, Strip::Names, Strip::Everything, Strip::Derivable] {
            let options = WriteOptions { strip, ..WriteOptions::default() };
            let bytes = crate::write(&model, &options).unwrap();
            let loaded = crate::read(&bytes, &Limits::default()).unwrap();
            assert_eq!(loaded.warnings, Vec::<String>::new());
            let graph = &loaded.model.graphs[0];
            let (given, read) = (&model.graphs[0].tensors, &graph.tensors);
            assert_eq!(read.len(), given.len() + 1, "the scales come last");
            assert_eq!((&read[1].quantization, &read[1].data), (&given[1].quantization, &given[1].data));
            assert_eq!((read[3].dtype, read[3].shape.as_slice()), (DType::F16, &[3, 2][..]));
            // Their tensor is found again.
            assert!(crate::write(&loaded.model, &options).unwrap() == bytes);
        }
    }

    #[test]
    fn blocks_that_litert_computes_wrongly_are_not_written() {
        for (model, expected) in [
            (dense(vec![0.1; 6], DType::I4, 32), "is not a float16"),
            (dense(vec![1e6; 6], DType::I4, 32), "is not a float16"),
            (dense(vec![0.5; 6], DType::I8, 32), "blockwise quantization of int8[3,64]"),
        ] {
            let error = crate::write(&model, &WriteOptions::default()).unwrap_err();
            assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains(expected), "{error}");
        }
        let mut model = dense(vec![0.5; 6], DType::I4, 32);
        model.graphs[0].tensors[1].quantization.as_mut().unwrap().zero_points[3] = 1;
        let error = crate::write(&model, &WriteOptions::default()).unwrap_err().to_string();
        assert!(error.contains("zero points other than 0"), "{error}");
    }
}

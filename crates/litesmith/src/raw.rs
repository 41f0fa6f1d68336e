//! Arrays in, arrays out: a model run on `.npy` files, for tests and for comparison with other runtimes.

use litesmith_data::RawArray;
use litesmith_graph::{DType, Error, Graph, Node, Op, Result, TensorId};
use litesmith_runtime::Session;

use crate::predictor::write_real;

/// Images that run at once, where each is computed without the others.
const BATCH: usize = 64;

/// Runs `session` on an array `[N, ..]` of its first input and returns the first output as the bytes of a `.npy` file, in
/// the output's element type. Elements of the input's own type are taken as they are; floats are quantized as the input
/// tensor says. A trailing axis of size 1 may be missing or extra, as in `[N, 28, 28]` for `[N, 28, 28, 1]`. Sizes that the
/// model declares as open follow the array. Networks of images run on some at a time, others on all at once.
///
/// # Errors
/// [`Error::Invalid`] when the array does not fit the input, else those of [`Session::run`].
pub fn run_npy(session: &mut Session, array: &RawArray) -> Result<Vec<u8>> {
    let shape = session.input_tensor(0)?.shape.clone();
    // An array of the input's own shape runs as it is; the output's first axis need not be a batch then.
    if array.shape == shape {
        set_input(session, 0, array)?;
        session.run()?;
        return output_npy(session, 0);
    }
    let images = array.shape.first().copied().unwrap_or(1);
    let trimmed = |shape: &[usize]| {
        let end = shape.iter().rposition(|&size| size != 1).map_or(0, |last| last + 1);
        shape[..end].to_vec()
    };
    let is_batch = !array.shape.is_empty() && !shape.is_empty() && images > 0;
    let is_batch = is_batch && trimmed(&array.shape[1..]) == trimmed(&shape[1..]);
    let is_open = session.input_tensor(0)?.signature.as_ref().is_some_and(|sizes| sizes.contains(&-1));
    if !is_batch && is_open && array.shape.len() == shape.len() {
        session.resize_input(0, &array.shape)?;
        set_input(session, 0, array)?;
        session.run()?;
        return output_npy(session, 0);
    }
    if !is_batch {
        let rest: String = shape.iter().skip(1).map(|size| format!(", {size}")).collect();
        let message = format!("got shape {:?}, expected [N{rest}]", array.shape);
        return Err(Error::invalid("input array", message));
    }
    let image_bytes = array.bytes.len() / images;
    let together = if computes_rows_alone(session.graph()) { BATCH } else { images };
    let mut output = Vec::new();
    let mut output_shape = Vec::new();
    for first in (0..images).step_by(together) {
        let batch = together.min(images - first);
        session.resize_batch(batch)?;
        let bytes = array.bytes[first * image_bytes..(first + batch) * image_bytes].to_vec();
        let part = RawArray { shape: session.input_tensor(0)?.shape.clone(), dtype: array.dtype, bytes };
        set_input(session, 0, &part)?;
        session.run()?;
        let (shape, bytes) = (&session.output_tensor(0)?.shape, session.output_bytes(0)?);
        match output_shape.first_mut() {
            Some(rows) => *rows += shape.first().copied().unwrap_or(1),
            None => output_shape.clone_from(shape),
        }
        output.extend_from_slice(bytes);
    }
    npy(session.output_tensor(0)?.dtype, &output_shape, &output)
}

/// Whether the ops are those of networks of images, which keep the first axis and compute each of its rows without the others.
fn computes_rows_alone(graph: &Graph) -> bool {
    let axes = |node: &Node| {
        let axes = graph.tensor((*node.inputs.get(1)?)?).data.as_ref()?;
        axes.elements::<i32>().ok().map(<[i32]>::to_vec)
    };
    let rank = |node: &Node| node.inputs.first().copied().flatten().map_or(0, |id| graph.tensor(id).shape.len());
    let row_len = |id: Option<TensorId>| Some(graph.tensor(id?).shape.get(1..)?.iter().product::<usize>());
    graph.nodes.iter().all(|node| match &node.op {
        Op::Conv2d(_)
        | Op::DepthwiseConv2d(_)
        | Op::TransposeConv(_)
        | Op::FullyConnected(_)
        | Op::AveragePool2d(_)
        | Op::MaxPool2d(_)
        | Op::Relu(_)
        | Op::Relu6(_)
        | Op::LeakyRelu(_)
        | Op::Prelu(_)
        | Op::Elu(_)
        | Op::Gelu(_)
        | Op::HardSwish(_)
        | Op::Logistic(_)
        | Op::Tanh(_)
        | Op::Add(_)
        | Op::Sub(_)
        | Op::Mul(_)
        | Op::Quantize(_)
        | Op::Dequantize(_)
        | Op::Pad(_)
        | Op::ResizeBilinear(_)
        | Op::ResizeNearestNeighbor(_) => true,
        Op::Softmax(_) | Op::LogSoftmax(_) => rank(node) > 1,
        // Rows may fall into several, but not become one with others.
        Op::Reshape(_) => matches!(
            (row_len(node.inputs.first().copied().flatten()), row_len(node.outputs.first().copied())),
            (Some(from), Some(to)) if to > 0 && from % to == 0
        ),
        Op::Mean(_) => axes(node).is_some_and(|axes| axes.iter().all(|&axis| is_not_first(axis, rank(node)))),
        Op::Concatenation(op) => is_not_first(op.axis, rank(node)),
        _ => false,
    })
}

/// Of an axis that may count from the end.
fn is_not_first(axis: i32, rank: usize) -> bool {
    axis > 0 || (axis < 0 && axis.unsigned_abs() as usize != rank)
}

/// Runs `session` once on arrays for its inputs: by name, or in order those without. An input that no array is given for keeps
/// what it holds. Sizes that the model declares as open, or a batch, follow the arrays.
///
/// # Errors
/// [`Error::Invalid`] when an array does not fit or names no input, else those of [`Session::run`].
pub fn run_arrays(session: &mut Session, arrays: &[(Option<String>, RawArray)]) -> Result<()> {
    feed(session, arrays)?;
    session.run()
}

/// Fills the inputs of `session` as [`run_arrays`] does; returns which.
///
/// # Errors
/// [`Error::Invalid`] when an array does not fit or names no input, else those of [`Session::resize_inputs`].
pub fn feed(session: &mut Session, arrays: &[(Option<String>, RawArray)]) -> Result<Vec<usize>> {
    let mut inputs = Vec::with_capacity(arrays.len());
    let mut next = 0;
    for (name, array) in arrays {
        let index = match name {
            Some(name) => session.input_index(name)?,
            None => {
                next += 1;
                next - 1
            }
        };
        session.input_tensor(index)?;
        if inputs.iter().any(|&(known, _)| known == index) {
            return Err(Error::invalid(format!("input {index}"), "two arrays are given for it"));
        }
        inputs.push((index, array));
    }
    // All shapes at once: one alone need not fit the others.
    let shapes: Vec<_> = inputs.iter().map(|&(index, array)| (index, array.shape.as_slice())).collect();
    session.resize_inputs(&shapes)?;
    inputs.into_iter().map(|(index, array)| set_input(session, index, array).map(|()| index)).collect()
}

/// Fills an input with the elements of an array of its shape.
fn set_input(session: &mut Session, index: usize, array: &RawArray) -> Result<()> {
    let tensor = session.input_tensor(index)?;
    let dtype = tensor.dtype;
    let place = || format!("array for input {index}");
    if array.dtype == dtype {
        let bytes = session.input_bytes_mut(index)?;
        if bytes.len() != array.bytes.len() {
            return Err(Error::invalid(place(), format!("got {} bytes, expected {}", array.bytes.len(), bytes.len())));
        }
        bytes.copy_from_slice(&array.bytes);
        return Ok(());
    }
    let integers = match (dtype, array.dtype) {
        (DType::I4 | DType::I2, DType::I8) | (DType::U4, DType::U8) => Some(pack(dtype, &array.bytes)),
        _ => None,
    };
    if let Some(packed) = integers {
        let bytes = session.input_bytes_mut(index)?;
        bytes.iter_mut().zip(packed).for_each(|(to, from)| *to = from);
        return Ok(());
    }
    let elements = tensor.elements()?;
    match array.to_f32().filter(|real| real.len() == elements) {
        Some(real) => write_real(session, index, &real),
        None => Err(Error::invalid(
            place(),
            format!(
                "got {}, expected {}",
                array.dtype,
                if dtype == DType::F32 { "float32".into() } else { format!("{dtype} or float32") }
            ),
        )),
    }
}

/// Output `index` of the last run as the bytes of a `.npy` file, in its element type; int4 as int8, which NumPy knows.
///
/// # Errors
/// [`Error::Invalid`] when there is no such output, [`Error::Unsupported`] for types that NumPy does not know.
pub fn output_npy(session: &Session, index: usize) -> Result<Vec<u8>> {
    let tensor = session.output_tensor(index)?;
    npy(tensor.dtype, &tensor.shape, session.output_bytes(index)?)
}

fn npy(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Vec<u8>> {
    let elements = shape.iter().product();
    match dtype {
        DType::I4 | DType::I2 => litesmith_data::write_npy(DType::I8, shape, &unpack(dtype, bytes, elements)),
        DType::U4 => litesmith_data::write_npy(DType::U8, shape, &unpack(dtype, bytes, elements)),
        _ => litesmith_data::write_npy(dtype, shape, bytes),
    }
}

/// Elements of less than a byte, each in one byte, as they are stored: the first in the lowest bits.
fn pack(dtype: DType, elements: &[u8]) -> Vec<u8> {
    let (bits, each) = (dtype.bits(), 8 / dtype.bits());
    let mask = (1_u8 << bits) - 1;
    let byte = |part: &[u8]| part.iter().rev().fold(0, |byte, &element| byte << bits | element & mask);
    elements.chunks(each).map(byte).collect()
}

fn unpack(dtype: DType, bytes: &[u8], elements: usize) -> Vec<u8> {
    let (bits, each) = (dtype.bits(), 8 / dtype.bits());
    let signed = dtype != DType::U4;
    let element = |index: usize| {
        let byte = bytes.get(index / each).copied().unwrap_or(0);
        let high = byte << (8 - bits * (index % each + 1));
        if signed { (high.cast_signed() >> (8 - bits)).cast_unsigned() } else { high >> (8 - bits) }
    };
    (0..elements).map(element).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_elements_pack_and_unpack() {
        let elements = [1_i8, -8, 7, -1, 3].map(i8::cast_unsigned);
        assert_eq!(pack(DType::I4, &elements), [0x81, 0xf7, 0x03]);
        assert_eq!(unpack(DType::I4, &pack(DType::I4, &elements), 5), elements);
        let elements = [1_i8, -2, -1, 0, 1].map(i8::cast_unsigned);
        assert_eq!(unpack(DType::I2, &pack(DType::I2, &elements), 5), elements);
        assert_eq!(unpack(DType::U4, &pack(DType::U4, &[15, 0, 9]), 3), [15, 0, 9]);
    }
}

//! Arrays in, arrays out: a model run on a `.npy` file, for tests and for comparison with other runtimes.

use litesmith_data::{NpyArray, Pixels};
use litesmith_graph::{DType, Error, Result};
use litesmith_runtime::Session;

use crate::predictor::write_real;

/// Images that run at once; the result does not depend on it.
const BATCH: usize = 64;

/// Runs `session` on an array `[N, ..]` of its first input and returns the first output as the bytes of a `.npy` file, in
/// the output's element type. Elements of the input's own type are taken as they are; float32 is quantized as the input
/// tensor says. A trailing axis of size 1 may be missing or extra, as in `[N, 28, 28]` for `[N, 28, 28, 1]`.
///
/// # Errors
/// [`Error::Invalid`] when the array does not fit the input, else those of [`Session::run`].
pub fn run_npy(session: &mut Session, array: &NpyArray) -> Result<Vec<u8>> {
    let input = session.input_tensor(0)?;
    let (dtype, shape) = (input.dtype, input.shape.clone());
    let sample = shape.iter().skip(1).product::<usize>();
    let images = array.shape.first().copied().unwrap_or(1);
    let trimmed = |shape: &[usize]| {
        let end = shape.iter().rposition(|&size| size != 1).map_or(0, |last| last + 1);
        shape[..end].to_vec()
    };
    if array.shape.is_empty() || trimmed(&array.shape[1..]) != trimmed(&shape[1..]) || images == 0 {
        return Err(Error::invalid(
            "input array",
            format!("got shape {:?}, expected [N{}]", array.shape, tail(&shape)),
        ));
    }
    // An array of the input's own shape runs as it is; the output's first axis need not be a batch then.
    let batch_max = if array.shape == shape { images } else { BATCH };
    let as_is = array.dtype == dtype;
    if !as_is && !matches!(array.dtype, DType::F32 | DType::F64) {
        return Err(Error::invalid(
            "input array",
            format!("got elements of type {}, expected {dtype} or float32", array.dtype),
        ));
    }
    let mut output = Vec::new();
    let mut output_shape = Vec::new();
    let values = Values { pixels: &array.values };
    for first in (0..images).step_by(batch_max) {
        let batch = batch_max.min(images - first);
        session.resize_batch(batch)?;
        let range = first * sample..(first + batch) * sample;
        match dtype {
            DType::I8 if as_is => values.copy_to(range, session.input_mut::<i8>(0)?, |value| value as i8),
            DType::U8 if as_is => values.copy_to(range, session.input_mut::<u8>(0)?, |value| value as u8),
            DType::I16 if as_is => values.copy_to(range, session.input_mut::<i16>(0)?, |value| value as i16),
            DType::I32 if as_is => values.copy_to(range, session.input_mut::<i32>(0)?, |value| value as i32),
            _ => {
                let mut real = vec![0.0; range.len()];
                values.copy_to(range, &mut real, |value| value);
                write_real(session, &real)?;
            }
        }
        session.run()?;
        let tensor = session.output_tensor(0)?;
        match output_shape.first_mut() {
            Some(rows) => *rows += tensor.shape.first().copied().unwrap_or(1),
            None => output_shape.clone_from(&tensor.shape),
        }
        match tensor.dtype.bits() {
            8 => output.extend_from_slice(session.output::<u8>(0)?),
            16 => session.output::<u16>(0)?.iter().for_each(|value| output.extend(value.to_le_bytes())),
            32 => session.output::<u32>(0)?.iter().for_each(|value| output.extend(value.to_le_bytes())),
            64 => session.output::<u64>(0)?.iter().for_each(|value| output.extend(value.to_le_bytes())),
            _ => return Err(Error::unsupported("output", format!("elements of type {}", tensor.dtype))),
        }
    }
    let dtype = session.output_tensor(0)?.dtype;
    litesmith_data::write_npy(dtype, &output_shape, &output)
}

fn tail(shape: &[usize]) -> String {
    shape.iter().skip(1).map(|size| format!(", {size}")).collect()
}

struct Values<'a> {
    pixels: &'a Pixels,
}

impl Values<'_> {
    /// Copies a range of elements. Integers up to 24 bits are exact as floats, which is how the array holds them.
    fn copy_to<T>(&self, range: std::ops::Range<usize>, to: &mut [T], convert: impl Fn(f32) -> T) {
        match self.pixels {
            Pixels::U8(bytes) => {
                to.iter_mut().zip(&bytes[range]).for_each(|(to, &value)| *to = convert(f32::from(value)));
            }
            Pixels::F32(floats) => to.iter_mut().zip(&floats[range]).for_each(|(to, &value)| *to = convert(value)),
        }
    }
}

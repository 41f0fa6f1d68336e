//! Inputs of a model as real numbers, whatever its element types are: written, read back, made up.

use litesmith_data::{NpyArray, Pixels, Purpose, Rng};
use litesmith_graph::{DType, Error, Model, Op, Quantization, Result, Tensor};
use litesmith_runtime::{Session, SessionOptions};

/// Fills input `index` of a session with real numbers, quantized as its tensor says. Integers without quantization are
/// rounded, truth values are what is not 0.
///
/// # Errors
/// [`Error::Unsupported`] for element types that hold no numbers, [`Error::Malformed`] for several scales; [`Error::Invalid`]
/// when there is no such input or it has another size.
pub fn write_input(session: &mut Session, index: usize, values: &[f32]) -> Result<()> {
    let tensor = session.input_tensor(index)?;
    let place = format!("input \"{}\"", tensor.name);
    let expected = tensor.elements()?;
    if values.len() != expected {
        return Err(Error::invalid(place, format!("got {} numbers, expected {expected}", values.len())));
    }
    let (dtype, quantization) = (tensor.dtype, tensor.quantization.clone());
    if dtype == DType::F32 {
        session.input_mut::<f32>(index)?.copy_from_slice(values);
        return Ok(());
    }
    let (scale, zero_point) = match &quantization {
        Some(quantization) => per_tensor(quantization, &place)?,
        None => (1.0, 0.0),
    };
    let (low, high) = dtype.integer_range().unwrap_or((i64::MIN, i64::MAX));
    let quantize = |value: &f32| ((value / scale).round_ties_even() + zero_point).clamp(low as f32, high as f32);
    match dtype {
        DType::I8 => fill(session.input_mut::<i8>(index)?, values, |value| quantize(value) as i8),
        DType::U8 => fill(session.input_mut::<u8>(index)?, values, |value| quantize(value) as u8),
        DType::I16 => fill(session.input_mut::<i16>(index)?, values, |value| quantize(value) as i16),
        DType::I32 => fill(session.input_mut::<i32>(index)?, values, |value| quantize(value) as i32),
        DType::U32 => fill(session.input_mut::<u32>(index)?, values, |value| quantize(value) as u32),
        DType::I64 => fill(session.input_mut::<i64>(index)?, values, |value| quantize(value) as i64),
        DType::F64 => fill(session.input_mut::<f64>(index)?, values, |value| f64::from(*value)),
        DType::F16 => fill(session.input_mut::<u16>(index)?, values, |value| half::f16::from_f32(*value).to_bits()),
        DType::Bool => fill(session.input_mut::<u8>(index)?, values, |value| u8::from(*value != 0.0)),
        other => return Err(Error::unsupported(place, format!("elements of type {other}"))),
    }
    Ok(())
}

fn fill<T>(input: &mut [T], values: &[f32], convert: impl Fn(&f32) -> T) {
    input.iter_mut().zip(values).for_each(|(to, from)| *to = convert(from));
}

fn per_tensor(quantization: &Quantization, place: &str) -> Result<(f32, f32)> {
    let found = quantization.as_per_tensor();
    let found = found.ok_or_else(|| Error::malformed(place, "integers of several scales, expected one"))?;
    Ok((found.0, found.1 as f32))
}

/// The elements of a tensor as real numbers: those of quantized types by their scale, of each channel where there are several.
/// `None` for types that hold no numbers.
#[must_use]
pub fn real_values(tensor: &Tensor, bytes: &[u8]) -> Option<Vec<f32>> {
    fn all<const N: usize>(bytes: &[u8], to: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|&element| to(element)).collect()
    }
    let mut values = match tensor.dtype {
        DType::F32 => all(bytes, f32::from_ne_bytes),
        DType::F64 => all(bytes, |element| f64::from_ne_bytes(element) as f32),
        DType::F16 => all(bytes, |element| half::f16::from_ne_bytes(element).to_f32()),
        DType::I8 => all(bytes, |element| i8::from_ne_bytes(element).into()),
        DType::U8 | DType::Bool => all(bytes, |element: [u8; 1]| element[0].into()),
        DType::I16 => all(bytes, |element| i16::from_ne_bytes(element).into()),
        DType::U16 => all(bytes, |element| u16::from_ne_bytes(element).into()),
        DType::I32 => all(bytes, |element| i32::from_ne_bytes(element) as f32),
        DType::U32 => all(bytes, |element| u32::from_ne_bytes(element) as f32),
        DType::I64 => all(bytes, |element| i64::from_ne_bytes(element) as f32),
        DType::U64 => all(bytes, |element| u64::from_ne_bytes(element) as f32),
        _ => return None,
    };
    if let Some(quantization) = &tensor.quantization {
        let channels = quantization.scales.len().max(1);
        let inner: usize = match channels {
            1 => 1,
            _ => quantization.inner(&tensor.shape),
        };
        for (index, value) in values.iter_mut().enumerate() {
            let channel = if channels == 1 { 0 } else { index / inner % channels };
            let (scale, zero) = (quantization.scales.get(channel), quantization.zero_points.get(channel));
            if let (Some(scale), Some(zero)) = (scale, zero) {
                *value = (*value - *zero as f32) * scale;
            }
        }
    }
    Some(values)
}

/// Real numbers for every input of a session, made from `seed`: spread evenly over what the input can hold, as far as the
/// model tells it (its quantization, that of the QUANTIZE op behind it, its normalization), else over -1 to 1. Integers that
/// have no scale are 0, which as an index is always valid; truth values are 0 or 1.
///
/// # Errors
/// [`Error::Limit`] for an input that is too large.
pub fn made_up_inputs(session: &Session, model: &Model, seed: u64) -> Result<Vec<Vec<f32>>> {
    let mut inputs = Vec::new();
    for index in 0..session.input_count() {
        let tensor = session.input_tensor(index)?;
        let mut rng = Rng::new(seed, Purpose::Input, &[index as u64]);
        let range = input_range(session, model, index)?;
        let one = |_| match (tensor.dtype, range) {
            (DType::Bool, _) => f32::from(u8::from(rng.unit_f32() < 0.5)),
            (_, Some((low, high))) => low + (high - low) * rng.unit_f32(),
            (DType::F32 | DType::F64 | DType::F16, None) => rng.symmetric_f32(1.0),
            (_, None) => 0.0,
        };
        inputs.push((0..tensor.elements()?).map(one).collect());
    }
    Ok(inputs)
}

/// An error of a run on made-up inputs: where one of them is a plain integer, which is made up as 0, that may be why.
pub(crate) fn needs_array(session: &Session, given: &[usize], error: Error) -> Error {
    let is_integer = |index: &usize| {
        session.input_tensor(*index).is_ok_and(|tensor| {
            matches!(tensor.dtype, DType::I32 | DType::I64 | DType::U32 | DType::U64) && tensor.quantization.is_none()
        })
    };
    let Some(index) = (0..session.input_count()).find(|index| !given.contains(index) && is_integer(index)) else {
        return error;
    };
    if error.hint().is_some() {
        return error;
    }
    let name = session.input_tensor(index).map_or_else(|_| index.to_string(), |tensor| tensor.name.clone());
    error.with_hint(format!("input {index} was made up as zeros: --input \"{name}=FILE.npy\" gives it an array"))
}

/// The session of a signature of `model`, or of its main graph.
///
/// # Errors
/// Those of [`Session::for_signature`].
pub fn open_session(model: &Model, signature: Option<&str>, options: SessionOptions) -> Result<Session> {
    match signature {
        Some(key) => Session::for_signature(model, key, options),
        None => Session::new(model, options),
    }
}

/// The range of input `index`, as far as the model tells it.
fn input_range(session: &Session, model: &Model, index: usize) -> Result<Option<(f32, f32)>> {
    let tensor = session.input_tensor(index)?;
    if let Some(range) = quantized_range(tensor) {
        return Ok(Some(range));
    }
    let graph = session.graph();
    let behind = graph.inputs.get(index).and_then(|&id| {
        let node = graph.nodes.iter().find(|node| node.inputs.first() == Some(&Some(id)))?;
        let output = node.outputs.first().filter(|_| matches!(node.op, Op::Quantize(_)))?;
        quantized_range(graph.tensor(*output))
    });
    let normalization = model.metadata.inputs.get(index).and_then(|input| input.normalization.as_ref());
    let normalized = normalization.and_then(|normalization| {
        let (mean, std) = (*normalization.mean.first()?, *normalization.std.first()?);
        (std > 0.0).then_some(((0.0 - mean) / std, (255.0 - mean) / std))
    });
    Ok(behind.or(normalized))
}

fn quantized_range(tensor: &Tensor) -> Option<(f32, f32)> {
    let (scale, zero) = tensor.quantization.as_ref()?.as_per_tensor()?;
    let (low, high) = tensor.dtype.integer_range()?;
    Some(((low - zero) as f32 * scale, (high - zero) as f32 * scale))
}

/// The numbers of a `.npy` array.
#[must_use]
pub fn array_values(array: &NpyArray) -> Vec<f32> {
    match &array.values {
        Pixels::U8(bytes) => bytes.iter().copied().map(f32::from).collect(),
        Pixels::F32(values) => values.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantized_elements_become_real_channel_by_channel() {
        let tensor = Tensor::new("t", DType::I8, [2, 2]).with_quantization(Quantization {
            scales: vec![0.5, 2.0],
            zero_points: vec![0, 1],
            axis: 1,
            block_size: None,
        });
        assert_eq!(real_values(&tensor, &[2, 3, 254, 1]), Some(vec![1.0, 4.0, -1.0, 0.0]));
        assert_eq!(real_values(&Tensor::new("s", DType::String, [1]), &[1]), None);
    }
}

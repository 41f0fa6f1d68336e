//! Input normalization as quantization parameters: `real = (raw - mean) / std` with raw bytes from 0 to 255.

use litesmith_graph::{DType, Error, Normalization, Result};

/// Scale, and zero point of an int8 input (that of a uint8 input is 128 more), that express `normalization` of the
/// input `name`: scale `1 / std`, zero point `mean - 128`.
///
/// # Errors
/// [`Error::Invalid`] when one scale and zero point of an input of type `dtype` cannot express it.
pub(super) fn input_parameters(name: &str, normalization: &Normalization, dtype: DType) -> Result<(f32, i64)> {
    let place = format!("normalization of input \"{name}\"");
    let float = "keep the input float32, and normalize before the model runs";
    let fail = |message: String, hint: &str| Error::invalid(&place, message).with_hint(hint);
    let one = |what: &str, values: &[f32]| match values {
        [] => Err(fail(format!("got no {what}, expected one value"), "give both a mean and a std")),
        [first, rest @ ..] if rest.iter().all(|value| value == first) => Ok(*first),
        _ => Err(fail(
            format!("{what} {values:?} differs between channels, but a quantized input has one scale and zero point"),
            &format!("give one value for all channels, or {float}"),
        )),
    };
    let (mean, std) = (one("mean", &normalization.mean)?, one("std", &normalization.std)?);
    if !(std.is_finite() && std > 0.0 && (1.0 / std).is_normal()) {
        return Err(fail(
            format!("got std {std}, expected a positive finite number"),
            "std is what raw - mean is divided by",
        ));
    }
    if dtype == DType::I16 {
        return Err(fail(
            format!("mean {mean} and std {std} describe raw bytes, but an int16 input has zero point 0 and no bytes"),
            &format!("{float}, or quantize to int8"),
        ));
    }
    if !(mean.fract() == 0.0 && (0.0..=255.0).contains(&mean)) {
        let near = mean.floor().clamp(0.0, 255.0);
        return Err(fail(
            format!("mean {mean} would be the zero point, which must be an integer from 0 to 255"),
            &format!("train with mean {near} instead, or {float}"),
        ));
    }
    #[expect(clippy::cast_possible_truncation, reason = "an integer between 0 and 255")]
    let zero_point = mean as i64 - 128;
    Ok((1.0 / std, zero_point))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(mean: &[f32], std: &[f32], dtype: DType) -> Result<(f32, i64)> {
        input_parameters("x", &Normalization { mean: mean.to_vec(), std: std.to_vec() }, dtype)
    }

    #[test]
    fn scale_is_one_over_std_and_zero_point_is_mean() {
        assert_eq!(parameters(&[0.0], &[255.0], DType::I8).unwrap(), (1.0 / 255.0, -128));
        assert_eq!(parameters(&[127.0; 3], &[128.0; 3], DType::U8).unwrap(), (1.0 / 128.0, -1));
    }

    #[test]
    fn what_one_scale_and_zero_point_cannot_express_is_an_error() {
        let message = |mean: &[f32], std: &[f32], dtype| parameters(mean, std, dtype).unwrap_err().to_string();
        assert!(message(&[127.5], &[127.5], DType::U8).contains("mean 127.5 would be the zero point"));
        assert!(message(&[-1.0], &[1.0], DType::U8).contains("mean -1"));
        assert!(message(&[256.0], &[1.0], DType::I8).contains("mean 256"));
        assert!(message(&[123.0, 117.0, 104.0], &[1.0], DType::U8).contains("differs between channels"));
        assert!(message(&[0.0], &[0.0], DType::U8).contains("got std 0"));
        assert!(message(&[0.0], &[f32::NAN], DType::U8).contains("got std NaN"));
        assert!(message(&[0.0], &[255.0], DType::I16).contains("int16"));
        assert!(message(&[], &[255.0], DType::U8).contains("no mean"));
    }
}

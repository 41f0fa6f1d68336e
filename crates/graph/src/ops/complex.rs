//! Ops of complex numbers: RFFT2D makes them, REAL, IMAG and COMPLEX_ABS take them apart.

use super::activations::same_shape;
use super::{Inputs, OpSpec};
use crate::{DType, Result};

/// RFFT2D: the discrete Fourier transform of real numbers over the last two axes, each cut or filled with zeros to the length in
/// input 1. Of the last axis the half that is not implied: `length / 2 + 1` frequencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rfft2d;

impl Rfft2d {
    /// The lengths of a transform, which must be powers of two: of the last axis but one, and of the last.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] for other lengths, [`crate::Error::Unsupported`] where they are computed.
    pub fn lengths(inputs: &Inputs<'_>) -> Result<[usize; 2]> {
        let lengths = inputs.integers(1, "fft_length")?;
        let length = |length: i64| usize::try_from(length).ok().filter(|length| length.is_power_of_two());
        match lengths[..] {
            [rows, columns] => length(rows).zip(length(columns)).map(|(rows, columns)| [rows, columns]),
            _ => None,
        }
        .ok_or_else(|| inputs.malformed(format!("fft_length is {lengths:?}, expected two powers of two")))
    }
}

impl OpSpec for Rfft2d {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
        inputs.expect_count(2..=2)?;
        let mut shape = inputs.get(0, "input")?.shape.clone();
        let [.., rows, columns] = &mut shape[..] else {
            return Err(inputs.malformed(format!("the input has shape {shape:?}, expected two axes or more")));
        };
        let lengths = Self::lengths(inputs)?;
        (*rows, *columns) = (lengths[0], lengths[1] / 2 + 1);
        Ok(vec![shape])
    }

    fn output_dtype(&self, _: DType) -> DType {
        DType::Complex64
    }
}

macro_rules! parts {
    ($($name:ident $doc:literal;)*) => {
        $(#[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name;

        impl OpSpec for $name {
            fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<usize>>> {
                same_shape(inputs)
            }

            fn output_dtype(&self, first_input: DType) -> DType {
                if first_input == DType::Complex128 { DType::F64 } else { DType::F32 }
            }
        })*
    };
}

parts! {
    Real "REAL: the real part.";
    Imag "IMAG: the imaginary part.";
    ComplexAbs "COMPLEX_ABS: the square root of the sum of the squares of both parts.";
}

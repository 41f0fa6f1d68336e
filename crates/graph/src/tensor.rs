//! Tensors: shape, element type, quantization, constant data.

use std::fmt;

use crate::{DType, Data, Error, Result};

/// Index of a tensor in its [`Graph`](crate::Graph).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub usize);

/// Affine quantization: `real = scale * (quantized - zero_point)`, for the whole tensor, for each index along an axis, or for
/// each block of neighbouring elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantization {
    /// Scales: one, or one for each index along `axis`, or one for each block, in the order of the elements. Positive and
    /// finite.
    pub scales: Vec<f32>,
    /// Zero points, as many as scales.
    pub zero_points: Vec<i64>,
    /// Axis that the scales belong to; 0 and without meaning when there is one scale, or one for each block.
    pub axis: usize,
    /// How many neighbours along the last axis share a scale (`BlockwiseQuantization` of the schema); `None` where scales belong
    /// to `axis`.
    pub block_size: Option<usize>,
}

impl Quantization {
    /// One scale and zero point for the whole tensor.
    #[must_use]
    pub fn per_tensor(scale: f32, zero_point: i64) -> Self {
        Self { scales: vec![scale], zero_points: vec![zero_point], axis: 0, block_size: None }
    }

    /// Symmetric (zero point 0), one scale for each index along `axis`.
    #[must_use]
    pub fn per_channel(scales: Vec<f32>, axis: usize) -> Self {
        Self { zero_points: vec![0; scales.len()], scales, axis, block_size: None }
    }

    /// Symmetric, one scale for each block of `block_size` neighbours along the last axis.
    #[must_use]
    pub fn blockwise(scales: Vec<f32>, block_size: usize) -> Self {
        Self { zero_points: vec![0; scales.len()], scales, axis: 0, block_size: Some(block_size) }
    }

    /// The one scale and zero point; `None` when there are several, or blocks.
    #[must_use]
    pub fn as_per_tensor(&self) -> Option<(f32, i64)> {
        match (self.scales.as_slice(), self.zero_points.as_slice()) {
            (&[scale], &[zero_point]) if self.block_size.is_none() => Some((scale, zero_point)),
            _ => None,
        }
    }

    /// How many neighbours in memory share a scale, in a tensor of this shape: element `i` has the scale
    /// `i / inner % scales.len()`.
    #[must_use]
    pub fn inner(&self, shape: &[usize]) -> usize {
        let after_axis = || shape.iter().skip(self.axis + 1).product();
        self.block_size.unwrap_or_else(after_axis).max(1)
    }

    /// Checks the counts, that scales are finite and not negative, and that the axis or the blocks fit `shape`. Converters write a scale of 0 for
    /// a tensor, or a channel, of zeros.
    ///
    /// # Errors
    /// [`Error::Malformed`] says which rule is broken.
    pub fn check(&self, shape: &[usize]) -> Result<()> {
        let fail = |message: String| Err(Error::malformed("quantization", message));
        if self.scales.len() != self.zero_points.len() {
            return fail(format!("{} scales but {} zero points", self.scales.len(), self.zero_points.len()));
        }
        if let Some(scale) = self.scales.iter().find(|scale| !(scale.is_finite() && **scale >= 0.0)) {
            return fail(format!("got scale {scale}, expected a finite number that is not negative"));
        }
        if let Some(block_size) = self.block_size {
            let whole = shape.last().is_some_and(|&size| block_size != 0 && size % block_size == 0);
            if !whole {
                return fail(format!("blocks of {block_size} elements do not divide the last axis of {shape:?}"));
            }
            let blocks = elements(shape)? / block_size;
            if self.scales.len() != blocks {
                return fail(format!("{} scales for {blocks} blocks of {block_size} in {shape:?}", self.scales.len()));
            }
        } else if self.scales.len() != 1 {
            match shape.get(self.axis) {
                None => {
                    return fail(format!("quantized dimension {} of a tensor of rank {}", self.axis, shape.len()));
                }
                Some(&size) if size != self.scales.len() => {
                    return fail(format!("{} scales along an axis of size {size}", self.scales.len()));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// A value that flows through a graph, or a constant.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Name; need not be unique.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Sizes, outermost first. Where `signature` has -1, this is the size in use (1 in a stored file).
    pub shape: Vec<usize>,
    /// Sizes with -1 for those that may change between runs; `None` when all are fixed.
    pub signature: Option<Vec<i32>>,
    /// Quantization of integer elements.
    pub quantization: Option<Quantization>,
    /// Elements, when the tensor is constant.
    pub data: Option<Data>,
    /// Whether the tensor keeps its value from one run to the next.
    pub is_variable: bool,
}

impl Tensor {
    /// A tensor that is computed, of fixed shape.
    pub fn new(name: impl Into<String>, dtype: DType, shape: impl Into<Vec<usize>>) -> Self {
        Self {
            name: name.into(),
            dtype,
            shape: shape.into(),
            signature: None,
            quantization: None,
            data: None,
            is_variable: false,
        }
    }

    /// A constant tensor.
    pub fn constant(name: impl Into<String>, dtype: DType, shape: impl Into<Vec<usize>>, data: Data) -> Self {
        Self { data: Some(data), ..Self::new(name, dtype, shape) }
    }

    /// The same with quantization parameters.
    #[must_use]
    pub fn with_quantization(mut self, quantization: Quantization) -> Self {
        self.quantization = Some(quantization);
        self
    }

    /// Elements.
    ///
    /// # Errors
    /// [`Error::Limit`] when the product of the sizes overflows.
    pub fn elements(&self) -> Result<usize> {
        elements(&self.shape)
    }

    /// Bytes of the elements.
    ///
    /// # Errors
    /// [`Error::Limit`] on overflow, [`Error::Unsupported`] for types without a fixed size.
    pub fn byte_size(&self) -> Result<usize> {
        let elements = self.elements()?;
        if self.dtype.bits() == 0 {
            let error = Error::unsupported(
                format!("tensor \"{}\"", self.name),
                format!("{} elements have no fixed size", self.dtype),
            );
            return Err(match self.dtype {
                DType::String => {
                    error.with_hint("models that read text run from the numbers of its words on: convert that part")
                }
                _ => error,
            });
        }
        self.dtype.bytes(elements).ok_or_else(|| {
            Error::limit(format!("tensor \"{}\"", self.name), format!("shape {:?} is too large", self.shape))
        })
    }

    /// Whether any size may change between runs.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        self.signature.as_ref().is_some_and(|signature| signature.contains(&-1))
    }

    /// The shape with -1 where the size may change.
    #[must_use]
    pub fn shape_signature(&self) -> Vec<i64> {
        match &self.signature {
            Some(signature) => signature.iter().map(|&size| i64::from(size)).collect(),
            None => self.shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect(),
        }
    }
}

/// `float32[1,28,28,1]`.
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<_> = self.shape_signature().iter().map(ToString::to_string).collect();
        write!(f, "{}[{}]", self.dtype, sizes.join(","))
    }
}

/// The product of sizes.
///
/// # Errors
/// [`Error::Limit`] on overflow, also of the sizes beside one that is 0: strides are products of those.
pub fn elements(shape: &[usize]) -> Result<usize> {
    let nonzero = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size.max(1)));
    match nonzero.filter(|&product| isize::try_from(product).is_ok()) {
        Some(_) if shape.contains(&0) => Ok(0),
        Some(product) => Ok(product),
        None => Err(Error::limit("shape", format!("{shape:?} has too many elements"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_have_no_size_and_the_error_says_what_to_do() {
        let error = Tensor::new("words", DType::String, vec![1]).byte_size().unwrap_err();
        assert_eq!(error.to_string(), "tensor \"words\": string elements have no fixed size");
        assert!(error.hint().unwrap().contains("the numbers of its words"));
        assert!(Tensor::new("table", DType::Resource, vec![1]).byte_size().unwrap_err().hint().is_none());
    }

    #[test]
    fn blocks_divide_rows_and_have_a_scale_each() {
        let blocks = |count: usize, size: usize| Quantization::blockwise(vec![0.5; count], size);
        blocks(6, 32).check(&[2, 96]).unwrap();
        blocks(1, 32).check(&[1, 32]).unwrap();
        assert_eq!(blocks(1, 32).as_per_tensor(), None, "one block is no scale of the whole tensor");
        for (quantization, shape, expected) in [
            (blocks(5, 32), &[2, 96][..], "5 scales for 6 blocks"),
            (blocks(2, 32), &[1, 80], "blocks of 32 elements do not divide"),
            (blocks(2, 0), &[2, 96], "blocks of 0 elements"),
            (blocks(1, 1), &[], "do not divide"),
        ] {
            let error = quantization.check(shape).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

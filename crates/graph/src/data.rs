//! Constant data of a tensor.

use std::sync::Arc;

use bytemuck::Pod;

use crate::{DType, Error, Result};

/// Immutable, shared bytes of a constant tensor, little-endian, aligned for every element type of at most 8 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Data {
    words: Arc<[u64]>,
    len: usize,
}

impl Data {
    /// A copy of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut words = vec![0_u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self { words: words.into(), len: bytes.len() }
    }

    /// A copy of `elements`.
    #[must_use]
    pub fn from_slice<T: Pod>(elements: &[T]) -> Self {
        Self::from_bytes(bytemuck::cast_slice(elements))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }

    /// The elements.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the bytes are not a whole number of elements.
    pub fn elements<T: Pod>(&self) -> Result<&[T]> {
        bytemuck::try_cast_slice(self.bytes()).map_err(|_| {
            Error::malformed(
                "constant",
                format!("got {} bytes, expected a multiple of {}", self.len, std::mem::size_of::<T>()),
            )
        })
    }

    /// The first `count` signed elements of 2, 4 or 8 bits, each as one byte.
    ///
    /// # Errors
    /// [`Error::Malformed`] when there are fewer, [`Error::Invalid`] for another element type.
    pub fn narrow_integers(&self, dtype: DType, count: usize) -> Result<Vec<i8>> {
        let bits = match dtype {
            DType::I2 | DType::I4 | DType::I8 => dtype.bits(),
            other => return Err(Error::invalid("constant", format!("{other} is not int2, int4 or int8"))),
        };
        let per_byte = 8 / bits;
        let bytes = self.bytes();
        if bytes.len().checked_mul(per_byte).is_none_or(|held| held < count) {
            return Err(Error::malformed(
                "constant",
                format!("got {} bytes for {count} elements of {dtype}", self.len),
            ));
        }
        let unused = 8 - bits;
        // Up to the top of the byte, then down again with the sign.
        let at = |index: usize| (bytes[index / per_byte] << (unused - index % per_byte * bits)) as i8 >> unused;
        Ok((0..count).map(at).collect())
    }

    /// Bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Data({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_integers_come_from_the_low_bits_first() {
        let data = Data::from_bytes(&[0x8f, 0x27]);
        assert_eq!(data.narrow_integers(DType::I4, 3).unwrap(), [-1, -8, 7]);
        assert_eq!(data.narrow_integers(DType::I2, 8).unwrap(), [-1, -1, 0, -2, -1, 1, -2, 0]);
        assert_eq!(data.narrow_integers(DType::I8, 2).unwrap(), [-113, 39]);
        assert!(data.narrow_integers(DType::I4, 5).is_err());
        assert!(data.narrow_integers(DType::U8, 1).is_err());
    }
}

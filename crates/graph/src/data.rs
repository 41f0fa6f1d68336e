//! Constant data of a tensor.

use std::sync::Arc;

use bytemuck::Pod;

use crate::{Error, Result};

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

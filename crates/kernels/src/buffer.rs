//! Aligned memory for tensors, scratch and packed weights.

use bytemuck::Pod;

/// One cache line: the unit that buffers grow by, and their alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
struct Line([u8; 64]);

// SAFETY: all bytes zero is a valid `[u8; 64]`.
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: `Line` is an array of 64 bytes aligned to 64: no padding, every bit pattern valid, no pointer, `Copy`.
unsafe impl Pod for Line {}

/// Zeroed bytes, aligned to 64, viewed as elements of any plain type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buffer {
    lines: Vec<Line>,
    bytes: usize,
}

impl Buffer {
    /// A buffer of `bytes` zeros.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { lines: vec![Line([0; 64]); bytes.div_ceil(64)], bytes }
    }

    /// A buffer that holds a copy of `elements`.
    #[must_use]
    pub fn from_slice<T: Pod>(elements: &[T]) -> Self {
        let bytes: &[u8] = bytemuck::cast_slice(elements);
        let mut buffer = Self::new(bytes.len());
        buffer.as_mut_slice::<u8>().copy_from_slice(bytes);
        buffer
    }

    /// Changes the size; new bytes are zero. Does not allocate when the buffer was as large before.
    pub fn resize(&mut self, bytes: usize) {
        self.lines.resize(bytes.div_ceil(64), Line([0; 64]));
        self.bytes = bytes;
    }

    /// Bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The elements; bytes that do not fill one are left out.
    #[must_use]
    pub fn as_slice<T: Pod>(&self) -> &[T] {
        let size = size_of::<T>().max(1);
        bytemuck::cast_slice(&bytemuck::cast_slice::<_, u8>(&self.lines)[..self.bytes / size * size])
    }

    /// The elements, to change; bytes that do not fill one are left out.
    pub fn as_mut_slice<T: Pod>(&mut self) -> &mut [T] {
        let size = size_of::<T>().max(1);
        bytemuck::cast_slice_mut(&mut bytemuck::cast_slice_mut::<_, u8>(&mut self.lines)[..self.bytes / size * size])
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;

    #[test]
    fn a_buffer_is_aligned_zeroed_and_viewed_as_any_type() {
        let mut buffer = Buffer::new(70);
        assert_eq!(buffer.as_slice::<u8>(), [0; 70]);
        assert_eq!(buffer.as_slice::<f64>().len(), 8);
        assert_eq!(buffer.as_slice::<u8>().as_ptr() as usize % 64, 0);
        buffer.as_mut_slice::<f32>()[16] = 1.5;
        assert_eq!(buffer.as_slice::<f32>()[16].to_bits(), 1.5_f32.to_bits());
        assert_eq!(Buffer::from_slice(&[1_i32, 2, 3]).as_slice::<i32>(), [1, 2, 3]);
        assert!(Buffer::new(0).as_slice::<i64>().is_empty());
    }
}

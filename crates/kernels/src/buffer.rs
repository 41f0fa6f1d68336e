//! Aligned memory for tensors, scratch and packed weights.

use std::fmt;

use bytemuck::Pod;

/// One cache line: the unit that buffers grow by, and their alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; 64]);

// SAFETY: all bytes zero is a valid `[u8; 64]`.
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: `Line` is an array of 64 bytes aligned to 64: no padding, every bit pattern valid, no pointer, `Copy`.
unsafe impl Pod for Line {}

/// Zeroed bytes, aligned to 64, viewed as elements of any plain type. Where there are many, they lie on large pages.
#[derive(Default)]
pub struct Buffer {
    lines: Lines,
    bytes: usize,
}

/// Where they lie.
enum Lines {
    Heap(Vec<Line>),
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Pages(crate::pages::Block),
}

impl Lines {
    fn new(lines: usize) -> Self {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let block = crate::pages::Block::new(lines);
            crate::pages::count(lines, true);
            if let Some(block) = block {
                return Self::Pages(block);
            }
        }
        Self::Heap(vec![Line([0; 64]); lines])
    }

    fn as_slice(&self) -> &[Line] {
        match self {
            Self::Heap(lines) => lines,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Self::Pages(block) => block.as_slice(),
        }
    }

    fn as_mut_slice(&mut self) -> &mut [Line] {
        match self {
            Self::Heap(lines) => lines,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Self::Pages(block) => block.as_mut_slice(),
        }
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Drop for Lines {
    fn drop(&mut self) {
        crate::pages::count(self.as_slice().len(), false);
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        Self::from_slice(self.as_slice::<u8>())
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice::<u8>() == other.as_slice::<u8>()
    }
}

impl Eq for Buffer {}

impl Buffer {
    /// A buffer of `bytes` zeros.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { lines: Lines::new(bytes.div_ceil(size_of::<Line>())), bytes }
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
        let kept = self.bytes.min(bytes);
        if bytes.div_ceil(size_of::<Line>()) > self.lines.as_slice().len() {
            let mut larger = Self::new(bytes);
            larger.as_mut_slice::<u8>()[..kept].copy_from_slice(&self.as_slice::<u8>()[..kept]);
            *self = larger;
            return;
        }
        let all: &mut [u8] = bytemuck::cast_slice_mut(self.lines.as_mut_slice());
        all[kept..bytes].fill(0);
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
        bytemuck::cast_slice(&bytemuck::cast_slice::<_, u8>(self.lines.as_slice())[..self.bytes / size * size])
    }

    /// The elements, to change; bytes that do not fill one are left out.
    pub fn as_mut_slice<T: Pod>(&mut self) -> &mut [T] {
        let size = size_of::<T>().max(1);
        bytemuck::cast_slice_mut(
            &mut bytemuck::cast_slice_mut::<_, u8>(self.lines.as_mut_slice())[..self.bytes / size * size],
        )
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

    #[test]
    fn a_buffer_keeps_its_bytes_when_it_grows_and_new_ones_are_zero() {
        let mut buffer = Buffer::from_slice(&[7_u8; 100]);
        buffer.resize(60);
        buffer.resize(100);
        assert_eq!(buffer.as_slice::<u8>(), [[7; 60].as_slice(), &[0; 40]].concat());
        buffer.resize(1000);
        assert_eq!(buffer.as_slice::<u8>(), [[7; 60].as_slice(), &[0; 940]].concat());
    }

    #[test]
    fn large_buffers_are_zeroed_apart_and_can_be_given_back_in_any_order() {
        // More than one slab, so that blocks lie on large pages where there are such.
        let mut buffers: Vec<Buffer> = (0..60).map(|i| Buffer::new(400_000 + i * 64)).collect();
        for (i, buffer) in buffers.iter_mut().enumerate() {
            assert!(buffer.as_slice::<u64>().iter().all(|&word| word == 0), "{i}");
            assert_eq!(buffer.as_slice::<u8>().as_ptr() as usize % 64, 0);
            buffer.as_mut_slice::<u8>().fill(i as u8 + 1);
        }
        for i in (0..60).step_by(2) {
            buffers[i] = Buffer::new(1 << 20);
        }
        for (i, buffer) in buffers.iter().enumerate() {
            let expected = if i % 2 == 0 { 0 } else { i as u8 + 1 };
            assert!(buffer.as_slice::<u8>().iter().all(|&byte| byte == expected), "{i}");
        }
    }
}
